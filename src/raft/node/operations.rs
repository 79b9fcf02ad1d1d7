//! The pending operations of the application, on any node, until they are answered: linearizable reads (thesis §6.4)
//! and commands about the membership.
//!
//! Part of `node.rs`. A request goes to the leader and is repeated until it is answered; a command is done when this
//! node's own log says so. Therefore a change of leader loses nothing.
//!
//! A command to remove or resize begins with a read, and names what it is based on: the members to remove, or the index
//! up to which no other size was ordered. Therefore it can be repeated without taking effect twice: later events (a new
//! incarnation of the id has joined, another command has resized) are not undone.

use std::sync::Arc;

use super::Node;
use super::leader_state::Read;
use crate::error::Error;
use crate::raft::entry::Context;
use crate::raft::events::{Delivery, Operation, Target};
use crate::raft::frame::{Message, OperationReply, OperationRequest};
use crate::raft::identity::{Incarnation, RaftId};

/// Never used by an application: the façade counts its tickets from 1.
pub(super) const OWN_TICKET: u64 = 0;
/// Reads beyond this number are dropped, and their nodes repeat them.
const READS_MAX: usize = 1 << 16;

/// When an operation was last requested of a leader.
#[derive(Clone, Copy, Debug, Default)]
struct RequestedAt {
    term: u64,
    tick: u64,
}

/// An operation that has not ended.
#[derive(Debug)]
pub(super) struct PendingOperation {
    ticket: u64,
    operation: Operation,
    ticks: u64,
    /// The number of the last request; 0: none was sent.
    request_id: u64,
    requested_at: RequestedAt,
    /// For a read, and for operations that begin with one: everything up to here was committed when it was requested.
    read_index: Option<u64>,
    /// For operations that begin with a read: the command.
    order: Option<OperationRequest>,
    /// For a leadership transfer: the leader when it was requested.
    leader: Option<RaftId>,
}

impl PendingOperation {
    pub(super) fn new(ticket: u64, operation: Operation, ticks: u64) -> Self {
        Self {
            ticket,
            operation,
            ticks,
            request_id: 0,
            requested_at: RequestedAt::default(),
            read_index: None,
            order: None,
            leader: None,
        }
    }

    /// The next request to the leader.
    fn request(&self) -> Option<OperationRequest> {
        let is_read = self.read_index.is_some();
        match &self.operation {
            Operation::Sync => (!is_read).then_some(OperationRequest::Read),
            Operation::Remove { .. } | Operation::Resize { .. } if !is_read => Some(OperationRequest::Read),
            Operation::Remove { .. } | Operation::Resize { .. } => self.order.clone(),
            Operation::TransferLeadership { to } => {
                Some(OperationRequest::TransferLeadership { to: to.clone() })
            }
            Operation::Recover => None,
        }
    }

    pub(super) fn ticket(&self) -> u64 {
        self.ticket
    }
}

impl Node {
    pub(super) fn begin_operation(&mut self, ticket: u64, operation: Operation, ticks: u64) {
        let replica = self.replica.as_ref();
        // The state of a diverged node never becomes current.
        if let Some(error) =
            replica.and_then(|replica| replica.divergence.error()).filter(|_| operation == Operation::Sync)
        {
            let error = error.clone();
            return self.end_operation(ticket, Err(error));
        }
        let leader = replica.and_then(|replica| replica.leader());
        self.operations.push(PendingOperation { leader, ..PendingOperation::new(ticket, operation, ticks) });
    }

    /// Whether an operation of the application is pending.
    pub(super) fn has_operations(&self) -> bool {
        self.operations.iter().any(|pending| pending.ticket != OWN_TICKET)
    }

    /// Ends the operations whose timeout is over.
    pub(super) fn tick_operations(&mut self) {
        for pending in &mut self.operations {
            pending.ticks = pending.ticks.saturating_sub(1);
        }
        let (over, operations) =
            std::mem::take(&mut self.operations).into_iter().partition(|pending| pending.ticks == 0);
        self.operations = operations;
        for pending in over as Vec<PendingOperation> {
            let waiting = self.status().waiting_for;
            let why = waiting.map_or("no leader with a quorum answered".into(), |text| text.to_string());
            self.end_operation(
                pending.ticket,
                Err(Error::NoQuorum { what: describe(&pending.operation), why }),
            );
        }
    }

