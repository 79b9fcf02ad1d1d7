//! This file lists what goes into the core ([`Input`]) and what comes out of it ([`Work`]).
//!
//! Both are plain data. The driver translates: clocks, links, disks and JavaScript become inputs, and work becomes
//! sends, writes and deliveries.

use std::sync::Arc;

use bytes::Bytes;
use raft_rs::eraftpb;

use super::identity::{ClusterUuid, Incarnation};

/// What can happen to a core.
#[derive(Debug)]
pub enum Input {
    /// One tick of the driver's clock has passed.
    Tick,
    /// A frame arrived from the channel. It may be anything: the core checks it.
    Frame(Bytes),
    /// The application performed, in this order; sequence numbers rise without a gap from 1.
    Perform(Vec<Perform>),
    /// The application no longer waits for these performs (their timeout passed); their outcome is unknown.
    Abandon(Vec<u64>),
    /// JavaScript is done with the delivered batch. `answers` holds one answer for each `Delivery::Evaluate` in it,
    /// in the same order. The next batch is delivered only after this.
    Answered(Vec<Answer>),
    /// All writes up to this number are durable.
    Persisted(u64),
    /// The channel's state changed. Silence of others means nothing while our own channel does not work.
    Channel(ChannelState),
    /// The application closes the node: leave gracefully, then stop.
    Close,
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
pub enum Answer {
    /// An action to replicate: JSON text.
    Action(Bytes),
    /// `null` or `undefined`: there is nothing to do.
    Nothing,
    /// An error: JSON text of an object that the façade of the origin turns into an `Error` again.
    Refused(Bytes),
}

/// What the driver has to do, in this order.
#[derive(Debug)]
pub enum Work {
    /// Join the channel under this incarnation, leaving it under the former one.
    Join(Incarnation),
    /// Send a frame.
    Send(Target, Bytes),
    /// Make a write durable, then answer `Input::Persisted` with its number.
    Persist(u64, Write),
    /// Hand a batch to JavaScript, which answers it with one `Input::Answered`.
    Deliver(Vec<Delivery>),
    /// The core is finished: it was closed, or it failed. Nothing comes after this.
    Stop(Option<crate::error::Error>),
}

/// To whom a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    All,
    One(Incarnation),
}

/// What must survive a crash before the frames that rest on it may leave (paper §5, Figure 2: persistent state).
#[derive(Clone, Debug, Default)]
pub struct Write {
    pub hard_state: Option<eraftpb::HardState>,
    /// Entries to append, replacing any at the same or a higher index.
    pub entries: Vec<eraftpb::Entry>,
}

/// What JavaScript is told. Within a node, deliveries are handled strictly in order.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// This node's role, term or known leader changed. A node that is not the leader holds no provisional states.
    Role { role: Role, term: u64, leader: Option<Arc<str>> },
    /// Drop the provisional states: what was evaluated from here on starts from the committed state again.
    ResetProvisional,
    /// Run a method, reduce its action over the provisional state, and answer.
    Evaluate { method: Arc<str>, args: Bytes },
    /// Reduce a committed action.
    Committed {
        index: u64,
        /// `perform` of this sequence number on this very node made the action: resolve it.
        own: Option<u64>,
        /// The oldest provisional state is the result of this action: take it instead of reducing again.
        is_provisional: bool,
        /// The JSON text of the action.
        action: Bytes,
    },
    /// A perform of this node ended without an action of its own being delivered.
    Settled { sequence: u64, settlement: Settlement },
    /// Something recoverable is wrong, or worth knowing.
    Warning(Warning),
}

/// How a perform ended, other than by the delivery of its action.
#[derive(Clone, Debug)]
pub enum Settlement {
    /// The method returned nothing; nothing was logged.
    Nothing,
    /// The method refused: the JSON text of its error.
    Refused(Bytes),
    /// conflux itself gave up.
    Failed { error: crate::error::Error, outcome: ErrorOutcome },
}

/// What became of a perform that conflux gave up. It is never guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorOutcome {
    /// It did not happen, and will not.
    NotApplied,
    /// It had been sent to a leader: it may still be committed (thesis §6.3).
    Unknown,
}

/// The part that a node plays in its term (paper §5.1). A node without a cluster is a follower of nobody.
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

/// A recoverable fault, or news that an operator wants to see. Its text comes from `Display`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// Not enough nodes to found a cluster yet.
    #[error("waiting for {cluster_size} nodes, heard {}: {}", heard.len(), heard.join(", "))]
    WaitingForNodes { cluster_size: usize, heard: Vec<Arc<str>> },
    /// There is a full cluster already, and this node is not in it.
    #[error(
        "waiting to join cluster {cluster}: it already has its {cluster_size} nodes; \
         this node serves when it is admitted"
    )]
    WaitingToJoin { cluster: ClusterUuid, cluster_size: usize },
    /// A node on the same channel was started with another `clusterSize`.
    #[error("node `{id}` was started with clusterSize {theirs}, this node with {ours}; it is not counted")]
    OtherClusterSize { id: Arc<str>, theirs: usize, ours: usize },
    /// This node gave up an attempt and starts over as a new member.
    #[error("starting over as a new member: {why}")]
    StartingOver { why: String },
    /// Two clusters with actions share one channel.
    #[error(
        "cluster {ours} and cluster {theirs} share this channel and both hold actions; \
         give one of them another channelName"
    )]
    TwoClusters { ours: ClusterUuid, theirs: ClusterUuid },
    /// The channel does not work at present; it is tried again for ever.
    #[error("the channel is broken: {cause}; trying again")]
    ChannelBroken { cause: String },
    /// The channel works again.
    #[error("the channel works again")]
    ChannelRestored,
    /// A node of another version of the protocol speaks on this channel.
    #[error(
        "a node on this channel speaks protocol version {theirs}, this node {ours}; its frames are ignored"
    )]
    OtherVersion { theirs: u8, ours: u8 },
    /// A cluster on the same channel was founded with another `clusterSize`.
    #[error("cluster {cluster} on this channel has clusterSize {theirs}, this node {ours}; they do not mix")]
    ClusterOfOtherSize { cluster: ClusterUuid, theirs: usize, ours: usize },
}

impl Warning {
    /// The stable code under which `node.on('warning')` reports it.
    pub fn code(&self) -> &'static str {
        match self {
            Warning::WaitingForNodes { .. } => "WARN_CONFLUX_WAITING_FOR_NODES",
            Warning::WaitingToJoin { .. } => "WARN_CONFLUX_WAITING_TO_JOIN",
            Warning::OtherClusterSize { .. } => "WARN_CONFLUX_OTHER_CLUSTER_SIZE",
            Warning::StartingOver { .. } => "WARN_CONFLUX_STARTING_OVER",
            Warning::TwoClusters { .. } => "WARN_CONFLUX_TWO_CLUSTERS",
            Warning::ChannelBroken { .. } => "WARN_CONFLUX_CHANNEL_BROKEN",
            Warning::ChannelRestored => "WARN_CONFLUX_CHANNEL_RESTORED",
            Warning::OtherVersion { .. } => "WARN_CONFLUX_OTHER_VERSION",
            Warning::ClusterOfOtherSize { .. } => "WARN_CONFLUX_OTHER_CLUSTER_SIZE",
        }
    }
}
