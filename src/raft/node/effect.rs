//! What a part of the core wants done: a part decides, and the node executes.

use crate::error::Error;
use crate::raft::events::{Delivery, Target, Warning};
use crate::raft::frame::Message;
use crate::raft::identity::RaftId;

#[derive(Debug)]
pub(super) enum Effect {
    Send(Target, Message),
    Deliver(Delivery),
    Warn(Warning),
    /// To this member, or to the one with the longest log; only a leader can.
    TransferLeadership(Option<RaftId>),
    /// From `index` on, this node's state does not match the log.
    Diverge {
        index: u64,
        why: String,
    },
    /// Every call ends with this error, and the node stops.
    Fail(Error),
    /// The node has closed: it stops.
    EndClosing,
}
