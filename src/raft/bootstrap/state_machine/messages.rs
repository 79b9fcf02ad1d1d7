//! The messages and warnings of the bootstrap, and the text of what a node is waiting for.
//!
//! Called by the state machine, and `waiting_for` by the node. It must never change a phase.

use std::sync::Arc;

use super::Bootstrap;
use crate::raft::bootstrap::{Event, Facts, Phase};
use crate::raft::identity::{ClusterUuid, Incarnation};
use crate::raft::wire::message::{BootstrapMessage, ClusterAnnouncement};
use crate::raft::{Target, Warning};

impl Bootstrap {
    /// What the node is waiting for, as text; `None` for a member (it may still wait for a leader) and once failed.
    pub fn waiting_for(&self) -> Option<String> {
        match &self.phase {
            Phase::Seeking if self.cluster_was_found => Some(
                "waiting for a cluster that has left a marker on the server, or that returns after an outage"
                    .into(),
            ),
            Phase::Seeking => Some(self.waiting_for_nodes(self.heard_ids()).to_string()),
            Phase::Waiting { cluster, .. } => Some(self.waiting_to_join(*cluster).to_string()),
            Phase::Accepted { roster, accepted_by, .. } => {
                let missing = roster.0.iter().filter(|(incarnation, _)| !accepted_by.contains(incarnation));
                let ids: Vec<&str> = missing.map(|(_, id)| &**id).collect();
                Some(format!(
                    "waiting for {} of {} founders to accept: {}",
                    ids.len(),
                    roster.0.len(),
                    ids.join(", ")
                ))
            }
            Phase::Founded { cluster, .. } => {
                Some(format!("waiting for the first leader of cluster {cluster}"))
            }
            Phase::Member { .. } | Phase::Stopped => None,
        }
    }

    /// A connection to a peer has opened: what this node announced before did not arrive there.
    pub fn connected(&mut self, peer: Incarnation, facts: &Facts) {
        if let Some(message) = self.current_announcement(facts) {
            self.send(Target::One(peer), message);
        }
    }

    /// What this node announces in its phase.
    pub(super) fn current_announcement(&mut self, facts: &Facts) -> Option<BootstrapMessage> {
        match &self.phase {
            Phase::Seeking | Phase::Waiting { .. } => Some(self.discover()),
            Phase::Founded { .. } if facts.has_leader => None,
            Phase::Accepted { roster, .. } | Phase::Founded { roster, .. } => {
                Some(BootstrapMessage::Accept(roster.clone()))
            }
            // One sender is enough: the leader. Without a leader all members announce, because conflicts with clusters
            // that have lost their quorum must be resolved too.
            Phase::Member { cluster } if facts.is_leader || !facts.has_leader => {
                Some(self.announcement(*cluster, facts))
            }
            Phase::Member { .. } | Phase::Stopped => None,
        }
    }

    pub(super) fn send(&mut self, to: Target, message: BootstrapMessage) {
        self.events.push_back(Event::Send(to, message));
    }

    pub(super) fn warn(&mut self, warning: Warning) {
        self.events.push_back(Event::Warn(warning));
    }

    pub(super) fn discover(&self) -> BootstrapMessage {
        BootstrapMessage::Discover {
            id: self.id.clone(),
            cluster_size: self.wire_size(),
            version: self.version.clone(),
            application: self.application.clone(),
            members_index: self.members_index,
            may_vote: self.may_vote,
        }
    }

    pub(super) fn announcement(&self, cluster: ClusterUuid, facts: &Facts) -> BootstrapMessage {
        BootstrapMessage::ClusterAnnouncement(ClusterAnnouncement {
            cluster,
            ancestors: self.ancestors.clone(),
            cluster_size: self.wire_size(),
            holds_actions: facts.holds_committed_actions,
            has_leader: facts.has_leader,
            application: self.application.clone(),
            members_index: if facts.is_leader { facts.members_index } else { 0 },
        })
    }

    /// `clusterSize` on the wire.
    fn wire_size(&self) -> u32 {
        u32::try_from(self.cluster_size).unwrap_or(u32::MAX)
    }

    pub(super) fn is_our_size(&self, theirs: u32) -> bool {
        theirs == self.wire_size()
    }

    /// The ids of the possible founders.
    pub(super) fn heard_ids(&self) -> Vec<Arc<str>> {
        let mut ids = self.peers.ids(&self.id, self.now);
        ids.retain(|id| self.may_vote || *id != self.id);
        ids
    }

    pub(super) fn waiting_for_nodes(&self, heard: Vec<Arc<str>>) -> Warning {
        Warning::WaitingForNodes { cluster_size: self.cluster_size, heard }
    }

    pub(super) fn waiting_to_join(&self, cluster: ClusterUuid) -> Warning {
        Warning::WaitingToJoin { cluster, cluster_size: self.cluster_size }
    }
}
