//! Tests, one by one, how clusters are recovered from the surviving nodes: nodes die, return or are cut off in between,
//! and at which moment.
//!
//! `churn.rs` does the same at random.

use std::collections::BTreeSet;

use super::application::End;
use super::disk::Disk;
use super::scenario::Scenario;
use crate::raft::membership::members::ANCESTORS_MAX;
use crate::raft::{ClusterUuid, Operation, Role, Warning};

/// Five nodes of which three died; of the two that are left one has what the other lacks, and the dead may have
/// acknowledged. The two, the one that knows more last.
fn bereaved(seed: u64, is_durable: bool) -> (Scenario, [String; 2]) {
    let mut scenario = Scenario::found(seed, 5, is_durable);
    let leader = scenario.leader().expect("it leads");
    let survivors = scenario.followers().split_off(2);
    scenario.cluster.cuts.insert((leader.clone(), survivors[0].clone()));
    let (sequence, _) = scenario.append(&leader);
    scenario.until("it is acknowledged", |scenario| scenario.end(&leader, sequence).is_some());
    for name in scenario.names().iter().filter(|name| !survivors.contains(name)) {
        scenario.crash(name, 0);
    }
    scenario.cluster.cuts.clear();
    let [less, more] = <[String; 2]>::try_from(survivors).expect("two are left");
    (scenario, [less, more])
}

/// A node that promised to leave it to another can take that back when that one has died, at whatever moment.
#[test]
fn a_survivor_that_dies_in_the_middle_of_a_recovery_does_not_bind_the_other() {
    (0..240).for_each(one_survivor_dies);
}

pub(super) fn one_survivor_dies(number: u64) {
    let (k, seed) = (number / 4, 10 + number % 4);
    let (mut scenario, [other, best]) = bereaved(seed, seed.is_multiple_of(2));
    scenario.until("the loss is reported", |scenario| scenario.has_lost(&other) && scenario.has_lost(&best));
    scenario.recover(&other, 1_000);
    scenario.ticks(k);
    scenario.crash(&best, 0);
    // Until then it may take the dead for its leader.
    scenario.ticks(200);
    let mut tries = 0;
    while scenario.status(&other).leader.is_none() {
        tries += 1;
        assert!(tries < 5, "tick {k}, seed {seed}: {:?}", scenario.status(&other));
        scenario.recover(&other, 900);
        scenario.ticks(1_000);
    }
    assert!(scenario.cluster.replicas[&other].application.state.count >= 25, "it kept its log");
    scenario.serve();
}

/// A newcomer may be the only node that is left, also with an image from before it became a member.
#[test]
fn a_newcomer_that_only_has_an_image_recovers_the_cluster() {
    let unaware = (0..60).filter(|seed| a_newcomer_is_left_alone(*seed)).count();
    assert!(unaware > 10, "{unaware} of 60 had an image from before they were members");
}

