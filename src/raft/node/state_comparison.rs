//! Compares the states of all members at intervals: the leader proposes a check, every node hashes its state there, and
//! the leader notifies those whose state differs from that of a majority of the voters.
//!
//! What a node does that has diverged is `divergence.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::effect::Effect;
use super::output::Output;
use super::replica::Replica;
use crate::raft::entry::Context;
use crate::raft::events::{Hashed, StateHash, Target, Warning};
use crate::raft::frame::Message;
use crate::raft::identity::RaftId;
use crate::raft::options::Options;

/// A comparison blocks JavaScript: it may take 1 % of its time.
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
    /// The last action that was compared.
    compared_action: u64,
}

/// The hash of a member's state.
#[derive(Debug)]
struct Report {
    index: u64,
    version: Arc<str>,
    hash: StateHash,
}

/// The outcome of a comparison, as far as it is known.
enum Verdict {
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
        Self { reports: BTreeMap::new(), accused: BTreeMap::new(), due_at: now, compared_action: 0 }
    }

    pub(super) fn forget(&mut self, member: RaftId) {
        self.reports.remove(&member);
    }

    /// Begins a comparison, if one is due and there are actions that were not compared.
    fn begin(&mut self, now: u64, last_action: u64, options: &Options) -> bool {
        if now < self.due_at || self.compared_action >= last_action {
            return false;
        }
        self.compared_action = last_action;
        self.due_at = now + PAUSE_MICROS_MIN.div_ceil(options.tick_micros.max(1));
        self.reports.clear();
        self.accused.clear();
        true
    }

    /// Hashing took so long: the next one comes after a pause in proportion.
    fn pause(&mut self, now: u64, micros: u64, options: &Options) {
        let pause = (PAUSE_FACTOR * micros).max(PAUSE_MICROS_MIN);
        self.due_at = self.due_at.max(now + pause.div_ceil(options.tick_micros.max(1)));
    }

    /// Adds a report; compares it with the others of its version.
    fn add(&mut self, member: RaftId, report: Report, voters: &[RaftId]) -> Verdict {
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
    fn accuses(&mut self, member: RaftId, hash: StateHash) -> bool {
        let is_known = self.accused.insert(member, hash) == Some(hash);
        injected_bug!(TellsDisagreementAgain, is_known => false);
        !is_known
    }
}

/// As a leader: proposes a comparison of all states, if one is due.
pub(super) fn propose(replica: &mut Replica, options: &Options) {
    let is_open = replica.group.accepts_proposals() && replica.has_open_sessions();
    let has_others = replica.members.iter().len() > 1;
    if !options.compares_states || !is_open || !has_others || replica.divergence.is_diverged() {
        return;
    }
    let Some(leader_state) = &mut replica.leader_state else { return };
    debug_assert!(replica.last_action <= replica.delivered_index);
    if leader_state.comparison.begin(replica.now, replica.last_action, options) {
        _ = replica.group.propose(vec![(Context::Check.encode(), Bytes::new())]);
    }
}

/// JavaScript has hashed its state at a check.
pub(super) fn handle_hashed(
    hashed: Hashed,
    replica: &mut Replica,
    options: &Options,
    output: &mut Output,
) -> Option<Effect> {
    if replica.divergence.is_diverged() {
        return None;
    }
    if let Some(leader_state) = &mut replica.leader_state {
        leader_state.comparison.pause(replica.now, hashed.micros, options);
    }
    let (index, hash) = (hashed.index, hashed.hash?);
    replica.divergence.note_hash(index, hash);
    let version = options.version.clone();
    if replica.leader_state.is_some() {
        return handle_report(replica.me.raft_id(), index, version, hash, replica, output);
    }
    if let Some(leader) = replica.leader().and_then(|leader| replica.members.incarnation(leader)) {
        output.send(Target::One(leader), Message::StateHash { index, version, hash });
    }
    None
}

/// A member reported the hash of its state: notifies members whose state differs from that of a majority of the voters.
pub(super) fn handle_report(
    member: RaftId,
    index: u64,
    version: Arc<str>,
    hash: StateHash,
    replica: &mut Replica,
    output: &mut Output,
) -> Option<Effect> {
    let leader_state = replica.leader_state.as_mut()?;
    let members = replica.members.iter().map(|(member, ..)| member);
    let voters: Vec<RaftId> = members.filter(|member| replica.group.is_voter(*member)).collect();
    let report = Report { index, version, hash };
    let (majority, others) = match leader_state.comparison.add(member, report, &voters) {
        Verdict::Pending => return None,
        Verdict::NoMajority => {
            output.warn(Warning::StatesDiffer { index });
            return None;
        }
        Verdict::Majority { hash, others } => (hash, others),
    };
    let mut own = None;
    for (member, hash) in others {
        if !leader_state.comparison.accuses(member, hash) {
            continue;
        }
        if member == replica.me.raft_id() {
            own = Some(hash);
        } else if let Some(incarnation) = replica.members.incarnation(member) {
            let message = Message::Disagrees { index, ours: hash, theirs: majority };
            output.send(Target::One(incarnation), message);
        }
    }
    handle_disagreement(index, own?, majority, replica)
}

/// The leader reports that a majority has a state other than this node's. The report counts once, and for that state
/// alone: a repeated or late one may arrive after this node was restored.
pub(super) fn handle_disagreement(
    index: u64,
    ours: StateHash,
    theirs: StateHash,
    replica: &mut Replica,
) -> Option<Effect> {
    replica.divergence.takes_hash(index, ours).then(|| {
        let why = format!(
            "its state at index {index}, after the action at index {}, has the hash {}, a majority's has {}; \
             the reducer is not deterministic, or not the same everywhere",
            replica.last_action,
            hexadecimal(ours),
            hexadecimal(theirs)
        );
        Effect::Diverge { index, why }
    })
}

fn hexadecimal(hash: StateHash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
