//! Executes the core's writes. A durable storage has its own thread, so that a slow disk never delays the clock, the
//! links or the other nodes of the process.
//!
//! Used by `driver.rs`: the turns of the core order writes ([`WriteHandle`]), and the driver receives their results
//! ([`Reports`]). Writes that arrive while one is being saved are saved together by the next; once a save has failed,
//! nothing is saved any more.

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as blocking;
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::message_of;
use crate::crash;
use crate::error::Error;
use crate::raft::{Input, StoredState, Write};
use crate::storage::Storage;

/// The destination of a core's writes.
pub enum WriteHandle {
    /// A storage that never waits is called on the thread that has the turn.
    Here(Box<dyn Storage>),
    Thread(Orders),
}

impl WriteHandle {
    /// Orders a write. Returns the input that reports its end now, or [`Reports::next`] does later.
    pub fn save(&mut self, number: u64, write: Write) -> Option<Input> {
        match self {
            WriteHandle::Here(storage) => Some(match storage.save(&[write]) {
                Ok(()) => Input::Persisted(number),
                Err(error) => Input::StorageFailed(error),
            }),
            WriteHandle::Thread(orders) => {
                orders.save(number, write);
                None
            }
        }
    }
}

/// The queue to a storage thread. When it is dropped, the thread saves what is ordered and ends.
pub struct Orders {
    // Unbounded: the core orders no more entries than its peers' windows and its own uncommitted proposals hold, or,
    // while this storage is overdue, `UNSAVED_BYTES_MAX`; and one hard state for each of its turns.
    queue: blocking::Sender<Order>,
    /// Counts the replicas of this node: each numbers its writes from 1, and reports about a former replica are
    /// ignored.
    replica: Arc<AtomicU64>,
}

impl Orders {
    fn save(&mut self, number: u64, write: Write) {
        let replicas = u64::from(write.replica.is_some());
        let replica = self.replica.fetch_add(replicas, Ordering::SeqCst) + replicas;
        // A thread that has ended has reported the reason.
        let _ = self.queue.send(Order { replica, number, write });
    }
}

/// The reports of a storage thread, if there is one.
pub enum Reports {
    None,
    Thread {
        // Unbounded: there is at most one report for each order.
        queue: UnboundedReceiver<Report>,
        replica: Arc<AtomicU64>,
        has_failed: bool,
    },
}

impl Reports {
    /// Moves a storage to its own thread, which begins to load immediately.
    pub fn start(storage: Box<dyn Storage>) -> Result<(WriteHandle, Self), Error> {
        let (orders, ordered) = blocking::channel();
        let (reporter, queue) = mpsc::unbounded_channel();
        std::thread::Builder::new()
            .name("conflux-storage".into())
            .spawn(move || run(storage, ordered, &reporter))
            .map_err(|error| Error::Resources {
                what: "a thread for the storage",
                cause: error.to_string(),
            })?;
        let replica = Arc::new(AtomicU64::new(0));
        let write_handle = WriteHandle::Thread(Orders { queue: orders, replica: replica.clone() });
        Ok((write_handle, Self::Thread { queue, replica, has_failed: false }))
    }

    /// The content of the storage; called once, first. May be dropped before it ends.
    pub async fn load(&mut self) -> Result<Option<StoredState>, Error> {
        match self.report().await {
            Report::Loaded(recovered) => Ok(recovered),
            Report::Failed(error) => Err(error),
            Report::Saved { number, .. } => {
                unreachable!("write {number} was saved before the storage was loaded")
            }
        }
    }

    /// Waits for the result of a save. May be dropped before it ends.
    pub async fn next(&mut self) -> Input {
        loop {
            match self.report().await {
                Report::Saved { replica, number } if self.is_current(replica) => {
                    return Input::Persisted(number);
                }
                Report::Saved { .. } | Report::Loaded(_) => {}
                Report::Failed(error) => return Input::StorageFailed(error),
            }
        }
    }

    fn is_current(&self, replica: u64) -> bool {
        matches!(self, Self::Thread { replica: current, .. } if current.load(Ordering::SeqCst) == replica)
    }

    /// Waits until all writes are saved and the storage is closed. The error is one that `next` has not returned.
    pub async fn end(self, write_handle: Option<WriteHandle>) -> Result<(), Error> {
        drop(write_handle);
        let mut result = Ok(());
        if let Self::Thread { mut queue, .. } = self {
            while let Some(report) = queue.recv().await {
                if let Report::Failed(error) = report {
                    result = Err(error);
                }
            }
        }
        result
    }

    /// Waits forever if there will be no more reports.
    async fn report(&mut self) -> Report {
        let Self::Thread { queue, has_failed, .. } = self else { return pending().await };
        if *has_failed {
            return pending().await;
        }
        // The thread outlives its orders unless it failed without a report.
        let report = queue
            .recv()
            .await
            .unwrap_or_else(|| Report::Failed(Error::Panic { message: "the storage thread ended".into() }));
        *has_failed = matches!(report, Report::Failed(_));
        report
    }
}

/// The interval at which an idle storage is verified: its file may have been deleted.
const VERIFIES_EVERY: Duration = Duration::from_secs(3);

struct Order {
    replica: u64,
    number: u64,
    write: Write,
}

pub enum Report {
    Loaded(Option<StoredState>),
    Saved { replica: u64, number: u64 },
    Failed(Error),
}

/// Runs the thread. It closes the storage before it closes the queue of reports.
fn run(storage: Box<dyn Storage>, queue: blocking::Receiver<Order>, reports: &UnboundedSender<Report>) {
    let result = catch_unwind(AssertUnwindSafe(move || keep(storage, queue, reports)));
    let failure = match result {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error,
        Err(panic) => Error::Panic { message: message_of(&*panic) },
    };
    let _ = reports.send(Report::Failed(failure));
}

fn keep(
    mut storage: Box<dyn Storage>,
    queue: blocking::Receiver<Order>,
    reports: &UnboundedSender<Report>,
) -> Result<(), Error> {
    let _ = reports.send(Report::Loaded(storage.load()?));
    loop {
        let order = match queue.recv_timeout(VERIFIES_EVERY) {
            Ok(order) => order,
            Err(blocking::RecvTimeoutError::Timeout) => {
                storage.verify()?;
                continue;
            }
            Err(blocking::RecvTimeoutError::Disconnected) => return Ok(()),
        };
        let (mut replica, mut number) = (order.replica, order.number);
        let mut writes = vec![order.write];
        while let Ok(next) = queue.try_recv() {
            (replica, number) = (next.replica, next.number);
            writes.push(next.write);
        }
        crash::point("before-save");
        storage.save(&writes)?;
        crash::point("after-save");
        let _ = reports.send(Report::Saved { replica, number });
    }
}
