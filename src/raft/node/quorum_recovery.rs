//! Detects that the quorum is lost, and recovers the cluster from the surviving nodes on command.
//!
//! If a majority of the voters has lost its processes and its data, nothing can be committed, and
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

use super::output::Output;
use super::replica::{CastRecoveryVote, Founding, Replica};
use crate::error::Error;
use crate::raft::consensus::entry::Context;
use crate::raft::events::{RecoveryVote, ReplicaRecord, Target, Warning, Write};
use crate::raft::identity::{ClusterUuid, Incarnation, RaftId};
use crate::raft::options::Options;
use crate::raft::wire::message::RecoveryMessage;

/// What a node knows about the loss of its cluster's quorum.
#[derive(Debug, Default)]
pub(super) struct QuorumRecovery {
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

    /// The missing voters, and for how long; empty while the cluster needs no operator.
    pub(super) fn missing(&self, replica: &Replica) -> Vec<(Arc<str>, u64)> {
        let missing = self.missing_voters(replica);
        let cast_vote = replica.cast_vote.filter(|_| missing.is_empty() && is_vote_revocable(replica));
        let Some(CastRecoveryVote { recovery_vote, .. }) = cast_vote else { return missing };
        let member = recovery_vote.survivor.raft_id();
        let id =
            replica.members.id(member).cloned().unwrap_or_else(|| recovery_vote.cluster.to_string().into());
        vec![(id, replica.liveness.silent_ticks(member, 0))]
    }

    /// The voters that are silent, and for how long; empty while there is a quorum.
    fn missing_voters(&self, replica: &Replica) -> Vec<(Arc<str>, u64)> {
        if replica.liveness.leaderless_ticks() < replica.timing.quorum_lost() {
            return Vec::new();
        }
        injected_bug!(CountsVotersOfBothHalves, return missing_of_both_halves(replica));
        let heard = voters(replica).map(|(member, _)| member).filter(|member| !is_silent(*member, replica));
        if replica.group.is_quorum(heard) { Vec::new() } else { silent_voters(replica) }
    }

    fn has_lost(&self, replica: &Replica) -> bool {
        !self.missing_voters(replica).is_empty()
    }

    /// Counts a tick with a healthy channel: without one, silence means nothing.
    pub(super) fn tick(
        &mut self,
        is_closing: bool,
        replica: &mut Replica,
        options: &Options,
        output: &mut Output,
    ) {
        if replica.founding.is_some() {
            return;
        }
        if replica.leader().is_some() {
            (self.recovers, self.founds) = (false, false);
            self.granted.clear();
            if std::mem::take(&mut self.is_reported) {
                output.warn(Warning::QuorumRestored);
            }
            return;
        }
        let leaderless_ticks = replica.liveness.leaderless_ticks();
        let missing = self.missing_voters(replica);
        if !missing.is_empty() {
            if !std::mem::replace(&mut self.is_reported, true) {
                let missing = missing.into_iter().map(|(id, _)| id).collect();
                let milliseconds = options.milliseconds(leaderless_ticks);
                output.warn(Warning::QuorumLost { voters: voters(replica).count(), missing, milliseconds });
            }
            if options.recover_ticks.is_some_and(|ticks| leaderless_ticks >= ticks) {
                self.recovers = true;
            }
        }
        self.check_holder(replica, options, output);
        if leaderless_ticks.is_multiple_of(replica.timing.heartbeat()) {
            // Until its holder continues or releases it: the holder may have had a leader in between, and have
            // forgotten the vote.
            if let Some(CastRecoveryVote { recovery_vote, pending_write: None }) = replica.cast_vote {
                output.send(Target::One(recovery_vote.survivor), RecoveryMessage::VoteGranted);
            }
            self.recover(is_closing, replica, output);
        }
    }

    /// Reports the silence of the node that has this node's recovery vote.
    fn check_holder(&mut self, replica: &mut Replica, options: &Options, output: &mut Output) {
        let Some(cast_vote) = replica.cast_vote else { return };
        let ticks = holder_silence(cast_vote, replica);
        if ticks < replica.timing.quorum_lost() {
            return self.is_silence_reported = false;
        }
        if !std::mem::replace(&mut self.is_silence_reported, true) {
            let (successor, milliseconds) = (cast_vote.recovery_vote.cluster, options.milliseconds(ticks));
            output.warn(Warning::SuccessorSilent { successor, milliseconds });
        }
        if options.recover_ticks.is_some_and(|recover_ticks| ticks >= recover_ticks) {
            self.recovers = true;
            self.revoke(replica, output);
        }
    }

