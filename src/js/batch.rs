//! Encodes a batch of deliveries as the JSON text that JavaScript receives once per turn.
//!
//! Called by `mod.rs` on the driver's thread; read by `lib/deliveries.js`. The text is one flat array: a kind, then its
//! fields (`delivery_kinds.rs`). Arguments, actions and errors are spliced in as they came over
//! the network, so each is checked first: nothing that another node says may break the batch. States may have many
//! megabytes: they travel beside the text, unchecked, and the façade finds out what they are.

use bytes::Bytes;
use serde_json::json;

use super::delivery_kinds as kind;
use super::json::{DEPTH_MAX, is_compound, text, text_opening_with};
use crate::error::Error;
use crate::raft::coordination::{SessionEnd, SessionStart, SystemAction, Timers};
use crate::raft::events::FailureOutcome;
use crate::raft::{CallOutcome, Commits, CommittedAction, Delivery, Warning};

/// What a leader's refusal becomes that is no JSON object.
const REFUSED_WITHOUT_REASON: &str =
    r#"{"message":"the method refused, for a reason that did not arrive as JSON"}"#;

/// A batch, ready for JavaScript.
pub struct Batch {
    pub text: String,
    /// What the batch's `RESTORE`s restore.
    pub states: Vec<Bytes>,
    /// The positions, among the batch's evaluations, of those that JavaScript is not asked: their arguments are no
    /// JSON array.
    pub refused: Vec<usize>,
}

pub fn encode(deliveries: &[Delivery]) -> Batch {
    let mut items = Items(String::with_capacity(64 + deliveries.len() * 128));
    let mut states = Vec::new();
    let mut refused = Vec::new();
    let mut evaluations = 0;
    let mut known_at = None;
    for delivery in deliveries {
        if let Delivery::Committed { at, .. } | Delivery::Clock { at } = delivery
            && known_at.replace(*at) != Some(*at)
        {
            items.number(kind::AT.into()).number(*at);
        }
        match delivery {
            Delivery::Role { role, term, leader } => {
                items.number(kind::ROLE.into()).string(role.as_str()).number(*term);
                match leader {
                    Some(leader) => items.string(leader),
                    None => items.json("null"),
                };
            }
            Delivery::Clock { .. } => {}
            Delivery::ResetProvisional => _ = items.number(kind::RESET_PROVISIONAL.into()),
            Delivery::Evaluate { method, args } => {
                match text_opening_with(b'[', args, DEPTH_MAX + 1) {
                    Some(args) => _ = items.number(kind::EVALUATE.into()).string(method).json(args),
                    None => refused.push(evaluations),
                }
                evaluations += 1;
            }
            Delivery::EvaluateTimer(timer) => {
                let texts =
                    (text_opening_with(b'[', &timer.args, DEPTH_MAX + 1), text(&timer.rule, DEPTH_MAX));
                match texts {
                    (Some(args), Some(rule)) => {
                        items.number(kind::EVALUATE_TIMER.into()).string(&timer.name).number(timer.due);
                        items.string(&timer.method).json(args).json(rule);
                    }
                    (None, _) | (_, None) => refused.push(evaluations),
                }
                evaluations += 1;
            }
            Delivery::NextTimer { due } => {
                items.number(kind::NEXT_TIMER.into());
                match due {
                    Some(due) => items.number(*due),
                    None => items.json("null"),
                };
            }
            Delivery::EvaluateSystem(action) => {
                items.number(kind::EVALUATE_SYSTEM.into()).json(&system_action(action).to_string());
                evaluations += 1;
            }
            Delivery::Committed { index, own: None, is_provisional: true, .. } => {
                items.number(kind::COMMITTED_PROVISIONAL.into()).number(*index);
            }
            Delivery::Committed { index, own: Some(sequence), is_provisional: true, action, .. } => {
                items.number(kind::COMMITTED_PROVISIONAL_OWN.into()).number(*index).number(*sequence);
                items.json(text(action, DEPTH_MAX).unwrap_or("null"));
            }
            Delivery::Committed { index, own, is_provisional: false, action, .. } => {
                committed(&mut items, *index, *own, action);
            }
            Delivery::Settled { sequence, call_outcome } => settled(&mut items, *sequence, call_outcome),
            Delivery::TakeSnapshot => _ = items.number(kind::TAKE_SNAPSHOT.into()),
            Delivery::Restore { index, state } => {
                items.number(kind::RESTORE.into()).number(*index);
                match state {
                    Some(state) => {
                        items.number(states.len() as u64);
                        states.push(state.clone());
                    }
                    None => _ = items.json("null"),
                }
            }
            Delivery::Hash { index } => _ = items.number(kind::HASH.into()).number(*index),
            Delivery::Replayed => _ = items.number(kind::REPLAYED.into()),
            Delivery::OperationEnded { ticket, result: Ok(()) } => {
                items.number(kind::OPERATION_DONE.into()).number(*ticket);
            }
            Delivery::OperationEnded { ticket, result: Err(error) } => {
                items.number(kind::OPERATION_FAILED.into()).number(*ticket);
                items.string(error.code()).string(&error.to_string());
            }
            Delivery::Diverged(error) => {
                items.number(kind::DIVERGED.into()).string(error.code()).string(&error.to_string());
                if let Error::Diverged { index, .. } = error {
                    items.number(*index);
                } else {
                    items.json("null");
                }
            }
            Delivery::AppProbe => _ = items.number(kind::APP_PROBE.into()),
            Delivery::ReportProgress => _ = items.number(kind::REPORT_PROGRESS.into()),
            Delivery::CaughtUp(is_caught_up) => {
                items.number(kind::CAUGHT_UP.into()).number((*is_caught_up).into());
            }
            Delivery::Restored => _ = items.number(kind::RESTORED.into()),
            Delivery::Warning(warning) => {
                items.number(kind::WARNING.into()).string(warning.code()).string(&warning.to_string());
                items.json(&facts(warning).to_string());
            }
        }
    }
    Batch { text: items.finish(), states, refused }
}

