//! Measures the disk storage: a save of one entry and of many, and a load.
//!
//! `cargo bench --bench storage_save -- [directory]`; a new directory in it is used, and removed. A disk without a
//! battery-backed cache, or a real one at all, shows its own figures: what is measured is one sync.

use std::path::Path;
use std::time::{Duration, Instant};

use conflux::{
    raft::{ClusterUuid, Incarnation, Position, ReplicaRecord, SnapshotRecord, Write},
    storage::{Storage, disk::Disk},
};
use raft_rs::eraftpb::{Entry, HardState};

const SAVES: u64 = 2_000;
const BATCHES: u64 = 100;
const BATCH_ENTRIES: u64 = 1_000;
const LOADED_ENTRIES: u64 = 10_000;
const LOADED_SNAPSHOT_BYTES: usize = 16 << 20;
const ACTION: &[u8; 100] = &[b'x'; 100];

fn main() {
    let below = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or(".".into());
    let directory = tempfile::tempdir_in(below).expect("the directory can be written to");
    let path = directory.path();
    report("a save of one entry", saves(&path.join("one"), SAVES, 1));
    report("a save of 1,000 entries", saves(&path.join("many"), BATCHES, BATCH_ENTRIES));
    report("a load of 10,000 entries and 16 MiB", loads(&path.join("load")));
}

fn saves(path: &Path, count: u64, entries: u64) -> Vec<Duration> {
    let mut disk = opened(path);
    let mut next = 2;
    let timed = |_| {
        let write = Write { entries: (next..next + entries).map(entry).collect(), ..Write::default() };
        next += entries;
        let begin = Instant::now();
        disk.save(&[write]).expect("the disk works");
        begin.elapsed()
    };
    (0..count).map(timed).collect()
}

fn loads(path: &Path) -> Vec<Duration> {
    let mut disk = opened(path);
    let last = LOADED_ENTRIES + 1;
    let snapshot = SnapshotRecord { position: position(2), image: vec![7; LOADED_SNAPSHOT_BYTES].into() };
    disk.save(&[Write { entries: (2..=last).map(entry).collect(), ..Write::default() }])
        .expect("the disk works");
    disk.save(&[Write { snapshot: Some(snapshot), ..Write::default() }]).expect("the disk works");
    drop(disk);
    let timed = |_| {
        let mut disk = Disk::new(path, "a");
        let begin = Instant::now();
        let recovered = disk.load().expect("the disk works").expect("there is something in it");
        assert_eq!(recovered.entries.len() as u64, LOADED_ENTRIES);
        begin.elapsed()
    };
    (0..20).map(timed).collect()
}

/// A storage with a replica in it.
fn opened(path: &Path) -> Disk {
    let mut disk = Disk::new(path, "a");
    disk.load().expect("the disk works");
    let incarnation = Incarnation::from_u128(1);
    let replica = ReplicaRecord { incarnation, cluster: ClusterUuid::NONE, recovery_vote: None };
    let first = Write {
        replica: Some(replica),
        snapshot: Some(SnapshotRecord { position: position(1), image: vec![0; 100].into() }),
        compacts_to: Some(position(1)),
        hard_state: Some(HardState { term: 1, commit: 1, ..HardState::default() }),
        ..Write::default()
    };
    disk.save(&[first]).expect("the disk works");
    disk
}

fn entry(index: u64) -> Entry {
    Entry { index, term: 1, data: ACTION.as_slice().into(), ..Entry::default() }
}

fn position(index: u64) -> Position {
    Position { index, term: 1 }
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_micros();
    println!("{what}: p50 {} µs, p90 {} µs, p99 {} µs", at(50), at(90), at(99));
}
