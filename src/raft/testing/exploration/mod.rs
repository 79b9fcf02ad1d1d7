//! Explores, instead of drawing seeds: it takes a cluster of two or three nodes through every order of a few
//! events, with frames that are lost or late, disks and JavaScript that are slow, clocks that run ahead, a node that is
//! cut off and one that crashes.
//!
//! In the usual schedule nothing goes wrong. Then come all schedules that differ from it in one step, in two, and so
//! on, until there are no more or so many states were visited. A state is that of the whole world: of every node with
//! its disk and application, of every frame in flight, and of what clients heard. It is visited once.
//!
//! `processes` executes single nodes, `world` puts them together, `facts` and `history` say what must hold after every
//! step, `scenarios` lists what is explored, and `report` prints what broke as a golden script.
//!
//! `npm run explore` visits a million states of each scenario.

mod facts;
mod history;
mod processes;
mod report;
mod scenarios;
#[cfg(test)]
mod tests;
mod world;

use std::collections::HashSet;
use std::fmt;

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use super::script::Script;
use processes::Processes;
pub use report::Violation;
pub use scenarios::{SCENARIOS, Scenario};
use world::{NodeId, Step, World};

/// Whether a cluster serves after a schedule is looked at after those with so few differences, and after some of the
/// others: it takes longer than the schedule.
const HEALED_DIFFERENCES: usize = 1;
const HEALED_EVERY: u64 = 8;

/// What was visited.
#[derive(Clone, Debug, Default)]
pub struct Visited {
    /// Distinct states, and steps taken to find them.
    pub states: u64,
    pub steps: u64,
    /// Schedules that came to their end.
    pub schedules: u64,
    /// All schedules that differ from the usual one in fewer steps were visited.
    pub differences: usize,
    /// Nothing is left to visit.
    pub is_all: bool,
    /// States of single processes, events that were executed, and processes that were recomputed for that.
    pub process_states: usize,
    pub executed: u64,
    pub replayed: u64,
}

impl fmt::Display for Visited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, steps, schedules, differences, .. } = self;
        let how = if self.is_all {
            "all there are".to_string()
        } else {
            format!("all with fewer than {differences} differences")
        };
        write!(f, "{states} states, {how}; {steps} steps, {schedules} schedules to their end; ")?;
        let Self { process_states, executed, replayed, .. } = self;
        write!(f, "{process_states} states of single processes, {executed} executions, {replayed} replays")
    }
}

/// One scenario while it is explored.
struct Explorer<'a> {
    scenario: &'a Scenario,
    processes: Processes,
    root: World,
    /// Every visited state: the one before it, and the step from there.
    path: Vec<(u32, Step)>,
    seen: HashSet<u64>,
    /// By the number of differences: a visited state, and a step from it.
    open: Vec<Vec<(u32, Step)>>,
    visited: Visited,
}

/// Visits states of a scenario until there are no more, or so many; `Err` if one breaks a promise.
pub fn explore(scenario: &Scenario, states_max: u64) -> Result<Visited, Box<Violation>> {
    let mut explorer =
        Explorer::new(scenario).map_err(|text| Box::new(Violation::at_once(scenario, text)))?;
    let result = explorer.run(states_max);
    explorer.visited.process_states = explorer.processes.count();
    explorer.visited.executed = explorer.processes.executed;
    explorer.visited.replayed = explorer.processes.replayed;
    match result {
        Ok(()) => Ok(explorer.visited),
        Err((steps, text)) => {
            let Explorer { mut processes, root, visited, .. } = explorer;
            Err(Box::new(Violation::new(scenario, &mut processes, &root, steps, text, visited)))
        }
    }
}

/// The schedule in which nothing goes wrong, as a golden script.
pub fn usual_script(scenario: &Scenario) -> String {
    let explorer = Explorer::new(scenario).expect("the setup breaks no promise");
    let Explorer { mut processes, root, .. } = explorer;
    report::usual_script(scenario, &mut processes, &root)
}

/// The steps that lead to a state that breaks a promise, and the promise.
type Broken = (Vec<Step>, String);

