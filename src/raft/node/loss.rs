//! This file tells when the quorum is lost, and founds the cluster anew from what is left of it, when it is told to.
//!
//! Part of `node.rs`. A majority of voters that kept nothing is gone for good with its processes: nothing can be committed
//! any more, and the cluster can only go on at the risk of what the dead alone had acknowledged. The survivor with the
//! highest log takes that risk for all: everyone that it hears promises it, once per incarnation, to vote no more; then
//! it commits its whole log, uncommitted tail included (the dead may have acknowledged it), and an `Epoch` that makes it
//! the one voter of a cluster with another name. The others join that as newcomers.

use std::collections::BTreeMap;
use std::sync::Arc;

use raft_rs::eraftpb::{Entry, HardState};

use super::Node;
use super::seat::Seat;
use crate::error::Error;
use crate::raft::entry::Context;
use crate::raft::events::{Ask, Target, Warning, Write};
use crate::raft::frame::Message;
use crate::raft::identity::{ClusterUuid, Incarnation, RaftId};

/// What a node knows about the loss of its cluster's quorum.
#[derive(Default)]
pub(super) struct Loss {
    /// For how many ticks no leader was known.
    leaderless: u64,
    is_reported: bool,
    /// The last position of the log of each member, as its campaigns tell: (term, index).
    logs: BTreeMap<RaftId, (u64, u64)>,
    /// This node was told to recover, or the survivor with the highest log asked for it.
    recovers: bool,
    /// Who promised this node to vote no more.
    yielded: BTreeMap<RaftId, Incarnation>,
}

impl Node {
    /// The voters that were not heard lately, and for how long; empty while there is a quorum.
    pub(super) fn missing(&self) -> Vec<(Arc<str>, u64)> {
        let Some(seat) = self.seat.as_ref().filter(|_| self.loss.leaderless >= self.loss_ticks()) else {
            return Vec::new();
        };
        let missing = self.silent_voters(seat);
        let voters = self.voters(seat).count();
        let has_quorum = voters - missing.len() > voters / 2;
        if has_quorum { Vec::new() } else { missing }
    }

    /// Without a leader, living voters campaign in turns: whoever was not heard for three turns is missing.
    fn silent_voters(&self, seat: &Seat) -> Vec<(Arc<str>, u64)> {
        let me = self.membership.me().raft_id();
        let silent_ticks_max = 3 * self.options.election_timeout_ticks_max;
        let silence = self.voters(seat).map(|(member, id)| (id, seat.silent_ticks(member, me, 0)));
        let silent = silence.filter(|(_, ticks)| *ticks >= silent_ticks_max);
        let mut silent: Vec<_> = silent.map(|(id, ticks)| (id.clone(), ticks)).collect();
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
        if seat.leader().is_some() {
            self.loss.leaderless = 0;
            self.loss.recovers = false;
            if std::mem::take(&mut self.loss.is_reported) {
                self.warn(Warning::QuorumRestored);
            }
            return;
        }
        self.loss.leaderless += 1;
        let (voters, missing) = (self.voters(seat).count(), self.missing());
        if missing.is_empty() {
            return;
        }
        if !std::mem::replace(&mut self.loss.is_reported, true) {
            let missing = missing.into_iter().map(|(id, _)| id).collect();
            self.warn(Warning::QuorumLost { voters, missing, ticks: self.loss.leaderless });
        }
        if self.options.recover_ticks.is_some_and(|ticks| self.loss.leaderless >= ticks) {
            self.loss.recovers = true;
        }
        if self.loss.leaderless.is_multiple_of(self.options.heartbeat_ticks.max(1)) {
            self.recover();
        }
    }

    /// An application asks for recovery: at once refused where there is a quorum.
    pub(super) fn ask_recover(&mut self, ticket: u64, ticks: u64) {
        if self.seat.is_none() || self.missing().is_empty() {
            let why = match &self.seat {
                None => "this node is in no cluster",
                Some(seat) if seat.leader().is_some() => "there is a leader",
                Some(_) => {
                    "a majority of the voters was heard lately, or has not been silent for long enough"
                }
            };
            return self.answer_ask(ticket, Err(Error::QuorumNotLost { why: why.into() }));
        }
        self.loss.recovers = true;
        self.ask(ticket, Ask::Recover, ticks);
        self.recover();
    }

