//! Gives the tests access to the state of a node. Not part of a release.

use super::quorum_recovery::QuorumRecovery;
use super::replica::Replica;
use crate::raft::consensus::log::Log;
use crate::raft::events::Delivery;
use crate::raft::identity::Incarnation;
use crate::raft::snapshot::transfer::Reception;
use crate::raft::wire::message::Ancestor;

/// The parts of a node that tests look at.
pub struct Inspection<'a> {
    pub(super) replica: Option<&'a Replica>,
    pub(super) former: Option<&'a Replica>,
    pub(super) pending_deliveries: &'a [Delivery],
    pub(super) reception: Option<&'a Reception>,
    pub(super) quorum_recovery: &'a QuorumRecovery,
    pub(super) ancestors: &'a [Ancestor],
}

impl<'a> Inspection<'a> {
    /// What JavaScript has not received yet.
    pub fn pending_deliveries(&self) -> impl Iterator<Item = &'a Delivery> + use<'a> {
        self.pending_deliveries.iter()
    }

    /// Whether this leader has applied everything that it knows to be committed, except for a change that no quorum
    /// knows yet.
    pub fn only_awaits_knowledge(&self) -> bool {
        self.replica.is_some_and(|replica| replica.group.voters_awaited().is_some())
    }

    /// The voters of the configuration, or of both halves of a joint one, and of the one that is to be applied next.
    pub fn voter_halves(&self) -> Vec<Vec<Incarnation>> {
        let Some(replica) = self.replica else { return Vec::new() };
        let conf = replica.group.conf_state();
        let awaited = replica.group.voters_awaited().unwrap_or_default();
        let halves = [conf.voters, conf.voters_outgoing, awaited].into_iter().filter(|half| !half.is_empty());
        halves.map(|half| half.into_iter().filter_map(|id| replica.incarnation(id)).collect()).collect()
    }

    /// The transfers in flight to others.
    pub fn transfers(&self) -> Vec<u64> {
        let leader_state = self.replica.and_then(|replica| replica.leader_state.as_ref());
        leader_state.map_or(Vec::new(), |leader_state| leader_state.outgoing.numbers())
    }

    /// Of how many members this leader keeps that others do not hear them.
    pub fn members_reported_silent(&self) -> usize {
        let leader_state = self.replica.and_then(|replica| replica.leader_state.as_ref());
        leader_state.map_or(0, |leader_state| leader_state.silence.len())
    }

    /// Which transfer arrives, and how much of it is here.
    pub fn reception(&self) -> Option<(u64, u64)> {
        self.reception.map(Reception::progress)
    }

    /// Whether the node with this id has given this node its recovery vote.
    pub fn has_recovery_vote_from(&self, id: &str) -> bool {
        self.replica.is_some_and(|replica| {
            replica.members.named(id).any(|member| self.quorum_recovery.has_recovery_vote_from(member))
        })
    }

    /// Whether this node waits for the successor of a cluster, and has put that cluster's log aside.
    pub fn has_former_log(&self) -> bool {
        self.former.is_some()
    }

    /// The former names of this node's cluster, from before it was recovered, oldest first.
    pub fn ancestors(&self) -> Vec<Ancestor> {
        self.ancestors.to_vec()
    }

    pub fn log(&self) -> Option<&'a Log> {
        self.replica.map(|replica| replica.group.log())
    }
}
