//! The memory of a bad network: any frame may come again, from any earlier moment of the run.
//!
//! It has a random generator of its own: a seed without echoes runs as it would without this file.

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::faults::Fault;
use crate::raft::Target;

/// Frames that are remembered, of all that were sent so far with equal chance.
const KEPT: usize = 128;
const PER_MILLE_MAX: u64 = 20;

/// A frame as it was sent.
#[derive(Clone)]
pub struct Echo {
    pub from: String,
    pub target: Target,
    pub bytes: Bytes,
}

pub struct Echoes {
    /// After this many of a thousand frames one of the kept is sent again.
    per_mille: u64,
    kept: Vec<Echo>,
    seen: u64,
    rng: ChaCha8Rng,
}

impl Echoes {
    pub fn new(seed: u64) -> Self {
        Self { per_mille: 0, kept: Vec::new(), seen: 0, rng: ChaCha8Rng::seed_from_u64(!seed) }
    }

    /// How often frames come again from here on; never in a third of the seeds.
    pub fn draw(&mut self) {
        let is_absent = self.roll(3) == 0;
        let per_mille = 1 + self.roll(PER_MILLE_MAX);
        self.per_mille = if !is_absent && Fault::Echoes.strikes() { per_mille } else { 0 };
    }

    pub fn end(&mut self) {
        self.per_mille = 0;
    }

    /// Remembers a frame that is sent, and says which earlier one is sent once more with it.
    pub fn hear(&mut self, echo: Echo) -> Option<Echo> {
        if self.per_mille == 0 {
            return None;
        }
        self.seen += 1;
        let place = self.roll(self.seen) as usize;
        if self.kept.len() < KEPT {
            self.kept.push(echo);
        } else if let Some(former) = self.kept.get_mut(place) {
            *former = echo;
        }
        let comes_again = self.roll(1000) < self.per_mille;
        let number = self.roll(self.kept.len() as u64) as usize;
        comes_again.then(|| self.kept[number].clone())
    }

    fn roll(&mut self, bound: u64) -> u64 {
        self.rng.next_u64() % bound
    }
}
