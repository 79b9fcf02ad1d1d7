//! This room keeps what must survive a restart.
//!
//! Called by `driver.rs` alone, with the writes that the core orders. No decision reads a storage: the core reads its
//! own log, in memory. A storage must never name anything of the core but the records that it keeps.

pub mod memory;

use crate::error::Error;
use crate::raft::{Recovered, Write};

/// Where a replica's term, vote, log and snapshot are kept (paper §5, Figure 2: persistent state).
pub trait Storage: Send + 'static {
    /// What was kept; `None` if nothing ever was. Called once, before any `save`.
    fn load(&mut self) -> Result<Option<Recovered>, Error>;

    /// Carries out the writes, in their order, all or none; they are durable when this returns.
    fn save(&mut self, writes: &[Write]) -> Result<(), Error>;
}
