//! Owns raft-rs's `RawNode`: a replica's term, vote, log and peers.
//!
//! Called by `node.rs`. It steps guarded messages, proposes, and turns raft-rs's `Ready` into writes, messages and
//! committed entries. It knows nothing of requests, JavaScript or founding.

mod append_flow;
mod clock;
mod configuration;
#[cfg(test)]
mod injected_bugs;
#[cfg(test)]
mod inspection;
mod learner_answers;
mod receipts;
mod unsaved;
mod window;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use raft_rs::eraftpb::{ConfState, Entry, EntryType, HardState, Message, MessageType};
use raft_rs::{Config, ProgressState, RawNode, Ready, SnapshotStatus, StateRole};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use super::entry::FOUNDING_INDEX;
use super::guard;
use super::log::Log;
use super::pace::Pace;
use super::timing::Timing;
use crate::raft::events::{Role, SnapshotRecord, Write};
use crate::raft::identity::RaftId;
use crate::raft::options::Options;
use crate::raft::snapshot::{self, Snapshot};
use crate::raft::wire;
use crate::raft::wire::message::{RaftKind, RaftMessage};
use append_flow::AppendFlow;
use learner_answers::{Asked, LearnerAnswers};
use unsaved::{Installing, Unsaved};
pub use unsaved::{Storage, UNSAVED_BYTES_MAX};

/// One append holds about this much, or one larger entry.
const APPEND_BYTES_MAX: u64 = 256 << 10;
/// Proposals that wait for a quorum, on the leader; over this nothing is proposed until some are committed.
pub const UNCOMMITTED_BYTES_MAX: u64 = 64 << 20;
const COMMITTED_BYTES_MAX: u64 = 4 << 20;

/// One replica.
pub struct RaftGroup {
    raw: RawNode<Log>,
    /// Whether the log survives the process; writes carry no entries otherwise.
    is_durable: bool,
    rng: ChaCha8Rng,
    timing: Timing,
    election_timeout_ticks: std::ops::RangeInclusive<u64>,
    /// The (term, role) for which the election timeout was drawn.
    drawn_for: (u64, StateRole),
    /// Messages that may leave only when a write is durable (paper §5, Figure 2).
    unsaved: VecDeque<Unsaved>,
    /// The approximate size of these writes in memory.
    unsaved_bytes: u64,
    out: Vec<Message>,
    /// Receipts for the leader while this node's storage is overdue.
    receipts: Vec<(RaftId, RaftMessage)>,
    /// The term in which, and the index up to which, the log is known to match the leader's.
    received: (u64, u64),
    learner_answers: LearnerAnswers,
    /// As a leader: when each learner last answered.
    learners_answered_at: BTreeMap<RaftId, u64>,
    /// The last append response of this tick: its receiver, term and index.
    acknowledged: Option<(RaftId, u64, u64)>,
    committed: VecDeque<Entry>,
    /// The configuration contains every change up to this index.
    conf_index: u64,
    /// The members to which raft-rs wants a snapshot sent.
    wants_snapshot: Vec<RaftId>,
    /// The last entry that was put into `committed`.
    taken_index: u64,
    /// The last entry that JavaScript has reduced. raft-rs learns only of durable ones.
    reduced_index: u64,
    /// A leader's snapshot in flight to the storage.
    installing: Option<Installing>,
    has_installed: bool,
    /// The commit index is saved together with the next required write: alone it need not survive (paper, Figure 2).
    has_unsaved_commit: bool,
    holds_committed_actions: bool,
    confirmed: Vec<u64>,
    read_context: u64,
    /// As a leader: up to here the log may hold entries larger than [`APPEND_BYTES_MAX`].
    large_until: u64,
    /// As a leader: appends to each peer.
    append_flows: BTreeMap<RaftId, AppendFlow>,
    /// The pace of a link that is not measured yet.
    pace: Pace,
    /// Ticks so far.
    now: u64,
    /// The commit index that is durable.
    saved_commit: u64,
    /// For how long this leader has waited until a quorum has the commit of a change.
    waiting_ticks: u64,
    ticks_since_aligned: u64,
}

