//! Lists every error that a caller of conflux's core can encounter, each with its stable code.
//!
//! `lib/errors.js` has the errors that only the façade detects (options, arguments).

use std::any::Any;
use std::sync::Arc;

use crate::raft::ClusterUuid;

/// A variant is a situation, its fields are the facts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The node was closed before the call ended.
    #[error("this node was closed before the call ended")]
    Closed,
    /// This node became a new member while the call was in flight: the action may still be committed (thesis §6.3).
    #[error("this node left its cluster while the call was in flight; the outcome is unknown")]
    Removed,
    /// Another live process has the same id.
    #[error("id `{id}`: another live node of this cluster uses it; every node needs its own id")]
    DuplicateId { id: String },
    /// A cluster with a leader is on this channel; this node's cluster has actions and no leader.
    #[error(
        "this node's cluster {ours} has no leader, and another cluster on the same channel, {theirs}, has one; this node \
         stops"
    )]
    OtherCluster { ours: ClusterUuid, theirs: ClusterUuid },
    /// The cluster on this node's channel belongs to another application.
    #[error(
        "this node belongs to {ours}, and the cluster on this channel to {theirs}: two applications use the channelName \
         `{channel_name}`; give one of them another channelName"
    )]
    OtherApplication { ours: Arc<str>, theirs: Arc<str>, channel_name: Arc<str> },
    /// The cluster has sessions, and this node was started without them.
    #[error(
        "this node was started without the option `sessions`, and its cluster has sessions: the reducers of the other \
         nodes receive actions that this node's would not expect; start this node with `sessions`"
    )]
    SessionsRequired,
    /// No majority of the voters answered in time.
    #[error("{what}: the operation timed out without a quorum; {why}")]
    NoQuorum { what: &'static str, why: String },
    /// No member has this id.
    #[error("{what}: the cluster has no member `{id}`; its members are {}", members.join(", "))]
    UnknownMember { what: &'static str, id: String, members: Vec<String> },
    /// Only a voter that is not being removed can lead.
    #[error(
        "transferring leadership: `{id}` is a learner or is being removed; only a voter that stays a member can lead"
    )]
    NotAVoter { id: String },
    /// A cluster keeps at least one voter.
    #[error("removing `{id}`: it is the last voter of the cluster")]
    LastVoter { id: String },
    /// `recover` was called although the quorum is not lost.
    #[error("recovering: the quorum is not lost; {why}")]
    QuorumNotLost { why: String },
    /// The state of this node differs from the majority's, or its reducer threw on a committed action.
    #[error("the state of this node is valid only up to the action before index {index}: {why}")]
    Diverged { index: u64, why: String },
    /// The snapshot that this node received no longer contains the outcome of the call.
    #[error("the cluster no longer has the outcome of this call, because this node was away for too long")]
    Forgotten,
    /// Another process has the storage open.
    #[error("opening the storage `{path}`: another process has it open; every node needs its own path")]
    StorageInUse { path: String },
    /// The storage contains data that conflux did not write, or the format of another version.
    #[error("reading the storage `{path}`: {cause}; nothing was changed. {advice}")]
    StorageDamaged { path: String, cause: String, advice: &'static str },
    /// Another process runs with a copy of this node's directory.
    #[error(
        "the storage directory of `{id}` is a copy: another process with the same content is already a member, and \
         continues; delete this directory and start this node under its own id, or end the other process first"
    )]
    StorageCopied { id: String },
    /// The directory contains an older state than this member has acknowledged.
    #[error(
        "the storage directory of `{id}` is an older copy: this member has run with a newer one, and what it acknowledged \
         since then is missing here; delete this directory and start this node again: it joins as a new member"
    )]
    StorageOutdated { id: String },
    /// The storage cannot be read or written.
    #[error("{what} the storage `{path}`: {cause}")]
    Storage { what: &'static str, path: String, cause: String },
    /// The options of the channel are invalid.
    #[error("\"channel\": {cause}")]
    InvalidChannel { cause: String },
    /// The operating system refuses a resource that a node needs: a thread, an event queue.
    #[error("starting a node: the operating system refused {what}: {cause}")]
    Resources { what: &'static str, cause: String },
    /// A bug: the core panicked. The node has ended, the process continues.
    #[error("the core failed: {message}")]
    Panic { message: String },
}

impl Error {
    /// The stable code, `ERR_CONFLUX_…`.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Closed => "ERR_CONFLUX_CLOSED",
            Error::Removed => "ERR_CONFLUX_REMOVED",
            Error::DuplicateId { .. } => "ERR_CONFLUX_DUPLICATE_ID",
            Error::OtherCluster { .. } => "ERR_CONFLUX_OTHER_CLUSTER",
            Error::OtherApplication { .. } => "ERR_CONFLUX_OTHER_APPLICATION",
            Error::SessionsRequired => "ERR_CONFLUX_SESSIONS_REQUIRED",
            Error::NoQuorum { .. } => "ERR_CONFLUX_NO_QUORUM",
            Error::UnknownMember { .. } => "ERR_CONFLUX_UNKNOWN_MEMBER",
            Error::NotAVoter { .. } => "ERR_CONFLUX_NOT_A_VOTER",
            Error::LastVoter { .. } => "ERR_CONFLUX_LAST_VOTER",
            Error::QuorumNotLost { .. } => "ERR_CONFLUX_QUORUM_NOT_LOST",
            Error::Diverged { .. } => "ERR_CONFLUX_DIVERGED",
            Error::Forgotten => "ERR_CONFLUX_FORGOTTEN",
            Error::StorageInUse { .. } => "ERR_CONFLUX_STORAGE_IN_USE",
            Error::StorageDamaged { .. } => "ERR_CONFLUX_STORAGE_DAMAGED",
            Error::StorageCopied { .. } => "ERR_CONFLUX_STORAGE_COPIED",
            Error::StorageOutdated { .. } => "ERR_CONFLUX_STORAGE_OUTDATED",
            Error::Storage { .. } => "ERR_CONFLUX_STORAGE",
            Error::InvalidChannel { .. } => "ERR_CONFLUX_INVALID_OPTIONS",
            Error::Resources { .. } => "ERR_CONFLUX_RESOURCES",
            Error::Panic { .. } => "ERR_CONFLUX_PANIC",
        }
    }
}

/// The message of a panic.
pub fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".into())
}
