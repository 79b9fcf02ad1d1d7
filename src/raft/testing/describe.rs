//! Describes frames, deliveries and answers in the terms of the golden scripts.

use bytes::Bytes;
use protobuf::Message as _;
use raft_rs::eraftpb::ConfChangeV2;

use crate::raft::consensus::entry::Context;
use crate::raft::coordination::SystemAction;
use crate::raft::wire::frame::Frame;
use crate::raft::wire::items::WireEntry;
use crate::raft::wire::message::{
    BootstrapMessage, DivergenceMessage, LivenessMessage, MembershipMessage, Message, OperationMessage,
    RaftKind, RaftMessage, RecoveryMessage, SnapshotMessage, StartMessage,
};
use crate::raft::{Delivery, MethodResult};

pub fn describe_frame(from: &str, to: &str, bytes: &Bytes) -> String {
    let frame = Frame::decode(bytes).expect("a core sends frames");
    let messages: Vec<String> = frame.messages.iter().map(describe_message).collect();
    format!("{from} → {to}: {}", messages.join("; "))
}

fn describe_message(message: &Message) -> String {
    match message {
        Message::Raft(raft) => describe_raft(raft),
        Message::Requests(requests) => {
            let items: Vec<String> = requests
                .requests
                .iter()
                .map(|item| {
                    let args = String::from_utf8_lossy(&item.args);
                    format!("{}>{} {} {args}", item.after, item.sequence, item.method)
                })
                .collect();
            format!("Requests term={} floor={} {}", requests.term, requests.floor, items.join(", "))
        }
        Message::Outcomes { term, index, outcomes, .. } => {
            format!("Outcomes term={term} at {index} {outcomes:?}")
        }
        Message::Received { term, sequence, .. } => format!("Received term={term} up to {sequence}"),
        Message::Bootstrap(message) => describe_bootstrap(message),
        Message::Start(StartMessage::Query { .. }) => "StartQuery".into(),
        Message::Start(StartMessage::Reply { .. }) => "StartReply".into(),
        Message::Start(StartMessage::Refused { why, .. }) => format!("StartRefused {why:?}"),
        Message::Membership(message) => describe_membership(message),
        Message::Snapshot(message) => describe_snapshot(message),
        Message::Operation(OperationMessage::Request { term, request_id, request }) => {
            format!("OperationRequest {} term={term} {request:?}", request_id & 0xffff_ffff)
        }
        Message::Operation(OperationMessage::Reply { request_id, answer }) => {
            format!("OperationReply {} {answer:?}", request_id & 0xffff_ffff)
        }
        Message::Divergence(DivergenceMessage::StateHash { index, .. }) => format!("StateHash index={index}"),
        Message::Divergence(DivergenceMessage::Disagrees { index, .. }) => format!("Disagrees index={index}"),
        Message::Divergence(DivergenceMessage::Diverged { index }) => format!("Diverged index={index:?}"),
        Message::Recovery(message) => describe_recovery(*message),
        Message::Liveness(message) => describe_liveness(message),
    }
}

fn describe_raft(raft: &RaftMessage) -> String {
    let mut text = format!("{:?} term={} index={}", raft.kind, raft.term, raft.index);
    if raft.commit > 0 {
        text += &format!(" commit={}", raft.commit);
    }
    if raft.reject {
        let is_heartbeat = matches!(raft.kind, RaftKind::Heartbeat | RaftKind::HeartbeatResponse);
        text += if is_heartbeat { " hibernates" } else { " reject" };
    }
    for entry in &raft.entries {
        text += &format!(" [{}@{} {}]", entry.index, entry.term, describe_entry(entry));
    }
    text
}

fn describe_bootstrap(message: &BootstrapMessage) -> String {
    match message {
        BootstrapMessage::Discover { cluster_size, .. } => format!("Discover {cluster_size}"),
        BootstrapMessage::Accept(roster) => {
            let ids: Vec<&str> = roster.0.iter().map(|(_, id)| &**id).collect();
            format!("Accept {}", ids.join(" "))
        }
        BootstrapMessage::ClusterAnnouncement(announcement) => format!(
            "ClusterAnnouncement actions={} leader={}",
            announcement.holds_actions, announcement.has_leader
        ),
        BootstrapMessage::IdInUse { id } => format!("IdInUse {id}"),
        BootstrapMessage::OtherApplication { .. } => "OtherApplication".into(),
    }
}

fn describe_membership(message: &MembershipMessage) -> String {
    match message {
        MembershipMessage::MemberInfo { asks, .. } => if *asks { "MemberInfo?" } else { "MemberInfo" }.into(),
        MembershipMessage::Closing { leaves } => {
            if *leaves { "Closing and leaving" } else { "Closing" }.into()
        }
        MembershipMessage::Removed { term, .. } => format!("Removed term={term}"),
    }
}

fn describe_snapshot(message: &SnapshotMessage) -> String {
    match message {
        SnapshotMessage::Chunk(chunk) => format!(
            "Chunk {}{}..{} of {} term={}",
            if chunk.restores { "restoring " } else { "" },
            chunk.offset,
            chunk.offset + chunk.bytes.len() as u64,
            chunk.total,
            chunk.term
        ),
        SnapshotMessage::ChunkReceived { bytes, held, .. } => {
            let parts = held.iter().map(|(start, end)| format!(" {start}..{end}"));
            format!("ChunkReceived {bytes}{}", parts.collect::<String>())
        }
    }
}

