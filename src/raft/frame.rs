//! The frame that a node sends to others in one turn, its messages, and their encoding.
//!
//! A frame is `magic (2) | version (1) | CRC32C of the rest (4, little endian) | postcard of the header and the
//! messages`. Decoding accepts any bytes: what is no frame of ours is an error, never a panic.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::application::Application;
use super::events::StateHash;
use super::identity::{ClusterUuid, Incarnation, RaftId, Start};

/// The version of the protocol that this build speaks.
pub const VERSION: u8 = 1;

const MAGIC: [u8; 2] = *b"cx";
const HEADER_BYTES: usize = 7;

/// What one node says to another, or to all, in one turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// The sender's cluster; [`ClusterUuid::NONE`] while it has none.
    pub cluster: ClusterUuid,
    pub from: Incarnation,
    /// `None`: the sender keeps nothing over a restart, so that there is no other process under its incarnation.
    pub start: Option<Started>,
    /// `None`: to all.
    pub to: Option<Incarnation>,
    pub messages: Vec<Message>,
}

/// Which start of its incarnation a sender is, and which one its directory knew before that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    pub start: Start,
    pub former: Option<Start>,
}

/// One thing said. New variants go to the end: the position is the encoding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// "I have no cluster." Said to all, with jitter; answered by everyone who can help. `members_index`: what the leader
    /// of the cluster that the sender waits for said last of itself; 0 before.
    Discover {
        id: Arc<str>,
        cluster_size: u32,
        version: Arc<str>,
        application: Application,
        members_index: u64,
    },
    /// "I accept this roster", the sender's one promise. The proposer says it first: that is the proposal.
    Accept(Roster),
    /// "There is a cluster": the answer of a member to a Discover, and what its leader says to all now and then.
    ClusterAnnouncement(ClusterAnnouncement),
    /// "That id is mine, and I am alive": the answer to a Discover under the sender's own id.
    IdInUse { id: Arc<str> },
    /// "I am closing": hand me no leadership and no place. `leaves`: and take mine. Repeated until the sender stops.
    Closing { leaves: bool },
    /// A message between raft-rs peers.
    Raft(RaftMessage),
    /// Calls on their way to the leader of `term`.
    Requests(Requests),
    /// Outcomes on their way back, for requests of one start of their origin that became no entry. Each holds for the state
    /// at `index`, which the origin has to have before it ends a call with it.
    Outcomes { term: u64, start: u64, index: u64, outcomes: Vec<(u64, Outcome)> },
    /// "In this term I have your requests up to this sequence number, without a gap."
    Received { term: u64, start: u64, sequence: u64 },
    /// A member's version and application: sent to all when a leader appears, and to new members. `asks`: answer with yours.
    MemberInfo { version: Arc<str>, application: Application, asks: bool },
    /// "You are no member": the leader's answer to whoever was removed. `term` is the leader's; `cluster_size` is what to
    /// say to be let in again.
    Removed { term: u64, cluster_size: u32 },
    /// A part of a snapshot.
    Chunk(Chunk),
    /// "Of this transfer I have so many bytes, and these parts behind them"; all of them: the snapshot is installed.
    ChunkReceived { transfer: u64, bytes: u64, held: Vec<(u64, u64)> },
    /// A question to the leader of `term`; `attempt` is never used again by the sender.
    OperationRequest { term: u64, request_id: u64, request: OperationRequest },
    /// The leader's answer.
    OperationReply { request_id: u64, answer: OperationReply },
    /// The hash of the sender's state at a check's index; `version` is that of its code.
    StateHash { index: u64, version: Arc<str>, hash: StateHash },
    /// "Your state at this index is not what a majority has."
    Disagrees { index: u64, ours: StateHash, theirs: StateHash },
    /// "My state is not to be trusted": and a snapshot at `index` or later would heal it.
    Diverged { index: Option<u64> },
    /// "Let us go on without the missing": to the survivor with the highest log.
    Recover,
    /// From that survivor: "promise me that you will not go on without me". Names its log.
    RecoveryVoteRequest { term: u64, index: u64 },
    /// "I promise": the sender votes no more under this incarnation.
    RecoveryVoteGranted,
    /// "My log is higher than yours": the answer to a `RecoveryVoteRequest` that is not promised.
    RecoveryVoteRejected { term: u64, index: u64 },
    /// "Does your JavaScript answer?", from a leader whose own does not.
    AppProbe,
    /// "It does."
    AppProbeReply,
    /// From the leader to all, while somebody is silent: who, and for how many ticks. Silence outlives a leadership.
    Unreachable { members: Vec<(RaftId, u64)> },
    /// "I leave it to another survivor to go on": whoever promised the sender is free of that promise.
    Released,
    /// "You are of another application": the leader's answer to such a node. `theirs` is what its members have.
    OtherApplication { cluster: ClusterUuid, theirs: Application },
    /// "Who is there?", to all processes under an incarnation of which a new start is heard. `known` is the last one that
    /// the sender knows: a directory that has not kept it is an older copy.
    StartQuery { token: u64, known: Option<Start> },
    /// "I am", and the frame says which start. `last_index`: where the log ended at that start.
    StartReply { token: u64, last_index: u64 },
    /// "You are not heard", to this start of the receiver's incarnation.
    StartRefused { start: Start, why: Refused },
}

