//! The replicated member list, and other facts about the cluster that the log records.
//!
//! It changes only when entries of the log are applied, so it is the same on every node at the same applied index. It
//! is part of every snapshot. raft-rs knows which members vote (`group.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::raft::identity::{ClusterUuid, Incarnation, RaftId, Start};
use crate::raft::wire::message::{Ancestor, Roster};

/// The number of former names that a cluster keeps.
pub const ANCESTORS_MAX: usize = 16;

/// The members of a cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Members {
    cluster: ClusterUuid,
    /// The names that this cluster had before its quorum was lost and it was recovered, oldest first.
    ancestors: Vec<Ancestor>,
    cluster_size: u32,
    /// The index of the entry that last resized the cluster; 0: none has.
    resized_at: u64,
    members: BTreeMap<RaftId, (Incarnation, Arc<str>)>,
    /// Members that are in the former half of a joint configuration only.
    leaving: Vec<RaftId>,
    /// The last start of each member that keeps its log. Images of older versions have none, so in an image they are
    /// behind the rest (`snapshot.rs`).
    #[serde(skip)]
    starts: BTreeMap<RaftId, Start>,
    /// Members that never become voters. In an image they are behind the starts.
    #[serde(skip)]
    non_voting: BTreeSet<RaftId>,
}

impl Members {
    pub fn found(roster: &Roster) -> Self {
        let Roster(founders) = roster;
        let members =
            founders.iter().map(|(incarnation, id)| (incarnation.raft_id(), (*incarnation, id.clone())));
        Self {
            cluster: roster.uuid(),
            ancestors: Vec::new(),
            cluster_size: u32::try_from(founders.len()).unwrap_or(u32::MAX),
            resized_at: 0,
            members: members.collect(),
            leaving: Vec::new(),
            starts: BTreeMap::new(),
            non_voting: BTreeSet::new(),
        }
    }

    pub fn cluster(&self) -> ClusterUuid {
        self.cluster
    }

    pub fn ancestors(&self) -> &[Ancestor] {
        &self.ancestors
    }

