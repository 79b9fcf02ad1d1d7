//! Decides when a node takes its next snapshot.

use crate::raft::consensus::timing::Timing;
use crate::raft::options::Options;
use crate::raft::snapshot::Snapshot;

/// A snapshot occupies JavaScript: a node waits at least this many times as long as the last one took.
const PAUSE_FACTOR: u64 = 100;
/// The pause after a failed snapshot: a retry costs as much and will probably fail again.
const FAILURE_PAUSE_MICROS: u64 = 30_000_000;
/// A quarter of what makes a snapshot due stays in the log behind it, for slightly lagging followers.
const SLACK_DIVISOR: u64 = 4;

/// When a node takes its next snapshot.
#[derive(Debug)]
pub(super) struct SnapshotSchedule {
    entries_max: u64,
    bytes_max: u64,
    /// A different extra delay for every node, so that they are not all blocked at the same time; in thousandths.
    offset: u64,
    /// Of actions, since the last one.
    bytes: u64,
    /// A member needs one now.
    is_wanted: bool,
    earliest: u64,
    /// For how long the last one blocked JavaScript: the longest slice.
    blocked_micros: u64,
    /// The rest of the snapshot that JavaScript was asked to take.
    pending: Option<Snapshot>,
    /// Leadership is being transferred because of it; the next attempt is not before this tick.
    transfers_leadership_again_at: u64,
    failure: Option<String>,
}

impl SnapshotSchedule {
    pub(super) fn new(options: &Options, rng: u64) -> Self {
        Self {
            entries_max: options.snapshot_entries,
            bytes_max: options.snapshot_bytes,
            offset: rng % 500,
            bytes: 0,
            is_wanted: false,
            earliest: 0,
            blocked_micros: 0,
            pending: None,
            transfers_leadership_again_at: 0,
            failure: None,
        }
    }

    pub(super) fn note_action(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    pub(super) fn want(&mut self) {
        self.is_wanted = true;
    }

    /// The node has diverged, and takes no snapshot of its state.
    pub(super) fn want_nothing(&mut self) {
        (self.is_wanted, self.pending) = (false, None);
    }

    pub(super) fn drop_pending(&mut self) {
        self.pending = None;
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// How long the next snapshot will block JavaScript.
    pub(super) fn expected_micros(&self) -> u64 {
        self.blocked_micros
    }

    /// Whether leadership is to be transferred first; false if that was tried a short while ago.
    pub(super) fn begin_leadership_transfer(&mut self, now: u64, timing: Timing) -> bool {
        let is_time = now >= self.transfers_leadership_again_at;
        if is_time {
            self.transfers_leadership_again_at = now + timing.between_transfers_for_snapshot();
            self.earliest = now + timing.election();
        }
        is_time
    }

    /// JavaScript is asked for the state that `pending` lacks.
    pub(super) fn begin(&mut self, pending: Snapshot) {
        self.pending = Some(pending);
        self.restart_count();
    }

    /// The rest of the snapshot at this index, if JavaScript was asked for it last.
    pub(super) fn take_pending(&mut self, index: u64) -> Option<Snapshot> {
        self.pending.take_if(|pending| pending.position.index == index)
    }

    /// The bytes of actions count from here on.
    pub(super) fn restart_count(&mut self) {
        self.bytes = 0;
    }

    pub(super) fn succeeded(&mut self, now: u64, micros: u64, longest_micros: u64, tick_micros: u64) {
        self.blocked_micros = longest_micros;
        self.earliest = now + (PAUSE_FACTOR * micros).div_ceil(tick_micros);
        (self.is_wanted, self.failure) = (false, None);
    }

    /// JavaScript failed to take the snapshot; true if this reason is new.
    pub(super) fn failed(&mut self, now: u64, micros: u64, tick_micros: u64, why: &str) -> bool {
        let pause = (PAUSE_FACTOR * micros).max(FAILURE_PAUSE_MICROS);
        self.earliest = now + pause.div_ceil(tick_micros);
        let is_new = self.failure.as_deref() != Some(why);
        self.failure = Some(why.to_owned());
        is_new
    }

    pub(super) fn is_due(&self, now: u64, entries: u64) -> bool {
        self.pending.is_none()
            && now >= self.earliest
            && entries > 0
            && (self.is_wanted || self.is_long(entries))
    }

    /// A snapshot is being taken, or will be when its pause is over.
    pub(super) fn is_outstanding(&self, entries: u64) -> bool {
        self.pending.is_some() || entries > 0 && (self.is_wanted || self.is_long(entries))
    }

    /// The entries and bytes that stay in the log behind a snapshot, for slightly lagging followers.
    pub(super) fn slack(&self) -> (u64, u64) {
        (self.entries_max / SLACK_DIVISOR, self.bytes_max / SLACK_DIVISOR)
    }

    /// The log behind the last snapshot is long enough for another.
    pub(super) fn is_long(&self, entries: u64) -> bool {
        let beyond = |value: u64, max: u64| value >= max.saturating_add(max / 1_000 * self.offset);
        beyond(entries, self.entries_max) || beyond(self.bytes, self.bytes_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It costs as much as one that does not fail, and will probably fail again.
    #[test]
    fn a_failed_snapshot_is_tried_again_after_half_a_minute_or_a_hundred_times_what_it_took() {
        let options = Options::new("any", 3, [0; 32]);
        let ticks = |micros: u64| micros.div_ceil(options.tick_micros);
        for (micros, pause_micros) in [(1_000, 30_000_000), (500_000, 50_000_000)] {
            let mut schedule = SnapshotSchedule::new(&options, 0);
            schedule.want();
            assert!(schedule.failed(7, micros, options.tick_micros, "state.date is a Date"));
            let due_at = 7 + ticks(pause_micros);
            assert!(!schedule.is_due(due_at - 1, 1) && schedule.is_due(due_at, 1), "{micros} us");
        }
    }
}
