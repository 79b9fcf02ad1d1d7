//! This file is what a leader does for the members: it follows who is heard, asks the steward for the next change, and
//! carries it out.
//!
//! Part of `node.rs`. What is decided stands in `steward.rs`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use raft_rs::eraftpb::{ConfChangeType, ConfChangeV2, Entry};

use super::Node;
use super::seat::Seat;
use crate::raft::entry::Admission;
use crate::raft::events::{StateHash, Target};
use crate::raft::frame::Message;
use crate::raft::group::Group;
use crate::raft::identity::{Incarnation, RaftId};
use crate::raft::steward::{self, Newcomer, Standing, Step, View};
#[cfg(test)]
use crate::raft::testing::bugs::{Bug, is_back};
use crate::raft::transfer::Transfer;
use protobuf::Message as _;

/// More newcomers at a time are not remembered; they say HELLO again.
const NEWCOMERS_MAX: usize = 256;

/// What only a leader keeps, for as long as it leads.
#[derive(Debug)]
pub(super) struct Care {
    /// Silence is counted from here on: before, nobody had to speak to this node.
    since: u64,
    newcomers: BTreeMap<Incarnation, Heard>,
    /// When it last told the others that a member is silent.
    silence_told_at: Option<u64>,
    /// Whom a change that is in the log, and not applied, removes.
    going: BTreeSet<RaftId>,
    /// Who was removed, and is not told before a quorum can do without it.
    dismissed: Vec<Incarnation>,
    /// Whom an operator wants removed.
    pub(super) unwanted: BTreeSet<RaftId>,
    pub(super) transfers: BTreeMap<RaftId, Transfer>,
    /// Members that got an image, and at which index: they may not have the log behind it yet.
    pub(super) arrived: BTreeMap<RaftId, Arrived>,
    /// Commit indexes, the newer at most an election timeout old and the older at least: who has what was committed
    /// then has caught up.
    commits: [u64; 2],
    commits_at: u64,
    /// Questions about what is committed: answered when a quorum has confirmed the round.
    pub(super) reads: VecDeque<Read>,
    pub(super) hashes: BTreeMap<RaftId, (u64, Arc<str>, StateHash)>,
    /// Of the comparison that `hashes` are of: who was told that its state differs, and which one that was.
    pub(super) accused: BTreeMap<RaftId, StateHash>,
    /// When the next comparison of states may be proposed.
    pub(super) checks_at: u64,
    pub(super) checked_index: u64,
    /// The entry that records starts.
    pub(super) recorded_at: u64,
}

#[derive(Debug)]
struct Heard {
    id: Arc<str>,
    first: u64,
    last: u64,
}

/// The image that a member got last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    pub(super) index: u64,
    pub(super) overtaken: u32,
}

/// Somebody wants to know what is committed (thesis §6.4).
#[derive(Debug)]
pub(super) struct Read {
    /// 0: no round was begun for it yet.
    pub(super) round: u64,
    pub(super) from: Incarnation,
    pub(super) attempt: u64,
    pub(super) index: u64,
}

impl Care {
    pub(super) fn new(now: u64) -> Self {
        Self {
            since: now,
            newcomers: BTreeMap::new(),
            silence_told_at: None,
            going: BTreeSet::new(),
            dismissed: Vec::new(),
            unwanted: BTreeSet::new(),
            transfers: BTreeMap::new(),
            arrived: BTreeMap::new(),
            commits: [0; 2],
            commits_at: now,
            reads: VecDeque::new(),
            hashes: BTreeMap::new(),
            accused: BTreeMap::new(),
            checks_at: now,
            checked_index: 0,
            recorded_at: 0,
        }
    }

    /// Nothing was begun that a tick would carry on.
    pub(super) fn is_done(&self) -> bool {
        self.newcomers.is_empty()
            && self.going.is_empty()
            && self.dismissed.is_empty()
            && self.unwanted.is_empty()
            && self.transfers.is_empty()
            && self.arrived.is_empty()
            && self.reads.is_empty()
    }

    pub(super) fn since(&self) -> u64 {
        self.since
    }

