//! Remembers the members to which a leader sends separate frames, because they do not answer shared ones.

use std::collections::BTreeMap;

use crate::raft::identity::RaftId;

/// The members, and until when.
#[derive(Debug, Default)]
pub(super) struct SeparateFrames(BTreeMap<RaftId, u64>);

impl SeparateFrames {
    pub(super) fn has(&self, member: RaftId) -> bool {
        self.0.contains_key(&member)
    }

    /// These members get separate frames `until` then; forgets members whose time is over.
    pub(super) fn begin(&mut self, members: Vec<RaftId>, now: u64, until: u64) {
        self.0.retain(|_, until| *until > now);
        self.0.extend(members.into_iter().map(|member| (member, until)));
    }
}
