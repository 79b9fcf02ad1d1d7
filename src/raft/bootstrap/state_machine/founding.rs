//! Founds a cluster: proposes a roster, accepts one, and detects that all founders have accepted.
//!
//! Part of `state_machine.rs`. It must never take a step that lets one incarnation accept a second roster.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Bootstrap;
use crate::raft::Target;
use crate::raft::bootstrap::{Event, Phase};
use crate::raft::identity::{ClusterUuid, Incarnation};
use crate::raft::wire::message::{BootstrapMessage, Roster};

impl Bootstrap {
    /// Proposes a roster, by accepting it, if this node is the proposer: the lowest of at least N. While others are
    /// founding a cluster without it, it waits: among more than N processes, the remaining ones would otherwise found a
    /// second cluster before the first one can announce itself.
    pub(super) fn found_with_others(&mut self) {
        let is_too_early = self.cluster_size == 1 && self.now < self.answered_by;
        if !self.may_found() || is_too_early || self.peers.has_recent_rivals(self.now) {
            return;
        }
        let candidates = self.peers.candidates(self.me, &self.id, self.now);
        if candidates.first_key_value().map(|(first, _)| *first) != Some(self.me) {
            return;
        }
        if let Some(founders) = self.founders(candidates) {
            self.accept(Roster(founders), self.me);
        }
    }

    /// Whether this node may propose or accept a roster. Where nodes of a process share connections, frames arrive before
    /// the channel is healthy; until then the node does not know whether there is a cluster already.
    fn may_found(&self) -> bool {
        injected_bug!(FoundsBeforeItsChannel, return self.may_vote && self.phase == Phase::Seeking);
        self.may_vote && self.phase == Phase::Seeking && self.channel_is_healthy && !self.cluster_was_found
    }

    /// A roster is accepted if it is well formed, names this node correctly, and no other proposal is about to replace
    /// it: while a lower node is near, that node is the proposer, and two proposers among more than N nodes make two
    /// clusters. A refusal binds nothing: the proposal is repeated, and a lower node that has ended soon no longer
    /// counts.
    pub(super) fn can_accept(&self, roster: &Roster) -> bool {
        let Roster(founders) = roster;
        let is_sorted = founders.is_sorted_by(|(one, _), (next, _)| one < next);
        let ids: BTreeSet<&Arc<str>> = founders.iter().map(|(_, id)| id).collect();
        let is_well_formed =
            is_sorted && founders.len() == self.cluster_size && ids.len() == self.cluster_size;
        let names_us = founders.iter().any(|(incarnation, id)| *incarnation == self.me && *id == self.id);
        let candidates = self.peers.candidates(self.me, &self.id, self.now);
        let lowest = candidates.first_key_value().map(|(first, _)| *first);
        let proposer = founders.first().map(|(first, _)| *first);
        self.may_found() && is_well_formed && names_us && (lowest.is_none() || lowest >= proposer)
    }

    /// The one promise of this incarnation.
    pub(super) fn accept(&mut self, roster: Roster, proposer: Incarnation) {
        assert_eq!(self.phase, Phase::Seeking, "incarnation {} accepted a second roster", self.me);
        let until = self.now + self.timing.until_founded(&mut self.rng);
        let accepted_by = BTreeSet::from([self.me, proposer]);
        self.send(Target::All, BootstrapMessage::Accept(roster.clone()));
        self.announces_at = self.now + self.timing.interval(&mut self.rng);
        self.phase = Phase::Accepted { cluster: roster.uuid(), roster, accepted_by, until };
        self.found_if_agreed();
    }

    pub(super) fn found_if_agreed(&mut self) {
        if let Phase::Accepted { roster, accepted_by, .. } = &self.phase
            && accepted_by.len() == roster.0.len()
        {
            self.found();
        }
    }

    /// There is a cluster: if it is that of the accepted roster, this node is in it.
    pub(super) fn see_cluster(&mut self, seen: ClusterUuid) {
        if matches!(&self.phase, Phase::Accepted { cluster, .. } if *cluster == seen) {
            self.found();
        }
    }

    fn found(&mut self) {
        let Phase::Accepted { roster, cluster, .. } = &self.phase else { return };
        let (roster, cluster) = (roster.clone(), *cluster);
        let campaign = roster.0.first().is_some_and(|(lowest, _)| *lowest == self.me);
        let until = self.now + self.timing.until_committed(&mut self.rng);
        self.leaderless = 0;
        self.leaderless_max = self.timing.until_quorum_lost(&mut self.rng);
        self.events.push_back(Event::Founded { roster: roster.clone(), campaign });
        self.phase = Phase::Founded { roster, cluster, until };
    }
}
