//! This file is the core of one node: it joins founding, the Raft group and the requests into one state machine.
//!
//! Called by the driver alone: [`Node::handle`] with each input, then [`Node::poll`] until it gives nothing.

mod deliveries;
mod outcomes;
mod seat;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use super::events::{Answer, ChannelState, Delivery, Input, Perform, Recovered, Role, Target, Warning, Work};
use super::frame::{self, Frame, Malformed, Message, RaftKind};
use super::group::Group;
use super::identity::{ClusterUuid, Incarnation};
use super::membership::{Event, Facts, Membership};
use super::options::Options;
use super::outbox::Outbox;
use super::requests::{Leadership, Origin, Pending};
use super::status::Status;
use crate::error::Error;
use seat::Seat;

/// One node.
///
/// Invariants:
/// - at most one batch is with JavaScript; what happens meanwhile waits here;
/// - `applied_index <= delivered_index <= commit index`, and none ever falls within one cluster;
/// - after `Work::Stop` there is no work.
pub struct Node {
    options: Options,
    dice: ChaCha8Rng,
    membership: Membership,
    seat: Option<Seat>,
    origin: Origin,
    work: VecDeque<Work>,
    outbox: Outbox,
    /// Deliveries that wait for the batch with JavaScript to be answered. Bounded: roles and warnings come at the pace
    /// of elections and HELLOs, settlements are no more than performs that the façade admitted.
    news: Vec<Delivery>,
    is_delivering: bool,
    channel: ChannelState,
    reported_versions: BTreeSet<u8>,
    closing: Option<Closing>,
    is_stopped: bool,
}

/// How far a close has come; each phase is bounded in ticks.
struct Closing {
    ticks: u64,
    transfer_ticks: Option<u64>,
}

