//! Runs whole clusters from seeds under faults, then restores them and asks for everything that was promised.
//!
//! `CONFLUX_SEED=7 cargo test simulation` replays one seed; `CONFLUX_SEEDS=50000` runs that many.

use super::cluster::{Cluster, Network};
use super::faults::{Fault, RATE};
use super::run::Run;
use super::seeds::{self, for_seeds};
use crate::raft::{Input, Options, Role};

/// A cluster of nodes in memory.
struct Life {
    run: Run,
    /// So many more may be lost: what a majority knew is lost with it.
    losses_left: usize,
    /// The one whose reducer threw.
    target: Option<String>,
}

#[test]
fn simulation_keeps_every_promise_under_faults() {
    for_seeds(0..400, live_through);
}

/// Ticks as from a driver: late, and several at once.
#[test]
fn simulation_keeps_every_promise_where_nodes_rest() {
    for_seeds(0..100, |seed| live(seed, true));
}

/// Otherwise the test above would be the one before it.
#[test]
fn nodes_rest_until_a_heartbeat_is_due_and_not_while_something_is_under_way() {
    let mut run = Run::found_of(Cluster::new(1), 3, &|_| false);
    let rest = |run: &Run, name: &str| run.cluster.replicas[name].node.ticks_until_wakeup();
    run.until("the cluster is at rest", 1_000, |run| {
        run.cluster.replicas.keys().all(|name| rest(run, name) > 1)
    });
    let heartbeat_ticks = Options::new("any", 3, [0; 32]).heartbeat_ticks;
    let statuses = run.cluster.statuses();
    for (name, status) in &statuses {
        let intervals = if status.role == Role::Leader { 1 } else { 2 };
        assert!(rest(&run, name) <= intervals * heartbeat_ticks, "{name}, {:?}", status.role);
    }
    // Its request stays on the way.
    let (follower, _) =
        statuses.iter().find(|(_, status)| status.role == Role::Follower).expect("two of three");
    run.cluster.cut_apart(|_, _| true);
    run.perform(follower);
    assert_eq!(rest(&run, follower), 1);
    // No node is heard: each tick may be the one that begins an election, or comes before it.
    for _ in 0..200 {
        run.step();
        assert_eq!(rest(&run, follower), 1);
    }
}

pub(super) fn live_through(seed: u64) {
    live(seed, false);
}

fn live(seed: u64, rests: bool) {
    let mut life = Life::found(seed, rests);
    life.disturb(seeds::ticks(600));
    if life.run.cluster.roll(3) == 0 {
        life.serve_on_a_bad_network();
    }
    life.heal();
    life.run.check();
}

#[test]
fn simulation_of_one_seed_gives_the_same_trace_twice() {
    let trace = |seed| {
        let mut life = Life::found(seed, false);
        life.run.cluster.trace = Some(Vec::new());
        life.disturb(300);
        life.run.cluster.trace.take().expect("it was switched on")
    };
    for seed in [0, 1, 2, 6, 7] {
        let first = trace(seed);
        assert!(first.len() > 100, "the trace of seed {seed} has only {} lines", first.len());
        assert!(first == trace(seed), "seed {seed} gave two traces");
    }
    assert!(trace(1) != trace(2), "two seeds gave one trace");
}

impl Life {
    /// Founds a cluster of 1, 2, 3, 4 or 5 nodes on a good network.
    fn found(seed: u64, rests: bool) -> Self {
        let size = seeds::nodes([3, 5, 3, 1, 2, 4][(seed % 6) as usize]);
        let mut cluster = Cluster::new(seed);
        cluster.rests = rests;
        cluster.has_timers = true;
        cluster.connect_directly();
        let run = Run::found_of(cluster, size, &|_| false);
        Self { run, losses_left: (size - 1) / 2, target: None }
    }

