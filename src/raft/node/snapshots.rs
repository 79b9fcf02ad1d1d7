//! This file takes snapshots, drops the log that they cover, sends them to who lacks it, and takes over a leader's
//! (paper §7).
//!
//! Part of `node.rs`.

use bytes::Bytes;

use super::Node;
use super::care::Arrived;
use super::seat::Seat;
use crate::error::Error;
use crate::raft::events::{
    Delivery, ErrorOutcome, Position, Settlement, SnapshotRecord, Taken, Target, Warning, Work, Write,
};
use crate::raft::frame::{Chunk, Message, Outcome};
use crate::raft::guard::NUMBER_MAX;
use crate::raft::identity::{ClusterUuid, Incarnation, RaftId};
use crate::raft::options::Options;
use crate::raft::requests::Known;
use crate::raft::snapshot::Snapshot;
#[cfg(test)]
use crate::raft::testing::bugs::{Bug, is_back};
use crate::raft::transfer::{Patience, Received, Reception, Transfer};

/// A snapshot blocks JavaScript: none is taken sooner than so many times what the last one took.
const PAUSE_FACTOR: u64 = 100;
/// A leader first hands over where it would be blocked for longer.
const LEADER_MICROS_MAX: u64 = 100_000;
/// What JavaScript is assumed to take where nothing was measured yet.
const MICROS_PER_MIB: u64 = 8_000;
/// After a state that could not be kept, so long until the next try: it costs as much, and will hardly succeed.
const FAILURE_PAUSE_MICROS: u64 = 30_000_000;
/// Of what makes a snapshot due, a quarter stays in the log behind it, for followers that are slightly behind.
const SLACK_DIVISOR: u64 = 4;

/// When a node takes its next snapshot.
#[derive(Debug)]
pub(super) struct Taking {
    entries_max: u64,
    bytes_max: u64,
    /// Every node waits a little longer than the options say, each for another while, so that not all are blocked at
    /// once; in thousandths.
    offset: u64,
    /// Of actions, since the last one.
    bytes: u64,
    /// Somebody needs one now.
    is_wanted: bool,
    earliest: u64,
    last_micros: Option<u64>,
    /// JavaScript was told to take it: everything else that belongs to it.
    pending: Option<Snapshot>,
    /// Leadership is being handed over because of it, and not before this will that be tried again.
    hands_over_again: u64,
    failure: Option<String>,
}

impl Taking {
    pub(super) fn new(options: &Options, dice: u64) -> Self {
        Self {
            entries_max: options.snapshot_entries,
            bytes_max: options.snapshot_bytes,
            offset: dice % 500,
            bytes: 0,
            is_wanted: false,
            earliest: 0,
            last_micros: None,
            pending: None,
            hands_over_again: 0,
            failure: None,
        }
    }

