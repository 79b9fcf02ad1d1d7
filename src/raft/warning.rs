//! The warnings of the core for the application and its operator. Created by the core, and reported by the façade as
//! the event `warning`.

use std::sync::Arc;

use super::identity::ClusterUuid;

/// A recoverable fault, or information for an operator. Its text comes from `Display`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// Not enough nodes to found a cluster yet.
    #[error("waiting for {cluster_size} nodes, heard {}: {}", heard.len(), heard.join(", "))]
    WaitingForNodes { cluster_size: usize, heard: Vec<Arc<str>> },
    /// There is a cluster, and its leader has not admitted this node.
    #[error("waiting to join cluster {cluster} of {cluster_size}: its leader has not admitted this node yet")]
    WaitingToJoin { cluster: ClusterUuid, cluster_size: usize },
    /// A node on the same channel was started with another `clusterSize`.
    #[error("node `{id}` was started with clusterSize {theirs}, this node with {ours}; this node ignores it")]
    OtherClusterSize { id: Arc<str>, theirs: usize, ours: usize },
    /// A node or a cluster of another application is on this channel.
    #[error(
        "{who} belongs to {theirs}, this node to {ours}: two applications use the channelName `{channel_name}`, and \
         cannot form one cluster; give one of them another channelName"
    )]
    OtherApplication { who: String, theirs: Arc<str>, ours: Arc<str>, channel_name: Arc<str> },
    /// The methods of two members differ, although their `version` is the same.
    #[error(
        "node `{id}` has the same `version` as this node, but other methods: it lacks {ours}, this node lacks {theirs}; \
         change `version` with every change of the methods"
    )]
    OtherMethods { id: Arc<str>, ours: Arc<str>, theirs: Arc<str> },
    /// This node abandoned an attempt and starts over as a new member.
    #[error("starting over as a new member: {why}")]
    StartingOver { why: String },
    /// This node founded a cluster with nodes that were in another one moments ago. The state of that cluster is lost
    /// unless other nodes of it continue where this node does not receive them.
    #[error(
        "this node founded cluster {cluster} from the initial state, although {} belonged to cluster {former} moments \
         ago: the state of that cluster is lost unless another node has it",
        ids.join(", ")
    )]
    StateLost { cluster: ClusterUuid, former: ClusterUuid, ids: Vec<Arc<str>> },
    /// Two clusters with actions share one channel.
    #[error(
        "cluster {ours} and cluster {theirs} share this channel and both hold actions; \
         give one of them another channelName"
    )]
    TwoClusters { ours: ClusterUuid, theirs: ClusterUuid },
    /// The channel does not work; the node retries without a limit.
    #[error("the channel is broken: {cause}; retrying")]
    ChannelBroken { cause: String },
    /// The channel still does not work, for another cause.
    #[error("the channel is still broken: {cause}; retrying")]
    ChannelStillBroken { cause: String },
    /// The channel works again. Follows each `ChannelBroken`.
    #[error("the channel works again")]
    ChannelRestored,
    /// A node on this channel uses another version of the protocol.
    #[error(
        "a node on this channel uses protocol version {theirs}, this node {ours}; this node ignores its frames"
    )]
    OtherVersion { theirs: u8, ours: u8 },
    /// A peer and this node refuse each other: another certificate, secret or channel name.
    #[error("{cause}")]
    PeerRefused { cause: String },
    /// The channel refuses frames: a node has another secret, or a client has none.
    #[error("{refusal}")]
    FramesRefused { refusal: FrameRefusal },
    /// No snapshot can be taken of this node's state, so its log grows, and newcomers receive all of it.
    #[error("taking a snapshot: {why}; the log is not compacted")]
    SnapshotFailed { why: String },
    /// A majority of the voters has been silent for so long that they may never return.
    #[error("no quorum for {milliseconds} ms: of {voters} voters {} are missing: {}", missing.len(), missing.join(", "))]
    QuorumLost { voters: usize, missing: Vec<Arc<str>>, milliseconds: u64 },
    /// The storage has not answered a write for so long that a leader transfers its leadership.
    #[error("the storage has not answered a write for {milliseconds} ms: it hangs or is very slow")]
    StorageSlow { milliseconds: u64 },
    /// A process that runs with a copy of a member's directory, or with an older one, is refused.
    #[error(
        "a process with a copy or an older state of the storage directory of `{id}` was refused; the member itself is \
         not affected"
    )]
    StorageCopied { id: Arc<str> },
    /// Voters of one version have different states, and no majority agrees, so no node can tell which one is right.
    #[error("the states of nodes of one version differ at index {index}, and no majority has the same state")]
    StatesDiffer { index: u64 },
    /// There is a quorum again.
    #[error("the quorum is restored")]
    QuorumRestored,
    /// The cluster was recovered from the surviving nodes; actions that only the missing ones had are lost.
    #[error("the cluster was recovered as {cluster} from the log of `{from}`; actions that only {} had may be lost", missing.join(", "))]
    Recovered { cluster: ClusterUuid, from: Arc<str>, missing: Vec<Arc<str>> },
    /// This node's cluster has ended: it was recovered without this node, which joins the successor.
    #[error(
        "cluster {successor} replaced this node's cluster {ours} and has its log up to index {kept}: what {ours} \
         acknowledged after that index may be lost; this node joins {successor}, and keeps its own log until it has joined"
    )]
    Superseded { ours: ClusterUuid, successor: ClusterUuid, kept: u64 },
    /// The cluster that this one replaced continued in the meantime; its nodes join this one.
    #[error(
        "cluster {former}, which was recovered as {ours}, has a leader again; its nodes join {ours}, and what it \
         acknowledged after index {kept} may be lost"
    )]
    FormerCluster { ours: ClusterUuid, former: ClusterUuid, kept: u64 },
    /// Two groups of nodes that could not reach each other recovered the same cluster.
    #[error(
        "cluster {ours} and cluster {theirs} were both recovered from cluster {former}, and both are active; decide which \
         one to keep, stop all nodes of the other, and start them again with empty storage directories"
    )]
    TwoSuccessors { ours: ClusterUuid, theirs: ClusterUuid, former: ClusterUuid },
    /// This node gave its recovery vote to a node that has become silent.
    #[error(
        "this node gave its recovery vote to cluster {successor}, of which no node has been heard for {milliseconds} ms; \
         call `recover` to continue without it"
    )]
    SuccessorSilent { successor: ClusterUuid, milliseconds: u64 },
    /// Members without the option `sessions` keep the cluster from having sessions.
    #[error("sessions wait until every node has the option `sessions`; without it: {}", ids.join(", "))]
    SessionsWait { ids: Vec<Arc<str>> },
    /// A cluster on the same channel was founded with another `clusterSize`.
    #[error(
        "cluster {cluster} on this channel has clusterSize {theirs}, this node {ours}; this node cannot join it"
    )]
    ClusterOfOtherSize { cluster: ClusterUuid, theirs: usize, ours: usize },
}

