//! This file keeps a node whose state is not to be trusted from doing harm, and compares the states of all nodes now
//! and then to find it.
//!
//! Part of `node.rs`. A fenced node stores entries and votes, but evaluates nothing, and its application sees no further
//! action. Its log is cut behind the leader's snapshots, as others' behind their own. It campaigns only if nobody else comes to lead, because the others may lack what is committed and it alone
//! still has; it leads only until one of them has that too. The leader's snapshot heals it, once.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::Node;
use crate::error::Error;
use crate::raft::entry::Context;
use crate::raft::events::{Delivery, ErrorOutcome, Hashed, Position, Settlement, StateHash, Target, Warning};
use crate::raft::frame::Message;
use crate::raft::identity::{Incarnation, RaftId};
use crate::raft::snapshot::Snapshot;
#[cfg(test)]
use crate::raft::testing::bugs::{Bug, is_back};

/// Comparing blocks JavaScript: it may take one hundredth of its time.
const PAUSE_FACTOR: u64 = 100;
const PAUSE_MICROS_MIN: u64 = 1_000_000;
/// A state that came from the leader and is wrong again is no accident.
const HEALS_MAX: u32 = 1;
/// After so many election timeouts without a leader a fenced node campaigns.
const LEADERLESS_TIMEOUTS: u64 = 3;

/// Whether a node's state is to be trusted.
#[derive(Debug, Default)]
pub(super) struct Fence {
    fenced: Option<(u64, Error)>,
    heals: u32,
    /// Since when this node, fenced, has known no leader.
    leaderless_since: Option<u64>,
    /// What this node last told of its state, until it is healed or told that it differs.
    hashed: Option<(u64, StateHash)>,
    /// When members said that they are fenced: leadership is not for them.
    others: BTreeMap<RaftId, u64>,
}

impl Fence {
    pub(super) fn is_fenced(&self) -> bool {
        self.fenced.is_some()
    }

    pub(super) fn error(&self) -> Option<&Error> {
        self.fenced.as_ref().map(|(_, error)| error)
    }

    /// Whether a node, if it is fenced, leaves it to the others to lead.
    pub(super) fn is_silent(&self, now: u64, election_ticks: u64) -> bool {
        let is_patient = |since| now < since + LEADERLESS_TIMEOUTS * election_ticks;
        self.is_fenced() && self.leaderless_since.is_none_or(is_patient)
    }

    /// The state that was compared last is not this node's any more, or its comparison has had its consequence.
    fn forget_compared(&mut self) {
        #[cfg(test)]
        if is_back(Bug::RemembersComparedState) {
            return;
        }
        self.hashed = None;
    }

    /// Whether a member said so after `since`.
    pub(super) fn is_known(&self, member: RaftId, since: u64) -> bool {
        self.others.get(&member).is_some_and(|said_at| *said_at >= since)
    }
}

impl Node {
    /// From `index` on, this node's state is not what the log makes of it.
    pub(super) fn fence(&mut self, index: u64, why: String) {
        let Some(seat) = self.seat.as_mut().filter(|seat| !seat.fence.is_fenced()) else { return };
        let error = Error::Fenced { index, why };
        seat.fence.fenced = Some((index, error.clone()));
        seat.snapshots.want_nothing();
        if let Some(leadership) = &mut seat.leadership {
            leadership.drop_provisional(seat.group.last_index());
        }
        self.news.push(Delivery::Fenced(error.clone()));
        let pending = self.origin.end_where(|_| true);
        self.settle_failed(pending, &error);
        self.fail_reads(&error);
        self.fall_behind();
        self.hand_over(None);
    }

    /// New performs of a fenced node end at once.
    pub(super) fn refuse_while_fenced(&mut self, sequence: u64) -> bool {
        let Some(error) = self.seat.as_ref().and_then(|seat| seat.fence.error()).cloned() else {
            return false;
        };
        let settlement = Settlement::Failed { error, outcome: ErrorOutcome::NotApplied };
        self.news.push(Delivery::Settled { sequence, settlement });
        true
    }

