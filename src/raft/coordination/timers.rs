//! The replicated timers: which method runs when.
//!
//! A leader evaluates a timer that is due, and its entry moves the timer to its next time. JavaScript on the leader
//! decides that time from the timer's rule; this file only keeps times.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Times stay below this, so that they are exact as JavaScript numbers.
const NUMBER_MAX: u64 = 1 << 53;
/// The approximate size of a timer without its texts.
const OVERHEAD_BYTES: usize = 160;

/// The timers of the cluster.
///
/// Invariants:
/// - `by_due` names each timer once, at its present time;
/// - `bytes` is what all timers take together;
/// - the number of a timer is higher than that of any timer before it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timers {
    rows: BTreeMap<Arc<str>, Timer>,
    by_due: BTreeSet<(u64, Arc<str>)>,
    bytes: usize,
    last_number: u64,
}

/// One timer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timer {
    /// Distinguishes a timer from an earlier one of the same name.
    pub number: u64,
    /// When it fires next, in milliseconds since 1970.
    pub due: u64,
    pub method: Arc<str>,
    /// The arguments of the method: the text of a JSON array.
    pub args: Bytes,
    /// When it fires after that: the text of a JSON object.
    pub rule: Bytes,
}

/// What an action does to the timers, atomically with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimerChange {
    /// Replaces a timer of the same name.
    Set {
        name: Arc<str>,
        due: u64,
        method: Arc<str>,
        args: Bytes,
        rule: Bytes,
    },
    Remove {
        name: Arc<str>,
    },
}

/// A timer that fires at one of its times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerFiring {
    pub name: Arc<str>,
    pub number: u64,
    pub due: u64,
    /// Its next time; `None`: it is done.
    pub next: Option<u64>,
}

/// The result of a method that changes timers, or that a timer has called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// JSON text.
    pub action: Option<Bytes>,
    /// When the timer fires next.
    pub next: Option<u64>,
    pub changes: Vec<TimerChange>,
}

/// A timer that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueTimer {
    pub name: Arc<str>,
    pub due: u64,
    pub method: Arc<str>,
    pub args: Bytes,
    pub rule: Bytes,
}

impl TimerChange {
    /// The size of the timer.
    pub fn bytes(&self) -> usize {
        match self {
            TimerChange::Set { name, method, args, rule, .. } => {
                OVERHEAD_BYTES + 2 * name.len() + method.len() + args.len() + rule.len()
            }
            TimerChange::Remove { .. } => 0,
        }
    }
}

impl Timer {
    fn bytes(&self, name: &str) -> usize {
        OVERHEAD_BYTES + 2 * name.len() + self.method.len() + self.args.len() + self.rule.len()
    }
}

impl Timers {
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn get(&self, name: &str) -> Option<&Timer> {
        self.rows.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Timer)> {
        self.rows.iter()
    }

    /// When each timer fires next, the earliest first.
    pub fn by_due(&self) -> impl Iterator<Item = (u64, &Arc<str>, &Timer)> {
        self.by_due.iter().map(|(due, name)| (*due, name, &self.rows[name]))
    }

    pub fn next_due(&self) -> Option<u64> {
        self.by_due.first().map(|(due, _)| *due)
    }

    pub fn apply(&mut self, change: TimerChange) {
        match change {
            TimerChange::Set { name, due, method, args, rule } => {
                self.last_number += 1;
                let number = self.last_number;
                self.insert(name, Timer { number, due: due.min(NUMBER_MAX - 1), method, args, rule });
            }
            TimerChange::Remove { name } => self.remove(&name),
        }
    }

    /// False: the timer was replaced or removed, or has fired at this time.
    pub fn fire(&mut self, firing: &TimerFiring) -> bool {
        let timer = self.rows.get(&firing.name);
        let is_due = timer.is_some_and(|timer| (timer.number, timer.due) == (firing.number, firing.due));
        injected_bug!(FiresTwice, is_due => true);
        if !is_due {
            return false;
        }
        let timer = timer.cloned();
        match (timer, firing.next) {
            (Some(timer), Some(next)) => {
                self.insert(firing.name.clone(), Timer { due: next.min(NUMBER_MAX - 1), ..timer });
            }
            (_, None) | (None, Some(_)) => self.remove(&firing.name),
        }
        true
    }

