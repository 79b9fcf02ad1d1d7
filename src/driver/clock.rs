//! The clock of a driver: counts the ticks that have passed, and says when the next turn is due. Missed ticks are
//! skipped.
//!
//! Read at the beginning of every turn, on either thread (`shared_core.rs`), so that the core counts the elapsed ticks
//! before it handles inputs.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The first tick of the process. The ticks of all its nodes coincide, so that their frames leave together and one
/// wakeup serves all nodes.
static EPOCH: OnceLock<Instant> = OnceLock::new();

/// Counts ticks.
pub struct Clock {
    tick: Duration,
    epoch: Instant,
    /// When the next tick has passed.
    next: Instant,
    /// The number of ticks, at least 1, after which the next turn is due.
    ticks_until_due: u32,
}

impl Clock {
    /// The first tick passes at once.
    pub fn new(tick: Duration, now: Instant) -> Self {
        Self::since(*EPOCH.get_or_init(|| now), tick, now)
    }

    fn since(epoch: Instant, tick: Duration, now: Instant) -> Self {
        let since_last = now.duration_since(epoch).as_nanos() % tick.as_nanos();
        Self { tick, epoch, next: now - Duration::from_nanos(since_last as u64), ticks_until_due: 1 }
    }

    /// The number of the last tick that has passed, which nodes of this process with equally long ticks share.
    pub fn number(&self) -> u64 {
        (self.next.duration_since(self.epoch).as_nanos() / self.tick.as_nanos()) as u64
    }

    /// The number of ticks since the last call, at most the agreed number: time in which the process was stopped must
    /// not count for Raft, and a burst of ticks would cause a needless election.
    pub fn passed(&mut self, now: Instant) -> u32 {
        if now < self.next {
            return 0;
        }
        let late = now.duration_since(self.next).as_nanos() / self.tick.as_nanos();
        let ticks = u32::try_from(late).unwrap_or(u32::MAX).saturating_add(1).min(self.ticks_until_due);
        self.next += self.tick * ticks;
        if self.next <= now {
            let missed = now.duration_since(self.next).as_nanos() / self.tick.as_nanos();
            self.next += self.tick * u32::try_from(missed + 1).unwrap_or(u32::MAX);
        }
        self.ticks_until_due = (self.ticks_until_due - ticks).max(1);
        ticks
    }

    /// Sets the number of ticks, at least 1, until the next turn is due.
    pub fn set_ticks_until_due(&mut self, ticks: u64) {
        self.ticks_until_due = u32::try_from(ticks).unwrap_or(u32::MAX);
    }

    /// When the next turn is due.
    pub fn due(&self) -> Instant {
        self.next + self.tick * (self.ticks_until_due - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(10);

    /// Passes ticks by hand: a clock reads no other.
    fn clock() -> (Clock, Instant) {
        let now = Instant::now();
        let mut clock = Clock::since(now, TICK, now);
        assert_eq!((clock.due(), clock.passed(now)), (now, 1), "the first tick passes at once");
        assert_eq!(clock.due(), now + TICK);
        (clock, now)
    }

    #[test]
    fn each_tick_is_counted_once_however_often_the_clock_is_read() {
        let (mut clock, begin) = clock();
        let mut counted = 0;
        for halves in 1..=40 {
            counted += clock.passed(begin + TICK / 2 * halves);
            assert_eq!(counted, halves / 2);
        }
    }

    #[test]
    fn skipped_ticks_are_counted_together_or_at_a_reading_in_between() {
        let (mut clock, begin) = clock();
        clock.set_ticks_until_due(5);
        assert_eq!(clock.due(), begin + 5 * TICK);
        assert_eq!(clock.passed(begin + 3 * TICK), 3);
        assert_eq!(clock.due(), begin + 5 * TICK, "a reading in between changes nothing");
        assert_eq!(clock.passed(begin + 5 * TICK), 2);
        assert_eq!(clock.due(), begin + 6 * TICK);
    }

    #[test]
    fn the_ticks_of_all_nodes_fall_on_the_same_moments_with_the_same_numbers() {
        let begin = Instant::now();
        let mut clocks = [0, 3, 14].map(|later| {
            let now = begin + Duration::from_millis(later);
            let mut clock = Clock::since(begin, TICK, now);
            assert_eq!(clock.passed(now), 1, "the first tick passes at once");
            clock
        });
        // The last one was stopped for a while.
        for clock in &mut clocks[..2] {
            for tick in 2..=100 {
                clock.passed(begin + TICK * tick);
            }
        }
        clocks[2].passed(begin + TICK * 100 + TICK / 2);
        for clock in &clocks {
            assert_eq!((clock.due(), clock.number()), (begin + TICK * 101, 101));
        }
    }

    #[test]
    fn missed_ticks_are_skipped() {
        let (mut clock, begin) = clock();
        let later = begin + 1_000 * TICK;
        assert_eq!(clock.passed(later), 1);
        assert_eq!(clock.passed(later), 0);
        clock.set_ticks_until_due(5);
        assert_eq!(clock.due(), later + 5 * TICK);
        let much_later = later + 1_000 * TICK;
        assert_eq!(clock.passed(much_later), 5);
        assert_eq!(clock.due(), much_later + TICK);
    }
}
