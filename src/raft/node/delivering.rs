//! The batches that are with JavaScript.
//!
//! Part of `node.rs`.

use std::collections::VecDeque;

/// A batch that JavaScript has not answered.
#[derive(Debug)]
pub(super) struct Delivered {
    /// Batches are numbered in their order, from 0 on.
    pub(super) number: u64,
    /// It holds everything up to this index.
    pub(super) until: u64,
}

/// The batches with JavaScript, oldest first: it answers them in this order.
#[derive(Debug)]
pub(super) struct Delivering {
    batches: VecDeque<Delivered>,
    next_number: u64,
    may_have_second: bool,
}

impl Delivering {
    pub(super) fn new() -> Self {
        Self { batches: VecDeque::new(), next_number: 0, may_have_second: true }
    }

    pub(super) fn allow_second(&mut self, is_allowed: bool) {
        self.may_have_second = is_allowed;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether a second batch may be delivered now.
    pub(super) fn may_have_second(&self) -> bool {
        self.may_have_second && self.batches.len() == 1
    }

    /// The number of the next batch.
    pub(super) fn next_number(&self) -> u64 {
        self.next_number
    }

    /// A batch with everything up to this index is delivered.
    pub(super) fn push(&mut self, until: u64) {
        self.batches.push_back(Delivered { number: self.next_number, until });
        self.next_number += 1;
    }

    /// The batch that JavaScript works on.
    pub(super) fn first(&self) -> Option<&Delivered> {
        self.batches.front()
    }

    /// JavaScript has answered the oldest batch.
    pub(super) fn answered(&mut self) -> Option<Delivered> {
        self.batches.pop_front()
    }

    /// The node is in another cluster: the indexes of these batches mean nothing there.
    pub(super) fn forget_indexes(&mut self) {
        self.batches.iter_mut().for_each(|batch| batch.until = 0);
    }
}
