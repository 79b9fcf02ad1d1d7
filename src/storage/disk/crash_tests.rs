//! Cuts the power, or fails the device, at every single operation of a disk storage's life.
//!
//! It runs over `testing::folder`, where what was not synced is partly lost and partly torn. `CONFLUX_CRASH_SEEDS` sets
//! how often each point is tried.

use super::*;
use crate::raft::Incarnation;
use crate::storage::testing::folder::{Fails, Machine};
use crate::storage::testing::model::{Model, append, entry, life, replica};

fn seeds() -> u64 {
    std::env::var("CONFLUX_CRASH_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

/// What a run left behind.
struct Run {
    /// What the last save that succeeded amounts to, and what the one that failed would have.
    saved: Model,
    attempted: Model,
    /// The highest start number that was given out.
    start: u64,
    has_failed: bool,
}

impl Run {
    fn allows(&self, found: &Model) -> bool {
        *found == self.saved || *found == self.attempted
    }
}

/// The whole life, reopened at intervals, until something fails.
fn live(machine: &Machine) -> Run {
    let mut run = Run { saved: Model::default(), attempted: Model::default(), start: 0, has_failed: false };
    for session in life().chunks(3) {
        let mut disk = Disk::over(machine.folder(), "a");
        match disk.load() {
            Ok(recovered) => {
                let start = recovered.as_ref().map_or(FIRST_START, |recovered| recovered.start);
                assert!(run.start < start, "start {start} after {}", run.start);
                run.start = start;
                assert_eq!(Model::of(recovered), run.saved);
            }
            Err(_) => return Run { has_failed: true, ..run },
        }
        for writes in session {
            run.attempted.save(writes);
            if let Err(first) = disk.save(writes) {
                // The device works again, perhaps; nothing may be tried on it.
                assert_eq!(disk.save(writes), Err(first.clone()));
                assert_eq!(disk.load(), Err(first));
                return Run { has_failed: true, ..run };
            }
            run.saved = run.attempted.clone();
        }
    }
    run
}

/// Opens the storage after a crash: it holds what the run allows, opened once or twice, and it can be written to.
fn find(machine: &Machine, run: &Run, context: &str) {
    let open = || {
        let mut disk = Disk::over(machine.folder(), "a");
        let recovered = disk.load().unwrap_or_else(|error| panic!("{context}: {error}"));
        let start = recovered.as_ref().map(|recovered| recovered.start);
        assert!(
            start.is_none_or(|start| run.start < start),
            "{context}: start {start:?} after {}",
            run.start
        );
        (disk, Model::of(recovered))
    };
    let (disk, found) = open();
    assert!(run.allows(&found), "{context}: found {found:?}\nsaved {:?}", run.saved);
    // The files of former replicas stay.
    let replicas = found.0.as_ref().map_or(0, |recovered| recovered.replica.incarnation.raft_id());
    for former in 1..replicas {
        let name = format!("conflux-{}.redb", Incarnation::from_u128(former.into()));
        assert!(machine.names().contains(&name), "{context}: {name} is not among {:?}", machine.names());
    }
    drop(disk);
    let (mut disk, again) = open();
    assert_eq!(found, again, "{context}");
    let writes = [replica(99), append(vec![entry(2, 1, "of another life")])];
    disk.save(&writes).unwrap_or_else(|error| panic!("{context}: {error}"));
    let mut model = found;
    model.save(&writes);
    drop(disk);
    assert_eq!(open().1, model, "{context}");
}

/// How many operations the life takes.
fn length() -> u64 {
    let machine = Machine::default();
    assert!(!live(&machine).has_failed);
    machine.operations()
}

#[test]
fn a_crash_at_any_operation_leaves_the_last_save_or_the_one_in_progress() {
    let length = length();
    assert!(length > 100, "the life has {length} operations only");
    for operation in 0..length {
        for seed in 0..seeds() {
            let machine = Machine::default();
            machine.fail(Fails::From(operation));
            let run = live(&machine);
            machine.crash(seed + operation);
            // The power goes again while the storage is being opened.
            machine.fail(Fails::From((seed * 31 + operation) % 12));
            drop(Disk::over(machine.folder(), "a").load());
            machine.crash(seed ^ operation);
            find(&machine, &run, &format!("operation {operation}, seed {seed}"));
        }
    }
}

#[test]
fn a_fault_of_the_device_at_any_operation_ends_the_storage_and_loses_nothing() {
    for operation in 0..length() {
        let machine = Machine::default();
        machine.fail(Fails::At(operation));
        let run = live(&machine);
        // A fault while a file is closed does no harm: its content is durable already.
        machine.fail(Fails::Never);
        find(&machine, &run, &format!("operation {operation}"));
    }
}
