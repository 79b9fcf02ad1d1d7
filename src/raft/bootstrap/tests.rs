//! Tests the rules of founding and of conflicts one by one; the simulation tests them together.

mod conflicts;

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::{Bootstrap, Event, Facts, Note, Phase};
use crate::error::Error;
use crate::raft::application::Application;
use crate::raft::identity::{ClusterUuid, Incarnation};
use crate::raft::wire::message::{BootstrapMessage, ClusterAnnouncement, Roster};
use crate::raft::{Options, Target, Warning};

const ALONE: Facts = Facts::ALONE;
/// A follower in a cluster with a leader, before any action.
const FOLLOWER: Facts = Facts { has_leader: true, has_seen_commit: true, ..ALONE };
const LEADER: Facts = Facts { is_leader: true, ..FOLLOWER };
/// The same, with a committed action.
const SERVING: Facts = Facts { holds_actions: true, holds_committed_actions: true, ..FOLLOWER };
const LEADERLESS: Facts = Facts { has_leader: false, ..FOLLOWER };

/// Incarnations below and above any that is drawn.
const LOW: u128 = 1;
const HIGH: u128 = u128::MAX - 100;

fn incarnation(number: u128) -> Incarnation {
    Incarnation::from_u128(number)
}

/// Node `a`, started, with its first events taken.
fn node(cluster_size: usize) -> Bootstrap {
    let mut node = started(cluster_size, 1);
    events(&mut node);
    node
}

fn started(cluster_size: usize, seed: u8) -> Bootstrap {
    let options = Options::new("a", cluster_size, [seed; 32]);
    Bootstrap::new(&options, ChaCha8Rng::from_seed(options.seed))
}

fn events(node: &mut Bootstrap) -> Vec<Event> {
    std::iter::from_fn(|| node.poll()).collect()
}

fn ticks(node: &mut Bootstrap, count: u64, facts: &Facts) -> Vec<Event> {
    (0..count)
        .flat_map(|_| {
            node.tick(facts);
            events(node)
        })
        .collect()
}

fn hears(node: &mut Bootstrap, from: u128, message: &BootstrapMessage, facts: &Facts) -> Vec<Event> {
    node.handle_message(incarnation(from), message, facts);
    events(node)
}

fn discover(id: &str, cluster_size: u32) -> BootstrapMessage {
    discover_of(id, cluster_size, true)
}

fn discover_of(id: &str, cluster_size: u32, may_vote: bool) -> BootstrapMessage {
    let (version, application, members_index) = ("".into(), Application::default(), 0);
    BootstrapMessage::Discover { id: id.into(), cluster_size, version, application, members_index, may_vote }
}

fn announcement(cluster: u128, holds_actions: bool, has_leader: bool) -> BootstrapMessage {
    let (cluster, ancestors) = (other_cluster(cluster), Vec::new());
    let application = Application::default();
    let (cluster_size, members_index) = (3, 0);
    let announcement = ClusterAnnouncement {
        cluster,
        ancestors,
        cluster_size,
        holds_actions,
        has_leader,
        application,
        members_index,
    };
    BootstrapMessage::ClusterAnnouncement(announcement)
}

fn other_cluster(number: u128) -> ClusterUuid {
    ClusterUuid::of_roster([incarnation(number)].into_iter())
}

/// A cluster that loses, or wins, a comparison by uuid with the node's own.
fn cluster_beside(node: &Bootstrap, is_lower: bool) -> u128 {
    let ours = node.phase().cluster();
    (0..).find(|number| (other_cluster(*number) < ours) == is_lower).expect("uuids lie on both sides")
}

fn roster_with(node: &Bootstrap, others: &[(u128, &str)]) -> Roster {
    let others = others.iter().map(|(number, id)| (incarnation(*number), Arc::from(*id)));
    let mut founders: Vec<(Incarnation, Arc<str>)> = others.chain([(node.me(), Arc::from("a"))]).collect();
    founders.sort();
    Roster(founders)
}

