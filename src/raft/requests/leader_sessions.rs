//! What a leader knows about the requests of all nodes in one term: the received ones, those in evaluation, and the
//! outcomes that it may report.
//!
//! Created when a node becomes leader and dropped when it no longer is; the origins then send their requests to the
//! next leader. A request is evaluated once per term. Evaluated twice, a request for a lock would see its own
//! uncommitted lock and be refused, although the lock is then committed.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::evaluated_batch::EvaluatedBatch;
use super::in_flight::InFlight;
use super::in_pages;
use super::provisional::Provisional;
use super::session::{Evaluation, Session};
use super::session_table::{RequestStatus, SessionTable};
use super::system_actions::SystemActions;
use crate::raft::arena::Arena;
use crate::raft::consensus::entry::{Context, Request, RequestId, Stamp};
use crate::raft::coordination::{ClusterClock, SystemAction};
use crate::raft::events::{Answered, Effects, MethodResult};
use crate::raft::identity::RaftId;
use crate::raft::wire::message::{Outcome, Requests};

/// The limit of requests that wait for evaluation; beyond it they are dropped, and their origins repeat them.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// The arguments of one batch. JavaScript decides by time and by the size of its answers how much of it to evaluate.
const BATCH_BYTES_MAX: usize = 512 << 10;
/// The outcomes that one entry of the log records.
const RECORDED_BYTES_MAX: usize = 256 << 10;

/// One leader's view of one term.
///
/// Invariants:
/// - nothing is evaluated before an entry of this term is applied (paper §8): until then the table may lack what an
///   earlier leader committed;
/// - `turns` names exactly the sessions whose oldest waiting request may be evaluated, each once.
#[derive(Debug)]
pub struct LeaderSessions {
    term: u64,
    is_open: bool,
    sessions: BTreeMap<RaftId, Session>,
    /// Origins take turns, so that one with much to evaluate does not make the others wait for it.
    turns: VecDeque<RaftId>,
    waiting_bytes: usize,
    in_flight: InFlight,
    /// A batch is evaluated behind another one if both have so many requests: it is not worth the wake-up otherwise.
    ahead_min: usize,
    /// The leader's own actions; those in evaluation are before the requests of their batch.
    system: SystemActions,
    observations: VecDeque<Observation>,
    confirmed_round: u64,
    provisional: Provisional,
    /// The time of the newest entry, applied or not.
    clock: ClusterClock,
    /// Evaluation resumes when this index is applied: JavaScript lost the states of what is appended up to here.
    resume_index: u64,
    /// For the contexts of entries.
    arena: Arena,
}

/// Outcomes that depend on the state that they were evaluated on: reported only when all of that is committed, and when
/// this leader still led after the evaluation. Otherwise a deposed leader could refuse a request because of a state
/// that was never current.
#[derive(Debug)]
struct Observation {
    /// Everything that was evaluated on, up to here, must be committed.
    commit_index: u64,
    /// The confirmation round that must have succeeded; 0 if the commit of an entry that was proposed after the
    /// evaluation proves the same.
    round: u64,
    outcomes: Vec<(RequestId, Outcome)>,
}

/// An outcome that the leader may report to its origin now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueOutcome {
    pub id: RequestId,
    /// It is valid for the state at this index.
    pub index: u64,
    pub outcome: Outcome,
}

/// An answer to an origin.
#[derive(Debug, PartialEq)]
pub enum Reply {
    Received { start: u64, sequence: u64 },
    Outcomes { start: u64, outcomes: Vec<DueOutcome> },
}

impl LeaderSessions {
    pub fn new(term: u64, ahead_min: usize) -> Self {
        Self {
            term,
            is_open: false,
            sessions: BTreeMap::new(),
            turns: VecDeque::new(),
            waiting_bytes: 0,
            in_flight: InFlight::new(),
            ahead_min,
            system: SystemActions::default(),
            observations: VecDeque::new(),
            confirmed_round: 0,
            provisional: Provisional::default(),
            clock: ClusterClock::NONE,
            resume_index: 0,
            arena: Arena::default(),
        }
    }

    pub fn term(&self) -> u64 {
        self.term
    }

    /// A bug: the batch with JavaScript outlives its term.
    #[cfg(test)]
    pub fn continue_in(self, term: u64) -> Self {
        Self { in_flight: self.in_flight, ..Self::new(term, self.ahead_min) }
    }

    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// An entry of this term is applied: the table is complete, evaluation may begin (paper §8).
    pub fn open(&mut self) {
        self.is_open = true;
    }

