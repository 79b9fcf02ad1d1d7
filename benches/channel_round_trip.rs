//! Measures what a channel adds to the way of a frame: there and back between two links, one frame at a time.
//!
//! `cargo bench --bench channel_round_trip -- [redis://…]`, with a server that has nothing else to do. Everything runs
//! on one thread, as in the driver. "bare" is the least that redis-rs can do: a publish that waits for no reply, and a
//! read of the next message.

mod bare;

use std::time::{Duration, Instant};

use bare::{connect, publish};
use bytes::Bytes;
use conflux::{
    channel::{
        Channel, Health, Link,
        memory::Memory,
        redis::{Redis, RedisOptions},
    },
    raft::{Incarnation, Lane, Target},
};
use futures_util::StreamExt;

const ROUNDS: usize = 20_000;
const FRAME_BYTES: usize = 150;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let url = std::env::args().find(|argument| argument.contains("://"));
    let url = url.unwrap_or_else(|| "redis://127.0.0.1:6379".to_string());
    let options = RedisOptions { connection_string: Some(url.clone()), ..RedisOptions::default() };
    let redis = Redis::new(options).expect("the URL is good");

    // Twice, in turn: what changes on the machine meanwhile shows.
    for _ in 0..2 {
        report("memory", over_links(&Memory::new("bench")).await);
        report("redis, bare", over_bare_redis(&url).await);
        report("redis", over_links(&redis).await);
    }
}

async fn over_links(channel: &dyn Channel) -> Vec<Duration> {
    let ids = [1, 2].map(Incarnation::from_u128);
    let [mut one, mut two] = ids.map(|id| channel.join(id));
    for link in [&mut one, &mut two] {
        link.health.wait_for(|health| *health == Health::Healthy).await.expect("the link lives");
    }
    let frame = Bytes::from(vec![b'x'; FRAME_BYTES]);
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        one.outbound.send(Target::One(ids[1]), Lane::Control, frame.clone());
        let there = next(&mut two).await;
        two.outbound.send(Target::One(ids[0]), Lane::Control, there);
        next(&mut one).await;
        times.push(begin.elapsed());
    }
    one.close().await;
    two.close().await;
    times
}

async fn next(link: &mut Link) -> Bytes {
    let mut frames = Vec::with_capacity(1);
    assert!(link.inbound.recv_many(&mut frames).await, "the link is open");
    frames.pop().expect("there is a frame")
}

async fn over_bare_redis(url: &str) -> Vec<Duration> {
    let (mut one, mut hears_one) = connect(url, "conflux:bench:one").await;
    let (mut two, mut hears_two) = connect(url, "conflux:bench:two").await;
    let frame = vec![b'x'; FRAME_BYTES];
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        publish(&mut one, "conflux:bench:two", &frame).await;
        let there = hears_two.next().await.expect("the server lives");
        publish(&mut two, "conflux:bench:one", there.get_payload_bytes()).await;
        hears_one.next().await.expect("the server lives");
        times.push(begin.elapsed());
    }
    times
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |part: f64| times[(times.len() as f64 * part) as usize];
    println!("{what:12} there and back: p50 {:>9.1?}, p99 {:>9.1?}", at(0.5), at(0.99));
}
