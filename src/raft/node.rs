//! This file is the core of one node: it joins founding, the Raft group and the requests into one state machine.
//!
//! Called by the driver alone: [`Node::handle`] with each input, then [`Node::poll`] until it gives nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use raft_rs::eraftpb::Entry;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use super::entry::Request;
use super::events::{
    Answer, ChannelState, Delivery, ErrorOutcome, Input, Perform, Role, Settlement, Target, Warning, Work,
};
use super::frame::{self, Frame, Malformed, Message, Outcome, RaftKind, Requests, Roster};
use super::group::Group;
use super::identity::{ClusterUuid, Incarnation, RaftId};
use super::membership::{Event, Facts, Membership};
use super::options::Options;
use super::outbox::Outbox;
use super::requests::{Effect, Leadership, Origin, Pending, Reply, Table};
use super::status::{Member, Status};
use crate::error::Error;

/// A delivery of committed actions is about this large at most, so that JavaScript is never blocked for long.
const BATCH_BYTES_MAX: usize = 1 << 20;
const BATCH_ENTRIES_MAX: usize = 4_096;

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

/// What a node has once its cluster is founded.
struct Seat {
    cluster: ClusterUuid,
    group: Group,
    peers: BTreeMap<RaftId, (Incarnation, Arc<str>)>,
    /// Members that said they are closing: no leadership goes to them.
    closing: BTreeSet<RaftId>,
    table: Table,
    leadership: Option<Leadership>,
    delivered_index: u64,
    applied_index: u64,
    /// What JavaScript was last told.
    told: (Role, u64, Option<RaftId>),
    /// As of the last tick, for the status.
    members: Arc<[Member]>,
}

/// How far a close has come; each phase is bounded in ticks.
struct Closing {
    ticks: u64,
    transfer_ticks: Option<u64>,
}

impl Node {
    pub fn new(options: Options) -> Self {
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
            Input::Close => self.close(),
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
        let me = self.membership.me();
        let mut status = Status {
            id: self.options.id.clone(),
            incarnation: me,
            cluster: ClusterUuid::NONE,
            role: Role::Follower,
            term: 0,
            leader: None,
            commit_index: 0,
            applied_index: 0,
            last_index: 0,
            members: Arc::from([]),
            pending: self.origin.len(),
            waiting_for: self.membership.waiting_for().map(Arc::from),
        };
        if let Some(seat) = &self.seat {
            status.cluster = seat.cluster;
            status.role = seat.group.role();
            status.term = seat.group.term();
            status.leader = seat.leader_id();
            status.commit_index = seat.group.commit_index();
            status.applied_index = seat.applied_index;
            status.last_index = seat.group.last_index();
            status.members = seat.members.clone();
            // Founding may lag by a tick behind what the group knows already.
            let is_served = status.leader.is_some() && seat.group.has_seen_commit();
            status.waiting_for = match status.waiting_for {
                _ if is_served => None,
                Some(text) => Some(text),
                None => Some("a leader to be elected".into()),
            };
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
        let me = self.membership.me().raft_id();
        if let Some(seat) = &mut self.seat {
            seat.group.tick();
            seat.members = seat.members(me);
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
                Event::Founded { roster, campaign } => self.take_seat(&roster, campaign),
                Event::Renewed { why } => self.leave_seat(why),
                Event::Warn(warning) => self.warn(warning),
                Event::Fail(error) => self.fail(error),
            }
        }
    }

