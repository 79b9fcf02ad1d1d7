//! Folders for the tests of the channel.

use std::{path::PathBuf, time::Duration};

use tempfile::TempDir;

use super::{Kind, Local, Security, Settings};

/// A folder that is removed with its test.
pub(in crate::channel) struct Folder {
    folder: TempDir,
    kind: Kind,
}

impl Folder {
    #[cfg(unix)]
    pub(in crate::channel) fn of_unix_sockets() -> Self {
        Self::of_kind(Kind::UnixSocket)
    }

    pub(in crate::channel) fn of_port_files() -> Self {
        Self::of_kind(Kind::PortFile)
    }

    fn of_kind(kind: Kind) -> Self {
        Self { folder: TempDir::new().expect("the machine has room for a folder"), kind }
    }

    pub(in crate::channel) fn path(&self) -> PathBuf {
        self.folder.path().join("channel")
    }

    pub(in crate::channel) fn named(&self, folder: &str, channel_name: &str) -> Local {
        let path = self.folder.path().join(folder);
        let settings = Settings {
            channel_name: channel_name.to_string(),
            security: Security::new(channel_name, &[]),
            patience: Duration::from_secs(1),
        };
        Local::of_kind(self.kind, Some(path), settings)
    }
}
