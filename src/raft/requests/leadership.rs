//! This file holds what a leader knows of everybody's requests in one term: which it has, which JavaScript is
//! evaluating, and which outcomes it may tell.
//!
//! It is made when a node becomes leader and dropped when it no longer is; what it forgets then, the origins send to
//! the next leader. It evaluates a request once in its term: evaluated twice, a request for a lock would see its own
//! uncommitted lock and be refused while it commits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::table::{Known, Table};
use crate::raft::entry::{Context, Request, RequestId};
use crate::raft::events::Answer;
use crate::raft::frame::{Outcome, Requests};
use crate::raft::identity::RaftId;
#[cfg(test)]
use crate::raft::testing::bugs::{Bug, is_back};

/// What waits for evaluation is bounded; requests beyond it are dropped, and their origins send them again.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// One batch blocks JavaScript for a few milliseconds at most, so that commits and heartbeats' news get through.
const BATCH_BYTES_MAX: usize = 512 << 10;
const BATCH_EVALUATIONS_MAX: usize = 2_048;

/// One leader's view of one term.
///
/// Invariants:
/// - `provisional` holds the indexes whose states JavaScript keeps, oldest first: exactly what was evaluated and
///   appended, and is not delivered as committed;
/// - nothing is evaluated before an entry of this term is applied (paper §8): until then the table may lack what an
///   earlier leader committed.
#[derive(Debug)]
pub struct Leadership {
    term: u64,
    is_open: bool,
    sessions: BTreeMap<RaftId, Session>,
    waiting: VecDeque<Evaluation>,
    waiting_bytes: usize,
    in_flight: Vec<Evaluation>,
    observations: VecDeque<Observation>,
    confirmed_round: u64,
    provisional: VecDeque<u64>,
    /// Evaluation resumes when this index is applied: JavaScript lost the states of what is appended up to here.
    resume_index: u64,
}

/// A request that JavaScript is to evaluate.
#[derive(Clone, Debug)]
pub struct Evaluation {
    pub origin: RaftId,
    pub start: u64,
    pub sequence: u64,
    pub method: Arc<str>,
    pub args: Bytes,
}

impl Evaluation {
    fn id(&self) -> RequestId {
        RequestId { origin: self.origin, start: self.start, sequence: self.sequence }
    }
}

/// What the leader has of one origin in this term.
#[derive(Debug, Default)]
struct Session {
    start: u64,
    floor: u64,
    /// Everything that the origin waits for up to here has arrived.
    received: u64,
    /// Told outcomes, kept to be repeated until the floor passes them.
    outcomes: BTreeMap<u64, Outcome>,
    /// Outcomes, told or not, since this origin's last entry: the next one records them in the log.
    unrecorded: BTreeMap<u64, Outcome>,
    /// This request names a method that only another version of the code has: it waits for a leader that has it, or
    /// for its origin to give up, and what comes after it waits too.
    stalled: Option<u64>,
    parked: VecDeque<Evaluation>,
}

/// Outcomes that rest on what they were evaluated on: told only when all of that is committed, and when this leader
/// still led after the evaluation. Otherwise a deposed leader could refuse by a state that was never current.
#[derive(Debug)]
struct Observation {
    /// Everything that was evaluated on, up to here, must be committed.
    commit_index: u64,
    /// The confirming round that must have succeeded; 0 if an entry proposed after the evaluation stands for it.
    round: u64,
    outcomes: Vec<(RequestId, Outcome)>,
}

/// One evaluated batch, its entries still to be proposed.
#[derive(Debug)]
pub struct Sorted {
    /// (context, data) of an entry for each action, in order.
    pub entries: Vec<(Vec<u8>, Bytes)>,
    outcomes: Vec<(RequestId, Outcome)>,
    evaluated: Vec<Evaluation>,
}

impl Sorted {
    /// Whose requests were evaluated.
    pub fn origins(&self) -> impl Iterator<Item = RaftId> + '_ {
        self.evaluated.iter().map(|evaluation| evaluation.origin)
    }

    pub fn has_outcomes(&self) -> bool {
        !self.outcomes.is_empty()
    }
}

