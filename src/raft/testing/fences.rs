//! This file tells, one by one, what happens to a cluster in which one node's state is not to be trusted.

use bytes::Bytes;

use super::bugs::{Bug, assert_back_is_noticed};
use super::cluster::{Network, Sent};
use super::describe::describe_frame;
use super::stories::Story;
use crate::raft::frame::{Frame, Message, RaftKind, RaftMessage};
use crate::raft::{Input, Options, Role, Warning};

#[test]
fn a_follower_whose_reducer_throws_is_fenced_healed_once_and_then_stays_fenced() {
    let mut story = Story::found(1, 3, |_| {});
    story.serve();
    let name = story.followers().remove(0);
    let count = story.state(&name).count;
    story.cluster.replicas.get_mut(&name).expect("it runs").application.throws = true;
    story.cluster.perform(&story.leader().expect("it leads"), "append", "x/1");
    story.until("it is fenced", |story| story.cluster.replicas[&name].application.is_fenced);
    assert_eq!(story.state(&name).count, count, "its last good state stays");
    assert!(story.cluster.statuses()[&name].fenced.as_ref().is_some_and(|why| why.contains("threw")));
    let sequence = story.cluster.perform(&name, "append", "y/1");
    let end = story.cluster.replicas[&name].application.ends.get(&sequence);
    assert_eq!(end, Some(&super::application::End::NotApplied));
    story.until("it is healed", |story| !story.cluster.replicas[&name].application.is_fenced);
    story.serve();

    story.cluster.replicas.get_mut(&name).expect("it runs").application.throws = true;
    story.cluster.perform(&story.leader().expect("it leads"), "append", "x/2");
    story.until("it is fenced again", |story| story.cluster.replicas[&name].application.is_fenced);
    story.ticks(2_000);
    assert!(story.cluster.replicas[&name].application.is_fenced);
    story.serve();
    // It still votes: the leader's death leaves a quorum only with it, and it never leads.
    let leader = story.leader().expect("it leads");
    story.cluster.crash(&leader);
    story.until("another leads", |story| story.leader().is_some_and(|new| new != leader && new != name));
    story.serve();
}

#[test]
fn a_leader_whose_reducer_throws_hands_over_and_is_healed() {
    let mut story = Story::found(2, 3, |_| {});
    story.serve();
    let name = story.leader().expect("it leads");
    story.cluster.replicas.get_mut(&name).expect("it runs").application.throws = true;
    story.cluster.perform(&story.followers().remove(0), "append", "x/1");
    story.until("another leads", |story| story.leader().is_some_and(|leader| leader != name));
    story.until("it is healed", |story| !story.cluster.replicas[&name].application.is_fenced);
    story.serve();
}

/// Found by seed 74 of `simulation`: nobody led, for ever.
#[test]
fn a_fenced_node_that_alone_has_what_is_committed_leads_until_another_has_it() {
    let mut story = Story::found(4, 3, |_| {});
    story.serve();
    let leader = story.leader().expect("it leads");
    let [name, behind] = <[String; 2]>::try_from(story.followers()).expect("two of three follow");
    story.cluster.cut_apart(|one, other| one == behind || other == behind);
    story.cluster.replicas.get_mut(&name).expect("it runs").application.throws = true;
    story.cluster.perform(&leader, "append", "x/1");
    story.until("it is fenced", |story| story.cluster.replicas[&name].application.is_fenced);
    story.cluster.crash(&leader);
    story.cluster.cuts.clear();
    story.until("the other leads", |story| story.leader().as_ref() == Some(&behind));
    story.until("it is healed", |story| !story.cluster.replicas[&name].application.is_fenced);
    story.serve();
    assert_eq!(story.state(&name).count, story.performed + 1);
}

