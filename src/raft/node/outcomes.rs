//! Sends requests to the leader and outcomes back to their origins, also if both are the same node; and ends the calls
//! of this node.

use std::collections::BTreeMap;

use super::leader_state::LeaderState;
use super::output::Output;
use super::replica::Replica;
use crate::error::Error;
use crate::raft::events::{CallOutcome, Delivery, FailureOutcome, Target};
use crate::raft::identity::{Incarnation, RaftId};
use crate::raft::requests::{ClientSession, DueOutcome, Pending, Reply, RequestStatus, in_pages};
use crate::raft::wire::message::{Message, Outcome, Requests};

/// A method's error may contain much data, and a batch has many: the size of a message with outcomes, approximately.
const OUTCOMES_BYTES_MAX: usize = 256 << 10;

/// Sends requests of this node to the leader; as the leader, accepts them.
pub(super) fn send_requests(
    requests: Requests,
    session: &mut ClientSession,
    replica: &mut Replica,
    output: &mut Output,
) {
    let Some(leader) = replica.leader() else { return };
    if requests.term != replica.group.term() {
        return;
    }
    if leader == replica.me.raft_id() {
        receive_requests(replica.me, requests, session, replica, output);
    } else if let Some(leader) = replica.incarnation(leader) {
        output.send(Target::One(leader), Message::Requests(requests));
    }
}

/// As the leader, accepts requests.
pub(super) fn receive_requests(
    from: Incarnation,
    requests: Requests,
    session: &mut ClientSession,
    replica: &mut Replica,
    output: &mut Output,
) {
    let Some(LeaderState { sessions, .. }) = &mut replica.leader_state else { return };
    let term = sessions.term();
    let replies = sessions.receive(from.raft_id(), requests, &replica.table);
    reply(from, term, replies, session, replica.me, output);
}

/// As the leader, reports the outcomes that are due of requests without an entry.
pub(super) fn send_due(
    confirmed: &[u64],
    session: &mut ClientSession,
    replica: &mut Replica,
    output: &mut Output,
) {
    let Some(LeaderState { sessions, .. }) = &mut replica.leader_state else { return };
    for round in confirmed {
        sessions.confirmed(*round);
    }
    let due = sessions.take_outcomes(replica.group.commit_index());
    let term = sessions.term();
    send(due, term, session, replica, output);
}

/// As the leader of `term`, reports outcomes to their origins.
pub(super) fn send(
    due: Vec<DueOutcome>,
    term: u64,
    session: &mut ClientSession,
    replica: &Replica,
    output: &mut Output,
) {
    let mut by_origin: BTreeMap<(RaftId, u64), Vec<DueOutcome>> = BTreeMap::new();
    for due in due {
        by_origin.entry((due.id.origin, due.id.start)).or_default().push(due);
    }
    for ((origin, start), outcomes) in by_origin {
        if let Some(origin) = replica.members.incarnation(origin) {
            reply(origin, term, vec![Reply::Outcomes { start, outcomes }], session, replica.me, output);
        }
    }
}

fn reply(
    to: Incarnation,
    term: u64,
    replies: Vec<Reply>,
    session: &mut ClientSession,
    me: Incarnation,
    output: &mut Output,
) {
    let is_me = to == me;
    for reply in replies {
        match reply {
            Reply::Outcomes { start, outcomes } if is_me => {
                for DueOutcome { id, index, outcome } in outcomes {
                    session.handle_outcome(term, start, id.sequence, index, outcome);
                }
            }
            Reply::Outcomes { start, outcomes } => {
                for page in in_pages(outcomes, OUTCOMES_BYTES_MAX, |due| due.outcome.bytes()) {
                    let index = page.iter().map(|due| due.index).max().unwrap_or(0);
                    let outcomes = page.into_iter().map(|due| (due.id.sequence, due.outcome)).collect();
                    output.send(Target::One(to), Message::Outcomes { term, start, index, outcomes });
                }
            }
            Reply::Received { sequence, .. } if is_me => session.received(term, sequence),
            Reply::Received { start, sequence } => {
                output.send(Target::One(to), Message::Received { term, start, sequence });
            }
        }
    }
}

/// Ends the calls whose outcome holds for what this node has delivered: behind those deliveries, so that the
/// application's state contains what the method saw. `u64::MAX`: the cluster continues from another log, in which that
/// state may never exist; the outcomes count nevertheless.
pub(super) fn settle_decided(session: &mut ClientSession, delivered: u64, output: &mut Output) {
    for (sequence, outcome) in session.take_decided(delivered) {
        settle(sequence, outcome.into(), output);
    }
}

/// Ends the calls of outcomes that the log contains.
pub(super) fn settle_observed(
    session: &mut ClientSession,
    observed: Vec<(u64, Outcome)>,
    output: &mut Output,
) {
    for (sequence, outcome) in observed {
        if session.end(sequence).is_some() {
            settle(sequence, outcome.into(), output);
        }
    }
}

/// Ends the calls that a snapshot contains.
pub(super) fn settle_restored(session: &mut ClientSession, replica: &Replica, output: &mut Output) {
    let (origin, start) = (replica.me.raft_id(), session.start());
    for sequence in session.dispatched() {
        let call_outcome = match replica.table.status_of(origin, start, sequence) {
            RequestStatus::New => continue,
            // It only changed timers.
            RequestStatus::Applied(action) if action.is_empty() => CallOutcome::Nothing,
            RequestStatus::Applied(action) => CallOutcome::Done(action.clone()),
            RequestStatus::Observed(outcome) => outcome.clone().into(),
            RequestStatus::Past => Outcome::Forgotten.into(),
        };
        if session.end(sequence).is_some() {
            settle(sequence, call_outcome, output);
        }
    }
}

/// Ends all calls.
pub(super) fn fail_all(session: &mut ClientSession, error: &Error, output: &mut Output) {
    fail_where(session, |_| true, error, output);
}

/// Ends calls without effect or with an unknown outcome; an outcome that a leader has already reported stands.
pub(super) fn fail_where(
    session: &mut ClientSession,
    fails: impl Fn(&Pending) -> bool,
    error: &Error,
    output: &mut Output,
) {
    for pending in session.end_where(fails) {
        let sequence = pending.sequence;
        let outcome =
            if pending.was_dispatched() { FailureOutcome::Unknown } else { FailureOutcome::NotApplied };
        let failed = || CallOutcome::Failed { error: error.clone(), outcome };
        settle(sequence, pending.into_outcome().map_or_else(failed, CallOutcome::from), output);
    }
}

fn settle(sequence: u64, call_outcome: CallOutcome, output: &mut Output) {
    output.deliver(Delivery::Settled { sequence, call_outcome });
}

impl From<Outcome> for CallOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Nothing => CallOutcome::Nothing,
            Outcome::Refused(error) => CallOutcome::Refused(error),
            Outcome::Forgotten => {
                CallOutcome::Failed { error: Error::Forgotten, outcome: FailureOutcome::Unknown }
            }
        }
    }
}
