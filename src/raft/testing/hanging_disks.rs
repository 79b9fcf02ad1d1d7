//! This file tells of disks that hang: they take writes, give no error, and do not answer.

use super::application::End;
use super::cluster::Network;
use super::disk::Disk;
use super::run::PADDING;
use super::tale::Tale;
use crate::raft::group::UNSAVED_BYTES_MAX;
use crate::raft::{Ask, Role, Warning};

/// Within so many ticks the others are served again: a write is overdue after 100, and an election takes up to 50.
const GAP_TICKS_MAX: u64 = 200;

fn hang(tale: &mut Tale, name: &str, hangs: bool) {
    let replica = tale.cluster.replicas.get_mut(name).expect("it runs");
    replica.disk.as_mut().expect("it has a disk").hangs = hangs;
}

fn is_served_within(tale: &mut Tale, name: &str, ticks: u64) -> bool {
    let (sequence, _) = tale.append(name);
    tale.holds_within(ticks, |tale| tale.end(name, sequence).is_some())
}

fn slow_warnings(tale: &Tale, name: &str) -> usize {
    let warnings = &tale.cluster.replicas[name].application.warnings;
    warnings.iter().filter(|warning| matches!(warning, Warning::StorageSlow { .. })).count()
}

/// The disks of the leader and of all but two followers hang: one of these two leads, and serves.
pub fn a_leader_gives_way(seed: u64) {
    let size = 3 + 2 * (seed % 2) as usize;
    let mut tale = Tale::found(seed, size, true);
    let leader = tale.leader().expect("it was found");
    let followers = tale.followers();
    let slow = &followers[..size / 2 - 1];
    let quick = &followers[size / 2 - 1..];
    hang(&mut tale, &leader, true);
    slow.iter().for_each(|name| hang(&mut tale, name, true));
    // Something for the disk to hang on.
    tale.append(&quick[0]);
    tale.ticks(GAP_TICKS_MAX);
    let next = quick.iter().find(|name| tale.status(name).role == Role::Leader);
    assert!(next.is_some(), "no node with a disk that answers leads: {:#?}", tale.cluster.statuses());
    assert!(is_served_within(&mut tale, &quick[0], GAP_TICKS_MAX), "the quick followers are not served");
    tale.ticks(500);
    assert_eq!(slow_warnings(&tale, &leader), 1, "it is told once");
    assert!(quick.iter().all(|name| slow_warnings(&tale, name) == 0));
    hang(&mut tale, &leader, false);
    slow.iter().for_each(|name| hang(&mut tale, name, false));
    tale.serve();
}

#[test]
fn a_leader_whose_disk_hangs_gives_way_to_one_whose_disk_answers() {
    (0..20).for_each(a_leader_gives_way);
}

/// Below the limit nothing happens.
#[test]
fn a_disk_that_answers_in_time_keeps_its_leader() {
    for seed in 0..10 {
        let mut tale = Tale::found(seed, 3, true);
        let leader = tale.leader().expect("it was found");
        let term = tale.status(&leader).term;
        for _ in 0..5 {
            hang(&mut tale, &leader, true);
            tale.append(&leader);
            tale.ticks(80);
            hang(&mut tale, &leader, false);
            tale.ticks(10);
        }
        tale.serve();
        assert_eq!((tale.leader(), tale.status(&leader).term), (Some(leader.clone()), term));
        assert_eq!(slow_warnings(&tale, &leader), 0);
    }
}

const OVERDUE_TICKS: u64 = 100;
/// A perform on a node whose disk hangs takes a few heartbeats, or, where the leader changes meanwhile, an election.
const ANSWER_TICKS_MAX: u64 = 60;

/// Everybody performs, and the node whose disk hangs is served: each of its performs ends with its action. Gives those
/// actions.
fn serve_meanwhile(tale: &mut Tale, hung: &str, ticks: u64) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for _ in 0..ticks / 10 {
        tale.names().iter().for_each(|name| _ = tale.append(name));
        tale.ticks(10);
    }
    for _ in 0..5 {
        let (sequence, action) = tale.append(hung);
        let is_done = |tale: &Tale| tale.end(hung, sequence) == Some(&End::Resolved(action.clone()));
        let is_served = tale.holds_within(ANSWER_TICKS_MAX, is_done);
        assert!(is_served, "{hung} is not served: {:#?}", tale.cluster.statuses());
        acknowledged.push(action);
    }
    acknowledged
}

