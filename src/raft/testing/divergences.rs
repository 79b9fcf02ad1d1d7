//! Scenarios, step by step, of a cluster in which one node's state is not to be trusted.

use super::application::Application;
use super::bugs::{Bug, assert_back_is_noticed};
use super::cluster::{Network, Sent};
use super::describe::describe_frame;
use super::scenarios::Scenario;
use crate::raft::snapshot::transfer::Transfer;
use crate::raft::wire::frame::{Frame, Receivers};
use crate::raft::wire::message::{DivergenceMessage, Message, RaftKind, RaftMessage, SnapshotMessage};
use crate::raft::{Input, Options, Role, Warning};

#[test]
fn a_follower_whose_reducer_throws_is_diverged_restored_once_and_then_stays_diverged() {
    let mut scenario = Scenario::found(1, 3, |_| {});
    scenario.serve();
    let name = scenario.followers().remove(0);
    let count = scenario.state(&name).count;
    scenario.cluster.replicas.get_mut(&name).expect("it runs").application.throws = true;
    scenario.cluster.perform(&scenario.leader().expect("it leads"), "append", "x/1");
    scenario.until("it is diverged", |scenario| scenario.cluster.replicas[&name].application.is_diverged);
    assert_eq!(scenario.state(&name).count, count, "its last good state stays");
    assert!(scenario.cluster.statuses()[&name].diverged.as_ref().is_some_and(|why| why.contains("threw")));
    let sequence = scenario.cluster.perform(&name, "append", "y/1");
    let end = scenario.cluster.replicas[&name].application.ends.get(&sequence);
    assert_eq!(end, Some(&super::application::End::NotApplied));
    scenario.until("it is restored", |scenario| !scenario.cluster.replicas[&name].application.is_diverged);
    scenario.serve();

    scenario.cluster.replicas.get_mut(&name).expect("it runs").application.throws = true;
    scenario.cluster.perform(&scenario.leader().expect("it leads"), "append", "x/2");
    scenario
        .until("it is diverged again", |scenario| scenario.cluster.replicas[&name].application.is_diverged);
    scenario.ticks(2_000);
    assert!(scenario.cluster.replicas[&name].application.is_diverged);
    scenario.serve();
    // It still votes: the leader's death leaves a quorum only with it, and it never leads.
    let leader = scenario.leader().expect("it leads");
    scenario.cluster.crash(&leader);
    scenario
        .until("another leads", |scenario| scenario.leader().is_some_and(|new| new != leader && new != name));
    scenario.serve();
}

#[test]
fn a_leader_whose_reducer_throws_hands_over_and_is_restored() {
    let mut scenario = Scenario::found(2, 3, |_| {});
    scenario.serve();
    let name = scenario.leader().expect("it leads");
    scenario.cluster.replicas.get_mut(&name).expect("it runs").application.throws = true;
    scenario.cluster.perform(&scenario.followers().remove(0), "append", "x/1");
    scenario.until("another leads", |scenario| scenario.leader().is_some_and(|leader| leader != name));
    scenario.until("it is restored", |scenario| !scenario.cluster.replicas[&name].application.is_diverged);
    scenario.serve();
}

/// Found by seed 74 of `simulation`: no node led, forever.
#[test]
fn a_diverged_node_that_alone_has_what_is_committed_leads_until_another_has_it() {
    let mut scenario = Scenario::found(4, 3, |_| {});
    scenario.serve();
    let leader = scenario.leader().expect("it leads");
    let [name, behind] = <[String; 2]>::try_from(scenario.followers()).expect("two of three follow");
    scenario.cluster.cut_apart(|one, other| one == behind || other == behind);
    scenario.cluster.replicas.get_mut(&name).expect("it runs").application.throws = true;
    scenario.cluster.perform(&leader, "append", "x/1");
    scenario.until("it is diverged", |scenario| scenario.cluster.replicas[&name].application.is_diverged);
    scenario.cluster.crash(&leader);
    scenario.cluster.cuts.clear();
    scenario.until("the other leads", |scenario| scenario.leader().as_ref() == Some(&behind));
    scenario.until("it is restored", |scenario| !scenario.cluster.replicas[&name].application.is_diverged);
    scenario.serve();
    assert_eq!(scenario.state(&name).count, scenario.performed + 1);
}