    /// Faults of every kind while clients perform.
    fn disturb(&mut self, ticks: u64) {
        self.run.draw_faults();
        self.run.worsen_network(21, 11, 8, 4);
        let names: Vec<String> = self.run.cluster.replicas.keys().cloned().collect();
        let drifts = self.run.cluster.roll(2) == 0;
        for name in names.iter().filter(|_| drifts) {
            self.run.drift(name);
        }
        for _ in 0..ticks {
            self.run.step();
            let names: Vec<String> = self.run.cluster.replicas.keys().cloned().collect();
            let number = self.run.cluster.roll(names.len() as u64) as usize;
            let name = &names[number];
            match self.run.cluster.roll(300) {
                0..78 => self.run.perform(&names[number % seeds::clients(names.len())]),
                78..80 => self.run.sync(name),
                80..84 => self.run.pause(name),
                84..92 => self.run.busy(name),
                92..95 => {
                    let other = &names[self.run.cluster.roll(names.len() as u64) as usize];
                    self.run.cut_one_way(name, other);
                }
                95 => self.run.isolate(name),
                96..98 => self.run.partition(),
                98..101 => self.run.cluster.cuts.clear(),
                101 if self.losses_left > 0 && Fault::Crashes.strikes() => {
                    self.losses_left -= 1;
                    self.run.crash(name);
                }
                // Closing is leaving for good too, but with grace.
                102..105 if self.losses_left > 0 && Fault::Closes.strikes() => {
                    self.losses_left -= 1;
                    self.run.cluster.handle(name, Input::Close { ticks: 200, leaves: true });
                }
                105 => self.run.break_channel(name),
                106 => self.run.drift(name),
                107 => self.run.throw_in_method(name),
                108 => self.throw_in_reducer(name),
                109 => self.run.depose_busy_leader(),
                110..112 => self.run.slow_down(name),
                112..116 => self.run.give_up(name),
                116 => self.run.slow_link(name),
                _ => {}
            }
        }
    }

    /// A reducer that throws where others' does not: the node is diverged, and restored once. There must be another.
    fn throw_in_reducer(&mut self, name: &str) {
        let cluster = &mut self.run.cluster;
        if self.target.is_some() || cluster.replicas.len() < 2 || !Fault::Throws.strikes() {
            return;
        }
        self.target = Some(name.to_string());
        self.run.excused.insert(name.to_string());
        cluster.replicas.get_mut(name).expect("it was just listed").application.throws = true;
    }

    /// The network stays as bad as it was, and a minority stays cut off, deaf or mute: a majority is connected, and
    /// every node in it must be served.
    fn serve_on_a_bad_network(&mut self) {
        let mut names: Vec<String> = self.run.cluster.replicas.keys().cloned().collect();
        self.run.mend(&names);
        let first = self.run.cluster.roll(names.len() as u64) as usize;
        names.rotate_left(first);
        let count = self.run.cluster.roll(self.losses_left as u64 + 1) as usize;
        let apart: Vec<String> = names.drain(..count).collect();
        let kind = self.run.cluster.roll(3);
        let is_apart = |name: &str| apart.iter().any(|one| one == name);
        self.run.cluster.cut_apart(|one, other| match kind {
            0 => is_apart(one) || is_apart(other),
            1 => is_apart(other),
            _ => is_apart(one),
        });
        names.retain(|name| !self.run.cluster.replicas[name].is_closing());
        for name in &names {
            self.run.perform(name);
        }
        self.run.until("a majority on a bad network is served", 1_500, |run| {
            let served = names.iter().filter_map(|name| run.cluster.replicas.get(name));
            served.into_iter().all(|replica| replica.node.status().pending == 0)
        });
    }

    /// All faults stop: within a bounded time everything that was called by the living has ended.
    fn heal(&mut self) {
        self.run.cluster.network = Network::default();
        let names: Vec<String> = self.run.cluster.replicas.keys().cloned().collect();
        self.run.mend(&names);
        self.run.cluster.replicas.values_mut().for_each(|replica| replica.rate = RATE);
        self.run.until("every perform has ended, every timer has fired, and all nodes agree", 1_000, |run| {
            let statuses = run.cluster.statuses();
            let leads = statuses.values().find(|status| status.role == Role::Leader);
            leads.is_some_and(|leads| {
                statuses.values().all(|status| {
                    status.pending == 0
                        && status.diverged.is_none()
                        && status.applied_index == leads.last_index
                        && status.timers == 0
                        && status.leader.as_deref() == Some(&*leads.id)
                })
            })
        });
    }
}