    /// Asks the survivor with the highest log to go on; if that is this node, asks the others to let it.
    fn recover(&mut self) {
        let me = self.membership.me();
        let Some(seat) = &self.seat else { return };
        if !self.loss.recovers || seat.yielded_to.is_some_and(|other| other != me) {
            return;
        }
        let (term, index) = seat.group.last_position();
        let mut best = ((term, index), me);
        let mut survivors = Vec::new();
        let silent_ticks_max = 3 * self.options.election_timeout_ticks_max;
        for (member, incarnation, _) in seat.registry.members() {
            if member == me.raft_id() || seat.silent_ticks(member, me.raft_id(), 0) >= silent_ticks_max {
                continue;
            }
            survivors.push(incarnation);
            if let Some(log) = self.loss.logs.get(&member) {
                best = best.max((*log, incarnation));
            }
        }
        let (_, best) = best;
        if best != me {
            return self.outbox.push(Target::One(best), Message::Recover);
        }
        if survivors.iter().all(|survivor| self.loss.yielded.contains_key(&survivor.raft_id())) {
            return self.found_anew();
        }
        for survivor in survivors {
            self.outbox.push(Target::One(survivor), Message::Yield { term, index });
        }
    }

    /// Another survivor found that this node has the highest log.
    pub(super) fn hear_recover(&mut self) {
        if !self.missing().is_empty() {
            self.loss.recovers = true;
            self.recover();
        }
    }

    /// The survivor with the highest log asks for the promise.
    pub(super) fn hear_yield(&mut self, from: Incarnation, term: u64, index: u64) {
        let has_lost = !self.missing().is_empty();
        let Some(seat) = &mut self.seat else { return };
        let ours = seat.group.last_position();
        let is_higher = (ours, self.membership.me()) < ((term, index), from);
        if has_lost && is_higher && seat.yielded_to.is_none_or(|other| other == from) {
            seat.yielded_to = Some(from);
            self.outbox.push(Target::One(from), Message::Yielded);
        } else if has_lost && !is_higher {
            // A learner never campaigns, and so nobody knows its log.
            let (term, index) = ours;
            self.outbox.push(Target::One(from), Message::Outranks { term, index });
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
        if self.loss.recovers {
            self.loss.yielded.insert(from.raft_id(), from);
            self.recover();
        }
    }

    fn found_anew(&mut self) {
        let me = self.membership.me();
        let Some(seat) = &self.seat else { return };
        let missing: Vec<Arc<str>> = self.silent_voters(seat).into_iter().map(|(id, _)| id).collect();
        let id = self.options.id.clone();
        let cluster = ClusterUuid::of_epoch(seat.cluster, me);
        let index = seat.group.last_index() + 1;
        let term = seat.group.term() + 1;
        let epoch = Context::Epoch { cluster, survivor: me, id: id.clone(), missing: missing.clone() };
        let entry = Entry { index, term, context: epoch.encode().into(), ..Entry::default() };
        let hard_state = HardState { term, vote: me.raft_id(), commit: index, ..HardState::default() };
        let write =
            Write { entries: vec![entry.clone()], hard_state: Some(hard_state.clone()), ..Write::default() };
        let Some(seat) = &mut self.seat else { return };
        seat.found_anew(entry, hard_state, me.raft_id(), &self.options, &mut self.dice);
        self.persist(write);
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
    ) {
        let Some(seat) = &mut self.seat else { return };
        let member = survivor.raft_id();
        seat.group.force_sole_voter(member, index);
        let gone: Vec<RaftId> =
            seat.registry.members().map(|(raft_id, ..)| raft_id).filter(|id| *id != member).collect();
        for member in gone {
            seat.table.remove(member);
            seat.heard.remove(&member);
            seat.closing.remove(&member);
        }
        seat.table.admit(member);
        seat.registry.renew(cluster, survivor, id.clone());
        let is_news = seat.cluster != cluster || survivor == self.membership.me();
        seat.cluster = cluster;
        self.membership.renamed(cluster, seat.registry.ancestors());
        if is_news {
            self.warn(Warning::Recovered { cluster, from: id, missing });
        }
    }
}