    /// Asks to be healed, now and then, if the storage answers; a leader first has to be none.
    pub(super) fn tick_fence(&mut self) {
        let is_overdue = self.is_storage_overdue();
        let Some(seat) = &mut self.seat else { return };
        let since = seat.fence.leaderless_since.unwrap_or(seat.now);
        seat.fence.leaderless_since =
            Some(since).filter(|_| seat.fence.is_fenced() && seat.leader().is_none());
        let Some((index, _)) = &seat.fence.fenced else { return };
        let index = *index;
        if seat.group.is_leader() {
            return self.hand_over(None);
        }
        let is_due = seat.now.is_multiple_of(2 * self.options.heartbeat_ticks.max(1)) && !is_overdue;
        let leader = seat.leader().and_then(|leader| seat.registry.incarnation(leader));
        if let Some(leader) = leader.filter(|_| is_due) {
            // One that no snapshot heals any more needs them for its log all the same.
            let index =
                if seat.fence.heals < HEALS_MAX { Some(index) } else { seat.wants_leaders_snapshot() };
            self.outbox.push(Target::One(leader), Message::Fenced { index });
        }
    }

    /// A member is fenced; it asks for a snapshot at `index` or later, if that may heal it, or make its log shorter.
    pub(super) fn hear_fenced(&mut self, from: Incarnation, index: Option<u64>) {
        let Some(seat) = &mut self.seat else { return };
        let member = from.raft_id();
        seat.fence.others.insert(member, seat.now);
        let Some(index) = index else { return };
        if seat.care.is_none() || seat.fence.is_fenced() || !seat.registry.contains(from) {
            return;
        }
        if seat.group.log().snapshot().position.index >= index {
            self.send_snapshot(member, false, true);
        } else {
            seat.snapshots.want();
        }
    }

    /// The leader's snapshot arrived at a fenced node. It takes the place of this node's own, which it has not to be trusted
    /// with any more, and so the log behind it can go; and of its state, once: what follows is then reduced again.
    ///
    /// The log stays what it is: the snapshot is of a past of it, applied here, and has the term that this log has there
    /// (paper §5.3), and what it covers is durable. After a restart the node begins from it, and so with the leader's state.
    pub(super) fn heal(&mut self, snapshot: Snapshot, image: Bytes) {
        let Some(seat) = &mut self.seat else { return };
        let Position { index, term } = snapshot.position;
        let is_ours = seat.group.log().term_at(index) == Some(term)
            && index <= seat.delivered_index.min(seat.group.saved_index());
        let Some((fenced_at, _)) = seat.fence.fenced.as_ref().filter(|_| is_ours) else { return };
        let heals = *fenced_at <= index && seat.fence.heals < HEALS_MAX;
        let write = seat.keep_leaders(&snapshot, image);
        if heals {
            seat.registry = snapshot.registry;
            seat.table = snapshot.table;
            seat.delivered_index = index;
            seat.group.rewind(index);
        }
        if let Some(write) = write {
            self.persist(write);
        }
        if heals {
            self.restore_if_trusted(index, snapshot.state);
        }
    }

    /// The application gets the state of a snapshot; a fenced one only if it may be trusted then.
    pub(super) fn restore_if_trusted(&mut self, index: u64, state: Option<Bytes>) {
        let Some(seat) = &mut self.seat else { return };
        let Some((fenced_at, _)) = &seat.fence.fenced else { return self.restore(index, state) };
        if *fenced_at <= index && seat.fence.heals < HEALS_MAX {
            seat.fence.heals += 1;
            seat.fence.fenced = None;
            seat.fence.forget_compared();
            self.is_pristine = false;
            self.restore(index, state);
            self.news.push(Delivery::Healed);
            self.begin_catch_up();
        }
    }

    /// Proposes a comparison of all states, if this node leads and one is due.
    pub(super) fn propose_check(&mut self) {
        let Some(seat) =
            self.seat.as_mut().filter(|seat| self.options.compares_states && seat.group.accepts_proposals())
        else {
            return;
        };
        let (now, delivered_index) = (seat.now, seat.delivered_index);
        let is_open = seat.leadership.as_ref().is_some_and(|leadership| leadership.is_open());
        let others = seat.registry.members().len() > 1;
        let Some(care) = seat.care.as_mut().filter(|_| is_open && others && !seat.fence.is_fenced()) else {
            return;
        };
        if now < care.checks_at || care.checked_index >= seat.last_action {
            return;
        }
        care.checked_index = seat.last_action;
        care.checks_at = now + PAUSE_MICROS_MIN.div_ceil(self.options.tick_micros.max(1));
        care.hashes.clear();
        care.accused.clear();
        debug_assert!(seat.last_action <= delivered_index);
        _ = seat.group.propose(vec![(Context::Check.encode(), Bytes::new())]);
    }

