//! This file lets a leader whose JavaScript is stuck hand over to a node whose JavaScript is not.
//!
//! Part of `node.rs`. Heartbeats go on while an application blocks its event loop, so no election would ever come; but
//! nothing is evaluated either. A voter is asked whether its JavaScript answers, and has to have it answer first: one that
//! has nothing to do may be stuck as well.

use super::Node;
use crate::raft::events::{Delivery, Target};
use crate::raft::frame::Message;
use crate::raft::identity::Incarnation;
#[cfg(test)]
use crate::raft::testing::bugs::{Bug, is_back};

/// Whether JavaScript, here and elsewhere, is awake.
#[derive(Debug, Default)]
pub(super) struct Waking {
    /// For how many ticks JavaScript has given no sign of the batch that it has.
    unanswered_ticks: u64,
    /// It has begun with the batch.
    has_begun: bool,
    /// To how many earlier leaders a request in the batch was sent.
    attempts: u32,
    /// Who asked whether this node's JavaScript answers.
    asked_by: Option<Incarnation>,
    /// The batch with JavaScript is the answer to that.
    is_asking: bool,
}

/// A request that was sent to an earlier leader, and that JavaScript has begun with, may be what kept that leader's busy.
/// If every leader gave up on it, it would never end: one waits so many election timeouts, the next twice as many.
const PATIENCE_TIMEOUTS: u64 = 20;
const DOUBLINGS_MAX: u32 = 10;

impl Waking {
    /// JavaScript works on its batch.
    pub(super) fn progressed(&mut self) {
        (self.unanswered_ticks, self.has_begun) = (0, true);
    }

    /// After so many ticks without a sign of it, JavaScript counts as blocked.
    fn patience_ticks(&self, election_ticks: u64) -> u64 {
        #[cfg(test)]
        if is_back(Bug::GivesUpOnSlowRequests) {
            return election_ticks;
        }
        match self.attempts.checked_sub(1).filter(|_| self.has_begun) {
            Some(doublings) => election_ticks * (PATIENCE_TIMEOUTS << doublings.min(DOUBLINGS_MAX)),
            None => election_ticks,
        }
    }
}

impl Node {
    /// A tick has passed. If performs have waited for JavaScript for an election timeout, a leader asks the voters.
    pub(super) fn tick_waking(&mut self) {
        if self.delivering.is_none() {
            self.waking.unanswered_ticks = 0;
            return;
        }
        self.waking.unanswered_ticks += 1;
        let patience_ticks = self.waking.patience_ticks(self.options.election_timeout_ticks_max);
        let is_due = self.waking.unanswered_ticks >= patience_ticks
            && self.waking.unanswered_ticks.is_multiple_of(self.options.heartbeat_ticks.max(1));
        let Some(seat) = self.seat.as_ref().filter(|seat| is_due && seat.group.is_leader()) else { return };
        if !seat.leadership.as_ref().is_some_and(|leadership| leadership.has_work()) {
            return;
        }
        let me = self.membership.me();
        let voters = seat.registry.members().filter(|(member, incarnation, _)| {
            *incarnation != me && seat.group.is_voter(*member) && seat.group.is_active(*member)
        });
        for (_, voter, _) in voters {
            self.outbox.push(Target::One(voter), Message::Wake);
        }
    }

    /// The leader asks whether this node's JavaScript answers: it is asked.
    pub(super) fn hear_wake(&mut self, from: Incarnation) {
        if self.waking.asked_by.is_none() {
            self.waking.asked_by = Some(from);
            self.news.push(Delivery::Wake);
        }
    }

    pub(super) fn note_batch(&mut self, batch: &[Delivery]) {
        self.waking.is_asking = batch.iter().any(|delivery| matches!(delivery, Delivery::Wake));
        self.waking.has_begun = false;
        let leadership = self.seat.as_ref().and_then(|seat| seat.leadership.as_ref());
        self.waking.attempts = leadership.map_or(0, |leadership| leadership.attempts());
    }

    /// JavaScript answered a batch.
    pub(super) fn woke(&mut self) {
        self.waking.unanswered_ticks = 0;
        if std::mem::take(&mut self.waking.is_asking)
            && let Some(leader) = self.waking.asked_by.take()
        {
            self.outbox.push(Target::One(leader), Message::Awake);
        }
    }

    /// A voter's JavaScript answers: if this leader's still does not, that one is to lead.
    pub(super) fn hear_awake(&mut self, from: Incarnation) {
        let patience_ticks = self.waking.patience_ticks(self.options.election_timeout_ticks_max);
        if self.waking.unanswered_ticks >= patience_ticks {
            self.hand_over(Some(from.raft_id()));
        }
    }
}
