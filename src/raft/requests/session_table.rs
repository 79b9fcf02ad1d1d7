//! The replicated session table: the same on every node at the same applied index. For each member, the applied
//! requests above its floor.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::sequence_map::SequenceMap;
use crate::raft::consensus::entry::Request;
use crate::raft::identity::RaftId;
use crate::raft::wire::message::Outcome;

/// For each member, the applied requests above its floor.
///
/// Invariants:
/// - it changes only in log order, and so is a function of the log;
/// - it holds nothing below an origin's floor, so its size follows what the origins wait for; beyond a limit it forgets
///   the oldest request, which is never applied again, but whose outcome is then unknown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SessionTable {
    rows: BTreeMap<RaftId, SessionRow>,
}

/// The limits per member, in requests and in bytes of their actions and outcomes. A member has fewer requests with the
/// leader (`client_session.rs`), so only actions that are much larger than their arguments reach the limits.
const ROW_REQUESTS_MAX: usize = 1 << 16;
const ROW_BYTES_MAX: usize = 8 << 20;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct SessionRow {
    start: u64,
    floor: u64,
    /// With the action: an origin that receives a snapshot instead of the entry resolves its call with it.
    applied: SequenceMap<Bytes>,
    observed: SequenceMap<Outcome>,
    bytes: usize,
}

/// What an entry does to the state, the same on every node.
#[derive(Debug, PartialEq, Eq)]
pub enum ApplyResult {
    Applied,
    /// A repeated request, or one of a node that is not a member: the entry changes nothing.
    Ignored,
}

/// What the log says about a request.
#[derive(Debug, PartialEq, Eq)]
pub enum RequestStatus<'a> {
    /// Nothing: it may be evaluated.
    New,
    /// The state contains this action of it.
    Applied(&'a Bytes),
    /// It was evaluated before an action that is applied, and became no entry.
    Observed(&'a Outcome),
    /// It has ended, and its origin no longer waits for it or is not a member; or it was forgotten.
    Past,
}

impl SessionTable {
    /// Gives a member a row; without one its requests change nothing.
    pub fn admit(&mut self, origin: RaftId) {
        self.rows.entry(origin).or_default();
    }

    /// Forgets a removed member.
    pub fn remove(&mut self, origin: RaftId) {
        self.rows.remove(&origin);
    }

    pub fn status_of(&self, origin: RaftId, start: u64, sequence: u64) -> RequestStatus<'_> {
        let Some(row) = self.rows.get(&origin) else { return RequestStatus::Past };
        if start != row.start {
            return if start > row.start { RequestStatus::New } else { RequestStatus::Past };
        }
        if let Some(outcome) = row.observed.get(sequence) {
            return RequestStatus::Observed(outcome);
        }
        match row.applied.get(sequence) {
            Some(action) => RequestStatus::Applied(action),
            None if sequence < row.floor => RequestStatus::Past,
            None => RequestStatus::New,
        }
    }

    pub fn is_member(&self, origin: RaftId) -> bool {
        self.rows.contains_key(&origin)
    }

    /// Whether the table is consistent: its counters match its content, which is in order.
    pub fn is_well_formed(&self) -> bool {
        let is_ordered = |row: &SessionRow| row.applied.is_well_formed() && row.observed.is_well_formed();
        self.rows.values().all(|row| is_ordered(row) && row.bytes == row.held_bytes())
    }

    pub fn apply(&mut self, request: &Request, action: &Bytes) -> ApplyResult {
        let id = request.id;
        let Some(row) = self.rows.get_mut(&id.origin) else { return ApplyResult::Ignored };
        if id.start < row.start {
            return ApplyResult::Ignored;
        }
        if id.start > row.start {
            *row = SessionRow { start: id.start, ..SessionRow::default() };
        }
        let is_repeated = id.sequence < row.floor
            || row.applied.contains(id.sequence)
            || row.observed.contains(id.sequence);
        if is_repeated {
            return ApplyResult::Ignored;
        }
        row.bytes += action.len();
        row.applied.insert(id.sequence, action.clone());
        row.observe(&request.observed);
        row.raise_floor(request.floor);
        row.forget_the_oldest();
        ApplyResult::Applied
    }

    /// Keeps outcomes that were recorded ahead of an action. False if their origin is not a member.
    pub fn observe(&mut self, origin: RaftId, start: u64, observed: &[(u64, Outcome)]) -> bool {
        let Some(row) = self.rows.get_mut(&origin).filter(|row| start >= row.start) else { return false };
        if start > row.start {
            *row = SessionRow { start, ..SessionRow::default() };
        }
        row.observe(observed);
        row.forget_the_oldest();
        true
    }
}

