//! The core of one node: passes each input to the part that it concerns, and runs the phases of a turn.
//!
//! Only the driver calls it: [`Node::handle`] with each input, then [`Node::poll`] until it returns nothing.

mod admin;
mod app_liveness;
mod applications;
mod channel_health;
mod checks;
mod closing;
mod commits;
mod configuration;
mod delayed_appends;
mod deliveries;
mod delivering;
mod disconnection;
mod divergence;
mod hibernation;
mod idle;
mod inbound;
#[cfg(test)]
mod inspection;
mod leader_state;
mod lifecycle;
mod liveness;
mod member_starts;
mod operations;
mod outcomes;
mod outgoing_snapshots;
mod output;
mod overdue;
mod presence;
mod quarantine;
mod quorum_recovery;
mod reads;
mod replica;
mod separate_frames;
mod shared_messages;
mod snapshot_schedule;
mod snapshot_transfers;
mod snapshots;
mod starts;
mod state_comparison;
mod timer_watch;
mod timers;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use super::bootstrap::{self, Bootstrap, Phase};
use super::consensus::timing::Timing;
use super::coordination::Timers;
use super::events::{Delivery, Input, Operation, StoredState, Warning, Work};
use super::options::Options;
use super::requests::ClientSession;
use super::status::{IgnoredFrames, Status};
use super::wire::message::Requests;
use crate::error::Error;
use app_liveness::AppLiveness;
use applications::ApplicationGuard;
use channel_health::ChannelHealth;
use checks::Mismatch;
use closing::Closing;
pub use commits::{Commits, CommittedAction};
use delayed_appends::DelayedAppends;
use delivering::Delivering;
use hibernation::Hibernation;
#[cfg(test)]
use inspection::Inspection;
use operations::Operations;
use output::Output;
use overdue::Overdue;
use presence::OwnSession;
use quorum_recovery::QuorumRecovery;
use replica::Replica;
use snapshot_transfers::SnapshotTransfers;
use starts::StartGuard;

/// The numbers that a node uses toward others restart at each start, this far above the last ones.
const STARTS_SHIFT: u32 = 32;

/// One node.
///
/// Invariants:
/// - at most two batches are with JavaScript; later deliveries wait here;
/// - `applied_index <= delivered_index <= commit index`, and none ever decreases within one cluster, except when a
///   diverged node is restored;
/// - after `Work::Stop` there is no work.
#[cfg_attr(test, derive(Debug))]
pub struct Node {
    options: Options,
    timing: Timing,
    rng: ChaCha8Rng,
    bootstrap: Bootstrap,
    replica: Option<Replica>,
    client_session: ClientSession,
    output: Output,
    /// The number of the last write that is durable.
    saved: u64,
    delivering: Delivering,
    /// JavaScript has the initial state and has reduced nothing.
    is_pristine: bool,
    /// The log is being replayed, and the state must not be read.
    is_replaying: bool,
    operations: Operations,
    snapshot_transfers: SnapshotTransfers,
    quorum_recovery: QuorumRecovery,
    /// The replica in the former cluster while this node waits for the successor: dropped when it is admitted, restored
    /// if it is not.
    former: Option<Replica>,
    app_liveness: AppLiveness,
    overdue: Overdue,
    delayed_appends: DelayedAppends,
    ticks: u64,
    channel: ChannelHealth,
    /// The channel reports that there may be a cluster from which this node receives nothing.
    cluster_was_found: bool,
    start_guard: StartGuard,
    reported_versions: BTreeSet<u8>,
    ignored_frames: IgnoredFrames,
    application_guard: ApplicationGuard,
    own_session: OwnSession,
    hibernation: Hibernation,
    closing: Option<Closing>,
    is_stopped: bool,
}

