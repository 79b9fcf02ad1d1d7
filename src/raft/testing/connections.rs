//! Direct connections between simulated nodes: a node learns when the process at the other end ends, and sometimes
//! when only the connection has ended.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use super::cluster::Cluster;
use super::run::Run;
use crate::raft::{Input, Options, Role};

/// Draws from a generator of its own, so that a world without connections goes on as before.
pub struct Connections {
    rng: ChaCha8Rng,
    is_direct: bool,
    /// Some end although both processes live.
    break_off: bool,
}

/// Of this many ticks, one ends a connection.
const ENDS_EVERY_TICKS: u64 = 150;

impl Connections {
    pub fn new(seed: u64) -> Self {
        Self { rng: ChaCha8Rng::seed_from_u64(!seed), is_direct: false, break_off: false }
    }

    fn roll(&mut self, bound: u64) -> u64 {
        self.rng.next_u64() % bound
    }
}

impl Cluster {
    /// From now on nodes have connections, in every other world.
    pub fn connect_directly(&mut self) {
        self.connections.is_direct = self.connections.roll(2) == 0;
        self.connections.break_off = true;
    }

    /// All nodes that can hear it learn that the process of `name` has ended; to be called before it is removed.
    pub fn close_connections_of(&mut self, name: &str) {
        if self.connections.is_direct {
            let names: Vec<String> = self.replicas.keys().filter(|other| *other != name).cloned().collect();
            names.iter().for_each(|other| self.disconnect(name, other));
        }
    }

    /// To be called each tick.
    pub fn end_a_connection(&mut self) {
        if !self.connections.is_direct
            || !self.connections.break_off
            || self.connections.roll(ENDS_EVERY_TICKS) > 0
        {
            return;
        }
        let names: Vec<String> = self.replicas.keys().cloned().collect();
        let count = names.len() as u64;
        if count > 1 {
            let one = self.connections.roll(count);
            let other = (one + 1 + self.connections.roll(count - 1)) % count;
            let [one, other] = [one, other].map(|number| &names[number as usize]);
            self.disconnect(one, other);
            self.disconnect(other, one);
        }
    }

    /// `at` learns that its connection to `name` has ended.
    fn disconnect(&mut self, name: &str, at: &str) {
        let is_cut = self.cuts.contains(&(name.to_string(), at.to_string()));
        let incarnation = self.replicas.get(name).and_then(|replica| replica.incarnation);
        let hears = self.replicas.get(at).is_some_and(|replica| !replica.is_paused);
        if let Some(incarnation) = incarnation.filter(|_| hears && !is_cut) {
            self.handle(at, Input::PeerDisconnected(incarnation));
        }
    }
}

/// Ticks from the end of a leader's process to the next leader.
fn failover(seed: u64, is_direct: bool) -> u64 {
    let mut cluster = Cluster::new(seed);
    cluster.connections.is_direct = is_direct;
    let mut run = Run::found_of(cluster, 3 + 2 * (seed % 2) as usize, &|_| false);
    let leads = |run: &Run| {
        let statuses = run.cluster.statuses();
        statuses.iter().find(|(_, status)| status.role == Role::Leader).map(|(name, _)| name.clone())
    };
    let leader = leads(&run).expect("a cluster was founded, and has a leader");
    run.crash(&leader);
    let begin = run.cluster.now;
    run.until("the others have a leader", 400, |run| leads(run).is_some());
    run.check();
    run.cluster.now - begin
}

#[test]
fn a_leader_whose_process_ends_is_replaced_before_an_election_timeout_is_over() {
    const SEEDS: u64 = 60;
    let timeout = Options::new("any", 3, [0; 32]).election_timeout_ticks_min;
    let soon = (0..SEEDS).filter(|&seed| {
        let without = failover(seed, false);
        assert!(without >= timeout - 5, "seed {seed}: {without} ticks, and nothing but silence");
        failover(seed, true) < timeout
    });
    let soon = soon.count() as u64;
    assert!(soon >= SEEDS * 9 / 10, "{soon} of {SEEDS}: only split votes take longer");
}
