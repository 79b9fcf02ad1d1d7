//! Sends a leader's snapshots to members that need them, and receives one (paper §7).
//!
//! `transfer.rs` cuts an image into chunks; `snapshots.rs` makes the snapshots.

use bytes::Bytes;

use super::output::Output;
use super::replica::Replica;
use crate::raft::consensus::entry::NUMBER_MAX;
use crate::raft::consensus::timing::Timing;
use crate::raft::events::{Position, SnapshotRecord, Target};
use crate::raft::identity::{ClusterUuid, Incarnation, RaftId};
use crate::raft::options::Options;
use crate::raft::snapshot::Snapshot;
use crate::raft::snapshot::transfer::{Patience, Received, Reception, SnapshotReason, Transfer};
use crate::raft::wire::message::{Chunk, SnapshotMessage};

/// The transfers of a node, in either direction.
#[derive(Debug)]
pub(super) struct SnapshotTransfers {
    /// The number of the last transfer to another node.
    last_number: u64,
    /// A snapshot that is being received.
    reception: Option<Reception>,
}

impl SnapshotTransfers {
    /// The numbers of transfers continue after `last_number`: a chunk of a former one may still be in flight.
    pub(super) fn new(last_number: u64) -> Self {
        Self { last_number, reception: None }
    }

    pub(super) fn reception(&self) -> Option<&Reception> {
        self.reception.as_ref()
    }

    /// The node has left its cluster.
    pub(super) fn drop_reception(&mut self) {
        self.reception = None;
    }

    /// Sends the newest snapshot to a member, unless it is already being sent. A transfer that restores a state gives
    /// way to one that a log needs, never the reverse: raft-rs waits for the end of the latter, which restores as well.
    pub(super) fn send(
        &mut self,
        to: RaftId,
        reason: SnapshotReason,
        replica: &mut Replica,
        options: &Options,
    ) {
        let SnapshotRecord { position: Position { index, .. }, image } =
            replica.group.log().snapshot().clone();
        let Some(receiver) = replica.members.incarnation(to) else { return };
        // A node that joins a recovered cluster gives up its log for this image, and an image from before the recovery
        // may lack what that log has. If no newer one can be taken, the log behind the image must suffice.
        let is_older = index < replica.epoch_index;
        injected_bug!(SendsImageOfFormerCluster, is_older => false);
        if is_older && !replica.snapshots.has_failed() {
            return replica.snapshots.want();
        }
        let Some(leader_state) = &mut replica.leader_state else { return };
        if leader_state.outgoing.is_sending(to, reason) {
            return;
        }
        let (number, term) = (self.next_number(), replica.group.term());
        let restores = reason == SnapshotReason::Restoration;
        let transfer = Transfer::new(number, term, receiver, (index, image), options, restores);
        leader_state.outgoing.begin(to, reason, transfer);
    }

    /// Starts the transfers that raft-rs requests, and sends the chunks that are due.
    pub(super) fn advance(&mut self, replica: &mut Replica, options: &Options, output: &mut Output) {
        if replica.group.log().takes_wish_for_snapshot() {
            replica.snapshots.want();
        }
        for to in replica.group.take_wants_snapshot() {
            self.send(to, SnapshotReason::LogBehind, replica, options);
        }
        self.overtake(replica, options);
        let Some(leader_state) = &mut replica.leader_state else { return };
        leader_state
            .outgoing
            .send_chunks(|to, chunk| output.send(Target::One(to), SnapshotMessage::Chunk(chunk)));
    }

    /// Replaces each transfer whose image no longer connects to the log by one of the newest image.
    fn overtake(&mut self, replica: &mut Replica, options: &Options) {
        let Some(leader_state) = &mut replica.leader_state else { return };
        let (first, term) = (replica.group.log().compacted().index, replica.group.term());
        let SnapshotRecord { position, image } = replica.group.log().snapshot().clone();
        injected_bug!(RestartsTransfer, first => position.index);
        let failed = leader_state.outgoing.overtake(first, |receiver| {
            let (number, image) = (self.next_number(), (position.index, image.clone()));
            Transfer::new(number, term, receiver, image, options, false)
        });
        for member in failed {
            // It will request another.
            replica.group.report_snapshot(member, false);
        }
    }

    pub(super) fn tick(&mut self, replica: Option<&mut Replica>, timing: Timing) {
        let patience = timing.transfer_given_up();
        // Its sender gave up too, or has ended: another may send.
        self.reception.take_if(|reception| reception.tick(patience) == Patience::Over);
        let Some(replica) = replica else { return };
        replica.tick_arrived();
        let Some(leader_state) = &mut replica.leader_state else { return };
        for member in leader_state.outgoing.tick(patience) {
            replica.group.report_snapshot(member, false);
        }
    }

    /// A part of a snapshot arrived. Returns the snapshot and its image once all parts are here.
    pub(super) fn receive(
        &mut self,
        from: Incarnation,
        chunk: &Chunk,
        output: &mut Output,
    ) -> Option<(Box<Snapshot>, Bytes)> {
        // A chunk of a former leader, or of an earlier transfer, is late: it must not end the present transfer.
        if self.reception.as_ref().is_some_and(|running| !running.gives_way_to(from, chunk)) {
            return None;
        }
        let reception = self.reception.take().filter(|reception| reception.is_of(from, chunk.transfer));
        let mut reception = reception.unwrap_or_else(|| Reception::new(from, chunk.transfer, chunk.term));
        let mut acknowledge = |bytes, held| {
            let transfer = chunk.transfer;
            output.send(Target::One(from), SnapshotMessage::ChunkReceived { transfer, bytes, held });
        };
        match reception.take(chunk) {
            Received::Part => {
                let (bytes, held) = reception.parts();
                acknowledge(bytes, held);
                self.reception = Some(reception);
                None
            }
            Received::Broken => None,
            Received::Whole { snapshot, image } => {
                acknowledge(chunk.total, Vec::new());
                Some((snapshot, image))
            }
        }
    }

    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}

/// A receiver acknowledged bytes of a transfer.
pub(super) fn handle_received(
    from: Incarnation,
    number: u64,
    bytes: u64,
    held: &[(u64, u64)],
    replica: &mut Replica,
) {
    let Some(leader_state) = &mut replica.leader_state else { return };
    let to = from.raft_id();
    if !leader_state.outgoing.is_current(from, number) {
        return;
    }
    replica.liveness.note_heard(to);
    let Some(transfer) = leader_state.outgoing.acknowledge(to, bytes, held) else { return };
    let is_reported = transfer.is_reported;
    injected_bug!(ReportsNoSnapshot, is_reported => false);
    if is_reported {
        replica.group.report_snapshot(to, true);
    }
    if !transfer.restores {
        replica.group.begin_behind_image(to, transfer.index, transfer.pace());
    }
}

/// Whether this replica takes chunks from this sender: they are of its cluster and of a leader that may be the present
/// one.
pub(super) fn is_expected(from: Incarnation, cluster: ClusterUuid, chunk: &Chunk, replica: &Replica) -> bool {
    let leader = replica.group.leader().filter(|_| chunk.term == replica.group.term());
    replica.cluster == cluster
        && (replica.group.term()..NUMBER_MAX).contains(&chunk.term)
        && !replica.is_frozen()
        && leader.is_none_or(|leader| leader == from.raft_id())
}