    /// JavaScript hashed its state at a check.
    pub(super) fn hashed(&mut self, hashed: Hashed) {
        let me = self.membership.me().raft_id();
        let tick_micros = self.options.tick_micros.max(1);
        let Some(seat) = self.seat.as_mut().filter(|seat| !seat.fence.is_fenced()) else { return };
        if let Some(care) = &mut seat.care {
            let pause = (PAUSE_FACTOR * hashed.micros).max(PAUSE_MICROS_MIN);
            care.checks_at = care.checks_at.max(seat.now + pause.div_ceil(tick_micros));
        }
        let Some(hash) = hashed.hash else { return };
        seat.fence.hashed = Some((hashed.index, hash));
        let version = self.options.version.clone();
        if seat.care.is_some() {
            self.note_hash(me, hashed.index, version, hash);
        } else if let Some(leader) = seat.leader().and_then(|leader| seat.registry.incarnation(leader)) {
            let message = Message::StateHash { index: hashed.index, version, hash };
            self.outbox.push(Target::One(leader), message);
        }
    }

    /// A member told the hash of its state: whoever differs from what a majority of the voters has is told so.
    pub(super) fn note_hash(&mut self, member: RaftId, index: u64, version: Arc<str>, hash: StateHash) {
        let me = self.membership.me().raft_id();
        let Some(seat) = &mut self.seat else { return };
        let Some(care) = &mut seat.care else { return };
        if care.hashes.values().any(|(newer, ..)| *newer > index) {
            return;
        }
        if care.hashes.values().any(|(older, ..)| *older < index) {
            care.hashes.clear();
            care.accused.clear();
        }
        care.hashes.insert(member, (index, version.clone(), hash));
        let reports = care.hashes.iter().filter(|(_, (_, theirs, _))| *theirs == version);
        let reports: Vec<(RaftId, StateHash)> =
            reports.map(|(member, (_, _, hash))| (*member, *hash)).collect();
        let mut voters: BTreeMap<StateHash, usize> = BTreeMap::new();
        for (_, hash) in reports.iter().filter(|(member, _)| seat.group.is_voter(*member)) {
            *voters.entry(*hash).or_default() += 1;
        }
        let voter_count =
            seat.registry.members().filter(|(raft_id, ..)| seat.group.is_voter(*raft_id)).count();
        let Some((majority, _)) = voters.iter().find(|(_, count)| **count > voter_count / 2) else {
            if voters.len() > 1 && voters.values().sum::<usize>() == voter_count {
                self.warn(Warning::StatesDiffer { index });
            }
            return;
        };
        let majority = *majority;
        for (member, hash) in reports.into_iter().filter(|(_, hash)| *hash != majority) {
            // Once, also if others' hashes come later: it may be healed by then.
            let care = self.seat.as_mut().and_then(|seat| seat.care.as_mut());
            let is_told = care.is_some_and(|care| care.accused.insert(member, hash) == Some(hash));
            #[cfg(test)]
            let is_told = is_told && !is_back(Bug::TellsDisagreementAgain);
            if is_told {
                continue;
            }
            if member == me {
                self.disagree(index, hash, majority);
            } else if let Some(incarnation) =
                self.seat.as_ref().and_then(|seat| seat.registry.incarnation(member))
            {
                let message = Message::Disagrees { index, ours: hash, theirs: majority };
                self.outbox.push(Target::One(incarnation), message);
            }
        }
    }

    /// The leader says that a majority has another state than this node told of. It counts once, and for that state alone:
    /// repeated or late it may come when this node is healed.
    pub(super) fn disagree(&mut self, index: u64, ours: StateHash, theirs: StateHash) {
        let Some(seat) = &mut self.seat else { return };
        if seat.fence.hashed == Some((index, ours)) {
            seat.fence.forget_compared();
            let why = format!(
                "its state at index {index}, after the action at index {}, has the hash {}, a majority's has {}; \
                 the reducer is not deterministic, or not the same everywhere",
                seat.last_action,
                hexadecimal(ours),
                hexadecimal(theirs)
            );
            self.fence(index, why);
        }
    }
}

fn hexadecimal(hash: StateHash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