#[test]
fn a_state_that_differs_from_the_majoritys_is_found_by_comparing_and_restored() {
    for seed in 3..9 {
        let mut scenario = Scenario::found(seed, 3, |_| {});
        scenario.serve();
        let followers = scenario.followers();
        let name = followers[(seed % 2) as usize].clone();
        scenario.cluster.replicas.get_mut(&name).expect("it runs").application.miscounts = true;
        scenario.cluster.perform(&name, "append", "x/1");
        scenario.until("it is diverged", |scenario| scenario.cluster.replicas[&name].application.is_diverged);
        let why = scenario.cluster.statuses()[&name].diverged.clone().expect("it says why");
        assert!(why.contains("a majority's has"), "{why}");
        scenario
            .until("it is restored", |scenario| !scenario.cluster.replicas[&name].application.is_diverged);
        scenario.serve();
    }
}

#[test]
fn without_comparing_a_state_that_differs_is_nobodys_business_and_versions_are_not_compared() {
    for change in [
        |options: &mut Options| options.compares_states = false,
        |options: &mut Options| {
            options.version = options.id.clone();
        },
    ] {
        let mut scenario = Scenario::found(4, 3, change);
        scenario.serve();
        let name = scenario.followers().remove(0);
        scenario.cluster.replicas.get_mut(&name).expect("it runs").application.miscounts = true;
        scenario.cluster.perform(&name, "append", "x/1");
        for _ in 0..1_000 {
            scenario.ticks(1);
            assert!(
                !scenario.cluster.replicas[&name].application.is_diverged,
                "if only until it is restored"
            );
        }
    }
}

/// Large states are hashed while later batches are handled.
#[test]
fn a_state_that_differs_is_found_by_hashes_that_come_after_later_batches() {
    for seed in 3..9 {
        let mut scenario = Scenario::found(seed, 3, |_| {});
        for (batches, replica) in (0..).zip(scenario.cluster.replicas.values_mut()) {
            replica.application.hash_batches = batches;
        }
        scenario.serve();
        let name = scenario.followers().remove((seed % 2) as usize);
        scenario.cluster.replicas.get_mut(&name).expect("it runs").application.miscounts = true;
        scenario.cluster.perform(&name, "append", "x/1");
        let is_diverged = |scenario: &Scenario| scenario.cluster.replicas[&name].application.is_diverged;
        for tick in 1..2_000 {
            scenario.ticks(1);
            if is_diverged(&scenario) {
                break;
            }
            if tick % 40 == 0 {
                scenario.cluster.perform(&name, "append", &format!("x/{tick}"));
            }
        }
        assert!(is_diverged(&scenario), "it was not found");
        scenario
            .until("it is restored", |scenario| !scenario.cluster.replicas[&name].application.is_diverged);
        scenario.serve();
    }
}

/// The hash was asked of a state that the leader's has replaced since: it is not reported.
#[test]
fn a_hash_that_comes_after_the_state_was_restored_accuses_no_node() {
    for seed in 3..9 {
        let mut scenario = Scenario::found(seed, 3, |_| {});
        scenario.serve();
        let name = scenario.followers().remove(0);
        let application = &mut scenario.cluster.replicas.get_mut(&name).expect("it runs").application;
        (application.miscounts, application.hash_batches) = (true, usize::MAX);
        scenario.cluster.perform(&name, "append", "x/1");
        // It is asked for the hash of the wrong state, and the reducer throws before it is known.
        scenario.until("it is asked for a hash", |scenario| {
            scenario.cluster.replicas[&name].application.is_hashing()
        });
        let application = &mut scenario.cluster.replicas.get_mut(&name).expect("it runs").application;
        application.throws = true;
        scenario.cluster.perform(&name, "append", "x/2");
        scenario.until("it is diverged", |scenario| scenario.cluster.replicas[&name].application.is_diverged);
        scenario
            .until("it is restored", |scenario| !scenario.cluster.replicas[&name].application.is_diverged);
        let application = &mut scenario.cluster.replicas.get_mut(&name).expect("it runs").application;
        assert!(application.is_hashing());
        application.finish_hashing();
        scenario.serve();
        for _ in 0..1_000 {
            scenario.ticks(1);
            assert!(!scenario.cluster.replicas[&name].application.is_diverged, "seed {seed}");
        }
    }
}

