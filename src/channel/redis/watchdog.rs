//! This file finds out whether a session works, by publishing an echo to itself and hearing it.
//!
//! Run by the supervisor as one task per session. Nothing less will do: a frozen server keeps both connections open,
//! one that cut off our subscriber still takes what we publish, and frames from others say nothing about ours. It must
//! never be the reason why a frame waits.

use std::{mem::replace, sync::Arc, time::Duration};

use redis::aio::MultiplexedConnection;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{super::Health, supervisor::Ended, topics::Topics};

/// Echoes that may go unheard before the session counts as dead. Several short waits rather than one long one: a
/// process that was itself stopped for a while finds its timer over and its echo unread, and this gives it the time
/// to read it.
const ECHOES_UNHEARD_MAX: u32 = 4;

/// Echoes until none is heard within `patience`, or the server refuses one. Says so when one is heard.
///
/// The numbers of a session's echoes follow `first`, which no other session of the link shares: an echo that was stuck
/// in the server says nothing about the connections of today.
pub(super) async fn run(
    mut connection: MultiplexedConnection,
    topics: Topics,
    mut heard: watch::Receiver<u64>,
    health: Arc<watch::Sender<Health>>,
    patience: Duration,
    first: u64,
) -> Ended {
    let interval = patience / ECHOES_UNHEARD_MAX;
    let mut number = first;
    loop {
        number += 1;
        let is_late = match timeout(interval, echo(&mut connection, &topics, &mut heard, number)).await {
            Ok(Ok(())) => false,
            Ok(Err(ended)) => return ended,
            Err(_) => true,
        };
        // What anyone else publishes into the topic of our echoes is not counted. An earlier echo is: the way there and
        // back may be longer than an interval.
        let newest = Some(*heard.borrow()).filter(|heard| (first + 1..=number).contains(heard));
        if number - newest.unwrap_or(first) >= ECHOES_UNHEARD_MAX.into() {
            return Ended::Silent { patience };
        }
        if newest.is_some() {
            health.send_if_modified(|health| replace(health, Health::Healthy) != Health::Healthy);
        }
        if !is_late {
            sleep(interval).await;
        }
    }
}

/// Publishes an echo and waits until it is heard.
async fn echo(
    connection: &mut MultiplexedConnection,
    topics: &Topics,
    heard: &mut watch::Receiver<u64>,
    number: u64,
) -> Result<(), Ended> {
    let reply = connection.send_packed_command(&topics.publish_echo(number)).await;
    reply
        .and_then(|reply| reply.extract_error())
        .map_err(|error| Ended::Failed { doing: "publishing to itself", error })?;
    heard.wait_for(|heard| *heard == number).await.map_err(|_| Ended::Deaf)?;
    Ok(())
}
