//! The inputs ([`Input`]) and outputs ([`Work`]) of the core.
//!
//! Both are plain data. The driver makes inputs of ticks, frames, finished writes and JavaScript's answers, and
//! executes work as sends, writes and deliveries.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use raft_rs::eraftpb;

use super::coordination::SystemAction;
pub use super::coordination::{DueTimer, Effects};
use super::identity::{ClusterUuid, Incarnation, Start};
use crate::error::Error;

pub use super::warning::{FrameRefusal, Warning};

/// An input of the core.
#[derive(Clone, Debug)]
pub enum Input {
    /// The channel reports whether there may be a cluster from which this node receives nothing.
    ClusterFound(bool),
    /// The channel has the note of a cluster that is, or was moments ago, on it (`Node::note`). Unchecked input.
    Noted(Bytes),
    /// One tick of the driver's clock has passed.
    Tick,
    /// The number of the last tick, on a clock that all nodes of a process share. Leaders send their heartbeats with the
    /// same ticks, so that these travel together.
    TickNumber(u64),
    /// Whether the group of this node may hibernate: only a process with many stores profits from that.
    MayHibernate(bool),
    /// A frame arrived from the channel. Unchecked input.
    Frame(Bytes),
    /// Calls of the application, in this order; sequence numbers rise without a gap from 1.
    Perform(Vec<Perform>),
    /// The application no longer waits for these calls (their timeout passed); their outcome is unknown.
    Abandon(Vec<u64>),
    /// JavaScript is done with the oldest delivered batch. At most one more batch is delivered before this.
    Answered(Answered),
    /// JavaScript is working on the oldest delivered batch and has reduced everything up to `index` (0: unknown). It reports
    /// this at intervals, and where the batch asks for it.
    Progressed { index: u64 },
    /// The application has handed over every call that it made in response to the last batch.
    TurnOver,
    /// The clock has reached this time: timers up to there are due.
    TimersDue { at: u64 },
    /// JavaScript's answer to `Delivery::TakeSnapshot`. A large state takes long: later batches are answered meanwhile.
    SnapshotTaken(TakenSnapshot),
    /// JavaScript's answer to `Delivery::Hash`. A large state takes a while: later batches are answered meanwhile.
    Hashed(Hashed),
    /// The reducer threw on the committed action at `index`, and nothing after it in the batch was reduced. Comes
    /// before `Answered` of the same batch.
    ReducerFailed { index: u64, why: String },
    /// The application starts an operation. `Delivery::OperationEnded` with the same ticket answers it within `ticks`.
    Operation { ticket: u64, operation: Operation, ticks: u64 },
    /// All writes up to this number are durable.
    Persisted(u64),
    /// A write failed: nothing may be acknowledged any more.
    StorageFailed(Error),
    /// The channel refused a frame, for the first time for this reason.
    FrameRefused(FrameRefusal),
    /// The channel has connected this node to a peer. A channel without connections does not report it.
    PeerConnected(Incarnation),
    /// The other end has closed the connection to a peer, and there is no other one: its process has probably ended. A
    /// channel without connections does not report it.
    PeerDisconnected(Incarnation),
    /// A peer and this node's channel refuse each other, for this cause.
    PeerRefused(String),
    /// The channel's state changed. While this node's own channel does not work, the silence of others means nothing.
    Channel(ChannelState),
    /// The application closes the node: leave gracefully, for at most this many ticks, then stop. `leaves`: give up the
    /// replica, because this incarnation will not return.
    Close { ticks: u64, leaves: bool },
}

/// The answers to a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// One for each evaluation of the batch (`Delivery::is_evaluation`), in the same order, up to the one at which
    /// JavaScript stopped because its time was over or its answers had become large. The others were not evaluated, and
    /// are delivered again.
    pub answers: Vec<MethodResult>,
    /// How long JavaScript took for these evaluations.
    pub micros: u64,
    /// The time at which they were evaluated, by the leader's clock, in milliseconds since 1970.
    pub at: u64,
}

impl From<Vec<MethodResult>> for Answered {
    /// Answers that took no time, at the beginning of all clocks.
    fn from(answers: Vec<MethodResult>) -> Self {
        Self { answers, micros: 0, at: 0 }
    }
}