impl Warning {
    /// The stable code under which `node.on('warning')` reports it.
    pub fn code(&self) -> &'static str {
        match self {
            Warning::WaitingForNodes { .. } => "WARN_CONFLUX_WAITING_FOR_NODES",
            Warning::WaitingToJoin { .. } => "WARN_CONFLUX_WAITING_TO_JOIN",
            Warning::OtherClusterSize { .. } => "WARN_CONFLUX_OTHER_CLUSTER_SIZE",
            Warning::OtherApplication { .. } => "WARN_CONFLUX_OTHER_APPLICATION",
            Warning::OtherMethods { .. } => "WARN_CONFLUX_OTHER_METHODS",
            Warning::StartingOver { .. } => "WARN_CONFLUX_STARTING_OVER",
            Warning::StateLost { .. } => "WARN_CONFLUX_STATE_LOST",
            Warning::TwoClusters { .. } => "WARN_CONFLUX_TWO_CLUSTERS",
            Warning::ChannelBroken { .. } => "WARN_CONFLUX_CHANNEL_BROKEN",
            Warning::ChannelStillBroken { .. } => "WARN_CONFLUX_CHANNEL_STILL_BROKEN",
            Warning::ChannelRestored => "WARN_CONFLUX_CHANNEL_RESTORED",
            Warning::OtherVersion { .. } => "WARN_CONFLUX_OTHER_VERSION",
            Warning::PeerRefused { .. } => "WARN_CONFLUX_PEER_REFUSED",
            Warning::FramesRefused { refusal: FrameRefusal::Forged } => "WARN_CONFLUX_FORGED_FRAMES",
            Warning::FramesRefused { .. } => "WARN_CONFLUX_SECRET_MISMATCH",
            Warning::SnapshotFailed { .. } => "WARN_CONFLUX_SNAPSHOT_FAILED",
            Warning::QuorumLost { .. } => "WARN_CONFLUX_QUORUM_LOST",
            Warning::StorageSlow { .. } => "WARN_CONFLUX_STORAGE_SLOW",
            Warning::StorageCopied { .. } => "WARN_CONFLUX_STORAGE_COPIED",
            Warning::StatesDiffer { .. } => "WARN_CONFLUX_STATES_DIFFER",
            Warning::QuorumRestored => "WARN_CONFLUX_QUORUM_RESTORED",
            Warning::Recovered { .. } => "WARN_CONFLUX_RECOVERED",
            Warning::Superseded { .. } => "WARN_CONFLUX_SUPERSEDED",
            Warning::FormerCluster { .. } => "WARN_CONFLUX_FORMER_CLUSTER",
            Warning::TwoSuccessors { .. } => "WARN_CONFLUX_TWO_SUCCESSORS",
            Warning::SuccessorSilent { .. } => "WARN_CONFLUX_SUCCESSOR_SILENT",
            Warning::SessionsWait { .. } => "WARN_CONFLUX_SESSIONS_WAIT",
            Warning::ClusterOfOtherSize { .. } => "WARN_CONFLUX_OTHER_CLUSTER_SIZE",
        }
    }
}

/// Why the channel refuses frames of a node that has another secret, or none, or of a client that has no secret at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameRefusal {
    #[error(
        "frames arrive that are not sealed: their sender has no `channel.secret`, and this node has one; nodes meet only \
         with the same secret"
    )]
    Unsealed,
    #[error(
        "frames arrive that are sealed: their sender has a `channel.secret`, and this node has none; nodes meet only with \
         the same secret"
    )]
    Sealed,
    #[error(
        "frames arrive that are sealed with a secret that this node does not have; nodes meet only with the same secret"
    )]
    UnknownKey,
    #[error(
        "a frame arrived that was forged or altered: a client without the secret sends into this channel; the frame has no \
         effect"
    )]
    Forged,
}

impl FrameRefusal {
    pub fn as_str(self) -> &'static str {
        match self {
            FrameRefusal::Unsealed => "unsealed",
            FrameRefusal::Sealed => "sealed",
            FrameRefusal::UnknownKey => "unknownKey",
            FrameRefusal::Forged => "forged",
        }
    }
}
