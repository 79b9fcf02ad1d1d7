//! Scenarios of disks that hang: they take writes, give no error, and do not answer.

use super::application::End;
use super::cluster::Network;
use super::disk::Disk;
use super::run::PADDING;
use super::scenario::Scenario;
use crate::raft::consensus::group::UNSAVED_BYTES_MAX;
use crate::raft::wire::frame::{Frame, Receivers};
use crate::raft::wire::message::{Message, RaftKind, RaftMessage};
use crate::raft::{Input, Operation, Role, Warning};

/// Within so many ticks the others are served again: a write is overdue after 100, and an election takes up to 50.
const GAP_TICKS_MAX: u64 = 200;

fn hang(scenario: &mut Scenario, name: &str, hangs: bool) {
    let replica = scenario.cluster.replicas.get_mut(name).expect("it runs");
    replica.disk.as_mut().expect("it has a disk").hangs = hangs;
}

fn is_served_within(scenario: &mut Scenario, name: &str, ticks: u64) -> bool {
    let (sequence, _) = scenario.append(name);
    scenario.holds_within(ticks, |scenario| scenario.end(name, sequence).is_some())
}

fn slow_warnings(scenario: &Scenario, name: &str) -> usize {
    let warnings = &scenario.cluster.replicas[name].application.warnings;
    warnings.iter().filter(|warning| matches!(warning, Warning::StorageSlow { .. })).count()
}

/// The disks of the leader and of all but two followers hang: one of these two leads, and serves.
pub fn a_leader_gives_way(seed: u64) {
    let size = 3 + 2 * (seed % 2) as usize;
    let mut scenario = Scenario::found(seed, size, true);
    let leader = scenario.leader().expect("it was found");
    let followers = scenario.followers();
    let slow = &followers[..size / 2 - 1];
    let quick = &followers[size / 2 - 1..];
    hang(&mut scenario, &leader, true);
    slow.iter().for_each(|name| hang(&mut scenario, name, true));
    // Something for the disk to hang on.
    scenario.append(&quick[0]);
    scenario.ticks(GAP_TICKS_MAX);
    let next = quick.iter().find(|name| scenario.status(name).role == Role::Leader);
    assert!(next.is_some(), "no node with a disk that answers leads: {:#?}", scenario.cluster.statuses());
    assert!(is_served_within(&mut scenario, &quick[0], GAP_TICKS_MAX), "the quick followers are not served");
    scenario.ticks(500);
    assert_eq!(slow_warnings(&scenario, &leader), 1, "it is reported once");
    assert!(quick.iter().all(|name| slow_warnings(&scenario, name) == 0));
    hang(&mut scenario, &leader, false);
    slow.iter().for_each(|name| hang(&mut scenario, name, false));
    scenario.serve();
}

#[test]
fn a_leader_whose_disk_hangs_gives_way_to_one_whose_disk_answers() {
    (0..20).for_each(a_leader_gives_way);
}

/// Below the limit nothing happens.
#[test]
fn a_disk_that_answers_in_time_keeps_its_leader() {
    for seed in 0..10 {
        let mut scenario = Scenario::found(seed, 3, true);
        let leader = scenario.leader().expect("it was found");
        let term = scenario.status(&leader).term;
        for _ in 0..5 {
            hang(&mut scenario, &leader, true);
            scenario.append(&leader);
            scenario.ticks(80);
            hang(&mut scenario, &leader, false);
            scenario.ticks(10);
        }
        scenario.serve();
        assert_eq!((scenario.leader(), scenario.status(&leader).term), (Some(leader.clone()), term));
        assert_eq!(slow_warnings(&scenario, &leader), 0);
    }
}

const OVERDUE_TICKS: u64 = 100;
/// A call on a node whose disk hangs takes a few heartbeats, or, where the leader changes meanwhile, an election.
const ANSWER_TICKS_MAX: u64 = 60;

