//! Tests that JavaScript reads what `batch.rs` writes, whatever travels in it.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::raft::{
    ClusterUuid,
    coordination::EndReason,
    events::{DueTimer, FrameRefusal, Role},
};

fn items(deliveries: &[Delivery]) -> Value {
    serde_json::from_str(&encode(deliveries).text).expect("a batch is JSON")
}

fn evaluate(args: &'static str) -> Delivery {
    Delivery::Evaluate { method: "me\"thod".into(), args: args.into(), is_own: false }
}

fn due_timer(args: &'static str) -> DueTimer {
    let rule = r#"{"every":10}"#.into();
    DueTimer { name: "t\"".into(), due: 5, method: "m".into(), args: args.into(), rule }
}

fn committed(own: Option<u64>, is_provisional: bool, action: &'static str) -> Delivery {
    Delivery::Committed { index: 9, own, is_provisional, at: 5, action: action.into() }
}

#[test]
fn a_string_is_what_json_makes_of_it() {
    let strings = ('\0'..='\u{a0}').map(String::from).chain(["".into(), "a\u{2028}\u{1f600}\\\"b".into()]);
    for string in strings {
        let mut items = Items(String::new());
        items.string(&string).string(&string);
        assert_eq!(items.finish(), serde_json::to_string(&[&string, &string]).unwrap());
    }
}

