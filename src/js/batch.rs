//! Encodes a batch of deliveries as the JSON text that JavaScript receives once per turn.
//!
//! Called by `mod.rs` on the driver's thread; read by `lib/deliveries.js`. The text is one flat array: a kind, then
//! its fields (`delivery_kinds.rs`). Arguments, actions and errors are spliced in as they came over the network, so
//! each is checked first: nothing that another node sends may break the batch. What this node's own façade encoded is
//! not checked again. Large arguments and actions travel beside the text, where they are not copied, escaped and
//! scanned once more. The states of snapshots, which may have many megabytes, travel there too, unchecked: the façade
//! parses them in pieces.

use bytes::Bytes;
use serde_json::json;

use super::delivery_kinds as kind;
use super::json::{self, DEPTH_MAX, is_compound, text, text_opening_with};
use crate::error::Error;
use crate::raft::coordination::{SessionEnd, SessionStart, SystemAction, Timers};
use crate::raft::events::FailureOutcome;
use crate::raft::{CallOutcome, Commits, CommittedAction, Delivery, Warning};

/// Replaces a leader's refusal that is not a JSON object.
const REFUSED_WITHOUT_REASON: &str =
    r#"{"message":"the method refused, for a reason that did not arrive as JSON"}"#;

/// Arguments and actions of at least this many bytes travel beside the text: there each costs about as much as this many
/// bytes do in the text.
const BESIDE_BYTES_MIN: usize = 2 << 10;

/// A batch, ready for JavaScript.
pub struct Batch {
    pub text: String,
    /// Large texts, to which it refers by position.
    pub beside: Vec<String>,
    /// Likewise the states of snapshots, as they arrived.
    pub states: Vec<Bytes>,
    /// The positions, among the batch's evaluations, of those that JavaScript does not get because their arguments
    /// are not a JSON array.
    pub refused: Vec<usize>,
}

pub fn encode(deliveries: &[Delivery]) -> Batch {
    let mut items = Items(String::with_capacity(64 + deliveries.len() * 128));
    let mut beside = Vec::new();
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
            Delivery::Evaluate { method, args, is_own } => {
                match if *is_own { own_text(args) } else { text_opening_with(b'[', args, DEPTH_MAX + 1) } {
                    Some(args) if is_large(args) => {
                        items.number(kind::EVALUATE_BESIDE.into()).string(method).beside(args, &mut beside);
                    }
                    Some(args) => _ = items.number(kind::EVALUATE.into()).string(method).json(args),
                    None => refused.push(evaluations),
                }
                evaluations += 1;
            }
            Delivery::Caller { id, session, has_ended } => {
                items.number(kind::CALLER.into()).string(id).optional(*session).number((*has_ended).into());
            }
            Delivery::Sessions(sessions) => {
                let list = sessions.iter().map(|(id, session)| json!({ "id": &**id, "session": session }));
                let list = serde_json::Value::Array(list.collect()).to_string();
                items.number(kind::SESSIONS.into()).json(&list);
            }
            Delivery::OwnSession { session, previous, reason } => {
                items.number(kind::OWN_SESSION.into()).optional(*session).optional(*previous).string(reason);
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
                items.number(kind::EVALUATE_SYSTEM.into()).json(&system_action(action));
                evaluations += 1;
            }
            Delivery::Committed { index, own: None, is_provisional: true, .. } => {
                items.number(kind::COMMITTED_PROVISIONAL.into()).number(*index);
            }
            Delivery::Committed { index, own: Some(sequence), is_provisional: true, action, .. } => {
                // The façade of this node encoded it.
                if action.len() >= BESIDE_BYTES_MIN {
                    items
                        .number(kind::COMMITTED_PROVISIONAL_OWN_KEPT.into())
                        .number(*index)
                        .number(*sequence);
                } else {
                    items.number(kind::COMMITTED_PROVISIONAL_OWN.into()).number(*index).number(*sequence);
                    items.json(own_text(action).unwrap_or("null"));
                }
            }
            Delivery::Committed { index, own, is_provisional: false, action, .. } => {
                committed(&mut items, &mut beside, *index, *own, action);
            }
            Delivery::Settled { sequence, call_outcome } => {
                settled(&mut items, &mut beside, *sequence, call_outcome);
            }
            Delivery::TakeSnapshot { index } => {
                _ = items.number(kind::TAKE_SNAPSHOT.into()).number(*index);
            }
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
    Batch { text: items.finish(), beside, states, refused }
}

