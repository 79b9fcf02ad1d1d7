//! The minimum of redis-rs: a publish that waits for no reply, and a read of the next message.
//!
//! Called by `channel_round_trip.rs` and `bare_round_trip.rs`.

use redis::{
    Client, Cmd,
    aio::{MultiplexedConnection, PubSubStream},
};

pub async fn connect(url: &str, topic: &str) -> (MultiplexedConnection, PubSubStream) {
    let client = Client::open(url).expect("the URL is good");
    let info = client.get_connection_info().clone();
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    let client = Client::open(info.set_tcp_settings(tcp)).expect("the URL is good");
    let (mut sink, messages) = client.get_async_pubsub().await.expect("the server lives").split();
    sink.subscribe(topic).await.expect("the server obeys");
    (client.get_multiplexed_async_connection().await.expect("the server lives"), messages)
}

pub async fn publish(connection: &mut MultiplexedConnection, topic: &str, frame: &[u8]) {
    let mut command = Cmd::new();
    command.arg("PUBLISH").arg(topic).arg(frame).set_no_response(true);
    connection.send_packed_command(&command).await.expect("the server lives");
}
