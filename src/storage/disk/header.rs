//! Guards the header of redb, which redb itself cannot check completely: which of the last two commits is valid, and
//! that it is the last one.
//!
//! Used by `database.rs`, between redb and the file. redb's header has two commit slots, each under a checksum, and a
//! byte of flags that says which is the newer; the older one is whole too.
//!
//! - One flipped bit in the flags takes the last commit back, and with it a vote, without an error. So every header is
//!   written with that byte's complement in the padding next to it: both lie in one aligned word, which no disk writes by
//!   halves. redb ignores the padding, and other programs can still read the file.
//! - A commit in one phase is written and synced at once, where two phases sync twice, each as long as the disk
//!   takes. If its pages fail their checksums redb takes the one before; redb cannot distinguish a power failure
//!   before the end of the sync from damage to a durable commit. So once a sync has ended, the number of the commit
//!   that it made durable is noted behind the header, and no header that takes back a noted commit is written, nor
//!   accepted from redb. The note itself is synced along with the next commit. If the power fails before that, the
//!   note may still name the commit before: an acknowledged commit is lost without an error only if that happens and
//!   this very commit is damaged.

use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use redb::{BackendError, StorageBackend};

use crate::crash;

/// redb's file format (its `docs/design.md`, "Database header"): nine bytes of magic number, then the flags, then two
/// bytes of padding.
const MAGIC: [u8; 9] = *b"redb\x1A\x0A\xA9\x0D\x0A";
const FLAGS_OFFSET: usize = MAGIC.len();
const PRIMARY: u8 = 1;
const COMPLEMENT_OFFSET: usize = FLAGS_OFFSET + 1;
const HEAD_BYTES: usize = COMPLEMENT_OFFSET + 1;

/// "Commit slot 0" and "1": where each has the number of its commit, "last committed transaction id".
const NUMBER_OFFSETS: [usize; 2] = [64 + 104, 192 + 104];

/// The rest of redb's first page is empty. The note is a word: the lower half of a commit's number, and its complement.
const NOTE_OFFSET: u64 = 512;
const NOTE_BYTES: usize = 8;
const FILE_BYTES_MIN: u64 = NOTE_OFFSET + NOTE_BYTES as u64;

/// A database file whose header is guarded.
#[derive(Debug)]
pub struct Guarded {
    file: Box<dyn StorageBackend>,
    commits: Commits,
}

/// What is known of a file's commits, also while redb has the file.
#[derive(Clone, Debug, Default)]
pub struct Commits(Arc<Mutex<Numbers>>);

impl Commits {
    /// The present commit was read and is complete, so the next sync makes it, or the one after it, durable. Before
    /// that, redb may write the header of a commit that it takes back later.
    pub fn are_verified(&self) {
        self.with(|numbers| numbers.are_verified = true);
    }

