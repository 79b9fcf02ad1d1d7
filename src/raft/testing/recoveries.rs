//! This file tells, one by one, how clusters are founded anew from what is left of them: who may die, return or be cut
//! off in between, and at which moment.
//!
//! `churn.rs` does the same at random.

use std::collections::BTreeSet;

use super::application::End;
use super::disk::Disk;
use super::tale::Tale;
use crate::raft::registry::ANCESTORS_MAX;
use crate::raft::{Ask, ClusterUuid, Role, Warning};

/// Five nodes of which three died; of the two that are left one has what the other lacks, and the dead may have
/// acknowledged. The two, the one that knows more last.
fn bereaved(seed: u64, is_durable: bool) -> (Tale, [String; 2]) {
    let mut tale = Tale::found(seed, 5, is_durable);
    let leader = tale.leader().expect("it leads");
    let survivors = tale.followers().split_off(2);
    tale.cluster.cuts.insert((leader.clone(), survivors[0].clone()));
    let (sequence, _) = tale.append(&leader);
    tale.until("it is acknowledged", |tale| tale.end(&leader, sequence).is_some());
    for name in tale.names().iter().filter(|name| !survivors.contains(name)) {
        tale.crash(name, 0);
    }
    tale.cluster.cuts.clear();
    let [less, more] = <[String; 2]>::try_from(survivors).expect("two are left");
    (tale, [less, more])
}

/// Whoever promised to leave it to another can take that back when that one has died, at whatever moment.
#[test]
fn a_survivor_that_dies_in_the_middle_of_a_recovery_does_not_bind_the_other() {
    (0..240).for_each(one_survivor_dies);
}

pub(super) fn one_survivor_dies(number: u64) {
    let (k, seed) = (number / 4, 10 + number % 4);
    let (mut tale, [other, best]) = bereaved(seed, seed.is_multiple_of(2));
    tale.until("the loss is told", |tale| tale.has_lost(&other) && tale.has_lost(&best));
    tale.recover(&other, 1_000);
    tale.ticks(k);
    tale.crash(&best, 0);
    // Until then it may take the dead for its leader.
    tale.ticks(200);
    let mut tries = 0;
    while tale.status(&other).leader.is_none() {
        tries += 1;
        assert!(tries < 5, "tick {k}, seed {seed}: {:?}", tale.status(&other));
        tale.recover(&other, 900);
        tale.ticks(1_000);
    }
    assert!(tale.cluster.replicas[&other].application.state.count >= 25, "it kept its log");
    tale.serve();
}

/// A newcomer may be the only node that is left, also with an image from before it became a member.
#[test]
fn a_newcomer_that_only_has_an_image_recovers_the_cluster() {
    let unaware = (0..60).filter(|seed| a_newcomer_is_left_alone(*seed)).count();
    assert!(unaware > 10, "{unaware} of 60 had an image from before they were members");
}

/// Whether its image is from before it became a member.
pub(super) fn a_newcomer_is_left_alone(seed: u64) -> bool {
    let mut tale = Tale::found(seed, 1, seed.is_multiple_of(2));
    // It has taken a snapshot before the newcomer comes.
    (0..10).for_each(|_| tale.serve());
    let newcomer = tale.start_anew("n1", seed.is_multiple_of(2).then(Disk::default));
    tale.until("it has the image", |tale| !tale.status(&newcomer).cluster.is_none());
    let is_unaware = tale.status(&newcomer).members.len() == 1;
    tale.crash("n0", 0);
    tale.cluster.frames.clear();
    tale.until("the leader is missed", |tale| tale.has_lost(&newcomer));
    let count = tale.cluster.replicas[&newcomer].application.state.count;
    assert!(count >= 20, "the image holds {count} actions");
    let set_busy = |tale: &mut Tale, is_busy| {
        tale.cluster.replicas.get_mut(&newcomer).expect("it runs").is_busy = is_busy;
    };
    let behind: Vec<u64> = (0..20).map(|_| tale.append(&newcomer).0).collect();
    // JavaScript is told that a read found no leader, and is busy with that when the cluster is founded anew.
    set_busy(&mut tale, true);
    tale.cluster.ask(&newcomer, Ask::Sync, 5);
    tale.ticks(10);
    let ticket = tale.recover(&newcomer, 2_000);
    tale.ticks(30 * (seed % 3));
    set_busy(&mut tale, false);
    tale.cluster.answer(&newcomer);
    tale.until("it is recovered", |tale| tale.is_recovered(&newcomer, ticket));
    tale.until("all that waited has ended", |tale| {
        behind.iter().all(|sequence| tale.end(&newcomer, *sequence).is_some())
    });
    tale.serve();
    let kept = tale.cluster.replicas[&newcomer].application.state.count;
    assert!(kept >= count + 20, "{kept} of {count} and those that were performed since");
    is_unaware
}