/// The disk answers, or its machine has lost power, with nothing of what waited: the node is what it was, and nothing that
/// anybody was told is lost.
fn end_hang(tale: &mut Tale, hung: &str, loses_power: bool, acknowledged: &[String]) {
    if loses_power {
        let id = tale.status(hung).id.to_string();
        let disk = tale.crash(hung, 0);
        tale.ticks(30);
        tale.start_anew(&id, disk);
    }
    tale.names().iter().for_each(|name| hang(tale, name, false));
    tale.until("all are members again", |tale| tale.leader().is_some());
    tale.serve();
    for name in tale.names() {
        for action in acknowledged {
            assert!(tale.holds(&name, action), "{name} lacks `{action}`, which {hung} was told is kept");
        }
    }
}

fn found_and_hang(seed: u64, is_leader: bool) -> (Tale, String) {
    let mut tale = Tale::found(seed, 3 + 2 * (seed % 2) as usize, true);
    let hung = if is_leader { tale.leader().expect("it was found") } else { tale.followers()[0].clone() };
    hang(&mut tale, &hung, true);
    // Three disks of five are enough.
    if seed % 6 == 1 {
        let another = tale.followers().into_iter().rfind(|name| *name != hung).expect("there are four");
        hang(&mut tale, &another, true);
    }
    for _ in 0..2 * OVERDUE_TICKS / 5 {
        tale.names().iter().for_each(|name| _ = tale.append(name));
        tale.ticks(5);
    }
    (tale, hung)
}

fn who_hangs_is_served(seed: u64) {
    let (mut tale, hung) = found_and_hang(seed, seed % 4 < 2);
    let acknowledged = serve_meanwhile(&mut tale, &hung, 1_000);
    let sync = tale.cluster.ask(&hung, Ask::Sync, 100);
    tale.until("a read on it is current", |tale| {
        matches!(tale.cluster.replicas[&hung].application.answered.get(&sync), Some(Ok(())))
    });
    end_hang(&mut tale, &hung, seed % 8 < 4, &acknowledged);
}

#[test]
fn performs_end_on_a_node_whose_disk_hangs() {
    (0..40).for_each(who_hangs_is_served);
}

/// The leader hands over, or dies, and the next one finds out what the node has.
#[test]
fn performs_end_on_a_node_whose_disk_hangs_while_leaders_change() {
    for seed in 0..20 {
        let (mut tale, hung) = found_and_hang(seed, seed % 4 < 2);
        let mut acknowledged = Vec::new();
        for _ in 0..3 {
            let leader = tale.leader().expect("one leads");
            tale.cluster.ask(&leader, Ask::TransferLeadership { to: None }, 100);
            tale.ticks(GAP_TICKS_MAX);
            acknowledged.extend(serve_meanwhile(&mut tale, &hung, 100));
        }
        let leader = tale.leader().filter(|_| tale.names().len() == 5 && seed % 6 != 1);
        if let Some(leader) = leader {
            tale.crash(&leader, 0);
            tale.until("another leads", |tale| tale.leader().is_some());
            acknowledged.extend(serve_meanwhile(&mut tale, &hung, 100));
        }
        end_hang(&mut tale, &hung, seed % 8 < 4, &acknowledged);
    }
}

/// A newcomer is let in, and the node whose disk hangs hears of it.
#[test]
fn performs_end_on_a_node_whose_disk_hangs_while_members_change() {
    for seed in 0..20 {
        let (mut tale, hung) = found_and_hang(seed, seed % 4 < 2);
        tale.start("p1", "p1", Some(Disk::default()));
        tale.until("the newcomer is a member", |tale| tale.status("p1").is_caught_up);
        let acknowledged = serve_meanwhile(&mut tale, &hung, 300);
        let knows = tale.status(&hung).members.iter().any(|member| &*member.id == "p1");
        assert!(knows, "{hung} has not heard of the newcomer");
        end_hang(&mut tale, &hung, seed % 8 < 4, &acknowledged);
    }
}

