//! This file tells, one by one, what happens to a cluster in which one node's state is not to be trusted.

use super::cluster::Network;
use super::stories::Story;
use crate::raft::Options;

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
        story.ticks(1_000);
        assert!(!story.cluster.replicas[&name].application.is_fenced);
    }
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