    /// Takes requests; `session_table` has what earlier leaders applied.
    pub fn receive(
        &mut self,
        origin: RaftId,
        requests: Requests,
        session_table: &SessionTable,
    ) -> Vec<Reply> {
        if requests.term != self.term || !session_table.is_member(origin) {
            return Vec::new();
        }
        let session = self.sessions.entry(origin).or_default();
        if requests.start < session.start {
            return Vec::new();
        }
        if requests.start > session.start {
            self.waiting_bytes -= session.waiting_bytes();
            let has_turn = session.has_turn;
            *session = Session { start: requests.start, has_turn, ..Session::default() };
        }
        session.raise_floor(requests.floor);
        let mut repeated = Vec::new();
        let mut is_news_to_origin = false;
        for item in requests.requests {
            let is_repeated = item.sequence <= session.received;
            injected_bug!(EvaluatesTwice, is_repeated => session.outcomes.contains_key(&item.sequence));
            if is_repeated || item.sequence < session.floor {
                is_news_to_origin = true;
                if let Some((index, outcome)) = session.outcomes.get(&item.sequence) {
                    let id = RequestId { origin, start: session.start, sequence: item.sequence };
                    repeated.push(DueOutcome { id, index: *index, outcome: outcome.clone() });
                }
                continue;
            }
            let follows = item.after <= session.received
                || item.after < session.floor
                || session_table.status_of(origin, session.start, item.after) != RequestStatus::New;
            if !follows || self.waiting_bytes >= WAITING_BYTES_MAX {
                is_news_to_origin = !follows;
                break;
            }
            session.received = item.sequence;
            self.waiting_bytes += item.args.len();
            session.waiting.push_back(Evaluation {
                origin,
                start: session.start,
                sequence: item.sequence,
                method: item.method,
                args: item.args,
                attempts: item.attempts,
                session: item.session,
            });
        }
        let mut replies = Vec::new();
        if !repeated.is_empty() {
            replies.push(Reply::Outcomes { start: session.start, outcomes: repeated });
        }
        if is_news_to_origin {
            replies.push(Reply::Received { start: session.start, sequence: session.received });
        }
        self.give_turn(origin);
        replies
    }

    /// Queues an origin for its next turn, if it has something to evaluate.
    fn give_turn(&mut self, origin: RaftId) {
        if let Some(session) = self.sessions.get_mut(&origin).filter(|session| session.may_have_turn()) {
            session.has_turn = true;
            self.turns.push_back(origin);
        }
    }

    /// Whether a batch may be taken now.
    pub fn may_evaluate(&self, applied_index: u64) -> bool {
        let has_room = self.in_flight.is_empty() || self.may_evaluate_ahead();
        self.is_open && applied_index >= self.resume_index && has_room && !self.provisional.is_full()
    }

    /// Whether a batch is with JavaScript, and another one would be worth it. The leader's own actions are not in such
    /// batches: they are decided by what is appended.
    pub fn may_evaluate_ahead(&self) -> bool {
        self.in_flight.may_be_followed(self.ahead_min)
            && !self.system.is_evaluating()
            && self.waiting_count() >= self.ahead_min
    }

