//! Founds clusters thousands of times, on a bad network and with processes that crash in the middle.
//!
//! N is 2 to 9, with up to N + 3 processes; frames are lost (5 %), repeated, delayed and reordered. From the last
//! start, crash or perform on, it takes at most [`SETTLED_WITHIN`] ticks until there is one cluster that has a leader,
//! and every live process is a member of it or waits on it; and so it stays.
//!
//! `CONFLUX_SEED=n cargo test founding` runs one seed alone, and prints what happened; see `testing/seeds.rs`.

mod checks;
mod model;
mod world;

use std::fmt;

use world::World;

use crate::raft::testing::seeds;

/// The bound, in ticks of 10 ms. The slowest way that these worlds take: a cluster dies with its first commit, its last
/// member gives it up (10 to 12 election timeouts: 600 ticks), nodes that waited for it continue to wait for its last
/// word to expire (10: 500), and the next roster counts a founder that is gone (20 intervals: 100) or is founded
/// without a quorum (8 election timeouts: 400). 1,526 is the most that 80,000 seeds took.
const SETTLED_WITHIN: u64 = 2_000;

const SEEDS: u64 = 10_000;

#[test]
fn founding_ends_with_one_cluster_within_its_bound() {
    let summary = run(SEEDS, |seed| World::new(seed).run(SETTLED_WITHIN));
    println!("{summary}");
}

#[test]
fn founding_with_actions_keeps_every_committed_one_and_ends_with_one_cluster_or_two_that_hold_actions() {
    let summary = run(SEEDS / 4, |seed| World::new(seed).with_actions().run(SETTLED_WITHIN));
    println!("{summary}");
}

/// The Discover of the last node (1), the answers (2), the proposal of the lowest (3), all acceptances (4).
#[test]
fn founding_takes_four_steps_of_the_network_from_the_last_start_on() {
    run(500, |seed| {
        let mut outcome = World::new(seed).without_newcomers().without_faults().run(SETTLED_WITHIN);
        if outcome.all_founded_after.is_none_or(|ticks| ticks > 4) {
            outcome.fault = Some(format!("founded after {:?} ticks", outcome.all_founded_after));
        }
        outcome
    });
}

/// Nodes hear others before their channel is healthy, as where processes share connections. Those that start while a
/// cluster keeps its marker found nothing beside it.
#[test]
fn founding_waits_for_what_the_channel_knows_of_clusters() {
    let summary = run(SEEDS / 4, |seed| World::new(seed).with_marker().run(SETTLED_WITHIN));
    println!("{summary}");
}

pub fn found_with_a_marker(seed: u64) {
    let outcome = World::new(seed).with_marker().run(SETTLED_WITHIN);
    if let Some(fault) = outcome.fault {
        panic!("{fault}");
    }
}

/// Nodes of several applications share the channel: no node is in a cluster with one of an incompatible application,
/// and each node that looks for a cluster beside such a node reports it.
#[test]
fn founding_never_mixes_applications() {
    let mut founded = 0;
    for seed in seeds::chosen(0..SEEDS / 10) {
        founded += found_with_strangers(seed);
    }
    assert!(founded > 0, "nothing was founded in any seed");
}

pub fn found_with_strangers(seed: u64) -> usize {
    let outcome = World::new(seed).with_applications().run_for(1_000);
    if let Some(fault) = outcome.fault {
        panic!("{fault}\nCONFLUX_SEED={seed} fails");
    }
    outcome.founded
}

/// One seed, without actions.
pub fn live_through(seed: u64) {
    let outcome = World::new(seed).run(SETTLED_WITHIN);
    if let Some(fault) = outcome.fault {
        panic!("{fault}");
    }
}

fn run(seeds: u64, simulate: impl Fn(u64) -> Outcome) -> Summary {
    let mut summary = Summary::default();
    for seed in seeds::chosen(0..seeds) {
        let outcome = simulate(seed);
        if let Some(fault) = &outcome.fault {
            panic!("{fault}\nCONFLUX_SEED={seed} fails");
        }
        summary.add(&outcome);
    }
    summary
}

/// How one run ended.
#[derive(Debug, Default)]
struct Outcome {
    /// What went wrong, if anything.
    fault: Option<String>,
    /// From the last disturbance to one cluster, in ticks.
    settled_after: u64,
    /// From the last disturbance to every process in a cluster, in ticks; `None` if some wait.
    all_founded_after: Option<u64>,
    /// How many clusters were ever founded.
    founded: usize,
    /// Two clusters had committed actions before they met: both serve on, as they must.
    are_two: bool,
}

#[derive(Default)]
struct Summary {
    runs: usize,
    slowest: u64,
    total: u64,
    with_several_founded: usize,
    with_two_left: usize,
}

impl Summary {
    fn add(&mut self, outcome: &Outcome) {
        self.runs += 1;
        self.slowest = self.slowest.max(outcome.settled_after);
        self.total += outcome.settled_after;
        self.with_several_founded += usize::from(outcome.founded > 1);
        self.with_two_left += usize::from(outcome.are_two);
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} seeds: settled after {} ticks on average, {} at most; {} founded more than one cluster on the way, {} \
             ended with two that hold actions",
            self.runs,
            self.total / self.runs.max(1) as u64,
            self.slowest,
            self.with_several_founded,
            self.with_two_left
        )
    }
}
