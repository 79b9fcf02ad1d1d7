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
use super::replica::{CastRecoveryVote, ClosingNotice, Replica};
use super::snapshot_transfers;
use crate::raft::application::Application;
use crate::raft::consensus::entry::NUMBER_MAX;
use crate::raft::events::{Target, Warning};
use crate::raft::identity::{ClusterUuid, Incarnation};
use crate::raft::snapshot::transfer::SnapshotReason;
use crate::raft::wire::frame::{self, Chunk, Frame, Malformed, Message, RaftKind, RaftMessage, Receivers};

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
            // A node reports only its own cluster. A founding in progress must not be replaced.
            let is_founding = self.replica.as_ref().is_some_and(|replica| replica.founding.is_some());
            if matches!(&message, Message::ClusterAnnouncement(here) if here.cluster != frame.cluster || is_founding)
            {
                continue;
            }
            // A message may have made this node another incarnation, to which the rest is not addressed.
            if self.is_stopped || self.bootstrap.me() != me {
                return;
            }
            self.hibernation.note_message(&message, self.replica.as_mut(), &mut self.output);
            match message {
                Message::Discover { .. }
                | Message::Accept(_)
                | Message::ClusterAnnouncement(_)
                | Message::IdInUse { .. }
                | Message::OtherApplication { .. } => {
                    let facts = self.facts();
                    self.bootstrap.handle_message(frame.from, &message, &facts);
                    self.apply_bootstrap_events();
                    match message {
                        Message::Discover {
                            id,
                            cluster_size,
                            version,
                            application,
                            members_index,
                            may_vote,
                        } if self.may_join(frame.from, &id, &application) => {
                            let admission = (members_index, may_vote);
                            self.handle_discover(frame.from, &id, cluster_size, &version, admission);
                        }
                        Message::OtherApplication { cluster, theirs } => {
                            let Some(replica) = &self.replica else { continue };
                            let (me, options, timing) = (self.bootstrap.me(), &self.options, self.timing);
                            let facts = applications::Facts { me, options, timing, replica };
                            let verdict = applications::judge_self(&facts, cluster, &theirs);
                            self.fail_unless(verdict);
                        }
                        _ => {}
                    }
                }
                Message::Chunk(chunk) => {
                    self.handle_chunk(frame.from, frame.cluster, &chunk);
                    self.apply_bootstrap_events();
                }
                // A newcomer acknowledges the first chunks before it is in the cluster.
                Message::ChunkReceived { transfer, bytes, held } => {
                    if let Some(replica) = &mut self.replica {
                        snapshot_transfers::handle_received(frame.from, transfer, bytes, &held, replica);
                    }
                }
                Message::Removed { term, cluster_size } => {
                    self.handle_removed(frame.cluster, term, cluster_size);
                }
                Message::Closing { .. }
                | Message::Raft(_)
                | Message::Requests(_)
                | Message::Outcomes { .. }
                | Message::Received { .. }
                | Message::MemberInfo { .. }
                | Message::StartQuery { .. }
                | Message::StartReply { .. }
                | Message::StartRefused { .. }
                | Message::OperationRequest { .. }
                | Message::OperationReply { .. }
                | Message::StateHash { .. }
                | Message::Disagrees { .. }
                | Message::Diverged { .. }
                | Message::Recover
                | Message::RecoveryVoteRequest { .. }
                | Message::RecoveryVoteGranted
                | Message::RecoveryVoteRejected { .. }
                | Message::Released
                | Message::AppProbe
                | Message::AppProbeReply
                | Message::Unreachable { .. }
                | Message::SilenceQuery { .. }
                | Message::SilenceReply { .. }
                | Message::Wake => self.handle_member_message(frame.from, frame.cluster, message),
            }
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

    /// A part of a snapshot arrived: for a newcomer its way into the cluster, for a member what its log lacks.
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

    /// A member has said of which application it is.
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
            replica.heard.insert(recovery_vote.survivor.raft_id(), replica.now);
        }
        if replica.cluster != cluster {
            return;
        }
        if replica.members.contains(from) {
            replica.heard.insert(from.raft_id(), replica.now);
            replica.silent_since.remove(&from.raft_id());
        } else {
            configuration::refuse_non_member(from, replica, &mut self.output);
        }
    }

    /// Handles a message that is valid only within our own cluster.
    fn handle_member_message(&mut self, from: Incarnation, cluster: ClusterUuid, message: Message) {
        let Some(replica) = self.replica.as_mut().filter(|replica| replica.cluster == cluster) else {
            return;
        };
        let peer = from.raft_id();
        if let Message::Raft(raft) = message {
            return self.handle_raft(from, raft);
        }
        // A lagging log may not know a survivor whose log is higher.
        if let Message::RecoveryVoteRequest { term, index } = message {
            let output = &mut self.output;
            return self.quorum_recovery.handle_vote_request(from, term, index, replica, output);
        }
        if matches!(message, Message::Released) {
            return self.quorum_recovery.handle_released(from, replica, &mut self.output);
        }
        if !replica.members.contains(from) {
            return;
        }
        match message {
            Message::Closing { leaves } => {
                if let Some(leader_state) = &mut replica.leader_state {
                    leader_state.is_presence_due = true;
                }
                let former = replica.closing.insert(peer, ClosingNotice { leaves, received_at: replica.now });
                if former.is_none_or(|former| former.leaves != leaves) {
                    configuration::plan(replica, self.closing.as_ref());
                }
            }
            Message::MemberInfo { version, application, asks } => {
                replica.versions.insert(peer, version);
                replica.closing.remove(&peer);
                replica.describe_members();
                self.handle_member_info(from, application, asks);
            }
            Message::Requests(requests) => {
                if !replica.is_being_removed(peer) {
                    outcomes::receive_requests(
                        from,
                        requests,
                        &mut self.client_session,
                        replica,
                        &mut self.output,
                    );
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
            Message::OperationRequest { term, request_id, request } => {
                let answer = admin::handle_request(replica, from, term, request_id, request);
                if let Some(answer) = answer {
                    self.output.send(Target::One(from), Message::OperationReply { request_id, answer });
                }
            }
            Message::OperationReply { request_id, answer } => {
                let replica = self.replica.as_ref();
                self.operations.handle_reply(request_id, &answer, replica, &mut self.output);
            }
            Message::StateHash { index, version, hash } => {
                replica.versions.insert(peer, version.clone());
                let output = &mut self.output;
                let mismatch = checks::handle_report(peer, index, version, hash, replica, output);
                self.diverge_at(mismatch);
            }
            Message::Disagrees { index, ours, theirs } => {
                let mismatch = checks::handle_disagreement(index, ours, theirs, replica);
                self.diverge_at(mismatch);
            }
            Message::Diverged { index } => {
                if quarantine::handle_report(from, index, replica) {
                    self.snapshot_transfers.send(peer, SnapshotReason::Restoration, replica, &self.options);
                }
            }
            Message::Recover => {
                self.quorum_recovery.handle_recover(self.closing.is_some(), replica, &mut self.output);
            }
            Message::RecoveryVoteGranted => {
                let (is_closing, output) = (self.closing.is_some(), &mut self.output);
                self.quorum_recovery.handle_vote_granted(from, is_closing, replica, output);
            }
            Message::AppProbe => self.app_liveness.handle_probe(from, &mut self.output),
            Message::AppProbeReply => {
                if self.app_liveness.is_blocked(self.timing) {
                    replica.transfer_leadership(Some(peer));
                }
            }
            Message::Unreachable { members } => replica.note_unreachable(members),
            Message::SilenceQuery { milliseconds, members } => {
                presence::answer_silence(
                    from,
                    milliseconds,
                    members,
                    replica,
                    &self.options,
                    &mut self.output,
                );
            }
            Message::SilenceReply { members } => presence::note_silence(peer, &members, replica),
            Message::RecoveryVoteRejected { term, index } => {
                self.quorum_recovery.note_log(from, term, index, replica)
            }
            Message::Raft(_)
            | Message::RecoveryVoteRequest { .. }
            | Message::Released
            | Message::Discover { .. }
            | Message::Accept(_)
            | Message::ClusterAnnouncement(_)
            | Message::IdInUse { .. }
            | Message::Removed { .. }
            | Message::OtherApplication { .. }
            | Message::StartQuery { .. }
            | Message::StartReply { .. }
            | Message::StartRefused { .. }
            | Message::Chunk(_)
            | Message::ChunkReceived { .. }
            | Message::Wake => {}
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
        // A node that is closing, diverged, being removed or without an answer of its storage takes no leadership. A
        // node that promised its vote ignores the leader's messages as well.
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
        // One that campaigns does not lead, also where its message changes nothing: a learner continues to know it as the leader.
        let is_of_leader = matches!(message.kind, RaftKind::Append | RaftKind::Heartbeat);
        injected_bug!(TakesCandidateForLeader, is_of_leader => true);
        let heartbeat = (message.kind, message.term, message.reject);
        replica.group.step(from.raft_id(), message);
        if is_of_leader && replica.group.leader() == Some(from.raft_id()) {
            (replica.is_leader_silent, replica.leader_heard_at) = (false, replica.now);
        }
        let is_idle = heartbeat.2 && self.is_idle();
        if let Some(replica) = &mut self.replica {
            let output = &mut self.output;
            self.hibernation.note_heartbeat(from.raft_id(), heartbeat, is_idle, replica, output);
        }
    }

    /// The leader of `term` reports that this node was removed.
    fn handle_removed(&mut self, cluster: ClusterUuid, term: u64, cluster_size: u32) {
        let is_ours = self
            .replica
            .as_ref()
            .is_some_and(|replica| replica.cluster == cluster && replica.group.term() <= term);
        // A log that may be the last one of a cluster is not given up because of a message of a cluster that has ended.
        if is_ours && !self.replica.as_ref().is_some_and(Replica::is_frozen) {
            self.leave_cluster(cluster_size as usize);
        }
    }
}
