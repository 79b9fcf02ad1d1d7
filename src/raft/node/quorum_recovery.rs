//! Detects that the quorum is lost, and recovers the cluster from the surviving nodes on command.
//!
//! Part of `node.rs`. If a majority of the voters has lost its processes and its data, nothing can be committed, and
//! the cluster can continue only at the risk of losing what those voters alone had acknowledged. The survivor with the
//! highest log takes this step for all: every survivor that it reaches gives it a recovery vote and takes no more part
//! in the cluster. Then it commits its whole log, including the uncommitted tail (the dead voters may have acknowledged
//! it), and an `Epoch` that makes it the only voter of a cluster with another name. The others join that cluster as
//! newcomers.
//!
//! Rules:
//! - a recovery vote is durable before it is sent, and so is the `Epoch` before anything is done or sent in its name;
//! - a recovery vote may be withdrawn, when recovery is requested again, once its holder was silent for ten election
//!   timeouts;
//! - a committed `Epoch` ends the former cluster, regardless of its quorum: a node that learns of it gives the same
//!   vote;
//! - no node drops a log before it has installed the successor's image. Until then the replica is set aside, and
//!   restored if the successor becomes silent.

use std::collections::BTreeMap;
use std::sync::Arc;

use raft_rs::eraftpb::{Entry, HardState};

use super::Node;
use super::outcomes;
use super::replica::{CastRecoveryVote, Founding, Replica, ReportedRole};
use crate::error::Error;
use crate::raft::entry::Context;
use crate::raft::events::{Delivery, Operation, RecoveryVote, ReplicaRecord, Target, Warning, Write};
use crate::raft::frame::Message;
use crate::raft::identity::{ClusterUuid, Incarnation, RaftId};

/// What a node knows about the loss of its cluster's quorum.
#[derive(Debug, Default)]
pub(super) struct QuorumRecovery {
    /// Ticks without a known leader.
    leaderless: u64,
    is_reported: bool,
    /// The last position of each member's log, from its campaigns: (term, index).
    logs: BTreeMap<RaftId, (u64, u64)>,
    /// The application ordered recovery, or the survivor with the highest log requested this node's support.
    recovers: bool,
    /// The recovery votes for this node, and when each was last received.
    granted: BTreeMap<RaftId, (Incarnation, u64)>,
    /// All survivors have voted: this node founds the successor as soon as raft-rs has nothing pending.
    founds: bool,
    /// The silence of the node that has this node's recovery vote was reported.
    is_silence_reported: bool,
    /// The successor that was reported to the application.
    ended_by: Option<ClusterUuid>,
}

impl QuorumRecovery {
    #[cfg(test)]
    pub(super) fn has_recovery_vote_from(&self, member: RaftId) -> bool {
        self.granted.contains_key(&member)
    }
}

impl Node {
    /// The missing voters, and for how long; empty while the cluster needs no operator.
    pub(super) fn missing(&self) -> Vec<(Arc<str>, u64)> {
        let missing = self.missing_voters();
        let Some(replica) = self.replica.as_ref().filter(|_| missing.is_empty()) else { return missing };
        let Some(CastRecoveryVote { recovery_vote, .. }) =
            replica.cast_vote.filter(|_| self.is_recovery_vote_revocable())
        else {
            return missing;
        };
        let member = recovery_vote.survivor.raft_id();
        let id =
            replica.members.id(member).cloned().unwrap_or_else(|| recovery_vote.cluster.to_string().into());
        vec![(id, replica.silent_ticks(member, 0))]
    }

    /// The voters that are silent, and for how long; empty while there is a quorum.
    fn missing_voters(&self) -> Vec<(Arc<str>, u64)> {
        let Some(replica) =
            self.replica.as_ref().filter(|_| self.quorum_recovery.leaderless >= self.quorum_lost_ticks())
        else {
            return Vec::new();
        };
        let is_heard = |member: &RaftId| !self.is_silent(replica, *member);
        injected_bug!(CountsVotersOfBothHalves, return self.missing_of_both_halves(replica));
        let heard = self.voters(replica).map(|(member, _)| member).filter(is_heard);
        if replica.group.is_quorum(heard) { Vec::new() } else { self.silent_voters(replica) }
    }