/// While one voter takes the place of another, two majorities are needed (paper §6): the cluster is lost when either is.
#[test]
fn a_cluster_that_lost_one_majority_of_a_joint_configuration_is_recovered() {
    let joint = (0..40).filter(|seed| a_majority_of_the_former_voters_is_gone(*seed)).count();
    assert!(joint > 10, "{joint} of 40 had a survivor that goes by the joint configuration");
}

/// Whether a survivor had entered the joint configuration.
pub(super) fn a_majority_of_the_former_voters_is_gone(seed: u64) -> bool {
    let mut tale = Tale::found(seed, 4, seed.is_multiple_of(2));
    let leader = tale.leader().expect("it was found");
    let newcomer = tale.start_anew("n4", seed.is_multiple_of(2).then(Disk::default));
    tale.until("the newcomer is a member", |tale| tale.status(&newcomer).members.len() == 5);
    tale.ticks(20);
    let replaced = tale.followers().into_iter().find(|name| *name != newcomer).expect("there are three");
    tale.crash(&replaced, 0);
    let survivors: Vec<String> = tale.names().into_iter().filter(|name| *name != leader).collect();
    let is_joint = |tale: &Tale, name: &String| tale.cluster.replicas[name].node.voter_halves().len() > 1;
    tale.until("the newcomer is to take its place", |tale| is_joint(tale, &leader));
    tale.ticks(seed % 5);
    tale.crash(&leader, 0);
    tale.cluster.frames.clear();
    let was_joint = survivors.iter().any(|name| is_joint(&tale, name));
    let Some(name) = survivors.iter().find(|name| tale.holds_within(600, |tale| tale.has_lost(name))) else {
        // The newcomer had taken the place for good: three of four live.
        tale.until("a leader that all know", |tale| tale.leader().is_some());
        tale.serve();
        return false;
    };
    let ticket = tale.recover(name, 3_000);
    tale.until("it is recovered", |tale| tale.is_recovered(name, ticket) && tale.leader().is_some());
    tale.serve();
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
    let (mut tale, [other, best]) = bereaved(k % 8, true);
    tale.until("the loss is told", |tale| tale.has_lost(&other) && tale.has_lost(&best));
    let ticket = tale.recover(&best, 3_000);
    tale.ticks(k / 8);
    let has_promised = tale.cluster.replicas[&best].node.was_promised_by(&other);
    let disk = tale.crash(&other, 0).expect("it has a disk");
    let other = tale.start_anew(&other, Some(disk));
    if has_promised {
        let status = tale.status(&other);
        let is_bound = status.waiting_for.as_ref().is_some_and(|text| text.contains("takes the place"));
        assert!(is_bound || status.cluster != tale.status(&best).cluster, "tick {k}: {status:?}");
    }
    tale.until("it is recovered", |tale| tale.is_recovered(&best, ticket) && tale.leader().is_some());
    tale.serve();
    has_promised
}

