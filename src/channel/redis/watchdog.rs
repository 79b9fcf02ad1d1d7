//! Checks that a session works, by publishing echoes to its own links and waiting for them.
//!
//! Run by the supervisor as one task per session. Nothing less is enough: a frozen server keeps both connections
//! open, a server that cut off our subscriber still accepts what we publish, and frames of others prove nothing about
//! ours. It must never be the reason why a frame waits.
//!
//! Each time, one of the links has an echo in turn, and so has every link whose last echo was not heard. Any echo
//! proves the connections; if only the echoes of one link are lost, that link alone is broken.

use std::{
    mem::replace,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::join_all;
use redis::{Cmd, RedisError};
use tokio::time::timeout;

use super::{
    super::marker::{MarkerRequest, NOTE_IS_KEPT},
    cause::cause,
    echoes::Echoes,
    ended::Ended,
    endpoint::{Endpoint, Publishing},
    redis_link::RedisLink,
    role::{Question, Role},
    shared::Shared,
    topics::Topics,
};

/// Echoes that may go unheard before the session counts as dead. Several short waits rather than one long one: a
/// process that was itself stopped for a while finds its timer over and its echo unread, and this gives it the time
/// to read it.
pub(super) const ECHOES_UNHEARD_MAX: u32 = 4;
/// As long as anything else arrives, an echo may only be late, behind what is large on a slow line. But whatever
/// arrives says nothing of what this session sends: after so many times as long, that counts as lost.
const BUSY_FACTOR: u32 = 10;

/// How many times `patience` the marker lives after its last refresh. For that long, two servers may both consider
/// themselves the primary; a cluster whose processes were all killed waits as long until it is founded again.
const MARKER_PATIENCES: u32 = 5;

/// How often the note is given to the server: seldom enough to cost nothing.
const NOTE_INTERVAL: Duration = Duration::from_secs(60);

pub(super) struct Watchdog {
    pub(super) publishing: Publishing,
    /// The question that detects each time whether the server has become a replica.
    pub(super) question: Option<Question>,
    pub(super) shared: Arc<Shared>,
    pub(super) endpoint: Endpoint,
    pub(super) echoes: Arc<Echoes>,
    /// Rises with whatever arrives.
    pub(super) received: Arc<AtomicU64>,
    /// What this session gave to the server for each link.
    pub(super) kept: Vec<(Arc<RedisLink>, Kept)>,
    /// The link that had the last turn.
    pub(super) turn: usize,
}

/// When the server was given a link's marker and note in this session.
#[derive(Default)]
pub(super) struct Kept {
    marked: Option<Instant>,
    noted: Option<(Bytes, Instant)>,
}

impl Watchdog {
    /// Echoes until none is heard within `patience`, or the server refuses all.
    pub(super) async fn run(mut self) -> Ended {
        let interval = self.shared.patience / ECHOES_UNHEARD_MAX;
        let mut is_late = false;
        let (mut received, mut intervals_silent) = (0, 0);
        loop {
            let links = self.asked();
            if links.is_empty() {
                let _ = timeout(interval, self.shared.is_urgent.notified()).await;
                continue;
            }
            let number = self.echoes.next();
            let refusal = timeout(interval, self.refusal(is_late, links.first()));
            let (heard, refusal) = tokio::join!(timeout(interval, self.echo(number, &links)), refusal);
            let refusal = refusal.ok().flatten();
            is_late = match heard {
                Ok(Ok(())) => false,
                Ok(Err(ended)) => return ended,
                Err(_) => true,
            };
            if let Some((topics, error)) = refusal
                && !self.shared.links.any(RedisLink::is_proven)
            {
                return refused(&topics, error);
            }
            self.break_lost_link(interval).await;
            let received_before = replace(&mut received, self.received.load(Ordering::Relaxed));
            intervals_silent = if received == received_before { intervals_silent + 1 } else { 0 };
            let unheard = number - self.echoes.newest();
            let factor = if intervals_silent >= ECHOES_UNHEARD_MAX { 1 } else { BUSY_FACTOR };
            if unheard >= (factor * ECHOES_UNHEARD_MAX).into() {
                return Ended::Silent { patience: factor * self.shared.patience };
            }
            if !is_late {
                let _ = timeout(interval, self.shared.is_urgent.notified()).await;
            }
        }
    }

    /// The links that have an echo now.
    fn asked(&mut self) -> Vec<Arc<RedisLink>> {
        let links = self.shared.links.select(RedisLink::is_admitted);
        self.turn = (self.turn + 1) % links.len().max(1);
        let is_asked =
            |(index, link): &(usize, Arc<RedisLink>)| *index == self.turn || !link.has_heard_last_echo();
        links.into_iter().enumerate().filter(is_asked).map(|(_, link)| link).collect()
    }

    /// Publishes an echo to each of the links and waits until one is heard.
    async fn echo(&mut self, number: u64, links: &[Arc<RedisLink>]) -> Result<(), Ended> {
        let mut commands: Vec<Cmd> = Vec::new();
        for link in links {
            link.note_echo_sent(number);
            commands.push(link.topics.publish_echo(number));
        }
        commands.extend(self.shared.writer.packing.echo());
        let kept = self.keep();
        match &mut self.publishing {
            Publishing::Socket(_) => {
                commands.extend(kept);
                // The reply is for `publisher::listen`.
                commands
                    .extend(self.question.map(Question::command).into_iter().flat_map(Topics::with_reply));
                self.shared.writer.write_commands(&commands);
            }
            Publishing::Client(connection) => {
                let sent = commands.iter().map(|command| {
                    let mut connection = connection.clone();
                    async move {
                        connection.send_packed_command(command).await.and_then(|reply| reply.extract_error())
                    }
                });
                let refusal = links
                    .iter()
                    .zip(join_all(sent).await)
                    .find_map(|(link, reply)| Some((link, reply.err()?)));
                if let Some((link, error)) = refusal
                    && !self.shared.links.any(RedisLink::is_proven)
                {
                    return Err(refused(&link.topics, error));
                }
                if let Some(question) = self.question
                    && let Ok(reply) = connection.send_packed_command(&question.command()).await
                    && question.role(&reply) == Some(Role::Replica)
                {
                    return Err(Ended::Replica);
                }
                for command in kept {
                    let _ = connection.send_packed_command(&command).await;
                }
            }
        }
        self.echoes.heard(number).await;
        Ok(())
    }

    /// Reports a link whose echoes are lost while those of others are heard; the next one after the next echo.
    async fn break_lost_link(&self, interval: Duration) {
        let newest = self.echoes.newest();
        let is_lost =
            |link: &RedisLink| link.echoes_lost(newest) >= ECHOES_UNHEARD_MAX.into() && !link.is_broken();
        let Some(link) = self.shared.links.select(is_lost).pop() else { return };
        let refusal = timeout(interval, self.endpoint.refusal_of(&link.topics.publish_no_echo())).await;
        let ended = match refusal {
            Ok(Some(error)) => refused(&link.topics, error),
            Ok(None) | Err(_) => Ended::Silent { patience: self.shared.patience },
        };
        if let Some(cause) = cause(&ended, &self.endpoint) {
            link.set_broken(&cause);
        }
    }

    /// What keeps the markers and the notes of the links.
    fn keep(&mut self) -> Vec<Cmd> {
        let links = self.shared.links.select(|link| {
            link.marker.request() == MarkerRequest::Keep && link.may_mark() && !link.is_leaving()
        });
        let mut former = std::mem::take(&mut self.kept);
        let mut commands = Vec::new();
        for link in links {
            let position = former.iter().position(|(other, _)| Arc::ptr_eq(other, &link));
            let mut kept = position.map(|index| former.swap_remove(index).1).unwrap_or_default();
            if kept.marked.is_none_or(|at| at.elapsed() >= self.shared.patience) {
                commands.push(link.topics.mark(MARKER_PATIENCES * self.shared.patience));
                kept.marked = Some(Instant::now());
            }
            let note = link.marker.note();
            let is_kept = |(kept, since): &(Bytes, Instant)| *kept == note && since.elapsed() < NOTE_INTERVAL;
            if !note.is_empty() && !kept.noted.as_ref().is_some_and(is_kept) {
                commands.push(link.topics.keep_note(&note, NOTE_IS_KEPT));
                kept.noted = Some((note, Instant::now()));
            }
            self.kept.push((link, kept));
        }
        commands
    }

    /// Why the last echo was not heard, if it is the server that refuses it: a socket does not hear that.
    fn refusal(
        &self,
        is_late: bool,
        link: Option<&Arc<RedisLink>>,
    ) -> impl Future<Output = Option<(Topics, RedisError)>> + use<> {
        let asks = is_late && matches!(self.publishing, Publishing::Socket(_));
        let endpoint = self.endpoint.clone();
        let topics = link.filter(|_| asks).map(|link| link.topics.clone());
        async move {
            let topics = topics?;
            let error = endpoint.refusal_of(&topics.publish_no_echo()).await?;
            Some((topics, error))
        }
    }
}

fn refused(topics: &Topics, error: RedisError) -> Ended {
    Ended::Failed { doing: format!("publishing to itself as `{}`", topics.echo()), error }
}
