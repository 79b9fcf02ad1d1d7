//! This file is the one place that holds raft-rs: a replica's term, vote, log and peers.
//!
//! Called by `node.rs`. It steps guarded messages, proposes, and turns raft-rs's `Ready` into writes, messages and
//! committed entries. It knows nothing of requests, JavaScript or founding.

use std::collections::VecDeque;

use raft_rs::eraftpb::{Entry, EntryType, Message};
use raft_rs::{Config, RawNode, StateRole};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use super::events::{Role, Write};
use super::frame::{RaftMessage, Roster};
use super::identity::RaftId;
use super::log::{FOUNDING_INDEX, Log};
use super::options::Options;
use super::{guard, wire};

const APPEND_BYTES_MAX: u64 = 1 << 20;
/// Proposals that wait for a quorum, on the leader; over this nothing is proposed until some are committed.
pub const UNCOMMITTED_BYTES_MAX: u64 = 64 << 20;
const COMMITTED_BYTES_MAX: u64 = 4 << 20;

/// One replica.
pub struct Group {
    raw: RawNode<Log>,
    dice: ChaCha8Rng,
    election_timeout_ticks: std::ops::RangeInclusive<u64>,
    /// The (term, role) for which the election timeout was drawn.
    drawn_for: (u64, StateRole),
    /// Messages that may leave only when the write of this number is durable (paper §5, Figure 2).
    unsaved: VecDeque<(u64, Vec<Message>)>,
    out: Vec<Message>,
    committed: VecDeque<Entry>,
    holds_committed_actions: bool,
    confirmed: Vec<u64>,
    read_context: u64,
}

