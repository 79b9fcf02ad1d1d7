//! What JavaScript made of a batch of requests.
//!
//! Made by `leader_sessions.rs`, which learns from the node whether its entries were appended.

use bytes::Bytes;

use super::session::Evaluation;
use crate::raft::consensus::entry::RequestId;
use crate::raft::coordination::SystemAction;
use crate::raft::identity::RaftId;
use crate::raft::wire::message::Outcome;

/// The evaluated part of a batch, its entries still to be proposed.
#[derive(Debug)]
pub struct EvaluatedBatch {
    /// (context, data) of each entry, in order; data is the action, and empty where an entry records outcomes only.
    pub entries: Vec<(Bytes, Bytes)>,
    pub(super) outcomes: Vec<(RequestId, Outcome)>,
    pub(super) evaluated: Vec<Evaluation>,
    /// The leader's own actions, which are the first entries.
    pub(super) system: Vec<SystemAction>,
    pub(super) micros: u64,
    /// JavaScript stopped before the end of the batch, and has another one, which is void.
    pub(super) voids_next: bool,
}

impl EvaluatedBatch {
    /// If one of these members were removed, the batch would not change what JavaScript saw: the origins of the
    /// evaluated requests, and the members that get a session.
    pub fn members(&self) -> impl Iterator<Item = RaftId> + '_ {
        let origins = self.evaluated.iter().map(|evaluation| evaluation.origin);
        origins.chain(self.system.iter().filter_map(SystemAction::member_needed))
    }

    pub fn has_outcomes(&self) -> bool {
        !self.outcomes.is_empty()
    }

    pub fn voids_next(&self) -> bool {
        self.voids_next
    }
}