    /// Whether JavaScript evaluates a batch.
    pub fn is_evaluating(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// How many requests may be evaluated, or somewhat more.
    fn waiting_count(&self) -> usize {
        self.turns
            .iter()
            .filter_map(|origin| self.sessions.get(origin))
            .map(|session| session.waiting.len())
            .sum()
    }

    /// The leader's own actions that are appended and not applied, in their order.
    pub fn pending_system_actions(&self) -> impl Iterator<Item = &SystemAction> {
        self.system.pending()
    }

    /// Whether timers may be in the next batch: not if those of the last one left no time for waiting requests.
    pub fn timers_have_turn(&mut self) -> bool {
        !self.system.take_cut() || self.turns.is_empty()
    }

    /// Whether this leader cannot evaluate a timer: it lacks the method.
    pub fn is_stalled(&self, timer: &str, number: u64) -> bool {
        self.system.is_stalled(timer, number)
    }

    /// JavaScript evaluates these before the requests of the next batch, if one may be taken. Those that are not
    /// appended are dropped: the leader decides anew.
    pub fn evaluate_system(&mut self, actions: Vec<SystemAction>) {
        self.system.evaluate(actions);
    }

    /// Takes the batch with this number for JavaScript, for each origin in the order of its calls. A request whose
    /// outcome is in the log is not evaluated again; that outcome is reported instead.
    pub fn take_evaluations(
        &mut self,
        number: u64,
        applied_index: u64,
        session_table: &SessionTable,
    ) -> (Vec<Evaluation>, Vec<DueOutcome>) {
        let mut due = Vec::new();
        if !self.may_evaluate(applied_index) {
            return (Vec::new(), due);
        }
        let (mut evaluations, evaluations_max) = (Vec::new(), self.in_flight.evaluations_max());
        let mut bytes = 0;
        while evaluations.len() < evaluations_max
            && bytes < BATCH_BYTES_MAX
            && let Some(origin) = self.turns.pop_front()
        {
            let Some(session) = self.sessions.get_mut(&origin) else { continue };
            // While no other origin waits, the turn continues: a lookup per request would cost more than the rest.
            while let Some(evaluation) = session.waiting.pop_front() {
                self.waiting_bytes -= evaluation.args.len();
                if evaluation.sequence >= session.floor {
                    match session_table.status_of(origin, evaluation.start, evaluation.sequence) {
                        RequestStatus::New => {
                            bytes += evaluation.args.len();
                            evaluations.push(evaluation);
                        }
                        // The origin learns of an action from its own log.
                        RequestStatus::Applied(_) => {}
                        known @ (RequestStatus::Observed(_) | RequestStatus::Past) => {
                            let outcome = match known {
                                RequestStatus::Observed(outcome) => outcome.clone(),
                                RequestStatus::New | RequestStatus::Applied(_) | RequestStatus::Past => {
                                    Outcome::Forgotten
                                }
                            };
                            session.count(evaluation.sequence, outcome.bytes());
                            session.outcomes.insert(evaluation.sequence, (applied_index, outcome.clone()));
                            due.push(DueOutcome { id: evaluation.id(), index: applied_index, outcome });
                        }
                    }
                }
                let has_room = evaluations.len() < evaluations_max && bytes < BATCH_BYTES_MAX;
                if !has_room || !self.turns.is_empty() || !session.has_next() {
                    break;
                }
            }
            session.has_turn = false;
            self.give_turn(origin);
        }
        if !evaluations.is_empty() || self.system.is_evaluating() {
            self.in_flight.push(number, evaluations.clone());
        }
        (evaluations, due)
    }

    /// Whether a request waits for JavaScript, or is with it.
    pub fn has_work(&self) -> bool {
        !self.in_flight.is_empty() || !self.turns.is_empty()
    }

    /// To how many earlier leaders the requests with JavaScript were sent, at most.
    pub fn attempts(&self) -> u32 {
        self.in_flight.attempts()
    }

    /// The seed of an evaluation with JavaScript: its batch, and its position there.
    pub fn seed(&self, number: u64, position: usize) -> u64 {
        let system = self.system.evaluating();
        match position.checked_sub(system.len()) {
            None => system[position].seed(),
            Some(position) => {
                self.in_flight.get(number, position).map_or(0, |evaluation| evaluation.id().seed())
            }
        }
    }

    /// The origins of requests in this term.
    pub fn origins(&self) -> impl Iterator<Item = RaftId> + '_ {
        self.sessions.keys().copied()
    }

    /// Forgets the requests of these origins that are not evaluated.
    pub fn forget(&mut self, origins: &[RaftId]) {
        for origin in origins {
            if let Some(session) = self.sessions.remove(origin) {
                self.waiting_bytes -= session.waiting_bytes();
            }
        }
        if !origins.is_empty() {
            self.turns.retain(|origin| !origins.contains(origin));
        }
    }

    /// JavaScript lacks the method of some evaluations: each of them waits for another version, with all later requests
    /// of its origin. Returns the answers if no method is missing. Otherwise the batch is evaluated again without those
    /// requests, once everything up to `last_index` is applied: others may have seen the later requests.
    pub fn stall(
        &mut self,
        number: u64,
        answers: Vec<MethodResult>,
        last_index: u64,
    ) -> Option<Vec<MethodResult>> {
        let requests = answers.iter().skip(self.system.evaluating().len()).enumerate();
        let unknown = requests
            .filter(|(_, answer)| matches!(answer, MethodResult::Unknown(_)))
            .filter_map(|(position, _)| self.in_flight.get(number, position));
        let unknown: Vec<(RaftId, u64)> =
            unknown.map(|evaluation| (evaluation.origin, evaluation.sequence)).collect();
        if unknown.is_empty() {
            return Some(answers);
        }
        for (origin, sequence) in unknown {
            if let Some(session) = self.sessions.get_mut(&origin) {
                session.stalled.get_or_insert(sequence);
            }
        }
        self.drop_provisional(last_index);
        None
    }