#[test]
fn a_state_that_differs_from_the_majoritys_is_found_by_comparing_and_healed() {
    for seed in 3..9 {
        let mut story = Story::found(seed, 3, |_| {});
        story.serve();
        let followers = story.followers();
        let name = followers[(seed % 2) as usize].clone();
        story.cluster.replicas.get_mut(&name).expect("it runs").application.miscounts = true;
        story.cluster.perform(&name, "append", "x/1");
        story.until("it is fenced", |story| story.cluster.replicas[&name].application.is_fenced);
        let why = story.cluster.statuses()[&name].fenced.clone().expect("it says why");
        assert!(why.contains("a majority's has"), "{why}");
        story.until("it is healed", |story| !story.cluster.replicas[&name].application.is_fenced);
        story.serve();
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
        let mut story = Story::found(4, 3, change);
        story.serve();
        let name = story.followers().remove(0);
        story.cluster.replicas.get_mut(&name).expect("it runs").application.miscounts = true;
        story.cluster.perform(&name, "append", "x/1");
        for _ in 0..1_000 {
            story.ticks(1);
            assert!(!story.cluster.replicas[&name].application.is_fenced, "if only until it is healed");
        }
    }
}

/// Two of four differ, and alike: half is no majority.
#[test]
fn two_of_four_that_differ_fence_nobody_and_are_told() {
    for seed in 3..9 {
        let mut story = Story::found(seed, 4, |_| {});
        story.serve();
        let odd = story.followers().split_off(1);
        for name in &odd {
            story.cluster.replicas.get_mut(name).expect("it runs").application.miscounts = true;
        }
        story.cluster.perform(&odd[0], "append", "x/1");
        for _ in 0..500 {
            story.ticks(1);
            assert!(story.cluster.replicas.values().all(|replica| !replica.application.is_fenced));
        }
        let is_told = |warning: &Warning| matches!(warning, Warning::StatesDiffer { .. });
        let mut applications = story.cluster.replicas.values().map(|replica| &replica.application);
        assert!(applications.any(|application| application.warnings.iter().any(is_told)));
    }
}

/// What the leader says to a node whose state differs comes again when the node is healed. Gives how often it came again:
/// a frame that takes no time is not seen on its way.
fn a_disagreement_is_told_twice(seed: u64) -> usize {
    let mut repeated = 0;
    for size in [3, 5] {
        let mut story = Story::found(seed, size, |_| {});
        story.serve();
        let name = story.followers().remove(0);
        story.cluster.replicas.get_mut(&name).expect("it runs").application.miscounts = true;
        story.cluster.perform(&name, "append", "x/1");
        let mut told: Vec<Sent> = Vec::new();
        story.cluster.trace = Some(Vec::new());
        for _ in 0..2_000 {
            let disagrees = |sent: &&Sent| describe_frame("a", "b", &sent.bytes).contains("Disagrees");
            for sent in story.cluster.frames.values().filter(disagrees) {
                if !told.iter().any(|known| known.bytes == sent.bytes) {
                    told.push(sent.clone());
                }
            }
            story.ticks(1);
        }
        let trace = story.cluster.trace.take().expect("it was switched on");
        let count = trace.iter().filter(|line| line.contains("Disagrees")).count();
        assert_eq!(count, 1, "the fifth hash may come late: it is told once");
        story.until("it is healed", |story| !story.cluster.replicas[&name].application.is_fenced);
        repeated += told.len();
        for sent in told {
            story.cluster.deliver(sent);
        }
        for _ in 0..1_000 {
            story.ticks(1);
            assert!(!story.cluster.replicas[&name].application.is_fenced, "that was of its former state");
        }
        story.serve();
    }
    repeated
}

