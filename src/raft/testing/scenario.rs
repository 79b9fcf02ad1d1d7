//! A cluster to which a recovery scenario is applied: its network is good but not instant, and its disks take a
//! while.
//!
//! The scenarios are in `recoveries.rs`.

use super::application::End;
use super::cluster::{Cluster, Network};
use super::disk::Disk;
use crate::raft::{Application, Operation, Options, Role, Status, Warning};

/// A cluster whose network is good but not instant, and whose disks take a while.
pub struct Scenario {
    pub cluster: Cluster,
    size: usize,
    recover_ticks: Option<u64>,
    /// Of nodes that are started from here on.
    pub application: Application,
    performed: u64,
    started: u64,
}

const TICKS_MAX: u64 = 6_000;

impl Scenario {
    /// Nodes `n0`, `n1` and so on, with disks or without.
    pub fn found(seed: u64, size: usize, is_durable: bool) -> Self {
        Self::found_with(seed, size, is_durable, None)
    }

    pub fn found_with(seed: u64, size: usize, is_durable: bool, recover_ticks: Option<u64>) -> Self {
        Self::over(Cluster::new(seed), size, recover_ticks, Application::default()).founded(is_durable)
    }

    pub fn found_as(seed: u64, size: usize, is_durable: bool, application: Application) -> Self {
        Self::over(Cluster::new(seed), size, None, application).founded(is_durable)
    }

    fn over(cluster: Cluster, size: usize, recover_ticks: Option<u64>, application: Application) -> Self {
        Self { cluster, size, recover_ticks, application, performed: 0, started: 0 }
    }

    /// As `found`, and all nodes hibernate. In every other world, the nodes receive ticks as from a driver.
    pub fn found_hibernating(seed: u64, size: usize, is_durable: bool) -> Self {
        let mut cluster = Cluster::new(seed);
        (cluster.hibernates, cluster.rests) = (true, seed.is_multiple_of(2));
        let mut scenario = Self::over(cluster, size, None, Application::default()).founded(is_durable);
        scenario.hibernate();
        scenario
    }

    pub fn hibernate(&mut self) {
        self.until("all hibernate", |scenario| {
            scenario.cluster.statuses().values().all(|status| status.is_hibernating)
        });
    }

    /// As `found`, and nothing has been performed.
    pub fn found_empty(seed: u64, size: usize, is_durable: bool) -> Self {
        Self::over(Cluster::new(seed), size, None, Application::default()).begun(is_durable)
    }

    fn founded(self, is_durable: bool) -> Self {
        let mut scenario = self.begun(is_durable);
        scenario.serve();
        scenario
    }

    fn begun(self, is_durable: bool) -> Self {
        let mut scenario = self;
        scenario.cluster.network = Network { delay_ticks_max: 2, ..Network::default() };
        for n in 0..scenario.size {
            let id = format!("n{n}");
            scenario.start(&id, &id, is_durable.then(Disk::default));
        }
        scenario.until("a leader that all know", |scenario| scenario.leader().is_some());
        scenario
    }

    pub fn start(&mut self, name: &str, id: &str, disk: Option<Disk>) {
        let seed = self.cluster.draw_seed();
        let options = Options {
            snapshot_entries: 20,
            is_durable: disk.is_some(),
            recover_ticks: self.recover_ticks,
            application: self.application.clone(),
            ..Options::new(id, self.size, seed)
        };
        self.cluster.start(name, options, disk);
    }

    /// Starts it under a name of its own, for the former one may be remembered.
    pub fn start_anew(&mut self, id: &str, disk: Option<Disk>) -> String {
        self.started += 1;
        let name = format!("{id}+{}", self.started);
        self.start(&name, id, disk);
        name
    }

    /// Its machine loses its power, with this many of the writes that were in flight.
    pub fn crash(&mut self, name: &str, kept: usize) -> Option<Disk> {
        let disk = self.cluster.crash(name).and_then(|replica| replica.disk);
        disk.map(|disk| disk.crash(kept))
    }