impl Node {
    /// A node that starts; `recovered` is the content of its storage.
    pub fn new(options: Options, recovered: Option<StoredState>) -> Self {
        let mut rng = ChaCha8Rng::from_seed(options.seed);
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let inner = ChaCha8Rng::from_seed(seed);
        let start = recovered.as_ref().map_or(1, |recovered| recovered.start);
        let bootstrap = match &recovered {
            Some(recovered) => Bootstrap::resumed(&options, inner, recovered.replica),
            None => Bootstrap::new(&options, inner),
        };
        let timing = Timing::new(&options);
        let start_guard = StartGuard::new(&options, recovered.as_ref(), start << STARTS_SHIFT);
        let mut node = Self {
            client_session: ClientSession::new(start, timing.request_retry()),
            is_replaying: options.is_durable,
            options,
            timing,
            rng,
            bootstrap,
            replica: None,
            output: Output::default(),
            saved: 0,
            delivering: Delivering::new(),
            is_pristine: true,
            operations: Operations::new(start << STARTS_SHIFT),
            snapshot_transfers: SnapshotTransfers::new(start << STARTS_SHIFT),
            quorum_recovery: QuorumRecovery::default(),
            former: None,
            app_liveness: AppLiveness::default(),
            overdue: Overdue::new(timing),
            delayed_appends: DelayedAppends::default(),
            ticks: 0,
            cluster_was_found: false,
            channel: ChannelHealth::default(),
            start_guard,
            reported_versions: BTreeSet::new(),
            ignored_frames: IgnoredFrames::default(),
            application_guard: ApplicationGuard::default(),
            own_session: OwnSession::default(),
            hibernation: Hibernation::default(),
            closing: None,
            is_stopped: false,
        };
        if let Some(recovered) = recovered {
            node.resume_replica(recovered);
        }
        node.apply_bootstrap_events();
        node
    }

    pub fn handle(&mut self, input: Input) {
        if self.is_stopped {
            return;
        }
        self.hibernation.note_input(&input, self.replica.as_mut(), &mut self.output);
        match input {
            Input::Tick if self.hibernation.skips_tick() => return,
            Input::Tick => self.tick(),
            Input::TickNumber(number) => {
                self.replica.iter_mut().for_each(|replica| self.hibernation.align(number, replica));
            }
            Input::MayHibernate(is_allowed) => {
                let is_allowed = is_allowed && self.timing.may_hibernate();
                self.hibernation.allow(is_allowed, self.replica.as_mut(), &mut self.output);
            }
            Input::Frame(bytes) => self.receive(&bytes),
            Input::Perform(calls) => self.perform(calls),
            Input::Abandon(sequences) => {
                for sequence in sequences {
                    self.client_session.end(sequence);
                }
            }
            Input::Answered(answered) => self.answered(answered),
            Input::Progressed { index } => self.progressed(index),
            Input::TimersDue { at } => {
                if let Some(leader) = self.replica.as_mut().and_then(|replica| replica.leader_state.as_mut())
                {
                    leader.timers.reached(at);
                }
            }
            Input::TurnOver => self.delayed_appends.turn_over(),
            Input::SnapshotTaken(taken) => {
                if let Some(replica) = &mut self.replica {
                    snapshots::handle_taken(taken, replica, &self.options, &mut self.output);
                }
            }
            Input::Hashed(hashed) => {
                let (replica, output) = (self.replica.as_mut(), &mut self.output);
                let mismatch =
                    replica.and_then(|replica| checks::handle_hashed(hashed, replica, &self.options, output));
                self.diverge_at(mismatch);
            }
            Input::ReducerFailed { index, why } => self.diverge_at(Some(Mismatch { index, why })),
            Input::Operation { ticket, operation: Operation::Recover, ticks } => {
                let (is_closing, replica) = (self.closing.is_some(), self.replica.as_mut());
                match self.quorum_recovery.order(is_closing, replica, &mut self.output) {
                    Ok(()) => self.operations.begin(
                        ticket,
                        Operation::Recover,
                        ticks,
                        self.replica.as_ref(),
                        &mut self.output,
                    ),
                    Err(error) => {
                        self.output.deliver(Delivery::OperationEnded { ticket, result: Err(error) })
                    }
                }
            }
            Input::Operation { ticket, operation, ticks } => {
                let replica = self.replica.as_ref();
                self.operations.begin(ticket, operation, ticks, replica, &mut self.output);
            }
            Input::Persisted(number) => self.persisted(number),
            Input::StorageFailed(error) => self.fail(error),
            Input::ClusterFound(is_found) => self.cluster_was_found = is_found,
            Input::Noted(bytes) => self.bootstrap.noted(&bytes),
            Input::Channel(state) => {
                let warning = self.channel.change(state);
                warning.into_iter().for_each(|warning| self.output.warn(warning));
            }
            Input::PeerConnected(peer) => {
                let facts = self.facts();
                self.bootstrap.connected(peer, &facts);
            }
            Input::PeerDisconnected(peer) => {
                self.replica.iter_mut().for_each(|replica| disconnection::handle(replica, peer));
            }
            Input::PeerRefused(cause) => self.output.warn(Warning::PeerRefused { cause }),
            Input::FrameRefused(refusal) => self.output.warn(Warning::FramesRefused { refusal }),
            Input::Close { ticks, leaves } => self.close(ticks, leaves),
        }
        self.apply_bootstrap_events();
    }

