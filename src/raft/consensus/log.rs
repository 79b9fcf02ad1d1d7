//! The log in memory, which raft-rs reads: no decision ever waits for a disk.
//!
//! Written by `group.rs` as entries arrive; durable storage gets the same writes as `Work::Persist`.

use std::collections::VecDeque;

use bytes::Bytes;
use raft_rs::eraftpb::{ConfState, Entry, EntryType, HardState, Snapshot as RaftSnapshot};
use raft_rs::{Error, GetEntriesContext, RaftState, Result, StorageError, util::limit_size};

use super::entry::Context;
use crate::raft::events::{Position, SnapshotRecord, StoredState};
use crate::raft::identity::RaftId;
use crate::raft::snapshot::{self, Snapshot};

/// The newest snapshot and the entries after it; also some entries before it, for slightly lagging followers.
///
/// Invariants:
/// - indexes run without a gap from `compacted.index + 1` to `last_index` (paper §5.3);
/// - terms never fall from one entry to the next;
/// - `compacted.index <= snapshot.position.index <= last_index`;
/// - entries up to the commit index are never replaced.
#[derive(Debug)]
pub struct Log {
    /// The entry before the first one that is kept.
    compacted: Position,
    snapshot: SnapshotRecord,
    /// Of the snapshot: raft-rs starts from it, and then applies the entries behind it.
    conf_state: ConfState,
    hard_state: HardState,
    entries: VecDeque<Entry>,
    /// How many of the entries hold an action, and how many bytes all take.
    actions: u64,
    bytes: u64,
    snapshot_has_state: bool,
    /// raft-rs starts from this configuration instead of the snapshot's.
    starts_from: Option<ConfState>,
    /// A member needs a snapshot that names it, and ours does not.
    is_snapshot_wanted: std::cell::Cell<bool>,
}

impl Log {
    /// A log that begins with a snapshot: the log of a founder, or of a node that joins.
    pub fn start(snapshot: &Snapshot, record: SnapshotRecord, term: u64) -> Self {
        let Position { index, .. } = snapshot.position;
        Self {
            compacted: snapshot.position,
            snapshot: record,
            conf_state: snapshot.conf_state.clone(),
            hard_state: HardState { term, commit: index, ..HardState::default() },
            entries: VecDeque::new(),
            actions: 0,
            bytes: 0,
            snapshot_has_state: snapshot.state.is_some(),
            starts_from: None,
            is_snapshot_wanted: false.into(),
        }
    }

    /// Replaces a log that was moved elsewhere.
    pub fn nothing() -> Self {
        Self {
            compacted: Position::default(),
            snapshot: SnapshotRecord { position: Position::default(), image: Bytes::new() },
            conf_state: ConfState::default(),
            hard_state: HardState::default(),
            entries: VecDeque::new(),
            actions: 0,
            bytes: 0,
            snapshot_has_state: false,
            starts_from: None,
            is_snapshot_wanted: false.into(),
        }
    }

    /// The log of a node that restarts; `snapshot` is the decoded image of what was recovered.
    pub fn resume(snapshot: &Snapshot, recovered: StoredState) -> Self {
        let mut log = Self::start(snapshot, recovered.snapshot, 0);
        log.compacted = recovered.compacted;
        log.hard_state = recovered.hard_state;
        // The commit index is saved only along with something else, and so may be behind the snapshot.
        log.hard_state.commit = log.hard_state.commit.max(snapshot.position.index);
        log.append(recovered.entries);
        injected_bug!(AppliesBeforeCommit, log.hard_state.commit = log.last_index());
        log
    }

    /// The same log, its last entry added and all committed, for a replica that is the only voter from here on.
    pub fn found_anew(self, entry: Entry, hard_state: HardState, sole: RaftId) -> Self {
        let starts_from = Some(ConfState { voters: vec![sole], ..ConfState::default() });
        let mut log = Self { hard_state, starts_from, ..self };
        log.append([entry]);
        log
    }

    pub fn last_index(&self) -> u64 {
        self.compacted.index + self.entries.len() as u64
    }

    pub fn holds_actions(&self) -> bool {
        self.actions > 0 || self.snapshot_has_state
    }

