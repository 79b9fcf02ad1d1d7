//! Makes the batches for JavaScript, which are pending deliveries, then committed actions, then evaluations; and takes
//! its answers.
//!
//! Part of `node.rs`.

use bytes::Bytes;
use raft_rs::eraftpb::{Entry, EntryType};

use super::Node;
use super::applications::member_info;
use super::checks::Mismatch;
use super::closing::Closing;
use super::configuration;
use super::delayed_appends::DelayedAppends;
use super::delivering::Delivered;
use super::divergence::Restoration;
use super::leader_state::LeaderState;
use super::outcomes;
use super::output::BATCH_BYTES_MAX;
use super::presence::{self, Callers};
use super::quarantine;
use super::replica::{Replica, ReportedRole};
use super::snapshots;
use super::timers;
use crate::raft::consensus::entry::{Context, Request, Stamp};
use crate::raft::coordination::NO_TIME;
use crate::raft::events::{Answered, CallOutcome, Delivery, FailureOutcome, Perform, Role, Target};
use crate::raft::identity::RaftId;
use crate::raft::requests::{ApplyResult, Evaluation};
use crate::raft::snapshot::transfer::SnapshotReason;
#[cfg(test)]
use crate::raft::testing::bugs::acknowledge_early;

const BATCH_ENTRIES_MAX: usize = 4_096;

impl Node {
    /// The application's calls, in their order. A diverged node refuses them immediately.
    pub(super) fn perform(&mut self, calls: Vec<Perform>) {
        for perform in calls {
            match self.replica.as_ref().and_then(|replica| replica.divergence.error()) {
                None => self.client_session.add(perform),
                Some(error) => {
                    let (sequence, outcome) = (perform.sequence, FailureOutcome::NotApplied);
                    let call_outcome = CallOutcome::Failed { error: error.clone(), outcome };
                    self.output.deliver(Delivery::Settled { sequence, call_outcome });
                }
            }
        }
    }

    /// Follows raft-rs's role, term and leader; JavaScript is notified of changes.
    pub(super) fn observe_role(&mut self) {
        let Some(replica) = &mut self.replica else { return };
        let Some(ReportedRole { role, term, leader }) = replica.observe_role(&self.options) else { return };
        if role != Role::Leader {
            self.delayed_appends = DelayedAppends::default();
        }
        if leader.is_some() {
            self.client_session.follow(term);
            let info = || member_info(&self.options, false);
            self.output.send(Target::All, self.closing.as_ref().map_or_else(info, Closing::message));
        }
        self.output.deliver(Delivery::Role { role, term, leader: replica.leader_id() });
    }

    /// Whether JavaScript may get a second batch from here on. A driver allows none on JavaScript's own thread, which would
    /// make the batch instead of working on the first one.
    pub fn allow_second_batch(&mut self, is_allowed: bool) {
        self.delivering.allow_second(is_allowed);
    }

    /// Hands JavaScript the next batch, if the last one is answered: pending deliveries, then committed actions, and
    /// evaluations only if no committed action is left. Where many requests wait, it gets a second batch, and evaluates
    /// that one while the core proposes what it answered to the first one.
    pub(super) fn deliver(&mut self) {
        let is_second = !self.delivering.is_empty();
        if is_second && !self.may_deliver_second() {
            return;
        }
        let mut batch = Vec::new();
        self.output.fill(&mut batch);
        // Deliveries keep their order, and the rest of them fills the next batch.
        if self.output.pending_deliveries().is_empty() {
            self.apply_committed(&mut batch);
            self.follow_session(&mut batch);
            self.report_replayed(&mut batch);
            let delivered = self.replica.as_ref().map_or(0, |replica| replica.delivered_index);
            outcomes::settle_decided(&mut self.client_session, delivered, &mut self.output);
            if let Some(replica) = &mut self.replica {
                snapshots::take(replica, &mut batch);
            }
            self.evaluate(&mut batch);
            self.output.fill(&mut batch);
        }
        let Some(replica) = &mut self.replica else {
            if !batch.is_empty() {
                self.delivering.push(0);
                self.app_liveness.note_batch(&batch, 0);
                self.output.deliver_batch(batch);
            }
            return;
        };
        if batch.is_empty() {
            if !is_second {
                // Entries that JavaScript need not see count as reduced.
                replica.reduced(replica.delivered_index);
            }
            return;
        }
        let until = replica.delivered_index;
        let attempts = replica.leader_state.as_ref().map_or(0, |leader| leader.sessions.attempts());
        self.delivering.push(until);
        self.app_liveness.note_batch(&batch, attempts);
        self.delayed_appends.note_batch(&batch, until);
        self.output.deliver_batch(batch);
    }

