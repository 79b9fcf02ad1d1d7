//! A world of processes and frames in one state: what can happen next, and where that leads.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use super::facts::Facts;
use super::history::History;
use super::processes::{Event, FrameId, Outcome, Processes, SILENCE_TICKS_MAX, StateId};
use super::scenarios::{Crash, Scenario};
use crate::raft::{Role, Target};

/// What was asked ends within so many ticks in which nothing goes wrong. Nodes whose founding failed wait the longest.
const HEALING_TICKS: u16 = 3_000;
/// How a text begins that says of a restored world that what was asked has no end.
pub const NOBODY_SERVES: &str = "a majority lives, but not all that was asked has ended";

/// A number of a node: its place among the names.
pub type NodeId = u8;

/// One step of a schedule. Frames are named by their place among those in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Deliver(u16),
    Lose(u16),
    /// The frame waits until nothing else is in flight.
    Hold(u16),
    Sync(NodeId),
    /// The disk answers only when nothing else happens.
    Stall(NodeId),
    /// The scenario's next command.
    Act,
    Crash(NodeId, LastWords),
    Restart(NodeId),
    /// JavaScript of the node is busy until nothing else happens.
    Busy(NodeId),
    MethodResult(NodeId),
    /// The clock of one node runs until it says something.
    Ahead(NodeId),
    /// It runs until the node's role changes, or for an election timeout. Of what the node says meanwhile only the last
    /// arrives.
    Lapse(NodeId),
    /// All clocks run until a frame is in flight or a disk is asked to write.
    Wait,
    /// Frames from and to the node wait until it is joined again.
    Cut(NodeId),
    Join,
}

/// Whether what a process has in flight arrives although it crashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastWords {
    Arrive,
    AreLost,
}

/// All nodes, and what is in flight between them.
#[derive(Clone, Debug)]
pub struct World {
    pub processes: Vec<StateId>,
    /// In the order in which they were sent.
    frames: Vec<Flight>,
    acts: u8,
    waits_left: u16,
    crashes_left: u8,
    cuts_left: u8,
    cut: Option<NodeId>,
    stalled: Vec<NodeId>,
    /// The node that the last step was about; `None` if it was about all.
    last: Option<NodeId>,
    /// A majority of the voters lives, by the configuration of the leader at the time when a node died.
    is_live: bool,
    pub history: History,
}

/// A step, and the frame that it is about.
#[derive(Clone, Debug)]
pub struct Named {
    step: Step,
    frame: Option<Flight>,
}

/// A frame in flight.
#[derive(Clone, Copy, Debug)]
struct Flight {
    from: NodeId,
    to: NodeId,
    frame: FrameId,
    is_held: bool,
}

impl World {
    /// After the scenario's setup, with these frames in flight.
    pub fn begin(
        scenario: &Scenario,
        processes: &mut Processes,
        frames: &[(NodeId, NodeId, FrameId)],
    ) -> Result<Self, String> {
        let states = processes.begin();
        let facts: Vec<Rc<Facts>> = states.iter().map(|state| processes.facts(*state).clone()).collect();
        let history = History::begin(&facts.iter().map(Rc::as_ref).collect::<Vec<_>>())?;
        let flight = |(from, to, frame): &(NodeId, NodeId, FrameId)| Flight {
            from: *from,
            to: *to,
            frame: *frame,
            is_held: false,
        };
        Ok(Self {
            processes: states,
            frames: frames.iter().map(flight).collect(),
            acts: 0,
            waits_left: scenario.waits,
            crashes_left: u8::from(scenario.crash != Crash::Never),
            cuts_left: 1,
            cut: None,
            stalled: Vec::new(),
            last: None,
            is_live: true,
            history,
        })
    }

