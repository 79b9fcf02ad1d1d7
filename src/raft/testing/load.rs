//! This file tells, one by one, what happens to a cluster under much load, or whose application takes long: nothing that is
//! legal costs a leader its leadership, fills a channel, or never ends.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::application::End;
use super::stories::Story;
use crate::raft::frame::{Frame, Message, RaftKind};
use crate::raft::{Delivery, Input, Role};

/// In hundredths of a tick of 10 ms.
const MILLISECOND: u64 = 10;

fn set_cost(story: &mut Story, cost: u64) {
    story.cluster.replicas.values_mut().for_each(|replica| replica.cost = cost);
}

fn term(story: &Story) -> u64 {
    story.cluster.statuses().values().map(|status| status.term).max().expect("somebody runs")
}

/// Performs on one node, and waits until all of it has ended with its action.
fn perform_all(story: &mut Story, name: &str, count: u64) {
    for _ in 0..count {
        story.performed += 1;
        let args = format!("{name}/{}", story.performed);
        story.cluster.perform(name, "append", &args);
    }
    let name = name.to_string();
    story.until("every perform has ended", |story| story.cluster.statuses()[&name].pending == 0);
    let ends = &story.cluster.replicas[&name].application.ends;
    assert!(ends.values().all(|end| matches!(end, End::Resolved(_))), "{ends:?}");
}

#[test]
fn a_burst_of_evaluations_that_together_take_longer_than_an_election_timeout_costs_no_election() {
    for (seed, cost, count) in
        [(1, MILLISECOND, 2_000), (2, 7 * MILLISECOND, 500), (3, 100 * MILLISECOND, 40)]
    {
        let mut story = Story::found(seed, 3, |_| {});
        story.serve();
        set_cost(&mut story, cost);
        let before = term(&story);
        let leader = story.leader().expect("it leads");
        let names = [leader.clone(), story.followers().remove(0)];
        for name in names {
            perform_all(&mut story, &name, count);
        }
        assert_eq!((term(&story), story.leader()), (before, Some(leader)), "with a cost of {cost}");
    }
}

/// What a leader gives up because its own JavaScript takes long for it, the next one finishes.
#[test]
fn a_perform_that_alone_takes_longer_than_an_election_timeout_ends_with_the_second_leader() {
    (10..20).for_each(end_a_long_evaluation);
}

pub(super) fn end_a_long_evaluation(seed: u64) {
    let mut story = Story::found(seed, 3, |_| {});
    story.serve();
    set_cost(&mut story, 1_500 * MILLISECOND);
    let before = term(&story);
    let name =
        if seed.is_multiple_of(2) { story.leader().expect("it leads") } else { story.followers().remove(0) };
    let evaluated = |story: &Story| -> usize {
        story.cluster.replicas.values().map(|replica| replica.application.evaluated.len()).sum()
    };
    let evaluated_before = evaluated(&story);
    perform_all(&mut story, &name, 1);
    assert!(term(&story) <= before + 1, "seed {seed}: {} elections", term(&story) - before);
    assert!(evaluated(&story) - evaluated_before <= 2, "seed {seed}");
}

/// Those that a former leader had change the leader once more at most, not once each.
#[test]
fn several_performs_that_take_long_change_the_leader_once() {
    let mut story = Story::found(20, 3, |_| {});
    story.serve();
    set_cost(&mut story, 800 * MILLISECOND);
    let before = term(&story);
    let name = story.followers().remove(0);
    perform_all(&mut story, &name, 20);
    assert!(term(&story) <= before + 1, "{} elections", term(&story) - before);
}