    /// Not while something is due that depends on everything that is evaluated: the leader's own actions, and timers.
    fn may_deliver_second(&self) -> bool {
        let may_evaluate = |replica: &Replica| {
            let leader = replica.leader_state.as_ref().filter(|leader| {
                leader.sessions.may_evaluate_ahead()
                    && !(leader.is_presence_due && self.options.session_timeout_ticks.is_some())
            });
            leader.is_some() && replica.coordination.timers.count() == 0
        };
        self.delivering.may_have_second() && self.replica.as_ref().is_some_and(may_evaluate)
    }

    /// JavaScript has finished a batch: its actions are applied, and its answers are proposed.
    pub(super) fn answered(&mut self, answered: Answered) {
        let Answered { answers, micros, at } = answered;
        let Some(Delivered { number, until }) = self.delivering.answered() else { return };
        self.app_liveness.answered(&mut self.output);
        let Some(replica) = &mut self.replica else { return };
        replica.reduced(until.min(replica.delivered_index));
        let last_index = replica.group.last_index();
        let is_mixed = replica.versions.values().any(|version| *version != self.options.version);
        let answers = match &mut replica.leader_state {
            Some(leader) if is_mixed => leader.sessions.stall(number, answers, last_index),
            Some(_) | None => Some(answers),
        };
        let Some(answers) = answers else {
            return self.output.deliver(Delivery::ResetProvisional);
        };
        let clock = replica.coordination.clock;
        let leader = replica.leader_state.as_mut();
        let batch = leader
            .and_then(|leader| leader.sessions.classify(number, Answered { answers, micros, at }, clock));
        let Some(mut batch) = batch else { return };
        // Outcomes that were evaluated on a state without a committed action are not reported either.
        let is_diverged = replica.divergence.is_diverged();
        let is_void = is_diverged || batch.members().any(|member| replica.is_being_removed(member));
        let Some(LeaderState { sessions, .. }) = &mut replica.leader_state else { return };
        let entries = std::mem::take(&mut batch.entries);
        injected_bug!(
            AcknowledgesBeforeCommit,
            acknowledge_early(&entries, replica.me.raft_id(), &mut self.client_session)
                .into_iter()
                .for_each(|delivery| self.output.deliver(delivery))
        );
        let voids_next = batch.voids_next();
        let actions: Vec<bool> = entries.iter().map(|(_, data)| !data.is_empty()).collect();
        if actions.is_empty() && !is_diverged {
            if batch.has_outcomes() {
                let round = replica.group.confirm_leadership();
                sessions.observed(batch, replica.group.last_index(), round);
            }
        } else if !is_void && replica.group.propose(entries).is_ok() {
            sessions.appended(batch, &actions, replica.group.last_index());
        } else {
            sessions.dropped(batch, replica.group.last_index());
            return self.output.deliver(Delivery::ResetProvisional);
        }
        if voids_next {
            sessions.drop_provisional(replica.group.last_index());
            self.output.deliver(Delivery::ResetProvisional);
        }
    }

