//! Takes snapshots, compacts the log that they cover, sends them to lagging members, and installs a leader's (paper
//! §7).
//!
//! Part of `node.rs`.

use bytes::Bytes;

use super::Node;
use super::leader_state::Arrived;
use super::replica::Replica;
use crate::error::Error;
use crate::raft::entry::NUMBER_MAX;
use crate::raft::events::{
    CallOutcome, Delivery, FailureOutcome, Position, SnapshotRecord, TakenSnapshot, Target, Warning, Write,
};
use crate::raft::frame::{Chunk, Message, Outcome};
use crate::raft::identity::{ClusterUuid, Incarnation, RaftId};
use crate::raft::requests::RequestStatus;
use crate::raft::snapshot::Snapshot;
use crate::raft::transfer::{Patience, Received, Reception, SnapshotReason, Transfer};

/// A leader that would be blocked for longer first transfers leadership.
const LEADER_MICROS_MAX: u64 = 100_000;

impl Node {
    /// Adds the taking of a snapshot to the batch, if one is due.
    pub(super) fn take_snapshot(&mut self, batch: &mut Vec<Delivery>) {
        let timing = self.timing;
        let Some(replica) = &mut self.replica else { return };
        let last = replica.group.log().snapshot();
        // A leader's snapshot may be in the log already, and not delivered yet.
        let entries = replica.delivered_index.saturating_sub(last.position.index);
        // What a snapshot covers has to be durable: raft-rs knows of nothing else as applied, and the log is cut behind
        // it.
        let is_saved = replica.delivered_index <= replica.group.saved_index();
        if replica.divergence.is_diverged() || !is_saved || !replica.snapshots.is_due(replica.now, entries) {
            return;
        }
        let micros = replica.snapshots.expected_micros(last.image.len());
        let blocks_leader = replica.group.is_leader() && micros > LEADER_MICROS_MAX;
        if blocks_leader && replica.keeps_log() && !replica.snapshots.is_wanted() {
            // The images under way would end with the leadership, and the log would not be shorter.
            return;
        }
        if blocks_leader && replica.snapshots.begin_leadership_transfer(replica.now, timing) {
            return self.transfer_leadership(None);
        }
        let index = replica.delivered_index;
        let table = replica.table.clone();
        injected_bug!(ForgetsRequestTable, table => replica.table.without_requests());
        let term = replica
            .group
            .log()
            .term_at(index)
            .expect("what was delivered is in the log until it is compacted");
        replica.snapshots.begin(Snapshot {
            position: Position { index, term },
            conf_state: replica.conf_state(),
            members: replica.members.clone(),
            table,
            state: None,
        });
        batch.push(Delivery::TakeSnapshot);
    }

    /// JavaScript took the requested snapshot, or failed to.
    pub(super) fn snapshot_taken(&mut self, taken: TakenSnapshot) {
        let tick_micros = self.options.tick_micros.max(1);
        let Some(replica) = &mut self.replica else { return };
        let Some(mut snapshot) = replica.snapshots.take_pending() else { return };
        match taken.state {
            Ok(state) => {
                replica.snapshots.succeeded(replica.now, taken.micros, tick_micros);
                // A leader's snapshot may have overtaken it.
                if snapshot.position.index <= replica.group.log().snapshot().position.index {
                    return;
                }
                snapshot.state = Some(state);
                // What is compacted must be applied, as raft-rs sees it.
                replica.reduced(snapshot.position.index);
                let write = replica.keep(&snapshot);
                self.output.persist(write);
            }
            Err(why) => {
                if replica.snapshots.failed(replica.now, taken.micros, tick_micros, &why) {
                    self.output.warn(Warning::SnapshotFailed { why });
                }
            }
        }
    }

