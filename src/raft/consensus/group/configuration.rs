//! Reads the configuration of raft-rs, and changes it (paper §6, thesis §4).
//!
//! Part of `group.rs`. `planner.rs` decides when to change it.

use protobuf::Message as _;
use raft_rs::Changer;
use raft_rs::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType};

use super::{Dropped, RaftGroup};
use crate::raft::identity::RaftId;

impl RaftGroup {
    /// The configuration as of the last change that was applied.
    pub fn conf_state(&self) -> ConfState {
        self.raw.raft.prs().conf().to_conf_state()
    }

    /// raft-rs uses a leader's snapshot that [`Self::take_installed`] has not reported yet.
    pub fn is_installing(&self) -> bool {
        self.installing.as_ref().is_some_and(|installing| !installing.is_followed) || self.has_installed
    }

    pub fn is_voter(&self, id: RaftId) -> bool {
        self.raw.raft.prs().conf().voters().contains(id)
    }

    pub fn is_learner(&self, id: RaftId) -> bool {
        self.raw.raft.prs().conf().learners().contains(&id)
    }

    /// Whether these are a majority of the voters, in both halves of a joint configuration (paper §6).
    pub fn is_quorum(&self, members: impl Iterator<Item = RaftId>) -> bool {
        self.raw.raft.prs().has_quorum(&members.collect())
    }

    /// Whether the member votes, also after a joint configuration is left and after pending changes are applied.
    pub fn stays_voter(&self, id: RaftId) -> bool {
        let takes_vote = |single: &ConfChangeSingle| {
            single.node_id == id && single.get_change_type() != ConfChangeType::AddNode
        };
        self.conf_state().voters.contains(&id)
            && !self.unapplied_changes().any(|change| change.changes.iter().any(takes_vote))
    }

