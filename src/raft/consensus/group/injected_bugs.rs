//! Holds what a group does wrong while a known bug is reintroduced (`testing/bugs.rs`).

use raft_rs::eraftpb::Message;

use super::RaftGroup;
use crate::raft::identity::RaftId;
use crate::raft::wire;
use crate::raft::wire::message::{RaftKind, RaftMessage};

impl RaftGroup {
    /// Sends what should wait for the write; returns that nothing waits.
    pub(super) fn leaves_unsaved(&mut self, messages: Vec<Message>) -> Vec<Message> {
        self.out.extend(messages);
        Vec::new()
    }

    /// A receipt is stepped as an acknowledgement.
    pub(super) fn count_receipt(&mut self, from: RaftId, receipt: &RaftMessage) {
        if !receipt.reject && receipt.index > 0 {
            self.step(from, RaftMessage { kind: RaftKind::AppendResponse, ..receipt.clone() });
        }
    }

    /// One more voter of an even number votes as this one did, so that half of them elect a leader.
    pub(super) fn counts_twice(&mut self, from: RaftId, message: &RaftMessage) {
        let conf = self.conf_state();
        let is_vote =
            matches!(message.kind, RaftKind::RequestVoteResponse | RaftKind::RequestPreVoteResponse);
        if !is_vote || conf.voters.len() % 2 == 1 {
            return;
        }
        if let Some(other) = conf.voters.iter().find(|voter| ![from, self.raw.raft.id].contains(voter)) {
            let message = wire::incoming(message.clone(), *other, self.raw.raft.id);
            let _ = self.raw.step(message);
        }
    }
}