/// Wherever the survivor's power fails, it comes back as what it was or as the successor, and goes on from there.
#[test]
fn a_survivor_that_loses_its_power_at_any_moment_recovers_in_the_end() {
    (0..80).for_each(a_survivor_loses_its_power);
}

pub(super) fn a_survivor_loses_its_power(k: u64) {
    let mut tale = Tale::found(k, 3, true);
    for name in ["n1", "n2"] {
        tale.crash(name, 0);
    }
    tale.until("the quorum is lost", |tale| tale.has_lost("n0"));
    let ticket = tale.recover("n0", 1_000);
    let former = tale.status("n0").cluster;
    // The last of these is too late for any.
    tale.ticks(k / 8);
    let (sequence, action) = tale.append("n0");
    tale.ticks(k % 8);
    let was_recovered = tale.is_recovered("n0", ticket);
    let was_acknowledged = matches!(tale.end("n0", sequence), Some(End::Resolved(_)));
    let leads_as = tale.status("n0").cluster;
    let disk = tale.crash("n0", 0).expect("it has a disk");
    tale.cluster.frames.clear();
    let name = tale.start_anew("n0", Some(disk));
    let is_successor = tale.status(&name).cluster != former;
    assert!(is_successor || !was_recovered && leads_as == former, "tick {k}: it was told as recovered");
    if !is_successor {
        tale.recover_on(&name);
    }
    tale.until("it leads", |tale| tale.leader().is_some());
    tale.serve();
    assert!(!was_acknowledged || tale.holds(&name, &action), "tick {k}: `{action}` was acknowledged");
    assert_ne!(tale.status(&name).cluster, former);
}

/// The former name is in the disk's record and in the snapshot, the new one behind: whoever comes back is who it was.
#[test]
fn a_recovered_cluster_keeps_its_name_over_snapshots_and_restarts() {
    (60..80).for_each(a_successor_restarts);
}

pub(super) fn a_successor_restarts(seed: u64) {
    let mut tale = Tale::found(seed, 3, true);
    for name in ["n1", "n2"] {
        tale.crash(name, 0);
    }
    tale.recover_on("n0");
    let name = tale.status("n0").cluster;
    tale.start("n1", "n1", Some(Disk::default()));
    tale.until("two vote", |tale| {
        tale.leader().is_some()
            && tale
                .cluster
                .statuses()
                .values()
                .all(|status| status.members.iter().filter(|member| member.is_voter).count() == 2)
    });
    // With a snapshot behind the recovery, and without one.
    for _ in 0..if seed.is_multiple_of(2) { 15 } else { 1 } {
        tale.serve();
    }
    let count = tale.cluster.replicas["n0"].application.state.count;
    for round in 0..2 {
        let names = tale.names();
        let disks: Vec<Disk> = names.iter().map(|name| tale.crash(name, 9).expect("it has a disk")).collect();
        tale.cluster.frames.clear();
        for (former, disk) in names.iter().zip(disks) {
            tale.start_anew(&former[..2], Some(disk));
        }
        tale.until("it leads again", |tale| tale.leader().is_some());
        assert!(tale.cluster.statuses().values().all(|status| status.cluster == name), "round {round}");
        tale.serve();
    }
    let name = &tale.names()[0];
    assert!(tale.cluster.replicas[name].application.state.count > count);
}

/// A majority that was stopped for longer than `recoverAfter` finds that its cluster has ended.
#[test]
fn a_majority_that_thaws_gives_way_to_who_went_on_without_it() {
    (40..60).for_each(a_majority_thaws);
}

