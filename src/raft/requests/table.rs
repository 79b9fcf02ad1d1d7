//! This file is the replicated memory of requests: the same on every node at the same applied index.

use std::collections::{BTreeMap, BTreeSet};

use crate::raft::entry::Request;
use crate::raft::frame::Outcome;
use crate::raft::identity::RaftId;

/// For each member what was applied of its requests, above its floor.
///
/// Invariants:
/// - it changes only by [`Table::apply`], in log order, and so is a function of the log;
/// - it holds nothing below an origin's floor, and so stays as small as what the origins wait for.
#[derive(Debug, Default)]
pub struct Table {
    rows: BTreeMap<RaftId, Row>,
}

#[derive(Debug, Default)]
struct Row {
    start: u64,
    floor: u64,
    applied: BTreeSet<u64>,
    observed: BTreeMap<u64, Outcome>,
}

/// What an entry does to the state, on every node alike.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    Applied,
    /// A repeated request, or one of nobody: the entry changes nothing.
    Ignored,
}

/// What the log says about a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Known<'a> {
    /// Nothing: it may be evaluated.
    New,
    /// It is in the state, or its origin no longer waits for it.
    Done,
    /// It was evaluated before an action that is applied, and became no entry.
    Observed(&'a Outcome),
}

impl Table {
    /// Gives a member a row; without one its requests change nothing.
    pub fn admit(&mut self, origin: RaftId) {
        self.rows.entry(origin).or_default();
    }

    pub fn knows(&self, origin: RaftId, start: u64, sequence: u64) -> Known<'_> {
        let Some(row) = self.rows.get(&origin) else { return Known::Done };
        if start != row.start {
            return if start > row.start { Known::New } else { Known::Done };
        }
        match row.observed.get(&sequence) {
            Some(outcome) => Known::Observed(outcome),
            None if sequence < row.floor || row.applied.contains(&sequence) => Known::Done,
            None => Known::New,
        }
    }

    pub fn is_member(&self, origin: RaftId) -> bool {
        self.rows.contains_key(&origin)
    }

    pub fn apply(&mut self, request: &Request) -> Effect {
        let id = request.id;
        let Some(row) = self.rows.get_mut(&id.origin) else { return Effect::Ignored };
        if id.start < row.start {
            return Effect::Ignored;
        }
        if id.start > row.start {
            *row = Row { start: id.start, ..Row::default() };
        }
        let is_repeated = id.sequence < row.floor
            || row.applied.contains(&id.sequence)
            || row.observed.contains_key(&id.sequence);
        if is_repeated {
            return Effect::Ignored;
        }
        row.applied.insert(id.sequence);
        row.observed.extend(request.observed.iter().cloned());
        if request.floor > row.floor {
            row.floor = request.floor;
            row.applied = row.applied.split_off(&row.floor);
            row.observed = row.observed.split_off(&row.floor);
        }
        Effect::Applied
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::entry::RequestId;

    fn request(start: u64, sequence: u64, floor: u64) -> Request {
        Request { id: RequestId { origin: 7, start, sequence }, floor, observed: Vec::new() }
    }

    fn table() -> Table {
        let mut table = Table::default();
        table.admit(7);
        table
    }

    #[test]
    fn a_request_is_applied_once() {
        let mut table = table();
        assert_eq!(table.apply(&request(1, 1, 1)), Effect::Applied);
        assert_eq!(table.apply(&request(1, 1, 1)), Effect::Ignored);
        assert_eq!(table.knows(7, 1, 1), Known::Done);
        assert_eq!(table.knows(7, 1, 2), Known::New);
    }

    #[test]
    fn what_is_below_the_floor_is_forgotten_but_never_applied_again() {
        let mut table = table();
        table.apply(&request(1, 1, 1));
        table.apply(&request(1, 3, 3));
        assert_eq!(table.rows[&7].applied.len(), 1);
        assert_eq!(table.apply(&request(1, 2, 1)), Effect::Ignored);
    }

    #[test]
    fn a_newer_start_begins_again_and_an_older_one_changes_nothing() {
        let mut table = table();
        table.apply(&request(1, 5, 5));
        assert_eq!(table.apply(&request(2, 1, 1)), Effect::Applied);
        assert_eq!(table.apply(&request(1, 6, 6)), Effect::Ignored);
    }

    #[test]
    fn a_stranger_changes_nothing() {
        let mut table = Table::default();
        assert_eq!(table.apply(&request(1, 1, 1)), Effect::Ignored);
        assert_eq!(table.knows(7, 1, 1), Known::Done);
    }

    #[test]
    fn an_outcome_observed_before_an_applied_action_is_kept_until_the_floor_passes_it() {
        let mut table = table();
        let mut second = request(1, 2, 1);
        second.observed = vec![(1, Outcome::Nothing)];
        table.apply(&second);
        assert_eq!(table.knows(7, 1, 1), Known::Observed(&Outcome::Nothing));
        assert_eq!(table.apply(&request(1, 1, 1)), Effect::Ignored);
        table.apply(&request(1, 3, 3));
        assert_eq!(table.knows(7, 1, 1), Known::Done);
    }
}