    /// The next piece of work; the driver calls this until there is none.
    pub fn poll(&mut self) -> Option<Work> {
        self.hibernation.end_turn();
        loop {
            if let Some(work) = self.output.next_work() {
                return Some(work);
            }
            if self.is_stopped || !self.advance() {
                return None;
            }
        }
    }

    /// Whether this node leads a cluster that has committed, which newcomers should join.
    pub fn keeps_cluster(&self) -> bool {
        self.replica
            .as_ref()
            .is_some_and(|replica| replica.group.is_leader() && replica.group.has_seen_commit())
    }

    pub fn may_found(&self) -> bool {
        *self.bootstrap.phase() == Phase::Seeking
    }

    /// The members of this node's cluster, which the channel keeps beyond the cluster's end.
    pub fn note(&self) -> Option<Bytes> {
        self.replica
            .as_ref()
            .filter(|replica| replica.group.has_seen_commit())
            .map(|replica| replica.note.clone())
    }

    pub fn status(&self) -> Status {
        let replica = self.replica.as_ref();
        let missing = replica.map(|replica| self.quorum_recovery.missing(replica));
        let mut status = Status {
            incarnation: self.bootstrap.me(),
            cluster_size: self.bootstrap.cluster_size(),
            missing: missing.map_or(Arc::default(), Arc::from),
            pending: self.client_session.len(),
            waiting_for: self.bootstrap.waiting_for().map(Arc::from),
            is_caught_up: self.operations.is_caught_up(),
            ignored_frames: self.ignored_frames,
            session: self.own_session.current(),
            is_hibernating: self.hibernation.is_hibernating(),
            ..Status::alone(&self.options)
        };
        if let Some(replica) = &self.replica {
            replica.describe(&mut status);
        }
        if let Some(reception) = self.snapshot_transfers.reception().filter(|_| status.diverged.is_none()) {
            status.waiting_for = Some(reception.describe().into());
        }
        status
    }

    /// Whether a message waits until JavaScript has finished its turn ([`Input::TurnOver`]), or for a tick.
    pub fn is_delaying(&self) -> bool {
        !self.delayed_appends.is_empty()
    }

    /// Ends a call that was not sent yet, and then never will be.
    pub fn withdraw(&mut self, sequence: u64) -> bool {
        self.client_session.end_if_unsent(sequence)
    }

    /// The number of ticks after which the node needs a turn, at the latest.
    pub fn ticks_until_wakeup(&self) -> u64 {
        let Some(replica) = self.replica.as_ref().filter(|_| self.may_skip_ticks()) else { return 1 };
        match self.hibernation.is_hibernating() {
            _ if !idle::may_skip_ticks(replica) => 1,
            true => self.hibernation.ticks_until_wakeup(replica),
            false => idle::ticks_until_wakeup(replica),
        }
    }

    /// Whether this node waits for nothing, so that only its replica needs ticks. Called in every turn, so the
    /// conditions that a busy node fails come first.
    fn may_skip_ticks(&self) -> bool {
        self.delivering.is_empty()
            && self.client_session.is_empty()
            && self.delayed_appends.is_empty()
            && self.operations.is_empty()
            && self.snapshot_transfers.reception().is_none()
            && self.closing.is_none()
            && self.channel.is_healthy()
            && !self.is_stopped
    }

    /// Whether nothing is left to do on this node or, as far as it knows, in its group.
    fn may_hibernate(&self) -> bool {
        let is_hibernating = self.hibernation.is_hibernating();
        let is_idle = |replica| {
            idle::may_skip_ticks(replica)
                && hibernation::is_group_idle(is_hibernating, replica, &self.options)
        };
        let is_saved = self.saved == self.output.writes();
        self.may_skip_ticks() && is_saved && !self.is_replaying && self.replica.as_ref().is_some_and(is_idle)
    }

