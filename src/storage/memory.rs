//! The storage that keeps nothing beyond the process: the log exists only in the core's memory.
//!
//! A node that uses it starts every time as a new incarnation, and never votes under an old one, so the cluster sees
//! a crash, and not a member that has forgotten its votes.

use super::Storage;
use crate::error::Error;
use crate::raft::{StoredState, Write};

/// Keeps nothing.
#[derive(Debug, Default)]
pub struct Memory;

impl Storage for Memory {
    fn load(&mut self) -> Result<Option<StoredState>, Error> {
        Ok(None)
    }

    fn save(&mut self, _writes: &[Write]) -> Result<(), Error> {
        Ok(())
    }

    fn is_durable(&self) -> bool {
        false
    }
}
