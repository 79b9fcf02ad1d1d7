//! One connection to a peer: the frames that wait for it, and the socket to which any thread writes them.
//!
//! Filled and flushed by the thread that ends a turn, so that no other is woken for it; a task of its own waits for room
//! when the socket takes no more. It must never wait.

use std::{
    io,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{
    super::lock,
    hello::LinkId,
    lanes::Lanes,
    record::{self, Kind},
    stream::Stream,
};
use crate::raft::{Incarnation, Lane};

pub(super) struct Connection {
    pub(super) incarnation: Incarnation,
    pub(super) link: LinkId,
    pub(super) origin: Origin,
    /// Where others may connect to the peer.
    pub(super) address: Option<String>,
    pub(super) stream: Stream,
    begun: Instant,
    outgoing: Mutex<Outgoing>,
    /// Holds one permit if the socket takes no more, or the connection is over.
    is_stuck: Notify,
    /// Since the last look.
    has_received: AtomicBool,
    has_sent: AtomicBool,
    silent_looks: AtomicU32,
    is_given_up: AtomicBool,
}

/// Which side opened a connection, and as which of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) dialed_by: LinkId,
    pub(super) dial: u64,
}

impl Origin {
    /// Whether the connection of this origin replaces the one of another. Both sides make the same decision, in
    /// whichever order the two open: the newest of one dialing side counts, and of two that were dialed at the same
    /// time the one from the lower link. A side that dials although the other holds an older connection has lost that
    /// one.
    fn supersedes(self, other: Self, is_other_old: bool) -> bool {
        if self.dialed_by == other.dialed_by {
            return self.dial > other.dial;
        }
        is_other_old || self.dialed_by < other.dialed_by
    }
}

#[derive(Default)]
struct Outgoing {
    lanes: Lanes,
    /// Records that the socket has not taken yet.
    bytes: Vec<u8>,
    written: usize,
    /// The stream has taken something that has not left.
    is_held_back: bool,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// Only the waiting records are still sent; then the socket is shut down in this direction.
    Finishing,
    /// Nothing more is sent.
    Finished,
}

impl Connection {
    /// How much is written at a time: a control frame waits for no more than this, and for what the system holds.
    const WRITTEN_AT_ONCE: usize = 64 << 10;

    /// After this many looks without a byte the peer counts as dead.
    pub(super) const SILENT_LOOKS_MAX: u32 = 4;

    pub(super) fn new(
        incarnation: Incarnation,
        link: LinkId,
        origin: Origin,
        address: Option<String>,
        stream: Stream,
    ) -> Self {
        Self {
            incarnation,
            link,
            origin,
            address,
            stream,
            begun: Instant::now(),
            outgoing: Mutex::default(),
            is_stuck: Notify::new(),
            has_received: AtomicBool::new(true),
            has_sent: AtomicBool::new(false),
            silent_looks: AtomicU32::new(0),
            is_given_up: AtomicBool::new(false),
        }
    }

    /// Whether this connection replaces another one to the same link.
    pub(super) fn supersedes(&self, other: &Self, patience: Duration) -> bool {
        self.origin.supersedes(other.origin, other.begun.elapsed() > patience)
    }

    pub(super) fn push(&self, lane: Lane, frame: Bytes) {
        let mut outgoing = self.outgoing();
        if outgoing.phase == Phase::Open {
            outgoing.lanes.push(lane, frame);
        }
    }