/// What goes back to an origin.
#[derive(Debug, PartialEq)]
pub enum Reply {
    Received { start: u64, sequence: u64 },
    Outcomes { start: u64, outcomes: Vec<(u64, Outcome)> },
}

impl Leadership {
    pub fn new(term: u64) -> Self {
        Self {
            term,
            is_open: false,
            sessions: BTreeMap::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            in_flight: Vec::new(),
            observations: VecDeque::new(),
            confirmed_round: 0,
            provisional: VecDeque::new(),
            resume_index: 0,
        }
    }

    pub fn term(&self) -> u64 {
        self.term
    }

    /// A bug: what is with JavaScript outlives the term in which it was asked.
    #[cfg(test)]
    pub fn goes_on_in(self, term: u64) -> Self {
        Self { in_flight: self.in_flight, ..Self::new(term) }
    }

    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// An entry of this term is applied: the table is complete, evaluation may begin (paper §8).
    pub fn open(&mut self) {
        self.is_open = true;
    }

    /// Takes requests in; `table` knows what earlier leaders had applied.
    pub fn receive(&mut self, origin: RaftId, requests: Requests, table: &Table) -> Vec<Reply> {
        if requests.term != self.term || !table.is_member(origin) {
            return Vec::new();
        }
        let session = self.sessions.entry(origin).or_default();
        if requests.start < session.start {
            return Vec::new();
        }
        if requests.start > session.start {
            *session = Session { start: requests.start, ..Session::default() };
        }
        session.raise_floor(requests.floor);
        if session.stalled.is_some_and(|sequence| sequence < session.floor) {
            session.stalled = None;
            for evaluation in session.parked.drain(..).rev() {
                self.waiting_bytes += evaluation.args.len();
                self.waiting.push_front(evaluation);
            }
        }
        let mut repeated = Vec::new();
        let mut is_news_to_origin = false;
        for item in requests.requests {
            let is_repeated = item.sequence <= session.received;
            #[cfg(test)]
            let is_repeated = is_repeated
                && (!is_back(Bug::EvaluatesTwice) || session.outcomes.contains_key(&item.sequence));
            if is_repeated || item.sequence < session.floor {
                is_news_to_origin = true;
                let outcome = session.outcomes.get(&item.sequence);
                repeated.extend(outcome.map(|outcome| (item.sequence, outcome.clone())));
                continue;
            }
            let follows = item.after <= session.received
                || item.after < session.floor
                || table.knows(origin, session.start, item.after) != Known::New;
            if !follows || self.waiting_bytes >= WAITING_BYTES_MAX {
                is_news_to_origin = !follows;
                break;
            }
            session.received = item.sequence;
            self.waiting_bytes += item.args.len();
            self.waiting.push_back(Evaluation {
                origin,
                start: session.start,
                sequence: item.sequence,
                method: item.method,
                args: item.args,
            });
        }
        let mut replies = Vec::new();
        if !repeated.is_empty() {
            replies.push(Reply::Outcomes { start: session.start, outcomes: repeated });
        }
        if is_news_to_origin {
            replies.push(Reply::Received { start: session.start, sequence: session.received });
        }
        replies
    }

    /// Takes the next batch for JavaScript, in order of arrival. What the log already settled is not evaluated again;
    /// an outcome that it recorded is told instead.
    pub fn take_evaluations(
        &mut self,
        applied_index: u64,
        table: &Table,
    ) -> (Vec<Evaluation>, Vec<(RequestId, Outcome)>) {
        let mut told = Vec::new();
        if !self.is_open || applied_index < self.resume_index || !self.in_flight.is_empty() {
            return (Vec::new(), told);
        }
        let mut bytes = 0;
        while self.in_flight.len() < BATCH_EVALUATIONS_MAX
            && bytes < BATCH_BYTES_MAX
            && let Some(evaluation) = self.waiting.pop_front()
        {
            self.waiting_bytes -= evaluation.args.len();
            let session = self.sessions.get_mut(&evaluation.origin);
            let Some(session) = session.filter(|session| session.start == evaluation.start) else { continue };
            if evaluation.sequence < session.floor {
                continue;
            }
            if session.stalled.is_some_and(|stalled| stalled <= evaluation.sequence) {
                session.parked.push_back(evaluation);
                continue;
            }
            match table.knows(evaluation.origin, evaluation.start, evaluation.sequence) {
                Known::New => {
                    bytes += evaluation.args.len();
                    self.in_flight.push(evaluation);
                }
                Known::Applied(_) | Known::Past => {}
                Known::Observed(outcome) => {
                    session.outcomes.insert(evaluation.sequence, outcome.clone());
                    told.push((evaluation.id(), outcome.clone()));
                }
            }
        }
        (self.in_flight.clone(), told)
    }

