//! The outbound side of shared connections: the links that have frames, and the socket to which the thread that ends a
//! turn writes them.
//!
//! Filled by the driver and by JavaScript's thread, each in its turns; the supervisor gives it the socket of a session.
//! A turn's frames leave in one write. Links take turns, so that one that floods delays the others by no more than its
//! share of a write. It must never wait: what the socket does not take is for the publisher.

use std::{
    collections::VecDeque,
    io,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use redis::Cmd;
use tokio::sync::Notify;

use super::{
    super::{Limits, lock, socket::Socket},
    packing::Packing,
    redis_link::{Batch, RedisLink},
};

pub(super) struct SocketWriter {
    pub(super) packing: Packing,
    /// The links with frames, each once, in the order of their turns.
    turns: Mutex<VecDeque<Arc<RedisLink>>>,
    /// The socket of the present session, unless only the publisher can write to it.
    open_socket: Mutex<Option<OpenSocket>>,
    /// What the publisher sends besides frames, if only it can write.
    commands: Mutex<Vec<Cmd>>,
    /// The last link has left: what is queued still leaves.
    is_closed: AtomicBool,
    /// The publisher sends what it has taken.
    is_publishing: AtomicBool,
    /// Holds one permit if frames or commands wait for the publisher.
    has_frames: Notify,
    /// Holds one permit if the publisher is to look: the socket takes no more, or has failed, or the last link has left.
    is_stuck: Notify,
    /// Holds one permit if there is something to be written after the turns of this moment.
    is_deferred: Notify,
    /// Wakes the links that wait until their frames are written.
    has_written: Notify,
}

/// A socket, and what it did not take yet.
struct OpenSocket {
    socket: Socket,
    bytes: Vec<u8>,
    written: usize,
    error: Option<io::Error>,
}

impl SocketWriter {
    /// How much is taken from the queues at a time. The rest stays where the oldest are dropped if it gets too much.
    const BATCH_BYTES_MAX: usize = 256 << 10;

    /// How much is taken from one link before the others have their turns.
    const SHARE: Limits = Limits { count_max: Limits::TAKEN_AT_ONCE, bytes_max: 64 << 10 };

    pub(super) fn new(packing: Packing) -> Self {
        Self {
            packing,
            turns: Mutex::default(),
            open_socket: Mutex::default(),
            commands: Mutex::default(),
            is_closed: AtomicBool::new(false),
            is_publishing: AtomicBool::new(false),
            has_frames: Notify::new(),
            is_stuck: Notify::new(),
            is_deferred: Notify::new(),
            has_written: Notify::new(),
        }
    }

    /// A session begins: what is queued leaves over this socket, after the command.
    pub(super) fn open(&self, socket: Socket, first: &Cmd) {
        let bytes = first.get_packed_command();
        *self.open_socket() = Some(OpenSocket { socket, bytes, written: 0, error: None });
        self.write();
    }

    /// The session is over. What its socket did not take is lost.
    pub(super) fn shut(&self) {
        *self.open_socket() = None;
        lock(&self.commands).clear();
        self.is_publishing.store(false, Ordering::Relaxed);
    }

    /// The link has frames.
    pub(super) fn enqueue(&self, link: &Arc<RedisLink>) {
        if !link.is_queued.swap(true, Ordering::AcqRel) {
            lock(&self.turns).push_back(link.clone());
        }
    }

    /// Has what is queued written after the turns of this moment.
    pub(super) fn defer(&self) {
        self.is_deferred.notify_one();
    }

    pub(super) async fn deferred(&self) {
        self.is_deferred.notified().await;
    }

    /// Writes all that is queued.
    pub(super) fn write(&self) {
        let is_stuck = match &mut *self.open_socket() {
            None => {
                self.has_frames.notify_one();
                return;
            }
            Some(open_socket) => !open_socket.write(self),
        };
        if is_stuck {
            self.is_stuck.notify_one();
        } else {
            self.has_written.notify_waiters();
        }
    }

    /// What is queued still leaves.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        self.is_stuck.notify_one();
        self.has_frames.notify_one();
    }

    /// Writes commands behind what the socket did not take yet, with nothing between them.
    pub(super) fn write_commands(&self, commands: &[Cmd]) {
        match &mut *self.open_socket() {
            Some(open_socket) => {
                for command in commands {
                    command.write_packed_command(&mut open_socket.bytes);
                }
            }
            None => lock(&self.commands).extend_from_slice(commands),
        }
        self.write();
    }

    /// Waits until the publisher is to look.
    pub(super) async fn stuck(&self) {
        self.is_stuck.notified().await;
    }

    /// Why nothing leaves any more.
    pub(super) fn error(&self) -> Option<io::Error> {
        self.open_socket().as_mut().and_then(|open_socket| open_socket.error.take())
    }

    /// The last link has left, and the socket has taken everything.
    pub(super) fn is_done(&self) -> bool {
        let is_written = self.open_socket().as_ref().is_some_and(OpenSocket::is_empty);
        self.is_closed.load(Ordering::Relaxed) && is_written && lock(&self.turns).is_empty()
    }

    /// Waits until everything that the link has queued is written.
    pub(super) async fn drained(&self, link: &RedisLink) {
        loop {
            let mut written = pin!(self.has_written.notified());
            written.as_mut().enable();
            let is_written = self.open_socket().as_ref().is_none_or(OpenSocket::is_empty)
                && lock(&self.commands).is_empty()
                && !self.is_publishing.load(Ordering::Relaxed);
            if is_written && link.outbound.is_empty() {
                return;
            }
            written.await;
        }
    }

    /// What the publisher is to send: commands, and frames. `None` once the last link has left and all of it was taken.
    pub(super) async fn next_batch(&self) -> Option<(Vec<Cmd>, Batch)> {
        self.is_publishing.store(false, Ordering::Relaxed);
        self.has_written.notify_waiters();
        loop {
            let commands = std::mem::take(&mut *lock(&self.commands));
            let batch = self.take_batch();
            if !commands.is_empty() || !batch.is_empty() {
                self.is_publishing.store(true, Ordering::Relaxed);
                return Some((commands, batch));
            }
            if self.is_closed.load(Ordering::Relaxed) {
                return None;
            }
            self.has_frames.notified().await;
        }
    }

    /// Drops what is queued.
    pub(super) fn clear(&self) {
        for link in lock(&self.turns).drain(..) {
            link.is_queued.store(false, Ordering::Release);
            link.outbound.clear();
        }
    }

    /// The oldest frames of each link in turn.
    fn take_batch(&self) -> Batch {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < Self::BATCH_BYTES_MAX {
            let Some(link) = lock(&self.turns).pop_front() else { break };
            // Before its frames are taken: a frame that is queued from now on queues it again.
            link.is_queued.store(false, Ordering::Release);
            let mut frames = Vec::new();
            if link.outbound.try_take(&mut frames, Self::SHARE) {
                bytes += frames.iter().map(|(_, frame)| frame.len()).sum::<usize>();
                if !link.outbound.is_empty() {
                    self.enqueue(&link);
                }
                batch.push((link, frames));
            }
        }
        batch
    }

    fn open_socket(&self) -> MutexGuard<'_, Option<OpenSocket>> {
        lock(&self.open_socket)
    }
}

impl OpenSocket {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Writes all that is queued; `false` if the socket does not take it.
    fn write(&mut self, writer: &SocketWriter) -> bool {
        while self.error.is_none() {
            if self.is_empty() {
                let batch = writer.take_batch();
                if batch.is_empty() {
                    return true;
                }
                for command in writer.packing.commands(batch) {
                    command.write_packed_command(&mut self.bytes);
                }
            }
            match self.socket.try_write(&self.bytes[self.written..]) {
                Ok(count) => {
                    self.written += count;
                    if self.written == self.bytes.len() {
                        self.bytes.clear();
                        self.written = 0;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => self.error = Some(error),
            }
        }
        false
    }
}
