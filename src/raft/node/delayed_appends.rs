//! Holds the messages that a leader delays, so that fewer messages wake the other members.
//!
//! Called by `node.rs` with the messages of each turn, and with each tick.

mod commit_piggyback;
mod learner_appends;

use crate::raft::events::Delivery;
use crate::raft::identity::RaftId;
use crate::raft::wire::message::RaftMessage;
use commit_piggyback::CommitPiggyback;
use learner_appends::LearnerAppends;

#[derive(Debug, Default)]
pub(super) struct DelayedAppends {
    commit_piggyback: CommitPiggyback,
    learner_appends: LearnerAppends,
}

impl DelayedAppends {
    pub(super) fn is_empty(&self) -> bool {
        self.commit_piggyback.is_empty() && self.learner_appends.is_empty()
    }

    /// A batch with everything up to this index is delivered to JavaScript.
    pub(super) fn note_batch(&mut self, batch: &[Delivery], until: u64) {
        self.commit_piggyback.note_batch(batch, until);
    }

    /// JavaScript has finished its turn.
    pub(super) fn turn_over(&mut self) {
        self.commit_piggyback.release();
    }

    pub(super) fn tick(&mut self) {
        self.commit_piggyback.release();
        self.learner_appends.release();
    }

    /// The messages of this node that leave now, including delayed ones.
    pub(super) fn hold(
        &mut self,
        messages: Vec<(RaftId, RaftMessage)>,
        is_learner: impl Fn(RaftId) -> bool,
    ) -> Vec<(RaftId, RaftMessage)> {
        self.learner_appends.hold(self.commit_piggyback.hold(messages), is_learner)
    }
}