/// A snapshot of the application's state, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenSnapshot {
    /// The index that the delivery named.
    pub index: u64,
    /// The state as text, which only the façade reads. The error is a sentence that names the part of the state that
    /// cannot be kept.
    pub state: Result<Bytes, String>,
    /// How long it occupied JavaScript, in one or many slices.
    pub micros: u64,
    /// The longest of these slices: JavaScript was blocked for this long.
    pub longest_micros: u64,
}

/// The hash of the application's state at an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashed {
    pub index: u64,
    /// Independent of the order of keys. `None` if the state is not JSON, or if JavaScript was asked for a later hash
    /// before it began with this one; such a node is not compared.
    pub hash: Option<StateHash>,
    /// How long it occupied JavaScript, in one or many slices.
    pub micros: u64,
}

/// Equal states have equal hashes; the façade computes them.
pub type StateHash = [u8; 16];

/// An operation that an application can start on any node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Answered when this node has reduced everything that was committed before (thesis §6.4).
    Sync,
    /// Transfer leadership to this member, or to the most suitable one.
    TransferLeadership { to: Option<Arc<str>> },
    /// Remove the member with this id.
    Remove { id: Arc<str> },
    /// Change the number of voters.
    Resize { cluster_size: usize },
    /// The quorum will not return: recover the cluster from the surviving nodes.
    Recover,
}

/// Whether frames can travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChannelState {
    /// Not yet, and nothing is known to be wrong.
    Connecting,
    Healthy,
    Broken {
        cause: String,
    },
}

/// One call of `perform`.
#[derive(Clone, Debug)]
pub struct Perform {
    pub sequence: u64,
    pub method: Arc<str>,
    /// The arguments: the text of a JSON array.
    pub args: Bytes,
}

/// What a method returned on the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MethodResult {
    /// An action to replicate: JSON text.
    Action(Bytes),
    /// `null` or `undefined`: there is nothing to do.
    Nothing,
    /// An error: JSON text of an object that the façade of the origin turns into an `Error` again.
    Refused(Bytes),
    /// The entry contains more than an action.
    Effects(Box<Effects>),
    /// This node has no such method: the JSON text of that error. If nodes of several versions are members, the call
    /// waits for a leader that has the method.
    Unknown(Bytes),
}

/// What the driver has to do, in this order.
#[derive(Debug)]
pub enum Work {
    /// Join the channel under this incarnation, leaving it under the former one.
    Join(Incarnation),
    /// Send a frame.
    Send(Target, Lane, Bytes),
    /// Make a write durable, then answer `Input::Persisted` with its number.
    Persist(u64, Box<Write>),
    /// Hand a batch to JavaScript, which answers each with one `Input::Answered`, in their order.
    Deliver(Vec<Delivery>),
    /// The core is finished: it was closed, or it failed. Nothing comes after this.
    Stop(Option<Error>),
}

/// The receivers of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    All,
    One(Incarnation),
}

/// Which frames a frame may overtake. Those of one lane should arrive in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Small, and the cluster's health depends on it: heartbeats, votes, confirmations. It should not wait for bulk data.
    Control,
    /// Appends, requests, parts of snapshots. An append that overtook another one would be rejected (paper §5.3).
    Bulk,
}

/// What must survive a crash before the frames that depend on it may leave (paper §5, Figure 2: persistent state). It
/// is applied atomically, in the order of its fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Write {
    /// This is the first write of a new replica: the storage sets a former one aside, and never deletes it.
    pub replica: Option<ReplicaRecord>,
    /// Replaces the record of the present replica; its log stays.
    pub record: Option<ReplicaRecord>,
    /// Replaces the stored snapshot.
    pub snapshot: Option<SnapshotRecord>,
    /// Drops all stored entries: the snapshot does not continue the log.
    pub drops_entries: bool,
    /// Entries to append, replacing any at the same or a higher index; none of a node that is not durable.
    pub entries: Vec<eraftpb::Entry>,
    /// Drops the entries up to this index; a snapshot covers them.
    pub compacts_to: Option<Position>,
    pub hard_state: Option<eraftpb::HardState>,
}