/// All timers: `[name,due,method,args,rule,…]`.
pub fn encode_timers(timers: &Timers) -> String {
    let mut items = Items(String::new());
    for (name, timer) in timers.iter() {
        let args = text_opening_with(b'[', &timer.args, DEPTH_MAX + 1).unwrap_or("[]");
        let rule = text(&timer.rule, DEPTH_MAX).unwrap_or("{}");
        items.string(name).number(timer.due).string(&timer.method).json(args).json(rule);
    }
    items.finish()
}

/// What an iterator over commits reads.
pub fn encode_commits(commits: &Commits) -> String {
    let mut items = Items(String::new());
    items.number(commits.first_index).number(commits.read_index);
    for CommittedAction { index, at, action } in &commits.actions {
        if let Some(action) = text(action, DEPTH_MAX) {
            items.number(*index).number(*at).json(action);
        }
    }
    items.finish()
}

/// The last batch of a node.
pub fn encode_stopped(error: Option<&Error>) -> String {
    let mut items = Items(String::new());
    items.number(kind::STOPPED.into());
    match error {
        Some(error) => items.string(error.code()).string(&error.to_string()),
        None => items.json("null").json("null"),
    };
    items.finish()
}

/// An entry whose action is not JSON changes nothing, on any node: the façade of no leader ever made it.
fn committed(items: &mut Items, index: u64, own: Option<u64>, action: &[u8]) {
    match (text(action, DEPTH_MAX), own) {
        (Some(action), None) => _ = items.number(kind::COMMITTED.into()).number(index).json(action),
        (Some(action), Some(sequence)) => {
            items.number(kind::COMMITTED_OWN.into()).number(index).number(sequence).json(action);
            items.json(if is_compound(action) { action } else { "0" });
        }
        (None, Some(sequence)) => _ = items.number(kind::SETTLED_NOTHING.into()).number(sequence),
        (None, None) => {}
    }
}

/// What the reducer sees.
fn system_action(action: &SystemAction) -> serde_json::Value {
    match action {
        SystemAction::SessionStarted(SessionStart { id, session, reason, .. }) => json!({
            "type": "@@conflux/SESSION_STARTED", "id": &**id, "session": session, "reason": reason.as_str(),
        }),
        SystemAction::TimerFired(_) => unreachable!("a timer is evaluated by its method"),
        SystemAction::SessionEnded(SessionEnd { id, session, reason, .. }) => json!({
            "type": "@@conflux/SESSION_ENDED", "id": &**id, "session": session, "reason": reason.as_str(),
        }),
    }
}

