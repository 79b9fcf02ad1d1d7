//! Tests what a node does about another with its id, and about another cluster.

use super::*;

// ---- Twins ---------------------------------------------------------------------------------------------------------

#[test]
fn of_two_seeking_nodes_with_one_id_the_lower_refuses_the_higher() {
    let mut node = node(3);
    let taken = Event::Send(Target::One(incarnation(HIGH)), BootstrapMessage::IdInUse { id: "a".into() });
    assert!(hears(&mut node, HIGH, &discover("a", 3), &ALONE).contains(&taken));
    let events = hears(&mut node, LOW, &discover("a", 3), &ALONE);
    assert!(
        !events.iter().any(|event| matches!(event, Event::Send(_, BootstrapMessage::IdInUse { .. }))),
        "{events:?}"
    );
}

#[test]
fn a_member_refuses_any_other_node_with_its_id() {
    let mut node = member();
    let taken = Event::Send(Target::One(incarnation(LOW)), BootstrapMessage::IdInUse { id: "a".into() });
    assert_eq!(hears(&mut node, LOW, &discover("a", 3), &FOLLOWER), [taken]);
}

#[test]
fn a_refused_node_fails_and_says_nothing_more() {
    let mut node = node(3);
    assert_eq!(hears(&mut node, LOW, &BootstrapMessage::IdInUse { id: "b".into() }, &ALONE), []);
    let events = hears(&mut node, LOW, &BootstrapMessage::IdInUse { id: "a".into() }, &ALONE);
    assert_eq!(events, [Event::Fail(Error::DuplicateId { id: "a".into() })]);
    assert_eq!(ticks(&mut node, 1_000, &ALONE), []);
    assert_eq!(hears(&mut node, HIGH, &discover("b", 3), &ALONE), []);
}

#[test]
fn a_refusal_that_comes_after_the_founding_is_void() {
    let mut node = founder();
    assert_eq!(hears(&mut node, LOW, &BootstrapMessage::IdInUse { id: "a".into() }, &ALONE), []);
}

// ---- Meeting -------------------------------------------------------------------------------------------------------

#[test]
fn a_seeking_node_that_hears_of_a_cluster_waits_and_seeks_again_when_it_is_silent() {
    let mut node = node(3);
    assert_eq!(hears(&mut node, LOW, &announcement(1, false, true), &ALONE), []);
    let warning = Warning::WaitingToJoin { cluster: other_cluster(1), cluster_size: 3 };
    assert_eq!(node.waiting_for(), Some(warning.to_string()));
    hears(&mut node, HIGH, &discover("b", 3), &ALONE);
    hears(&mut node, HIGH + 1, &discover("c", 3), &ALONE);
    let events = ticks(&mut node, 499, &ALONE);
    let warnings = events.iter().filter(|event| **event == Event::Warn(warning.clone())).count();
    assert_eq!(warnings, 1, "it says so once, if it takes long");
    let discovers = events.into_iter().filter(is_discover_to_all).count();
    assert!((499 / 75..=499 / 25).contains(&discovers), "{discovers} Discover, one in ten intervals");
    assert!(matches!(node.phase(), Phase::Waiting { .. }));
    assert!(ticks(&mut node, 1, &ALONE).iter().any(is_discover_to_all));
    assert_eq!(*node.phase(), Phase::Seeking);
}

#[test]
fn an_acceptor_that_hears_of_another_cluster_starts_over_and_waits() {
    let (mut node, roster) = acceptor();
    let events = hears(&mut node, LOW, &announcement(1, false, true), &ALONE);
    assert!(events.iter().any(is_new_incarnation), "{events:?}");
    assert!(matches!(node.phase(), Phase::Waiting { .. }));
    assert_eq!(hears(&mut node, LOW, &BootstrapMessage::Accept(roster), &ALONE), []);
}

#[test]
fn a_cluster_of_another_size_keeps_nobody_waiting() {
    let mut node = node(2);
    let warning = Warning::ClusterOfOtherSize { cluster: other_cluster(1), theirs: 3, ours: 2 };
    assert_eq!(hears(&mut node, LOW, &announcement(1, true, true), &ALONE), [Event::Warn(warning)]);
    assert_eq!(hears(&mut node, LOW, &announcement(1, true, true), &ALONE), []);
    assert_eq!(*node.phase(), Phase::Seeking);
}

#[test]
fn the_leader_speaks_for_the_cluster_and_without_one_every_member_does() {
    let spoken = |facts: &Facts| {
        let mut node = member();
        ticks(&mut node, 750, facts).iter().filter(|event| here_to(event, Target::All)).count()
    };
    assert_eq!(spoken(&FOLLOWER), 0);
    assert!((10..=30).contains(&spoken(&LEADER)) && (10..=30).contains(&spoken(&LEADERLESS)));
}