#[test]
fn whoever_performs_little_does_not_wait_for_whoever_performs_much() {
    let mut story = Story::found(30, 3, |_| {});
    story.serve();
    set_cost(&mut story, 10 * MILLISECOND);
    let [busy, other] = <[String; 2]>::try_from(story.followers()).expect("two of three follow");
    for number in 1..=1_000 {
        story.cluster.perform(&busy, "append", &format!("{busy}/{}", 100 + number));
    }
    story.ticks(20);
    let sequence = story.cluster.perform(&other, "append", &format!("{other}/100"));
    // 1,000 take 1,000 ticks.
    story.ticks(30);
    assert!(story.cluster.replicas[&other].application.ends.contains_key(&sequence));
    assert!(story.cluster.statuses()[&busy].pending > 500);
}

/// A peer that acknowledges nothing is sent a bounded number of bytes, whatever the sizes of entries.
#[test]
fn appends_on_their_way_to_a_peer_are_bounded_in_bytes() {
    (40..44).for_each(send_large_entries_to_a_silent_peer);
}

pub(super) fn send_large_entries_to_a_silent_peer(seed: u64) {
    const BOUND: usize = 9 << 20;
    let bytes = [1_000_000, 300_000, 100_000, 2_000][(seed % 4) as usize];
    let mut story = Story::found(seed, 3, |_| {});
    story.serve();
    let leader = story.leader().expect("it leads");
    let silent = story.followers().remove(0);
    // Its answers do not arrive; what is sent to it is counted.
    story.cluster.cut_apart(|one, _| one == silent);
    let mut sent: BTreeMap<u64, usize> = BTreeMap::new();
    for number in 1..=(40_000_000 / bytes as u64) {
        let args = format!("{leader}/{}{}", 100 + number, "x".repeat(bytes));
        story.cluster.perform(&leader, "append", &args);
    }
    for _ in 0..1_000 {
        for sent_frame in story.cluster.frames.values().filter(|sent| sent.to == silent) {
            note_entries(&sent_frame.bytes, &mut sent);
        }
        if story.cluster.statuses()[&leader].pending == 0 {
            break;
        }
        story.ticks(1);
    }
    let on_the_way: usize = sent.values().sum();
    assert!(on_the_way <= BOUND, "{on_the_way} bytes of entries of {bytes} are on their way");
    assert!(on_the_way >= 12 << 10, "only {on_the_way}");
}

fn note_entries(frame: &Bytes, sent: &mut BTreeMap<u64, usize>) {
    let frame = Frame::decode(frame).expect("a core sends frames");
    for message in frame.messages {
        if let Message::Raft(raft) = message
            && raft.kind == RaftKind::Append
        {
            sent.extend(
                raft.entries.iter().map(|entry| (entry.index, entry.data.len() + entry.context.len())),
            );
        }
    }
}

/// Of 2,000 refusals with 20 kB each, the entry behind them had 40 MB, and no channel could carry it.
#[test]
fn refusals_with_much_data_make_no_large_entry_frame_or_batch() {
    refuse_with_much_data(50);
}

pub(super) fn refuse_with_much_data(seed: u64) {
    const ENTRY_MAX: usize = 400 << 10;
    const BATCH_MAX: usize = 2 << 20;
    let mut story = Story::found(seed, 3, |_| {});
    story.serve();
    let name = story.followers().remove(0);
    let error = "e".repeat(20_000);
    for _ in 0..2_000 {
        story.cluster.perform(&name, "refuse", &error);
    }
    let sequence = story.cluster.perform(&name, "append", &format!("{name}/100"));
    let mut largest = (0, 0);
    story.cluster.replicas.get_mut(&name).expect("it runs").is_busy = true;
    for _ in 0..5_000 {
        story.cluster.tick();
        for sent in story.cluster.frames.values() {
            let mut entries = BTreeMap::new();
            note_entries(&sent.bytes, &mut entries);
            largest.0 = largest.0.max(entries.values().copied().max().unwrap_or(0));
        }
        for batch in &story.cluster.replicas[&name].batches {
            let bytes = batch.iter().map(|delivery| match delivery {
                Delivery::Settled { settlement: crate::raft::Settlement::Refused(error), .. } => error.len(),
                _ => 0,
            });
            largest.1 = largest.1.max(bytes.sum());
        }
        story.cluster.answer(&name);
        assert!(
            story.cluster.replicas[&name].stopped.is_none(),
            "{:?}",
            story.cluster.replicas[&name].stopped
        );
        if story.cluster.replicas[&name].application.ends.len() as u64 == sequence {
            break;
        }
    }
    let ends = &story.cluster.replicas[&name].application.ends;
    assert_eq!(ends.len() as u64, sequence);
    assert!(matches!(ends[&sequence], End::Resolved(_)));
    assert_eq!(ends.values().filter(|end| matches!(end, End::Refused(_))).count(), 2_000);
    assert!(largest.0 <= ENTRY_MAX && largest.1 <= BATCH_MAX, "{largest:?}");
}