    /// What raft-rs starts from, unless `starts_from` is set.
    pub fn conf_state_mut(&mut self) -> &mut ConfState {
        &mut self.conf_state
    }

    pub fn snapshot(&self) -> &SnapshotRecord {
        &self.snapshot
    }

    pub fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    pub fn compacted(&self) -> Position {
        self.compacted
    }

    /// Whether a member needs a snapshot that we do not have; this call resets it.
    pub fn takes_wish_for_snapshot(&self) -> bool {
        self.is_snapshot_wanted.take()
    }

    /// The term of the entry at `index`, if the log still knows it.
    pub fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.compacted.index {
            return Some(self.compacted.term);
        }
        let position = index.checked_sub(self.compacted.index + 1)?;
        self.entries.get(position as usize).map(|entry| entry.term)
    }

    /// The entries from `first` on; none if `first` is compacted.
    pub fn entries_from(&self, first: u64) -> impl DoubleEndedIterator<Item = &Entry> {
        let kept = first.checked_sub(self.compacted.index + 1);
        let start = kept.map_or(self.entries.len(), |kept| (kept as usize).min(self.entries.len()));
        self.entries.range(start..)
    }

    pub fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    /// Appends entries; first drops the entries at their indexes and behind (paper §5.3).
    pub fn append(&mut self, entries: impl IntoIterator<Item = Entry>) {
        let mut entries = entries.into_iter().peekable();
        let Some(first) = entries.peek() else { return };
        assert!(
            self.compacted.index < first.index && first.index <= self.last_index() + 1,
            "appending index {} to a log of {}..={}",
            first.index,
            self.compacted.index,
            self.last_index()
        );
        let kept = (first.index - self.compacted.index - 1) as usize;
        for dropped in self.entries.drain(kept..) {
            self.actions -= u64::from(is_action(&dropped));
            self.bytes -= size(&dropped);
        }
        for entry in entries {
            self.actions += u64::from(is_action(&entry));
            self.bytes += size(&entry);
            self.entries.push_back(entry);
        }
    }

    /// This node's own snapshot of a prefix of its log replaces the former one.
    pub fn keep(&mut self, snapshot: &Snapshot, record: SnapshotRecord) {
        assert!(
            self.snapshot.position.index <= record.position.index
                && record.position.index <= self.last_index(),
            "keeping a snapshot at index {} in a log whose last was at {} and that ends at {}",
            record.position.index,
            self.snapshot.position.index,
            self.last_index()
        );
        self.conf_state = snapshot.conf_state.clone();
        self.snapshot_has_state = snapshot.state.is_some();
        self.snapshot = record;
    }

    /// A leader's snapshot replaces the whole log (paper §7).
    pub fn install(&mut self, snapshot: &Snapshot, record: SnapshotRecord) {
        let hard_state = std::mem::take(&mut self.hard_state);
        *self = Self { hard_state, ..Self::start(snapshot, record, 0) };
    }

    /// Drops the entries up to `index`, which a snapshot covers. Returns where the log begins now.
    pub fn compact(&mut self, index: u64) -> Position {
        assert!(index <= self.snapshot.position.index, "compacting to {index}, which no snapshot covers");
        while self.compacted.index < index
            && let Some(dropped) = self.entries.pop_front()
        {
            self.actions -= u64::from(is_action(&dropped));
            self.bytes -= size(&dropped);
            self.compacted = Position { index: dropped.index, term: dropped.term };
        }
        if self.entries.capacity() > 4 * self.entries.len() + 1_024 {
            self.entries.shrink_to(2 * self.entries.len());
        }
        self.compacted
    }

    /// The approximate size of the log in memory.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The same for the entries from `first` on, as far as the log still has them.
    pub fn bytes_from(&self, first: u64) -> u64 {
        self.entries_from(first.max(self.compacted.index + 1)).map(size).sum()
    }

    /// Drops the entries that the snapshot covers, except for those behind `needed` and at most this many entries and
    /// bytes. Returns where the log begins now.
    pub fn compact_behind_snapshot(
        &mut self,
        slack_entries: u64,
        slack_bytes: u64,
        needed: Option<u64>,
    ) -> Position {
        let covered = self.snapshot.position.index;
        let first = covered.saturating_sub(slack_entries).max(self.compacted.index);
        let mut bytes = 0;
        let slack = self.entries_from(first + 1).take_while(|entry| entry.index <= covered);
        let slack: Vec<(u64, u64)> = slack.map(|entry| (entry.index, size(entry))).collect();
        let kept = slack.iter().rev().take_while(|(_, size)| {
            bytes += size;
            bytes <= slack_bytes
        });
        let index = covered - kept.count() as u64;
        self.compact(needed.map_or(index, |needed| index.min(needed.max(self.compacted.index))))
    }

    fn names(&self, member: RaftId) -> bool {
        let ConfState { voters, voters_outgoing, learners, learners_next, .. } = &self.conf_state;
        [voters, voters_outgoing, learners, learners_next].into_iter().any(|ids| ids.contains(&member))
    }
}