/// Whether its image is from before it became a member.
pub(super) fn a_newcomer_is_left_alone(seed: u64) -> bool {
    let mut scenario = Scenario::found(seed, 1, seed.is_multiple_of(2));
    // It has taken a snapshot before the newcomer comes.
    (0..10).for_each(|_| scenario.serve());
    let newcomer = scenario.start_anew("n1", seed.is_multiple_of(2).then(Disk::default));
    scenario.until("it has the image", |scenario| !scenario.status(&newcomer).cluster.is_none());
    let is_unaware = scenario.status(&newcomer).members.len() == 1;
    scenario.crash("n0", 0);
    scenario.cluster.frames.clear();
    scenario.until("the leader is missed", |scenario| scenario.has_lost(&newcomer));
    let count = scenario.cluster.replicas[&newcomer].application.state.count;
    assert!(count >= 20, "the image holds {count} actions");
    let set_busy = |scenario: &mut Scenario, is_busy| {
        scenario.cluster.replicas.get_mut(&newcomer).expect("it runs").is_busy = is_busy;
    };
    let behind: Vec<u64> = (0..20).map(|_| scenario.append(&newcomer).0).collect();
    // JavaScript is handling a read that found no leader when the cluster is founded again.
    set_busy(&mut scenario, true);
    scenario.cluster.operation(&newcomer, Operation::Sync, 5);
    scenario.ticks(10);
    let ticket = scenario.recover(&newcomer, 2_000);
    scenario.ticks(30 * (seed % 3));
    set_busy(&mut scenario, false);
    scenario.cluster.answer(&newcomer);
    scenario.until("it is recovered", |scenario| scenario.is_recovered(&newcomer, ticket));
    scenario.until("all that waited has ended", |scenario| {
        behind.iter().all(|sequence| scenario.end(&newcomer, *sequence).is_some())
    });
    scenario.serve();
    let kept = scenario.cluster.replicas[&newcomer].application.state.count;
    assert!(kept >= count + 20, "{kept} of {count} and those that were performed since");
    is_unaware
}

/// While one voter takes the place of another, two majorities are needed (paper §6): the cluster is lost when either
/// is.
#[test]
fn a_cluster_that_lost_one_majority_of_a_joint_configuration_is_recovered() {
    let joint = (0..40).filter(|seed| a_majority_of_the_former_voters_is_gone(*seed)).count();
    assert!(joint > 10, "{joint} of 40 had a survivor that goes by the joint configuration");
}

/// Whether a survivor had entered the joint configuration.
pub(super) fn a_majority_of_the_former_voters_is_gone(seed: u64) -> bool {
    let mut scenario = Scenario::found(seed, 4, seed.is_multiple_of(2));
    let leader = scenario.leader().expect("it was found");
    let newcomer = scenario.start_anew("n4", seed.is_multiple_of(2).then(Disk::default));
    scenario.until("the newcomer is a member", |scenario| scenario.status(&newcomer).members.len() == 5);
    scenario.ticks(20);
    let replaced = scenario.followers().into_iter().find(|name| *name != newcomer).expect("there are three");
    scenario.crash(&replaced, 0);
    let survivors: Vec<String> = scenario.names().into_iter().filter(|name| *name != leader).collect();
    let is_joint = |scenario: &Scenario, name: &String| {
        scenario.cluster.replicas[name].node.inspect().voter_halves().len() > 1
    };
    scenario.until("the newcomer is to take its place", |scenario| is_joint(scenario, &leader));
    scenario.ticks(seed % 5);
    scenario.crash(&leader, 0);
    scenario.cluster.frames.clear();
    let was_joint = survivors.iter().any(|name| is_joint(&scenario, name));
    let Some(name) =
        survivors.iter().find(|name| scenario.holds_within(600, |scenario| scenario.has_lost(name)))
    else {
        // The newcomer had taken the place for good: three of four live.
        scenario.until("a leader that all know", |scenario| scenario.leader().is_some());
        scenario.serve();
        return false;
    };
    let ticket = scenario.recover(name, 3_000);
    scenario.until("it is recovered", |scenario| {
        scenario.is_recovered(name, ticket) && scenario.leader().is_some()
    });
    scenario.serve();
    was_joint
}

/// The same where it is the one that promised that loses its power: it comes back with its log, and with its promise.
#[test]
fn a_promise_survives_a_restart_once_it_was_said() {
    let kept = (0..96).filter(|k| a_promise_is_kept(*k)).count();
    assert!(kept > 1, "only {kept} had promised");
}

