//! Transfers leadership from a leader whose JavaScript event loop is blocked to a node whose event loop responds.
//!
//! Heartbeats continue while an application blocks its event loop, so there would be no election;
//! but nothing is evaluated either. The leader probes the voters, and a voter replies only after its own JavaScript has
//! answered: an idle one may be blocked as well.

use std::collections::VecDeque;

use super::output::Output;
use super::replica::Replica;
use crate::raft::consensus::timing::Timing;
use crate::raft::events::{Delivery, Target};
use crate::raft::identity::Incarnation;
use crate::raft::wire::message::LivenessMessage;

/// Whether the JavaScript event loops of this node and of others respond.
#[derive(Debug, Default)]
pub(super) struct AppLiveness {
    /// Ticks since JavaScript last reported progress on its batch.
    unanswered_ticks: u64,
    /// JavaScript has started the oldest of these batches.
    has_begun: bool,
    batches: VecDeque<Batch>,
    /// The leader that probed this node.
    asked_by: Option<Incarnation>,
}

/// A batch with JavaScript.
#[derive(Debug)]
struct Batch {
    /// To how many earlier leaders a request in it was sent.
    attempts: u32,
    /// Its answer is the reply to the leader's probe.
    is_asking: bool,
}

/// A request that JavaScript is evaluating may have blocked an earlier leader. If every leader gave up on it, it would
/// never end: each leader waits twice as long as the one before.
const DOUBLINGS_MAX: u32 = 10;

impl AppLiveness {
    /// JavaScript reported progress.
    pub(super) fn progressed(&mut self) {
        (self.unanswered_ticks, self.has_begun) = (0, true);
    }

    /// Counts a tick. If calls have waited for JavaScript for an election timeout, a leader probes the voters.
    pub(super) fn tick(
        &mut self,
        replica: Option<&Replica>,
        me: Incarnation,
        timing: Timing,
        output: &mut Output,
    ) {
        if self.batches.is_empty() {
            self.unanswered_ticks = 0;
            return;
        }
        self.unanswered_ticks += 1;
        let is_due = self.is_blocked(timing) && self.unanswered_ticks.is_multiple_of(timing.heartbeat());
        let has_work = |replica: &&Replica| {
            replica.group.is_leader()
                && replica.leader_state.as_ref().is_some_and(|leader| leader.sessions.has_work())
        };
        let Some(replica) = replica.filter(|_| is_due).filter(has_work) else { return };
        let voters = replica.members.iter().filter(|(member, incarnation, _)| {
            *incarnation != me && replica.group.is_voter(*member) && replica.group.is_active(*member)
        });
        voters.for_each(|(_, voter, _)| output.send(Target::One(voter), LivenessMessage::AppProbe));
    }

    /// A batch is delivered to JavaScript; `attempts`: to how many earlier leaders a request in it was sent.
    pub(super) fn note_batch(&mut self, batch: &[Delivery], attempts: u32) {
        let is_asking = batch.iter().any(|delivery| matches!(delivery, Delivery::AppProbe));
        self.batches.push_back(Batch { attempts, is_asking });
    }

    /// JavaScript answered the oldest batch.
    pub(super) fn answered(&mut self, output: &mut Output) {
        (self.unanswered_ticks, self.has_begun) = (0, false);
        if self.batches.pop_front().is_some_and(|batch| batch.is_asking)
            && let Some(leader) = self.asked_by.take()
        {
            output.send(Target::One(leader), LivenessMessage::AppProbeReply);
        }
    }

    /// The leader probes this node: an empty batch goes to JavaScript.
    pub(super) fn handle_probe(&mut self, from: Incarnation, output: &mut Output) {
        if self.asked_by.is_none() {
            self.asked_by = Some(from);
            output.deliver(Delivery::AppProbe);
        }
    }

    /// JavaScript has given no sign for too long: leadership goes to a voter whose JavaScript replies.
    pub(super) fn is_blocked(&self, timing: Timing) -> bool {
        self.unanswered_ticks >= self.patience_ticks(timing)
    }

    fn patience_ticks(&self, timing: Timing) -> u64 {
        injected_bug!(GivesUpOnSlowRequests, return timing.app_blocked());
        let attempts = self.batches.front().map_or(0, |batch| batch.attempts);
        match attempts.checked_sub(1).filter(|_| self.has_begun) {
            Some(doublings) => timing.app_blocked_by_slow_request() << doublings.min(DOUBLINGS_MAX),
            None => timing.app_blocked(),
        }
    }
}
