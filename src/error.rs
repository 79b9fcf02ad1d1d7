//! This file is the one list of errors that a caller of conflux's core can meet, each with its stable code.
//!
//! What only the façade can find wrong (options, arguments) has its codes in `lib/errors.js`.

use crate::raft::ClusterUuid;

/// A variant is a situation, its fields are the facts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The node was closed before the perform was sent to a leader.
    #[error("this node was closed before the perform was sent to a leader")]
    ClosedBeforeDispatch,
    /// The node was closed while the perform was on its way. It may still be committed (thesis §6.3).
    #[error("this node was closed while the perform was on its way; the outcome is unknown")]
    ClosedInFlight,
    /// This node started over as a new member while the perform was on its way.
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
    /// The leader has entries that this node acknowledged and no longer has.
    #[error("this node's log ends at index {last_index}, but it acknowledged index {commit_index}")]
    LostLog { last_index: u64, commit_index: u64 },
    /// A bug: the core panicked. The node is dead, the process lives.
    #[error("the core failed: {message}")]
    Panic { message: String },
    /// A write could not be made durable; nothing is acknowledged after it.
    #[error("saving to {place}: {cause}")]
    Storage { place: String, cause: String },
}

/// What became of a perform that failed (never guessed).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    NotApplied,
    Unknown,
}

impl Error {
    /// The stable code, `ERR_CONFLUX_…`.
    pub fn code(&self) -> &'static str {
        match self {
            Error::ClosedBeforeDispatch | Error::ClosedInFlight => "ERR_CONFLUX_CLOSED",
            Error::Removed => "ERR_CONFLUX_REMOVED",
            Error::DuplicateId { .. } => "ERR_CONFLUX_DUPLICATE_ID",
            Error::OtherCluster { .. } => "ERR_CONFLUX_OTHER_CLUSTER",
            Error::LostLog { .. } => "ERR_CONFLUX_LOST_LOG",
            Error::Panic { .. } => "ERR_CONFLUX_PANIC",
            Error::Storage { .. } => "ERR_CONFLUX_STORAGE",
        }
    }

    /// What it means for a perform that ends with it and had been sent to a leader.
    pub fn outcome(&self) -> Outcome {
        match self {
            Error::ClosedBeforeDispatch => Outcome::NotApplied,
            Error::ClosedInFlight
            | Error::Removed
            | Error::DuplicateId { .. }
            | Error::OtherCluster { .. }
            | Error::LostLog { .. }
            | Error::Panic { .. }
            | Error::Storage { .. } => Outcome::Unknown,
        }
    }
}
