//! Sends the messages of raft-rs: those that are the same for several members leave as one frame.
//!
//! Called by `node.rs` at the end of a turn. A leader's log only grows (paper §5.3), so that the appends of one turn
//! with the same position and number of entries are the same. A channel that can publishes a frame to all at once: all
//! members receive it, and only its receivers take it. Therefore no entries are shared while a member has a slow line:
//! entries for others would fill it.
//!
//! A channel may lose what is sent to all and carry what is sent to one: a member that does not answer gets separate
//! frames for some time, long before it would start an election.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::output::Output;
use super::replica::Replica;
use crate::raft::events::Target;
use crate::raft::identity::RaftId;
use crate::raft::wire::frame::RECEIVERS_MAX;
use crate::raft::wire::message::{Message, RaftKind, RaftMessage};

/// Fewer receivers get a frame each: the sender too receives what it publishes to all.
const RECEIVERS_MIN: usize = 3;

/// What distinguishes the heartbeats and appends of a leader's turn.
type Content = (u8, u64, u64, u64, u64, u64, Bytes, usize);

/// Several members and one message.
struct Shared {
    members: Vec<RaftId>,
    message: RaftMessage,
}

pub(super) fn send(messages: Vec<(RaftId, RaftMessage)>, replica: &mut Replica, output: &mut Output) {
    let mut rest = messages;
    if replica.group.is_leader() && rest.len() >= RECEIVERS_MIN {
        note_silent_members(replica);
        let (shared, alone) = share(rest, replica);
        for Shared { members, message } in shared {
            for members in members.chunks(RECEIVERS_MAX) {
                output.send_shared(members.into(), Message::Raft(message.clone()));
            }
        }
        rest = alone;
    }
    for (to, message) in rest {
        if let Some(to) = replica.incarnation(to) {
            output.send(Target::One(to), Message::Raft(message));
        }
    }
}

fn note_silent_members(replica: &mut Replica) {
    let (now, timing) = (replica.liveness.now(), replica.timing);
    let Some(since) = replica.leader_state.as_ref().map(|leader_state| leader_state.since()) else { return };
    let is_silent = |member: RaftId| {
        let patience = match replica.group.is_voter(member) {
            true => timing.voter_answers_shared(),
            false => timing.learner_answers_shared(),
        };
        replica.liveness.silent_ticks(member, since) > patience
    };
    let silent: Vec<RaftId> =
        replica.members.iter().map(|(member, ..)| member).filter(|member| is_silent(*member)).collect();
    let Some(leader_state) = &mut replica.leader_state else { return };
    leader_state.separate_frames.begin(silent, now, now + timing.separate_frames_last());
}

/// Splits the messages of a turn: what several members receive, in the order of the log, and the others.
fn share(
    messages: Vec<(RaftId, RaftMessage)>,
    replica: &Replica,
) -> (Vec<Shared>, Vec<(RaftId, RaftMessage)>) {
    let gets_separate_frames =
        |member| replica.leader_state.as_ref().is_none_or(|state| state.separate_frames.has(member));
    let mut counts: BTreeMap<Content, usize> = BTreeMap::new();
    let may_share = messages.iter().filter(|(to, _)| !gets_separate_frames(*to));
    for content in may_share.filter_map(|(_, message)| content(message)) {
        *counts.entry(content).or_default() += 1;
    }
    counts.retain(|_, count| *count >= RECEIVERS_MIN);
    let has_entries = |content: &Content| content.7 > 0;
    if counts.keys().any(has_entries) && has_slow_line(replica) {
        counts.retain(|content, _| !has_entries(content));
    }
    if counts.is_empty() {
        return (Vec::new(), messages);
    }
    let mut shared: BTreeMap<Content, Shared> = BTreeMap::new();
    let (mut alone, mut has_own) = (Vec::new(), BTreeSet::new());
    for (to, message) in messages {
        let content =
            content(&message).filter(|content| counts.contains_key(content) && !gets_separate_frames(to));
        let is_append = message.kind == RaftKind::Append;
        // What a member receives alone leaves after what it shares, and its appends must keep their order.
        match content {
            Some(content) if replica.incarnation(to).is_some() && !(is_append && has_own.contains(&to)) => {
                let asks = message.asks;
                let one = shared.entry(content).or_insert_with(|| Shared { members: Vec::new(), message });
                one.members.push(to);
                one.message.asks |= asks;
            }
            Some(_) | None => {
                if is_append {
                    has_own.insert(to);
                }
                alone.push((to, message));
            }
        }
    }
    (shared.into_values().collect(), alone)
}

/// Of a message that several may receive: by kind first, so that appends are in the order of the log.
fn content(message: &RaftMessage) -> Option<Content> {
    let kind = match message.kind {
        RaftKind::Heartbeat => 0,
        RaftKind::Append => 1,
        RaftKind::AppendResponse
        | RaftKind::HeartbeatResponse
        | RaftKind::RequestVote
        | RaftKind::RequestVoteResponse
        | RaftKind::RequestPreVote
        | RaftKind::RequestPreVoteResponse
        | RaftKind::TimeoutNow
        | RaftKind::Receipt => return None,
    };
    let RaftMessage { term, index, log_term, commit, commit_term, .. } = *message;
    let count = message.entries.len();
    Some((kind, term, index, log_term, commit, commit_term, message.context.clone(), count))
}

/// Whether a living member has a slow line, and lags because of it.
fn has_slow_line(replica: &Replica) -> bool {
    let Some(leader_state) = &replica.leader_state else { return true };
    let is_slow =
        |member: RaftId| replica.group.has_slow_line(member) || leader_state.outgoing.has_slow_line(member);
    let mut others = replica.members.iter().map(|(member, ..)| member).filter(|member| {
        *member != replica.me.raft_id()
            && replica.liveness.silent_ticks(*member, leader_state.since()) < replica.timing.election()
    });
    others.any(is_slow)
}
