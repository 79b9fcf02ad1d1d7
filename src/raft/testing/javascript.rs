//! Lets the JavaScript of simulated nodes work on their batches, which takes time, or waits.
//!
//! Part of `cluster.rs`.

use super::cluster::{Cluster, Replica, TICK_MS, WALL_CLOCK_MS, wall_clock_offset};
use super::describe::{describe_answer, describe_delivery};
use crate::raft::{Answered, Delivery, Input};

/// About a page, and one more action or error of the largest size; an own action is in a batch twice.
const BATCH_BYTES_MAX: usize = 5 << 20;

/// A hundredth of a tick of 10 ms.
const MICROS_PER_COST: u64 = 100;

/// A batch that JavaScript works on. It answers what it has evaluated when a slice of its time is over, as the façade
/// does.
pub(super) struct Working {
    pub(super) batch: Vec<Delivery>,
    evaluations: usize,
    pub(super) ends_at: u64,
}

/// In hundredths of a tick.
const SLICE: u64 = 500;

impl Replica {
    /// The batch that JavaScript begins with now.
    pub(super) fn next_batch(&mut self) -> Option<Vec<Delivery>> {
        let is_free = !self.is_busy && self.working.is_none();
        if is_free { self.batches.pop_front() } else { None }
    }
}

impl Cluster {
    /// Lets JavaScript of a node answer what waits.
    pub fn answer(&mut self, name: &str) {
        let waiting = self.replicas.get(name).map_or(0, |replica| replica.batches.len());
        for _ in 0..waiting {
            let replica = self.replicas.get_mut(name).filter(|replica| replica.working.is_none());
            if let Some(batch) = replica.and_then(|replica| replica.batches.pop_front()) {
                self.begin_batch(name, batch);
                self.run(name);
            }
        }
        while let Some(batch) = self.replicas.get_mut(name).and_then(Replica::next_batch) {
            self.begin_batch(name, batch);
            self.run(name);
        }
        self.run(name);
    }

    /// JavaScript begins with a batch, which may take time.
    pub(super) fn begin_batch(&mut self, name: &str, batch: Vec<Delivery>) {
        let replica = self.replicas.get_mut(name).expect("a node that gets a batch runs");
        if replica.cost == 0 {
            return self.answer_batch(name, batch);
        }
        let count = |is: &dyn Fn(&Delivery) -> bool| batch.iter().filter(|delivery| is(delivery)).count();
        let evaluations = count(&Delivery::is_evaluation);
        let reduced =
            count(&|delivery| matches!(delivery, Delivery::Committed { is_provisional: false, .. }));
        let evaluations = evaluations.min((SLICE / replica.cost).max(1) as usize);
        let ticks = (reduced + evaluations) as u64 * replica.cost / 100;
        if count(&|delivery| matches!(delivery, Delivery::ReportProgress)) > 0 {
            replica.node.handle(Input::Progressed { index: 0 });
        }
        if ticks == 0 {
            replica.application.evaluations_max = Some(evaluations);
            return self.answer_batch(name, batch);
        }
        replica.working = Some(Working { batch, evaluations, ends_at: self.now + ticks });
    }

    /// A tick has passed for JavaScript: it says at intervals that it works, until it is done.
    pub(super) fn work(&mut self, name: &str) {
        let now = self.now;
        let Some(replica) = self.replicas.get_mut(name) else { return };
        let Some(working) = &replica.working else { return };
        let evaluating_from =
            working.ends_at - (working.evaluations as u64 * replica.cost / 100).min(working.ends_at);
        if now < working.ends_at {
            if now < evaluating_from && now.is_multiple_of(SLICE / 100) {
                self.handle(name, Input::Progressed { index: 0 });
            }
            return;
        }
        let Working { batch, evaluations, .. } = replica.working.take().expect("it was just seen");
        replica.application.evaluations_max = Some(evaluations);
        self.answer_batch(name, batch);
        self.answer(name);
    }

    fn answer_batch(&mut self, name: &str, batch: Vec<Delivery>) {
        let bytes: usize = batch.iter().map(Delivery::payload_bytes).sum();
        assert!(bytes <= BATCH_BYTES_MAX, "{name}: a batch for JavaScript holds {bytes} bytes");
        if self.trace.is_some() || self.prints {
            for line in batch.iter().map(describe_delivery) {
                self.note(|| format!("{name}: {line}"));
            }
        }
        let time = self.time();
        let replica = self.replicas.get_mut(name).expect("a node that gets a batch runs");
        replica.application.has_timers = self.has_timers;
        replica.application.time = time;
        let answers = replica.application.handle(batch);
        for answer in answers
            .iter()
            .filter(|_| self.trace.is_some() || self.prints)
            .map(describe_answer)
            .collect::<Vec<_>>()
        {
            self.note(|| format!("{name}: answers {answer}"));
        }
        if let Some(replica) = self.replicas.get_mut(name) {
            for input in std::mem::take(&mut replica.application.inputs) {
                replica.node.handle(input);
            }
            let micros = answers.len() as u64 * replica.cost * MICROS_PER_COST;
            let at = WALL_CLOCK_MS + self.now * TICK_MS + wall_clock_offset(name);
            replica.node.handle(Input::Answered(Answered { answers, micros, at }));
            replica.is_in_turn = true;
        }
    }
}