/// Two of four differ, and alike: half is no majority.
#[test]
fn two_of_four_that_differ_accuse_no_one_and_are_informed() {
    for seed in 3..9 {
        let mut scenario = Scenario::found(seed, 4, |_| {});
        scenario.serve();
        let odd = scenario.followers().split_off(1);
        for name in &odd {
            scenario.cluster.replicas.get_mut(name).expect("it runs").application.miscounts = true;
        }
        scenario.cluster.perform(&odd[0], "append", "x/1");
        for _ in 0..500 {
            scenario.ticks(1);
            assert!(scenario.cluster.replicas.values().all(|replica| !replica.application.is_diverged));
        }
        let is_told = |warning: &Warning| matches!(warning, Warning::StatesDiffer { .. });
        let mut applications = scenario.cluster.replicas.values().map(|replica| &replica.application);
        assert!(applications.any(|application| application.warnings.iter().any(is_told)));
    }
}

/// What the leader says to a node whose state differs comes again when the node is restored. Gives how often it came
/// again: a frame that takes no time is not seen in flight.
fn a_disagreement_is_told_twice(seed: u64) -> usize {
    let mut repeated = 0;
    for size in [3, 5] {
        let mut scenario = Scenario::found(seed, size, |_| {});
        scenario.serve();
        let name = scenario.followers().remove(0);
        scenario.cluster.replicas.get_mut(&name).expect("it runs").application.miscounts = true;
        scenario.cluster.perform(&name, "append", "x/1");
        let mut reports: Vec<Sent> = Vec::new();
        scenario.cluster.trace = Some(Vec::new());
        for _ in 0..2_000 {
            let disagrees = |sent: &&Sent| describe_frame("a", "b", &sent.bytes).contains("Disagrees");
            for sent in scenario.cluster.frames.values().filter(disagrees) {
                if !reports.iter().any(|known| known.bytes == sent.bytes) {
                    reports.push(sent.clone());
                }
            }
            scenario.ticks(1);
        }
        let trace = scenario.cluster.trace.take().expect("it was switched on");
        let count = trace.iter().filter(|line| line.contains("Disagrees")).count();
        assert_eq!(count, 1, "the fifth hash may come late: it is reported once");
        scenario
            .until("it is restored", |scenario| !scenario.cluster.replicas[&name].application.is_diverged);
        repeated += reports.len();
        for sent in reports {
            scenario.cluster.deliver(sent);
        }
        for _ in 0..1_000 {
            scenario.ticks(1);
            assert!(
                !scenario.cluster.replicas[&name].application.is_diverged,
                "that was of its former state"
            );
        }
        scenario.serve();
    }
    repeated
}

#[test]
fn a_repeated_report_of_a_disagreement_accuses_no_node_that_was_restored() {
    let repeated: usize = (3..13).map(a_disagreement_is_told_twice).sum();
    assert!(repeated > 5, "only {repeated} came again");
}

#[test]
fn bug_of_telling_a_disagreement_again_is_caught() {
    assert_back_is_noticed(Bug::TellsDisagreementAgain, 3.., |seed| {
        a_disagreement_is_told_twice(seed);
    });
}

#[test]
fn bug_of_remembering_a_compared_state_is_caught() {
    assert_back_is_noticed(Bug::RemembersComparedState, 3.., |seed| {
        a_disagreement_is_told_twice(seed);
    });
}

/// Only what it said of its newest state, word for word, marks a node as diverged: not of another index, not of another
/// hash.
#[test]
fn a_word_of_a_state_that_a_node_did_not_report_accuses_no_one() {
    let mut scenario = Scenario::found(3, 3, |_| {});
    scenario.serve();
    let name = scenario.followers().remove(0);
    let leader = scenario.leader().expect("it leads");
    let mut hashes = Vec::new();
    // A frame that arrives in the tick in which it leaves is not seen here: the newest one has to be.
    for round in 1.. {
        let seen = hashes.len();
        scenario.cluster.perform(&leader, "append", &format!("x/{round}"));
        for _ in 0..300 {
            for sent in scenario.cluster.frames.values().filter(|sent| sent.from == name) {
                let frame = Frame::decode(&sent.bytes).expect("it is a frame");
                hashes.extend(frame.messages.into_iter().filter_map(|message| match message {
                    Message::Divergence(DivergenceMessage::StateHash { index, hash, .. }) => {
                        Some((index, hash))
                    }
                    _ => None,
                }));
            }
            scenario.ticks(1);
        }
        hashes.dedup();
        if hashes.len() >= 2 && hashes.len() > seen {
            break;
        }
        assert!(round < 20, "{hashes:?}");
    }
    let [(older, former), .., (newest, hash)] = hashes[..] else { panic!("it reported {hashes:?}") };
    assert!(older < newest && former != hash);
    let status = scenario.cluster.statuses()[&name].clone();
    let from = scenario.cluster.replicas[&leader].incarnation.expect("it runs");
    let mut says = |index, ours| {
        let message = DivergenceMessage::Disagrees { index, ours, theirs: [7; 16] }.into();
        let to = Some(status.incarnation);
        let frame = Frame {
            cluster: status.cluster,
            from,
            start: None,
            to: to.map_or(Receivers::All, Receivers::One),
            messages: vec![message],
        };
        scenario.cluster.handle(&name, Input::Frame(frame.encode()));
        scenario.cluster.replicas[&name].application.is_diverged
    };
    assert!(!says(older, former), "it is late");
    assert!(!says(newest, former) && !says(older, hash), "it never reported that");
    assert!(says(newest, hash));
}