    /// Requeues these before all other requests of their origins.
    fn wait_again(&mut self, evaluations: Vec<Evaluation>) {
        for evaluation in evaluations.into_iter().rev() {
            let origin = evaluation.origin;
            let session = self.sessions.get_mut(&origin);
            let Some(session) = session.filter(|session| session.start == evaluation.start) else { continue };
            self.waiting_bytes += evaluation.args.len();
            session.waiting.push_front(evaluation);
            if session.may_have_turn() {
                session.has_turn = true;
                self.turns.push_front(origin);
            }
        }
    }

    /// A bug: requeues behind later requests; returns that nothing is left to requeue.
    #[cfg(test)]
    fn wait_behind(&mut self, evaluations: Vec<Evaluation>) -> Vec<Evaluation> {
        for evaluation in evaluations {
            self.waiting_bytes += evaluation.args.len();
            let origin = evaluation.origin;
            if let Some(session) = self.sessions.get_mut(&origin) {
                session.waiting.push_back(evaluation);
            }
            self.give_turn(origin);
        }
        Vec::new()
    }

    /// Classifies the answers to the batch with this number, or to its evaluated first part, as entries to propose and
    /// outcomes to report later; the rest is requeued, and a later batch is void. `None` if they answer a batch of an
    /// earlier leadership or a void one, or nothing.
    pub fn classify(
        &mut self,
        number: u64,
        answered: Answered,
        clock: ClusterClock,
    ) -> Option<EvaluatedBatch> {
        let Answered { mut answers, micros, at } = answered;
        self.clock.advance(clock.at());
        let at = self.clock.next(at);
        self.clock.advance(at);
        let mut evaluated = self.in_flight.take(number)?;
        let (system, entries) = self.system.take_evaluated(&mut answers, at);
        let mut batch = EvaluatedBatch {
            entries,
            outcomes: Vec::new(),
            evaluated: Vec::new(),
            system,
            micros,
            voids_next: false,
        };
        if evaluated.is_empty() {
            return (!batch.entries.is_empty()).then_some(batch);
        }
        self.in_flight.note_answered(evaluated.len(), answers.len(), micros);
        let rest = evaluated.split_off(answers.len());
        if !rest.is_empty() {
            let next = self.in_flight.take_all();
            batch.voids_next = !next.is_empty();
            self.wait_again(next);
        }
        injected_bug!(RequeuesBehind, rest => self.wait_behind(rest));
        self.wait_again(rest);
        batch.evaluated = evaluated;
        if batch.evaluated.is_empty() {
            return (!batch.entries.is_empty() || batch.voids_next).then_some(batch);
        }
        for (evaluation, answer) in batch.evaluated.iter().zip(answers) {
            let outcome = match answer {
                MethodResult::Action(action) => {
                    let stamp = Stamp { at, timers: Vec::new() };
                    self.record(evaluation, action, &stamp, &mut batch.entries);
                    continue;
                }
                MethodResult::Effects(effects) => {
                    let Effects { action, changes, .. } = *effects;
                    let stamp = Stamp { at, timers: changes };
                    self.record(evaluation, action.unwrap_or_default(), &stamp, &mut batch.entries);
                    continue;
                }
                MethodResult::Nothing => Outcome::Nothing,
                MethodResult::Refused(error) | MethodResult::Unknown(error) => Outcome::Refused(error),
            };
            if let Some(session) = self.session(evaluation) {
                session.count(evaluation.sequence, outcome.bytes());
                session.unrecorded.insert(evaluation.sequence, outcome.clone());
            }
            batch.outcomes.push((evaluation.id(), outcome));
        }
        Some(batch)
    }

    /// All entries were appended, the last one at `last_index`; `actions` names for each whether it holds an action.
    /// Their commit proves that a quorum still followed when the outcomes beside them were evaluated.
    pub fn appended(&mut self, batch: EvaluatedBatch, actions: &[bool], last_index: u64) {
        let first_index = last_index + 1 - actions.len() as u64;
        let indexes = (first_index..).zip(actions).filter(|(_, is_action)| **is_action);
        self.provisional.append(indexes.map(|(index, _)| index), last_index, batch.micros);
        self.system.appended(batch.system, first_index);
        self.observe(batch.outcomes, last_index, 0);
    }

    /// There is nothing to append; `round` confirms the leadership for the outcomes.
    pub fn observed(&mut self, batch: EvaluatedBatch, last_index: u64, round: u64) {
        self.observe(batch.outcomes, last_index, round);
    }

