//! This file asks raft-rs who votes and who learns, and changes it (paper §6, thesis §4).
//!
//! Part of `group.rs`. When to change it is decided in `steward.rs`.

use protobuf::Message as _;
use raft_rs::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType};

use super::{Dropped, Group};
use crate::raft::identity::RaftId;

impl Group {
    /// The configuration as of the last change that was applied.
    pub fn conf_state(&self) -> ConfState {
        self.raw.raft.prs().conf().to_conf_state()
    }

    pub fn is_voter(&self, id: RaftId) -> bool {
        self.raw.raft.prs().conf().voters().contains(id)
    }

    /// Votes, also when a joint configuration is left.
    pub fn stays_voter(&self, id: RaftId) -> bool {
        self.conf_state().voters.contains(&id)
    }

    /// In the configuration at all. This node itself always is (`stay`).
    pub fn is_member(&self, id: RaftId) -> bool {
        self.raw.raft.prs().get(id).is_some()
    }

    /// Between two configurations (paper §6).
    pub fn is_joint(&self) -> bool {
        !self.conf_state().voters_outgoing.is_empty()
    }

    /// A change may be in the log that is not applied here: another one proposed now would vanish in silence.
    pub fn has_pending_change(&self) -> bool {
        self.raw.raft.has_pending_conf()
    }

    /// Proposes a change of the configuration; to be called only while none is pending. Of several changes raft-rs makes
    /// a joint configuration, which its leader leaves by itself (paper §6, thesis §4.3).
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

    /// Applies a committed change of the configuration; one that it contains already changes nothing.
    pub fn apply_change(&mut self, entry: &Entry) {
        if entry.index <= self.conf_index {
            return;
        }
        self.conf_index = entry.index;
        let Ok(mut change) = ConfChangeV2::parse_from_bytes(&entry.data) else { return };
        let me = self.raw.raft.id;
        for single in change.changes.iter_mut().filter(|single| single.node_id == me) {
            // Others go; this node stays a learner to itself (`stay`).
            if single.get_change_type() == ConfChangeType::RemoveNode {
                single.set_change_type(ConfChangeType::AddLearnerNode);
            }
        }
        // raft-rs refuses what makes no sense in the present configuration; it does so on every node alike.
        let _ = self.raw.apply_conf_change(&change);
        self.bound_windows();
    }

    /// A quorum knows that the present configuration is committed, as far as this leader knows. Until then others may
    /// still go by the one before: raft-rs changes it when an entry is applied, the paper when it is appended (§6).
    pub fn is_change_known(&self) -> bool {
        let (me, members) = (self.raw.raft.id, self.raw.raft.prs());
        let know =
            members.iter().filter(|(id, progress)| **id == me || progress.committed_index >= self.conf_index);
        members.has_quorum(&know.map(|(id, _)| *id).collect())
    }

    /// The configuration becomes that of one voter, whatever it was: the cluster was recovered (`entry.rs`).
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

/// To itself, a node that is removed stays in the configuration, as a learner: a leader that goes has to commit what it
/// appended, and raft-rs panics where a leader that is nowhere in the configuration commits. Learners count nowhere; images
/// do not name it.
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