/// Whether the promise was said.
pub(super) fn a_promise_is_kept(k: u64) -> bool {
    let (mut scenario, [other, best]) = bereaved(k % 8, true);
    scenario.until("the loss is reported", |scenario| scenario.has_lost(&other) && scenario.has_lost(&best));
    let ticket = scenario.recover(&best, 3_000);
    scenario.ticks(k / 8);
    let has_promised = scenario.cluster.replicas[&best].node.inspect().has_recovery_vote_from(&other);
    let disk = scenario.crash(&other, 0).expect("it has a disk");
    let other = scenario.start_anew(&other, Some(disk));
    if has_promised {
        let status = scenario.status(&other);
        let is_bound = status.waiting_for.as_ref().is_some_and(|text| text.contains("replaces this one"));
        assert!(is_bound || status.cluster != scenario.status(&best).cluster, "tick {k}: {status:?}");
    }
    scenario.until("it is recovered", |scenario| {
        scenario.is_recovered(&best, ticket) && scenario.leader().is_some()
    });
    scenario.serve();
    has_promised
}

/// Wherever the survivor's power fails, it comes back as what it was or as the successor, and continues from there.
#[test]
fn a_survivor_that_loses_its_power_at_any_moment_recovers_in_the_end() {
    (0..80).for_each(a_survivor_loses_its_power);
}

pub(super) fn a_survivor_loses_its_power(k: u64) {
    let mut scenario = Scenario::found(k, 3, true);
    for name in ["n1", "n2"] {
        scenario.crash(name, 0);
    }
    scenario.until("the quorum is lost", |scenario| scenario.has_lost("n0"));
    let ticket = scenario.recover("n0", 1_000);
    let former = scenario.status("n0").cluster;
    // The last of these is too late for any.
    scenario.ticks(k / 8);
    let (sequence, action) = scenario.append("n0");
    scenario.ticks(k % 8);
    let was_recovered = scenario.is_recovered("n0", ticket);
    let was_acknowledged = matches!(scenario.end("n0", sequence), Some(End::Resolved(_)));
    let leads_as = scenario.status("n0").cluster;
    let disk = scenario.crash("n0", 0).expect("it has a disk");
    scenario.cluster.frames.clear();
    let name = scenario.start_anew("n0", Some(disk));
    let is_successor = scenario.status(&name).cluster != former;
    assert!(is_successor || !was_recovered && leads_as == former, "tick {k}: it was reported as recovered");
    if !is_successor {
        scenario.recover_on(&name);
    }
    scenario.until("it leads", |scenario| scenario.leader().is_some());
    scenario.serve();
    assert!(!was_acknowledged || scenario.holds(&name, &action), "tick {k}: `{action}` was acknowledged");
    assert_ne!(scenario.status(&name).cluster, former);
}

/// The disk's record and the snapshot have the former name, a later entry the new one: a restarted node keeps the new
/// one.
#[test]
fn a_recovered_cluster_keeps_its_name_over_snapshots_and_restarts() {
    (60..80).for_each(a_successor_restarts);
}

pub(super) fn a_successor_restarts(seed: u64) {
    let mut scenario = Scenario::found(seed, 3, true);
    for name in ["n1", "n2"] {
        scenario.crash(name, 0);
    }
    scenario.recover_on("n0");
    let name = scenario.status("n0").cluster;
    scenario.start("n1", "n1", Some(Disk::default()));
    scenario.until("two vote", |scenario| {
        scenario.leader().is_some()
            && scenario
                .cluster
                .statuses()
                .values()
                .all(|status| status.members.iter().filter(|member| member.is_voter).count() == 2)
    });
    // With a snapshot behind the recovery, and without one.
    for _ in 0..if seed.is_multiple_of(2) { 15 } else { 1 } {
        scenario.serve();
    }
    let count = scenario.cluster.replicas["n0"].application.state.count;
    for round in 0..2 {
        let names = scenario.names();
        let disks: Vec<Disk> =
            names.iter().map(|name| scenario.crash(name, 9).expect("it has a disk")).collect();
        scenario.cluster.frames.clear();
        for (former, disk) in names.iter().zip(disks) {
            scenario.start_anew(&former[..2], Some(disk));
        }
        scenario.until("it leads again", |scenario| scenario.leader().is_some());
        assert!(scenario.cluster.statuses().values().all(|status| status.cluster == name), "round {round}");
        scenario.serve();
    }
    let name = &scenario.names()[0];
    assert!(scenario.cluster.replicas[name].application.state.count > count);
}