    /// Something waits for JavaScript, or is with it.
    pub fn has_work(&self) -> bool {
        !self.in_flight.is_empty() || !self.waiting.is_empty()
    }

    /// Who asked for anything in this term.
    pub fn origins(&self) -> impl Iterator<Item = RaftId> + '_ {
        self.sessions.keys().copied()
    }

    /// Forgets what these asked for and is not evaluated.
    pub fn forget(&mut self, origins: &[RaftId]) {
        if !origins.is_empty() {
            self.sessions.retain(|origin, _| !origins.contains(origin));
            self.waiting.retain(|evaluation| !origins.contains(&evaluation.origin));
            self.waiting_bytes = self.waiting.iter().map(|evaluation| evaluation.args.len()).sum();
        }
    }

    /// JavaScript has not the method of some evaluations, and other versions may: each waits, with all that its origin
    /// performed after it. Gives the answers back if there is none; else the whole batch is evaluated anew without them,
    /// once what is appended up to `last_index` is applied, for the rest of it may have seen what came after.
    pub fn stall(&mut self, answers: Vec<Answer>, last_index: u64) -> Option<Vec<Answer>> {
        let unknown =
            self.in_flight.iter().zip(&answers).filter(|(_, answer)| matches!(answer, Answer::Unknown(_)));
        let unknown: Vec<(RaftId, u64)> =
            unknown.map(|(evaluation, _)| (evaluation.origin, evaluation.sequence)).collect();
        if unknown.is_empty() {
            return Some(answers);
        }
        for (origin, sequence) in unknown {
            if let Some(session) = self.sessions.get_mut(&origin) {
                session.stalled.get_or_insert(sequence);
            }
        }
        for evaluation in std::mem::take(&mut self.in_flight).into_iter().rev() {
            let session = self.sessions.get_mut(&evaluation.origin);
            match session
                .filter(|session| session.stalled.is_some_and(|stalled| stalled <= evaluation.sequence))
            {
                Some(session) => session.parked.push_front(evaluation),
                None => {
                    self.waiting_bytes += evaluation.args.len();
                    self.waiting.push_front(evaluation);
                }
            }
        }
        self.drop_provisional(last_index);
        None
    }

    /// Sorts the answers to the batch that JavaScript evaluated into entries to propose and outcomes to tell later.
    /// `None` if they answer a batch of an earlier leadership: then there is nothing to do.
    pub fn sort(&mut self, answers: Vec<Answer>) -> Option<Sorted> {
        let evaluated = std::mem::take(&mut self.in_flight);
        if evaluated.is_empty() {
            return None;
        }
        assert_eq!(evaluated.len(), answers.len(), "every evaluation has one answer");
        let mut sorted = Sorted { entries: Vec::new(), outcomes: Vec::new(), evaluated };
        for (evaluation, answer) in sorted.evaluated.iter().zip(answers) {
            let outcome = match answer {
                Answer::Action(action) => {
                    sorted.entries.push((Context::Request(self.request(evaluation)).encode(), action));
                    continue;
                }
                Answer::Nothing => Outcome::Nothing,
                Answer::Refused(error) | Answer::Unknown(error) => Outcome::Refused(error),
            };
            if let Some(session) = self.session(evaluation) {
                session.unrecorded.insert(evaluation.sequence, outcome.clone());
            }
            sorted.outcomes.push((evaluation.id(), outcome));
        }
        Some(sorted)
    }

    /// All entries were appended, `count` of them, the last at `last_index`. Their commit proves that a quorum still
    /// followed when the outcomes beside them were evaluated.
    pub fn appended(&mut self, sorted: Sorted, count: u64, last_index: u64) {
        self.provisional.extend(last_index + 1 - count..=last_index);
        self.observe(sorted.outcomes, last_index, 0);
    }

    /// There was nothing to append; `round` confirms the leadership for the outcomes.
    pub fn observed(&mut self, sorted: Sorted, last_index: u64, round: u64) {
        self.observe(sorted.outcomes, last_index, round);
    }

    /// The entries were dropped: the whole batch is evaluated anew, once JavaScript has dropped its provisional states
    /// and what is appended up to `last_index` is applied.
    pub fn dropped(&mut self, sorted: Sorted, last_index: u64) {
        for evaluation in sorted.evaluated.into_iter().rev() {
            self.waiting_bytes += evaluation.args.len();
            self.waiting.push_front(evaluation);
        }
        self.drop_provisional(last_index);
        // The dropped entries were to record outcomes: the next ones do. Recording one twice changes nothing.
        for session in self.sessions.values_mut() {
            session.unrecorded = session.outcomes.clone();
        }
        for (id, outcome) in self.observations.iter().flat_map(|observation| &observation.outcomes) {
            if let Some(session) =
                self.sessions.get_mut(&id.origin).filter(|session| session.start == id.start)
            {
                session.unrecorded.insert(id.sequence, outcome.clone());
            }
        }
    }

    fn observe(&mut self, outcomes: Vec<(RequestId, Outcome)>, commit_index: u64, round: u64) {
        #[cfg(test)]
        let (commit_index, round) =
            if is_back(Bug::RefusesBeforeCommit) { (0, 0) } else { (commit_index, round) };
        if !outcomes.is_empty() {
            self.observations.push_back(Observation { commit_index, round, outcomes });
        }
    }

    /// JavaScript drops its provisional states; evaluation waits until all that is appended is applied.
    pub fn drop_provisional(&mut self, last_index: u64) {
        self.provisional.clear();
        self.resume_index = last_index;
    }

    /// Whether the entry at `index`, now delivered as committed, is the oldest of JavaScript's provisional states.
    pub fn takes_provisional(&mut self, index: u64) -> bool {
        let takes = self.provisional.front() == Some(&index);
        if takes {
            self.provisional.pop_front();
        }
        takes
    }

    /// A quorum confirmed that this leader led when the round began, and so for every earlier round.
    pub fn confirmed(&mut self, round: u64) {
        self.confirmed_round = self.confirmed_round.max(round);
    }

    /// Outcomes that may be told now.
    pub fn take_outcomes(&mut self, commit_index: u64) -> Vec<(RequestId, Outcome)> {
        let mut told = Vec::new();
        while let Some(observation) = self.observations.front()
            && observation.commit_index <= commit_index
            && observation.round <= self.confirmed_round
        {
            let observation = self.observations.pop_front().expect("the front was just seen");
            for (id, outcome) in observation.outcomes {
                if let Some(session) = self.sessions.get_mut(&id.origin)
                    && session.start == id.start
                    && id.sequence >= session.floor
                {
                    session.outcomes.insert(id.sequence, outcome.clone());
                }
                told.push((id, outcome));
            }
        }
        told
    }

    fn session(&mut self, evaluation: &Evaluation) -> Option<&mut Session> {
        self.sessions.get_mut(&evaluation.origin).filter(|session| session.start == evaluation.start)
    }

    fn request(&mut self, evaluation: &Evaluation) -> Request {
        let id = evaluation.id();
        match self.session(evaluation) {
            Some(session) => Request {
                id,
                floor: session.floor,
                observed: std::mem::take(&mut session.unrecorded).into_iter().collect(),
            },
            None => Request { id, floor: 0, observed: Vec::new() },
        }
    }
}