    fn note_commit(&mut self, now: u64, commit_index: u64, election_ticks: u64) {
        if self.commits_at + election_ticks <= now {
            self.commits = [commit_index, self.commits[0]];
            self.commits_at = now;
        }
    }
}

impl Seat {
    fn removed_word(&self) -> Message {
        let cluster_size = u32::try_from(self.registry.cluster_size()).unwrap_or(u32::MAX);
        Message::Removed { term: self.group.term(), cluster_size }
    }

    /// Whose requests must not be evaluated any more: behind a change that removes their origin they change nothing, and
    /// whatever was evaluated on top of them would have seen what never was.
    pub(super) fn goes(&self, origin: RaftId) -> bool {
        !self.table.is_member(origin)
            || self.registry.is_leaving(origin)
            || self.care.as_ref().is_some_and(|care| care.going.contains(&origin))
    }

    /// Whether a member is being removed, or is to be: leadership is not for it.
    pub(super) fn is_to_go(&self, member: RaftId) -> bool {
        #[cfg(test)]
        if is_back(Bug::HandsOverToRemoved) {
            return false;
        }
        self.registry.is_leaving(member)
            || self
                .care
                .as_ref()
                .is_some_and(|care| care.going.contains(&member) || care.unwanted.contains(&member))
    }
}

impl Node {
    /// A HELLO was heard: of a newcomer, or of a member that has not heard that it is one.
    pub(super) fn welcome(
        &mut self,
        from: Incarnation,
        id: &Arc<str>,
        cluster_size: u32,
        version: &Arc<str>,
        members_index: u64,
    ) {
        let Some(seat) = &mut self.seat else { return };
        if seat.care.is_none() || cluster_size as usize != seat.registry.cluster_size() || !seat.meet(from) {
            return;
        }
        if seat.registry.contains(from) {
            seat.versions.insert(from.raft_id(), version.clone());
            seat.heard.insert(from.raft_id(), seat.now);
            return self.send_snapshot(from.raft_id(), false, false);
        }
        #[cfg(test)]
        let members_index =
            if is_back(Bug::LetsInByOldHello) { seat.group.members_index() } else { members_index };
        // What it has not heard yet, it hears in the answer to this HELLO.
        if members_index != seat.group.members_index() {
            return;
        }
        if let Some(care) = &mut seat.care
            && (care.newcomers.len() < NEWCOMERS_MAX || care.newcomers.contains_key(&from))
        {
            let heard = Heard { id: id.clone(), first: seat.now, last: seat.now };
            care.newcomers.entry(from).or_insert(heard).last = seat.now;
            self.steward();
        }
    }

    /// Does the next thing that there is to do about the membership, if this node leads.
    pub(super) fn steward(&mut self) {
        let Some(view) = self.view() else { return };
        let Some(step) = steward::next(&view) else { return };
        let Some(seat) = &mut self.seat else { return };
        match step {
            // Who stays would wait for an election if a leader that goes itself did not hand over before.
            Step::LeaveJoint if !seat.group.stays_voter(view.me) && view.has_heir => {
                self.hand_over(None);
            }
            Step::LeaveJoint => _ = seat.group.propose_change(&[], Vec::new()),
            Step::Admit(newcomer) => {
                let raft_id = newcomer.incarnation.raft_id();
                let admission = Admission { incarnation: newcomer.incarnation, id: newcomer.id };
                let change = [(ConfChangeType::AddLearnerNode, raft_id)];
                _ = seat.group.propose_change(&change, admission.encode());
            }
            Step::Change { promote, demote, remove } => {
                let changes: Vec<_> = remove
                    .iter()
                    .map(|member| (ConfChangeType::RemoveNode, *member))
                    .chain(demote.map(|member| (ConfChangeType::AddLearnerNode, member)))
                    .chain(promote.map(|member| (ConfChangeType::AddNode, member)))
                    .collect();
                if seat.group.propose_change(&changes, Vec::new()).is_ok()
                    && let Some(care) = &mut seat.care
                {
                    care.going.extend(remove);
                }
            }
            Step::HandOver => self.hand_over(None),
        }
    }

