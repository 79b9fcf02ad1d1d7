//! This file holds what the application asks of the cluster, on any node, until it is answered: reads that are current
//! (thesis §6.4), and orders about the membership.
//!
//! Part of `node.rs`. A question goes to the leader and is asked again until it is answered; an order is done when this
//! node's own log says so. So nothing is lost with a leader.
//!
//! An order to remove or to resize is preceded by a read, and says what it rests on: the members that it means, or the
//! index up to which no other size was ordered. So it can be given again without being done twice: what has happened
//! since (a new incarnation of the id has joined, another has resized) is not undone.

use std::sync::Arc;

use super::Node;
use super::care::Read;
use super::catch_up::OWN_TICKET;
use crate::error::Error;
use crate::raft::entry::Context;
use crate::raft::events::{Ask, Delivery, Target};
use crate::raft::frame::{Message, Question, ReadAt};
use crate::raft::identity::{Incarnation, RaftId};
#[cfg(test)]
use crate::raft::testing::bugs::{Bug, is_back};

/// More reads than these do not wait for a round; they are asked again.
const READS_MAX: usize = 1 << 16;

/// What was asked and is not answered.
#[derive(Debug)]
pub(super) struct Asking {
    ticket: u64,
    ask: Ask,
    ticks: u64,
    /// Under which number it was last asked; 0: never.
    attempt: u64,
    asked_at: (u64, u64),
    /// Of a read, and of what begins with one: everything up to here was committed when it was asked.
    read_index: Option<u64>,
    /// Of what begins with a read: what is ordered.
    order: Option<Question>,
    /// Of a transfer: who led when it was asked for.
    leader: Option<RaftId>,
}

impl Asking {
    pub(super) fn new(ticket: u64, ask: Ask, ticks: u64) -> Self {
        Self { ticket, ask, ticks, attempt: 0, asked_at: (0, 0), read_index: None, order: None, leader: None }
    }

    /// What the leader is to be asked now.
    fn question(&self) -> Option<Question> {
        let is_read = self.read_index.is_some();
        match &self.ask {
            Ask::Sync => (!is_read).then_some(Question::Read),
            Ask::Remove { .. } | Ask::Resize { .. } if !is_read => Some(Question::Read),
            Ask::Remove { .. } | Ask::Resize { .. } => self.order.clone(),
            Ask::TransferLeadership { to } => Some(Question::TransferLeadership { to: to.clone() }),
            Ask::Recover => None,
        }
    }

    pub(super) fn ticket(&self) -> u64 {
        self.ticket
    }
}

impl Node {
    pub(super) fn ask(&mut self, ticket: u64, ask: Ask, ticks: u64) {
        let seat = self.seat.as_ref();
        // The state of a fenced node does not become current.
        if let Some(error) = seat.and_then(|seat| seat.fence.error()).filter(|_| ask == Ask::Sync) {
            let error = error.clone();
            return self.answer_ask(ticket, Err(error));
        }
        let leader = seat.and_then(|seat| seat.leader());
        self.asks.push(Asking { leader, ..Asking::new(ticket, ask, ticks) });
    }

    /// Whether the application waits for anything that it asked.
    pub(super) fn has_asks(&self) -> bool {
        self.asks.iter().any(|asking| asking.ticket != OWN_TICKET)
    }

    /// A tick has passed for all that is asked.
    pub(super) fn tick_asks(&mut self) {
        for asking in &mut self.asks {
            asking.ticks = asking.ticks.saturating_sub(1);
        }
        let (over, asks) = std::mem::take(&mut self.asks).into_iter().partition(|asking| asking.ticks == 0);
        self.asks = asks;
        for asking in over as Vec<Asking> {
            let waiting = self.status().waiting_for;
            let why = waiting
                .map_or("no leader answered with a majority behind it".into(), |text| text.to_string());
            self.answer_ask(asking.ticket, Err(Error::NoQuorum { what: describe(&asking.ask), why }));
        }
    }

    /// Asks what is to be asked now, for the first time or again.
    pub(super) fn put_asks(&mut self) {
        self.give_orders();
        let known = self.seat.as_ref().and_then(|seat| Some((seat.leader()?, seat.group.term())));
        let Some((leader, term)) = known else { return };
        let retry_ticks = 4 * self.options.heartbeat_ticks;
        let mut asks = std::mem::take(&mut self.asks);
        // All reads of one turn are one question.
        let mut attempt = None;
        for asking in &mut asks {
            let (asked_term, asked_tick) = asking.asked_at;
            if asking.attempt > 0 && asked_term == term && self.ticks < asked_tick + retry_ticks {
                continue;
            }
            let Some(question) = asking.question() else { continue };
            // Who is to hand over, where nobody led when the application asked.
            asking.leader.get_or_insert(leader);
            let is_read = question == Question::Read;
            let number = attempt.filter(|_| is_read).unwrap_or_else(|| {
                self.attempts += 1;
                self.put(leader, term, self.attempts, question);
                self.attempts
            });
            if is_read {
                attempt = Some(number);
            }
            (asking.attempt, asking.asked_at) = (number, (term, self.ticks));
        }
        self.asks = asks;
        self.begin_round();
    }

