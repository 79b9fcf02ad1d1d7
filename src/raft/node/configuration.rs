//! What a leader does about the members: asks the planner for the next change of the configuration, and executes it.
//!
//! `planner.rs` decides.

use std::sync::Arc;

use protobuf::Message as _;
use raft_rs::eraftpb::{ConfChangeType, ConfChangeV2, Entry};

use super::closing::Closing;
use super::output::Output;
use super::replica::Replica;
use crate::raft::consensus::entry::Admission;
use crate::raft::consensus::group::RaftGroup;
use crate::raft::events::Target;
use crate::raft::identity::{Incarnation, RaftId};
use crate::raft::membership::planner::{self, ClusterView, MemberView, Newcomer, Step};
use crate::raft::wire::message::{LivenessMessage, MembershipMessage};

impl Replica {
    fn removed_message(&self) -> MembershipMessage {
        let cluster_size = u32::try_from(self.members.cluster_size()).unwrap_or(u32::MAX);
        MembershipMessage::Removed { term: self.group.term(), cluster_size }
    }

    /// Whether the requests of an origin must not be evaluated any more: behind a change that removes the origin they
    /// change nothing, and evaluations on top of them would have seen a state that never existed.
    pub(super) fn is_being_removed(&self, origin: RaftId) -> bool {
        !self.table.is_member(origin)
            || self.members.is_leaving(origin)
            || self.leader_state.as_ref().is_some_and(|leader_state| leader_state.is_being_removed(origin))
    }

    /// Whether a member is being removed, or will be: it must not receive leadership.
    pub(super) fn will_be_removed(&self, member: RaftId) -> bool {
        injected_bug!(HandsOverToRemoved, return false);
        self.members.is_leaving(member)
            || self.leader_state.as_ref().is_some_and(|leader_state| leader_state.will_be_removed(member))
    }

    /// Transfers leadership to this member, or to the one with the longest log, if that may lead.
    pub(super) fn transfer_leadership(&mut self, to: Option<RaftId>) {
        if let Some(transfer_target) = self.transfer_target(to) {
            self.group.transfer_leadership(transfer_target);
        }
    }

    fn transfer_target(&self, to: Option<RaftId>) -> Option<RaftId> {
        let lately = self.liveness.now().saturating_sub(self.timing.election());
        let may = |id: RaftId| {
            to.is_none_or(|to| to == id)
                && !self.is_closing(id)
                && !self.divergence.is_known(id, lately)
                && !self.will_be_removed(id)
        };
        // A chosen target stays: a second one would campaign against the first in the same term and split the votes.
        let current = self.group.transfer_target().filter(|transfer_target| may(*transfer_target));
        current.or_else(|| self.group.most_advanced(may))
    }
}

/// The effect of a Discover.
pub(super) enum Discovered {
    /// Nothing: its sender repeats it.
    Ignored,
    /// Its sender is a member that does not know it yet: it needs a snapshot.
    Member,
    /// Its sender wants to be admitted.
    Newcomer,
}

/// Handles a Discover of a newcomer, or of a member that does not know yet that it is one.
pub(super) fn handle_discover(
    from: Incarnation,
    id: &Arc<str>,
    cluster_size: u32,
    version: &Arc<str>,
    (members_index, may_vote): (u64, bool),
    replica: &mut Replica,
) -> Discovered {
    if replica.leader_state.is_none()
        || cluster_size as usize != replica.members.cluster_size()
        || !replica.remember_peer(from)
    {
        return Discovered::Ignored;
    }
    if replica.members.contains(from) {
        replica.versions.insert(from.raft_id(), version.clone());
        replica.liveness.note_heard(from.raft_id());
        return Discovered::Member;
    }
    injected_bug!(LetsInByOldHello, members_index => replica.group.members_index());
    // The answer to this Discover contains the present index.
    let is_present = members_index == replica.group.members_index();
    let leader_state = replica.leader_state.as_mut().filter(|_| is_present);
    let now = replica.liveness.now();
    match leader_state.is_some_and(|leader_state| leader_state.remember_newcomer(from, id, may_vote, now)) {
        true => Discovered::Newcomer,
        false => Discovered::Ignored,
    }
}

