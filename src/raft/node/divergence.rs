//! Records whether a node has diverged, and which members reported that they have.
//!
//! `quarantine.rs` is what a diverged node does; `checks.rs` detects one.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Error;
use crate::raft::events::StateHash;
use crate::raft::identity::RaftId;

/// If a state that came from the leader diverges again, the cause is permanent.
const RESTORES_MAX: u32 = 1;

/// Whether this node and others have diverged.
#[derive(Debug, Default)]
pub(super) struct Divergence {
    diverged: Option<(u64, Error)>,
    restores: u32,
    /// The indexes of checks for which JavaScript has not returned the hash of the present state yet.
    awaited_hashes: BTreeSet<u64>,
    /// The hash that this node last reported, until it is restored or informed that its state differs.
    hashed: Option<(u64, StateHash)>,
    /// When members reported that they have diverged: they must not receive leadership.
    others: BTreeMap<RaftId, u64>,
}

/// What the state of a snapshot means for a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restoration {
    /// The node has not diverged: its application follows.
    Follows,
    /// The node is no longer diverged.
    Restores,
    /// The node stays diverged.
    Refused,
}

impl Divergence {
    pub(super) fn is_diverged(&self) -> bool {
        self.diverged.is_some()
    }

    pub(super) fn error(&self) -> Option<&Error> {
        self.diverged.as_ref().map(|(_, error)| error)
    }

    /// From `index` on, this node's state does not match the log. Returns the error, unless it has diverged before.
    pub(super) fn begin(&mut self, index: u64, why: String) -> Option<Error> {
        if self.is_diverged() {
            return None;
        }
        let error = Error::Diverged { index, why };
        self.diverged = Some((index, error.clone()));
        Some(error)
    }

    /// The first index of a snapshot that would restore this node; `None` if none does.
    pub(super) fn restorable_from(&self) -> Option<u64> {
        let (index, _) = self.diverged.as_ref()?;
        (self.restores < RESTORES_MAX).then_some(*index)
    }

    /// A member reported that it has diverged.
    pub(super) fn note_report(&mut self, member: RaftId, now: u64) {
        self.others.insert(member, now);
    }

    /// Whether a member reported divergence after `since`.
    pub(super) fn is_known(&self, member: RaftId, since: u64) -> bool {
        self.others.get(&member).is_some_and(|received_at| *received_at >= since)
    }

    /// JavaScript is asked for the hash at this index.
    pub(super) fn await_hash(&mut self, index: u64) {
        self.awaited_hashes.insert(index);
    }

    /// Whether the hash at this index is that of an earlier state in the history of the present one. Hashing a large
    /// state takes so long that a snapshot may have replaced it meanwhile.
    pub(super) fn takes_awaited_hash(&mut self, index: u64) -> bool {
        self.awaited_hashes.remove(&index)
    }

    /// This node has reported the hash of its state.
    pub(super) fn note_hash(&mut self, index: u64, hash: StateHash) {
        self.hashed = Some((index, hash));
    }

    /// Whether this node last reported this hash; true once.
    pub(super) fn takes_hash(&mut self, index: u64, hash: StateHash) -> bool {
        let is_last = self.hashed == Some((index, hash));
        if is_last {
            self.forget_hash();
        }
        is_last
    }

    /// Forgets the last comparison: the state was replaced, or the comparison has been handled.
    fn forget_hash(&mut self) {
        injected_bug!(RemembersComparedState, return);
        self.hashed = None;
    }

    /// What the state of a snapshot at `index` means for this node.
    pub(super) fn restoration(&self, index: u64) -> Restoration {
        if !self.is_diverged() {
            return Restoration::Follows;
        }
        match self.restorable_from() {
            Some(first) if first <= index => Restoration::Restores,
            _ => Restoration::Refused,
        }
    }

    /// The application gets the state of a snapshot at `index`, unless that is refused.
    pub(super) fn restore(&mut self, index: u64) -> Restoration {
        let restoration = self.restoration(index);
        if restoration != Restoration::Refused {
            self.awaited_hashes.clear();
        }
        if restoration == Restoration::Restores {
            self.restores += 1;
            self.diverged = None;
            self.forget_hash();
        }
        restoration
    }
}