    /// JavaScript reports progress on its batch: it is not blocked, however long the batch takes.
    pub(super) fn progressed(&mut self, index: u64) {
        let Some(&Delivered { until, .. }) = self.delivering.first() else { return };
        self.app_liveness.progressed();
        if let Some(replica) = &mut self.replica {
            replica.reduced(index.min(until).min(replica.delivered_index));
        }
    }

    fn apply_committed(&mut self, batch: &mut Vec<Delivery>) {
        let (mut bytes, mut entries) = (batch.iter().map(Delivery::payload_bytes).sum::<usize>(), 0);
        while bytes < BATCH_BYTES_MAX && entries < BATCH_ENTRIES_MAX {
            let Some(entry) = self.replica.as_mut().and_then(|replica| replica.group.next_committed()) else {
                return;
            };
            bytes += entry.data.len();
            entries += 1;
            self.apply(entry, batch);
        }
    }

    /// Applies one committed entry. The log alone decides what it changes, so that every node decides the same.
    fn apply(&mut self, entry: Entry, batch: &mut Vec<Delivery>) {
        let Some(replica) = &mut self.replica else { return };
        assert!(
            entry.index == replica.delivered_index + 1,
            "applying index {} after {}",
            entry.index,
            replica.delivered_index
        );
        replica.delivered_index = entry.index;
        if entry.entry_type != EntryType::EntryNormal {
            if let Some(admitted) = configuration::apply_change(&entry, replica) {
                let reason = SnapshotReason::Admission;
                self.snapshot_transfers.send(admitted, reason, replica, &self.options);
            }
            return;
        }
        let (context, stamp) = Context::decode_stamped(&entry.context).unzip();
        let stamp = stamp.unwrap_or_default();
        replica.coordination.clock.advance(stamp.at);
        if !entry.data.is_empty() || Context::is_request(&entry.context) {
            return self.apply_action(entry, context, stamp, batch);
        }
        match context {
            None => {
                let leader = replica.leader_state.as_mut();
                if let Some(leader) = leader.filter(|leader| leader.sessions.term() == entry.term) {
                    leader.sessions.open();
                }
            }
            Some(Context::Resize { cluster_size, after }) => {
                replica.members.resize(cluster_size, after, entry.index);
                self.bootstrap.resized(replica.members.cluster_size());
            }
            Some(Context::Check) => {
                if self.options.compares_states && !replica.divergence.is_diverged() {
                    replica.divergence.await_hash(entry.index);
                    batch.push(Delivery::Hash { index: entry.index });
                }
            }
            Some(epoch @ Context::Epoch { .. }) => self.apply_epoch(entry.index, epoch),
            Some(Context::Observed { origin, start, observed }) => {
                let is_ours = origin == self.bootstrap.me().raft_id() && start == self.client_session.start();
                if replica.table.observe(origin, start, &observed) && is_ours {
                    outcomes::settle_observed(&mut self.client_session, observed, &mut self.output);
                }
            }
            Some(Context::Started { starts }) => {
                let result = self.start_guard.apply(starts, replica, &self.options, &mut self.output);
                self.fail_unless(result);
            }
            Some(Context::System(action)) => {
                if replica.apply_system(entry.index, &action) {
                    replica.change_timers(stamp.timers);
                    replica.snapshots.note_action(entry.context.len());
                }
            }
            Some(Context::Request(_)) => unreachable!("a request is applied as an action is"),
        }
    }

