//! One replica in one redb file: executes writes, and reads the content back or reports its faults.
//!
//! Called by `mod.rs`. Every commit is synced once. Every opening verifies every page that counts, so that only data
//! that was written is read, and `header.rs` prevents that a durable commit is taken back.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use raft_rs::eraftpb::Entry;
use redb::{
    Builder, Durability, ReadTransaction, ReadableDatabase, ReadableTable, StorageBackend, Table,
    TableDefinition,
};

use super::fault::{Fault, said_by};
use super::header::Guarded;
use super::record::{self, FORMAT, Head, Place};
use crate::crash;
use crate::raft::{Position, ReplicaRecord, SnapshotRecord, Start, StoredState, Write};

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
const SNAPSHOT: TableDefinition<u64, &[u8]> = TableDefinition::new("snapshot");

const FORMAT_KEY: &str = "format";
const HEAD_KEY: &str = "head";
const NODE_KEY: &str = "node";
const STARTS_KEY: &str = "starts";

/// A snapshot is kept in parts of this size: redb gives a value a page of the next power of two, so that one value of
/// 65 MiB would take 128, and this leaves room in a page of 1 MiB for what redb adds.
const PART_BYTES: usize = (1 << 20) - (1 << 10);

/// The core keeps the log in memory and reads nothing after the start.
const CACHE_BYTES: usize = 16 << 20;

/// redb keeps the space of removed data. At a start, a file is shrunk if it is more than this many times as large as
/// its content, and larger than the minimum below: while a node runs, its writes would wait for that.
const FILE_FACTOR_MAX: u64 = 3;
const FILE_BYTES_KEPT: u64 = 16 << 20;

/// The open file of a replica.
#[derive(Debug)]
pub struct Database {
    redb: redb::Database,
    head: Head,
}

/// The node that a file belongs to, and the process that opens it.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    pub id: &'a str,
    pub nonce: u64,
}

impl Database {
    /// Fills an empty file with a replica's first writes.
    pub fn create(
        file: Box<dyn StorageBackend>,
        owner: Owner,
        replica: ReplicaRecord,
        start: u64,
        writes: &[Write],
    ) -> Result<Self, Fault> {
        let redb = builder().create_with_backend(Guarded::create(file))?;
        let mut database = Self { redb, head: Head::new(replica, start) };
        let starts = [Start { number: start, nonce: owner.nonce }];
        database.commit(writes, Some((owner.id, &starts)))?;
        Ok(database)
    }

    /// Opens a file and returns its content; the start number in it is already raised, and durable.
    ///
    /// redb repairs what a crash left behind: its list of free pages, on which no content depends, and a commit that
    /// was not durable yet, which is taken back. What counts is in pages under checksums: where one is damaged redb
    /// gives an error, or panics, or tries to take back a commit that is noted as durable, which `Guarded` refuses.
    pub fn open(file: Box<dyn StorageBackend>, owner: Owner) -> Result<(Self, StoredState), Fault> {
        let file_bytes = file.len()?;
        let (file, commits) = Guarded::check(file)?.map_err(Fault::damage)?;
        let opened = catch_unwind(AssertUnwindSafe(move || -> Result<_, Fault> {
            let redb = builder().create_with_backend(file)?;
            let recovered = read(&redb.begin_read()?, owner.id)?;
            Ok((redb, recovered))
        }));
        // redb verifies what it reads, but not before every use: a panic therefore means damage too.
        let (redb, (mut head, mut recovered)) = opened.unwrap_or_else(|panic| {
            Err(Fault::damage(format!("the database cannot be read: {}", said_by(&*panic))))
        })?;
        commits.are_verified();
        head.start += 1;
        recovered.start = head.start;
        record::note_start(&mut recovered.starts, Start { number: head.start, nonce: owner.nonce });
        let mut database = Self { redb, head };
        crash::point("before-start");
        // A file without an id is from an earlier format: it becomes this node's.
        database.commit(&[], Some((owner.id, &recovered.starts)))?;
        crash::point("after-start");
        if file_bytes > FILE_BYTES_KEPT + FILE_FACTOR_MAX * needed_bytes(&recovered) {
            database.redb.compact()?;
        }
        Ok((database, recovered))
    }

