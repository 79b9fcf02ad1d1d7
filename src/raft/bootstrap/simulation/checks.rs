//! Says what must hold in the simulated world: during a run, and at its end.
//!
//! Called by the world. It must never change anything but its own records and the fault that it found.

use std::collections::BTreeSet;

use super::model::Group;
use super::world::{Node, World, short};
use crate::error::Error;
use crate::raft::application::Application;
use crate::raft::bootstrap::Phase;
use crate::raft::identity::{ClusterUuid, Incarnation};
use crate::raft::wire::message::{BootstrapMessage, Roster};

impl World {
    pub(super) fn note_acceptance(&mut self, process: usize, message: &BootstrapMessage) {
        let BootstrapMessage::Accept(roster) = message else { return };
        let me = self.node(process).bootstrap.me();
        let promised = *self.promises.entry(me).or_insert(roster.uuid());
        if promised != roster.uuid() {
            self.fault = Some(format!("{me} accepted two rosters: {}", self.describe()));
        }
    }

    pub(super) fn check_rosters_are_apart(&mut self, cluster: ClusterUuid, roster: &Roster) {
        let others = self.founded.iter().filter(|(other, _)| **other != cluster).map(|(_, other)| other);
        let founders: BTreeSet<Incarnation> =
            others.flat_map(|other| &other.0).map(|(founder, _)| *founder).collect();
        if roster.0.iter().any(|(founder, _)| founders.contains(founder)) {
            self.fault = Some(format!("an incarnation founded two clusters: {}", self.describe()));
        }
    }

    /// The applications of all founders are compatible with each other.
    pub(super) fn check_applications(&mut self, roster: &Roster) {
        let of = |founder: &Incarnation| {
            let is = |node: &Node| node.bootstrap.me() == *founder;
            let process = self.processes.iter().position(|process| process.node.as_ref().is_some_and(is));
            process.map(|process| &self.applications[process % self.applications.len()])
        };
        // Some may be gone by now.
        let founders: Vec<&Application> = roster.0.iter().filter_map(|(founder, _)| of(founder)).collect();
        let are_apart = |one: &&Application| founders.iter().any(|other| !one.is_compatible_with(other));
        if founders.iter().any(are_apart) {
            self.fault = Some(format!("two applications founded a cluster: {}", self.describe()));
        }
    }

    /// Nodes that could only ever see a marker found nothing beside the cluster that keeps it.
    pub(super) fn check_marker_was_respected(&mut self, roster: &Roster) {
        let Some((since, _)) = self.marked else { return };
        let is_founder = |node: &&Node| roster.contains(node.bootstrap.me());
        let nodes = self.processes.iter().filter_map(|process| process.node.as_ref());
        if nodes.filter(is_founder).all(|node| since <= node.healthy_at) {
            self.fault = Some(format!("a cluster was founded beside a marked one: {}", self.describe()));
        }
    }

    pub(super) fn check_committed_actions_are_kept(&mut self) {
        let lost = self.committed.iter().find(|(cluster, most)| {
            let holders = self.groups(**cluster).filter(|group| group.committed_actions() >= **most);
            **most > 0 && holders.count() <= self.cluster_size / 2
        });
        if let Some((cluster, most)) = lost {
            let cluster = short(*cluster);
            self.fault = Some(format!("the {most} actions of {cluster} are lost: {}", self.describe()));
        }
    }

    /// One cluster with a leader, and every process in it or waiting on it; or, if several have committed actions, all
    /// of those, and nothing else.
    pub(super) fn is_settled(&self) -> bool {
        let mut served = BTreeSet::new();
        let mut awaited = BTreeSet::new();
        for process in &self.processes {
            let Some(node) = &process.node else { return false };
            match node.bootstrap.phase() {
                Phase::Member { cluster, .. } if node.facts(self.now).has_leader => {
                    served.insert(*cluster);
                }
                Phase::Waiting { cluster, .. } => {
                    awaited.insert(*cluster);
                }
                // The last of a cluster that dissolved around it, with an action that was never committed.
                Phase::Stopped if matches!(process.failure, Some(Error::OtherCluster { .. })) => {}
                Phase::Seeking
                | Phase::Accepted { .. }
                | Phase::Founded { .. }
                | Phase::Member { .. }
                | Phase::Stopped => return false,
            }
        }
        let is_right_number = match served.len() {
            0 => false,
            1 => true,
            _ => served.is_subset(&self.clusters_with_actions()),
        };
        is_right_number && awaited.is_subset(&served)
    }

    pub(super) fn note_committed_actions(&mut self) {
        if !self.has_actions {
            return;
        }
        for process in &self.processes {
            if let Some(group) = process.node.as_ref().and_then(|node| node.group.as_ref()) {
                let most = self.committed.entry(group.cluster).or_default();
                *most = group.committed_actions().max(*most);
            }
        }
    }

    pub(super) fn clusters_with_actions(&self) -> BTreeSet<ClusterUuid> {
        self.committed.iter().filter(|(_, most)| **most > 0).map(|(cluster, _)| *cluster).collect()
    }

    pub(super) fn cluster_of(&self, process: usize) -> Option<ClusterUuid> {
        Some(self.processes[process].node.as_ref()?.group.as_ref()?.cluster)
    }

    pub(super) fn groups(&self, cluster: ClusterUuid) -> impl Iterator<Item = &Group> {
        let groups = self.processes.iter().filter_map(|process| process.node.as_ref()?.group.as_ref());
        groups.filter(move |group| group.cluster == cluster)
    }
}
