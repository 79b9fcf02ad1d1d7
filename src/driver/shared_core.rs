//! The core, shared by two threads that take turns: the driver's thread, and JavaScript's thread for small inputs.
//!
//! Used by `driver.rs`, and through [`Handle`] by `js/`. Waking a thread takes longer than most turns, so the calling
//! thread evaluates, proposes and sends a call itself. The thread with the lock has the turn; JavaScript's thread waits
//! for the lock only to read the status.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::clock::Clock;
use super::storage_thread::WriteHandle;
use super::stores;
use super::{Application, message_of};
use crate::channel::Outbound;
use crate::channel::marker::MarkerRequest;
use crate::crash;
use crate::error::Error;
use crate::raft::coordination::Timers;
use crate::raft::{Commits, Delivery, Incarnation, Input, Node, Status, Work};

pub enum Command {
    Input(Input),
    /// A turn on another thread has deferred something.
    Wake,
    Kill,
}

/// Access to a running node. Dropping it has no effect.
#[derive(Clone)]
pub struct Handle {
    mailbox: UnboundedSender<Command>,
    shared_core: Arc<SharedCore>,
}

impl Handle {
    pub(super) fn new(mailbox: UnboundedSender<Command>, shared_core: Arc<SharedCore>) -> Self {
        Self { mailbox, shared_core }
    }

    /// Sends an input to the core, from any thread; never blocks. After the node has stopped, the input is dropped.
    pub fn send(&self, input: Input) {
        self.shared_core.waiting.fetch_add(1, Ordering::SeqCst);
        let _ = self.mailbox.send(Command::Input(input));
    }

    /// Handles an input immediately on this thread, if the core is free and no earlier input waits; otherwise sends it.
    /// For small inputs, from the one thread that calls [`Self::send`].
    pub fn run_inline(&self, input: Input) {
        if let Some(input) = self.turn(input, None) {
            self.send(input);
        }
    }

    /// The same; if the only resulting delivery is a batch of evaluations, returns it instead of delivering it.
    pub fn run_inline_and_evaluate(&self, input: Input) -> Option<Vec<Delivery>> {
        let mut evaluations = None;
        if let Some(input) = self.turn(input, Some(&mut evaluations)) {
            self.send(input);
        }
        evaluations
    }

    /// Returns the input if the core is busy.
    fn turn(&self, input: Input, evaluations: Option<&mut Option<Vec<Delivery>>>) -> Option<Input> {
        if self.shared_core.waiting.load(Ordering::SeqCst) > 0 {
            return Some(input);
        }
        let mut core = match self.shared_core.core.try_lock() {
            Ok(core) => core,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Some(input),
        };
        if core.node.is_none() || core.deferred.is_some() {
            return Some(input);
        }
        if matches!(input, Input::TurnOver) && core.ends_turn_alone() {
            return None;
        }
        core.turn([input], Thread::JavaScript, evaluations);
        if core.deferred.is_some() {
            let _ = self.mailbox.send(Command::Wake);
        }
        None
    }

    /// The node as it is between two turns.
    pub fn status(&self) -> Status {
        self.shared_core.lock().status()
    }

    /// What `Node::withdraw` returns; false if the call may not have reached the core yet.
    pub fn withdraw(&self, sequence: u64) -> bool {
        let mut core = self.shared_core.lock();
        let has_every_input = self.shared_core.waiting.load(Ordering::SeqCst) == 0;
        core.node.as_mut().filter(|_| has_every_input).is_some_and(|node| node.withdraw(sequence))
    }

    /// What `Node::commits` returns; nothing before the storage is read, nor after the end.
    pub fn commits(&self, from: u64, until: u64) -> Commits {
        self.shared_core.lock().node.as_ref().map_or_else(Commits::default, |node| node.commits(from, until))
    }

    /// What `Node::evaluation_seed` returns.
    pub fn evaluation_seed(&self, batch: u64, position: usize) -> u64 {
        self.shared_core.lock().node.as_ref().map_or(0, |node| node.evaluation_seed(batch, position))
    }

