//! This file is the clock of a driver: it ticks, and it never makes up for ticks that it missed.
//!
//! Two timers take turns. With a single one, tokio would wake its own thread by a system call whenever that is set anew,
//! for no other is due sooner; a hundred times a second that is a good part of what an idle node costs.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

pub struct Ticks {
    tick: Duration,
    /// The timer of the next tick, and that of the one after it.
    next: Pin<Box<Sleep>>,
    after: Pin<Box<Sleep>>,
}

impl Ticks {
    /// The first tick comes at once. To be called on the runtime.
    pub fn new(tick: Duration) -> Self {
        let now = Instant::now();
        let [next, after] = [now, now + tick].map(|at| Box::pin(sleep_until(at)));
        Self { tick, next, after }
    }

    /// Waits for the next tick. May be dropped before it comes.
    pub async fn next(&mut self) {
        self.next.as_mut().await;
        std::mem::swap(&mut self.next, &mut self.after);
        let now = Instant::now();
        // A late tick must not be followed by a burst: to Raft that would be time that never passed.
        if self.next.deadline() < now + self.tick / 2 {
            self.next.as_mut().reset(now + self.tick);
        }
        let next = self.next.deadline();
        self.after.as_mut().reset(next + self.tick);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn ticks_keep_their_distance_and_none_is_made_up_for() {
        let begin = Instant::now();
        let mut ticks = Ticks::new(TICK);
        for _ in 0..4 {
            ticks.next().await;
        }
        assert!(begin.elapsed() >= 3 * TICK, "four ticks after {:?}", begin.elapsed());
        std::thread::sleep(5 * TICK);
        ticks.next().await;
        let late = Instant::now();
        ticks.next().await;
        ticks.next().await;
        assert!(late.elapsed() >= TICK, "two ticks after {:?}", late.elapsed());
    }
}