    /// A tick has passed: with each heartbeat interval a leader looks after what may be news of the members.
    pub(super) fn tick_care(&mut self) {
        let is_due = self.ticks.is_multiple_of(self.options.heartbeat_ticks.max(1));
        let Some(seat) = self.seat.as_mut().filter(|seat| is_due && seat.group.is_leader()) else { return };
        // What a leader knows of the others' logs is news all the time.
        seat.describe_members(self.membership.me().raft_id());
        self.record_starts();
        self.watch_applications();
    }

    /// Tells the others who is silent, so that they, and the next leader, know; and for a while, that none is any more.
    pub(super) fn tell_silence(&mut self) {
        let me = self.membership.me().raft_id();
        let election_ticks = self.options.election_timeout_ticks_max;
        let is_due = self.ticks.is_multiple_of(self.options.heartbeat_ticks.max(1));
        let Some(seat) = self.seat.as_mut().filter(|_| is_due) else { return };
        let Some(members) = seat.silent_members(me, election_ticks) else { return };
        let Some(care) = &mut seat.care else { return };
        if !members.is_empty() {
            care.silence_told_at = Some(seat.now);
        }
        if care.silence_told_at.is_some_and(|told_at| seat.now <= told_at + election_ticks) {
            self.outbox.push(Target::All, Message::Silent { members });
        }
    }

    /// Leadership is to go to this member, or to the one whose log is furthest, if it may take it.
    pub(super) fn hand_over(&mut self, to: Option<RaftId>) {
        let heir = self.heir(to);
        if let (Some(seat), Some(heir)) = (&mut self.seat, heir) {
            seat.group.transfer_leadership(heir);
        }
    }

    fn heir(&self, to: Option<RaftId>) -> Option<RaftId> {
        let patience_ticks = self.options.election_timeout_ticks_max;
        let seat = self.seat.as_ref()?;
        let lately = seat.now.saturating_sub(patience_ticks);
        let may = |id: RaftId| {
            to.is_none_or(|to| to == id)
                && !seat.is_closing(id, patience_ticks)
                && !seat.fence.is_known(id, lately)
                && !seat.is_to_go(id)
        };
        // Who was told stays told: a second heir would stand against the first in the same term, and split the votes.
        let told = seat.group.heir().filter(|heir| may(*heir));
        told.or_else(|| seat.group.most_advanced(may))
    }

    /// What the steward may look at; `None` unless this node leads, and knows what was committed before it did.
    fn view(&mut self) -> Option<View> {
        let me = self.membership.me().raft_id();
        let is_closing = self.closing.is_some();
        let leaves = self.closing.as_ref().is_some_and(|closing| closing.leaves && closing.is_settled);
        let election_ticks = self.options.election_timeout_ticks_max;
        let newcomer_ticks = 3 * election_ticks;
        self.seat.as_ref().filter(|seat| seat.group.accepts_proposals())?;
        let has_heir = self.heir(None).is_some();
        let seat = self.seat.as_mut()?;
        seat.leadership.as_ref().filter(|leadership| leadership.is_open())?;
        // One that was removed only waits until it can go.
        seat.registry.incarnation(me)?;
        let care = seat.care.as_mut()?;
        care.note_commit(seat.now, seat.group.commit_index(), election_ticks);
        let registry = &seat.registry;
        let now = seat.now;
        care.newcomers.retain(|incarnation, heard| {
            heard.last + newcomer_ticks > now && !registry.contains(*incarnation)
        });
        let newcomers = care.newcomers.iter().map(|(incarnation, heard)| Newcomer {
            incarnation: *incarnation,
            id: heard.id.clone(),
            waiting_ticks: now - heard.first,
        });
        let newcomers = newcomers.collect();
        let (since, caught_up, unwanted) = (care.since, care.commits[1], care.unwanted.clone());
        let members = seat.registry.members().map(|(raft_id, _, id)| Standing {
            raft_id,
            id: id.clone(),
            is_voter: seat.group.is_voter(raft_id),
            is_caught_up: is_caught_up(&seat.group, raft_id, caught_up),
            silent_ticks: seat.silence(raft_id, me, since, election_ticks),
            is_heard: raft_id == me || seat.heard.get(&raft_id).is_some_and(|heard| *heard > since),
            is_closing: seat.is_closing(raft_id, election_ticks) || raft_id == me && is_closing,
            leaves: seat.closing.get(&raft_id).is_some_and(|going| going.leaves) || raft_id == me && leaves,
            is_unwanted: unwanted.contains(&raft_id),
        });
        Some(View {
            me,
            cluster_size: seat.registry.cluster_size(),
            has_pending_change: seat.group.has_pending_change(),
            is_joint: seat.group.is_joint(),
            has_heir,
            members: members.collect(),
            newcomers,
            dead_ticks: 10 * election_ticks,
            absent_ticks: election_ticks,
        })
    }

