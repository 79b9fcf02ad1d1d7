//! Makes frames that no correct peer sends: recorded ones changed a little, and invented ones whose numbers
//! lie around those of the target, where raft-rs's assertions are.

use bytes::Bytes;
use protobuf::Message as _;
use raft_rs::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use super::target::Target;
use crate::raft::application::Application;
use crate::raft::consensus::entry::NUMBER_MAX;
use crate::raft::consensus::entry::{Admission, Context};
use crate::raft::events::Position;
use crate::raft::snapshot::Snapshot;
use crate::raft::testing::formats::RAFT_KINDS;
use crate::raft::wire::frame::{Frame, Receivers};
use crate::raft::wire::items::{RequestItem, WireEntry};
use crate::raft::wire::message::{
    Ancestor, BootstrapMessage, Chunk, ClusterAnnouncement, DivergenceMessage, LivenessMessage,
    MembershipMessage, Message, OperationMessage, OperationReply, OperationRequest, Outcome, RaftKind,
    RaftMessage, RecoveryMessage, Refused, Requests, Roster, SnapshotMessage, StartMessage,
};
use crate::raft::{ClusterUuid, Incarnation, Start, Status};

/// A frame; `is_impossible` if it must not change where the target stands.
pub struct Lie {
    pub frame: Frame,
    pub is_impossible: bool,
}

/// A node that has recorded frames, and sends forged ones.
pub struct Adversary {
    rng: ChaCha8Rng,
    heard: Vec<Frame>,
}

impl Adversary {
    pub fn new(seed: [u8; 32], frames: Vec<Bytes>) -> Self {
        let heard = frames.iter().map(|bytes| Frame::decode(bytes).expect("a node sent it")).collect();
        Self { rng: ChaCha8Rng::from_seed(seed), heard }
    }

    /// A number below `bound`.
    pub fn roll(&mut self, bound: u64) -> u64 {
        self.rng.next_u64() % bound
    }

    /// A frame that speaks to raft-rs.
    pub fn raft(&mut self, target: &Target) -> Lie {
        let status = target.node.status();
        let message = match self.roll(20) {
            0..8 => self.changed_raft(&status),
            8..19 => self.invented_raft(&status, target),
            _ => {
                let chunk = self.chunk(&status, target);
                return self.sealed(&status, target, SnapshotMessage::Chunk(chunk).into());
            }
        };
        self.sealed(&status, target, Message::Raft(message))
    }

    /// A frame that says anything.
    pub fn anything(&mut self, target: &Target) -> Lie {
        let status = target.node.status();
        let message = match self.roll(4) {
            0 => {
                let frame = self.roll(self.heard.len() as u64) as usize;
                let messages = &self.heard[frame].messages;
                messages[self.rng.next_u64() as usize % messages.len()].clone()
            }
            1 => return self.raft(target),
            _ => self.word(&status, target),
        };
        self.sealed(&status, target, message)
    }

    fn sealed(&mut self, status: &Status, target: &Target, message: Message) -> Lie {
        let is_foreign = self.roll(20) == 0;
        let from = match self.roll(10) {
            // A stranger, and one whose number is the target's own.
            0 => Incarnation::from_u128(u128::from(self.rng.next_u64())),
            1 => Incarnation::from_u128(1 << 100 | u128::from(status.incarnation.raft_id())),
            _ => self.peer(target),
        };
        let cluster = if is_foreign {
            ClusterUuid::of_epoch(status.cluster, from)
        } else if self.roll(20) == 0 {
            ClusterUuid::NONE
        } else {
            status.cluster
        };
        let is_impossible = match &message {
            Message::Raft(raft) => {
                let RaftMessage { term, log_term, index, commit, commit_term, reject_hint, .. } = raft;
                let numbers = [term, log_term, index, commit, commit_term, reject_hint];
                let is_response = matches!(
                    raft.kind,
                    RaftKind::AppendResponse
                        | RaftKind::HeartbeatResponse
                        | RaftKind::RequestVoteResponse
                        | RaftKind::RequestPreVoteResponse
                        | RaftKind::TimeoutNow
                        | RaftKind::Receipt
                );
                let is_member = status.members.iter().any(|member| member.incarnation == from);
                cluster != status.cluster
                    || *term == 0
                    || numbers.into_iter().any(|number| *number >= NUMBER_MAX)
                    || is_response && !is_member
            }
            _ => false,
        };
        Lie {
            frame: Frame { cluster, from, start: None, to: Receivers::All, messages: vec![message] },
            is_impossible,
        }
    }

