//! This file tries a leadership alone: what it asks JavaScript to evaluate, in which order, and how much.

use bytes::Bytes;

use super::{Effect, Leadership, Table};
use crate::raft::entry::Context;
use crate::raft::events::Answer;
use crate::raft::frame::{Outcome, RequestItem, Requests};
use crate::raft::identity::RaftId;

/// Requests `first..=last` of a member, each after the one before it.
fn requests(floor: u64, first: u64, last: u64) -> Requests {
    let item = |sequence| RequestItem {
        sequence,
        after: sequence - 1,
        method: "m".into(),
        args: Bytes::from_static(b"[]"),
        attempts: 0,
    };
    Requests { term: 2, start: 1, floor, requests: (first..=last).map(item).collect() }
}

/// An open leader of term 2, with as many requests of each member.
fn leadership(members: &[RaftId], count: u64) -> (Leadership, Table) {
    let mut table = Table::default();
    let mut leadership = Leadership::new(2);
    leadership.open();
    for member in members {
        table.admit(*member);
        assert_eq!(leadership.receive(*member, requests(1, 1, count), &table), []);
    }
    (leadership, table)
}

fn evaluated(leadership: &mut Leadership, table: &Table) -> Vec<(RaftId, u64)> {
    let (evaluations, told) = leadership.take_evaluations(3, table);
    assert!(told.is_empty());
    evaluations.iter().map(|evaluation| (evaluation.origin, evaluation.sequence)).collect()
}

/// The same, not opened yet, with three requests of member 7.
fn unopened() -> (Leadership, Table) {
    let mut table = Table::default();
    table.admit(7);
    let mut leadership = Leadership::new(2);
    assert_eq!(leadership.receive(7, requests(1, 1, 3), &table), []);
    (leadership, table)
}

fn sequences(leadership: &mut Leadership, applied_index: u64, table: &Table) -> Vec<u64> {
    let (evaluations, told) = leadership.take_evaluations(applied_index, table);
    assert!(told.is_empty());
    evaluations.iter().map(|evaluation| evaluation.sequence).collect()
}

fn actions(count: usize) -> Vec<Answer> {
    vec![Answer::Action(Bytes::from_static(b"1")); count]
}

fn refusals(count: usize, bytes: usize) -> Vec<Answer> {
    vec![Answer::Refused(vec![b'1'; bytes].into()); count]
}

#[test]
fn what_javascript_had_no_time_for_comes_next_and_the_states_before_it_stay() {
    let (mut leadership, table) = leadership(&[7], 5);
    assert_eq!(evaluated(&mut leadership, &table).len(), 5);
    let sorted = leadership.sort(actions(2), 50_000).expect("two were evaluated");
    leadership.appended(sorted, &[true; 2], 5);
    assert_eq!(evaluated(&mut leadership, &table), [(7, 3), (7, 4), (7, 5)]);
    assert!(leadership.takes_provisional(4) && leadership.takes_provisional(5));
    // One that answers nothing at all is asked for one at a time.
    assert!(leadership.sort(Vec::new(), 0).is_none());
    assert_eq!(evaluated(&mut leadership, &table), [(7, 3)]);
}

#[test]
fn origins_take_turns_and_each_keeps_its_order() {
    let (mut leadership, table) = leadership(&[7, 8], 3);
    assert_eq!(evaluated(&mut leadership, &table), [(7, 1), (8, 1), (7, 2), (8, 2), (7, 3), (8, 3)]);
}

#[test]
fn a_first_batch_is_small_and_later_ones_grow() {
    let (mut leadership, table) = leadership(&[7], 1_000);
    let sizes: Vec<usize> = std::iter::from_fn(|| {
        let count = evaluated(&mut leadership, &table).len();
        leadership.sort(actions(count), 1)?;
        Some(count)
    })
    .collect();
    assert_eq!(sizes, [16, 32, 64, 128, 256, 504]);
}

#[test]
fn states_that_took_long_to_make_are_committed_before_there_are_more() {
    let (mut leadership, table) = leadership(&[7], 100);
    let count = evaluated(&mut leadership, &table).len();
    let sorted = leadership.sort(actions(count), 200_000).expect("they were evaluated");
    leadership.appended(sorted, &vec![true; count], 3 + count as u64);
    assert_eq!(evaluated(&mut leadership, &table), []);
    for index in 4..=3 + count as u64 {
        assert!(leadership.takes_provisional(index));
    }
    assert_eq!(evaluated(&mut leadership, &table).len(), 2 * count);
}

#[test]
fn an_origin_that_does_not_hear_its_large_outcomes_waits_and_no_other_does() {
    let (mut leadership, table) = leadership(&[7, 8], 200);
    let mut counts = [0, 0];
    loop {
        let batch = evaluated(&mut leadership, &table);
        if batch.is_empty() {
            break;
        }
        // 8 is refused without a word.
        let answers = batch.iter().map(|(origin, _)| match origin {
            7 => refusals(1, 60 << 10).remove(0),
            _ => Answer::Nothing,
        });
        let sorted = leadership.sort(answers.collect(), 1).expect("they were evaluated");
        leadership.observed(sorted, 3, 0);
        leadership.take_outcomes(3);
        counts[0] += batch.iter().filter(|(origin, _)| *origin == 7).count();
        counts[1] += batch.iter().filter(|(origin, _)| *origin == 8).count();
    }
    assert!((69..140).contains(&counts[0]), "{counts:?}: 4 MiB, and what was in the batch");
    assert_eq!(counts[1], 200);
    // It hears them, and says so.
    leadership.receive(7, requests(1 + counts[0] as u64, 201, 200), &table);
    assert!(!evaluated(&mut leadership, &table).is_empty());
}

