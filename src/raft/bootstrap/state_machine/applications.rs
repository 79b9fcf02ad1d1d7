//! Keeps nodes of different applications out of one roster and one cluster.
//!
//! Part of `state_machine.rs`. Within a cluster, the leader judges (`node/applications.rs`): a newcomer may have
//! nothing in common with one member and be the next version of another.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Bootstrap;
use crate::error::Error;
use crate::raft::Warning;
use crate::raft::application::Application;
use crate::raft::bootstrap::conflict::Resolution;
use crate::raft::bootstrap::{Event, Phase};
use crate::raft::identity::{ClusterUuid, Incarnation};
use crate::raft::wire::message::ClusterAnnouncement;

/// The number of candidates that are tried as the second founder.
const SEEDS_MAX: usize = 16;

/// The leader of `cluster` refused this node: it is of another application.
#[derive(Debug)]
pub(super) struct Refusal {
    cluster: ClusterUuid,
    theirs: Application,
    /// Another cluster may answer until then.
    until: u64,
}

impl Bootstrap {
    /// Whether these are of another application. Unless a leader judges them, warns once.
    pub(super) fn is_foreign(&mut self, who: &str, theirs: &Application) -> bool {
        if may_found(&self.application, theirs) {
            return false;
        }
        let description = theirs.describe();
        if !self.phase.is_in_cluster() && self.conflict_history.is_new_foreigner(who, &description) {
            self.events.push_back(Event::Warn(self.other_application(who, theirs)));
        }
        true
    }

    /// `clusterSize` founders whose applications all match each other: two that match ours need not match.
    pub(super) fn founders(
        &self,
        candidates: BTreeMap<Incarnation, Arc<str>>,
    ) -> Option<Vec<(Incarnation, Arc<str>)>> {
        let seeds = candidates.keys().copied().take(SEEDS_MAX);
        let rosters = seeds.map(|seed| {
            let mut chosen = vec![self.me];
            for other in [seed].iter().chain(candidates.keys()) {
                let goes_with = |one: &Incarnation| {
                    *one != *other && may_found(self.application_of(*one), self.application_of(*other))
                };
                if chosen.len() < self.cluster_size && chosen.iter().all(goes_with) {
                    chosen.push(*other);
                }
            }
            chosen.sort_unstable();
            chosen
        });
        let roster = rosters.into_iter().find(|roster| roster.len() == self.cluster_size)?;
        Some(roster.into_iter().map(|founder| (founder, candidates[&founder].clone())).collect())
    }

    fn application_of(&self, incarnation: Incarnation) -> &Application {
        self.peers.application(incarnation).unwrap_or(&self.application)
    }

    pub(super) fn awaits_other_than(&self, cluster: ClusterUuid) -> bool {
        matches!(self.phase, Phase::Waiting { cluster: awaited, .. } if awaited != cluster)
    }

    /// The leader of a cluster refuses this node, which stops unless another cluster answers its Discover in time.
    pub(super) fn handle_refusal(&mut self, cluster: ClusterUuid, theirs: &Application) {
        let is_foreign = !self.application.is_compatible_with(theirs) || self.lacks_sessions_of(theirs);
        if self.may_be_admitted() && self.refusal.is_none() && is_foreign {
            let until = self.now + self.timing.discover_is_fresh();
            self.refusal = Some(Refusal { cluster, theirs: theirs.clone(), until });
        }
    }

    pub(super) fn apply_refusal(&mut self) {
        let Some(Refusal { cluster, theirs, .. }) = self.refusal.take_if(|refusal| refusal.until <= self.now)
        else {
            return;
        };
        if self.may_be_admitted() && !self.awaits_other_than(cluster) {
            if self.application.is_compatible_with(&theirs) {
                return self.fail(Error::SessionsRequired);
            }
            self.fail_as_foreign(&theirs);
        }
    }

    /// Of two clusters with different applications neither joins the other: the nodes of the one that would dissolve
    /// stop. `None` if this node is one of them.
    pub(super) fn judge_application(
        &mut self,
        resolution: Resolution,
        theirs: &ClusterAnnouncement,
    ) -> Option<Resolution> {
        if self.application.is_compatible_with(&theirs.application) {
            return Some(resolution);
        }
        let who = format!("cluster {}", theirs.cluster);
        match resolution {
            Resolution::Dissolve | Resolution::Stop => {
                self.fail_as_foreign(&theirs.application);
                None
            }
            Resolution::Warn | Resolution::Stay => {
                if self.conflict_history.is_new_foreigner(&who, &theirs.application.describe()) {
                    self.events.push_back(Event::Warn(self.other_application(&who, &theirs.application)));
                }
                Some(Resolution::Stay)
            }
        }
    }

    fn lacks_sessions_of(&self, theirs: &Application) -> bool {
        theirs.has_sessions() && !self.application.has_sessions()
    }

    fn fail_as_foreign(&mut self, theirs: &Application) {
        self.fail(Error::OtherApplication {
            ours: self.application.describe(),
            theirs: theirs.describe(),
            channel_name: self.channel_name.clone(),
        });
    }

    pub fn other_application(&self, who: &str, theirs: &Application) -> Warning {
        Warning::OtherApplication {
            who: who.into(),
            theirs: theirs.describe(),
            ours: self.application.describe(),
            channel_name: self.channel_name.clone(),
        }
    }
}

fn may_found(one: &Application, other: &Application) -> bool {
    injected_bug!(FoundsWithEveryApplication, return true);
    one.is_compatible_with(other)
}
