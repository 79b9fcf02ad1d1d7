//! Measures how long this node's storage has not responded, and makes a leader with such a storage transfer leadership.
//!
//! A disk that hangs gives no error, and heartbeats need no disk: without this, a leader that can save nothing would
//! continue to lead, and its followers would never campaign.

use super::output::Output;
use super::replica::Replica;
use crate::raft::consensus::group::Storage;
use crate::raft::consensus::timing::Timing;
use crate::raft::events::Warning;
use crate::raft::options::Options;

/// What is known of the oldest write that is not durable yet.
#[derive(Debug)]
pub(super) struct Overdue {
    ticks_max: u64,
    /// For how many ticks that write has been pending.
    ticks: u64,
    /// It was reported to the application.
    is_reported: bool,
}

impl Overdue {
    pub(super) fn new(timing: Timing) -> Self {
        Self { ticks_max: timing.write_overdue(), ticks: 0, is_reported: false }
    }

    /// The storage has owed an answer for too long. Such a node neither campaigns nor takes leadership.
    pub(super) fn is_overdue(&self) -> bool {
        injected_bug!(LeadsWithoutStorage, return false);
        self.ticks >= self.ticks_max
    }

    pub(super) fn storage(&self) -> Storage {
        if self.is_overdue() { Storage::Overdue } else { Storage::Answers }
    }

    /// A write became durable: later writes have waited only since then.
    pub(super) fn answered(&mut self) {
        self.ticks = 0;
    }

    /// A tick has passed, and writes are pending or not. The first transfer target may not take over, for its own disk
    /// may be slow too: a leader asks again.
    pub(super) fn tick(
        &mut self,
        is_write_pending: bool,
        replica: Option<&mut Replica>,
        options: &Options,
        output: &mut Output,
    ) {
        if !is_write_pending {
            (self.ticks, self.is_reported) = (0, false);
            return;
        }
        self.ticks += 1;
        if self.is_overdue() && !std::mem::replace(&mut self.is_reported, true) {
            let milliseconds = options.milliseconds(self.ticks);
            output.warn(Warning::StorageSlow { milliseconds });
        }
        if let Some(replica) = replica.filter(|replica| self.is_overdue() && replica.group.is_leader()) {
            replica.transfer_leadership(None);
        }
    }
}
