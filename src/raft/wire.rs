//! Converts between raft-rs's messages and the wire format. Messages that raft-rs never sends between peers of conflux
//! have no encoding, so they can never arrive.
//! A snapshot travels in its own chunks (`transfer.rs`).

pub mod frame;
pub mod items;
pub mod message;
pub mod outbox;

use raft_rs::eraftpb::{Entry, EntryType, Message, MessageType};

use super::identity::RaftId;
use super::wire::items::WireEntry;
use super::wire::message::{RaftKind, RaftMessage};

/// `None` for what must not travel: local messages, and forwarded proposals and reads. conflux dispatches requests and
/// confirms reads itself: raft-rs forwards a proposal without its identity, and its read index can answer stale.
pub fn outgoing(message: Message) -> Option<RaftMessage> {
    let kind = match message.get_msg_type() {
        MessageType::MsgAppend => RaftKind::Append,
        MessageType::MsgAppendResponse => RaftKind::AppendResponse,
        MessageType::MsgHeartbeat => RaftKind::Heartbeat,
        MessageType::MsgHeartbeatResponse => RaftKind::HeartbeatResponse,
        MessageType::MsgRequestVote => RaftKind::RequestVote,
        MessageType::MsgRequestVoteResponse => RaftKind::RequestVoteResponse,
        MessageType::MsgRequestPreVote => RaftKind::RequestPreVote,
        MessageType::MsgRequestPreVoteResponse => RaftKind::RequestPreVoteResponse,
        MessageType::MsgTimeoutNow => RaftKind::TimeoutNow,
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgPropose
        | MessageType::MsgSnapshot
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum
        | MessageType::MsgTransferLeader
        | MessageType::MsgReadIndex
        | MessageType::MsgReadIndexResp => return None,
    };
    debug_assert!(
        message.entries.first().is_none_or(|first| first.index == message.index + 1),
        "no peer takes an append that names another entry than its first one follows"
    );
    let entries = message.entries.into_iter();
    Some(RaftMessage {
        kind,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        commit: message.commit,
        commit_term: message.commit_term,
        reject: message.reject,
        reject_hint: message.reject_hint,
        context: message.context,
        asks: false,
        entries: entries
            .map(|entry| WireEntry {
                term: entry.term,
                index: entry.index,
                is_change: entry.entry_type != EntryType::EntryNormal,
                data: entry.data,
                context: entry.context,
            })
            .collect(),
    })
}

pub fn incoming(message: RaftMessage, from: RaftId, to: RaftId) -> Message {
    let mut translated = Message::default();
    translated.set_msg_type(match message.kind {
        RaftKind::Append => MessageType::MsgAppend,
        RaftKind::AppendResponse => MessageType::MsgAppendResponse,
        RaftKind::Heartbeat => MessageType::MsgHeartbeat,
        RaftKind::HeartbeatResponse => MessageType::MsgHeartbeatResponse,
        RaftKind::RequestVote => MessageType::MsgRequestVote,
        RaftKind::RequestVoteResponse => MessageType::MsgRequestVoteResponse,
        RaftKind::RequestPreVote => MessageType::MsgRequestPreVote,
        RaftKind::RequestPreVoteResponse => MessageType::MsgRequestPreVoteResponse,
        RaftKind::TimeoutNow => MessageType::MsgTimeoutNow,
        // Not a message of raft-rs: `group/receipts.rs` converts it.
        RaftKind::Receipt => MessageType::MsgUnreachable,
    });
    translated.from = from;
    translated.to = to;
    translated.term = message.term;
    translated.log_term = message.log_term;
    translated.index = message.index;
    translated.commit = message.commit;
    translated.commit_term = message.commit_term;
    translated.reject = message.reject;
    translated.reject_hint = message.reject_hint;
    translated.context = message.context;
    let entries = message.entries.into_iter().map(|entry| Entry {
        entry_type: if entry.is_change { EntryType::EntryConfChangeV2 } else { EntryType::EntryNormal },
        term: entry.term,
        index: entry.index,
        data: entry.data,
        context: entry.context,
        ..Entry::default()
    });
    translated.entries = entries.collect();
    translated
}