    /// Decides what an order means, once this node knows what was committed when it was given.
    fn give_orders(&mut self) {
        let Some(seat) = &self.seat else { return };
        let mut failed = Vec::new();
        for asking in self.asks.iter_mut().filter(|asking| asking.order.is_none()) {
            let Some(after) = asking.read_index.filter(|index| seat.delivered_index >= *index) else {
                continue;
            };
            #[cfg(test)]
            let after = if is_back(Bug::RepeatsOrders) { u64::MAX } else { after };
            asking.order = match &asking.ask {
                Ask::Remove { id } => {
                    let members: Vec<RaftId> = seat.registry.named(id).collect();
                    if members.is_empty() {
                        failed.push(asking.ticket);
                    }
                    Some(Question::Remove { members })
                }
                Ask::Resize { cluster_size } => {
                    let cluster_size = u32::try_from(*cluster_size).unwrap_or(u32::MAX);
                    Some(Question::Resize { cluster_size, after })
                }
                Ask::Sync | Ask::TransferLeadership { .. } | Ask::Recover => continue,
            };
            asking.attempt = 0;
        }
        for ticket in failed {
            self.fail_ask(ticket, ReadAt::Unknown);
        }
    }

    /// Tells the application what was answered, or has become true.
    pub(super) fn finish_asks(&mut self) {
        for (attempt, answer) in std::mem::take(&mut self.own_answers) {
            self.hear_answer(attempt, answer);
        }
        let asks = std::mem::take(&mut self.asks);
        let (done, asks) = asks.into_iter().partition(|asking| self.is_done(asking));
        self.asks = asks;
        for asking in done as Vec<Asking> {
            self.answer_ask(asking.ticket, Ok(()));
        }
    }

    fn put(&mut self, leader: RaftId, term: u64, attempt: u64, question: Question) {
        let me = self.membership.me();
        if leader == me.raft_id() {
            return self.hear_question(me, term, attempt, question);
        }
        if let Some(leader) = self.seat.as_ref().and_then(|seat| seat.incarnation(leader)) {
            self.outbox.push(Target::One(leader), Message::Ask { term, attempt, question });
        }
    }

    /// The leader hears a question.
    pub(super) fn hear_question(&mut self, from: Incarnation, term: u64, attempt: u64, question: Question) {
        let Some(seat) =
            self.seat.as_mut().filter(|seat| seat.group.is_leader() && seat.group.term() == term)
        else {
            return;
        };
        let Some(care) = &mut seat.care else { return };
        if question == Question::Read {
            if care.reads.len() < READS_MAX {
                care.reads.push_back(Read { round: 0, from, attempt, index: 0 });
            }
            return;
        }
        // Before an entry of its own term is applied, a leader does not know all that is committed.
        if !seat.leadership.as_ref().is_some_and(|leadership| leadership.is_open()) {
            return;
        }
        let answer = match question {
            Question::Read => return,
            Question::Resize { cluster_size, after } => {
                if seat.registry.cluster_size() != cluster_size as usize {
                    let resize = Context::Resize { cluster_size, after };
                    _ = seat.group.propose(vec![(resize.encode(), bytes::Bytes::new())]);
                }
                return;
            }
            Question::Remove { mut members } => {
                members.retain(|member| seat.registry.incarnation(*member).is_some());
                let is_last = |member: &RaftId| {
                    let mut voters =
                        seat.registry.members().filter(|(raft_id, ..)| seat.group.is_voter(*raft_id));
                    voters.all(|(raft_id, ..)| raft_id == *member)
                };
                if members.iter().any(is_last) {
                    Some(ReadAt::Last)
                } else {
                    care.unwanted.extend(members);
                    None
                }
            }
            Question::TransferLeadership { to: None } => {
                self.hand_over(None);
                None
            }
            Question::TransferLeadership { to: Some(id) } => {
                let members: Vec<RaftId> = seat.registry.named(&id).collect();
                let stays = |member: &RaftId| seat.group.stays_voter(*member) && !seat.is_to_go(*member);
                let voter = members.iter().copied().find(stays);
                match voter {
                    Some(voter) => {
                        self.hand_over(Some(voter));
                        None
                    }
                    None if members.is_empty() => Some(ReadAt::Unknown),
                    None => Some(ReadAt::Learner),
                }
            }
        };
        if let Some(answer) = answer {
            self.tell_answer(from, attempt, answer);
        }
    }

    /// Asks a quorum on behalf of all questions that came since the last round. Those that came before an entry of this
    /// leader's term was applied wait for that: only then does it know all that is committed (thesis §6.4).
    fn begin_round(&mut self) {
        let Some(seat) = &mut self.seat else { return };
        let is_open = seat.leadership.as_ref().is_some_and(|leadership| leadership.is_open());
        let Some(care) = seat.care.as_mut().filter(|_| is_open) else { return };
        if care.reads.back().is_some_and(|read| read.round == 0) {
            let round = seat.group.confirm_leadership();
            let index = seat.group.commit_index();
            for read in care.reads.iter_mut().filter(|read| read.round == 0) {
                (read.round, read.index) = (round, index);
            }
        }
    }

