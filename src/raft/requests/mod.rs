//! This folder makes a perform happen exactly once (thesis §6.3), in three nouns:
//!
//! - [`Origin`]: what this node's application performed and has not heard the end of;
//! - [`Leadership`]: what a leader, in one term, has evaluated of everybody's requests;
//! - [`Table`]: what the log, on every node alike, says was applied.
//!
//! Used by `node.rs` alone.

mod leadership;
mod origin;
mod table;

pub use leadership::{Leadership, Reply};
pub use origin::{Origin, Pending};
pub use table::{Effect, Known, Table};
