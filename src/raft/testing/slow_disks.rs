//! Makes disks slow: they take writes and give no error, and answer after tens or hundreds of ticks.
//!
//! It has a random generator of its own: a seed without slow disks runs as it would without this file.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::faults::Fault;

const PER_MILLE_MAX: u64 = 20;
/// A write is overdue after 100 ticks: about half of the hangs are below.
const HANG_TICKS_MAX: [u64; 2] = [100, 500];
/// Distinguishes this random generator from that of the network's echoes.
const SALT: u64 = 0x736c_6f77_6469_736b;

pub struct SlowDisks {
    /// Of sixteen seeds eight have none.
    is_absent: bool,
    /// In this many of a thousand ticks a disk begins to hang.
    per_mille: u64,
    /// Until when each of them hangs.
    until: BTreeMap<String, u64>,
    rng: ChaCha8Rng,
}

impl SlowDisks {
    pub fn new(seed: u64) -> Self {
        let is_absent = seed / 8 % 2 == 1;
        let rng = ChaCha8Rng::seed_from_u64(seed ^ SALT);
        Self { is_absent, per_mille: 0, until: BTreeMap::new(), rng }
    }

    /// How often a disk hangs from here on.
    pub fn draw(&mut self) {
        let per_mille = 1 + self.roll(PER_MILLE_MAX);
        self.per_mille = if !self.is_absent && Fault::SlowDisks.strikes() { per_mille } else { 0 };
    }

    pub fn end(&mut self) {
        (self.per_mille, self.until) = (0, BTreeMap::new());
    }

    /// A tick has passed: another of these disks may begin to hang.
    pub fn tick(&mut self, now: u64, disks: &[String]) {
        if disks.is_empty() || self.per_mille == 0 || self.roll(1000) >= self.per_mille {
            return;
        }
        let name = &disks[self.roll(disks.len() as u64) as usize];
        let ticks_max = HANG_TICKS_MAX[self.roll(2) as usize];
        let ticks = 10 + self.roll(ticks_max);
        self.until.insert(name.clone(), now + ticks);
    }

    pub fn hangs(&self, name: &str, now: u64) -> bool {
        self.until.get(name).is_some_and(|until| now < *until)
    }

    fn roll(&mut self, bound: u64) -> u64 {
        self.rng.next_u64() % bound
    }
}