pub(super) fn a_majority_thaws(seed: u64) {
    let is_durable = seed.is_multiple_of(2);
    let mut tale = Tale::found_with(seed, 3, is_durable, Some(1_000));
    let former = tale.status("n0").cluster;
    let leader = tale.leader().expect("it leads");
    let followers = tale.followers();
    let (frozen, alone) = ([leader.clone(), followers[0].clone()], followers[1].clone());
    tale.pause(&frozen, true);
    tale.until("one goes on alone", |tale| tale.status(&alone).role == Role::Leader);
    let (sequence, kept) = tale.append(&alone);
    tale.until("it is acknowledged", |tale| tale.end(&alone, sequence).is_some());
    tale.pause(&frozen, false);
    let thawed: Vec<_> = frozen.iter().map(|name| (name, tale.append(name))).collect();
    tale.until("one cluster is left", |tale| tale.leader().is_some());
    tale.until("all is told", |tale| {
        thawed.iter().all(|(name, (sequence, _))| tale.end(name, *sequence).is_some())
    });
    tale.serve();
    let cluster = tale.status(&alone).cluster;
    assert_ne!(cluster, former);
    for (name, (sequence, action)) in thawed {
        let is_superseded = |warning: &Warning| {
            matches!(warning, Warning::Superseded { ours, successor, .. }
                if *ours == former && *successor == cluster)
        };
        assert!(tale.has_warned(name, is_superseded), "seed {seed}: {name} tells why");
        match tale.end(name, sequence) {
            // Between its thaw and the news it was still served by the former cluster, and that is told.
            Some(End::Resolved(_)) if !tale.holds(&alone, &action) => {}
            Some(End::Resolved(_)) => assert!(tale.holds(&alone, &action)),
            end => assert_eq!(end, Some(&End::Unknown), "seed {seed}: `{action}` on {name}"),
        }
    }
    assert!(tale.holds(&alone, &kept));
}

/// Voters of the former cluster come back with their disks, and go on, for they know of nothing. When the successor comes
/// back, too, it is the one.
#[test]
fn a_successor_that_comes_back_ends_the_cluster_that_it_replaced() {
    for seed in 80..100 {
        let mut tale = Tale::found(seed, 3, true);
        let former = tale.status("n0").cluster;
        let others = [tale.crash("n1", 9), tale.crash("n2", 9)];
        tale.recover_on("n0");
        let cluster = tale.status("n0").cluster;
        for _ in 0..if seed.is_multiple_of(2) { 10 } else { 1 } {
            tale.serve();
        }
        let count = tale.cluster.replicas["n0"].application.state.count;
        let disk = tale.crash("n0", 9);
        tale.cluster.frames.clear();
        let [one, other] = others;
        let former_voters = [tale.start_anew("n1", one), tale.start_anew("n2", other)];
        tale.until("they go on", |tale| tale.leader().is_some());
        tale.serve();
        assert_eq!(tale.status(&former_voters[0]).cluster, former);
        let survivor = tale.start_anew("n0", disk);
        tale.until("one cluster is left", |tale| tale.leader().is_some());
        tale.serve();
        assert_eq!(tale.status(&survivor).cluster, cluster);
        assert!(tale.cluster.replicas[&survivor].application.state.count > count);
        for name in &former_voters {
            let is = |warning: &Warning| matches!(warning, Warning::Superseded { successor, .. } if *successor == cluster);
            assert!(tale.has_warned(name, is), "seed {seed}: {name} tells why");
        }
        let is = |warning: &Warning| matches!(warning, Warning::FormerCluster { former: other, .. } if *other == former);
        assert!(tale.has_warned(&survivor, is), "seed {seed}: the successor tells, too");
    }
}

/// Whoever is about to join the successor has its own log until it is in, and goes on with it if the successor dies.
#[test]
fn a_log_is_kept_until_the_successor_has_let_its_node_in() {
    let returned = (0..60).filter(|k| a_log_is_kept(*k)).count();
    assert!((6..55).contains(&returned), "{returned} of 60 came back to their log");
}