impl Session {
    fn raise_floor(&mut self, floor: u64) {
        if floor > self.floor {
            self.floor = floor;
            self.outcomes = self.outcomes.split_off(&floor);
            self.unrecorded = self.unrecorded.split_off(&floor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::frame::RequestItem;

    /// A leader of term 2 with three requests of member 7, ready to evaluate.
    fn leadership() -> (Leadership, Table) {
        let mut table = Table::default();
        table.admit(7);
        let mut leadership = Leadership::new(2);
        let item = |sequence| RequestItem {
            sequence,
            after: sequence - 1,
            method: "m".into(),
            args: Bytes::from_static(b"[]"),
        };
        let requests = Requests { term: 2, start: 1, floor: 1, requests: (1..=3).map(item).collect() };
        assert_eq!(leadership.receive(7, requests, &table), []);
        (leadership, table)
    }

    fn evaluated(leadership: &mut Leadership, applied_index: u64, table: &Table) -> Vec<u64> {
        let (evaluations, told) = leadership.take_evaluations(applied_index, table);
        assert!(told.is_empty());
        evaluations.iter().map(|evaluation| evaluation.sequence).collect()
    }

    fn actions() -> Vec<Answer> {
        vec![Answer::Action(Bytes::from_static(b"1")); 3]
    }

    #[test]
    fn a_method_of_another_version_waits_with_what_comes_after_it_until_its_origin_gives_up() {
        let (mut leadership, table) = leadership();
        leadership.open();
        assert_eq!(evaluated(&mut leadership, 3, &table), [1, 2, 3]);
        let action = Answer::Action(Bytes::from_static(b"1"));
        let unknown = Answer::Unknown(Bytes::from_static(b"{}"));
        assert_eq!(leadership.stall(vec![action.clone(), unknown, action.clone()], 3), None);
        assert_eq!(evaluated(&mut leadership, 3, &table), [1]);
        let sorted = leadership.sort(vec![action]).expect("it was evaluated");
        leadership.appended(sorted, 1, 4);
        assert!(evaluated(&mut leadership, 4, &table).is_empty());
        let given_up = Requests { term: 2, start: 1, floor: 3, requests: Vec::new() };
        leadership.receive(7, given_up, &table);
        assert_eq!(evaluated(&mut leadership, 4, &table), [3]);
    }

    #[test]
    fn nothing_is_evaluated_before_an_entry_of_its_term_is_applied() {
        let (mut leadership, table) = leadership();
        assert!(evaluated(&mut leadership, 2, &table).is_empty());
        leadership.open();
        assert_eq!(evaluated(&mut leadership, 3, &table), [1, 2, 3]);
    }

    #[test]
    fn what_is_appended_is_kept_as_provisional_until_it_is_committed() {
        let (mut leadership, table) = leadership();
        leadership.open();
        evaluated(&mut leadership, 3, &table);
        let sorted = leadership.sort(actions()).expect("a batch was in flight");
        assert_eq!(sorted.entries.len(), 3);
        leadership.appended(sorted, 3, 6);
        assert!(!leadership.takes_provisional(3));
        assert!(leadership.takes_provisional(4) && leadership.takes_provisional(5));
        assert!(!leadership.takes_provisional(5) && leadership.takes_provisional(6));
    }

    #[test]
    fn a_dropped_batch_is_evaluated_anew_in_order_once_all_that_is_appended_is_applied() {
        let (mut leadership, table) = leadership();
        leadership.open();
        evaluated(&mut leadership, 3, &table);
        let sorted = leadership.sort(actions()).expect("a batch was in flight");
        leadership.appended(sorted, 3, 6);
        let more = RequestItem { sequence: 4, after: 3, method: "m".into(), args: Bytes::from_static(b"[]") };
        leadership.receive(7, Requests { term: 2, start: 1, floor: 1, requests: vec![more] }, &table);
        evaluated(&mut leadership, 3, &table);
        let sorted =
            leadership.sort(vec![Answer::Action(Bytes::from_static(b"1"))]).expect("a batch was in flight");
        leadership.dropped(sorted, 6);

        // JavaScript has dropped the states of 4 to 6: none may be taken, and nothing may rest on them.
        assert!(!leadership.takes_provisional(4));
        assert!(evaluated(&mut leadership, 5, &table).is_empty());
        assert_eq!(evaluated(&mut leadership, 6, &table), [4]);
    }
}