    pub(super) fn note_action(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    pub(super) fn want(&mut self) {
        self.is_wanted = true;
    }

    /// This node's state is not to be kept.
    pub(super) fn want_nothing(&mut self) {
        (self.is_wanted, self.pending) = (false, None);
    }

    pub(super) fn drop_pending(&mut self) {
        self.pending = None;
    }

    fn is_due(&self, now: u64, entries: u64) -> bool {
        self.pending.is_none()
            && now >= self.earliest
            && entries > 0
            && (self.is_wanted || self.is_long(entries))
    }

    /// So many entries and bytes stay in the log behind a snapshot, for followers that are slightly behind.
    pub(super) fn slack(&self) -> (u64, u64) {
        (self.entries_max / SLACK_DIVISOR, self.bytes_max / SLACK_DIVISOR)
    }

    /// The log behind the last snapshot is long enough for another.
    fn is_long(&self, entries: u64) -> bool {
        let beyond = |value: u64, max: u64| value >= max.saturating_add(max / 1_000 * self.offset);
        beyond(entries, self.entries_max) || beyond(self.bytes, self.bytes_max)
    }
}

impl Node {
    /// Adds the taking of a snapshot to the batch, if one is due.
    pub(super) fn take_snapshot(&mut self, batch: &mut Vec<Delivery>) {
        let election_ticks = self.options.election_timeout_ticks_max;
        let Some(seat) = &mut self.seat else { return };
        let last = seat.group.log().snapshot();
        // A leader's snapshot may be in the log already, and not delivered yet.
        let entries = seat.delivered_index.saturating_sub(last.position.index);
        // What a snapshot covers has to be durable: raft-rs knows of nothing else as applied, and the log is cut behind it.
        let is_saved = seat.delivered_index <= seat.group.saved_index();
        if seat.fence.is_fenced() || !is_saved || !seat.snapshots.is_due(seat.now, entries) {
            return;
        }
        let estimated = (last.image.len() as u64 * MICROS_PER_MIB) >> 20;
        let micros = seat.snapshots.last_micros.unwrap_or(estimated);
        let blocks_leader = seat.group.is_leader() && micros > LEADER_MICROS_MAX;
        if blocks_leader && seat.keeps_log() && !seat.snapshots.is_wanted {
            // The images under way would end with the leadership, and the log would not be shorter.
            return;
        }
        if blocks_leader && seat.now >= seat.snapshots.hands_over_again {
            seat.snapshots.hands_over_again = seat.now + 10 * election_ticks;
            seat.snapshots.earliest = seat.now + election_ticks;
            return self.hand_over(None);
        }
        let index = seat.delivered_index;
        let table = seat.table.clone();
        #[cfg(test)]
        let table = if is_back(Bug::ForgetsRequestTable) { seat.table.without_requests() } else { table };
        let term =
            seat.group.log().term_at(index).expect("what was delivered is in the log until it is compacted");
        seat.snapshots.pending = Some(Snapshot {
            position: Position { index, term },
            conf_state: seat.conf_state(),
            registry: seat.registry.clone(),
            table,
            state: None,
        });
        seat.snapshots.bytes = 0;
        batch.push(Delivery::TakeSnapshot);
    }

    /// JavaScript took the snapshot that it was told to, or could not.
    pub(super) fn snapshot_taken(&mut self, taken: Taken) {
        let tick_micros = self.options.tick_micros.max(1);
        let Some(seat) = &mut self.seat else { return };
        let Some(mut snapshot) = seat.snapshots.pending.take() else { return };
        let pause = PAUSE_FACTOR * taken.micros;
        match taken.state {
            Ok(state) => {
                seat.snapshots.last_micros = Some(taken.micros);
                seat.snapshots.earliest = seat.now + pause.div_ceil(tick_micros);
                seat.snapshots.is_wanted = false;
                seat.snapshots.failure = None;
                // A leader's snapshot may have overtaken it.
                if snapshot.position.index <= seat.group.log().snapshot().position.index {
                    return;
                }
                snapshot.state = Some(state);
                // What is compacted must be applied, as raft-rs sees it.
                seat.reduced(snapshot.position.index);
                let write = seat.keep(&snapshot);
                self.persist(write);
            }
            Err(why) => {
                let pause = pause.max(FAILURE_PAUSE_MICROS);
                seat.snapshots.earliest = seat.now + pause.div_ceil(tick_micros);
                if seat.snapshots.failure.as_ref() != Some(&why) {
                    seat.snapshots.failure = Some(why.clone());
                    self.warn(Warning::SnapshotFailed { why });
                }
            }
        }
    }

    /// Sends the newest snapshot to a member, unless it is on its way. What heals a state gives way to what a log lacks,
    /// never the other way round: raft-rs waits for the end of that, and it heals as well.
    pub(super) fn send_snapshot(&mut self, to: RaftId, is_reported: bool, heals: bool) {
        let Some(seat) = &mut self.seat else { return };
        let SnapshotRecord { position: Position { index, .. }, image } = seat.group.log().snapshot().clone();
        let term = seat.group.term();
        let Some(receiver) = seat.registry.incarnation(to) else { return };
        // Whoever joins a recovered cluster gives up a log for this image: one from before the recovery may lack what that
        // log has. Where none can be taken, the log behind the image has to do.
        let is_older = seat.group.log().snapshot().position.index < seat.epoch_index;
        #[cfg(test)]
        let is_older = is_older && !is_back(Bug::SendsImageOfFormerCluster);
        if is_older && seat.snapshots.failure.is_none() {
            return seat.snapshots.want();
        }
        let Some(care) = &mut seat.care else { return };
        let running = care.transfers.get_mut(&to).filter(|transfer| heals || !transfer.heals);
        if let Some(transfer) = running {
            transfer.is_reported |= is_reported;
            return;
        }
        self.transfers += 1;
        let mut transfer =
            Transfer::new(self.transfers, term, receiver, (index, image), &self.options, heals);
        transfer.is_reported = is_reported;
        if !heals && let Some(former) = care.arrived.remove(&to) {
            transfer.overtaken = former.overtaken + 1;
        }
        care.transfers.insert(to, transfer);
    }