fn settled(items: &mut Items, sequence: u64, call_outcome: &CallOutcome) {
    match call_outcome {
        CallOutcome::Nothing => _ = items.number(kind::SETTLED_NOTHING.into()).number(sequence),
        CallOutcome::Refused(error) => {
            let error = text_opening_with(b'{', error, DEPTH_MAX).unwrap_or(REFUSED_WITHOUT_REASON);
            items.number(kind::SETTLED_REFUSED.into()).number(sequence).json(error);
        }
        CallOutcome::Done(action) => {
            items.number(kind::SETTLED_DONE.into()).number(sequence);
            items.json(text(action, DEPTH_MAX).unwrap_or("null"));
        }
        CallOutcome::Failed { error, outcome } => {
            let outcome = match outcome {
                FailureOutcome::NotApplied => "not-applied",
                FailureOutcome::Unknown => "unknown",
            };
            items.number(kind::SETTLED_FAILED.into()).number(sequence);
            items.string(error.code()).string(&error.to_string()).string(outcome);
        }
    }
}

/// What a listener may want to branch on without reading the message.
fn facts(warning: &Warning) -> serde_json::Value {
    match warning {
        Warning::WaitingForNodes { cluster_size, heard } => {
            json!({ "clusterSize": cluster_size, "heard": heard.iter().map(|id| &**id).collect::<Vec<_>>() })
        }
        Warning::WaitingToJoin { cluster, cluster_size } => {
            json!({ "cluster": cluster.to_string(), "clusterSize": cluster_size })
        }
        Warning::OtherClusterSize { id, theirs, ours } => {
            json!({ "id": &**id, "theirs": theirs, "ours": ours })
        }
        Warning::ClusterOfOtherSize { cluster, theirs, ours } => {
            json!({ "cluster": cluster.to_string(), "theirs": theirs, "ours": ours })
        }
        Warning::OtherApplication { who, theirs, ours, channel_name } => {
            json!({ "who": who, "theirs": &**theirs, "ours": &**ours, "channelName": &**channel_name })
        }
        Warning::OtherMethods { id, ours, theirs } => {
            json!({ "id": &**id, "ours": &**ours, "theirs": &**theirs })
        }
        Warning::StartingOver { why } => json!({ "why": why }),
        Warning::StateLost { cluster, former, ids } => {
            json!({
                "cluster": cluster.to_string(),
                "former": former.to_string(),
                "ids": ids.iter().map(|id| &**id).collect::<Vec<_>>()
            })
        }
        Warning::TwoClusters { ours, theirs } => {
            json!({ "ours": ours.to_string(), "theirs": theirs.to_string() })
        }
        Warning::ChannelBroken { cause } | Warning::ChannelStillBroken { cause } => json!({ "cause": cause }),
        Warning::ChannelRestored => json!({}),
        Warning::SnapshotFailed { why } => json!({ "why": why }),
        Warning::QuorumLost { voters, missing, .. } => {
            json!({ "voters": voters, "missing": missing.iter().map(|id| &**id).collect::<Vec<_>>() })
        }
        Warning::StorageSlow { milliseconds } => json!({ "milliseconds": milliseconds }),
        Warning::StorageCopied { id } => json!({ "id": &**id }),
        Warning::StatesDiffer { index } => json!({ "index": index }),
        Warning::QuorumRestored => json!({}),
        Warning::Recovered { cluster, from, missing } => {
            json!({
                "cluster": cluster.to_string(),
                "from": &**from,
                "missing": missing.iter().map(|id| &**id).collect::<Vec<_>>()
            })
        }
        Warning::Superseded { ours, successor, kept } => {
            json!({ "ours": ours.to_string(), "successor": successor.to_string(), "kept": kept })
        }
        Warning::FormerCluster { ours, former, kept } => {
            json!({ "ours": ours.to_string(), "former": former.to_string(), "kept": kept })
        }
        Warning::TwoSuccessors { ours, theirs, former } => {
            json!({ "ours": ours.to_string(), "theirs": theirs.to_string(), "former": former.to_string() })
        }
        Warning::SuccessorSilent { successor, .. } => json!({ "successor": successor.to_string() }),
        Warning::OtherVersion { theirs, ours } => json!({ "theirs": theirs, "ours": ours }),
        Warning::PeerRefused { cause } => json!({ "cause": cause }),
        Warning::FramesRefused { refusal } => json!({ "reason": refusal.as_str() }),
    }
}

/// The items of a flat JSON array, each followed by a comma until it is finished.
struct Items(String);

impl Items {
    fn number(&mut self, number: u64) -> &mut Self {
        self.json(&number.to_string())
    }

    fn string(&mut self, string: &str) -> &mut Self {
        let quoted = serde_json::to_string(string).expect("a string is always JSON");
        self.json(&quoted)
    }

    fn json(&mut self, json: &str) -> &mut Self {
        self.0.push(if self.0.is_empty() { '[' } else { ',' });
        self.0.push_str(json);
        self
    }