    /// The actions from index `from` on, at most up to `until`, which JavaScript has reduced.
    pub fn commits(&self, from: u64, until: u64) -> Commits {
        let Some(replica) = &self.replica else { return Commits::unknown(until) };
        replica.history.commits(replica.group.log(), from, until.min(replica.delivered_index))
    }

    /// The seed of random numbers for an evaluation with JavaScript, by the number of its batch and its position there: a
    /// function of the request alone, so that a later leader has the same.
    pub fn evaluation_seed(&self, batch: u64, position: usize) -> u64 {
        let leader = self.replica.as_ref().and_then(|replica| replica.leader_state.as_ref());
        leader.map_or(0, |leader| leader.sessions.seed(batch, position))
    }

    /// The timers, and how many there will be, with their bytes, once what is appended is applied.
    pub fn timers(&self) -> Option<(&Timers, (usize, usize))> {
        let replica = self.replica.as_ref()?;
        Some((&replica.coordination.timers, timers::expected(replica)))
    }

    /// What the bootstrap needs to know.
    fn facts(&self) -> bootstrap::Facts {
        bootstrap::Facts {
            is_closing: self.closing.is_some(),
            cluster_was_found: self.cluster_was_found,
            channel_is_healthy: self.channel.is_healthy(),
            ..self.replica.as_ref().map_or_else(bootstrap::Facts::default, Replica::facts)
        }
    }

    fn tick(&mut self) {
        self.ticks += 1;
        self.delayed_appends.tick();
        let facts = self.facts();
        self.bootstrap.tick(&facts);
        self.apply_bootstrap_events();
        if let Some(replica) = &mut self.replica {
            if !replica.is_frozen() {
                replica.group.tick();
            }
            if facts.channel_is_healthy {
                replica.liveness.tick(replica.group.leader());
                let (is_closing, output) = (self.closing.is_some(), &mut self.output);
                self.quorum_recovery.tick(is_closing, replica, &self.options, output);
            }
        }
        if let Some(requests) = self.client_session.tick() {
            self.send_requests(requests);
        }
        self.snapshot_transfers.tick(self.replica.as_mut(), self.timing);
        if let Some(replica) = &mut self.replica {
            quarantine::tick(self.overdue.is_overdue(), replica, &mut self.output);
        }
        self.tick_liveness();
        self.tick_operations();
        let is_idle = self.hibernation.wants_idleness() && self.may_hibernate();
        if let Some(replica) = &mut self.replica {
            self.hibernation.tick(is_idle, replica, &mut self.output);
        }
        if let Some(closing) = &mut self.closing {
            closing.tick(self.replica.is_some(), self.timing, &mut self.output);
        }
        let Some(replica) = &mut self.replica else { return };
        if let Some(leader_state) = &mut replica.leader_state {
            leader_state.is_presence_due = true;
        }
        configuration::plan(replica, self.closing.as_ref());
        let is_heartbeat = self.ticks.is_multiple_of(self.timing.heartbeat());
        if is_heartbeat {
            configuration::report_silent_members(replica, &mut self.output);
            presence::query_silence(replica, &self.options, &mut self.output);
            self.own_session.warn_of_members_without(replica, &self.options, &mut self.output);
        }
        if let Err(error) = self.start_guard.check_own(replica, &self.options) {
            return self.fail(error);
        }
        checks::propose(replica, &self.options);
        if is_heartbeat && replica.group.is_leader() {
            // A leader's knowledge of the others' logs changes constantly.
            replica.describe_members();
            self.start_guard.record(replica);
            let (me, options, timing) = (replica.me, &self.options, self.timing);
            let facts = applications::Facts { me, options, timing, replica };
            let verdict = self.application_guard.watch(&facts, &mut self.output);
            self.fail_unless(verdict);
        }
    }

    fn tick_operations(&mut self) {
        let expired = self.operations.tick();
        if !expired.is_empty() {
            let waiting_for = self.status().waiting_for;
            let ended = expired.into_iter().map(|pending| pending.timed_out(waiting_for.as_deref()));
            ended.for_each(|delivery| self.output.deliver(delivery));
        }
    }

    /// A part found that this node must stop.
    fn fail_unless(&mut self, result: Result<(), Error>) {
        if let Err(error) = result {
            self.fail(error);
        }
    }

    fn send_requests(&mut self, requests: Requests) {
        if let Some(replica) = &mut self.replica {
            outcomes::send_requests(requests, &mut self.client_session, replica, &mut self.output);
        }
    }

