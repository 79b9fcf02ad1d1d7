//! This file keeps a member whose storage is overdue supplied with entries: it tells its leader how far it has received
//! them, and the leader sends on.
//!
//! Part of `group.rs`. Such a member's answers wait for its disk, so that the leader's window for it would fill. A receipt
//! frees that window, and nothing else: it acknowledges nothing, confirms no leadership, and is no sign of an active
//! voter. It comes with each heartbeat, and at once where an append did not fit to the log.

use raft_rs::ProgressState;
use raft_rs::eraftpb::{Message, MessageType};

use super::{Group, UNSAVED_BYTES_MAX};
use crate::raft::frame::{RaftKind, RaftMessage};
use crate::raft::identity::RaftId;
#[cfg(test)]
use crate::raft::testing::bugs::{Bug, is_back};
use crate::raft::{guard, wire};

impl Group {
    /// An answer to an append says how far the log is the leader's, and in its term that stays so.
    pub(super) fn note_received(&mut self, answers: &[Message]) {
        let appends = answers.iter().filter(|answer| answer.get_msg_type() == MessageType::MsgAppendResponse);
        let accepted = appends.filter(|answer| !answer.reject).map(|answer| (answer.term, answer.index));
        self.received = accepted.fold(self.received, Ord::max);
    }

    /// Tells the leader what of these answers need not wait for the storage.
    pub(super) fn give_receipts(&mut self, answers: &[Message]) {
        if self.unsaved_bytes > UNSAVED_BYTES_MAX {
            return;
        }
        let (term, leader) = (self.term(), self.raw.raft.leader_id);
        let (received_term, received) = self.received;
        let received = if received_term == term { received } else { 0 };
        let to_leader = answers.iter().filter(|answer| answer.to == leader && answer.term == term);
        let receipts = to_leader.filter_map(|answer| match answer.get_msg_type() {
            MessageType::MsgHeartbeatResponse => Some(receipt(term, received)),
            MessageType::MsgAppendResponse if answer.reject => Some(RaftMessage {
                log_term: answer.log_term,
                reject: true,
                reject_hint: answer.reject_hint,
                ..receipt(term, answer.index)
            }),
            _ => None,
        });
        self.receipts.extend(receipts.map(|receipt| (leader, receipt)));
    }

    /// A member has received entries that it has not saved. It is believed within this node's own log and term.
    pub(super) fn hear_receipt(&mut self, from: RaftId, receipt: RaftMessage) {
        #[cfg(test)]
        if is_back(Bug::CountsReceipts) && !receipt.reject && receipt.index > 0 {
            return self.step(from, RaftMessage { kind: RaftKind::AppendResponse, ..receipt });
        }
        let (is_reject, index) = (receipt.reject, receipt.index);
        // raft-rs is told the least that such an answer can say.
        let kind = if is_reject { RaftKind::AppendResponse } else { RaftKind::HeartbeatResponse };
        let answer = RaftMessage {
            kind,
            log_term: if is_reject { receipt.log_term } else { 0 },
            reject_hint: if is_reject { receipt.reject_hint } else { 0 },
            commit: 0,
            commit_term: 0,
            context: Default::default(),
            entries: Vec::new(),
            ..receipt
        };
        let answer = wire::incoming(answer, from, self.raw.raft.id);
        if !self.is_leader() || answer.term != self.term() || index > self.last_index() {
            return;
        }
        if from == self.raw.raft.id || !guard::admits(&self.raw, &answer) {
            return;
        }
        let Some(progress) = self.raw.raft.mut_prs().get_mut(from) else { return };
        let was_active = progress.recent_active;
        match progress.state {
            // raft-rs would begin again at what is acknowledged. Where the logs meet is in the answer.
            ProgressState::Replicate if is_reject => {
                progress.become_probe();
                progress.next_idx = progress.next_idx.max(index + 1);
            }
            ProgressState::Replicate => {
                progress.ins.free_to(index);
                progress.next_idx = progress.next_idx.max(index + 1);
            }
            // The probe has arrived.
            ProgressState::Probe if !is_reject && progress.next_idx <= index + 1 => {
                progress.become_replicate();
                progress.next_idx = progress.next_idx.max(index + 1);
            }
            ProgressState::Probe | ProgressState::Snapshot => {}
        }
        let _ = self.raw.step(answer);
        self.send_more(from);
        if let Some(progress) = self.raw.raft.mut_prs().get_mut(from) {
            progress.recent_active = was_active;
        }
    }

    /// Sends entries as far as the window allows.
    fn send_more(&mut self, to: RaftId) {
        let last_index = self.last_index();
        let next = |group: &Self| {
            let progress = group.raw.raft.prs().get(to)?;
            (!progress.is_paused() && progress.next_idx <= last_index).then_some(progress.next_idx)
        };
        while let Some(before) = next(self) {
            self.raw.raft.send_append(to);
            if next(self) == Some(before) {
                return;
            }
        }
    }
}

fn receipt(term: u64, index: u64) -> RaftMessage {
    RaftMessage {
        kind: RaftKind::Receipt,
        term,
        log_term: 0,
        index,
        commit: 0,
        commit_term: 0,
        reject: false,
        reject_hint: 0,
        context: Default::default(),
        entries: Vec::new(),
    }
}