/// A majority that was stopped for longer than `recoverAfter` finds that its cluster has ended.
#[test]
fn a_majority_that_thaws_gives_way_to_who_went_on_without_it() {
    (40..60).for_each(a_majority_thaws);
}

pub(super) fn a_majority_thaws(seed: u64) {
    let is_durable = seed.is_multiple_of(2);
    let mut scenario = Scenario::found_with(seed, 3, is_durable, Some(1_000));
    let former = scenario.status("n0").cluster;
    let leader = scenario.leader().expect("it leads");
    let followers = scenario.followers();
    let (frozen, alone) = ([leader.clone(), followers[0].clone()], followers[1].clone());
    scenario.pause(&frozen, true);
    scenario.until("one goes on alone", |scenario| scenario.status(&alone).role == Role::Leader);
    let (sequence, kept) = scenario.append(&alone);
    scenario.until("it is acknowledged", |scenario| scenario.end(&alone, sequence).is_some());
    scenario.pause(&frozen, false);
    let thawed: Vec<_> = frozen.iter().map(|name| (name, scenario.append(name))).collect();
    scenario.until("one cluster is left", |scenario| scenario.leader().is_some());
    scenario.until("all is reported", |scenario| {
        thawed.iter().all(|(name, (sequence, _))| scenario.end(name, *sequence).is_some())
    });
    scenario.serve();
    let cluster = scenario.status(&alone).cluster;
    assert_ne!(cluster, former);
    for (name, (sequence, action)) in thawed {
        let is_superseded = |warning: &Warning| {
            matches!(warning, Warning::Superseded { ours, successor, .. }
                if *ours == former && *successor == cluster)
        };
        assert!(scenario.has_warned(name, is_superseded), "seed {seed}: {name} warns, with the reason");
        match scenario.end(name, sequence) {
            // After its thaw the former cluster still served it for a moment, which is reported.
            Some(End::Resolved(_)) if !scenario.holds(&alone, &action) => {}
            Some(End::Resolved(_)) => assert!(scenario.holds(&alone, &action)),
            end => assert_eq!(end, Some(&End::Unknown), "seed {seed}: `{action}` on {name}"),
        }
    }
    assert!(scenario.holds(&alone, &kept));
}

/// Voters of the former cluster come back with their disks, and continue, for they know of nothing. When the successor
/// comes back, too, it is the one.
#[test]
fn a_successor_that_comes_back_ends_the_cluster_that_it_replaced() {
    for seed in 80..100 {
        let mut scenario = Scenario::found(seed, 3, true);
        let former = scenario.status("n0").cluster;
        let others = [scenario.crash("n1", 9), scenario.crash("n2", 9)];
        scenario.recover_on("n0");
        let cluster = scenario.status("n0").cluster;
        for _ in 0..if seed.is_multiple_of(2) { 10 } else { 1 } {
            scenario.serve();
        }
        let count = scenario.cluster.replicas["n0"].application.state.count;
        let disk = scenario.crash("n0", 9);
        scenario.cluster.frames.clear();
        let [one, other] = others;
        let former_voters = [scenario.start_anew("n1", one), scenario.start_anew("n2", other)];
        scenario.until("they go on", |scenario| scenario.leader().is_some());
        scenario.serve();
        assert_eq!(scenario.status(&former_voters[0]).cluster, former);
        let survivor = scenario.start_anew("n0", disk);
        scenario.until("one cluster is left", |scenario| scenario.leader().is_some());
        scenario.serve();
        assert_eq!(scenario.status(&survivor).cluster, cluster);
        assert!(scenario.cluster.replicas[&survivor].application.state.count > count);
        for name in &former_voters {
            let is = |warning: &Warning| matches!(warning, Warning::Superseded { successor, .. } if *successor == cluster);
            assert!(scenario.has_warned(name, is), "seed {seed}: {name} warns, with the reason");
        }
        let is = |warning: &Warning| matches!(warning, Warning::FormerCluster { former: other, .. } if *other == former);
        assert!(scenario.has_warned(&survivor, is), "seed {seed}: the successor warns, too");
    }
}