    /// Stands for this state. Frames between two nodes keep their order; those between other nodes have none among each
    /// other, for the steps that they lead to commute.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.processes, self.acts, self.waits_left, self.crashes_left, self.cuts_left).hash(&mut hasher);
        (self.cut, &self.stalled, self.is_live, &self.history).hash(&mut hasher);
        let mut frames = self.frames.clone();
        frames.sort_by_key(|flight| (flight.from, flight.to));
        frames
            .iter()
            .for_each(|flight| (flight.from, flight.to, flight.frame, flight.is_held).hash(&mut hasher));
        hasher.finish()
    }

    /// What happens if nothing goes wrong: disks answer, frames arrive as they were sent, commands follow when nothing
    /// is in flight, and then time passes. `None`: the schedule has come to its end.
    pub fn usual(&self, processes: &Processes, scenario: &Scenario) -> Option<Step> {
        if let Some(step) = self.pending(processes) {
            return Some(step);
        }
        if let Some(node) = self.nodes().find(|node| self.can_restart(processes, scenario, *node)) {
            return Some(Step::Restart(node));
        }
        if usize::from(self.acts) < scenario.acts.len() {
            return Some(Step::Act);
        }
        if let Some(step) = self.late(processes).next() {
            return Some(step);
        }
        if self.waits_left > 0 {
            return Some(Step::Wait);
        }
        self.cut.map(|_| Step::Join)
    }

    /// What else may happen: each is one difference from the usual.
    ///
    /// Steps at different nodes commute. So a frame need not overtake others but by holding those back, is lost only
    /// where it would arrive, and what befalls a node alone does so right after a step of that node.
    pub fn unusual(&self, processes: &Processes, scenario: &Scenario) -> Vec<Step> {
        let usual = self.usual(processes, scenario);
        let mut steps = Vec::new();
        match usual {
            Some(Step::Deliver(place)) if !self.frames[usize::from(place)].is_held => {
                steps.extend([Step::Hold(place), Step::Lose(place)]);
            }
            Some(Step::Deliver(place)) => steps.push(Step::Lose(place)),
            Some(Step::Sync(node)) if !self.stalled.contains(&node) => steps.push(Step::Stall(node)),
            _ => {}
        }
        steps.extend(self.late(processes));
        let is_still = self.pending(processes).is_none();
        if usize::from(self.acts) < scenario.acts.len() {
            steps.push(Step::Act);
        }
        if is_still && self.waits_left > 0 {
            steps.push(Step::Wait);
        }
        if self.cut.is_some() {
            steps.push(Step::Join);
        }
        steps.extend(
            self.nodes().filter(|node| self.can_restart(processes, scenario, *node)).map(Step::Restart),
        );
        let is_next = |node: &NodeId| self.last.is_none_or(|last| last == *node);
        for node in self.nodes().filter(is_next) {
            let facts = processes.facts(self.processes[usize::from(node)]);
            if !facts.is_running() {
                continue;
            }
            if self.crashes_left > 0 {
                let is_sending = self.frames.iter().any(|flight| flight.from == node);
                steps.push(Step::Crash(node, LastWords::Arrive));
                steps.extend(is_sending.then_some(Step::Crash(node, LastWords::AreLost)));
            }
            if self.cuts_left > 0 {
                steps.push(Step::Cut(node));
            }
            if !facts.is_busy {
                steps.push(Step::Busy(node));
            }
            steps.extend([Step::Ahead(node), Step::Lapse(node)]);
        }
        steps.retain(|step| Some(*step) != usual);
        steps
    }

    /// By how many differences a step that is not the usual one counts. When nothing is in flight, that time passes
    /// before the next command is as usual as the command.
    pub fn differences(&self, step: Step, usual: Option<Step>) -> usize {
        usize::from(step != Step::Wait || usual != Some(Step::Act))
    }

    fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        0..self.processes.len() as NodeId
    }

    fn can_restart(&self, processes: &Processes, scenario: &Scenario, node: NodeId) -> bool {
        scenario.crash == Crash::Returns && !processes.facts(self.processes[usize::from(node)]).is_up
    }

    fn is_cut(&self, flight: &Flight) -> bool {
        self.cut.is_some_and(|node| [flight.from, flight.to].contains(&node))
    }

    /// What is in flight and does not wait for anything.
    fn pending(&self, processes: &Processes) -> Option<Step> {
        let is_writing = |node: &NodeId| {
            processes.facts(self.processes[usize::from(*node)]).is_writing && !self.stalled.contains(node)
        };
        let sync = self.nodes().find(is_writing).map(Step::Sync);
        sync.or_else(|| {
            let place = self.frames.iter().position(|flight| !flight.is_held && !self.is_cut(flight))?;
            Some(Step::Deliver(place as u16))
        })
    }

    /// What has been held back: the oldest frame of each pair of nodes, disks, and JavaScript.
    fn late<'a>(&'a self, processes: &'a Processes) -> impl Iterator<Item = Step> + 'a {
        let facts = move |node: &NodeId| processes.facts(self.processes[usize::from(*node)]);
        let syncs = self.stalled.iter().filter(move |node| facts(node).is_writing);
        let busy = self.nodes().filter(move |node| facts(node).is_busy);
        let is_first = |place: &usize| {
            let flight = self.frames[*place];
            let is_before =
                |other: &Flight| other.is_held && (other.from, other.to) == (flight.from, flight.to);
            flight.is_held && !self.is_cut(&flight) && !self.frames[..*place].iter().any(is_before)
        };
        let frames = (0..self.frames.len()).filter(is_first).map(|place| Step::Deliver(place as u16));
        syncs.map(|node| Step::Sync(*node)).chain(busy.map(Step::MethodResult)).chain(frames)
    }

    /// Takes a step; `Err` says which promise it breaks.
    pub fn take(&mut self, step: Step, processes: &mut Processes, scenario: &Scenario) -> Result<(), String> {
        match step {
            Step::Deliver(place) => {
                let flight = self.frames.remove(place.into());
                self.happen(flight.to, Event::Frame(flight.frame), processes)
            }
            Step::Lose(place) => {
                self.frames.remove(place.into());
                Ok(())
            }
            Step::Hold(place) => {
                self.frames[usize::from(place)].is_held = true;
                Ok(())
            }
            Step::Sync(node) => {
                self.stalled.retain(|stalled| *stalled != node);
                self.happen(node, Event::Sync, processes)
            }
            Step::Stall(node) => {
                self.stalled.push(node);
                self.stalled.sort_unstable();
                Ok(())
            }
            Step::Act => self.act(processes, scenario),
            Step::Crash(node, last_words) => {
                self.crashes_left -= 1;
                self.is_live &= scenario.crash == Crash::Returns || self.is_live_without(node, processes);
                let is_lost = |from| last_words == LastWords::AreLost && from == node;
                self.frames.retain(|flight| flight.to != node && !is_lost(flight.from));
                self.stalled.retain(|stalled| *stalled != node);
                self.happen(node, Event::Crash, processes)
            }
            Step::Restart(node) => self.happen(node, Event::Restart, processes),
            Step::Busy(node) => self.happen(node, Event::Busy, processes),
            Step::MethodResult(node) => self.happen(node, Event::MethodResult, processes),
            Step::Ahead(node) => self.happen(node, Event::TickUntilHeard, processes),
            Step::Lapse(node) => {
                let before = self.frames.len();
                self.happen(node, Event::TickUntilRole, processes)?;
                self.keep_last(before);
                Ok(())
            }
            Step::Wait => self.wait(processes, &mut 0),
            Step::Cut(node) => {
                self.cuts_left -= 1;
                self.cut = Some(node);
                Ok(())
            }
            Step::Join => {
                self.cut = None;
                Ok(())
            }
        }
    }

    fn act(&mut self, processes: &mut Processes, scenario: &Scenario) -> Result<(), String> {
        let number = self.acts;
        self.acts += 1;
        let act = &scenario.acts[usize::from(number)];
        let node = scenario.node_of(act, processes);
        let facts = processes.facts(self.processes[usize::from(node)]).clone();
        if !facts.is_running() {
            return Ok(());
        }
        if act.starts_with("perform") || act.ends_with(" sync") {
            self.history.operation(node.into(), &facts, act.starts_with("ask"));
        }
        self.happen(node, Event::Act(number), processes)
    }

    /// Of the frames from this place on, the last to each node.
    fn keep_last(&mut self, from: usize) {
        let new = self.frames.split_off(from);
        let is_last = |place: usize| new[place + 1..].iter().all(|later| later.to != new[place].to);
        self.frames.extend((0..new.len()).filter(|place| is_last(*place)).map(|place| new[place]));
    }

    /// The others are a majority of the voters, according to the leader.
    fn is_live_without(&self, dying: NodeId, processes: &Processes) -> bool {
        let facts = || self.processes.iter().map(|state| processes.facts(*state));
        let leaders = facts().filter(|facts| facts.is_running() && facts.role == Role::Leader);
        let Some(leader) = leaders.max_by_key(|facts| facts.term) else { return false };
        let others =
            facts().enumerate().filter(|(node, facts)| *node != usize::from(dying) && facts.is_running());
        let others: Vec<_> = others.map(|(_, facts)| facts.incarnation).collect();
        let living = leader.voters.iter().filter(|voter| others.contains(&Some(**voter)));
        living.count() > leader.voters.len() / 2
    }

    /// Nothing goes wrong from here on: if a majority lives, whatever was asked has an end within a bound, and a leader
    /// has committed everything that it has.
    pub fn heal(&self, processes: &mut Processes, scenario: &Scenario) -> Result<(), String> {
        if !self.is_live || !scenario.must_serve {
            return Ok(());
        }
        let mut world = self.clone();
        world.cut = None;
        let mut ticks = 0;
        while !world.is_settled(processes) {
            world.waits_left = 1;
            match world.usual(processes, scenario) {
                Some(Step::Wait) if ticks < HEALING_TICKS => {
                    let mut passed = 0;
                    world.wait(processes, &mut passed)?;
                    ticks += passed;
                }
                Some(step) if step != Step::Wait => world.take(step, processes, scenario)?,
                _ => {
                    let facts = world.processes.iter().map(|state| processes.facts(*state));
                    let nodes: Vec<String> = facts.map(|facts| facts.describe()).collect();
                    return Err(format!(
                        "{NOBODY_SERVES} within {HEALING_TICKS} ticks: {}",
                        nodes.join("; ")
                    ));
                }
            }
        }
        Ok(())
    }

    fn is_settled(&self, processes: &Processes) -> bool {
        let facts = || {
            let facts = self.processes.iter().map(|state| processes.facts(*state));
            facts.filter(|facts| facts.is_running())
        };
        let Some(leader) = facts().filter(|facts| facts.role == Role::Leader).max_by_key(|facts| facts.term)
        else {
            return false;
        };
        leader.commit_index == leader.last_index
            && facts().all(|facts| facts.pending == 0 && facts.leader == leader.incarnation)
    }

    /// Ticks until something is to be done, or for an election timeout; `ticks` says how many it were.
    fn wait(&mut self, processes: &mut Processes, ticks: &mut u16) -> Result<(), String> {
        self.waits_left -= 1;
        while self.pending(processes).is_none() && *ticks < SILENCE_TICKS_MAX {
            let facts = self.nodes().filter(|node| self.cut != Some(*node));
            let facts = facts.map(|node| processes.facts(self.processes[usize::from(node)]));
            // Until then each node would do nothing of its own.
            let rest = facts.filter(|facts| facts.is_running()).map(|facts| facts.ticks_until_wakeup).min();
            let rest = rest.unwrap_or(SILENCE_TICKS_MAX).clamp(1, SILENCE_TICKS_MAX - *ticks);
            *ticks += rest;
            for node in self.nodes() {
                if processes.facts(self.processes[usize::from(node)]).is_running() {
                    self.happen(node, Event::Tick(rest), processes)?;
                }
            }
        }
        self.last = None;
        Ok(())
    }

    fn happen(&mut self, node: NodeId, event: Event, processes: &mut Processes) -> Result<(), String> {
        self.last = Some(node);
        let place = usize::from(node);
        let before = self.processes[place];
        if matches!(event, Event::Frame(_)) && !processes.facts(before).is_running() {
            return Ok(());
        }
        let Outcome { state: after, sent, .. } =
            processes.after(before, event).map_err(|text| text.to_string())?;
        if after != before {
            self.processes[place] = after;
            let others = self.processes.iter().enumerate().filter(|(other, _)| *other != place);
            let others: Vec<&Facts> = others.map(|(_, state)| &**processes.facts(*state)).collect();
            let (before, after) = (processes.facts(before), processes.facts(after));
            self.history.observe(place, before, after, &others)?;
        }
        for (target, frame) in sent.iter() {
            self.send(node, *target, *frame, processes);
        }
        Ok(())
    }

    /// To the process that runs under that incarnation now.
    fn send(&mut self, from: NodeId, target: Target, frame: FrameId, processes: &Processes) {
        for to in self.nodes().filter(|to| *to != from) {
            let facts = processes.facts(self.processes[usize::from(to)]);
            let is_addressed = match target {
                Target::All => true,
                Target::One(incarnation) => facts.incarnation == Some(incarnation),
            };
            if facts.is_up && is_addressed {
                self.frames.push(Flight { from, to, frame, is_held: false });
            }
        }
    }

    /// The step, by a name that means the same where other frames are in flight.
    pub fn name(&self, step: Step) -> Named {
        let frame = match step {
            Step::Deliver(place) | Step::Lose(place) | Step::Hold(place) => {
                Some(self.frames[usize::from(place)])
            }
            _ => None,
        };
        Named { step, frame }
    }

    /// The step of this name here, if it can be taken: that very frame, or the first between the same nodes.
    pub fn find(&self, named: &Named, processes: &Processes, scenario: &Scenario) -> Option<Step> {
        let is_running = |node: NodeId| processes.facts(self.processes[usize::from(node)]).is_running();
        if let Some(frame) = named.frame {
            let is_between = |flight: &&Flight| (flight.from, flight.to) == (frame.from, frame.to);
            let is_it = |flight: &Flight| is_between(&flight) && flight.frame == frame.frame;
            let place = self.frames.iter().position(is_it);
            let place = place.or_else(|| self.frames.iter().position(|flight| is_between(&flight)))? as u16;
            return match named.step {
                Step::Deliver(_) => Some(Step::Deliver(place)),
                Step::Lose(_) => Some(Step::Lose(place)),
                _ => Some(Step::Hold(place)),
            };
        }
        let can = match named.step {
            Step::Act => usize::from(self.acts) < scenario.acts.len(),
            Step::Wait => self.waits_left > 0,
            Step::Join => self.cut.is_some(),
            Step::Restart(node) => self.can_restart(processes, scenario, node),
            Step::Sync(node) | Step::Stall(node) | Step::Busy(node) | Step::MethodResult(node) => {
                is_running(node)
            }
            Step::Ahead(node) | Step::Lapse(node) => is_running(node),
            Step::Crash(node, _) => is_running(node) && self.crashes_left > 0,
            Step::Cut(_) => self.cuts_left > 0,
            Step::Deliver(_) | Step::Lose(_) | Step::Hold(_) => false,
        };
        can.then_some(named.step)
    }

    /// What a step is in a golden script.
    pub fn commands(&self, step: Step, processes: &mut Processes, scenario: &Scenario) -> Vec<String> {
        let name = |node: NodeId| processes.name(node.into()).to_string();
        match step {
            Step::Deliver(place) => vec![self.describe("next", place, processes)],
            Step::Lose(place) => vec![self.describe("drop", place, processes)],
            Step::Sync(node) => vec![format!("sync {}", name(node))],
            Step::Act => vec![scenario.acts[usize::from(self.acts)].to_string()],
            Step::Crash(node, last_words) => {
                let mut commands = vec![format!("crash {}", name(node)), format!("lose to={}", name(node))];
                if last_words == LastWords::AreLost {
                    commands.push(format!("lose from={}", name(node)));
                }
                commands
            }
            Step::Restart(node) => vec![format!("restart {}", name(node))],
            Step::Busy(node) => vec![format!("busy {}", name(node))],
            Step::MethodResult(node) => vec![format!("answer {}", name(node))],
            Step::Ahead(node) => {
                let name = name(node);
                let outcome = processes.after(self.processes[usize::from(node)], Event::TickUntilHeard);
                vec![format!("tick {} {name}", outcome.map_or(SILENCE_TICKS_MAX, |outcome| outcome.ticks))]
            }
            Step::Lapse(node) => self.commands_of_lapse(node, processes),
            Step::Wait => {
                let mut ticks = 0;
                // If that breaks a promise, so does the step.
                _ = self.clone().wait(processes, &mut ticks);
                vec![format!("tick {ticks}")]
            }
            Step::Hold(_) | Step::Stall(_) | Step::Cut(_) | Step::Join => Vec::new(),
        }
    }

    /// The clock runs, and what is not the last to a node is lost.
    fn commands_of_lapse(&self, node: NodeId, processes: &mut Processes) -> Vec<String> {
        let state = self.processes[usize::from(node)];
        let Ok(outcome) = processes.after(state, Event::TickUntilRole) else {
            return vec![format!("tick {SILENCE_TICKS_MAX} {}", processes.name(node.into()))];
        };
        let mut commands = vec![format!("tick {} {}", outcome.ticks, processes.name(node.into()))];
        let mut world = self.clone();
        outcome.sent.iter().for_each(|(target, frame)| world.send(node, *target, *frame, processes));
        let mut place = self.frames.len();
        while place < world.frames.len() {
            let to = world.frames[place].to;
            if world.frames[place + 1..].iter().any(|later| later.to == to) {
                commands.push(world.describe("drop", place as u16, processes));
                world.frames.remove(place);
            } else {
                place += 1;
            }
        }
        commands
    }

    fn describe(&self, what: &str, place: u16, processes: &Processes) -> String {
        let flight = self.frames[usize::from(place)];
        let is_alike = |other: &&Flight| (other.from, other.to) == (flight.from, flight.to);
        let (from, to) = (processes.name(flight.from.into()), processes.name(flight.to.into()));
        match self.frames[..usize::from(place)].iter().filter(is_alike).count() {
            0 => format!("{what} {from} {to}"),
            before => format!("{what} {from} {to} {}", before + 1),
        }
    }
}
