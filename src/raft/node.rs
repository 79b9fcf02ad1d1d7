//! This file is the core of one node: it joins founding, the Raft group and the requests into one state machine.
//!
//! Called by the driver alone: [`Node::handle`] with each input, then [`Node::poll`] until it gives nothing.

mod applications;
mod asks;
mod care;
mod catch_up;
mod closing;
mod commits;
mod deliveries;
mod fence;
mod hearing;
#[cfg(test)]
mod inspection;
mod loss;
mod outcomes;
mod overdue;
mod rest;
mod retention;
mod seat;
mod snapshots;
mod starts;
mod status;
mod tidings;
mod waking;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use super::events::{
    Answered, Ask, ChannelState, Delivery, Input, Perform, Recovered, Role, Target, Warning, Work,
};
use super::frame::{Message, RaftKind, ReadAt};
use super::group::Group;
use super::identity::{ClusterUuid, Start};
use super::membership::{Event, Facts, Membership, Phase};
use super::options::Options;
use super::outbox::Outbox;
use super::requests::{Leadership, Origin, Pending, in_pages};
#[cfg(test)]
use super::testing::bugs::{self, Bug, is_back};
use super::transfer::Reception;
use crate::error::Error;
use asks::Asking;
use care::Care;
use closing::Closing;
pub use commits::Commits;
#[cfg(test)]
pub(super) use deliveries::payload_bytes;
use loss::Loss;
use overdue::Overdue;
use seat::Seat;
use starts::OwnStarts;
use tidings::Tidings;
use waking::Waking;

/// What a node numbers for others begins anew at each start, this far above the last.
const STARTS_SHIFT: u32 = 32;

/// One node.
///
/// Invariants:
/// - at most one batch is with JavaScript; what happens meanwhile waits here;
/// - `applied_index <= delivered_index <= commit index`, and none ever falls within one cluster, but where a fenced node
///   is healed;
/// - after `Work::Stop` there is no work.
#[cfg_attr(test, derive(Debug))]
pub struct Node {
    options: Options,
    dice: ChaCha8Rng,
    membership: Membership,
    seat: Option<Seat>,
    origin: Origin,
    work: VecDeque<Work>,
    /// The number of the last write that was handed out, and of the last that is durable.
    writes: u64,
    saved: u64,
    outbox: Outbox,
    /// Deliveries that wait for the batch with JavaScript to be answered. Bounded: roles and warnings come at the pace
    /// of elections and HELLOs, settlements are no more than performs that the façade admitted.
    news: Vec<Delivery>,
    /// A batch is with JavaScript, and with it everything up to this index.
    delivering: Option<u64>,
    /// JavaScript holds the initial state, and nothing was reduced.
    is_pristine: bool,
    /// JavaScript was not told yet that its state may be read.
    is_replaying: bool,
    /// The state contains what was committed when this node got its seat or came back to it.
    is_caught_up: bool,
    /// What the application asked of the cluster, and under which numbers it was put to leaders.
    asks: Vec<Asking>,
    attempts: u64,
    transfers: u64,
    /// What this node, leading, answered itself.
    own_answers: Vec<(u64, ReadAt)>,
    /// A snapshot that arrives.
    reception: Option<Reception>,
    loss: Loss,
    /// What this node had in the cluster whose successor it waits for: kept until it is let in, taken back if it is not.
    former: Option<Seat>,
    waking: Waking,
    overdue: Overdue,
    tidings: Tidings,
    ticks: u64,
    channel: ChannelState,
    /// The channel says that there may be a cluster that this node does not hear.
    cluster_was_found: bool,
    /// The starts of this directory; none if it keeps nothing.
    starts: Option<OwnStarts>,
    reported_starts: BTreeSet<Start>,
    reported_versions: BTreeSet<u8>,
    /// Differences between applications that this node has warned of.
    reported_applications: BTreeSet<(Arc<str>, Arc<str>, Arc<str>)>,
    closing: Option<Closing>,
    is_stopped: bool,
}