/// A node that is about to join the successor has its own log until it is in, and continues with it if the successor
/// dies.
#[test]
fn a_log_is_kept_until_the_successor_has_let_its_node_in() {
    let returned = (0..60).filter(|k| a_log_is_kept(*k)).count();
    assert!((6..55).contains(&returned), "{returned} of 60 came back to their log");
}

/// Whether it came back to its log, for the successor had not let it in.
pub(super) fn a_log_is_kept(k: u64) -> bool {
    let is_durable = k.is_multiple_of(2);
    let (mut scenario, [other, best]) = bereaved(k % 5, is_durable);
    let former = scenario.status(&other).cluster;
    scenario.until("the loss is reported", |scenario| scenario.has_lost(&other) && scenario.has_lost(&best));
    scenario.recover(&best, 2_000);
    scenario.until("it goes on", |scenario| scenario.status(&best).cluster != former);
    scenario.until("the other waits for it", |scenario| scenario.status(&other).cluster.is_none());
    scenario.ticks(3 * k);
    scenario.crash(&best, 0);
    let count = scenario.cluster.replicas[&other].application.state.count;
    let mut name = other.clone();
    if k.is_multiple_of(4) {
        // Its machine fails, too.
        let disk = scenario.crash(&other, 0).expect("it has a disk");
        name = scenario.start_anew(&other, Some(disk));
    }
    scenario.until("it has a log", |scenario| !scenario.status(&name).cluster.is_none());
    let is_former = scenario.status(&name).cluster == former;
    scenario.until("the successor is missed", |scenario| scenario.has_lost(&name));
    scenario.recover_on(&name);
    scenario.serve();
    assert!(scenario.cluster.replicas[&name].application.state.count > count);
    is_former
}

/// Two successors that do not hear each other both continue. When they do, both warn, and neither gives way.
#[test]
fn two_successors_of_one_cluster_tell_of_each_other_and_end_when_one_is_given_up() {
    for seed in 0..6_u64 {
        let is_durable = seed.is_multiple_of(2);
        let mut scenario = Scenario::found(seed, 5, is_durable);
        let former = scenario.status("n0").cluster;
        for name in ["n2", "n3", "n4"] {
            scenario.crash(name, 9);
        }
        scenario.cluster.cut_apart(|_, _| true);
        for name in ["n0", "n1"] {
            scenario.recover_on(name);
            let (sequence, _) = scenario.append(name);
            scenario.until("it is acknowledged", |scenario| scenario.end(name, sequence).is_some());
        }
        scenario.cluster.cuts.clear();
        let is = |warning: &Warning| matches!(warning, Warning::TwoSuccessors { former: common, .. } if *common == former);
        scenario
            .until("both warn", |scenario| scenario.has_warned("n0", is) && scenario.has_warned("n1", is));
        scenario.ticks(3_000);
        let clusters: BTreeSet<ClusterUuid> =
            scenario.cluster.statuses().values().map(|s| s.cluster).collect();
        assert_eq!(clusters.len(), 2, "only an operator decides");
        // The operator decides: `n1` starts anew.
        scenario.crash("n1", 9);
        scenario.start_anew("n1", is_durable.then(Disk::default));
        scenario.until("one is left", |scenario| scenario.leader().is_some());
        scenario.serve();
    }
}

