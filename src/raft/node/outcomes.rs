//! Sends requests to the leader and outcomes back to their origins, also if both are the same node.

use std::collections::BTreeMap;

use super::Node;
use super::admin;
use super::leader_state::LeaderState;
use crate::error::Error;
use crate::raft::events::{CallOutcome, Delivery, FailureOutcome, Target};
use crate::raft::frame::{Message, Outcome, Requests};
use crate::raft::identity::{Incarnation, RaftId};
use crate::raft::requests::{DueOutcome, Pending, Reply, in_pages};

/// A method's error may contain much data, and a batch has many: the size of a message with outcomes, approximately.
const OUTCOMES_BYTES_MAX: usize = 256 << 10;

impl Node {
    /// Ends a call that was not sent yet, and then never will be.
    pub fn withdraw(&mut self, sequence: u64) -> bool {
        self.client_session.end_if_unsent(sequence)
    }

    /// Reports the outcomes that are due of requests without an entry.
    pub(super) fn send_due_outcomes(&mut self) {
        let Some(replica) = &mut self.replica else { return };
        let confirmed = replica.group.take_confirmed();
        if !replica.group.votes() {
            return;
        }
        let Some(LeaderState { sessions, .. }) = &mut replica.leader_state else { return };
        for round in &confirmed {
            sessions.confirmed(*round);
        }
        let due = sessions.take_outcomes(replica.group.commit_index());
        let term = sessions.term();
        self.send_outcomes(term, due);
        let Some(replica) = &mut self.replica else { return };
        let replies = admin::answer_reads(replica, &confirmed);
        self.execute(replies);
    }

    pub(super) fn send_outcomes(&mut self, term: u64, due: Vec<DueOutcome>) {
        let mut by_origin: BTreeMap<(RaftId, u64), Vec<DueOutcome>> = BTreeMap::new();
        for due in due {
            by_origin.entry((due.id.origin, due.id.start)).or_default().push(due);
        }
        for ((origin, start), outcomes) in by_origin {
            let peer = self.replica.as_ref().and_then(|replica| replica.members.incarnation(origin));
            if let Some(peer) = peer {
                self.reply(peer, term, vec![Reply::Outcomes { start, outcomes }]);
            }
        }
    }

    pub(super) fn reply(&mut self, to: Incarnation, term: u64, replies: Vec<Reply>) {
        let is_me = to == self.bootstrap.me();
        for reply in replies {
            match reply {
                Reply::Outcomes { start, outcomes } if is_me => {
                    for DueOutcome { id, index, outcome } in outcomes {
                        self.handle_outcome(term, start, id.sequence, index, outcome);
                    }
                }
                Reply::Outcomes { start, outcomes } => {
                    for page in in_pages(outcomes, OUTCOMES_BYTES_MAX, |due| due.outcome.bytes()) {
                        let index = page.iter().map(|due| due.index).max().unwrap_or(0);
                        let outcomes = page.into_iter().map(|due| (due.id.sequence, due.outcome)).collect();
                        self.output.send(Target::One(to), Message::Outcomes { term, start, index, outcomes });
                    }
                }
                Reply::Received { sequence, .. } if is_me => self.client_session.received(term, sequence),
                Reply::Received { start, sequence } => {
                    self.output.send(Target::One(to), Message::Received { term, start, sequence });
                }
            }
        }
    }

    pub(super) fn send_requests(&mut self, requests: Requests) {
        let me = self.bootstrap.me();
        let Some(replica) = &mut self.replica else { return };
        let Some(leader) = replica.leader() else { return };
        if requests.term != replica.group.term() {
            return;
        }
        if leader == me.raft_id() {
            let Some(LeaderState { sessions, .. }) = &mut replica.leader_state else { return };
            let term = sessions.term();
            let replies = sessions.receive(leader, requests, &replica.table);
            self.reply(me, term, replies);
        } else if let Some(leader) = replica.incarnation(leader) {
            self.output.send(Target::One(leader), Message::Requests(requests));
        }
    }

    /// The leader of `term` reported an outcome, which is valid for the state at `index`. It counts only if the call
    /// was last sent to that leader: an earlier one may have been deposed before it answered. It does not count for
    /// calls from before a restart.
    pub(super) fn handle_outcome(
        &mut self,
        term: u64,
        start: u64,
        sequence: u64,
        index: u64,
        outcome: Outcome,
    ) {
        injected_bug!(SettlesBeforeItsState, index => 0);
        if start == self.client_session.start() && self.client_session.awaits(sequence, term) {
            self.client_session.decide(sequence, index, outcome);
        }
    }

    /// Ends the calls whose outcome holds for what this node has delivered: behind those deliveries, so that the
    /// application's state contains what the method saw.
    pub(super) fn settle_decided(&mut self) {
        let delivered = self.replica.as_ref().map_or(0, |replica| replica.delivered_index);
        for (sequence, outcome) in self.client_session.take_decided(delivered) {
            self.settle(sequence, outcome);
        }
    }

    /// The cluster continues from another log: the state that an outcome holds for may never be, and what was decided
    /// stands.
    pub(super) fn settle_all_decided(&mut self) {
        for (sequence, outcome) in self.client_session.take_decided(u64::MAX) {
            self.settle(sequence, outcome);
        }
    }

    /// Ends the call of an outcome that the log contains.
    pub(super) fn settle_observed(&mut self, sequence: u64, outcome: Outcome) {
        if self.client_session.end(sequence).is_some() {
            self.settle(sequence, outcome);
        }
    }

    fn settle(&mut self, sequence: u64, outcome: Outcome) {
        let call_outcome = match outcome {
            Outcome::Nothing => CallOutcome::Nothing,
            Outcome::Refused(error) => CallOutcome::Refused(error),
            Outcome::Forgotten => {
                CallOutcome::Failed { error: Error::Forgotten, outcome: FailureOutcome::Unknown }
            }
        };
        self.output.deliver(Delivery::Settled { sequence, call_outcome });
    }

    /// Ends calls without effect or with an unknown outcome; an outcome that a leader has already reported stands.
    pub(super) fn settle_failed(&mut self, pending: Vec<Pending>, error: &Error) {
        for pending in pending {
            let sequence = pending.sequence;
            let outcome =
                if pending.was_dispatched() { FailureOutcome::Unknown } else { FailureOutcome::NotApplied };
            if let Some(outcome) = pending.into_outcome() {
                self.settle(sequence, outcome);
                continue;
            }
            let call_outcome = CallOutcome::Failed { error: error.clone(), outcome };
            self.output.deliver(Delivery::Settled { sequence, call_outcome });
        }
    }
}
