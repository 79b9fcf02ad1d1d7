//! The replica of a node in a cluster: the Raft group, and what follows from the log about members and requests.
//!
//! Created and dropped by `node.rs`; decides nothing by itself.

mod retention;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use raft_rs::eraftpb::{ConfState, Entry, EntryType, HardState};
use rand_chacha::{ChaCha8Rng, rand_core::RngCore};

use super::commits::History;
use super::divergence::Divergence;
use super::leader_state::LeaderState;
use super::liveness::Liveness;
use super::member_starts::MemberStarts;
use super::snapshot_schedule::SnapshotSchedule;
use crate::raft::application::Application;
use crate::raft::bootstrap::{self, Note};
use crate::raft::consensus::entry::{Context, FOUNDING_INDEX, FOUNDING_TERM};
use crate::raft::consensus::group::RaftGroup;
use crate::raft::consensus::log::Log;
use crate::raft::consensus::timing::Timing;
use crate::raft::coordination::Coordination;
use crate::raft::events::{Position, RecoveryVote, ReplicaRecord, Role, SnapshotRecord, StoredState, Write};
use crate::raft::identity::{ClusterUuid, Incarnation, RaftId};
use crate::raft::membership::members::{ANCESTORS_MAX, Members};
use crate::raft::options::Options;
use crate::raft::requests::{LeaderSessions, SessionTable};
use crate::raft::snapshot::Snapshot;
use crate::raft::status::{Member, Status};
use crate::raft::wire::message::{Ancestor, RaftKind, RaftMessage, Roster};

/// Senders of our cluster that are not members are remembered so that they can be answered; beyond this number they are
/// forgotten.
const NON_MEMBERS_MAX: usize = 256;

/// A replica in a cluster.
///
/// Invariants:
/// - `members`, `table` and `coordination` follow from the log up to `delivered_index`;
/// - `applied_index`, what JavaScript has reduced, is at most `delivered_index`.
#[cfg_attr(test, derive(Debug))]
pub(super) struct Replica {
    pub(super) me: Incarnation,
    pub(super) timing: Timing,
    pub(super) cluster: ClusterUuid,
    pub(super) group: RaftGroup,
    pub(super) members: Members,
    pub(super) table: SessionTable,
    pub(super) coordination: Coordination,
    /// Entries up to here are applied here and delivered to JavaScript.
    pub(super) delivered_index: u64,
    /// JavaScript has reduced everything up to here.
    pub(super) applied_index: u64,
    /// The index of the entry that founded this cluster as a successor, if no snapshot covered it at the start.
    pub(super) epoch_index: u64,
    /// The last index that holds an action, as far as delivered.
    pub(super) last_action: u64,
    pub(super) history: History,
    /// What only a leader has; exists exactly while this node leads.
    pub(super) leader_state: Option<LeaderState>,
    pub(super) liveness: Liveness,
    /// Members that are closing: they must not receive leadership.
    pub(super) closing: BTreeMap<RaftId, ClosingNotice>,
    pub(super) versions: BTreeMap<RaftId, Arc<str>>,
    /// The members' applications, as far as reported.
    pub(super) applications: BTreeMap<RaftId, Application>,
    /// The accepted start of each member.
    pub(super) starts: BTreeMap<RaftId, MemberStarts>,
    /// Nodes of our cluster that are not members according to our log, which may lag.
    non_members: BTreeMap<RaftId, Incarnation>,
    pub(super) snapshots: SnapshotSchedule,
    pub(super) divergence: Divergence,
    /// This node has given its recovery vote to another survivor, and no longer takes part in the cluster.
    pub(super) cast_vote: Option<CastRecoveryVote>,
    /// This node founds the successor as soon as the founding write is durable.
    pub(super) founding: Option<Founding>,
    /// Until this position is reduced, the state may be older than the one that the application saw before the restart.
    pub(super) replays_until: Option<Position>,
    /// What was last delivered to JavaScript.
    pub(super) reported_role: ReportedRole,
    /// The status of the members; recomputed only when it changes, because a status is copied every turn.
    member_statuses: Arc<[Member]>,
    session_statuses: Arc<[(Arc<str>, u64)]>,
    /// The members, encoded for the channel, which keeps them beyond the end of the cluster.
    pub(super) note: Bytes,
    member_facts: Vec<MemberFacts>,
}

/// The role of a node, as its application knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReportedRole {
    pub(super) role: Role,
    pub(super) term: u64,
    pub(super) leader: Option<RaftId>,
}

impl ReportedRole {
    pub(super) const NONE: Self = Self { role: Role::Follower, term: 0, leader: None };
}