    /// Sends the newest snapshot to a member, unless it is already being sent. A transfer that restores a state gives
    /// way to one that a log needs, never the reverse: raft-rs waits for the end of the latter, which restores as well.
    pub(super) fn send_snapshot(&mut self, to: RaftId, reason: SnapshotReason) {
        let restores = reason == SnapshotReason::Restoration;
        let is_reported = reason == SnapshotReason::LogBehind;
        let Some(replica) = &mut self.replica else { return };
        let SnapshotRecord { position: Position { index, .. }, image } =
            replica.group.log().snapshot().clone();
        let term = replica.group.term();
        let Some(receiver) = replica.members.incarnation(to) else { return };
        // A node that joins a recovered cluster gives up a log for this image: one from before the recovery may lack
        // what that log has. Where none can be taken, the log behind the image has to do.
        let is_older = replica.group.log().snapshot().position.index < replica.epoch_index;
        injected_bug!(SendsImageOfFormerCluster, is_older => false);
        if is_older && !replica.snapshots.has_failed() {
            return replica.snapshots.want();
        }
        let Some(leader_state) = &mut replica.leader_state else { return };
        let running =
            leader_state.snapshot_transfers.get_mut(&to).filter(|transfer| restores || !transfer.restores);
        if let Some(transfer) = running {
            transfer.is_reported |= is_reported;
            return;
        }
        self.last_transfer_number += 1;
        let mut transfer =
            Transfer::new(self.last_transfer_number, term, receiver, (index, image), &self.options, restores);
        transfer.is_reported = is_reported;
        if !restores && let Some(former) = leader_state.arrived.remove(&to) {
            transfer.overtaken = former.overtaken + 1;
        }
        leader_state.snapshot_transfers.insert(to, transfer);
    }

    /// Replaces each transfer whose image no longer connects to the log by one of the newest image.
    fn overtake_transfers(&mut self) {
        let Some(replica) = &mut self.replica else { return };
        let Some(leader_state) = &mut replica.leader_state else { return };
        let (first, term) = (replica.group.log().compacted().index, replica.group.term());
        let SnapshotRecord { position, image } = replica.group.log().snapshot().clone();
        injected_bug!(RestartsTransfer, first => position.index);
        for (to, transfer) in &mut leader_state.snapshot_transfers {
            if transfer.restores || transfer.index >= first {
                continue;
            }
            self.last_transfer_number += 1;
            let image = (position.index, image.clone());
            let next = Transfer::new(
                self.last_transfer_number,
                term,
                transfer.receiver,
                image,
                &self.options,
                false,
            );
            let former = std::mem::replace(transfer, next.overtakes(transfer));
            if former.is_reported {
                // It will wish another.
                replica.group.report_snapshot(*to, false);
            }
        }
    }

    /// Starts the transfers that raft-rs requests, and sends the chunks that are due.
    pub(super) fn continue_transfers(&mut self) {
        let Some(replica) = &mut self.replica else { return };
        if replica.group.log().takes_wish_for_snapshot() {
            replica.snapshots.want();
        }
        for to in replica.group.take_wants_snapshot() {
            self.send_snapshot(to, SnapshotReason::LogBehind);
        }
        self.overtake_transfers();
        let Some(leader_state) = self.replica.as_mut().and_then(|replica| replica.leader_state.as_mut())
        else {
            return;
        };
        for transfer in leader_state.snapshot_transfers.values_mut() {
            for chunk in transfer.chunks() {
                self.output.send(Target::One(transfer.receiver), Message::Chunk(chunk));
            }
        }
    }

    pub(super) fn tick_transfers(&mut self) {
        let patience = self.timing.transfer_given_up();
        // Its sender gave up as well, or is gone: another may send.
        self.reception.take_if(|reception| reception.tick(patience) == Patience::Over);
        let Some(replica) = &mut self.replica else { return };
        replica.tick_arrived();
        let Some(leader_state) = &mut replica.leader_state else { return };
        leader_state.snapshot_transfers.retain(|to, transfer| {
            let is_over = transfer.tick(patience) == Patience::Over;
            if is_over && transfer.is_reported {
                replica.group.report_snapshot(*to, false);
            }
            !is_over
        });
    }

