//! Quarantines a node whose state is not to be trusted, and compares the states of all nodes at intervals to detect
//! one.
//!
//! Part of `node.rs`. A diverged node stores entries and votes, but evaluates nothing, and its application receives no
//! further action. It compacts its log by the leader's snapshots, as other nodes do by their own. It campaigns only if
//! no other node becomes leader, because the others may lack committed entries that it alone has; it leads only until
//! one of them has those entries. The leader's snapshot restores it, once.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::Node;
use super::leader_state::LeaderState;
use crate::error::Error;
use crate::raft::entry::Context;
use crate::raft::events::{
    CallOutcome, Delivery, FailureOutcome, Hashed, Position, StateHash, Target, Warning,
};
use crate::raft::frame::Message;
use crate::raft::identity::{Incarnation, RaftId};
use crate::raft::snapshot::Snapshot;
use crate::raft::transfer::SnapshotReason;

/// A comparison blocks JavaScript: it may take 1 % of its time.
const PAUSE_FACTOR: u64 = 100;
const PAUSE_MICROS_MIN: u64 = 1_000_000;
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

    /// Forgets the last comparison: its state was replaced, or it has had its consequence.
    fn forget_compared(&mut self) {
        injected_bug!(RemembersComparedState, return);
        self.hashed = None;
    }

    /// Whether a member reported divergence after `since`.
    pub(super) fn is_known(&self, member: RaftId, since: u64) -> bool {
        self.others.get(&member).is_some_and(|received_at| *received_at >= since)
    }
}

impl Node {
    /// From `index` on, this node's state does not match the log.
    pub(super) fn divergence(&mut self, index: u64, why: String) {
        let Some(replica) = self.replica.as_mut().filter(|replica| !replica.divergence.is_diverged()) else {
            return;
        };
        let error = Error::Diverged { index, why };
        replica.divergence.diverged = Some((index, error.clone()));
        replica.snapshots.want_nothing();
        if let Some(LeaderState { sessions, .. }) = &mut replica.leader_state {
            sessions.drop_provisional(replica.group.last_index());
        }
        self.output.deliver(Delivery::Diverged(error.clone()));
        let pending = self.client_session.end_where(|_| true);
        self.settle_failed(pending, &error);
        self.operations.fail_reads(&error, &mut self.output);
        self.operations.fall_behind(&mut self.output);
        self.transfer_leadership(None);
    }

    /// Rejects a new call of a diverged node immediately.
    pub(super) fn refuse_while_diverged(&mut self, sequence: u64) -> bool {
        let Some(error) = self.replica.as_ref().and_then(|replica| replica.divergence.error()).cloned()
        else {
            return false;
        };
        let call_outcome = CallOutcome::Failed { error, outcome: FailureOutcome::NotApplied };
        self.output.deliver(Delivery::Settled { sequence, call_outcome });
        true
    }

    /// Requests restoration at intervals, if the storage responds; a leader first transfers leadership.
    pub(super) fn tick_divergence(&mut self) {
        let is_overdue = self.overdue.is_overdue();
        let Some(replica) = &mut self.replica else { return };
        let since = replica.divergence.leaderless_since.unwrap_or(replica.now);
        replica.divergence.leaderless_since =
            Some(since).filter(|_| replica.divergence.is_diverged() && replica.leader().is_none());
        let Some((index, _)) = &replica.divergence.diverged else { return };
        let index = *index;
        if replica.group.is_leader() {
            return self.transfer_leadership(None);
        }
        let is_due = replica.now.is_multiple_of(self.timing.between_divergence_reports()) && !is_overdue;
        let leader = replica.leader().and_then(|leader| replica.members.incarnation(leader));
        if let Some(leader) = leader.filter(|_| is_due) {
            // One that no snapshot restores any more needs them for its log all the same.
            let index = if replica.divergence.restores < RESTORES_MAX {
                Some(index)
            } else {
                replica.wants_leaders_snapshot()
            };
            self.output.send(Target::One(leader), Message::Diverged { index });
        }
    }