fn is_accept(event: &Event) -> bool {
    matches!(event, Event::Send(_, BootstrapMessage::Accept(_)))
}

fn is_discover_to_all(event: &Event) -> bool {
    matches!(event, Event::Send(Target::All, BootstrapMessage::Discover { .. }))
}

fn is_new_incarnation(event: &Event) -> bool {
    matches!(event, Event::NewIncarnation { .. })
}

fn is_founded(event: &Event) -> bool {
    matches!(event, Event::Founded { .. })
}

fn here_to(event: &Event, to: Target) -> bool {
    matches!(event, Event::Send(target, BootstrapMessage::ClusterAnnouncement(_)) if *target == to)
}

/// Node `a`, which accepted a roster with `b` below and `c` above it.
fn acceptor() -> (Bootstrap, Roster) {
    let mut node = node(3);
    let roster = roster_with(&node, &[(LOW, "b"), (HIGH, "c")]);
    hears(&mut node, LOW, &BootstrapMessage::Accept(roster.clone()), &ALONE);
    assert!(matches!(node.phase(), Phase::Accepted { .. }), "{:?}", node.phase());
    (node, roster)
}

/// Node `a`, which founded with `b` and `c`, and has not seen a commit.
fn founder() -> Bootstrap {
    let (mut node, roster) = acceptor();
    hears(&mut node, HIGH, &BootstrapMessage::Accept(roster), &ALONE);
    assert!(matches!(node.phase(), Phase::Founded { .. }), "{:?}", node.phase());
    node
}

fn member() -> Bootstrap {
    let mut node = founder();
    ticks(&mut node, 1, &FOLLOWER);
    assert!(matches!(node.phase(), Phase::Member { .. }), "{:?}", node.phase());
    node
}

// ---- Discover ---------------------------------------------------------------------------------------------------------

#[test]
fn a_node_joins_and_says_discover_at_once_and_then_every_interval() {
    let mut node = started(3, 1);
    let me = node.me();
    assert_eq!(events(&mut node), [Event::Join(me), Event::Send(Target::All, discover("a", 3))]);
    let discovers = ticks(&mut node, 100, &ALONE).into_iter().filter(is_discover_to_all).count();
    assert!(
        (100 / 7..=100 / 3).contains(&discovers),
        "{discovers} Discover in 100 ticks at 3 to 7 ticks each"
    );
}

#[test]
fn a_discover_of_somebody_new_is_answered_at_once_and_one_of_somebody_known_is_not() {
    let mut node = node(3);
    let answer = Event::Send(Target::One(incarnation(HIGH)), discover("a", 3));
    assert_eq!(hears(&mut node, HIGH, &discover("b", 3), &ALONE), std::slice::from_ref(&answer));
    assert_eq!(hears(&mut node, HIGH, &discover("b", 3), &ALONE), []);
    // After three intervals of silence the sender is new again.
    ticks(&mut node, 22, &ALONE);
    assert_eq!(hears(&mut node, HIGH, &discover("b", 3), &ALONE), [answer]);
}

#[test]
fn a_discover_counts_for_three_intervals_and_no_longer() {
    let mut node = node(3);
    hears(&mut node, HIGH, &discover("b", 3), &ALONE);
    ticks(&mut node, 22, &ALONE);
    let events = hears(&mut node, HIGH + 1, &discover("c", 3), &ALONE);
    assert!(!events.iter().any(is_accept), "`b` was heard too long ago: {events:?}");
}

#[test]
fn a_discover_of_another_size_is_not_counted_and_warned_about_once() {
    let mut node = node(2);
    let warning = Warning::OtherClusterSize { id: "b".into(), theirs: 3, ours: 2 };
    assert_eq!(hears(&mut node, HIGH, &discover("b", 3), &ALONE), [Event::Warn(warning)]);
    assert_eq!(hears(&mut node, HIGH, &discover("b", 3), &ALONE), []);
    assert_eq!(*node.phase(), Phase::Seeking);
}

