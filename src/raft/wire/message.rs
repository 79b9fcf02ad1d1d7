//! The messages between nodes, grouped by the part of the core that handles them.
//!
//! The position of a variant is its encoding: new ones are added at the end. A message of a group takes one byte more
//! than one that stands alone, so the messages of each call and each heartbeat stand alone.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::items::{self, RequestItem, WireEntry};
use crate::raft::application::Application;
use crate::raft::events::StateHash;
use crate::raft::identity::{ClusterUuid, Incarnation, RaftId, Start};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// A message between raft-rs peers.
    Raft(RaftMessage),
    /// Requests to the leader of `term`.
    Requests(Requests),
    /// Outcomes for requests of one start of their origin that became no entry. Each is valid for the state at `index`,
    /// which the origin needs before it ends the call.
    Outcomes {
        term: u64,
        start: u64,
        index: u64,
        outcomes: Vec<(u64, Outcome)>,
    },
    /// "In this term I have your requests up to this sequence number, without a gap."
    Received {
        term: u64,
        start: u64,
        sequence: u64,
    },
    Bootstrap(BootstrapMessage),
    Start(StartMessage),
    Membership(MembershipMessage),
    Snapshot(SnapshotMessage),
    Operation(OperationMessage),
    Divergence(DivergenceMessage),
    Recovery(RecoveryMessage),
    Liveness(LivenessMessage),
}

/// Between nodes that may be in different clusters, or in none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum BootstrapMessage {
    /// "I have no cluster." Broadcast with jitter; every node that can help answers. `members_index`: the last value
    /// from the leader of the cluster that the sender wants to join; 0 before. `may_vote`: it may be a founder or voter.
    Discover {
        id: Arc<str>,
        cluster_size: u32,
        version: Arc<str>,
        application: Application,
        members_index: u64,
        may_vote: bool,
    },
    /// "I accept this roster", at most one per incarnation. The first one, from the proposer, is the proposal.
    Accept(Roster),
    /// "There is a cluster": a member's answer to a Discover, and the leader's broadcast at intervals.
    ClusterAnnouncement(ClusterAnnouncement),
    /// "That id is mine, and I am alive": the answer to a Discover under the sender's own id.
    IdInUse { id: Arc<str> },
    /// "You belong to another application": the leader's answer to such a node. `theirs` is the application of its
    /// members.
    OtherApplication { cluster: ClusterUuid, theirs: Application },
}

/// Between processes that may have the same incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartMessage {
    /// Query to all processes of an incarnation when a new start appears. `known` is the last start that the sender
    /// knows: a directory without it is an older copy.
    Query { token: u64, known: Option<Start> },
    /// The reply; the frame names the start. `last_index`: the end of the log at that start.
    Reply { token: u64, last_index: u64 },
    /// "You are refused", to this start of the receiver's incarnation.
    Refused { start: Start, why: Refused },
}

/// The properties of members, and whether they stay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MembershipMessage {
    /// A member's version and application: sent to all when a leader appears, and to new members. `asks`: answer with
    /// yours.
    MemberInfo { version: Arc<str>, application: Application, asks: bool },
    /// "I am closing": transfer neither leadership nor a vote to me. `leaves`: and remove me. Repeated until the sender
    /// stops.
    Closing { leaves: bool },
    /// "You are not a member": the leader's notification to a removed node. `term` is the leader's; `cluster_size` is
    /// the size to use to join again.
    Removed { term: u64, cluster_size: u32 },
}

/// A snapshot on its way to a member or newcomer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotMessage {
    Chunk(Chunk),
    /// "Of this transfer I have this many bytes, and these parts behind them"; all of them: the snapshot is installed.
    ChunkReceived {
        transfer: u64,
        bytes: u64,
        held: Vec<(u64, u64)>,
    },
}

