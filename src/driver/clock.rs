//! The clock of a driver: counts the ticks that have passed, and says when the next turn is due. Missed ticks are not
//! made up for.
//!
//! Read at the begin of every turn, on whichever thread has it (`shared_core.rs`), so that the core has always heard of
//! all the time before what happens in it.

use std::time::{Duration, Instant};

/// Counts ticks.
pub struct Clock {
    tick: Duration,
    /// When the next tick has passed.
    next: Instant,
    /// After so many ticks, at least 1, somebody looks at the clock.
    rest: u32,
}

impl Clock {
    /// The first tick passes at once.
    pub fn new(tick: Duration, now: Instant) -> Self {
        Self { tick, next: now, rest: 1 }
    }

    /// How many ticks have passed since the last call. To whoever looks later than was agreed, no more than that: to Raft,
    /// time in which a process was stopped is none, and a burst of ticks would be an election without a cause.
    pub fn passed(&mut self, now: Instant) -> u32 {
        if now < self.next {
            return 0;
        }
        let late = now.duration_since(self.next).as_nanos() / self.tick.as_nanos();
        let ticks = u32::try_from(late).unwrap_or(u32::MAX).saturating_add(1).min(self.rest);
        self.next += self.tick * ticks;
        if self.next <= now {
            self.next = now + self.tick;
        }
        self.rest = (self.rest - ticks).max(1);
        ticks
    }

    /// So many ticks, at least 1, may pass until somebody looks again.
    pub fn rest(&mut self, ticks: u64) {
        self.rest = u32::try_from(ticks).unwrap_or(u32::MAX);
    }

    /// When somebody must look again.
    pub fn due(&self) -> Instant {
        self.next + self.tick * (self.rest - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(10);

    /// Passes ticks by hand: a clock reads no other.
    fn clock() -> (Clock, Instant) {
        let now = Instant::now();
        let mut clock = Clock::new(TICK, now);
        assert_eq!((clock.due(), clock.passed(now)), (now, 1), "the first tick passes at once");
        assert_eq!(clock.due(), now + TICK);
        (clock, now)
    }

    #[test]
    fn each_tick_is_told_once_whenever_somebody_looks() {
        let (mut clock, begin) = clock();
        let mut told = 0;
        for halves in 1..=40 {
            told += clock.passed(begin + TICK / 2 * halves);
            assert_eq!(told, halves / 2);
        }
    }

    #[test]
    fn ticks_at_rest_are_told_together_or_before_what_comes_between_them() {
        let (mut clock, begin) = clock();
        clock.rest(5);
        assert_eq!(clock.due(), begin + 5 * TICK);
        assert_eq!(clock.passed(begin + 3 * TICK), 3);
        assert_eq!(clock.due(), begin + 5 * TICK, "whoever looked between did not have to");
        assert_eq!(clock.passed(begin + 5 * TICK), 2);
        assert_eq!(clock.due(), begin + 6 * TICK);
    }

    #[test]
    fn time_in_which_nobody_looked_is_none() {
        let (mut clock, begin) = clock();
        let later = begin + 1_000 * TICK;
        assert_eq!(clock.passed(later), 1);
        assert_eq!(clock.passed(later), 0);
        clock.rest(5);
        assert_eq!(clock.due(), later + 5 * TICK);
        let much_later = later + 1_000 * TICK;
        assert_eq!(clock.passed(much_later), 5);
        assert_eq!(clock.due(), much_later + TICK);
    }
}
