//! A minimal storage: the result of a list of writes, and lists of writes to try.
//!
//! Used by the contract and the crash tests. It shares only types with the implementations.

use bytes::Bytes;
use raft_rs::eraftpb::{Entry, HardState};

use crate::raft::{
    ClusterUuid, Incarnation, Position, RecoveryVote, ReplicaRecord, SnapshotRecord, StoredState, Write,
};

/// What a storage must give back: everything but the starts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model(pub Option<StoredState>);

impl Model {
    /// Of what a storage gave back.
    pub fn of(recovered: Option<StoredState>) -> Self {
        Self(recovered.map(|recovered| StoredState { start: 0, starts: Vec::new(), ..recovered }))
    }

    pub fn save(&mut self, writes: &[Write]) {
        for write in writes {
            if let Some(replica) = write.replica {
                self.0 = Some(StoredState {
                    replica,
                    start: 0,
                    starts: Vec::new(),
                    snapshot: SnapshotRecord { position: Position::default(), image: Bytes::new() },
                    compacted: Position::default(),
                    entries: Vec::new(),
                    hard_state: HardState::default(),
                });
            }
            carry_out(self.0.as_mut().expect("the first write begins a replica"), write);
        }
    }
}

fn carry_out(kept: &mut StoredState, write: &Write) {
    if let Some(record) = write.record {
        kept.replica = record;
    }
    if let Some(snapshot) = &write.snapshot {
        kept.snapshot = snapshot.clone();
    }
    if write.drops_entries {
        kept.entries.clear();
        kept.compacted = kept.snapshot.position;
    }
    if let Some(first) = write.entries.first() {
        kept.entries.retain(|entry| entry.index < first.index);
        kept.entries.extend(write.entries.iter().cloned());
    }
    if let Some(position) = write.compacts_to {
        kept.entries.retain(|entry| entry.index > position.index);
        kept.compacted = position;
    }
    if let Some(hard_state) = &write.hard_state {
        kept.hard_state = hard_state.clone();
    }
}

pub fn entry(index: u64, term: u64, data: &str) -> Entry {
    Entry { index, term, data: data.to_owned().into(), ..Entry::default() }
}

/// What a member writes first.
pub fn replica(number: u128) -> Write {
    let incarnation = Incarnation::from_u128(number);
    let position = Position { index: 1, term: 1 };
    Write {
        replica: Some(ReplicaRecord::new(incarnation, ClusterUuid::of_roster([incarnation].into_iter()))),
        snapshot: Some(snapshot(position, 100)),
        compacts_to: Some(position),
        hard_state: Some(voted(1, 0, 1)),
        ..Write::default()
    }
}

fn promised(number: u128, is_promised: bool) -> ReplicaRecord {
    let incarnation = Incarnation::from_u128(number);
    let cluster = ClusterUuid::of_roster([incarnation].into_iter());
    let survivor = Incarnation::from_u128(50);
    let recovery_vote = RecoveryVote { survivor, cluster: ClusterUuid::of_epoch(cluster, survivor) };
    ReplicaRecord { incarnation, cluster, recovery_vote: Some(recovery_vote).filter(|_| is_promised) }
}

/// Bytes that differ with the position and along the image.
pub fn snapshot(position: Position, length: usize) -> SnapshotRecord {
    let image = (0..length as u64).map(|byte| (byte.wrapping_mul(31) >> 3 ^ position.index) as u8).collect();
    SnapshotRecord { position, image }
}

pub fn voted(term: u64, vote: u64, commit: u64) -> HardState {
    HardState { term, vote, commit, ..HardState::default() }
}

pub fn append(entries: Vec<Entry>) -> Write {
    Write { entries, ..Write::default() }
}

/// The life of a member, each step one save: appends, votes, entries of a deposed leader replaced, a snapshot of its
/// own, one of its leader's, saves of several writes, and a second replica in the same directory.
pub fn life() -> Vec<Vec<Write>> {
    let at = |index, term| Position { index, term };
    vec![
        vec![replica(1)],
        vec![Write { hard_state: Some(voted(2, 7, 1)), ..Write::default() }],
        vec![append(vec![entry(2, 2, ""), entry(3, 2, "one"), entry(4, 2, "two")])],
        vec![
            append(vec![entry(5, 2, "three")]),
            Write {
                entries: vec![entry(6, 2, "four")],
                hard_state: Some(voted(2, 7, 4)),
                ..Write::default()
            },
        ],
        // Another leader replaces two entries by one.
        vec![Write {
            entries: vec![entry(5, 3, "other")],
            hard_state: Some(voted(3, 0, 4)),
            ..Write::default()
        }],
        vec![Write { hard_state: Some(voted(4, 9, 5)), ..Write::default() }],
        vec![Write {
            snapshot: Some(snapshot(at(5, 3), 1_060_000)),
            compacts_to: Some(at(3, 2)),
            ..Write::default()
        }],
        vec![append(vec![entry(6, 4, &"long ".repeat(2_000))])],
        // The leader's snapshot does not continue the log.
        vec![Write {
            snapshot: Some(snapshot(at(20, 5), 5_000)),
            drops_entries: true,
            compacts_to: Some(at(20, 5)),
            hard_state: Some(voted(5, 0, 20)),
            ..Write::default()
        }],
        vec![append(vec![entry(21, 5, "after")]), append(vec![entry(22, 5, "and after")])],
        // It promises its vote to another, and takes that back.
        vec![Write { record: Some(promised(1, true)), ..Write::default() }],
        vec![Write { record: Some(promised(1, false)), ..Write::default() }],
        vec![replica(2)],
        vec![append(vec![entry(2, 1, "of the second replica")])],
        // What precedes a replica in one save is the former replica's.
        vec![append(vec![entry(3, 1, "never kept")]), replica(3), append(vec![entry(2, 1, "of the third")])],
    ]
}
