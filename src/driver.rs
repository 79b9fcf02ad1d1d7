//! This file runs a core: it owns the only clock and the only `select!`, turns what happens into inputs and obeys the
//! work that comes out. It decides nothing.
//!
//! Started by `js/`. All nodes of a process share one thread and one runtime on it, so that from a link to the core and
//! back no thread is woken; the thread ends with the last node.

mod keeper;
mod runtime;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::channel::{Channel, Health, Link};
use crate::crash;
use crate::error::Error;
use crate::raft::{ChannelState, Delivery, Input, Node, Options, Status, Work};
use crate::storage::Storage;
use keeper::Keeper;

/// What a driver calls. All calls come from the driver's thread, in order, and must not block.
pub trait Application: Send + 'static {
    /// One batch, to be answered by exactly one `Input::Answered`.
    fn deliver(&self, batch: Vec<Delivery>);
    /// The last call: the node was closed (`None`), or failed. Its tasks and links are gone, its storage is closed.
    fn stopped(&self, error: Option<Error>);
}

/// The way to a running node, from any thread. Dropping it changes nothing.
#[derive(Clone)]
pub struct Handle {
    // Unbounded: the façade bounds performs (`maxPending`), and everything else comes one at a time.
    mailbox: UnboundedSender<Command>,
    status: Arc<Mutex<Status>>,
}

enum Command {
    Input(Input),
    Kill,
}

impl Handle {
    /// Sends an input to the core; never blocks. After the node has stopped, it goes nowhere.
    pub fn send(&self, input: Input) {
        let _ = self.mailbox.send(Command::Input(input));
    }

    /// The node as it saw itself after its last turn.
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the node without grace, as a crash would; `Application::stopped` is not called.
    pub fn kill(&self) {
        let _ = self.mailbox.send(Command::Kill);
    }
}

/// Starts a node. With a durable storage, its core is made once that is read; until then what is sent to it waits.
pub fn start(
    options: Options,
    tick: Duration,
    channel: Box<dyn Channel>,
    storage: Box<dyn Storage>,
    application: impl Application,
) -> Handle {
    let node = (!storage.is_durable()).then(|| Node::new(options.clone(), None));
    let reading = || Status::starting(&options, "reading its storage");
    let status = Arc::new(Mutex::new(node.as_ref().map_or_else(reading, Node::status)));
    let (mailbox, mut commands) = mpsc::unbounded_channel();
    let handle = Handle { mailbox, status: status.clone() };
    runtime::spawn(move || async move {
        let begun = match node {
            Some(node) => Ok((node, Keeper::Here(storage))),
            None => recover(options, storage, &mut commands).await,
        };
        let (node, keeper) = match begun {
            Ok(begun) => begun,
            Err(End::Stopped(error)) => return application.stopped(error),
            Err(End::Killed) => return,
        };
        let driver = Driver {
            node,
            commands,
            ticks: ticker(tick),
            channel,
            keeper,
            link: None,
            application,
            status,
            frames: Vec::new(),
        };
        driver.run().await;
    });
    handle
}

/// Makes a core of what the storage kept.
async fn recover(
    options: Options,
    storage: Box<dyn Storage>,
    commands: &mut UnboundedReceiver<Command>,
) -> Result<(Node, Keeper), End> {
    let mut thread = keeper::Thread::start(storage).map_err(End::failed)?;
    // Unbounded, as the mailbox is that they came from.
    let mut waiting = Vec::new();
    let loaded = loop {
        tokio::select! {
            loaded = thread.load() => break loaded,
            command = commands.recv() => match command {
                Some(Command::Input(input)) => waiting.push(input),
                Some(Command::Kill) | None => return Err(End::Killed),
            },
        }
    };
    let recovered = loaded.map_err(End::failed)?;
    let begun = catch_unwind(AssertUnwindSafe(|| {
        let mut node = Node::new(options, recovered);
        waiting.into_iter().for_each(|input| node.handle(input));
        node
    }));
    let node = begun.map_err(|panic| End::failed(Error::Panic { message: message_of(&*panic) }))?;
    Ok((node, Keeper::Thread(thread)))
}

struct Driver<A> {
    node: Node,
    commands: UnboundedReceiver<Command>,
    ticks: Interval,
    channel: Box<dyn Channel>,
    keeper: Keeper,
    link: Option<Link>,
    application: A,
    status: Arc<Mutex<Status>>,
    frames: Vec<Bytes>,
}

/// What ended a driver.
enum End {
    Stopped(Option<Error>),
    Killed,
}

impl End {
    fn failed(error: Error) -> Self {
        Self::Stopped(Some(error))
    }
}