    /// A bug: counts the voters of both halves of a joint configuration together.
    #[cfg(test)]
    fn missing_of_both_halves(&self, replica: &Replica) -> Vec<(Arc<str>, u64)> {
        let missing = self.silent_voters(replica);
        let voters = self.voters(replica).count();
        if voters - missing.len() > voters / 2 { Vec::new() } else { missing }
    }

    /// The node that has this node's recovery vote has been silent for so long that it may never return.
    fn is_recovery_vote_revocable(&self) -> bool {
        self.replica.as_ref().is_some_and(|replica| {
            replica
                .cast_vote
                .is_some_and(|cast_vote| self.holder_silence(replica, cast_vote) >= self.quorum_lost_ticks())
        })
    }

    fn holder_silence(&self, replica: &Replica, cast_vote: CastRecoveryVote) -> u64 {
        replica.silent_ticks(cast_vote.recovery_vote.survivor.raft_id(), 0)
    }

    fn is_silent(&self, replica: &Replica, member: RaftId) -> bool {
        let silent_ticks_max = self.timing.missing();
        replica.silent_ticks(member, 0) >= silent_ticks_max
    }

    fn silent_voters(&self, replica: &Replica) -> Vec<(Arc<str>, u64)> {
        let silent = self.voters(replica).filter(|(member, _)| self.is_silent(replica, *member));
        let mut silent: Vec<_> =
            silent.map(|(member, id)| (id.clone(), replica.silent_ticks(member, 0))).collect();
        silent.sort();
        silent
    }

