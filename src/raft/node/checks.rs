//! Checks at intervals that all members have the same state: the leader proposes a check, every node hashes its state
//! there, and the leader notifies those whose state differs from that of a majority of the voters.
//!
//! `quarantine.rs` is what a diverged node does.

use std::sync::Arc;

use bytes::Bytes;

use super::output::Output;
use super::replica::Replica;
use super::state_comparison::{Report, Verdict};
use crate::raft::consensus::entry::Context;
use crate::raft::events::{Hashed, StateHash, Target, Warning};
use crate::raft::identity::RaftId;
use crate::raft::options::Options;
use crate::raft::wire::message::DivergenceMessage;

/// From `index` on, this node's state does not match the log.
#[derive(Debug)]
pub(super) struct Mismatch {
    pub(super) index: u64,
    pub(super) why: String,
}

/// As a leader: proposes a comparison of all states, if one is due.
pub(super) fn propose(replica: &mut Replica, options: &Options) {
    let is_open = replica.group.accepts_proposals() && replica.has_open_sessions();
    let has_others = replica.members.iter().len() > 1;
    if !options.compares_states || !is_open || !has_others || replica.divergence.is_diverged() {
        return;
    }
    let Some(leader_state) = &mut replica.leader_state else { return };
    debug_assert!(replica.last_action <= replica.delivered_index);
    if leader_state.comparison.begin(replica.liveness.now(), replica.last_action, options)
        && replica.group.propose(vec![(Context::Check.encode().into(), Bytes::new())]).is_ok()
    {
        leader_state.comparison.await_own(replica.group.last_index());
    }
}

/// JavaScript has hashed its state at a check.
pub(super) fn handle_hashed(
    hashed: Hashed,
    replica: &mut Replica,
    options: &Options,
    output: &mut Output,
) -> Option<Mismatch> {
    if replica.divergence.is_diverged() {
        return None;
    }
    if let Some(leader_state) = &mut replica.leader_state {
        leader_state.comparison.own_hashed(hashed, replica.liveness.now(), options);
    }
    let is_of_present_state = replica.divergence.takes_awaited_hash(hashed.index);
    let (index, hash) = (hashed.index, hashed.hash.filter(|_| is_of_present_state)?);
    replica.divergence.note_hash(index, hash);
    let version = options.version.clone();
    if replica.leader_state.is_some() {
        return handle_report(replica.me.raft_id(), index, version, hash, replica, output);
    }
    if let Some(leader) = replica.leader().and_then(|leader| replica.members.incarnation(leader)) {
        output.send(Target::One(leader), DivergenceMessage::StateHash { index, version, hash });
    }
    None
}

/// A member reported the hash of its state: notifies members whose state differs from that of a majority of the voters.
pub(super) fn handle_report(
    member: RaftId,
    index: u64,
    version: Arc<str>,
    hash: StateHash,
    replica: &mut Replica,
    output: &mut Output,
) -> Option<Mismatch> {
    let leader_state = replica.leader_state.as_mut()?;
    let members = replica.members.iter().map(|(member, ..)| member);
    let voters: Vec<RaftId> = members.filter(|member| replica.group.is_voter(*member)).collect();
    let report = Report { index, version, hash };
    let (majority, others) = match leader_state.comparison.add(member, report, &voters) {
        Verdict::Pending => return None,
        Verdict::NoMajority => {
            output.warn(Warning::StatesDiffer { index });
            return None;
        }
        Verdict::Majority { hash, others } => (hash, others),
    };
    let mut own = None;
    for (member, hash) in others {
        if !leader_state.comparison.accuses(member, hash) {
            continue;
        }
        if member == replica.me.raft_id() {
            own = Some(hash);
        } else if let Some(incarnation) = replica.members.incarnation(member) {
            let message = DivergenceMessage::Disagrees { index, ours: hash, theirs: majority };
            output.send(Target::One(incarnation), message);
        }
    }
    handle_disagreement(index, own?, majority, replica)
}

/// The leader reports that a majority has a state other than this node's. The report counts once, and for that state
/// alone: a repeated or late one may arrive after this node was restored.
pub(super) fn handle_disagreement(
    index: u64,
    ours: StateHash,
    theirs: StateHash,
    replica: &mut Replica,
) -> Option<Mismatch> {
    replica.divergence.takes_hash(index, ours).then(|| {
        let why = format!(
            "its state at index {index}, after the action at index {}, has the hash {}, a majority's has {}; \
             the reducer is not deterministic, or not the same everywhere",
            replica.last_action,
            hexadecimal(ours),
            hexadecimal(theirs)
        );
        Mismatch { index, why }
    })
}

fn hexadecimal(hash: StateHash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