impl<A: Application> Driver<A> {
    async fn run(mut self) {
        match self.turns().await {
            End::Stopped(error) => {
                if let Some(link) = self.link.take() {
                    link.close().await;
                }
                tokio::select! {
                    // A storage that fails now is news too: what the node wrote last may be missing in it.
                    saved = self.keeper.end() => self.application.stopped(error.or(saved.err())),
                    () = killed(&mut self.commands) => {}
                }
            }
            End::Killed => {}
        }
    }

    async fn turns(&mut self) -> End {
        loop {
            // A panic is a bug in the core. It ends this node, never the process (DESIGN §7.1).
            let turn = catch_unwind(AssertUnwindSafe(|| self.obey()));
            match turn {
                Ok(None) => {}
                Ok(Some(end)) => return end,
                Err(panic) => return End::failed(Error::Panic { message: message_of(&*panic) }),
            }
            match self.next_inputs().await {
                Some(inputs) => {
                    let handled = catch_unwind(AssertUnwindSafe(|| {
                        inputs.into_iter().for_each(|i| self.node.handle(i))
                    }));
                    if let Err(panic) = handled {
                        return End::failed(Error::Panic { message: message_of(&*panic) });
                    }
                }
                None => return End::Killed,
            }
        }
    }

    /// Waits until something happens; `None` if the node is to be killed.
    async fn next_inputs(&mut self) -> Option<Vec<Input>> {
        let Some(link) = &mut self.link else {
            // Before the core has joined a channel there is nothing to hear; a node without a core's wish to join is
            // only ever woken from outside.
            return tokio::select! {
                command = self.commands.recv() => match command {
                    Some(Command::Input(input)) => Some(vec![input]),
                    Some(Command::Kill) | None => None,
                },
                input = self.keeper.next() => Some(vec![input]),
            };
        };
        // Not biased: whatever comes often must not keep the clock or the others from being heard.
        tokio::select! {
            command = self.commands.recv() => {
                let mut inputs = Vec::new();
                let mut next = command;
                loop {
                    match next {
                        Some(Command::Input(input)) => inputs.push(input),
                        Some(Command::Kill) | None => return None,
                    }
                    match self.commands.try_recv() {
                        Ok(command) => next = Some(command),
                        Err(_) => return Some(inputs),
                    }
                }
            }
            _ = self.ticks.tick() => Some(vec![Input::Tick]),
            input = self.keeper.next() => Some(vec![input]),
            Ok(()) = link.health.changed() => {
                let health = link.health.borrow_and_update().clone();
                Some(vec![Input::Channel(state_of(health))])
            }
            _ = link.inbound.recv_many(&mut self.frames) => {
                Some(self.frames.drain(..).map(Input::Frame).collect())
            }
        }
    }

    /// Does all the work that the core has.
    fn obey(&mut self) -> Option<End> {
        while let Some(work) = self.node.poll() {
            match work {
                Work::Join(incarnation) => {
                    let mut link = self.channel.join(incarnation);
                    let health = link.health.borrow_and_update().clone();
                    self.link = Some(link);
                    self.node.handle(Input::Channel(state_of(health)));
                }
                Work::Send(target, frame) => {
                    if let Some(link) = &self.link {
                        crash::point("before-send");
                        link.outbound.send(target, frame);
                        crash::point("after-send");
                    }
                }
                Work::Persist(number, write) => {
                    if let Some(input) = self.keeper.save(number, write) {
                        self.node.handle(input);
                    }
                }
                Work::Deliver(batch) => {
                    // JavaScript may look at the status while it handles the batch.
                    self.publish();
                    crash::point("before-apply");
                    self.application.deliver(batch);
                    crash::point("after-apply");
                }
                Work::Stop(error) => {
                    self.publish();
                    return Some(End::Stopped(error));
                }
            }
        }
        self.publish();
        None
    }

    fn publish(&self) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = self.node.status();
    }
}

/// Waits for a kill, when nothing else counts any more.
async fn killed(commands: &mut UnboundedReceiver<Command>) {
    loop {
        match commands.recv().await {
            Some(Command::Input(_)) => {}
            Some(Command::Kill) => return,
            None => std::future::pending().await,
        }
    }
}

fn state_of(health: Health) -> ChannelState {
    match health {
        Health::Connecting => ChannelState::Connecting,
        Health::Healthy => ChannelState::Healthy,
        Health::Broken { cause } => ChannelState::Broken { cause },
    }
}

fn ticker(tick: Duration) -> Interval {
    let mut ticks = interval(tick);
    // A late tick must not be followed by a burst: to Raft that would be time that never passed.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".into())
}
