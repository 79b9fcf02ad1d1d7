//! The core of one node: joins bootstrap, Raft group and requests into one state machine.
//!
//! Only the driver calls it: [`Node::handle`] with each input, then [`Node::poll`] until it returns nothing.

mod admin;
mod app_liveness;
mod applications;
mod channel_health;
mod closing;
mod commit_piggyback;
mod commits;
mod configuration;
mod deliveries;
mod divergence;
mod effect;
mod idle;
mod inbound;
#[cfg(test)]
mod inspection;
mod leader_state;
mod member_starts;
mod operations;
mod outcomes;
mod output;
mod overdue;
mod quorum_recovery;
mod reads;
mod replica;
mod snapshot_schedule;
mod snapshots;
mod starts;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use super::bootstrap::{self, Bootstrap, Event, Phase};
use super::events::{Delivery, Input, Operation, Perform, Role, StoredState, Target, Warning, Work};
use super::frame::{Frame, Message, OperationRequest};
use super::identity::{ClusterUuid, Incarnation};
use super::options::Options;
use super::requests::{ClientSession, Pending};
use super::status::Status;
use super::timing::Timing;
use super::transfer::Reception;
use crate::error::Error;
use app_liveness::AppLiveness;
use applications::{ApplicationGuard, member_info};
use channel_health::ChannelHealth;
use closing::Closing;
use commit_piggyback::CommitPiggyback;
pub use commits::Commits;
use effect::Effect;
#[cfg(test)]
use inspection::Inspection;
use operations::Operations;
use output::Output;
use overdue::Overdue;
use quorum_recovery::QuorumRecovery;
use replica::{Replica, ReportedRole};
use starts::StartGuard;

/// The numbers that a node uses toward others restart at each start, this far above the last ones.
const STARTS_SHIFT: u32 = 32;

/// One node.
///
/// Invariants:
/// - at most one batch is with JavaScript; later deliveries wait here;
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
    /// A batch with everything up to this index is with JavaScript.
    delivering: Option<u64>,
    /// JavaScript has the initial state and has reduced nothing.
    is_pristine: bool,
    /// The log is being replayed, and the state must not be read.
    is_replaying: bool,
    operations: Operations,
    last_transfer_number: u64,
    /// A snapshot that is being received.
    reception: Option<Reception>,
    quorum_recovery: QuorumRecovery,
    /// The replica in the former cluster while this node waits for the successor: dropped when it is admitted, restored
    /// if it is not.
    former: Option<Replica>,
    app_liveness: AppLiveness,
    overdue: Overdue,
    commit_piggyback: CommitPiggyback,
    ticks: u64,
    channel: ChannelHealth,
    /// The channel reports that there may be a cluster from which this node receives nothing.
    cluster_was_found: bool,
    start_guard: StartGuard,
    reported_versions: BTreeSet<u8>,
    application_guard: ApplicationGuard,
    closing: Option<Closing>,
    is_stopped: bool,
}