/// Every node calls, and the node whose disk hangs is served: each of its calls ends with its action. Gives those
/// actions.
fn serve_meanwhile(scenario: &mut Scenario, hung: &str, ticks: u64) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for _ in 0..ticks / 10 {
        scenario.names().iter().for_each(|name| _ = scenario.append(name));
        scenario.ticks(10);
    }
    for _ in 0..5 {
        let (sequence, action) = scenario.append(hung);
        let is_done =
            |scenario: &Scenario| scenario.end(hung, sequence) == Some(&End::Resolved(action.clone()));
        let is_served = scenario.holds_within(ANSWER_TICKS_MAX, is_done);
        assert!(is_served, "{hung} is not served: {:#?}", scenario.cluster.statuses());
        acknowledged.push(action);
    }
    acknowledged
}

/// The disk answers, or its machine has lost power, with nothing of what waited: the node is what it was, and nothing
/// acknowledged is lost.
fn end_hang(scenario: &mut Scenario, hung: &str, loses_power: bool, acknowledged: &[String]) {
    if loses_power {
        let id = scenario.status(hung).id.to_string();
        let disk = scenario.crash(hung, 0);
        scenario.ticks(30);
        scenario.start_anew(&id, disk);
    }
    scenario.names().iter().for_each(|name| hang(scenario, name, false));
    scenario.until("all are members again", |scenario| scenario.leader().is_some());
    scenario.serve();
    for name in scenario.names() {
        for action in acknowledged {
            assert!(scenario.holds(&name, action), "{name} lacks `{action}`, which {hung} has acknowledged");
        }
    }
}

fn found_and_hang(seed: u64, is_leader: bool) -> (Scenario, String) {
    let mut scenario = Scenario::found(seed, 3 + 2 * (seed % 2) as usize, true);
    let hung =
        if is_leader { scenario.leader().expect("it was found") } else { scenario.followers()[0].clone() };
    hang(&mut scenario, &hung, true);
    // Three disks of five are enough.
    if seed % 6 == 1 {
        let another = scenario.followers().into_iter().rfind(|name| *name != hung).expect("there are four");
        hang(&mut scenario, &another, true);
    }
    for _ in 0..2 * OVERDUE_TICKS / 5 {
        scenario.names().iter().for_each(|name| _ = scenario.append(name));
        scenario.ticks(5);
    }
    (scenario, hung)
}

fn who_hangs_is_served(seed: u64) {
    let (mut scenario, hung) = found_and_hang(seed, seed % 4 < 2);
    let acknowledged = serve_meanwhile(&mut scenario, &hung, 1_000);
    let sync = scenario.cluster.operation(&hung, Operation::Sync, 100);
    scenario.until("a read on it is current", |scenario| {
        matches!(scenario.cluster.replicas[&hung].application.answered.get(&sync), Some(Ok(())))
    });
    end_hang(&mut scenario, &hung, seed % 8 < 4, &acknowledged);
}

#[test]
fn performs_end_on_a_node_whose_disk_hangs() {
    (0..40).for_each(who_hangs_is_served);
}

/// The leader hands over, or dies, and the next one finds out what the node has.
#[test]
fn performs_end_on_a_node_whose_disk_hangs_while_leaders_change() {
    for seed in 0..20 {
        let (mut scenario, hung) = found_and_hang(seed, seed % 4 < 2);
        let mut acknowledged = Vec::new();
        for _ in 0..3 {
            let leader = scenario.leader().expect("one leads");
            scenario.cluster.operation(&leader, Operation::TransferLeadership { to: None }, 100);
            scenario.ticks(GAP_TICKS_MAX);
            acknowledged.extend(serve_meanwhile(&mut scenario, &hung, 100));
        }
        let leader = scenario.leader().filter(|_| scenario.names().len() == 5 && seed % 6 != 1);
        if let Some(leader) = leader {
            scenario.crash(&leader, 0);
            scenario.until("another leads", |scenario| scenario.leader().is_some());
            acknowledged.extend(serve_meanwhile(&mut scenario, &hung, 100));
        }
        end_hang(&mut scenario, &hung, seed % 8 < 4, &acknowledged);
    }
}

