//! This file keeps the log in memory, and is what raft-rs reads from: no decision ever waits for a disk.
//!
//! Written by `group.rs` as entries arrive; durable storage gets the same writes as `Work::Persist`.

use std::collections::VecDeque;

use raft_rs::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft_rs::{Error, GetEntriesContext, RaftState, Result, StorageError, util::limit_size};

use super::frame::Roster;

/// Where a cluster's log starts: the founding voters sit in a snapshot at this index and term, so that no replica
/// ever starts from a configuration that is not in its log's past.
pub const FOUNDING_INDEX: u64 = 1;
pub const FOUNDING_TERM: u64 = 1;

/// Entries since the last snapshot, in memory.
///
/// Invariants:
/// - indexes run without a gap from `snapshot_index + 1` to `last_index` (paper §5.3);
/// - terms never fall from one entry to the next;
/// - entries up to the commit index are never replaced.
#[derive(Debug)]
pub struct Log {
    snapshot_index: u64,
    snapshot_term: u64,
    conf_state: ConfState,
    hard_state: HardState,
    entries: VecDeque<Entry>,
    /// How many entries hold an action: a cluster without any can be given up without losing anything.
    actions: u64,
}

impl Log {
    /// The log of a founder: empty but for the founding snapshot.
    pub fn founded(roster: &Roster) -> Self {
        let conf_state = ConfState {
            voters: roster.0.iter().map(|(incarnation, _)| incarnation.raft_id()).collect(),
            ..ConfState::default()
        };
        let hard_state = HardState { term: FOUNDING_TERM, commit: FOUNDING_INDEX, ..HardState::default() };
        Self {
            snapshot_index: FOUNDING_INDEX,
            snapshot_term: FOUNDING_TERM,
            conf_state,
            hard_state,
            entries: VecDeque::new(),
            actions: 0,
        }
    }

    pub fn last_index(&self) -> u64 {
        self.snapshot_index + self.entries.len() as u64
    }

    pub fn holds_actions(&self) -> bool {
        self.actions > 0
    }

    /// The term of the entry at `index`, if the log still knows it.
    pub fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.snapshot_index {
            return Some(self.snapshot_term);
        }
        let position = index.checked_sub(self.snapshot_index + 1)?;
        self.entries.get(position as usize).map(|entry| entry.term)
    }

    pub fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    /// Appends entries, first dropping whatever stands at their indexes and behind (paper §5.3).
    pub fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(
            self.snapshot_index < first.index && first.index <= self.last_index() + 1,
            "appending index {} to a log of {}..={}",
            first.index,
            self.snapshot_index,
            self.last_index()
        );
        let kept = (first.index - self.snapshot_index - 1) as usize;
        for dropped in self.entries.drain(kept..) {
            self.actions -= u64::from(!dropped.data.is_empty());
        }
        for entry in entries {
            self.actions += u64::from(!entry.data.is_empty());
            self.entries.push_back(entry.clone());
        }
    }
}

impl raft_rs::Storage for Log {
    fn initial_state(&self) -> Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        if low <= self.snapshot_index {
            return Err(Error::Store(StorageError::Compacted));
        }
        assert!(
            high <= self.last_index() + 1,
            "reading up to index {high} of a log that ends at {}",
            self.last_index()
        );
        let first = self.snapshot_index + 1;
        let range = (low - first) as usize..(high - first) as usize;
        let max_size = max_size.into();
        let mut entries = match max_size {
            // Cloning what the limit then cuts off would cost more than the send itself when a peer lags far behind.
            Some(limit) => {
                let mut bytes = 0;
                let within = |entry: &&Entry| {
                    let is_within = bytes <= limit;
                    bytes += entry.data.len() as u64;
                    is_within
                };
                self.entries.range(range).take_while(within).cloned().collect()
            }
            None => self.entries.range(range).cloned().collect(),
        };
        limit_size(&mut entries, max_size);
        Ok(entries)
    }

    fn term(&self, index: u64) -> Result<u64> {
        let unknown =
            if index < self.snapshot_index { StorageError::Compacted } else { StorageError::Unavailable };
        self.term_at(index).ok_or(Error::Store(unknown))
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.snapshot_index + 1)
    }

    fn last_index(&self) -> Result<u64> {
        Ok(Log::last_index(self))
    }

    /// Every member starts from the founding snapshot, so none ever needs one sent.
    fn snapshot(&self, _request_index: u64, _to: u64) -> Result<Snapshot> {
        Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}

#[cfg(test)]
mod tests {
    use raft_rs::Storage;

    use super::*;
    use crate::raft::Incarnation;

    fn entry(index: u64, term: u64, data: &'static str) -> Entry {
        Entry { index, term, data: data.into(), ..Entry::default() }
    }

    fn log() -> Log {
        Log::founded(&Roster(vec![(Incarnation::from_u128(1), "a".into())]))
    }

    #[test]
    fn a_founded_log_starts_behind_the_founding_snapshot() {
        let log = log();
        assert_eq!((log.first_index().unwrap(), log.last_index()), (2, 1));
        assert_eq!(log.term(1).unwrap(), FOUNDING_TERM);
        assert_eq!(log.initial_state().unwrap().conf_state.voters, vec![1]);
    }

    #[test]
    fn appending_replaces_what_stands_at_the_same_indexes_and_behind() {
        let mut log = log();
        log.append(&[entry(2, 2, ""), entry(3, 2, "1"), entry(4, 2, "2")]);
        log.append(&[entry(3, 3, "")]);
        assert_eq!((log.last_index(), log.term_at(3), log.term_at(4)), (3, Some(3), None));
        assert!(!log.holds_actions());
    }

    #[test]
    fn reading_is_cut_at_the_size_limit_but_gives_at_least_one_entry() {
        let mut log = log();
        log.append(&[entry(2, 2, "0123456789"), entry(3, 2, "0123456789"), entry(4, 2, "0123456789")]);
        let read =
            |limit: u64| log.entries(2, 5, Some(limit), GetEntriesContext::empty(false)).unwrap().len();
        assert_eq!((read(0), read(20), read(1000)), (1, 1, 3));
    }
}
