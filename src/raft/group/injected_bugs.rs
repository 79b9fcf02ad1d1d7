//! Holds what a group does wrong while a known bug is put back (`testing/bugs.rs`).

use raft_rs::eraftpb::Message;

use super::RaftGroup;
use crate::raft::frame::{RaftKind, RaftMessage};
use crate::raft::identity::RaftId;
use crate::raft::testing::bugs::{Bug, is_back};
use crate::raft::wire;

impl RaftGroup {
    /// Gives back what waits for the write.
    pub(super) fn leaves_unsaved(&mut self, messages: Vec<Message>) -> Vec<Message> {
        if !is_back(Bug::AnswersBeforeSaving) {
            return messages;
        }
        self.out.extend(messages);
        Vec::new()
    }

    /// One more voter of an even number votes as this one did, so that half of them elect a leader.
    pub(super) fn counts_twice(&mut self, from: RaftId, message: &RaftMessage) {
        let conf = self.conf_state();
        let is_vote =
            matches!(message.kind, RaftKind::RequestVoteResponse | RaftKind::RequestPreVoteResponse);
        if !is_back(Bug::CountsHalfAsQuorum) || !is_vote || conf.voters.len() % 2 == 1 {
            return;
        }
        if let Some(other) = conf.voters.iter().find(|voter| ![from, self.raw.raft.id].contains(voter)) {
            let message = wire::incoming(message.clone(), *other, self.raw.raft.id);
            let _ = self.raw.step(message);
        }
    }
}
