//! This file says what an entry of the log carries: the action, and whose request made it.
//!
//! raft-rs gives an entry two byte strings. `data` is the JSON text of the action, untouched from the method's answer
//! to the reducer; `context` is the [`Request`] below. An entry without data marks the start of a leader's term.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::frame::Outcome;
use super::identity::RaftId;

/// Whose perform an entry belongs to (thesis §6.3: a client's id and serial number).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId {
    /// The incarnation that performed, as its raft id.
    pub origin: RaftId,
    /// Rises with every start of a node that kept its log, so that a restarted node never repeats an id.
    pub start: u64,
    /// Counts the performs of one start, from 1.
    pub sequence: u64,
}

/// The context of an action's entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub id: RequestId,
    /// The oldest sequence number that its origin still waits for: whatever is below may be forgotten.
    pub floor: u64,
    /// Outcomes of the same origin's earlier requests that became no entry and that the origin may not have heard.
    ///
    /// They were evaluated before this action, so once it is committed they stand: a later leader repeats them. If it
    /// evaluated them again, the origin's performs would have been evaluated out of their order.
    pub observed: Vec<(u64, Outcome)>,
}

impl Request {
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("a request is plain data: encoding it cannot fail")
    }

    /// `None` if the bytes are no request; such an entry changes nothing, on any node.
    pub fn decode(context: &Bytes) -> Option<Self> {
        postcard::from_bytes(context).ok()
    }
}
