//! This folder says who is in a cluster, and what the leader changes about that.
//!
//! Used by `node.rs` and by everything that reads the log.

pub mod members;
pub mod planner;