/// A newcomer is admitted, and the node whose disk hangs hears of it.
#[test]
fn performs_end_on_a_node_whose_disk_hangs_while_members_change() {
    for seed in 0..20 {
        let (mut scenario, hung) = found_and_hang(seed, seed % 4 < 2);
        scenario.start("p1", "p1", Some(Disk::default()));
        scenario.until("the newcomer is a member", |scenario| scenario.status("p1").is_caught_up);
        let acknowledged = serve_meanwhile(&mut scenario, &hung, 300);
        let knows = scenario.status(&hung).members.iter().any(|member| &*member.id == "p1");
        assert!(knows, "{hung} has not heard of the newcomer");
        end_hang(&mut scenario, &hung, seed % 8 < 4, &acknowledged);
    }
}

/// All that is committed meanwhile is large, so that the leader's window and its log are short for it.
#[test]
fn performs_end_on_a_node_whose_disk_hangs_under_large_actions() {
    for seed in 0..4 {
        let (mut scenario, hung) = found_and_hang(seed, seed % 2 == 0);
        let others: Vec<String> = scenario.names().into_iter().filter(|name| *name != hung).collect();
        for number in 0..40 {
            let args = format!("{}/{}{}", others[0], 1_000 + number, PADDING.repeat(300_000));
            scenario.cluster.perform(&others[0], "append", &args);
            scenario.ticks(5);
        }
        let acknowledged = serve_meanwhile(&mut scenario, &hung, 100);
        end_hang(&mut scenario, &hung, seed % 4 < 2, &acknowledged);
    }
}

/// Until a write is overdue, the leader's log is cut behind what fits into its window. The node gets the leader's
/// image, and goes by that too before it has saved it.
#[test]
fn a_node_whose_disk_hangs_goes_by_an_image_that_it_has_not_saved() {
    for seed in 0..10 {
        let mut scenario = Scenario::found(seed, 3, true);
        let hung = scenario.followers()[0].clone();
        let leader = scenario.leader().expect("it was found");
        hang(&mut scenario, &hung, true);
        for _ in 0..OVERDUE_TICKS {
            scenario.append(&leader);
            scenario.tick();
        }
        let had = scenario.status(&hung).applied_index;
        let acknowledged = serve_meanwhile(&mut scenario, &hung, 100);
        let covered = scenario.status(&hung).snapshot_index;
        assert!(had < covered, "{hung} had its log up to {had}, and has an image up to {covered}");
        end_hang(&mut scenario, &hung, seed % 2 == 0, &acknowledged);
    }
}

/// Both followers are diverged, and so take no leadership, but they save what they receive.
#[test]
fn performs_end_on_a_leader_whose_disk_hangs_and_that_none_can_replace() {
    for seed in 0..10 {
        let mut scenario = Scenario::found(seed, 3, true);
        let (leader, followers) = (scenario.leader().expect("it was found"), scenario.followers());
        let are_diverged = |scenario: &Scenario, are: bool| {
            followers.iter().all(|name| scenario.cluster.replicas[name].application.is_diverged == are)
        };
        // What is restored once and diverges again stays diverged.
        for round in 0..2 {
            for name in &followers {
                scenario.cluster.replicas.get_mut(name).expect("it runs").application.throws = true;
            }
            scenario.append(&leader);
            scenario.until("they are diverged", |scenario| are_diverged(scenario, true));
            if round == 0 {
                scenario.until("they are restored", |scenario| are_diverged(scenario, false));
            }
        }
        hang(&mut scenario, &leader, true);
        scenario.append(&leader);
        scenario.ticks(OVERDUE_TICKS);
        let (sequence, action) = scenario.append(&leader);
        scenario.holds_within(ANSWER_TICKS_MAX, |scenario| scenario.end(&leader, sequence).is_some());
        assert_eq!(scenario.end(&leader, sequence), Some(&End::Resolved(action)), "seed {seed}");
        assert_eq!(scenario.status(&leader).role, Role::Leader);
    }
}