    /// The application orders recovery: refused immediately if there is a quorum.
    pub(super) fn order(
        &mut self,
        is_closing: bool,
        replica: Option<&mut Replica>,
        output: &mut Output,
    ) -> Result<(), Error> {
        let refuse = |why: String| Err(Error::QuorumNotLost { why });
        let Some(replica) = replica else { return refuse("this node is in no cluster".into()) };
        if replica.founding.is_none() && self.missing(replica).is_empty() {
            return refuse(match &replica.cast_vote {
                _ if replica.leader().is_some() => "there is a leader".into(),
                Some(cast_vote) => {
                    let successor = cast_vote.recovery_vote.cluster;
                    format!("this node waits for cluster {successor}, which is active")
                }
                None => "a majority of the voters is active, or has not been silent for long enough".into(),
            });
        }
        self.recovers = true;
        if is_vote_revocable(replica) {
            self.revoke(replica, output);
        }
        self.recover(is_closing, replica, output);
        Ok(())
    }

    /// Asks the survivor with the highest log to recover the cluster; if that is this node, asks the others for their
    /// recovery votes.
    fn recover(&mut self, is_closing: bool, replica: &Replica, output: &mut Output) {
        let me = replica.me;
        let has_lost = self.has_lost(replica);
        if !self.recovers || replica.founding.is_some() || is_closing {
            return;
        }
        let (term, index) = replica.group.last_position();
        let mut best = ((term, index), me);
        let mut survivors = Vec::new();
        for (member, incarnation, _) in replica.members.iter() {
            if incarnation == me || is_silent(member, replica) {
                continue;
            }
            survivors.push(incarnation);
            if let Some(log) = self.logs.get(&member) {
                best = best.max((*log, incarnation));
            }
        }
        let ((_, best), is_frozen) = (best, replica.cast_vote.is_some());
        self.founds = false;
        if is_frozen || !has_lost || best != me {
            // Another survivor, or the present cluster, needs the nodes that voted for this one.
            self.granted.clear();
            survivors.iter().for_each(|other| output.send(Target::One(*other), RecoveryMessage::Released));
        }
        if is_frozen {
            return;
        }
        if !has_lost {
            // There are enough voters, but some may have given their recovery vote to a node that has ended.
            survivors.iter().for_each(|other| output.send(Target::One(*other), RecoveryMessage::Recover));
            return;
        }
        if best != me {
            return output.send(Target::One(best), RecoveryMessage::Recover);
        }
        // An old vote may have been withdrawn: a voter does that only after a longer silence of this node.
        let has_voted = |survivor: &Incarnation| {
            let said = self.granted.get(&survivor.raft_id());
            said.is_some_and(|(other, at)| {
                other == survivor && replica.liveness.now() < at + replica.timing.missing()
            })
        };
        self.founds = survivors.iter().all(has_voted);
        for survivor in survivors {
            output.send(Target::One(survivor), RecoveryMessage::VoteRequest { term, index });
        }
    }

    pub(super) fn handle_message(
        &mut self,
        from: Incarnation,
        message: RecoveryMessage,
        is_closing: bool,
        replica: &mut Replica,
        output: &mut Output,
    ) {
        match message {
            // A lagging log may not contain the member with the higher log.
            RecoveryMessage::VoteRequest { term, index } => {
                self.handle_vote_request(from, term, index, replica, output);
            }
            RecoveryMessage::Released => self.handle_released(from, replica, output),
            _ if !replica.members.contains(from) => {}
            RecoveryMessage::Recover => self.handle_recover(is_closing, replica, output),
            RecoveryMessage::VoteGranted => self.handle_vote_granted(from, is_closing, replica, output),
            RecoveryMessage::VoteRejected { term, index } => self.note_log(from, term, index, replica),
        }
    }

    /// Another survivor found that this node has the highest log, or wants to recover the cluster without the node that
    /// has this node's vote.
    fn handle_recover(&mut self, is_closing: bool, replica: &mut Replica, output: &mut Output) {
        let is_revocable = is_vote_revocable(replica);
        if is_revocable {
            self.revoke(replica, output);
        }
        if is_revocable || self.has_lost(replica) {
            self.recovers = true;
            self.recover(is_closing, replica, output);
        }
    }

