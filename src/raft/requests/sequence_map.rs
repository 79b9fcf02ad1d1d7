//! A map whose keys are sequence numbers: almost every one is higher than all before, and they are removed from the
//! lowest on.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// The memory for so many pairs is kept for the next ones: a burst of more calls gives it back.
const CAPACITY_KEPT: usize = 4 << 10;

/// Pairs in ascending order of their sequence numbers, each of which is there once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SequenceMap<Value>(VecDeque<(u64, Value)>);

impl<Value> Default for SequenceMap<Value> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<Value> SequenceMap<Value> {
    pub fn get(&self, sequence: u64) -> Option<&Value> {
        let position = self.position(sequence).ok()?;
        self.0.get(position).map(|(_, value)| value)
    }

    pub fn contains(&self, sequence: u64) -> bool {
        self.position(sequence).is_ok()
    }

    /// Replaces a value that is there.
    pub fn insert(&mut self, sequence: u64, value: Value) {
        match self.position(sequence) {
            Ok(position) => self.0[position].1 = value,
            Err(position) => self.0.insert(position, (sequence, value)),
        }
    }

    /// Removes the value with the lowest sequence number, if that is lower than `limit`.
    pub fn pop_below(&mut self, limit: u64) -> Option<Value> {
        self.lowest().filter(|lowest| *lowest < limit)?;
        let lowest = self.0.pop_front();
        if self.0.capacity() > CAPACITY_KEPT + 4 * self.0.len() {
            self.0.shrink_to(2 * self.0.len());
        }
        lowest.map(|(_, value)| value)
    }

    pub fn lowest(&self) -> Option<u64> {
        self.0.front().map(|(sequence, _)| *sequence)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.0.iter().map(|(_, value)| value)
    }

    /// Whether the pairs are in ascending order. Those of a snapshot from another node may not be.
    pub fn is_well_formed(&self) -> bool {
        self.0.iter().is_sorted_by(|(one, _), (other, _)| one < other)
    }

    /// The position of this sequence number; as an error, the one at which to insert it.
    fn position(&self, sequence: u64) -> Result<usize, usize> {
        match self.0.back() {
            Some((highest, _)) if sequence <= *highest => {
                self.0.binary_search_by_key(&sequence, |(sequence, _)| *sequence)
            }
            _ => Err(self.0.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_an_ordered_map_holds(
            steps in prop::collection::vec((any::<bool>(), 0..40_u64), 0..200)
        ) {
            let (mut map, mut model) = (SequenceMap::default(), BTreeMap::new());
            for (number, (is_insertion, sequence)) in steps.into_iter().enumerate() {
                if is_insertion {
                    map.insert(sequence, number);
                    model.insert(sequence, number);
                } else {
                    let lowest = model.first_entry().filter(|entry| *entry.key() < sequence);
                    prop_assert_eq!(map.pop_below(sequence), lowest.map(|entry| entry.remove()));
                }
                prop_assert!(map.is_well_formed());
                prop_assert_eq!(map.contains(sequence), model.contains_key(&sequence));
                prop_assert_eq!(map.get(sequence), model.get(&sequence));
                prop_assert_eq!((map.len(), map.lowest()), (model.len(), model.keys().next().copied()));
                prop_assert!(map.values().eq(model.values()));
            }
        }
    }

    #[test]
    fn the_memory_of_a_burst_is_given_back() {
        let mut map = SequenceMap::default();
        let burst = 16 * CAPACITY_KEPT as u64;
        (0..burst).for_each(|sequence| map.insert(sequence, sequence));
        for sequence in 0..burst {
            assert_eq!(map.pop_below(burst), Some(sequence));
        }
        assert!(map.0.capacity() <= CAPACITY_KEPT + 4);
        assert_eq!(map.pop_below(burst), None);
    }

    #[test]
    fn pairs_out_of_order_or_repeated_are_no_map_of_ours() {
        for pairs in [vec![(2, ()), (1, ())], vec![(1, ()), (1, ())]] {
            assert!(!SequenceMap(pairs.into()).is_well_formed());
        }
    }
}