/// Whether it came back to its log, for the successor had not let it in.
pub(super) fn a_log_is_kept(k: u64) -> bool {
    let is_durable = k.is_multiple_of(2);
    let (mut tale, [other, best]) = bereaved(k % 5, is_durable);
    let former = tale.status(&other).cluster;
    tale.until("the loss is told", |tale| tale.has_lost(&other) && tale.has_lost(&best));
    tale.recover(&best, 2_000);
    tale.until("it goes on", |tale| tale.status(&best).cluster != former);
    tale.until("the other waits for it", |tale| tale.status(&other).cluster.is_none());
    tale.ticks(3 * k);
    tale.crash(&best, 0);
    let count = tale.cluster.replicas[&other].application.state.count;
    let mut name = other.clone();
    if k.is_multiple_of(4) {
        // Its machine fails, too.
        let disk = tale.crash(&other, 0).expect("it has a disk");
        name = tale.start_anew(&other, Some(disk));
    }
    tale.until("it has a log", |tale| !tale.status(&name).cluster.is_none());
    let is_former = tale.status(&name).cluster == former;
    tale.until("the successor is missed", |tale| tale.has_lost(&name));
    tale.recover_on(&name);
    tale.serve();
    assert!(tale.cluster.replicas[&name].application.state.count > count);
    is_former
}

/// Two that hear nothing of each other both go on. When they do, both tell, and neither gives way.
#[test]
fn two_successors_of_one_cluster_tell_of_each_other_and_end_when_one_is_given_up() {
    for seed in 0..6_u64 {
        let is_durable = seed.is_multiple_of(2);
        let mut tale = Tale::found(seed, 5, is_durable);
        let former = tale.status("n0").cluster;
        for name in ["n2", "n3", "n4"] {
            tale.crash(name, 9);
        }
        tale.cluster.cut_apart(|_, _| true);
        for name in ["n0", "n1"] {
            tale.recover_on(name);
            let (sequence, _) = tale.append(name);
            tale.until("it is acknowledged", |tale| tale.end(name, sequence).is_some());
        }
        tale.cluster.cuts.clear();
        let is = |warning: &Warning| matches!(warning, Warning::TwoSuccessors { former: common, .. } if *common == former);
        tale.until("both tell", |tale| tale.has_warned("n0", is) && tale.has_warned("n1", is));
        tale.ticks(3_000);
        let clusters: BTreeSet<ClusterUuid> = tale.cluster.statuses().values().map(|s| s.cluster).collect();
        assert_eq!(clusters.len(), 2, "nobody decides but an operator");
        // Which does as it was told.
        tale.crash("n1", 9);
        tale.start_anew("n1", is_durable.then(Disk::default));
        tale.until("one is left", |tale| tale.leader().is_some());
        tale.serve();
    }
}

/// One recovery after another, with a restart in between; the log holds several of them at once.
#[test]
fn a_cluster_can_be_recovered_again_and_again() {
    for seed in 0..6 {
        let mut tale = Tale::found(seed, 3, true);
        let disks = [tale.crash("n1", 9), tale.crash("n2", 9)];
        let mut name = "n0".to_string();
        let mut clusters = BTreeSet::from([tale.status(&name).cluster]);
        for round in 0..4 {
            tale.recover_on(&name);
            assert!(clusters.insert(tale.status(&name).cluster), "each has a name of its own");
            let disk = tale.crash(&name, 9);
            name = tale.start_anew("n0", disk);
            tale.until("it leads again", |tale| tale.leader().is_some());
            assert!(clusters.contains(&tale.status(&name).cluster), "round {round}");
            let other = tale.start_anew("n1", None);
            tale.until("two vote", |tale| {
                tale.leader().is_some()
                    && tale.status(&name).members.iter().filter(|member| member.is_voter).count() == 2
            });
            if seed.is_multiple_of(2) {
                tale.serve();
            }
            tale.crash(&other, 0);
        }
        tale.recover_on(&name);
        // Whoever knew only the first of them still finds the last.
        let [disk, _] = disks;
        let first = tale.start_anew("n2", disk);
        tale.until("it joins", |tale| tale.leader().is_some());
        assert!(tale.has_warned(&first, |warning| matches!(warning, Warning::Superseded { .. })));
        tale.serve();
    }
}

