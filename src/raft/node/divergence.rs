//! Quarantines a node whose state is not to be trusted, until the leader's snapshot restores it, once.
//!
//! A diverged node stores entries and votes, but evaluates nothing, and its application receives no further action. It
//! compacts its log by the leader's snapshots, as other nodes do by their own. It campaigns only if no other node
//! becomes leader, because the others may lack committed entries that it alone has; it leads only until one of them has
//! those entries.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::leader_state::LeaderState;
use super::output::Output;
use super::replica::Replica;
use crate::error::Error;
use crate::raft::events::{Position, StateHash, Target};
use crate::raft::frame::Message;
use crate::raft::identity::{Incarnation, RaftId};
use crate::raft::snapshot::Snapshot;

/// If a state that came from the leader diverges again, the cause is permanent.
const RESTORES_MAX: u32 = 1;

/// Whether a node's state is to be trusted.
#[derive(Debug, Default)]
pub(super) struct Divergence {
    diverged: Option<(u64, Error)>,
    restores: u32,
    /// Since when this diverged node has known no leader.
    leaderless_since: Option<u64>,
    /// The hash that this node last reported, until it is restored or informed that its state differs.
    hashed: Option<(u64, StateHash)>,
    /// When members reported that they have diverged: they must not receive leadership.
    others: BTreeMap<RaftId, u64>,
}

/// What the state of a snapshot is to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restoration {
    /// The node has not diverged: its application follows.
    Follows,
    /// The node is not diverged any more.
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

    /// Whether a diverged node leaves leadership to the others.
    pub(super) fn is_silent(&self, now: u64, leaderless_ticks_max: u64) -> bool {
        let is_patient = |since| now < since + leaderless_ticks_max;
        self.is_diverged() && self.leaderless_since.is_none_or(is_patient)
    }

    /// Whether a member reported divergence after `since`.
    pub(super) fn is_known(&self, member: RaftId, since: u64) -> bool {
        self.others.get(&member).is_some_and(|received_at| *received_at >= since)
    }

    /// This node has reported the hash of its state.
    pub(super) fn note_hash(&mut self, index: u64, hash: StateHash) {
        self.hashed = Some((index, hash));
    }

    /// Whether this node last reported this hash; that has its consequence once.
    pub(super) fn takes_hash(&mut self, index: u64, hash: StateHash) -> bool {
        let is_last = self.hashed == Some((index, hash));
        if is_last {
            self.forget_hash();
        }
        is_last
    }

    /// Forgets the last comparison: its state was replaced, or it has had its consequence.
    fn forget_hash(&mut self) {
        injected_bug!(RemembersComparedState, return);
        self.hashed = None;
    }

    /// What the state of a snapshot at `index` is to this node.
    fn restoration(&self, index: u64) -> Restoration {
        match &self.diverged {
            None => Restoration::Follows,
            Some((diverged_at, _)) if *diverged_at <= index && self.restores < RESTORES_MAX => {
                Restoration::Restores
            }
            Some(_) => Restoration::Refused,
        }
    }

    /// The application gets the state of a snapshot at `index`, unless that is refused.
    pub(super) fn restore(&mut self, index: u64) -> Restoration {
        let restoration = self.restoration(index);
        if restoration == Restoration::Restores {
            self.restores += 1;
            self.diverged = None;
            self.forget_hash();
        }
        restoration
    }
}

/// From `index` on, this node's state does not match the log. Returns the error, unless it has diverged before.
pub(super) fn begin(index: u64, why: String, replica: &mut Replica) -> Option<Error> {
    if replica.divergence.is_diverged() {
        return None;
    }
    let error = Error::Diverged { index, why };
    replica.divergence.diverged = Some((index, error.clone()));
    replica.snapshots.want_nothing();
    if let Some(LeaderState { sessions, .. }) = &mut replica.leader_state {
        sessions.drop_provisional(replica.group.last_index());
    }
    Some(error)
}

/// Requests restoration at intervals, if the storage responds; a leader first transfers leadership.
pub(super) fn tick(is_storage_overdue: bool, replica: &mut Replica, output: &mut Output) {
    let since = replica.divergence.leaderless_since.unwrap_or(replica.now);
    replica.divergence.leaderless_since =
        Some(since).filter(|_| replica.divergence.is_diverged() && replica.leader().is_none());
    let Some((index, _)) = replica.divergence.diverged else { return };
    if replica.group.is_leader() {
        return replica.transfer_leadership(None);
    }
    let is_time = replica.now.is_multiple_of(replica.timing.between_divergence_reports());
    let leader = replica.leader().and_then(|leader| replica.members.incarnation(leader));
    if let Some(leader) = leader.filter(|_| is_time && !is_storage_overdue) {
        // One that no snapshot restores any more needs them for its log all the same.
        let index = if replica.divergence.restores < RESTORES_MAX {
            Some(index)
        } else {
            replica.wants_leaders_snapshot()
        };
        output.send(Target::One(leader), Message::Diverged { index });
    }
}

/// A member has diverged; it requests a snapshot at `index` or later, if that can restore it or shorten its log. True
/// if the newest one is to be sent.
pub(super) fn handle_report(from: Incarnation, index: Option<u64>, replica: &mut Replica) -> bool {
    replica.divergence.others.insert(from.raft_id(), replica.now);
    let Some(index) = index else { return false };
    let may_restore =
        replica.leader_state.is_some() && !replica.divergence.is_diverged() && replica.members.contains(from);
    let has_snapshot = replica.group.log().snapshot().position.index >= index;
    if may_restore && !has_snapshot {
        replica.snapshots.want();
    }
    may_restore && has_snapshot
}

/// The leader's snapshot arrived at a diverged node. It takes the place of this node's own, which is not to be trusted
/// any more, and so the log behind it can go; and of its state, once: what follows is then reduced again. True if the
/// application is to get that state.
///
/// The log stays what it is: the snapshot is of a past of it, applied here, and has the term that this log has there
/// (paper §5.3), and what it covers is durable. After a restart the node begins from it, and so with the leader's
/// state.
pub(super) fn take_leaders_snapshot(
    snapshot: Snapshot,
    image: Bytes,
    replica: &mut Replica,
    output: &mut Output,
) -> bool {
    let Position { index, term } = snapshot.position;
    let is_ours = replica.group.log().term_at(index) == Some(term)
        && index <= replica.delivered_index.min(replica.group.saved_index());
    if !is_ours || !replica.divergence.is_diverged() {
        return false;
    }
    let restores = replica.divergence.restoration(index) == Restoration::Restores;
    let write = replica.keep_leaders(&snapshot, image);
    if restores {
        replica.members = snapshot.members;
        replica.table = snapshot.table;
        replica.delivered_index = index;
        replica.group.rewind(index);
    }
    if let Some(write) = write {
        output.persist(write);
    }
    restores
}
