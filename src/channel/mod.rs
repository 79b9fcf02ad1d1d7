//! Carries frames between nodes.
//!
//! Called by `driver.rs`. A channel may lose, delay, repeat and reorder frames; it never alters one and never hands
//! one to somebody else. Everything that conflux says is a frame, so no channel ever learns what a frame means, and
//! none may name anything of the core but [`Incarnation`] and [`Target`].

#[cfg(test)]
mod contract;
pub mod custom;
pub mod marker;
pub mod memory;
mod queue;
pub mod redis;

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::watch;

use crate::raft::{Incarnation, Target};
use marker::Marker;
use queue::{Limits, Queue};

/// A way for frames to travel, set up once per node.
pub trait Channel: Send + Sync {
    /// Starts to hear and to be heard as `me`. Returns at once; the link connects by itself and tries forever.
    /// Must be called on the driver's runtime, on which the link's tasks then run until the link is dropped.
    fn join(&self, me: Incarnation) -> Link;
}

/// One incarnation's place on a channel. Dropping it leaves the channel at once: what is queued is lost, and every
/// task and connection of the link ends. [`Link::close`] does the same after sending what is queued.
pub struct Link {
    pub outbound: Outbound,
    pub inbound: Inbound,
    /// Whether frames travel at present. It starts as `Connecting`, except where there is nothing to connect to.
    pub health: watch::Receiver<Health>,
    pub marker: Arc<Marker>,
    /// Whether a cluster may be there that this link does not hear.
    pub found: watch::Receiver<bool>,
    /// What the channel keeps of a cluster that is, or was moments ago, on it.
    pub noted: watch::Receiver<Option<Bytes>>,
    attachment: Box<dyn Attachment>,
}

impl Link {
    /// Sends what is queued, for at most half a second, then leaves the channel.
    pub async fn close(self) {
        self.attachment.leave().await;
    }
}

/// The way out, from any thread. Frames queue up here, bounded in number and bytes; when it is full, the oldest are
/// lost. Clones are one way.
#[derive(Clone)]
pub struct Outbound(Arc<dyn Sender>);

impl Outbound {
    /// Queues a frame. Never blocks and never fails: a frame that cannot travel is a lost frame.
    pub fn send(&self, to: Target, frame: Bytes) {
        self.0.send(to, frame);
    }

    /// Lets go of what was queued: to be called once a turn, so that its frames leave together. Never blocks either.
    pub fn flush(&self) {
        self.0.flush();
    }

    #[cfg(test)]
    fn say(&self, to: Target, frame: Bytes) {
        self.send(to, frame);
        self.flush();
    }
}

/// What a channel does with what is sent.
trait Sender: Send + Sync {
    fn send(&self, to: Target, frame: Bytes);

    /// A channel that queues nothing has nothing to let go of.
    fn flush(&self) {}
}

/// The way in. Frames wait here, bounded in number and bytes; when it is full, the oldest are lost.
pub struct Inbound(Arc<Queue<Bytes>>);

impl Inbound {
    /// Waits until there is a frame, then appends what has arrived to `frames`, oldest first and at most
    /// [`Limits::TAKEN_AT_ONCE`]. Returns `false`, with nothing appended, only if the link is closed for good.
    /// Cancel-safe: a frame is either appended or still queued.
    pub async fn recv_many(&mut self, frames: &mut Vec<Bytes>) -> bool {
        self.0.take(frames).await
    }
}

/// What a channel knows about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not heard anything yet, and nothing is known to be wrong.
    Connecting,
    /// What this link sends, it would hear.
    Healthy,
    /// It does not work, and is tried again forever. `cause` is a sentence for people; it never holds a password.
    Broken { cause: String },
}

/// What keeps a link on its channel; dropping it leaves at once.
trait Attachment: Send {
    /// Sends what is queued, for a bounded time, then leaves.
    fn leave(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Nothing that runs under a lock of this module panics: a poisoned one still guards a sound value.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