/// Beyond that, a cluster no longer knows what it was: the two are told apart as any two.
#[test]
fn a_node_of_a_cluster_that_was_recovered_too_often_since_keeps_its_log() {
    let mut tale = Tale::found(3, 3, true);
    let disks = [tale.crash("n1", 9), tale.crash("n2", 9)];
    for _ in 0..=ANCESTORS_MAX {
        tale.recover_on("n0");
        let other = tale.start_anew("x", None);
        tale.until("two vote", |tale| {
            tale.leader().is_some()
                && tale.status("n0").members.iter().filter(|member| member.is_voter).count() == 2
        });
        tale.crash(&other, 0);
    }
    tale.recover_on("n0");
    tale.serve();
    let [disk, _] = disks;
    let first = tale.start_anew("n1", disk);
    tale.ticks(2_000);
    let replica = &tale.cluster.replicas[&first];
    assert!(matches!(replica.stopped, Some(Some(crate::error::Error::OtherCluster { .. }))), "it says so");
    assert!(replica.node.log().is_some_and(|log| log.last_index() > 15));
}

/// A learner has a log as the voters have: alone, it goes on.
#[test]
fn a_learner_that_is_left_alone_goes_on() {
    for seed in 0..6 {
        let mut tale = Tale::found(seed, 3, false);
        tale.start("n3", "n3", None);
        tale.until("it is in", |tale| tale.leader().is_some());
        tale.serve();
        let count = tale.cluster.replicas["n3"].application.state.count;
        for name in ["n0", "n1", "n2"] {
            tale.crash(name, 0);
        }
        tale.recover_on("n3");
        assert_eq!(tale.cluster.replicas["n3"].application.state.count, count);
        tale.start("n4", "n4", None);
        tale.until("two are one cluster", |tale| tale.leader().is_some());
        tale.serve();
    }
}

/// At whatever moment of a replacement the quorum is lost, in a joint configuration, too, what is left goes on.
#[test]
fn a_quorum_that_is_lost_in_the_middle_of_a_change_of_voters_can_be_recovered() {
    for k in 0..40 {
        let mut tale = Tale::found(k, 3, false);
        tale.start("n3", "n3", None);
        tale.until("it is in", |tale| tale.leader().is_some());
        let dead = tale.followers().into_iter().find(|name| name != "n3").expect("a voter");
        tale.crash(&dead, 0);
        let member = |tale: &Tale| {
            let statuses = tale.cluster.statuses();
            statuses.values().any(|status| status.members.iter().any(|m| &*m.id == "n3" && m.is_voter))
        };
        tale.until("it begins to be replaced", member);
        tale.ticks(k / 4);
        let left = tale.names().remove((k % 3) as usize);
        for name in tale.names().iter().filter(|name| **name != left) {
            tale.crash(name, 0);
        }
        let count = tale.cluster.replicas[&left].application.state.count;
        tale.ticks(300);
        if tale.status(&left).role != Role::Leader {
            tale.recover_on(&left);
        }
        assert!(tale.cluster.replicas[&left].application.state.count >= count);
        tale.serve();
    }
}

/// While a leader's snapshot is on its way to the disk, and to the application, a survivor's log is not whole: it waits.
#[test]
fn a_survivor_that_installs_a_snapshot_first_finishes_that() {
    for k in 0..40 {
        let mut tale = Tale::found(k, 3, true);
        let leader = tale.leader().expect("it leads");
        let behind = tale.followers().remove(0);
        tale.cluster.cut_apart(|one, other| (one == behind) != (other == behind));
        let others: Vec<String> = tale.names().into_iter().filter(|name| *name != behind).collect();
        for _ in 0..12 {
            others.iter().for_each(|name| _ = tale.append(name));
            tale.ticks(5);
        }
        tale.cluster.cuts.clear();
        tale.holds_within(400, |tale| tale.status(&behind).commit_index > 30);
        tale.cluster.replicas.get_mut(&behind).expect("it runs").is_busy = k.is_multiple_of(2);
        tale.ticks(k / 8);
        for name in others.iter().filter(|name| **name != leader).chain([&leader]) {
            tale.crash(name, 0);
        }
        tale.until("the quorum is lost", |tale| tale.has_lost(&behind));
        tale.recover(&behind, 3_000);
        tale.ticks(30);
        tale.cluster.replicas.get_mut(&behind).expect("it runs").is_busy = false;
        tale.cluster.answer(&behind);
        tale.until("it leads", |tale| tale.leader().is_some());
        tale.serve();
    }
}

