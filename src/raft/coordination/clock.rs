//! The cluster's clock: the latest time that an entry carries.
//!
//! A leader reads its wall clock when it evaluates, and its entries carry that time; here it becomes monotonic. Nothing
//! here reads a clock.

use serde::{Deserialize, Serialize};

/// Times stay below this, so that they are exact as JavaScript numbers.
const NUMBER_MAX: u64 = 1 << 53;

/// The time of an entry without one: it is from before there were clocks, or has no action.
pub const NO_TIME: u64 = 0;

/// The latest time, in milliseconds since 1970, that an entry up to an index carries; 0 before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterClock {
    at: u64,
}

impl ClusterClock {
    /// No entry carries a time.
    pub const NONE: Self = Self { at: NO_TIME };

    pub fn at(self) -> u64 {
        self.at
    }

    /// An entry carries this time. A time that is not exact as a JavaScript number is ignored: no leader writes it.
    pub fn advance(&mut self, at: u64) {
        if at < NUMBER_MAX {
            self.at = self.at.max(at);
        }
    }

    /// The time of the leader's next entry if its wall clock shows `wall`: never before that of an earlier entry.
    pub fn next(self, wall: u64) -> u64 {
        let mut clock = self;
        clock.advance(wall);
        let at = clock.at;
        injected_bug!(FallsAtLeaderChange, at => wall);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_never_falls() {
        let mut clock = ClusterClock::default();
        for (at, expected) in [(7, 7), (5, 7), (8, 8), (NO_TIME, 8), (u64::MAX, 8)] {
            assert_eq!(clock.next(at), expected);
            clock.advance(at);
            assert_eq!(clock.at(), expected);
        }
    }
}
