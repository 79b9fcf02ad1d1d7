//! The requests of this node's application that have not ended, and when to send which of them to which leader.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::raft::events::Perform;
use crate::raft::wire::items::RequestItem;
use crate::raft::wire::message::{Outcome, Requests};

/// The limit of unanswered requests that are sent, so that a burst floods neither the leader nor the channel.
const WINDOW_BYTES_MAX: usize = 4 << 20;
const WINDOW_REQUESTS_MAX: usize = 32_768;
/// The approximate size of a frame with requests.
const FRAME_BYTES_MAX: usize = 256 << 10;
/// The leader keeps outcomes until it learns that this node no longer needs them: after this many bytes of them this
/// node reports its floor, even without new requests.
const UNREPORTED_OUTCOME_BYTES_MAX: usize = 512 << 10;

/// The calls of this node, in call order.
///
/// Invariants:
/// - `pending[i]` has sequence number `floor + i`; a hole is a call that has ended; the first is never a hole;
/// - the dispatched requests are a prefix: no request is sent before an earlier one.
#[derive(Debug)]
pub struct ClientSession {
    start: u64,
    floor: u64,
    pending: VecDeque<Option<Pending>>,
    /// Without the holes.
    pending_count: usize,
    /// The term of the leader that received the dispatched prefix; 0: none did.
    term: u64,
    /// Everything below was sent to the leader of `term`.
    next: u64,
    window_bytes: usize,
    window_requests: usize,
    idle_ticks: u64,
    retry_ticks: u64,
    retry_ticks_min: u64,
    /// The last gap that the leader reported: the sequence number before it, and the tick.
    rewound: Option<(u64, u64)>,
    now_ticks: u64,
    /// (index, sequence) of calls that have an outcome and wait for the state at that index.
    decided: BTreeSet<(u64, u64)>,
    /// The bytes of outcomes that have ended calls since the floor was last reported to the leader.
    unreported_outcome_bytes: usize,
    /// The present session of this node; 0: none.
    session: u64,
}

/// One call that has not ended.
#[derive(Clone, Debug)]
pub struct Pending {
    pub sequence: u64,
    method: Arc<str>,
    args: Bytes,
    /// The term of its last dispatch; 0: never dispatched, so it cannot have had an effect.
    dispatched: u64,
    /// The number of leaders to which it was dispatched before.
    attempts: u32,
    /// The session in which it was made.
    session: u64,
    /// Its outcome, valid once this node has the state at the index.
    decided: Option<(u64, Outcome)>,
}

impl Pending {
    pub fn was_dispatched(&self) -> bool {
        self.dispatched > 0
    }

    /// The outcome that a leader has reported, if any.
    pub fn into_outcome(self) -> Option<Outcome> {
        self.decided.map(|(_, outcome)| outcome)
    }
}

impl ClientSession {
    pub fn new(start: u64, retry_ticks_min: u64) -> Self {
        Self {
            start,
            floor: 1,
            pending: VecDeque::new(),
            pending_count: 0,
            term: 0,
            next: 1,
            window_bytes: 0,
            window_requests: 0,
            idle_ticks: 0,
            retry_ticks: retry_ticks_min,
            retry_ticks_min,
            rewound: None,
            now_ticks: 0,
            decided: BTreeSet::new(),
            unreported_outcome_bytes: 0,
            session: 0,
        }
    }

    pub fn start(&self) -> u64 {
        self.start
    }

    /// Calls are made in this session from now on.
    pub fn set_session(&mut self, session: Option<u64>) {
        self.session = session.unwrap_or(0);
    }

    /// The number of pending calls.
    pub fn len(&self) -> usize {
        self.pending_count
    }

    pub fn is_empty(&self) -> bool {
        self.pending_count == 0
    }