    /// The survivor with the highest log asks for this node's recovery vote.
    fn handle_vote_request(
        &mut self,
        from: Incarnation,
        term: u64,
        index: u64,
        replica: &mut Replica,
        output: &mut Output,
    ) {
        let has_lost = self.has_lost(replica);
        let is_revocable = is_vote_revocable(replica);
        // Its configuration may be newer than ours, and the living nodes may be a quorum in it. But there is no leader.
        let is_leaderless = replica.liveness.leaderless_ticks() >= replica.timing.quorum_lost();
        let ours = replica.group.last_position();
        let is_higher = (ours, replica.me) < ((term, index), from);
        match replica.cast_vote {
            _ if replica.founding.is_some() => {}
            Some(CastRecoveryVote { recovery_vote, pending_write }) if recovery_vote.survivor == from => {
                if pending_write.is_none() {
                    output.send(Target::One(from), RecoveryMessage::VoteGranted);
                }
            }
            Some(_) if !is_revocable => {}
            Some(_) | None if is_leaderless && is_higher => {
                let cluster = ClusterUuid::of_epoch(replica.cluster, from);
                self.vote(RecoveryVote { survivor: from, cluster }, replica, output);
            }
            // A learner never campaigns, so its log is unknown.
            Some(_) | None if has_lost => {
                let (term, index) = ours;
                output.send(Target::One(from), RecoveryMessage::VoteRejected { term, index });
            }
            Some(_) | None => {}
        }
    }

    /// Where the log of a member ends: it campaigns, or was asked for its recovery vote and has the higher log.
    pub(super) fn note_log(&mut self, from: Incarnation, term: u64, index: u64, replica: &Replica) {
        if replica.members.contains(from) {
            self.logs.insert(from.raft_id(), (term, index));
        }
    }

    fn handle_vote_granted(
        &mut self,
        from: Incarnation,
        is_closing: bool,
        replica: &Replica,
        output: &mut Output,
    ) {
        if replica.founding.is_some() {
            return;
        }
        if !self.recovers || !self.has_lost(replica) || replica.cast_vote.is_some() {
            return output.send(Target::One(from), RecoveryMessage::Released);
        }
        let is_news = self.granted.insert(from.raft_id(), (from, replica.liveness.now())).is_none();
        if is_news {
            self.recover(is_closing, replica, output);
        }
    }

    /// The survivor that has this node's vote releases it.
    fn handle_released(&mut self, from: Incarnation, replica: &mut Replica, output: &mut Output) {
        let successor =
            RecoveryVote { survivor: from, cluster: ClusterUuid::of_epoch(replica.cluster, from) };
        if replica.cast_vote.is_some_and(|cast_vote| cast_vote.recovery_vote == successor) {
            self.revoke(replica, output);
        }
    }

    /// Gives the recovery vote: this node no longer takes part in its cluster. The vote is sent once it is durable.
    fn vote(&mut self, recovery_vote: RecoveryVote, replica: &mut Replica, output: &mut Output) {
        let write = output.writes() + 1;
        replica.cast_vote = Some(CastRecoveryVote { recovery_vote, pending_write: Some(write) });
        replica.step_down();
        self.is_silence_reported = false;
        let record = Some(replica.record());
        injected_bug!(PromisesBeforeSaving, record => None);
        output.persist(Write { record, ..Write::default() });
        injected_bug!(PromisesBeforeSaving, send_vote(write, replica, output));
    }

    /// This node takes part in its cluster again: the holder of its vote is silent, or released it.
    fn revoke(&mut self, replica: &mut Replica, output: &mut Output) {
        injected_bug!(KeepsPromiseToTheDead, return);
        if replica.cast_vote.take().is_some() {
            self.is_silence_reported = false;
            output.persist(Write { record: Some(replica.record()), ..Write::default() });
        }
    }

