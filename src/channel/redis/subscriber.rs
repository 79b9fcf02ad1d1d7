//! Receives messages from the server.
//!
//! Run by the supervisor as one task per session. redis-rs keeps unread messages without a bound, so this task
//! must never wait for anything but the next message: the inbound queue has the bound.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use futures_util::StreamExt;
use redis::aio::PubSubStream;
use tokio::sync::watch;

use super::{
    Queue,
    ended::Ended,
    topics::{Received, Topics},
};

/// Moves frames to `inbound` and the number of the newest echo to `echo`, until the connection ends.
pub(super) async fn run(
    mut messages: PubSubStream,
    topics: Topics,
    inbound: Arc<Queue<Bytes>>,
    echo: watch::Sender<u64>,
    received: Arc<AtomicU64>,
) -> Ended {
    while let Some(message) = messages.next().await {
        received.fetch_add(1, Ordering::Relaxed);
        match topics.read(&message) {
            Some(Received::Frame(frame)) => inbound.push(frame),
            Some(Received::Echo(number)) => drop(echo.send_replace(number)),
            None => {}
        }
    }
    Ended::Deaf
}
