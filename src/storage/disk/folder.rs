//! This file is what the disk storage needs of a file system: a handful of names in one directory.
//!
//! Used by `mod.rs`. What is done to the content of a file is redb's; here are its name and its owner.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use redb::StorageBackend;
use redb::backends::FileBackend;

/// A directory, and the files in it by name. Renames and removals are durable after `sync` only.
pub trait Folder: Send + 'static {
    /// Makes the directory if it is missing, and takes it until this is dropped; false if somebody else has it.
    fn acquire(&mut self) -> io::Result<bool>;

    fn holds(&self, name: &str) -> io::Result<bool>;

    /// A new, empty file; one that has this name is emptied.
    fn create(&self, name: &str) -> io::Result<Box<dyn StorageBackend>>;

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>>;

    /// Nobody has the file open, and the new name is free.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    fn remove(&self, name: &str) -> io::Result<()>;

    /// All names are durable when this returns.
    fn sync(&self) -> io::Result<()>;

    /// As an error names it.
    fn path(&self) -> String;
}

/// A directory of the file system.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// The lock goes with the process, also when that is killed; the file stays, and means nothing.
    lock: Option<File>,
}

/// Its own file, so that the database can be closed and renamed while the directory stays taken.
const LOCK: &str = "conflux.lock";

impl Directory {
    pub fn new(path: PathBuf) -> Self {
        Self { path, lock: None }
    }
}

impl Folder for Directory {
    fn acquire(&mut self) -> io::Result<bool> {
        let missing: Vec<&Path> = self.path.ancestors().take_while(|path| is_missing(path)).collect();
        fs::create_dir_all(&self.path)?;
        for made in missing {
            sync_directory(parent_of(made))?;
        }
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(self.path.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => {
                self.lock = Some(lock);
                Ok(true)
            }
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn holds(&self, name: &str) -> io::Result<bool> {
        self.path.join(name).try_exists()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(self.path.join(name))?;
        backend(file)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        backend(OpenOptions::new().read(true).write(true).open(self.path.join(name))?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn sync(&self) -> io::Result<()> {
        sync_directory(&self.path)
    }

    fn path(&self) -> String {
        self.path.display().to_string()
    }
}

fn backend(file: File) -> io::Result<Box<dyn StorageBackend>> {
    Ok(Box::new(FileBackend::new(file).map_err(io::Error::other)?))
}

fn is_missing(path: &Path) -> bool {
    !path.as_os_str().is_empty() && matches!(path.try_exists(), Ok(false))
}

/// The directory in which `path` is a name.
fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Windows cannot sync a directory; NTFS writes names in order, through its own journal.
#[cfg(not(unix))]
fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_directory_is_made_with_those_above_it() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("a").join("b");
        assert!(Directory::new(path.clone()).acquire().unwrap());
        assert!(path.is_dir());
    }

    #[test]
    fn a_directory_belongs_to_one_until_that_one_is_dropped() {
        let path = tempfile::tempdir().unwrap();
        let mut first = Directory::new(path.path().into());
        let mut second = Directory::new(path.path().into());
        assert!(first.acquire().unwrap());
        assert!(!second.acquire().unwrap());
        drop(first);
        assert!(second.acquire().unwrap());
    }

    #[test]
    fn a_file_in_the_place_of_the_directory_is_an_error() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("file");
        fs::write(&path, "content").unwrap();
        assert!(Directory::new(path.clone()).acquire().is_err());
        assert_eq!(fs::read(&path).unwrap(), b"content");
    }

    #[test]
    fn a_relative_path_has_the_working_directory_above_it() {
        assert_eq!(parent_of(Path::new("storage")), Path::new("."));
        assert_eq!(parent_of(Path::new("a/b")), Path::new("a"));
    }
}
