//! Remembers which counters of a sender were accepted.
//!
//! Used by the opener, one for each boot of a sender. Frames may overtake one another, so it keeps the newest counters
//! as bits; what is older than all of them is refused.

/// How far a frame may be overtaken. A sender counts the frames to all of its receivers together, and a large frame on a
/// slow line may be overtaken by seconds of small ones.
const COUNTERS: u64 = 1 << 20;

/// Invariant: a bit is set if its counter was accepted, and is at most `COUNTERS` older than `newest`.
pub(super) struct Window {
    newest: u64,
    bits: Box<[u64]>,
}

impl Window {
    pub(super) fn new() -> Self {
        Self { newest: 0, bits: vec![0; (COUNTERS / 64) as usize].into() }
    }

    /// Whether a frame with this counter would be the first. Counters begin at 1.
    pub(super) fn admits(&self, counter: u64) -> bool {
        let is_in_reach = counter > 0 && self.newest.saturating_sub(counter) < COUNTERS;
        is_in_reach && (counter > self.newest || self.bits[word(counter)] & bit(counter) == 0)
    }

    /// Accepts an authentic frame with this counter.
    pub(super) fn record(&mut self, counter: u64) {
        if counter.saturating_sub(self.newest) >= COUNTERS {
            self.bits.fill(0);
        } else {
            for skipped in self.newest + 1..=counter {
                self.bits[word(skipped)] &= !bit(skipped);
            }
        }
        self.newest = self.newest.max(counter);
        self.bits[word(counter)] |= bit(counter);
    }
}

fn word(counter: u64) -> usize {
    (counter % COUNTERS / 64) as usize
}

fn bit(counter: u64) -> u64 {
    1 << (counter % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn accept(window: &mut Window, counter: u64) -> bool {
        let is_admitted = window.admits(counter);
        if is_admitted {
            window.record(counter);
        }
        is_admitted
    }

    #[test]
    fn a_counter_is_accepted_once_in_any_order_and_not_when_it_is_too_old() {
        let mut window = Window::new();
        assert!(!accept(&mut window, 0));
        for counter in [1, 3, 2, COUNTERS + 1, 4] {
            assert!(accept(&mut window, counter), "{counter}");
            assert!(!accept(&mut window, counter), "{counter}");
        }
        // One may be overtaken by `COUNTERS - 1` others, and no more.
        assert!(accept(&mut window, COUNTERS + 5));
        assert!(!accept(&mut window, 5));
        assert!(accept(&mut window, 6));
        assert!(accept(&mut window, u64::MAX));
        assert!(!accept(&mut window, COUNTERS + 6));
        assert!(!accept(&mut window, u64::MAX));
    }

    proptest! {
        #[test]
        fn no_counter_is_accepted_twice(steps in proptest::collection::vec(
            prop_oneof![0..200_u64, 65_000..66_000_u64, 130_000..140_000_u64, any::<u64>()], 0..300,
        )) {
            let (mut window, mut accepted) = (Window::new(), BTreeSet::new());
            for counter in steps {
                let newest = accepted.last().copied().unwrap_or(0);
                let is_due = counter > 0 && !accepted.contains(&counter)
                    && (counter > newest || newest - counter < COUNTERS);
                prop_assert_eq!(accept(&mut window, counter), is_due);
                if is_due {
                    accepted.insert(counter);
                }
            }
        }
    }
}