    fn apply_action(
        &mut self,
        entry: Entry,
        context: Option<Context>,
        stamp: Stamp,
        batch: &mut Vec<Delivery>,
    ) {
        let Stamp { at, timers } = stamp;
        let me = self.bootstrap.me().raft_id();
        let Some(replica) = &mut self.replica else { return };
        let leader = replica.leader_state.as_mut();
        let is_provisional = leader.is_some_and(|leader| leader.sessions.takes_provisional(entry.index));
        let applied = match context {
            Some(Context::Request(request)) => match replica.table.apply(&request, &entry.data) {
                ApplyResult::Applied => Some(Some(request)),
                ApplyResult::Ignored => None,
            },
            Some(Context::System(action)) => replica.apply_system(entry.index, &action).then_some(None),
            Some(
                Context::Resize { .. }
                | Context::Check
                | Context::Epoch { .. }
                | Context::Observed { .. }
                | Context::Started { .. },
            )
            | None => None,
        };
        let Some(request) = applied else {
            replica.history.ignore(entry.index, replica.group.log().compacted().index);
            if is_provisional && let Some(LeaderState { sessions, .. }) = &mut replica.leader_state {
                // JavaScript's provisional states depend on an action that changes nothing.
                sessions.drop_provisional(replica.group.last_index());
                batch.push(Delivery::ResetProvisional);
            }
            batch.push(Delivery::Clock { at });
            return;
        };
        replica.change_timers(timers);
        if !entry.data.is_empty() {
            replica.last_action = entry.index;
        }
        replica.snapshots.note_action(entry.data.len() + entry.context.len());
        let is_diverged = replica.divergence.is_diverged();
        let is_ours =
            |request: &Request| request.id.origin == me && request.id.start == self.client_session.start();
        let mut own = None;
        if let Some(request) = request.filter(is_ours) {
            own = self.client_session.end(request.id.sequence).map(|_| request.id.sequence);
            outcomes::settle_observed(&mut self.client_session, request.observed, &mut self.output);
        }
        if entry.data.is_empty() {
            batch.push(Delivery::Clock { at });
            let settled =
                own.map(|sequence| Delivery::Settled { sequence, call_outcome: CallOutcome::Nothing });
            batch.extend(settled);
        } else if !is_diverged {
            self.is_pristine = false;
            let (index, action) = (entry.index, entry.data);
            batch.push(Delivery::Committed { index, own, is_provisional, at, action });
        }
    }

    /// The application learns of changes of this node's session; calls from here on are made in the new one.
    fn follow_session(&mut self, batch: &mut Vec<Delivery>) {
        let process = self.start_guard.process();
        let result = self.own_session.follow(self.replica.as_ref(), process, &self.options, batch);
        self.client_session.set_session(self.own_session.current());
        self.fail_unless(result);
    }

    /// raft-rs has installed a leader's snapshot, and it is durable: the application follows.
    pub(super) fn follow_installed(&mut self) {
        let Some(replica) = &mut self.replica else { return };
        if !replica.group.take_installed() {
            return;
        }
        let record = replica.group.log().snapshot().clone();
        let snapshot = replica.restore(&record);
        replica.snapshots.drop_pending();
        self.bootstrap.resized(replica.members.cluster_size());
        self.restore_if_trusted(snapshot.position.index, snapshot.state);
    }

    /// Delivers the state of a snapshot to the application; if the node has diverged, only if the state can be trusted
    /// afterwards.
    pub(super) fn restore_if_trusted(&mut self, index: u64, state: Option<Bytes>) {
        let Some(replica) = &mut self.replica else { return };
        match replica.divergence.restore(index) {
            Restoration::Follows => self.restore(index, state),
            Restoration::Restores => {
                self.is_pristine = false;
                self.restore(index, state);
                self.output.deliver(Delivery::Restored);
                self.operations.begin_catch_up(&mut self.output);
            }
            Restoration::Refused => {}
        }
    }

    /// Delivers the state of a snapshot to JavaScript. Calls of this node that it contains have ended.
    pub(super) fn restore(&mut self, index: u64, state: Option<Bytes>) {
        if state.is_some() || !self.is_pristine {
            self.is_pristine &= state.is_none();
            self.output.deliver(Delivery::Restore { index, state });
        }
        if let Some(replica) = &self.replica {
            if replica.coordination.clock.at() != NO_TIME {
                self.output.deliver(Delivery::Clock { at: replica.coordination.clock.at() });
            }
            outcomes::settle_restored(&mut self.client_session, replica, &mut self.output);
        }
    }

