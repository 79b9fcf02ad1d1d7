//! Records the states that single processes can be in, and where each event leads from there.
//!
//! A core is pure, so a process in one state answers one event in one way, whatever the other processes do: each is
//! executed once, and found in a table from then on. A core cannot be copied; one that is needed again in an earlier
//! state is recomputed from the events that lead there.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use bytes::Bytes;

use super::facts::{Facts, digest};
use crate::raft::testing::cluster::{Cluster, Noted};
use crate::raft::testing::disk::Disk;
use crate::raft::testing::script;
use crate::raft::{Input, Operation, Options, Role, Target};

/// Numbers of a state of one process, and of a frame's bytes.
pub type StateId = u32;
pub type FrameId = u32;

/// A clock that runs until its node says something runs for this many ticks at most: more than an election timeout.
pub const SILENCE_TICKS_MAX: u16 = 60;
/// So many cores are kept in the state that they are in.
const LIVE_MAX: usize = 20_000;

/// What can happen to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    Frame(FrameId),
    Tick(u16),
    /// Its clock runs until it says something.
    TickUntilHeard,
    /// Its clock runs until its role changes.
    TickUntilRole,
    /// What it has written is durable.
    Sync,
    /// A command of the scenario.
    Act(u8),
    /// JavaScript holds its batches from here on, and answers them.
    Busy,
    MethodResult,
    /// Only what is durable is left.
    Crash,
    Restart,
}

/// Something that an application or an operator does.
#[derive(Clone, Debug)]
pub enum Act {
    Perform { method: String, args: String },
    Operation(Operation),
    Close,
}

/// Where an event leads.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub state: StateId,
    pub ticks: u16,
    pub sent: Rc<[(Target, FrameId)]>,
}

/// The states of all processes of a scenario.
pub struct Processes {
    /// What had happened to each process before.
    setups: Vec<(String, Vec<Noted>)>,
    acts: Vec<Act>,
    frames: Vec<Bytes>,
    frame_ids: HashMap<Bytes, FrameId>,
    states: Vec<State>,
    state_ids: HashMap<u64, StateId>,
    outcomes: HashMap<(StateId, Event), Result<Outcome, Rc<str>>>,
    live: BTreeMap<StateId, Instance>,
    /// Room for what is hashed.
    text: String,
    pub executed: u64,
    pub replayed: u64,
}

struct State {
    node: u8,
    /// The state and event that led here first.
    before: Option<(StateId, Event)>,
    facts: Rc<Facts>,
}

/// A process in one of its states.
struct Instance {
    name: String,
    /// A world of this process alone.
    cluster: Cluster,
    /// Of a process that is gone.
    disk: Option<Disk>,
    options: Option<Options>,
    restarts: usize,
}

impl Processes {
    pub fn new(setups: Vec<(String, Vec<Noted>)>, acts: Vec<Act>) -> Self {
        Self {
            setups,
            acts,
            frames: Vec::new(),
            frame_ids: HashMap::new(),
            states: Vec::new(),
            state_ids: HashMap::new(),
            outcomes: HashMap::new(),
            live: BTreeMap::new(),
            text: String::new(),
            executed: 0,
            replayed: 0,
        }
    }

    /// The state of each process after the setup.
    pub fn begin(&mut self) -> Vec<StateId> {
        let nodes = 0..self.setups.len();
        nodes
            .map(|node| {
                let instance = self.set_up(node);
                self.intern(node as u8, None, instance)
            })
            .collect()
    }

    pub fn name(&self, node: usize) -> &str {
        &self.setups[node].0
    }

    pub fn facts(&self, state: StateId) -> &Rc<Facts> {
        &self.states[state as usize].facts
    }

    pub fn count(&self) -> usize {
        self.states.len()
    }

    pub fn frame_id(&mut self, bytes: &Bytes) -> FrameId {
        if let Some(id) = self.frame_ids.get(bytes) {
            return *id;
        }
        let id = self.frames.len() as FrameId;
        self.frames.push(bytes.clone());
        self.frame_ids.insert(bytes.clone(), id);
        id
    }

    /// Where the event leads; `Err` if the process alone breaks a promise by it.
    pub fn after(&mut self, state: StateId, event: Event) -> Result<Outcome, Rc<str>> {
        if let Some(outcome) = self.outcomes.get(&(state, event)) {
            return outcome.clone();
        }
        let outcome = self.execute(state, event);
        self.outcomes.insert((state, event), outcome.clone());
        outcome
    }

    fn execute(&mut self, state: StateId, event: Event) -> Result<Outcome, Rc<str>> {
        self.executed += 1;
        let mut instance = self.live.remove(&state).unwrap_or_else(|| self.replay(state));
        let result = catch_unwind(AssertUnwindSafe(|| {
            let ticks = self.happen(&mut instance, event);
            (ticks, instance)
        }));
        let (ticks, mut instance) = result.map_err(|panic| Rc::from(text_of(&*panic)))?;
        let sent = instance.take_sent();
        let sent: Vec<_> = sent.into_iter().map(|(target, bytes)| (target, self.frame_id(&bytes))).collect();
        let node = self.states[state as usize].node;
        let state = self.intern(node, Some((state, event)), instance);
        Ok(Outcome { state, ticks, sent: sent.into() })
    }

    /// Makes the process again in this state.
    fn replay(&mut self, state: StateId) -> Instance {
        self.replayed += 1;
        let mut events = Vec::new();
        let mut at = state;
        while let Some((before, event)) = self.states[at as usize].before {
            events.push(event);
            at = before;
        }
        let mut instance = self.set_up(self.states[state as usize].node.into());
        for event in events.into_iter().rev() {
            self.happen(&mut instance, event);
        }
        instance.take_sent();
        instance
    }