/// The incarnation and cluster that a log belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaRecord {
    pub incarnation: Incarnation,
    pub cluster: ClusterUuid,
    /// With it, the incarnation neither votes nor leads in `cluster`.
    pub recovery_vote: Option<RecoveryVote>,
}

impl ReplicaRecord {
    /// The record of a replica that has given no recovery vote.
    pub fn new(incarnation: Incarnation, cluster: ClusterUuid) -> Self {
        Self { incarnation, cluster, recovery_vote: None }
    }
}

/// The promise of a replica whose cluster has lost its quorum, or was replaced: `survivor` may continue as `cluster`,
/// and this replica no longer takes part in its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryVote {
    pub survivor: Incarnation,
    pub cluster: ClusterUuid,
}

/// A snapshot as it is stored and sent: only the core reads `image`.
#[derive(Clone, PartialEq, Eq)]
pub struct SnapshotRecord {
    pub position: Position,
    pub image: Bytes,
}

/// An image may have many megabytes, so its length and checksum are printed instead.
impl fmt::Debug for SnapshotRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let image = (self.image.len(), crc32c::crc32c(&self.image));
        f.debug_struct("SnapshotRecord").field("position", &self.position).field("image", &image).finish()
    }
}

/// An entry's place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub index: u64,
    pub term: u64,
}

/// The state that a storage returns after a restart.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredState {
    pub replica: ReplicaRecord,
    /// Rises with every load, and is durable before `load` returns: no restarted node repeats a request id.
    pub start: u64,
    /// The newest starts with this log, the present one last.
    pub starts: Vec<Start>,
    pub snapshot: SnapshotRecord,
    /// The entry before the first stored one.
    pub compacted: Position,
    /// Without a gap from `compacted` on.
    pub entries: Vec<eraftpb::Entry>,
    pub hard_state: eraftpb::HardState,
}

impl StoredState {
    /// Where the log ends.
    pub fn last_index(&self) -> u64 {
        let last = self.entries.last().map_or(0, |entry| entry.index);
        last.max(self.compacted.index).max(self.snapshot.position.index)
    }
}

/// An output for JavaScript, which handles the deliveries of a node strictly in order.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// This node's role, term or known leader changed. A node that is not the leader holds no provisional states.
    Role { role: Role, term: u64, leader: Option<Arc<str>> },
    /// Drop the provisional states: what was evaluated from here on starts from the committed state again.
    ResetProvisional,
    /// Run a method, reduce its action over the provisional state, and answer. `is_own`: this node's application
    /// encoded the arguments.
    Evaluate { method: Arc<str>, args: Bytes, is_own: bool },
    /// Like `Evaluate`, for an action of the leader's own: reduce it over the provisional state, and answer with its
    /// text.
    EvaluateSystem(SystemAction),
    /// The next calls of the batch are those of this node: what a method sees as its caller, up to the next delivery of
    /// this kind. `has_ended`: the session in which it called has ended since. Only with sessions.
    Caller { id: Arc<str>, session: Option<u64>, has_ended: bool },
    /// The live sessions, as the next evaluations see them. Only with sessions.
    Sessions(Vec<(Arc<str>, u64)>),
    /// The session of this node has changed.
    OwnSession { session: Option<u64>, previous: Option<u64>, reason: &'static str },
    /// Like `Evaluate`, for a timer that is due: run its method.
    EvaluateTimer(Box<DueTimer>),
    /// Answer with `Input::TimersDue` when the clock has reached this time; `None`: there is no timer.
    NextTimer { due: Option<u64> },
    /// Reduce a committed action.
    Committed {
        index: u64,
        /// `perform` of this sequence number on this very node made the action: resolve it.
        own: Option<u64>,
        /// The oldest provisional state is the result of this action: take it instead of reducing again.
        is_provisional: bool,
        /// When the action was evaluated, in milliseconds since 1970; 0: its entry has no time.
        at: u64,
        /// The JSON text of the action.
        action: Bytes,
    },
    /// The cluster's clock was at least here, in milliseconds since 1970: evaluations that follow are not before.
    Clock { at: u64 },
    /// A call of this node ended without an action of its own being delivered.
    Settled { sequence: u64, call_outcome: CallOutcome },
    /// Take a snapshot of the committed state as it is after everything before this in the batch. The answer may follow
    /// those to later batches. A snapshot that is still being taken is dropped.
    TakeSnapshot { index: u64 },
    /// The committed state becomes that of a snapshot at `index`, `None` for the initial state. Provisional states are
    /// dropped; subscribers are called once.
    Restore { index: u64, state: Option<Bytes> },
    /// Hash the committed state as it is after everything before this in the batch. The answer may come after those to
    /// later batches.
    Hash { index: u64 },
    /// An empty delivery: its answer shows that JavaScript's event loop responds.
    AppProbe,
    /// Answer with `Input::Progressed` before continuing: a later evaluation may take longer than an election timeout.
    ReportProgress,
    /// Whether the state contains everything that was committed when this node was admitted to its cluster or returned
    /// to it.
    CaughtUp(bool),
    /// What the log held at the start is reduced: the state may be read.
    Replayed,
    /// The answer to `Input::Operation`.
    OperationEnded { ticket: u64, result: Result<(), Error> },
    /// This node has diverged: its state does not change, and its calls fail, until `Restored`.
    Diverged(Error),
    /// The state was restored from the leader's: this node serves again.
    Restored,
    /// A recoverable fault, or information for an operator.
    Warning(Warning),
}

