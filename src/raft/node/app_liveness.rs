//! Transfers leadership from a leader whose JavaScript event loop is blocked to a node whose event loop responds.
//!
//! Part of `node.rs`. Heartbeats continue while an application blocks its event loop, so there would be no election;
//! but nothing is evaluated either. The leader probes the voters, and a voter replies only after its own JavaScript has
//! answered: an idle one may be blocked as well.

use super::Node;
use crate::raft::events::{Delivery, Target};
use crate::raft::frame::Message;
use crate::raft::identity::Incarnation;

/// Whether the JavaScript event loops of this node and of others respond.
#[derive(Debug, Default)]
pub(super) struct AppLiveness {
    /// Ticks since JavaScript last reported progress on its batch.
    unanswered_ticks: u64,
    /// It has started the batch.
    has_begun: bool,
    /// To how many earlier leaders a request in the batch was sent.
    attempts: u32,
    /// The leader that probed this node.
    asked_by: Option<Incarnation>,
    /// The batch with JavaScript is the reply to that probe.
    is_asking: bool,
}

/// A request that was sent to an earlier leader, and that JavaScript has begun with, may be what kept that leader's
/// busy. If every leader gave up on it, it would never end: one waits so many election timeouts, the next twice as
/// many.
const PATIENCE_TIMEOUTS: u64 = 20;
const DOUBLINGS_MAX: u32 = 10;

impl AppLiveness {
    /// JavaScript reported progress.
    pub(super) fn progressed(&mut self) {
        (self.unanswered_ticks, self.has_begun) = (0, true);
    }

    /// After so many ticks without a sign of it, JavaScript counts as blocked.
    fn patience_ticks(&self, election_ticks: u64) -> u64 {
        injected_bug!(GivesUpOnSlowRequests, return election_ticks);
        match self.attempts.checked_sub(1).filter(|_| self.has_begun) {
            Some(doublings) => election_ticks * (PATIENCE_TIMEOUTS << doublings.min(DOUBLINGS_MAX)),
            None => election_ticks,
        }
    }
}

impl Node {
    /// Counts a tick. If calls have waited for JavaScript for an election timeout, a leader probes the voters.
    pub(super) fn tick_app_liveness(&mut self) {
        if self.delivering.is_none() {
            self.app_liveness.unanswered_ticks = 0;
            return;
        }
        self.app_liveness.unanswered_ticks += 1;
        let patience_ticks = self.app_liveness.patience_ticks(self.options.election_timeout_ticks_max);
        let is_due = self.app_liveness.unanswered_ticks >= patience_ticks
            && self.app_liveness.unanswered_ticks.is_multiple_of(self.options.heartbeat_ticks.max(1));
        let Some(replica) = self.replica.as_ref().filter(|replica| is_due && replica.group.is_leader())
        else {
            return;
        };
        if !replica.sessions.as_ref().is_some_and(|sessions| sessions.has_work()) {
            return;
        }
        let me = self.bootstrap.me();
        let voters = replica.members.iter().filter(|(member, incarnation, _)| {
            *incarnation != me && replica.group.is_voter(*member) && replica.group.is_active(*member)
        });
        for (_, voter, _) in voters {
            self.outbox.push(Target::One(voter), Message::AppProbe);
        }
    }

    /// The leader probes this node: delivers an empty batch to JavaScript.
    pub(super) fn handle_app_probe(&mut self, from: Incarnation) {
        if self.app_liveness.asked_by.is_none() {
            self.app_liveness.asked_by = Some(from);
            self.pending_deliveries.push(Delivery::AppProbe);
        }
    }

    pub(super) fn note_batch(&mut self, batch: &[Delivery]) {
        self.app_liveness.is_asking = batch.iter().any(|delivery| matches!(delivery, Delivery::AppProbe));
        self.app_liveness.has_begun = false;
        let sessions = self.replica.as_ref().and_then(|replica| replica.sessions.as_ref());
        self.app_liveness.attempts = sessions.map_or(0, |sessions| sessions.attempts());
    }

    /// JavaScript answered a batch.
    pub(super) fn app_answered(&mut self) {
        self.app_liveness.unanswered_ticks = 0;
        if std::mem::take(&mut self.app_liveness.is_asking)
            && let Some(leader) = self.app_liveness.asked_by.take()
        {
            self.outbox.push(Target::One(leader), Message::AppProbeReply);
        }
    }

    /// A voter's JavaScript responds: if this leader's still does not, transfers leadership to that voter.
    pub(super) fn handle_app_probe_reply(&mut self, from: Incarnation) {
        let patience_ticks = self.app_liveness.patience_ticks(self.options.election_timeout_ticks_max);
        if self.app_liveness.unanswered_ticks >= patience_ticks {
            self.transfer_leadership(Some(from.raft_id()));
        }
    }
}