    fn set_up(&self, node: usize) -> Instance {
        let (name, setup) = &self.setups[node];
        let mut instance = Instance::new(name);
        setup.iter().for_each(|noted| instance.repeat(noted));
        instance.take_sent();
        instance
    }

    fn happen(&self, instance: &mut Instance, event: Event) -> u16 {
        match event {
            Event::Frame(frame) => instance.input(Input::Frame(self.frames[frame as usize].clone())),
            Event::Act(act) => instance.act(&self.acts[usize::from(act)]),
            Event::Tick(ticks) => (0..ticks).for_each(|_| instance.input(Input::Tick)),
            Event::TickUntilHeard => {
                let sent = instance.sent().len();
                return instance.tick_until(|instance| instance.sent().len() > sent);
            }
            Event::TickUntilRole => {
                let role = instance.role();
                return instance.tick_until(|instance| instance.role() != role);
            }
            Event::Sync => instance.cluster.sync(&instance.name),
            Event::Busy => instance.set_busy(true),
            Event::MethodResult => {
                instance.set_busy(false);
                instance.cluster.answer(&instance.name);
            }
            Event::Crash => instance.crash(),
            Event::Restart => instance.restart(),
        }
        0
    }

    fn intern(&mut self, node: u8, before: Option<(StateId, Event)>, instance: Instance) -> StateId {
        let fingerprint = instance.fingerprint(node, &mut self.text);
        let id = match self.state_ids.get(&fingerprint) {
            Some(id) => *id,
            None => {
                let id = self.states.len() as StateId;
                let facts = Rc::new(instance.facts());
                self.states.push(State { node, before, facts });
                self.state_ids.insert(fingerprint, id);
                id
            }
        };
        self.live.insert(id, instance);
        if self.live.len() > LIVE_MAX {
            self.live.pop_first();
        }
        id
    }
}

impl Instance {
    fn new(name: &str) -> Self {
        let mut cluster = Cluster::new(1);
        cluster.outbox = Some(Vec::new());
        Self { name: name.to_string(), cluster, disk: None, options: None, restarts: 0 }
    }

    fn repeat(&mut self, noted: &Noted) {
        match noted.clone() {
            Noted::Start { options, has_disk } => {
                self.options = Some(options.clone());
                self.cluster.start(&self.name, options, has_disk.then(Disk::default));
            }
            Noted::Input(Input::Persisted(_)) => self.cluster.sync(&self.name),
            Noted::Input(Input::Perform(calls)) => {
                for perform in calls {
                    let args = String::from_utf8(perform.args.to_vec()).expect("the tests speak text");
                    self.cluster.perform(&self.name, &perform.method, &args);
                }
            }
            Noted::Input(Input::Operation { operation, ticks, .. }) => {
                _ = self.cluster.operation(&self.name, operation, ticks)
            }
            Noted::Input(input) => self.input(input),
        }
    }

    fn input(&mut self, input: Input) {
        self.cluster.handle(&self.name, input);
    }

    fn act(&mut self, act: &Act) {
        let leaves = self.cluster.replicas.get(&self.name).is_some_and(|replica| replica.disk.is_none());
        match act {
            Act::Perform { method, args } => _ = self.cluster.perform(&self.name, method, args),
            Act::Operation(operation) => {
                _ = self.cluster.operation(&self.name, operation.clone(), script::ASK_TICKS)
            }
            Act::Close => self.input(Input::Close { ticks: script::CLOSE_TICKS, leaves }),
        }
    }

    fn tick_until(&mut self, is_over: impl Fn(&Self) -> bool) -> u16 {
        for ticks in 1..=SILENCE_TICKS_MAX {
            self.input(Input::Tick);
            if is_over(self) {
                return ticks;
            }
        }
        SILENCE_TICKS_MAX
    }

    fn role(&self) -> Option<Role> {
        self.cluster.replicas.get(&self.name).map(|replica| replica.node.status().role)
    }

    fn sent(&self) -> &[(Target, Bytes)] {
        self.cluster.outbox.as_ref().expect("the network is ours")
    }

    fn take_sent(&mut self) -> Vec<(Target, Bytes)> {
        std::mem::take(self.cluster.outbox.as_mut().expect("the network is ours"))
    }

    fn set_busy(&mut self, is_busy: bool) {
        if let Some(replica) = self.cluster.replicas.get_mut(&self.name) {
            replica.is_busy = is_busy;
        }
    }

    fn crash(&mut self) {
        self.disk = self.cluster.crash(&self.name).and_then(|replica| replica.disk).map(|disk| disk.crash(0));
    }

    fn restart(&mut self) {
        self.restarts += 1;
        let options = self.options.as_ref().expect("it was started before");
        let options = script::restarted(options, &self.name, self.restarts);
        self.cluster.start(&self.name, options, self.disk.take());
    }

    /// Equal for two states from which equal events lead to equal states and frames.
    fn fingerprint(&self, node: u8, text: &mut String) -> u64 {
        text.clear();
        let written = match self.cluster.replicas.get(&self.name) {
            Some(replica) => {
                let javascript = (&replica.application, replica.is_busy, &replica.batches);
                write!(text, "{:?}{:?}{javascript:?}", replica.node, replica.disk)
            }
            None => write!(text, "{:?}", self.disk),
        };
        written.expect("a string takes everything");
        digest(&(node, self.restarts, &*text))
    }

    fn facts(&self) -> Facts {
        self.cluster.replicas.get(&self.name).map_or_else(Facts::of_nothing, Facts::of)
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text")
}
