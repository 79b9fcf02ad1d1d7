//! This file tells when the quorum is lost, and founds the cluster anew from what is left of it, when it is told to.
//!
//! Part of `node.rs`. A majority of voters that kept nothing is gone for good with its processes: nothing can be committed
//! any more, and the cluster can only go on at the risk of what the dead alone had acknowledged. The survivor with the
//! highest log takes that risk for all: everyone that it hears promises it to take no more part in the cluster; then it
//! commits its whole log, uncommitted tail included (the dead may have acknowledged it), and an `Epoch` that makes it the
//! one voter of a cluster with another name. The others join that as newcomers.
//!
//! Rules:
//! - a promise is durable before it is said, and so is the `Epoch` before anything is done or said in its name;
//! - a promise may be taken back, when somebody asks for recovery again, once its holder was silent for ten election
//!   timeouts;
//! - a committed `Epoch` ends the former cluster, whatever quorum that has: whoever hears of it promises the same;
//! - nobody drops a log before it has installed the successor's image. Until then the seat is put aside, and taken back
//!   if the successor falls silent.

use std::collections::BTreeMap;
use std::sync::Arc;

use raft_rs::eraftpb::{Entry, HardState};

use super::Node;
use super::seat::{Founding, Promised, Seat};
use crate::error::Error;
use crate::raft::entry::Context;
use crate::raft::events::{Ask, Promise, Role, SeatRecord, Target, Warning, Work, Write};
use crate::raft::frame::Message;
use crate::raft::identity::{ClusterUuid, Incarnation, RaftId};
#[cfg(test)]
use crate::raft::testing::bugs::{Bug, is_back};

/// What a node knows about the loss of its cluster's quorum.
#[derive(Debug, Default)]
pub(super) struct Loss {
    /// For how many ticks no leader was known.
    leaderless: u64,
    is_reported: bool,
    /// The last position of the log of each member, as its campaigns tell: (term, index).
    logs: BTreeMap<RaftId, (u64, u64)>,
    /// This node was told to recover, or the survivor with the highest log asked for it.
    recovers: bool,
    /// Who promised this node to take no more part, and when it last said so.
    yielded: BTreeMap<RaftId, (Incarnation, u64)>,
    /// All survivors have promised: the cluster is founded anew as soon as raft-rs has nothing under way.
    founds: bool,
    /// The silence of whom this node gave way to was told.
    is_silence_told: bool,
    /// Of which successor the application was told.
    ended_by: Option<ClusterUuid>,
}

impl Loss {
    #[cfg(test)]
    pub(super) fn is_promised_by(&self, member: RaftId) -> bool {
        self.yielded.contains_key(&member)
    }
}

impl Node {
    /// Who is missing, and for how long; empty while the cluster can go on without an operator.
    pub(super) fn missing(&self) -> Vec<(Arc<str>, u64)> {
        let missing = self.missing_voters();
        let Some(seat) = self.seat.as_ref().filter(|_| missing.is_empty()) else { return missing };
        let Some(Promised { promise, .. }) = seat.promised.filter(|_| self.is_promise_revocable()) else {
            return missing;
        };
        let member = promise.survivor.raft_id();
        let id = seat.registry.id(member).cloned().unwrap_or_else(|| promise.cluster.to_string().into());
        vec![(id, seat.silent_ticks(member, self.membership.me().raft_id(), 0))]
    }

    /// The voters that were not heard lately, and for how long; empty while there is a quorum.
    fn missing_voters(&self) -> Vec<(Arc<str>, u64)> {
        let Some(seat) = self.seat.as_ref().filter(|_| self.loss.leaderless >= self.loss_ticks()) else {
            return Vec::new();
        };
        let is_heard = |member: &RaftId| !self.is_silent(seat, *member);
        #[cfg(test)]
        if is_back(Bug::CountsVotersOfBothHalves) {
            let missing = self.silent_voters(seat);
            let voters = self.voters(seat).count();
            return if voters - missing.len() > voters / 2 { Vec::new() } else { missing };
        }
        let heard = self.voters(seat).map(|(member, _)| member).filter(is_heard);
        if seat.group.is_quorum(heard) { Vec::new() } else { self.silent_voters(seat) }
    }

    /// Whoever this node gave way to has been silent for so long that it may never go on.
    fn is_promise_revocable(&self) -> bool {
        self.seat.as_ref().is_some_and(|seat| {
            seat.promised.is_some_and(|promised| self.holder_silence(seat, promised) >= self.loss_ticks())
        })
    }

