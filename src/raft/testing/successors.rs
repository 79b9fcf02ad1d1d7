//! Tests which logs and images there are around a recovery: of the successor, and of a node that returns from it.
//!
//! `recoveries.rs` tests the recovery itself.

use super::disk::Disk;
use super::scenario::Scenario;
use crate::raft::Operation;

/// Its application was taking a snapshot when it left its cluster, and is done while it waits for the successor. Back at its
/// log, the node shortens it as before.
#[test]
fn a_node_that_returns_from_a_successor_takes_snapshots_again() {
    for seed in 0..6 {
        let mut scenario = Scenario::found(seed, 5, false);
        let survivors = scenario.followers().split_off(2);
        let is_snapshotting = |scenario: &Scenario, name: &String| {
            scenario.cluster.replicas[name].application.is_snapshotting()
        };
        for name in &survivors {
            let replica = scenario.cluster.replicas.get_mut(name).expect("it runs");
            replica.application.snapshot_batches = usize::MAX;
        }
        while !survivors.iter().all(|name| is_snapshotting(&scenario, name)) {
            scenario.serve();
        }
        for name in scenario.names().iter().filter(|name| !survivors.contains(name)) {
            scenario.crash(name, 0);
        }
        scenario.until("the quorum is lost", |scenario| survivors.iter().all(|name| scenario.has_lost(name)));
        let former = scenario.status(&survivors[0]).cluster;
        scenario.recover(&survivors[0], 2_000);
        let waits = |scenario: &Scenario, name: &&String| scenario.status(name).cluster.is_none();
        scenario.until("one waits for the successor", |scenario| {
            survivors.iter().any(|name| waits(scenario, &name))
        });
        let other = survivors.iter().find(|name| waits(&scenario, name)).expect("it was just seen").clone();
        let best = survivors.iter().find(|name| **name != other).expect("two are left");
        scenario.crash(best, 0);
        let replica = scenario.cluster.replicas.get_mut(&other).expect("it runs");
        replica.application.finish_snapshotting();
        // What its application is notified of: that this has not ended in time.
        scenario.cluster.operation(&other, Operation::Sync, 5);
        scenario.until("it is done", |scenario| !is_snapshotting(scenario, &other));
        assert!(waits(&scenario, &&other), "seed {seed}: it has returned before");
        scenario.until("it is back", |scenario| scenario.status(&other).cluster == former);
        let had = scenario.status(&other).snapshot_index;
        scenario.recover_on(&other);
        (0..20).for_each(|_| scenario.serve());
        let has = scenario.status(&other).snapshot_index;
        assert!(has > had, "seed {seed}: its snapshot is still that at {had}");
    }
}

/// The newest image is from before the recovery, and no newer one can be taken: the log behind it has the rest.
#[test]
fn a_recovered_cluster_that_can_take_no_snapshot_admits_newcomers() {
    for seed in 0..6 {
        let is_durable = seed % 2 == 0;
        let mut scenario = Scenario::found(seed, 3, is_durable);
        (0..1 + 3 * (seed / 2)).for_each(|_| scenario.serve());
        for name in ["n1", "n2"] {
            scenario.crash(name, 0);
        }
        scenario.cluster.replicas.get_mut("n0").expect("it runs").application.refuses_snapshots = true;
        scenario.recover_on("n0");
        scenario.start_anew("n1", is_durable.then(Disk::default));
        scenario.until("it is admitted", |scenario| scenario.leader().is_some());
        scenario.serve();
    }
}