    fn finish(mut self) -> String {
        if self.0.is_empty() {
            self.0.push('[');
        }
        self.0.push(']');
        self.0
    }
}

#[cfg(test)]
mod tests {
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
        Delivery::Evaluate { method: "me\"thod".into(), args: args.into() }
    }

    fn due_timer(args: &'static str) -> DueTimer {
        let rule = r#"{"every":10}"#.into();
        DueTimer { name: "t\"".into(), due: 5, method: "m".into(), args: args.into(), rule }
    }

    fn committed(own: Option<u64>, is_provisional: bool, action: &'static str) -> Delivery {
        Delivery::Committed { index: 9, own, is_provisional, at: 5, action: action.into() }
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
            Delivery::Settled {
                sequence: 6,
                call_outcome: CallOutcome::Refused(r#"{"message":"no"}"#.into()),
            },
            Delivery::Settled {
                sequence: 7,
                call_outcome: CallOutcome::Failed {
                    error: Error::Closed,
                    outcome: FailureOutcome::NotApplied,
                },
            },
            Delivery::Warning(Warning::WaitingForNodes { cluster_size: 3, heard: vec!["a".into()] }),
            Delivery::TakeSnapshot,
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
                0, "leader", 3, "a", 0, "follower", 4, null, 1, 2, "me\"thod", [1, {}], 25, 5, 3, 9, 4, 9, 7, {}, 5, 9, "x",
                6, 9, 8, "x", 0, 6, 9, 8, [1], [1], 7, 5, 8, 6, { "message": "no" }, 9, 7, "ERR_CONFLUX_CLOSED",
                Error::Closed.to_string(), "not-applied", 10, "WARN_CONFLUX_WAITING_FOR_NODES",
                "waiting for 3 nodes, heard 1: a", { "clusterSize": 3, "heard": ["a"] }, 12, 14, 9, 15, 16, 3,
                17, 4, "ERR_CONFLUX_FORGOTTEN", Error::Forgotten.to_string(), 18, "ERR_CONFLUX_DIVERGED", diverged, 9,
                19, 21, 22, 23, 1, 20, 8, [1],
                24, { "type": "@@conflux/SESSION_ENDED", "id": "a\"", "session": 7, "reason": "silent" },
                26, "t\"", 5, "m", [1], { "every": 10 }, 27, 7, 27, null,
            ])
        );
        assert_eq!(items(&[]), json!([]));
    }

    #[test]
    fn a_time_comes_before_the_commits_that_have_it() {
        let committed = |index, at| Delivery::Committed {
            index,
            own: None,
            is_provisional: true,
            at,
            action: "1".into(),
        };
        let deliveries = [committed(1, 5), committed(2, 5), Delivery::Clock { at: 5 }, committed(3, 7)];
        assert_eq!(items(&deliveries), json!([25, 5, 3, 1, 3, 2, 25, 7, 3, 3]));
        assert_eq!(items(&[Delivery::Clock { at: 9 }]), json!([25, 9]));
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
    fn a_stop_says_why() {
        assert_eq!(encode_stopped(None), "[11,null,null]");
        let error = Error::Panic { message: "a \"quote\"".into() };
        let items: Value = serde_json::from_str(&encode_stopped(Some(&error))).unwrap();
        assert_eq!(items, json!([11, "ERR_CONFLUX_PANIC", error.to_string()]));
        assert_eq!(kind::names_in(&items), ["STOPPED"]);
    }

    #[test]
    fn an_evaluation_whose_arguments_are_no_array_is_refused_without_asking() {
        let batch =
            encode(&[evaluate("{}"), evaluate("[1]"), evaluate("[1"), evaluate("1],[2"), evaluate("[]")]);
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
            json!([25, 5, 7, 4])
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
                Delivery::Evaluate { method: "m".into(), args: bytes.clone() },
                Delivery::Committed { index: 1, own: None, is_provisional: false, at: 5, action: bytes.clone() },
                Delivery::Committed { index: 2, own: Some(1), is_provisional: false, at: 5, action: bytes.clone() },
                Delivery::Committed { index: 3, own: Some(2), is_provisional: true, at: 5, action: bytes.clone() },
                Delivery::Settled { sequence: 3, call_outcome: CallOutcome::Refused(bytes.clone()) },
                Delivery::Settled { sequence: 4, call_outcome: CallOutcome::Done(bytes.clone()) },
                Delivery::Restore { index: 4, state: Some(bytes) },
                Delivery::ResetProvisional,
            ];
            let items = items(&deliveries);
            prop_assert_eq!(items.as_array().unwrap().last(), Some(&json!(1)));
        }
    }
}