/// All that is committed meanwhile is large, so that the leader's window and its log are short for it.
#[test]
fn performs_end_on_a_node_whose_disk_hangs_under_large_actions() {
    for seed in 0..4 {
        let (mut tale, hung) = found_and_hang(seed, seed % 2 == 0);
        let others: Vec<String> = tale.names().into_iter().filter(|name| *name != hung).collect();
        for number in 0..40 {
            let args = format!("{}/{}{}", others[0], 1_000 + number, PADDING.repeat(300_000));
            tale.cluster.perform(&others[0], "append", &args);
            tale.ticks(5);
        }
        let acknowledged = serve_meanwhile(&mut tale, &hung, 100);
        end_hang(&mut tale, &hung, seed % 4 < 2, &acknowledged);
    }
}

/// Until a write is overdue, the leader's log is cut behind what fits into its window. The node gets the leader's image, and
/// goes by that too before it has saved it.
#[test]
fn a_node_whose_disk_hangs_goes_by_an_image_that_it_has_not_saved() {
    for seed in 0..10 {
        let mut tale = Tale::found(seed, 3, true);
        let hung = tale.followers()[0].clone();
        let leader = tale.leader().expect("it was found");
        hang(&mut tale, &hung, true);
        for _ in 0..OVERDUE_TICKS {
            tale.append(&leader);
            tale.tick();
        }
        let had = tale.status(&hung).applied_index;
        let acknowledged = serve_meanwhile(&mut tale, &hung, 100);
        let covered = tale.status(&hung).snapshot_index;
        assert!(had < covered, "{hung} had its log up to {had}, and has an image up to {covered}");
        end_hang(&mut tale, &hung, seed % 2 == 0, &acknowledged);
    }
}

/// What waits for a disk takes up memory: over a bound the node gets no more, and goes on when its disk answers.
#[test]
fn a_node_whose_disk_hangs_keeps_no_more_in_memory_than_is_allowed() {
    const ACTION_BYTES: u64 = 300_000;
    /// What its leader sends without an answer (`group/window.rs`), and a few that were on their way.
    const WINDOW_BYTES_MAX: u64 = 10 << 20;
    let mut tale = Tale::found(0, 3, true);
    let (leader, hung) = (tale.leader().expect("it was found"), tale.followers()[0].clone());
    hang(&mut tale, &hung, true);
    tale.append(&leader);
    tale.ticks(2 * OVERDUE_TICKS);
    let before = tale.status(&hung).last_index;
    let allowed = (UNSAVED_BYTES_MAX + WINDOW_BYTES_MAX) / ACTION_BYTES;
    for number in 0..2 * allowed {
        let args = format!("{leader}/{}{}", 1_000 + number, PADDING.repeat(ACTION_BYTES as usize));
        tale.cluster.perform(&leader, "append", &args);
        tale.ticks(5);
    }
    let received = tale.status(&hung).last_index - before;
    assert!(received >= UNSAVED_BYTES_MAX / ACTION_BYTES, "{hung} has received {received} actions");
    assert!(received <= allowed, "{hung} has received {received} actions, and {allowed} are allowed");
    end_hang(&mut tale, &hung, false, &[]);
}

/// What is lost on the way is found out, and sent again from there on: the node has the rest, and needs no image.
#[test]
fn what_is_lost_on_the_way_to_a_node_whose_disk_hangs_is_sent_again() {
    for seed in 0..10 {
        let (mut tale, hung) = found_and_hang(6 * seed, true);
        serve_meanwhile(&mut tale, &hung, 10);
        let leader = tale.leader().expect("another leads");
        tale.cluster.trace = Some(Vec::new());
        tale.cluster.cuts.insert((leader.clone(), hung.clone()));
        tale.append(&leader);
        tale.ticks(2);
        tale.cluster.cuts.clear();
        tale.append(&leader);
        let (sequence, _) = tale.append(&hung);
        assert!(tale.holds_within(ANSWER_TICKS_MAX, |tale| tale.end(&hung, sequence).is_some()));
        let trace = tale.cluster.trace.take().expect("it was switched on");
        assert!(trace.iter().any(|line| line.contains("reject")), "nothing was lost");
        let image = trace.iter().find(|line| line.contains("Chunk"));
        assert_eq!(image, None, "one lost frame costs an image");
    }
}

