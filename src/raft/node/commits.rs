//! Returns the committed and delivered actions that are still in the log.
//!
//! For an application that follows the actions itself, and continues at its last position.

use std::collections::BTreeSet;

use bytes::Bytes;
use raft_rs::eraftpb::EntryType;

use crate::raft::consensus::entry::{Context, FOUNDING_INDEX};
use crate::raft::consensus::log::Log;
use crate::raft::coordination::NO_TIME;

/// The limit of bytes that a reader gets at once; one larger action is allowed.
const READ_BYTES_MAX: usize = 256 << 10;

/// Committed actions of a part of the log.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Commits {
    /// Earlier actions are no longer in the log.
    pub first_index: u64,
    /// The last index that was read.
    pub read_index: u64,
    /// In order.
    pub actions: Vec<CommittedAction>,
}

/// A committed action: its index, its time or 0, and its JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedAction {
    pub index: u64,
    pub at: u64,
    pub action: Bytes,
}

/// Which entries of the log changed the state.
///
/// Invariant: an entry behind `begins_behind`, up to what is delivered, did if it has an action and is not in `ignored`.
#[derive(Debug)]
pub(super) struct History {
    begins_behind: u64,
    /// Entries of repeated requests.
    ignored: BTreeSet<u64>,
}

impl Commits {
    /// Nothing is known of the log up to `until`.
    pub(super) fn unknown(until: u64) -> Self {
        Self { first_index: until + 1, read_index: until, actions: Vec::new() }
    }
}

impl History {
    /// Of the log up to `index`, only the resulting state is known.
    pub(super) fn new(index: u64) -> Self {
        Self { begins_behind: index, ignored: BTreeSet::new() }
    }

    /// `compacted`: the log begins behind this index.
    pub(super) fn ignore(&mut self, index: u64, compacted: u64) {
        self.ignored = self.ignored.split_off(&compacted);
        self.ignored.insert(index);
    }

    /// The actions of the log from index `from` on, at most up to `until`.
    pub(super) fn commits(&self, log: &Log, from: u64, until: u64) -> Commits {
        let unknown = log.compacted().index.max(self.begins_behind);
        // A cluster is founded without an action.
        let first_index = if unknown == FOUNDING_INDEX { 1 } else { unknown + 1 };
        let mut commits = Commits { first_index, read_index: until, actions: Vec::new() };
        let mut bytes = 0;
        let entries = log.entries_from(from.max(unknown + 1)).take_while(|entry| entry.index <= until);
        for entry in
            entries.filter(|entry| !entry.data.is_empty() && entry.entry_type == EntryType::EntryNormal)
        {
            if self.ignored.contains(&entry.index) {
                continue;
            }
            if bytes > 0 && bytes + entry.data.len() > READ_BYTES_MAX {
                commits.read_index = entry.index - 1;
                break;
            }
            bytes += entry.data.len();
            let at = Context::decode_stamped(&entry.context).map_or(NO_TIME, |(_, stamp)| stamp.at);
            commits.actions.push(CommittedAction { index: entry.index, at, action: entry.data.clone() });
        }
        commits
    }
}
