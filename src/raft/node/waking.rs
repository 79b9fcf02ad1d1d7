//! This file lets a leader whose JavaScript is stuck hand over to a node whose JavaScript is not.
//!
//! Part of `node.rs`. Heartbeats go on while an application blocks its event loop, so no election would ever come; but
//! nothing is evaluated either. A voter is asked whether its JavaScript answers, and has to have it answer first: one that
//! has nothing to do may be stuck as well.

use super::Node;
use crate::raft::events::{Delivery, Target};
use crate::raft::frame::Message;
use crate::raft::identity::Incarnation;

/// Whether JavaScript, here and elsewhere, is awake.
#[derive(Default)]
pub(super) struct Waking {
    /// For how many ticks the batch with JavaScript has not been answered.
    unanswered_ticks: u64,
    /// Who asked whether this node's JavaScript answers.
    asked_by: Option<Incarnation>,
    /// The batch with JavaScript is the answer to that.
    is_asking: bool,
}

impl Node {
    /// A tick has passed. If performs have waited for JavaScript for an election timeout, a leader asks the voters.
    pub(super) fn tick_waking(&mut self) {
        if self.delivering.is_none() {
            self.waking.unanswered_ticks = 0;
            return;
        }
        self.waking.unanswered_ticks += 1;
        let is_due = self.waking.unanswered_ticks >= self.options.election_timeout_ticks_max
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
        if self.waking.unanswered_ticks >= self.options.election_timeout_ticks_max {
            self.hand_over(Some(from.raft_id()));
        }
    }
}
