//! Replaces the JavaScript side of a node: it keeps committed and provisional states as the façade does, runs methods
//! and notes how each call ended.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use bytes::Bytes;

use super::describe::describe_system;
use super::timers;
use crate::error::Error;
use crate::raft::coordination::SystemAction;
use crate::raft::events::{DueTimer, Effects};
use crate::raft::{CallOutcome, Delivery, Hashed, Input, MethodResult, Role, TakenSnapshot, Warning};

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Resolved(String),
    Nothing,
    Refused(String),
    NotApplied,
    Unknown,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Resolved(action) => write!(f, "resolved {action}"),
            End::Nothing => f.write_str("resolved with nothing"),
            End::Refused(error) => write!(f, "refused {error}"),
            End::NotApplied => f.write_str("rejected, not applied"),
            End::Unknown => f.write_str("rejected, unknown"),
        }
    }
}

/// The state that the reducer makes: the holder of the lock, and a digest of every action in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub holder: Option<String>,
    pub count: u64,
    pub digest: u64,
}

impl State {
    fn encode(&self, ballast: usize) -> Bytes {
        let holder = self.holder.as_deref().unwrap_or_default();
        format!("{}|{}|{holder}{}", self.count, self.digest, BALLAST.repeat(ballast)).into()
    }

    fn decode(text: &str) -> Self {
        let mut parts = text.splitn(3, '|');
        let mut next = || parts.next().expect("a state has three parts");
        let number = |text: &str| text.parse().expect("a state's numbers are numbers");
        let (count, digest, holder) = (number(next()), number(next()), next().trim_end_matches(BALLAST));
        Self { count, digest, holder: Some(holder.to_string()).filter(|holder| !holder.is_empty()) }
    }