/// A recovery vote, and the write that contains it; none once that is durable.
#[derive(Clone, Copy, Debug)]
pub(super) struct CastRecoveryVote {
    pub(super) recovery_vote: RecoveryVote,
    pub(super) pending_write: Option<u64>,
}

/// What a survivor's log becomes when `write` is durable.
#[derive(Debug)]
pub(super) struct Founding {
    pub(super) write: u64,
    pub(super) cluster: ClusterUuid,
    pub(super) entry: Entry,
    pub(super) hard_state: HardState,
}

/// The announcement of a closing member.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClosingNotice {
    pub(super) leaves: bool,
    pub(super) received_at: u64,
}

/// The inputs of `member_statuses`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct MemberFacts {
    raft_id: RaftId,
    is_active: bool,
    is_voter: bool,
    has_version: bool,
}

impl Replica {
    /// The replica of a founder, and the write that stores it. `campaign`: it starts an election immediately.
    pub(super) fn found(
        roster: &Roster,
        campaign: bool,
        me: Incarnation,
        options: &Options,
        rng: &mut ChaCha8Rng,
    ) -> (Self, Write) {
        let snapshot = Snapshot::found(roster);
        let image = snapshot.encode().image;
        let (mut replica, write) = Self::start(snapshot, image, FOUNDING_TERM, me, options, rng);
        replica.applied_index = FOUNDING_INDEX;
        if campaign {
            replica.group.campaign();
        }
        replica.refresh_members();
        (replica, write)
    }

    /// The replica of a newcomer that the leader of `term` admitted, and the write that stores it. It has never voted.
    pub(super) fn start(
        snapshot: Snapshot,
        image: Bytes,
        term: u64,
        me: Incarnation,
        options: &Options,
        rng: &mut ChaCha8Rng,
    ) -> (Self, Write) {
        let record = SnapshotRecord { position: snapshot.position, image };
        let log = Log::start(&snapshot, record.clone(), term.max(snapshot.position.term));
        let write = Write {
            replica: Some(ReplicaRecord::new(me, snapshot.members.cluster())),
            compacts_to: Some(record.position),
            snapshot: Some(record),
            hard_state: Some(log.hard_state().clone()),
            ..Write::default()
        };
        (Self::over(log, snapshot, me, options, rng), write)
    }

    /// The replica of a node that restarts with its log; `None` if the stored snapshot cannot be decoded.
    pub(super) fn resume(recovered: StoredState, options: &Options, rng: &mut ChaCha8Rng) -> Option<Self> {
        let snapshot = Snapshot::decode(&recovered.snapshot.image)?;
        if snapshot.position != recovered.snapshot.position {
            return None;
        }
        let ReplicaRecord { incarnation, cluster, recovery_vote } = recovered.replica;
        let log = Log::resume(&snapshot, recovered);
        let (term, index) = (log.hard_state().term, log.last_index());
        let mut replica = Self::over(log, snapshot, incarnation, options, rng);
        let (ancestors, newest) = replica.lineage();
        let is_renamed = ancestors.iter().any(|ancestor| ancestor.cluster == cluster);
        replica.cluster = if is_renamed { newest } else { cluster };
        injected_bug!(ForgetsSuccessorName, replica.cluster = cluster);
        // If the log itself has continued as the successor, the vote has served its purpose.
        replica.cast_vote = recovery_vote
            .filter(|_| !is_renamed)
            .map(|recovery_vote| CastRecoveryVote { recovery_vote, pending_write: None });
        replica.replays_until = Some(Position { index, term });
        Some(replica)
    }

    fn over(log: Log, snapshot: Snapshot, me: Incarnation, options: &Options, rng: &mut ChaCha8Rng) -> Self {
        let (timing, group) = (Timing::new(options), RaftGroup::new(log, me.raft_id(), options, rng));
        let mut replica = Self {
            me,
            timing,
            cluster: snapshot.members.cluster(),
            group,
            members: snapshot.members,
            table: snapshot.table,
            coordination: snapshot.coordination,
            delivered_index: snapshot.position.index,
            applied_index: 0,
            epoch_index: 0,
            last_action: 0,
            history: History::new(snapshot.position.index),
            leader_state: None,
            liveness: Liveness::new(me.raft_id(), timing),
            closing: BTreeMap::new(),
            versions: BTreeMap::from([(me.raft_id(), options.version.clone())]),
            applications: BTreeMap::from([(me.raft_id(), options.application.clone())]),
            starts: BTreeMap::new(),
            non_members: BTreeMap::new(),
            snapshots: SnapshotSchedule::new(options, rng.next_u64()),
            divergence: Divergence::default(),
            cast_vote: None,
            founding: None,
            replays_until: None,
            reported_role: ReportedRole::NONE,
            member_statuses: Arc::from([]),
            session_statuses: Arc::default(),
            note: Bytes::new(),
            member_facts: Vec::new(),
        };
        replica.refresh_members();
        replica.describe_sessions();
        replica
    }

