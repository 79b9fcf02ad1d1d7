//! Delays the answers of a learner, so that a leader with many learners has few to handle.
//!
//! Part of `group.rs`. A learner counts in no quorum (thesis §4.2.1): its answers free the leader's window, show that
//! it lives, and show how far it has caught up. A leader that needs one at once asks for it ([`RaftMessage::asks`]).
//! Rejections never wait.

use crate::raft::consensus::timing::Timing;
use crate::raft::identity::RaftId;
use crate::raft::wire::message::{RaftKind, RaftMessage};

/// What a learner has to answer to its leader.
#[derive(Debug, Default)]
pub(super) struct LearnerAnswers {
    /// The newest acknowledgement that waits, and since when.
    held: Option<(RaftId, RaftMessage, u64)>,
    /// The leader wants to know at once when the log reaches this index in this term.
    asked: Option<(u64, u64)>,
    is_heartbeat_asked: bool,
    /// The leader and the term to which something was last answered, and when.
    answered: Option<(RaftId, u64)>,
    answered_at: u64,
}

/// What a message of the leader asks for ([`RaftMessage::asks`]).
pub(super) enum Asked {
    Acknowledgement { term: u64, index: u64 },
    HeartbeatResponse,
}

impl Asked {
    pub(super) fn by(message: &RaftMessage) -> Option<Self> {
        if !message.asks {
            return None;
        }
        match message.kind {
            RaftKind::Append => {
                // The guard rejects forged numbers whose sum overflows.
                let index = message.index.saturating_add(message.entries.len() as u64);
                Some(Self::Acknowledgement { term: message.term, index })
            }
            RaftKind::Heartbeat => Some(Self::HeartbeatResponse),
            RaftKind::AppendResponse
            | RaftKind::HeartbeatResponse
            | RaftKind::RequestVote
            | RaftKind::RequestVoteResponse
            | RaftKind::RequestPreVote
            | RaftKind::RequestPreVoteResponse
            | RaftKind::TimeoutNow
            | RaftKind::Receipt => None,
        }
    }
}

impl LearnerAnswers {
    /// A message of the leader that asks for an answer was accepted.
    pub(super) fn note(&mut self, asked: Asked) {
        match asked {
            Asked::Acknowledgement { term, index } => self.asked = Some((term, index)),
            Asked::HeartbeatResponse => self.is_heartbeat_asked = true,
        }
    }

    /// The answers of a learner that leave now, given another one.
    pub(super) fn pass(
        &mut self,
        to: RaftId,
        answer: RaftMessage,
        now: u64,
        timing: Timing,
    ) -> Option<RaftMessage> {
        let is_known = self.answered == Some((to, answer.term));
        let leaves = match answer.kind {
            RaftKind::AppendResponse if answer.reject => true,
            RaftKind::AppendResponse => {
                let is_asked =
                    self.asked.is_some_and(|asked| asked.0 <= answer.term && asked.1 <= answer.index);
                !is_known || is_asked
            }
            RaftKind::HeartbeatResponse => {
                !is_known
                    || self.answered_at + timing.learner_answer() <= now
                    || std::mem::take(&mut self.is_heartbeat_asked)
            }
            RaftKind::Append
            | RaftKind::Heartbeat
            | RaftKind::RequestVote
            | RaftKind::RequestVoteResponse
            | RaftKind::RequestPreVote
            | RaftKind::RequestPreVoteResponse
            | RaftKind::TimeoutNow
            | RaftKind::Receipt => true,
        };
        if leaves {
            if answer.kind == RaftKind::AppendResponse && !answer.reject {
                self.asked = None;
                self.held.take_if(|(_, held, _)| held.term == answer.term && held.index <= answer.index);
            }
            (self.answered, self.answered_at) = (Some((to, answer.term)), now);
            return Some(answer);
        }
        if answer.kind == RaftKind::AppendResponse {
            let since = self.held.as_ref().map_or(now, |(.., since)| *since);
            self.held = Some((to, answer, since));
        }
        None
    }

