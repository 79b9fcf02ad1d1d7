//! This file is the one list of errors that a caller of conflux's core can meet, each with its stable code.
//!
//! What only the façade can find wrong (options, arguments) has its codes in `lib/errors.js`.

use crate::raft::ClusterUuid;

/// A variant is a situation, its fields are the facts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The node was closed before the perform ended.
    #[error("this node was closed before the perform ended")]
    Closed,
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
            Error::Panic { .. } => "ERR_CONFLUX_PANIC",
        }
    }
}
