//! The contract of a storage, as tests that run over each implementation.

use tempfile::TempDir;

use super::Storage;
use super::disk::Disk;
use super::memory::Memory;
use super::testing::model::{Model, append, entry, life, replica};

/// A place for the storage under test: opening it again gives the storage of the same node.
trait Place {
    type Storage: Storage;

    fn open(&self) -> Self::Storage;
}

struct Nowhere;

impl Place for Nowhere {
    type Storage = Memory;

    fn open(&self) -> Memory {
        Memory
    }
}

impl Place for TempDir {
    type Storage = Disk;

    fn open(&self) -> Disk {
        Disk::new(self.path(), "a")
    }
}

fn a_new_storage_holds_nothing(place: &impl Place) {
    assert_eq!(place.open().load().unwrap(), None);
    assert_eq!(place.open().load().unwrap(), None);
}

fn what_was_saved_comes_back_if_the_storage_is_durable(place: &impl Place) {
    let mut model = Model::default();
    for (number, writes) in life().iter().enumerate() {
        let mut storage = place.open();
        let kept = if storage.is_durable() { model.clone() } else { Model::default() };
        assert_eq!(Model::of(storage.load().unwrap()), kept, "before save {number}");
        storage.save(writes).unwrap();
        model.save(writes);
    }
}

fn saves_follow_one_another_without_opening_again(place: &impl Place) {
    let mut model = Model::default();
    let mut storage = place.open();
    storage.load().unwrap();
    for writes in &life() {
        storage.save(writes).unwrap();
        model.save(writes);
    }
    drop(storage);
    let mut storage = place.open();
    let kept = if storage.is_durable() { model } else { Model::default() };
    assert_eq!(Model::of(storage.load().unwrap()), kept);
}

fn no_two_starts_have_one_number(place: &impl Place) {
    let mut storage = place.open();
    storage.load().unwrap();
    storage.save(&[replica(1)]).unwrap();
    let is_durable = storage.is_durable();
    drop(storage);
    // The first start is the one that had nothing to load.
    let mut starts = vec![1];
    for _ in 0..3 {
        starts.extend(place.open().load().unwrap().map(|recovered| recovered.start));
    }
    // A replica that was taken later by the same process belongs to the same start.
    let mut storage = place.open();
    starts.extend(storage.load().unwrap().map(|recovered| recovered.start));
    storage.save(&[replica(2), append(vec![entry(2, 1, "x")])]).unwrap();
    drop(storage);
    starts.extend(place.open().load().unwrap().map(|recovered| recovered.start));
    assert!(starts.is_sorted_by(|one, next| one < next), "{starts:?}");
    assert_eq!(starts.len(), if is_durable { 6 } else { 1 });
}

/// Each clause of the contract, in its own place.
macro_rules! contract {
    ($($clause:ident),* $(,)?) => {
        mod memory {
            $(#[test]
            fn $clause() {
                super::$clause(&super::Nowhere);
            })*
        }

        mod disk {
            $(#[test]
            fn $clause() {
                super::$clause(&tempfile::tempdir().unwrap());
            })*
        }
    };
}

contract!(
    a_new_storage_holds_nothing,
    what_was_saved_comes_back_if_the_storage_is_durable,
    saves_follow_one_another_without_opening_again,
    no_two_starts_have_one_number,
);
