//! Tells what many nodes warn of that start at once, more of them than a roster has founders.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::cluster::{Cluster, Network};
use super::seeds::for_seeds;
use crate::raft::{Incarnation, Options, Status, Warning};

const NODES: usize = 10;
const CLUSTER_SIZE: usize = 3;
const TICKS_MAX: u64 = 6_000;

/// What became of the nodes of a world.
#[derive(Default)]
struct Seen {
    last: BTreeMap<String, Status>,
    /// How often each node has left a cluster, and with it its incarnation.
    left: BTreeMap<String, usize>,
    /// How often a node became a new incarnation that had been in no cluster.
    tried_again: usize,
}

impl Seen {
    fn note(&mut self, name: &str, status: Status) {
        let was_drawn = |incarnation: Incarnation| incarnation != status.incarnation;
        if let Some(last) = self.last.get(name).filter(|last| was_drawn(last.incarnation)) {
            if last.cluster.is_none() {
                self.tried_again += 1;
            } else {
                *self.left.entry(name.to_owned()).or_default() += 1;
            }
        }
        self.last.insert(name.to_owned(), status);
    }
}

/// Returns how often a node tried another roster before it was in a cluster.
fn many_nodes_start_at_once(seed: u64) -> usize {
    let mut cluster = Cluster::new(seed);
    cluster.network = Network { delay_ticks_max: 1 + seed % 4, ..Network::default() };
    for n in 0..NODES {
        let name = format!("n{n}");
        let options = Options::new(&name, CLUSTER_SIZE, cluster.draw_seed());
        cluster.start(&name, options, None);
    }
    let mut seen = Seen::default();
    let is_one = |statuses: &BTreeMap<String, Status>| {
        let first = statuses.values().next().map(|status| status.cluster);
        statuses.values().all(|status| status.leader.is_some() && Some(status.cluster) == first)
    };
    for tick in 0.. {
        cluster.tick();
        let statuses = cluster.statuses();
        if is_one(&statuses) {
            break;
        }
        assert!(tick < TICKS_MAX, "ten nodes become one cluster");
        statuses.into_iter().for_each(|(name, status)| seen.note(&name, status));
    }
    for (name, replica) in &cluster.replicas {
        let warnings = replica.application.warnings.iter();
        let starts_over = warnings.filter(|warning| matches!(warning, Warning::StartingOver { .. })).count();
        let left = seen.left.get(name).copied().unwrap_or(0);
        assert_eq!(starts_over, left, "{name} starts over as often as it has left a cluster");
    }
    seen.tried_again
}

#[test]
fn a_roster_that_fails_is_nothing_to_warn_of() {
    let tried_again = AtomicUsize::new(0);
    for_seeds(0..60, |seed| _ = tried_again.fetch_add(many_nodes_start_at_once(seed), Ordering::Relaxed));
    assert!(tried_again.into_inner() > 0, "some roster fails");
}