    /// Writes what waits, as far as the socket takes it.
    pub(super) fn flush(&self) {
        let mut outgoing = self.outgoing();
        if outgoing.is_empty() {
            return;
        }
        self.has_sent.store(true, Ordering::Relaxed);
        match outgoing.write(&self.stream) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.is_stuck.notify_one(),
            Err(_) => {
                drop(outgoing);
                self.abort();
            }
        }
    }

    /// Sends a record beside the frames.
    pub(super) fn send_record(&self, kind: Kind, payload: &[u8]) {
        let mut outgoing = self.outgoing();
        if outgoing.phase == Phase::Open {
            record::write(&mut outgoing.bytes, kind, payload);
            drop(outgoing);
            self.flush();
        }
    }

    /// Sends only what already waits. The peer closes when it has read all of it.
    pub(super) fn finish(&self) {
        let mut outgoing = self.outgoing();
        if outgoing.phase == Phase::Open {
            outgoing.phase = Phase::Finishing;
            if outgoing.write(&self.stream).is_err() {
                self.is_stuck.notify_one();
            }
        }
    }

    /// This side has a reason of its own to end the connection.
    pub(super) fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Relaxed);
        self.abort();
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Relaxed)
    }

    /// Ends the connection at once.
    pub(super) fn abort(&self) {
        self.outgoing().phase = Phase::Finished;
        self.stream.socket().abort();
        self.is_stuck.notify_one();
    }

    /// Writes whenever the socket has room again, until the connection is over.
    pub(super) async fn attend(&self) {
        loop {
            self.is_stuck.notified().await;
            if self.outgoing().phase == Phase::Finished || self.stream.writable().await.is_err() {
                return;
            }
            self.flush();
        }
    }

    pub(super) fn note_received(&self) {
        self.has_received.store(true, Ordering::Relaxed);
    }

    /// Called four times per patience: shows the peer that this side is alive, and ends a connection whose peer is
    /// silent.
    pub(super) fn look(&self) {
        if !self.has_sent.swap(false, Ordering::Relaxed) {
            self.send_record(Kind::Ping, &[]);
            self.has_sent.store(false, Ordering::Relaxed);
        }
        if self.has_received.swap(false, Ordering::Relaxed) {
            self.silent_looks.store(0, Ordering::Relaxed);
        } else if self.silent_looks.fetch_add(1, Ordering::Relaxed) >= Self::SILENT_LOOKS_MAX {
            self.give_up();
        }
    }

    fn outgoing(&self) -> MutexGuard<'_, Outgoing> {
        lock(&self.outgoing)
    }
}

impl Outgoing {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.lanes.is_empty() && !self.is_held_back
    }

    /// Writes all that waits; `WouldBlock` if the socket takes no more.
    fn write(&mut self, stream: &Stream) -> io::Result<()> {
        if self.phase == Phase::Finished {
            return Ok(());
        }
        loop {
            if self.bytes.is_empty() {
                if self.lanes.is_empty() {
                    break;
                }
                self.lanes.fill(&mut self.bytes, Connection::WRITTEN_AT_ONCE);
            }
            self.written += stream.try_write(&self.bytes[self.written..])?;
            if self.written == self.bytes.len() {
                self.bytes.clear();
                self.written = 0;
            }
        }
        self.is_held_back = true;
        stream.try_flush()?;
        self.is_held_back = false;
        if self.phase == Phase::Finishing {
            self.phase = Phase::Finished;
            stream.shut_down()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What remains of two connections that open in this order.
    fn survivor(first: Origin, second: Origin) -> Origin {
        if second.supersedes(first, false) { second } else { first }
    }

    #[test]
    fn both_sides_keep_the_same_one_of_two_connections() {
        let links = [LinkId::draw(), LinkId::draw()];
        let origins: Vec<Origin> =
            links.iter().flat_map(|&dialed_by| [1, 2].map(|dial| Origin { dialed_by, dial })).collect();
        for &one in &origins {
            for &other in origins.iter().filter(|other| **other != one) {
                assert_eq!(survivor(one, other), survivor(other, one), "{one:?} and {other:?}");
            }
        }
        let [one, other] = links.map(|dialed_by| Origin { dialed_by, dial: 1 });
        assert!(
            one.supersedes(other, true) && other.supersedes(one, true),
            "a side that dials anew has lost the old one"
        );
        assert!(
            !one.supersedes(Origin { dial: 2, ..one }, true),
            "one that a side has given up never returns"
        );
    }
}