/// Executes the planner's next step, if this node leads; `closing`: it is closing itself.
pub(super) fn plan(replica: &mut Replica, closing: Option<&Closing>) {
    let Some(view) = cluster_view(replica, closing) else { return };
    match planner::next(&view) {
        None => {}
        // If a leader that leaves did not transfer leadership first, the others would have to wait for an election.
        Some(Step::LeaveJoint) if !replica.group.stays_voter(view.me) && view.has_transfer_target => {
            replica.transfer_leadership(None);
        }
        Some(Step::LeaveJoint) => _ = replica.group.propose_change(&[], Vec::new()),
        Some(Step::Admit(newcomer)) => {
            let raft_id = newcomer.incarnation.raft_id();
            let Newcomer { incarnation, id, may_vote, .. } = newcomer;
            let admission = Admission { incarnation, id, may_vote };
            let change = [(ConfChangeType::AddLearnerNode, raft_id)];
            _ = replica.group.propose_change(&change, admission.encode());
        }
        Some(Step::Change { promote, demote, remove }) => {
            let changes: Vec<_> = remove
                .iter()
                .map(|member| (ConfChangeType::RemoveNode, *member))
                .chain(demote.map(|member| (ConfChangeType::AddLearnerNode, member)))
                .chain(promote.map(|member| (ConfChangeType::AddNode, member)))
                .collect();
            if replica.group.propose_change(&changes, Vec::new()).is_ok()
                && let Some(leader_state) = &mut replica.leader_state
            {
                leader_state.begin_removal(remove);
            }
        }
        Some(Step::TransferLeadership) => replica.transfer_leadership(None),
    }
}

/// The planner's input; `None` unless this node leads and knows everything that was committed before its term.
fn cluster_view(replica: &mut Replica, closing: Option<&Closing>) -> Option<ClusterView> {
    if !replica.group.accepts_proposals() {
        return None;
    }
    let (me, timing) = (replica.me.raft_id(), replica.timing);
    let has_transfer_target = replica.transfer_target(None).is_some();
    if !replica.has_open_sessions() {
        return None;
    }
    // A leader that was removed only waits until it can stop leading.
    replica.members.incarnation(me)?;
    let leader_state = replica.leader_state.as_mut()?;
    leader_state.note_commit(replica.liveness.now(), replica.group.commit_index(), timing.election());
    let newcomers = leader_state.newcomers(&replica.members, replica.liveness.now(), timing.missing());
    let (since, caught_up) = (leader_state.since(), leader_state.caught_up_index());
    let removal_requested = leader_state.removal_requested.clone();
    let members = replica.members.iter().map(|(raft_id, _, id)| {
        let own = closing.filter(|_| raft_id == me);
        MemberView {
            raft_id,
            id: id.clone(),
            is_voter: replica.group.is_voter(raft_id),
            may_vote: replica.members.may_vote(raft_id),
            is_caught_up: is_caught_up(&replica.group, raft_id, caught_up),
            silent_ticks: replica.liveness.silent_ticks_of_follower(raft_id, since),
            is_heard: raft_id == me
                || replica.liveness.heard_at(raft_id).is_some_and(|heard_at| heard_at > since),
            is_closing: replica.is_closing(raft_id) || own.is_some(),
            leaves: replica.closing.get(&raft_id).is_some_and(|notice| notice.leaves)
                || own.is_some_and(Closing::gives_up_membership),
            is_removal_requested: removal_requested.contains(&raft_id),
        }
    });
    Some(ClusterView {
        me,
        cluster_size: replica.members.cluster_size(),
        has_pending_change: replica.group.has_pending_change(),
        is_joint: replica.group.is_joint(),
        has_transfer_target,
        members: members.collect(),
        newcomers,
        dead_ticks: timing.dead(),
        absent_ticks: timing.election(),
    })
}