    pub fn add(&mut self, perform: Perform) {
        let expected = self.floor + self.pending.len() as u64;
        if self.pending.is_empty() {
            self.floor = perform.sequence;
            self.next = self.next.max(self.floor);
        } else {
            assert_eq!(perform.sequence, expected, "calls are numbered without a gap");
        }
        self.pending_count += 1;
        self.pending.push_back(Some(Pending {
            sequence: perform.sequence,
            method: perform.method,
            args: perform.args,
            dispatched: 0,
            attempts: 0,
            session: self.session,
            decided: None,
        }));
    }

    /// Whether this call has not ended and is not decided, and was last sent to the leader of this term.
    fn awaits(&self, sequence: u64, term: u64) -> bool {
        let pending = sequence.checked_sub(self.floor).and_then(|i| self.pending.get(i as usize));
        pending
            .and_then(Option::as_ref)
            .is_some_and(|pending| pending.dispatched == term && pending.decided.is_none())
    }

    /// The leader of `term` reported an outcome, which is valid for the state at `index`. It counts only if the call
    /// was last sent to that leader: an earlier one may have been deposed before it answered. It does not count for
    /// calls from before a restart.
    pub fn handle_outcome(&mut self, term: u64, start: u64, sequence: u64, index: u64, outcome: Outcome) {
        injected_bug!(SettlesBeforeItsState, index => 0);
        if start == self.start && self.awaits(sequence, term) {
            self.decide(sequence, index, outcome);
        }
    }

    /// Records the outcome of a pending call, which is valid for the state at `index`: the request is not sent again,
    /// and the call ends when this node has that state ([`Self::take_decided`]).
    fn decide(&mut self, sequence: u64, index: u64, outcome: Outcome) {
        let position = sequence.checked_sub(self.floor).and_then(|i| usize::try_from(i).ok());
        let pending = position.and_then(|position| self.pending.get_mut(position)?.as_mut());
        if let Some(pending) = pending.filter(|pending| pending.decided.is_none()) {
            pending.decided = Some((index, outcome));
            self.decided.insert((index, sequence));
        }
    }

    /// Ends the calls whose outcome is valid for a state up to `index`, in the order of these states and of the calls.
    pub fn take_decided(&mut self, index: u64) -> Vec<(u64, Outcome)> {
        let mut ended = Vec::new();
        while let Some((_, sequence)) = self.decided.first().copied().filter(|(at, _)| *at <= index) {
            self.decided.pop_first();
            if let Some(outcome) = self.end(sequence).and_then(Pending::into_outcome) {
                self.unreported_outcome_bytes += outcome.bytes();
                ended.push((sequence, outcome));
            }
        }
        ended
    }

    /// The call has ended; `None` if it had ended before.
    pub fn end(&mut self, sequence: u64) -> Option<Pending> {
        let position = sequence.checked_sub(self.floor)? as usize;
        let ended = self.pending.get_mut(position)?.take()?;
        self.pending_count -= 1;
        if let Some((index, _)) = &ended.decided {
            self.decided.remove(&(*index, sequence));
        }
        if sequence < self.next && self.term > 0 {
            self.window_bytes -= ended.args.len().min(self.window_bytes);
            self.window_requests -= 1.min(self.window_requests);
        }
        self.idle_ticks = 0;
        self.retry_ticks = self.retry_ticks_min;
        while let Some(None) = self.pending.front() {
            self.pending.pop_front();
            self.floor += 1;
        }
        self.next = self.next.max(self.floor);
        Some(ended)
    }

    /// Ends the call if it was never sent to a leader.
    pub fn end_if_unsent(&mut self, sequence: u64) -> bool {
        let position = sequence.checked_sub(self.floor).unwrap_or(u64::MAX) as usize;
        let is_unsent =
            matches!(self.pending.get(position), Some(Some(pending)) if !pending.was_dispatched());
        is_unsent && self.end(sequence).is_some()
    }

    /// The calls that were dispatched and are not decided, oldest first.
    pub fn dispatched(&self) -> Vec<u64> {
        let is_open = |pending: &&Pending| pending.was_dispatched() && pending.decided.is_none();
        let dispatched = self.pending.iter().flatten().filter(is_open);
        dispatched.map(|pending| pending.sequence).collect()
    }