    /// A member has diverged; it requests a snapshot at `index` or later, if that can restore it or shorten its log.
    pub(super) fn handle_diverged(&mut self, from: Incarnation, index: Option<u64>) {
        let Some(replica) = &mut self.replica else { return };
        let member = from.raft_id();
        replica.divergence.others.insert(member, replica.now);
        let Some(index) = index else { return };
        if replica.leader_state.is_none()
            || replica.divergence.is_diverged()
            || !replica.members.contains(from)
        {
            return;
        }
        if replica.group.log().snapshot().position.index >= index {
            self.send_snapshot(member, SnapshotReason::Restoration);
        } else {
            replica.snapshots.want();
        }
    }

    /// The leader's snapshot arrived at a diverged node. It takes the place of this node's own, which it has not to be
    /// trusted with any more, and so the log behind it can go; and of its state, once: what follows is then reduced
    /// again.
    ///
    /// The log stays what it is: the snapshot is of a past of it, applied here, and has the term that this log has
    /// there (paper §5.3), and what it covers is durable. After a restart the node begins from it, and so with the
    /// leader's state.
    pub(super) fn restore_from_leader(&mut self, snapshot: Snapshot, image: Bytes) {
        let Some(replica) = &mut self.replica else { return };
        let Position { index, term } = snapshot.position;
        let is_ours = replica.group.log().term_at(index) == Some(term)
            && index <= replica.delivered_index.min(replica.group.saved_index());
        let Some((diverged_at, _)) = replica.divergence.diverged.as_ref().filter(|_| is_ours) else { return };
        let restores = *diverged_at <= index && replica.divergence.restores < RESTORES_MAX;
        let write = replica.keep_leaders(&snapshot, image);
        if restores {
            replica.members = snapshot.members;
            replica.table = snapshot.table;
            replica.delivered_index = index;
            replica.group.rewind(index);
        }
        if let Some(write) = write {
            self.output.persist(write);
        }
        if restores {
            self.restore_if_trusted(index, snapshot.state);
        }
    }

    /// Delivers the state of a snapshot to the application; if the node has diverged, only if the state can be trusted
    /// afterwards.
    pub(super) fn restore_if_trusted(&mut self, index: u64, state: Option<Bytes>) {
        let Some(replica) = &mut self.replica else { return };
        let Some((diverged_at, _)) = &replica.divergence.diverged else { return self.restore(index, state) };
        if *diverged_at <= index && replica.divergence.restores < RESTORES_MAX {
            replica.divergence.restores += 1;
            replica.divergence.diverged = None;
            replica.divergence.forget_compared();
            self.is_pristine = false;
            self.restore(index, state);
            self.output.deliver(Delivery::Restored);
            self.operations.begin_catch_up(&mut self.output);
        }
    }

    /// Proposes a comparison of all states, if this node leads and one is due.
    pub(super) fn propose_check(&mut self) {
        let Some(replica) = self
            .replica
            .as_mut()
            .filter(|replica| self.options.compares_states && replica.group.accepts_proposals())
        else {
            return;
        };
        let (now, delivered_index) = (replica.now, replica.delivered_index);
        let is_open = replica.has_open_sessions();
        let others = replica.members.iter().len() > 1;
        let Some(leader_state) =
            replica.leader_state.as_mut().filter(|_| is_open && others && !replica.divergence.is_diverged())
        else {
            return;
        };
        if now < leader_state.checks_at || leader_state.checked_index >= replica.last_action {
            return;
        }
        leader_state.checked_index = replica.last_action;
        leader_state.checks_at = now + PAUSE_MICROS_MIN.div_ceil(self.options.tick_micros.max(1));
        leader_state.hashes.clear();
        leader_state.accused.clear();
        debug_assert!(replica.last_action <= delivered_index);
        _ = replica.group.propose(vec![(Context::Check.encode(), Bytes::new())]);
    }