/// A lock that its caller gave up while it was evaluated is taken all the same: another was refused because of it.
#[test]
fn whatever_another_was_refused_for_is_applied_also_if_its_caller_gave_it_up() {
    (60..64).for_each(refuse_by_what_was_given_up);
}

pub(super) fn refuse_by_what_was_given_up(seed: u64) {
    let mut story = Story::found(seed, 3, |_| {});
    story.serve();
    let leader = story.leader().expect("it leads");
    let [one, other] = <[String; 2]>::try_from(story.followers()).expect("two of three follow");
    story.cluster.replicas.get_mut(&leader).expect("it runs").is_busy = true;
    // While JavaScript has this one, the next two wait, and become one batch.
    story.cluster.perform(&leader, "append", "w/1");
    let first = story.cluster.perform(&one, "append", "x/1");
    let lock = story.cluster.perform(&one, "lock", "x/2");
    story.ticks(10);
    story.cluster.answer(&leader);
    // Nobody waits for these two any more, and the leader hears so before its JavaScript answers.
    story.cluster.handle(&one, Input::Abandon(vec![first, lock]));
    story.cluster.perform(&one, "append", "x/3");
    let refused = story.cluster.perform(&other, "lock", "y/1");
    story.ticks(10);
    story.cluster.replicas.get_mut(&leader).expect("it runs").is_busy = false;
    story.cluster.answer(&leader);
    story.until("it ends", |story| story.cluster.replicas[&other].application.ends.contains_key(&refused));
    let end = &story.cluster.replicas[&other].application.ends[&refused];
    assert!(matches!(end, End::Refused(error) if error.starts_with("x/2 holds it")), "{end}");
    story.ticks(20);
    assert_eq!(story.state(&other).holder.as_deref(), Some("x/2"), "seed {seed}");
}

/// A node that comes to a cluster, or back to it, says that it has caught up when it has: not with an older state.
#[test]
fn a_newcomer_has_caught_up_when_it_has_what_was_acknowledged_before_it_came() {
    for seed in 60..80 {
        let mut story = Story::found(seed, 3, |_| {});
        story.serve();
        story.serve();
        let acknowledged = story.performed;
        story.start("n3", 3, |_| {});
        let leader = story.leader();
        let mut is_caught_up = false;
        for number in 0..2_000 {
            if let Some(leader) = leader.as_ref().filter(|_| number % 3 == 0) {
                story.cluster.perform(leader, "append", &format!("{leader}/{}", 1_000 + number));
            }
            story.cluster.tick();
            let newcomer = &story.cluster.replicas["n3"];
            if newcomer.application.is_caught_up {
                assert!(newcomer.application.state.count >= acknowledged, "seed {seed}");
                let status = newcomer.node.status();
                assert!(status.is_caught_up && status.waiting_for.is_none());
                is_caught_up = true;
                break;
            }
        }
        assert!(is_caught_up, "seed {seed}");
        let leads = story.cluster.statuses().values().filter(|status| status.role == Role::Leader).count();
        assert_eq!(leads, 1);
    }
}