    fn take_seat(&mut self, roster: &Roster, campaign: bool) {
        let me = self.membership.me().raft_id();
        let mut group = Group::found(roster, me, &self.options, &mut self.dice);
        if campaign {
            group.campaign();
        }
        let mut table = Table::default();
        let mut peers = BTreeMap::new();
        for (incarnation, id) in &roster.0 {
            table.admit(incarnation.raft_id());
            peers.insert(incarnation.raft_id(), (*incarnation, id.clone()));
        }
        let index = group.commit_index();
        self.seat = Some(Seat {
            cluster: roster.uuid(),
            group,
            peers,
            closing: BTreeSet::new(),
            table,
            leadership: None,
            delivered_index: index,
            applied_index: index,
            told: (Role::Follower, 0, None),
            members: Arc::from([]),
        });
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

    /// Tells what may be told now of requests that became no entry.
    fn tell_outcomes(&mut self) {
        let Some(seat) = &mut self.seat else { return };
        let confirmed = seat.group.take_confirmed();
        let Some(leadership) = &mut seat.leadership else { return };
        for round in confirmed {
            leadership.confirmed(round);
        }
        let told = leadership.take_outcomes(seat.group.commit_index());
        let term = leadership.term();
        self.send_outcomes(term, told);
    }

    fn send_outcomes(&mut self, term: u64, told: Vec<(RaftId, u64, Outcome)>) {
        let mut by_origin: BTreeMap<RaftId, Vec<(u64, Outcome)>> = BTreeMap::new();
        for (origin, sequence, outcome) in told {
            by_origin.entry(origin).or_default().push((sequence, outcome));
        }
        for (origin, outcomes) in by_origin {
            let peer = self.seat.as_ref().and_then(|seat| seat.peers.get(&origin)).map(|(peer, _)| *peer);
            if let Some(peer) = peer {
                self.reply(peer, term, vec![Reply::Outcomes(outcomes)]);
            }
        }
    }

    fn reply(&mut self, to: Incarnation, term: u64, replies: Vec<Reply>) {
        let is_me = to == self.membership.me();
        for reply in replies {
            match reply {
                Reply::Outcomes(outcomes) if is_me => {
                    for (sequence, outcome) in outcomes {
                        self.settle_told(term, sequence, outcome);
                    }
                }
                Reply::Outcomes(outcomes) => {
                    self.outbox.push(Target::One(to), Message::Outcomes { term, outcomes });
                }
                Reply::Received(sequence) if is_me => self.origin.received(term, sequence),
                Reply::Received(sequence) => {
                    self.outbox.push(Target::One(to), Message::Received { term, sequence });
                }
            }
        }
    }

    fn send_requests(&mut self, requests: Requests) {
        let me = self.membership.me();
        let Some(seat) = &mut self.seat else { return };
        let Some(leader) = seat.group.leader() else { return };
        if requests.term != seat.group.term() {
            return;
        }
        if leader == me.raft_id() {
            let Some(leadership) = &mut seat.leadership else { return };
            let term = leadership.term();
            let replies = leadership.receive(leader, requests, &seat.table);
            self.reply(me, term, replies);
        } else if let Some((leader, _)) = seat.peers.get(&leader) {
            self.outbox.push(Target::One(*leader), Message::Requests(requests));
        }
    }

    /// The leader of `term` told an outcome. It counts only if that is the leader the perform was last sent to: an
    /// earlier one may have been deposed before it answered.
    fn settle_told(&mut self, term: u64, sequence: u64, outcome: Outcome) {
        if self.origin.awaits(sequence, Some(term)) {
            self.settle_observed(sequence, outcome);
        }
    }

    fn settle_observed(&mut self, sequence: u64, outcome: Outcome) {
        if self.origin.end(sequence).is_some() {
            let settlement = match outcome {
                Outcome::Nothing => Settlement::Nothing,
                Outcome::Refused(error) => Settlement::Refused(error),
            };
            self.news.push(Delivery::Settled { sequence, settlement });
        }
    }

    fn settle_failed(&mut self, pending: Vec<Pending>, error: &Error) {
        for pending in pending {
            let outcome =
                if pending.was_dispatched() { ErrorOutcome::Unknown } else { ErrorOutcome::NotApplied };
            let settlement = Settlement::Failed { error: error.clone(), outcome };
            self.news.push(Delivery::Settled { sequence: pending.sequence, settlement });
        }
    }

    /// Hands JavaScript the next batch, if the last one is answered: news, then committed actions, then, only if no
    /// committed action is left to see first, what it is to evaluate.
    fn deliver(&mut self) {
        if self.is_delivering {
            return;
        }
        let mut batch = std::mem::take(&mut self.news);
        self.apply_committed(&mut batch);
        self.evaluate(&mut batch);
        batch.append(&mut self.news);
        if batch.is_empty() {
            if let Some(seat) = &mut self.seat
                && seat.applied_index < seat.delivered_index
            {
                // Only the starts of terms: nothing that JavaScript must see.
                seat.applied_index = seat.delivered_index;
                seat.group.applied(seat.applied_index);
            }
            return;
        }
        self.is_delivering = true;
        self.work.push_back(Work::Deliver(batch));
    }

    fn apply_committed(&mut self, batch: &mut Vec<Delivery>) {
        let (mut bytes, mut entries) = (0, 0);
        while bytes < BATCH_BYTES_MAX && entries < BATCH_ENTRIES_MAX {
            let Some(entry) = self.seat.as_mut().and_then(|seat| seat.group.next_committed()) else { return };
            bytes += entry.data.len();
            entries += 1;
            self.apply(entry, batch);
        }
    }

    /// Applies one committed entry. What it changes is decided here, by the log alone, so that every node decides alike.
    fn apply(&mut self, entry: Entry, batch: &mut Vec<Delivery>) {
        let me = self.membership.me().raft_id();
        let Some(seat) = &mut self.seat else { return };
        assert!(
            entry.index == seat.delivered_index + 1,
            "applying index {} after {}",
            entry.index,
            seat.delivered_index
        );
        seat.delivered_index = entry.index;
        if entry.data.is_empty() {
            if let Some(leadership) =
                seat.leadership.as_mut().filter(|leadership| leadership.term() == entry.term)
            {
                leadership.open();
            }
            return;
        }
        let is_provisional =
            seat.leadership.as_mut().is_some_and(|leadership| leadership.takes_provisional(entry.index));
        let request = Request::decode(&entry.context);
        let effect = request.as_ref().map_or(Effect::Ignored, |request| seat.table.apply(request));
        match (effect, request) {
            (Effect::Applied, Some(request)) => {
                let is_ours = request.id.origin == me && request.id.start == self.origin.start();
                let own = Some(request.id.sequence)
                    .filter(|sequence| is_ours && self.origin.end(*sequence).is_some());
                if is_ours {
                    for (sequence, outcome) in request.observed {
                        self.settle_observed(sequence, outcome);
                    }
                }
                batch.push(Delivery::Committed {
                    index: entry.index,
                    own,
                    is_provisional,
                    action: entry.data,
                });
            }
            (Effect::Applied | Effect::Ignored, _) => {
                if is_provisional && let Some(leadership) = &mut seat.leadership {
                    // JavaScript's provisional states rest on an action that changes nothing.
                    leadership.drop_provisional(seat.group.last_index());
                    batch.push(Delivery::ResetProvisional);
                }
            }
        }
    }

    fn evaluate(&mut self, batch: &mut Vec<Delivery>) {
        let Some(seat) = &mut self.seat else { return };
        if seat.group.has_committed() || !seat.group.accepts_proposals() {
            return;
        }
        let Some(leadership) = &mut seat.leadership else { return };
        let term = leadership.term();
        let (evaluations, told) = leadership.take_evaluations(seat.delivered_index, &seat.table);
        batch.extend(
            evaluations
                .into_iter()
                .map(|evaluation| Delivery::Evaluate { method: evaluation.method, args: evaluation.args }),
        );
        self.send_outcomes(term, told);
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

impl Seat {
    fn leader_id(&self) -> Option<Arc<str>> {
        let leader = self.group.leader()?;
        self.peers.get(&leader).map(|(_, id)| id.clone())
    }

    fn members(&self, me: RaftId) -> Arc<[Member]> {
        let leader = self.group.leader();
        let mut members: Vec<Member> = self
            .peers
            .iter()
            .map(|(raft_id, (incarnation, id))| Member {
                id: id.clone(),
                incarnation: *incarnation,
                is_voter: true,
                is_active: *raft_id == me || Some(*raft_id) == leader || self.group.is_active(*raft_id),
            })
            .collect();
        members.sort_by(|a, b| a.id.cmp(&b.id));
        members.into()
    }
}