    pub(super) fn chunk_received(&mut self, from: Incarnation, number: u64, bytes: u64, held: &[(u64, u64)]) {
        let Some(replica) = &mut self.replica else { return };
        let Some(leader_state) = &mut replica.leader_state else { return };
        let to = from.raft_id();
        let transfer = leader_state.snapshot_transfers.get_mut(&to);
        let Some(transfer) =
            transfer.filter(|transfer| transfer.number == number && transfer.receiver == from)
        else {
            return;
        };
        replica.heard.insert(to, replica.now);
        if !transfer.acknowledge(bytes, held) {
            return;
        }
        let Some(transfer) = leader_state.snapshot_transfers.remove(&to) else { return };
        let is_reported = transfer.is_reported;
        injected_bug!(ReportsNoSnapshot, is_reported => false);
        if is_reported {
            replica.group.report_snapshot(to, true);
        }
        if !transfer.restores {
            let arrived = Arrived { index: transfer.index, overtaken: transfer.overtaken };
            leader_state.arrived.insert(to, arrived);
            replica.group.begin_behind_image(to, transfer.index, transfer.pace());
        }
    }

    /// A part of a snapshot arrived: for a newcomer its way into the cluster, for a member what its log lacks.
    pub(super) fn handle_chunk(&mut self, from: Incarnation, cluster: ClusterUuid, chunk: &Chunk) {
        let is_expected = match &self.replica {
            Some(replica) => {
                let leader = replica.group.leader().filter(|_| chunk.term == replica.group.term());
                replica.cluster == cluster
                    && chunk.term >= replica.group.term()
                    && !replica.is_frozen()
                    && leader.is_none_or(|leader| leader == from.raft_id())
            }
            None => self.bootstrap.may_be_admitted_to(cluster) && !cluster.is_none(),
        };
        if !is_expected || chunk.term >= NUMBER_MAX {
            return;
        }
        // What a former leader sends, or the same one sent before, is late: it must not end what is under way.
        if self.reception.as_ref().is_some_and(|running| !running.gives_way_to(from, chunk)) {
            return;
        }
        let reception = self.reception.take().filter(|reception| reception.is_of(from, chunk.transfer));
        let mut reception = reception.unwrap_or_else(|| Reception::new(from, chunk.transfer, chunk.term));
        match reception.take(chunk) {
            Received::Part => {
                let (bytes, held) = reception.parts();
                self.reception = Some(reception);
                self.acknowledge_chunk(from, chunk, bytes, held);
            }
            Received::Broken => {}
            Received::Whole { snapshot, image } => {
                self.install(from, cluster, chunk, *snapshot, image);
                self.acknowledge_chunk(from, chunk, chunk.total, Vec::new());
            }
        }
    }

    fn acknowledge_chunk(&mut self, from: Incarnation, chunk: &Chunk, bytes: u64, held: Vec<(u64, u64)>) {
        self.output.send(Target::One(from), Message::ChunkReceived { transfer: chunk.transfer, bytes, held });
    }

    fn install(
        &mut self,
        from: Incarnation,
        cluster: ClusterUuid,
        chunk: &Chunk,
        snapshot: Snapshot,
        image: Bytes,
    ) {
        let me = self.bootstrap.me();
        let Some(replica) = &mut self.replica else {
            let cluster_size = snapshot.members.cluster_size();
            let state = snapshot.state.clone();
            let index = snapshot.position.index;
            let (mut replica, mut write) =
                Replica::start(snapshot, chunk.term, me, &self.options, &mut self.rng);
            // The snapshot may be older than the cluster's present name.
            replica.cluster = cluster;
            if let Some(record) = &mut write.replica {
                record.cluster = cluster;
            }
            replica.remember_peer(from);
            self.bootstrap.admitted(cluster, cluster_size);
            self.bootstrap.renamed(cluster, replica.lineage().0);
            self.replica = Some(replica);
            // With the successor's image in hand, and on the disk before the former log is set aside.
            self.former = None;
            self.output.persist(write);
            self.restore(index, state);
            self.operations.begin_catch_up(&mut self.output);
            return;
        };
        if chunk.restores {
            return self.restore_from_leader(snapshot, image);
        }
        if replica.remember_peer(from) {
            let record = SnapshotRecord { position: snapshot.position, image };
            replica.group.step_snapshot(from.raft_id(), chunk.term, &record, &snapshot.conf_state);
        }
    }