    fn insert(&mut self, name: Arc<str>, timer: Timer) {
        self.remove(&name);
        self.bytes += timer.bytes(&name);
        self.by_due.insert((timer.due, name.clone()));
        self.rows.insert(name, timer);
    }

    fn remove(&mut self, name: &str) {
        let Some((name, timer)) = self.rows.remove_entry(name) else { return };
        self.bytes -= timer.bytes(&name);
        self.by_due.remove(&(timer.due, name));
    }

    pub fn is_well_formed(&self) -> bool {
        self.last_number < NUMBER_MAX
            && self
                .rows
                .values()
                .all(|timer| timer.due < NUMBER_MAX && (1..=self.last_number).contains(&timer.number))
    }
}

/// The counter, then the rows; the rest follows from them.
impl Serialize for Timers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.last_number, &self.rows).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Timers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (last_number, rows): (u64, BTreeMap<Arc<str>, Timer>) = Deserialize::deserialize(deserializer)?;
        let mut timers = Timers { last_number, ..Timers::default() };
        rows.into_iter().for_each(|(name, timer)| timers.insert(name, timer));
        Ok(timers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, due: u64) -> TimerChange {
        TimerChange::Set { name: name.into(), due, method: "m".into(), args: "[]".into(), rule: "{}".into() }
    }

    fn fires(timers: &mut Timers, name: &str, number: u64, due: u64, next: Option<u64>) -> bool {
        let is_fired = timers.fire(&TimerFiring { name: name.into(), number, due, next });
        assert!(timers.is_well_formed());
        is_fired
    }

    fn names(timers: &Timers) -> Vec<(u64, &str)> {
        timers.by_due().map(|(due, name, _)| (due, &**name)).collect()
    }

    #[test]
    fn a_timer_fires_once_at_each_of_its_times() {
        let mut timers = Timers::default();
        timers.apply(set("b", 20));
        timers.apply(set("a", 10));
        assert_eq!(names(&timers), [(10, "a"), (20, "b")]);
        assert!(fires(&mut timers, "a", 2, 10, Some(30)));
        assert!(!fires(&mut timers, "a", 2, 10, Some(30)), "it has fired at this time");
        assert_eq!(names(&timers), [(20, "b"), (30, "a")]);
        assert!(fires(&mut timers, "b", 1, 20, None));
        assert!(!fires(&mut timers, "b", 1, 20, None), "it is done");
        assert_eq!((timers.count(), timers.next_due()), (1, Some(30)));
    }

    #[test]
    fn a_firing_of_a_timer_that_was_replaced_or_removed_counts_for_nothing() {
        let mut timers = Timers::default();
        timers.apply(set("a", 10));
        timers.apply(set("a", 10));
        assert!(!fires(&mut timers, "a", 1, 10, Some(20)), "another timer has the name");
        assert!(fires(&mut timers, "a", 2, 10, Some(20)));
        timers.apply(TimerChange::Remove { name: "a".into() });
        timers.apply(TimerChange::Remove { name: "a".into() });
        assert!(!fires(&mut timers, "a", 2, 20, Some(30)));
        assert_eq!((timers.count(), timers.bytes(), timers.next_due()), (0, 0, None));
    }

    #[test]
    fn what_is_encoded_is_read_again() {
        let mut timers = Timers::default();
        (0..100).for_each(|number| timers.apply(set(&format!("t{number}"), 1_000 - number)));
        let bytes = postcard::to_allocvec(&timers).expect("it is plain data");
        assert_eq!(postcard::from_bytes::<Timers>(&bytes).expect("it was just written"), timers);
    }
}