impl Node {
    /// A node that starts; `recovered` is what its storage kept over a restart.
    pub fn new(options: Options, recovered: Option<Recovered>) -> Self {
        let mut dice = ChaCha8Rng::from_seed(options.seed);
        let mut seed = [0; 32];
        dice.fill_bytes(&mut seed);
        let inner = ChaCha8Rng::from_seed(seed);
        let start = recovered.as_ref().map_or(1, |recovered| recovered.start);
        let membership = match &recovered {
            Some(recovered) => Membership::recovered(&options, inner, recovered.seat),
            None => Membership::new(&options, inner),
        };
        let mut node = Self {
            origin: Origin::new(start, options.heartbeat_ticks),
            is_replaying: options.is_durable,
            options,
            dice,
            membership,
            seat: None,
            work: VecDeque::new(),
            writes: 0,
            saved: 0,
            outbox: Outbox::default(),
            news: Vec::new(),
            delivering: None,
            is_pristine: true,
            is_caught_up: false,
            asks: Vec::new(),
            // No number of a former start comes again: its answer may still be on the way.
            attempts: start << STARTS_SHIFT,
            transfers: start << STARTS_SHIFT,
            own_answers: Vec::new(),
            reception: None,
            loss: Loss::default(),
            former: None,
            waking: Waking::default(),
            overdue: Overdue::default(),
            tidings: Tidings::default(),
            ticks: 0,
            cluster_was_found: false,
            channel: ChannelState::Healthy,
            starts: None,
            reported_starts: BTreeSet::new(),
            reported_versions: BTreeSet::new(),
            reported_applications: BTreeSet::new(),
            closing: None,
            is_stopped: false,
        };
        if node.options.is_durable {
            let first = || vec![Start { number: start, nonce: node.options.nonce }];
            let starts = recovered.as_ref().map_or_else(first, |recovered| recovered.starts.clone());
            let last_index = recovered.as_ref().map_or(0, Recovered::last_index);
            node.starts = Some(OwnStarts::new(starts, last_index));
        }
        if let Some(recovered) = recovered {
            node.return_to_seat(recovered);
        }
        node.obey_membership();
        node
    }

    fn return_to_seat(&mut self, recovered: Recovered) {
        let Some(seat) = Seat::recover(recovered, &self.options, &mut self.dice) else {
            let cause = "its snapshot is not one of this version".into();
            let advice = "Move it away to start as a new member: the other nodes hold the data";
            return self.fail(Error::StorageDamaged { path: String::new(), cause, advice });
        };
        let record = seat.group.log().snapshot();
        let index = record.position.index;
        let state = super::snapshot::Snapshot::decode(&record.image).and_then(|snapshot| snapshot.state);
        self.membership.resized(seat.registry.cluster_size());
        self.membership.renamed(seat.cluster, seat.lineage().0);
        self.seat = Some(seat);
        self.restore(index, state);
        self.begin_catch_up();
    }

    pub fn handle(&mut self, input: Input) {
        if self.is_stopped {
            return;
        }
        match input {
            Input::Tick => self.tick(),
            Input::Frame(bytes) => self.receive(&bytes),
            Input::Perform(performs) => self.perform(performs),
            Input::Abandon(sequences) => {
                for sequence in sequences {
                    self.origin.end(sequence);
                }
            }
            Input::Answered(answered) => self.answered(answered),
            Input::Progressed { index } => self.progressed(index),
            Input::TurnOver => self.tell_tidings(),
            Input::SnapshotTaken(taken) => self.snapshot_taken(taken),
            Input::Hashed(hashed) => self.hashed(hashed),
            Input::ReducerFailed { index, why } => self.fence(index, why),
            Input::Ask { ticket, ask: Ask::Recover, ticks } => self.ask_recover(ticket, ticks),
            Input::Ask { ticket, ask, ticks } => self.ask(ticket, ask, ticks),
            Input::Persisted(number) => self.persisted(number),
            Input::StorageFailed(error) => self.fail(error),
            Input::ClusterFound(is_found) => self.cluster_was_found = is_found,
            Input::Noted(bytes) => self.membership.noted(&bytes),
            Input::Channel(state) => self.channel_changed(state),
            Input::Close { ticks, leaves } => self.close(ticks, leaves),
        }
        self.obey_membership();
    }

    /// The next piece of work; the driver asks until there is none.
    pub fn poll(&mut self) -> Option<Work> {
        loop {
            if let Some(work) = self.work.pop_front() {
                return Some(work);
            }
            if self.is_stopped || !self.advance() {
                return None;
            }
        }
    }

