//! Keeps what must survive a restart.
//!
//! Called by `driver.rs` alone, with the writes that the core orders. No decision reads a storage: the core reads its
//! own log, in memory. A storage may name only the records of the core that it stores.

#[cfg(test)]
mod contract;
pub mod disk;
pub mod memory;
#[cfg(test)]
mod testing;

use crate::error::Error;
use crate::raft::{StoredState, Write};

/// Where a replica's term, vote, log and snapshot are kept (paper §5, Figure 2: persistent state). Dropping it closes
/// it: another can then be opened at the same place.
pub trait Storage: Send + 'static {
    /// The stored state; `None` if nothing was ever stored. Called once, before any `save`.
    fn load(&mut self) -> Result<Option<StoredState>, Error>;

    /// Carries out the writes, in their order, all or none; they are durable when this returns. After an error nothing
    /// is saved any more: every later call gives an error too.
    ///
    /// Of writes before one that begins a replica, none needs to be carried out: they are the former replica's.
    fn save(&mut self, writes: &[Write]) -> Result<(), Error>;

    /// Verifies that what was saved is still where the next start looks for it. After an error nothing is saved any more.
    fn verify(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Whether it survives a restart. Such a storage waits for a device, and so is called on a thread of its own.
    fn is_durable(&self) -> bool;
}