/// One recovery after another, with a restart in between; the log holds several of them at once.
#[test]
fn a_cluster_can_be_recovered_again_and_again() {
    for seed in 0..6 {
        let mut scenario = Scenario::found(seed, 3, true);
        let disks = [scenario.crash("n1", 9), scenario.crash("n2", 9)];
        let mut name = "n0".to_string();
        let mut clusters = BTreeSet::from([scenario.status(&name).cluster]);
        for round in 0..4 {
            scenario.recover_on(&name);
            assert!(clusters.insert(scenario.status(&name).cluster), "each has a name of its own");
            let disk = scenario.crash(&name, 9);
            name = scenario.start_anew("n0", disk);
            scenario.until("it leads again", |scenario| scenario.leader().is_some());
            assert!(clusters.contains(&scenario.status(&name).cluster), "round {round}");
            let other = scenario.start_anew("n1", None);
            scenario.until("two vote", |scenario| {
                scenario.leader().is_some()
                    && scenario.status(&name).members.iter().filter(|member| member.is_voter).count() == 2
            });
            if seed.is_multiple_of(2) {
                scenario.serve();
            }
            scenario.crash(&other, 0);
        }
        scenario.recover_on(&name);
        // A node that knew only the first of them still finds the last.
        let [disk, _] = disks;
        let first = scenario.start_anew("n2", disk);
        scenario.until("it joins", |scenario| scenario.leader().is_some());
        assert!(scenario.has_warned(&first, |warning| matches!(warning, Warning::Superseded { .. })));
        scenario.serve();
    }
}

/// Beyond that, a cluster no longer knows its ancestor: the two are in conflict like any two clusters.
#[test]
fn a_node_of_a_cluster_that_was_recovered_too_often_since_keeps_its_log() {
    let mut scenario = Scenario::found(3, 3, true);
    let disks = [scenario.crash("n1", 9), scenario.crash("n2", 9)];
    for _ in 0..=ANCESTORS_MAX {
        scenario.recover_on("n0");
        let other = scenario.start_anew("x", None);
        scenario.until("two vote", |scenario| {
            scenario.leader().is_some()
                && scenario.status("n0").members.iter().filter(|member| member.is_voter).count() == 2
        });
        scenario.crash(&other, 0);
    }
    scenario.recover_on("n0");
    scenario.serve();
    let [disk, _] = disks;
    let first = scenario.start_anew("n1", disk);
    scenario.ticks(2_000);
    let replica = &scenario.cluster.replicas[&first];
    assert!(matches!(replica.stopped, Some(Some(crate::error::Error::OtherCluster { .. }))), "it says so");
    assert!(replica.node.inspect().log().is_some_and(|log| log.last_index() > 15));
}

/// A learner has a log as the voters have: alone, it continues.
#[test]
fn a_learner_that_is_left_alone_goes_on() {
    for seed in 0..6 {
        let mut scenario = Scenario::found(seed, 3, false);
        scenario.start("n3", "n3", None);
        scenario.until("it is in", |scenario| scenario.leader().is_some());
        scenario.serve();
        let count = scenario.cluster.replicas["n3"].application.state.count;
        for name in ["n0", "n1", "n2"] {
            scenario.crash(name, 0);
        }
        scenario.recover_on("n3");
        assert_eq!(scenario.cluster.replicas["n3"].application.state.count, count);
        scenario.start("n4", "n4", None);
        scenario.until("two are one cluster", |scenario| scenario.leader().is_some());
        scenario.serve();
    }
}