/// Its leader transfers leadership to it.
fn takes_no_leadership(scenario: &mut Scenario, name: &str) {
    let leader = scenario.leader().expect("it leads");
    let status = scenario.cluster.statuses()[name].clone();
    let message = RaftMessage::new(RaftKind::TimeoutNow, status.term, 0);
    let from = scenario.cluster.replicas[&leader].incarnation.expect("it runs");
    let (to, messages) = (Some(status.incarnation), vec![Message::Raft(message)]);
    let frame = Frame {
        cluster: status.cluster,
        from,
        start: None,
        to: to.map_or(Receivers::All, Receivers::One),
        messages,
    };
    scenario.cluster.handle(name, Input::Frame(frame.encode()));
    let after = scenario.cluster.statuses()[name].clone();
    assert_eq!((after.role, after.term), (Role::Follower, status.term), "it is diverged");
}

/// Its application stays where it is; its log is that of the others.
fn a_diverged_node_has_a_short_log(seed: u64) {
    let mut scenario = Scenario::found(seed, 3, |options| options.is_durable = true);
    scenario.serve();
    let name = scenario.followers().remove(0);
    for round in 1..3 {
        scenario.cluster.replicas.get_mut(&name).expect("it runs").application.throws = true;
        scenario.cluster.perform(&scenario.leader().expect("it leads"), "append", &format!("x/{round}"));
        scenario.until("it is diverged", |scenario| scenario.cluster.replicas[&name].application.is_diverged);
        if round == 1 {
            scenario.until("it is restored", |scenario| {
                !scenario.cluster.replicas[&name].application.is_diverged
            });
        }
    }
    takes_no_leadership(&mut scenario, &name);
    let state = scenario.state(&name).clone();
    for _ in 0..40 {
        scenario.serve();
        let entries = |name: &str| {
            let log = scenario.cluster.replicas[name].node.inspect().log().expect("it has one");
            log.last_index() - log.compacted().index
        };
        let others = scenario.cluster.replicas.keys().map(|name| entries(name)).max();
        assert!(entries(&name) < 150, "its log has {} entries, others' up to {others:?}", entries(&name));
    }
    assert!(scenario.cluster.replicas[&name].application.is_diverged);
    assert_eq!(*scenario.state(&name), state, "its last good state stays");
    // Started again it has the leader's state, and what came after that.
    let disk = scenario.cluster.crash(&name).and_then(|replica| replica.disk).expect("it has a disk");
    scenario.start_over(&name, 3, |options| options.is_durable = true, disk.crash(0));
    scenario.until("it has caught up", |scenario| {
        scenario.leader().is_some_and(|leader| scenario.state(&leader) == scenario.state(&name))
    });
    scenario.serve();
}

#[test]
fn a_node_that_stays_diverged_has_a_log_as_short_as_the_others() {
    for seed in 3..9 {
        a_diverged_node_has_a_short_log(seed);
    }
}

#[test]
fn bug_of_a_diverged_node_that_keeps_its_log_is_caught() {
    assert_back_is_noticed(Bug::DivergedKeepsLog, 3.., a_diverged_node_has_a_short_log);
}

