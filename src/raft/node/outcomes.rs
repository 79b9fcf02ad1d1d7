//! This file carries requests to the leader and their outcomes back to their origins, also where the two are one node.

use std::collections::BTreeMap;

use super::Node;
use crate::error::Error;
use crate::raft::events::{Delivery, ErrorOutcome, Settlement, Target};
use crate::raft::frame::{Message, Outcome, Requests};
use crate::raft::identity::{Incarnation, RaftId};
use crate::raft::requests::{Pending, Reply, Told, in_pages};
#[cfg(test)]
use crate::raft::testing::bugs::{Bug, is_back};

/// A method's error may carry much data, and a batch has many: a message holds about this much of them.
const OUTCOMES_BYTES_MAX: usize = 256 << 10;

impl Node {
    /// Ends a perform if it has gone nowhere yet: then it never will.
    pub fn withdraw(&mut self, sequence: u64) -> bool {
        self.origin.end_if_unsent(sequence)
    }

    /// Tells what may be told now of requests that became no entry.
    pub(super) fn tell_outcomes(&mut self) {
        let Some(seat) = &mut self.seat else { return };
        let confirmed = seat.group.take_confirmed();
        if !seat.group.votes() {
            return;
        }
        let Some(leadership) = &mut seat.leadership else { return };
        for round in &confirmed {
            leadership.confirmed(*round);
        }
        let told = leadership.take_outcomes(seat.group.commit_index());
        let term = leadership.term();
        self.send_outcomes(term, told);
        self.answer_reads(&confirmed);
    }

    pub(super) fn send_outcomes(&mut self, term: u64, told: Vec<Told>) {
        let mut by_origin: BTreeMap<(RaftId, u64), Vec<Told>> = BTreeMap::new();
        for told in told {
            by_origin.entry((told.id.origin, told.id.start)).or_default().push(told);
        }
        for ((origin, start), outcomes) in by_origin {
            let peer = self.seat.as_ref().and_then(|seat| seat.registry.incarnation(origin));
            if let Some(peer) = peer {
                self.reply(peer, term, vec![Reply::Outcomes { start, outcomes }]);
            }
        }
    }

    pub(super) fn reply(&mut self, to: Incarnation, term: u64, replies: Vec<Reply>) {
        let is_me = to == self.membership.me();
        for reply in replies {
            match reply {
                Reply::Outcomes { start, outcomes } if is_me => {
                    for Told { id, index, outcome } in outcomes {
                        self.hear_outcome(term, start, id.sequence, index, outcome);
                    }
                }
                Reply::Outcomes { start, outcomes } => {
                    for page in in_pages(outcomes, OUTCOMES_BYTES_MAX, |told| told.outcome.bytes()) {
                        let index = page.iter().map(|told| told.index).max().unwrap_or(0);
                        let outcomes =
                            page.into_iter().map(|told| (told.id.sequence, told.outcome)).collect();
                        self.outbox.push(Target::One(to), Message::Outcomes { term, start, index, outcomes });
                    }
                }
                Reply::Received { sequence, .. } if is_me => self.origin.received(term, sequence),
                Reply::Received { start, sequence } => {
                    self.outbox.push(Target::One(to), Message::Received { term, start, sequence });
                }
            }
        }
    }

    pub(super) fn send_requests(&mut self, requests: Requests) {
        let me = self.membership.me();
        let Some(seat) = &mut self.seat else { return };
        let Some(leader) = seat.leader() else { return };
        if requests.term != seat.group.term() {
            return;
        }
        if leader == me.raft_id() {
            let Some(leadership) = &mut seat.leadership else { return };
            let term = leadership.term();
            let replies = leadership.receive(leader, requests, &seat.table);
            self.reply(me, term, replies);
        } else if let Some(leader) = seat.incarnation(leader) {
            self.outbox.push(Target::One(leader), Message::Requests(requests));
        }
    }

    /// The leader of `term` told an outcome, which holds for the state at `index`. It counts only if that is the leader the
    /// perform was last sent to: an earlier one may have been deposed before it answered. Nor is it for what this node
    /// performed before a restart.
    pub(super) fn hear_outcome(
        &mut self,
        term: u64,
        start: u64,
        sequence: u64,
        index: u64,
        outcome: Outcome,
    ) {
        #[cfg(test)]
        let index = if is_back(Bug::SettlesBeforeItsState) { 0 } else { index };
        if start == self.origin.start() && self.origin.awaits(sequence, term) {
            self.origin.decide(sequence, index, outcome);
        }
    }

    /// Ends the performs whose outcome holds for what this node has delivered: behind those deliveries, so that the
    /// application's state contains what the method saw.
    pub(super) fn settle_decided(&mut self) {
        let delivered = self.seat.as_ref().map_or(0, |seat| seat.delivered_index);
        for (sequence, outcome) in self.origin.take_decided(delivered) {
            self.settle(sequence, outcome);
        }
    }

    /// The cluster goes on from another log: the state that an outcome holds for may never be, and what was decided stands.
    pub(super) fn settle_all_decided(&mut self) {
        for (sequence, outcome) in self.origin.take_decided(u64::MAX) {
            self.settle(sequence, outcome);
        }
    }

    /// An outcome that the log holds ends its perform.
    pub(super) fn settle_observed(&mut self, sequence: u64, outcome: Outcome) {
        if self.origin.end(sequence).is_some() {
            self.settle(sequence, outcome);
        }
    }

    fn settle(&mut self, sequence: u64, outcome: Outcome) {
        let settlement = match outcome {
            Outcome::Nothing => Settlement::Nothing,
            Outcome::Refused(error) => Settlement::Refused(error),
            Outcome::Forgotten => {
                Settlement::Failed { error: Error::Forgotten, outcome: ErrorOutcome::Unknown }
            }
        };
        self.news.push(Delivery::Settled { sequence, settlement });
    }

    /// These end without having happened, or without anybody knowing; what a leader has told already stands.
    pub(super) fn settle_failed(&mut self, pending: Vec<Pending>, error: &Error) {
        for pending in pending {
            let sequence = pending.sequence;
            let outcome =
                if pending.was_dispatched() { ErrorOutcome::Unknown } else { ErrorOutcome::NotApplied };
            if let Some(outcome) = pending.into_outcome() {
                self.settle(sequence, outcome);
                continue;
            }
            let settlement = Settlement::Failed { error: error.clone(), outcome };
            self.news.push(Delivery::Settled { sequence, settlement });
        }
    }
}