    /// The entries were dropped: the whole batch is evaluated again, once JavaScript has dropped its provisional states
    /// and what is appended up to `last_index` is applied.
    pub fn dropped(&mut self, batch: EvaluatedBatch, last_index: u64) {
        for (id, _) in &batch.outcomes {
            if let Some(session) = self.session_of(id) {
                session.discount(id.sequence);
            }
        }
        self.drop_provisional(last_index);
        self.wait_again(batch.evaluated);
        // The dropped entries would have recorded outcomes: the next ones do. An outcome that is recorded twice changes
        // nothing.
        for session in self.sessions.values_mut() {
            let due = session.outcomes.iter().map(|(sequence, (_, outcome))| (*sequence, outcome.clone()));
            session.unrecorded = due.collect();
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
        injected_bug!(RefusesBeforeCommit, commit_index => 0);
        injected_bug!(RefusesBeforeCommit, round => 0);
        if !outcomes.is_empty() {
            self.observations.push_back(Observation { commit_index, round, outcomes });
        }
    }

    /// JavaScript drops its provisional states, and those of the batches that it has: their requests wait again.
    /// Evaluation waits until all that is appended is applied.
    pub fn drop_provisional(&mut self, last_index: u64) {
        let keeps_batches = false;
        injected_bug!(ProposesVoidBatch, keeps_batches => true);
        if !keeps_batches {
            self.system.drop_evaluating();
            let void = self.in_flight.take_all();
            self.wait_again(void);
        }
        self.provisional.clear();
        self.resume_index = last_index;
    }

    /// The entry at `index` of the leader's own action is applied.
    pub fn applied_system(&mut self, index: u64) {
        self.system.applied(index);
    }

    /// Whether the entry at `index`, now delivered as committed, is the oldest of JavaScript's provisional states.
    pub fn takes_provisional(&mut self, index: u64) -> bool {
        self.provisional.takes(index)
    }

    /// A quorum confirmed that this leader led when the round began, and so for every earlier round.
    pub fn confirmed(&mut self, round: u64) {
        self.confirmed_round = self.confirmed_round.max(round);
    }

    /// Takes the outcomes that may be reported now.
    pub fn take_outcomes(&mut self, commit_index: u64) -> Vec<DueOutcome> {
        let mut due = Vec::new();
        while let Some(observation) = self.observations.front()
            && observation.commit_index <= commit_index
            && observation.round <= self.confirmed_round
        {
            let observation = self.observations.pop_front().expect("the front was just seen");
            let index = observation.commit_index;
            for (id, outcome) in observation.outcomes {
                if let Some(session) = self.sessions.get_mut(&id.origin)
                    && session.start == id.start
                    && id.sequence >= session.floor
                {
                    session.outcomes.insert(id.sequence, (index, outcome.clone()));
                }
                due.push(DueOutcome { id, index, outcome });
            }
        }
        due
    }

    fn session(&mut self, evaluation: &Evaluation) -> Option<&mut Session> {
        self.session_of(&evaluation.id())
    }

    fn session_of(&mut self, id: &RequestId) -> Option<&mut Session> {
        self.sessions.get_mut(&id.origin).filter(|session| session.start == id.start)
    }

    /// Adds the entry of an action, after those that record outcomes beyond its size limit.
    fn record(
        &mut self,
        evaluation: &Evaluation,
        action: Bytes,
        stamp: &Stamp,
        entries: &mut Vec<(Bytes, Bytes)>,
    ) {
        let id = evaluation.id();
        let mut request = Request { id, floor: 0, observed: Vec::new() };
        if let Some(session) = self.session(evaluation) {
            // A request that was abandoned after its evaluation follows this one in the log, and later evaluations
            // depend on it.
            let floor = session.floor.min(id.sequence);
            injected_bug!(PassesOverGivenUp, floor => session.floor);
            let unrecorded = std::mem::take(&mut session.unrecorded).into_iter().collect();
            let bytes_max = RECORDED_BYTES_MAX;
            injected_bug!(RecordsInOneEntry, bytes_max => usize::MAX);
            let mut pages = in_pages(unrecorded, bytes_max, |(_, outcome)| outcome.bytes());
            request = Request { id, floor, observed: pages.pop().unwrap_or_default() };
            let (origin, start) = (id.origin, id.start);
            let records = pages.into_iter().map(|observed| Context::Observed { origin, start, observed });
            entries.extend(records.map(|context| (context.encode().into(), Bytes::new())));
        }
        let context = Context::Request(request);
        entries.push((self.arena.encode(|bytes| context.append_stamped_to(bytes, stamp)), action));
    }
}