/// Found by seed 112 of `simulation`: a call ended with nothing, and no node had run its method.
#[test]
fn what_a_leader_evaluated_after_its_reducer_threw_is_evaluated_again_by_the_next() {
    let mut scenario = Scenario::found(5, 3, |_| {});
    scenario.serve();
    let leader = scenario.leader().expect("it leads");
    let origin = scenario.followers().remove(0);
    scenario.cluster.replicas.get_mut(&leader).expect("it runs").is_busy = true;
    // One batch with JavaScript, in which the first action is evaluated; then another, while that is committed.
    scenario.cluster.perform(&leader, "append", "x/1");
    scenario.cluster.answer(&leader);
    scenario.cluster.perform(&leader, "append", "x/2");
    let sequence = scenario.cluster.perform(&origin, "append", "y/1");
    scenario.ticks(10);
    scenario.cluster.answer(&leader);
    scenario.cluster.replicas.get_mut(&leader).expect("it runs").application.throws = true;
    let evaluated = scenario.cluster.replicas[&leader].application.evaluated.len();
    scenario.cluster.answer(&leader);
    scenario.cluster.replicas.get_mut(&leader).expect("it runs").is_busy = false;
    let replica = &scenario.cluster.replicas[&leader];
    assert!(replica.application.is_failed() && replica.application.evaluated.len() > evaluated);
    scenario.until("it ends", |scenario| {
        scenario.cluster.replicas[&origin].application.ends.contains_key(&sequence)
    });
    let end = &scenario.cluster.replicas[&origin].application.ends[&sequence];
    assert_eq!(end, &super::application::End::Resolved("y/1".into()));
}

/// Found by seed 587 of `simulation`: what restores a state took the place of what raft-rs waited to hear the end of,
/// and neither ever arrived.
#[test]
fn a_diverged_node_whose_log_is_compacted_away_gets_a_log_and_with_it_a_state() {
    for seed in 6..12 {
        let mut scenario = Scenario::found(seed, 3, |_| {});
        scenario.serve();
        let name = scenario.followers().remove(0);
        scenario.cluster.replicas.get_mut(&name).expect("it runs").application.throws = true;
        scenario.cluster.perform(&scenario.leader().expect("it leads"), "append", "x/1");
        scenario.until("it is diverged", |scenario| scenario.cluster.replicas[&name].application.is_diverged);
        scenario.cluster.cut_apart(|one, other| one == name || other == name);
        for number in 2..100 {
            let leader = scenario.cluster.statuses().values().find_map(|status| status.leader.clone());
            scenario.cluster.perform(&leader.expect("it leads"), "append", &format!("x/{number}"));
            scenario.ticks(1);
        }
        scenario.cluster.cuts.clear();
        let network =
            std::mem::replace(&mut scenario.cluster.network, Network { loss: 60, ..Network::default() });
        scenario.ticks(200);
        scenario.cluster.network = network;
        scenario
            .until("it is restored", |scenario| !scenario.cluster.replicas[&name].application.is_diverged);
        scenario.until("it has caught up", |scenario| {
            scenario.leader().is_some_and(|leader| scenario.state(&leader) == scenario.state(&name))
        });
    }
}

/// Only the leader's newest snapshot restores it. As soon as the leader has that one, it takes no other.
#[test]
fn a_leader_takes_one_snapshot_for_a_diverged_node() {
    for seed in 3..9 {
        let mut scenario = Scenario::found(seed, 3, |options| options.snapshot_entries = 1_000);
        scenario.serve();
        let leader = scenario.leader().expect("it leads");
        let name = scenario.followers().remove(0);
        scenario.cluster.replicas.get_mut(&name).expect("it runs").application.throws = true;
        scenario.cluster.perform(&leader, "append", "x/1");
        scenario.until("it is diverged", |scenario| scenario.cluster.replicas[&name].application.is_diverged);
        scenario
            .until("it is restored", |scenario| !scenario.cluster.replicas[&name].application.is_diverged);
        let restored_from = scenario.cluster.statuses()[&leader].snapshot_index;
        assert!(restored_from > 0);
        scenario.ticks(100);
        scenario.cluster.perform(&leader, "append", "x/2");
        scenario.ticks(1_000);
        let status = &scenario.cluster.statuses()[&leader];
        assert_eq!((scenario.leader(), status.snapshot_index), (Some(leader.clone()), restored_from));
    }
}

