//! What a part of the core wants done: a part decides, and the node executes.

use crate::error::Error;
use crate::raft::events::{Delivery, Target, Warning};
use crate::raft::frame::{Message, OperationReply};
use crate::raft::identity::{Incarnation, RaftId};

#[derive(Debug)]
pub(super) enum Effect {
    Send(Target, Message),
    Deliver(Delivery),
    Warn(Warning),
    /// To this member, or to the one with the longest log; only a leader can.
    TransferLeadership(Option<RaftId>),
    /// As the leader, to the node that requested an operation.
    ReplyOperation {
        to: Incarnation,
        request_id: u64,
        answer: OperationReply,
    },
    /// Every call ends with this error, and the node stops.
    Fail(Error),
    /// The node has closed: it stops.
    EndClosing,
}