/// What waits for a disk takes up memory: over a bound the node gets no more, and continues when its disk answers.
#[test]
fn a_node_whose_disk_hangs_keeps_no_more_in_memory_than_is_allowed() {
    const ACTION_BYTES: u64 = 300_000;
    /// What its leader sends without an answer (`group/window.rs`), and a few that were in flight.
    const WINDOW_BYTES_MAX: u64 = 10 << 20;
    let mut scenario = Scenario::found(0, 3, true);
    let (leader, hung) = (scenario.leader().expect("it was found"), scenario.followers()[0].clone());
    hang(&mut scenario, &hung, true);
    scenario.append(&leader);
    scenario.ticks(2 * OVERDUE_TICKS);
    let before = scenario.status(&hung).last_index;
    let allowed = (UNSAVED_BYTES_MAX + WINDOW_BYTES_MAX) / ACTION_BYTES;
    for number in 0..2 * allowed {
        let args = format!("{leader}/{}{}", 1_000 + number, PADDING.repeat(ACTION_BYTES as usize));
        scenario.cluster.perform(&leader, "append", &args);
        scenario.ticks(5);
    }
    let received = scenario.status(&hung).last_index - before;
    assert!(received >= UNSAVED_BYTES_MAX / ACTION_BYTES, "{hung} has received {received} actions");
    assert!(received <= allowed, "{hung} has received {received} actions, and {allowed} are allowed");
    end_hang(&mut scenario, &hung, false, &[]);
}

/// What is lost on the way is found out, and sent again from there on: the node has the rest, and needs no image.
#[test]
fn what_is_lost_on_the_way_to_a_node_whose_disk_hangs_is_sent_again() {
    for seed in 0..10 {
        let (mut scenario, hung) = found_and_hang(6 * seed, true);
        serve_meanwhile(&mut scenario, &hung, 10);
        let leader = scenario.leader().expect("another leads");
        scenario.cluster.trace = Some(Vec::new());
        scenario.cluster.cuts.insert((leader.clone(), hung.clone()));
        scenario.append(&leader);
        scenario.ticks(2);
        scenario.cluster.cuts.clear();
        scenario.append(&leader);
        let (sequence, _) = scenario.append(&hung);
        assert!(scenario.holds_within(ANSWER_TICKS_MAX, |scenario| scenario.end(&hung, sequence).is_some()));
        let trace = scenario.cluster.trace.take().expect("it was switched on");
        assert!(trace.iter().any(|line| line.contains("reject")), "nothing was lost");
        let image = trace.iter().find(|line| line.contains("Chunk"));
        assert_eq!(image, None, "one lost frame costs an image");
    }
}

/// On a bad network it takes longer.
#[test]
fn performs_end_on_a_node_whose_disk_hangs_on_a_bad_network() {
    for seed in 0..20 {
        let (mut scenario, hung) = found_and_hang(seed, seed % 4 < 2);
        scenario.cluster.network = Network { loss: 10, repeats: 10, delay_ticks_max: 5, stragglers: 3 };
        for _ in 0..20 {
            let (sequence, _) = scenario.append(&hung);
            let is_served = scenario
                .holds_within(10 * ANSWER_TICKS_MAX, |scenario| scenario.end(&hung, sequence).is_some());
            assert!(is_served, "{hung} is not served: {:#?}", scenario.cluster.statuses());
        }
        scenario.cluster.network = Network { delay_ticks_max: 2, ..Network::default() };
        end_hang(&mut scenario, &hung, seed % 8 < 4, &[]);
    }
}

/// Nor is a receipt an answer of a voter: a leader that gets no other answer steps down.
#[test]
fn a_leader_that_hears_receipts_alone_steps_down() {
    for seed in 0..10 {
        let mut scenario = Scenario::found(seed, 3, true);
        let leader = scenario.leader().expect("it was found");
        let [hung, gone] = <[String; 2]>::try_from(scenario.followers()).expect("two of three follow");
        hang(&mut scenario, &hung, true);
        scenario.append(&leader);
        scenario.ticks(2 * OVERDUE_TICKS);
        let id = scenario.status(&gone).id.to_string();
        let disk = scenario.crash(&gone, 0);
        scenario.append(&leader);
        let steps_down =
            scenario.holds_within(OVERDUE_TICKS, |scenario| scenario.status(&leader).role != Role::Leader);
        assert!(steps_down, "{leader} leads with receipts alone");
        scenario.start_anew(&id, disk);
        hang(&mut scenario, &hung, false);
        scenario.until("one leads again", |scenario| scenario.leader().is_some());
        scenario.serve();
    }
}