    /// This replica continues alone: its whole log is committed, including the founding entry, and all of it is
    /// durable.
    pub(super) fn found_anew(&mut self, founding: Founding, options: &Options, rng: &mut ChaCha8Rng) {
        let Founding { cluster, entry, hard_state, .. } = founding;
        let me = self.me.raft_id();
        self.group.found_anew(entry, hard_state, self.delivered_index, me, options, rng);
        self.leader_state = None;
        self.cluster = cluster;
        self.group.campaign();
    }

    /// Follows raft-rs's role, term and leader: leadership begins and ends here. The new role, if it changed.
    pub(super) fn observe_role(&mut self, options: &Options) -> Option<ReportedRole> {
        let me = self.me.raft_id();
        // A newcomer may receive its leader's messages before its log names the leader.
        let leader = self.leader().filter(|leader| *leader == me || self.members.id(*leader).is_some());
        let now = ReportedRole { role: self.group.role(), term: self.group.term(), leader };
        let former = std::mem::replace(&mut self.reported_role, now);
        if now == former {
            return None;
        }
        if let Some(former) = former.leader.filter(|former| Some(*former) != leader && *former != me)
            && self.members.incarnation(former).is_some()
        {
            self.liveness.note_end_of_leader(former);
        }
        let is_leading = self.leader_state.as_ref().is_some_and(|leader| leader.sessions.term() == now.term);
        if now.role != Role::Leader {
            self.end_leadership();
        } else if !is_leading {
            self.begin_leadership(now.term, options);
        }
        Some(now)
    }

    /// This node leads in `term`.
    fn begin_leadership(&mut self, term: u64, options: &Options) {
        let sessions = LeaderSessions::new(term, options.evaluations_ahead_min);
        injected_bug!(ProposesStaleEvaluation, sessions => self.stale_sessions().unwrap_or(sessions));
        self.leader_state = Some(LeaderState::new(sessions, self.liveness.now()));
    }

    fn end_leadership(&mut self) {
        let leader_state = None;
        injected_bug!(
            ProposesStaleEvaluation,
            leader_state => self.stale_sessions().map(|sessions| LeaderState::new(sessions, self.liveness.now()))
        );
        self.leader_state = leader_state;
    }

    /// A bug: the sessions outlive their term.
    #[cfg(test)]
    fn stale_sessions(&mut self) -> Option<LeaderSessions> {
        Some(self.leader_state.take()?.sessions.continue_in(self.group.term()))
    }

    /// Whether this node leads and accepts requests.
    pub(super) fn has_open_sessions(&self) -> bool {
        self.leader_state.as_ref().is_some_and(|leader_state| leader_state.sessions.is_open())
    }

    /// Stops taking part in its cluster.
    pub(super) fn step_down(&mut self) {
        self.group.step_down();
        drop(self.group.take_messages());
        self.leader_state = None;
    }

    /// Whether the log and the votes of this replica must not change.
    pub(super) fn is_frozen(&self) -> bool {
        self.cast_vote.is_some() || self.founding.is_some()
    }

    /// A node that has given its recovery vote takes no part in elections.
    pub(super) fn may_send(&self, message: &RaftMessage, may_campaign: bool) -> bool {
        !self.is_frozen() && (may_campaign || message.kind != RaftKind::RequestPreVote)
    }

    pub(super) fn record(&self) -> ReplicaRecord {
        let recovery_vote = self.cast_vote.map(|cast_vote| cast_vote.recovery_vote);
        ReplicaRecord { incarnation: self.me, cluster: self.cluster, recovery_vote }
    }

    /// The former and the present names of the cluster, according to the whole log, including unapplied entries.
    pub(super) fn lineage(&self) -> (Vec<Ancestor>, ClusterUuid) {
        let mut ancestors = self.members.ancestors().to_vec();
        let mut name = self.members.cluster();
        for entry in self.group.log().entries_from(self.delivered_index + 1) {
            if entry.entry_type == EntryType::EntryNormal
                && entry.data.is_empty()
                && let Some(Context::Epoch { cluster, kept, .. }) = Context::decode(&entry.context)
            {
                ancestors.push(Ancestor { cluster: std::mem::replace(&mut name, cluster), kept });
            }
        }
        let known = ancestors.len().min(ANCESTORS_MAX);
        (ancestors.split_off(ancestors.len() - known), name)
    }