/// Why a process is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refused {
    /// Another process under the same incarnation lives.
    Copy,
    /// Its log ends before what its incarnation has acknowledged.
    Outdated,
}

/// What a node asks the leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperationRequest {
    /// Up to which index is everything committed that was committed when you got this?
    Read,
    TransferLeadership {
        to: Option<Arc<str>>,
    },
    /// These are to be removed, as far as they are members.
    Remove {
        members: Vec<RaftId>,
    },
    /// The cluster is to have so many voters, unless an entry after this index has resized it.
    Resize {
        cluster_size: u32,
        after: u64,
    },
}

/// What the leader answers.
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
    /// Of the whole image: how many bytes, and their CRC32C.
    pub total: u64,
    pub checksum: u32,
    /// Where in the image this part begins.
    pub offset: u64,
    pub bytes: Bytes,
    /// It restores the state of a diverged member: the log stays as it is.
    pub restores: bool,
    /// So many images were begun before this one, and the log was cut behind them before they had arrived.
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

/// What is told about a cluster to those outside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterAnnouncement {
    pub cluster: ClusterUuid,
    /// What the cluster was before it lost its quorum and was founded anew, oldest first. That it was is committed: the
    /// ancestors have ended.
    pub ancestors: Vec<Ancestor>,
    pub cluster_size: u32,
    /// An action of the cluster is committed, as far as the sender knows.
    pub holds_actions: bool,
    /// The sender knows a leader of the present term.
    pub has_leader: bool,
    /// The sender's.
    pub application: Application,
    /// As a leader's: where its log last changed who is a member; 0 from others. A leader lets in only who has heard that:
    /// a Discover that was long under way may be of a member that was removed since.
    pub members_index: u64,
}

/// A cluster that was recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ancestor {
    pub cluster: ClusterUuid,
    /// What it committed up to here is certainly in its successor's log.
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
    pub requests: Vec<RequestItem>,
}

/// One perform on its way to the leader.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestItem {
    pub sequence: u64,
    /// The outstanding request before it, 0 if none: the leader evaluates this one only after that one.
    pub after: u64,
    pub method: Arc<str>,
    /// The text of a JSON array.
    pub args: Bytes,
    /// To how many earlier leaders it was sent. One of them may have lost its leadership because this very request takes
    /// long.
    pub attempts: u32,
}

/// What a leader answers to a request that became no entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Nothing,
    /// The JSON text of the method's error.
    Refused(Bytes),
    /// It is over, but what became of it is no longer known: the request table had to make room
    /// (`requests/session_table.rs`).
    Forgotten,
}

impl Outcome {
    /// About how much it takes in a frame.
    pub fn bytes(&self) -> usize {
        const SMALL: usize = 16;
        match self {
            Outcome::Nothing | Outcome::Forgotten => SMALL,
            Outcome::Refused(error) => SMALL + error.len(),
        }
    }
}

/// The messages that raft-rs peers may exchange, and one of ours; others cannot be expressed on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RaftKind {
    Append,
    AppendResponse,
    Heartbeat,
    HeartbeatResponse,
    RequestVote,
    RequestVoteResponse,
    RequestPreVote,
    RequestPreVoteResponse,
    TimeoutNow,
    /// "Up to `index` I have received your log, and not saved it": from a member whose storage is overdue. With `reject`, and
    /// then what an `AppendResponse` has: the append behind `index` does not fit.
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
    pub entries: Vec<WireEntry>,
}

/// An entry of the log on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WireEntry {
    pub term: u64,
    pub index: u64,
    /// A change of the configuration: `data` is raft-rs's.
    pub is_change: bool,
    pub data: Bytes,
    pub context: Bytes,
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Not ours at all, or damaged on its way.
    NoFrame,
    /// A frame of another version of the protocol.
    OtherVersion(u8),
}

impl Frame {
    pub fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&MAGIC);
        bytes.push(VERSION);
        bytes.extend_from_slice(&[0; 4]);
        let mut bytes =
            postcard::to_extend(self, bytes).expect("a frame is plain data: encoding it cannot fail");
        let checksum = crc32c::crc32c(&bytes[HEADER_BYTES..]);
        bytes[3..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
        bytes.into()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let Some((header, body)) = bytes.split_at_checked(HEADER_BYTES) else {
            return Err(Malformed::NoFrame);
        };
        if header[..2] != MAGIC {
            return Err(Malformed::NoFrame);
        }
        if header[2] != VERSION {
            return Err(Malformed::OtherVersion(header[2]));
        }
        if header[3..] != crc32c::crc32c(body).to_le_bytes() {
            return Err(Malformed::NoFrame);
        }
        match postcard::take_from_bytes(body) {
            Ok((frame, [])) => Ok(frame),
            Ok(_) | Err(_) => Err(Malformed::NoFrame),
        }
    }
}