    pub fn replica(&self) -> ReplicaRecord {
        self.head.replica
    }

    /// Carries out all the writes, or none.
    pub fn save(&mut self, writes: &[Write]) -> Result<(), Fault> {
        self.commit(writes, None)
    }

    pub fn close(self) -> Result<(), Fault> {
        Ok(self.redb.close()?)
    }

    /// The first commit of a process stores the node's id, and the start.
    fn commit(&mut self, writes: &[Write], first_of: Option<(&str, &[Start])>) -> Result<(), Fault> {
        let mut transaction = self.redb.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let mut log = transaction.open_table(LOG)?;
            let mut snapshot = transaction.open_table(SNAPSHOT)?;
            for write in writes {
                self.head.carry_out(write, &mut log, &mut snapshot)?;
            }
            let mut meta = transaction.open_table(META)?;
            if let Some((id, starts)) = first_of {
                let format = record::seal(Place::Format, &FORMAT.to_le_bytes());
                meta.insert(FORMAT_KEY, format.as_slice())?;
                meta.insert(NODE_KEY, record::seal(Place::Node, id.as_bytes()).as_slice())?;
                let starts = record::seal(Place::Starts, &record::encode_starts(starts));
                meta.insert(STARTS_KEY, starts.as_slice())?;
            }
            meta.insert(HEAD_KEY, record::seal(Place::Head, &self.head.encode()).as_slice())?;
        }
        Ok(transaction.commit()?)
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

impl Head {
    /// In the order of the write's fields.
    fn carry_out(
        &mut self,
        write: &Write,
        log: &mut Table<u64, &'static [u8]>,
        snapshot: &mut Table<u64, &'static [u8]>,
    ) -> Result<(), Fault> {
        if let Some(record) = write.record {
            self.replica = record;
        }
        if let Some(SnapshotRecord { position, image }) = &write.snapshot {
            crash::point("before-snapshot");
            snapshot.retain(|_, _| false)?;
            crash::point("within-snapshot");
            for (number, part) in (0..).zip(image.chunks(PART_BYTES)) {
                snapshot.insert(number, record::seal(Place::Part(number, *position), part).as_slice())?;
            }
            (self.snapshot, self.snapshot_bytes) = (*position, image.len() as u64);
            crash::point("after-snapshot");
        }
        if write.drops_entries {
            log.retain(|_, _| false)?;
            self.compacted = self.snapshot;
        }
        if let Some(first) = write.entries.first() {
            crash::point("before-entries");
            let last_index = last_index(log)?.unwrap_or(self.compacted.index);
            assert!(
                self.compacted.index < first.index && first.index <= last_index + 1,
                "appending index {} to a log of {}..={last_index}",
                first.index,
                self.compacted.index + 1,
            );
            if first.index <= last_index {
                log.retain_in(first.index.., |_, _| false)?;
            }
            for entry in &write.entries {
                let value = record::seal(Place::Entry(entry.index), &record::encode_entry(entry));
                log.insert(entry.index, value.as_slice())?;
            }
            crash::point("after-entries");
        }
        if let Some(position) = write.compacts_to {
            crash::point("before-truncation");
            log.retain_in(..=position.index, |_, _| false)?;
            self.compacted = position;
            crash::point("after-truncation");
        }
        if let Some(hard_state) = &write.hard_state {
            crash::point("before-hard-state");
            self.set_hard_state(hard_state);
            crash::point("after-hard-state");
        }
        Ok(())
    }
}

/// The approximate size of the content in a file without gaps.
fn needed_bytes(recovered: &StoredState) -> u64 {
    let entries = recovered.entries.iter().map(|entry| entry.data.len() + entry.context.len());
    (recovered.snapshot.image.len() + entries.sum::<usize>()) as u64
}

fn last_index(log: &Table<u64, &'static [u8]>) -> Result<Option<u64>, Fault> {
    Ok(log.last()?.map(|(index, _)| index.value()))
}

/// What the file holds, with every checksum checked.
fn read(transaction: &ReadTransaction, id: &str) -> Result<(Head, StoredState), Fault> {
    let meta = transaction.open_table(META)?;
    let content = |key: &str, place| {
        let value = meta.get(key)?.ok_or_else(|| Fault::damage(format!("`{key}` is missing")))?;
        let content = record::open(place, value.value());
        content.map(<[u8]>::to_vec).ok_or_else(|| Fault::damage(format!("`{key}` fails its checksum")))
    };
    let format = content(FORMAT_KEY, Place::Format)?;
    if format != FORMAT.to_le_bytes() {
        return Err(Fault::Foreign(format!("its format is {format:02x?}, this version reads {FORMAT}")));
    }
    if meta.get(NODE_KEY)?.is_some()
        && let node = content(NODE_KEY, Place::Node)?
        && node != id.as_bytes()
    {
        let theirs = String::from_utf8_lossy(&node).into_owned();
        return Err(Fault::OtherNode { theirs, ours: id.into() });
    }
    let head = Head::decode(&content(HEAD_KEY, Place::Head)?)
        .ok_or_else(|| Fault::damage("`head` cannot be read".into()))?;
    let starts = match meta.get(STARTS_KEY)?.is_some() {
        true => record::decode_starts(&content(STARTS_KEY, Place::Starts)?)
            .ok_or_else(|| Fault::damage("`starts` cannot be read".into()))?,
        // The file is from a version that did not store them.
        false => Vec::new(),
    };
    let recovered = StoredState {
        replica: head.replica,
        start: head.start,
        starts,
        snapshot: read_snapshot(transaction, &head)?,
        compacted: head.compacted,
        entries: read_entries(transaction)?,
        hard_state: head.hard_state(),
    };
    check(&recovered).map_err(Fault::damage)?;
    Ok((head, recovered))
}

fn read_snapshot(transaction: &ReadTransaction, head: &Head) -> Result<SnapshotRecord, Fault> {
    let mut image = Vec::new();
    for (number, row) in (0..).zip(transaction.open_table(SNAPSHOT)?.iter()?) {
        let (key, value) = row?;
        let part = record::open(Place::Part(number, head.snapshot), value.value());
        let part = part.filter(|_| key.value() == number);
        image.extend_from_slice(
            part.ok_or_else(|| Fault::damage(format!("part {number} of the snapshot fails its checksum")))?,
        );
    }
    if image.len() as u64 != head.snapshot_bytes {
        let (is, was) = (image.len(), head.snapshot_bytes);
        return Err(Fault::damage(format!("the snapshot has {is} bytes of {was}")));
    }
    Ok(SnapshotRecord { position: head.snapshot, image: Bytes::from(image) })
}

fn read_entries(transaction: &ReadTransaction) -> Result<Vec<Entry>, Fault> {
    let mut entries = Vec::new();
    for row in transaction.open_table(LOG)?.iter()? {
        let (key, value) = row?;
        let index = key.value();
        let entry = record::open(Place::Entry(index), value.value())
            .and_then(record::decode_entry)
            .filter(|entry| entry.index == index)
            .ok_or_else(|| Fault::damage(format!("entry {index} fails its checksum")))?;
        entries.push(entry);
    }
    Ok(entries)
}

/// Verifies what is true of every log that a node writes, even if all checksums match. The commit index may be behind
/// the snapshot: it is saved only along with something else.
fn check(recovered: &StoredState) -> Result<(), String> {
    let StoredState { snapshot: SnapshotRecord { position: snapshot, .. }, hard_state, .. } = recovered;
    let mut last = recovered.compacted;
    for entry in &recovered.entries {
        if entry.index != last.index + 1 {
            return Err(format!("entry {} follows entry {}", entry.index, last.index));
        }
        if entry.term < last.term {
            return Err(format!("entry {} is of term {}, after {}", entry.index, entry.term, last.term));
        }
        if entry.index == snapshot.index && entry.term != snapshot.term {
            return Err(format!(
                "entry {} is of term {}, its snapshot of {}",
                entry.index, entry.term, snapshot.term
            ));
        }
        last = Position { index: entry.index, term: entry.term };
    }
    if snapshot.index < recovered.compacted.index || last.index < snapshot.index {
        let first = recovered.compacted.index + 1;
        return Err(format!("the snapshot is at index {}, the log {first}..={}", snapshot.index, last.index));
    }
    if hard_state.term < last.term {
        return Err(format!("the term is {}, the last entry's {}", hard_state.term, last.term));
    }
    if last.index < hard_state.commit {
        return Err(format!("the commit index is {}, the last {}", hard_state.commit, last.index));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use redb::backends::FileBackend;

    use super::*;
    use crate::raft::{ClusterUuid, Incarnation};
    use crate::storage::testing::model::{entry, voted};

    fn recovered() -> StoredState {
        StoredState {
            replica: ReplicaRecord::new(Incarnation::from_u128(1), ClusterUuid::NONE),
            start: 2,
            starts: Vec::new(),
            snapshot: SnapshotRecord { position: Position { index: 5, term: 2 }, image: Bytes::new() },
            compacted: Position { index: 3, term: 1 },
            entries: vec![entry(4, 1, ""), entry(5, 2, ""), entry(6, 2, ""), entry(7, 4, "")],
            hard_state: voted(4, 1, 6),
        }
    }

    /// Each is a log that no replica writes; behind good checksums, so that only its sense betrays it.
    #[test]
    fn a_log_that_makes_no_sense_is_refused() {
        assert_eq!(check(&recovered()), Ok(()));
        type Spoil = fn(&mut StoredState);
        let spoilt: [(&str, Spoil); 9] = [
            ("a gap behind what is compacted", |kept| drop(kept.entries.remove(0))),
            ("a gap", |kept| drop(kept.entries.remove(2))),
            ("an entry twice", |kept| kept.entries.insert(1, entry(4, 1, ""))),
            ("a term that falls", |kept| kept.entries[3].term = 1),
            ("a term below what is compacted", |kept| kept.compacted.term = 2),
            ("a snapshot of another log", |kept| kept.snapshot.position.term = 1),
            ("a snapshot that does not reach the log", |kept| kept.snapshot.position = Position::default()),
            ("a term that was forgotten", |kept| kept.hard_state.term = 3),
            ("entries that were forgotten", |kept| kept.hard_state.commit = 8),
        ];
        for (what, spoil) in spoilt {
            let mut kept = recovered();
            spoil(&mut kept);
            assert!(check(&kept).is_err(), "{what}");
        }
        let mut kept = recovered();
        kept.entries.truncate(1);
        assert!(check(&kept).is_err(), "a snapshot that is ahead of the log");
    }

    #[test]
    fn the_commit_index_may_be_behind_the_snapshot() {
        let mut kept = recovered();
        kept.hard_state.commit = 3;
        assert_eq!(check(&kept), Ok(()));
    }

    #[test]
    fn a_file_of_a_later_format_is_foreign_and_not_damaged() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let file = || Box::new(FileBackend::new(path.reopen().unwrap()).unwrap());
        let redb = builder().create_with_backend(Guarded::create(file())).unwrap();
        let transaction = redb.begin_write().unwrap();
        let later = record::seal(Place::Format, &(FORMAT + 1).to_le_bytes());
        transaction.open_table(META).unwrap().insert(FORMAT_KEY, later.as_slice()).unwrap();
        transaction.commit().unwrap();
        redb.close().unwrap();
        assert!(matches!(Database::open(file(), Owner { id: "a", nonce: 1 }), Err(Fault::Foreign(_))));
    }
}
