//! When this node last heard each member, and when it last knew a leader: the one clock by which silence is measured.
//!
//! Part of a replica. The clock counts ticks with a healthy channel: without one, silence means nothing.

use std::collections::BTreeMap;

use crate::raft::consensus::timing::Timing;
use crate::raft::identity::RaftId;

#[cfg_attr(test, derive(Debug))]
pub(super) struct Liveness {
    me: RaftId,
    timing: Timing,
    now: u64,
    heard_at: BTreeMap<RaftId, u64>,
    /// Since when members have been silent, as the last leaders reported; for a former leader, as this node measured
    /// it.
    silent_since: BTreeMap<RaftId, u64>,
    /// When the leader was last heard. raft-rs does not report its silence to a learner, which never campaigns.
    leader_heard_at: u64,
    /// When a leader was last known.
    led_at: u64,
}

impl Liveness {
    pub(super) fn new(me: RaftId, timing: Timing) -> Self {
        let (heard_at, silent_since) = (BTreeMap::new(), BTreeMap::new());
        Self { me, timing, now: 0, heard_at, silent_since, leader_heard_at: 0, led_at: 0 }
    }

    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// Counts a tick with a healthy channel. `leader` is the one that raft-rs follows.
    pub(super) fn tick(&mut self, leader: Option<RaftId>) {
        self.now += 1;
        if leader.is_none_or(|leader| leader == self.me) {
            self.leader_heard_at = self.now;
        }
        if leader.is_some() && !self.is_leader_silent() {
            self.led_at = self.now;
        }
    }

    /// A member sent something, or has just become one.
    pub(super) fn note_heard(&mut self, member: RaftId) {
        self.heard_at.insert(member, self.now);
        self.silent_since.remove(&member);
    }

    /// The leader that raft-rs follows sent something.
    pub(super) fn note_leader_heard(&mut self) {
        self.leader_heard_at = self.now;
    }

    /// The leader reported the silent members; all others are active.
    pub(super) fn note_silent(&mut self, members: impl Iterator<Item = (RaftId, u64)>) {
        self.silent_since = members.map(|(member, ticks)| (member, self.now.saturating_sub(ticks))).collect();
    }

    /// The known leader no longer leads.
    pub(super) fn note_end_of_leader(&mut self, leader: RaftId) {
        self.silent_since.insert(leader, self.heard_at(leader).unwrap_or(0));
    }

    /// The replica was set aside for a while, and heard nothing: the silence of these members, and of a leader, begins
    /// now.
    pub(super) fn resume(&mut self, members: impl Iterator<Item = RaftId>) {
        members.for_each(|member| self.note_heard(member));
        self.led_at = self.now;
    }

    pub(super) fn forget(&mut self, member: RaftId) {
        self.heard_at.remove(&member);
        self.silent_since.remove(&member);
    }

    pub(super) fn heard_at(&self, member: RaftId) -> Option<u64> {
        self.heard_at.get(&member).copied()
    }

    /// For how many ticks a member has been silent since `since`; 0 for this node.
    pub(super) fn silent_ticks(&self, member: RaftId, since: u64) -> u64 {
        let heard_at = self.heard_at(member).unwrap_or(0).max(since);
        if member == self.me { 0 } else { self.now.saturating_sub(heard_at) }
    }

    /// The same on a leader that has led since `since`. No member had to send it anything before, and a living one
    /// answers within an election timeout. A member that is silent for longer has been silent since a former leader
    /// reported that (a former leader, since this node stopped hearing it), or at least since `since`.
    pub(super) fn silent_ticks_of_follower(&self, member: RaftId, since: u64) -> u64 {
        let is_heard = self.heard_at(member).is_some_and(|heard_at| heard_at > since);
        if is_heard || member == self.me || self.now < since + self.timing.election() {
            return self.silent_ticks(member, since);
        }
        let silent_since =
            self.silent_since.get(&member).map_or(since, |silent_since| since.min(*silent_since));
        self.now.saturating_sub(silent_since)
    }

    /// The silent members that a leader reported.
    pub(super) fn reported_silent(&self) -> impl Iterator<Item = RaftId> {
        self.silent_since.keys().copied()
    }

    /// For how many ticks this node has not heard its leader; 0 without one, and on the leader.
    pub(super) fn leader_silent_ticks(&self) -> u64 {
        self.now.saturating_sub(self.leader_heard_at)
    }

    /// The leader has been silent for so long that a voter would campaign.
    pub(super) fn is_leader_silent(&self) -> bool {
        self.leader_silent_ticks() >= self.timing.missing()
    }

    /// For how many ticks this node has known no leader.
    pub(super) fn leaderless_ticks(&self) -> u64 {
        self.now - self.led_at
    }
}
