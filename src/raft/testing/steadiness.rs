//! Puts a bad network under a cluster whose leader keeps a majority, and verifies that it continues to lead: what is
//! cut off must disturb no node, neither while it is apart nor when it comes back (thesis §9.6).
//!
//! `CONFLUX_SEED=7 cargo test steadiness` replays one seed; `CONFLUX_SEEDS=50000` runs that many.

use super::cluster::{Cluster, Network};
use super::run::Run;
use super::seeds::for_seeds;
use crate::raft::Role;

/// So many ticks a cut lasts: three times the longest election timeout.
const CUT_TICKS: u64 = 150;
/// A call ends within so many ticks on a node that reaches the leader both ways.
const SERVED_WITHIN: u64 = 150;

#[test]
fn steadiness_of_a_leader_that_keeps_a_majority() {
    for_seeds(0..200, live_through);
}

pub(super) fn live_through(seed: u64) {
    let size = [3, 5][(seed % 2) as usize];
    let mut cluster = Cluster::new(seed);
    // A snapshot of many megabytes takes longer than what is asked for below.
    cluster.is_large = false;
    cluster.connect_directly();
    let mut run = Run::found_of(cluster, size, &|_| false);
    run.cluster.network =
        Network { repeats: run.cluster.roll(10), delay_ticks_max: run.cluster.roll(3), ..Network::default() };
    let (leader, term) = leader(&run).expect("a cluster was founded, and has a leader");
    for _ in 0..4 {
        let apart = cut_minority(&mut run, &leader);
        let served: Vec<String> =
            run.cluster.replicas.keys().filter(|name| !apart.contains(name)).cloned().collect();
        for _ in 0..CUT_TICKS {
            run.step();
            let name = &served[run.cluster.roll(served.len() as u64) as usize];
            run.perform(name);
        }
        run.until("all nodes that reach the leader are served", SERVED_WITHIN, |run| {
            served.iter().all(|name| run.cluster.replicas[name].node.status().pending == 0)
        });
        run.cluster.cuts.clear();
        run.until("the node that was cut off has caught up", SERVED_WITHIN, |run| {
            let statuses = run.cluster.statuses();
            statuses.values().all(|status| status.applied_index == statuses[&leader].last_index)
        });
        let now = self::leader(&run);
        assert_eq!(now, Some((leader.clone(), term)), "the leader that kept a majority leads in its term");
    }
    run.check();
}

#[test]
fn steadiness_where_only_what_is_sent_to_one_arrives() {
    for_seeds(0..20, |seed| {
        let mut cluster = Cluster::new(seed);
        cluster.is_large = false;
        // Four followers: heartbeats and appends are the same for all of them.
        let mut run = Run::found_of(cluster, 5, &|_| false);
        let (leader, term) = leader(&run).expect("a cluster was founded, and has a leader");
        let names: Vec<String> = run.cluster.replicas.keys().cloned().collect();
        run.cluster.loses_broadcasts = true;
        for tick in 0..20 * CUT_TICKS {
            run.step();
            if tick % 10 == 0 {
                let name = &names[run.cluster.roll(5) as usize];
                run.perform(name);
            }
        }
        run.until("all are served", SERVED_WITHIN, |run| {
            run.cluster.replicas.values().all(|replica| replica.node.status().pending == 0)
        });
        assert_eq!(self::leader(&run), Some((leader, term)), "a leader that reaches each one leads on");
        run.check();
    });
}

fn leader(run: &Run) -> Option<(String, u64)> {
    let statuses = run.cluster.statuses();
    let leads = statuses.iter().filter(|(_, status)| status.role == Role::Leader);
    leads.max_by_key(|(_, status)| status.term).map(|(name, status)| (name.clone(), status.term))
}

/// Cuts off fewer than half, all of them followers: wholly, in one direction, or from the leader alone.
fn cut_minority(run: &mut Run, leader: &str) -> Vec<String> {
    let names: Vec<String> = run.cluster.replicas.keys().cloned().collect();
    let followers: Vec<&String> = names.iter().filter(|name| *name != leader).collect();
    let first = run.cluster.roll(followers.len() as u64) as usize;
    let count = 1 + run.cluster.roll((names.len() as u64 - 1) / 2) as usize;
    let apart: Vec<String> = (0..count).map(|n| followers[(first + n) % followers.len()].clone()).collect();
    let kind = run.cluster.roll(4);
    for one in &apart {
        for other in names.iter().filter(|other| *other != one && (kind < 3 || *other == leader)) {
            // 0: cut off; 1: deaf; 2: mute; 3: a bridge, which others still hear.
            if kind != 2 {
                run.cluster.cuts.insert((other.clone(), one.clone()));
            }
            if kind != 1 {
                run.cluster.cuts.insert((one.clone(), other.clone()));
            }
        }
    }
    apart
}