impl Node {
    /// A node that starts; `stored` is the content of its storage.
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
            delivering: None,
            is_pristine: true,
            operations: Operations::new(start << STARTS_SHIFT),
            last_transfer_number: start << STARTS_SHIFT,
            reception: None,
            quorum_recovery: QuorumRecovery::default(),
            former: None,
            app_liveness: AppLiveness::default(),
            overdue: Overdue::new(timing),
            commit_piggyback: CommitPiggyback::default(),
            ticks: 0,
            cluster_was_found: false,
            channel: ChannelHealth::default(),
            start_guard,
            reported_versions: BTreeSet::new(),
            application_guard: ApplicationGuard::default(),
            closing: None,
            is_stopped: false,
        };
        if let Some(recovered) = recovered {
            node.resume_replica(recovered);
        }
        node.apply_bootstrap_events();
        node
    }

    fn resume_replica(&mut self, recovered: StoredState) {
        let Some(replica) = Replica::resume(recovered, &self.options, &mut self.rng) else {
            let cause = "its snapshot is not one of this version".into();
            let advice = "Move it away to start as a new member: the other nodes hold the data";
            return self.fail(Error::StorageDamaged { path: String::new(), cause, advice });
        };
        let record = replica.group.log().snapshot();
        let index = record.position.index;
        let state = super::snapshot::Snapshot::decode(&record.image).and_then(|snapshot| snapshot.state);
        self.bootstrap.resized(replica.members.cluster_size());
        self.bootstrap.renamed(replica.cluster, replica.lineage().0);
        self.replica = Some(replica);
        self.restore(index, state);
        self.operations.begin_catch_up(&mut self.output);
    }

    pub fn handle(&mut self, input: Input) {
        if self.is_stopped {
            return;
        }
        match input {
            Input::Tick => self.tick(),
            Input::Frame(bytes) => self.receive(&bytes),
            Input::Perform(calls) => self.perform(calls),
            Input::Abandon(sequences) => {
                for sequence in sequences {
                    self.client_session.end(sequence);
                }
            }
            Input::Answered(answered) => self.answered(answered),
            Input::Progressed { index } => self.progressed(index),
            Input::TurnOver => self.commit_piggyback.release(),
            Input::SnapshotTaken(taken) => self.snapshot_taken(taken),
            Input::Hashed(hashed) => self.hashed(hashed),
            Input::ReducerFailed { index, why } => self.divergence(index, why),
            Input::Operation { ticket, operation: Operation::Recover, ticks } => {
                self.begin_recovery(ticket, ticks)
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
            Input::Close { ticks, leaves } => self.close(ticks, leaves),
        }
        self.apply_bootstrap_events();
    }

    /// The next piece of work; the driver calls this until there is none.
    pub fn poll(&mut self) -> Option<Work> {
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
        let mut status = Status {
            incarnation: self.bootstrap.me(),
            cluster_size: self.bootstrap.cluster_size(),
            missing: self.missing().into(),
            pending: self.client_session.len(),
            waiting_for: self.bootstrap.waiting_for().map(Arc::from),
            is_caught_up: self.operations.is_caught_up(),
            ..Status::alone(&self.options)
        };
        if let Some(replica) = &self.replica {
            replica.describe(&mut status);
        }
        if let Some(reception) = self.reception.as_ref().filter(|_| status.diverged.is_none()) {
            status.waiting_for = Some(reception.describe().into());
        }
        status
    }

    /// The number of ticks after which the node needs a turn, at the latest.
    pub fn ticks_until_wakeup(&self) -> u64 {
        // First what fails for a busy node: this is called in every turn.
        let is_at_rest = self.delivering.is_none()
            && self.client_session.is_empty()
            && self.commit_piggyback.is_empty()
            && self.operations.is_empty()
            && self.reception.is_none()
            && self.closing.is_none()
            && self.channel.is_healthy()
            && !self.is_stopped;
        let resting = self.replica.as_ref().filter(|replica| is_at_rest && idle::is_at_rest(replica));
        resting.map_or(1, idle::ticks_until_wakeup)
    }

    /// The actions from index `from` on, at most up to `until`, which JavaScript has reduced.
    pub fn commits(&self, from: u64, until: u64) -> Commits {
        let Some(replica) = &self.replica else { return Commits::unknown(until) };
        replica.history.commits(replica.group.log(), from, until.min(replica.delivered_index))
    }

    /// Fails: every call ends with this error, and the node stops.
    pub fn fail(&mut self, error: Error) {
        let pending = self.client_session.end_where(|_| true);
        self.settle_failed(pending, &error);
        self.operations.fail_all(&error, &mut self.output);
        self.stop(Some(error));
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
        self.commit_piggyback.release();
        let facts = self.facts();
        self.bootstrap.tick(&facts);
        self.apply_bootstrap_events();
        if let Some(replica) = &mut self.replica {
            if !replica.is_frozen() {
                replica.group.tick();
            }
            if facts.channel_is_healthy {
                replica.now += 1;
                replica.check_leader_silence();
                self.tick_quorum_recovery();
            }
        }
        if let Some(requests) = self.client_session.tick() {
            self.send_requests(requests);
        }
        self.tick_transfers();
        self.tick_divergence();
        self.tick_liveness();
        self.tick_operations();
        let (is_member, timing) = (self.replica.is_some(), self.timing);
        let announcement = self.closing.as_mut().and_then(|closing| closing.tick(is_member, timing));
        self.execute(announcement);
        self.plan_membership();
        self.send_unreachable();
        self.check_start();
        self.propose_check();
        self.tick_leader();
    }

    /// A tick for this node's own JavaScript and storage.
    fn tick_liveness(&mut self) {
        let (replica, me) = (self.replica.as_ref(), self.bootstrap.me());
        let probes = self.app_liveness.tick(self.delivering.is_some(), replica, me, self.timing);
        self.execute(probes);
        let is_leader = self.replica.as_ref().is_some_and(|replica| replica.group.is_leader());
        let transfer = self.overdue.tick(self.saved < self.output.writes(), is_leader, &self.options);
        self.execute(transfer);
    }

    fn tick_operations(&mut self) {
        let expired = self.operations.tick();
        if !expired.is_empty() {
            let waiting_for = self.status().waiting_for;
            let ended = expired.into_iter().map(|pending| pending.timed_out(waiting_for.as_deref()));
            ended.for_each(|delivery| self.output.deliver(delivery));
        }
    }

    /// Sends the requests of operations that are due. A leader answers its own immediately.
    fn send_operations(&mut self) {
        let Some(replica) = &self.replica else { return };
        self.operations.decide_commands(replica, &mut self.output);
        let (me, term, retry_ticks) = (replica.me, replica.group.term(), self.timing.operation_retry());
        let leader = replica.leader();
        let to = leader.and_then(|leader| replica.incarnation(leader)).map(Target::One);
        if let Some(leader) = leader {
            let requests = self.operations.take_due_requests(leader, term, self.ticks, retry_ticks);
            for (request_id, request) in requests {
                if leader == me.raft_id() {
                    self.answer_operation(me, term, request_id, request);
                } else if let Some(to) = to {
                    self.output.send(to, Message::OperationRequest { term, request_id, request });
                }
            }
        }
        if let Some(replica) = &mut self.replica {
            admin::begin_round(replica);
        }
    }

    /// As the leader.
    fn answer_operation(&mut self, from: Incarnation, term: u64, request_id: u64, request: OperationRequest) {
        let Some(replica) = &mut self.replica else { return };
        let effect = admin::handle_request(replica, from, term, request_id, request);
        self.execute(effect);
    }

    /// Whether the process of a member that has sent a frame is accepted.
    fn is_from_accepted_start(&mut self, frame: &Frame) -> bool {
        let Some(replica) = self.replica.as_mut().filter(|replica| replica.cluster == frame.cluster) else {
            return true;
        };
        let accepts = self.start_guard.accepts(frame, replica, &self.options, &mut self.output);
        accepts.unwrap_or_else(|error| {
            self.fail(error);
            false
        })
    }

    fn check_start(&mut self) {
        let Some(replica) = &self.replica else { return };
        if let Err(error) = self.start_guard.check_own(replica, &self.options) {
            self.fail(error);
        }
    }

    fn perform(&mut self, calls: Vec<Perform>) {
        for perform in calls {
            if !self.refuse_while_diverged(perform.sequence) {
                self.client_session.add(perform);
            }
        }
    }

    /// Executes what a part has decided.
    fn execute(&mut self, effects: impl IntoIterator<Item = Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(target, message) => self.output.send(target, message),
                Effect::Deliver(delivery) => self.output.deliver(delivery),
                Effect::Warn(warning) => self.output.warn(warning),
                Effect::TransferLeadership(to) => self.transfer_leadership(to),
                Effect::ReplyOperation { to, request_id, answer } if to == self.bootstrap.me() => {
                    self.operations.reply_locally(request_id, answer);
                }
                Effect::ReplyOperation { to, request_id, answer } => {
                    self.output.send(Target::One(to), Message::OperationReply { request_id, answer });
                }
                Effect::Fail(error) => self.fail(error),
                Effect::EndClosing => self.end_closing(),
            }
        }
    }

    fn apply_bootstrap_events(&mut self) {
        while let Some(event) = self.bootstrap.poll() {
            match event {
                Event::Join(incarnation) => self.output.join(incarnation),
                Event::Send(target, message) => self.output.send(target, message),
                Event::Founded { roster, campaign } => {
                    let me = self.bootstrap.me();
                    let (replica, write) =
                        Replica::found(&roster, campaign, me, &self.options, &mut self.rng);
                    self.replica = Some(replica);
                    self.output.persist(write);
                    self.operations.begin_catch_up(&mut self.output);
                }
                Event::NewIncarnation { why } => {
                    self.output.warn(Warning::StartingOver { why });
                    drop(self.leave_replica());
                }
                Event::Superseded { by, successor, kept } => self.supersede(by, successor, kept),
                Event::LeftForSuccessor { former } => self.leave_for_successor(former),
                Event::ReturnedToFormer => self.return_to_former(),
                Event::Warn(warning) => self.output.warn(warning),
                Event::Fail(error) => self.fail(error),
            }
        }
    }

    /// This node is a new incarnation: for Raft its former one has crashed. The others may still commit what it had
    /// sent to a leader.
    fn leave_replica(&mut self) -> Option<Replica> {
        (self.reception, self.quorum_recovery, self.commit_piggyback) =
            (None, QuorumRecovery::default(), CommitPiggyback::default());
        let replica = self.replica.take();
        if replica.as_ref().is_some_and(|replica| replica.reported_role.leader.is_some()) {
            self.output.deliver(Delivery::Role { role: Role::Follower, term: 0, leader: None });
        }
        // The batch with JavaScript does not count in another cluster.
        self.delivering = self.delivering.map(|_| 0);
        self.operations.fall_behind(&mut self.output);
        self.end_dispatched();
        replica
    }

    /// Ends the calls that were sent to a leader of the former cluster: no outcome will arrive.
    fn end_dispatched(&mut self) {
        let dispatched = self.client_session.end_where(Pending::was_dispatched);
        self.settle_failed(dispatched, &Error::Removed);
        self.client_session.follow(0);
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
            self.send_recovery_vote(number);
            self.finish_founding(number);
        }
    }

    /// Does everything that has become possible; false if there was nothing. Each phase has a reason for its position.
    fn advance(&mut self) -> bool {
        // Proposals and requests go to the present leader.
        self.observe_role();
        self.send_operations();
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
        if let Some(replica) = self.replica.as_mut().filter(|replica| replica.founding.is_none())
            && let Some(write) = replica.group.advance(self.output.writes() + 1, storage)
        {
            self.output.persist(write);
            return true;
        }
        self.found_anew()
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
        self.send_due_outcomes();
        while let Some(requests) = self.client_session.dispatch() {
            self.send_requests(requests);
        }
        self.operations.finish(self.replica.as_ref(), self.is_replaying, &mut self.output);
    }

    /// Sends snapshots, and notifies removed members.
    fn serve_members(&mut self) {
        self.continue_transfers();
        self.notify_removed();
        self.notice_removal();
    }

    /// Follows raft-rs's role, term and leader: leadership begins and ends here, and JavaScript is notified.
    fn observe_role(&mut self) {
        let me = self.bootstrap.me().raft_id();
        let Some(replica) = &mut self.replica else { return };
        // A newcomer may hear from its leader before its log names it.
        let leader = replica.leader().filter(|leader| *leader == me || replica.members.id(*leader).is_some());
        let now = ReportedRole { role: replica.group.role(), term: replica.group.term(), leader };
        if now == replica.reported_role {
            return;
        }
        if let Some(former) =
            replica.reported_role.leader.filter(|former| Some(*former) != leader && *former != me)
        {
            replica.note_end_of(former);
        }
        replica.reported_role = now;
        let ReportedRole { role, term, leader } = now;
        let is_leading = replica.leader_state.as_ref().is_some_and(|leader| leader.sessions.term() == term);
        if role != Role::Leader {
            replica.end_leadership();
            self.commit_piggyback = CommitPiggyback::default();
        } else if !is_leading {
            replica.begin_leadership(term);
        }
        if leader.is_some() {
            self.client_session.follow(term);
            self.output.send(
                Target::All,
                self.closing.as_ref().map_or_else(|| member_info(&self.options, false), Closing::message),
            );
        }
        let Some(replica) = &mut self.replica else { return };
        let leader = replica.leader_id();
        self.output.deliver(Delivery::Role { role, term, leader });
    }

    fn close(&mut self, ticks_max: u64, leaves: bool) {
        if self.closing.is_none() {
            let closing = self.closing.insert(Closing::new(ticks_max, leaves));
            let announcement = self.replica.as_ref().map(|_| closing.announce());
            self.execute(announcement);
        }
    }

    fn continue_closing(&mut self) {
        if self.closing.is_none() {
            return;
        }
        let has_ended = self.client_session.is_empty() && !self.operations.has_calls();
        let Some(closing) = &mut self.closing else { return };
        let facts =
            closing::Facts { replica: self.replica.as_ref(), has_ended, writes: self.output.writes() };
        let effects = closing.advance(&facts);
        self.execute(effects);
    }

    fn end_closing(&mut self) {
        let pending = self.client_session.end_where(|_| true);
        self.settle_failed(pending, &Error::Closed);
        self.operations.fail_all(&Error::Closed, &mut self.output);
        self.stop(None);
    }

    fn stop(&mut self, error: Option<Error>) {
        if self.is_stopped {
            return;
        }
        self.is_stopped = true;
        self.output.deliver_all();
        self.flush();
        self.output.stop(error);
    }

    /// A node that has diverged, is closing, or waits for its storage does not campaign.
    fn may_campaign(&self, replica: &Replica) -> bool {
        let is_silent = replica.divergence.is_silent(replica.now, self.timing.diverged_campaigns());
        !is_silent && self.closing.is_none() && !self.overdue.is_overdue()
    }

    fn flush(&mut self) {
        let may_campaign = self.replica.as_ref().is_some_and(|replica| self.may_campaign(replica));
        if let Some(replica) = &mut self.replica {
            for (to, message) in self.commit_piggyback.hold(replica.group.take_messages()) {
                if replica.may_send(&message, may_campaign)
                    && let Some(to) = replica.incarnation(to)
                {
                    self.output.send(Target::One(to), Message::Raft(message));
                }
            }
        }
        let cluster = self.replica.as_ref().map_or(ClusterUuid::NONE, |replica| replica.cluster);
        let started = self.start_guard.started();
        self.output.seal(cluster, self.bootstrap.me(), started);
    }

    #[cfg(test)]
    pub fn inspect(&self) -> Inspection<'_> {
        Inspection {
            replica: self.replica.as_ref(),
            former: self.former.as_ref(),
            pending_deliveries: self.output.pending_deliveries(),
            reception: self.reception.as_ref(),
            quorum_recovery: &self.quorum_recovery,
            ancestors: self.bootstrap.ancestors(),
        }
    }
}