    /// Sends the requests that are due, for the first time or again.
    pub(super) fn send_operations(&mut self) {
        self.decide_commands();
        let known = self.replica.as_ref().and_then(|replica| Some((replica.leader()?, replica.group.term())));
        let Some((leader, term)) = known else { return };
        let retry_ticks = self.timing.operation_retry();
        let mut operations = std::mem::take(&mut self.operations);
        // All reads of one turn share a request.
        let mut request_id = None;
        for pending in &mut operations {
            let RequestedAt { term: requested_term, tick } = pending.requested_at;
            if pending.request_id > 0 && requested_term == term && self.ticks < tick + retry_ticks {
                continue;
            }
            let Some(request) = pending.request() else { continue };
            // The leader that has to transfer leadership, if there was none when the application started the operation.
            pending.leader.get_or_insert(leader);
            let is_read = request == OperationRequest::Read;
            let number = request_id.filter(|_| is_read).unwrap_or_else(|| {
                self.last_request_id += 1;
                self.put(leader, term, self.last_request_id, request);
                self.last_request_id
            });
            if is_read {
                request_id = Some(number);
            }
            pending.request_id = number;
            pending.requested_at = RequestedAt { term, tick: self.ticks };
        }
        self.operations = operations;
        self.begin_round();
    }

    /// Decides the content of a command, once this node has everything that was committed when it was given.
    fn decide_commands(&mut self) {
        let Some(replica) = &self.replica else { return };
        let mut failed = Vec::new();
        for pending in self.operations.iter_mut().filter(|pending| pending.order.is_none()) {
            let Some(after) = pending.read_index.filter(|index| replica.delivered_index >= *index) else {
                continue;
            };
            injected_bug!(RepeatsOrders, after => u64::MAX);
            pending.order = match &pending.operation {
                Operation::Remove { id } => {
                    let members: Vec<RaftId> = replica.members.named(id).collect();
                    if members.is_empty() {
                        failed.push(pending.ticket);
                    }
                    Some(OperationRequest::Remove { members })
                }
                Operation::Resize { cluster_size } => {
                    let cluster_size = u32::try_from(*cluster_size).unwrap_or(u32::MAX);
                    Some(OperationRequest::Resize { cluster_size, after })
                }
                Operation::Sync | Operation::TransferLeadership { .. } | Operation::Recover => continue,
            };
            pending.request_id = 0;
        }
        for ticket in failed {
            self.fail_operation(ticket, OperationReply::UnknownMember);
        }
    }

    /// Ends the operations that were answered or have become true.
    pub(super) fn finish_operations(&mut self) {
        for (request_id, answer) in std::mem::take(&mut self.local_replies) {
            self.handle_operation_reply(request_id, answer);
        }
        let operations = std::mem::take(&mut self.operations);
        let (done, operations) = operations.into_iter().partition(|pending| self.is_done(pending));
        self.operations = operations;
        for pending in done as Vec<PendingOperation> {
            self.end_operation(pending.ticket, Ok(()));
        }
    }

    fn put(&mut self, leader: RaftId, term: u64, request_id: u64, request: OperationRequest) {
        let me = self.bootstrap.me();
        if leader == me.raft_id() {
            return self.handle_operation_request(me, term, request_id, request);
        }
        if let Some(leader) = self.replica.as_ref().and_then(|replica| replica.incarnation(leader)) {
            self.outbox.push(Target::One(leader), Message::OperationRequest { term, request_id, request });
        }
    }

