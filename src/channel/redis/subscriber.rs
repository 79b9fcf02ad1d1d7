//! Receives messages from the server.
//!
//! Run by the supervisor as one task per session. redis-rs keeps unread messages without a bound, so this task
//! must never wait for anything but the next message: the inbound queue of each link has the bound.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use futures_util::StreamExt;
use redis::aio::PubSubStream;

use super::{
    echoes::Echoes,
    ended::Ended,
    packing::Packed,
    shared::Shared,
    topics::{Address, Received},
};

/// Moves frames to their links, and notes the echoes, until the connection ends.
pub(super) async fn run(
    mut messages: PubSubStream,
    shared: Arc<Shared>,
    echoes: Arc<Echoes>,
    received: Arc<AtomicU64>,
) -> Ended {
    while let Some(message) = messages.next().await {
        received.fetch_add(1, Ordering::Relaxed);
        if message.get_channel_name() == shared.writer.packing.topic() {
            hand_on(&shared, Bytes::copy_from_slice(message.get_payload_bytes()), None);
            continue;
        }
        let mut pack = None;
        shared.links.route(message.get_channel_name(), |link| match link.topics.read(&message) {
            Some(Received::Frame(frame)) => link.inbound.push(frame),
            Some(Received::Pack(bytes)) => pack = Some((bytes, link.topics.address())),
            Some(Received::Echo(number)) => {
                let is_ours = echoes.hear(number);
                if is_ours {
                    link.note_echo();
                }
            }
            None => {}
        });
        if let Some((bytes, address)) = pack {
            hand_on(&shared, bytes, Some(address));
        }
    }
    Ended::SubscriberClosed
}

/// Gives the frames of a pack to their links.
fn hand_on(shared: &Shared, pack: Bytes, link: Option<Address>) {
    for Packed { to, frame } in shared.writer.packing.read(pack, link) {
        shared.links.deliver(to, |link| link.inbound.push(frame.clone()));
    }
}