    fn peer(&mut self, target: &Target) -> Incarnation {
        target.peers[self.rng.next_u64() as usize % target.peers.len()]
    }

    /// A number that matters to the target, or one beside it.
    fn number(&mut self, status: &Status) -> u64 {
        let base = [
            0,
            status.term,
            status.commit_index,
            status.applied_index,
            status.last_index,
            status.snapshot_index,
        ];
        let extreme = [NUMBER_MAX - 1, NUMBER_MAX, u64::MAX, u64::MAX - 1, 1 << 40];
        if self.roll(60) == 0 {
            return extreme[self.roll(extreme.len() as u64) as usize];
        }
        let base = base[self.roll(base.len() as u64) as usize];
        (base + self.roll(7)).saturating_sub(3)
    }

    /// Mostly one that the target listens to.
    fn term(&mut self, status: &Status) -> u64 {
        match self.roll(100) {
            0..50 => status.term,
            50..60 => status.term + 1,
            60..64 => status.term.saturating_sub(1),
            64..98 => status.term.saturating_add(self.roll(2)),
            _ => self.number(status),
        }
    }

    fn bytes(&mut self, max: u64) -> Bytes {
        let mut bytes = vec![0; self.roll(max + 1) as usize];
        self.rng.fill_bytes(&mut bytes);
        bytes.into()
    }

    fn changed_raft(&mut self, status: &Status) -> RaftMessage {
        for _ in 0..50 {
            let frame = self.roll(self.heard.len() as u64) as usize;
            let said = self.heard[frame].messages.iter().find_map(|message| match message {
                Message::Raft(raft) => Some(raft.clone()),
                _ => None,
            });
            let Some(mut raft) = said else { continue };
            for _ in 0..self.roll(3) {
                self.change(&mut raft, status);
            }
            return raft;
        }
        unreachable!("a cluster mostly speaks Raft")
    }

    fn change(&mut self, raft: &mut RaftMessage, status: &Status) {
        match self.roll(11) {
            0 => raft.kind = RAFT_KINDS[self.roll(RAFT_KINDS.len() as u64) as usize],
            1 | 2 => raft.term = self.term(status),
            3 => raft.log_term = self.number(status),
            4 => raft.index = self.number(status),
            5 => raft.commit = self.number(status),
            6 => raft.commit_term = self.number(status),
            7 => raft.reject = !raft.reject,
            8 => raft.reject_hint = self.number(status),
            9 => raft.context = self.bytes(80),
            _ => {
                let number = self.number(status);
                if let Some(entry) = raft.entries.first_mut() {
                    match number % 3 {
                        0 => entry.index = number,
                        1 => entry.term = number,
                        _ => entry.is_change = !entry.is_change,
                    }
                }
            }
        }
    }

    fn invented_raft(&mut self, status: &Status, target: &Target) -> RaftMessage {
        let kind = RAFT_KINDS[self.roll(RAFT_KINDS.len() as u64) as usize];
        let term = self.term(status);
        let index = self.number(status);
        let log_term = if self.roll(2) == 0 { status.term.min(term) } else { self.number(status) };
        let entries = if kind == RaftKind::Append || self.roll(10) == 0 { self.roll(4) } else { 0 };
        let entries = (1..=entries)
            .map(|offset| WireEntry {
                term: if self.roll(8) == 0 { self.number(status) } else { term },
                index: if self.roll(10) == 0 { self.number(status) } else { index.saturating_add(offset) },
                is_change: false,
                data: self.bytes(10),
                context: self.bytes(20),
            })
            .collect();
        let mut message = RaftMessage {
            kind,
            term,
            log_term,
            index,
            commit: self.number(status),
            commit_term: if self.roll(2) == 0 { status.term } else { self.number(status) },
            reject: self.roll(2) == 0,
            reject_hint: self.number(status),
            context: if self.roll(2) == 0 { Bytes::new() } else { self.context() },
            entries,
            asks: self.roll(2) == 0,
        };
        for entry in &mut message.entries {
            match self.roll(5) {
                0 => (entry.is_change, entry.data, entry.context) = self.change_of_configuration(target),
                1 => entry.context = self.logged(target),
                _ => {}
            }
        }
        message
    }