    /// JavaScript has hashed its state at a check.
    pub(super) fn hashed(&mut self, hashed: Hashed) {
        let me = self.bootstrap.me().raft_id();
        let tick_micros = self.options.tick_micros.max(1);
        let Some(replica) = self.replica.as_mut().filter(|replica| !replica.divergence.is_diverged()) else {
            return;
        };
        if let Some(leader_state) = &mut replica.leader_state {
            let pause = (PAUSE_FACTOR * hashed.micros).max(PAUSE_MICROS_MIN);
            leader_state.checks_at = leader_state.checks_at.max(replica.now + pause.div_ceil(tick_micros));
        }
        let Some(hash) = hashed.hash else { return };
        replica.divergence.hashed = Some((hashed.index, hash));
        let version = self.options.version.clone();
        if replica.leader_state.is_some() {
            self.note_hash(me, hashed.index, version, hash);
        } else if let Some(leader) = replica.leader().and_then(|leader| replica.members.incarnation(leader)) {
            let message = Message::StateHash { index: hashed.index, version, hash };
            self.output.send(Target::One(leader), message);
        }
    }

    /// A member reported the hash of its state: notifies members whose state differs from that of a majority of the
    /// voters.
    pub(super) fn note_hash(&mut self, member: RaftId, index: u64, version: Arc<str>, hash: StateHash) {
        let me = self.bootstrap.me().raft_id();
        let Some(replica) = &mut self.replica else { return };
        let Some(leader_state) = &mut replica.leader_state else { return };
        if leader_state.hashes.values().any(|(newer, ..)| *newer > index) {
            return;
        }
        if leader_state.hashes.values().any(|(older, ..)| *older < index) {
            leader_state.hashes.clear();
            leader_state.accused.clear();
        }
        leader_state.hashes.insert(member, (index, version.clone(), hash));
        let reports = leader_state.hashes.iter().filter(|(_, (_, theirs, _))| *theirs == version);
        let reports: Vec<(RaftId, StateHash)> =
            reports.map(|(member, (_, _, hash))| (*member, *hash)).collect();
        let mut voters: BTreeMap<StateHash, usize> = BTreeMap::new();
        for (_, hash) in reports.iter().filter(|(member, _)| replica.group.is_voter(*member)) {
            *voters.entry(*hash).or_default() += 1;
        }
        let voter_count =
            replica.members.iter().filter(|(raft_id, ..)| replica.group.is_voter(*raft_id)).count();
        let Some((majority, _)) = voters.iter().find(|(_, count)| **count > voter_count / 2) else {
            if voters.len() > 1 && voters.values().sum::<usize>() == voter_count {
                self.output.warn(Warning::StatesDiffer { index });
            }
            return;
        };
        let majority = *majority;
        for (member, hash) in reports.into_iter().filter(|(_, hash)| *hash != majority) {
            // Once, also if others' hashes come later: it may be restored by then.
            let leader_state = self.replica.as_mut().and_then(|replica| replica.leader_state.as_mut());
            let is_told = leader_state
                .is_some_and(|leader_state| leader_state.accused.insert(member, hash) == Some(hash));
            injected_bug!(TellsDisagreementAgain, is_told => false);
            if is_told {
                continue;
            }
            if member == me {
                self.handle_disagreement(index, hash, majority);
            } else if let Some(incarnation) =
                self.replica.as_ref().and_then(|replica| replica.members.incarnation(member))
            {
                let message = Message::Disagrees { index, ours: hash, theirs: majority };
                self.output.send(Target::One(incarnation), message);
            }
        }
    }

    /// The leader reports that a majority has a state other than this node's. The report counts once, and for that
    /// state alone: a repeated or late one may arrive after this node was restored.
    pub(super) fn handle_disagreement(&mut self, index: u64, ours: StateHash, theirs: StateHash) {
        let Some(replica) = &mut self.replica else { return };
        if replica.divergence.hashed == Some((index, ours)) {
            replica.divergence.forget_compared();
            let why = format!(
                "its state at index {index}, after the action at index {}, has the hash {}, a majority's has {}; \
                 the reducer is not deterministic, or not the same everywhere",
                replica.last_action,
                hexadecimal(ours),
                hexadecimal(theirs)
            );
            self.divergence(index, why);
        }
    }
}

fn hexadecimal(hash: StateHash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