    /// Sends the newest image instead of each one that lacks what the log does not have any more.
    fn overtake_transfers(&mut self) {
        let Some(seat) = &mut self.seat else { return };
        let Some(care) = &mut seat.care else { return };
        let (first, term) = (seat.group.log().compacted().index, seat.group.term());
        let SnapshotRecord { position, image } = seat.group.log().snapshot().clone();
        #[cfg(test)]
        let first = if is_back(Bug::RestartsTransfer) { position.index } else { first };
        for (to, transfer) in &mut care.transfers {
            if transfer.heals || transfer.index >= first {
                continue;
            }
            self.transfers += 1;
            let image = (position.index, image.clone());
            let next = Transfer::new(self.transfers, term, transfer.receiver, image, &self.options, false);
            let former = std::mem::replace(transfer, next.overtakes(transfer));
            if former.is_reported {
                // It will wish another.
                seat.group.report_snapshot(*to, false);
            }
        }
    }

    /// Starts what raft-rs wishes, and sends what may go.
    pub(super) fn carry_on_transfers(&mut self) {
        let Some(seat) = &mut self.seat else { return };
        if seat.group.log().takes_wish_for_snapshot() {
            seat.snapshots.want();
        }
        for to in seat.group.take_wants_snapshot() {
            self.send_snapshot(to, true, false);
        }
        self.overtake_transfers();
        let Some(care) = self.seat.as_mut().and_then(|seat| seat.care.as_mut()) else { return };
        for transfer in care.transfers.values_mut() {
            for chunk in transfer.chunks() {
                self.outbox.push(Target::One(transfer.receiver), Message::Chunk(chunk));
            }
        }
    }

    pub(super) fn tick_transfers(&mut self) {
        let patience = 10 * self.options.election_timeout_ticks_max;
        let me = self.membership.me().raft_id();
        // Its sender gave up as well, or is gone: another may send.
        self.reception.take_if(|reception| reception.tick(patience) == Patience::Over);
        let Some(seat) = &mut self.seat else { return };
        seat.tick_arrived(me, patience);
        let Some(care) = &mut seat.care else { return };
        care.transfers.retain(|to, transfer| {
            let is_over = transfer.tick(patience) == Patience::Over;
            if is_over && transfer.is_reported {
                seat.group.report_snapshot(*to, false);
            }
            !is_over
        });
    }

    pub(super) fn chunk_received(&mut self, from: Incarnation, number: u64, bytes: u64, held: &[(u64, u64)]) {
        let Some(seat) = &mut self.seat else { return };
        let Some(care) = &mut seat.care else { return };
        let to = from.raft_id();
        let transfer = care.transfers.get_mut(&to);
        let Some(transfer) =
            transfer.filter(|transfer| transfer.number == number && transfer.receiver == from)
        else {
            return;
        };
        seat.heard.insert(to, seat.now);
        if !transfer.acknowledge(bytes, held) {
            return;
        }
        let Some(transfer) = care.transfers.remove(&to) else { return };
        let is_reported = transfer.is_reported;
        #[cfg(test)]
        let is_reported = is_reported && !is_back(Bug::ReportsNoSnapshot);
        if is_reported {
            seat.group.report_snapshot(to, true);
        }
        if !transfer.heals {
            let arrived = Arrived { index: transfer.index, overtaken: transfer.overtaken };
            care.arrived.insert(to, arrived);
            seat.group.begin_behind_image(to, transfer.index, transfer.pace());
        }
    }

