//! The disk of a simulated node: what was written is durable only after a sync, and a crash may leave any
//! prefix of what was not.

use std::collections::VecDeque;

use raft_rs::eraftpb::{Entry, HardState};

use super::bugs::{Bug, is_injected};
use crate::raft::{Position, ReplicaRecord, SnapshotRecord, Start, StoredState, Write};

/// What is durable, and what is in flight.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    durable: Kept,
    unsynced: VecDeque<(u64, Write)>,
    /// It takes writes and does not answer.
    pub hangs: bool,
}

#[derive(Clone, Debug, Default)]
struct Kept {
    replica: Option<ReplicaRecord>,
    start: u64,
    starts: Vec<Start>,
    snapshot: Option<SnapshotRecord>,
    compacted: Position,
    entries: Vec<Entry>,
    hard_state: HardState,
}

impl Disk {
    pub fn write(&mut self, number: u64, write: Write) {
        self.unsynced.push_back((number, write));
    }

    /// Nothing is in flight.
    pub fn is_idle(&self) -> bool {
        self.unsynced.is_empty()
    }

    /// Makes everything durable; the number of the last write, if there is any.
    pub fn sync(&mut self) -> Option<u64> {
        if self.hangs {
            return None;
        }
        let mut last = None;
        for (number, write) in self.unsynced.drain(..) {
            self.durable.carry_out(write);
            last = Some(number);
        }
        last
    }

    /// The machine loses its power: of what was not synced, `kept` writes happen to be there.
    pub fn crash(mut self, kept: usize) -> Self {
        for (_, write) in self.unsynced.drain(..).take(kept) {
            self.durable.carry_out(write);
        }
        Self { durable: self.durable, unsynced: VecDeque::new(), hangs: false }
    }

    /// By a process with this nonce.
    pub fn load(&mut self, nonce: u64) -> Option<StoredState> {
        let kept = &mut self.durable;
        kept.start += 1;
        kept.starts.push(Start { number: kept.start, nonce });
        if is_injected(Bug::ReturnsWithEmptyLog)
            && let Some(snapshot) = &kept.snapshot
        {
            kept.entries.clear();
            kept.compacted = snapshot.position;
            let Position { index: commit, term } = snapshot.position;
            kept.hard_state = HardState { term, commit, ..HardState::default() };
        }
        Some(StoredState {
            replica: kept.replica?,
            start: kept.start,
            starts: kept.starts.clone(),
            snapshot: kept.snapshot.clone()?,
            compacted: kept.compacted,
            entries: kept.entries.clone(),
            hard_state: kept.hard_state.clone(),
        })
    }
}

impl Kept {
    fn carry_out(&mut self, write: Write) {
        if let Some(replica) = write.replica {
            *self = Self {
                replica: Some(replica),
                start: self.start,
                starts: self.starts.last().copied().into_iter().collect(),
                ..Self::default()
            };
        }
        if let Some(record) = write.record {
            self.replica = Some(record);
        }
        if let Some(snapshot) = write.snapshot {
            self.snapshot = Some(snapshot);
        }
        if write.drops_entries {
            self.entries.clear();
        }
        if let Some(first) = write.entries.first() {
            self.entries.retain(|entry| entry.index < first.index);
        }
        self.entries.extend(write.entries);
        if let Some(position) = write.compacts_to {
            self.entries.retain(|entry| entry.index > position.index);
            self.compacted = position;
        }
        if let Some(hard_state) = write.hard_state {
            self.hard_state = hard_state;
        }
    }
}