    fn reduce(&self, action: &str) -> Self {
        let mut next = self.clone();
        next.count += 1;
        for byte in action.bytes() {
            next.digest = (next.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(who) = action.strip_prefix("lock ") {
            assert_eq!(next.holder, None, "`{action}` was applied while another holds the lock");
            next.holder = Some(who.to_string());
        }
        if action.starts_with("unlock") {
            next.holder = None;
        }
        next
    }
}

/// An action that was reduced, or a snapshot that was restored (`None`), and the state after it.
#[derive(Clone, Debug)]
pub struct Applied {
    pub index: u64,
    /// When the action was evaluated.
    pub at: u64,
    pub action: Option<String>,
    pub state: State,
}

/// What makes a state larger, and is no part of it.
const BALLAST: &str = "*";

/// What stands before the number of actions that a refusing method saw.
const SEEN: &str = "after ";

/// What a call is refused with whose method threw.
pub const THROWN: &str = "the method threw";

/// One node's application.
#[derive(Debug, Default)]
pub struct Application {
    pub state: State,
    provisional: VecDeque<State>,
    /// What became of the state, in order.
    pub applied: Vec<Applied>,
    /// What the core asked for beside evaluations in the last batch, answered before it.
    pub inputs: Vec<Input>,
    pub answered: BTreeMap<u64, Result<(), Error>>,
    /// Where the state ended, and how often this node had moved, when the application was informed: a later delivery may be
    /// that of a node that starts over.
    pub answered_at: BTreeMap<u64, (u64, usize)>,
    pub is_diverged: bool,
    /// How often the reducer will throw from here on, or change the state wrongly.
    pub throws: bool,
    /// The next method that runs throws.
    pub method_throws: bool,
    pub miscounts: bool,
    pub refuses_snapshots: bool,
    /// Its state is large: a hash comes with a later batch, after this many.
    pub hash_batches: usize,
    /// The hashes that are being computed, and the number of batches until then.
    hashing: VecDeque<(usize, Hashed)>,
    /// Its state takes this many bytes more in a snapshot.
    pub ballast: usize,
    /// Its state is large: a snapshot comes with a later batch, after this many.
    pub snapshot_batches: usize,
    /// The snapshot that is being taken, and the number of batches until then.
    snapshotting: Option<(usize, TakenSnapshot)>,
    /// How long JavaScript says that a snapshot took.
    pub snapshot_micros: Option<u64>,
    pub is_replayed: bool,
    is_wrong: bool,
    is_failed: bool,
    pub ends: BTreeMap<u64, End>,
    pub role: Role,
    term: u64,
    pub leader: Option<String>,
    pub warnings: Vec<Warning>,
    /// The methods that were evaluated here, in order.
    pub evaluated: Vec<String>,
    /// It stops in the next batch after this many evaluations, as a façade whose time is over.
    pub evaluations_max: Option<usize>,
    pub is_caught_up: bool,
    pub is_closing: bool,
    /// Some of its actions set timers.
    pub has_timers: bool,
    /// A time that is common to all nodes.
    pub time: u64,
    /// When the next timer is due, on a leader.
    pub next_timer: Option<u64>,
}

impl Application {
    /// Handles a batch as the façade does; gives an answer for each evaluation in it.
    pub fn handle(&mut self, batch: Vec<Delivery>) -> Vec<MethodResult> {
        let mut answers = Vec::new();
        self.hashing.iter_mut().for_each(|(batches, _)| *batches = batches.saturating_sub(1));
        while let Some((0, hashed)) = self.hashing.front() {
            self.inputs.push(Input::Hashed(*hashed));
            self.hashing.pop_front();
        }
        if let Some((batches, _)) = &mut self.snapshotting {
            *batches -= 1;
        }
        if let Some((_, taken)) = self.snapshotting.take_if(|(batches, _)| *batches == 0) {
            self.inputs.push(Input::SnapshotTaken(taken));
        }
        let evaluations_max = self.evaluations_max.take().unwrap_or(usize::MAX);
        for delivery in batch {
            match delivery {
                Delivery::Role { role, term, leader } => {
                    // As the façade: a leader of which only the name was unknown keeps its states.
                    if role != Role::Leader || term != self.term {
                        self.provisional.clear();
                    }
                    (self.role, self.term) = (role, term);
                    self.next_timer = self.next_timer.filter(|_| role == Role::Leader);
                    self.leader = leader.map(|id| id.to_string());
                }
                Delivery::ResetProvisional => self.provisional.clear(),
                Delivery::Evaluate { .. } | Delivery::EvaluateSystem(_) | Delivery::EvaluateTimer(_)
                    if answers.len() == evaluations_max => {}
                Delivery::EvaluateTimer(timer) => answers.push(self.evaluate_timer(&timer)),
                Delivery::NextTimer { due } => self.next_timer = due,
                Delivery::EvaluateSystem(action) => answers.push(self.evaluate_system(&action)),
                Delivery::Evaluate { method, args, .. } => answers.push(self.evaluate(&method, &text(&args))),
                Delivery::Clock { .. } => {}
                Delivery::Committed { index, own, is_provisional, at, action } => {
                    let action = text(&action);
                    if std::mem::take(&mut self.throws) {
                        self.inputs.push(Input::ReducerFailed { index, why: "the reducer threw".into() });
                        self.provisional.clear();
                        self.is_failed = true;
                    }
                    if self.is_failed {
                        // It is committed, and not in this state.
                        if let Some(sequence) = own {
                            self.end(sequence, End::Unknown);
                        }
                        continue;
                    }
                    let mut reduced = self.state.reduce(&action);
                    if std::mem::take(&mut self.miscounts) && !is_provisional {
                        reduced.count += 1_000;
                        self.is_wrong = true;
                    }
                    if is_provisional {
                        let kept = self
                            .provisional
                            .pop_front()
                            .expect("a provisional state is kept for this commit");
                        assert_eq!(
                            kept, reduced,
                            "the provisional state is what the commit of `{action}` makes"
                        );
                    } else {
                        assert!(
                            self.provisional.is_empty(),
                            "`{action}` was committed under provisional states"
                        );
                    }
                    self.state = reduced;
                    if !self.is_wrong {
                        let applied =
                            Applied { index, at, action: Some(action.clone()), state: self.state.clone() };
                        self.applied.push(applied);
                    }
                    if let Some(sequence) = own {
                        self.end(sequence, End::Resolved(action));
                    }
                }
                Delivery::Settled { sequence, call_outcome } => {
                    if let CallOutcome::Refused(error) = &call_outcome {
                        self.check_seen(&text(error));
                    }
                    let end = match call_outcome {
                        CallOutcome::Nothing => End::Nothing,
                        CallOutcome::Done(action) => End::Resolved(text(&action)),
                        CallOutcome::Refused(error) => End::Refused(text(&error)),
                        CallOutcome::Failed { outcome: crate::raft::FailureOutcome::NotApplied, .. } => {
                            End::NotApplied
                        }
                        CallOutcome::Failed { outcome: crate::raft::FailureOutcome::Unknown, .. } => {
                            End::Unknown
                        }
                    };
                    self.end(sequence, end);
                }
                Delivery::TakeSnapshot { index } => {
                    let state = if self.refuses_snapshots {
                        Err("state.date is a Date".to_string())
                    } else if self.is_failed {
                        Err("the state ends before".to_string())
                    } else {
                        Ok(self.state.encode(self.ballast))
                    };
                    let micros = self.snapshot_micros.unwrap_or(100);
                    let taken = TakenSnapshot { index, state, micros, longest_micros: micros };
                    match self.snapshot_batches {
                        0 => self.inputs.push(Input::SnapshotTaken(taken)),
                        batches => self.snapshotting = Some((batches, taken)),
                    }
                }
                Delivery::Restore { index, state } => {
                    self.state = state.map_or(State::default(), |state| State::decode(&text(&state)));
                    self.provisional.clear();
                    (self.is_wrong, self.is_failed) = (false, false);
                    let applied = Applied { index, at: 0, action: None, state: self.state.clone() };
                    self.applied.push(applied);
                }
                Delivery::Hash { index } => {
                    let mut hash = [0; 16];
                    hash[..8].copy_from_slice(&self.state.digest.to_le_bytes());
                    hash[8..].copy_from_slice(&self.state.count.to_le_bytes());
                    let hash = Some(hash).filter(|_| !self.is_failed);
                    let hashed = Hashed { index, hash, micros: 100 };
                    match self.hash_batches {
                        0 => self.inputs.push(Input::Hashed(hashed)),
                        batches => self.hashing.push_back((batches, hashed)),
                    }
                }
                Delivery::AppProbe
                | Delivery::ReportProgress
                | Delivery::Caller { .. }
                | Delivery::Sessions(_)
                | Delivery::OwnSession { .. } => {}
                Delivery::CaughtUp(is_caught_up) => self.is_caught_up = is_caught_up,
                Delivery::Replayed => self.is_replayed = true,
                Delivery::OperationEnded { ticket, result } => {
                    let index = self.applied.last().map_or(0, |applied| applied.index);
                    self.answered_at.insert(ticket, (index, self.moves()));
                    let former = self.answered.insert(ticket, result);
                    assert!(former.is_none(), "ask {ticket} was answered twice");
                }
                Delivery::Diverged(_) => {
                    self.is_diverged = true;
                    self.provisional.clear();
                }
                Delivery::Restored => self.is_diverged = false,
                Delivery::Warning(warning) => self.warnings.push(warning),
            }
        }
        answers
    }

    /// Whether a hash is being computed.
    pub fn is_hashing(&self) -> bool {
        !self.hashing.is_empty()
    }

    /// Hashes that are being computed come with the next batch, and later ones with their own.
    pub fn finish_hashing(&mut self) {
        self.hash_batches = 0;
        self.hashing.iter_mut().for_each(|(batches, _)| *batches = 1);
    }

    /// Whether a snapshot is being taken.
    pub fn is_snapshotting(&self) -> bool {
        self.snapshotting.is_some()
    }

    /// A snapshot that is being taken comes with the next batch, and later ones with their own.
    pub fn finish_snapshotting(&mut self) {
        self.snapshot_batches = 0;
        self.snapshotting.iter_mut().for_each(|(batches, _)| *batches = 1);
    }

    /// Whether the state lacks an action that is committed.
    pub fn is_failed(&self) -> bool {
        self.is_failed
    }

    /// How often this application was notified that its node left the cluster.
    pub fn moves(&self) -> usize {
        let has_left =
            |warning: &&Warning| matches!(warning, Warning::StartingOver { .. } | Warning::Superseded { .. });
        self.warnings.iter().filter(has_left).count()
    }

    /// A refusal says how many actions its method saw: they are in this state, unless the node is no member any more or
    /// closes, or has diverged: then a leader's outcome ends a call at once.
    fn check_seen(&self, error: &str) {
        let Some((_, seen)) = error.rsplit_once(SEEN) else { return };
        let seen: u64 = seen.parse().expect("a refusal ends with a number");
        let has_left = self.warnings.iter().any(|warning| {
            matches!(
                warning,
                Warning::StartingOver { .. } | Warning::Superseded { .. } | Warning::Recovered { .. }
            )
        });
        let is_behind = self.is_diverged || self.is_failed || self.is_closing || has_left;
        assert!(
            self.state.count >= seen || is_behind,
            "`{error}` ends a call whose node has reduced {} actions",
            self.state.count
        );
    }

    fn end(&mut self, sequence: u64, end: End) {
        if let Some(former) = self.ends.insert(sequence, end.clone()) {
            panic!("perform {sequence} ended twice: {former}, then {end}");
        }
    }

    fn evaluate_timer(&mut self, timer: &DueTimer) -> MethodResult {
        if self.is_failed {
            return MethodResult::Nothing;
        }
        let timers::Effect { action, next } = timers::fire(timer);
        self.reduce_provisionally(&action);
        MethodResult::Effects(Box::new(Effects { action: Some(action.into()), next, changes: Vec::new() }))
    }

    fn reduce_provisionally(&mut self, action: &str) {
        let next = self.provisional.back().unwrap_or(&self.state).reduce(action);
        self.provisional.push_back(next);
    }

    fn evaluate_system(&mut self, action: &SystemAction) -> MethodResult {
        if self.is_failed {
            return MethodResult::Nothing;
        }
        let action = describe_system(action);
        self.reduce_provisionally(&action);
        MethodResult::Action(action.into())
    }

    fn evaluate(&mut self, method: &str, args: &str) -> MethodResult {
        self.evaluated.push(format!("{method} {args}"));
        if self.is_failed {
            return MethodResult::Nothing;
        }
        if std::mem::take(&mut self.method_throws) {
            return MethodResult::Refused(Bytes::from_static(THROWN.as_bytes()));
        }
        let state = self.provisional.back().unwrap_or(&self.state);
        let action = match method {
            "append" => args.to_string(),
            "lock" if state.holder.is_none() => format!("lock {args}"),
            "lock" => {
                let holder = state.holder.as_deref().unwrap_or_default();
                return MethodResult::Refused(format!("{holder} holds it {SEEN}{}", state.count).into());
            }
            "unlock" if state.holder.as_deref() == Some(args) => format!("unlock {args}"),
            "unlock" => return MethodResult::Refused(Bytes::from_static(b"not yours")),
            "timer" => format!("timer {args}"),
            "nothing" => return MethodResult::Nothing,
            "refuse" => return MethodResult::Refused(format!("{args} {SEEN}{}", state.count).into()),
            other => panic!("the test knows no method `{other}`"),
        };
        self.reduce_provisionally(&action);
        let changes = match method {
            "append" if self.has_timers => timers::changes_of(args, self.time),
            "timer" => vec![timers::change_of(args, self.time)],
            _ => Vec::new(),
        };
        match changes.is_empty() {
            true => MethodResult::Action(action.into()),
            false => {
                MethodResult::Effects(Box::new(Effects { action: Some(action.into()), next: None, changes }))
            }
        }
    }
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).expect("the tests speak text")
}
