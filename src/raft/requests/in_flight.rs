//! The requests that JavaScript evaluates, by batch.
//!
//! Used only by `leader_sessions.rs`. JavaScript has two batches at most: it evaluates the second one while the core
//! proposes what it answered to the first one.

use std::collections::VecDeque;

use super::session::Evaluation;

/// The limit of the first batch of a leadership: slow requests in it may end the leadership.
const BATCH_EVALUATIONS_FIRST: usize = 16;
const BATCH_EVALUATIONS_MAX: usize = 1_024;
/// Batches that take longer are not evaluated ahead: JavaScript may stop in the middle of one, and what it evaluated
/// behind it is then void.
const QUICK_MICROS_MAX: u64 = 10_000;

#[derive(Debug)]
struct Batch {
    number: u64,
    evaluations: Vec<Evaluation>,
    /// To how many earlier leaders one of them was sent, at most.
    attempts: u32,
}

/// The batches with JavaScript that have evaluations, oldest first, and how large the next one may be.
#[derive(Debug)]
pub(super) struct InFlight {
    batches: VecDeque<Batch>,
    evaluations_max: usize,
    /// JavaScript evaluated the whole last batch, and quickly.
    was_quick: bool,
}

impl InFlight {
    pub(super) fn new() -> Self {
        Self { batches: VecDeque::new(), evaluations_max: BATCH_EVALUATIONS_FIRST, was_quick: false }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether another batch may be evaluated behind the only one: where both have so many evaluations, and none of them
    /// was sent to an earlier leader.
    pub(super) fn may_be_followed(&self, evaluations_min: usize) -> bool {
        let is_long = |batch: &Batch| batch.evaluations.len() >= evaluations_min;
        self.was_quick && self.batches.len() == 1 && self.batches.iter().all(is_long) && self.attempts() == 0
    }

    /// How many evaluations the next batch may have.
    pub(super) fn evaluations_max(&self) -> usize {
        self.evaluations_max
    }

    pub(super) fn push(&mut self, number: u64, evaluations: Vec<Evaluation>) {
        let attempts = evaluations.iter().map(|evaluation| evaluation.attempts).max().unwrap_or(0);
        self.batches.push_back(Batch { number, evaluations, attempts });
    }

    /// Takes the requests of the batch with this number, if it is the oldest; `None` for one of an earlier leadership, or
    /// one that is void.
    pub(super) fn take(&mut self, number: u64) -> Option<Vec<Evaluation>> {
        self.batches.front().filter(|batch| batch.number == number)?;
        self.batches.pop_front().map(|batch| batch.evaluations)
    }

    /// Takes the requests of all batches, in their order: what JavaScript answers to them is void.
    pub(super) fn take_all(&mut self) -> Vec<Evaluation> {
        self.batches.drain(..).flat_map(|batch| batch.evaluations).collect()
    }

    /// JavaScript answered the first `answered` of a batch of `asked` requests, in so many microseconds.
    pub(super) fn note_answered(&mut self, asked: usize, answered: usize, micros: u64) {
        assert!(answered <= asked, "{asked} evaluations have at most as many answers, not {answered}");
        self.evaluations_max = if answered == asked {
            self.evaluations_max.max(2 * answered).min(BATCH_EVALUATIONS_MAX)
        } else {
            (2 * answered).max(1)
        };
        self.was_quick = answered == asked && micros <= QUICK_MICROS_MAX;
    }

    /// To how many earlier leaders a request was sent, at most.
    pub(super) fn attempts(&self) -> u32 {
        self.batches.iter().map(|batch| batch.attempts).max().unwrap_or(0)
    }

    /// The request at a position of a batch.
    pub(super) fn get(&self, number: u64, position: usize) -> Option<&Evaluation> {
        self.batches.iter().find(|batch| batch.number == number)?.evaluations.get(position)
    }
}