    /// Ends every call for which `ends` holds, oldest first.
    pub fn end_where(&mut self, ends: impl Fn(&Pending) -> bool) -> Vec<Pending> {
        let chosen: Vec<u64> = self
            .pending
            .iter()
            .flatten()
            .filter(|pending| ends(pending))
            .map(|pending| pending.sequence)
            .collect();
        chosen.into_iter().filter_map(|sequence| self.end(sequence)).collect()
    }

    /// The leader of `term` is known, or none is (0). A new leader receives everything again, in call order.
    pub fn follow(&mut self, term: u64) {
        if term != self.term {
            self.term = term;
            self.rewind_to(self.floor);
            self.idle_ticks = 0;
            self.retry_ticks = self.retry_ticks_min;
        }
    }

    /// The requests to send to the leader now: those not sent yet, within the window.
    pub fn dispatch(&mut self) -> Option<Requests> {
        if self.term == 0 {
            return None;
        }
        let mut requests = self.requests();
        let mut bytes = 0;
        let mut after = self.before(self.next);
        let end = self.floor + self.pending.len() as u64;
        while self.next < end
            && bytes < FRAME_BYTES_MAX
            && self.window_bytes < WINDOW_BYTES_MAX
            && self.window_requests < WINDOW_REQUESTS_MAX
        {
            let pending = self.pending[(self.next - self.floor) as usize].as_mut();
            if let Some(pending) = pending.filter(|pending| pending.decided.is_none()) {
                if pending.dispatched > 0 && pending.dispatched != self.term {
                    pending.attempts += 1;
                }
                pending.dispatched = self.term;
                bytes += pending.args.len() + pending.method.len() + 24;
                self.window_bytes += pending.args.len();
                self.window_requests += 1;
                requests.requests.push(pending.item(after));
                after = pending.sequence;
            }
            self.next += 1;
        }
        if requests.requests.is_empty() && self.unreported_outcome_bytes < UNREPORTED_OUTCOME_BYTES_MAX {
            return None;
        }
        self.unreported_outcome_bytes = 0;
        Some(requests)
    }

    /// Counts a tick. If no call has ended for some time, the oldest requests are sent again: they or their outcomes
    /// were lost. The leader answers with what it has ([`Self::received`]).
    pub fn tick(&mut self) -> Option<Requests> {
        self.now_ticks += 1;
        if self.term == 0 || self.next == self.floor {
            return None;
        }
        self.idle_ticks += 1;
        if self.idle_ticks < self.retry_ticks {
            return None;
        }
        self.idle_ticks = 0;
        self.retry_ticks = (self.retry_ticks * 2).min(10 * self.retry_ticks_min);
        let mut requests = self.requests();
        let (mut bytes, mut after) = (0, 0);
        let sent = self.pending.iter().take((self.next - self.floor) as usize).flatten();
        for pending in sent.filter(|pending| pending.decided.is_none()) {
            if bytes >= FRAME_BYTES_MAX {
                break;
            }
            bytes += pending.args.len() + pending.method.len() + 24;
            requests.requests.push(pending.item(after));
            after = pending.sequence;
        }
        Some(requests)
    }

    /// The leader of `term` has our requests up to `sequence` without a gap: send again what comes after it.
    pub fn received(&mut self, term: u64, sequence: u64) {
        // Each frame behind a lost one makes the leader report the same gap; one repetition is enough.
        let is_repeated = self
            .rewound
            .is_some_and(|(at, when)| at == sequence && self.now_ticks < when + self.retry_ticks_min / 2);
        // Unchecked: the sender need not be our leader.
        let next = sequence.saturating_add(1);
        if term == self.term && next < self.next && !is_repeated {
            self.rewound = Some((sequence, self.now_ticks));
            self.rewind_to(next.max(self.floor));
        }
    }

