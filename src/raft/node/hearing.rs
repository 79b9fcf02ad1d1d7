//! This file hears a frame: what is for whom, and whom to believe.
//!
//! Part of `node.rs`. Bytes may be anything; what is no message of our cluster, or comes from nobody, changes nothing.

use super::Node;
use super::seat::{Going, Promised, Seat};
use crate::raft::events::Warning;
use crate::raft::frame::{self, Frame, Malformed, Message, RaftKind, RaftMessage};
use crate::raft::identity::{ClusterUuid, Incarnation};
#[cfg(test)]
use crate::raft::testing::bugs::{Bug, is_back};

impl Node {
    pub(super) fn receive(&mut self, bytes: &[u8]) {
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
        if frame.to.is_some_and(|to| to != me) || !self.hears_start(&frame) || frame.from == me {
            return self.obey_membership();
        }
        let facts = self.facts();
        self.membership.hear_frame(frame.from, frame.cluster, &facts);
        self.obey_membership();
        self.note_heard(frame.from, frame.cluster);
        for message in frame.messages {
            // Each speaks for its own cluster. What this node is in the middle of becoming is not to be replaced.
            let is_founding = self.seat.as_ref().is_some_and(|seat| seat.founding.is_some());
            if matches!(&message, Message::Here(here) if here.cluster != frame.cluster || is_founding) {
                continue;
            }
            // What was heard may have made this node another incarnation, to whom the rest was not said.
            if self.is_stopped || self.membership.me() != me {
                return;
            }
            match message {
                Message::Hello { .. }
                | Message::Accept(_)
                | Message::Here(_)
                | Message::Taken { .. }
                | Message::OtherApplication { .. } => {
                    let facts = self.facts();
                    self.membership.hear(frame.from, &message, &facts);
                    self.obey_membership();
                    match message {
                        Message::Hello { id, cluster_size, version, application, members_index }
                            if self.may_be_welcome(frame.from, &id, &application) =>
                        {
                            self.welcome(frame.from, &id, cluster_size, &version, members_index);
                        }
                        Message::OtherApplication { cluster, theirs } => {
                            self.hear_other_application(cluster, &theirs);
                        }
                        _ => {}
                    }
                }
                Message::Chunk(chunk) => {
                    self.hear_chunk(frame.from, frame.cluster, &chunk);
                    self.obey_membership();
                }
                // A newcomer answers the first chunks before it is in the cluster.
                Message::ChunkReceived { transfer, bytes, held } => {
                    self.chunk_received(frame.from, transfer, bytes, &held);
                }
                Message::Removed { term, cluster_size } => {
                    self.hear_removed(frame.cluster, term, cluster_size);
                }
                Message::Closing { .. }
                | Message::Raft(_)
                | Message::Requests(_)
                | Message::Outcomes { .. }
                | Message::Received { .. }
                | Message::About { .. }
                | Message::AskStart { .. }
                | Message::ToldStart { .. }
                | Message::RefusedStart { .. }
                | Message::Ask { .. }
                | Message::Answer { .. }
                | Message::StateHash { .. }
                | Message::Disagrees { .. }
                | Message::Fenced { .. }
                | Message::Recover
                | Message::Yield { .. }
                | Message::Yielded
                | Message::Outranks { .. }
                | Message::Released
                | Message::Wake
                | Message::Awake
                | Message::Silent { .. } => self.hear_member(frame.from, frame.cluster, message),
            }
        }
    }

    /// Notes that a member lives; a leader tells who is none.
    fn note_heard(&mut self, from: Incarnation, cluster: ClusterUuid) {
        let Some(seat) = &mut self.seat else { return };
        if let Some(Promised { promise, .. }) = seat.promised
            && (promise.survivor == from || promise.cluster == cluster)
        {
            seat.heard.insert(promise.survivor.raft_id(), seat.now);
        }
        if seat.cluster != cluster {
            return;
        }
        if seat.registry.contains(from) {
            seat.heard.insert(from.raft_id(), seat.now);
            seat.silent_since.remove(&from.raft_id());
        } else {
            self.refuse_stranger(from);
        }
    }

