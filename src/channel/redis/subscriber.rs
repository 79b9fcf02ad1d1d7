//! Receives messages from the server.
//!
//! Run by the supervisor as one task per session. redis-rs keeps unread messages without a bound, so this task
//! must never wait for anything but the next message: the inbound queue of each link has the bound.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use futures_util::StreamExt;
use redis::aio::PubSubStream;

use super::{echoes::Echoes, ended::Ended, shared::Shared, topics::Received};

/// Moves frames to their links, and notes the echoes, until the connection ends.
pub(super) async fn run(
    mut messages: PubSubStream,
    shared: Arc<Shared>,
    echoes: Arc<Echoes>,
    received: Arc<AtomicU64>,
) -> Ended {
    while let Some(message) = messages.next().await {
        received.fetch_add(1, Ordering::Relaxed);
        shared.links.route(message.get_channel_name(), |link| match link.topics.read(&message) {
            Some(Received::Frame(frame)) => link.inbound.push(frame),
            Some(Received::Echo(number)) => {
                if echoes.hear(number) {
                    link.hears_itself();
                }
            }
            None => {}
        });
    }
    Ended::Deaf
}