    /// This node leads a cluster that has committed: newcomers are to join it.
    pub fn keeps_cluster(&self) -> bool {
        self.seat.as_ref().is_some_and(|seat| seat.group.is_leader() && seat.group.has_seen_commit())
    }

    pub fn may_found(&self) -> bool {
        *self.membership.phase() == Phase::Seeking
    }

    /// The members of this node's cluster, for the channel to keep beyond the cluster's end.
    pub fn note(&self) -> Option<Bytes> {
        self.seat.as_ref().filter(|seat| seat.group.has_seen_commit()).map(|seat| seat.note.clone())
    }

    /// Gives up: every perform ends with this error, and the node stops.
    pub fn fail(&mut self, error: Error) {
        let pending = self.origin.end_where(|_| true);
        self.settle_failed(pending, &error);
        self.fail_asks(&error);
        self.stop(Some(error));
    }

    fn tick(&mut self) {
        self.ticks += 1;
        self.tell_tidings();
        let facts = self.facts();
        self.membership.tick(&facts);
        self.obey_membership();
        if let Some(seat) = &mut self.seat {
            if !seat.is_bound() {
                seat.group.tick();
            }
            if facts.channel_is_healthy {
                seat.now += 1;
                seat.doubt_leader(self.options.election_timeout_ticks_max);
                self.tick_loss();
            }
        }
        if let Some(requests) = self.origin.tick() {
            self.send_requests(requests);
        }
        self.tick_transfers();
        self.tick_fence();
        self.tick_waking();
        self.tick_overdue();
        self.tick_asks();
        self.tick_closing();
        self.steward();
        self.tell_silence();
        self.check_own_start();
        self.propose_check();
        self.tick_care();
    }

    fn perform(&mut self, performs: Vec<Perform>) {
        for perform in performs {
            if !self.refuse_while_fenced(perform.sequence) {
                self.origin.add(perform);
            }
        }
    }

    fn channel_changed(&mut self, state: ChannelState) {
        let former = std::mem::replace(&mut self.channel, state);
        match (&self.channel, former) {
            (ChannelState::Broken { cause }, ChannelState::Broken { cause: former }) => {
                if *cause != former {
                    let cause = cause.clone();
                    self.warn(Warning::ChannelStillBroken { cause });
                }
            }
            (ChannelState::Broken { cause }, ChannelState::Healthy | ChannelState::Connecting) => {
                let cause = cause.clone();
                self.warn(Warning::ChannelBroken { cause });
            }
            (ChannelState::Healthy, ChannelState::Broken { .. }) => self.warn(Warning::ChannelRestored),
            (ChannelState::Healthy | ChannelState::Connecting, _) => {}
        }
    }

    fn obey_membership(&mut self) {
        while let Some(event) = self.membership.poll() {
            match event {
                Event::Join(incarnation) => {
                    self.outbox.clear();
                    self.work.push_back(Work::Join(incarnation));
                }
                Event::Send(target, message) => self.outbox.push(target, message),
                Event::Founded { roster, campaign } => {
                    let me = self.membership.me();
                    let (seat, write) = Seat::found(&roster, campaign, me, &self.options, &mut self.dice);
                    self.seat = Some(seat);
                    self.persist(write);
                    self.begin_catch_up();
                }
                Event::Renewed { why } => {
                    self.warn(Warning::StartingOver { why });
                    drop(self.leave_seat());
                }
                Event::Superseded { by, successor, kept } => self.supersede(by, successor, kept),
                Event::GaveWay { former } => self.give_way(former),
                Event::Returned => self.take_seat_back(),
                Event::Warn(warning) => self.warn(warning),
                Event::Fail(error) => self.fail(error),
            }
        }
    }

    /// This node is a new incarnation: to Raft its former one has crashed. What it had sent to a leader may yet be
    /// committed by the others.
    fn leave_seat(&mut self) -> Option<Seat> {
        (self.reception, self.loss, self.tidings) = (None, Loss::default(), Tidings::default());
        let seat = self.seat.take();
        if seat.as_ref().is_some_and(|seat| seat.told.2.is_some()) {
            self.news.push(Delivery::Role { role: Role::Follower, term: 0, leader: None });
        }
        // Of the batch with JavaScript, nothing counts in another cluster.
        self.delivering = self.delivering.map(|_| 0);
        self.fall_behind();
        self.end_dispatched();
        seat
    }

