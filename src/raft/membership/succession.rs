//! This file moves a node from a cluster that was recovered without it into the successor, and tells clusters of one
//! origin from each other.
//!
//! Part of `machine.rs`. A committed epoch ends the former cluster, whatever quorum that has. But a node drops what it has
//! there only when the successor has let it in: until then it can go back.

use super::machine::Membership;
use super::meeting::{Verdict, meet};
use super::{Event, Facts, Phase};
use crate::raft::frame::{Ancestor, Here};
use crate::raft::identity::{ClusterUuid, Incarnation};
#[cfg(test)]
use crate::raft::testing::bugs::{Bug, is_back};
use crate::raft::{Target, Warning};

/// A membership that was left for that in the successor.
#[derive(Debug)]
pub(super) struct Former {
    pub(super) me: Incarnation,
    pub(super) cluster: ClusterUuid,
    pub(super) ancestors: Vec<Ancestor>,
    pub(super) cluster_size: usize,
}

impl Membership {
    /// A cluster was heard that may be the successor of this node's; true if there is nothing more to it.
    pub(super) fn hear_of_successor(&mut self, from: Incarnation, here: &Here, facts: &Facts) -> bool {
        let kept = |cluster| here.ancestors.iter().find(|ancestor| ancestor.cluster == cluster);
        #[cfg(test)]
        let is_deaf = is_back(Bug::OutlivesItsSuccessor) && facts.has_leader;
        #[cfg(not(test))]
        let is_deaf = false;
        if let Some(Ancestor { kept, .. }) = kept(self.phase.cluster())
            && !is_deaf
        {
            self.give_way(from, here, *kept, facts);
            return true;
        }
        if let Some(former) = &self.former {
            // Of two successors, the one that is waited for; but that one may have a successor itself by now.
            let awaits = |awaited| here.cluster == awaited || kept(awaited).is_some();
            if matches!(self.phase, Phase::Waiting { cluster, .. } if awaits(cluster))
                && kept(former.cluster).is_some()
                && here.has_leader
            {
                self.resized(here.cluster_size as usize);
                self.knock(from, here);
            }
            return true;
        }
        false
    }

    /// The cluster of this node has ended, whatever quorum it has: a successor is committed. Where that has a leader, this
    /// node goes there at once.
    pub(super) fn give_way(&mut self, by: Incarnation, here: &Here, kept: u64, facts: &Facts) {
        if facts.has_leader {
            // It has gone on in the meantime: both sides tell of that.
            self.say(Target::One(by), self.here(self.phase.cluster(), facts));
        }
        self.events.push_back(Event::Superseded { by, successor: here.cluster, kept });
        if !here.has_leader {
            return;
        }
        self.former = Some(Former {
            me: self.me,
            cluster: self.phase.cluster(),
            ancestors: std::mem::take(&mut self.ancestors),
            cluster_size: self.cluster_size,
        });
        self.cluster_size = here.cluster_size as usize;
        let former = std::mem::replace(&mut self.me, Incarnation::draw(&mut self.dice));
        self.events.push_back(Event::GaveWay { former });
        self.await_warning();
        self.phase = Phase::Seeking;
        self.join();
        self.knock(by, here);
    }

    /// The successor is not heard any more, and has not let this node in.
    pub(super) fn go_back(&mut self, former: Former) {
        self.me = former.me;
        (self.ancestors, self.cluster_size) = (former.ancestors, former.cluster_size);
        self.events.push_back(Event::Returned);
        self.enter(former.cluster);
        self.events.push_back(Event::Join(self.me));
        self.speaks_at = self.now;
    }

    pub(super) fn judge(&self, ours: ClusterUuid, theirs: &Here, facts: &Facts) -> Verdict {
        let is_ancestor = self.kept(theirs.cluster).is_some();
        if is_ancestor {
            // It is told, and gives way. Before that it may have gone on.
            return if theirs.has_leader { Verdict::Warn } else { Verdict::Stay };
        }
        let facts = Facts { holds_actions: self.cluster_holds_actions(facts), ..*facts };
        if facts.holds_actions && self.common_ancestor(theirs).is_some() {
            return Verdict::Warn;
        }
        meet(ours, &facts, self.leaderless, theirs, &self.timing)
    }

    pub(super) fn warning_of(&self, ours: ClusterUuid, here: &Here) -> Warning {
        let theirs = here.cluster;
        if let Some(kept) = self.kept(theirs) {
            return Warning::FormerCluster { ours, former: theirs, kept };
        }
        match self.common_ancestor(here) {
            Some(former) => Warning::TwoSuccessors { ours, theirs, former },
            None => Warning::TwoClusters { ours, theirs },
        }
    }

    /// Up to which index this cluster has what that ancestor committed.
    fn kept(&self, ancestor: ClusterUuid) -> Option<u64> {
        self.ancestors.iter().find(|other| other.cluster == ancestor).map(|ancestor| ancestor.kept)
    }

    /// The newest cluster that both come from.
    fn common_ancestor(&self, here: &Here) -> Option<ClusterUuid> {
        let ours = self.ancestors.iter().rev().map(|ancestor| ancestor.cluster);
        ours.into_iter().find(|ours| here.ancestors.iter().any(|theirs| theirs.cluster == *ours))
    }
}