/// Of three survivors, the best is heard late: who promised another is free to promise it.
#[test]
fn a_promise_goes_on_to_a_better_survivor_that_is_heard_later() {
    for seed in 0..10 {
        let mut tale = Tale::found(seed, 7, seed.is_multiple_of(2));
        let leader = tale.leader().expect("it leads");
        let followers = tale.followers();
        let best = followers[0].clone();
        for name in &followers[1..] {
            tale.cluster.cuts.insert((leader.clone(), name.clone()));
        }
        tale.append(&leader);
        tale.ticks(5);
        for name in followers[3..].iter().chain([&leader]) {
            tale.crash(name, 0);
        }
        tale.cluster.cuts.clear();
        tale.cluster.cut_apart(|one, other| (one == best) != (other == best));
        let mut others = [followers[1].clone(), followers[2].clone()];
        others.sort_by_key(|name| tale.status(name).incarnation);
        let [less, more] = others;
        tale.until("the quorum is lost", |tale| [&less, &more].iter().all(|name| tale.has_lost(name)));
        // It promises, and that is not heard.
        tale.cluster.cuts.insert((less.clone(), more.clone()));
        let first = tale.recover(&more, 3_000);
        tale.ticks(20);
        assert!(tale.status(&less).waiting_for.is_some_and(|text| text.contains("takes the place")));
        tale.cluster.cuts.clear();
        tale.cluster.cuts.insert((less.clone(), more.clone()));
        tale.ticks(100);
        tale.cluster.cuts.clear();
        tale.until("it is told", |tale| tale.is_recovered(&more, first) && tale.leader().is_some());
        assert!(tale.has_warned(&best, |warning| matches!(warning, Warning::Recovered { .. })));
        tale.serve();
    }
}

/// Two of three are away, and the third has nothing of what they have acknowledged; but a newcomer has it, and says so.
#[test]
fn a_voter_that_lacks_the_actions_of_its_cluster_does_not_start_over() {
    (0..20).for_each(a_voter_comes_back_without_actions);
}

pub(super) fn a_voter_comes_back_without_actions(seed: u64) {
    let mut tale = Tale::found_empty(seed, 3, true);
    let leader = tale.leader().expect("it was found");
    let [other, empty] = <[String; 2]>::try_from(tale.followers()).expect("three were founded");
    let newcomer = tale.start_anew("n3", None);
    tale.until("it is let in", |tale| tale.leader().is_some());
    tale.cluster.cuts.insert((leader.clone(), empty.clone()));
    let (sequence, action) = tale.append(&leader);
    tale.until("it is acknowledged", |tale| tale.end(&leader, sequence).is_some());
    tale.until("the newcomer has it", |tale| tale.holds(&newcomer, &action));
    tale.crash(&leader, 0);
    let disk = tale.crash(&other, 0);
    tale.cluster.cuts.clear();
    ["n4", "n5"].into_iter().for_each(|id| _ = tale.start_anew(id, None));
    tale.ticks(1_500);
    tale.start("back", &other, disk);
    tale.until("the cluster goes on", |tale| tale.leader().is_some());
    tale.serve();
    assert!(tale.holds(&empty, &action), "what was acknowledged is lost");
}
