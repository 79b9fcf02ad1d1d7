//! The phases of a node's way into a cluster.
//!
//! Read by the node of the core and by the state machine, which alone changes it. It must never decide a transition.

use std::collections::BTreeSet;

use crate::raft::identity::{ClusterUuid, Incarnation};
use crate::raft::wire::message::Roster;

/// A node's progress into a cluster. One incarnation only moves down this list, but for `Waiting` and
/// `Seeking`, which alternate; everything else back to `Seeking` takes a new incarnation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// sends Discover, and has promised nothing.
    Seeking,
    /// There is a cluster, whose leader will let it in: sends Discover at intervals, founds nothing.
    Waiting { cluster: ClusterUuid, since: u64, until: u64 },
    /// Has accepted a roster, and does not know whether all of it did.
    Accepted { roster: Roster, cluster: ClusterUuid, accepted_by: BTreeSet<Incarnation>, until: u64 },
    /// The cluster exists, but has not been seen to commit anything: it may have been dead from the start.
    Founded { roster: Roster, cluster: ClusterUuid, until: u64 },
    /// In a cluster that has had a leader.
    Member { cluster: ClusterUuid },
    /// Failed: hears and says nothing.
    Stopped,
}

impl Phase {
    /// The cluster that the node is in, and by which it marks its frames; [`ClusterUuid::NONE`] before it is in one.
    pub fn cluster(&self) -> ClusterUuid {
        match self {
            Phase::Founded { cluster, .. } | Phase::Member { cluster } => *cluster,
            Phase::Seeking | Phase::Waiting { .. } | Phase::Accepted { .. } | Phase::Stopped => {
                ClusterUuid::NONE
            }
        }
    }

    /// In a cluster, dead or alive: the node has a raft group.
    pub fn is_in_cluster(&self) -> bool {
        matches!(self, Phase::Founded { .. } | Phase::Member { .. })
    }
}
