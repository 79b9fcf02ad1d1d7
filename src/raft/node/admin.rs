//! Answers the operations of all nodes, as the leader: reads, and commands about the membership.
//!
//! The other side is `operations.rs`, which repeats what is not answered.

use bytes::Bytes;

use super::reads::Read;
use super::replica::Replica;
use crate::raft::consensus::entry::Context;
use crate::raft::identity::{Incarnation, RaftId};
use crate::raft::wire::message::{OperationReply, OperationRequest};

/// A node requests something of the leader of `term`. The reply, if there is one already.
pub(super) fn handle_request(
    replica: &mut Replica,
    from: Incarnation,
    term: u64,
    request_id: u64,
    request: OperationRequest,
) -> Option<OperationReply> {
    if !replica.group.is_leader() || replica.group.term() != term {
        return None;
    }
    let leader_state = replica.leader_state.as_mut()?;
    if request == OperationRequest::Read {
        leader_state.reads.add(from, request_id);
        return None;
    }
    // Before an entry of its own term is applied, a leader does not know everything that is committed.
    if !leader_state.sessions.is_open() {
        return None;
    }
    match request {
        OperationRequest::Read => None,
        OperationRequest::Resize { cluster_size, after } => {
            if replica.members.cluster_size() != cluster_size as usize {
                let resize = Context::Resize { cluster_size, after };
                _ = replica.group.propose(vec![(resize.encode().into(), Bytes::new())]);
            }
            None
        }
        OperationRequest::Remove { mut members } => {
            members.retain(|member| replica.members.incarnation(*member).is_some());
            let is_last = |member: &RaftId| {
                let mut voters =
                    replica.members.iter().filter(|(raft_id, ..)| replica.group.is_voter(*raft_id));
                voters.all(|(raft_id, ..)| raft_id == *member)
            };
            if members.iter().any(is_last) {
                return Some(OperationReply::LastVoter);
            }
            leader_state.removal_requested.extend(members);
            None
        }
        OperationRequest::TransferLeadership { to: None } => {
            replica.transfer_leadership(None);
            None
        }
        OperationRequest::TransferLeadership { to: Some(id) } => {
            let members: Vec<RaftId> = replica.members.named(&id).collect();
            let stays =
                |member: &RaftId| replica.group.stays_voter(*member) && !replica.will_be_removed(*member);
            match members.iter().copied().find(stays) {
                Some(voter) => {
                    replica.transfer_leadership(Some(voter));
                    None
                }
                None if members.is_empty() => Some(OperationReply::UnknownMember),
                None => Some(OperationReply::NotAVoter),
            }
        }
    }
}

/// Begins a confirmation round for all reads since the last one. Until an entry of this leader's term is applied, reads
/// wait: only then does the leader know everything that is committed (thesis §6.4).
pub(super) fn begin_round(replica: &mut Replica) {
    let Some(leader_state) = replica.leader_state.as_mut().filter(|leader| leader.sessions.is_open()) else {
        return;
    };
    if leader_state.reads.wants_round() {
        let round = replica.group.confirm_leadership();
        leader_state.reads.begin_round(round, replica.group.commit_index());
    }
}

/// Takes the reads whose round, or a later one, is confirmed.
pub(super) fn take_confirmed_reads(replica: &mut Replica, confirmed: &[u64]) -> Vec<Read> {
    let leader_state = replica.leader_state.as_mut();
    let newest = confirmed.iter().max();
    leader_state
        .zip(newest)
        .map_or(Vec::new(), |(leader_state, newest)| leader_state.reads.take_confirmed(*newest))
}