    /// The state of this node does not match the log.
    pub(super) fn diverge_at(&mut self, mismatch: Option<Mismatch>) {
        let (Some(Mismatch { index, why }), Some(replica)) = (mismatch, &mut self.replica) else { return };
        let Some(error) = quarantine::begin(index, why, replica) else { return };
        self.output.deliver(Delivery::Diverged(error.clone()));
        outcomes::fail_all(&mut self.client_session, &error, &mut self.output);
        self.operations.fail_reads(&error, &mut self.output);
        self.operations.fall_behind(&mut self.output);
        replica.transfer_leadership(None);
    }

    /// A tick for this node's own JavaScript and storage.
    pub(super) fn tick_liveness(&mut self) {
        let (replica, me) = (self.replica.as_ref(), self.bootstrap.me());
        self.app_liveness.tick(replica, me, self.timing, &mut self.output);
        let is_write_pending = self.saved < self.output.writes();
        self.overdue.tick(is_write_pending, self.replica.as_mut(), &self.options, &mut self.output);
    }

    /// Reports when a restarted node has reduced everything that it may have reduced before the restart: its log, or
    /// the entries of a later leader in its place.
    fn report_replayed(&mut self, batch: &mut Vec<Delivery>) {
        let Some(replica) = &mut self.replica else {
            if std::mem::take(&mut self.is_replaying) {
                batch.push(Delivery::Replayed);
            }
            return;
        };
        let delivered = replica.delivered_index;
        let is_replayed = replica.replays_until.is_none_or(|until| {
            delivered >= until.index
                || replica.group.log().term_at(delivered).is_some_and(|term| term > until.term)
        });
        if is_replayed && std::mem::take(&mut self.is_replaying) {
            replica.replays_until = None;
            batch.push(Delivery::Replayed);
        }
    }

    fn evaluate(&mut self, batch: &mut Vec<Delivery>) {
        let Some(replica) = &mut self.replica else { return };
        if replica.group.has_committed()
            || !replica.group.accepts_proposals()
            || replica.divergence.is_diverged()
        {
            return;
        }
        let going: Vec<RaftId> = replica
            .leader_state
            .iter()
            .flat_map(|leader| leader.sessions.origins())
            .filter(|origin| replica.is_being_removed(*origin))
            .collect();
        let Some(LeaderState { sessions, .. }) = &mut replica.leader_state else { return };
        sessions.forget(&going);
        let may_evaluate = sessions.may_evaluate(replica.delivered_index) && !sessions.is_evaluating();
        let mut system = match may_evaluate {
            true => presence::due(replica, self.closing.is_some(), self.start_guard.process(), &self.options),
            false => Vec::new(),
        };
        batch.extend(system.iter().cloned().map(Delivery::EvaluateSystem));
        system.append(&mut timers::due(replica, may_evaluate, batch));
        let Some(LeaderState { sessions, .. }) = &mut replica.leader_state else { return };
        if may_evaluate {
            sessions.evaluate_system(system);
        }
        let (term, number) = (sessions.term(), self.delivering.next_number());
        let (evaluations, due) = sessions.take_evaluations(number, replica.delivered_index, &replica.table);
        if sessions.attempts() > 0 {
            batch.push(Delivery::ReportProgress);
        }
        let me = replica.me.raft_id();
        let mut callers = Callers::new(replica, &self.options, !evaluations.is_empty(), batch);
        for evaluation in evaluations {
            callers.announce(&evaluation, replica, batch);
            let Evaluation { origin, method, args, .. } = evaluation;
            batch.push(Delivery::Evaluate { method, args, is_own: origin == me });
        }
        outcomes::send(due, term, &mut self.client_session, replica, &mut self.output);
    }
}