    /// Writes up to this number are durable.
    fn persisted(&mut self, number: u64) {
        self.saved = self.saved.max(number);
        self.overdue.answered();
        if let Some(former) = &mut self.former {
            former.group.persisted(number);
        }
        if let Some(replica) = &mut self.replica {
            replica.group.persisted(number);
            quorum_recovery::send_vote(number, replica, &mut self.output);
            self.finish_founding(number);
        }
    }

    /// Does everything that has become possible; false if there was nothing. Each phase has a reason for its position.
    fn advance(&mut self) -> bool {
        // Proposals and requests go to the present leader.
        self.observe_role();
        if let Some(replica) = &mut self.replica {
            self.operations.send(self.ticks, replica, &mut self.output);
        }
        // What raft-rs wants saved is ordered before what depends on it is applied or sent.
        if self.save() {
            return true;
        }
        // raft-rs may have changed its role, or installed a snapshot, meanwhile.
        self.observe_role();
        self.follow_group();
        // Before JavaScript gets a batch: the outcomes that it decides belong to that batch.
        self.respond();
        self.deliver();
        // After what was applied: that may have removed this node or others.
        self.serve_members();
        self.continue_closing();
        self.apply_bootstrap_events();
        // Last, so that one frame carries what all phases have for a node.
        self.flush();
        self.output.has_work()
    }

    /// Orders raft-rs's next write, or founds the successor; false if there is none.
    fn save(&mut self) -> bool {
        let storage = self.overdue.storage();
        let Some(replica) = &mut self.replica else { return false };
        if replica.founding.is_none()
            && let Some(write) = replica.group.advance(self.output.writes() + 1, storage)
        {
            self.output.persist(write);
            return true;
        }
        let founds = self.quorum_recovery.found(replica, &self.options, &mut self.output);
        injected_bug!(FoundsBeforeSaving, self.finish_founding(self.output.writes()));
        founds
    }

    /// Takes over what the group has changed: its snapshot and its members.
    fn follow_group(&mut self) {
        self.follow_installed();
        if let Some(replica) = &mut self.replica {
            replica.refresh_members();
        }
    }

    /// Sends outcomes and requests, and ends operations.
    fn respond(&mut self) {
        if let Some(replica) = &mut self.replica {
            let confirmed = replica.group.take_confirmed();
            if replica.group.votes() {
                outcomes::send_due(&confirmed, &mut self.client_session, replica, &mut self.output);
                self.operations.answer_reads(&confirmed, replica, &mut self.output);
            }
        }
        while let Some(requests) = self.client_session.dispatch() {
            self.send_requests(requests);
        }
        self.operations.finish(self.replica.as_ref(), self.is_replaying, &mut self.output);
    }

    /// Sends snapshots, and notifies removed members.
    fn serve_members(&mut self) {
        let Some(replica) = &mut self.replica else { return };
        self.snapshot_transfers.advance(replica, &self.options, &mut self.output);
        configuration::notify_removed(replica, &mut self.output);
        if configuration::is_removed_leader(replica) {
            let cluster_size = replica.members.cluster_size();
            self.flush();
            self.leave_cluster(cluster_size);
        }
    }

    /// A node that has diverged, is closing, or waits for its storage does not campaign.
    fn may_campaign(&self, replica: &Replica) -> bool {
        !quarantine::leaves_leadership(replica) && self.closing.is_none() && !self.overdue.is_overdue()
    }

    fn flush(&mut self) {
        let may_campaign = self.replica.as_ref().is_some_and(|replica| self.may_campaign(replica));
        if let Some(replica) = &mut self.replica {
            let messages = replica.group.take_messages();
            let mut messages = self.delayed_appends.hold(messages, |to| !replica.group.is_voter(to));
            messages.retain(|(_, message)| replica.may_send(message, may_campaign));
            self.hibernation.mark(&mut messages);
            shared_messages::send(messages, replica, &mut self.output);
        }
        self.seal_as(self.bootstrap.me());
    }

    #[cfg(test)]
    pub fn inspect(&self) -> Inspection<'_> {
        Inspection {
            replica: self.replica.as_ref(),
            former: self.former.as_ref(),
            pending_deliveries: self.output.pending_deliveries(),
            reception: self.snapshot_transfers.reception(),
            quorum_recovery: &self.quorum_recovery,
            ancestors: self.bootstrap.ancestors(),
        }
    }
}