    /// Nobody that a perform was sent to will say what became of it.
    fn end_dispatched(&mut self) {
        let dispatched = self.origin.end_where(Pending::was_dispatched);
        self.settle_failed(dispatched, &Error::Removed);
        self.origin.follow(0);
    }

    /// Writes up to this number are durable.
    fn persisted(&mut self, number: u64) {
        self.saved = self.saved.max(number);
        self.overdue.answered();
        if let Some(former) = &mut self.former {
            former.group.persisted(number);
        }
        if let Some(seat) = &mut self.seat {
            seat.group.persisted(number);
            self.keep_promise(number);
            self.finish_founding(number);
        }
    }

    /// JavaScript is done with a batch: what it delivered is applied, and its answers are proposed.
    fn answered(&mut self, answered: Answered) {
        let Answered { answers, micros } = answered;
        let delivered = self.delivering.take();
        self.woke();
        let Some(seat) = &mut self.seat else { return };
        seat.reduced(delivered.unwrap_or(0).min(seat.delivered_index));
        let last_index = seat.group.last_index();
        let is_mixed = seat.versions.values().any(|version| *version != self.options.version);
        let answers = match &mut seat.leadership {
            Some(leadership) if is_mixed => leadership.stall(answers, last_index),
            Some(_) | None => Some(answers),
        };
        let Some(answers) = answers else {
            return self.news.push(Delivery::ResetProvisional);
        };
        let sorted = seat.leadership.as_mut().and_then(|leadership| leadership.sort(answers, micros));
        let Some(mut sorted) = sorted else { return };
        // What was evaluated on a state that lacks a committed action is not even told.
        let is_fenced = seat.fence.is_fenced();
        let is_void = is_fenced || sorted.origins().any(|origin| seat.goes(origin));
        let Some(leadership) = &mut seat.leadership else { return };
        let entries = std::mem::take(&mut sorted.entries);
        #[cfg(test)]
        if is_back(Bug::AcknowledgesBeforeCommit) {
            let me = self.membership.me().raft_id();
            self.news.extend(bugs::acknowledged_early(&entries, me, &mut self.origin));
        }
        let actions: Vec<bool> = entries.iter().map(|(_, data)| !data.is_empty()).collect();
        if actions.is_empty() && !is_fenced {
            if sorted.has_outcomes() {
                let round = seat.group.confirm_leadership();
                leadership.observed(sorted, seat.group.last_index(), round);
            }
        } else if !is_void && seat.group.propose(entries).is_ok() {
            leadership.appended(sorted, &actions, seat.group.last_index());
        } else {
            leadership.dropped(sorted, seat.group.last_index());
            self.news.push(Delivery::ResetProvisional);
        }
    }

    /// JavaScript works on the batch that it has: it is not blocked, however long that takes.
    fn progressed(&mut self, index: u64) {
        let Some(until) = self.delivering else { return };
        self.waking.progressed();
        if let Some(seat) = &mut self.seat {
            seat.reduced(index.min(until).min(seat.delivered_index));
        }
    }

    /// Does what has become possible; false if nothing had.
    fn advance(&mut self) -> bool {
        self.observe_role();
        self.put_asks();
        let storage = self.storage();
        if let Some(seat) = self.seat.as_mut().filter(|seat| seat.founding.is_none())
            && let Some(write) = seat.group.advance(self.writes + 1, storage)
        {
            self.persist(write);
            return true;
        }
        if self.found_anew() {
            return true;
        }
        // raft-rs may have changed role while its work was taken.
        self.observe_role();
        self.follow_installed();
        if let Some(seat) = &mut self.seat {
            seat.refresh_members(self.membership.me().raft_id());
        }
        self.tell_outcomes();
        while let Some(requests) = self.origin.dispatch() {
            self.send_requests(requests);
        }
        self.finish_asks();
        self.deliver();
        self.carry_on_transfers();
        self.tell_dismissed();
        self.notice_removal();
        self.carry_on_closing();
        self.obey_membership();
        self.flush();
        !self.work.is_empty()
    }

