//! Takes snapshots, and compacts the log that they cover (paper §7).
//!
//! `snapshot_schedule.rs` decides when one is due; `snapshot_transfers.rs` sends and receives them.

use bytes::Bytes;

use super::output::Output;
use super::replica::Replica;
use crate::raft::events::{Delivery, Position, SnapshotRecord, TakenSnapshot, Warning, Write};
use crate::raft::options::Options;
use crate::raft::snapshot::Snapshot;

/// A leader that would be blocked for longer first transfers leadership.
const LEADER_MICROS_MAX: u64 = 100_000;

/// Adds the taking of a snapshot to the batch, if one is due.
pub(super) fn take(replica: &mut Replica, batch: &mut Vec<Delivery>) {
    let last = replica.group.log().snapshot();
    // A leader's snapshot may be in the log already, and not delivered yet.
    let entries = replica.delivered_index.saturating_sub(last.position.index);
    // The entries that a snapshot covers must be durable: raft-rs counts only durable entries as applied, and the log
    // is cut behind the snapshot.
    let is_saved = replica.delivered_index <= replica.group.saved_index();
    if replica.divergence.is_diverged()
        || !is_saved
        || !replica.snapshots.is_due(replica.liveness.now(), entries)
    {
        return;
    }
    let blocks_leader = replica.group.is_leader() && replica.snapshots.expected_micros() > LEADER_MICROS_MAX;
    if blocks_leader && replica.keeps_log() && !replica.snapshots.is_wanted() {
        // The images under way would end with the leadership, and the log would not be shorter.
        return;
    }
    if blocks_leader && replica.snapshots.begin_leadership_transfer(replica.liveness.now(), replica.timing) {
        return replica.transfer_leadership(None);
    }
    let index = replica.delivered_index;
    let table = replica.table.clone();
    injected_bug!(ForgetsRequestTable, table => replica.table.without_requests());
    let term =
        replica.group.log().term_at(index).expect("what was delivered is in the log until it is compacted");
    replica.snapshots.begin(Snapshot {
        position: Position { index, term },
        conf_state: replica.conf_state(),
        members: replica.members.clone(),
        table,
        coordination: replica.coordination.clone(),
        state: None,
    });
    batch.push(Delivery::TakeSnapshot { index });
}

/// JavaScript took the requested snapshot, or failed to.
pub(super) fn handle_taken(
    taken: TakenSnapshot,
    replica: &mut Replica,
    options: &Options,
    output: &mut Output,
) {
    let tick_micros = options.tick_micros.max(1);
    // Another one may have been begun since, or none is wanted any more.
    let Some(mut snapshot) = replica.snapshots.take_pending(taken.index) else { return };
    match taken.state {
        Ok(state) => {
            replica.snapshots.succeeded(
                replica.liveness.now(),
                taken.micros,
                taken.longest_micros,
                tick_micros,
            );
            // A leader's snapshot may have overtaken it.
            if snapshot.position.index <= replica.group.log().snapshot().position.index {
                return;
            }
            snapshot.state = Some(state);
            let record = snapshot.move_to_record();
            // What is compacted must be applied, as raft-rs sees it.
            replica.reduced(snapshot.position.index);
            output.persist(replica.keep_record(&snapshot, record));
        }
        Err(why) => {
            if replica.snapshots.failed(replica.liveness.now(), taken.micros, tick_micros, &why) {
                output.warn(Warning::SnapshotFailed { why });
            }
        }
    }
}

impl Replica {
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

    /// The index at which a snapshot would shorten the log; `None` while the log is short enough.
    pub(super) fn wants_leaders_snapshot(&self) -> Option<u64> {
        let kept = self.group.log().snapshot().position.index;
        let entries = self.delivered_index.saturating_sub(kept);
        self.snapshots.is_long(entries).then_some(kept + 1)
    }

    /// Stores a snapshot, and drops the entries that it covers except the slack.
    fn keep_record(&mut self, snapshot: &Snapshot, record: SnapshotRecord) -> Write {
        let log = self.group.log_mut();
        log.keep(snapshot, record.clone());
        let needed = self.needed_behind();
        let (slack_entries, slack_bytes) = self.snapshots.slack();
        let compacts_to = self.group.log_mut().compact_behind_snapshot(slack_entries, slack_bytes, needed);
        Write { snapshot: Some(record), compacts_to: Some(compacts_to), ..Write::default() }
    }
}