/// Whether the entry has an action of the application, or changes timers. A change of the configuration has none, and
/// the sessions of members are nothing that a cluster could lose.
pub fn is_action(entry: &Entry) -> bool {
    entry.entry_type == EntryType::EntryNormal
        && (Context::is_request(&entry.context)
            || !entry.data.is_empty() && !Context::is_system(&entry.context))
}

/// The approximate size of an entry in memory.
pub fn size(entry: &Entry) -> u64 {
    const FIXED_BYTES: usize = 128;
    (FIXED_BYTES + entry.data.len() + entry.context.len()) as u64
}

impl raft_rs::Storage for Log {
    fn initial_state(&self) -> Result<RaftState> {
        let conf_state = self.starts_from.as_ref().unwrap_or(&self.conf_state);
        Ok(RaftState::new(self.hard_state.clone(), conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        if low <= self.compacted.index {
            return Err(Error::Store(StorageError::Compacted));
        }
        assert!(
            high <= self.last_index() + 1,
            "reading up to index {high} of a log that ends at {}",
            self.last_index()
        );
        let first = self.compacted.index + 1;
        let range = (low - first) as usize..(high - first) as usize;
        let max_size = max_size.into();
        let mut entries = match max_size {
            // For a peer that lags far behind, cloning entries that the limit then drops would cost more than sending.
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
            if index < self.compacted.index { StorageError::Compacted } else { StorageError::Unavailable };
        self.term_at(index).ok_or(Error::Store(unknown))
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.compacted.index + 1)
    }

    fn last_index(&self) -> Result<u64> {
        Ok(Log::last_index(self))
    }

    /// The receiver's raft-rs drops a snapshot that does not name the receiver: a learner that was admitted after our
    /// snapshot waits for the next one.
    fn snapshot(&self, request_index: u64, to: u64) -> Result<RaftSnapshot> {
        if self.snapshot.position.index < request_index || !self.names(to) {
            self.is_snapshot_wanted.set(true);
            return Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        }
        Ok(snapshot::to_raft(&self.snapshot, &self.conf_state))
    }
}

#[cfg(test)]
mod tests {
    use raft_rs::Storage;

    use super::*;
    use crate::raft::Incarnation;
    use crate::raft::consensus::entry::{FOUNDING_TERM, Request, RequestId};
    use crate::raft::coordination::{EndReason, SessionEnd, SystemAction};
    use crate::raft::wire::message::Roster;

    fn entry(index: u64, term: u64, data: &'static str) -> Entry {
        Entry { index, term, data: data.into(), ..Entry::default() }
    }

    fn log() -> Log {
        let snapshot = Snapshot::found(&Roster(vec![(Incarnation::from_u128(1), "a".into())]));
        Log::start(&snapshot, snapshot.encode(), FOUNDING_TERM)
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
        log.append([entry(2, 2, ""), entry(3, 2, "1"), entry(4, 2, "2")]);
        log.append([entry(3, 3, "")]);
        assert_eq!((log.last_index(), log.term_at(3), log.term_at(4)), (3, Some(3), None));
        assert!(!log.holds_actions());
    }

    #[test]
    fn reading_is_cut_at_the_size_limit_but_gives_at_least_one_entry() {
        let mut log = log();
        log.append([entry(2, 2, "0123456789"), entry(3, 2, "0123456789"), entry(4, 2, "0123456789")]);
        let read =
            |limit: u64| log.entries(2, 5, Some(limit), GetEntriesContext::empty(false)).unwrap().len();
        assert_eq!((read(0), read(20), read(1000)), (1, 1, 3));
    }

    #[test]
    fn compaction_drops_what_a_snapshot_covers_and_keeps_the_rest() {
        let mut log = log();
        let entries: Vec<Entry> = (2..=9).map(|index| entry(index, 2, "1")).collect();
        log.append(entries);
        let mut snapshot = Snapshot::found(&Roster(vec![(Incarnation::from_u128(1), "a".into())]));
        snapshot.position = Position { index: 7, term: 2 };
        snapshot.state = Some("[1]".into());
        log.keep(&snapshot, snapshot.encode());
        assert_eq!(log.compact(5), Position { index: 5, term: 2 });
        assert_eq!((log.first_index().unwrap(), log.last_index(), log.term_at(5)), (6, 9, Some(2)));
        assert_eq!(log.entries_from(8).map(|entry| entry.index).collect::<Vec<_>>(), [8, 9]);
        assert_eq!(log.entries_from(3).count(), 0);
        // What raft-rs reads: the entry at 5 is gone, although its term is known.
        let read = |low| log.entries(low, 10, None, GetEntriesContext::empty(false)).map(|read| read.len());
        assert_eq!((read(5), read(6)), (Err(Error::Store(StorageError::Compacted)), Ok(4)));
        assert!(log.holds_actions());
        log.install(&snapshot, snapshot.encode());
        assert_eq!((log.first_index().unwrap(), log.last_index(), log.bytes), (8, 7, 0));
    }

    #[test]
    fn compaction_keeps_what_a_member_needs() {
        for (needed, first) in [(None, 8), (Some(3), 4), (Some(9), 8), (Some(0), 2)] {
            let mut log = log();
            let entries: Vec<Entry> = (2..=9).map(|index| entry(index, 2, "1")).collect();
            log.append(entries);
            let mut snapshot = Snapshot::found(&Roster(vec![(Incarnation::from_u128(1), "a".into())]));
            snapshot.position = Position { index: 7, term: 2 };
            log.keep(&snapshot, snapshot.encode());
            assert_eq!(log.bytes_from(5), 5 * size(&entry(5, 2, "1")));
            log.compact_behind_snapshot(0, 0, needed);
            assert_eq!(log.first_index().unwrap(), first, "{needed:?}");
        }
    }

    /// A cluster that holds no action may dissolve for another one.
    #[test]
    fn calls_are_actions_also_if_they_only_change_timers_and_what_a_leader_logs_of_its_own_is_none() {
        let of = |context: Vec<u8>, data| Entry { context: context.into(), ..entry(2, 2, data) };
        let id = RequestId { origin: 1, start: 1, sequence: 1 };
        let call = || Context::Request(Request { id, floor: 1, observed: Vec::new() }).encode();
        let end = SessionEnd { member: 1, id: "a".into(), session: 1, reason: EndReason::Silent };
        let system = || Context::System(SystemAction::SessionEnded(end.clone())).encode();
        assert!(is_action(&of(call(), "1")) && is_action(&of(call(), "")) && is_action(&of(Vec::new(), "1")));
        assert!(!is_action(&of(system(), "1")) && !is_action(&of(system(), "")));
        assert!(!is_action(&of(Context::Check.encode(), "")) && !is_action(&of(Vec::new(), "")));
        let change = Entry { entry_type: EntryType::EntryConfChangeV2, ..of(Vec::new(), "1") };
        assert!(!is_action(&change));
    }

    #[test]
    fn a_snapshot_is_given_only_to_whom_it_names() {
        let log = log();
        assert!(Storage::snapshot(&log, 0, 1).is_ok() && !log.takes_wish_for_snapshot());
        assert!(Storage::snapshot(&log, 0, 2).is_err());
        assert!(log.takes_wish_for_snapshot() && !log.takes_wish_for_snapshot());
    }
}