impl Group {
    /// A founder's replica.
    pub fn found(roster: &Roster, me: RaftId, options: &Options, dice: &mut ChaCha8Rng) -> Self {
        let config = Config {
            id: me,
            applied: FOUNDING_INDEX,
            election_tick: options.election_timeout_ticks_min as usize,
            heartbeat_tick: options.heartbeat_ticks as usize,
            min_election_tick: options.election_timeout_ticks_min as usize,
            max_election_tick: options.election_timeout_ticks_max as usize + 1,
            max_size_per_msg: APPEND_BYTES_MAX,
            max_inflight_msgs: 256,
            check_quorum: true,
            pre_vote: true,
            batch_append: true,
            max_uncommitted_size: UNCOMMITTED_BYTES_MAX,
            max_committed_size_per_ready: COMMITTED_BYTES_MAX,
            ..Config::default()
        };
        let nobody = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&config, Log::founded(roster), &nobody)
            .expect("the façade checked the timeouts, and a founding log is well formed");
        let mut seed = [0; 32];
        dice.fill_bytes(&mut seed);
        let mut group = Self {
            raw,
            dice: ChaCha8Rng::from_seed(seed),
            election_timeout_ticks: options.election_timeout_ticks_min..=options.election_timeout_ticks_max,
            drawn_for: (0, StateRole::Follower),
            unsaved: VecDeque::new(),
            out: Vec::new(),
            committed: VecDeque::new(),
            holds_committed_actions: false,
            confirmed: Vec::new(),
            read_context: 0,
        };
        group.draw_election_timeout();
        group
    }

    pub fn role(&self) -> Role {
        match self.raw.raft.state {
            StateRole::Follower => Role::Follower,
            StateRole::PreCandidate | StateRole::Candidate => Role::Candidate,
            StateRole::Leader => Role::Leader,
        }
    }

    pub fn is_leader(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    pub fn term(&self) -> u64 {
        self.raw.raft.term
    }

    pub fn leader(&self) -> Option<RaftId> {
        Some(self.raw.raft.leader_id).filter(|id| *id != 0)
    }

    pub fn commit_index(&self) -> u64 {
        self.raw.raft.raft_log.committed
    }

    pub fn last_index(&self) -> u64 {
        self.raw.raft.raft_log.last_index()
    }

    /// An entry of the cluster is committed, so a leader was elected: this is no mere founding any more.
    pub fn has_seen_commit(&self) -> bool {
        self.commit_index() > FOUNDING_INDEX
    }

    pub fn holds_actions(&self) -> bool {
        self.raw.store().holds_actions()
    }

    /// An action is committed: a quorum holds it.
    pub fn holds_committed_actions(&self) -> bool {
        self.holds_committed_actions
    }

    /// Whether a proposal would be taken now: not while leadership is being handed over, nor over the bound.
    pub fn accepts_proposals(&self) -> bool {
        let raft = &self.raw.raft;
        self.is_leader()
            && raft.lead_transferee.is_none()
            && (raft.uncommitted_size() as u64) < UNCOMMITTED_BYTES_MAX / 2
    }

    /// Whether a voter answered within the last election timeout, as the leader knows it.
    pub fn is_active(&self, id: RaftId) -> bool {
        self.raw.raft.prs().get(id).is_some_and(|progress| progress.recent_active)
    }

    /// The voter whose log is furthest, of those that may be asked.
    pub fn most_advanced(&self, may: impl Fn(RaftId) -> bool) -> Option<RaftId> {
        let me = self.raw.raft.id;
        let others = self
            .raw
            .raft
            .prs()
            .iter()
            .filter(|(id, progress)| **id != me && progress.recent_active && may(**id));
        others.max_by_key(|(id, progress)| (progress.matched, **id)).map(|(id, _)| *id)
    }

    pub fn tick(&mut self) {
        self.raw.tick();
        self.draw_election_timeout();
    }

    pub fn campaign(&mut self) {
        // Fails only where there is nothing to campaign for: we are the leader, or no voter.
        let _ = self.raw.campaign();
        self.draw_election_timeout();
    }

    pub fn transfer_leadership(&mut self, to: RaftId) {
        self.raw.transfer_leader(to);
        self.draw_election_timeout();
    }

    /// Steps a message of a peer; whatever the guard does not admit changes nothing.
    pub fn step(&mut self, from: RaftId, message: RaftMessage) {
        let message = wire::incoming(message, from, self.raw.raft.id);
        if guard::admits(&self.raw, &message) {
            // raft-rs refuses what it can't use, e.g. a response from a former member; that is no fault of ours.
            let _ = self.raw.step(message);
            self.draw_election_timeout();
        }
    }

    /// Proposes all of the entries, or none: `Err` if raft-rs dropped them. Each is (context, data).
    pub fn propose(&mut self, entries: Vec<(Vec<u8>, bytes::Bytes)>) -> Result<(), Dropped> {
        let mut message = Message::default();
        message.set_msg_type(raft_rs::eraftpb::MessageType::MsgPropose);
        message.from = self.raw.raft.id;
        let entries = entries.into_iter().map(|(context, data)| Entry {
            entry_type: EntryType::EntryNormal,
            data,
            context: context.into(),
            ..Entry::default()
        });
        message.entries = entries.collect();
        self.raw.step(message).map_err(|_| Dropped)
    }

    /// Asks a quorum whether this leader still leads; [`Self::take_confirmed`] gives the number back when it does.
    ///
    /// The number is never used again, and the question is never forwarded: raft-rs 0.7.0 otherwise takes a late
    /// answer to an earlier question for one to this (thesis §6.4).
    pub fn confirm_leadership(&mut self) -> u64 {
        self.read_context += 1;
        self.raw.read_index(self.read_context.to_le_bytes().to_vec());
        self.read_context
    }

    pub fn take_confirmed(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.confirmed)
    }

    /// Takes raft-rs's next piece of work; the write, if any, is to be made durable under the returned number.
    pub fn advance(&mut self) -> Option<(u64, Write)> {
        while self.raw.has_ready() {
            let mut ready = self.raw.ready();
            let number = ready.number();
            self.out.append(&mut ready.take_messages());
            let committed = ready.take_committed_entries();
            self.holds_committed_actions |= committed.iter().any(|entry| !entry.data.is_empty());
            self.committed.extend(committed);
            for state in ready.take_read_states() {
                let context = <[u8; 8]>::try_from(state.request_ctx.as_slice());
                self.confirmed.extend(context.map(u64::from_le_bytes));
            }
            let unsaved = ready.take_persisted_messages();
            let write =
                Write { hard_state: ready.hs().cloned(), entries: ready.take_entries(), ..Write::default() };
            let log = self.raw.mut_store();
            log.append(&write.entries);
            if let Some(hard_state) = &write.hard_state {
                log.set_hard_state(hard_state.clone());
            }
            let must_save = !write.entries.is_empty() || write.hard_state.is_some();
            self.raw.advance_append_async(ready);
            if must_save {
                self.unsaved.push_back((number, unsaved));
                return Some((number, write));
            }
            match self.unsaved.back_mut() {
                // Nothing of its own to save, but it must not overtake what waits.
                Some((_, waiting)) => waiting.extend(unsaved),
                None => {
                    self.out.extend(unsaved);
                    self.raw.on_persist_ready(number);
                }
            }
        }
        None
    }

    /// The writes up to this number are durable: what rests on them may leave.
    pub fn persisted(&mut self, number: u64) {
        while let Some((first, _)) = self.unsaved.front()
            && *first <= number
        {
            let (_, messages) = self.unsaved.pop_front().expect("the front was just seen");
            self.out.extend(messages);
        }
        self.raw.on_persist_ready(number);
    }

    /// Messages that may leave now, each with the peer it goes to.
    pub fn take_messages(&mut self) -> impl Iterator<Item = (RaftId, RaftMessage)> + '_ {
        self.out.drain(..).filter_map(|message| {
            let to = message.to;
            wire::outgoing(message).map(|message| (to, message))
        })
    }

    /// The oldest entry that is committed and not taken yet.
    pub fn next_committed(&mut self) -> Option<Entry> {
        self.committed.pop_front()
    }

    pub fn has_committed(&self) -> bool {
        !self.committed.is_empty()
    }

    /// JavaScript has reduced everything up to this index.
    pub fn applied(&mut self, index: u64) {
        self.raw.advance_apply_to(index);
    }

    /// raft-rs draws election timeouts from the thread's generator whenever it resets; draw again from the seed.
    fn draw_election_timeout(&mut self) {
        let raft = &mut self.raw.raft;
        let now = (raft.term, raft.state);
        if now != self.drawn_for {
            self.drawn_for = now;
            let (min, max) = (*self.election_timeout_ticks.start(), *self.election_timeout_ticks.end());
            let drawn = min + self.dice.next_u64() % (max - min + 1);
            raft.set_randomized_election_timeout(drawn as usize);
        }
    }
}

/// raft-rs did not take a proposal: it is in no log and never will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped;