    /// What `read` makes of `Node::timers`; `None` before the node is in a cluster.
    pub fn timers<T>(&self, read: impl FnOnce(&Timers, (usize, usize)) -> T) -> Option<T> {
        let core = self.shared_core.lock();
        core.node.as_ref()?.timers().map(|(timers, expected)| read(timers, expected))
    }

    /// Ends the node without grace, as a crash would; `Application::stopped` is not called.
    pub fn kill(&self) {
        let _ = self.mailbox.send(Command::Kill);
    }
}

/// The core behind its lock.
pub struct SharedCore {
    core: Mutex<LockedCore>,
    /// How many inputs are in the mailbox, or taken out of it and not handled yet: nothing may overtake them.
    waiting: AtomicUsize,
}

/// The inputs of the driver's thread since its last turn.
#[derive(Default)]
pub struct TurnInputs {
    pub inputs: Vec<Input>,
    /// The number of inputs from the mailbox.
    pub sent: usize,
}

impl TurnInputs {
    /// Takes a command and all queued ones; `false` if the node must be killed.
    pub fn take(&mut self, first: Option<Command>, commands: &mut UnboundedReceiver<Command>) -> bool {
        let mut next = first;
        loop {
            match next {
                Some(Command::Input(input)) => {
                    self.inputs.push(input);
                    self.sent += 1;
                }
                Some(Command::Wake) => {}
                Some(Command::Kill) | None => return false,
            }
            match commands.try_recv() {
                Ok(command) => next = Some(command),
                Err(_) => return true,
            }
        }
    }
}

impl SharedCore {
    pub fn new(core: LockedCore) -> Self {
        Self { core: Mutex::new(core), waiting: AtomicUsize::new(0) }
    }

    /// A turn of the driver's thread. Returns deferred work, which that thread must do before its next turn.
    pub fn turn(&self, turn_inputs: &mut TurnInputs) -> Option<Deferred> {
        let mut core = self.lock();
        core.turn(turn_inputs.inputs.drain(..), Thread::Driver, None);
        self.waiting.fetch_sub(std::mem::take(&mut turn_inputs.sent), Ordering::SeqCst);
        core.deferred.take()
    }

    /// Panics under the lock are caught under it.
    pub fn lock(&self) -> MutexGuard<'_, LockedCore> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The core, and everything that its work needs on either thread.
///
/// Invariant: while work is deferred to the driver's thread, no other work is taken from the node.
pub struct LockedCore {
    /// None before the storage is read, and after the end.
    node: Option<Node>,
    write_handle: Option<WriteHandle>,
    outbound: Option<Outbound>,
    /// The last `Input::MayHibernate` that the node received.
    may_hibernate: bool,
    /// Starts when the node first joins a channel.
    clock: Option<Clock>,
    application: Option<Box<dyn Application>>,
    deferred: Option<Deferred>,
    /// While there is no node.
    status: Status,
}

/// The thread that has the turn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Thread {
    Driver,
    JavaScript,
}

/// Work that only the driver's thread can do.
pub enum Deferred {
    Join(Incarnation),
    Stop(Option<Error>),
    Panic(String),
}

impl LockedCore {
    pub fn new(application: Box<dyn Application>, status: Status) -> Self {
        let application = Some(application);
        Self {
            node: None,
            write_handle: None,
            outbound: None,
            may_hibernate: false,
            clock: None,
            application,
            deferred: None,
            status,
        }
    }

    pub fn begin(&mut self, node: Node, write_handle: WriteHandle) {
        (self.node, self.write_handle) = (Some(node), Some(write_handle));
    }

    /// The node has joined its channel.
    pub fn joined(&mut self, outbound: Outbound, tick: Duration) {
        self.outbound = Some(outbound);
        self.clock.get_or_insert_with(|| Clock::new(tick, Instant::now()));
    }

    /// When the driver's thread must take a turn, even without inputs.
    pub fn due(&self) -> Option<Instant> {
        self.clock.as_ref().map(Clock::due)
    }