#[test]
fn outcomes_with_much_data_are_recorded_by_several_entries_before_their_action() {
    let (mut leadership, table) = leadership(&[7], 16);
    assert_eq!(evaluated(&mut leadership, &table).len(), 16);
    let mut answers = refusals(15, 60 << 10);
    answers.extend(actions(1));
    let sorted = leadership.sort(answers, 1).expect("they were evaluated");
    let (last, records) = sorted.entries.split_last().expect("there is an action");
    let Some(Context::Request(request)) = Context::decode(&last.0.clone().into()) else { panic!("{last:?}") };
    let mut recorded: Vec<u64> = Vec::new();
    for (context, data) in records {
        assert!(data.is_empty() && context.len() <= 400 << 10);
        let Some(Context::Observed { origin: 7, start: 1, observed }) =
            Context::decode(&context.clone().into())
        else {
            panic!("it records outcomes")
        };
        recorded.extend(observed.iter().map(|(sequence, _)| *sequence));
    }
    recorded.extend(request.observed.iter().map(|(sequence, _)| *sequence));
    assert_eq!(recorded, (1..=15).collect::<Vec<u64>>());
    assert!(records.len() >= 2 && request.observed.len() < 15);
}

#[test]
fn a_request_that_the_table_has_forgotten_is_not_left_without_an_end() {
    let (mut leadership, mut table) = leadership(&[7], 1);
    let id = crate::raft::entry::RequestId { origin: 7, start: 1, sequence: 9 };
    let request = crate::raft::entry::Request { id, floor: 5, observed: Vec::new() };
    table.apply(&request, &Bytes::from_static(b"1"));
    let (evaluations, told) = leadership.take_evaluations(3, &table);
    assert!(evaluations.is_empty());
    assert_eq!(told.iter().map(|told| &told.outcome).collect::<Vec<_>>(), [&Outcome::Forgotten]);
}

#[test]
fn a_method_of_another_version_waits_with_what_comes_after_it_until_its_origin_gives_up() {
    let (mut leadership, table) = unopened();
    leadership.open();
    assert_eq!(sequences(&mut leadership, 3, &table), [1, 2, 3]);
    let action = Answer::Action(Bytes::from_static(b"1"));
    let unknown = Answer::Unknown(Bytes::from_static(b"{}"));
    assert_eq!(leadership.stall(vec![action.clone(), unknown, action.clone()], 3), None);
    assert_eq!(sequences(&mut leadership, 3, &table), [1]);
    let sorted = leadership.sort(vec![action], 1).expect("it was evaluated");
    leadership.appended(sorted, &[true], 4);
    assert!(sequences(&mut leadership, 4, &table).is_empty());
    let given_up = Requests { term: 2, start: 1, floor: 3, requests: Vec::new() };
    leadership.receive(7, given_up, &table);
    assert_eq!(sequences(&mut leadership, 4, &table), [3]);
}

#[test]
fn nothing_is_evaluated_before_an_entry_of_its_term_is_applied() {
    let (mut leadership, table) = unopened();
    assert!(sequences(&mut leadership, 2, &table).is_empty());
    leadership.open();
    assert_eq!(sequences(&mut leadership, 3, &table), [1, 2, 3]);
}

#[test]
fn what_is_appended_is_kept_as_provisional_until_it_is_committed() {
    let (mut leadership, table) = unopened();
    leadership.open();
    sequences(&mut leadership, 3, &table);
    let sorted = leadership.sort(actions(3), 1).expect("a batch was in flight");
    assert_eq!(sorted.entries.len(), 3);
    leadership.appended(sorted, &[true; 3], 6);
    assert!(!leadership.takes_provisional(3));
    assert!(leadership.takes_provisional(4) && leadership.takes_provisional(5));
    assert!(!leadership.takes_provisional(5) && leadership.takes_provisional(6));
}

#[test]
fn a_dropped_batch_is_evaluated_anew_in_order_once_all_that_is_appended_is_applied() {
    let (mut leadership, table) = unopened();
    leadership.open();
    sequences(&mut leadership, 3, &table);
    let sorted = leadership.sort(actions(3), 1).expect("a batch was in flight");
    leadership.appended(sorted, &[true; 3], 6);
    let args = Bytes::from_static(b"[]");
    let more = RequestItem { sequence: 4, after: 3, method: "m".into(), args, attempts: 0 };
    leadership.receive(7, Requests { term: 2, start: 1, floor: 1, requests: vec![more] }, &table);
    sequences(&mut leadership, 3, &table);
    let sorted =
        leadership.sort(vec![Answer::Action(Bytes::from_static(b"1"))], 1).expect("a batch was in flight");
    leadership.dropped(sorted, 6);

    // JavaScript has dropped the states of 4 to 6: none may be taken, and nothing may rest on them.
    assert!(!leadership.takes_provisional(4));
    assert!(sequences(&mut leadership, 5, &table).is_empty());
    assert_eq!(sequences(&mut leadership, 6, &table), [4]);
}

#[test]
fn a_request_that_is_given_up_after_its_evaluation_is_not_ignored_in_the_log() {
    let (mut leadership, mut table) = leadership(&[7], 3);
    assert_eq!(evaluated(&mut leadership, &table).len(), 3);
    leadership.receive(7, Requests { term: 2, start: 1, floor: 4, requests: Vec::new() }, &table);
    let sorted = leadership.sort(actions(3), 1).expect("a batch was in flight");
    assert_eq!(sorted.entries.len(), 3);
    for (context, action) in &sorted.entries {
        let Some(Context::Request(request)) = Context::decode(&context.clone().into()) else {
            panic!("it is no request")
        };
        assert_eq!(table.apply(&request, action), Effect::Applied, "{request:?}");
    }
}
