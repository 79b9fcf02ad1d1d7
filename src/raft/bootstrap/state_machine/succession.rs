//! Moves a node from a cluster that was recovered without it into the successor, and compares the lineage of clusters.
//!
//! Part of `state_machine.rs`. A committed epoch ends the former cluster, regardless of its quorum. But a node drops
//! its data only when the successor has admitted it: until then it can return.

use super::Bootstrap;
use crate::raft::bootstrap::conflict::{Resolution, decide_conflict};
use crate::raft::bootstrap::{Event, Facts, Phase};
use crate::raft::identity::{ClusterUuid, Incarnation};
use crate::raft::wire::message::{Ancestor, ClusterAnnouncement};
use crate::raft::{Target, Warning};

/// The membership in the former cluster.
#[derive(Debug)]
pub(super) struct FormerMembership {
    pub(super) me: Incarnation,
    pub(super) cluster: ClusterUuid,
    pub(super) ancestors: Vec<Ancestor>,
    pub(super) cluster_size: usize,
}

impl Bootstrap {
    /// Checks whether an announced cluster is the successor of this node's; true if the announcement needs no further
    /// handling.
    pub(super) fn check_for_successor(
        &mut self,
        from: Incarnation,
        announcement: &ClusterAnnouncement,
        facts: &Facts,
    ) -> bool {
        let kept = |cluster| announcement.ancestors.iter().find(|ancestor| ancestor.cluster == cluster);
        let successor = kept(self.phase.cluster());
        injected_bug!(OutlivesItsSuccessor, successor => successor.filter(|_| !facts.has_leader));
        if let Some(Ancestor { kept, .. }) = successor {
            self.leave_for_successor(from, announcement, *kept, facts);
            return true;
        }
        if let Some(former) = &self.former {
            // Of two successors, the awaited one counts; but that one may have a successor itself.
            let awaits = |awaited| announcement.cluster == awaited || kept(awaited).is_some();
            if matches!(self.phase, Phase::Waiting { cluster, .. } if awaits(cluster))
                && kept(former.cluster).is_some()
                && announcement.has_leader
            {
                self.resized(announcement.cluster_size as usize);
                self.request_admission(from, announcement);
            }
            return true;
        }
        false
    }

    /// A successor is committed, so the cluster of this node has ended, regardless of its quorum. If the successor has
    /// a leader, this node leaves for it immediately.
    pub(super) fn leave_for_successor(
        &mut self,
        by: Incarnation,
        announcement: &ClusterAnnouncement,
        kept: u64,
        facts: &Facts,
    ) {
        if facts.has_leader {
            // It has continued in the meantime: both sides report that.
            self.send(Target::One(by), self.announcement(self.phase.cluster(), facts));
        }
        self.events.push_back(Event::Superseded { by, successor: announcement.cluster, kept });
        if !announcement.has_leader {
            return;
        }
        self.former = Some(FormerMembership {
            me: self.me,
            cluster: self.phase.cluster(),
            ancestors: std::mem::take(&mut self.ancestors),
            cluster_size: self.cluster_size,
        });
        self.cluster_size = announcement.cluster_size as usize;
        let former = std::mem::replace(&mut self.me, Incarnation::draw(&mut self.rng));
        self.events.push_back(Event::LeftForSuccessor { former });
        self.await_warning();
        self.phase = Phase::Seeking;
        self.join();
        self.request_admission(by, announcement);
    }

    /// The successor is silent, and has not admitted this node.
    pub(super) fn return_to_former(&mut self, former: FormerMembership) {
        self.me = former.me;
        (self.ancestors, self.cluster_size) = (former.ancestors, former.cluster_size);
        self.events.push_back(Event::ReturnedToFormer);
        self.enter(former.cluster);
        self.events.push_back(Event::Join(self.me));
        self.announces_at = self.now;
    }

    pub(super) fn judge(&self, ours: ClusterUuid, theirs: &ClusterAnnouncement, facts: &Facts) -> Resolution {
        let is_ancestor = self.kept(theirs.cluster).is_some();
        if is_ancestor {
            // It will be notified and end. Before that it may have continued.
            return if theirs.has_leader { Resolution::Warn } else { Resolution::Stay };
        }
        let facts = Facts { holds_actions: self.cluster_holds_actions(facts), ..*facts };
        if facts.holds_actions && self.common_ancestor(theirs).is_some() {
            return Resolution::Warn;
        }
        decide_conflict(ours, &facts, self.leaderless, theirs, &self.timing)
    }

    pub(super) fn warning_of(&self, ours: ClusterUuid, announcement: &ClusterAnnouncement) -> Warning {
        let theirs = announcement.cluster;
        if let Some(kept) = self.kept(theirs) {
            return Warning::FormerCluster { ours, former: theirs, kept };
        }
        match self.common_ancestor(announcement) {
            Some(former) => Warning::TwoSuccessors { ours, theirs, former },
            None => Warning::TwoClusters { ours, theirs },
        }
    }

    /// The index up to which this cluster has what that ancestor committed.
    fn kept(&self, ancestor: ClusterUuid) -> Option<u64> {
        self.ancestors.iter().find(|other| other.cluster == ancestor).map(|ancestor| ancestor.kept)
    }

    /// The newest common ancestor of both clusters.
    fn common_ancestor(&self, announcement: &ClusterAnnouncement) -> Option<ClusterUuid> {
        let ours = self.ancestors.iter().rev().map(|ancestor| ancestor.cluster);
        ours.into_iter().find(|ours| announcement.ancestors.iter().any(|theirs| theirs.cluster == *ours))
    }
}