/// Reads and an operator's commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperationMessage {
    /// To the leader of `term`; the sender never uses `request_id` again.
    Request { term: u64, request_id: u64, request: OperationRequest },
    /// The leader's answer.
    Reply { request_id: u64, answer: OperationReply },
}

/// Comparison of the members' states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DivergenceMessage {
    /// The hash of the sender's state at a check's index; `version` is that of its code.
    StateHash { index: u64, version: Arc<str>, hash: StateHash },
    /// "Your state at this index is not what a majority has."
    Disagrees { index: u64, ours: StateHash, theirs: StateHash },
    /// "My state is not to be trusted", and a snapshot at `index` or later would restore it.
    Diverged { index: Option<u64> },
}

/// Recovery of a cluster whose majority is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecoveryMessage {
    /// "Recover the cluster without the missing nodes": to the survivor with the highest log.
    Recover,
    /// From that survivor: "give me your recovery vote". Contains its last log position.
    VoteRequest { term: u64, index: u64 },
    /// "You have my recovery vote": the sender no longer votes under this incarnation.
    VoteGranted,
    /// "My log is higher than yours": the rejection of a `VoteRequest`.
    VoteRejected { term: u64, index: u64 },
    /// "Another survivor recovers the cluster": releases the recovery votes for the sender.
    Released,
}

/// Whether members and their applications respond.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LivenessMessage {
    /// "Does your JavaScript event loop respond?", from a leader whose own does not.
    AppProbe,
    /// "It responds."
    AppProbeReply,
    /// From the leader to all: the silent members, and for how many ticks. The information survives a change of leader.
    Unreachable { members: Vec<(RaftId, u64)> },
    /// From the leader to all: "have you not heard these members for this long?" Their sessions would end.
    SilenceQuery { milliseconds: u64, members: Vec<RaftId> },
    /// "I have not heard these."
    SilenceReply { members: Vec<RaftId> },
    /// "Something has happened here": the group no longer hibernates.
    Wake,
}

macro_rules! is_a_group_of_message {
    ($($group:ident($messages:ident)),* $(,)?) => {
        $(impl From<$messages> for Message {
            fn from(message: $messages) -> Self {
                Self::$group(message)
            }
        })*
    };
}

is_a_group_of_message!(
    Bootstrap(BootstrapMessage),
    Start(StartMessage),
    Membership(MembershipMessage),
    Snapshot(SnapshotMessage),
    Operation(OperationMessage),
    Divergence(DivergenceMessage),
    Recovery(RecoveryMessage),
    Liveness(LivenessMessage),
);

/// Why a process is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refused {
    /// Another process of the same incarnation is alive.
    Copy,
    /// Its log ends before what its incarnation has acknowledged.
    Outdated,
}

/// A request to the leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperationRequest {
    /// Requests the commit index, confirmed after this message arrived.
    Read,
    TransferLeadership {
        to: Option<Arc<str>>,
    },
    /// Removes these nodes, if they are members.
    Remove {
        members: Vec<RaftId>,
    },
    /// Changes the number of voters, unless an entry after this index has already done so.
    Resize {
        cluster_size: u32,
        after: u64,
    },
}

/// The leader's reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperationReply {
    ReadIndex(u64),
    /// No member has the id.
    UnknownMember,
    /// The member is a learner, or is being removed.
    NotAVoter,
    /// The member is the last voter.
    LastVoter,
}

/// A part of a snapshot's image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Names the transfer among those of its sender.
    pub transfer: u64,
    /// The leader's term.
    pub term: u64,
    /// The bytes of the whole image.
    pub total: u64,
    /// In the last part: the CRC32C of the whole image.
    pub checksum: u32,
    /// Where in the image this part begins.
    pub offset: u64,
    pub bytes: Bytes,
    /// Restores the state of a diverged member, whose log does not change.
    pub restores: bool,
    /// The number of earlier images that became obsolete because the log was compacted before they had arrived.
    pub overtaken: u32,
}