/// Its state was wrong before that was known. After a restart it would be taken for a right one.
#[test]
fn a_snapshot_that_was_being_taken_when_the_state_diverged_is_not_kept() {
    for seed in 3..9 {
        let durable = |options: &mut Options| options.is_durable = true;
        let mut scenario = Scenario::found(seed, 3, durable);
        scenario.serve();
        let name = scenario.followers().remove(0);
        let leader = scenario.leader().expect("it leads");
        let application = &mut scenario.cluster.replicas.get_mut(&name).expect("it runs").application;
        application.finish_snapshotting();
        (application.miscounts, application.snapshot_batches) = (true, usize::MAX);
        let is_snapshotting =
            |scenario: &Scenario| scenario.cluster.replicas[&name].application.is_snapshotting();
        for number in 1..30 {
            scenario.cluster.perform(&leader, "append", &format!("x/{number}"));
        }
        scenario.until("it takes a snapshot", is_snapshotting);
        assert!(!scenario.cluster.replicas[&name].application.is_diverged, "seed {seed}: too soon");
        scenario.until("it is diverged", |scenario| scenario.cluster.replicas[&name].application.is_diverged);
        // No node restores it before it restarts.
        scenario.cluster.cut_apart(|one, other| one == name || other == name);
        scenario.cluster.frames.retain(|_, sent| sent.to != name);
        assert!(is_snapshotting(&scenario));
        scenario.cluster.replicas.get_mut(&name).expect("it runs").application.finish_snapshotting();
        scenario.until("it has the snapshot", |scenario| !is_snapshotting(scenario));
        scenario.ticks(10);
        let disk = scenario.cluster.crash(&name).and_then(|replica| replica.disk).expect("it has a disk");
        // What is restored is compared with the states of the others.
        scenario.start_over(&name, 3, durable, disk.crash(0));
        scenario.cluster.cuts.clear();
        scenario.until("all follow one leader", |scenario| scenario.leader().is_some());
        scenario.serve();
    }
}

/// The leader began it when the node was still diverged, or a former leader did.
#[test]
fn a_restoration_that_comes_late_changes_nothing() {
    let mut scenario = Scenario::found(3, 3, |_| {});
    let name = scenario.followers().remove(0);
    scenario.cluster.replicas.get_mut(&name).expect("it runs").application.refuses_snapshots = true;
    (0..10).for_each(|_| scenario.serve());
    let leader = scenario.leader().expect("it leads");
    let log = scenario.cluster.replicas[&leader].node.inspect().log().expect("it has one");
    let record = log.snapshot().clone();
    let before = scenario.cluster.statuses()[&name].clone();
    assert!(record.position.index > 1 && before.snapshot_index == 0);
    let (from, to) = (scenario.cluster.replicas[&leader].incarnation, before.incarnation);
    let image = (record.position.index, record.image);
    let options = Options::new("n0", 3, [0; 32]);
    for chunk in Transfer::new(1 << 40, before.term, to, image, &options, true).chunks() {
        let frame = Frame {
            cluster: before.cluster,
            from: from.expect("it runs"),
            start: None,
            to: Receivers::One(to),
            messages: vec![SnapshotMessage::Chunk(chunk).into()],
        };
        scenario.cluster.handle(&name, Input::Frame(frame.encode()));
    }
    let after = scenario.cluster.statuses()[&name].clone();
    assert!(scenario.cluster.replicas[&name].node.inspect().reception().is_none(), "it is there");
    assert_eq!((after.snapshot_index, after.applied_index), (0, before.applied_index));
    scenario.serve();
}

/// Its leader can take no snapshot that would restore it.
#[test]
fn a_node_that_stays_diverged_reports_that_at_intervals() {
    let mut scenario = Scenario::found(3, 3, |_| {});
    let (leader, name) = (scenario.leader().expect("it leads"), scenario.followers().remove(0));
    let application = |scenario: &mut Scenario, name: &str, change: fn(&mut Application)| {
        change(&mut scenario.cluster.replicas.get_mut(name).expect("it runs").application);
    };
    application(&mut scenario, &leader, |application| application.refuses_snapshots = true);
    application(&mut scenario, &name, |application| application.throws = true);
    scenario.cluster.perform(&leader, "append", "x/1");
    scenario.until("it is diverged", |scenario| scenario.cluster.replicas[&name].application.is_diverged);
    scenario.cluster.trace = Some(Vec::new());
    scenario.ticks(1_000);
    let trace = scenario.cluster.trace.take().expect("it was switched on");
    let report = format!("{name} → {leader}: Diverged");
    let reports = trace.iter().filter(|line| line.starts_with(&report)).count();
    // Every second heartbeat interval, at 5 ticks each.
    assert!((90..=110).contains(&reports), "{reports} reports");
}