    fn voters<'a>(&self, replica: &'a Replica) -> impl Iterator<Item = (RaftId, &'a Arc<str>)> {
        replica
            .members
            .iter()
            .filter(|(member, ..)| replica.group.is_voter(*member))
            .map(|(member, _, id)| (member, id))
    }

    fn quorum_lost_ticks(&self) -> u64 {
        self.timing.quorum_lost()
    }

    /// Counts a tick with a healthy channel: without one, silence means nothing.
    pub(super) fn tick_quorum_recovery(&mut self) {
        let Some(replica) = &self.replica else { return };
        if replica.founding.is_some() {
            return;
        }
        if replica.leader().is_some() {
            self.quorum_recovery.leaderless = 0;
            (self.quorum_recovery.recovers, self.quorum_recovery.founds) = (false, false);
            self.quorum_recovery.granted.clear();
            if std::mem::take(&mut self.quorum_recovery.is_reported) {
                self.output.warn(Warning::QuorumRestored);
            }
            return;
        }
        self.quorum_recovery.leaderless += 1;
        let (voters, missing) = (self.voters(replica).count(), self.missing_voters());
        let silence = replica.cast_vote.map(|cast_vote| (cast_vote, self.holder_silence(replica, cast_vote)));
        if !missing.is_empty() {
            if !std::mem::replace(&mut self.quorum_recovery.is_reported, true) {
                let missing = missing.into_iter().map(|(id, _)| id).collect();
                let milliseconds = self.options.milliseconds(self.quorum_recovery.leaderless);
                self.output.warn(Warning::QuorumLost { voters, missing, milliseconds });
            }
            if self.options.recover_ticks.is_some_and(|ticks| self.quorum_recovery.leaderless >= ticks) {
                self.quorum_recovery.recovers = true;
            }
        }
        if let Some((CastRecoveryVote { recovery_vote, .. }, ticks)) = silence {
            self.note_holder_silence(recovery_vote, ticks);
        }
        if self.quorum_recovery.leaderless.is_multiple_of(self.timing.heartbeat()) {
            self.repeat_recovery_vote();
            self.recover();
        }
    }

    /// Repeats the recovery vote, until its holder continues or releases it: the holder may have had a leader in
    /// between, and have forgotten the vote.
    fn repeat_recovery_vote(&mut self) {
        let Some(CastRecoveryVote { recovery_vote, pending_write: None }) =
            self.replica.as_ref().and_then(|replica| replica.cast_vote)
        else {
            return;
        };
        self.output.send(Target::One(recovery_vote.survivor), Message::RecoveryVoteGranted);
    }

    /// Reports the silence of the node that has this node's recovery vote.
    fn note_holder_silence(&mut self, recovery_vote: RecoveryVote, ticks: u64) {
        if ticks < self.quorum_lost_ticks() {
            return self.quorum_recovery.is_silence_reported = false;
        }
        if !std::mem::replace(&mut self.quorum_recovery.is_silence_reported, true) {
            let milliseconds = self.options.milliseconds(ticks);
            self.output.warn(Warning::SuccessorSilent { successor: recovery_vote.cluster, milliseconds });
        }
        if self.options.recover_ticks.is_some_and(|recover_ticks| ticks >= recover_ticks) {
            self.quorum_recovery.recovers = true;
            self.revoke();
        }
    }

    /// The application orders recovery: refused immediately if there is a quorum.
    pub(super) fn begin_recovery(&mut self, ticket: u64, ticks: u64) {
        let is_founding = self.replica.as_ref().is_some_and(|replica| replica.founding.is_some());
        if !is_founding && (self.replica.is_none() || self.missing().is_empty()) {
            let why = match &self.replica {
                None => "this node is in no cluster".into(),
                Some(replica) if replica.leader().is_some() => "there is a leader".into(),
                Some(Replica { cast_vote: Some(cast_vote), .. }) => {
                    format!(
                        "this node waits for cluster {}, which is active",
                        cast_vote.recovery_vote.cluster
                    )
                }
                Some(_) => {
                    "a majority of the voters is active, or has not been silent for long enough".into()
                }
            };
            let result = Err(Error::QuorumNotLost { why });
            return self.output.deliver(Delivery::OperationEnded { ticket, result });
        }
        self.quorum_recovery.recovers = true;
        let replica = self.replica.as_ref();
        self.operations.begin(ticket, Operation::Recover, ticks, replica, &mut self.output);
        if self.is_recovery_vote_revocable() {
            self.revoke();
        }
        self.recover();
    }

    /// Asks the survivor with the highest log to continue; if that is this node, asks the others to let it.
    fn recover(&mut self) {
        let me = self.bootstrap.me();
        let has_lost = !self.missing_voters().is_empty();
        let Some(replica) = &self.replica else { return };
        if !self.quorum_recovery.recovers || replica.founding.is_some() || self.closing.is_some() {
            return;
        }
        let (term, index) = replica.group.last_position();
        let mut best = ((term, index), me);
        let mut survivors = Vec::new();
        let silent_ticks_max = self.timing.missing();
        for (member, incarnation, _) in replica.members.iter() {
            if member == me.raft_id() || self.is_silent(replica, member) {
                continue;
            }
            survivors.push(incarnation);
            if let Some(log) = self.quorum_recovery.logs.get(&member) {
                best = best.max((*log, incarnation));
            }
        }
        let ((_, best), is_frozen, now) = (best, replica.cast_vote.is_some(), replica.now);
        self.quorum_recovery.founds = false;
        if is_frozen || !has_lost || best != me {
            // A node that promised this node is needed by another, or by the cluster as it is.
            self.quorum_recovery.granted.clear();
            survivors.iter().for_each(|other| self.output.send(Target::One(*other), Message::Released));
        }
        if is_frozen {
            return;
        }
        if !has_lost {
            // There are enough, but some may have given way to who is gone.
            survivors.iter().for_each(|other| self.output.send(Target::One(*other), Message::Recover));
            return;
        }
        if best != me {
            return self.output.send(Target::One(best), Message::Recover);
        }
        // An old vote may have been withdrawn: a voter does that only after a longer silence of this node.
        let has_voted = |survivor: &Incarnation| {
            let said = self.quorum_recovery.granted.get(&survivor.raft_id());
            said.is_some_and(|(other, at)| other == survivor && now < at + silent_ticks_max)
        };
        self.quorum_recovery.founds = survivors.iter().all(has_voted);
        for survivor in survivors {
            self.output.send(Target::One(survivor), Message::RecoveryVoteRequest { term, index });
        }
    }

    /// Another survivor found that this node has the highest log, or wants to continue without the node that has this
    /// node's vote.
    pub(super) fn handle_recover(&mut self) {
        let is_revocable = self.is_recovery_vote_revocable();
        if is_revocable {
            self.revoke();
        }
        if is_revocable || !self.missing_voters().is_empty() {
            self.quorum_recovery.recovers = true;
            self.recover();
        }
    }

    /// The survivor with the highest log asks for the promise.
    pub(super) fn handle_recovery_vote_request(&mut self, from: Incarnation, term: u64, index: u64) {
        let has_lost = !self.missing_voters().is_empty();
        let is_revocable = self.is_recovery_vote_revocable();
        // Its configuration may be newer than ours, and the living nodes may be a quorum in it. But there is no leader.
        let is_leaderless = self.quorum_recovery.leaderless >= self.quorum_lost_ticks();
        let Some(replica) = &self.replica else { return };
        let ours = replica.group.last_position();
        let is_higher = (ours, self.bootstrap.me()) < ((term, index), from);
        match replica.cast_vote {
            _ if replica.founding.is_some() => {}
            Some(CastRecoveryVote { recovery_vote, pending_write }) if recovery_vote.survivor == from => {
                if pending_write.is_none() {
                    self.output.send(Target::One(from), Message::RecoveryVoteGranted);
                }
            }
            Some(_) if !is_revocable => {}
            Some(_) | None if is_leaderless && is_higher => {
                let cluster = ClusterUuid::of_epoch(replica.cluster, from);
                self.recovery_vote(RecoveryVote { survivor: from, cluster });
            }
            // A learner never campaigns, so its log is unknown.
            Some(_) | None if has_lost => {
                let (term, index) = ours;
                self.output.send(Target::One(from), Message::RecoveryVoteRejected { term, index });
            }
            Some(_) | None => {}
        }
    }

    /// A survivor that was asked for the promise has the higher log: it is the one to continue.
    pub(super) fn handle_recovery_vote_rejected(&mut self, from: Incarnation, term: u64, index: u64) {
        self.note_log(from, term, index);
    }

    /// Where the log of a member ends.
    pub(super) fn note_log(&mut self, from: Incarnation, term: u64, index: u64) {
        if self.replica.as_ref().is_some_and(|replica| replica.members.contains(from)) {
            self.quorum_recovery.logs.insert(from.raft_id(), (term, index));
        }
    }

    pub(super) fn handle_recovery_vote_granted(&mut self, from: Incarnation) {
        let has_lost = !self.missing_voters().is_empty();
        let Some(replica) = self.replica.as_ref().filter(|replica| replica.founding.is_none()) else {
            return;
        };
        if !self.quorum_recovery.recovers || !has_lost || replica.cast_vote.is_some() {
            return self.output.send(Target::One(from), Message::Released);
        }
        let is_news = self.quorum_recovery.granted.insert(from.raft_id(), (from, replica.now)).is_none();
        if is_news {
            self.recover();
        }
    }

    /// The survivor that this node gave way to leaves it to another.
    pub(super) fn handle_released(&mut self, from: Incarnation) {
        let Some(replica) = &self.replica else { return };
        let is_holder = replica.cast_vote.is_some_and(|CastRecoveryVote { recovery_vote, .. }| {
            recovery_vote
                == RecoveryVote { survivor: from, cluster: ClusterUuid::of_epoch(replica.cluster, from) }
        });
        if is_holder {
            self.revoke();
        }
    }

    /// This node takes no more part in its cluster; said, if it was asked, as soon as it is durable.
    fn recovery_vote(&mut self, recovery_vote: RecoveryVote) {
        let write = self.output.writes() + 1;
        let Some(replica) = &mut self.replica else { return };
        replica.cast_vote = Some(CastRecoveryVote { recovery_vote, pending_write: Some(write) });
        replica.step_down();
        let record = replica.record();
        self.quorum_recovery.is_silence_reported = false;
        let record = Some(record);
        injected_bug!(PromisesBeforeSaving, record => None);
        self.output.persist(Write { record, ..Write::default() });
        injected_bug!(PromisesBeforeSaving, self.send_recovery_vote(write));
    }

    /// Writes up to this number are durable.
    pub(super) fn send_recovery_vote(&mut self, number: u64) {
        let Some(replica) = &mut self.replica else { return };
        let Some(cast_vote) = &mut replica.cast_vote else { return };
        if cast_vote.pending_write.take_if(|write| *write <= number).is_some() {
            self.output.send(Target::One(cast_vote.recovery_vote.survivor), Message::RecoveryVoteGranted);
        }
    }

    /// This node takes part in its cluster again: the holder of its vote is gone, or released it.
    fn revoke(&mut self) {
        injected_bug!(KeepsPromiseToTheDead, return);
        let Some(replica) = &mut self.replica else { return };
        if replica.cast_vote.take().is_some() {
            let record = replica.record();
            self.quorum_recovery.is_silence_reported = false;
            self.output.persist(Write { record: Some(record), ..Write::default() });
        }
    }

    /// The cluster of this node has ended: its successor has what was committed up to `kept`.
    pub(super) fn supersede(&mut self, by: Incarnation, successor: ClusterUuid, kept: u64) {
        let Some(replica) = &self.replica else { return };
        let ours = replica.cluster;
        if self.quorum_recovery.ended_by != Some(successor) {
            self.quorum_recovery.ended_by = Some(successor);
            self.output.warn(Warning::Superseded { ours, successor, kept });
        }
        let Some(replica) = &self.replica else { return };
        if replica.cast_vote.is_none_or(|cast_vote| cast_vote.recovery_vote.cluster != successor) {
            self.recovery_vote(RecoveryVote { survivor: by, cluster: successor });
        }
        self.end_dispatched();
    }

    /// What was said up to now was said in the present cluster, by this incarnation.
    fn seal_as(&mut self, incarnation: Incarnation) {
        let cluster = self.replica.as_ref().map_or(ClusterUuid::NONE, |replica| replica.cluster);
        let started = self.start_guard.started();
        self.output.seal(cluster, incarnation, started);
    }

    /// The replica is put aside: the successor is to let this node in.
    pub(super) fn leave_for_successor(&mut self, former: Incarnation) {
        self.seal_as(former);
        self.former = self.leave_replica();
        injected_bug!(DropsLogBeforeSuccessor, self.former = None);
        if let Some(former) = &mut self.former {
            former.step_down();
            former.snapshots.drop_pending();
        }
    }

    /// The successor is silent, and this node has what it had before.
    pub(super) fn return_to_former(&mut self) {
        let me = self.bootstrap.me();
        let Some(mut replica) = self.former.take() else { return };
        // All were silent to the incarnation that waited.
        let (now, holder) =
            (replica.now, replica.cast_vote.map(|cast_vote| cast_vote.recovery_vote.survivor.raft_id()));
        for (member, ..) in replica.members.iter().filter(|(member, ..)| Some(*member) != holder) {
            replica.heard.insert(member, now);
        }
        replica.reported_role = ReportedRole::NONE;
        self.bootstrap.renamed(replica.cluster, replica.lineage().0);
        self.replica = Some(replica);
        self.operations.begin_catch_up(&mut self.output);
        let saved = self.saved;
        self.send_recovery_vote(saved);
        debug_assert!(self.replica.as_ref().is_some_and(Replica::is_frozen), "{me} left for a successor");
    }

    /// Founds the successor, if all survivors have voted: nothing can stop it after the write that says so, and
    /// nothing is done in its name before that is durable. True if the write was ordered.
    pub(super) fn found_anew(&mut self) -> bool {
        if !std::mem::take(&mut self.quorum_recovery.founds) {
            return false;
        }
        let me = self.bootstrap.me();
        let write_number = self.output.writes() + 1;
        let Some(replica) = self.replica.as_mut() else { return false };
        let is_whole = replica.delivered_index >= replica.group.log().snapshot().position.index;
        if replica.is_frozen() || replica.leader().is_some() || !replica.group.is_settled() || !is_whole {
            return false;
        }
        let missing = self.replica.as_ref().map_or(Vec::new(), |replica| self.silent_voters(replica));
        let missing = missing.into_iter().map(|(id, _)| id).collect();
        let Some(replica) = self.replica.as_mut() else { return false };
        replica.step_down();
        let id = self.options.id.clone();
        let cluster = ClusterUuid::of_epoch(replica.cluster, me);
        let (index, term) = (replica.group.last_index() + 1, replica.group.term() + 1);
        let epoch = Context::Epoch { cluster, survivor: me, id, missing, kept: replica.group.commit_index() };
        let entry = Entry { index, term, context: epoch.encode().into(), ..Entry::default() };
        let hard_state = HardState { term, vote: me.raft_id(), commit: index, ..HardState::default() };
        let write = Write {
            record: Some(ReplicaRecord::new(me, cluster)),
            entries: vec![entry.clone()],
            hard_state: Some(hard_state.clone()),
            ..Write::default()
        };
        injected_bug!(ForgetsSuccessorName, write => Write { record: None, ..write });
        replica.founding = Some(Founding { write: write_number, cluster, entry, hard_state });
        self.output.persist(write);
        injected_bug!(FoundsBeforeSaving, self.finish_founding(write_number));
        true
    }

    /// Writes up to this number are durable: if the founding one is among them, the successor exists.
    pub(super) fn finish_founding(&mut self, number: u64) {
        let me = self.bootstrap.me();
        let is_durable = |founding: &mut Founding| founding.write <= number;
        let founding = self.replica.as_mut().and_then(|replica| replica.founding.take_if(is_durable));
        let Some(founding) = founding else { return };
        // What was said before was said in the former name.
        self.seal_as(me);
        let Some(replica) = &mut self.replica else { return };
        replica.found_anew(founding, &self.options, &mut self.rng);
        self.bootstrap.renamed(replica.cluster, replica.lineage().0);
        self.quorum_recovery = QuorumRecovery::default();
    }

    /// Applies the entry that founded the successor.
    pub(super) fn apply_epoch(
        &mut self,
        index: u64,
        cluster: ClusterUuid,
        survivor: Incarnation,
        id: Arc<str>,
        missing: Vec<Arc<str>>,
        kept: u64,
    ) {
        let Some(replica) = &mut self.replica else { return };
        let member = survivor.raft_id();
        replica.group.force_sole_voter(member, index);
        replica.epoch_index = index;
        let gone: Vec<RaftId> =
            replica.members.iter().map(|(raft_id, ..)| raft_id).filter(|id| *id != member).collect();
        for member in gone {
            replica.table.remove(member);
            replica.heard.remove(&member);
            replica.silent_since.remove(&member);
            replica.closing.remove(&member);
        }
        replica.table.admit(member);
        // A log that is replayed may have been recovered again since: then the replica has that name already.
        let former = replica.members.cluster();
        replica.members.become_new_incarnation(cluster, survivor, id.clone(), kept);
        if replica.cluster == former {
            replica.cluster = cluster;
        }
        self.bootstrap.renamed(replica.cluster, replica.lineage().0);
        if survivor == self.bootstrap.me() {
            self.output.warn(Warning::Recovered { cluster, from: id, missing });
            outcomes::settle_decided(&mut self.client_session, u64::MAX, &mut self.output);
        }
    }
}