    /// A part of a snapshot arrived: for a newcomer its way into the cluster, for a member what its log lacks.
    pub(super) fn hear_chunk(&mut self, from: Incarnation, cluster: ClusterUuid, chunk: &Chunk) {
        let is_expected = match &self.seat {
            Some(seat) => {
                let leader = seat.group.leader().filter(|_| chunk.term == seat.group.term());
                seat.cluster == cluster
                    && chunk.term >= seat.group.term()
                    && !seat.is_bound()
                    && leader.is_none_or(|leader| leader == from.raft_id())
            }
            None => self.membership.may_be_admitted_to(cluster) && !cluster.is_none(),
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
        self.outbox.push(Target::One(from), Message::ChunkReceived { transfer: chunk.transfer, bytes, held });
    }

    fn install(
        &mut self,
        from: Incarnation,
        cluster: ClusterUuid,
        chunk: &Chunk,
        snapshot: Snapshot,
        image: Bytes,
    ) {
        let me = self.membership.me();
        let Some(seat) = &mut self.seat else {
            let cluster_size = snapshot.registry.cluster_size();
            let state = snapshot.state.clone();
            let index = snapshot.position.index;
            let (mut seat, mut write) = Seat::start(snapshot, chunk.term, me, &self.options, &mut self.dice);
            // The snapshot may be older than the cluster's present name.
            seat.cluster = cluster;
            if let Some(record) = &mut write.seat {
                record.cluster = cluster;
            }
            seat.meet(from);
            self.membership.admitted(cluster, cluster_size);
            self.membership.renamed(cluster, seat.lineage().0);
            self.seat = Some(seat);
            // With the successor's image in hand, and on the disk before the former log is set aside.
            self.former = None;
            self.persist(write);
            self.restore(index, state);
            self.begin_catch_up();
            return;
        };
        if chunk.heals {
            return self.heal(snapshot, image);
        }
        if seat.meet(from) {
            let record = SnapshotRecord { position: snapshot.position, image };
            seat.group.step_snapshot(from.raft_id(), chunk.term, &record, &snapshot.conf_state);
        }
    }

    /// raft-rs took over a leader's snapshot, and it is durable: the application follows.
    pub(super) fn follow_installed(&mut self) {
        let Some(seat) = &mut self.seat else { return };
        if !seat.group.take_installed() {
            return;
        }
        let record = seat.group.log().snapshot().clone();
        let snapshot = seat.restore(&record);
        seat.snapshots.drop_pending();
        self.membership.resized(seat.registry.cluster_size());
        self.restore_if_trusted(snapshot.position.index, snapshot.state);
    }

    /// JavaScript gets the state of a snapshot. Performs of this node that are in it have ended.
    pub(super) fn restore(&mut self, index: u64, state: Option<Bytes>) {
        if state.is_some() || !self.is_pristine {
            self.is_pristine &= state.is_none();
            self.news.push(Delivery::Restore { index, state });
        }
        let origin = self.membership.me().raft_id();
        let start = self.origin.start();
        for sequence in self.origin.dispatched() {
            let Some(seat) = &self.seat else { return };
            let settlement = match seat.table.knows(origin, start, sequence) {
                Known::New => continue,
                Known::Applied(action) => Settlement::Done(action.clone()),
                Known::Observed(Outcome::Nothing) => Settlement::Nothing,
                Known::Observed(Outcome::Refused(error)) => Settlement::Refused(error.clone()),
                Known::Observed(Outcome::Forgotten) | Known::Past => {
                    Settlement::Failed { error: Error::Forgotten, outcome: ErrorOutcome::Unknown }
                }
            };
            if self.origin.end(sequence).is_some() {
                self.news.push(Delivery::Settled { sequence, settlement });
            }
        }
    }

    /// Hands a write to the storage that nothing rests on but what comes later.
    pub(super) fn persist(&mut self, write: Write) {
        self.writes += 1;
        self.work.push_back(Work::Persist(self.writes, Box::new(write)));
    }
}

impl Seat {
    /// Keeps this node's own snapshot, and drops what it covers but for the slack.
    fn keep(&mut self, snapshot: &Snapshot) -> Write {
        self.keep_record(snapshot, snapshot.encode())
    }

    /// Keeps the leader's snapshot of a past of this log, if it is newer than what is kept; drops what it covers.
    pub(super) fn keep_leaders(&mut self, snapshot: &Snapshot, image: Bytes) -> Option<Write> {
        #[cfg(test)]
        if is_back(Bug::FencedKeepsLog) {
            return None;
        }
        if snapshot.position.index <= self.group.log().snapshot().position.index {
            return None;
        }
        self.snapshots.bytes = 0;
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