impl Node {
    pub fn new(options: Options, _recovered: Option<Recovered>) -> Self {
        let mut dice = ChaCha8Rng::from_seed(options.seed);
        let mut seed = [0; 32];
        dice.fill_bytes(&mut seed);
        let membership = Membership::new(&options, ChaCha8Rng::from_seed(seed));
        let origin = Origin::new(1, options.heartbeat_ticks);
        let mut node = Self {
            options,
            dice,
            membership,
            seat: None,
            origin,
            work: VecDeque::new(),
            outbox: Outbox::default(),
            news: Vec::new(),
            is_delivering: false,
            channel: ChannelState::Healthy,
            reported_versions: BTreeSet::new(),
            closing: None,
            is_stopped: false,
        };
        node.obey_membership();
        node
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
            Input::Answered(answers) => self.answered(answers),
            Input::Persisted(number) => {
                if let Some(seat) = &mut self.seat {
                    seat.group.persisted(number);
                }
            }
            Input::Channel(state) => self.channel_changed(state),
            Input::StorageFailed(error) => self.fail(error),
            Input::SnapshotTaken(_) | Input::Hashed(_) | Input::ReducerFailed { .. } | Input::Ask { .. } => {}
            Input::Close { .. } => self.close(),
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

    pub fn status(&self) -> Status {
        let mut status = Status {
            id: self.options.id.clone(),
            incarnation: self.membership.me(),
            cluster: ClusterUuid::NONE,
            role: Role::Follower,
            term: 0,
            leader: None,
            commit_index: 0,
            applied_index: 0,
            last_index: 0,
            members: Arc::from([]),
            cluster_size: self.options.cluster_size,
            snapshot_index: 0,
            fenced: None,
            missing: Arc::from([]),
            pending: self.origin.len(),
            waiting_for: self.membership.waiting_for().map(Arc::from),
        };
        if let Some(seat) = &self.seat {
            seat.describe(&mut status);
        }
        status
    }

    /// Gives up: every perform ends with this error, and the node stops.
    pub fn fail(&mut self, error: Error) {
        let pending = self.origin.end_where(|_| true);
        self.settle_failed(pending, &error);
        self.stop(Some(error));
    }

    fn tick(&mut self) {
        let facts = self.facts();
        self.membership.tick(&facts);
        if let Some(seat) = &mut self.seat {
            seat.group.tick();
        }
        if let Some(requests) = self.origin.tick() {
            self.send_requests(requests);
        }
        if let Some(closing) = &mut self.closing {
            closing.ticks += 1;
        }
    }

    fn perform(&mut self, performs: Vec<Perform>) {
        for perform in performs {
            self.origin.add(perform);
        }
    }

    fn channel_changed(&mut self, state: ChannelState) {
        let former = std::mem::replace(&mut self.channel, state);
        match (&self.channel, former) {
            (ChannelState::Broken { cause }, _) => {
                let cause = cause.clone();
                self.warn(Warning::ChannelBroken { cause });
            }
            (ChannelState::Healthy, ChannelState::Broken { .. }) => self.warn(Warning::ChannelRestored),
            (ChannelState::Healthy | ChannelState::Connecting, _) => {}
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        let frame = match Frame::decode(bytes) {
            Ok(frame) => frame,
            Err(Malformed::NoFrame) => return,
            Err(Malformed::OtherVersion(theirs)) => {
                if self.reported_versions.insert(theirs) {
                    self.warn(Warning::OtherVersion { theirs, ours: frame::VERSION });
                }
                return;
            }
        };
        let me = self.membership.me();
        if frame.from == me || frame.to.is_some_and(|to| to != me) {
            return;
        }
        let facts = self.facts();
        self.membership.hear_frame(frame.from, frame.cluster, &facts);
        self.obey_membership();
        for message in frame.messages {
            // What was heard may have made this node another incarnation, to whom the rest was not said.
            if self.is_stopped || self.membership.me() != me {
                return;
            }
            match message {
                Message::Hello { .. } | Message::Accept(_) | Message::Here(_) | Message::Taken { .. } => {
                    let facts = self.facts();
                    self.membership.hear(frame.from, &message, &facts);
                    self.obey_membership();
                }
                Message::Closing
                | Message::Raft(_)
                | Message::Requests(_)
                | Message::Outcomes { .. }
                | Message::Received { .. } => self.hear_member(frame.from, frame.cluster, message),
            }
        }
    }

    /// A message that means something only within our own cluster.
    fn hear_member(&mut self, from: Incarnation, cluster: ClusterUuid, message: Message) {
        let Some(seat) = self.seat.as_mut().filter(|seat| seat.cluster == cluster) else { return };
        let peer = from.raft_id();
        // Every member is a founder, and a raft id belongs to one incarnation only.
        if seat.peers.get(&peer).is_none_or(|(incarnation, _)| *incarnation != from) {
            return;
        }
        match message {
            Message::Closing => {
                seat.closing.insert(peer);
            }
            Message::Raft(raft) => {
                // A closing node takes no leadership.
                if raft.kind != RaftKind::TimeoutNow || self.closing.is_none() {
                    seat.group.step(peer, raft);
                }
            }
            Message::Requests(requests) => {
                if let Some(leadership) = &mut seat.leadership {
                    let term = leadership.term();
                    let replies = leadership.receive(peer, requests, &seat.table);
                    self.reply(from, term, replies);
                }
            }
            Message::Outcomes { term, outcomes } => {
                for (sequence, outcome) in outcomes {
                    self.settle_told(term, sequence, outcome);
                }
            }
            Message::Received { term, sequence } => self.origin.received(term, sequence),
            Message::Hello { .. } | Message::Accept(_) | Message::Here(_) | Message::Taken { .. } => {}
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
                    let me = self.membership.me().raft_id();
                    self.seat = Some(Seat::found(&roster, campaign, me, &self.options, &mut self.dice));
                }
                Event::Renewed { why } => self.leave_seat(why),
                Event::Warn(warning) => self.warn(warning),
                Event::Fail(error) => self.fail(error),
            }
        }
    }

    /// This node is a new incarnation: to Raft its former one has crashed. Its log held no action, so nothing that was
    /// acknowledged goes with it; but what it had sent to a leader may yet be committed by the others.
    fn leave_seat(&mut self, why: String) {
        self.warn(Warning::StartingOver { why });
        if self.seat.take().is_some_and(|seat| seat.told.2.is_some()) {
            self.news.push(Delivery::Role { role: Role::Follower, term: 0, leader: None });
        }
        let dispatched = self.origin.end_where(Pending::was_dispatched);
        self.settle_failed(dispatched, &Error::Removed);
        self.origin.follow(0);
    }

    fn close(&mut self) {
        if self.closing.is_none() {
            self.closing = Some(Closing { ticks: 0, transfer_ticks: None });
            if self.seat.is_some() {
                self.outbox.push(Target::All, Message::Closing);
            }
        }
    }