    /// Applies a committed change of the configuration.
    pub(super) fn apply_change(&mut self, entry: &Entry) {
        let Some(seat) = &mut self.seat else { return };
        seat.group.apply_change(entry);
        let Ok(change) = ConfChangeV2::parse_from_bytes(&entry.data) else { return };
        if let Some(admission) = Admission::decode(&entry.context) {
            let raft_id = admission.incarnation.raft_id();
            seat.table.admit(raft_id);
            seat.heard.insert(raft_id, seat.now);
            seat.registry.admit(admission.incarnation, admission.id);
            if let Some(care) = &mut seat.care {
                care.newcomers.remove(&admission.incarnation);
                self.send_snapshot(raft_id, false, false);
            }
        }
        let Some(seat) = &mut self.seat else { return };
        if let Some(care) = &mut seat.care {
            care.going.clear();
        }
        let removes =
            change.changes.iter().filter(|single| single.get_change_type() == ConfChangeType::RemoveNode);
        let removed: Vec<RaftId> = removes.map(|single| single.node_id).collect();
        // Of a joint change, who goes still counts in the former quorum until that is left (paper §6).
        let gone = match change.changes.len() {
            0 => seat.registry.take_leaving(),
            1 => removed,
            _ => {
                seat.registry.set_leaving(removed);
                Vec::new()
            }
        };
        for member in gone {
            self.dismiss(member);
        }
    }

    /// A member is no member any more.
    pub(super) fn dismiss(&mut self, member: RaftId) {
        let me = self.membership.me().raft_id();
        let Some(seat) = &mut self.seat else { return };
        let Some(incarnation) = seat.registry.remove(member) else { return };
        // A leader that was removed waits for answers.
        seat.meet(incarnation);
        seat.table.remove(member);
        seat.heard.remove(&member);
        seat.silent_since.remove(&member);
        seat.closing.remove(&member);
        seat.versions.remove(&member);
        seat.applications.remove(&member);
        seat.starts.remove(&member);
        if let Some(care) = &mut seat.care {
            care.transfers.remove(&member);
            care.arrived.remove(&member);
            care.unwanted.remove(&member);
            care.hashes.remove(&member);
            if member != me {
                care.dismissed.push(incarnation);
            }
            // What they answer says what they know to be committed.
            if !seat.group.is_change_known() {
                seat.group.ping();
            }
        }
    }

    /// Tells whom this leader removed, which gets no more entries, and so would never learn of it.
    pub(super) fn tell_dismissed(&mut self) {
        let Some(seat) = &mut self.seat else { return };
        let Some(care) = seat.care.as_mut().filter(|care| !care.dismissed.is_empty()) else { return };
        if !seat.group.is_change_known() {
            return;
        }
        for incarnation in std::mem::take(&mut care.dismissed) {
            let removed = seat.removed_word();
            self.outbox.push(Target::One(incarnation), removed);
        }
    }

    /// Tells a sender of our cluster that is no member so, if this node leads, and so knows.
    pub(super) fn refuse_stranger(&mut self, from: Incarnation) {
        let Some(seat) = &self.seat else { return };
        let knows = seat.leadership.as_ref().is_some_and(|leadership| leadership.is_open());
        if knows
            && !seat.registry.contains(from)
            && !seat.group.is_member(from.raft_id())
            && seat.group.is_change_known()
        {
            let removed = seat.removed_word();
            self.outbox.push(Target::One(from), removed);
        }
    }
}

fn is_caught_up(group: &Group, member: RaftId, index: u64) -> bool {
    group.is_active(member) && group.matched(member).is_some_and(|matched| matched >= index)
}
