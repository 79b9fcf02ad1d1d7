//! The phases of a node's way into a cluster.
//!
//! Read by the node of the core and by the state machine, which alone changes it. It must never decide a transition.

use std::collections::BTreeSet;

use crate::raft::identity::{ClusterUuid, Incarnation};
use crate::raft::wire::message::Roster;

/// A node's progress into a cluster. An incarnation only moves down this list, except that `Waiting` and `Seeking`
/// alternate; any other return to `Seeking` takes a new incarnation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Sends Discover, and has accepted no roster.
    Seeking,
    /// There is a cluster, and its leader will admit this node: sends Discover at intervals, founds nothing.
    Waiting { cluster: ClusterUuid, since: u64, until: u64 },
    /// Has accepted a roster, and does not know whether all of its members did.
    Accepted { roster: Roster, cluster: ClusterUuid, accepted_by: BTreeSet<Incarnation>, until: u64 },
    /// The cluster exists, but this node has seen no commit: its founders may have ended before there was a leader.
    Founded { roster: Roster, cluster: ClusterUuid, until: u64 },
    /// In a cluster that has had a leader.
    Member { cluster: ClusterUuid },
    /// Failed: ignores all messages, and sends none.
    Stopped,
}

impl Phase {
    /// The cluster of this node, which its frames name; [`ClusterUuid::NONE`] before it is in one.
    pub fn cluster(&self) -> ClusterUuid {
        match self {
            Phase::Founded { cluster, .. } | Phase::Member { cluster } => *cluster,
            Phase::Seeking | Phase::Waiting { .. } | Phase::Accepted { .. } | Phase::Stopped => {
                ClusterUuid::NONE
            }
        }
    }

    /// In a cluster, with or without a quorum: the node has a raft group.
    pub fn is_in_cluster(&self) -> bool {
        matches!(self, Phase::Founded { .. } | Phase::Member { .. })
    }
}
