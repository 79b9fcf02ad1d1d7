//! Decides what a node does when it finds another cluster on its channel, and remembers which ones it has reported.
//!
//! Called by the state machine with the announcements of both sides. It must never act on its decision.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Facts;
use crate::raft::consensus::timing::Timing;
use crate::raft::identity::ClusterUuid;
use crate::raft::wire::message::ClusterAnnouncement;

/// What a node does about a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolution {
    /// Do nothing: the other side must act, or no side needs to act yet.
    Stay,
    /// Leave the own cluster, and wait to join the other.
    Dissolve,
    /// Continue, and warn the operator.
    Warn,
    /// Stop with an error.
    Stop,
}

/// Decides what a node of cluster `ours` does when it receives an announcement of `theirs`. `leaderless` is the number
/// of ticks for which the node has known no leader.
///
/// A node whose cluster holds an action never dissolves, because that action may be acknowledged. Others dissolve only
/// for a cluster that is certain to last: one whose actions are *committed*, since then a quorum holds them and does
/// not dissolve, and that has a leader. An action that is only in a leader's log while its followers are leaving must
/// not attract nodes: the whole channel would wait for a cluster that can never commit again.
pub(super) fn decide_conflict(
    ours: ClusterUuid,
    facts: &Facts,
    leaderless: u64,
    theirs: &ClusterAnnouncement,
    timing: &Timing,
) -> Resolution {
    if facts.holds_actions {
        return match (leaderless >= timing.leader_is_lost() && theirs.has_leader, theirs.holds_actions) {
            (true, _) => Resolution::Stop,
            (false, true) if facts.holds_committed_actions => Resolution::Warn,
            (false, _) => Resolution::Stay,
        };
    }
    if theirs.holds_actions {
        return if theirs.has_leader { Resolution::Dissolve } else { Resolution::Stay };
    }
    // An election on this side is no reason to leave: the other side may be leaving for this one at the moment.
    let has_leader = leaderless < timing.election_is_long();
    let is_lesser = (has_leader, Reverse(ours)) < (theirs.has_leader, Reverse(theirs.cluster));
    if is_lesser { Resolution::Dissolve } else { Resolution::Stay }
}

/// The number of remembered nodes and clusters. Further ones are neither reported nor answered.
const KNOWN_MAX: usize = 256;

/// The nodes and clusters that were reported or answered, so that this happens once, or not too often.
#[derive(Debug, Default)]
pub(super) struct ConflictHistory {
    sizes: BTreeSet<(Arc<str>, u32)>,
    foreigners: BTreeSet<(String, Arc<str>)>,
    other_sized: BTreeSet<ClusterUuid>,
    awaited: BTreeSet<ClusterUuid>,
    rivals: BTreeSet<ClusterUuid>,
    answered_at: BTreeMap<ClusterUuid, u64>,
}

impl ConflictHistory {
    // The first report of each: true once.

    pub fn is_new_size(&mut self, id: &Arc<str>, cluster_size: u32) -> bool {
        self.sizes.len() < KNOWN_MAX && self.sizes.insert((id.clone(), cluster_size))
    }

    pub fn is_new_foreigner(&mut self, who: &str, application: &Arc<str>) -> bool {
        self.foreigners.len() < KNOWN_MAX && self.foreigners.insert((who.into(), application.clone()))
    }

    pub fn is_new_other_sized(&mut self, cluster: ClusterUuid) -> bool {
        self.other_sized.len() < KNOWN_MAX && self.other_sized.insert(cluster)
    }

    pub fn is_new_awaited(&mut self, cluster: ClusterUuid) -> bool {
        self.awaited.len() < KNOWN_MAX && self.awaited.insert(cluster)
    }

    pub fn is_new_rival(&mut self, cluster: ClusterUuid) -> bool {
        self.rivals.len() < KNOWN_MAX && self.rivals.insert(cluster)
    }

    /// Whether to answer a ClusterAnnouncement of this cluster now; if so, the next one is answered after `apart` ticks
    /// at the earliest.
    pub fn may_answer(&mut self, cluster: ClusterUuid, now: u64, apart: u64) -> bool {
        self.answered_at.retain(|_, at| now - *at < apart);
        if self.answered_at.contains_key(&cluster) || self.answered_at.len() >= KNOWN_MAX {
            return false;
        }
        self.answered_at.insert(cluster, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::identity::Incarnation;

    /// Any process on the channel can make up ids and clusters.
    #[test]
    fn what_is_reported_once_is_remembered_up_to_a_limit() {
        let mut history = ConflictHistory::default();
        let mut are_new = |number: usize| {
            let cluster = ClusterUuid::of_roster([Incarnation::from_u128(number as u128)].into_iter());
            let text: Arc<str> = number.to_string().into();
            [
                history.is_new_size(&text, 3),
                history.is_new_foreigner(&text, &text),
                history.is_new_other_sized(cluster),
                history.is_new_awaited(cluster),
                history.is_new_rival(cluster),
            ]
        };
        for number in 0..KNOWN_MAX {
            assert_eq!((are_new(number), are_new(number)), ([true; 5], [false; 5]), "{number}");
        }
        assert_eq!(are_new(KNOWN_MAX), [false; 5]);
    }
}
