//! This file guards the one byte of a database file that redb itself cannot check: which of its two last commits counts.
//!
//! Used by `database.rs`, between redb and the file. redb's header has two commit slots, each under a checksum, and a
//! byte of flags that says which is the newer; the older one is whole too. One flipped bit there takes the last commit
//! back, and with it a vote, without an error. So every header is written with that byte's complement in the padding
//! next to it: both lie in one aligned word, which no disk writes by halves. redb ignores the padding, and other
//! programs can still read the file.
//!
//! Another flag says that the newer commit was made in two phases, so that nothing but damage can make it unreadable;
//! without it redb takes the older one instead. No header without it is ever written.

use std::io;
use std::ops::Bound;

use redb::{BackendError, StorageBackend};

use crate::crash;

/// redb's file format (its `docs/design.md`, "Database header"): nine bytes of magic number, then the flags, then two
/// bytes of padding.
const MAGIC: [u8; 9] = *b"redb\x1A\x0A\xA9\x0D\x0A";
const FLAGS_OFFSET: usize = MAGIC.len();
const TWO_PHASE: u8 = 4;
const COMPLEMENT_OFFSET: usize = FLAGS_OFFSET + 1;
const HEAD_BYTES: usize = COMPLEMENT_OFFSET + 1;

/// A database file whose header is guarded.
#[derive(Debug)]
pub struct Guarded(Box<dyn StorageBackend>);

impl Guarded {
    /// Over an empty file.
    pub fn create(file: Box<dyn StorageBackend>) -> Self {
        Self(file)
    }

    /// Over a file with content, whose header is checked before redb sees it. The inner error says what is wrong with
    /// the file.
    pub fn check(file: Box<dyn StorageBackend>) -> io::Result<Result<Self, String>> {
        let length = file.len()?;
        if length < HEAD_BYTES as u64 {
            return Ok(Err(format!("the file is {length} bytes long and has lost its content")));
        }
        let mut head = [0; HEAD_BYTES];
        file.read(0, &mut head)?;
        if head[..MAGIC.len()] != MAGIC {
            return Ok(Err("the file does not begin like a database".into()));
        }
        let (flags, complement) = (head[FLAGS_OFFSET], head[COMPLEMENT_OFFSET]);
        if complement != !flags || flags & TWO_PHASE == 0 {
            return Ok(Err(format!("the flags of the header are {flags:#04x} beside {complement:#04x}")));
        }
        Ok(Ok(Self(file)))
    }
}

impl StorageBackend for Guarded {
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if offset != 0 {
            return self.0.write(offset, data);
        }
        if data[FLAGS_OFFSET] & TWO_PHASE == 0 {
            return Err(io::Error::other("a commit in one phase"));
        }
        let mut header = data.to_vec();
        header[COMPLEMENT_OFFSET] = !header[FLAGS_OFFSET];
        crash::point("before-header");
        self.0.write(offset, &header)?;
        crash::point("after-header");
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        crash::point("before-sync");
        self.0.sync_data()?;
        crash::point("after-sync");
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use redb::backends::InMemoryBackend;
    use redb::{Builder, Database, TableDefinition};

    use super::*;

    const TABLE: TableDefinition<u64, u64> = TableDefinition::new("table");

    /// A file that outlives the database over it.
    #[derive(Clone, Debug, Default)]
    struct Kept(Arc<InMemoryBackend>);

    impl StorageBackend for Kept {
        fn len(&self) -> io::Result<u64> {
            self.0.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.0.read(offset, out)
        }

        fn set_len(&self, length: u64) -> io::Result<()> {
            self.0.set_len(length)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.0.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.0.write(offset, data)
        }
    }

    impl Kept {
        fn head(&self) -> [u8; HEAD_BYTES] {
            let mut head = [0; HEAD_BYTES];
            self.read(0, &mut head).unwrap();
            head
        }

        fn is_accepted(&self) -> bool {
            Guarded::check(Box::new(self.clone())).unwrap().is_ok()
        }
    }

    fn create(file: &Kept) -> Database {
        Builder::new().create_with_backend(Guarded::create(Box::new(file.clone()))).unwrap()
    }

    fn commit(database: &Database, is_two_phase: bool) -> bool {
        let mut transaction = database.begin_write().unwrap();
        transaction.set_two_phase_commit(is_two_phase);
        transaction.open_table(TABLE).unwrap().insert(1, 1).unwrap();
        transaction.commit().is_ok()
    }

    /// That redb's header is where it was: the flags change with every commit, and the padding is left alone.
    #[test]
    fn every_header_is_guarded_and_every_commit_moves_the_flags() {
        let file = Kept::default();
        let database = create(&file);
        assert!(file.is_accepted());
        let mut flags = file.head()[FLAGS_OFFSET];
        for _ in 0..3 {
            assert!(commit(&database, true));
            assert!(file.is_accepted());
            assert_eq!(file.head()[FLAGS_OFFSET], flags ^ 1);
            flags ^= 1;
        }
        database.close().unwrap();
        assert!(file.is_accepted());
    }

    #[test]
    fn a_commit_in_one_phase_does_not_reach_the_file() {
        let file = Kept::default();
        let database = create(&file);
        assert!(!commit(&database, false));
        drop(database);
        assert!(file.is_accepted());
    }

    #[test]
    fn a_database_that_something_else_wrote_is_not_accepted() {
        let file = Kept::default();
        let database = Builder::new().create_with_backend(file.clone()).unwrap();
        assert!(commit(&database, true));
        database.close().unwrap();
        assert!(!file.is_accepted());
    }
}