    /// raft-rs has installed a leader's snapshot, and it is durable: the application follows.
    pub(super) fn follow_installed(&mut self) {
        let Some(replica) = &mut self.replica else { return };
        if !replica.group.take_installed() {
            return;
        }
        let record = replica.group.log().snapshot().clone();
        let snapshot = replica.restore(&record);
        replica.snapshots.drop_pending();
        self.bootstrap.resized(replica.members.cluster_size());
        self.restore_if_trusted(snapshot.position.index, snapshot.state);
    }

    /// Delivers the state of a snapshot to JavaScript. Calls of this node that it contains have ended.
    pub(super) fn restore(&mut self, index: u64, state: Option<Bytes>) {
        if state.is_some() || !self.is_pristine {
            self.is_pristine &= state.is_none();
            self.output.deliver(Delivery::Restore { index, state });
        }
        let origin = self.bootstrap.me().raft_id();
        let start = self.client_session.start();
        for sequence in self.client_session.dispatched() {
            let Some(replica) = &self.replica else { return };
            let call_outcome = match replica.table.status_of(origin, start, sequence) {
                RequestStatus::New => continue,
                RequestStatus::Applied(action) => CallOutcome::Done(action.clone()),
                RequestStatus::Observed(Outcome::Nothing) => CallOutcome::Nothing,
                RequestStatus::Observed(Outcome::Refused(error)) => CallOutcome::Refused(error.clone()),
                RequestStatus::Observed(Outcome::Forgotten) | RequestStatus::Past => {
                    CallOutcome::Failed { error: Error::Forgotten, outcome: FailureOutcome::Unknown }
                }
            };
            if self.client_session.end(sequence).is_some() {
                self.output.deliver(Delivery::Settled { sequence, call_outcome });
            }
        }
    }
}

impl Replica {
    /// Stores this node's own snapshot, and drops the entries that it covers except the slack.
    fn keep(&mut self, snapshot: &Snapshot) -> Write {
        self.keep_record(snapshot, snapshot.encode())
    }

    /// Stores the leader's snapshot of a prefix of this log, if it is newer than the stored one; drops the entries that
    /// it covers.
    pub(super) fn keep_leaders(&mut self, snapshot: &Snapshot, image: Bytes) -> Option<Write> {
        injected_bug!(DivergedKeepsLog, return None);
        if snapshot.position.index <= self.group.log().snapshot().position.index {
            return None;
        }
        self.snapshots.restart_count();
        // What is compacted must be applied, as raft-rs sees it.
        self.group.applied(snapshot.position.index);
        Some(self.keep_record(snapshot, SnapshotRecord { position: snapshot.position, image }))
    }

    /// Where a snapshot has to be that would make the log shorter; `None` while it is short enough.
    pub(super) fn wants_leaders_snapshot(&self) -> Option<u64> {
        let kept = self.group.log().snapshot().position.index;
        let entries = self.delivered_index.saturating_sub(kept);
        self.snapshots.is_long(entries).then_some(kept + 1)
    }

    fn keep_record(&mut self, snapshot: &Snapshot, record: SnapshotRecord) -> Write {
        let log = self.group.log_mut();
        log.keep(snapshot, record.clone());
        let needed = self.needed_behind();
        let (slack_entries, slack_bytes) = self.snapshots.slack();
        let compacts_to = self.group.log_mut().compact_behind_snapshot(slack_entries, slack_bytes, needed);
        Write { snapshot: Some(record), compacts_to: Some(compacts_to), ..Write::default() }
    }
}