    /// The cluster of this node has ended: its successor has what was committed up to `kept`.
    pub(super) fn supersede(
        &mut self,
        by: Incarnation,
        successor: ClusterUuid,
        kept: u64,
        replica: &mut Replica,
        output: &mut Output,
    ) {
        if self.ended_by.replace(successor) != Some(successor) {
            output.warn(Warning::Superseded { ours: replica.cluster, successor, kept });
        }
        if replica.cast_vote.is_none_or(|cast_vote| cast_vote.recovery_vote.cluster != successor) {
            self.vote(RecoveryVote { survivor: by, cluster: successor }, replica, output);
        }
    }

    /// Founds the successor, if all survivors have voted: nothing can stop it after the write that says so, and
    /// nothing is done in its name before that is durable. True if the write was ordered.
    pub(super) fn found(&mut self, replica: &mut Replica, options: &Options, output: &mut Output) -> bool {
        if !std::mem::take(&mut self.founds) {
            return false;
        }
        let is_whole = replica.delivered_index >= replica.group.log().snapshot().position.index;
        if replica.is_frozen() || replica.leader().is_some() || !replica.group.is_settled() || !is_whole {
            return false;
        }
        let missing = silent_voters(replica).into_iter().map(|(id, _)| id).collect();
        replica.step_down();
        let (me, id) = (replica.me, options.id.clone());
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
        output.persist(write);
        replica.founding = Some(Founding { write: output.writes(), cluster, entry, hard_state });
        true
    }
}

/// Writes up to this number are durable: a recovery vote among them is sent.
pub(super) fn send_vote(number: u64, replica: &mut Replica, output: &mut Output) {
    let Some(cast_vote) = &mut replica.cast_vote else { return };
    if cast_vote.pending_write.take_if(|write| *write <= number).is_some() {
        output.send(Target::One(cast_vote.recovery_vote.survivor), RecoveryMessage::VoteGranted);
    }
}

/// Applies the entry at `index`, which founded the successor with this survivor as its only voter.
pub(super) fn apply_epoch(
    index: u64,
    cluster: ClusterUuid,
    (survivor, id): (Incarnation, &Arc<str>),
    kept: u64,
    replica: &mut Replica,
) {
    let member = survivor.raft_id();
    replica.group.force_sole_voter(member, index);
    replica.epoch_index = index;
    let gone: Vec<RaftId> =
        replica.members.iter().map(|(raft_id, ..)| raft_id).filter(|id| *id != member).collect();
    for member in gone {
        replica.table.remove(member);
        replica.liveness.forget(member);
        replica.closing.remove(&member);
    }
    replica.table.admit(member);
    replica.coordination.recovered(member);
    // A log that is replayed may have been recovered again since: then the replica has that name already.
    let former = replica.members.cluster();
    replica.members.become_new_incarnation(cluster, survivor, id.clone(), kept);
    if replica.cluster == former {
        replica.cluster = cluster;
    }
}

/// A bug: counts the voters of both halves of a joint configuration together.
#[cfg(test)]
fn missing_of_both_halves(replica: &Replica) -> Vec<(Arc<str>, u64)> {
    let missing = silent_voters(replica);
    let voters = voters(replica).count();
    if voters - missing.len() > voters / 2 { Vec::new() } else { missing }
}

/// The node that has this node's recovery vote has been silent for so long that it may never return.
fn is_vote_revocable(replica: &Replica) -> bool {
    let is_long = |cast_vote| holder_silence(cast_vote, replica) >= replica.timing.quorum_lost();
    replica.cast_vote.is_some_and(is_long)
}

fn holder_silence(cast_vote: CastRecoveryVote, replica: &Replica) -> u64 {
    replica.liveness.silent_ticks(cast_vote.recovery_vote.survivor.raft_id(), 0)
}

fn is_silent(member: RaftId, replica: &Replica) -> bool {
    replica.liveness.silent_ticks(member, 0) >= replica.timing.missing()
}

fn silent_voters(replica: &Replica) -> Vec<(Arc<str>, u64)> {
    let silent = voters(replica).filter(|(member, _)| is_silent(*member, replica));
    let mut silent: Vec<_> =
        silent.map(|(member, id)| (id.clone(), replica.liveness.silent_ticks(member, 0))).collect();
    silent.sort();
    silent
}

fn voters(replica: &Replica) -> impl Iterator<Item = (RaftId, &Arc<str>)> {
    let members = replica.members.iter().filter(|(member, ..)| replica.group.is_voter(*member));
    members.map(|(member, _, id)| (member, id))
}