impl RaftGroup {
    /// The replica over a log; what the log's snapshot covers counts as applied.
    pub fn new(log: Log, me: RaftId, options: &Options, rng: &mut ChaCha8Rng) -> Self {
        let applied = log.snapshot().position.index;
        Self::from(log, applied, me, options, rng)
    }

    /// Continues with the same log as the only voter, with `entry` at its end and all of it committed.
    pub fn found_anew(
        &mut self,
        entry: Entry,
        hard_state: HardState,
        applied: u64,
        me: RaftId,
        options: &Options,
        rng: &mut ChaCha8Rng,
    ) {
        let log = std::mem::replace(self.raw.mut_store(), Log::nothing());
        let index = entry.index;
        *self = Self::from(log.found_anew(entry, hard_state, me), applied, me, options, rng);
        self.conf_index = index;
    }

    fn from(mut log: Log, applied: u64, me: RaftId, options: &Options, rng: &mut ChaCha8Rng) -> Self {
        configuration::stay(me, log.conf_state_mut());
        let holds_committed_actions = log.holds_actions() && applied > FOUNDING_INDEX;
        let pre_vote = true;
        injected_bug!(CampaignsWithoutPreVote, pre_vote => false);
        let config = Config {
            id: me,
            applied,
            election_tick: options.election_timeout_ticks_min as usize,
            heartbeat_tick: options.heartbeat_ticks as usize,
            min_election_tick: options.election_timeout_ticks_min as usize,
            max_election_tick: options.election_timeout_ticks_max as usize + 1,
            max_size_per_msg: APPEND_BYTES_MAX,
            max_inflight_msgs: window::APPENDS_MAX,
            check_quorum: true,
            pre_vote,
            batch_append: true,
            max_uncommitted_size: UNCOMMITTED_BYTES_MAX,
            max_committed_size_per_ready: COMMITTED_BYTES_MAX,
            ..Config::default()
        };
        let saved_commit = log.hard_state().commit;
        let discard = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&config, log, &discard)
            .expect("the façade checked the timeouts, and the log was checked when it was made");
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let mut group = Self {
            raw,
            is_durable: options.is_durable,
            rng: ChaCha8Rng::from_seed(seed),
            timing: Timing::new(options),
            election_timeout_ticks: options.election_timeout_ticks_min..=options.election_timeout_ticks_max,
            drawn_for: (0, StateRole::Follower),
            unsaved: VecDeque::new(),
            unsaved_bytes: 0,
            out: Vec::new(),
            receipts: Vec::new(),
            received: (0, 0),
            learner_answers: LearnerAnswers::default(),
            learners_answered_at: BTreeMap::new(),
            acknowledged: None,
            committed: VecDeque::new(),
            conf_index: applied,
            taken_index: applied,
            reduced_index: applied,
            installing: None,
            wants_snapshot: Vec::new(),
            has_installed: false,
            has_unsaved_commit: false,
            holds_committed_actions,
            confirmed: Vec::new(),
            read_context: 0,
            large_until: 0,
            append_flows: BTreeMap::new(),
            pace: Self::first_pace(options),
            now: 0,
            saved_commit,
            waiting_ticks: 0,
            ticks_since_aligned: u64::MAX / 2,
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

    /// Whether an entry of the cluster is committed, which proves that a leader was elected.
    pub fn has_seen_commit(&self) -> bool {
        self.commit_index() > FOUNDING_INDEX
    }

    pub fn holds_actions(&self) -> bool {
        self.raw.store().holds_actions()
    }

    /// Whether an action is committed, so that a quorum holds it.
    pub fn holds_committed_actions(&self) -> bool {
        self.holds_committed_actions
    }

    /// Whether a proposal would be accepted now: not during a leadership transfer, nor beyond the limit.
    pub fn accepts_proposals(&self) -> bool {
        let raft = &self.raw.raft;
        self.is_leader()
            && raft.lead_transferee.is_none()
            && (raft.uncommitted_size() as u64) < UNCOMMITTED_BYTES_MAX / 2
    }

    pub fn log(&self) -> &Log {
        self.raw.store()
    }

    pub fn log_mut(&mut self) -> &mut Log {
        self.raw.mut_store()
    }

    /// How much of the log a member is known to have; only a leader knows. `None` while it is probed.
    pub fn matched(&self, id: RaftId) -> Option<u64> {
        let progress = self.raw.raft.prs().get(id)?;
        (progress.state == ProgressState::Replicate)
            .then_some(progress.matched)
            .filter(|matched| *matched > 0)
    }

    /// The term and index of the last entry.
    pub fn last_position(&self) -> (u64, u64) {
        (self.raw.raft.raft_log.last_term(), self.last_index())
    }

    /// Whether a member answered within the last election timeout, as the leader knows it. raft-rs forgets at intervals
    /// which members were active, and a learner answers less often than a voter.
    pub fn is_active(&self, id: RaftId) -> bool {
        let answered_at = self.learners_answered_at.get(&id).filter(|_| self.is_learner(id));
        let answered = answered_at.is_some_and(|answered_at| self.now < answered_at + self.timing.election());
        answered || self.raw.raft.prs().get(id).is_some_and(|progress| progress.recent_active)
    }

    /// The voter with the longest log, of those that may lead; none that is about to lose its vote.
    pub fn most_advanced(&self, may: impl Fn(RaftId) -> bool) -> Option<RaftId> {
        let me = self.raw.raft.id;
        let others = self.raw.raft.prs().iter().filter(|(id, progress)| {
            **id != me && progress.recent_active && self.stays_voter(**id) && may(**id)
        });
        others.max_by_key(|(id, progress)| (progress.matched, **id)).map(|(id, _)| *id)
    }

    /// Follows no leader from now on, and drops the pending messages: the replica no longer takes part in its cluster.
    pub fn step_down(&mut self) {
        let term = self.raw.raft.term;
        self.raw.raft.become_follower(term, raft_rs::INVALID_ID);
        self.draw_election_timeout();
    }

    /// Whether raft-rs has no pending work outside the log, and every entry of the log is applied.
    pub fn is_settled(&mut self) -> bool {
        self.installing.is_none() && !self.has_installed && !self.raw.has_ready()
    }

    pub fn campaign(&mut self) {
        // Fails only if this node is the leader, or no voter.
        let _ = self.raw.campaign();
        self.draw_election_timeout();
    }

    /// The target of a leadership transfer that is pending.
    pub fn transfer_target(&self) -> Option<RaftId> {
        self.raw.raft.lead_transferee
    }

    pub fn transfer_leadership(&mut self, to: RaftId) {
        self.raw.transfer_leader(to);
        self.draw_election_timeout();
    }

    /// Steps a message of a peer; a message that the guard rejects changes nothing.
    pub fn step(&mut self, from: RaftId, message: RaftMessage) {
        if message.kind == RaftKind::TimeoutNow && self.installing.is_some() {
            return;
        }
        injected_bug!(CountsHalfAsQuorum, self.counts_twice(from, &message));
        if message.kind == RaftKind::Receipt {
            return self.handle_receipt(from, message);
        }
        let asked = Asked::by(&message);
        let message = wire::incoming(message, from, self.raw.raft.id);
        if guard::admits(&self.raw, &message) {
            asked.into_iter().for_each(|asked| self.learner_answers.note(asked));
            if self.is_leader() && self.is_learner(from) {
                self.learners_answered_at.insert(from, self.now);
            }
            // raft-rs rejects messages that it cannot use, such as a response of a former member; that is not an error
            // here.
            if message.get_msg_type() == MessageType::MsgAppendResponse {
                self.step_append_response(message);
            } else {
                let _ = self.raw.step(message);
            }
            self.draw_election_timeout();
            self.widen_window(from);
        }
    }

    /// Proposes all of the entries, or none: `Err` if raft-rs dropped them. Each is (context, data).
    pub fn propose(&mut self, entries: Vec<(Bytes, Bytes)>) -> Result<(), Dropped> {
        let entries = entries.into_iter().map(|(context, data)| Entry {
            entry_type: EntryType::EntryNormal,
            data,
            context,
            ..Entry::default()
        });
        self.step_proposal(entries.collect())
    }

    fn step_proposal(&mut self, entries: Vec<Entry>) -> Result<(), Dropped> {
        self.note_large(&entries);
        let mut message = Message { from: self.raw.raft.id, entries: entries.into(), ..Message::default() };
        message.set_msg_type(MessageType::MsgPropose);
        self.raw.step(message).map_err(|_| Dropped)
    }

    /// Sends heartbeats at once, if this node leads.
    pub fn ping(&mut self) {
        self.raw.ping();
    }

    /// A leader's snapshot has arrived: raft-rs decides whether to take it ([`Self::take_installed`]).
    pub fn step_snapshot(
        &mut self,
        from: RaftId,
        term: u64,
        record: &SnapshotRecord,
        conf_state: &ConfState,
    ) {
        let mut message = Message { from, to: self.raw.raft.id, term, ..Message::default() };
        message.set_msg_type(MessageType::MsgSnapshot);
        let mut conf_state = conf_state.clone();
        configuration::stay(message.to, &mut conf_state);
        message.set_snapshot(snapshot::to_raft(record, &conf_state));
        if guard::admits(&self.raw, &message) {
            let _ = self.raw.step(message);
            self.draw_election_timeout();
        }
    }

    /// raft-rs waits for this after every snapshot that it requested.
    pub fn report_snapshot(&mut self, to: RaftId, is_installed: bool) {
        let status = if is_installed { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        self.raw.report_snapshot(to, status);
    }

    /// The members that need a snapshot.
    pub fn take_wants_snapshot(&mut self) -> Vec<RaftId> {
        std::mem::take(&mut self.wants_snapshot)
    }

    /// Whether raft-rs took over a leader's snapshot since the last call; it is in the log now.
    pub fn take_installed(&mut self) -> bool {
        std::mem::take(&mut self.has_installed)
    }

    /// Makes the committed entries behind `index` available again.
    pub fn rewind(&mut self, index: u64) {
        let taken_index = self.taken_index;
        let again = self.raw.store().entries_from(index + 1).take_while(|entry| entry.index <= taken_index);
        self.committed = again.cloned().collect();
    }

    /// Starts a round that confirms the leadership; [`Self::take_confirmed`] returns its number when a quorum has
    /// answered.
    ///
    /// The number is never reused, and the request is never forwarded: otherwise raft-rs 0.7.0 would accept a late
    /// answer to an earlier round (thesis §6.4). A leader without a vote is never confirmed: with a single voter
    /// raft-rs confirms immediately, even if that voter is another node, which may lead by now.
    pub fn confirm_leadership(&mut self) -> u64 {
        self.read_context += 1;
        injected_bug!(ReusesReadContext, self.read_context = 1);
        if self.votes() {
            self.raw.read_index(self.read_context.to_le_bytes().to_vec());
        }
        self.read_context
    }

    /// This node is a voter, in either half of a joint configuration.
    pub fn votes(&self) -> bool {
        injected_bug!(ConfirmsWithoutVote, return true);
        self.is_voter(self.raw.raft.id)
    }

    pub fn take_confirmed(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.confirmed)
    }

    /// Takes raft-rs's next piece of work; the write, if any, is to be made durable under the number `write_number`.
    pub fn advance(&mut self, write_number: u64, storage: Storage) -> Option<Write> {
        while self.raw.has_ready() {
            let mut ready = self.raw.ready();
            let number = ready.number();
            for message in ready.take_messages() {
                self.out.extend(self.naming_what_it_follows(message));
            }
            self.take_committed(ready.take_committed_entries());
            let votes = self.votes();
            for state in ready.take_read_states().into_iter().filter(|_| votes) {
                let context = <[u8; 8]>::try_from(state.request_ctx.as_slice());
                self.confirmed.extend(context.map(u64::from_le_bytes));
            }
            // A former leader has appends among these.
            let unsaved = ready.take_persisted_messages();
            let unsaved: Vec<Message> =
                unsaved.into_iter().filter_map(|message| self.naming_what_it_follows(message)).collect();
            self.note_received(&unsaved);
            injected_bug!(AnswersBeforeSaving, unsaved => self.leaves_unsaved(unsaved));
            let commits_change = self.commits_change(&ready);
            let must_save = ready.must_sync() || commits_change;
            let write = self.take_write(&mut ready, must_save);
            if write.snapshot.is_some() {
                self.installing = Some(Installing { write_number, is_followed: false });
            }
            self.raw.advance_append_async(ready);
            if commits_change && self.committed.iter().any(|entry| self.must_wait(entry)) {
                // The answers show which members have it.
                self.raw.ping();
            }
            let is_long_held = storage == Storage::Overdue && (must_save || !self.unsaved.is_empty());
            let unsaved = if is_long_held { self.give_receipts(unsaved) } else { unsaved };
            if must_save {
                self.await_write(write_number, number, &write, unsaved);
                return Some(write);
            }
            match self.unsaved.back_mut() {
                // It has nothing to save, but must not overtake earlier writes.
                Some(waiting) => {
                    waiting.ready_number = number;
                    waiting.messages.extend(unsaved);
                }
                None => {
                    self.out.extend(unsaved);
                    self.raw.on_persist_ready(number);
                }
            }
        }
        if storage == Storage::Overdue {
            self.take_unsaved();
        }
        None
    }

    /// Whether this commits a change of the configuration. That must be saved: a leader relies on the members that know
    /// of the commit, and a restarted node would otherwise use the previous configuration.
    fn commits_change(&self, ready: &Ready) -> bool {
        injected_bug!(ForgetsCommitOfChange, return false);
        let former = self.raw.store().hard_state().commit;
        let Some(commit) = ready.hs().map(|hard_state| hard_state.commit) else { return false };
        // Entries that are new here are saved anyway, and the commit index with them.
        let mut committed =
            self.raw.store().entries_from(former + 1).take_while(|entry| entry.index <= commit);
        committed.any(|entry| entry.entry_type != EntryType::EntryNormal)
    }

    /// Puts raft-rs's new entries, term and vote, and a leader's snapshot, into the log. Returns them as a write.
    fn take_write(&mut self, ready: &mut Ready, must_save: bool) -> Write {
        let mut write = Write::default();
        if !ready.snapshot().is_empty() {
            let image = ready.snapshot().data.clone();
            let snapshot = Snapshot::decode(&image).expect("its form was checked before it was stepped");
            let record = SnapshotRecord { position: snapshot.position, image };
            self.raw.mut_store().install(&snapshot, record.clone());
            write.snapshot = Some(record);
            write.drops_entries = true;
            write.compacts_to = Some(snapshot.position);
            self.committed.clear();
            self.conf_index = snapshot.position.index;
            self.holds_committed_actions |= snapshot.state.is_some();
            self.taken_index = snapshot.position.index;
        }
        let log = self.raw.mut_store();
        if self.is_durable {
            write.entries = ready.take_entries();
            log.append(write.entries.iter().cloned());
        } else {
            log.append(ready.take_entries());
        }
        if let Some(hard_state) = ready.hs() {
            log.set_hard_state(hard_state.clone());
            self.has_unsaved_commit = true;
        }
        if must_save && std::mem::take(&mut self.has_unsaved_commit) {
            write.hard_state = Some(self.raw.store().hard_state().clone());
        }
        write
    }

    /// The oldest entry that is committed and not taken yet; none while it waits until a quorum knows that it is
    /// committed.
    pub fn next_committed(&mut self) -> Option<Entry> {
        let must_wait = self.committed.front().is_some_and(|entry| self.must_wait(entry));
        if must_wait { None } else { self.committed.pop_front() }
    }

    pub fn has_committed(&self) -> bool {
        !self.committed.is_empty()
    }
}

/// raft-rs rejected a proposal: it is in no log and never will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped;
