//! Supplies a member whose storage is overdue with entries: it reports to its leader how far it has received them, and
//! the leader continues to send.
//!
//! Part of `group.rs`. Such a member's answers wait for its disk, so that the leader's window for it would fill. A
//! receipt frees that window, and nothing else: it acknowledges nothing, confirms no leadership, and is no sign of an
//! active voter. A member sends it with each heartbeat, and at once if an append does not fit its log.

use raft_rs::eraftpb::{Message, MessageType};
use raft_rs::{Progress, ProgressState};

use super::{RaftGroup, UNSAVED_BYTES_MAX};
use crate::raft::consensus::guard;
use crate::raft::identity::RaftId;
use crate::raft::wire;
use crate::raft::wire::message::{RaftKind, RaftMessage};

impl RaftGroup {
    /// An answer to an append shows up to where the log matches the leader's. In the leader's term that remains true.
    pub(super) fn note_received(&mut self, answers: &[Message]) {
        let appends = answers.iter().filter(|answer| answer.get_msg_type() == MessageType::MsgAppendResponse);
        let accepted = appends.filter(|answer| !answer.reject).map(|answer| (answer.term, answer.index));
        self.received = accepted.fold(self.received, Ord::max);
    }

    /// Sends the leader a receipt for the answers that need not wait for the storage, and returns those that must wait.
    /// A storage may be overdue for long: answers that a receipt carries, or that repeat a waiting one, are dropped.
    pub(super) fn give_receipts(&mut self, mut answers: Vec<Message>) -> Vec<Message> {
        if self.unsaved_bytes <= UNSAVED_BYTES_MAX {
            let leader = self.raw.raft.leader_id;
            let to_leader = answers.iter().filter(|answer| answer.to == leader && answer.term == self.term());
            let receipts = to_leader.filter_map(|answer| self.receipt_for(answer));
            let receipts: Vec<_> = receipts.map(|receipt| (leader, receipt)).collect();
            self.receipts.extend(receipts);
        }
        let said = |answer: &Message| (answer.to, answer.term, answer.index);
        let waiting = self.unsaved.back().and_then(|unsaved| unsaved.messages.last()).map(said);
        answers.retain(|answer| match answer.get_msg_type() {
            MessageType::MsgHeartbeatResponse => false,
            MessageType::MsgAppendResponse => !answer.reject && Some(said(answer)) != waiting,
            _ => true,
        });
        answers
    }

    fn receipt_for(&self, answer: &Message) -> Option<RaftMessage> {
        let (term, received) = self.received;
        match answer.get_msg_type() {
            MessageType::MsgHeartbeatResponse if term == answer.term => Some(receipt(term, received)),
            MessageType::MsgHeartbeatResponse => Some(receipt(answer.term, 0)),
            MessageType::MsgAppendResponse if answer.reject => Some(RaftMessage {
                log_term: answer.log_term,
                reject: true,
                reject_hint: answer.reject_hint,
                ..receipt(answer.term, answer.index)
            }),
            _ => None,
        }
    }

    /// A member has received entries that it has not saved. The receipt counts only within this node's own log and
    /// term.
    pub(super) fn handle_receipt(&mut self, from: RaftId, receipt: RaftMessage) {
        injected_bug!(CountsReceipts, self.count_receipt(from, &receipt));
        let me = self.raw.raft.id;
        let is_timely = self.is_leader() && receipt.term == self.term() && receipt.index <= self.last_index();
        let answer = wire::incoming(answer_in(&receipt), from, me);
        if !is_timely || from == me || !guard::admits(&self.raw, &answer) {
            return;
        }
        let Some(progress) = self.raw.raft.mut_prs().get_mut(from) else { return };
        let was_active = progress.recent_active;
        follow(progress, &receipt);
        let _ = self.raw.step(answer);
        self.note_receipt(from, &receipt);
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

/// The message that raft-rs gets for a receipt. It says only that an append did not fit, or that its sender lives, so
/// that raft-rs continues to send.
fn answer_in(receipt_heard: &RaftMessage) -> RaftMessage {
    let RaftMessage { term, index, log_term, reject, reject_hint, .. } = *receipt_heard;
    if reject {
        let kind = RaftKind::AppendResponse;
        RaftMessage { kind, log_term, reject, reject_hint, ..receipt(term, index) }
    } else {
        RaftMessage { kind: RaftKind::HeartbeatResponse, ..receipt(term, 0) }
    }
}

/// Sending continues behind what was received; what is acknowledged does not change.
fn follow(progress: &mut Progress, receipt: &RaftMessage) {
    let next_idx = receipt.index + 1;
    match progress.state {
        ProgressState::Replicate if !receipt.reject => progress.ins.free_to(receipt.index),
        // raft-rs would begin again at what is acknowledged. The receipt names the index where the logs match.
        ProgressState::Replicate => progress.become_probe(),
        // The probe has arrived.
        ProgressState::Probe if !receipt.reject && progress.next_idx <= next_idx => {
            progress.become_replicate()
        }
        ProgressState::Probe | ProgressState::Snapshot => return,
    }
    progress.next_idx = progress.next_idx.max(next_idx);
}

fn receipt(term: u64, index: u64) -> RaftMessage {
    RaftMessage::new(RaftKind::Receipt, term, index)
}