    /// A message that means something only within our own cluster.
    fn hear_member(&mut self, from: Incarnation, cluster: ClusterUuid, message: Message) {
        let Some(seat) = self.seat.as_mut().filter(|seat| seat.cluster == cluster) else { return };
        let peer = from.raft_id();
        if let Message::Raft(raft) = message {
            return self.hear_raft(from, raft);
        }
        // A log that lags behind may not know a survivor whose log is higher.
        if let Message::Yield { term, index } = message {
            return self.hear_yield(from, term, index);
        }
        if matches!(message, Message::Released) {
            return self.hear_released(from);
        }
        if !seat.registry.contains(from) {
            return;
        }
        match message {
            Message::Closing { leaves } => {
                let former = seat.closing.insert(peer, Going { leaves, said_at: seat.now });
                if former.is_none_or(|former| former.leaves != leaves) {
                    self.steward();
                }
            }
            Message::About { version, application, asks } => {
                seat.versions.insert(peer, version);
                seat.closing.remove(&peer);
                seat.describe_members(self.membership.me().raft_id());
                self.hear_about(from, application, asks);
            }
            Message::Requests(requests) => {
                let goes = seat.goes(peer);
                if let Some(leadership) = seat.leadership.as_mut().filter(|_| !goes) {
                    let term = leadership.term();
                    let replies = leadership.receive(peer, requests, &seat.table);
                    self.reply(from, term, replies);
                }
            }
            Message::Outcomes { term, start, index, outcomes } => {
                for (sequence, outcome) in outcomes {
                    self.hear_outcome(term, start, sequence, index, outcome);
                }
            }
            Message::Received { term, start, sequence } => {
                if start == self.origin.start() {
                    self.origin.received(term, sequence);
                }
            }
            Message::Ask { term, attempt, question } => self.hear_question(from, term, attempt, question),
            Message::Answer { attempt, answer } => self.hear_answer(attempt, answer),
            Message::StateHash { index, version, hash } => {
                seat.versions.insert(peer, version.clone());
                self.note_hash(peer, index, version, hash);
            }
            Message::Disagrees { index, ours, theirs } => self.disagree(index, ours, theirs),
            Message::Fenced { index } => self.hear_fenced(from, index),
            Message::Recover => self.hear_recover(),
            Message::Yielded => self.hear_yielded(from),
            Message::Wake => self.hear_wake(from),
            Message::Awake => self.hear_awake(from),
            Message::Silent { members } => seat.note_silent(members),
            Message::Outranks { term, index } => self.hear_outranks(from, term, index),
            Message::Raft(_)
            | Message::Yield { .. }
            | Message::Released
            | Message::Hello { .. }
            | Message::Accept(_)
            | Message::Here(_)
            | Message::Taken { .. }
            | Message::Removed { .. }
            | Message::OtherApplication { .. }
            | Message::AskStart { .. }
            | Message::ToldStart { .. }
            | Message::RefusedStart { .. }
            | Message::Chunk(_)
            | Message::ChunkReceived { .. } => {}
        }
    }

    /// A message for raft-rs. A log that lags behind may not know its sender yet: refusing it would keep it from ever
    /// catching up (paper §6). Answers come from whom we asked, and so from members.
    fn hear_raft(&mut self, from: Incarnation, message: RaftMessage) {
        let takes_none = self.closing.is_some() || self.is_storage_overdue();
        let me = self.membership.me().raft_id();
        let Some(seat) = &mut self.seat else { return };
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
        #[cfg(test)]
        let is_for_members = is_for_members || is_back(Bug::GuardAdmitsMembersOnly);
        // A node that is closing, fenced, being removed or without an answer of its storage takes no leadership. A node
        // that promised its vote ignores the leader's messages as well.
        let refuses = message.kind == RaftKind::TimeoutNow
            && (takes_none || seat.fence.is_fenced() || !seat.group.stays_voter(me));
        if refuses || seat.is_bound() || is_for_members && !seat.registry.contains(from) || !seat.meet(from) {
            return;
        }
        if matches!(message.kind, RaftKind::RequestVote | RaftKind::RequestPreVote) {
            self.note_log(from, message.log_term, message.index);
        }
        let Some(seat) = &mut self.seat else { return };
        // One that campaigns does not lead, also where its message changes nothing: a learner goes on to know it as the leader.
        let is_of_leader = matches!(message.kind, RaftKind::Append | RaftKind::Heartbeat);
        #[cfg(test)]
        let is_of_leader = is_of_leader || is_back(Bug::TakesCandidateForLeader);
        seat.group.step(from.raft_id(), message);
        if is_of_leader && seat.group.leader() == Some(from.raft_id()) {
            (seat.leads_silently, seat.leader_heard_at) = (false, seat.now);
        }
    }

    /// The leader of `term` says that this node is no member.
    fn hear_removed(&mut self, cluster: ClusterUuid, term: u64, cluster_size: u32) {
        let is_ours =
            self.seat.as_ref().is_some_and(|seat| seat.cluster == cluster && seat.group.term() <= term);
        // A log that may be all that is left of a cluster is not given up on the word of one that has ended.
        if is_ours && !self.seat.as_ref().is_some_and(Seat::is_bound) {
            self.lose_seat(cluster_size as usize);
        }
    }
}
