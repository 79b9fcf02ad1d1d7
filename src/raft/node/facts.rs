//! What the bootstrap needs to know about this node and its Raft group.
//!
//! Part of `node.rs`.

use super::Node;
use crate::raft::bootstrap::Facts;
use crate::raft::group::RaftGroup;

impl Node {
    pub(super) fn facts(&self) -> Facts {
        let group = self.replica.as_ref().map(|replica| &replica.group);
        Facts {
            is_leader: group.is_some_and(RaftGroup::is_leader),
            members_index: group.map_or(0, RaftGroup::members_index),
            has_leader: self.replica.as_ref().is_some_and(|replica| replica.leader().is_some()),
            has_seen_commit: group.is_some_and(RaftGroup::has_seen_commit),
            holds_actions: group.is_some_and(RaftGroup::holds_actions),
            holds_committed_actions: group.is_some_and(RaftGroup::holds_committed_actions),
            is_closing: self.closing.is_some(),
            cluster_was_found: self.cluster_was_found,
            channel_is_healthy: self.channel.is_healthy(),
        }
    }
}