/// What the node has received and not saved makes no majority, and what it applies is what others have saved.
pub fn receipts_count_for_nothing(seed: u64) {
    let mut scenario = Scenario::found(seed, 3, true);
    let leader = scenario.leader().expect("it was found");
    let [hung, cut_off] = <[String; 2]>::try_from(scenario.followers()).expect("two of three follow");
    hang(&mut scenario, &hung, true);
    scenario.append(&leader);
    scenario.ticks(2 * OVERDUE_TICKS);
    hang(&mut scenario, &cut_off, true);
    let (sequence, action) = scenario.append(&leader);
    scenario.ticks(OVERDUE_TICKS / 2);
    assert_eq!(scenario.end(&leader, sequence), None, "`{action}` was acknowledged with one disk of three");
    scenario.ticks(3 * OVERDUE_TICKS);
    assert_eq!(scenario.end(&leader, sequence), None, "`{action}` was acknowledged with one disk of three");
    assert!(!scenario.holds(&hung, &action));
    hang(&mut scenario, &cut_off, false);
    scenario.until("it is served", |scenario| scenario.end(&leader, sequence).is_some());
    hang(&mut scenario, &hung, false);
    scenario.serve();
}

#[test]
fn what_is_received_and_not_saved_makes_no_majority() {
    (0..20).for_each(receipts_count_for_nothing);
}

/// While all is well, and up to the limit, no receipt is given.
#[test]
fn a_disk_that_answers_in_time_gives_no_receipt() {
    let mut scenario = Scenario::found(3, 3, true);
    let follower = scenario.followers()[0].clone();
    scenario.cluster.trace = Some(Vec::new());
    scenario.serve();
    hang(&mut scenario, &follower, true);
    scenario.append(&follower);
    scenario.ticks(80);
    hang(&mut scenario, &follower, false);
    scenario.serve();
    let is_receipt = |line: &String| line.contains("Receipt");
    assert_eq!(
        scenario.cluster.trace.as_ref().expect("it was switched on").iter().find(|line| is_receipt(line)),
        None
    );
    hang(&mut scenario, &follower, true);
    serve_meanwhile(&mut scenario, &follower, 300);
    assert!(scenario.cluster.trace.as_ref().expect("it was switched on").iter().any(is_receipt));
}

/// A leader's request to campaign may arrive late. The entries before those of the image are gone, and the image is not
/// durable: a campaign would be for a log that the node does not have yet.
#[test]
fn a_node_takes_no_leadership_before_it_has_saved_an_image() {
    for seed in 0..10 {
        let mut scenario = Scenario::found(seed, 3, true);
        let (leader, behind) = (scenario.leader().expect("it was found"), scenario.followers().remove(0));
        scenario.cluster.cut_apart(|one, other| (one == behind) != (other == behind));
        for _ in 0..40 {
            scenario.append(&leader);
            scenario.ticks(2);
        }
        let had = scenario.status(&behind).snapshot_index;
        scenario.cluster.cuts.clear();
        hang(&mut scenario, &behind, true);
        scenario.until("it has an image", |scenario| scenario.status(&behind).snapshot_index > had);
        let before = scenario.status(&behind);
        assert_eq!(before.leader, scenario.status(&leader).leader);
        let frame = Frame {
            cluster: before.cluster,
            from: scenario.status(&leader).incarnation,
            start: None,
            to: Receivers::One(before.incarnation),
            messages: vec![Message::Raft(RaftMessage::new(RaftKind::TimeoutNow, before.term, 0))],
        };
        scenario.cluster.handle(&behind, Input::Frame(frame.encode()));
        let after = scenario.status(&behind);
        assert_eq!((after.role, after.term), (Role::Follower, before.term), "seed {seed}");
        hang(&mut scenario, &behind, false);
        scenario.serve();
    }
}
