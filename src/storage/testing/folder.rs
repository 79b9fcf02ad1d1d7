//! A directory on a machine that can lose its power at any moment: the file system of the crash tests.
//!
//! What was not synced may survive a crash or not, each write and each change of a name by itself: no order is kept. A
//! write may be torn too, between two words of eight bytes, as no disk tears a word.

use std::collections::BTreeMap;
use std::io::{self, Error};
use std::sync::{Arc, Mutex, MutexGuard};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use redb::StorageBackend;

use crate::storage::disk::Folder;

const WORD_BYTES: u64 = 8;

/// The machine's disk. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Machine(Arc<Mutex<State>>);

/// What happens to operations that change something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fails {
    #[default]
    Never,
    /// This one and all after it: the power is gone.
    From(u64),
    /// This one only: the device had a fault.
    At(u64),
}

#[derive(Debug, Default)]
struct State {
    files: Vec<FileState>,
    /// The names as running programs see them, and as they are on the disk; indexes into `files`.
    names: BTreeMap<String, usize>,
    kept_names: BTreeMap<String, usize>,
    unsynced_names: Vec<NameChange>,
    operations: u64,
    fails: Fails,
    is_taken: bool,
}

#[derive(Clone, Debug)]
enum NameChange {
    Added(String, usize),
    Removed(String),
    /// One change: never are both names there, or none.
    Renamed {
        from: String,
        to: String,
        file: usize,
    },
}

#[derive(Clone, Debug, Default)]
struct FileState {
    now: Vec<u8>,
    kept: Vec<u8>,
    unsynced: Vec<FileChange>,
}

#[derive(Clone, Debug)]
enum FileChange {
    Wrote(u64, Vec<u8>),
    Resized(u64),
}

impl Machine {
    /// A disk with one file.
    pub fn with_file(name: &str, content: Vec<u8>) -> Self {
        let machine = Self::default();
        let mut state = machine.state();
        state.files.push(FileState { now: content.clone(), kept: content, unsynced: Vec::new() });
        state.names.insert(name.into(), 0);
        state.kept_names.insert(name.into(), 0);
        drop(state);
        machine
    }

    /// The directory, as one process sees it.
    pub fn folder(&self) -> MachineFolder {
        MachineFolder { machine: self.clone(), has_taken: false }
    }

    /// From here on, counting operations again.
    pub fn fail(&self, fails: Fails) {
        let mut state = self.state();
        (state.operations, state.fails) = (0, fails);
    }

    /// How many operations there were since the last `fail`.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    pub fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    /// The content as programs see it.
    pub fn content(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.files[state.names[name]].now.clone()
    }

    /// The power fails and returns. No file may be open.
    pub fn crash(&self, seed: u64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut state = self.state();
        for file in &mut state.files {
            file.crash(&mut rng);
        }
        for change in std::mem::take(&mut state.unsynced_names) {
            if rng.next_u32().is_multiple_of(2) {
                apply(&mut state.kept_names, change);
            }
        }
        state.names = state.kept_names.clone();
        (state.operations, state.fails) = (0, Fails::Never);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Counts an operation, and fails it if its time has come.
    fn operation(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        let number = state.operations;
        state.operations += 1;
        let fails = match state.fails {
            Fails::Never => false,
            Fails::From(first) => first <= number,
            Fails::At(only) => only == number,
        };
        if fails { Err(Error::other("the device failed")) } else { Ok(state) }
    }
}

impl FileState {
    fn change(&mut self, change: FileChange) {
        alter(&mut self.now, &change);
        self.unsynced.push(change);
    }

    fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            alter(&mut self.kept, &change);
        }
    }

    fn crash(&mut self, rng: &mut ChaCha8Rng) {
        for mut change in std::mem::take(&mut self.unsynced) {
            if rng.next_u32().is_multiple_of(2) {
                continue;
            }
            if let FileChange::Wrote(offset, data) = &mut change
                && rng.next_u32().is_multiple_of(4)
            {
                assert_eq!(*offset % WORD_BYTES, 0, "a database writes from the beginning of a page");
                let words = rng.next_u64() % (data.len() as u64 / WORD_BYTES + 1);
                data.truncate((words * WORD_BYTES) as usize);
            }
            alter(&mut self.kept, &change);
        }
        self.now = self.kept.clone();
    }
}

fn alter(content: &mut Vec<u8>, change: &FileChange) {
    match change {
        FileChange::Wrote(offset, data) => {
            let end = *offset as usize + data.len();
            // The resize before it may not have survived.
            content.resize(content.len().max(end), 0);
            content[*offset as usize..end].copy_from_slice(data);
        }
        FileChange::Resized(length) => content.resize(*length as usize, 0),
    }
}

fn apply(names: &mut BTreeMap<String, usize>, change: NameChange) {
    match change {
        NameChange::Added(name, file) => {
            names.insert(name, file);
        }
        NameChange::Removed(name) => {
            names.remove(&name);
        }
        NameChange::Renamed { from, to, file } => {
            names.remove(&from);
            names.insert(to, file);
        }
    }
}

impl State {
    fn change(&mut self, change: NameChange) {
        apply(&mut self.names, change.clone());
        self.unsynced_names.push(change);
    }

    fn file(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// The directory of a machine, held by one process until this is dropped.
#[derive(Debug)]
pub struct MachineFolder {
    machine: Machine,
    has_taken: bool,
}

impl Drop for MachineFolder {
    fn drop(&mut self) {
        if self.has_taken {
            self.machine.state().is_taken = false;
        }
    }
}

impl Folder for MachineFolder {
    fn acquire(&mut self) -> io::Result<bool> {
        let mut state = self.machine.state();
        self.has_taken = !state.is_taken;
        state.is_taken = true;
        Ok(self.has_taken)
    }

    fn holds(&self, name: &str) -> io::Result<bool> {
        Ok(self.machine.state().names.contains_key(name))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        let mut state = self.machine.operation()?;
        let file = state.files.len();
        state.files.push(FileState::default());
        state.change(NameChange::Added(name.into(), file));
        Ok(Box::new(MachineFile { machine: self.machine.clone(), file }))
    }

    fn open(&mut self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        let file = self.machine.state().file(name)?;
        Ok(Box::new(MachineFile { machine: self.machine.clone(), file }))
    }

    fn is_in_place(&self, _name: &str) -> io::Result<bool> {
        Ok(true)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.machine.operation()?;
        let file = state.file(from)?;
        assert!(!state.names.contains_key(to), "renaming `{from}` over `{to}`");
        state.change(NameChange::Renamed { from: from.into(), to: to.into(), file });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.machine.operation()?;
        state.change(NameChange::Removed(name.into()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.machine.operation()?;
        let State { kept_names, unsynced_names, .. } = &mut *state;
        unsynced_names.drain(..).for_each(|change| apply(kept_names, change));
        Ok(())
    }

    fn path(&self) -> String {
        "the machine's directory".into()
    }
}

/// An open file.
#[derive(Debug)]
struct MachineFile {
    machine: Machine,
    file: usize,
}

impl StorageBackend for MachineFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.machine.state().files[self.file].now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.machine.state();
        let range = offset as usize..offset as usize + out.len();
        let bytes = state.files[self.file].now.get(range).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.machine.operation()?.files[self.file].change(FileChange::Resized(length));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.machine.operation()?.files[self.file].sync();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.machine.operation()?.files[self.file].change(FileChange::Wrote(offset, data.to_vec()));
        Ok(())
    }
}
