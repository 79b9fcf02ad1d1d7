//! The entry of a link as a Unix socket: the system checks who may connect.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tokio::net::UnixListener;

use super::super::socket::Socket;

pub(super) const EXTENSION: &str = "sock";

pub(super) struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl UnixSocket {
    pub(super) fn new(directory: &Path, name: &str) -> io::Result<Self> {
        // A socket that is bound and does not listen yet refuses connections, like one that was left behind.
        let unlisted = directory.join(name);
        let listener = UnixListener::bind(&unlisted)?;
        let path = unlisted.with_extension(EXTENSION);
        fs::rename(&unlisted, &path)?;
        Ok(Self { listener, path })
    }

    pub(super) async fn accept(&self) -> io::Result<Socket> {
        Ok(Socket::of_unix(self.listener.accept().await?.0))
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