/// Every node without a cluster warns of another application. In a cluster its leader does, which alone judges
/// newcomers.
#[test]
fn another_application_is_warned_about_once_and_not_by_members() {
    let named = |name| Application::new(Some(name), ["order"]);
    let options = Options { application: named("shop"), ..Options::new("a", 1, [1; 32]) };
    let mut node = Bootstrap::new(&options, ChaCha8Rng::from_seed(options.seed));
    let discover_of = |id: &str| BootstrapMessage::Discover {
        id: id.into(),
        cluster_size: 1,
        version: "".into(),
        application: named("chat"),
        members_index: 0,
        may_vote: true,
    };
    let warnings = |events: Vec<Event>| {
        let is_warning = |event: &&Event| matches!(event, Event::Warn(Warning::OtherApplication { .. }));
        events.iter().filter(is_warning).count()
    };
    events(&mut node);
    assert_eq!(warnings(hears(&mut node, HIGH, &discover_of("b"), &ALONE)), 1);
    assert_eq!(warnings(hears(&mut node, HIGH, &discover_of("b"), &ALONE)), 0);
    ticks(&mut node, 100, &ALONE);
    ticks(&mut node, 1, &FOLLOWER);
    assert!(matches!(node.phase(), Phase::Member { .. }), "{:?}", node.phase());
    assert_eq!(warnings(hears(&mut node, LOW, &discover_of("c"), &FOLLOWER)), 0);
}

#[test]
fn what_a_node_says_to_all_and_hears_itself_changes_nothing() {
    let mut node = node(2);
    let me = node.me();
    node.handle_message(me, &discover("a", 2), &ALONE);
    assert_eq!(events(&mut node), []);
}

#[test]
fn a_node_that_waits_for_others_warns_after_a_while_and_again_on_changes() {
    let mut node = node(5);
    let warnings = |events: Vec<Event>| -> Vec<String> {
        events
            .into_iter()
            .filter_map(
                |event| if let Event::Warn(warning) = event { Some(warning.to_string()) } else { None },
            )
            .collect()
    };
    assert_eq!(warnings(ticks(&mut node, 199, &ALONE)), [""; 0]);
    hears(&mut node, LOW, &discover("b", 5), &ALONE);
    assert_eq!(warnings(ticks(&mut node, 10, &ALONE)), ["waiting for 5 nodes, heard 2: a, b"]);
    assert_eq!(node.waiting_for().as_deref(), Some("waiting for 5 nodes, heard 2: a, b"));
    assert_eq!(warnings(ticks(&mut node, 1_000, &ALONE)), ["waiting for 5 nodes, heard 1: a"]);
}

#[test]
fn while_the_channel_is_broken_time_stands_still_and_its_return_is_greeted() {
    let mut node = node(1);
    let broken = Facts { channel_is_healthy: false, ..ALONE };
    assert_eq!(ticks(&mut node, 1_000, &broken), []);
    let events = ticks(&mut node, 1, &ALONE);
    assert_eq!(events, [Event::Send(Target::All, discover("a", 1))]);
    assert!(!ticks(&mut node, 4, &ALONE).iter().any(is_founded), "the Discover may still be answered");
    assert!(ticks(&mut node, 1, &ALONE).iter().any(is_founded));
}

// ---- Accepting -----------------------------------------------------------------------------------------------------

#[test]
fn the_lowest_of_n_nodes_proposes_by_accepting() {
    let mut node = node(3);
    hears(&mut node, HIGH, &discover("b", 3), &ALONE);
    let events = hears(&mut node, HIGH + 1, &discover("c", 3), &ALONE);
    let roster = roster_with(&node, &[(HIGH, "b"), (HIGH + 1, "c")]);
    assert!(events.contains(&Event::Send(Target::All, BootstrapMessage::Accept(roster))), "{events:?}");
}

