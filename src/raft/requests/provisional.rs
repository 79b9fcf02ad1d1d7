//! The provisional states that JavaScript keeps for a leader, and what they cost.
//!
//! Used only by `leader_sessions.rs`.

use std::collections::VecDeque;

/// Evaluation waits while the states of actions that took longer than this in total are not committed. JavaScript keeps
/// all of them, and a state that takes long to compute is large.
const MICROS_MAX: u64 = 100_000;

/// Invariant: `indexes` is exactly what was evaluated and appended, and is not delivered as committed.
#[derive(Debug, Default)]
pub(super) struct Provisional {
    /// The indexes whose states JavaScript keeps, oldest first.
    indexes: VecDeque<u64>,
    /// How long JavaScript took to make the states up to an index, by batch.
    costs: VecDeque<Cost>,
    micros: u64,
}

#[derive(Debug)]
struct Cost {
    last_index: u64,
    micros: u64,
}

impl Provisional {
    pub(super) fn is_full(&self) -> bool {
        !self.indexes.is_empty() && self.micros >= MICROS_MAX
    }

    /// The actions of a batch that ends at `last_index` were appended at these indexes.
    pub(super) fn append(&mut self, indexes: impl Iterator<Item = u64>, last_index: u64, micros: u64) {
        self.indexes.extend(indexes);
        self.micros += micros;
        self.costs.push_back(Cost { last_index, micros });
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether the entry at `index`, now delivered as committed, is the oldest of the states.
    pub(super) fn takes(&mut self, index: u64) -> bool {
        let takes = self.indexes.front() == Some(&index);
        if takes {
            self.indexes.pop_front();
            while let Some(cost) = self.costs.front().filter(|cost| cost.last_index <= index) {
                self.micros -= cost.micros;
                self.costs.pop_front();
            }
        }
        takes
    }
}
