//! Carries frames between the processes of one machine and one user: neither a server nor a port is needed.
//!
//! Joined by `driver.rs`; a [`super::mesh`] whose links find each other by their entries in a directory. An entry is a
//! Unix socket, or on Windows a file that names a port of the loopback interface ([`directory`]).

mod directory;
mod port_file;
#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
#[cfg(unix)]
mod unix_socket;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use super::{
    Channel, Link,
    mesh::{self, Discovered, LinkId, Network, Settings, Stream},
    sealed::Security,
    socket::Socket,
};
use crate::raft::Incarnation;
use directory::{Directory, Entry, Kind, Listener};

/// A channel of this machine, shared by all processes of a user that name it alike.
pub struct Local {
    settings: Settings,
    network: Arc<LocalNetwork>,
}

impl Local {
    /// `path`: the directory for the channel's entries; `None`: one that is derived from the user and the channel's
    /// name. `security`: has the secret that peers must have. `patience`: how long a peer may be silent.
    pub fn new(channel_name: &str, path: Option<PathBuf>, security: Security, patience: Duration) -> Self {
        let settings = Settings { channel_name: channel_name.to_string(), security, patience };
        Self::of_kind(Kind::OF_THIS_SYSTEM, path, settings)
    }

    fn of_kind(kind: Kind, path: Option<PathBuf>, settings: Settings) -> Self {
        let directory = Directory::new(path, &settings.channel_name, kind);
        Self { settings, network: Arc::new(LocalNetwork { directory }) }
    }
}

impl Channel for Local {
    fn join(&self, me: Incarnation) -> Link {
        mesh::join(self.network.clone(), &self.settings, me)
    }
}

struct LocalNetwork {
    directory: Directory,
}

impl Network for LocalNetwork {
    type Address = Entry;
    type Listener = Listener;

    fn listen(&self, link: LinkId) -> Result<Listener, String> {
        self.directory.listen(&link.to_string())
    }

    async fn accept(&self, listener: &Listener) -> io::Result<Socket> {
        listener.accept().await
    }

    async fn admit(&self, listener: &Listener, socket: Socket) -> io::Result<Stream> {
        listener.check(&socket).await?;
        Ok(socket.into())
    }

    /// The directory is the only source of addresses.
    fn address(&self, _: &Listener, _: &Socket) -> Option<String> {
        None
    }

    fn may_share(&self, _: &Socket, _: &str) -> bool {
        false
    }

    async fn discover(&self, _: Vec<String>) -> Discovered<Entry> {
        match self.directory.entries() {
            Ok(addresses) => Discovered { addresses, causes: Vec::new() },
            Err(cause) => Discovered { addresses: Default::default(), causes: vec![cause] },
        }
    }

    async fn dial(&self, entry: &Entry) -> io::Result<Stream> {
        Ok(entry.dial().await?.into())
    }

    /// An entry appears only when its process listens: one that refuses belongs to a process that has ended.
    fn refused(&self, entry: &Entry) {
        entry.remove();
    }
}