    /// What this node needs from its channel's marker, and the note of its cluster for the channel.
    pub fn marker_state(&self) -> (MarkerRequest, Option<Bytes>) {
        let Some(node) = &self.node else { return (MarkerRequest::Nothing, None) };
        let request = match node {
            node if node.keeps_cluster() => MarkerRequest::Keep,
            node if node.may_found() => MarkerRequest::Look,
            _ => MarkerRequest::Nothing,
        };
        (request, node.note())
    }

    fn status(&self) -> Status {
        self.node.as_ref().map_or_else(|| self.status.clone(), Node::status)
    }

    /// From now on turns have no effect.
    pub fn end(&mut self) -> (Option<Box<dyn Application>>, Option<WriteHandle>) {
        // A core that panicked may panic again.
        if let Ok(status) = catch_unwind(AssertUnwindSafe(|| self.status())) {
            self.status = status;
        }
        self.node = None;
        (self.application.take(), self.write_handle.take())
    }

    /// JavaScript has finished its turn: returns whether no message was waiting for that, so that the core needs no turn of
    /// its own.
    fn ends_turn_alone(&mut self) -> bool {
        let Some(node) = self.node.as_mut().filter(|node| !node.is_delaying()) else { return false };
        node.handle(Input::TurnOver);
        true
    }

    fn turn(
        &mut self,
        inputs: impl IntoIterator<Item = Input>,
        thread: Thread,
        evaluations: Option<&mut Option<Vec<Delivery>>>,
    ) {
        let turn = catch_unwind(AssertUnwindSafe(|| {
            if let Some(node) = &mut self.node {
                node.allow_second_batch(thread == Thread::Driver);
                let ticks = self.clock.as_mut().map_or(0, |clock| clock.passed(Instant::now()));
                (0..ticks).for_each(|_| node.handle(Input::Tick));
                if let Some(clock) = self.clock.as_ref().filter(|_| ticks > 0) {
                    node.handle(Input::TickNumber(clock.number()));
                }
                let may_hibernate = stores::are_many();
                if std::mem::replace(&mut self.may_hibernate, may_hibernate) != may_hibernate {
                    node.handle(Input::MayHibernate(may_hibernate));
                }
                inputs.into_iter().for_each(|input| node.handle(input));
            }
            self.execute(evaluations);
            if let (Some(node), Some(clock)) = (&self.node, &mut self.clock) {
                clock.set_ticks_until_due(node.ticks_until_wakeup());
            }
        }));
        if let Err(panic) = turn {
            self.deferred = Some(Deferred::Panic(message_of(&*panic)));
        }
    }

    /// Executes the work of the core, until a part must be deferred to the driver's thread.
    ///
    /// The frames of the turn leave together, before JavaScript is woken, because they take longer to arrive.
    fn execute(&mut self, mut evaluations: Option<&mut Option<Vec<Delivery>>>) {
        let Some(node) = &mut self.node else { return };
        let mut batches = Vec::new();
        let mut has_sent = false;
        while self.deferred.is_none()
            && let Some(work) = node.poll()
        {
            match work {
                Work::Join(incarnation) => self.deferred = Some(Deferred::Join(incarnation)),
                Work::Stop(error) => self.deferred = Some(Deferred::Stop(error)),
                Work::Send(target, lane, frame) => {
                    if let Some(outbound) = &self.outbound {
                        outbound.send(target, lane, frame);
                        has_sent = true;
                    }
                }
                Work::Persist(number, write) => {
                    if let Some(input) =
                        self.write_handle.as_mut().and_then(|write_handle| write_handle.save(number, *write))
                    {
                        node.handle(input);
                    }
                }
                Work::Deliver(batch) => match &mut evaluations {
                    Some(evaluations) if batch.iter().all(is_evaluation) => **evaluations = Some(batch),
                    _ => batches.push(batch),
                },
            }
        }
        if let Some(outbound) = self.outbound.as_ref().filter(|_| has_sent) {
            crash::point("before-send");
            outbound.flush();
            crash::point("after-send");
        }
        for batch in batches {
            if let Some(application) = &self.application {
                crash::point("before-apply");
                application.deliver(batch);
                crash::point("after-apply");
            }
        }
    }
}

fn is_evaluation(delivery: &Delivery) -> bool {
    delivery.is_evaluation()
}