    /// Takes over the content of a snapshot that replaced the log up to its index.
    pub(super) fn restore(&mut self, record: &SnapshotRecord) -> Snapshot {
        let snapshot = Snapshot::decode(&record.image).expect("only what was decoded before is kept");
        self.members = snapshot.members.clone();
        self.table = snapshot.table.clone();
        self.coordination = snapshot.coordination.clone();
        self.describe_sessions();
        self.delivered_index = snapshot.position.index;
        self.history = History::new(self.delivered_index);
        snapshot
    }

    /// JavaScript has reduced everything up to `index`; a diverged node's application stays where it is.
    pub(super) fn reduced(&mut self, index: u64) {
        if !self.divergence.is_diverged() {
            self.applied_index = self.applied_index.max(index);
        }
        self.group.applied(index);
    }

    /// The voters and learners, as all members know them.
    pub(super) fn conf_state(&self) -> ConfState {
        let mut conf = self.group.conf_state();
        conf.learners.retain(|id| self.members.incarnation(*id).is_some());
        conf.learners_next.retain(|id| !self.members.is_leaving(*id));
        conf
    }

    /// The incarnation of a raft id, if known.
    pub(super) fn incarnation(&self, raft_id: RaftId) -> Option<Incarnation> {
        self.members.incarnation(raft_id).or_else(|| self.non_members.get(&raft_id).copied())
    }

    /// The node is no longer a member.
    pub(super) fn forget_member(&mut self, member: RaftId) {
        self.table.remove(member);
        self.coordination.forget_member(member);
        self.liveness.forget(member);
        self.closing.remove(&member);
        self.versions.remove(&member);
        self.applications.remove(&member);
        self.starts.remove(&member);
    }

    /// Remembers a sender of our cluster that is not a member here, so that raft-rs can answer it. False if another
    /// incarnation has its raft id.
    pub(super) fn remember_peer(&mut self, incarnation: Incarnation) -> bool {
        let raft_id = incarnation.raft_id();
        if let Some(known) = self.incarnation(raft_id) {
            return known == incarnation;
        }
        if self.non_members.len() >= NON_MEMBERS_MAX {
            self.non_members.clear();
        }
        self.non_members.insert(raft_id, incarnation);
        true
    }

    /// A closing member repeats its announcement until it ends. After an election timeout without one it may have
    /// returned with its log; but a member that leaves does not return.
    pub(super) fn is_closing(&self, member: RaftId) -> bool {
        let patience_ticks = self.timing.election();
        self.closing
            .get(&member)
            .is_some_and(|notice| notice.leaves || notice.received_at + patience_ticks > self.liveness.now())
    }

    /// On a leader, the members that have been silent for an election timeout, and for how long; `None` on others.
    pub(super) fn silent_members(&self) -> Option<Vec<(RaftId, u64)>> {
        let since = self.leader_state.as_ref()?.since();
        let members = self.members.iter();
        let silence =
            members.map(|(member, ..)| (member, self.liveness.silent_ticks_of_follower(member, since)));
        Some(silence.filter(|(_, ticks)| *ticks >= self.timing.election()).collect())
    }

    /// How many more voters may crash without losing the majority; in a joint configuration, that of each half (paper §6).
    fn fault_tolerance(&self) -> usize {
        // A log that does not name the leader yet has an earlier configuration.
        if self.leader_id().is_none() {
            return 0;
        }
        let silent = self.silent_members().map_or_else(
            || self.liveness.reported_silent().collect(),
            |silent| silent.into_iter().map(|(member, _)| member).collect::<BTreeSet<RaftId>>(),
        );
        let conf = self.group.conf_state();
        let halves = [conf.voters, conf.voters_outgoing].into_iter().filter(|voters| !voters.is_empty());
        let tolerated = halves.map(|voters| {
            let heard = voters.iter().filter(|voter| !silent.contains(voter)).count();
            heard.saturating_sub(voters.len() / 2 + 1)
        });
        tolerated.min().unwrap_or(0)
    }

    /// Records the silent members that the leader reported; all others are active.
    pub(super) fn note_unreachable(&mut self, members: Vec<(RaftId, u64)>) {
        let known = members.into_iter().filter(|(member, _)| self.members.incarnation(*member).is_some());
        self.liveness.note_silent(known);
    }

    /// Updates the status of the members if it has changed; a leader's knowledge of their logs always has.
    pub(super) fn refresh_members(&mut self) {
        if !self.member_facts().eq(self.member_facts.iter().copied()) && !self.are_members_behind() {
            self.member_facts = self.member_facts().collect();
            self.note = Note::new(self.cluster, self.members.iter().map(|(.., id)| id)).encode().into();
            self.describe_members();
        }
    }