#[test]
fn a_node_that_hears_a_lower_one_leaves_the_proposal_to_it() {
    let mut node = node(3);
    hears(&mut node, LOW, &discover("b", 3), &ALONE);
    let events = hears(&mut node, HIGH, &discover("c", 3), &ALONE);
    assert!(!events.iter().any(is_accept), "{events:?}");
}

#[test]
fn a_proposal_is_not_accepted_while_a_lower_node_is_near() {
    let mut node = node(2);
    hears(&mut node, LOW, &discover("b", 2), &ALONE);
    let roster = roster_with(&node, &[(LOW + 1, "c")]);
    assert_eq!(hears(&mut node, LOW + 1, &BootstrapMessage::Accept(roster.clone()), &ALONE), []);
    ticks(&mut node, 22, &ALONE);
    let events = hears(&mut node, LOW + 1, &BootstrapMessage::Accept(roster), &ALONE);
    assert!(events.iter().any(is_accept), "`b` is gone, and the proposal was repeated: {events:?}");
}

#[test]
fn of_an_id_heard_from_two_incarnations_neither_counts() {
    let mut node = node(2);
    // Within one turn, so that the proposal to the first is not made before the second is heard.
    let lower = roster_with(&node, &[(LOW, "b")]);
    hears(&mut node, LOW, &discover("b", 2), &ALONE);
    hears(&mut node, HIGH, &discover("b", 2), &ALONE);
    assert!(!ticks(&mut node, 10, &ALONE).iter().any(is_accept));
    // The lower one lives: it proposes, and is accepted.
    assert!(hears(&mut node, LOW, &BootstrapMessage::Accept(lower), &ALONE).iter().any(is_accept));
}

#[test]
fn a_node_that_has_promised_is_not_founded_with() {
    let mut node = node(2);
    let elsewhere = Roster(vec![(incarnation(HIGH), "b".into()), (incarnation(HIGH + 1), "c".into())]);
    hears(&mut node, HIGH, &BootstrapMessage::Accept(elsewhere), &ALONE);
    let events = hears(&mut node, HIGH, &discover("b", 2), &ALONE);
    assert!(!events.iter().any(is_accept), "{events:?}");
}

#[test]
fn a_node_that_others_leave_out_of_their_roster_gives_them_time_to_found() {
    let mut node = node(2);
    let elsewhere = Roster(vec![(incarnation(LOW), "b".into()), (incarnation(LOW + 1), "c".into())]);
    hears(&mut node, LOW, &BootstrapMessage::Accept(elsewhere), &ALONE);
    assert!(!hears(&mut node, HIGH, &discover("d", 2), &ALONE).iter().any(is_accept));
    assert!(!ticks(&mut node, 21, &ALONE).iter().any(is_accept));
    hears(&mut node, HIGH, &discover("d", 2), &ALONE);
    assert!(
        ticks(&mut node, 1, &ALONE).iter().any(is_accept),
        "the others have been silent for three intervals"
    );
}

#[test]
fn only_a_well_formed_roster_that_names_us_rightly_is_accepted() {
    let good = |node: &Bootstrap| roster_with(node, &[(LOW, "b"), (HIGH, "c")]);
    let spoils: [fn(&mut Roster); 6] = [
        |roster| roster.0.reverse(),
        |roster| roster.0.truncate(2),
        |roster| roster.0[2].1 = "b".into(),
        |roster| roster.0[1].1 = "x".into(),
        |roster| roster.0[2].0 = roster.0[1].0,
        |roster| roster.0[1].0 = incarnation(LOW + 1),
    ];
    for (number, spoil) in spoils.iter().enumerate() {
        let mut node = node(3);
        let mut roster = good(&node);
        spoil(&mut roster);
        hears(&mut node, LOW, &BootstrapMessage::Accept(roster), &ALONE);
        assert_eq!(*node.phase(), Phase::Seeking, "spoilt roster {number} was accepted");
        let roster = good(&node);
        assert!(hears(&mut node, LOW, &BootstrapMessage::Accept(roster), &ALONE).iter().any(is_accept));
    }
}

