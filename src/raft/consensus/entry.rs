//! The content of an entry of the log.
//!
//! raft-rs gives an entry two byte strings. For an action, `data` is its JSON text, unchanged from the method's answer
//! to the reducer, and `context` is the [`Request`] below, or a [`SystemAction`] of the leader; the time of the
//! evaluation follows both. Other entries of conflux have an empty `data`, and `context` describes them; an entry with
//! neither marks the start of a leader's term. For a change of the configuration, `data` is raft-rs's, and `context` is
//! an [`Admission`] or empty.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::raft::coordination::{NO_TIME, SystemAction, TimerChange, mix};
use crate::raft::identity::{ClusterUuid, Incarnation, RaftId, Start};
use crate::raft::wire::message::Outcome;

/// Terms and indexes stay below this, so that they are exact as JavaScript numbers and far from overflowing.
pub const NUMBER_MAX: u64 = 1 << 53;
/// Where a cluster's log starts: a snapshot at this index and term contains the founding voters, so that no replica
/// ever starts from a configuration that is not in its log's past.
pub const FOUNDING_INDEX: u64 = 1;
pub const FOUNDING_TERM: u64 = 1;

/// The context of a normal entry. New variants go to the end: the position is the encoding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Context {
    /// `data` is an action, or empty if the call only changes timers.
    Request(Request),
    /// The cluster is to have this many voters, unless an entry after this index has resized it.
    Resize { cluster_size: u32, after: u64 },
    /// Every node hashes the state that it has here.
    Check,
    /// The quorum was lost; the cluster continues from this log under another name, with one voter.
    /// What the former cluster committed up to the index `kept` is certainly in this log.
    Epoch { cluster: ClusterUuid, survivor: Incarnation, id: Arc<str>, missing: Vec<Arc<str>>, kept: u64 },
    /// Outcomes that do not fit into the entry of the origin's next action: see [`Request::observed`].
    Observed { origin: RaftId, start: u64, observed: Vec<(u64, Outcome)> },
    /// The cluster accepts these starts of members from here on.
    Started { starts: Vec<(RaftId, Start)> },
    /// An action of the leader's own. `data` is the action for the reducer, or empty.
    System(SystemAction),
}

/// The first byte of the encoding of [`Context::Request`].
const REQUEST: u8 = 0;
/// The first byte of the encoding of [`Context::System`].
const SYSTEM: u8 = 6;

/// The context of a change of the configuration that admits a newcomer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    pub incarnation: Incarnation,
    pub id: Arc<str>,
    /// Whether it may become a voter.
    pub may_vote: bool,
}

/// The call that an entry belongs to (thesis §6.3: a client's id and serial number).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId {
    /// The incarnation whose application made the call, as its raft id.
    pub origin: RaftId,
    /// Rises with every start of a node that kept its log, so that a restarted node never repeats an id.
    pub start: u64,
    /// Counts the calls of one start, from 1.
    pub sequence: u64,
}

impl RequestId {
    /// Consecutive requests have unrelated seeds.
    pub fn seed(&self) -> u64 {
        [self.origin, self.start, self.sequence].into_iter().fold(0, |seed, part| mix(seed ^ part))
    }
}

/// The context of an action's entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub id: RequestId,
    /// The oldest sequence number that its origin still waits for: whatever is below may be forgotten.
    pub floor: u64,
    /// Outcomes of the same origin's earlier requests that became no entry and that the origin may not have received.
    ///
    /// They were evaluated before this action, so they are final once it is committed: a later leader repeats them. If
    /// it evaluated them again, it would evaluate the origin's calls out of order.
    pub observed: Vec<(u64, Outcome)>,
}

impl Context {
    /// Whether it is that of a call; one that only changes timers has no action.
    pub fn is_request(context: &[u8]) -> bool {
        context.first() == Some(&REQUEST)
    }

    /// Whether an entry with this context has an action of the leader's own.
    pub fn is_system(context: &[u8]) -> bool {
        context.first() == Some(&SYSTEM)
    }

    pub fn encode(&self) -> Vec<u8> {
        self.append_to(Vec::new())
    }

    fn append_to(&self, bytes: Vec<u8>) -> Vec<u8> {
        postcard::to_extend(self, bytes).expect("a context is plain data: encoding it cannot fail")
    }

    /// Appends the context of an entry that was evaluated.
    pub fn append_stamped_to(&self, bytes: Vec<u8>, stamp: &Stamp) -> Vec<u8> {
        let plain = "a stamp is plain data: encoding it cannot fail";
        let context = postcard::to_extend(&stamp.at, self.append_to(bytes)).expect(plain);
        match &stamp.timers[..] {
            [] => context,
            timers => postcard::to_extend(timers, context).expect(plain),
        }
    }

    /// `None` if the bytes are not a context. Such an entry changes nothing, on any node.
    pub fn decode(context: &Bytes) -> Option<Self> {
        Some(Self::decode_stamped(context)?.0)
    }

    /// Also what follows it.
    pub fn decode_stamped(context: &Bytes) -> Option<(Self, Stamp)> {
        let (context, rest) = postcard::take_from_bytes(context).ok()?;
        Some((context, Stamp::decode(rest)))
    }
}

/// What follows the context of an entry that was evaluated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// When, in milliseconds since 1970, or [`NO_TIME`].
    pub at: u64,
    /// What the action does to the timers; nothing is written of an empty list.
    pub timers: Vec<TimerChange>,
}

impl Stamp {
    /// The context of another entry is followed by nothing.
    fn decode(bytes: &[u8]) -> Self {
        let Ok((at, rest)) = postcard::take_from_bytes(bytes) else { return Self::default() };
        let timers =
            if rest.is_empty() { Vec::new() } else { postcard::from_bytes(rest).unwrap_or_default() };
        Self { at: if at < NUMBER_MAX { at } else { NO_TIME }, timers }
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
