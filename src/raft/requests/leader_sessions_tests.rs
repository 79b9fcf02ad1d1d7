//! Tests the leader's sessions alone: what they ask JavaScript to evaluate, in which order, and how much.

use bytes::Bytes;

use super::{ApplyResult, LeaderSessions, SessionTable};
use crate::raft::consensus::entry::Context;
use crate::raft::coordination::{ClusterClock, SystemAction, TimerFiring};
use crate::raft::events::{Answered, MethodResult};
use crate::raft::identity::RaftId;
use crate::raft::wire::items::RequestItem;
use crate::raft::wire::message::{Outcome, Requests};

/// The number of a batch.
const BATCH: u64 = 0;
/// No batch is evaluated ahead.
const AHEAD_MIN: usize = usize::MAX;

/// Requests `first..=last` of a member, each after the one before it.
fn requests(floor: u64, first: u64, last: u64) -> Requests {
    let item = |sequence| RequestItem {
        sequence,
        after: sequence - 1,
        method: "m".into(),
        args: Bytes::from_static(b"[]"),
        attempts: 0,
        session: 0,
    };
    Requests { term: 2, start: 1, floor, requests: (first..=last).map(item).collect() }
}

/// An open leader of term 2, with as many requests of each member.
fn sessions(members: &[RaftId], count: u64) -> (LeaderSessions, SessionTable) {
    let mut session_table = SessionTable::default();
    let mut sessions = LeaderSessions::new(2, AHEAD_MIN);
    sessions.open();
    for member in members {
        session_table.admit(*member);
        assert_eq!(sessions.receive(*member, requests(1, 1, count), &session_table), []);
    }
    (sessions, session_table)
}

fn evaluated(sessions: &mut LeaderSessions, session_table: &SessionTable) -> Vec<(RaftId, u64)> {
    let (evaluations, due) = sessions.take_evaluations(BATCH, 3, session_table);
    assert!(due.is_empty());
    evaluations.iter().map(|evaluation| (evaluation.origin, evaluation.sequence)).collect()
}

/// The same, not opened yet, with three requests of member 7.
fn unopened() -> (LeaderSessions, SessionTable) {
    let mut session_table = SessionTable::default();
    session_table.admit(7);
    let mut sessions = LeaderSessions::new(2, AHEAD_MIN);
    assert_eq!(sessions.receive(7, requests(1, 1, 3), &session_table), []);
    (sessions, session_table)
}

fn sequences(sessions: &mut LeaderSessions, applied_index: u64, session_table: &SessionTable) -> Vec<u64> {
    let (evaluations, due) = sessions.take_evaluations(BATCH, applied_index, session_table);
    assert!(due.is_empty());
    evaluations.iter().map(|evaluation| evaluation.sequence).collect()
}

/// No entry carries a time yet.
const NO_CLOCK: ClusterClock = ClusterClock::NONE;

fn answered(answers: Vec<MethodResult>, micros: u64) -> Answered {
    Answered { answers, micros, at: 0 }
}

fn actions(count: usize) -> Vec<MethodResult> {
    vec![MethodResult::Action(Bytes::from_static(b"1")); count]
}

fn refusals(count: usize, bytes: usize) -> Vec<MethodResult> {
    vec![MethodResult::Refused(vec![b'1'; bytes].into()); count]
}

#[test]
fn what_javascript_had_no_time_for_comes_next_and_the_states_before_it_stay() {
    let (mut sessions, session_table) = sessions(&[7], 5);
    assert_eq!(evaluated(&mut sessions, &session_table).len(), 5);
    let sorted =
        sessions.classify(BATCH, answered(actions(2), 50_000), NO_CLOCK).expect("two were evaluated");
    sessions.appended(sorted, &[true; 2], 5);
    assert_eq!(evaluated(&mut sessions, &session_table), [(7, 3), (7, 4), (7, 5)]);
    assert!(sessions.takes_provisional(4) && sessions.takes_provisional(5));
    // One that answers nothing at all is asked for one at a time.
    assert!(sessions.classify(BATCH, answered(Vec::new(), 0), NO_CLOCK).is_none());
    assert_eq!(evaluated(&mut sessions, &session_table), [(7, 3)]);
}

#[test]
fn origins_take_turns_and_each_keeps_its_order() {
    let (mut sessions, session_table) = sessions(&[7, 8], 3);
    assert_eq!(evaluated(&mut sessions, &session_table), [(7, 1), (8, 1), (7, 2), (8, 2), (7, 3), (8, 3)]);
}

