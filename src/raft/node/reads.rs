//! The reads that a leader answers (thesis §6.4): each gets the commit index once a quorum has confirmed the leadership.

use std::collections::VecDeque;

use crate::raft::identity::Incarnation;

/// Reads beyond this number are dropped, and their nodes repeat them.
const READS_MAX: usize = 1 << 16;

#[derive(Debug, Default)]
pub(super) struct Reads(VecDeque<Read>);

/// A node requests the commit index.
#[derive(Debug)]
pub(super) struct Read {
    /// The confirmation round; `None`: none was started for it yet.
    round: Option<u64>,
    pub(super) from: Incarnation,
    pub(super) request_id: u64,
    pub(super) index: u64,
}

impl Reads {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, from: Incarnation, request_id: u64) {
        if self.0.len() < READS_MAX {
            self.0.push_back(Read { round: None, from, request_id, index: 0 });
        }
    }

    /// Whether some reads have no confirmation round yet.
    pub(super) fn wants_round(&self) -> bool {
        self.0.back().is_some_and(|read| read.round.is_none())
    }

    /// This round confirms all reads that have none; `index` is committed.
    pub(super) fn begin_round(&mut self, round: u64, index: u64) {
        for read in self.0.iter_mut().filter(|read| read.round.is_none()) {
            (read.round, read.index) = (Some(round), index);
        }
    }

    /// Takes the reads whose round, or a later one, is confirmed.
    pub(super) fn take_confirmed(&mut self, newest_round: u64) -> Vec<Read> {
        let is_confirmed = |read: &&Read| read.round.is_some_and(|round| round <= newest_round);
        let count = self.0.iter().take_while(is_confirmed).count();
        self.0.drain(..count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_beyond_the_limit_are_dropped() {
        let mut reads = Reads::default();
        (0..=READS_MAX as u64).for_each(|request_id| reads.add(Incarnation::from_u128(1), request_id));
        assert!(reads.wants_round());
        reads.begin_round(1, 5);
        let taken: Vec<u64> = reads.take_confirmed(1).iter().map(|read| read.request_id).collect();
        assert_eq!((taken.len(), taken.last()), (READS_MAX, Some(&(READS_MAX as u64 - 1))));
    }
}
