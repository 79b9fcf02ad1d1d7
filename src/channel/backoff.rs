//! Spaces the attempts to connect.
//!
//! Used by every channel that connects to something.

use std::time::Duration;

/// How long to wait before the next attempt: 20 ms, doubled with every failure up to half a second, of which the
/// upper half is jitter, so that the nodes of a cluster do not reconnect in step.
pub(super) struct Backoff {
    /// Incarnations are random and unique: their bytes replace a random generator.
    rng: [u8; 16],
    failures: usize,
}

impl Backoff {
    const DELAY_MIN: Duration = Duration::from_millis(20);
    const DELAY_MAX: Duration = Duration::from_millis(500);

    pub(super) fn new(rng: [u8; 16]) -> Self {
        Self { rng, failures: 0 }
    }

    pub(super) fn next(&mut self) -> Duration {
        let doublings = self.failures.min(8) as u32;
        let delay = (Self::DELAY_MIN * 2_u32.pow(doublings)).min(Self::DELAY_MAX);
        let die = self.rng[self.failures % self.rng.len()];
        self.failures += 1;
        delay / 2 + delay / 2 * u32::from(die) / u32::from(u8::MAX)
    }

    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_to_its_bound_and_starts_over() {
        let (mut soon, mut late) = (Backoff::new([0; 16]), Backoff::new([u8::MAX; 16]));
        let delays: Vec<u128> = (0..7).map(|_| late.next().as_millis()).collect();
        assert_eq!(delays, [20, 40, 80, 160, 320, 500, 500]);
        let delays: Vec<u128> = (0..7).map(|_| soon.next().as_millis()).collect();
        assert_eq!(delays, [10, 20, 40, 80, 160, 250, 250]);
        for _ in 0..10_000 {
            assert!(late.next() <= Backoff::DELAY_MAX);
        }
        late.reset();
        assert_eq!(late.next().as_millis(), 20);
    }
}
