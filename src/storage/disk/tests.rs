//! Tests the disk storage on the real file system.

use std::fs;

use super::*;
use crate::raft::{Incarnation, Position};
use crate::storage::testing::model::{Model, append, entry, replica, snapshot, voted};

fn loaded(path: &std::path::Path) -> (Disk, Option<StoredState>) {
    let mut disk = Disk::new(path, "a");
    let recovered = disk.load().unwrap();
    (disk, recovered)
}

#[test]
fn a_directory_is_one_storages_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    // Taken from the first load on, also while there is nothing in it.
    let (mut first, _) = loaded(path);
    let in_use = Err(Error::StorageInUse { path: path.display().to_string() });
    assert_eq!(Disk::new(path, "a").load(), in_use);
    first.save(&[replica(1)]).unwrap();
    assert_eq!(Disk::new(path, "a").load(), in_use);
    first.save(&[append(vec![entry(2, 1, "x")])]).unwrap();
    drop(first);
    let (_, recovered) = loaded(path);
    assert_eq!(recovered.unwrap().entries, [entry(2, 1, "x")]);
}

#[test]
fn a_former_replica_is_set_aside_and_can_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let mut models = Vec::new();
    let (mut disk, _) = loaded(path);
    // The same replica twice: a directory was put back by hand. Neither may take the place of the other.
    for (number, content) in [(1, "first"), (1, "again"), (2, "last")] {
        let writes = [replica(number), append(vec![entry(2, 1, content)])];
        disk.save(&writes).unwrap();
        let mut model = Model::default();
        model.save(&writes);
        models.push(model);
    }
    drop(disk);
    let aside = format!("conflux-{}", Incarnation::from_u128(1));
    let names = [format!("{aside}.redb"), format!("{aside}-2.redb"), CURRENT.to_owned()];
    for (name, model) in names.iter().zip(models) {
        let other = tempfile::tempdir().unwrap();
        fs::copy(path.join(name), other.path().join(CURRENT)).unwrap();
        assert_eq!(Model::of(loaded(other.path()).1), model, "{name}");
    }
}

#[test]
fn a_write_that_cannot_follow_what_is_kept_changes_nothing_and_is_the_last() {
    let directory = tempfile::tempdir().unwrap();
    let mut disk = loaded(directory.path()).0;
    let error = disk.save(&[append(vec![entry(2, 1, "x")])]).unwrap_err();
    assert_eq!(error.code(), "ERR_CONFLUX_STORAGE");
    assert_eq!(disk.save(&[replica(1)]), Err(error));
    drop(disk);

    let mut disk = loaded(directory.path()).0;
    disk.save(&[replica(1)]).unwrap();
    let vote = Write { hard_state: Some(voted(9, 9, 1)), ..Write::default() };
    assert!(disk.save(&[vote.clone(), append(vec![entry(3, 1, "behind a gap")])]).is_err());
    assert!(disk.save(&[vote]).is_err());
    drop(disk);
    let kept = loaded(directory.path()).1.unwrap();
    assert_eq!((kept.entries, kept.hard_state), (vec![], voted(1, 0, 1)));
}

#[test]
fn a_path_that_cannot_be_a_directory_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "content").unwrap();
    let error = Disk::new(&path, "a").load().unwrap_err();
    assert_eq!(error.code(), "ERR_CONFLUX_STORAGE");
    assert!(error.to_string().starts_with(&format!("opening the storage `{}`: ", path.display())), "{error}");
}

/// Parts of 1 MiB: at their edges nothing is lost or doubled.
#[test]
fn a_snapshot_of_any_size_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let part = (1 << 20) - (1 << 10);
    for (index, length) in (2..).zip([0, 1, part - 1, part, part + 1, 3 * part, 5]) {
        let record = snapshot(Position { index, term: 1 }, length);
        let (mut disk, recovered) = loaded(directory.path());
        if recovered.is_none() {
            disk.save(&[replica(1)]).unwrap();
        }
        let replaced = Write {
            drops_entries: true,
            compacts_to: Some(record.position),
            snapshot: Some(record.clone()),
            ..Write::default()
        };
        disk.save(&[replaced]).unwrap();
        drop(disk);
        // Compared without printing: a failure must not print megabytes.
        assert!(loaded(directory.path()).1.unwrap().snapshot == record, "{length} bytes");
    }
}