/// As the leader, once per heartbeat interval: reports silent members, so that the others and the next leader know
/// them; when all have returned, continues for some time to report that there are none.
pub(super) fn report_silent_members(replica: &mut Replica, output: &mut Output) {
    let Some(members) = replica.silent_members() else { return };
    let Some(leader_state) = &mut replica.leader_state else { return };
    if leader_state.reports_silence(!members.is_empty(), replica.liveness.now(), replica.timing.election()) {
        output.send(Target::All, LivenessMessage::Unreachable { members });
    }
}

/// Applies a committed change of the configuration. Returns the member that it admits, for the leader to send it a
/// snapshot.
pub(super) fn apply_change(entry: &Entry, replica: &mut Replica) -> Option<RaftId> {
    replica.group.apply_change(entry);
    let change = ConfChangeV2::parse_from_bytes(&entry.data).ok()?;
    let mut admitted = None;
    if let Some(admission) = Admission::decode(&entry.context) {
        let raft_id = admission.incarnation.raft_id();
        replica.table.admit(raft_id);
        replica.liveness.note_heard(raft_id);
        replica.members.admit(admission.incarnation, admission.id, admission.may_vote);
        if let Some(leader_state) = &mut replica.leader_state {
            leader_state.forget_newcomer(admission.incarnation);
            admitted = Some(raft_id);
        }
    }
    if let Some(leader_state) = &mut replica.leader_state {
        leader_state.end_removals();
    }
    let removes =
        change.changes.iter().filter(|single| single.get_change_type() == ConfChangeType::RemoveNode);
    let removed: Vec<RaftId> = removes.map(|single| single.node_id).collect();
    // In a joint change, removed members still count in the old quorum until the joint configuration is left (paper
    // §6).
    let gone = match change.changes.len() {
        0 => replica.members.take_leaving(),
        1 => removed,
        _ => {
            replica.members.set_leaving(removed);
            Vec::new()
        }
    };
    for member in gone {
        remove_member(member, replica);
    }
    admitted
}

fn remove_member(member: RaftId, replica: &mut Replica) {
    let Some(incarnation) = replica.members.remove(member) else { return };
    // A removed leader still waits for answers.
    replica.remember_peer(incarnation);
    replica.forget_member(member);
    if let Some(leader_state) = &mut replica.leader_state {
        leader_state.forget_member(member);
        if incarnation != replica.me {
            leader_state.notify_later(incarnation);
        }
        // Their answers show what they know to be committed.
        if !replica.group.is_change_known() {
            replica.group.ping();
        }
    }
}

/// Notifies removed nodes, which receive no more entries and would never learn of their removal.
pub(super) fn notify_removed(replica: &mut Replica, output: &mut Output) {
    let leader_state = replica.leader_state.as_mut();
    let Some(leader_state) = leader_state.filter(|leader_state| leader_state.has_removed_to_notify()) else {
        return;
    };
    if !replica.group.is_change_known() {
        return;
    }
    for incarnation in leader_state.take_removed_to_notify() {
        output.send(Target::One(incarnation), replica.removed_message());
    }
}

/// Whether this leader was removed, and a quorum has applied that (thesis §4.2.2). The leader notifies other removed
/// members: until a quorum has applied the removal, their votes may be needed.
pub(super) fn is_removed_leader(replica: &Replica) -> bool {
    let is_behind = replica.are_members_behind();
    injected_bug!(SurvivorTakesItselfForRemoved, is_behind => false);
    replica.group.is_leader()
        && !is_behind
        && !replica.members.contains(replica.me)
        && replica.group.is_change_known()
}

/// Notifies a sender of this cluster that it is not a member. Only a leader does, because only a leader knows.
pub(super) fn refuse_non_member(from: Incarnation, replica: &Replica, output: &mut Output) {
    if replica.has_open_sessions()
        && !replica.members.contains(from)
        && !replica.group.is_member(from.raft_id())
        && replica.group.is_change_known()
    {
        output.send(Target::One(from), replica.removed_message());
    }
}

fn is_caught_up(group: &RaftGroup, member: RaftId, index: u64) -> bool {
    group.is_active(member) && group.matched(member).is_some_and(|matched| matched >= index)
}