impl<'a> Explorer<'a> {
    fn new(scenario: &'a Scenario) -> Result<Self, String> {
        let (processes, root) = begin(scenario)?;
        Ok(Self {
            scenario,
            processes,
            root,
            path: vec![(0, Step::Wait)],
            seen: HashSet::new(),
            open: Vec::new(),
            visited: Visited::default(),
        })
    }

    fn run(&mut self, states_max: u64) -> Result<(), Broken> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        self.seen.insert(self.root.digest());
        self.visited.states = 1;
        self.go_on(self.root.clone(), 0, 0, states_max)?;
        while self.visited.states < states_max {
            let Some(differences) = self.open.iter().position(|open| !open.is_empty()) else {
                self.visited.is_all = true;
                break;
            };
            self.visited.differences = differences;
            let place = rng.next_u64() as usize % self.open[differences].len();
            let (at, step) = self.open[differences].swap_remove(place);
            let mut world = self.world(at);
            if let Some(next) = self.visit(&mut world, at, step)? {
                self.go_on(world, next, differences, states_max)?;
            }
        }
        Ok(())
    }

    /// The usual steps from a new state on. What else could be done on the way waits.
    fn go_on(
        &mut self,
        mut world: World,
        mut at: u32,
        differences: usize,
        states_max: u64,
    ) -> Result<(), Broken> {
        self.open.resize_with(self.open.len().max(differences + 2), Vec::new);
        while self.visited.states < states_max {
            let usual = world.usual(&self.processes, self.scenario);
            for step in world.unusual(&self.processes, self.scenario) {
                self.open[differences + world.differences(step, usual)].push((at, step));
            }
            let Some(step) = usual else {
                self.visited.schedules += 1;
                if differences <= HEALED_DIFFERENCES || self.visited.schedules.is_multiple_of(HEALED_EVERY) {
                    let restored = world.heal(&mut self.processes, self.scenario);
                    restored.map_err(|text| (self.steps_to(at), text))?;
                }
                break;
            };
            match self.visit(&mut world, at, step)? {
                Some(next) => at = next,
                None => break,
            }
        }
        Ok(())
    }

    /// Takes a step; the number of the state that it leads to, if that is new.
    fn visit(&mut self, world: &mut World, at: u32, step: Step) -> Result<Option<u32>, Broken> {
        self.visited.steps += 1;
        if let Err(text) = world.take(step, &mut self.processes, self.scenario) {
            let mut steps = self.steps_to(at);
            steps.push(step);
            return Err((steps, text));
        }
        if !self.seen.insert(world.digest()) {
            return Ok(None);
        }
        self.visited.states += 1;
        self.path.push((at, step));
        Ok(Some(self.path.len() as u32 - 1))
    }

    fn world(&mut self, at: u32) -> World {
        let mut world = self.root.clone();
        for step in self.steps_to(at) {
            world.take(step, &mut self.processes, self.scenario).expect("these steps were taken before");
        }
        world
    }

    fn steps_to(&self, at: u32) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut at = at;
        while at > 0 {
            let (before, step) = self.path[at as usize];
            steps.push(step);
            at = before;
        }
        steps.reverse();
        steps
    }
}

/// The processes of a scenario, and the world after its setup.
fn begin(scenario: &Scenario) -> Result<(Processes, World), String> {
    let mut script = Script::new();
    script.cluster.journal = Some(Vec::new());
    goldenscript::generate(&mut script, &report::setup_script(scenario))
        .map_err(|error| error.to_string())?;
    let mut cluster = script.cluster;
    let journal = cluster.journal.take().expect("it was asked for");
    let names: Vec<String> = cluster.replicas.keys().cloned().collect();
    let of = |name: &String| {
        let events = journal.iter().filter(|(of, _)| of == name).map(|(_, noted)| noted.clone());
        (name.clone(), events.collect())
    };
    let mut processes = Processes::new(names.iter().map(of).collect(), scenario.parsed_acts());
    let place = |name: &String| names.iter().position(|other| other == name).map(|place| place as NodeId);
    let frames = cluster.frames.values();
    let frames: Vec<_> = frames
        .filter_map(|sent| Some((place(&sent.from)?, place(&sent.to)?, processes.frame_id(&sent.bytes))))
        .collect();
    let root = World::begin(scenario, &mut processes, &frames)?;
    Ok((processes, root))
}
