//! The pending operations of the application, on any node, until they are answered: linearizable reads (thesis §6.4)
//! and commands about the membership.
//!
//! A request goes to the leader (`admin.rs`, `reads.rs`) and is repeated until it is answered; a command is done when
//! it is in this node's own log. Therefore a change of leader loses nothing.
//!
//! A command to remove or resize begins with a read, and names what it is based on: the members to remove, or the index
//! up to which no other size was ordered. Therefore it can be repeated without taking effect twice: later events (a new
//! incarnation of the id has joined, another command has resized) are not undone.
//!
//! A node catches up by the same read, without a timeout and without a caller: it has caught up once its application
//! has reduced everything that was committed when the node became a member or returned.

use std::sync::Arc;

use super::admin;
use super::output::Output;
use super::reads::Read;
use super::replica::Replica;
use crate::error::Error;
use crate::raft::consensus::timing::Timing;
use crate::raft::events::{Delivery, Operation, Target};
use crate::raft::identity::RaftId;
use crate::raft::wire::message::{OperationMessage, OperationReply, OperationRequest};

/// Catching up. Never used by an application: the façade counts its tickets from 1.
const OWN_TICKET: u64 = 0;

#[derive(Debug)]
pub(super) struct Operations {
    pending: Vec<PendingOperation>,
    /// The number of the last request.
    last_request_id: u64,
    /// Replies of this node, as leader, to its own requests.
    local_replies: Vec<(u64, OperationReply)>,
    is_caught_up: bool,
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

/// When an operation was last requested of a leader.
#[derive(Clone, Copy, Debug, Default)]
struct RequestedAt {
    term: u64,
    tick: u64,
}

impl Operations {
    /// The numbers of requests continue after `last_request_id`: an answer to a former one may still be in flight.
    pub(super) fn new(last_request_id: u64) -> Self {
        Self { pending: Vec::new(), last_request_id, local_replies: Vec::new(), is_caught_up: false }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether an operation of the application is pending.
    pub(super) fn has_calls(&self) -> bool {
        self.pending.iter().any(|pending| pending.ticket != OWN_TICKET)
    }

    pub(super) fn is_caught_up(&self) -> bool {
        self.is_caught_up
    }

    pub(super) fn begin(
        &mut self,
        ticket: u64,
        operation: Operation,
        ticks: u64,
        replica: Option<&Replica>,
        output: &mut Output,
    ) {
        // The state of a diverged node never becomes current.
        let is_read = operation == Operation::Sync;
        if let Some(error) = replica.and_then(|replica| replica.divergence.error()).filter(|_| is_read) {
            let error = error.clone();
            return self.end(ticket, Err(error), output);
        }
        let leader = replica.and_then(Replica::leader);
        self.pending.push(PendingOperation { leader, ..PendingOperation::new(ticket, operation, ticks) });
    }

    /// The node has a replica now, and requests the commit index to catch up with.
    pub(super) fn begin_catch_up(&mut self, output: &mut Output) {
        self.fall_behind(output);
        injected_bug!(CatchesUpAtOnce, return self.end(OWN_TICKET, Ok(()), output));
        self.pending.push(PendingOperation::new(OWN_TICKET, Operation::Sync, u64::MAX));
    }

    /// The state is, or may be, incomplete.
    pub(super) fn fall_behind(&mut self, output: &mut Output) {
        self.pending.retain(|pending| pending.ticket != OWN_TICKET);
        if std::mem::take(&mut self.is_caught_up) {
            output.deliver(Delivery::CaughtUp(false));
        }
    }

    /// Takes the operations whose timeout is over.
    pub(super) fn tick(&mut self) -> Vec<PendingOperation> {
        for pending in &mut self.pending {
            pending.ticks = pending.ticks.saturating_sub(1);
        }
        self.take_where(|pending| pending.ticks == 0)
    }

    /// Decides the content of the commands for which this node has everything that was committed when they were given.
    fn decide_commands(&mut self, replica: &Replica, output: &mut Output) {
        let mut failed = Vec::new();
        for pending in self.pending.iter_mut().filter(|pending| pending.order.is_none()) {
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
            self.fail(ticket, &OperationReply::UnknownMember, Some(replica), output);
        }
    }

    /// Sends the requests that are due. A leader answers its own immediately.
    pub(super) fn send(&mut self, tick: u64, replica: &mut Replica, output: &mut Output) {
        self.decide_commands(replica, output);
        let Some(leader) = replica.leader() else { return };
        let (me, term) = (replica.me, replica.group.term());
        for (request_id, request) in self.take_due_requests(leader, term, tick, replica.timing) {
            if leader == me.raft_id() {
                let answer = admin::handle_request(replica, me, term, request_id, request);
                self.local_replies.extend(answer.map(|answer| (request_id, answer)));
            } else if let Some(leader) = replica.incarnation(leader) {
                output.send(Target::One(leader), OperationMessage::Request { term, request_id, request });
            }
        }
        admin::begin_round(replica);
    }

    /// The requests that are due, for the first time or again, to this leader of `term`, each with its number.
    fn take_due_requests(
        &mut self,
        leader: RaftId,
        term: u64,
        tick: u64,
        timing: Timing,
    ) -> Vec<(u64, OperationRequest)> {
        let mut requests = Vec::new();
        // All reads of one turn share a request.
        let mut read_id = None;
        for pending in &mut self.pending {
            if !pending.is_due(term, tick, timing.operation_retry()) {
                continue;
            }
            let Some(request) = pending.request() else { continue };
            // The leader that has to transfer leadership, if there was none when the application started the operation.
            pending.leader.get_or_insert(leader);
            let is_read = request == OperationRequest::Read;
            let request_id = read_id.filter(|_| is_read).unwrap_or_else(|| {
                self.last_request_id += 1;
                requests.push((self.last_request_id, request));
                self.last_request_id
            });
            if is_read {
                read_id = Some(request_id);
            }
            pending.request_id = request_id;
            pending.requested_at = RequestedAt { term, tick };
        }
        requests
    }

    /// As the leader, answers the reads whose round is confirmed.
    pub(super) fn answer_reads(&mut self, confirmed: &[u64], replica: &mut Replica, output: &mut Output) {
        for Read { from, request_id, index, .. } in admin::take_confirmed_reads(replica, confirmed) {
            let answer = OperationReply::ReadIndex(index);
            if from == replica.me {
                self.local_replies.push((request_id, answer));
            } else {
                output.send(Target::One(from), OperationMessage::Reply { request_id, answer });
            }
        }
    }

    /// The leader answered.
    pub(super) fn handle_reply(
        &mut self,
        request_id: u64,
        answer: &OperationReply,
        replica: Option<&Replica>,
        output: &mut Output,
    ) {
        let mut failed = Vec::new();
        for pending in self.pending.iter_mut().filter(|pending| pending.request_id == request_id) {
            match answer {
                OperationReply::ReadIndex(index) => pending.read_index = Some(*index),
                OperationReply::UnknownMember | OperationReply::NotAVoter | OperationReply::LastVoter => {
                    failed.push(pending.ticket)
                }
            }
        }
        for ticket in failed {
            self.fail(ticket, answer, replica, output);
        }
    }

    /// Ends the operations that were answered or have become true.
    pub(super) fn finish(&mut self, replica: Option<&Replica>, is_replaying: bool, output: &mut Output) {
        for (request_id, answer) in std::mem::take(&mut self.local_replies) {
            self.handle_reply(request_id, &answer, replica, output);
        }
        let Some(replica) = replica else { return };
        for pending in self.take_where(|pending| pending.is_done(replica, is_replaying)) {
            self.end(pending.ticket, Ok(()), output);
        }
    }

    /// This node ends: nothing will answer.
    pub(super) fn fail_all(&mut self, error: &Error, output: &mut Output) {
        self.fail_where(error, output, |_| true);
    }

    /// The state of this node will not become current.
    pub(super) fn fail_reads(&mut self, error: &Error, output: &mut Output) {
        self.fail_where(error, output, |pending| pending.operation == Operation::Sync);
    }

    fn fail_where(&mut self, error: &Error, output: &mut Output, fails: impl Fn(&PendingOperation) -> bool) {
        for pending in self.take_where(fails) {
            self.end(pending.ticket, Err(error.clone()), output);
        }
    }

    /// The leader refuses the operation, or there is no such member.
    fn fail(&mut self, ticket: u64, answer: &OperationReply, replica: Option<&Replica>, output: &mut Output) {
        let Some(position) = self.pending.iter().position(|pending| pending.ticket == ticket) else { return };
        let (what, id) = match self.pending.remove(position).operation {
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
                let members = replica.map_or(Vec::new(), |replica| {
                    replica.members.iter().map(|(.., id)| id.to_string()).collect()
                });
                Error::UnknownMember { what, id, members }
            }
        };
        self.end(ticket, Err(error), output);
    }