    fn rewind_to(&mut self, sequence: u64) {
        self.next = sequence;
        let sent = self.pending.iter().take((sequence - self.floor) as usize).flatten();
        (self.window_bytes, self.window_requests) =
            sent.fold((0, 0), |(bytes, count), pending| (bytes + pending.args.len(), count + 1));
    }

    /// The newest call before this one that has not ended and is not decided; 0 if there is none.
    fn before(&self, sequence: u64) -> u64 {
        let sent = self.pending.iter().take((sequence - self.floor) as usize);
        let undecided = sent.rev().flatten().find(|pending| pending.decided.is_none());
        undecided.map_or(0, |pending| pending.sequence)
    }

    fn requests(&self) -> Requests {
        Requests { term: self.term, start: self.start, floor: self.floor, requests: Vec::new() }
    }
}

impl Pending {
    fn item(&self, after: u64) -> RequestItem {
        let Self { sequence, attempts, session, .. } = *self;
        let (method, args) = (self.method.clone(), self.args.clone());
        RequestItem { sequence, after, method, args, attempts, session }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin_with(count: u64) -> ClientSession {
        let mut origin = ClientSession::new(1, 10);
        for sequence in 1..=count {
            origin.add(Perform { sequence, method: "m".into(), args: Bytes::from_static(b"[]") });
        }
        origin
    }

    fn sequences(requests: Option<Requests>) -> Vec<(u64, u64)> {
        requests.map_or(Vec::new(), |r| r.requests.iter().map(|item| (item.sequence, item.after)).collect())
    }

    #[test]
    fn nothing_is_sent_while_there_is_no_leader() {
        assert_eq!(sequences(origin_with(2).dispatch()), []);
    }

    #[test]
    fn a_new_leader_gets_everything_that_has_not_ended_in_call_order() {
        let mut origin = origin_with(3);
        origin.follow(4);
        assert_eq!(sequences(origin.dispatch()), [(1, 0), (2, 1), (3, 2)]);
        assert_eq!(sequences(origin.dispatch()), []);
        origin.end(2);
        origin.follow(5);
        assert_eq!(sequences(origin.dispatch()), [(1, 0), (3, 1)]);
    }

    #[test]
    fn a_gap_that_the_leader_reports_is_filled_once() {
        let mut origin = origin_with(3);
        origin.follow(4);
        origin.dispatch();
        origin.received(4, 1);
        origin.received(4, 1);
        assert_eq!(sequences(origin.dispatch()), [(2, 1), (3, 2)]);
        origin.received(3, 0);
        assert_eq!(sequences(origin.dispatch()), []);
    }

    #[test]
    fn what_hears_nothing_is_sent_again_ever_more_slowly() {
        let mut origin = origin_with(1);
        origin.follow(4);
        origin.dispatch();
        let sent: Vec<u64> = (1..=100).filter(|_| origin.tick().is_some()).collect();
        assert_eq!(sent, [10, 30, 70]);
    }

    #[test]
    fn the_window_bounds_what_is_with_the_leader() {
        let mut origin = ClientSession::new(1, 10);
        for sequence in 1..=40 {
            let args = Bytes::from(vec![b'1'; 200 << 10]);
            origin.add(Perform { sequence, method: "m".into(), args });
        }
        origin.follow(1);
        let count = |origin: &mut ClientSession| {
            std::iter::from_fn(|| origin.dispatch()).map(|requests| requests.requests.len()).sum::<usize>()
        };
        let sent = count(&mut origin);
        assert_eq!(sent, 21);
        origin.end(1);
        assert_eq!(count(&mut origin), 1);
    }

    #[test]
    fn the_window_bounds_how_many_small_requests_are_with_the_leader() {
        let mut origin = origin_with(WINDOW_REQUESTS_MAX as u64 + 3);
        origin.follow(1);
        // Several frames.
        let sent = std::iter::from_fn(|| origin.dispatch()).map(|requests| requests.requests.len());
        assert_eq!(sent.sum::<usize>(), WINDOW_REQUESTS_MAX);
        origin.end(1);
        origin.end(2);
        let next = WINDOW_REQUESTS_MAX as u64 + 1;
        assert_eq!(sequences(origin.dispatch()), [(next, next - 1), (next + 1, next)]);
    }

    #[test]
    fn only_the_newest_dispatch_of_a_perform_may_end_it() {
        let mut origin = origin_with(1);
        assert!(!origin.awaits(1, 4));
        origin.follow(4);
        origin.dispatch();
        assert!(origin.awaits(1, 4) && !origin.awaits(1, 3));
        assert!(origin.end(1).is_some_and(|pending| pending.was_dispatched()));
        assert!(!origin.awaits(1, 4) && origin.end(1).is_none());
    }

    /// The leader of the same term may still answer the process before this one, whose calls had the same numbers.
    #[test]
    fn an_outcome_of_a_call_from_before_a_restart_ends_no_call() {
        let mut origin = origin_with(1);
        origin.follow(4);
        origin.dispatch();
        for (term, start) in [(4, 0), (4, 2), (3, 1)] {
            origin.handle_outcome(term, start, 1, 1, Outcome::Nothing);
            assert_eq!(origin.take_decided(1), [], "of term {term} and start {start}");
        }
        origin.handle_outcome(4, 1, 1, 1, Outcome::Nothing);
        assert_eq!(origin.take_decided(1), [(1, Outcome::Nothing)]);
    }

    #[test]
    fn a_report_of_more_than_was_sent_changes_nothing() {
        let mut origin = origin_with(3);
        origin.follow(2);
        assert_eq!(sequences(origin.dispatch()), [(1, 0), (2, 1), (3, 2)]);
        for sequence in [3, 4, u64::MAX] {
            origin.received(2, sequence);
            assert_eq!(sequences(origin.dispatch()), [], "after {sequence}");
        }
    }

    #[test]
    fn a_decided_perform_ends_with_the_state_it_was_decided_on_and_is_not_sent_again() {
        let mut origin = origin_with(3);
        origin.follow(2);
        origin.dispatch();
        origin.decide(2, 9, Outcome::Nothing);
        origin.decide(1, 7, Outcome::Forgotten);
        assert!(!origin.awaits(2, 2) && origin.awaits(3, 2));
        assert_eq!(origin.take_decided(6), []);
        origin.follow(3);
        assert_eq!(sequences(origin.dispatch()), [(3, 0)]);
        assert_eq!(origin.take_decided(8), [(1, Outcome::Forgotten)]);
        assert_eq!((origin.take_decided(9), origin.len()), (vec![(2, Outcome::Nothing)], 1));
    }

    #[test]
    fn the_leader_hears_that_large_outcomes_need_not_be_kept_also_if_nothing_is_requested() {
        let mut origin = origin_with(2);
        origin.follow(2);
        origin.dispatch();
        origin.decide(1, 1, Outcome::Refused(vec![b'1'; UNREPORTED_OUTCOME_BYTES_MAX].into()));
        assert!(origin.dispatch().is_none());
        origin.take_decided(1);
        let due = origin.dispatch().expect("the floor is reported");
        assert_eq!((due.floor, due.requests.len()), (2, 0));
        assert!(origin.dispatch().is_none());
    }

    #[test]
    fn a_request_says_to_how_many_earlier_leaders_it_was_sent() {
        let mut origin = origin_with(1);
        let attempts = |requests: Option<Requests>| requests.map(|requests| requests.requests[0].attempts);
        origin.follow(2);
        assert_eq!(attempts(origin.dispatch()), Some(0));
        origin.received(2, 0);
        assert_eq!(attempts(origin.dispatch()), Some(0), "the same leader again");
        origin.follow(5);
        assert_eq!(attempts(origin.dispatch()), Some(1));
    }
}
