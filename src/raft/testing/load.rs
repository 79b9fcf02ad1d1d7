//! Scenarios of a cluster under heavy load, or with a slow application: no legal call costs a leader its leadership,
//! fills a channel, or never ends.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::application::End;
use super::scenarios::Scenario;
use crate::raft::wire::frame::Frame;
use crate::raft::wire::message::{Message, RaftKind};
use crate::raft::{Delivery, Input, Operation, Role};

/// In hundredths of a tick of 10 ms.
const MILLISECOND: u64 = 10;

fn set_cost(scenario: &mut Scenario, cost: u64) {
    scenario.cluster.replicas.values_mut().for_each(|replica| replica.cost = cost);
}

fn term(scenario: &Scenario) -> u64 {
    scenario.cluster.statuses().values().map(|status| status.term).max().expect("a node runs")
}

/// Calls on one node, and waits until all of it has ended with its action.
fn perform_all(scenario: &mut Scenario, name: &str, count: u64) {
    for _ in 0..count {
        scenario.performed += 1;
        let args = format!("{name}/{}", scenario.performed);
        scenario.cluster.perform(name, "append", &args);
    }
    let name = name.to_string();
    scenario.until("every perform has ended", |scenario| scenario.cluster.statuses()[&name].pending == 0);
    let ends = &scenario.cluster.replicas[&name].application.ends;
    assert!(ends.values().all(|end| matches!(end, End::Resolved(_))), "{ends:?}");
}

#[test]
fn a_burst_of_evaluations_that_together_take_longer_than_an_election_timeout_costs_no_election() {
    for (seed, cost, count) in
        [(1, MILLISECOND, 2_000), (2, 7 * MILLISECOND, 500), (3, 100 * MILLISECOND, 40)]
    {
        let mut scenario = Scenario::found(seed, 3, |_| {});
        scenario.serve();
        set_cost(&mut scenario, cost);
        let before = term(&scenario);
        let leader = scenario.leader().expect("it leads");
        let names = [leader.clone(), scenario.followers().remove(0)];
        for name in names {
            perform_all(&mut scenario, &name, count);
        }
        assert_eq!((term(&scenario), scenario.leader()), (before, Some(leader)), "with a cost of {cost}");
    }
}

/// What a leader gives up because its own JavaScript takes long for it, the next one finishes.
#[test]
fn a_perform_that_alone_takes_longer_than_an_election_timeout_ends_with_the_second_leader() {
    (10..20).for_each(end_a_long_evaluation);
}

pub(super) fn end_a_long_evaluation(seed: u64) {
    let mut scenario = Scenario::found(seed, 3, |_| {});
    scenario.serve();
    set_cost(&mut scenario, 1_500 * MILLISECOND);
    let before = term(&scenario);
    let name = if seed.is_multiple_of(2) {
        scenario.leader().expect("it leads")
    } else {
        scenario.followers().remove(0)
    };
    let evaluated = |scenario: &Scenario| -> usize {
        scenario.cluster.replicas.values().map(|replica| replica.application.evaluated.len()).sum()
    };
    let evaluated_before = evaluated(&scenario);
    perform_all(&mut scenario, &name, 1);
    assert!(term(&scenario) <= before + 1, "seed {seed}: {} elections", term(&scenario) - before);
    assert!(evaluated(&scenario) - evaluated_before <= 2, "seed {seed}");
}

/// Those that a former leader had change the leader once more at most, not once each.
#[test]
fn several_performs_that_take_long_change_the_leader_once() {
    let mut scenario = Scenario::found(20, 3, |_| {});
    scenario.serve();
    set_cost(&mut scenario, 800 * MILLISECOND);
    let before = term(&scenario);
    let name = scenario.followers().remove(0);
    perform_all(&mut scenario, &name, 20);
    assert!(term(&scenario) <= before + 1, "{} elections", term(&scenario) - before);
}