#[test]
fn a_first_batch_is_small_and_later_ones_grow() {
    let (mut sessions, session_table) = sessions(&[7], 1_000);
    let sizes: Vec<usize> = std::iter::from_fn(|| {
        let count = evaluated(&mut sessions, &session_table).len();
        sessions.classify(BATCH, answered(actions(count), 1), NO_CLOCK)?;
        Some(count)
    })
    .collect();
    assert_eq!(sizes, [16, 32, 64, 128, 256, 504]);
}

#[test]
fn states_that_took_long_to_make_are_committed_before_there_are_more() {
    let (mut sessions, session_table) = sessions(&[7], 100);
    let count = evaluated(&mut sessions, &session_table).len();
    let sorted =
        sessions.classify(BATCH, answered(actions(count), 200_000), NO_CLOCK).expect("they were evaluated");
    sessions.appended(sorted, &vec![true; count], 3 + count as u64);
    assert_eq!(evaluated(&mut sessions, &session_table), []);
    for index in 4..=3 + count as u64 {
        assert!(sessions.takes_provisional(index));
    }
    assert_eq!(evaluated(&mut sessions, &session_table).len(), 2 * count);
}

#[test]
fn an_origin_that_does_not_hear_its_large_outcomes_waits_and_no_other_does() {
    let (mut sessions, session_table) = sessions(&[7, 8], 200);
    let mut counts = [0, 0];
    loop {
        let batch = evaluated(&mut sessions, &session_table);
        if batch.is_empty() {
            break;
        }
        // 8 is refused without a word.
        let answers = batch.iter().map(|(origin, _)| match origin {
            7 => refusals(1, 60 << 10).remove(0),
            _ => MethodResult::Nothing,
        });
        let sorted =
            sessions.classify(BATCH, answered(answers.collect(), 1), NO_CLOCK).expect("they were evaluated");
        sessions.observed(sorted, 3, 0);
        sessions.take_outcomes(3);
        counts[0] += batch.iter().filter(|(origin, _)| *origin == 7).count();
        counts[1] += batch.iter().filter(|(origin, _)| *origin == 8).count();
    }
    assert!((69..140).contains(&counts[0]), "{counts:?}: 4 MiB, and what was in the batch");
    assert_eq!(counts[1], 200);
    // It hears them, and says so.
    sessions.receive(7, requests(1 + counts[0] as u64, 201, 200), &session_table);
    assert!(!evaluated(&mut sessions, &session_table).is_empty());
}