    fn with<T>(&self, action: impl FnOnce(&mut Numbers) -> T) -> T {
        action(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Lower halves of numbers: they are compared within a distance that no two of them ever have.
#[derive(Debug, Default)]
struct Numbers {
    are_verified: bool,
    /// The number in the last header that was written.
    written: Option<u32>,
    /// The last number that is known to be durable.
    noted: Option<u32>,
}

impl Guarded {
    /// Over an empty file.
    pub fn create(file: Box<dyn StorageBackend>) -> Self {
        let commits = Commits::default();
        commits.are_verified();
        Self { file, commits }
    }

    /// Over a file with content, whose header is checked before redb sees it. The inner error says what is wrong with
    /// the file.
    pub fn check(file: Box<dyn StorageBackend>) -> io::Result<Result<(Self, Commits), String>> {
        let length = file.len()?;
        if length < FILE_BYTES_MIN {
            return Ok(Err(format!("the file is {length} bytes long and has lost its content")));
        }
        let mut head = [0; HEAD_BYTES];
        file.read(0, &mut head)?;
        if head[..MAGIC.len()] != MAGIC {
            return Ok(Err("the file does not begin like a database".into()));
        }
        let (flags, complement) = (head[FLAGS_OFFSET], head[COMPLEMENT_OFFSET]);
        if complement != !flags {
            return Ok(Err(format!("the flags of the header are {flags:#04x} beside {complement:#04x}")));
        }
        let mut note = [0; NOTE_BYTES];
        file.read(NOTE_OFFSET, &mut note)?;
        let noted = match decode_note(note) {
            Ok(noted) => noted,
            Err(why) => return Ok(Err(why)),
        };
        let commits = Commits::default();
        commits.with(|numbers| numbers.noted = noted);
        Ok(Ok((Self { file, commits: commits.clone() }, commits)))
    }

    fn write_header(&self, data: &[u8]) -> io::Result<()> {
        let number = number_of(data);
        let noted = self.commits.with(|numbers| numbers.noted);
        if noted.is_some_and(|noted| is_before(number, noted)) {
            return Err(io::Error::new(ErrorKind::InvalidData, "the last commit is damaged"));
        }
        let mut header = data.to_vec();
        header[COMPLEMENT_OFFSET] = !header[FLAGS_OFFSET];
        crash::point("before-header");
        self.file.write(0, &header)?;
        crash::point("after-header");
        self.commits.with(|numbers| numbers.written = Some(number));
        Ok(())
    }

    /// Notes that the last write is durable.
    fn note(&self) -> io::Result<()> {
        let new = self.commits.with(|numbers| {
            numbers.written.filter(|_| numbers.are_verified && numbers.written != numbers.noted)
        });
        let Some(number) = new else { return Ok(()) };
        self.file.write(NOTE_OFFSET, &encode_note(number))?;
        self.commits.with(|numbers| numbers.noted = Some(number));
        Ok(())
    }
}

/// The lower half of the number of the commit that counts, by this header.
fn number_of(header: &[u8]) -> u32 {
    let offset = NUMBER_OFFSETS[usize::from(header[FLAGS_OFFSET] & PRIMARY)];
    let number = header[offset..].first_chunk().expect("redb writes its header in one piece");
    u32::from_le_bytes(*number)
}

fn is_before(number: u32, other: u32) -> bool {
    number.wrapping_sub(other) > u32::MAX / 2
}

fn encode_note(number: u32) -> [u8; NOTE_BYTES] {
    (u64::from(number) | u64::from(!number) << 32).to_le_bytes()
}

/// A new file has no note yet.
fn decode_note(note: [u8; NOTE_BYTES]) -> Result<Option<u32>, String> {
    let word = u64::from_le_bytes(note);
    let (number, complement) = (word as u32, (word >> 32) as u32);
    match word {
        0 => Ok(None),
        _ if complement == !number => Ok(Some(number)),
        _ => Err(format!("the last commit is noted as {number:#010x} beside {complement:#010x}")),
    }
}

impl StorageBackend for Guarded {
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if offset == 0 { self.write_header(data) } else { self.file.write(offset, data) }
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        crash::point("before-sync");
        self.file.sync_data()?;
        crash::point("after-sync");
        self.note()
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
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

    /// The number of the last commit is where the guard reads it, and is noted once it is durable.
    #[test]
    fn every_commit_that_is_durable_is_noted() {
        let file = Kept::default();
        let database = create(&file);
        let noted = || {
            let mut note = [0; NOTE_BYTES];
            file.read(NOTE_OFFSET, &mut note).unwrap();
            decode_note(note).unwrap().expect("something is noted")
        };
        let mut last = noted();
        for is_two_phase in [false, true, false] {
            assert!(commit(&database, is_two_phase));
            assert!(is_before(last, noted()), "{} after {last}", noted());
            last = noted();
        }
    }

    #[test]
    fn a_note_with_a_flipped_bit_is_none() {
        for number in [0, 1, 0x8000_0000, u32::MAX] {
            let note = encode_note(number);
            assert_eq!(decode_note(note), Ok(Some(number)));
            for bit in 0..8 * NOTE_BYTES {
                let mut flipped = note;
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(decode_note(flipped).is_err(), "bit {bit} of {number}");
            }
        }
        assert_eq!(decode_note([0; NOTE_BYTES]), Ok(None));
    }

    #[test]
    fn numbers_are_compared_beyond_the_end_of_their_half() {
        assert!(is_before(1, 2) && !is_before(2, 2) && !is_before(3, 2));
        assert!(is_before(u32::MAX, 0) && !is_before(0, u32::MAX));
    }

    /// A byte of the last commit's slot is another: redb takes the commit before, and would say nothing.
    #[test]
    fn a_commit_that_was_noted_is_not_taken_back() {
        for is_two_phase in [false, true] {
            let file = Kept::default();
            let database = create(&file);
            assert!(commit(&database, is_two_phase) && commit(&database, is_two_phase));
            let mut header = [0; 320];
            file.read(0, &mut header).unwrap();
            // As a crash leaves the file; closing it would make one more commit.
            let crashed = Kept::default();
            let mut content = vec![0; file.len().unwrap() as usize];
            file.read(0, &mut content).unwrap();
            let offset = NUMBER_OFFSETS[usize::from(header[FLAGS_OFFSET] & PRIMARY)];
            content[offset] ^= 1;
            crashed.set_len(content.len() as u64).unwrap();
            crashed.write(0, &content).unwrap();
            let (guarded, _) = Guarded::check(Box::new(crashed.clone())).unwrap().unwrap();
            assert!(Builder::new().create_with_backend(guarded).is_err());
            // Without the note this would not be detected.
            crashed.write(0, &content).unwrap();
            crashed.write(NOTE_OFFSET, &[0; NOTE_BYTES]).unwrap();
            let (guarded, _) = Guarded::check(Box::new(crashed)).unwrap().unwrap();
            assert_eq!(Builder::new().create_with_backend(guarded).is_ok(), !is_two_phase);
        }
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