    /// Names of campaigns, and what read contexts look like.
    fn context(&mut self) -> Bytes {
        match self.roll(4) {
            0 => Bytes::from_static(b"CampaignTransfer"),
            1 => Bytes::from_static(b"CampaignPreElection"),
            2 => Bytes::copy_from_slice(&self.roll(10).to_le_bytes()),
            _ => self.bytes(80),
        }
    }

    fn change_of_configuration(&mut self, target: &Target) -> (bool, Bytes, Bytes) {
        let kinds = [ConfChangeType::AddNode, ConfChangeType::RemoveNode, ConfChangeType::AddLearnerNode];
        let singles = (0..self.roll(4)).map(|_| {
            let node_id = match self.roll(10) {
                0 => self.rng.next_u64() >> 1,
                1 => 0,
                2 | 3 => target.node.status().incarnation.raft_id(),
                _ => self.peer(target).raft_id(),
            };
            let mut single = ConfChangeSingle { node_id, ..ConfChangeSingle::default() };
            single.set_change_type(kinds[self.roll(3) as usize]);
            single
        });
        let mut change = ConfChangeV2 { changes: singles.collect(), ..ConfChangeV2::default() };
        if self.roll(4) == 0 {
            change.set_transition(raft_rs::eraftpb::ConfChangeTransition::Explicit);
        }
        let data = match self.roll(10) {
            0 => self.bytes(20),
            _ => change.write_to_bytes().expect("a change is plain data").into(),
        };
        let incarnation = self.peer(target);
        let context = match self.roll(2) {
            0 => Admission { incarnation, id: "x".into(), may_vote: true }.encode().into(),
            _ => self.bytes(30),
        };
        (true, data, context)
    }

    /// What an entry of ours may say.
    fn logged(&mut self, target: &Target) -> Bytes {
        let survivor = self.peer(target);
        let context = match self.roll(3) {
            0 => Context::Resize { cluster_size: self.roll(5) as u32, after: self.roll(5) },
            1 => Context::Check,
            _ => Context::Epoch {
                cluster: ClusterUuid::of_epoch(ClusterUuid::NONE, survivor),
                survivor,
                id: "x".into(),
                missing: Vec::new(),
                kept: self.roll(5),
            },
        };
        context.encode().into()
    }

    /// A whole snapshot in one chunk, its checksum right and its content wrong.
    fn chunk(&mut self, status: &Status, target: &Target) -> Chunk {
        let founders = target.peers.iter().map(|peer| (*peer, "x".into()));
        let mut snapshot = Snapshot::found(&Roster(founders.collect()));
        let ids = |adversary: &mut Self, count: u64| -> Vec<u64> {
            (0..adversary.roll(count))
                .map(|_| match adversary.roll(6) {
                    0 => adversary.roll(3),
                    1 => status.incarnation.raft_id(),
                    _ => adversary.peer(target).raft_id(),
                })
                .collect()
        };
        snapshot.conf_state = ConfState {
            voters: ids(self, 4),
            voters_outgoing: ids(self, 3),
            learners: ids(self, 3),
            learners_next: ids(self, 2),
            auto_leave: self.roll(2) == 0,
            ..ConfState::default()
        };
        snapshot.position = Position { index: self.number(status), term: self.term(status) };
        snapshot.state = (self.roll(2) == 0).then(|| "1".into());
        let bytes = snapshot.encode().image;
        Chunk {
            transfer: self.roll(3),
            term: self.term(status),
            total: if self.roll(20) == 0 { self.number(status) } else { bytes.len() as u64 },
            checksum: crc32c::crc32c(&bytes),
            offset: if self.roll(20) == 0 { self.number(status) } else { 0 },
            bytes,
            restores: self.roll(4) == 0,
            overtaken: self.roll(3) as u32,
        }
    }

    fn application(&mut self) -> Application {
        Application::new(
            (self.roll(2) == 0).then_some("other"),
            ["x", "y"].into_iter().take(self.roll(3) as usize),
        )
    }

