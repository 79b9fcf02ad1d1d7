//! Remembers which members a leader sends frames of their own, because they do not answer what it sends to several.

use std::collections::BTreeMap;

use crate::raft::identity::RaftId;

/// The members, and until when.
#[derive(Debug, Default)]
pub(super) struct OwnFrames(BTreeMap<RaftId, u64>);

impl OwnFrames {
    pub(super) fn has(&self, member: RaftId) -> bool {
        self.0.contains_key(&member)
    }

    /// These members have frames of their own `until` then; those whose time is over no more.
    pub(super) fn begin(&mut self, members: Vec<RaftId>, now: u64, until: u64) {
        self.0.retain(|_, until| *until > now);
        self.0.extend(members.into_iter().map(|member| (member, until)));
    }
}
