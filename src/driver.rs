//! Runs a core: owns the only clock and the only `select!`, turns events into inputs, and executes the resulting work.
//! Decides nothing.
//!
//! Started by `js/`. All nodes of a process share one thread and one runtime on it, so that no thread is woken
//! between a link and the core; the thread ends with the last node. Small inputs of JavaScript are handled on
//! JavaScript's own thread (`shared_core.rs`), so that they wake no thread either.

mod clock;
#[cfg(test)]
mod inline_tests;
mod runtime;
mod shared_core;
mod storage_thread;
mod stores;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::{Instant, Sleep, sleep};

use crate::channel::{Channel, Health, Link, PeerEvent, sealed::Refusal};
use crate::error::{Error, message_of};
use crate::raft::events::FrameRefusal;
use crate::raft::{ChannelState, Delivery, Incarnation, Input, Node, Options, Status};
use crate::storage::Storage;
use shared_core::{Command, Deferred, LockedCore, SharedCore, TurnInputs};
use storage_thread::{Reports, WriteHandle};
use stores::OpenStore;

pub use shared_core::Handle;

/// The callbacks of a driver. They come one after the other, from the thread that has the turn, and must not block.
pub trait Application: Send + 'static {
    /// One batch, to be answered by exactly one `Input::Answered`; batches are answered in their order. At most two wait
    /// for their answers.
    fn deliver(&self, batch: Vec<Delivery>);
    /// The last call: the node was closed (`None`), or failed. Its tasks and links are gone, its storage is closed.
    /// Unless the core panicked, every call that reached it has been settled.
    fn stopped(&self, error: Option<Error>);
}

/// Starts a node. With a durable storage, its core is made once that is read; until then what is sent to it waits.
/// Fails where the system refuses the thread.
pub fn start(
    options: Options,
    tick: Duration,
    channel: Box<dyn Channel>,
    storage: Box<dyn Storage>,
    application: impl Application,
) -> Result<Handle, Error> {
    // Unbounded: the façade bounds calls (`maxPending`), and everything else comes one at a time.
    let (mailbox, commands) = mpsc::unbounded_channel();
    let status = Status::starting(&options, "reading its storage");
    let mut core = LockedCore::new(Box::new(application), status);
    let mut stored = Some(storage);
    if let Some(storage) = stored.take_if(|storage| !storage.is_durable()) {
        core.begin(Node::new(options.clone(), None), WriteHandle::Here(storage));
    }
    let shared_core = Arc::new(SharedCore::new(core));
    let handle = Handle::new(mailbox, shared_core.clone());
    let open_store = OpenStore::new(options.channel_name.clone());
    runtime::spawn(move || async move {
        let mut driver = Driver {
            shared_core,
            commands,
            tick,
            timer: Box::pin(sleep(Duration::ZERO)),
            channel,
            reports: Reports::None,
            link: None,
            turn_inputs: TurnInputs::default(),
            frames: Vec::new(),
        };
        let begun = match stored {
            Some(storage) => driver.recover(options, storage).await,
            None => Ok(()),
        };
        let end = match begun {
            Ok(()) => driver.turns().await,
            Err(end) => end,
        };
        drop(open_store);
        driver.end(end).await;
    })?;
    Ok(handle)
}

struct Driver {
    shared_core: Arc<SharedCore>,
    commands: UnboundedReceiver<Command>,
    tick: Duration,
    /// Wakes for the clock.
    timer: Pin<Box<Sleep>>,
    channel: Box<dyn Channel>,
    reports: Reports,
    link: Option<Link>,
    turn_inputs: TurnInputs,
    frames: Vec<Bytes>,
}

/// Why a driver ended.
enum End {
    Stopped(Option<Error>),
    Killed,
}

impl End {
    fn failed(error: Error) -> Self {
        Self::Stopped(Some(error))
    }
}

impl Driver {
    /// Creates the core from the content of the storage.
    async fn recover(&mut self, options: Options, storage: Box<dyn Storage>) -> Result<(), End> {
        let (write_handle, reports) = Reports::start(storage).map_err(End::failed)?;
        self.reports = reports;
        let loaded = loop {
            // Inputs that arrive meanwhile wait here, without a bound, as in the mailbox.
            tokio::select! {
                loaded = self.reports.load() => break loaded,
                command = self.commands.recv() => {
                    if !self.turn_inputs.take(command, &mut self.commands) {
                        return Err(End::Killed);
                    }
                }
            }
        };
        let recovered = loaded.map_err(End::failed)?;
        let begun = catch_unwind(AssertUnwindSafe(|| Node::new(options, recovered)));
        let node = begun.map_err(|panic| End::failed(Error::Panic { message: message_of(&*panic) }))?;
        self.shared_core.lock().begin(node, write_handle);
        Ok(())
    }

    async fn turns(&mut self) -> End {
        loop {
            while let Some(left) = self.shared_core.turn(&mut self.turn_inputs) {
                match left {
                    Deferred::Join(incarnation) => self.join(incarnation),
                    Deferred::Stop(error) => return End::Stopped(error),
                    // A panic is a bug in the core. It ends this node, never the application's process.
                    Deferred::Panic(message) => return End::failed(Error::Panic { message }),
                }
            }
            self.set_timer();
            if !self.wait_for_inputs().await {
                return End::Killed;
            }
        }
    }

