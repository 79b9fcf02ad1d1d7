//! Raft itself, as raft-rs implements it: the log, the term and vote, the voters, and how much is in flight to each peer.
//!
//! Used by `node/`. It knows nothing of requests, JavaScript or founding.

pub mod entry;
pub mod group;
pub mod guard;
pub mod log;
pub mod pace;
pub mod timing;
