//! Classifies the faults of a database file, before they become errors that name the path.
//!
//! Used by the files beside it.

use std::any::Any;
use std::io::{self, ErrorKind};

use redb::{
    CommitError, CompactionError, DatabaseError, SetDurabilityError, StorageError, TableError,
    TransactionError,
};

use crate::error::Error;

/// What is wrong: each variant has its own remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Another process has it open.
    InUse,
    /// It contains data that was never written, or lacks data that was.
    Damaged(String),
    /// It was written by another version.
    Foreign(String),
    /// It belongs to another node.
    OtherNode { theirs: String, ours: String },
    /// The device or the file system refused.
    Device(String),
}

const ADVICE_TO_DAMAGED: &str = "Keep the directory, but move it away, and start this node again: it joins as a new \
    member and gets everything from the others, as long as they are a quorum without it";

const ADVICE_TO_FOREIGN: &str = "Start this node with the version of conflux that wrote it";

impl Fault {
    pub fn damage(cause: String) -> Self {
        Self::Damaged(cause)
    }

    /// `what`: the operation on the storage at `path` that failed.
    pub fn into_error(self, what: &'static str, path: String) -> Error {
        match self {
            Fault::InUse => Error::StorageInUse { path },
            Fault::Damaged(cause) => Error::StorageDamaged { path, cause, advice: ADVICE_TO_DAMAGED },
            Fault::Foreign(cause) => Error::StorageDamaged { path, cause, advice: ADVICE_TO_FOREIGN },
            Fault::OtherNode { theirs, ours } => {
                let cause = format!(
                    "it belongs to node `{theirs}`, and this node is `{ours}`; every node needs a directory of its own, \
                     and no copy of another's: start `{ours}` with an empty one"
                );
                Error::Storage { what, path, cause }
            }
            Fault::Device(cause) => Error::Storage { what, path, cause },
        }
    }
}

/// The message of a caught panic.
pub fn said_by(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // A file that ends early, or begins with other bytes, is damaged; the device works.
            ErrorKind::UnexpectedEof | ErrorKind::InvalidData => Self::Damaged(error.to_string()),
            _ => Self::Device(error.to_string()),
        }
    }
}

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Corrupted(cause) => Self::Damaged(cause),
            StorageError::Io(error) => error.into(),
            other => Self::Device(other.to_string()),
        }
    }
}

impl From<DatabaseError> for Fault {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => Self::InUse,
            DatabaseError::Storage(error) => error.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<TableError> for Fault {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(error) => error.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<TransactionError> for Fault {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Storage(error) => error.into(),
            other => Self::Device(other.to_string()),
        }
    }
}

impl From<CommitError> for Fault {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(error) => error.into(),
            other => Self::Device(other.to_string()),
        }
    }
}

impl From<CompactionError> for Fault {
    fn from(error: CompactionError) -> Self {
        match error {
            CompactionError::Storage(error) => error.into(),
            other => Self::Device(other.to_string()),
        }
    }
}

impl From<SetDurabilityError> for Fault {
    fn from(error: SetDurabilityError) -> Self {
        Self::Device(error.to_string())
    }
}
