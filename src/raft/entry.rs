//! The content of an entry of the log.
//!
//! raft-rs gives an entry two byte strings. Of an action, `data` is its JSON text, untouched from the method's answer
//! to the reducer, and `context` the [`Request`] below. Of what conflux itself logs, `data` is empty and `context` says
//! what it is; an entry with neither marks the start of a leader's term. Of a change of the configuration, `data` is
//! raft-rs's, and `context` an [`Admission`] or empty.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::frame::Outcome;
use super::identity::{ClusterUuid, Incarnation, RaftId, Start};

/// Terms and indexes stay below this, so that they are exact as JavaScript numbers and far from overflowing.
pub const NUMBER_MAX: u64 = 1 << 53;
/// Where a cluster's log starts: the founding voters sit in a snapshot at this index and term, so that no replica
/// ever starts from a configuration that is not in its log's past.
pub const FOUNDING_INDEX: u64 = 1;
pub const FOUNDING_TERM: u64 = 1;

/// The context of a normal entry. New variants go to the end: the position is the encoding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Context {
    /// `data` is an action.
    Request(Request),
    /// The cluster is to have so many voters, unless an entry after this index has resized it.
    Resize { cluster_size: u32, after: u64 },
    /// Every node hashes the state that it has here.
    Check,
    /// The quorum was lost; the cluster continues from this log under another name, with one voter.
    /// What the former cluster committed up to the index `kept` is certainly in this log.
    Epoch { cluster: ClusterUuid, survivor: Incarnation, id: Arc<str>, missing: Vec<Arc<str>>, kept: u64 },
    /// Outcomes that the entry of the next action of the same origin has no room for: see [`Request::observed`].
    Observed { origin: RaftId, start: u64, observed: Vec<(u64, Outcome)> },
    /// These are the starts of members that the cluster hears from here on.
    Started { starts: Vec<(RaftId, Start)> },
}

/// The context of a change of the configuration that lets a newcomer in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    pub incarnation: Incarnation,
    pub id: Arc<str>,
    /// Whether it may become a voter.
    pub may_vote: bool,
}

/// Whose call an entry belongs to (thesis §6.3: a client's id and serial number).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId {
    /// The incarnation that performed, as its raft id.
    pub origin: RaftId,
    /// Rises with every start of a node that kept its log, so that a restarted node never repeats an id.
    pub start: u64,
    /// Counts the calls of one start, from 1.
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
    /// evaluated them again, the origin's calls would have been evaluated out of their order.
    pub observed: Vec<(u64, Outcome)>,
}

impl Context {
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("a context is plain data: encoding it cannot fail")
    }

    /// `None` if the bytes are none of ours; such an entry changes nothing, on any node.
    pub fn decode(context: &Bytes) -> Option<Self> {
        postcard::from_bytes(context).ok()
    }
}

impl Admission {
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("an admission is plain data: encoding it cannot fail")
    }

    /// `None` if no node is admitted.
    pub fn decode(context: &Bytes) -> Option<Self> {
        postcard::from_bytes(context).ok()
    }
}
