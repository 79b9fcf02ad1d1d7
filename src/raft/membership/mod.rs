//! The members of a cluster, and the changes that the leader makes to them.
//!
//! Used by `node.rs` and by everything that reads the log.

pub mod members;
pub mod planner;