    /// JavaScript is done with a batch: what it delivered is applied, and its answers are proposed.
    fn answered(&mut self, answers: Vec<Answer>) {
        self.is_delivering = false;
        let Some(seat) = &mut self.seat else { return };
        seat.applied_index = seat.delivered_index;
        seat.group.applied(seat.applied_index);
        let Some(leadership) = &mut seat.leadership else { return };
        let Some(mut sorted) = leadership.sort(answers) else { return };
        let entries = std::mem::take(&mut sorted.entries);
        let count = entries.len() as u64;
        if count == 0 {
            if sorted.has_outcomes() {
                let round = seat.group.confirm_leadership();
                leadership.observed(sorted, seat.group.last_index(), round);
            }
        } else if seat.group.propose(entries).is_ok() {
            leadership.appended(sorted, count, seat.group.last_index());
        } else {
            leadership.dropped(sorted, seat.group.last_index());
            self.news.push(Delivery::ResetProvisional);
        }
    }

    /// Does what has become possible; false if nothing had.
    fn advance(&mut self) -> bool {
        self.observe_role();
        if let Some(seat) = &mut self.seat
            && let Some((number, write)) = seat.group.advance()
        {
            self.work.push_back(Work::Persist(number, write));
            return true;
        }
        // raft-rs may have changed role while its work was taken.
        self.observe_role();
        if let Some(seat) = &mut self.seat {
            seat.refresh_members(self.membership.me().raft_id());
        }
        self.tell_outcomes();
        while let Some(requests) = self.origin.dispatch() {
            self.send_requests(requests);
        }
        self.deliver();
        self.carry_on_closing();
        self.flush();
        !self.work.is_empty()
    }

    /// Follows raft-rs's role, term and leader: leadership begins and ends here, and JavaScript is told.
    fn observe_role(&mut self) {
        let Some(seat) = &mut self.seat else { return };
        let now = (seat.group.role(), seat.group.term(), seat.group.leader());
        if now == seat.told {
            return;
        }
        seat.told = now;
        let (role, term, leader) = now;
        let is_leading = seat.leadership.as_ref().is_some_and(|leadership| leadership.term() == term);
        if role != Role::Leader {
            seat.leadership = None;
        } else if !is_leading {
            seat.leadership = Some(Leadership::new(term));
        }
        if leader.is_some() {
            self.origin.follow(term);
        }
        let leader = seat.leader_id();
        self.news.push(Delivery::Role { role, term, leader });
    }

    /// A close goes through three phases: own performs end, leadership goes to another, the node stops.
    fn carry_on_closing(&mut self) {
        let Some(closing) = &mut self.closing else { return };
        let patience_ticks = self.options.election_timeout_ticks_max;
        let has_leader = self.seat.as_ref().is_some_and(|seat| seat.group.leader().is_some());
        if !self.origin.is_empty() && has_leader && closing.ticks < 2 * patience_ticks {
            return;
        }
        if let Some(seat) = self.seat.as_mut().filter(|seat| seat.group.is_leader()) {
            let waited_since = *closing.transfer_ticks.get_or_insert(closing.ticks);
            let heir = seat.group.most_advanced(|id| !seat.closing.contains(&id));
            if let Some(heir) = heir
                && closing.ticks < waited_since + patience_ticks
            {
                seat.group.transfer_leadership(heir);
                return;
            }
        }
        let pending = self.origin.end_where(|_| true);
        self.settle_failed(pending, &Error::Closed);
        self.stop(None);
    }

    fn stop(&mut self, error: Option<Error>) {
        if self.is_stopped {
            return;
        }
        self.is_stopped = true;
        let news = std::mem::take(&mut self.news);
        if !news.is_empty() {
            self.work.push_back(Work::Deliver(news));
        }
        self.flush();
        self.work.push_back(Work::Stop(error));
    }

    fn flush(&mut self) {
        if let Some(seat) = &mut self.seat {
            for (to, message) in seat.group.take_messages() {
                if let Some((to, _)) = seat.peers.get(&to) {
                    self.outbox.push(Target::One(*to), Message::Raft(message));
                }
            }
        }
        let cluster = self.seat.as_ref().map_or(ClusterUuid::NONE, |seat| seat.cluster);
        let frames = self.outbox.seal(cluster, self.membership.me());
        self.work.extend(frames.map(|(target, bytes)| Work::Send(target, bytes)));
    }

    fn warn(&mut self, warning: Warning) {
        self.news.push(Delivery::Warning(warning));
    }

    fn facts(&self) -> Facts {
        let group = self.seat.as_ref().map(|seat| &seat.group);
        Facts {
            is_leader: group.is_some_and(Group::is_leader),
            has_leader: group.is_some_and(|group| group.leader().is_some()),
            has_seen_commit: group.is_some_and(Group::has_seen_commit),
            holds_actions: group.is_some_and(Group::holds_actions),
            holds_committed_actions: group.is_some_and(Group::holds_committed_actions),
            channel_is_healthy: self.channel == ChannelState::Healthy,
        }
    }
}
