//! Carries frames between nodes.
//!
//! Called by `driver.rs`. A channel may lose, delay, repeat and reorder frames; it never alters one and never
//! delivers one to another node. A channel does not know what a frame means, and may name nothing of the core but
//! [`Incarnation`], [`Target`] and [`Lane`].

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
    /// Joins the channel as `me`. Returns immediately; the link connects in the background and retries forever. Must
    /// be called on the driver's runtime, on which the link's tasks then run until the link is dropped.
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
    /// Whether there may be a cluster from which this link receives nothing.
    pub found: watch::Receiver<bool>,
    /// The note of a cluster that is, or was moments ago, on the channel.
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
    /// The two nodes refuse each other: the reason as a sentence, each once.
    Refused(String),
}

/// The outbound side of a link, for any thread. Frames wait here, bounded in number and bytes; when it is full, the
/// oldest are lost. Clones share it.
#[derive(Clone)]
pub struct Outbound(Arc<dyn Sender>);

impl Outbound {
    /// Queues a frame. Never blocks and never fails: a frame that cannot travel is a lost frame.
    pub fn send(&self, to: Target, lane: Lane, frame: Bytes) {
        self.0.send(to, lane, frame);
    }

    /// Sends the queued frames. Called once per turn, so that its frames leave together. Never blocks either.
    pub fn flush(&self) {
        self.0.flush();
    }

    #[cfg(test)]
    fn say(&self, to: Target, frame: Bytes) {
        self.send(to, Lane::Bulk, frame);
        self.flush();
    }
}

/// The outbound side of a channel.
trait Sender: Send + Sync {
    /// A channel that keeps the order of all frames may ignore the lane.
    fn send(&self, to: Target, lane: Lane, frame: Bytes);

    /// A channel without a queue has nothing to do.
    fn flush(&self) {}
}

/// The inbound side of a link. Frames wait here, bounded in number and bytes; when it is full, the oldest are lost.
pub struct Inbound {
    queue: Arc<Queue<Bytes>>,
    opener: Option<Opener>,
}

impl Inbound {
    fn new(queue: Arc<Queue<Bytes>>) -> Self {
        Self { queue, opener: None }
    }

    /// The frames that arrive are sealed.
    fn opened_by(self, opener: Opener) -> Self {
        Self { opener: Some(opener), ..self }
    }

    /// Waits until there is a frame, then appends what has arrived to `frames`, oldest first and at most
    /// [`Limits::TAKEN_AT_ONCE`]: nothing, if all of them are refused. Returns `false`, with nothing appended, only
    /// if the link is closed for good. Cancel-safe: a frame is either appended or still queued.
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

    /// The reasons for which frames were refused that must be reported and were not yet.
    pub fn take_refusals(&mut self) -> Vec<Refusal> {
        self.opener.as_mut().map(Opener::take_news).unwrap_or_default()
    }
}

/// The state of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing was received yet, and no fault is known.
    Connecting,
    /// Frames travel: a frame that this link sent to itself would arrive.
    Healthy,
    /// The link does not work, and retries forever. `cause` is a sentence for operators, and never contains a
    /// password.
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