#[test]
fn a_repeated_word_of_a_disagreement_fences_nobody_that_was_healed() {
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

/// Only what it said of its newest state, word for word, fences a node: not of another index, not of another hash.
#[test]
fn a_word_of_a_state_that_a_node_did_not_tell_of_fences_nobody() {
    let mut story = Story::found(3, 3, |_| {});
    story.serve();
    let name = story.followers().remove(0);
    let leader = story.leader().expect("it leads");
    let mut hashes = Vec::new();
    // A frame that arrives in the tick in which it leaves is not seen here: the newest one has to be.
    for round in 1.. {
        let seen = hashes.len();
        story.cluster.perform(&leader, "append", &format!("x/{round}"));
        for _ in 0..300 {
            for sent in story.cluster.frames.values().filter(|sent| sent.from == name) {
                let frame = Frame::decode(&sent.bytes).expect("it is a frame");
                hashes.extend(frame.messages.into_iter().filter_map(|message| match message {
                    Message::StateHash { index, hash, .. } => Some((index, hash)),
                    _ => None,
                }));
            }
            story.ticks(1);
        }
        hashes.dedup();
        if hashes.len() >= 2 && hashes.len() > seen {
            break;
        }
        assert!(round < 20, "{hashes:?}");
    }
    let [(older, former), .., (newest, hash)] = hashes[..] else { panic!("it told of {hashes:?}") };
    assert!(older < newest && former != hash);
    let status = story.cluster.statuses()[&name].clone();
    let from = story.cluster.replicas[&leader].incarnation.expect("it runs");
    let mut says = |index, ours| {
        let message = Message::Disagrees { index, ours, theirs: [7; 16] };
        let to = Some(status.incarnation);
        let frame = Frame { cluster: status.cluster, from, start: None, to, messages: vec![message] };
        story.cluster.handle(&name, Input::Frame(frame.encode()));
        story.cluster.replicas[&name].application.is_fenced
    };
    assert!(!says(older, former), "it is late");
    assert!(!says(newest, former) && !says(older, hash), "it never told that");
    assert!(says(newest, hash));
}

/// Its leader tells it to lead.
fn takes_no_leadership(story: &mut Story, name: &str) {
    let leader = story.leader().expect("it leads");
    let status = story.cluster.statuses()[name].clone();
    let message = RaftMessage {
        kind: RaftKind::TimeoutNow,
        term: status.term,
        log_term: 0,
        index: 0,
        entries: Vec::new(),
        commit: 0,
        commit_term: 0,
        reject: false,
        reject_hint: 0,
        context: Bytes::new(),
    };
    let from = story.cluster.replicas[&leader].incarnation.expect("it runs");
    let (to, messages) = (Some(status.incarnation), vec![Message::Raft(message)]);
    let frame = Frame { cluster: status.cluster, from, start: None, to, messages };
    story.cluster.handle(name, Input::Frame(frame.encode()));
    let after = story.cluster.statuses()[name].clone();
    assert_eq!((after.role, after.term), (Role::Follower, status.term), "it is fenced");
}

/// Its application stays where it is; its log is that of the others.
fn a_fenced_node_has_a_short_log(seed: u64) {
    let mut story = Story::found(seed, 3, |options| options.is_durable = true);
    story.serve();
    let name = story.followers().remove(0);
    for round in 1..3 {
        story.cluster.replicas.get_mut(&name).expect("it runs").application.throws = true;
        story.cluster.perform(&story.leader().expect("it leads"), "append", &format!("x/{round}"));
        story.until("it is fenced", |story| story.cluster.replicas[&name].application.is_fenced);
        if round == 1 {
            story.until("it is healed", |story| !story.cluster.replicas[&name].application.is_fenced);
        }
    }
    takes_no_leadership(&mut story, &name);
    let state = story.state(&name).clone();
    for _ in 0..40 {
        story.serve();
        let entries = |name: &str| {
            let log = story.cluster.replicas[name].node.log().expect("it has one");
            log.last_index() - log.compacted().index
        };
        let others = story.cluster.replicas.keys().map(|name| entries(name)).max();
        assert!(entries(&name) < 150, "its log has {} entries, others' up to {others:?}", entries(&name));
    }
    assert!(story.cluster.replicas[&name].application.is_fenced);
    assert_eq!(*story.state(&name), state, "its last good state stays");
    // Started again it has the leader's state, and what came after that.
    let disk = story.cluster.crash(&name).and_then(|replica| replica.disk).expect("it has a disk");
    story.start_over(&name, 3, |options| options.is_durable = true, disk.crash(0));
    story.until("it has caught up", |story| {
        story.leader().is_some_and(|leader| story.state(&leader) == story.state(&name))
    });
    story.serve();
}

#[test]
fn a_node_that_stays_fenced_has_a_log_as_short_as_the_others() {
    for seed in 3..9 {
        a_fenced_node_has_a_short_log(seed);
    }
}

#[test]
fn bug_of_a_fenced_node_that_keeps_its_log_is_caught() {
    assert_back_is_noticed(Bug::FencedKeepsLog, 3.., a_fenced_node_has_a_short_log);
}

/// Found by seed 112 of `simulation`: a perform ended with nothing, and nobody had run its method.
#[test]
fn what_a_leader_evaluated_after_its_reducer_threw_is_evaluated_again_by_the_next() {
    let mut story = Story::found(5, 3, |_| {});
    story.serve();
    let leader = story.leader().expect("it leads");
    let origin = story.followers().remove(0);
    story.cluster.replicas.get_mut(&leader).expect("it runs").is_busy = true;
    // One batch with JavaScript, in which the first action is evaluated; then another, while that is committed.
    story.cluster.perform(&leader, "append", "x/1");
    story.cluster.answer(&leader);
    story.cluster.perform(&leader, "append", "x/2");
    let sequence = story.cluster.perform(&origin, "append", "y/1");
    story.ticks(10);
    story.cluster.answer(&leader);
    story.cluster.replicas.get_mut(&leader).expect("it runs").application.throws = true;
    let evaluated = story.cluster.replicas[&leader].application.evaluated.len();
    story.cluster.answer(&leader);
    story.cluster.replicas.get_mut(&leader).expect("it runs").is_busy = false;
    let replica = &story.cluster.replicas[&leader];
    assert!(replica.application.is_failed() && replica.application.evaluated.len() > evaluated);
    story.until("it ends", |story| story.cluster.replicas[&origin].application.ends.contains_key(&sequence));
    let end = &story.cluster.replicas[&origin].application.ends[&sequence];
    assert_eq!(end, &super::application::End::Resolved("y/1".into()));
}

/// Found by seed 587 of `simulation`: what heals a state took the place of what raft-rs waited to hear the end of, and
/// neither ever arrived.
#[test]
fn a_fenced_node_whose_log_is_compacted_away_gets_a_log_and_with_it_a_state() {
    for seed in 6..12 {
        let mut story = Story::found(seed, 3, |_| {});
        story.serve();
        let name = story.followers().remove(0);
        story.cluster.replicas.get_mut(&name).expect("it runs").application.throws = true;
        story.cluster.perform(&story.leader().expect("it leads"), "append", "x/1");
        story.until("it is fenced", |story| story.cluster.replicas[&name].application.is_fenced);
        story.cluster.cut_apart(|one, other| one == name || other == name);
        for number in 2..100 {
            let leader = story.cluster.statuses().values().find_map(|status| status.leader.clone());
            story.cluster.perform(&leader.expect("it leads"), "append", &format!("x/{number}"));
            story.ticks(1);
        }
        story.cluster.cuts.clear();
        let network =
            std::mem::replace(&mut story.cluster.network, Network { loss: 60, ..Network::default() });
        story.ticks(200);
        story.cluster.network = network;
        story.until("it is healed", |story| !story.cluster.replicas[&name].application.is_fenced);
        story.until("it has caught up", |story| {
            story.leader().is_some_and(|leader| story.state(&leader) == story.state(&name))
        });
    }
}