#[test]
fn a_node_with_few_calls_does_not_wait_for_one_with_many() {
    let mut scenario = Scenario::found(30, 3, |_| {});
    scenario.serve();
    set_cost(&mut scenario, 10 * MILLISECOND);
    let [busy, other] = <[String; 2]>::try_from(scenario.followers()).expect("two of three follow");
    for number in 1..=1_000 {
        scenario.cluster.perform(&busy, "append", &format!("{busy}/{}", 100 + number));
    }
    scenario.ticks(20);
    let sequence = scenario.cluster.perform(&other, "append", &format!("{other}/100"));
    // 1,000 take 1,000 ticks.
    scenario.ticks(30);
    assert!(scenario.cluster.replicas[&other].application.ends.contains_key(&sequence));
    assert!(scenario.cluster.statuses()[&busy].pending > 500);
}

/// A peer that acknowledges nothing is sent a bounded number of bytes, whatever the sizes of entries.
#[test]
fn appends_on_their_way_to_a_peer_are_bounded_in_bytes() {
    (40..44).for_each(send_large_entries_to_a_silent_peer);
}

pub(super) fn send_large_entries_to_a_silent_peer(seed: u64) {
    const BOUND: usize = 9 << 20;
    let bytes = [1_000_000, 300_000, 100_000, 2_000][(seed % 4) as usize];
    let mut scenario = Scenario::found(seed, 3, |_| {});
    scenario.serve();
    let leader = scenario.leader().expect("it leads");
    let silent = scenario.followers().remove(0);
    // Its answers do not arrive; what is sent to it is counted.
    scenario.cluster.cut_apart(|one, _| one == silent);
    let mut sent: BTreeMap<u64, usize> = BTreeMap::new();
    for number in 1..=(40_000_000 / bytes as u64) {
        let args = format!("{leader}/{}{}", 100 + number, "x".repeat(bytes));
        scenario.cluster.perform(&leader, "append", &args);
    }
    for _ in 0..1_000 {
        for sent_frame in scenario.cluster.frames.values().filter(|sent| sent.to == silent) {
            note_entries(&sent_frame.bytes, &mut sent);
        }
        if scenario.cluster.statuses()[&leader].pending == 0 {
            break;
        }
        scenario.ticks(1);
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
    let mut scenario = Scenario::found(seed, 3, |_| {});
    scenario.serve();
    let name = scenario.followers().remove(0);
    let error = "e".repeat(20_000);
    for _ in 0..2_000 {
        scenario.cluster.perform(&name, "refuse", &error);
    }
    let sequence = scenario.cluster.perform(&name, "append", &format!("{name}/100"));
    let mut largest = (0, 0);
    scenario.cluster.replicas.get_mut(&name).expect("it runs").is_busy = true;
    for _ in 0..5_000 {
        scenario.cluster.tick();
        for sent in scenario.cluster.frames.values() {
            let mut entries = BTreeMap::new();
            note_entries(&sent.bytes, &mut entries);
            largest.0 = largest.0.max(entries.values().copied().max().unwrap_or(0));
        }
        for batch in &scenario.cluster.replicas[&name].batches {
            let bytes = batch.iter().map(|delivery| match delivery {
                Delivery::Settled { call_outcome: crate::raft::CallOutcome::Refused(error), .. } => {
                    error.len()
                }
                _ => 0,
            });
            largest.1 = largest.1.max(bytes.sum());
        }
        scenario.cluster.answer(&name);
        assert!(
            scenario.cluster.replicas[&name].stopped.is_none(),
            "{:?}",
            scenario.cluster.replicas[&name].stopped
        );
        if scenario.cluster.replicas[&name].application.ends.len() as u64 == sequence {
            break;
        }
    }
    let ends = &scenario.cluster.replicas[&name].application.ends;
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
    let mut scenario = Scenario::found(seed, 3, |_| {});
    scenario.serve();
    let leader = scenario.leader().expect("it leads");
    let [one, other] = <[String; 2]>::try_from(scenario.followers()).expect("two of three follow");
    scenario.cluster.replicas.get_mut(&leader).expect("it runs").is_busy = true;
    // While JavaScript has this one, the next two wait, and become one batch.
    scenario.cluster.perform(&leader, "append", "w/1");
    let first = scenario.cluster.perform(&one, "append", "x/1");
    let lock = scenario.cluster.perform(&one, "lock", "x/2");
    scenario.ticks(10);
    scenario.cluster.answer(&leader);
    // No node waits for these two any more, and the leader hears so before its JavaScript answers.
    scenario.cluster.handle(&one, Input::Abandon(vec![first, lock]));
    scenario.cluster.perform(&one, "append", "x/3");
    let refused = scenario.cluster.perform(&other, "lock", "y/1");
    scenario.ticks(10);
    scenario.cluster.replicas.get_mut(&leader).expect("it runs").is_busy = false;
    scenario.cluster.answer(&leader);
    scenario.until("it ends", |scenario| {
        scenario.cluster.replicas[&other].application.ends.contains_key(&refused)
    });
    let end = &scenario.cluster.replicas[&other].application.ends[&refused];
    assert!(matches!(end, End::Refused(error) if error.starts_with("x/2 holds it")), "{end}");
    scenario.ticks(20);
    assert_eq!(scenario.state(&other).holder.as_deref(), Some("x/2"), "seed {seed}");
}

/// A node that comes to a cluster, or back to it, says that it has caught up when it has: not with an older state.
#[test]
fn a_newcomer_has_caught_up_when_it_has_what_was_acknowledged_before_it_came() {
    for seed in 60..80 {
        let mut scenario = Scenario::found(seed, 3, |_| {});
        scenario.serve();
        scenario.serve();
        let acknowledged = scenario.performed;
        scenario.start("n3", 3, |_| {});
        let leader = scenario.leader();
        let mut is_caught_up = false;
        for number in 0..2_000 {
            if let Some(leader) = leader.as_ref().filter(|_| number % 3 == 0) {
                scenario.cluster.perform(leader, "append", &format!("{leader}/{}", 1_000 + number));
            }
            scenario.cluster.tick();
            let newcomer = &scenario.cluster.replicas["n3"];
            if newcomer.application.is_caught_up {
                assert!(newcomer.application.state.count >= acknowledged, "seed {seed}");
                let status = newcomer.node.status();
                assert!(status.is_caught_up && status.waiting_for.is_none());
                is_caught_up = true;
                break;
            }
        }
        assert!(is_caught_up, "seed {seed}");
        let leads = scenario.cluster.statuses().values().filter(|status| status.role == Role::Leader).count();
        assert_eq!(leads, 1);
    }
}

/// A leader hands JavaScript a second batch while it works on the first one. If what was evaluated first is dropped, as
/// its origin is being removed, what was evaluated behind it is void, and evaluated again.
#[test]
fn what_was_evaluated_behind_a_dropped_batch_is_void() {
    (70..78).for_each(drop_a_batch_with_another_behind_it);
}

pub(super) fn drop_a_batch_with_another_behind_it(seed: u64) {
    let mut scenario = Scenario::found(seed, 3, |options| options.evaluations_ahead_min = 1);
    scenario.serve();
    let leader = scenario.leader().expect("it leads");
    let leaving = scenario.followers().remove(0);
    scenario.cluster.replicas.get_mut(&leader).expect("it runs").is_busy = true;
    scenario.cluster.perform(&leaving, "append", "x/1");
    scenario.ticks(10);
    let call = scenario.cluster.perform(&leader, "append", "y/1");
    assert_eq!(scenario.cluster.replicas[&leader].batches.len(), 2, "seed {seed}");
    scenario.cluster.operation(&leader, Operation::Remove { id: leaving.as_str().into() }, 200);
    scenario.ticks(10);
    let before = scenario.cluster.replicas[&leader].application.evaluated.len();
    scenario.cluster.answer(&leader);
    scenario.cluster.replicas.get_mut(&leader).expect("it runs").is_busy = false;
    scenario.cluster.answer(&leader);
    scenario
        .until("it ends", |scenario| scenario.cluster.replicas[&leader].application.ends.contains_key(&call));
    let application = &scenario.cluster.replicas[&leader].application;
    assert_eq!(application.ends[&call], End::Resolved("y/1".into()), "seed {seed}");
    assert_eq!(application.evaluated[before..], ["append x/1", "append y/1", "append y/1"], "seed {seed}");
}
