//! What a node keeps about the other members while it leads.
//!
//! Created when a leadership begins, dropped when it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::outgoing_snapshots::OutgoingSnapshots;
use super::reads::Reads;
use super::separate_frames::SeparateFrames;
use super::state_comparison::StateComparison;
use super::timer_watch::TimerWatch;
use crate::raft::identity::{Incarnation, RaftId};
use crate::raft::membership::members::Members;
use crate::raft::membership::planner::Newcomer;
use crate::raft::requests::LeaderSessions;

/// The limit of remembered newcomers; others repeat their Discover.
const NEWCOMERS_MAX: usize = 256;

/// What only a leader keeps, for as long as it leads.
#[derive(Debug)]
pub(super) struct LeaderState {
    /// The requests of all origins that it has evaluated in its term.
    pub(super) sessions: LeaderSessions,
    /// Silence is measured from here on: before, no member had to send anything to this node.
    since: u64,
    newcomers: BTreeMap<Incarnation, KnownNewcomer>,
    /// When it last reported a silent member.
    silence_reported_at: Option<u64>,
    /// Members that a pending change removes: it is in the log, and not applied.
    being_removed: BTreeSet<RaftId>,
    /// Removed nodes that are to be notified once a quorum works without them.
    removed_to_notify: Vec<Incarnation>,
    /// Members that an operator has ordered to be removed.
    pub(super) removal_requested: BTreeSet<RaftId>,
    pub(super) outgoing: OutgoingSnapshots,
    pub(super) separate_frames: SeparateFrames,
    /// Two commit indexes: one that is at most an election timeout old, and one that is older. A member that has the
    /// older one has caught up.
    commits: [u64; 2],
    commits_at: u64,
    pub(super) reads: Reads,
    pub(super) comparison: StateComparison,
    /// Sessions may have to start or end: something has changed since the last comparison with the members.
    pub(super) is_presence_due: bool,
    /// When other members last confirmed that a member is silent, by member.
    pub(super) silence: BTreeMap<RaftId, BTreeMap<RaftId, u64>>,
    /// The live sessions that JavaScript has for its evaluations.
    pub(super) delivered_sessions: Option<Vec<(Arc<str>, u64)>>,
    pub(super) timers: TimerWatch,
    /// The entry that records starts.
    pub(super) recorded_at: u64,
}

#[derive(Debug)]
struct KnownNewcomer {
    id: Arc<str>,
    may_vote: bool,
    first: u64,
    last: u64,
}

impl LeaderState {
    pub(super) fn new(sessions: LeaderSessions, now: u64) -> Self {
        Self {
            sessions,
            since: now,
            newcomers: BTreeMap::new(),
            silence_reported_at: None,
            being_removed: BTreeSet::new(),
            removed_to_notify: Vec::new(),
            removal_requested: BTreeSet::new(),
            outgoing: OutgoingSnapshots::default(),
            separate_frames: SeparateFrames::default(),
            commits: [0; 2],
            commits_at: now,
            reads: Reads::default(),
            comparison: StateComparison::new(now),
            is_presence_due: true,
            silence: BTreeMap::new(),
            delivered_sessions: None,
            timers: TimerWatch::default(),
            recorded_at: 0,
        }
    }

    /// Nothing is pending that a tick would continue.
    pub(super) fn is_done(&self) -> bool {
        self.newcomers.is_empty()
            && self.being_removed.is_empty()
            && self.removed_to_notify.is_empty()
            && self.removal_requested.is_empty()
            && self.outgoing.is_empty()
            && self.reads.is_empty()
    }

    pub(super) fn since(&self) -> u64 {
        self.since
    }

    /// Remembers a node that wants to be admitted; false if there are too many.
    pub(super) fn remember_newcomer(
        &mut self,
        from: Incarnation,
        id: &Arc<str>,
        may_vote: bool,
        now: u64,
    ) -> bool {
        let is_remembered = self.newcomers.len() < NEWCOMERS_MAX || self.newcomers.contains_key(&from);
        if is_remembered {
            let heard = KnownNewcomer { id: id.clone(), may_vote, first: now, last: now };
            self.newcomers.entry(from).or_insert(heard).last = now;
        }
        is_remembered
    }

    pub(super) fn forget_newcomer(&mut self, newcomer: Incarnation) {
        self.newcomers.remove(&newcomer);
    }

    /// The nodes that want to be admitted; forgets those that became members or have been silent for `silent_ticks_max`.
    pub(super) fn newcomers(&mut self, members: &Members, now: u64, silent_ticks_max: u64) -> Vec<Newcomer> {
        self.newcomers.retain(|incarnation, heard| {
            heard.last + silent_ticks_max > now && !members.contains(*incarnation)
        });
        let newcomers = self.newcomers.iter().map(|(incarnation, heard)| Newcomer {
            incarnation: *incarnation,
            id: heard.id.clone(),
            may_vote: heard.may_vote,
            waiting_ticks: now - heard.first,
        });
        newcomers.collect()
    }

    /// Whether the silence of members is to be reported: while some are silent, and for an election timeout longer.
    pub(super) fn reports_silence(&mut self, has_silent: bool, now: u64, election_ticks: u64) -> bool {
        if has_silent {
            self.silence_reported_at = Some(now);
        }
        self.silence_reported_at.is_some_and(|reported_at| now <= reported_at + election_ticks)
    }

    /// A change that removes these members is proposed.
    pub(super) fn begin_removal(&mut self, members: Vec<RaftId>) {
        self.being_removed.extend(members);
    }

    /// No proposed change is pending any more.
    pub(super) fn end_removals(&mut self) {
        self.being_removed.clear();
    }

    pub(super) fn is_being_removed(&self, member: RaftId) -> bool {
        self.being_removed.contains(&member)
    }

    pub(super) fn will_be_removed(&self, member: RaftId) -> bool {
        self.being_removed.contains(&member) || self.removal_requested.contains(&member)
    }

    /// The node is no longer a member.
    pub(super) fn forget_member(&mut self, member: RaftId) {
        self.outgoing.forget(member);
        self.removal_requested.remove(&member);
        self.comparison.forget(member);
    }

    /// The node is to be notified of its removal.
    pub(super) fn notify_later(&mut self, removed: Incarnation) {
        self.removed_to_notify.push(removed);
    }

    pub(super) fn has_removed_to_notify(&self) -> bool {
        !self.removed_to_notify.is_empty()
    }

    pub(super) fn take_removed_to_notify(&mut self) -> Vec<Incarnation> {
        std::mem::take(&mut self.removed_to_notify)
    }

    /// A member that has this index has caught up.
    pub(super) fn caught_up_index(&self) -> u64 {
        self.commits[1]
    }

    pub(super) fn note_commit(&mut self, now: u64, commit_index: u64, election_ticks: u64) {
        if self.commits_at + election_ticks <= now {
            self.commits = [commit_index, self.commits[0]];
            self.commits_at = now;
        }
    }
}