    /// The leader receives a request.
    pub(super) fn handle_operation_request(
        &mut self,
        from: Incarnation,
        term: u64,
        request_id: u64,
        request: OperationRequest,
    ) {
        let Some(replica) =
            self.replica.as_mut().filter(|replica| replica.group.is_leader() && replica.group.term() == term)
        else {
            return;
        };
        let Some(leader_state) = &mut replica.leader_state else { return };
        if request == OperationRequest::Read {
            if leader_state.reads.len() < READS_MAX {
                leader_state.reads.push_back(Read { round: 0, from, request_id, index: 0 });
            }
            return;
        }
        // Before an entry of its own term is applied, a leader does not know all that is committed.
        if !leader_state.sessions.is_open() {
            return;
        }
        let answer = match request {
            OperationRequest::Read => return,
            OperationRequest::Resize { cluster_size, after } => {
                if replica.members.cluster_size() != cluster_size as usize {
                    let resize = Context::Resize { cluster_size, after };
                    _ = replica.group.propose(vec![(resize.encode(), bytes::Bytes::new())]);
                }
                return;
            }
            OperationRequest::Remove { mut members } => {
                members.retain(|member| replica.members.incarnation(*member).is_some());
                let is_last = |member: &RaftId| {
                    let mut voters =
                        replica.members.iter().filter(|(raft_id, ..)| replica.group.is_voter(*raft_id));
                    voters.all(|(raft_id, ..)| raft_id == *member)
                };
                if members.iter().any(is_last) {
                    Some(OperationReply::LastVoter)
                } else {
                    leader_state.removal_requested.extend(members);
                    None
                }
            }
            OperationRequest::TransferLeadership { to: None } => {
                self.transfer_leadership(None);
                None
            }
            OperationRequest::TransferLeadership { to: Some(id) } => {
                let members: Vec<RaftId> = replica.members.named(&id).collect();
                let stays =
                    |member: &RaftId| replica.group.stays_voter(*member) && !replica.will_be_removed(*member);
                let voter = members.iter().copied().find(stays);
                match voter {
                    Some(voter) => {
                        self.transfer_leadership(Some(voter));
                        None
                    }
                    None if members.is_empty() => Some(OperationReply::UnknownMember),
                    None => Some(OperationReply::NotAVoter),
                }
            }
        };
        if let Some(answer) = answer {
            self.send_operation_reply(from, request_id, answer);
        }
    }

    /// Asks a quorum on behalf of all questions that came since the last round. Those that came before an entry of this
    /// leader's term was applied wait for that: only then does it know all that is committed (thesis §6.4).
    fn begin_round(&mut self) {
        let Some(replica) = &mut self.replica else { return };
        let leader_state = replica.leader_state.as_mut();
        let Some(leader_state) = leader_state.filter(|leader_state| leader_state.sessions.is_open()) else {
            return;
        };
        if leader_state.reads.back().is_some_and(|read| read.round == 0) {
            let round = replica.group.confirm_leadership();
            let index = replica.group.commit_index();
            for read in leader_state.reads.iter_mut().filter(|read| read.round == 0) {
                (read.round, read.index) = (round, index);
            }
        }
    }

    /// Answers the questions whose round, or a later one, is confirmed.
    pub(super) fn answer_reads(&mut self, confirmed: &[u64]) {
        let Some(leader_state) = self.replica.as_mut().and_then(|replica| replica.leader_state.as_mut())
        else {
            return;
        };
        let Some(newest) = confirmed.iter().max() else { return };
        let count = leader_state.reads.iter().take_while(|read| (1..=*newest).contains(&read.round)).count();
        for read in leader_state.reads.drain(..count).collect::<Vec<_>>() {
            self.send_operation_reply(read.from, read.request_id, OperationReply::ReadIndex(read.index));
        }
    }

    fn send_operation_reply(&mut self, to: Incarnation, request_id: u64, answer: OperationReply) {
        if to == self.bootstrap.me() {
            self.local_replies.push((request_id, answer));
        } else {
            self.outbox.push(Target::One(to), Message::OperationReply { request_id, answer });
        }
    }