#[cfg(test)]
impl SessionTable {
    /// The same members without their requests.
    pub fn without_requests(&self) -> Self {
        Self { rows: self.rows.keys().map(|origin| (*origin, SessionRow::default())).collect() }
    }
}

impl SessionRow {
    fn held_bytes(&self) -> usize {
        let actions = self.applied.values().map(Bytes::len);
        actions.chain(self.observed.values().map(Outcome::bytes)).sum()
    }

    fn observe(&mut self, observed: &[(u64, Outcome)]) {
        for (sequence, outcome) in observed {
            let is_known = *sequence < self.floor
                || self.applied.contains(*sequence)
                || self.observed.contains(*sequence);
            if !is_known {
                self.bytes += outcome.bytes();
                self.observed.insert(*sequence, outcome.clone());
            }
        }
    }

    fn raise_floor(&mut self, floor: u64) {
        if floor <= self.floor {
            return;
        }
        self.floor = floor;
        while let Some(action) = self.applied.pop_below(floor) {
            self.bytes -= action.len();
        }
        while let Some(outcome) = self.observed.pop_below(floor) {
            self.bytes -= outcome.bytes();
        }
    }

    fn forget_the_oldest(&mut self) {
        while self.bytes > ROW_BYTES_MAX || self.applied.len() + self.observed.len() > ROW_REQUESTS_MAX {
            let oldest = [self.applied.lowest(), self.observed.lowest()];
            let Some(oldest) = oldest.into_iter().flatten().min() else { return };
            self.raise_floor(oldest + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::consensus::entry::RequestId;

    #[test]
    fn a_table_that_counts_wrongly_is_none_of_ours() {
        let mut table = SessionTable::default();
        table.admit(7);
        assert_eq!(table.apply(&request(1, 1, 1), &Bytes::from_static(b"1")), ApplyResult::Applied);
        assert!(table.is_well_formed());
        table.rows.entry(7).or_default().bytes = 0;
        assert!(!table.is_well_formed());
    }

    #[test]
    fn a_table_whose_requests_are_not_in_order_is_none_of_ours() {
        let pairs = |sequences: [u64; 2]| {
            let pairs = sequences.map(|sequence| (sequence, Bytes::from_static(b"1"))).to_vec();
            postcard::from_bytes(&postcard::to_allocvec(&pairs).unwrap()).unwrap()
        };
        for (sequences, is_well_formed) in [([1, 2], true), ([2, 1], false)] {
            let row = SessionRow { applied: pairs(sequences), bytes: 2, ..SessionRow::default() };
            let table = SessionTable { rows: [(7, row)].into() };
            assert_eq!(table.is_well_formed(), is_well_formed, "{sequences:?}");
        }
    }

    fn request(start: u64, sequence: u64, floor: u64) -> Request {
        Request { id: RequestId { origin: 7, start, sequence }, floor, observed: Vec::new() }
    }

    fn table() -> SessionTable {
        let mut table = SessionTable::default();
        table.admit(7);
        table
    }

    #[test]
    fn a_request_is_applied_once() {
        let mut table = table();
        assert_eq!(table.apply(&request(1, 1, 1), &Bytes::from_static(b"1")), ApplyResult::Applied);
        assert_eq!(table.apply(&request(1, 1, 1), &Bytes::from_static(b"1")), ApplyResult::Ignored);
        assert_eq!(table.status_of(7, 1, 1), RequestStatus::Applied(&Bytes::from_static(b"1")));
        assert_eq!(table.status_of(7, 1, 2), RequestStatus::New);
    }

    #[test]
    fn what_is_below_the_floor_is_forgotten_but_never_applied_again() {
        let mut table = table();
        table.apply(&request(1, 1, 1), &Bytes::from_static(b"1"));
        table.apply(&request(1, 3, 3), &Bytes::from_static(b"1"));
        assert_eq!(table.rows[&7].applied.len(), 1);
        assert_eq!(table.apply(&request(1, 2, 1), &Bytes::from_static(b"1")), ApplyResult::Ignored);
    }

    #[test]
    fn a_newer_start_begins_again_and_an_older_one_changes_nothing() {
        let mut table = table();
        table.apply(&request(1, 5, 5), &Bytes::from_static(b"1"));
        assert_eq!(table.apply(&request(2, 1, 1), &Bytes::from_static(b"1")), ApplyResult::Applied);
        assert_eq!(table.apply(&request(1, 6, 6), &Bytes::from_static(b"1")), ApplyResult::Ignored);
    }

    #[test]
    fn a_stranger_changes_nothing() {
        let mut table = SessionTable::default();
        assert_eq!(table.apply(&request(1, 1, 1), &Bytes::from_static(b"1")), ApplyResult::Ignored);
        assert_eq!(table.status_of(7, 1, 1), RequestStatus::Past);
    }

    #[test]
    fn an_outcome_observed_before_an_applied_action_is_kept_until_the_floor_passes_it() {
        let mut table = table();
        let mut second = request(1, 2, 1);
        second.observed = vec![(1, Outcome::Nothing)];
        table.apply(&second, &Bytes::from_static(b"1"));
        assert_eq!(table.status_of(7, 1, 1), RequestStatus::Observed(&Outcome::Nothing));
        assert_eq!(table.apply(&request(1, 1, 1), &Bytes::from_static(b"1")), ApplyResult::Ignored);
        table.apply(&request(1, 3, 3), &Bytes::from_static(b"1"));
        assert_eq!(table.status_of(7, 1, 1), RequestStatus::Past);
    }

    #[test]
    fn what_takes_too_much_is_forgotten_from_the_oldest_on_and_never_applied_again() {
        let mut table = table();
        let large = Bytes::from(vec![b'1'; ROW_BYTES_MAX / 2]);
        for sequence in 1..=3 {
            assert_eq!(table.apply(&request(1, sequence, 1), &large), ApplyResult::Applied);
        }
        assert_eq!(
            (table.status_of(7, 1, 1), table.status_of(7, 1, 2)),
            (RequestStatus::Past, RequestStatus::Applied(&large))
        );
        assert_eq!(table.apply(&request(1, 1, 1), &large), ApplyResult::Ignored);
        assert!(table.rows[&7].bytes <= ROW_BYTES_MAX);
    }

    #[test]
    fn too_many_requests_are_forgotten_from_the_oldest_on_and_never_applied_again() {
        let mut table = table();
        let small = Bytes::from_static(b"1");
        let last = ROW_REQUESTS_MAX as u64 + 2;
        for sequence in 1..=last {
            assert_eq!(table.apply(&request(1, sequence, 1), &small), ApplyResult::Applied);
        }
        let status = |sequence| table.status_of(7, 1, sequence);
        assert_eq!((status(2), status(3)), (RequestStatus::Past, RequestStatus::Applied(&small)));
        assert_eq!(table.rows[&7].applied.len(), ROW_REQUESTS_MAX);
        assert_eq!(table.apply(&request(1, 2, 1), &small), ApplyResult::Ignored);
    }

    #[test]
    fn the_bytes_of_a_row_are_those_of_what_it_holds() {
        let mut table = table();
        for sequence in 1..=100 {
            let mut request = request(1, 2 * sequence, (2 * sequence).saturating_sub(7));
            request.observed = vec![(2 * sequence - 1, Outcome::Refused(Bytes::from_static(b"no")))];
            table.apply(&request, &Bytes::from_static(b"12345"));
            let row = &table.rows[&7];
            let bytes = row.applied.values().map(Bytes::len).sum::<usize>()
                + row.observed.values().map(Outcome::bytes).sum::<usize>();
            assert_eq!(row.bytes, bytes);
        }
    }

    /// A restarted origin counts its requests from 1 again: what is recorded of its former start is not about them.
    #[test]
    fn outcomes_recorded_ahead_of_an_action_begin_a_newer_start_too() {
        let mut table = table();
        table.apply(&request(1, 5, 5), &Bytes::from_static(b"1"));
        assert!(table.observe(7, 2, &[(1, Outcome::Nothing)]));
        assert_eq!(table.status_of(7, 2, 1), RequestStatus::Observed(&Outcome::Nothing));
        assert_eq!(table.status_of(7, 2, 5), RequestStatus::New);
        assert_eq!(table.apply(&request(1, 6, 5), &Bytes::from_static(b"1")), ApplyResult::Ignored);
        assert!(!table.observe(7, 1, &[(6, Outcome::Nothing)]), "the former start has ended");
    }

    /// A record that an earlier leader proposed may be applied when its origin no longer waits for the outcome.
    #[test]
    fn outcomes_below_the_floor_are_not_kept() {
        let mut table = table();
        table.apply(&request(1, 3, 3), &Bytes::from_static(b"1"));
        let bytes = table.rows[&7].bytes;
        assert!(table.observe(7, 1, &[(2, Outcome::Nothing)]));
        assert_eq!((table.rows[&7].observed.len(), table.rows[&7].bytes), (0, bytes));
        assert_eq!(table.status_of(7, 1, 2), RequestStatus::Past);
    }

    #[test]
    fn who_is_no_member_any_more_is_forgotten() {
        let mut table = table();
        table.remove(7);
        assert_eq!(table.apply(&request(1, 1, 1), &Bytes::new()), ApplyResult::Ignored);
    }
}