    fn end(&mut self, ticket: u64, result: Result<(), Error>, output: &mut Output) {
        match result {
            Ok(()) if ticket == OWN_TICKET => {
                self.is_caught_up = true;
                output.deliver(Delivery::CaughtUp(true));
            }
            Err(_) if ticket == OWN_TICKET => self.fall_behind(output),
            result => output.deliver(Delivery::OperationEnded { ticket, result }),
        }
    }

    fn take_where(&mut self, is_taken: impl Fn(&PendingOperation) -> bool) -> Vec<PendingOperation> {
        let pending = std::mem::take(&mut self.pending);
        let (taken, pending) = pending.into_iter().partition(is_taken);
        self.pending = pending;
        taken
    }
}

impl PendingOperation {
    fn new(ticket: u64, operation: Operation, ticks: u64) -> Self {
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

    fn is_due(&self, term: u64, tick: u64, retry_ticks: u64) -> bool {
        let RequestedAt { term: requested_term, tick: requested_tick } = self.requested_at;
        self.request_id == 0 || requested_term != term || tick >= requested_tick + retry_ticks
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

    fn is_done(&self, replica: &Replica, is_replaying: bool) -> bool {
        match &self.operation {
            // Before the replay is done, the state cannot be read.
            Operation::Sync => {
                !is_replaying && self.read_index.is_some_and(|index| replica.applied_index >= index)
            }
            Operation::Resize { .. } | Operation::Remove { .. } => match &self.order {
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
                    None => leader.is_some() && self.leader.is_some() && leader != self.leader,
                }
            }
            // Recovery is ordered only without a leader: this leader is that of the recovered cluster, or of a cluster
            // that has its quorum again.
            Operation::Recover => replica.leader().is_some(),
        }
    }

    /// Its timeout is over, while the node waited for this.
    pub(super) fn timed_out(&self, waiting_for: Option<&str>) -> Delivery {
        let what = match self.operation {
            Operation::Sync => "synchronizing",
            Operation::TransferLeadership { .. } => "transferring leadership",
            Operation::Remove { .. } => "removing a member",
            Operation::Resize { .. } => "resizing the cluster",
            Operation::Recover => "recovering the cluster",
        };
        let why = waiting_for.unwrap_or("no leader with a quorum answered").to_owned();
        Delivery::OperationEnded { ticket: self.ticket, result: Err(Error::NoQuorum { what, why }) }
    }
}
