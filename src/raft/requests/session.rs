//! The requests of one origin in a leader's term: those that wait for evaluation, and the outcomes of evaluated ones.
//!
//! Used only by `leader_sessions.rs`, which decides which origin is next.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::raft::consensus::entry::RequestId;
use crate::raft::identity::RaftId;
use crate::raft::wire::message::Outcome;

/// Evaluation for an origin pauses while its unacknowledged outcomes take more than this.
const KEPT_OUTCOME_BYTES_MAX: usize = 4 << 20;
/// The requests and outcomes of one origin in this term.
#[derive(Debug, Default)]
pub struct Session {
    pub(super) start: u64,
    pub(super) floor: u64,
    /// All pending requests of the origin up to this sequence number have arrived.
    pub(super) received: u64,
    /// Not evaluated yet, in the order of the calls.
    pub(super) waiting: VecDeque<Evaluation>,
    /// Reported outcomes, kept for repetition until the floor passes them, each with the index at which it is valid.
    pub(super) outcomes: BTreeMap<u64, (u64, Outcome)>,
    /// Outcomes, reported or not, since this origin's last entry: the next entry records them in the log.
    pub(super) unrecorded: BTreeMap<u64, Outcome>,
    /// The sizes of outcomes above the floor, reported or not, by sequence number, and their sum.
    pub(super) kept: VecDeque<(u64, usize)>,
    pub(super) kept_bytes: usize,
    /// This request names a method that only another version of the code has: it waits for a leader that has it, or
    /// until its origin gives up. Later requests of the origin wait too.
    pub(super) stalled: Option<u64>,
    pub(super) has_turn: bool,
}

/// A request that JavaScript is to evaluate.
#[derive(Clone, Debug)]
pub struct Evaluation {
    pub origin: RaftId,
    pub start: u64,
    pub sequence: u64,
    pub method: Arc<str>,
    pub args: Bytes,
    /// To how many earlier leaders it was sent.
    pub attempts: u32,
    /// The session of the origin when the call was made; 0: none.
    pub session: u64,
}

impl Evaluation {
    pub fn id(&self) -> RequestId {
        RequestId { origin: self.origin, start: self.start, sequence: self.sequence }
    }
}

impl Session {
    pub(super) fn raise_floor(&mut self, floor: u64) {
        if floor > self.floor {
            self.floor = floor;
            self.outcomes = self.outcomes.split_off(&floor);
            self.unrecorded = self.unrecorded.split_off(&floor);
            while let Some((_, bytes)) = self.kept.front().filter(|(sequence, _)| *sequence < floor) {
                self.kept_bytes -= bytes;
                self.kept.pop_front();
            }
            self.stalled = self.stalled.filter(|sequence| *sequence >= floor);
        }
    }

    /// Whether it may be queued: not while too many of its outcomes are unacknowledged.
    pub(super) fn may_have_turn(&self) -> bool {
        !self.has_turn && self.has_next()
    }

    /// Whether it has a request that may be evaluated.
    pub(super) fn has_next(&self) -> bool {
        self.kept_bytes < KEPT_OUTCOME_BYTES_MAX
            && self
                .waiting
                .front()
                .is_some_and(|next| self.stalled.is_none_or(|stalled| next.sequence < stalled))
    }

    /// Counts an outcome; they come in the order of the calls.
    pub(super) fn count(&mut self, sequence: u64, bytes: usize) {
        self.kept.push_back((sequence, bytes));
        self.kept_bytes += bytes;
    }

    /// Removes the outcomes from this one on: their requests are evaluated again.
    pub(super) fn discount(&mut self, first: u64) {
        while let Some((_, bytes)) = self.kept.back().filter(|(sequence, _)| *sequence >= first) {
            self.kept_bytes -= bytes;
            self.kept.pop_back();
        }
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting.iter().map(|evaluation| evaluation.args.len()).sum()
    }
}