impl Delivery {
    /// Whether JavaScript answers it with a `MethodResult`.
    pub fn is_evaluation(&self) -> bool {
        matches!(self, Delivery::Evaluate { .. } | Delivery::EvaluateSystem(_) | Delivery::EvaluateTimer(_))
    }

    /// The bytes of the application's texts in the batch; of a state only its position is there.
    pub fn payload_bytes(&self) -> usize {
        match self {
            Delivery::Committed { own: Some(_), action, .. } => 2 * action.len(),
            Delivery::Committed { own: None, action, .. } => action.len(),
            Delivery::Settled {
                call_outcome: CallOutcome::Refused(payload) | CallOutcome::Done(payload),
                ..
            } => payload.len(),
            Delivery::Evaluate { args, .. } => args.len(),
            Delivery::EvaluateTimer(timer) => timer.args.len() + timer.rule.len(),
            Delivery::Settled { call_outcome: CallOutcome::Nothing | CallOutcome::Failed { .. }, .. }
            | Delivery::Role { .. }
            | Delivery::ResetProvisional
            | Delivery::EvaluateSystem(_)
            | Delivery::Caller { .. }
            | Delivery::Sessions(_)
            | Delivery::OwnSession { .. }
            | Delivery::NextTimer { .. }
            | Delivery::Clock { .. }
            | Delivery::TakeSnapshot { .. }
            | Delivery::Restore { .. }
            | Delivery::Hash { .. }
            | Delivery::AppProbe
            | Delivery::ReportProgress
            | Delivery::CaughtUp(_)
            | Delivery::Replayed
            | Delivery::OperationEnded { .. }
            | Delivery::Diverged(_)
            | Delivery::Restored
            | Delivery::Warning(_) => 0,
        }
    }
}

/// How a call ended, other than by the delivery of its action.
#[derive(Clone, Debug)]
pub enum CallOutcome {
    /// The method returned nothing; nothing was logged.
    Nothing,
    /// The method refused: the JSON text of its error.
    Refused(Bytes),
    /// The action, already in the state that a snapshot brought.
    Done(Bytes),
    /// conflux could not complete the call.
    Failed { error: Error, outcome: FailureOutcome },
}

/// The outcome of a call that conflux could not complete. It is never guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureOutcome {
    /// It did not happen, and will not.
    NotApplied,
    /// It had been sent to a leader: it may still be committed (thesis §6.3).
    Unknown,
}

/// The role of a node in its term (paper §5.1). A node without a cluster is a follower without a leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    #[default]
    Follower,
    Candidate,
    Leader,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Follower => "follower",
            Role::Candidate => "candidate",
            Role::Leader => "leader",
        }
    }
}
