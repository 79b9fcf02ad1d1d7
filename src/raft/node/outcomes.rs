//! This file carries requests to the leader and their outcomes back to their origins, also where the two are one node.

use std::collections::BTreeMap;

use super::Node;
use crate::error::Error;
use crate::raft::entry::RequestId;
use crate::raft::events::{Delivery, ErrorOutcome, Settlement, Target};
use crate::raft::frame::{Message, Outcome, Requests};
use crate::raft::identity::{Incarnation, RaftId};
use crate::raft::requests::{Pending, Reply};

/// A method's error may carry much data, and a batch has many: a message holds about this much of them.
const OUTCOMES_BYTES_MAX: usize = 256 << 10;

impl Node {
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

    pub(super) fn send_outcomes(&mut self, term: u64, told: Vec<(RequestId, Outcome)>) {
        let mut by_origin: BTreeMap<(RaftId, u64), Vec<(u64, Outcome)>> = BTreeMap::new();
        for (id, outcome) in told {
            by_origin.entry((id.origin, id.start)).or_default().push((id.sequence, outcome));
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
                    for (sequence, outcome) in outcomes {
                        self.settle_told(term, start, sequence, outcome);
                    }
                }
                Reply::Outcomes { start, outcomes } => {
                    for outcomes in in_pages(outcomes) {
                        self.outbox.push(Target::One(to), Message::Outcomes { term, start, outcomes });
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

    /// The leader of `term` told an outcome. It counts only if that is the leader the perform was last sent to: an
    /// earlier one may have been deposed before it answered. Nor is it for what this node performed before a restart.
    pub(super) fn settle_told(&mut self, term: u64, start: u64, sequence: u64, outcome: Outcome) {
        if start == self.origin.start() && self.origin.awaits(sequence, Some(term)) {
            self.settle_observed(sequence, outcome);
        }
    }

    pub(super) fn settle_observed(&mut self, sequence: u64, outcome: Outcome) {
        if self.origin.end(sequence).is_some() {
            let settlement = match outcome {
                Outcome::Nothing => Settlement::Nothing,
                Outcome::Refused(error) => Settlement::Refused(error),
            };
            self.news.push(Delivery::Settled { sequence, settlement });
        }
    }

    pub(super) fn settle_failed(&mut self, pending: Vec<Pending>, error: &Error) {
        for pending in pending {
            let outcome =
                if pending.was_dispatched() { ErrorOutcome::Unknown } else { ErrorOutcome::NotApplied };
            let settlement = Settlement::Failed { error: error.clone(), outcome };
            self.news.push(Delivery::Settled { sequence: pending.sequence, settlement });
        }
    }
}

/// Cuts outcomes into what one message may hold; each page has at least one.
fn in_pages(outcomes: Vec<(u64, Outcome)>) -> Vec<Vec<(u64, Outcome)>> {
    let mut pages: Vec<Vec<(u64, Outcome)>> = Vec::new();
    let mut bytes = OUTCOMES_BYTES_MAX;
    for (sequence, outcome) in outcomes {
        if bytes >= OUTCOMES_BYTES_MAX {
            pages.push(Vec::new());
            bytes = 0;
        }
        bytes += outcome.bytes();
        pages.last_mut().expect("the first outcome opens a page").push((sequence, outcome));
    }
    pages
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn outcomes_with_much_data_leave_in_several_messages_in_their_order() {
        let large = Outcome::Refused(Bytes::from(vec![b'1'; 100 << 10]));
        let outcomes: Vec<(u64, Outcome)> = (1..=10).map(|sequence| (sequence, large.clone())).collect();
        let pages = in_pages(outcomes.clone());
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 3, 1]);
        assert_eq!(pages.concat(), outcomes);
        assert_eq!(in_pages(vec![(1, Outcome::Nothing); 2_048]).len(), 1);
        assert!(in_pages(Vec::new()).is_empty());
    }
}
