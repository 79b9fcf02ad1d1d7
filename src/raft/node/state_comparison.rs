//! Compares the hashes of all members' states, on the leader, and finds those that differ from a majority of the voters.
//!
//! `checks.rs` sends the messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::raft::events::{Hashed, StateHash};
use crate::raft::identity::RaftId;
use crate::raft::options::Options;

/// A comparison occupies JavaScript: it may take 1 % of its time.
const PAUSE_FACTOR: u64 = 100;
const PAUSE_MICROS_MIN: u64 = 1_000_000;

/// The comparison of a leader.
#[derive(Debug)]
pub(super) struct StateComparison {
    reports: BTreeMap<RaftId, Report>,
    /// Members that were informed, for this comparison, that their state differs, and that state's hash.
    accused: BTreeMap<RaftId, StateHash>,
    /// When the next comparison may be proposed.
    due_at: u64,
    /// The index of a comparison for which this node has not hashed its own state yet.
    awaits_own: Option<u64>,
    /// The last action that was compared.
    compared_action: u64,
}

/// The hash of a member's state.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) index: u64,
    /// Of the application's code: only states of one version are compared.
    pub(super) version: Arc<str>,
    pub(super) hash: StateHash,
}

/// The outcome of a comparison, as far as it is known.
pub(super) enum Verdict {
    Pending,
    /// All voters have reported, and no majority has the same state.
    NoMajority,
    Majority {
        hash: StateHash,
        others: Vec<(RaftId, StateHash)>,
    },
}

impl StateComparison {
    pub(super) fn new(now: u64) -> Self {
        Self {
            reports: BTreeMap::new(),
            accused: BTreeMap::new(),
            due_at: now,
            awaits_own: None,
            compared_action: 0,
        }
    }

    pub(super) fn forget(&mut self, member: RaftId) {
        self.reports.remove(&member);
    }

    /// Begins a comparison, if one is due and there are actions that were not compared.
    pub(super) fn begin(&mut self, now: u64, last_action: u64, options: &Options) -> bool {
        if now < self.due_at || self.awaits_own.is_some() || self.compared_action >= last_action {
            return false;
        }
        self.compared_action = last_action;
        self.due_at = now + PAUSE_MICROS_MIN.div_ceil(options.tick_micros.max(1));
        self.reports.clear();
        self.accused.clear();
        true
    }

    /// The states behind the last action are compared, as far as this node is concerned.
    pub(super) fn is_done(&self, last_action: u64) -> bool {
        self.awaits_own.is_none() && self.compared_action >= last_action
    }

    /// The comparison is in the log, at this index. The next one waits for this node's own hash: a large state takes
    /// longer than the shortest pause.
    pub(super) fn await_own(&mut self, index: u64) {
        self.awaits_own = Some(index);
    }

    /// This node has hashed its own state: the next comparison comes after a pause in proportion.
    pub(super) fn own_hashed(&mut self, Hashed { index, micros, .. }: Hashed, now: u64, options: &Options) {
        self.awaits_own.take_if(|awaited| *awaited <= index);
        let pause = (PAUSE_FACTOR * micros).max(PAUSE_MICROS_MIN);
        self.due_at = self.due_at.max(now + pause.div_ceil(options.tick_micros.max(1)));
    }

    /// Adds a report; compares it with the others of its version.
    pub(super) fn add(&mut self, member: RaftId, report: Report, voters: &[RaftId]) -> Verdict {
        if self.reports.values().any(|other| other.index > report.index) {
            return Verdict::Pending;
        }
        if self.reports.values().any(|other| other.index < report.index) {
            self.reports.clear();
            self.accused.clear();
        }
        let version = report.version.clone();
        self.reports.insert(member, report);
        let same_version = self.reports.iter().filter(|(_, report)| report.version == version);
        let hashes: Vec<(RaftId, StateHash)> =
            same_version.map(|(member, report)| (*member, report.hash)).collect();
        let mut counts: BTreeMap<StateHash, usize> = BTreeMap::new();
        for (_, hash) in hashes.iter().filter(|(member, _)| voters.contains(member)) {
            *counts.entry(*hash).or_default() += 1;
        }
        match counts.iter().find(|(_, count)| **count > voters.len() / 2) {
            Some((majority, _)) => Verdict::Majority {
                hash: *majority,
                others: hashes.into_iter().filter(|(_, hash)| hash != majority).collect(),
            },
            None if counts.len() > 1 && counts.values().sum::<usize>() == voters.len() => Verdict::NoMajority,
            None => Verdict::Pending,
        }
    }

    /// Whether this member is to be informed: once for each state, also if others' hashes come later. It may be
    /// restored by then.
    pub(super) fn accuses(&mut self, member: RaftId, hash: StateHash) -> bool {
        let is_known = self.accused.insert(member, hash) == Some(hash);
        injected_bug!(TellsDisagreementAgain, is_known => false);
        !is_known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A state whose hash takes 50 ms is compared every 5 s, and one that takes 1 ms every second.
    #[test]
    fn comparisons_take_a_hundredth_of_the_time_of_javascript() {
        let options = Options::new("any", 3, [0; 32]);
        let ticks = |micros: u64| micros.div_ceil(options.tick_micros);
        for (micros, pause_micros) in [(1_000, 1_000_000), (50_000, 5_000_000)] {
            let mut comparison = StateComparison::new(0);
            assert!(comparison.begin(0, 1, &options));
            comparison.await_own(2);
            comparison.own_hashed(Hashed { index: 2, hash: None, micros }, 7, &options);
            let due_at = 7 + ticks(pause_micros);
            assert!(!comparison.begin(due_at - 1, 3, &options), "{micros} us");
            assert!(comparison.begin(due_at, 3, &options), "{micros} us");
        }
    }
}