    fn member_facts(&self) -> impl Iterator<Item = MemberFacts> + '_ {
        self.members.iter().map(|(raft_id, ..)| MemberFacts {
            raft_id,
            is_active: self.is_active(raft_id),
            is_voter: self.group.is_voter(raft_id),
            has_version: self.versions.contains_key(&raft_id),
        })
    }

    /// The voters are newer than the member list: an image is being installed, or this node was not a member, has
    /// founded the successor as its only voter, and has not applied that yet.
    pub(super) fn are_members_behind(&self) -> bool {
        let me = self.me.raft_id();
        let is_unnamed = || self.group.is_voter(me) && self.members.id(me).is_none();
        // The former name is the member list's, and the new one in the log.
        let has_founded = || self.members.cluster() != self.cluster && self.lineage().1 == self.cluster;
        self.group.is_installing() || is_unnamed() && has_founded()
    }

    pub(super) fn describe_members(&mut self) {
        if self.are_members_behind() {
            return;
        }
        let leads = self.group.is_leader();
        let members = self.members.iter().map(|(raft_id, incarnation, id)| Member {
            id: id.clone(),
            incarnation,
            is_voter: self.group.is_voter(raft_id),
            may_vote: self.members.may_vote(raft_id),
            is_active: self.is_active(raft_id),
            version: self.versions.get(&raft_id).cloned(),
            matched: self.group.matched(raft_id).filter(|_| leads),
        });
        let mut members: Vec<Member> = members.collect();
        members.sort_by(|a, b| a.id.cmp(&b.id));
        self.member_statuses = members.into();
    }

    pub(super) fn describe_sessions(&mut self) {
        let live = self.coordination.presence.live();
        self.session_statuses = live.into_iter().map(|(id, session)| (id.clone(), session)).collect();
    }

    fn is_active(&self, member: RaftId) -> bool {
        member == self.me.raft_id() || Some(member) == self.group.leader() || self.group.is_active(member)
    }

    /// What the bootstrap needs to know about the Raft group.
    pub(super) fn facts(&self) -> bootstrap::Facts {
        bootstrap::Facts {
            is_leader: self.group.is_leader(),
            members_index: self.group.members_index(),
            has_leader: self.leader().is_some(),
            has_seen_commit: self.group.has_seen_commit(),
            holds_actions: self.group.holds_actions(),
            holds_committed_actions: self.group.holds_committed_actions(),
            ..bootstrap::Facts::default()
        }
    }

    /// Fills in the fields of a status that depend on a replica.
    pub(super) fn describe(&self, status: &mut Status) {
        status.cluster = self.cluster;
        status.timers = self.coordination.timers.count();
        status.next_timer = self.coordination.timers.next_due();
        status.cluster_size = self.members.cluster_size();
        status.role = self.group.role();
        status.term = self.group.term();
        status.leader = self.leader_id();
        status.commit_index = self.group.commit_index();
        status.applied_index = self.applied_index;
        status.last_index = self.group.last_index();
        // The founding snapshot contains no state.
        status.snapshot_index = match self.group.log().snapshot().position.index {
            FOUNDING_INDEX => 0,
            index => index,
        };
        status.fault_tolerance = self.fault_tolerance();
        status.diverged = self.divergence.error().map(|error| error.to_string().into());
        status.members = self.member_statuses.clone();
        status.sessions = self.session_statuses.clone();
        status.recoveries = self.coordination.recoveries;
        // The bootstrap may lag one tick behind the group.
        let is_served = status.leader.is_some() && self.group.has_seen_commit();
        status.waiting_for = match status.waiting_for.take() {
            _ if is_served && !status.is_caught_up && !self.divergence.is_diverged() => {
                let (applied, commit) = (self.applied_index, status.commit_index);
                Some(format!("catching up with the leader: {applied} of {commit} applied").into())
            }
            _ if is_served => None,
            Some(text) => Some(text),
            None if let Some(cast_vote) = &self.cast_vote => Some(
                format!("waiting for cluster {}, which replaces this one", cast_vote.recovery_vote.cluster)
                    .into(),
            ),
            None => Some("waiting for a leader to be elected".into()),
        };
    }

    /// The leader, unless it is silent.
    pub(super) fn leader(&self) -> Option<RaftId> {
        self.group.leader().filter(|_| !self.liveness.is_leader_silent())
    }

    pub(super) fn leader_id(&self) -> Option<Arc<str>> {
        self.members.id(self.leader()?).cloned()
    }
}