/// The founders of a cluster: exactly `clusterSize` incarnations with different ids, sorted by incarnation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster(pub Vec<(Incarnation, Arc<str>)>);

impl Roster {
    pub fn uuid(&self) -> ClusterUuid {
        ClusterUuid::of_roster(self.0.iter().map(|(incarnation, _)| *incarnation))
    }

    pub fn contains(&self, incarnation: Incarnation) -> bool {
        self.0.iter().any(|(member, _)| *member == incarnation)
    }
}

/// The description of a cluster for nodes outside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterAnnouncement {
    pub cluster: ClusterUuid,
    /// The clusters that this one was recovered from, oldest first. The recovery is committed: the ancestors have
    /// ended.
    pub ancestors: Vec<Ancestor>,
    pub cluster_size: u32,
    /// An action of the cluster is committed, as far as the sender knows.
    pub holds_actions: bool,
    /// The sender knows a leader of the present term.
    pub has_leader: bool,
    /// The sender's.
    pub application: Application,
    /// From a leader: the index at which its log last changed the members; 0 from others. A leader admits only a node
    /// that repeats this index: a delayed Discover may come from a member that was removed since.
    pub members_index: u64,
}

/// A cluster that was recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ancestor {
    pub cluster: ClusterUuid,
    /// Everything that it committed up to here is in its successor's log.
    pub kept: u64,
}

/// Calls of one origin, in call order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Requests {
    /// The term of the leader they are meant for; any other leader drops them.
    pub term: u64,
    /// The origin's start number.
    pub start: u64,
    /// The oldest sequence number that the origin still waits for.
    pub floor: u64,
    #[serde(deserialize_with = "items::requests")]
    pub requests: Vec<RequestItem>,
}

/// What a leader answers to a request that became no entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Nothing,
    /// The JSON text of the method's error.
    Refused(Bytes),
    /// It has ended, but the outcome is no longer known: the session table had to drop it
    /// (`requests/session_table.rs`).
    Forgotten,
}

impl Outcome {
    /// Its approximate size in a frame.
    pub fn bytes(&self) -> usize {
        const SMALL: usize = 16;
        match self {
            Outcome::Nothing | Outcome::Forgotten => SMALL,
            Outcome::Refused(error) => SMALL + error.len(),
        }
    }
}

/// The messages that raft-rs peers may exchange, and one of ours; no others have an encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RaftKind {
    Append,
    AppendResponse,
    /// With `reject`: "the group hibernates, if all its members do".
    Heartbeat,
    /// With `reject`: "I hibernate".
    HeartbeatResponse,
    RequestVote,
    RequestVoteResponse,
    RequestPreVote,
    RequestPreVoteResponse,
    TimeoutNow,
    /// "Up to `index` I have received your log, and not saved it": from a member whose storage is overdue. With
    /// `reject`, and then what an `AppendResponse` has: the append behind `index` does not fit.
    Receipt,
}

/// A message between raft-rs peers; the frame's `from` and `to` are its peers. The names are raft-rs's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RaftMessage {
    pub kind: RaftKind,
    pub term: u64,
    pub log_term: u64,
    pub index: u64,
    pub commit: u64,
    pub commit_term: u64,
    pub reject: bool,
    pub reject_hint: u64,
    pub context: Bytes,
    #[serde(deserialize_with = "items::entries")]
    pub entries: Vec<WireEntry>,
    /// In an `Append` or `Heartbeat`: a learner answers it at once, like a voter, and not some time later.
    pub asks: bool,
}

impl RaftMessage {
    /// A message that names only a term and an index.
    pub fn new(kind: RaftKind, term: u64, index: u64) -> Self {
        Self {
            kind,
            term,
            log_term: 0,
            index,
            commit: 0,
            commit_term: 0,
            reject: false,
            reject_hint: 0,
            context: Bytes::new(),
            entries: Vec::new(),
            asks: false,
        }
    }
}
