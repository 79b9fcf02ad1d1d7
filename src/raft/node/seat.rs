//! This file holds what a node has once its cluster is founded: its replica, its peers, and what the log says.
//!
//! Made and dropped by `node.rs`; it decides nothing by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;

use crate::raft::events::Role;
use crate::raft::frame::Roster;
use crate::raft::group::Group;
use crate::raft::identity::{ClusterUuid, Incarnation, RaftId};
use crate::raft::options::Options;
use crate::raft::requests::{Leadership, Table};
use crate::raft::status::{Member, Status};

/// A seat in a cluster.
pub(super) struct Seat {
    pub(super) cluster: ClusterUuid,
    pub(super) group: Group,
    pub(super) peers: BTreeMap<RaftId, (Incarnation, Arc<str>)>,
    /// Members that said they are closing: no leadership goes to them.
    pub(super) closing: BTreeSet<RaftId>,
    pub(super) table: Table,
    pub(super) leadership: Option<Leadership>,
    pub(super) delivered_index: u64,
    pub(super) applied_index: u64,
    /// What JavaScript was last told.
    pub(super) told: (Role, u64, Option<RaftId>),
    /// What the status tells of the members; made anew only when it changes, for a status is copied every turn.
    members: Arc<[Member]>,
    /// Which of `peers`, in their order, `members` was made with as active.
    active: Vec<bool>,
}

impl Seat {
    /// The seat of a founder; `campaign`: it asks for votes at once.
    pub(super) fn found(
        roster: &Roster,
        campaign: bool,
        me: RaftId,
        options: &Options,
        dice: &mut ChaCha8Rng,
    ) -> Self {
        let mut group = Group::found(roster, me, options, dice);
        if campaign {
            group.campaign();
        }
        let mut table = Table::default();
        let mut peers = BTreeMap::new();
        for (incarnation, id) in &roster.0 {
            table.admit(incarnation.raft_id());
            peers.insert(incarnation.raft_id(), (*incarnation, id.clone()));
        }
        let index = group.commit_index();
        let mut seat = Self {
            cluster: roster.uuid(),
            group,
            peers,
            closing: BTreeSet::new(),
            table,
            leadership: None,
            delivered_index: index,
            applied_index: index,
            told: (Role::Follower, 0, None),
            members: Arc::from([]),
            active: Vec::new(),
        };
        seat.refresh_members(me);
        seat
    }

    /// Looks whether members have become active or silent.
    pub(super) fn refresh_members(&mut self, me: RaftId) {
        let leader = self.group.leader();
        let is_active = |id: RaftId| id == me || Some(id) == leader || self.group.is_active(id);
        if self.active.iter().copied().eq(self.peers.keys().map(|id| is_active(*id))) {
            return;
        }
        self.active = self.peers.keys().map(|id| is_active(*id)).collect();
        let mut members: Vec<Member> = self
            .peers
            .values()
            .zip(&self.active)
            .map(|((incarnation, id), is_active)| Member {
                id: id.clone(),
                incarnation: *incarnation,
                is_voter: true,
                is_active: *is_active,
                version: None,
                matched: None,
            })
            .collect();
        members.sort_by(|a, b| a.id.cmp(&b.id));
        self.members = members.into();
    }

    /// Fills in what a node without a seat could not tell.
    pub(super) fn describe(&self, status: &mut Status) {
        status.cluster = self.cluster;
        status.role = self.group.role();
        status.term = self.group.term();
        status.leader = self.leader_id();
        status.commit_index = self.group.commit_index();
        status.applied_index = self.applied_index;
        status.last_index = self.group.last_index();
        status.members = self.members.clone();
        // Founding may lag by a tick behind what the group knows already.
        let is_served = status.leader.is_some() && self.group.has_seen_commit();
        status.waiting_for = match status.waiting_for.take() {
            _ if is_served => None,
            Some(text) => Some(text),
            None => Some("waiting for a leader to be elected".into()),
        };
    }

    pub(super) fn leader_id(&self) -> Option<Arc<str>> {
        let leader = self.group.leader()?;
        self.peers.get(&leader).map(|(_, id)| id.clone())
    }
}
