//! Quarantines a diverged node until the leader's snapshot restores its state. Restores once.
//!
//! A diverged node stores entries and votes, but evaluates nothing, and its application receives no further action. It
//! compacts its log by the leader's snapshots, as other nodes do by their own. It campaigns only if no other node
//! becomes leader, because the others may lack committed entries that it alone has; it leads only until one of them has
//! those entries.

use bytes::Bytes;

use super::divergence::Restoration;
use super::leader_state::LeaderState;
use super::output::Output;
use super::replica::Replica;
use crate::error::Error;
use crate::raft::events::{Position, Target};
use crate::raft::identity::Incarnation;
use crate::raft::snapshot::Snapshot;
use crate::raft::wire::message::DivergenceMessage;

/// From `index` on, this node's state does not match the log. Returns the error, unless it has diverged before.
pub(super) fn begin(index: u64, why: String, replica: &mut Replica) -> Option<Error> {
    let error = replica.divergence.begin(index, why)?;
    replica.snapshots.want_nothing();
    if let Some(LeaderState { sessions, .. }) = &mut replica.leader_state {
        sessions.drop_provisional(replica.group.last_index());
    }
    Some(error)
}

/// A diverged node leaves leadership to the others, unless they have had no leader for long: its log may be needed.
pub(super) fn leaves_leadership(replica: &Replica) -> bool {
    replica.divergence.is_diverged()
        && replica.liveness.leaderless_ticks() <= replica.timing.diverged_campaigns()
}

/// Requests restoration at intervals, if the storage responds; a leader first transfers leadership.
pub(super) fn tick(is_storage_overdue: bool, replica: &mut Replica, output: &mut Output) {
    if !replica.divergence.is_diverged() {
        return;
    }
    if replica.group.is_leader() {
        return replica.transfer_leadership(None);
    }
    let is_time = replica.liveness.now().is_multiple_of(replica.timing.between_divergence_reports());
    let leader = replica.leader().and_then(|leader| replica.members.incarnation(leader));
    if let Some(leader) = leader.filter(|_| is_time && !is_storage_overdue) {
        // A node that no snapshot restores any more still needs snapshots to shorten its log.
        let index = replica.divergence.restorable_from().or_else(|| replica.wants_leaders_snapshot());
        output.send(Target::One(leader), DivergenceMessage::Diverged { index });
    }
}

/// A member has diverged; it requests a snapshot at `index` or later, if that can restore it or shorten its log. True
/// if the newest one is to be sent.
pub(super) fn handle_report(from: Incarnation, index: Option<u64>, replica: &mut Replica) -> bool {
    replica.divergence.note_report(from.raft_id(), replica.liveness.now());
    let Some(index) = index else { return false };
    let may_restore =
        replica.leader_state.is_some() && !replica.divergence.is_diverged() && replica.members.contains(from);
    let has_snapshot = replica.group.log().snapshot().position.index >= index;
    if may_restore && !has_snapshot {
        replica.snapshots.want();
    }
    may_restore && has_snapshot
}

/// The leader's snapshot arrived at a diverged node. It replaces this node's own snapshot, so that the log can be
/// compacted, and once it also replaces the state: the later entries are then reduced again. True if the application
/// gets that state.
///
/// The log does not change: the snapshot covers a prefix that is applied and durable here, with the same term at its
/// index (paper §5.3). After a restart the node begins from the snapshot, and so with the leader's state.
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
        replica.coordination = snapshot.coordination;
        replica.describe_sessions();
        replica.delivered_index = index;
        replica.group.rewind(index);
    }
    if let Some(write) = write {
        output.persist(write);
    }
    restores
}