    /// Answers the questions whose round, or a later one, is confirmed.
    pub(super) fn answer_reads(&mut self, confirmed: &[u64]) {
        let Some(care) = self.seat.as_mut().and_then(|seat| seat.care.as_mut()) else { return };
        let Some(newest) = confirmed.iter().max() else { return };
        let count = care.reads.iter().take_while(|read| (1..=*newest).contains(&read.round)).count();
        for read in care.reads.drain(..count).collect::<Vec<_>>() {
            self.tell_answer(read.from, read.attempt, ReadAt::Index(read.index));
        }
    }

    fn tell_answer(&mut self, to: Incarnation, attempt: u64, answer: ReadAt) {
        if to == self.membership.me() {
            self.own_answers.push((attempt, answer));
        } else {
            self.outbox.push(Target::One(to), Message::Answer { attempt, answer });
        }
    }

    /// The leader answered.
    pub(super) fn hear_answer(&mut self, attempt: u64, answer: ReadAt) {
        let mut failed = Vec::new();
        for asking in self.asks.iter_mut().filter(|asking| asking.attempt == attempt) {
            match answer {
                ReadAt::Index(index) => asking.read_index = Some(index),
                ReadAt::Unknown | ReadAt::Learner | ReadAt::Last => failed.push(asking.ticket),
            }
        }
        for ticket in failed {
            self.fail_ask(ticket, answer.clone());
        }
    }

    /// What was asked for cannot be.
    fn fail_ask(&mut self, ticket: u64, answer: ReadAt) {
        let Some(position) = self.asks.iter().position(|asking| asking.ticket == ticket) else { return };
        let (what, id) = match self.asks.remove(position).ask {
            Ask::Remove { id } => ("removing a member", id.to_string()),
            Ask::TransferLeadership { to } => {
                ("transferring leadership", to.as_deref().unwrap_or_default().to_string())
            }
            Ask::Sync | Ask::Resize { .. } | Ask::Recover => ("", String::new()),
        };
        let error = match answer {
            ReadAt::Learner => Error::NotAVoter { id },
            ReadAt::Last => Error::LastVoter { id },
            ReadAt::Unknown | ReadAt::Index(_) => {
                let seat = self.seat.as_ref();
                let members = seat.map_or(Vec::new(), |seat| {
                    seat.registry.members().map(|(.., id)| id.to_string()).collect()
                });
                Error::UnknownMember { what, id, members }
            }
        };
        self.answer_ask(ticket, Err(error));
    }

    pub(super) fn answer_ask(&mut self, ticket: u64, result: Result<(), Error>) {
        if ticket == OWN_TICKET {
            return if result.is_ok() { self.caught_up() } else { self.fall_behind() };
        }
        self.news.push(Delivery::Asked { ticket, result });
    }

    /// This node ends: nothing will answer.
    pub(super) fn fail_asks(&mut self, error: &Error) {
        for asking in std::mem::take(&mut self.asks) {
            self.answer_ask(asking.ticket, Err(error.clone()));
        }
    }

    /// The state of this node will not become current.
    pub(super) fn fail_reads(&mut self, error: &Error) {
        let (reads, asks) =
            std::mem::take(&mut self.asks).into_iter().partition(|asking| asking.ask == Ask::Sync);
        self.asks = asks;
        for asking in reads as Vec<Asking> {
            self.answer_ask(asking.ticket, Err(error.clone()));
        }
    }

    fn is_done(&self, asking: &Asking) -> bool {
        let Some(seat) = &self.seat else { return false };
        match &asking.ask {
            // Before the replay is done, the state cannot be read.
            Ask::Sync => {
                !self.is_replaying && asking.read_index.is_some_and(|index| seat.applied_index >= index)
            }
            Ask::Resize { .. } | Ask::Remove { .. } => match &asking.order {
                Some(Question::Resize { cluster_size, after }) => {
                    seat.registry.cluster_size() == *cluster_size as usize
                        || seat.registry.is_resized_after(*after)
                }
                Some(Question::Remove { members }) => {
                    !members.iter().any(|member| seat.registry.incarnation(*member).is_some())
                }
                _ => false,
            },
            Ask::TransferLeadership { to } => {
                let leader = seat.leader();
                let is_wanted =
                    |to: &Arc<str>| leader.and_then(|leader| seat.registry.id(leader)) == Some(to);
                match to {
                    Some(to) => is_wanted(to),
                    None => leader.is_some() && asking.leader.is_some() && leader != asking.leader,
                }
            }
            // It is asked only where there is none: this is that of a recovered cluster, or of one that is whole again.
            Ask::Recover => seat.leader().is_some(),
        }
    }
}

fn describe(ask: &Ask) -> &'static str {
    match ask {
        Ask::Sync => "reading what is current",
        Ask::TransferLeadership { .. } => "transferring leadership",
        Ask::Remove { .. } => "removing a member",
        Ask::Resize { .. } => "resizing the cluster",
        Ask::Recover => "recovering the cluster",
    }
}