/// At whatever moment of a replacement the quorum is lost, in a joint configuration, too, what is left continues.
#[test]
fn a_quorum_that_is_lost_in_the_middle_of_a_change_of_voters_can_be_recovered() {
    for k in 0..40 {
        let mut scenario = Scenario::found(k, 3, false);
        scenario.start("n3", "n3", None);
        scenario.until("it is in", |scenario| scenario.leader().is_some());
        let dead = scenario.followers().into_iter().find(|name| name != "n3").expect("a voter");
        scenario.crash(&dead, 0);
        let member = |scenario: &Scenario| {
            let statuses = scenario.cluster.statuses();
            statuses.values().any(|status| status.members.iter().any(|m| &*m.id == "n3" && m.is_voter))
        };
        scenario.until("it begins to be replaced", member);
        scenario.ticks(k / 4);
        let left = scenario.names().remove((k % 3) as usize);
        for name in scenario.names().iter().filter(|name| **name != left) {
            scenario.crash(name, 0);
        }
        let count = scenario.cluster.replicas[&left].application.state.count;
        scenario.ticks(300);
        if scenario.status(&left).role != Role::Leader {
            scenario.recover_on(&left);
        }
        assert!(scenario.cluster.replicas[&left].application.state.count >= count);
        scenario.serve();
    }
}

/// While a leader's snapshot is in flight to the disk, and to the application, a survivor's log is not whole: it waits.
#[test]
fn a_survivor_that_installs_a_snapshot_first_finishes_that() {
    for k in 0..40 {
        let mut scenario = Scenario::found(k, 3, true);
        let leader = scenario.leader().expect("it leads");
        let behind = scenario.followers().remove(0);
        scenario.cluster.cut_apart(|one, other| (one == behind) != (other == behind));
        let others: Vec<String> = scenario.names().into_iter().filter(|name| *name != behind).collect();
        for _ in 0..12 {
            others.iter().for_each(|name| _ = scenario.append(name));
            scenario.ticks(5);
        }
        scenario.cluster.cuts.clear();
        scenario.holds_within(400, |scenario| scenario.status(&behind).commit_index > 30);
        scenario.cluster.replicas.get_mut(&behind).expect("it runs").is_busy = k.is_multiple_of(2);
        scenario.ticks(k / 8);
        for name in others.iter().filter(|name| **name != leader).chain([&leader]) {
            scenario.crash(name, 0);
        }
        scenario.until("the quorum is lost", |scenario| scenario.has_lost(&behind));
        scenario.recover(&behind, 3_000);
        scenario.ticks(30);
        scenario.cluster.replicas.get_mut(&behind).expect("it runs").is_busy = false;
        scenario.cluster.answer(&behind);
        scenario.until("it leads", |scenario| scenario.leader().is_some());
        scenario.serve();
    }
}

/// Two of three are away, and the third has nothing of what they have acknowledged; but a newcomer has it, and says so.
#[test]
fn a_voter_that_lacks_the_actions_of_its_cluster_does_not_start_over() {
    (0..20).for_each(a_voter_comes_back_without_actions);
}

pub(super) fn a_voter_comes_back_without_actions(seed: u64) {
    let mut scenario = Scenario::found_empty(seed, 3, true);
    let leader = scenario.leader().expect("it was found");
    let [other, empty] = <[String; 2]>::try_from(scenario.followers()).expect("three were founded");
    let newcomer = scenario.start_anew("n3", None);
    scenario.until("it is admitted", |scenario| scenario.leader().is_some());
    scenario.cluster.cuts.insert((leader.clone(), empty.clone()));
    let (sequence, action) = scenario.append(&leader);
    scenario.until("it is acknowledged", |scenario| scenario.end(&leader, sequence).is_some());
    scenario.until("the newcomer has it", |scenario| scenario.holds(&newcomer, &action));
    scenario.crash(&leader, 0);
    let disk = scenario.crash(&other, 0);
    scenario.cluster.cuts.clear();
    ["n4", "n5"].into_iter().for_each(|id| _ = scenario.start_anew(id, None));
    scenario.ticks(1_500);
    scenario.start("back", &other, disk);
    scenario.until("the cluster goes on", |scenario| scenario.leader().is_some());
    scenario.serve();
    assert!(scenario.holds(&empty, &action), "what was acknowledged is lost");
}
