//! Checks that a session works, by publishing an echo to itself and waiting for it.
//!
//! Run by the supervisor as one task per session. Nothing less will do: a frozen server keeps both connections open,
//! one that cut off our subscriber still takes what we publish, and frames from others say nothing about ours. It must
//! never be the reason why a frame waits.

use std::{
    mem::replace,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use redis::{Cmd, RedisError};
use tokio::{sync::watch, time::timeout};

use super::{
    super::{
        Health,
        marker::{Marker, MarkerRequest, NOTE_IS_KEPT},
    },
    ended::Ended,
    endpoint::{Endpoint, Publishing},
    role::{Question, Role},
    socket_writer::SocketWriter,
    topics::Topics,
};

/// Echoes that may go unheard before the session counts as dead. Several short waits rather than one long one: a
/// process that was itself stopped for a while finds its timer over and its echo unread, and this gives it the time
/// to read it.
const ECHOES_UNHEARD_MAX: u32 = 4;
/// As long as anything else arrives, an echo may only be late, behind what is large on a slow line. But whatever
/// arrives says nothing of what this link sends: after so many times as long, that counts as lost.
const BUSY_FACTOR: u32 = 10;

/// How many times `patience` the marker lives after its last refresh. Two servers may both take themselves for the
/// primary for as long; a cluster whose processes were all killed waits as long until it is founded again.
const MARKER_PATIENCES: u32 = 5;

/// How often the note is given to the server: seldom enough to cost nothing.
const NOTE_INTERVAL: Duration = Duration::from_secs(60);

pub(super) struct Watchdog {
    pub(super) publishing: Publishing,
    /// What finds out each time whether the server is still no replica.
    pub(super) question: Option<Question>,
    pub(super) marker: Arc<Marker>,
    /// What was last seen of the marker; `None` if this user may not look for it.
    pub(super) sees_mark: watch::Receiver<Option<bool>>,
    pub(super) marked: watch::Sender<Option<bool>>,
    /// This session follows another, or attempts that failed.
    pub(super) returns: bool,
    pub(super) writer: Arc<SocketWriter>,
    pub(super) endpoint: Endpoint,
    pub(super) topics: Topics,
    pub(super) heard: watch::Receiver<u64>,
    /// Rises with whatever arrives.
    pub(super) received: Arc<AtomicU64>,
    pub(super) health: Arc<watch::Sender<Health>>,
    pub(super) patience: Duration,
    /// The note that this session gave to the server, and when.
    pub(super) noted: Option<(Bytes, Instant)>,
    /// The numbers of a session's echoes follow this one, which no other session of the link shares: an echo that was
    /// stuck in the server says nothing about the connections of today.
    pub(super) first: u64,
}

impl Watchdog {
    /// Echoes until none is heard within `patience`, or the server refuses one. Says so when one is heard.
    pub(super) async fn run(mut self) -> Ended {
        let interval = self.patience / ECHOES_UNHEARD_MAX;
        let mut number = self.first;
        let mut newest = None;
        let mut is_late = false;
        let (mut received, mut intervals_silent) = (0, 0);
        loop {
            number += 1;
            let refusal = timeout(interval, self.refusal(is_late));
            let (heard, refusal) = tokio::join!(timeout(interval, self.echo(number)), refusal);
            if let Ok(Some(error)) = refusal {
                return refused(&self.topics, error);
            }
            is_late = match heard {
                Ok(Ok(())) => false,
                Ok(Err(ended)) => return ended,
                Err(_) => true,
            };
            // What anyone else publishes into the topic of our echoes is not counted. An earlier echo is: the way there
            // and back may be longer than an interval.
            let heard = Some(*self.heard.borrow()).filter(|heard| (self.first + 1..=number).contains(heard));
            newest = newest.max(heard);
            let received_before = replace(&mut received, self.received.load(Ordering::Relaxed));
            intervals_silent = if received == received_before { intervals_silent + 1 } else { 0 };
            let unheard = number - newest.unwrap_or(self.first);
            let factor = if intervals_silent >= ECHOES_UNHEARD_MAX { 1 } else { BUSY_FACTOR };
            if unheard >= (factor * ECHOES_UNHEARD_MAX).into() {
                return Ended::Silent { patience: factor * self.patience };
            }
            let has_just_returned = self.returns && number - self.first <= ECHOES_UNHEARD_MAX.into();
            self.marker.set_found(*self.sees_mark.borrow() == Some(true) || has_just_returned);
            if heard.is_some() {
                self.health.send_if_modified(|health| replace(health, Health::Healthy) != Health::Healthy);
            }
            if !is_late {
                let _ = timeout(interval, self.marker.urgent()).await;
            }
        }
    }

    /// Publishes an echo and waits until it is heard.
    async fn echo(&mut self, number: u64) -> Result<(), Ended> {
        let command = self.topics.publish_echo(number);
        let (mark, look) = (self.mark(), self.look());
        let note = self.note();
        match &mut self.publishing {
            Publishing::Socket(_) => {
                // The replies are for `publisher::listen`.
                let asked = self.question.map(Question::command).into_iter().chain(look);
                let asked: Vec<Cmd> = asked.flat_map(Topics::aloud).collect();
                let commands: Vec<Cmd> = [command].into_iter().chain(mark).chain(note).chain(asked).collect();
                self.writer.commands(&commands);
            }
            Publishing::Client(connection) => {
                let reply = connection.send_packed_command(&command).await;
                if let Err(error) = reply.and_then(|reply| reply.extract_error()) {
                    return Err(refused(&self.topics, error));
                }
                if let Some(question) = self.question
                    && let Ok(reply) = connection.send_packed_command(&question.command()).await
                    && question.role(&reply) == Some(Role::Replica)
                {
                    return Err(Ended::Replica);
                }
                for command in mark.into_iter().chain(note) {
                    let _ = connection.send_packed_command(&command).await;
                }
                if let Some(look) = look
                    && let Ok(reply) = connection.send_packed_command(&look).await
                {
                    self.marked.send_replace(Topics::is_marked(&reply));
                }
            }
        }
        self.heard.wait_for(|heard| *heard == number).await.map_err(|_| Ended::Deaf)?;
        Ok(())
    }

    /// Who may not even look for the marker has no right to it at all.
    fn may_mark(&self) -> bool {
        self.sees_mark.borrow().is_some()
    }

    fn mark(&self) -> Option<Cmd> {
        let keeps = self.marker.request() == MarkerRequest::Keep && self.may_mark();
        keeps.then(|| self.topics.mark(MARKER_PATIENCES * self.patience))
    }

    /// What keeps the note, if the server has not got it or may have lost it.
    fn note(&mut self) -> Option<Cmd> {
        if self.marker.request() != MarkerRequest::Keep || !self.may_mark() {
            self.noted = None;
            return None;
        }
        let note = self.marker.note();
        let is_kept = |(kept, since): &(Bytes, Instant)| *kept == note && since.elapsed() < NOTE_INTERVAL;
        if note.is_empty() || self.noted.as_ref().is_some_and(is_kept) {
            return None;
        }
        let command = self.topics.keep_note(&note, NOTE_IS_KEPT);
        self.noted = Some((note, Instant::now()));
        Some(command)
    }

    fn look(&self) -> Option<Cmd> {
        (self.marker.request() == MarkerRequest::Look && self.may_mark()).then(|| self.topics.look())
    }

    /// Why the last echo was not heard, if it is the server that refuses it: a socket does not hear that.
    fn refusal(&self, is_late: bool) -> impl Future<Output = Option<RedisError>> + use<> {
        let asks = is_late && matches!(self.publishing, Publishing::Socket(_));
        let endpoint = self.endpoint.clone();
        let command = self.topics.publish_no_echo();
        async move { if asks { endpoint.refusal_of(&command).await } else { None } }
    }
}

fn refused(topics: &Topics, error: RedisError) -> Ended {
    Ended::Failed { doing: format!("publishing to itself as `{}`", topics.echo()), error }
}