    pub fn tick(&mut self) {
        self.cluster.tick();
        for name in self.names() {
            if self.cluster.roll(3) > 0 {
                self.cluster.sync(&name);
            }
        }
    }

    pub fn ticks(&mut self, count: u64) {
        (0..count).for_each(|_| self.tick());
    }

    pub fn holds_within(&mut self, ticks: u64, holds: impl Fn(&Self) -> bool) -> bool {
        for _ in 0..ticks {
            if holds(self) {
                return true;
            }
            self.tick();
        }
        holds(self)
    }

    pub fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let has_come = self.holds_within(TICKS_MAX, holds);
        assert!(has_come, "it never holds that {what}: {:#?}", self.cluster.statuses());
    }

    pub fn names(&self) -> Vec<String> {
        self.cluster.replicas.keys().cloned().collect()
    }

    pub fn status(&self, name: &str) -> Status {
        self.cluster.replicas[name].node.status()
    }

    pub fn has_warned(&self, name: &str, is: impl Fn(&Warning) -> bool) -> bool {
        self.cluster.replicas[name].application.warnings.iter().any(is)
    }

    pub fn end(&self, name: &str, sequence: u64) -> Option<&End> {
        self.cluster.replicas[name].application.ends.get(&sequence)
    }

    pub fn has_lost(&self, name: &str) -> bool {
        !self.status(name).missing.is_empty()
    }

    /// The node that all living ones take for their leader, in one cluster.
    pub fn leader(&self) -> Option<String> {
        let statuses = self.cluster.statuses();
        let (name, leads) = statuses.iter().find(|(_, status)| status.role == Role::Leader)?;
        let is_one = |status: &Status| {
            status.cluster == leads.cluster && status.leader == leads.leader && status.commit_index > 1
        };
        statuses.values().all(is_one).then(|| name.clone())
    }

    pub fn followers(&self) -> Vec<String> {
        let leader = self.leader();
        self.names().into_iter().filter(|name| Some(name) != leader.as_ref()).collect()
    }

    pub fn append(&mut self, name: &str) -> (u64, String) {
        self.performed += 1;
        let args = format!("{name}/{}", self.performed);
        (self.cluster.perform(name, "append", &args), args)
    }

    /// Calls on every node, and waits until that is in all their states.
    pub fn serve(&mut self) {
        for _ in 0..5 {
            self.names().iter().for_each(|name| _ = self.append(name));
            self.ticks(3);
        }
        self.until("all is served, and in all states", |scenario| {
            let states: Vec<_> =
                scenario.cluster.replicas.values().map(|replica| &replica.application.state).collect();
            scenario.cluster.statuses().values().all(|status| status.pending == 0)
                && states.windows(2).all(|pair| pair[0] == pair[1])
        });
    }

    pub fn pause(&mut self, names: &[String], is_paused: bool) {
        for name in names {
            self.cluster.replicas.get_mut(name).expect("it runs").is_paused = is_paused;
        }
    }

    pub fn recover(&mut self, name: &str, ticks: u64) -> u64 {
        self.cluster.operation(name, Operation::Recover, ticks)
    }

    pub fn is_recovered(&self, name: &str, ticket: u64) -> bool {
        matches!(self.cluster.replicas[name].application.answered.get(&ticket), Some(Ok(())))
    }

    /// Recovers on this node, and waits until it says so.
    pub fn recover_on(&mut self, name: &str) {
        self.until("the quorum is lost", |scenario| scenario.has_lost(name));
        let ticket = self.recover(name, 2_000);
        self.until("it is recovered", |scenario| scenario.is_recovered(name, ticket));
    }

    pub fn holds(&self, name: &str, action: &str) -> bool {
        let sequence = &self.cluster.checker.sequences[&self.status(name).cluster];
        let applied = self.cluster.replicas[name].application.applied.last();
        sequence.index_of(action) <= applied.map(|applied| applied.index)
            && sequence.index_of(action).is_some()
    }
}
