//! Checks messages before raft-rs, which trusts its peers: a message that no correct peer sends would panic there, and
//! is rejected here.
//!
//! Called by `group.rs` before every step.

use protobuf::Message as _;
use raft_rs::RawNode;
use raft_rs::eraftpb::{ConfChangeV2, Entry, EntryType, Message, MessageType};

use super::entry::NUMBER_MAX;
use super::log::Log;

/// The contexts of raft-rs are a campaign's name and our read contexts (8 bytes).
const CONTEXT_BYTES_MAX: usize = 64;

/// Whether raft-rs can take the message without a panic. A forged, damaged or misdirected message is rejected; a late
/// one is left to raft-rs.
pub fn admits(raw: &RawNode<Log>, message: &Message) -> bool {
    let raft = &raw.raft;
    let numbers = [
        message.term,
        message.log_term,
        message.index,
        message.commit,
        message.commit_term,
        message.reject_hint,
    ];
    if message.term == 0 || message.from == 0 || message.context.len() > CONTEXT_BYTES_MAX {
        return false;
    }
    if numbers.iter().any(|number| *number >= NUMBER_MAX) {
        return false;
    }
    let is_member = raft.prs().get(message.from).is_some();
    let last_index = raft.raft_log.last_index();
    match message.get_msg_type() {
        MessageType::MsgAppend => is_wellformed_append(raw, message),
        MessageType::MsgHeartbeat => {
            // A former leader's heartbeat only makes raft-rs answer with the term; our leader's never commits what we
            // lack.
            (message.term < raft.term || message.commit <= last_index) && !leads_twice(raw, message)
        }
        MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => message.entries.is_empty(),
        // Made by this node from an image that was checked, once all its chunks have arrived (`transfer.rs`).
        MessageType::MsgSnapshot => {
            message.get_snapshot().get_metadata().term <= message.term && !leads_twice(raw, message)
        }
        MessageType::MsgTimeoutNow => message.term == raft.term && message.from == raft.leader_id,
        // A response from a later term only makes us follow that term (paper §5.1).
        MessageType::MsgAppendResponse => {
            is_member
                && (message.term != raft.term || message.index <= last_index && message.commit <= last_index)
        }
        MessageType::MsgHeartbeatResponse => {
            is_member && (message.term != raft.term || message.commit <= last_index)
        }
        MessageType::MsgRequestVoteResponse | MessageType::MsgRequestPreVoteResponse => is_member,
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgPropose
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum
        | MessageType::MsgTransferLeader
        | MessageType::MsgReadIndex
        | MessageType::MsgReadIndexResp => false,
    }
}

/// Whether the entries are contiguous from `index`, their terms never decrease, none is above the message's term, and
/// none contradicts what is committed here (paper §5.3, §5.4).
fn is_wellformed_append(raw: &RawNode<Log>, message: &Message) -> bool {
    let raft = &raw.raft;
    if message.log_term == 0 {
        // raft-rs gives term 0 for an index beyond its end: such entries would match there, and leave a gap.
        return false;
    }
    let mut index = message.index;
    let mut term = message.log_term;
    for entry in message.entries.iter() {
        if entry.index != index + 1 || entry.term < term || entry.term > message.term || !is_wellformed(entry)
        {
            return false;
        }
        (index, term) = (entry.index, entry.term);
        // raft-rs gives term 0 for an index that it no longer has.
        let ours = raft.raft_log.term(index).unwrap_or(0);
        if index <= raft.raft_log.committed && ours != 0 && ours != term {
            return false;
        }
    }
    message.log_term <= message.term && index < NUMBER_MAX && !leads_twice(raw, message)
}

/// Whether raft-rs can apply a change of the configuration; no node has the number 0.
fn is_wellformed(entry: &Entry) -> bool {
    entry.entry_type == EntryType::EntryNormal
        || ConfChangeV2::parse_from_bytes(&entry.data)
            .is_ok_and(|change| change.changes.iter().all(|single| single.node_id != 0))
}

/// Two leaders in one term never exist (paper §5.2), and a leader never receives its own messages.
fn leads_twice(raw: &RawNode<Log>, message: &Message) -> bool {
    let raft = &raw.raft;
    message.term == raft.term && raft.leader_id != 0 && raft.leader_id != message.from
}