    /// The answer that has waited for long enough; any answer, once this node is a voter.
    pub(super) fn release(&mut self, votes: bool, now: u64, timing: Timing) -> Option<(RaftId, RaftMessage)> {
        let waits = |since: u64| !votes && now < since + timing.acknowledgement_held_max();
        let (to, answer, _) = self.held.take_if(|(.., since)| !waits(*since))?;
        (self.answered, self.answered_at) = (Some((to, answer.term)), now);
        Some((to, answer))
    }

    pub(super) fn is_holding(&self) -> bool {
        self.held.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::options::Options;

    const LEADER: RaftId = 7;

    fn message(kind: RaftKind, index: u64) -> RaftMessage {
        RaftMessage::new(kind, 3, index)
    }

    fn timing() -> Timing {
        Timing::new(&Options::new("any", 3, [0; 32]))
    }

    /// A learner that has answered its leader once.
    fn known() -> LearnerAnswers {
        let mut answers = LearnerAnswers::default();
        let first = message(RaftKind::AppendResponse, 10);
        assert_eq!(answers.pass(LEADER, first.clone(), 0, timing()), Some(first));
        answers
    }

    #[test]
    fn the_newest_acknowledgement_waits_and_then_leaves_alone() {
        let mut answers = known();
        for index in [11, 12, 13] {
            assert_eq!(answers.pass(LEADER, message(RaftKind::AppendResponse, index), 1, timing()), None);
        }
        let held_max = timing().acknowledgement_held_max();
        assert_eq!(answers.release(false, held_max, timing()), None);
        let newest = message(RaftKind::AppendResponse, 13);
        assert_eq!(answers.release(false, 1 + held_max, timing()), Some((LEADER, newest)));
        assert!(!answers.is_holding());
    }

    #[test]
    fn an_acknowledgement_that_the_leader_asks_for_leaves_at_once() {
        let mut answers = known();
        answers.note(Asked::Acknowledgement { term: 3, index: 12 });
        assert_eq!(answers.pass(LEADER, message(RaftKind::AppendResponse, 11), 1, timing()), None);
        let asked = message(RaftKind::AppendResponse, 12);
        assert_eq!(answers.pass(LEADER, asked.clone(), 1, timing()), Some(asked));
        assert!(!answers.is_holding(), "it says all that the former one did");
        assert_eq!(answers.pass(LEADER, message(RaftKind::AppendResponse, 13), 1, timing()), None);
    }

    #[test]
    fn a_rejection_and_the_first_answer_to_a_leader_never_wait() {
        let mut answers = known();
        let rejection = RaftMessage { reject: true, ..message(RaftKind::AppendResponse, 20) };
        assert_eq!(answers.pass(LEADER, rejection.clone(), 1, timing()), Some(rejection));
        let later = RaftMessage { term: 4, ..message(RaftKind::HeartbeatResponse, 0) };
        assert_eq!(answers.pass(8, later.clone(), 1, timing()), Some(later));
    }

    #[test]
    fn a_heartbeat_is_answered_some_times_within_an_election_timeout_or_if_asked() {
        let mut answers = known();
        let heartbeat = || message(RaftKind::HeartbeatResponse, 0);
        let election = timing().election();
        let answered = (1..=election).filter(|now| {
            now.is_multiple_of(timing().heartbeat())
                && answers.pass(LEADER, heartbeat(), *now, timing()).is_some()
        });
        assert_eq!(answered.count(), 2);
        answers.note(Asked::HeartbeatResponse);
        assert_eq!(answers.pass(LEADER, heartbeat(), election, timing()), Some(heartbeat()));
        assert_eq!(answers.pass(LEADER, heartbeat(), election, timing()), None);
    }

    #[test]
    fn a_learner_that_becomes_a_voter_holds_nothing_back() {
        let mut answers = known();
        let acknowledgement = message(RaftKind::AppendResponse, 11);
        assert_eq!(answers.pass(LEADER, acknowledgement.clone(), 1, timing()), None);
        assert_eq!(answers.release(true, 1, timing()), Some((LEADER, acknowledgement)));
    }
}