    fn word(&mut self, status: &Status, target: &Target) -> Message {
        let incarnation = self.peer(target);
        let (term, number, other) = (self.term(status), self.number(status), self.number(status));
        let id = ["n0", "n1", "n2", "x", ""][self.roll(5) as usize];
        match self.roll(32) {
            0 => BootstrapMessage::Discover {
                id: id.into(),
                cluster_size: self.roll(6) as u32,
                version: "".into(),
                application: self.application(),
                members_index: number,
                may_vote: self.roll(4) > 0,
            }
            .into(),
            1 => BootstrapMessage::Accept(Roster(vec![
                (incarnation, id.into()),
                (status.incarnation, id.into()),
            ]))
            .into(),
            2 => BootstrapMessage::ClusterAnnouncement(ClusterAnnouncement {
                cluster: ClusterUuid::of_epoch(status.cluster, incarnation),
                ancestors: vec![Ancestor { cluster: status.cluster, kept: number }],
                cluster_size: self.roll(6) as u32,
                holds_actions: self.roll(2) == 0,
                has_leader: self.roll(2) == 0,
                members_index: number,
                application: self.application(),
            })
            .into(),
            3 => BootstrapMessage::IdInUse { id: id.into() }.into(),
            4 => MembershipMessage::Closing { leaves: self.roll(2) == 0 }.into(),
            5 => Message::Requests(self.requests(term, number, status)),
            6 => {
                let outcome = match self.roll(3) {
                    0 => Outcome::Nothing,
                    1 => Outcome::Forgotten,
                    _ => Outcome::Refused(self.bytes(10)),
                };
                Message::Outcomes {
                    term,
                    start: self.roll(3),
                    index: self.number(status),
                    outcomes: vec![(number, outcome)],
                }
            }
            7 => Message::Received { term, start: self.roll(3), sequence: number },
            8 => MembershipMessage::MemberInfo {
                version: id.into(),
                application: self.application(),
                asks: self.roll(2) == 0,
            }
            .into(),
            9 => MembershipMessage::Removed { term, cluster_size: self.roll(6) as u32 }.into(),
            10 | 11 => SnapshotMessage::Chunk(self.chunk(status, target)).into(),
            12 => SnapshotMessage::ChunkReceived {
                transfer: number,
                bytes: other,
                held: vec![(self.roll(9), other)],
            }
            .into(),
            13 => {
                let request = match self.roll(4) {
                    0 => OperationRequest::Read,
                    1 => OperationRequest::TransferLeadership { to: Some(id.into()) },
                    2 => OperationRequest::Remove { members: vec![self.peer(target).raft_id(), other] },
                    _ => OperationRequest::Resize { cluster_size: number as u32, after: other },
                };
                OperationMessage::Request { term, request_id: number, request }.into()
            }
            14 => OperationMessage::Reply { request_id: number, answer: OperationReply::ReadIndex(other) }
                .into(),
            15 => DivergenceMessage::StateHash {
                index: number,
                version: "".into(),
                hash: [self.roll(3) as u8; 16],
            }
            .into(),
            16 => DivergenceMessage::Disagrees { index: number, ours: [1; 16], theirs: [7; 16] }.into(),
            17 => DivergenceMessage::Diverged { index: (self.roll(2) == 0).then_some(number) }.into(),
            18 => RecoveryMessage::Recover.into(),
            19 => RecoveryMessage::VoteRequest { term, index: number }.into(),
            20 => RecoveryMessage::VoteGranted.into(),
            21 => RecoveryMessage::VoteRejected { term, index: number }.into(),
            22 => LivenessMessage::AppProbe.into(),
            23 => LivenessMessage::AppProbeReply.into(),
            24 => RecoveryMessage::Released.into(),
            26 => StartMessage::Query { token: number, known: Some(Start { number, nonce: other }) }.into(),
            27 => StartMessage::Reply { token: number, last_index: other }.into(),
            28 => StartMessage::Refused { start: Start { number, nonce: other }, why: Refused::Copy }.into(),
            29 => LivenessMessage::SilenceQuery {
                milliseconds: number,
                members: vec![other, incarnation.raft_id()],
            }
            .into(),
            30 => LivenessMessage::SilenceReply { members: vec![number, incarnation.raft_id()] }.into(),
            31 => LivenessMessage::Wake.into(),
            25 => BootstrapMessage::OtherApplication { cluster: status.cluster, theirs: self.application() }
                .into(),
            _ => LivenessMessage::Unreachable {
                members: vec![(incarnation.raft_id(), number), (other, number)],
            }
            .into(),
        }
    }

    fn requests(&mut self, term: u64, number: u64, status: &Status) -> Requests {
        let requests = (0..self.roll(4)).map(|offset| RequestItem {
            sequence: number.saturating_add(offset),
            after: if self.roll(2) == 0 { 0 } else { self.number(status) },
            method: "append".into(),
            args: self.bytes(10),
            attempts: self.roll(3) as u32,
            session: 0,
        });
        let requests = requests.collect();
        Requests { term, start: self.roll(3), floor: self.number(status), requests }
    }
}