    /// Follows raft-rs's role, term and leader: leadership begins and ends here, and JavaScript is told.
    fn observe_role(&mut self) {
        let me = self.membership.me().raft_id();
        let Some(seat) = &mut self.seat else { return };
        // A newcomer may hear its leader before the log tells who that is.
        let leader = seat.leader().filter(|leader| *leader == me || seat.registry.id(*leader).is_some());
        let now = (seat.group.role(), seat.group.term(), leader);
        if now == seat.told {
            return;
        }
        if let Some(former) = seat.told.2.filter(|former| Some(*former) != leader && *former != me) {
            seat.note_end_of(former);
        }
        seat.told = now;
        let (role, term, leader) = now;
        let is_leading = seat.leadership.as_ref().is_some_and(|leadership| leadership.term() == term);
        #[cfg(test)]
        let stale = seat
            .leadership
            .take_if(|_| (role != Role::Leader || !is_leading) && is_back(Bug::ProposesStaleEvaluation));
        if role != Role::Leader {
            (seat.leadership, seat.care) = (None, None);
            self.tidings = Tidings::default();
        } else if !is_leading {
            (seat.leadership, seat.care) = (Some(Leadership::new(term)), Some(Care::new(seat.now)));
        }
        #[cfg(test)]
        if let Some(stale) = stale {
            seat.leadership = Some(stale.goes_on_in(term));
        }
        if leader.is_some() {
            self.origin.follow(term);
            self.outbox.push(Target::All, self.closing_word().unwrap_or_else(|| self.about(false)));
        }
        let Some(seat) = &mut self.seat else { return };
        let leader = seat.leader_id();
        self.news.push(Delivery::Role { role, term, leader });
    }

    fn stop(&mut self, error: Option<Error>) {
        if self.is_stopped {
            return;
        }
        self.is_stopped = true;
        let news = std::mem::take(&mut self.news);
        for batch in in_pages(news, deliveries::BATCH_BYTES_MAX, deliveries::payload_bytes) {
            self.work.push_back(Work::Deliver(batch));
        }
        self.flush();
        self.work.push_back(Work::Stop(error));
    }

    fn flush(&mut self) {
        let is_overdue = self.is_storage_overdue();
        if let Some(seat) = &mut self.seat {
            let election_ticks = self.options.election_timeout_ticks_max;
            let is_silent =
                seat.fence.is_silent(seat.now, election_ticks) || self.closing.is_some() || is_overdue;
            let messages = seat.group.take_messages();
            let messages = self.hold_tidings(messages);
            let Some(seat) = &mut self.seat else { return };
            for (to, message) in messages {
                // A node that is fenced, closing, or without an answer of its storage does not campaign. A node that promised
                // its vote takes no part in elections.
                let is_campaign = message.kind == RaftKind::RequestPreVote;
                if seat.is_bound() || is_campaign && is_silent {
                    continue;
                }
                if let Some(to) = seat.incarnation(to) {
                    self.outbox.push(Target::One(to), Message::Raft(message));
                }
            }
        }
        let cluster = self.seat.as_ref().map_or(ClusterUuid::NONE, |seat| seat.cluster);
        let frames = self.outbox.seal(cluster, self.membership.me(), self.started());
        self.work.extend(frames.map(|(target, bytes)| Work::Send(target, bytes)));
    }

    fn warn(&mut self, warning: Warning) {
        self.news.push(Delivery::Warning(warning));
    }

    fn facts(&self) -> Facts {
        let group = self.seat.as_ref().map(|seat| &seat.group);
        Facts {
            is_leader: group.is_some_and(Group::is_leader),
            members_index: group.map_or(0, Group::members_index),
            has_leader: self.seat.as_ref().is_some_and(|seat| seat.leader().is_some()),
            has_seen_commit: group.is_some_and(Group::has_seen_commit),
            holds_actions: group.is_some_and(Group::holds_actions),
            holds_committed_actions: group.is_some_and(Group::holds_committed_actions),
            is_closing: self.closing.is_some(),
            cluster_was_found: self.cluster_was_found,
            channel_is_healthy: self.channel == ChannelState::Healthy,
        }
    }
}
