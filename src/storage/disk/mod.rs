//! Keeps a replica in a directory: in one redb file, which is completed before it gets its name.
//!
//! Made by `js/`, called by the driver's storage thread. It deletes no file that ever counted, and repairs no
//! content: damage is reported, together with the remedy.
//!
//! | name | what it is |
//! |---|---|
//! | `conflux.redb` | the replica that counts |
//! | `conflux-<incarnation>.redb` | a former replica, set aside |
//! | `conflux.redb.next` | a new replica, whole, in flight to its name |
//! | `conflux.redb.new` | a new replica that is being written; it never counted |
//! | `conflux.lock` | locked while the directory is in use |

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod damage_tests;
mod database;
mod fault;
mod folder;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod header;
mod record;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use super::Storage;
use crate::crash;
use crate::error::Error;
use crate::raft::{ReplicaRecord, StoredState, Write};
use database::{Database, Owner};
use fault::{Fault, said_by};
use folder::Directory;
pub(crate) use folder::Folder;

const CURRENT: &str = "conflux.redb";
const NEXT: &str = "conflux.redb.next";
const NEW: &str = "conflux.redb.new";

/// The start number of a node that never had a stored log.
const FIRST_START: u64 = 1;

/// The storage in a directory.
pub struct Disk {
    /// Before the folder, so that the file is closed before the directory is free.
    database: Option<Database>,
    folder: Box<dyn Folder>,
    /// The id of the node: a directory is one node's.
    id: Arc<str>,
    /// Tells this process from others that open the directory, or a copy.
    nonce: u64,
    /// Belongs to this process, not to a replica: no replica that the process begins may repeat a request id of an
    /// earlier start.
    start: u64,
    /// The error after which nothing is saved any more. A failed sync must not be retried: the system may have
    /// dropped what it could not write, and the next sync would succeed although data is missing.
    failure: Option<Error>,
}

impl Disk {
    /// The storage of the node with this id, in a directory that need not exist. Nothing is touched before `load`.
    pub fn new(path: impl Into<PathBuf>, id: impl Into<Arc<str>>) -> Self {
        Self::over(Directory::new(path.into()), id)
    }

    /// The same over anything that behaves like a directory.
    pub(crate) fn over(folder: impl Folder, id: impl Into<Arc<str>>) -> Self {
        let folder = Box::new(folder);
        Self { database: None, folder, id: id.into(), nonce: 0, start: FIRST_START, failure: None }
    }

    pub fn with_nonce(mut self, nonce: u64) -> Self {
        self.nonce = nonce;
        self
    }

    fn owner(&self) -> Owner<'_> {
        Owner { id: &self.id, nonce: self.nonce }
    }

    /// Runs an operation on the storage, unless an earlier one failed.
    fn attempt<T>(
        &mut self,
        what: &'static str,
        action: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let result = catch_unwind(AssertUnwindSafe(|| action(self)));
        let result =
            result.unwrap_or_else(|panic| Err(Fault::Device(format!("a panic: {}", said_by(&*panic)))));
        result.map_err(|fault| {
            let error = fault.into_error(what, self.folder.path());
            self.failure = Some(error.clone());
            error
        })
    }

    fn open(&mut self) -> Result<Option<StoredState>, Fault> {
        if !self.folder.acquire()? {
            return Err(Fault::InUse);
        }
        self.finish_names()?;
        if !self.folder.holds(CURRENT)? {
            return Ok(None);
        }
        let (database, recovered) = Database::open(self.folder.open(CURRENT)?, self.owner())?;
        self.database = Some(database);
        self.start = recovered.start;
        Ok(Some(recovered))
    }

    /// Completes or reverts what a crash interrupted in `begin`.
    fn finish_names(&mut self) -> Result<(), Fault> {
        if !self.folder.holds(CURRENT)? && self.folder.holds(NEXT)? {
            // The former replica is set aside already, or there was none.
            self.folder.rename(NEXT, CURRENT)?;
            self.folder.sync()?;
        }
        // Left by a save that never ended: nothing depends on them.
        for name in [NEW, NEXT] {
            if self.folder.holds(name)? {
                self.folder.remove(name)?;
            }
        }
        Ok(())
    }

    /// Begins a replica in a file of its own. Whenever this is interrupted, `finish_names` finds the former replica or
    /// this one, whole.
    fn begin(&mut self, replica: ReplicaRecord, writes: &[Write]) -> Result<(), Fault> {
        Database::create(self.folder.create(NEW)?, self.owner(), replica, self.start, writes)?.close()?;
        crash::point("before-rename");
        self.folder.rename(NEW, NEXT)?;
        self.folder.sync()?;
        crash::point("between-renames");
        // Some systems rename no open file, so that all are closed on all systems.
        if let Some(former) = self.database.take() {
            let name = self.free_name(former.replica())?;
            former.close()?;
            self.folder.rename(CURRENT, &name)?;
            self.folder.sync()?;
        }
        self.folder.rename(NEXT, CURRENT)?;
        self.folder.sync()?;
        crash::point("after-rename");
        // This raises the start number in the file: numbers may be skipped, but never repeated.
        let (database, _) = Database::open(self.folder.open(CURRENT)?, self.owner())?;
        self.database = Some(database);
        Ok(())
    }

    /// The file that is open is the one that the next start opens.
    fn check_place(&self) -> Result<(), Fault> {
        if self.database.is_none() || self.folder.is_in_place(CURRENT)? {
            return Ok(());
        }
        Err(Fault::Device(format!(
            "`{CURRENT}` was deleted, moved or replaced while this node had it open: what it writes is lost to a restart"
        )))
    }

    /// The name under which a former replica is set aside. An incarnation has only one replica, but an older copy of
    /// the directory may have been put back.
    fn free_name(&self, replica: ReplicaRecord) -> Result<String, Fault> {
        let mut number = 1;
        let mut name = format!("conflux-{}.redb", replica.incarnation);
        while self.folder.holds(&name)? {
            number += 1;
            name = format!("conflux-{}-{number}.redb", replica.incarnation);
        }
        Ok(name)
    }
}

impl Storage for Disk {
    fn load(&mut self) -> Result<Option<StoredState>, Error> {
        self.attempt("opening", Self::open)
    }

    fn save(&mut self, writes: &[Write]) -> Result<(), Error> {
        let first = writes.iter().rposition(|write| write.replica.is_some()).unwrap_or(0);
        let writes = &writes[first..];
        self.attempt("writing", |disk| {
            match (writes.first().and_then(|write| write.replica), &mut disk.database) {
                (Some(replica), _) => disk.begin(replica, writes),
                (None, Some(database)) => database.save(writes),
                (None, None) => panic!("the first write of all begins no replica"),
            }?;
            // Costs little compared with a sync, and guarantees that a restart finds whatever is acknowledged.
            disk.check_place()
        })
    }

    fn verify(&mut self) -> Result<(), Error> {
        self.attempt("keeping", |disk| disk.check_place())
    }

    fn is_durable(&self) -> bool {
        true
    }
}
