//! This file carries out the core's writes: a durable storage on a thread of its own, so that a slow disk never holds up
//! the clock, the links or the other nodes of the process.
//!
//! Used by `driver.rs` alone. Writes that arrive while one is being saved are saved together by the next; once a save
//! has failed, nothing is saved any more.

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::message_of;
use crate::crash;
use crate::error::Error;
use crate::raft::{Input, Recovered, Write};
use crate::storage::Storage;

/// The storage of a running node.
pub enum Keeper {
    /// On the driver's thread: this storage waits for nothing.
    Here(Box<dyn Storage>),
    Thread(Thread),
}

impl Keeper {
    /// Orders a write. The input that tells of its end is given now, or by `next` later.
    pub fn save(&mut self, number: u64, write: Write) -> Option<Input> {
        match self {
            Keeper::Here(storage) => Some(match storage.save(&[write]) {
                Ok(()) => Input::Persisted(number),
                Err(error) => Input::StorageFailed(error),
            }),
            Keeper::Thread(thread) => {
                thread.save(number, write);
                None
            }
        }
    }

    /// Waits for what a `save` amounted to. May be dropped before it ends.
    pub async fn next(&mut self) -> Input {
        match self {
            Keeper::Here(_) => pending().await,
            Keeper::Thread(thread) => thread.next().await,
        }
    }

    /// Waits until all writes are saved and the storage is closed. The error is one that `next` has not told.
    pub async fn end(self) -> Result<(), Error> {
        match self {
            Keeper::Here(_) => Ok(()),
            Keeper::Thread(thread) => thread.end().await,
        }
    }
}

/// The driver's end of a storage thread. When it is dropped, the thread saves what is ordered and ends.
pub struct Thread {
    // Unbounded: the core orders no more entries than its peers' windows and its own uncommitted proposals hold, and
    // one hard state for each of its turns.
    orders: UnboundedSender<Order>,
    // Unbounded: there is at most one report for each order.
    reports: UnboundedReceiver<Report>,
    /// Counts the seats of this node: each numbers its writes anew, and what a former seat has saved concerns nobody.
    seat: u64,
    has_failed: bool,
}

struct Order {
    seat: u64,
    number: u64,
    write: Write,
}

enum Report {
    Loaded(Option<Recovered>),
    Saved { seat: u64, number: u64 },
    Failed(Error),
}

impl Thread {
    /// Takes a storage to a thread of its own, where it begins to load at once.
    pub fn start(storage: Box<dyn Storage>) -> Result<Self, Error> {
        let (orders, queue) = mpsc::unbounded_channel();
        let (reporter, reports) = mpsc::unbounded_channel();
        std::thread::Builder::new()
            .name("conflux-storage".into())
            .spawn(move || run(storage, queue, &reporter))
            .map_err(|error| Error::Panic { message: format!("no thread for the storage: {error}") })?;
        Ok(Self { orders, reports, seat: 0, has_failed: false })
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

    pub fn save(&mut self, number: u64, write: Write) {
        self.seat += u64::from(write.seat.is_some());
        // A thread that has ended has told why.
        let _ = self.orders.send(Order { seat: self.seat, number, write });
    }

    pub async fn next(&mut self) -> Input {
        loop {
            if self.has_failed {
                return pending().await;
            }
            match self.report().await {
                Report::Saved { seat, number } if seat == self.seat => return Input::Persisted(number),
                Report::Saved { .. } | Report::Loaded(_) => {}
                Report::Failed(error) => return Input::StorageFailed(error),
            }
        }
    }

    pub async fn end(self) -> Result<(), Error> {
        let Self { orders, mut reports, .. } = self;
        drop(orders);
        let mut result = Ok(());
        while let Some(report) = reports.recv().await {
            if let Report::Failed(error) = report {
                result = Err(error);
            }
        }
        result
    }

    async fn report(&mut self) -> Report {
        let report = self.reports.recv().await;
        // The thread outlives its orders, unless something is wrong with it that it could not tell.
        let report = report
            .unwrap_or_else(|| Report::Failed(Error::Panic { message: "the storage's thread ended".into() }));
        self.has_failed |= matches!(report, Report::Failed(_));
        report
    }
}

/// The thread. Its end closes the storage first, and then the way of the reports.
fn run(storage: Box<dyn Storage>, queue: UnboundedReceiver<Order>, reports: &UnboundedSender<Report>) {
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
    mut queue: UnboundedReceiver<Order>,
    reports: &UnboundedSender<Report>,
) -> Result<(), Error> {
    let _ = reports.send(Report::Loaded(storage.load()?));
    while let Some(order) = queue.blocking_recv() {
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
    Ok(())
}