/// On a bad network it takes longer.
#[test]
fn performs_end_on_a_node_whose_disk_hangs_on_a_bad_network() {
    for seed in 0..20 {
        let (mut tale, hung) = found_and_hang(seed, seed % 4 < 2);
        tale.cluster.network = Network { loss: 10, repeats: 10, delay_ticks_max: 5, stragglers: 3 };
        for _ in 0..20 {
            let (sequence, _) = tale.append(&hung);
            let is_served =
                tale.holds_within(10 * ANSWER_TICKS_MAX, |tale| tale.end(&hung, sequence).is_some());
            assert!(is_served, "{hung} is not served: {:#?}", tale.cluster.statuses());
        }
        tale.cluster.network = Network { delay_ticks_max: 2, ..Network::default() };
        end_hang(&mut tale, &hung, seed % 8 < 4, &[]);
    }
}

/// Nor is a receipt an answer of a voter: a leader whom nobody answers else steps down.
#[test]
fn a_leader_that_hears_receipts_alone_steps_down() {
    for seed in 0..10 {
        let mut tale = Tale::found(seed, 3, true);
        let leader = tale.leader().expect("it was found");
        let [hung, gone] = <[String; 2]>::try_from(tale.followers()).expect("two of three follow");
        hang(&mut tale, &hung, true);
        tale.append(&leader);
        tale.ticks(2 * OVERDUE_TICKS);
        let id = tale.status(&gone).id.to_string();
        let disk = tale.crash(&gone, 0);
        tale.append(&leader);
        let steps_down = tale.holds_within(OVERDUE_TICKS, |tale| tale.status(&leader).role != Role::Leader);
        assert!(steps_down, "{leader} leads with receipts alone");
        tale.start_anew(&id, disk);
        hang(&mut tale, &hung, false);
        tale.until("one leads again", |tale| tale.leader().is_some());
        tale.serve();
    }
}

/// What the node has received and not saved makes no majority, and what it applies is what others have saved.
pub fn receipts_count_for_nothing(seed: u64) {
    let mut tale = Tale::found(seed, 3, true);
    let leader = tale.leader().expect("it was found");
    let [hung, cut_off] = <[String; 2]>::try_from(tale.followers()).expect("two of three follow");
    hang(&mut tale, &hung, true);
    tale.append(&leader);
    tale.ticks(2 * OVERDUE_TICKS);
    hang(&mut tale, &cut_off, true);
    let (sequence, action) = tale.append(&leader);
    tale.ticks(OVERDUE_TICKS / 2);
    assert_eq!(tale.end(&leader, sequence), None, "`{action}` was acknowledged with one disk of three");
    tale.ticks(3 * OVERDUE_TICKS);
    assert_eq!(tale.end(&leader, sequence), None, "`{action}` was acknowledged with one disk of three");
    assert!(!tale.holds(&hung, &action));
    hang(&mut tale, &cut_off, false);
    tale.until("it is served", |tale| tale.end(&leader, sequence).is_some());
    hang(&mut tale, &hung, false);
    tale.serve();
}

#[test]
fn what_is_received_and_not_saved_makes_no_majority() {
    (0..20).for_each(receipts_count_for_nothing);
}

/// While all is well, and up to the limit, no receipt is given.
#[test]
fn a_disk_that_answers_in_time_gives_no_receipt() {
    let mut tale = Tale::found(3, 3, true);
    let follower = tale.followers()[0].clone();
    tale.cluster.trace = Some(Vec::new());
    tale.serve();
    hang(&mut tale, &follower, true);
    tale.append(&follower);
    tale.ticks(80);
    hang(&mut tale, &follower, false);
    tale.serve();
    let is_receipt = |line: &String| line.contains("Receipt");
    assert_eq!(
        tale.cluster.trace.as_ref().expect("it was switched on").iter().find(|line| is_receipt(line)),
        None
    );
    hang(&mut tale, &follower, true);
    serve_meanwhile(&mut tale, &follower, 300);
    assert!(tale.cluster.trace.as_ref().expect("it was switched on").iter().any(is_receipt));
}