#[test]
fn outcomes_with_much_data_are_recorded_by_several_entries_before_their_action() {
    let (mut sessions, session_table) = sessions(&[7], 16);
    assert_eq!(evaluated(&mut sessions, &session_table).len(), 16);
    let mut answers = refusals(15, 60 << 10);
    answers.extend(actions(1));
    let sorted = sessions.classify(BATCH, answered(answers, 1), NO_CLOCK).expect("they were evaluated");
    let (last, records) = sorted.entries.split_last().expect("there is an action");
    let Some(Context::Request(request)) = Context::decode(&last.0) else { panic!("{last:?}") };
    let mut recorded: Vec<u64> = Vec::new();
    for (context, data) in records {
        assert!(data.is_empty() && context.len() <= 400 << 10);
        let Some(Context::Observed { origin: 7, start: 1, observed }) = Context::decode(context) else {
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
    let (mut sessions, mut session_table) = sessions(&[7], 1);
    let id = crate::raft::consensus::entry::RequestId { origin: 7, start: 1, sequence: 9 };
    let request = crate::raft::consensus::entry::Request { id, floor: 5, observed: Vec::new() };
    session_table.apply(&request, &Bytes::from_static(b"1"));
    let (evaluations, due) = sessions.take_evaluations(BATCH, 3, &session_table);
    assert!(evaluations.is_empty());
    assert_eq!(due.iter().map(|due| &due.outcome).collect::<Vec<_>>(), [&Outcome::Forgotten]);
}

#[test]
fn a_method_of_another_version_waits_with_what_comes_after_it_until_its_origin_gives_up() {
    let (mut sessions, session_table) = unopened();
    sessions.open();
    assert_eq!(sequences(&mut sessions, 3, &session_table), [1, 2, 3]);
    let action = MethodResult::Action(Bytes::from_static(b"1"));
    let unknown = MethodResult::Unknown(Bytes::from_static(b"{}"));
    assert_eq!(sessions.stall(BATCH, vec![action.clone(), unknown, action.clone()], 3), None);
    assert_eq!(sequences(&mut sessions, 3, &session_table), [1]);
    let sorted = sessions.classify(BATCH, answered(vec![action], 1), NO_CLOCK).expect("it was evaluated");
    sessions.appended(sorted, &[true], 4);
    assert!(sequences(&mut sessions, 4, &session_table).is_empty());
    let given_up = Requests { term: 2, start: 1, floor: 3, requests: Vec::new() };
    sessions.receive(7, given_up, &session_table);
    assert_eq!(sequences(&mut sessions, 4, &session_table), [3]);
}

#[test]
fn nothing_is_evaluated_before_an_entry_of_its_term_is_applied() {
    let (mut sessions, session_table) = unopened();
    assert!(sequences(&mut sessions, 2, &session_table).is_empty());
    sessions.open();
    assert_eq!(sequences(&mut sessions, 3, &session_table), [1, 2, 3]);
}

#[test]
fn what_is_appended_is_kept_as_provisional_until_it_is_committed() {
    let (mut sessions, session_table) = unopened();
    sessions.open();
    sequences(&mut sessions, 3, &session_table);
    let sorted = sessions.classify(BATCH, answered(actions(3), 1), NO_CLOCK).expect("a batch was in flight");
    assert_eq!(sorted.entries.len(), 3);
    sessions.appended(sorted, &[true; 3], 6);
    assert!(!sessions.takes_provisional(3));
    assert!(sessions.takes_provisional(4) && sessions.takes_provisional(5));
    assert!(!sessions.takes_provisional(5) && sessions.takes_provisional(6));
}

#[test]
fn a_dropped_batch_is_evaluated_anew_in_order_once_all_that_is_appended_is_applied() {
    let (mut sessions, session_table) = unopened();
    sessions.open();
    sequences(&mut sessions, 3, &session_table);
    let sorted = sessions.classify(BATCH, answered(actions(3), 1), NO_CLOCK).expect("a batch was in flight");
    sessions.appended(sorted, &[true; 3], 6);
    let args = Bytes::from_static(b"[]");
    let more = RequestItem { sequence: 4, after: 3, method: "m".into(), args, attempts: 0, session: 0 };
    sessions.receive(7, Requests { term: 2, start: 1, floor: 1, requests: vec![more] }, &session_table);
    sequences(&mut sessions, 3, &session_table);
    let sorted = sessions
        .classify(BATCH, answered(vec![MethodResult::Action(Bytes::from_static(b"1"))], 1), NO_CLOCK)
        .expect("a batch was in flight");
    sessions.dropped(sorted, 6);

    // JavaScript has dropped the states of 4 to 6: none may be taken, and nothing may rest on them.
    assert!(!sessions.takes_provisional(4));
    assert!(sequences(&mut sessions, 5, &session_table).is_empty());
    assert_eq!(sequences(&mut sessions, 6, &session_table), [4]);
}

#[test]
fn a_request_that_is_given_up_after_its_evaluation_is_not_ignored_in_the_log() {
    let (mut sessions, mut session_table) = sessions(&[7], 3);
    assert_eq!(evaluated(&mut sessions, &session_table).len(), 3);
    sessions.receive(7, Requests { term: 2, start: 1, floor: 4, requests: Vec::new() }, &session_table);
    let sorted = sessions.classify(BATCH, answered(actions(3), 1), NO_CLOCK).expect("a batch was in flight");
    assert_eq!(sorted.entries.len(), 3);
    for (context, action) in &sorted.entries {
        let Some(Context::Request(request)) = Context::decode(context) else { panic!("it is no request") };
        assert_eq!(session_table.apply(&request, action), ApplyResult::Applied, "{request:?}");
    }
}

#[test]
fn entries_carry_a_time_that_does_not_fall_while_they_are_not_committed() {
    let (mut sessions, session_table) = sessions(&[7], 3);
    let mut clock = ClusterClock::NONE;
    clock.advance(1_000);
    let mut times = Vec::new();
    for at in [1_005, 900] {
        let count = sequences(&mut sessions, 3, &session_table).len();
        let answered = Answered { answers: actions(1), micros: 1, at };
        let batch = sessions.classify(BATCH, answered, clock).expect("a batch was in flight");
        assert!(count > 0, "requests wait");
        let context: Bytes = batch.entries[0].0.clone();
        times.push(Context::decode_stamped(&context).expect("it is a request").1.at);
        sessions.appended(batch, &[true], 4);
    }
    assert_eq!(times, [1_005, 1_005]);
}

/// A leader that evaluates ahead, with a quick batch behind it, and with two batches of its 16 and 32 requests in flight.
fn two_in_flight() -> (LeaderSessions, SessionTable) {
    let mut session_table = SessionTable::default();
    session_table.admit(7);
    let mut sessions = LeaderSessions::new(2, 16);
    sessions.open();
    assert_eq!(sessions.receive(7, requests(1, 1, 200), &session_table), []);
    let count =
        |sessions: &mut LeaderSessions, number| sessions.take_evaluations(number, 3, &session_table).0.len();
    assert_eq!(
        [count(&mut sessions, 0), count(&mut sessions, 1)],
        [16, 0],
        "the first batch is not known to be quick"
    );
    let batch = sessions.classify(0, answered(actions(16), 1), NO_CLOCK).expect("it was evaluated");
    sessions.appended(batch, &[true; 16], 19);
    assert_eq!([1, 2, 3].map(|number| count(&mut sessions, number)), [32, 32, 0]);
    (sessions, session_table)
}

#[test]
fn two_batches_are_answered_in_their_order() {
    let (mut sessions, session_table) = two_in_flight();
    for (number, last_index) in [(1, 51), (2, 83)] {
        let batch = sessions.classify(number, answered(actions(32), 1), NO_CLOCK).expect("it was evaluated");
        assert!(!batch.voids_next());
        sessions.appended(batch, &[true; 32], last_index);
    }
    let (next, _) = sessions.take_evaluations(3, 3, &session_table);
    assert_eq!(next[0].sequence, 81);
}

#[test]
fn a_batch_behind_one_that_javascript_did_not_finish_is_void() {
    let (mut sessions, session_table) = two_in_flight();
    let batch = sessions.classify(1, answered(actions(5), 50_000), NO_CLOCK).expect("it was evaluated");
    assert!(batch.voids_next());
    sessions.appended(batch, &[true; 5], 24);
    sessions.drop_provisional(24);
    assert!(sessions.classify(2, answered(actions(32), 1), NO_CLOCK).is_none());
    assert!(
        sessions.take_evaluations(3, 23, &session_table).0.is_empty(),
        "JavaScript lost the states up to 24"
    );
    let (next, _) = sessions.take_evaluations(3, 24, &session_table);
    let sequences: Vec<u64> = next.iter().map(|evaluation| evaluation.sequence).collect();
    assert_eq!(sequences, (22..32).collect::<Vec<_>>());
}

#[test]
fn a_batch_behind_a_dropped_one_is_void_and_follows_it_again() {
    let (mut sessions, session_table) = two_in_flight();
    let batch = sessions.classify(1, answered(actions(32), 1), NO_CLOCK).expect("it was evaluated");
    sessions.dropped(batch, 19);
    assert!(sessions.classify(2, answered(actions(32), 1), NO_CLOCK).is_none());
    let (next, _) = sessions.take_evaluations(3, 19, &session_table);
    let sequences: Vec<u64> = next.iter().map(|evaluation| evaluation.sequence).collect();
    assert_eq!(sequences, (17..81).collect::<Vec<_>>());
}

#[test]
fn timers_that_left_no_time_for_waiting_requests_miss_one_batch() {
    let (mut sessions, session_table) = sessions(&[7], 2);
    let firing = |number| TimerFiring { name: "t".into(), number, due: 0, next: None };
    let batch = |sessions: &mut LeaderSessions, answers| {
        sessions.evaluate_system([1, 2].map(|number| SystemAction::TimerFired(firing(number))).into());
        let (evaluations, _) = sessions.take_evaluations(BATCH, 3, &session_table);
        sessions.classify(BATCH, answered(actions(answers), 1), NO_CLOCK);
        evaluations.len()
    };
    assert!(sessions.timers_have_turn(), "there was no batch");
    assert_eq!(batch(&mut sessions, 1), 2);
    assert!(!sessions.timers_have_turn(), "the second timer had no time, and the requests behind it wait");
    assert!(sessions.timers_have_turn(), "once");
}
