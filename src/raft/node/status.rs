//! Describes a node to its application.

use std::sync::Arc;

use super::Node;
use crate::raft::events::Role;
use crate::raft::identity::ClusterUuid;
use crate::raft::status::Status;

impl Node {
    pub fn status(&self) -> Status {
        let mut status = Status {
            id: self.options.id.clone(),
            incarnation: self.bootstrap.me(),
            cluster: ClusterUuid::NONE,
            role: Role::Follower,
            term: 0,
            leader: None,
            commit_index: 0,
            applied_index: 0,
            last_index: 0,
            members: Arc::from([]),
            cluster_size: self.bootstrap.cluster_size(),
            snapshot_index: 0,
            diverged: None,
            missing: self.missing().into(),
            fault_tolerance: 0,
            pending: self.client_session.len(),
            waiting_for: self.bootstrap.waiting_for().map(Arc::from),
            is_caught_up: self.is_caught_up,
            ignored_frames: self.ignored_frames,
        };
        if let Some(replica) = &self.replica {
            replica.describe(&mut status);
            let election_ticks = self.timing.election();
            status.fault_tolerance = replica.fault_tolerance(self.bootstrap.me().raft_id(), election_ticks);
        }
        if let Some(reception) = self.reception.as_ref().filter(|_| status.diverged.is_none()) {
            status.waiting_for = Some(reception.describe().into());
        }
        status
    }
}