#[test]
fn every_delivery_has_its_items() {
    let deliveries = [
        Delivery::Role { role: Role::Leader, term: 3, leader: Some("a".into()) },
        Delivery::Role { role: Role::Follower, term: 4, leader: None },
        Delivery::ResetProvisional,
        evaluate("[1, {}]"),
        committed(None, true, ""),
        committed(Some(7), true, "{}"),
        committed(None, false, "\"x\""),
        committed(Some(8), false, "\"x\""),
        committed(Some(8), false, "[1]"),
        Delivery::Settled { sequence: 5, call_outcome: CallOutcome::Nothing },
        Delivery::Settled { sequence: 6, call_outcome: CallOutcome::Refused(r#"{"message":"no"}"#.into()) },
        Delivery::Settled {
            sequence: 7,
            call_outcome: CallOutcome::Failed { error: Error::Closed, outcome: FailureOutcome::NotApplied },
        },
        Delivery::Warning(Warning::WaitingForNodes { cluster_size: 3, heard: vec!["a".into()] }),
        Delivery::TakeSnapshot { index: 9 },
        Delivery::Hash { index: 9 },
        Delivery::Replayed,
        Delivery::OperationEnded { ticket: 3, result: Ok(()) },
        Delivery::OperationEnded { ticket: 4, result: Err(Error::Forgotten) },
        Delivery::Diverged(Error::Diverged { index: 9, why: "\"".into() }),
        Delivery::Restored,
        Delivery::AppProbe,
        Delivery::ReportProgress,
        Delivery::CaughtUp(true),
        Delivery::Settled { sequence: 8, call_outcome: CallOutcome::Done("[1]".into()) },
        Delivery::EvaluateSystem(SystemAction::SessionEnded(SessionEnd {
            member: 1,
            id: "a\"".into(),
            session: 7,
            reason: EndReason::Silent,
        })),
        Delivery::Caller { id: "a\"".into(), session: None, has_ended: true },
        Delivery::Sessions(vec![("a\"".into(), 7)]),
        Delivery::OwnSession { session: Some(8), previous: None, reason: "joined" },
        Delivery::EvaluateTimer(Box::new(due_timer("[1]"))),
        Delivery::NextTimer { due: Some(7) },
        Delivery::NextTimer { due: None },
    ];
    let names = kind::names_in(&items(&deliveries));
    // The commits have one time, which comes before the first of them.
    assert_eq!(names.len(), deliveries.len() + 1, "{names:?}");
    let diverged = Error::Diverged { index: 9, why: "\"".into() }.to_string();
    assert_eq!(
        items(&deliveries),
        json!([
            0, "leader", 3, "a", 0, "follower", 4, null, 1, 2, "me\"thod", [1, {}], 28, 5, 3, 9, 4, 9, 7, {}, 5, 9, "x",
            6, 9, 8, "x", 0, 6, 9, 8, [1], [1], 7, 5, 8, 6, { "message": "no" }, 9, 7, "ERR_CONFLUX_CLOSED",
            Error::Closed.to_string(), "not-applied", 10, "WARN_CONFLUX_WAITING_FOR_NODES",
            "waiting for 3 nodes, heard 1: a", { "clusterSize": 3, "heard": ["a"] }, 12, 9, 14, 9, 15, 16, 3,
            17, 4, "ERR_CONFLUX_FORGOTTEN", Error::Forgotten.to_string(), 18, "ERR_CONFLUX_DIVERGED", diverged, 9,
            19, 21, 22, 23, 1, 20, 8, [1],
            24, { "type": "@@conflux/SESSION_ENDED", "id": "a\"", "session": 7, "reason": "silent" },
            25, "a\"", null, 1, 26, [{ "id": "a\"", "session": 7 }], 27, 8, null, "joined",
            29, "t\"", 5, "m", [1], { "every": 10 }, 30, 7, 30, null,
        ])
    );
    assert_eq!(items(&[]), json!([]));
}

#[test]
fn a_time_comes_before_the_commits_that_have_it() {
    let committed =
        |index, at| Delivery::Committed { index, own: None, is_provisional: true, at, action: "1".into() };
    let deliveries = [committed(1, 5), committed(2, 5), Delivery::Clock { at: 5 }, committed(3, 7)];
    assert_eq!(items(&deliveries), json!([28, 5, 3, 1, 3, 2, 28, 7, 3, 3]));
    assert_eq!(items(&[Delivery::Clock { at: 9 }]), json!([28, 9]));
}

#[test]
fn states_travel_beside_the_text_unread() {
    let restore = |index, state: &'static [u8]| Delivery::Restore { index, state: Some(state.into()) };
    let batch =
        encode(&[restore(7, b"{}"), Delivery::Restore { index: 8, state: None }, restore(9, b"\xff")]);
    assert_eq!(batch.text, "[13,7,0,13,8,null,13,9,1]");
    assert_eq!(kind::names_in(&serde_json::from_str(&batch.text).unwrap()), ["RESTORE"; 3]);
    assert_eq!(batch.states, [&b"{}"[..], b"\xff"]);
}

#[test]
fn large_arguments_and_actions_travel_beside_the_text() {
    let text = |length: usize| format!("[\"{}\"]", "x".repeat(length));
    let large: &'static str = text(BESIDE_BYTES_MIN).leak();
    let batch = encode(&[
        evaluate(large),
        committed(None, true, ""),
        committed(Some(7), true, large),
        committed(None, false, large),
        committed(Some(8), false, large),
        Delivery::Settled { sequence: 9, call_outcome: CallOutcome::Done(large.into()) },
        committed(None, false, "[]"),
    ]);
    let items: Value = serde_json::from_str(&batch.text).unwrap();
    assert_eq!(
        items,
        json!([31, "me\"thod", 0, 28, 5, 3, 9, 35, 9, 7, 32, 9, 1, 33, 9, 8, 2, 34, 9, 3, 5, 9, []])
    );
    assert_eq!(kind::names_in(&items).len(), 8);
    assert_eq!(batch.beside, [0; 4].map(|_| large.to_owned()));
}

#[test]
fn what_the_facade_of_this_node_encoded_is_not_checked_again() {
    let args = Bytes::from("[1]");
    let own = Delivery::Evaluate { method: "m".into(), args: args.clone(), is_own: true };
    assert_eq!(encode(&[own]).text, r#"[2,"m",[1]]"#);
    assert_eq!(encode(&[committed(Some(1), true, "{}")]).text, "[28,5,4,9,1,{}]");
}

#[test]
fn a_stop_says_why() {
    assert_eq!(encode_stopped(None), "[11,null,null]");
    let error = Error::Panic { message: "a \"quote\"".into() };
    let items: Value = serde_json::from_str(&encode_stopped(Some(&error))).unwrap();
    assert_eq!(items, json!([11, "ERR_CONFLUX_PANIC", error.to_string()]));
    assert_eq!(kind::names_in(&items), ["STOPPED"]);
}

#[test]
fn an_evaluation_whose_arguments_are_no_array_is_refused_without_asking() {
    let batch = encode(&[evaluate("{}"), evaluate("[1]"), evaluate("[1"), evaluate("1],[2"), evaluate("[]")]);
    assert_eq!(batch.refused, [0, 2, 3]);
    let items: Value = serde_json::from_str(&batch.text).unwrap();
    assert_eq!(items, json!([2, "me\"thod", [1], 2, "me\"thod", []]));
}

#[test]
fn a_timer_whose_arguments_are_no_array_is_refused_without_asking() {
    let batch = encode(&[Delivery::EvaluateTimer(Box::new(due_timer("[1"))), evaluate("[]")]);
    assert_eq!((batch.refused, &*batch.text), (vec![0], r#"[2,"me\"thod",[]]"#));
}

#[test]
fn a_committed_action_that_is_not_json_changes_nothing_and_its_perform_ends() {
    assert_eq!(
        items(&[committed(None, false, "1,2"), committed(Some(4), false, "nul")]),
        json!([28, 5, 7, 4])
    );
}

#[test]
fn every_warning_has_facts_that_are_an_object() {
    let uuid = ClusterUuid::NONE;
    let warnings = [
        Warning::WaitingForNodes { cluster_size: 3, heard: vec![] },
        Warning::WaitingToJoin { cluster: uuid, cluster_size: 3 },
        Warning::OtherClusterSize { id: "b".into(), theirs: 5, ours: 3 },
        Warning::ClusterOfOtherSize { cluster: uuid, theirs: 5, ours: 3 },
        Warning::StartingOver { why: "\"".into() },
        Warning::StateLost { cluster: uuid, former: uuid, ids: vec!["a".into()] },
        Warning::TwoClusters { ours: uuid, theirs: uuid },
        Warning::ChannelBroken { cause: "\n".into() },
        Warning::ChannelStillBroken { cause: "\n".into() },
        Warning::ChannelRestored,
        Warning::SnapshotFailed { why: "\"".into() },
        Warning::QuorumLost { voters: 3, missing: vec!["b".into()], milliseconds: 9 },
        Warning::StorageSlow { milliseconds: 9 },
        Warning::SessionsWait { ids: vec!["b".into()] },
        Warning::QuorumRestored,
        Warning::Recovered { cluster: uuid, from: "a".into(), missing: vec!["b".into()] },
        Warning::Superseded { ours: uuid, successor: uuid, kept: 7 },
        Warning::FormerCluster { ours: uuid, former: uuid, kept: 7 },
        Warning::TwoSuccessors { ours: uuid, theirs: uuid, former: uuid },
        Warning::SuccessorSilent { successor: uuid, milliseconds: 9 },
        Warning::OtherVersion { theirs: 2, ours: 1 },
        Warning::PeerRefused { cause: "it is another channel".into() },
        Warning::FramesRefused { refusal: FrameRefusal::Forged },
        Warning::FramesRefused { refusal: FrameRefusal::UnknownKey },
    ];
    for warning in warnings {
        let items = items(&[Delivery::Warning(warning.clone())]);
        assert_eq!(items[1], warning.code());
        assert!(items[3].is_object(), "{warning:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_break_a_batch(bytes in prop_oneof![
        any::<Vec<u8>>(),
        "[\\[\\]{}\",:0-9a\\\\ ]{0,40}".prop_map(String::into_bytes),
    ]) {
        let bytes = Bytes::from(bytes);
        let deliveries = [
            Delivery::Evaluate { method: "m".into(), args: bytes.clone(), is_own: false },
            Delivery::Committed { index: 1, own: None, is_provisional: false, at: 5, action: bytes.clone() },
            Delivery::Committed { index: 2, own: Some(1), is_provisional: false, at: 5, action: bytes.clone() },
            Delivery::Settled { sequence: 3, call_outcome: CallOutcome::Refused(bytes.clone()) },
            Delivery::Settled { sequence: 4, call_outcome: CallOutcome::Done(bytes.clone()) },
            Delivery::Restore { index: 4, state: Some(bytes) },
            Delivery::ResetProvisional,
        ];
        let items = items(&deliveries);
        prop_assert_eq!(items.as_array().unwrap().last(), Some(&json!(1)));
    }
}
