//! The outbound side of a link: a bounded queue, and the socket to which the thread that ends a turn writes it.
//!
//! Filled by the driver and by JavaScript's thread, each in its turns; the supervisor gives it the socket of a session.
//! A turn's frames leave in one write, on the thread that had the turn: no other is woken for it. It must never wait: what
//! the socket does not take is for the publisher.

use std::{
    io,
    sync::{Mutex, MutexGuard},
};

use bytes::Bytes;
use redis::Cmd;
use tokio::sync::Notify;

use super::{Limits, OutboundFrame, Queue, topics::Topics};
use crate::{
    channel::{Sender, lock, socket::Socket},
    raft::{Lane, Target},
};

pub(super) struct SocketWriter {
    pub(super) queue: Queue<OutboundFrame>,
    topics: Topics,
    /// The socket of the present session, unless only the publisher can write to it.
    open_socket: Mutex<Option<OpenSocket>>,
    /// What the publisher sends when everything queued has left, if only it can write.
    last: Mutex<Option<Cmd>>,
    /// Holds one permit if the publisher is to look: the socket takes no more, or has failed, or the link was closed.
    is_stuck: Notify,
}

/// A socket, and what it did not take yet.
struct OpenSocket {
    socket: Socket,
    frames: Vec<OutboundFrame>,
    bytes: Vec<u8>,
    written: usize,
    error: Option<io::Error>,
}

impl SocketWriter {
    /// How much is taken from the queue at a time. The rest stays where the oldest are dropped if it gets too much.
    const AT_ONCE: Limits = Limits { count_max: Limits::TAKEN_AT_ONCE, bytes_max: 256 << 10 };

    pub(super) fn new(topics: Topics) -> Self {
        let queue = Queue::new(Limits::OF_A_LINK);
        Self { queue, topics, open_socket: Mutex::new(None), last: Mutex::new(None), is_stuck: Notify::new() }
    }

    /// A session begins: what is queued leaves over this socket, after the command.
    pub(super) fn open(&self, socket: Socket, first: &Cmd) {
        let bytes = first.get_packed_command();
        *self.open_socket() = Some(OpenSocket { socket, frames: Vec::new(), bytes, written: 0, error: None });
        self.flush();
    }

    /// The session is over. What its socket did not take is lost.
    pub(super) fn shut(&self) {
        *self.open_socket() = None;
    }

    /// Lets nothing in any more but this command. What is queued still leaves.
    pub(super) fn close(&self, last: Option<Cmd>) {
        match &mut *self.open_socket() {
            Some(open_socket) => {
                last.iter().for_each(|command| command.write_packed_command(&mut open_socket.bytes))
            }
            None => *lock(&self.last) = last,
        }
        self.queue.close();
        self.is_stuck.notify_one();
    }

    /// Writes commands behind what the socket did not take yet, with nothing between them.
    pub(super) fn commands(&self, commands: &[Cmd]) {
        if let Some(open_socket) = &mut *self.open_socket() {
            for command in commands {
                command.write_packed_command(&mut open_socket.bytes);
            }
        }
        self.flush();
    }

    /// Waits until the publisher is to look.
    pub(super) async fn stuck(&self) {
        self.is_stuck.notified().await;
    }

    /// Why nothing leaves any more.
    pub(super) fn error(&self) -> Option<io::Error> {
        self.open_socket().as_mut().and_then(|open_socket| open_socket.error.take())
    }

    /// The link was closed, and the socket has taken everything.
    pub(super) fn is_done(&self) -> bool {
        self.open_socket().as_ref().is_some_and(OpenSocket::is_empty) && self.queue.is_done()
    }

    pub(super) fn take_last(&self) -> Option<Cmd> {
        lock(&self.last).take()
    }

    fn open_socket(&self) -> MutexGuard<'_, Option<OpenSocket>> {
        lock(&self.open_socket)
    }
}

impl Sender for SocketWriter {
    fn send(&self, to: Target, _: Lane, frame: Bytes) {
        self.queue.add((to, frame));
    }

    fn flush(&self) {
        let mut open_socket = self.open_socket();
        match &mut *open_socket {
            None => self.queue.wake(),
            Some(open_socket) => {
                if !open_socket.write(&self.queue, &self.topics) {
                    self.is_stuck.notify_one();
                }
            }
        }
    }
}

impl OpenSocket {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Writes all that is queued; `false` if the socket does not take it.
    fn write(&mut self, queue: &Queue<OutboundFrame>, topics: &Topics) -> bool {
        while self.error.is_none() {
            if self.is_empty() {
                if !queue.try_take(&mut self.frames, SocketWriter::AT_ONCE) {
                    return true;
                }
                for frame in self.frames.drain(..) {
                    topics.publish(&frame).write_packed_command(&mut self.bytes);
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
