//! The snapshots that a leader is sending, and those that have just arrived. Dropped with its leadership.

use std::collections::BTreeMap;

use crate::raft::identity::{Incarnation, RaftId};
use crate::raft::snapshot::transfer::{Patience, SnapshotReason, Transfer};
use crate::raft::wire::message::Chunk;

#[derive(Debug, Default)]
pub(super) struct OutgoingSnapshots {
    transfers: BTreeMap<RaftId, Transfer>,
    /// Members that received an image: they may not have the log behind it yet.
    arrived: BTreeMap<RaftId, Arrived>,
}

/// The image that a member received last.
#[derive(Clone, Copy, Debug)]
struct Arrived {
    index: u64,
    overtaken: u32,
}

impl OutgoingSnapshots {
    pub(super) fn is_empty(&self) -> bool {
        self.transfers.is_empty() && self.arrived.is_empty()
    }

    pub(super) fn forget(&mut self, member: RaftId) {
        self.transfers.remove(&member);
        self.arrived.remove(&member);
    }

    /// Whether a transfer to this member is under way that serves this reason too.
    pub(super) fn is_sending(&mut self, to: RaftId, reason: SnapshotReason) -> bool {
        let restores = reason == SnapshotReason::Restoration;
        let running = self.transfers.get_mut(&to).filter(|transfer| restores || !transfer.restores);
        let Some(transfer) = running else { return false };
        transfer.is_reported |= reason == SnapshotReason::LogBehind;
        true
    }

    pub(super) fn begin(&mut self, to: RaftId, reason: SnapshotReason, mut transfer: Transfer) {
        transfer.is_reported = reason == SnapshotReason::LogBehind;
        if !transfer.restores
            && let Some(former) = self.arrived.remove(&to)
        {
            transfer.overtaken = former.overtaken + 1;
        }
        self.transfers.insert(to, transfer);
    }

    /// Replaces each transfer whose image ends before the log begins, at `first`. Returns the members whose transfer
    /// raft-rs waits for.
    pub(super) fn overtake(
        &mut self,
        first: u64,
        mut newest: impl FnMut(Incarnation) -> Transfer,
    ) -> Vec<RaftId> {
        let mut reported = Vec::new();
        for (to, transfer) in &mut self.transfers {
            if transfer.restores || transfer.index >= first {
                continue;
            }
            let next = newest(transfer.receiver).overtakes(transfer);
            if std::mem::replace(transfer, next).is_reported {
                reported.push(*to);
            }
        }
        reported
    }

    /// Gives up the transfers whose receiver has been silent for this long. Returns the members whose transfer raft-rs
    /// waits for.
    pub(super) fn tick(&mut self, silent_ticks_max: u64) -> Vec<RaftId> {
        let mut reported = Vec::new();
        self.transfers.retain(|to, transfer| {
            let is_over = transfer.tick(silent_ticks_max) == Patience::Over;
            if is_over && transfer.is_reported {
                reported.push(*to);
            }
            !is_over
        });
        reported
    }

    /// Sends the chunks that are due.
    pub(super) fn send_chunks(&mut self, mut send: impl FnMut(Incarnation, Chunk)) {
        for transfer in self.transfers.values_mut() {
            let receiver = transfer.receiver;
            transfer.chunks().into_iter().for_each(|chunk| send(receiver, chunk));
        }
    }

    /// Whether this is the number of the transfer to this member.
    pub(super) fn is_current(&self, to: Incarnation, number: u64) -> bool {
        let transfer = self.transfers.get(&to.raft_id());
        transfer.is_some_and(|transfer| transfer.number == number && transfer.receiver == to)
    }

    /// A member acknowledged bytes. Returns its transfer if all has arrived.
    pub(super) fn acknowledge(&mut self, to: RaftId, bytes: u64, held: &[(u64, u64)]) -> Option<Transfer> {
        if !self.transfers.get_mut(&to)?.acknowledge(bytes, held) {
            return None;
        }
        let transfer = self.transfers.remove(&to)?;
        if !transfer.restores {
            let arrived = Arrived { index: transfer.index, overtaken: transfer.overtaken };
            self.arrived.insert(to, arrived);
        }
        Some(transfer)
    }

    /// A transfer to this member is under way, over a line that carries little.
    pub(super) fn has_slow_line(&self, member: RaftId) -> bool {
        self.transfers.get(&member).is_some_and(|transfer| transfer.pace().is_narrow())
    }

    /// Some members need the log behind an image: it is under way, or has just arrived.
    pub(super) fn needs_log(&self) -> bool {
        !self.arrived.is_empty() || self.transfers.values().any(|transfer| !transfer.restores)
    }

    /// The index of the image that is under way to a member whose log needs it.
    pub(super) fn sent_index(&self, member: RaftId) -> Option<u64> {
        let transfer = self.transfers.get(&member).filter(|transfer| !transfer.restores);
        transfer.map(|transfer| transfer.index)
    }

    /// The index of the image that a member received last, and behind which it may lack the log.
    pub(super) fn arrived_index(&self, member: RaftId) -> Option<u64> {
        self.arrived.get(&member).map(|arrived| arrived.index)
    }

    /// Members that received an image, and may lack the log behind it.
    pub(super) fn arrived(&self) -> impl Iterator<Item = RaftId> + '_ {
        self.arrived.keys().copied()
    }

    /// These members have the log behind their image, or need it no more.
    pub(super) fn end_arrivals(&mut self, members: &[RaftId]) {
        self.arrived.retain(|member, _| !members.contains(member));
    }

    #[cfg(test)]
    pub(super) fn numbers(&self) -> Vec<u64> {
        self.transfers.values().map(|transfer| transfer.number).collect()
    }
}
