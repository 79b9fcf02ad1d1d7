//! Carries frames between nodes.
//!
//! Called by `driver.rs`. A channel may lose, delay, repeat and reorder frames; it never alters one and never hands
//! one to somebody else. Everything that conflux says is a frame, so no channel ever learns what a frame means, and
//! none may name anything of the core but [`Incarnation`], [`Target`] and [`Lane`].

mod backoff;
#[cfg(test)]
mod contract;
pub mod custom;
pub mod local;
pub mod marker;
pub mod memory;
mod mesh;
mod queue;
pub mod redis;
pub mod sealed;
mod socket;
pub mod tcp;

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::{
    mpsc::{UnboundedReceiver, unbounded_channel},
    watch,
};

use crate::raft::{Incarnation, Lane, Target};
use marker::Marker;
use queue::{Limits, Queue};
use sealed::{Opener, Refusal};

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
    pub peers: UnboundedReceiver<PeerEvent>,
    attachment: Box<dyn Attachment>,
}

impl Link {
    /// Sends what is queued, for at most half a second, then leaves the channel.
    pub async fn close(self) {
        self.attachment.leave().await;
    }
}

/// What happens between this link and a peer, on a channel with a connection for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// Frames travel from now on.
    Connected(Incarnation),
    /// The peer's side has closed the last connection to it.
    Disconnected(Incarnation),
    /// The two do not let each other in: the reason in a sentence, each once.
    Refused(String),
}

/// The way out, from any thread. Frames queue up here, bounded in number and bytes; when it is full, the oldest are
/// lost. Clones are one way.
#[derive(Clone)]
pub struct Outbound(Arc<dyn Sender>);

impl Outbound {
    /// Queues a frame. Never blocks and never fails: a frame that cannot travel is a lost frame.
    pub fn send(&self, to: Target, lane: Lane, frame: Bytes) {
        self.0.send(to, lane, frame);
    }

    /// Lets go of what was queued: to be called once a turn, so that its frames leave together. Never blocks either.
    pub fn flush(&self) {
        self.0.flush();
    }

    #[cfg(test)]
    fn say(&self, to: Target, frame: Bytes) {
        self.send(to, Lane::Bulk, frame);
        self.flush();
    }
}

/// What a channel does with what is sent.
trait Sender: Send + Sync {
    /// A channel that keeps the order of all frames may ignore the lane.
    fn send(&self, to: Target, lane: Lane, frame: Bytes);

    /// A channel that queues nothing has nothing to let go of.
    fn flush(&self) {}
}

/// The way in. Frames wait here, bounded in number and bytes; when it is full, the oldest are lost.
pub struct Inbound {
    queue: Arc<Queue<Bytes>>,
    opener: Option<Opener>,
}

impl Inbound {
    fn new(queue: Arc<Queue<Bytes>>) -> Self {
        Self { queue, opener: None }
    }

    /// What arrives is sealed.
    fn opened_by(self, opener: Opener) -> Self {
        Self { opener: Some(opener), ..self }
    }

    /// Waits until there is a frame, then appends what has arrived to `frames`, oldest first and at most
    /// [`Limits::TAKEN_AT_ONCE`]: nothing, if all of it is refused. Returns `false`, with nothing appended, only if the
    /// link is closed for good. Cancel-safe: a frame is either appended or still queued.
    pub async fn recv_many(&mut self, frames: &mut Vec<Bytes>) -> bool {
        let first = frames.len();
        let is_open = self.queue.take(frames).await;
        if let Some(opener) = &mut self.opener {
            opener.open_all(frames, first);
        }
        is_open
    }

    /// The frame that arrived last, if it was not taken.
    #[cfg(test)]
    fn newest(&self) -> Option<Bytes> {
        let frame = self.queue.newest()?;
        self.opener.as_ref().map_or(Some(frame.clone()), |opener| opener.peek(frame))
    }

    /// Why frames were refused, if a person must know it and does not yet.
    pub fn take_refusals(&mut self) -> Vec<Refusal> {
        self.opener.as_mut().map(Opener::take_news).unwrap_or_default()
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

/// For channels without connections between peers.
fn no_peer_events() -> UnboundedReceiver<PeerEvent> {
    unbounded_channel().1
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