fn describe_recovery(message: RecoveryMessage) -> String {
    match message {
        RecoveryMessage::Recover => "Recover".into(),
        RecoveryMessage::VoteRequest { term, index } => {
            format!("RecoveryVoteRequest term={term} index={index}")
        }
        RecoveryMessage::VoteGranted => "RecoveryVoteGranted".into(),
        RecoveryMessage::VoteRejected { term, index } => {
            format!("RecoveryVoteRejected term={term} index={index}")
        }
        RecoveryMessage::Released => "Released".into(),
    }
}

fn describe_liveness(message: &LivenessMessage) -> String {
    match message {
        LivenessMessage::AppProbe => "AppProbe".into(),
        LivenessMessage::AppProbeReply => "AppProbeReply".into(),
        LivenessMessage::Unreachable { members } => format!("Unreachable {}", members.len()),
        LivenessMessage::SilenceQuery { members, .. } => format!("SilenceQuery {}", members.len()),
        LivenessMessage::SilenceReply { members } => format!("SilenceReply {}", members.len()),
        LivenessMessage::Wake => "Wake".into(),
    }
}

fn describe_entry(entry: &WireEntry) -> String {
    if entry.is_change {
        let change = ConfChangeV2::parse_from_bytes(&entry.data).expect("a change is raft-rs's");
        let singles = change.changes.iter().map(|single| format!("{:?}", single.get_change_type()));
        let singles: Vec<String> = singles.collect();
        return if singles.is_empty() { "leave joint".into() } else { singles.join("+") };
    }
    match Context::decode(&entry.context) {
        None | Some(Context::Request(_) | Context::System(_)) => String::from_utf8_lossy(&entry.data).into(),
        Some(Context::Resize { cluster_size, .. }) => format!("resize {cluster_size}"),
        Some(Context::Check) => "check".into(),
        Some(Context::Epoch { .. }) => "epoch".into(),
        Some(Context::Started { starts }) => format!("starts of {}", starts.len()),
        Some(Context::Observed { observed, .. }) => format!("outcomes of {}", observed.len()),
    }
}

/// Stands for the action that the façade makes of it.
pub fn describe_system(action: &SystemAction) -> String {
    match action {
        SystemAction::SessionStarted(start) => {
            format!("session {} of {} started: {}", start.session, start.id, start.reason.as_str())
        }
        SystemAction::TimerFired(firing) => {
            format!("timer {}#{} at {}", firing.name, firing.number, firing.due)
        }
        SystemAction::SessionEnded(end) => {
            format!("session {} of {} ended: {}", end.session, end.id, end.reason.as_str())
        }
    }
}

pub fn describe_delivery(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Role { role, term, leader } => {
            format!("role {} term={term} leader={}", role.as_str(), leader.as_deref().unwrap_or("none"))
        }
        Delivery::ResetProvisional => "drops its provisional states".into(),
        Delivery::Evaluate { method, args, .. } => {
            format!("evaluates {method} {}", String::from_utf8_lossy(args))
        }
        Delivery::Caller { id, session, has_ended } => {
            let ended = if *has_ended { ", whose session has ended" } else { "" };
            format!("is called by {id} in session {session:?}{ended}")
        }
        Delivery::Sessions(sessions) => {
            let sessions: Vec<String> =
                sessions.iter().map(|(id, session)| format!("{id} {session}")).collect();
            format!("has the sessions {}", sessions.join(", "))
        }
        Delivery::OwnSession { session, previous, reason } => {
            format!("has session {session:?} after {previous:?}: {reason}")
        }
        Delivery::Clock { at } => format!("hears of the time {at}"),
        Delivery::EvaluateTimer(timer) => format!("evaluates timer {} at {}", timer.name, timer.due),
        Delivery::NextTimer { due } => format!("waits for the time {due:?}"),
        Delivery::EvaluateSystem(action) => format!("evaluates {}", describe_system(action)),
        Delivery::Committed { index, own, is_provisional, action, .. } => {
            let own = own.map_or(String::new(), |sequence| format!(" resolves {sequence}"));
            let kept = if *is_provisional { " (kept)" } else { "" };
            format!("reduces {} at {index}{kept}{own}", String::from_utf8_lossy(action))
        }
        Delivery::Settled { sequence, call_outcome } => format!("settles {sequence}: {call_outcome:?}"),
        Delivery::TakeSnapshot { .. } => "takes a snapshot".into(),
        Delivery::Restore { index, state } => {
            let state =
                state.as_ref().map_or("the initial state".into(), |state| String::from_utf8_lossy(state));
            format!("restores {state} at {index}")
        }
        Delivery::Hash { index } => format!("hashes its state at {index}"),
        Delivery::AppProbe => "is to answer".into(),
        Delivery::ReportProgress => "is to report progress".into(),
        Delivery::CaughtUp(true) => "has caught up".into(),
        Delivery::CaughtUp(false) => "is behind".into(),
        Delivery::Replayed => "has replayed its log".into(),
        Delivery::OperationEnded { ticket, result } => format!("is answered {ticket}: {result:?}"),
        Delivery::Diverged(error) => format!("is diverged: {error}"),
        Delivery::Restored => "is restored".into(),
        Delivery::Warning(warning) => format!("warns: {warning}"),
    }
}

pub fn describe_answer(answer: &MethodResult) -> String {
    match answer {
        MethodResult::Action(action) => format!("action {}", String::from_utf8_lossy(action)),
        MethodResult::Nothing => "nothing".into(),
        MethodResult::Effects(effects) => {
            let action = effects.action.as_deref().map_or("nothing".into(), String::from_utf8_lossy);
            format!("action {action} with {} timers", effects.changes.len())
        }
        MethodResult::Unknown(error) => format!("unknown {}", String::from_utf8_lossy(error)),
        MethodResult::Refused(error) => format!("refused {}", String::from_utf8_lossy(error)),
    }
}
