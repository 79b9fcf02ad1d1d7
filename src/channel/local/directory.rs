//! The directory in which the links of a local channel find each other.
//!
//! It belongs to the user alone (mode 0700), and so does the right to connect. An entry gets its name only once its
//! process listens: an entry that refuses connections is one that a process has left behind.

use std::{
    collections::BTreeSet,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use uuid::Uuid;

#[cfg(unix)]
use super::unix_socket::{self, UnixSocket};
use super::{
    super::socket::Socket,
    port_file::{self, PortFile},
};

/// Names the directories of channels; the longest name of a Unix socket is about 100 bytes.
const NAMESPACE: Uuid = Uuid::from_u128(0x636f_6e66_6c75_7820_6c6f_6361_6c2e_0031);

pub(super) struct Directory {
    path: PathBuf,
    kind: Kind,
}

/// How the links of this process are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    #[cfg(unix)]
    UnixSocket,
    PortFile,
}

impl Kind {
    #[cfg(unix)]
    pub(super) const OF_THIS_SYSTEM: Self = Self::UnixSocket;
    #[cfg(not(unix))]
    pub(super) const OF_THIS_SYSTEM: Self = Self::PortFile;
}

impl Directory {
    pub(super) fn new(path: Option<PathBuf>, channel_name: &str, kind: Kind) -> Self {
        let path = path.unwrap_or_else(|| {
            let name = Uuid::new_v5(&NAMESPACE, channel_name.as_bytes()).simple().to_string();
            base().join(&name[..16])
        });
        Self { path, kind }
    }

    /// Listens under a name of its own. The error is a sentence.
    pub(super) fn listen(&self, name: &str) -> Result<Listener, String> {
        let listen = || {
            self.create()?;
            Ok(match self.kind {
                #[cfg(unix)]
                Kind::UnixSocket => Listener::UnixSocket(UnixSocket::new(&self.path, &name[..16])?),
                Kind::PortFile => Listener::PortFile(PortFile::new(&self.path, &name[..16])?),
            })
        };
        listen().map_err(|error| self.describe(&error))
    }

    pub(super) fn entries(&self) -> Result<BTreeSet<Entry>, String> {
        let read = || -> io::Result<BTreeSet<Entry>> {
            let mut entries = BTreeSet::new();
            for entry in fs::read_dir(&self.path)? {
                let path = entry?.path();
                entries.extend(Entry::new(path));
            }
            Ok(entries)
        };
        read().map_err(|error| self.describe(&error))
    }

    fn describe(&self, error: &io::Error) -> String {
        format!("the directory {}: {error}", self.path.display())
    }

    /// Creates the directory and what it is in, for this user alone.
    fn create(&self) -> io::Result<()> {
        let parent = self.path.parent().unwrap_or(Path::new("."));
        if parent == base() {
            create_private(parent)?;
        }
        create_private(&self.path)
    }
}

/// The same for every process of a user: `TMPDIR` and `XDG_RUNTIME_DIR` differ between a service and a shell.
#[cfg(unix)]
fn base() -> PathBuf {
    PathBuf::from(format!("/tmp/conflux-{}", rustix::process::geteuid().as_raw()))
}

/// The folder of the user's profile that only this user and administrators can read.
#[cfg(not(unix))]
fn base() -> PathBuf {
    std::env::var_os("LOCALAPPDATA").map_or_else(std::env::temp_dir, PathBuf::from).join("conflux")
}

#[cfg(unix)]
fn create_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};

    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Err(io::Error::other("it is not a directory"));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("it belongs to another user"));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(io::Error::other("other users may access it; its mode must be 0700"));
    }
    Ok(())
}

#[cfg(not(unix))]
fn create_private(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// What accepts the connections to a link. Its entry goes when it is dropped.
pub(super) enum Listener {
    #[cfg(unix)]
    UnixSocket(UnixSocket),
    PortFile(PortFile),
}

impl Listener {
    pub(super) async fn accept(&self) -> io::Result<Socket> {
        match self {
            #[cfg(unix)]
            Listener::UnixSocket(socket) => socket.accept().await,
            Listener::PortFile(port_file) => port_file.accept().await,
        }
    }

    /// Waits for the proof that the other side may connect, where the system has not checked it.
    pub(super) async fn check(&self, socket: &Socket) -> io::Result<()> {
        match self {
            #[cfg(unix)]
            Listener::UnixSocket(_) => Ok(()),
            Listener::PortFile(port_file) => port_file.check(socket).await,
        }
    }
}

/// A link's place in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    path: PathBuf,
    kind: Kind,
}

impl Entry {
    /// `None` if the file is none of ours.
    fn new(path: PathBuf) -> Option<Self> {
        let kind = match path.extension()?.to_str()? {
            #[cfg(unix)]
            unix_socket::EXTENSION => Kind::UnixSocket,
            port_file::EXTENSION => Kind::PortFile,
            _ => return None,
        };
        Some(Self { path, kind })
    }

    pub(super) async fn dial(&self) -> io::Result<Socket> {
        match self.kind {
            #[cfg(unix)]
            Kind::UnixSocket => Socket::unix(&self.path).await,
            Kind::PortFile => port_file::dial(&self.path).await,
        }
    }

    pub(super) fn remove(&self) {
        // Another process may have removed it first.
        let _ = fs::remove_file(&self.path);
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}