/// What the façade of this node encoded as JSON.
fn own_text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok();
    debug_assert!(text.is_some_and(|text| json::text(text.as_bytes(), DEPTH_MAX + 1).is_some()), "{text:?}");
    text
}

fn is_large(text: &str) -> bool {
    text.len() >= BESIDE_BYTES_MIN
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

/// An entry whose action is not JSON changes nothing, on any node: no leader's façade makes one.
fn committed(items: &mut Items, beside: &mut Vec<String>, index: u64, own: Option<u64>, action: &[u8]) {
    match (text(action, DEPTH_MAX), own) {
        (Some(action), None) if is_large(action) => {
            items.number(kind::COMMITTED_BESIDE.into()).number(index).beside(action, beside);
        }
        (Some(action), Some(sequence)) if is_large(action) => {
            items
                .number(kind::COMMITTED_OWN_BESIDE.into())
                .number(index)
                .number(sequence)
                .beside(action, beside);
        }
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
fn system_action(action: &SystemAction) -> String {
    let text = |kind: &str, id: &str, session: u64, reason: &str| {
        let id = serde_json::Value::from(id);
        format!(r#"{{"type":"@@conflux/{kind}","id":{id},"session":{session},"reason":"{reason}"}}"#)
    };
    match action {
        SystemAction::SessionStarted(SessionStart { id, session, reason, .. }) => {
            text("SESSION_STARTED", id, *session, reason.as_str())
        }
        SystemAction::SessionEnded(SessionEnd { id, session, reason, .. }) => {
            text("SESSION_ENDED", id, *session, reason.as_str())
        }
        SystemAction::TimerFired(_) => unreachable!("a timer is evaluated by its method"),
    }
}

fn settled(items: &mut Items, beside: &mut Vec<String>, sequence: u64, call_outcome: &CallOutcome) {
    match call_outcome {
        CallOutcome::Nothing => _ = items.number(kind::SETTLED_NOTHING.into()).number(sequence),
        CallOutcome::Refused(error) => {
            let error = text_opening_with(b'{', error, DEPTH_MAX).unwrap_or(REFUSED_WITHOUT_REASON);
            items.number(kind::SETTLED_REFUSED.into()).number(sequence).json(error);
        }
        CallOutcome::Done(action) => match text(action, DEPTH_MAX).unwrap_or("null") {
            action if is_large(action) => {
                items.number(kind::SETTLED_DONE_BESIDE.into()).number(sequence).beside(action, beside);
            }
            action => _ = items.number(kind::SETTLED_DONE.into()).number(sequence).json(action),
        },
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

/// The facts of a warning as fields, so that a listener need not parse the message.
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
        Warning::SessionsWait { ids } => {
            json!({ "ids": ids.iter().map(|id| &**id).collect::<Vec<_>>() })
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
        self.json(itoa::Buffer::new().format(number))
    }

    fn optional(&mut self, number: Option<u64>) -> &mut Self {
        match number {
            Some(number) => self.number(number),
            None => self.json("null"),
        }
    }

    fn string(&mut self, string: &str) -> &mut Self {
        if string.bytes().any(|byte| byte < b' ' || matches!(byte, b'"' | b'\\')) {
            let quoted = serde_json::to_string(string).expect("a string is always JSON");
            return self.json(&quoted);
        }
        self.json("\"");
        self.0.push_str(string);
        self.0.push('"');
        self
    }

    /// The position of a text that travels beside.
    fn beside(&mut self, text: &str, beside: &mut Vec<String>) {
        self.number(beside.len() as u64);
        beside.push(text.to_owned());
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
mod tests;