#[test]
fn what_a_member_says_of_its_cluster_counts_committed_actions_only() {
    let mut node = member();
    let said = |events: Vec<Event>| match events.as_slice() {
        [Event::Send(_, BootstrapMessage::ClusterAnnouncement(announcement))] => announcement.holds_actions,
        _ => panic!("not one HERE: {events:?}"),
    };
    let uncommitted = Facts { holds_actions: true, ..FOLLOWER };
    assert!(!said(hears(&mut node, 7, &discover("d", 3), &uncommitted)));
    assert!(said(hears(&mut node, 7, &discover("d", 3), &SERVING)));
}

#[test]
fn of_two_clusters_without_actions_the_higher_dissolves() {
    let mut node = member();
    let higher = announcement(cluster_beside(&node, false), false, true);
    let events = hears(&mut node, 7, &higher, &FOLLOWER);
    assert!(
        events.iter().any(|event| here_to(event, Target::One(incarnation(7)))),
        "the other side learns of us"
    );
    assert_eq!(hears(&mut node, 7, &higher, &FOLLOWER), [], "but not at every word");

    let lower = announcement(cluster_beside(&node, true), false, true);
    assert!(hears(&mut node, 7, &lower, &FOLLOWER).iter().any(is_new_incarnation));
    assert!(matches!(node.phase(), Phase::Waiting { .. }));
}

#[test]
fn a_cluster_without_a_leader_dissolves_before_one_with_a_leader() {
    let mut node = member();
    let higher = announcement(cluster_beside(&node, false), false, true);
    ticks(&mut node, 50, &LEADERLESS);
    assert!(
        !hears(&mut node, 7, &higher, &LEADERLESS).iter().any(is_new_incarnation),
        "it may be electing one"
    );
    ticks(&mut node, 50, &LEADERLESS);
    assert!(hears(&mut node, 7, &higher, &LEADERLESS).iter().any(is_new_incarnation));
}

#[test]
fn a_cluster_without_actions_dissolves_for_one_with_actions_if_that_has_a_leader() {
    let mut node = member();
    let higher = cluster_beside(&node, false);
    assert!(
        !hears(&mut node, 7, &announcement(higher, true, false), &FOLLOWER).iter().any(is_new_incarnation)
    );
    assert!(hears(&mut node, 7, &announcement(higher, true, true), &FOLLOWER).iter().any(is_new_incarnation));
}

#[test]
fn a_member_with_an_action_dissolves_for_nobody() {
    let mut node = member();
    let lower = cluster_beside(&node, true);
    let uncommitted = Facts { holds_actions: true, ..FOLLOWER };
    assert!(
        !hears(&mut node, 7, &announcement(lower, false, true), &uncommitted).iter().any(is_new_incarnation)
    );
    assert!(
        !hears(&mut node, 7, &announcement(lower, true, true), &uncommitted).iter().any(is_new_incarnation)
    );
}

#[test]
fn two_clusters_with_actions_and_leaders_both_serve_and_warn_once() {
    let mut node = member();
    let warning = Warning::TwoClusters { ours: node.phase().cluster(), theirs: other_cluster(1) };
    assert!(hears(&mut node, 7, &announcement(1, true, true), &SERVING).contains(&Event::Warn(warning)));
    ticks(&mut node, 60, &SERVING);
    let events = hears(&mut node, 7, &announcement(1, true, true), &SERVING);
    assert!(!events.iter().any(|event| matches!(event, Event::Warn(_))), "{events:?}");
}

#[test]
fn a_member_with_actions_whose_leader_is_lost_stops_when_it_meets_a_cluster_with_a_leader() {
    let mut node = member();
    let leaderless = Facts { has_leader: false, ..SERVING };
    ticks(&mut node, 499, &leaderless);
    let met =
        |node: &mut Bootstrap, has_leader| hears(node, 7, &announcement(1, false, has_leader), &leaderless);
    let is_failure = |event: &Event| matches!(event, Event::Fail(Error::OtherCluster { .. }));
    assert!(!met(&mut node, true).iter().any(is_failure));
    ticks(&mut node, 1, &leaderless);
    assert!(!met(&mut node, false).iter().any(is_failure));
    assert!(met(&mut node, true).iter().any(is_failure));
}

#[test]
fn the_same_seed_and_inputs_give_the_same_events() {
    let run = |seed| {
        let mut node = started(2, seed);
        let mut events = ticks(&mut node, 100, &ALONE);
        let roster = roster_with(&node, &[(LOW, "b")]);
        events.extend(hears(&mut node, LOW, &BootstrapMessage::Accept(roster), &ALONE));
        events.extend(ticks(&mut node, 1_000, &ALONE));
        events
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
