//! Prints what broke a promise as a golden script, as short as it was found to be.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Visited;
use super::facts::Facts;
use super::processes::Processes;
use super::scenarios::Scenario;
use super::world::{NOBODY_SERVES, Named, Step, World};
use crate::raft::testing::script::Script;

/// A schedule that breaks a promise.
#[derive(Debug)]
pub struct Violation {
    pub scenario: &'static str,
    /// What was broken.
    pub text: String,
    /// What was visited before it was found.
    pub visited: Visited,
    /// A golden script that leads there.
    pub script: String,
}

impl Violation {
    /// The setup itself breaks it.
    pub fn at_once(scenario: &Scenario, text: String) -> Self {
        Self { scenario: scenario.name, text, visited: Visited::default(), script: setup_script(scenario) }
    }

    pub fn new(
        scenario: &Scenario,
        processes: &mut Processes,
        root: &World,
        steps: Vec<Step>,
        text: String,
        visited: Visited,
    ) -> Self {
        let mut replay = Replay { scenario, processes, root, restores: text.starts_with(NOBODY_SERVES) };
        let steps = replay.names(&steps);
        let steps = replay.shrink(steps, &text);
        let (_, commands) = replay.run(&steps);
        let mut script = setup_script(scenario);
        commands.iter().for_each(|command| script.push_str(&block(command)));
        Self { scenario: scenario.name, text, visited, script: with_consequences(script) }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, text, visited, script } = self;
        writeln!(f, "{scenario}: {text}\nafter {visited}\n")?;
        f.write_str(script)
    }
}

struct Replay<'a> {
    scenario: &'a Scenario,
    processes: &'a mut Processes,
    root: &'a World,
    /// What was broken shows when nothing goes wrong any more.
    restores: bool,
}

impl Replay<'_> {
    /// The steps, by names that mean the same when other steps are left out.
    fn names(&mut self, steps: &[Step]) -> Vec<Named> {
        let mut world = self.root.clone();
        let mut names = Vec::new();
        for step in steps {
            names.push(world.name(*step));
            // The last one breaks a promise.
            _ = world.take(*step, self.processes, self.scenario);
        }
        names
    }

    /// What the steps break, as far as they can be taken, and the commands of a golden script up to there.
    fn run(&mut self, steps: &[Named]) -> (Option<String>, Vec<String>) {
        let mut world = self.root.clone();
        let mut commands = Vec::new();
        for named in steps {
            let Some(step) = world.find(named, self.processes, self.scenario) else { continue };
            commands.extend(world.commands(step, self.processes, self.scenario));
            if let Err(text) = world.take(step, self.processes, self.scenario) {
                return (Some(text), commands);
            }
        }
        let restored = if self.restores { world.heal(self.processes, self.scenario) } else { Ok(()) };
        (restored.err(), commands)
    }

    /// Leaves out steps, one by one, as long as the rest breaks the same promise.
    fn shrink(&mut self, mut steps: Vec<Named>, text: &str) -> Vec<Named> {
        loop {
            let count = steps.len();
            for place in (0..count).rev() {
                let mut fewer = steps.clone();
                fewer.remove(place);
                if self.run(&fewer).0.is_some_and(|other| is_alike(&other, text)) {
                    steps = fewer;
                }
            }
            if steps.len() == count {
                return steps;
            }
        }
    }
}

/// The same but for numbers.
fn is_alike(one: &str, other: &str) -> bool {
    let words = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
    words(one) == words(other)
}

/// The script with what its commands cause; as it is, if the checks of the scripts' own world fail in it.
fn with_consequences(script: String) -> String {
    let result = catch_unwind(AssertUnwindSafe(|| goldenscript::generate(&mut Script::new(), &script)));
    match result {
        Ok(Ok(generated)) => generated,
        Ok(Err(error)) => format!("{script}# The script can't be run: {error}\n"),
        Err(_) => format!("{script}# The last command breaks a promise.\n"),
    }
}

/// The schedule in which nothing goes wrong, with its consequences. Panics if a golden script takes a node elsewhere.
pub fn usual_script(scenario: &Scenario, processes: &mut Processes, root: &World) -> String {
    let mut text = setup_script(scenario);
    let mut world = root.clone();
    while let Some(step) = world.usual(processes, scenario) {
        world.commands(step, processes, scenario).iter().for_each(|command| text.push_str(&block(command)));
        world.take(step, processes, scenario).expect("the usual schedule breaks no promise");
    }
    let mut script = Script::new();
    let text = goldenscript::generate(&mut script, &text).expect("the script can be run");
    for (node, state) in world.processes.iter().enumerate() {
        let name = processes.name(node);
        let facts = Facts::of(&script.cluster.replicas[name]);
        assert_eq!(facts, **processes.facts(*state), "{}: {name} after this:\n{text}", scenario.name);
    }
    text
}

pub fn setup_script(scenario: &Scenario) -> String {
    scenario.setup.lines().map(block).collect()
}

/// A command, and room for its consequence.
fn block(command: &str) -> String {
    format!("{command}\n---\n\n")
}