#[test]
fn an_incarnation_accepts_one_roster_ever() {
    let (mut node, _) = acceptor();
    let second = roster_with(&node, &[(LOW + 1, "d"), (HIGH + 1, "e")]);
    assert_eq!(hears(&mut node, LOW + 1, &BootstrapMessage::Accept(second), &ALONE), []);
}

#[test]
fn an_acceptance_is_repeated_until_a_leader_is_known() {
    let mut node = founder();
    let repeated = ticks(&mut node, 50, &ALONE).into_iter().filter(is_accept).count();
    assert!((50 / 7..=50 / 3).contains(&repeated), "{repeated} in 50 ticks at 3 to 7 ticks each");
    let led = Facts { has_leader: true, ..ALONE };
    assert!(!ticks(&mut node, 50, &led).iter().any(is_accept));
}

#[test]
fn a_new_acceptance_is_answered_at_once_and_a_repeated_one_is_not() {
    let mut node = node(4);
    let roster = roster_with(&node, &[(LOW, "b"), (HIGH, "c"), (HIGH + 1, "d")]);
    hears(&mut node, LOW, &BootstrapMessage::Accept(roster.clone()), &ALONE);
    let answer = Event::Send(Target::One(incarnation(HIGH)), BootstrapMessage::Accept(roster.clone()));
    assert_eq!(hears(&mut node, HIGH, &BootstrapMessage::Accept(roster.clone()), &ALONE), [answer]);
    assert_eq!(hears(&mut node, HIGH, &BootstrapMessage::Accept(roster), &ALONE), []);
}

#[test]
fn n_acceptances_found_the_cluster_and_the_lowest_campaigns() {
    let (mut node, roster) = acceptor();
    let events = hears(&mut node, HIGH, &BootstrapMessage::Accept(roster.clone()), &ALONE);
    assert!(events.contains(&Event::Founded { roster: roster.clone(), campaign: false }), "{events:?}");
    assert_eq!(node.phase().cluster(), roster.uuid());

    let mut lowest = self::node(2);
    hears(&mut lowest, HIGH, &discover("b", 2), &ALONE);
    let roster = roster_with(&lowest, &[(HIGH, "b")]);
    let events = hears(&mut lowest, HIGH, &BootstrapMessage::Accept(roster.clone()), &ALONE);
    assert!(events.contains(&Event::Founded { roster, campaign: true }), "{events:?}");
}

#[test]
fn a_frame_of_the_accepted_cluster_proves_its_founding() {
    let (mut node, roster) = acceptor();
    node.note_frame(incarnation(HIGH), other_cluster(7), &ALONE);
    assert_eq!(events(&mut node), []);
    node.note_frame(incarnation(HIGH), roster.uuid(), &ALONE);
    assert_eq!(events(&mut node), [Event::Founded { roster, campaign: false }]);
}

/// Another founder was faster, and has left the note.
#[test]
fn a_founder_that_finds_the_note_of_its_own_cluster_has_lost_no_state() {
    for (is_own, warns) in [(true, false), (false, true)] {
        let (mut node, roster) = acceptor();
        let noted = if is_own { roster.uuid() } else { other_cluster(9) };
        node.noted(&Note::new(noted, [Arc::from("a")].iter()).encode());
        hears(&mut node, HIGH, &BootstrapMessage::Accept(roster), &ALONE);
        let events = ticks(&mut node, 1, &FOLLOWER);
        let is_warning = |event: &Event| matches!(event, Event::Warn(Warning::StateLost { .. }));
        assert!(matches!(node.phase(), Phase::Member { .. }), "{:?}", node.phase());
        assert_eq!(events.iter().any(is_warning), warns, "{events:?}");
    }
}

#[test]
fn a_cluster_of_one_is_founded_after_one_unanswered_discover() {
    let mut node = node(1);
    assert!(!ticks(&mut node, 4, &ALONE).iter().any(is_founded));
    let roster = roster_with(&node, &[]);
    assert!(ticks(&mut node, 1, &ALONE).contains(&Event::Founded { roster, campaign: true }));
}