    /// The intended number of voters.
    pub fn cluster_size(&self) -> usize {
        self.cluster_size as usize
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (RaftId, Incarnation, &Arc<str>)> {
        self.members.iter().map(|(raft_id, (incarnation, id))| (*raft_id, *incarnation, id))
    }

    pub fn incarnation(&self, member: RaftId) -> Option<Incarnation> {
        self.members.get(&member).map(|(incarnation, _)| *incarnation)
    }

    pub fn id(&self, member: RaftId) -> Option<&Arc<str>> {
        self.members.get(&member).map(|(_, id)| id)
    }

    pub fn contains(&self, incarnation: Incarnation) -> bool {
        self.incarnation(incarnation.raft_id()) == Some(incarnation)
    }

    /// The members with this id: one, or two while a new incarnation replaces one that died.
    pub fn named<'a>(&'a self, id: &'a str) -> impl Iterator<Item = RaftId> + 'a {
        self.members.iter().filter(move |(_, (_, other))| &**other == id).map(|(raft_id, _)| *raft_id)
    }

    /// The entry at `index` resizes the cluster, unless an entry after the index `after` has already done so.
    pub fn resize(&mut self, cluster_size: u32, after: u64, index: u64) {
        if !self.is_resized_after(after) {
            (self.cluster_size, self.resized_at) = (cluster_size, index);
        }
    }

    pub fn is_resized_after(&self, index: u64) -> bool {
        self.resized_at > index
    }

    pub fn admit(&mut self, incarnation: Incarnation, id: Arc<str>, may_vote: bool) {
        let member = incarnation.raft_id();
        self.members.insert(member, (incarnation, id));
        if may_vote {
            self.non_voting.remove(&member);
        } else {
            self.non_voting.insert(member);
        }
    }

    /// Whether the member is a voter or may become one.
    pub fn may_vote(&self, member: RaftId) -> bool {
        !self.non_voting.contains(&member)
    }

    pub fn non_voting(&self) -> &BTreeSet<RaftId> {
        &self.non_voting
    }

    /// Returns the removed incarnation, if it was a member.
    pub fn remove(&mut self, member: RaftId) -> Option<Incarnation> {
        self.starts.remove(&member);
        self.non_voting.remove(&member);
        self.members.remove(&member).map(|(incarnation, _)| incarnation)
    }

    pub fn start(&self, member: RaftId) -> Option<Start> {
        self.starts.get(&member).copied()
    }

    /// Whether recording this start changes the record: an older start never replaces a newer one.
    pub fn is_new_start(&self, member: RaftId, start: Start) -> bool {
        self.members.contains_key(&member)
            && self.start(member).is_none_or(|record| record.number <= start.number && record != start)
    }

    pub fn set_start(&mut self, member: RaftId, start: Start) {
        if self.is_new_start(member, start) {
            self.starts.insert(member, start);
        }
    }

    pub fn starts(&self) -> &BTreeMap<RaftId, Start> {
        &self.starts
    }

    pub fn with_starts(self, starts: BTreeMap<RaftId, Start>) -> Self {
        Self { starts, ..self }
    }

    pub fn with_non_voting(self, non_voting: BTreeSet<RaftId>) -> Self {
        Self { non_voting, ..self }
    }

    /// These members are removed when the joint configuration is left.
    pub fn set_leaving(&mut self, members: Vec<RaftId>) {
        self.leaving = members;
    }

    pub fn is_leaving(&self, member: RaftId) -> bool {
        self.leaving.contains(&member)
    }

    pub fn take_leaving(&mut self) -> Vec<RaftId> {
        std::mem::take(&mut self.leaving)
    }

    /// The cluster continues under another name, with one member.
    pub fn become_new_incarnation(
        &mut self,
        cluster: ClusterUuid,
        survivor: Incarnation,
        id: Arc<str>,
        kept: u64,
    ) {
        self.ancestors.push(Ancestor { cluster: std::mem::replace(&mut self.cluster, cluster), kept });
        if self.ancestors.len() > ANCESTORS_MAX {
            self.ancestors.remove(0);
        }
        self.members = BTreeMap::from([(survivor.raft_id(), (survivor, id))]);
        self.leaving.clear();
        self.starts.retain(|member, _| *member == survivor.raft_id());
        // If the survivor should not vote, it is a voter until others can take its vote.
        self.non_voting.retain(|member| *member == survivor.raft_id());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_member_is_leaving_a_cluster_that_continues_under_another_name() {
        let [one, other] = [1, 2].map(Incarnation::from_u128);
        let mut members = Members::found(&Roster(vec![(one, "a".into()), (other, "b".into())]));
        let former = members.cluster();
        members.set_leaving(vec![one.raft_id(), other.raft_id()]);
        members.become_new_incarnation(ClusterUuid::of_epoch(former, one), one, "a".into(), 0);
        assert!(!members.is_leaving(one.raft_id()) && members.take_leaving().is_empty());
        assert_eq!(members.iter().map(|(.., id)| &**id).collect::<Vec<_>>(), ["a"]);
    }

    /// A frame of the former process may arrive late; the present process would be refused.
    #[test]
    fn an_older_start_never_replaces_a_newer_one() {
        let [one, other] = [1, 2].map(Incarnation::from_u128);
        let mut members = Members::found(&Roster(vec![(one, "a".into())]));
        let member = one.raft_id();
        let [first, second, copy] = [(1, 7), (2, 8), (2, 9)].map(|(number, nonce)| Start { number, nonce });
        members.set_start(member, second);
        for (start, is_new) in [(first, false), (second, false), (copy, true)] {
            assert_eq!(members.is_new_start(member, start), is_new, "{start:?}");
        }
        members.set_start(member, first);
        assert_eq!(members.start(member), Some(second));
        members.set_start(other.raft_id(), first);
        assert_eq!(members.start(other.raft_id()), None, "it is no member");
    }

    #[test]
    fn a_survivor_that_should_not_vote_is_still_known_for_it() {
        let [one, two, three] = [1, 2, 3].map(Incarnation::from_u128);
        let mut members = Members::found(&Roster(vec![(one, "a".into())]));
        let former = members.cluster();
        members.admit(two, "b".into(), false);
        members.admit(three, "c".into(), false);
        members.become_new_incarnation(ClusterUuid::of_epoch(former, two), two, "b".into(), 0);
        assert_eq!(members.non_voting(), &BTreeSet::from([two.raft_id()]));
    }
}