    /// Leaves a timer alone that wakes too early, because setting one is a system call: in an idle cluster, frames
    /// wake this thread before the clock does.
    fn set_timer(&mut self) {
        let Some(due) = self.shared_core.lock().due().map(Instant::from_std) else { return };
        if due < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(due);
        }
    }

    fn join(&mut self, incarnation: Incarnation) {
        // The former link leaves first: the next one finds out again what it knew of a cluster.
        self.link = None;
        let mut link = self.channel.join(incarnation);
        let health = link.health.borrow_and_update().clone();
        link.found.mark_unchanged();
        self.shared_core.lock().joined(link.outbound.clone(), self.tick);
        self.turn_inputs.inputs.push(Input::Channel(state_of(health)));
        self.link = Some(link);
    }

    /// Waits until something happens; `false` if the node is to be killed.
    async fn wait_for_inputs(&mut self) -> bool {
        let Some(link) = &mut self.link else {
            // Until the core asks to join a channel there are no frames: only commands and the storage wake the
            // driver.
            tokio::select! {
                command = self.commands.recv() => return self.turn_inputs.take(command, &mut self.commands),
                input = self.reports.next() => self.turn_inputs.inputs.push(input),
            }
            return true;
        };
        let (request, note) = self.shared_core.lock().marker_state();
        if let Some(note) = note {
            link.marker.set_note(note);
        }
        link.marker.set_request(request);
        let inputs = &mut self.turn_inputs.inputs;
        // Not biased: frequent events must not starve the clock or the others.
        loop {
            tokio::select! {
                command = self.commands.recv() => return self.turn_inputs.take(command, &mut self.commands),
                () = &mut self.timer => {
                    // An earlier turn has already handled the ticks for which the timer was set.
                    let due = self.shared_core.lock().due().map(Instant::from_std);
                    if let Some(due) = due.filter(|due| *due > Instant::now()) {
                        self.timer.as_mut().reset(due);
                        continue;
                    }
                }
                input = self.reports.next() => inputs.push(input),
                Ok(()) = link.health.changed() => {
                    let health = link.health.borrow_and_update().clone();
                    // Before the state of the channel: a node may found a cluster as soon as its channel is healthy.
                    inputs.push(Input::ClusterFound(*link.found.borrow_and_update()));
                    inputs.extend(link.noted.borrow().clone().map(Input::Noted));
                    inputs.push(Input::Channel(state_of(health)));
                }
                Some(event) = link.peers.recv() => inputs.push(match event {
                    PeerEvent::Connected(peer) => Input::PeerConnected(peer),
                    PeerEvent::Disconnected(peer) => Input::PeerDisconnected(peer),
                    PeerEvent::Refused(cause) => Input::PeerRefused(cause),
                }),
                Ok(()) = link.found.changed() => {
                    inputs.push(Input::ClusterFound(*link.found.borrow_and_update()));
                }
                _ = link.inbound.recv_many(&mut self.frames) => {
                    inputs.extend(self.frames.drain(..).map(Input::Frame));
                    let refusals = link.inbound.take_refusals().into_iter();
                    inputs.extend(refusals.filter_map(reported).map(Input::FrameRefused));
                }
            }
            return true;
        }
    }

    async fn end(mut self, end: End) {
        let (application, write_handle) = self.shared_core.lock().end();
        let End::Stopped(error) = end else { return };
        if let Some(link) = self.link.take() {
            link.close().await;
        }
        tokio::select! {
            // A failure of the storage must still be reported: the node's last write may be missing.
            saved = self.reports.end(write_handle) => {
                if let Some(application) = application {
                    application.stopped(error.or(saved.err()));
                }
            }
            () = killed(&mut self.commands) => {}
        }
    }
}

/// Waits for a kill, ignoring everything else.
async fn killed(commands: &mut UnboundedReceiver<Command>) {
    loop {
        match commands.recv().await {
            Some(Command::Input(_) | Command::Wake) => {}
            Some(Command::Kill) => return,
            None => std::future::pending().await,
        }
    }
}

/// The reasons that the core reports; the others are harmless, or happen on a channel that repeats frames.
fn reported(refusal: Refusal) -> Option<FrameRefusal> {
    match refusal {
        Refusal::Unsealed => Some(FrameRefusal::Unsealed),
        Refusal::Sealed => Some(FrameRefusal::Sealed),
        Refusal::UnknownKey => Some(FrameRefusal::UnknownKey),
        Refusal::Forged => Some(FrameRefusal::Forged),
        Refusal::Replayed | Refusal::Misdirected | Refusal::Malformed | Refusal::OtherVersion => None,
    }
}

fn state_of(health: Health) -> ChannelState {
    match health {
        Health::Connecting => ChannelState::Connecting,
        Health::Healthy => ChannelState::Healthy,
        Health::Broken { cause } => ChannelState::Broken { cause },
    }
}
