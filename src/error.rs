//! This file is the one list of errors that a caller of conflux's core can meet, each with its stable code.
//!
//! What only the façade can find wrong (options, arguments) has its codes in `lib/errors.js`.

use std::any::Any;
use std::sync::Arc;

use crate::raft::ClusterUuid;

/// A variant is a situation, its fields are the facts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The node was closed before the call ended.
    #[error("this node was closed before the perform ended")]
    Closed,
    /// This node started over as a new member while the call was on its way.
    #[error("this node left its cluster while the perform was on its way; the outcome is unknown")]
    Removed,
    /// Another live process has the same id.
    #[error("the id `{id}` belongs to another live node of this cluster; every node needs an id of its own")]
    DuplicateId { id: String },
    /// Another cluster, which has a leader, is on this channel; ours has none, and holds actions.
    #[error(
        "cluster {ours}, which has lost its leader, met cluster {theirs}, which has one, on the same channel; \
         this node stops"
    )]
    OtherCluster { ours: ClusterUuid, theirs: ClusterUuid },
    /// This node's application is not that of the cluster on its channel.
    #[error(
        "this node is of {ours}, and the cluster on this channel is of {theirs}: two applications use the channelName \
         `{channel_name}`; give one of them another"
    )]
    OtherApplication { ours: Arc<str>, theirs: Arc<str>, channel_name: Arc<str> },
    /// No majority of the voters answered in time.
    #[error("{what}: no quorum within the time given; {why}")]
    NoQuorum { what: &'static str, why: String },
    /// No member has this id.
    #[error("{what}: the cluster has no member `{id}`; its members are {}", members.join(", "))]
    UnknownMember { what: &'static str, id: String, members: Vec<String> },
    /// Only a voter can lead, and none that is on its way out.
    #[error(
        "transferring leadership: `{id}` is a learner or is being removed; only a voter that stays can lead"
    )]
    NotAVoter { id: String },
    /// A cluster keeps at least one voter.
    #[error("removing `{id}`: it is the last voter of the cluster")]
    LastVoter { id: String },
    /// `recover` was called where nothing is lost.
    #[error("recovering: the quorum is not lost; {why}")]
    QuorumNotLost { why: String },
    /// The state of this node differs from the majority's, or its reducer threw on a committed action.
    #[error("this node's state ends before index {index}: {why}")]
    Diverged { index: u64, why: String },
    /// The snapshot that this node received no longer tells what became of the call.
    #[error("the cluster no longer remembers what became of this perform; the outcome is unknown")]
    Forgotten,
    /// Another process has the storage open.
    #[error("opening the storage `{path}`: another process has it open; every node needs a path of its own")]
    StorageInUse { path: String },
    /// The storage holds something that was never written, or is of another version.
    #[error("reading the storage `{path}`: {cause}; nothing was changed. {advice}")]
    StorageDamaged { path: String, cause: String, advice: &'static str },
    /// Another process runs with a copy of this node's directory.
    #[error(
        "the storage directory of `{id}` is a copy: another process with the same content is a member already, and goes \
         on; delete this directory, and start this node under an id of its own, or end the other first"
    )]
    StorageCopied { id: String },
    /// The directory holds an older state than the cluster knows of it.
    #[error(
        "the storage directory of `{id}` is an older copy: the cluster has heard this member with a newer one, and what it \
         acknowledged since is missing here; delete this directory, and start this node again: it joins as a new member"
    )]
    StorageOutdated { id: String },
    /// The storage cannot be read or written.
    #[error("{what} the storage `{path}`: {cause}")]
    Storage { what: &'static str, path: String, cause: String },
    /// The channel cannot make sense of its options.
    #[error("\"channel\": {cause}")]
    InvalidChannel { cause: String },
    /// The system refuses a node what it needs to run: a thread, an event queue.
    #[error("starting a node: the system gives no {what}: {cause}")]
    Resources { what: &'static str, cause: String },
    /// A bug: the core panicked. The node is dead, the process lives.
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

/// What a panic said.
pub fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".into())
}
