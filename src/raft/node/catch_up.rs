//! Detects that a node has caught up: its application has reduced everything that was committed when the node became a
//! member or returned.
//!
//! Part of `node.rs`. The node sends its leader a read as for `sync` (thesis §6.4), without a timeout and without a
//! caller.

use super::Node;
use super::operations::{OWN_TICKET, PendingOperation};
use crate::raft::events::{Delivery, Operation};

impl Node {
    /// The node has a replica now, and requests the commit index to catch up with.
    pub(super) fn begin_catch_up(&mut self) {
        self.fall_behind();
        injected_bug!(CatchesUpAtOnce, return self.caught_up());
        self.operations.push(PendingOperation::new(OWN_TICKET, Operation::Sync, u64::MAX));
    }

    /// The state is, or may be, incomplete.
    pub(super) fn fall_behind(&mut self) {
        self.operations.retain(|pending| pending.ticket() != OWN_TICKET);
        if std::mem::take(&mut self.is_caught_up) {
            self.pending_deliveries.push(Delivery::CaughtUp(false));
        }
    }

    /// Everything that was committed when the node sent the read is reduced.
    pub(super) fn caught_up(&mut self) {
        self.is_caught_up = true;
        self.pending_deliveries.push(Delivery::CaughtUp(true));
    }
}