    /// The leader answered.
    pub(super) fn handle_operation_reply(&mut self, request_id: u64, answer: OperationReply) {
        let mut failed = Vec::new();
        for pending in self.operations.iter_mut().filter(|pending| pending.request_id == request_id) {
            match answer {
                OperationReply::ReadIndex(index) => pending.read_index = Some(index),
                OperationReply::UnknownMember | OperationReply::NotAVoter | OperationReply::LastVoter => {
                    failed.push(pending.ticket)
                }
            }
        }
        for ticket in failed {
            self.fail_operation(ticket, answer.clone());
        }
    }

    /// What was asked for cannot be.
    fn fail_operation(&mut self, ticket: u64, answer: OperationReply) {
        let Some(position) = self.operations.iter().position(|pending| pending.ticket == ticket) else {
            return;
        };
        let (what, id) = match self.operations.remove(position).operation {
            Operation::Remove { id } => ("removing a member", id.to_string()),
            Operation::TransferLeadership { to } => {
                ("transferring leadership", to.as_deref().unwrap_or_default().to_string())
            }
            Operation::Sync | Operation::Resize { .. } | Operation::Recover => ("", String::new()),
        };
        let error = match answer {
            OperationReply::NotAVoter => Error::NotAVoter { id },
            OperationReply::LastVoter => Error::LastVoter { id },
            OperationReply::UnknownMember | OperationReply::ReadIndex(_) => {
                let replica = self.replica.as_ref();
                let members = replica.map_or(Vec::new(), |replica| {
                    replica.members.iter().map(|(.., id)| id.to_string()).collect()
                });
                Error::UnknownMember { what, id, members }
            }
        };
        self.end_operation(ticket, Err(error));
    }

    pub(super) fn end_operation(&mut self, ticket: u64, result: Result<(), Error>) {
        if ticket == OWN_TICKET {
            return if result.is_ok() { self.caught_up() } else { self.fall_behind() };
        }
        self.pending_deliveries.push(Delivery::OperationEnded { ticket, result });
    }

    /// This node ends: nothing will answer.
    pub(super) fn fail_operations(&mut self, error: &Error) {
        for pending in std::mem::take(&mut self.operations) {
            self.end_operation(pending.ticket, Err(error.clone()));
        }
    }

    /// The state of this node will not become current.
    pub(super) fn fail_reads(&mut self, error: &Error) {
        let (reads, operations) = std::mem::take(&mut self.operations)
            .into_iter()
            .partition(|pending| pending.operation == Operation::Sync);
        self.operations = operations;
        for pending in reads as Vec<PendingOperation> {
            self.end_operation(pending.ticket, Err(error.clone()));
        }
    }

    fn is_done(&self, pending: &PendingOperation) -> bool {
        let Some(replica) = &self.replica else { return false };
        match &pending.operation {
            // Before the replay is done, the state cannot be read.
            Operation::Sync => {
                !self.is_replaying && pending.read_index.is_some_and(|index| replica.applied_index >= index)
            }
            Operation::Resize { .. } | Operation::Remove { .. } => match &pending.order {
                Some(OperationRequest::Resize { cluster_size, after }) => {
                    replica.members.cluster_size() == *cluster_size as usize
                        || replica.members.is_resized_after(*after)
                }
                Some(OperationRequest::Remove { members }) => {
                    !members.iter().any(|member| replica.members.incarnation(*member).is_some())
                }
                _ => false,
            },
            Operation::TransferLeadership { to } => {
                let leader = replica.leader();
                let is_wanted =
                    |to: &Arc<str>| leader.and_then(|leader| replica.members.id(leader)) == Some(to);
                match to {
                    Some(to) => is_wanted(to),
                    None => leader.is_some() && pending.leader.is_some() && leader != pending.leader,
                }
            }
            // It is asked only where there is none: this is that of a recovered cluster, or of one that is whole again.
            Operation::Recover => replica.leader().is_some(),
        }
    }
}

fn describe(operation: &Operation) -> &'static str {
    match operation {
        Operation::Sync => "synchronizing",
        Operation::TransferLeadership { .. } => "transferring leadership",
        Operation::Remove { .. } => "removing a member",
        Operation::Resize { .. } => "resizing the cluster",
        Operation::Recover => "recovering the cluster",
    }
}