    /// The changes in the log that are not applied, committed or not.
    fn unapplied_changes(&self) -> impl Iterator<Item = ConfChangeV2> + '_ {
        let applied = self.raw.raft.raft_log.applied.max(self.conf_index);
        let entries = self.raw.store().entries_from(applied + 1);
        entries
            .filter(|entry| entry.entry_type != EntryType::EntryNormal)
            .filter_map(|entry| ConfChangeV2::parse_from_bytes(&entry.data).ok())
    }

    /// Whether the configuration contains the node. It always contains this node (`stay`).
    pub fn is_member(&self, id: RaftId) -> bool {
        self.raw.raft.prs().get(id).is_some()
    }

    /// In a joint configuration (paper §6).
    pub fn is_joint(&self) -> bool {
        !self.conf_state().voters_outgoing.is_empty()
    }

    /// The log may contain an unapplied change: raft-rs would silently drop another one.
    pub fn has_pending_change(&self) -> bool {
        self.raw.raft.has_pending_conf()
    }

    /// Proposes a change of the configuration; to be called only while none is pending. Several changes become a joint
    /// configuration, which raft-rs's leader leaves by itself (paper §6, thesis §4.3).
    pub fn propose_change(
        &mut self,
        changes: &[(ConfChangeType, RaftId)],
        context: Vec<u8>,
    ) -> Result<(), Dropped> {
        let change = change_of(changes.iter().copied());
        let data = change.write_to_bytes().map_err(|_| Dropped)?;
        let (data, context, entry_type) = (data.into(), context.into(), EntryType::EntryConfChangeV2);
        self.step_proposal(vec![Entry { entry_type, data, context, ..Entry::default() }])
    }

    /// The index of the last applied change of the members; never 0.
    pub fn members_index(&self) -> u64 {
        self.conf_index + 1
    }

    /// Applies a committed change of the configuration; one that it contains already changes nothing.
    pub fn apply_change(&mut self, entry: &Entry) {
        if entry.index <= self.conf_index {
            return;
        }
        self.conf_index = entry.index;
        let Some(change) = self.change_in(entry) else { return };
        // raft-rs rejects a change that is invalid in the present configuration, on every node in the same way.
        let _ = self.raw.apply_conf_change(&change);
        self.bound_windows();
        let conf = self.raw.raft.prs().conf();
        self.learners_answered_at.retain(|member, _| conf.learners().contains(member));
    }

    fn change_in(&self, entry: &Entry) -> Option<ConfChangeV2> {
        let mut change = ConfChangeV2::parse_from_bytes(&entry.data).ok()?;
        let me = self.raw.raft.id;
        for single in change.changes.iter_mut().filter(|single| single.node_id == me) {
            // In its own configuration a removed node stays a learner (`stay`).
            if single.get_change_type() == ConfChangeType::RemoveNode {
                single.set_change_type(ConfChangeType::AddLearnerNode);
            }
        }
        Some(change)
    }

    /// Whether a leader must not apply this committed entry yet: it changes the voters, and a quorum of the new voters
    /// does not know that it is committed. raft-rs changes the configuration when an entry is applied, the paper when
    /// it is appended (§6). If the leader used the new configuration and died, the remaining nodes might be a majority
    /// of the new one that all use the previous one, in which they are not a majority. Until then it needs the quorum
    /// of the present configuration, of both halves if that is joint: every quorum of the one before, and of the new
    /// one, meets that. A joint configuration is entered immediately, because its quorum is stricter.
    pub(super) fn must_wait(&self, entry: &Entry) -> bool {
        if entry.entry_type == EntryType::EntryNormal || !self.is_leader() || entry.index <= self.conf_index {
            return false;
        }
        injected_bug!(AppliesChangeAtOnce, return false);
        let Some(next) = self.voters_after(entry) else { return false };
        let knowing = next.iter().filter(|voter| self.knows(**voter, entry.index)).count();
        knowing <= next.len() / 2
    }

    /// The voters after the change whose commit others must know first, if it is the only one in the log.
    #[cfg(test)]
    pub fn voters_awaited(&self) -> Option<Vec<RaftId>> {
        let waiting = self.committed.front().filter(|entry| self.must_wait(entry))?;
        if self.unapplied_changes().count() == 1 { self.voters_after(waiting) } else { None }
    }

    /// The voters after this change; `None` if it leads to a joint configuration, or does not change the voters.
    fn voters_after(&self, entry: &Entry) -> Option<Vec<RaftId>> {
        let change = self.change_in(entry)?;
        let mut changer = Changer::new(self.raw.raft.prs());
        let (next, _) = if change.leave_joint() {
            changer.leave_joint()
        } else if change.enter_joint().is_some() {
            return None;
        } else {
            changer.simple(&change.changes)
        }
        .ok()?;
        let (former, mut next) = (self.conf_state(), next.to_conf_state().voters);
        let mut voters = former.voters;
        voters.sort_unstable();
        next.sort_unstable();
        (voters != next || !former.voters_outgoing.is_empty()).then_some(next)
    }

    /// Whether a member knows, even after a restart, that the log up to `index` is committed.
    fn knows(&self, member: RaftId, index: u64) -> bool {
        if member == self.raw.raft.id {
            return self.saved_commit >= index;
        }
        self.raw.raft.prs().get(member).is_some_and(|progress| progress.committed_index >= index)
    }

    /// Whether, to this leader's knowledge, a quorum knows that the present configuration is committed. Until then
    /// other nodes may still use the previous one.
    pub fn is_change_known(&self) -> bool {
        let members = self.raw.raft.prs();
        let know = members.iter().map(|(id, _)| *id).filter(|id| self.knows(*id, self.conf_index));
        members.has_quorum(&know.collect())
    }

    /// Replaces any configuration by that of one voter: the cluster was recovered (`entry.rs`).
    pub fn force_sole_voter(&mut self, sole: RaftId, index: u64) {
        if index <= self.conf_index {
            return;
        }
        self.conf_index = index;
        let leave = ConfChangeV2::default();
        if self.is_joint() {
            let _ = self.raw.apply_conf_change(&leave);
        }
        let conf = self.conf_state();
        let others = conf.voters.iter().chain(&conf.learners).filter(|id| **id != sole);
        let others = others.map(|id| (ConfChangeType::RemoveNode, *id));
        let change = change_of([(ConfChangeType::AddNode, sole)].into_iter().chain(others));
        let _ = self.raw.apply_conf_change(&change);
        if self.is_joint() {
            let _ = self.raw.apply_conf_change(&leave);
        }
    }
}

/// A removed node stays a learner in its own configuration: a leader that is removed must commit what it appended, and
/// raft-rs panics if a leader outside the configuration commits. Learners do not count in quorums, and images do not
/// name it.
pub fn stay(me: RaftId, conf: &mut ConfState) {
    if conf.voters_outgoing.contains(&me) && !conf.voters.contains(&me) && !conf.learners_next.contains(&me) {
        conf.learners_next.push(me);
    }
}

fn change_of(singles: impl Iterator<Item = (ConfChangeType, RaftId)>) -> ConfChangeV2 {
    let singles = singles.map(|(kind, node_id)| {
        let mut single = ConfChangeSingle { node_id, ..ConfChangeSingle::default() };
        single.set_change_type(kind);
        single
    });
    ConfChangeV2 { changes: singles.collect(), ..ConfChangeV2::default() }
}
