//! This room decides what a replica does, and nothing else.
//!
//! Called by `driver.rs`, which feeds it [`Input`]s and obeys the [`Work`] that comes out. It must never touch a
//! clock, a thread, a file, a socket, JavaScript or unseeded randomness: two runs with the same seed and the same
//! inputs give byte-identical work, so every failure can be replayed (`tidy.rs` holds this).
#![forbid(unsafe_code)]

pub mod entry;
pub mod events;
pub mod frame;
pub mod identity;
pub mod membership;
pub mod options;
pub mod status;

pub use events::{Answer, Delivery, Input, Perform, Settlement, Target, Warning, Work, Write};
pub use identity::{ClusterUuid, Incarnation, RaftId};
pub use options::Options;
pub use status::Status;
