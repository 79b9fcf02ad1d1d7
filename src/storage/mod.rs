//! This room keeps what must survive a restart.
//!
//! Called by `driver.rs` alone, with the writes that the core orders. No decision reads a storage: the core reads its
//! own log, in memory. A storage must never name anything of the core but [`Write`].

pub mod memory;

use crate::raft::Write;

/// Where a replica's term, vote and log are kept (paper §5, Figure 2: persistent state).
pub trait Storage: Send {
    /// Keeps the write; it is as durable as this storage ever makes it when this returns.
    fn save(&mut self, write: Write);
}