    fn holder_silence(&self, seat: &Seat, promised: Promised) -> u64 {
        seat.silent_ticks(promised.promise.survivor.raft_id(), self.membership.me().raft_id(), 0)
    }

    /// Without a leader, living voters campaign in turns: whoever was not heard for three turns is missing.
    fn is_silent(&self, seat: &Seat, member: RaftId) -> bool {
        let silent_ticks_max = 3 * self.options.election_timeout_ticks_max;
        seat.silent_ticks(member, self.membership.me().raft_id(), 0) >= silent_ticks_max
    }

    fn silent_voters(&self, seat: &Seat) -> Vec<(Arc<str>, u64)> {
        let me = self.membership.me().raft_id();
        let silent = self.voters(seat).filter(|(member, _)| self.is_silent(seat, *member));
        let mut silent: Vec<_> =
            silent.map(|(member, id)| (id.clone(), seat.silent_ticks(member, me, 0))).collect();
        silent.sort();
        silent
    }

    fn voters<'a>(&self, seat: &'a Seat) -> impl Iterator<Item = (RaftId, &'a Arc<str>)> {
        seat.registry
            .members()
            .filter(|(member, ..)| seat.group.is_voter(*member))
            .map(|(member, _, id)| (member, id))
    }

    fn loss_ticks(&self) -> u64 {
        10 * self.options.election_timeout_ticks_max
    }

    /// A tick with a healthy channel has passed: without one, silence means nothing.
    pub(super) fn tick_loss(&mut self) {
        let Some(seat) = &self.seat else { return };
        if seat.founding.is_some() {
            return;
        }
        if seat.leader().is_some() {
            self.loss.leaderless = 0;
            (self.loss.recovers, self.loss.founds) = (false, false);
            self.loss.yielded.clear();
            if std::mem::take(&mut self.loss.is_reported) {
                self.warn(Warning::QuorumRestored);
            }
            return;
        }
        self.loss.leaderless += 1;
        let (voters, missing) = (self.voters(seat).count(), self.missing_voters());
        let silence = seat.promised.map(|promised| (promised, self.holder_silence(seat, promised)));
        if !missing.is_empty() {
            if !std::mem::replace(&mut self.loss.is_reported, true) {
                let missing = missing.into_iter().map(|(id, _)| id).collect();
                let milliseconds = self.options.milliseconds(self.loss.leaderless);
                self.warn(Warning::QuorumLost { voters, missing, milliseconds });
            }
            if self.options.recover_ticks.is_some_and(|ticks| self.loss.leaderless >= ticks) {
                self.loss.recovers = true;
            }
        }
        if let Some((Promised { promise, .. }, ticks)) = silence {
            self.note_silence(promise, ticks);
        }
        if self.loss.leaderless.is_multiple_of(self.options.heartbeat_ticks.max(1)) {
            self.remind();
            self.recover();
        }
    }

    /// A survivor that was promised may have a leader again, and have forgotten: it is told, until it goes on or does
    /// without.
    fn remind(&mut self) {
        let Some(Promised { promise, rests_on: None }) = self.seat.as_ref().and_then(|seat| seat.promised)
        else {
            return;
        };
        self.outbox.push(Target::One(promise.survivor), Message::Yielded);
    }

    /// For how long whoever this node gave way to has been silent.
    fn note_silence(&mut self, promise: Promise, ticks: u64) {
        if ticks < self.loss_ticks() {
            return self.loss.is_silence_told = false;
        }
        if !std::mem::replace(&mut self.loss.is_silence_told, true) {
            let milliseconds = self.options.milliseconds(ticks);
            self.warn(Warning::SuccessorSilent { successor: promise.cluster, milliseconds });
        }
        if self.options.recover_ticks.is_some_and(|recover_ticks| ticks >= recover_ticks) {
            self.loss.recovers = true;
            self.revoke();
        }
    }

    /// An application asks for recovery: at once refused where there is a quorum.
    pub(super) fn ask_recover(&mut self, ticket: u64, ticks: u64) {
        let is_founding = self.seat.as_ref().is_some_and(|seat| seat.founding.is_some());
        if !is_founding && (self.seat.is_none() || self.missing().is_empty()) {
            let why = match &self.seat {
                None => "this node is in no cluster".into(),
                Some(seat) if seat.leader().is_some() => "there is a leader".into(),
                Some(Seat { promised: Some(promised), .. }) => {
                    format!("this node waits for cluster {}, heard lately", promised.promise.cluster)
                }
                Some(_) => {
                    "a majority of the voters was heard lately, or has not been silent for long enough".into()
                }
            };
            return self.answer_ask(ticket, Err(Error::QuorumNotLost { why }));
        }
        self.loss.recovers = true;
        self.ask(ticket, Ask::Recover, ticks);
        if self.is_promise_revocable() {
            self.revoke();
        }
        self.recover();
    }

    /// Asks the survivor with the highest log to go on; if that is this node, asks the others to let it.
    fn recover(&mut self) {
        let me = self.membership.me();
        let has_lost = !self.missing_voters().is_empty();
        let Some(seat) = &self.seat else { return };
        if !self.loss.recovers || seat.founding.is_some() || self.closing.is_some() {
            return;
        }
        let (term, index) = seat.group.last_position();
        let mut best = ((term, index), me);
        let mut survivors = Vec::new();
        let silent_ticks_max = 3 * self.options.election_timeout_ticks_max;
        for (member, incarnation, _) in seat.registry.members() {
            if member == me.raft_id() || self.is_silent(seat, member) {
                continue;
            }
            survivors.push(incarnation);
            if let Some(log) = self.loss.logs.get(&member) {
                best = best.max((*log, incarnation));
            }
        }
        let ((_, best), is_bound, now) = (best, seat.promised.is_some(), seat.now);
        self.loss.founds = false;
        if is_bound || !has_lost || best != me {
            // Whoever promised this node is needed by another, or by the cluster as it is.
            self.loss.yielded.clear();
            survivors.iter().for_each(|other| self.outbox.push(Target::One(*other), Message::Released));
        }
        if is_bound {
            return;
        }
        if !has_lost {
            // There are enough, but some may have given way to who is gone.
            survivors.iter().for_each(|other| self.outbox.push(Target::One(*other), Message::Recover));
            return;
        }
        if best != me {
            return self.outbox.push(Target::One(best), Message::Recover);
        }
        // Who promised long ago may have taken it back: nobody does before it was silent to it for longer.
        let has_promised = |survivor: &Incarnation| {
            let said = self.loss.yielded.get(&survivor.raft_id());
            said.is_some_and(|(other, at)| other == survivor && now < at + silent_ticks_max)
        };
        self.loss.founds = survivors.iter().all(has_promised);
        for survivor in survivors {
            self.outbox.push(Target::One(survivor), Message::Yield { term, index });
        }
    }

    /// Another survivor found that this node has the highest log, or wants to go on without whom this node gave way to.
    pub(super) fn hear_recover(&mut self) {
        let is_revocable = self.is_promise_revocable();
        if is_revocable {
            self.revoke();
        }
        if is_revocable || !self.missing_voters().is_empty() {
            self.loss.recovers = true;
            self.recover();
        }
    }

    /// The survivor with the highest log asks for the promise.
    pub(super) fn hear_yield(&mut self, from: Incarnation, term: u64, index: u64) {
        let has_lost = !self.missing_voters().is_empty();
        let is_revocable = self.is_promise_revocable();
        // Its configuration may be newer than ours, in which there may be a quorum of who lives. But nobody leads.
        let is_leaderless = self.loss.leaderless >= self.loss_ticks();
        let Some(seat) = &self.seat else { return };
        let ours = seat.group.last_position();
        let is_higher = (ours, self.membership.me()) < ((term, index), from);
        match seat.promised {
            _ if seat.founding.is_some() => {}
            Some(Promised { promise, rests_on }) if promise.survivor == from => {
                if rests_on.is_none() {
                    self.outbox.push(Target::One(from), Message::Yielded);
                }
            }
            Some(_) if !is_revocable => {}
            Some(_) | None if is_leaderless && is_higher => {
                let cluster = ClusterUuid::of_epoch(seat.cluster, from);
                self.promise(Promise { survivor: from, cluster });
            }
            // A learner never campaigns, and so nobody knows its log.
            Some(_) | None if has_lost => {
                let (term, index) = ours;
                self.outbox.push(Target::One(from), Message::Outranks { term, index });
            }
            Some(_) | None => {}
        }
    }

    /// A survivor that was asked for the promise has the higher log: it is the one to go on.
    pub(super) fn hear_outranks(&mut self, from: Incarnation, term: u64, index: u64) {
        self.note_log(from, term, index);
    }

    /// Where the log of a member ends.
    pub(super) fn note_log(&mut self, from: Incarnation, term: u64, index: u64) {
        if self.seat.as_ref().is_some_and(|seat| seat.registry.contains(from)) {
            self.loss.logs.insert(from.raft_id(), (term, index));
        }
    }

    pub(super) fn hear_yielded(&mut self, from: Incarnation) {
        let has_lost = !self.missing_voters().is_empty();
        let Some(seat) = self.seat.as_ref().filter(|seat| seat.founding.is_none()) else { return };
        if !self.loss.recovers || !has_lost || seat.promised.is_some() {
            return self.outbox.push(Target::One(from), Message::Released);
        }
        let is_news = self.loss.yielded.insert(from.raft_id(), (from, seat.now)).is_none();
        if is_news {
            self.recover();
        }
    }

    /// The survivor that this node gave way to leaves it to another.
    pub(super) fn hear_released(&mut self, from: Incarnation) {
        let Some(seat) = &self.seat else { return };
        let is_holder = seat.promised.is_some_and(|Promised { promise, .. }| {
            promise == Promise { survivor: from, cluster: ClusterUuid::of_epoch(seat.cluster, from) }
        });
        if is_holder {
            self.revoke();
        }
    }

    /// This node takes no more part in its cluster; said, if it was asked, as soon as it is durable.
    fn promise(&mut self, promise: Promise) {
        let write = self.writes + 1;
        let me = self.membership.me();
        let Some(seat) = &mut self.seat else { return };
        seat.promised = Some(Promised { promise, rests_on: Some(write) });
        seat.step_down();
        let record = seat.record(me);
        self.loss.is_silence_told = false;
        #[cfg(test)]
        if is_back(Bug::PromisesBeforeSaving) {
            self.persist(Write::default());
            return self.keep_promise(write);
        }
        self.persist(Write { record: Some(record), ..Write::default() });
    }

    /// Writes up to this number are durable.
    pub(super) fn keep_promise(&mut self, number: u64) {
        let Some(seat) = &mut self.seat else { return };
        let Some(promised) = &mut seat.promised else { return };
        if promised.rests_on.take_if(|write| *write <= number).is_some() {
            self.outbox.push(Target::One(promised.promise.survivor), Message::Yielded);
        }
    }

    /// This node takes part in its cluster again: whom it gave way to is gone, or did not want it.
    fn revoke(&mut self) {
        #[cfg(test)]
        if is_back(Bug::KeepsPromiseToTheDead) {
            return;
        }
        let me = self.membership.me();
        let Some(seat) = &mut self.seat else { return };
        if seat.promised.take().is_some() {
            let record = seat.record(me);
            self.loss.is_silence_told = false;
            self.persist(Write { record: Some(record), ..Write::default() });
        }
    }

    /// The cluster of this node has ended: its successor has what was committed up to `kept`.
    pub(super) fn supersede(&mut self, by: Incarnation, successor: ClusterUuid, kept: u64) {
        let Some(seat) = &self.seat else { return };
        let ours = seat.cluster;
        if self.loss.ended_by != Some(successor) {
            self.loss.ended_by = Some(successor);
            self.warn(Warning::Superseded { ours, successor, kept });
        }
        let Some(seat) = &self.seat else { return };
        if seat.promised.is_none_or(|promised| promised.promise.cluster != successor) {
            self.promise(Promise { survivor: by, cluster: successor });
        }
        self.end_dispatched();
    }

    /// What was said up to now was said in the present cluster, by this incarnation.
    fn seal_as(&mut self, incarnation: Incarnation) {
        let cluster = self.seat.as_ref().map_or(ClusterUuid::NONE, |seat| seat.cluster);
        let frames = self.outbox.seal(cluster, incarnation, self.started());
        self.work.extend(frames.map(|(target, bytes)| Work::Send(target, bytes)));
    }

    /// The seat is put aside: the successor is to let this node in.
    pub(super) fn give_way(&mut self, former: Incarnation) {
        self.seal_as(former);
        self.former = self.leave_seat();
        #[cfg(test)]
        if is_back(Bug::DropsLogBeforeSuccessor) {
            self.former = None;
        }
        if let Some(former) = &mut self.former {
            former.step_down();
            former.snapshots.drop_pending();
        }
    }

    /// The successor is silent, and this node has what it had before.
    pub(super) fn take_seat_back(&mut self) {
        let me = self.membership.me();
        let Some(mut seat) = self.former.take() else { return };
        // All were silent to the incarnation that waited.
        let (now, holder) = (seat.now, seat.promised.map(|promised| promised.promise.survivor.raft_id()));
        for (member, ..) in seat.registry.members().filter(|(member, ..)| Some(*member) != holder) {
            seat.heard.insert(member, now);
        }
        seat.told = (Role::Follower, 0, None);
        self.membership.renamed(seat.cluster, seat.lineage().0);
        self.seat = Some(seat);
        self.begin_catch_up();
        let saved = self.saved;
        self.keep_promise(saved);
        debug_assert!(self.seat.as_ref().is_some_and(Seat::is_bound), "{me} left for a successor");
    }

    /// Founds the cluster anew, if all that are left want it: from the write on that says so nothing can stop it, and
    /// nothing is done in its name before that is durable. True if the write was ordered.
    pub(super) fn found_anew(&mut self) -> bool {
        if !std::mem::take(&mut self.loss.founds) {
            return false;
        }
        let me = self.membership.me();
        let write_number = self.writes + 1;
        let Some(seat) = self.seat.as_mut() else { return false };
        let is_whole = seat.delivered_index >= seat.group.log().snapshot().position.index;
        if seat.is_bound() || seat.leader().is_some() || !seat.group.is_settled() || !is_whole {
            return false;
        }
        let missing = self.seat.as_ref().map_or(Vec::new(), |seat| self.silent_voters(seat));
        let missing = missing.into_iter().map(|(id, _)| id).collect();
        let Some(seat) = self.seat.as_mut() else { return false };
        seat.step_down();
        let id = self.options.id.clone();
        let cluster = ClusterUuid::of_epoch(seat.cluster, me);
        let (index, term) = (seat.group.last_index() + 1, seat.group.term() + 1);
        let epoch = Context::Epoch { cluster, survivor: me, id, missing, kept: seat.group.commit_index() };
        let entry = Entry { index, term, context: epoch.encode().into(), ..Entry::default() };
        let hard_state = HardState { term, vote: me.raft_id(), commit: index, ..HardState::default() };
        let write = Write {
            record: Some(SeatRecord::new(me, cluster)),
            entries: vec![entry.clone()],
            hard_state: Some(hard_state.clone()),
            ..Write::default()
        };
        #[cfg(test)]
        let write = if is_back(Bug::ForgetsSuccessorName) { Write { record: None, ..write } } else { write };
        seat.founding = Some(Founding { write: write_number, cluster, entry, hard_state });
        self.persist(write);
        #[cfg(test)]
        if is_back(Bug::FoundsBeforeSaving) {
            self.finish_founding(write_number);
        }
        true
    }

    /// Writes up to this number are durable: if that which founds the cluster anew is, it has.
    pub(super) fn finish_founding(&mut self, number: u64) {
        let me = self.membership.me();
        let is_durable = |founding: &mut Founding| founding.write <= number;
        let founding = self.seat.as_mut().and_then(|seat| seat.founding.take_if(is_durable));
        let Some(founding) = founding else { return };
        // What was said before was said in the former name.
        self.seal_as(me);
        let Some(seat) = &mut self.seat else { return };
        seat.found_anew(founding, me.raft_id(), &self.options, &mut self.dice);
        self.membership.renamed(seat.cluster, seat.lineage().0);
        self.loss = Loss::default();
    }

    /// The log says that the cluster was founded anew.
    pub(super) fn apply_epoch(
        &mut self,
        index: u64,
        cluster: ClusterUuid,
        survivor: Incarnation,
        id: Arc<str>,
        missing: Vec<Arc<str>>,
        kept: u64,
    ) {
        let Some(seat) = &mut self.seat else { return };
        let member = survivor.raft_id();
        seat.group.force_sole_voter(member, index);
        seat.epoch_index = index;
        let gone: Vec<RaftId> =
            seat.registry.members().map(|(raft_id, ..)| raft_id).filter(|id| *id != member).collect();
        for member in gone {
            seat.table.remove(member);
            seat.heard.remove(&member);
            seat.silent_since.remove(&member);
            seat.closing.remove(&member);
        }
        seat.table.admit(member);
        // A log that is replayed may have been recovered again since: then the seat has that name already.
        let former = seat.registry.cluster();
        seat.registry.renew(cluster, survivor, id.clone(), kept);
        if seat.cluster == former {
            seat.cluster = cluster;
        }
        self.membership.renamed(seat.cluster, seat.lineage().0);
        if survivor == self.membership.me() {
            self.warn(Warning::Recovered { cluster, from: id, missing });
            self.settle_all_decided();
        }
    }
}
