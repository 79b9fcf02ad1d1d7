//! Dispatches the messages of a frame, and decides which senders to accept.
//!
//! Part of `node.rs`. Input is unchecked: bytes that are not a message of our cluster, or have an unknown sender,
//! change nothing.

use std::sync::Arc;

use super::Node;
use super::admin;
use super::applications;
use super::checks;
use super::configuration::{self, Discovered};
use super::outcomes;
use super::presence;
use super::quarantine;
use super::replica::{CastRecoveryVote, ClosingNotice};
use super::snapshot_transfers;
use crate::raft::application::Application;
use crate::raft::consensus::entry::NUMBER_MAX;
use crate::raft::events::{Target, Warning};
use crate::raft::identity::{ClusterUuid, Incarnation};
use crate::raft::snapshot::transfer::SnapshotReason;
use crate::raft::wire::frame::{self, Frame, Malformed, Receivers};
use crate::raft::wire::message::{
    BootstrapMessage, Chunk, DivergenceMessage, LivenessMessage, MembershipMessage, Message,
    OperationMessage, RaftKind, RaftMessage, SnapshotMessage,
};

impl Node {
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        let me = self.bootstrap.me();
        let is_for_me = |receivers: &Receivers| {
            injected_bug!(HearsFramesForOthers, return true);
            receivers.include(me)
        };
        let frame = match Frame::decode_if(bytes, is_for_me) {
            Ok(Some(frame)) => frame,
            Ok(None) => return self.apply_bootstrap_events(),
            Err(Malformed::NoFrame) => {
                self.ignored_frames.malformed += 1;
                return;
            }
            Err(Malformed::OtherVersion(theirs)) => {
                self.ignored_frames.other_version += 1;
                if self.reported_versions.insert(theirs) {
                    self.output.warn(Warning::OtherVersion { theirs, ours: frame::VERSION });
                }
                return;
            }
        };
        if !self.is_from_accepted_start(&frame) || frame.from == me {
            return self.apply_bootstrap_events();
        }
        let facts = self.facts();
        self.bootstrap.note_frame(frame.from, frame.cluster, &facts);
        self.apply_bootstrap_events();
        self.note_sender(frame.from, frame.cluster);
        for message in frame.messages {
            // A message may have made this node another incarnation, to which the rest is not addressed.
            if self.is_stopped || self.bootstrap.me() != me {
                return;
            }
            self.hibernation.note_message(&message, self.replica.as_mut(), &mut self.output);
            self.handle_message(frame.from, frame.cluster, message);
        }
    }

    fn handle_message(&mut self, from: Incarnation, cluster: ClusterUuid, message: Message) {
        match message {
            Message::Bootstrap(message) => self.handle_bootstrap(from, cluster, message),
            Message::Snapshot(message) => self.handle_snapshot(from, cluster, message),
            // `start_guard` has handled those of the whole frame.
            Message::Start(_) => {}
            // All others are valid only within our own cluster.
            _ if self.replica.as_ref().is_none_or(|replica| replica.cluster != cluster) => {}
            Message::Raft(message) => self.handle_raft(from, message),
            Message::Membership(message) => self.handle_membership(from, message),
            Message::Recovery(message) => {
                let Some(replica) = &mut self.replica else { return };
                let (is_closing, output) = (self.closing.is_some(), &mut self.output);
                self.quorum_recovery.handle_message(from, message, is_closing, replica, output);
            }
            // What follows is taken from members that this node's log knows.
            _ if self.replica.as_ref().is_none_or(|replica| !replica.members.contains(from)) => {}
            Message::Requests(requests) => {
                let Some(replica) = &mut self.replica else { return };
                if !replica.is_being_removed(from.raft_id()) {
                    let (session, output) = (&mut self.client_session, &mut self.output);
                    outcomes::receive_requests(from, requests, session, replica, output);
                }
            }
            Message::Outcomes { term, start, index, outcomes } => {
                for (sequence, outcome) in outcomes {
                    self.client_session.handle_outcome(term, start, sequence, index, outcome);
                }
            }
            Message::Received { term, start, sequence } => {
                if start == self.client_session.start() {
                    self.client_session.received(term, sequence);
                }
            }
            Message::Operation(message) => self.handle_operation(from, message),
            Message::Divergence(message) => self.handle_divergence(from, message),
            Message::Liveness(message) => self.handle_liveness(from, message),
        }
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

    fn handle_bootstrap(&mut self, from: Incarnation, cluster: ClusterUuid, message: BootstrapMessage) {
        // A node reports only its own cluster. A founding in progress must not be replaced.
        let is_founding = self.replica.as_ref().is_some_and(|replica| replica.founding.is_some());
        if matches!(&message, BootstrapMessage::ClusterAnnouncement(here) if here.cluster != cluster || is_founding)
        {
            return;
        }
        let facts = self.facts();
        self.bootstrap.handle_message(from, &message, &facts);
        self.apply_bootstrap_events();
        match message {
            BootstrapMessage::Discover {
                id,
                cluster_size,
                version,
                application,
                members_index,
                may_vote,
            } => {
                if self.may_join(from, &id, &application) {
                    let admission = (members_index, may_vote);
                    self.handle_discover(from, &id, cluster_size, &version, admission);
                }
            }
            BootstrapMessage::OtherApplication { cluster, theirs } => {
                let Some(replica) = &self.replica else { return };
                let (me, options, timing) = (self.bootstrap.me(), &self.options, self.timing);
                let facts = applications::Facts { me, options, timing, replica };
                let verdict = applications::judge_self(&facts, cluster, &theirs);
                self.fail_unless(verdict);
            }
            BootstrapMessage::Accept(_)
            | BootstrapMessage::ClusterAnnouncement(_)
            | BootstrapMessage::IdInUse { .. } => {}
        }
    }

    fn handle_snapshot(&mut self, from: Incarnation, cluster: ClusterUuid, message: SnapshotMessage) {
        match message {
            SnapshotMessage::Chunk(chunk) => {
                self.handle_chunk(from, cluster, &chunk);
                self.apply_bootstrap_events();
            }
            // A newcomer acknowledges the first chunks before it is in the cluster.
            SnapshotMessage::ChunkReceived { transfer, bytes, held } => {
                if let Some(replica) = &mut self.replica {
                    snapshot_transfers::handle_received(from, transfer, bytes, &held, replica);
                }
            }
        }
    }

    /// A part of a snapshot arrived: it admits a newcomer, and gives a member what its log lacks.
    fn handle_chunk(&mut self, from: Incarnation, cluster: ClusterUuid, chunk: &Chunk) {
        let is_expected = match &self.replica {
            Some(replica) => snapshot_transfers::is_expected(from, cluster, chunk, replica),
            None => {
                self.bootstrap.may_be_admitted_to(cluster) && !cluster.is_none() && chunk.term < NUMBER_MAX
            }
        };
        if is_expected
            && let Some((snapshot, image)) = self.snapshot_transfers.receive(from, chunk, &mut self.output)
        {
            self.install(from, cluster, chunk, *snapshot, image);
        }
    }

    /// A newcomer, or a member that does not know yet that it is one, looks for a cluster.
    fn handle_discover(
        &mut self,
        from: Incarnation,
        id: &Arc<str>,
        cluster_size: u32,
        version: &Arc<str>,
        admission: (u64, bool),
    ) {
        let Some(replica) = &mut self.replica else { return };
        match configuration::handle_discover(from, id, cluster_size, version, admission, replica) {
            Discovered::Ignored => {}
            Discovered::Member => {
                let (to, reason) = (from.raft_id(), SnapshotReason::Admission);
                self.snapshot_transfers.send(to, reason, replica, &self.options);
            }
            Discovered::Newcomer => configuration::plan(replica, self.closing.as_ref()),
        }
    }

    fn may_join(&mut self, from: Incarnation, id: &Arc<str>, application: &Application) -> bool {
        let Some(replica) = &self.replica else { return true };
        let (me, options, timing) = (self.bootstrap.me(), &self.options, self.timing);
        let facts = applications::Facts { me, options, timing, replica };
        self.application_guard.judge_newcomer(&facts, from, id, application, &mut self.output)
    }

    /// A member has reported its application.
    fn handle_member_info(&mut self, from: Incarnation, application: Application, asks: bool) {
        let (me, options, timing) = (self.bootstrap.me(), &self.options, self.timing);
        if asks {
            self.output.send(Target::One(from), applications::member_info(options, false));
        }
        let Some(replica) = &mut self.replica else { return };
        let facts = applications::Facts { me, options, timing, replica };
        self.application_guard.compare_methods(&facts, from, &application, &mut self.output);
        replica.applications.insert(from.raft_id(), application);
        if let Some(leader_state) = &mut replica.leader_state {
            leader_state.is_presence_due = true;
        }
        let facts = applications::Facts { me, options, timing, replica };
        let verdict = self.application_guard.judge_members(&facts, &mut self.output);
        self.fail_unless(verdict);
    }

    /// Notes that a member is alive; a leader notifies a sender that is not a member.
    fn note_sender(&mut self, from: Incarnation, cluster: ClusterUuid) {
        let Some(replica) = &mut self.replica else { return };
        if let Some(CastRecoveryVote { recovery_vote, .. }) = replica.cast_vote
            && (recovery_vote.survivor == from || recovery_vote.cluster == cluster)
        {
            replica.liveness.note_heard(recovery_vote.survivor.raft_id());
        }
        if replica.cluster != cluster {
            return;
        }
        if replica.members.contains(from) {
            replica.liveness.note_heard(from.raft_id());
        } else {
            configuration::refuse_non_member(from, replica, &mut self.output);
        }
    }

    fn handle_membership(&mut self, from: Incarnation, message: MembershipMessage) {
        let Some(replica) = &mut self.replica else { return };
        let peer = from.raft_id();
        match message {
            MembershipMessage::Removed { term, cluster_size } => self.handle_removed(term, cluster_size),
            _ if !replica.members.contains(from) => {}
            MembershipMessage::Closing { leaves } => {
                if let Some(leader_state) = &mut replica.leader_state {
                    leader_state.is_presence_due = true;
                }
                let former = replica
                    .closing
                    .insert(peer, ClosingNotice { leaves, received_at: replica.liveness.now() });
                if former.is_none_or(|former| former.leaves != leaves) {
                    configuration::plan(replica, self.closing.as_ref());
                }
            }
            MembershipMessage::MemberInfo { version, application, asks } => {
                replica.versions.insert(peer, version);
                replica.closing.remove(&peer);
                replica.describe_members();
                self.handle_member_info(from, application, asks);
            }
        }
    }

    fn handle_operation(&mut self, from: Incarnation, message: OperationMessage) {
        match message {
            OperationMessage::Request { term, request_id, request } => {
                let Some(replica) = &mut self.replica else { return };
                let answer = admin::handle_request(replica, from, term, request_id, request);
                if let Some(answer) = answer {
                    self.output.send(Target::One(from), OperationMessage::Reply { request_id, answer });
                }
            }
            OperationMessage::Reply { request_id, answer } => {
                let replica = self.replica.as_ref();
                self.operations.handle_reply(request_id, &answer, replica, &mut self.output);
            }
        }
    }

    fn handle_divergence(&mut self, from: Incarnation, message: DivergenceMessage) {
        let Some(replica) = &mut self.replica else { return };
        let peer = from.raft_id();
        match message {
            DivergenceMessage::StateHash { index, version, hash } => {
                replica.versions.insert(peer, version.clone());
                let output = &mut self.output;
                let mismatch = checks::handle_report(peer, index, version, hash, replica, output);
                self.diverge_at(mismatch);
            }
            DivergenceMessage::Disagrees { index, ours, theirs } => {
                let mismatch = checks::handle_disagreement(index, ours, theirs, replica);
                self.diverge_at(mismatch);
            }
            DivergenceMessage::Diverged { index } => {
                if quarantine::handle_report(from, index, replica) {
                    self.snapshot_transfers.send(peer, SnapshotReason::Restoration, replica, &self.options);
                }
            }
        }
    }

    fn handle_liveness(&mut self, from: Incarnation, message: LivenessMessage) {
        let Some(replica) = &mut self.replica else { return };
        match message {
            LivenessMessage::AppProbe => self.app_liveness.handle_probe(from, &mut self.output),
            LivenessMessage::AppProbeReply => {
                if self.app_liveness.is_blocked(self.timing) {
                    replica.transfer_leadership(Some(from.raft_id()));
                }
            }
            LivenessMessage::Unreachable { members } => replica.note_unreachable(members),
            LivenessMessage::SilenceQuery { milliseconds, members } => {
                let (options, output) = (&self.options, &mut self.output);
                presence::answer_silence(from, milliseconds, members, replica, options, output);
            }
            LivenessMessage::SilenceReply { members } => {
                presence::note_silence(from.raft_id(), &members, replica);
            }
            LivenessMessage::Wake => {}
        }
    }

    /// Handles a message for raft-rs. A lagging log may not know the sender yet: refusing the message would keep this
    /// node from ever catching up (paper §6). Responses come only from members.
    fn handle_raft(&mut self, from: Incarnation, message: RaftMessage) {
        let takes_none = self.closing.is_some() || self.overdue.is_overdue();
        let me = self.bootstrap.me().raft_id();
        let Some(replica) = &mut self.replica else { return };
        let is_for_members = match message.kind {
            RaftKind::Append | RaftKind::Heartbeat | RaftKind::RequestVote | RaftKind::RequestPreVote => {
                false
            }
            RaftKind::AppendResponse
            | RaftKind::HeartbeatResponse
            | RaftKind::RequestVoteResponse
            | RaftKind::RequestPreVoteResponse
            | RaftKind::TimeoutNow
            | RaftKind::Receipt => true,
        };
        injected_bug!(GuardAdmitsMembersOnly, is_for_members => true);
        // A node that is closing, diverged or being removed, or whose storage is overdue, takes no leadership. A node
        // that has given its recovery vote ignores all messages.
        let refuses = message.kind == RaftKind::TimeoutNow
            && (takes_none || replica.divergence.is_diverged() || !replica.group.stays_voter(me));
        if refuses
            || replica.is_frozen()
            || is_for_members && !replica.members.contains(from)
            || !replica.remember_peer(from)
        {
            return;
        }
        if matches!(message.kind, RaftKind::RequestVote | RaftKind::RequestPreVote) {
            self.quorum_recovery.note_log(from, message.log_term, message.index, replica);
        }
        let Some(replica) = &mut self.replica else { return };
        // A candidate's message is not a leader's, although a learner may still know the candidate as the leader.
        let is_of_leader = matches!(message.kind, RaftKind::Append | RaftKind::Heartbeat);
        injected_bug!(TakesCandidateForLeader, is_of_leader => true);
        let heartbeat = (message.kind, message.term, message.reject);
        replica.group.step(from.raft_id(), message);
        if is_of_leader && replica.group.leader() == Some(from.raft_id()) {
            replica.liveness.note_leader_heard();
        }
        let is_idle = heartbeat.2 && self.may_hibernate();
        if let Some(replica) = &mut self.replica {
            let output = &mut self.output;
            self.hibernation.note_heartbeat(from.raft_id(), heartbeat, is_idle, replica, output);
        }
    }

    /// The leader of `term` reports that this node was removed.
    fn handle_removed(&mut self, term: u64, cluster_size: u32) {
        // A frozen log may be the last one of its cluster, and a cluster that has ended may send this message.
        let leaves =
            self.replica.as_ref().is_some_and(|replica| replica.group.term() <= term && !replica.is_frozen());
        if leaves {
            self.leave_cluster(cluster_size as usize);
        }
    }
}
