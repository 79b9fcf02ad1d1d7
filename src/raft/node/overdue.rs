//! Measures how long this node's storage has not responded, and makes a leader with such a storage transfer leadership.
//!
//! Part of `node.rs`. A disk that hangs gives no error, and heartbeats need no disk: without this, a leader that can
//! save nothing would lead on, and its followers would never campaign.

use super::Node;
use crate::raft::events::Warning;
use crate::raft::group::Storage;

/// What is known of the oldest write that is not durable yet.
#[derive(Debug, Default)]
pub(super) struct Overdue {
    /// For how many ticks it has been under way.
    ticks: u64,
    /// It was reported to the application.
    is_reported: bool,
}

/// A write is overdue after so many election timeouts.
const PATIENCE_TIMEOUTS: u64 = 2;

impl Overdue {
    /// A write became durable: no other has waited longer than for that answer.
    pub(super) fn answered(&mut self) {
        self.ticks = 0;
    }
}

impl Node {
    /// The storage has owed an answer for too long. Such a node neither campaigns nor takes leadership.
    pub(super) fn is_storage_overdue(&self) -> bool {
        injected_bug!(LeadsWithoutStorage, return false);
        self.overdue.ticks >= PATIENCE_TIMEOUTS * self.options.election_timeout_ticks_max
    }

    pub(super) fn storage(&self) -> Storage {
        if self.is_storage_overdue() { Storage::Overdue } else { Storage::Answers }
    }

    /// A tick has passed. The first transfer target may not take over, for its own disk may be slow too: a leader asks
    /// again.
    pub(super) fn tick_overdue(&mut self) {
        if self.saved == self.writes {
            self.overdue = Overdue::default();
            return;
        }
        self.overdue.ticks += 1;
        if !self.is_storage_overdue() {
            return;
        }
        if !std::mem::replace(&mut self.overdue.is_reported, true) {
            let milliseconds = self.options.milliseconds(self.overdue.ticks);
            self.warn(Warning::StorageSlow { milliseconds });
        }
        if self.replica.as_ref().is_some_and(|replica| replica.group.is_leader()) {
            self.transfer_leadership(None);
        }
    }
}