// ---- Starting over -------------------------------------------------------------------------------------------------

#[test]
fn a_node_that_waits_too_long_for_acceptances_becomes_a_new_incarnation() {
    let (mut node, _) = acceptor();
    let former = node.me();
    assert!(!ticks(&mut node, 49, &ALONE).iter().any(is_new_incarnation));
    let events = ticks(&mut node, 51, &ALONE);
    assert!(events.iter().any(is_new_incarnation), "{events:?}");
    assert!(
        node.me() != former
            && events.contains(&Event::Join(node.me()))
            && events.iter().any(is_discover_to_all)
    );
    assert_eq!(*node.phase(), Phase::Seeking);
}

#[test]
fn a_roster_one_of_whose_founders_promised_another_is_given_up_at_once() {
    let (mut node, _) = acceptor();
    let another = Roster(vec![
        (incarnation(LOW), "b".into()),
        (incarnation(LOW + 1), "d".into()),
        (incarnation(LOW + 2), "e".into()),
    ]);
    assert!(hears(&mut node, LOW, &BootstrapMessage::Accept(another), &ALONE).iter().any(is_new_incarnation));
}

#[test]
fn a_founder_that_sees_no_commit_starts_over_but_not_while_there_is_a_leader() {
    let mut node = founder();
    let led = Facts { has_leader: true, ..ALONE };
    assert!(!ticks(&mut node, 500, &led).iter().any(is_new_incarnation));
    assert!(ticks(&mut node, 1, &ALONE).iter().any(is_new_incarnation));

    let mut node = founder();
    assert!(!ticks(&mut node, 299, &ALONE).iter().any(is_new_incarnation));
    assert!(ticks(&mut node, 102, &ALONE).iter().any(is_new_incarnation));
}

#[test]
fn a_founder_answers_no_discover_before_it_has_seen_a_commit() {
    let mut node = founder();
    assert_eq!(hears(&mut node, 7, &discover("d", 3), &ALONE), []);
    assert!(
        hears(&mut node, 7, &discover("d", 3), &FOLLOWER)
            .iter()
            .any(|event| here_to(event, Target::One(incarnation(7))))
    );
}

#[test]
fn a_member_without_actions_starts_over_when_the_quorum_is_gone_and_others_are_there_to_found_with() {
    let mut node = member();
    assert!(
        !ticks(&mut node, 2_000, &LEADERLESS).iter().any(is_new_incarnation),
        "it may be a minority cut off"
    );
    hears(&mut node, 7, &discover("d", 3), &LEADERLESS);
    assert!(
        !ticks(&mut node, 10, &LEADERLESS).iter().any(is_new_incarnation),
        "one founder lost leaves a quorum"
    );
    hears(&mut node, 8, &discover("e", 3), &LEADERLESS);
    assert!(ticks(&mut node, 1, &LEADERLESS).iter().any(is_new_incarnation));
}

/// It was away when the cluster was resized, or is away when it is resized again. A Discover of another size would be
/// warned of.
#[test]
fn a_removed_node_wants_the_size_of_the_cluster_that_removed_it() {
    let mut node = member();
    let cluster = node.phase().cluster();
    node.start_over(5, "it was removed");
    let sizes = |events: Vec<Event>| -> Vec<u32> {
        let size_in = |event: Event| match event {
            Event::Send(Target::All, BootstrapMessage::Discover { cluster_size, .. }) => Some(cluster_size),
            _ => None,
        };
        events.into_iter().filter_map(size_in).collect()
    };
    let first = events(&mut node);
    assert_eq!((sizes(first), node.cluster_size()), (vec![5], 5));
    let BootstrapMessage::ClusterAnnouncement(here) = announcement(0, true, true) else { unreachable!() };
    let resized = |cluster, cluster_size| {
        let here = ClusterAnnouncement { cluster, cluster_size, ..here.clone() };
        BootstrapMessage::ClusterAnnouncement(here)
    };
    hears(&mut node, LOW, &resized(other_cluster(9), 4), &ALONE);
    assert_eq!(node.cluster_size(), 5, "another cluster does not matter");
    hears(&mut node, LOW, &resized(cluster, 7), &ALONE);
    assert!(matches!(node.phase(), Phase::Waiting { .. }), "{:?}", node.phase());
    assert_eq!(node.cluster_size(), 7);
}

