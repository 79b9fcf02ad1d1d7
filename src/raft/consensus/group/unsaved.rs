//! Tracks which writes are not durable yet, what depends on them, and what is allowed without them.
//!
//! Part of `group.rs`. A vote or acknowledgement of a node counts only once it is durable. But a majority has saved
//! everything that is committed. While its storage is overdue, a node applies committed entries from its log in memory,
//! so that its calls end. If it then loses power, it returns with the content of its disk, as a member that lags
//! behind.

use raft_rs::eraftpb::{Entry, EntryType, Message};

use super::RaftGroup;
use crate::raft::consensus::log;
use crate::raft::events::Write;

/// A node whose storage is overdue requests no more entries while the unsaved ones take more than this.
pub const UNSAVED_BYTES_MAX: u64 = if cfg!(test) { 24 << 20 } else { 256 << 20 };
/// The size of a write without its entries: it waits here, with a message, and in the storage's queue.
const WRITE_BYTES: u64 = 1 << 10;

/// Whether the storage responds in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    Answers,
    Overdue,
}

/// What depends on a write that is not durable yet.
#[derive(Debug)]
pub(super) struct Unsaved {
    write_number: u64,
    /// The number of the last `Ready` of raft-rs that depends on the write: its own, or a later one without a write.
    pub(super) ready_number: u64,
    /// The commit index in the write, if it has one.
    saves_commit: Option<u64>,
    bytes: u64,
    pub(super) messages: Vec<Message>,
}

/// A leader's snapshot that is not durable yet.
#[derive(Debug)]
pub(super) struct Installing {
    pub(super) write_number: u64,
    /// The application already uses it, because the storage is overdue.
    pub(super) is_followed: bool,
}

impl RaftGroup {
    /// These messages may leave when the write is durable.
    pub(super) fn await_write(
        &mut self,
        write_number: u64,
        ready_number: u64,
        write: &Write,
        messages: Vec<Message>,
    ) {
        let bytes = WRITE_BYTES + write.entries.iter().map(log::size).sum::<u64>();
        let saves_commit = write.hard_state.as_ref().map(|hard_state| hard_state.commit);
        self.unsaved_bytes += bytes;
        self.unsaved.push_back(Unsaved { write_number, ready_number, saves_commit, bytes, messages });
    }

    /// The writes up to this number are durable: what depends on them may leave.
    pub fn persisted(&mut self, number: u64) {
        while let Some(first) = self.unsaved.front()
            && first.write_number <= number
        {
            let durable = self.unsaved.pop_front().expect("the front was just seen");
            self.unsaved_bytes -= durable.bytes;
            self.out.extend(durable.messages);
            self.saved_commit = durable.saves_commit.unwrap_or(self.saved_commit);
            self.raw.on_persist_ready(durable.ready_number);
        }
        if let Some(installed) = self.installing.take_if(|installing| installing.write_number <= number) {
            self.has_installed |= !installed.is_followed;
            self.reduced_index = self.reduced_index.max(self.raw.store().snapshot().position.index);
        }
        self.report_applied();
    }

    /// Whether the writes up to this number are durable, and what depends on them has left.
    pub fn is_saved(&self, number: u64) -> bool {
        self.unsaved.front().is_none_or(|unsaved| number < unsaved.write_number)
    }

    /// Up to here the log is durable.
    pub fn saved_index(&self) -> u64 {
        self.raw.raft.raft_log.persisted
    }

    /// Takes the entries that raft-rs returns as committed; some of them may have been taken before they were
    /// durable.
    pub(super) fn take_committed(&mut self, entries: Vec<Entry>) {
        let taken_index = self.taken_index;
        for entry in entries.into_iter().filter(|entry| entry.index > taken_index) {
            self.taken_index = entry.index;
            self.holds_committed_actions |= log::is_action(&entry);
            self.committed.push_back(entry);
        }
    }

    /// Takes entries that are committed and not durable here, or a leader's snapshot. A leader applies a change of
    /// the configuration only after saving it: it counts the members that have saved the change. A follower may apply
    /// it, because it has no vote until all of that is durable.
    pub(super) fn take_unsaved(&mut self) {
        if let Some(installing) = &mut self.installing {
            self.has_installed |= !std::mem::replace(&mut installing.is_followed, true);
        }
        let (commit_index, is_leader) = (self.commit_index(), self.is_leader());
        let may_be_taken = |entry: &&Entry| {
            entry.index <= commit_index && (entry.entry_type == EntryType::EntryNormal || !is_leader)
        };
        let entries = self.raw.store().entries_from(self.taken_index + 1).take_while(may_be_taken);
        let entries: Vec<Entry> = entries.cloned().collect();
        self.take_committed(entries);
    }

    /// JavaScript has reduced everything up to this index.
    pub fn applied(&mut self, index: u64) {
        assert!(index <= self.taken_index, "index {index} is applied, and taken is {}", self.taken_index);
        self.reduced_index = self.reduced_index.max(index);
        self.report_applied();
    }

    /// Reports applied entries to raft-rs, up to the durable ones.
    fn report_applied(&mut self) {
        let log = &self.raw.raft.raft_log;
        let index = self.reduced_index.min(log.committed).min(log.persisted);
        // A node that was restored reduces again what was applied before.
        if index > log.applied {
            self.raw.advance_apply_to(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

    use super::*;
    use crate::raft::Incarnation;
    use crate::raft::consensus::entry::FOUNDING_TERM;
    use crate::raft::consensus::log::Log;
    use crate::raft::options::Options;
    use crate::raft::snapshot::Snapshot;
    use crate::raft::wire::items::WireEntry;
    use crate::raft::wire::message::{RaftKind, RaftMessage, Roster};

    #[test]
    fn a_write_has_the_entries_of_a_durable_node_and_the_log_those_of_any() {
        for is_durable in [true, false] {
            let founders = [1, 2, 3].map(|number| (Incarnation::from_u128(number), "any".into()));
            let snapshot = Snapshot::found(&Roster(founders.to_vec()));
            let log = Log::start(&snapshot, snapshot.encode(), FOUNDING_TERM);
            let options = Options { is_durable, ..Options::new("any", 3, [0; 32]) };
            let mut group = RaftGroup::new(log, 1, &options, &mut ChaCha8Rng::from_seed([0; 32]));
            let (data, context) = ("1".into(), "x".into());
            let entry = WireEntry { term: 2, index: 2, is_change: false, data, context };
            let append = RaftMessage::new(RaftKind::Append, 2, 1);
            group.step(2, RaftMessage { log_term: FOUNDING_TERM, entries: vec![entry], ..append });
            let write = group.advance(1, Storage::Answers).expect("there is a term to save");
            assert_eq!(write.entries.len(), usize::from(is_durable));
            assert!(write.hard_state.is_some());
            assert_eq!(group.last_index(), 2);
        }
    }
}
