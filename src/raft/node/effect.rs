//! What a part of the core wants done: a part decides, and the node executes.

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
    /// The node has closed: it stops.
    EndClosing,
}