#[test]
fn a_member_with_actions_never_starts_over() {
    let mut node = member();
    let facts = Facts { holds_actions: true, ..LEADERLESS };
    let mut events = Vec::new();
    for other in 0..100 {
        events.extend(ticks(&mut node, 20, &facts));
        events.extend(hears(&mut node, other, &discover(&format!("n{other}"), 3), &facts));
    }
    assert!(!events.iter().any(is_new_incarnation));
}

#[test]
fn a_peer_that_connects_receives_what_was_announced_before() {
    let sent_to = |node: &mut Bootstrap, facts: &Facts| {
        node.connected(incarnation(HIGH), facts);
        events(node)
    };
    let mut node = node(2);
    let to_peer = |event: &Event, is_it: fn(&BootstrapMessage) -> bool| matches!(event, Event::Send(Target::One(peer), message) if *peer == incarnation(HIGH) && is_it(message));
    let sent = sent_to(&mut node, &ALONE);
    assert!(
        matches!(&sent[..], [event] if to_peer(event, |message| matches!(message, BootstrapMessage::Discover { .. })))
    );

    hears(&mut node, HIGH, &discover("b", 2), &ALONE);
    ticks(&mut node, 1, &ALONE);
    assert!(matches!(node.phase(), Phase::Accepted { .. }), "{:?}", node.phase());
    let sent = sent_to(&mut node, &ALONE);
    assert!(
        matches!(&sent[..], [event] if to_peer(event, |message| matches!(message, BootstrapMessage::Accept(_))))
    );
}

// ---- A node that may not vote -----------------------------------------------------------------------------------------

/// An operator would look for one node less than there are missing.
#[test]
fn a_node_that_may_not_vote_does_not_name_itself_among_the_founders() {
    for (may_vote, heard) in [(true, "heard 2: a, b"), (false, "heard 1: b")] {
        let options = Options { may_vote, ..Options::new("a", 3, [1; 32]) };
        let mut node = Bootstrap::new(&options, ChaCha8Rng::from_seed(options.seed));
        hears(&mut node, HIGH, &discover("b", 3), &ALONE);
        assert_eq!(node.waiting_for(), Some(format!("waiting for 3 nodes, {heard}")));
    }
}

#[test]
fn a_node_that_may_not_vote_founds_nothing_and_is_no_founder_for_others() {
    for cluster_size in [1, 2] {
        let options = Options { may_vote: false, ..Options::new("a", cluster_size, [1; 32]) };
        let mut node = Bootstrap::new(&options, ChaCha8Rng::from_seed(options.seed));
        let mut heard = hears(&mut node, u128::MAX, &discover("b", cluster_size as u32), &ALONE);
        let roster = roster_with(&node, &[(u128::MAX, "b")]);
        heard.extend(hears(&mut node, u128::MAX, &BootstrapMessage::Accept(roster), &ALONE));
        heard.extend(ticks(&mut node, 100, &ALONE));
        assert!(!heard.iter().any(|event| is_accept(event) || is_founded(event)), "{heard:?}");
    }
    let mut node = started(2, 1);
    let mut heard = hears(&mut node, u128::MAX, &discover_of("b", 2, false), &ALONE);
    heard.extend(ticks(&mut node, 5, &ALONE));
    assert!(!heard.iter().any(is_accept), "{heard:?}");
    heard = hears(&mut node, u128::MAX, &discover_of("b", 2, true), &ALONE);
    assert!(heard.iter().any(is_accept), "the same of one that may: {heard:?}");
}
