//! This file carries out the core's writes: a durable storage on a thread of its own, so that a slow disk never holds up
//! the clock, the links or the other nodes of the process.
//!
//! Used by `driver.rs`: the turns of the core order ([`Saver`]), the driver hears what came of it ([`Reports`]). Writes that
//! arrive while one is being saved are saved together by the next; once a save
//! has failed, nothing is saved any more.

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
use crate::raft::{Input, Recovered, Write};
use crate::storage::Storage;

/// Where a core's writes go.
pub enum Saver {
    /// On the thread that has the turn: this storage waits for nothing.
    Here(Box<dyn Storage>),
    Thread(Orders),
}

impl Saver {
    /// Orders a write. The input that tells of its end is given now, or by [`Reports::next`] later.
    pub fn save(&mut self, number: u64, write: Write) -> Option<Input> {
        match self {
            Saver::Here(storage) => Some(match storage.save(&[write]) {
                Ok(()) => Input::Persisted(number),
                Err(error) => Input::StorageFailed(error),
            }),
            Saver::Thread(orders) => {
                orders.save(number, write);
                None
            }
        }
    }
}

/// The way to a storage thread. When it is dropped, the thread saves what is ordered and ends.
pub struct Orders {
    // Unbounded: the core orders no more entries than its peers' windows and its own uncommitted proposals hold, or, while
    // this storage is overdue, `UNSAVED_BYTES_MAX`; and one hard state for each of its turns.
    queue: blocking::Sender<Order>,
    /// Counts the seats of this node: each numbers its writes anew, and what a former seat has saved concerns nobody.
    seat: Arc<AtomicU64>,
}

impl Orders {
    fn save(&mut self, number: u64, write: Write) {
        let seats = u64::from(write.seat.is_some());
        let seat = self.seat.fetch_add(seats, Ordering::SeqCst) + seats;
        // A thread that has ended has told why.
        let _ = self.queue.send(Order { seat, number, write });
    }
}

/// What a storage thread has to tell, if there is one.
pub enum Reports {
    None,
    Thread {
        // Unbounded: there is at most one report for each order.
        queue: UnboundedReceiver<Report>,
        seat: Arc<AtomicU64>,
        has_failed: bool,
    },
}

impl Reports {
    /// Takes a storage to a thread of its own, where it begins to load at once.
    pub fn start(storage: Box<dyn Storage>) -> Result<(Saver, Self), Error> {
        let (orders, ordered) = blocking::channel();
        let (reporter, queue) = mpsc::unbounded_channel();
        std::thread::Builder::new()
            .name("conflux-storage".into())
            .spawn(move || run(storage, ordered, &reporter))
            .map_err(|error| Error::Resources { what: "thread for the storage", cause: error.to_string() })?;
        let seat = Arc::new(AtomicU64::new(0));
        let saver = Saver::Thread(Orders { queue: orders, seat: seat.clone() });
        Ok((saver, Self::Thread { queue, seat, has_failed: false }))
    }

    /// What the storage kept; to be called once, first. May be dropped before it ends.
    pub async fn load(&mut self) -> Result<Option<Recovered>, Error> {
        match self.report().await {
            Report::Loaded(recovered) => Ok(recovered),
            Report::Failed(error) => Err(error),
            Report::Saved { number, .. } => {
                unreachable!("write {number} was saved before the storage was loaded")
            }
        }
    }

    /// Waits for what a save amounted to. May be dropped before it ends.
    pub async fn next(&mut self) -> Input {
        loop {
            match self.report().await {
                Report::Saved { seat, number } if self.is_current(seat) => return Input::Persisted(number),
                Report::Saved { .. } | Report::Loaded(_) => {}
                Report::Failed(error) => return Input::StorageFailed(error),
            }
        }
    }

    fn is_current(&self, seat: u64) -> bool {
        matches!(self, Self::Thread { seat: current, .. } if current.load(Ordering::SeqCst) == seat)
    }

    /// Waits until all writes are saved and the storage is closed. The error is one that `next` has not told.
    pub async fn end(self, saver: Option<Saver>) -> Result<(), Error> {
        drop(saver);
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

    /// Waits for ever where nothing will be told any more.
    async fn report(&mut self) -> Report {
        let Self::Thread { queue, has_failed, .. } = self else { return pending().await };
        if *has_failed {
            return pending().await;
        }
        // The thread outlives its orders, unless something is wrong with it that it could not tell.
        let report = queue
            .recv()
            .await
            .unwrap_or_else(|| Report::Failed(Error::Panic { message: "the storage's thread ended".into() }));
        *has_failed = matches!(report, Report::Failed(_));
        report
    }
}

/// A storage to which nothing is written is verified so often: a file may be deleted under it.
const VERIFIES_EVERY: Duration = Duration::from_secs(3);

struct Order {
    seat: u64,
    number: u64,
    write: Write,
}

pub enum Report {
    Loaded(Option<Recovered>),
    Saved { seat: u64, number: u64 },
    Failed(Error),
}

/// The thread. Its end closes the storage first, and then the way of the reports.
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
        let (mut seat, mut number) = (order.seat, order.number);
        let mut writes = vec![order.write];
        while let Ok(next) = queue.try_recv() {
            (seat, number) = (next.seat, next.number);
            writes.push(next.write);
        }
        crash::point("before-save");
        storage.save(&writes)?;
        crash::point("after-save");
        let _ = reports.send(Report::Saved { seat, number });
    }
}
