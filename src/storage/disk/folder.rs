//! What the disk storage needs from a file system: a few names in one directory.
//!
//! Used by `mod.rs`. redb reads and writes the content of a file; this module is about its name and its owner.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use redb::StorageBackend;
use redb::backends::FileBackend;
use same_file::Handle;

/// A directory, and the files in it by name. Renames and removals are durable after `sync` only.
pub trait Folder: Send + 'static {
    /// Creates the directory if it is missing, and holds its lock until this is dropped; false if another process
    /// holds it.
    fn acquire(&mut self) -> io::Result<bool>;

    fn holds(&self, name: &str) -> io::Result<bool>;

    /// A new, empty file; an existing file with this name is emptied.
    fn create(&self, name: &str) -> io::Result<Box<dyn StorageBackend>>;

    fn open(&mut self, name: &str) -> io::Result<Box<dyn StorageBackend>>;

    /// Whether the file that was opened last is still the one that has this name: writes to a file that was deleted
    /// succeed.
    fn is_in_place(&self, name: &str) -> io::Result<bool>;

    /// The file must not be open, and the new name must be free.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    fn remove(&self, name: &str) -> io::Result<()>;

    /// All names are durable when this returns.
    fn sync(&self) -> io::Result<()>;

    /// The path for error messages.
    fn path(&self) -> String;
}

/// A directory of the file system.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// The lock ends with the process, even if that is killed; the file stays, and has no meaning.
    lock: Option<File>,
    /// The file that was opened last.
    opened: Option<Handle>,
}

/// A separate file, so that the database can be closed and renamed while the directory stays locked.
const LOCK: &str = "conflux.lock";

impl Directory {
    pub fn new(path: PathBuf) -> Self {
        // The process may change its working directory later.
        let path = std::path::absolute(&path).unwrap_or(path);
        Self { path, lock: None, opened: None }
    }
}

impl Folder for Directory {
    fn acquire(&mut self) -> io::Result<bool> {
        let missing: Vec<&Path> = self.path.ancestors().take_while(|path| is_missing(path)).collect();
        create_directory(&self.path)?;
        for made in missing {
            sync_directory(parent_of(made))?;
        }
        let lock = for_owner().write(true).create(true).truncate(false).open(self.path.join(LOCK))?;
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
        let file =
            for_owner().read(true).write(true).create(true).truncate(true).open(self.path.join(name))?;
        backend(file)
    }

    fn open(&mut self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path.join(name))?;
        self.opened = Some(Handle::from_file(file.try_clone()?)?);
        backend(file)
    }

    fn is_in_place(&self, name: &str) -> io::Result<bool> {
        match Handle::from_path(self.path.join(name)) {
            Ok(found) => Ok(self.opened.as_ref() == Some(&found)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
            Err(error) => Err(error),
        }
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

/// Creates the directory, accessible to its owner alone, and missing parents with the usual permissions of the
/// process. An existing directory keeps its permissions.
fn create_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(parent_of(path))?;
    #[cfg_attr(not(unix), expect(unused_mut, reason = "modes are for Unix"))]
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        result => result,
    }
}

/// A file that is created with these options is accessible to its owner alone.
fn for_owner() -> OpenOptions {
    #[cfg_attr(not(unix), allow(unused_mut))]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
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

    #[cfg(unix)]
    #[test]
    fn what_is_made_is_its_owners_alone_and_what_is_there_stays_as_it_is() {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let above = tempfile::tempdir().unwrap();
        let (new, old) = (above.path().join("new"), above.path().join("old"));
        fs::create_dir(&old).unwrap();
        fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).unwrap();
        for path in [&new, &old] {
            let mut directory = Directory::new(path.clone());
            assert!(directory.acquire().unwrap());
            directory.create("file").unwrap();
            assert_eq!(mode(&path.join("file")), 0o600);
            assert_eq!(mode(&path.join(LOCK)), 0o600);
        }
        assert_eq!((mode(&new), mode(&old)), (0o700, 0o755));
    }

    #[test]
    fn a_file_that_was_deleted_or_replaced_or_moved_is_not_in_its_place() {
        type Change = fn(&Path) -> io::Result<()>;
        let changes: [(bool, Change); 5] = [
            (true, |_| Ok(())),
            (true, |path| fs::write(path.join("other"), "")),
            (false, |path| fs::remove_file(path.join("file"))),
            (false, |path| {
                fs::copy(path.join("file"), path.join("copy"))?;
                fs::rename(path.join("copy"), path.join("file"))
            }),
            (false, |path| fs::rename(path, path.with_extension("moved"))),
        ];
        for (number, (expected, change)) in changes.into_iter().enumerate() {
            let above = tempfile::tempdir().unwrap();
            let path = above.path().join("a");
            let mut directory = Directory::new(path.clone());
            directory.acquire().unwrap();
            directory.create("file").unwrap();
            let _open = directory.open("file").unwrap();
            change(&path).unwrap();
            assert_eq!(directory.is_in_place("file").unwrap(), expected, "change {number}");
        }
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
