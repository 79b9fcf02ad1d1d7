//! The core: decides what a replica does, and nothing else.
//!
//! Called by `driver.rs`, which passes it [`Input`]s and executes the [`Work`] that it returns. It must never touch a
//! clock, a thread, a file, a socket, JavaScript or unseeded randomness: two runs with the same seed and the same
//! inputs give byte-identical work, so every failure can be replayed (`tidy.rs` checks it).
#![forbid(unsafe_code)]

#[macro_use]
mod injected_bug;

pub mod application;
pub mod arena;
pub mod bootstrap;
pub mod consensus;
pub mod coordination;
pub mod events;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod identity;
mod membership;
mod node;
pub mod options;
mod requests;
mod snapshot;
pub mod status;
#[cfg(test)]
mod testing;
mod warning;
pub mod wire;

pub use application::Application;
pub use events::{
    Answered, CallOutcome, ChannelState, Delivery, FailureOutcome, Hashed, Input, Lane, MethodResult,
    Operation, Perform, Position, RecoveryVote, ReplicaRecord, Role, SnapshotRecord, StateHash, StoredState,
    TakenSnapshot, Target, Warning, Work, Write,
};
pub use identity::{ClusterUuid, Incarnation, RaftId, Start};
pub use node::{Commits, CommittedAction, Node};
pub use options::Options;
pub use status::Status;
