//! Decides the leader's next change of the configuration: admits newcomers, promotes learners, replaces dead voters,
//! and removes leavers, one change at a time (paper §6, thesis §4.2).
//!
//! Called by `node/configuration.rs` with all its inputs. It must never act.

use std::sync::Arc;

use crate::raft::identity::{Incarnation, RaftId};

/// More learners than this are not admitted.
const LEARNERS_MAX: usize = 256;

/// The leader's present knowledge of the membership.
#[derive(Clone, Debug)]
pub struct ClusterView {
    pub me: RaftId,
    /// The intended number of voters.
    pub cluster_size: usize,
    /// The log contains an unapplied change.
    pub has_pending_change: bool,
    pub is_joint: bool,
    /// Another voter may receive leadership.
    pub has_transfer_target: bool,
    pub members: Vec<MemberView>,
    pub newcomers: Vec<Newcomer>,
    /// After this many silent ticks a member counts as dead; after `absent_ticks` if a new incarnation has its id.
    pub dead_ticks: u64,
    pub absent_ticks: u64,
}

/// A member from the leader's point of view.
#[derive(Clone, Debug)]
pub struct MemberView {
    pub raft_id: RaftId,
    pub id: Arc<str>,
    pub is_voter: bool,
    /// It is a voter or may become one.
    pub may_vote: bool,
    /// It has everything that was committed an election timeout ago (thesis §4.2.1), and responds.
    pub is_caught_up: bool,
    /// Since its last message, or since this leadership began.
    pub silent_ticks: u64,
    /// It has sent something since this leadership began.
    pub is_heard: bool,
    /// It has announced that it is closing, and, if `leaves`, that it will not return.
    pub is_closing: bool,
    pub leaves: bool,
    /// An operator has ordered its removal.
    pub is_removal_requested: bool,
}

/// A node that sends Discover and is not a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newcomer {
    pub incarnation: Incarnation,
    pub id: Arc<str>,
    pub may_vote: bool,
    /// Ticks since its first Discover.
    pub waiting_ticks: u64,
}

/// One change of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Leave a joint configuration that a former leader left behind.
    LeaveJoint,
    /// Admit a newcomer as a learner.
    Admit(Newcomer),
    /// In one step: promote, demote and remove members.
    Change { promote: Option<RaftId>, demote: Option<RaftId>, remove: Vec<RaftId> },
    /// The leader itself is to be removed: it first transfers leadership (in raft-rs a removed leader continues to
    /// lead). Or a former leader has demoted it: no node confirms such a leader.
    TransferLeadership,
}

/// The next step, if there is one.
pub fn next(view: &ClusterView) -> Option<Step> {
    if view.has_pending_change {
        return None;
    }
    if view.is_joint {
        return Some(Step::LeaveJoint);
    }
    let hands_over = |me: &MemberView| {
        let has_others = view.voters().count() > 1;
        me.is_removal_requested && has_others || !me.is_voter || view.should_yield(me) && has_others
    };
    // Without a transfer target, other members come first: members that stay replace those that leave.
    if view.has_transfer_target && view.me().is_some_and(hands_over) {
        return Some(Step::TransferLeadership);
    }
    let steps = [
        view.remove_leavers(),
        view.ensure_successor(),
        view.grow(),
        view.replace(),
        view.yield_vote(),
        view.admit(),
        view.shrink(),
        view.tidy(),
    ];
    steps.into_iter().flatten().next()
}

impl ClusterView {
    fn me(&self) -> Option<&MemberView> {
        self.members.iter().find(|member| member.raft_id == self.me)
    }

    fn voters(&self) -> impl Iterator<Item = &MemberView> {
        self.members.iter().filter(|member| member.is_voter)
    }

    fn learners(&self) -> impl Iterator<Item = &MemberView> {
        self.members.iter().filter(|member| !member.is_voter)
    }

    /// A learner that can vote immediately; preferably the one with this id.
    fn spare(&self, id: &Arc<str>) -> Option<&MemberView> {
        let fit = || {
            self.learners().filter(|learner| {
                learner.may_vote
                    && learner.is_caught_up
                    && learner.silent_ticks < self.absent_ticks
                    && !learner.is_closing
                    && !learner.is_removal_requested
                    // Two processes have this id: the one that votes stays.
                    && !self.voters().any(|voter| voter.id == learner.id && voter.id != *id)
            })
        };
        fit().find(|learner| learner.id == *id).or_else(|| fit().next())
    }

    /// A member that leaves, or is to be removed, transfers its vote to a spare, or gives it up.
    fn remove_leavers(&self) -> Option<Step> {
        let goes = |member: &&MemberView| {
            member.raft_id != self.me && (member.leaves || member.is_removal_requested)
        };
        if let Some(learner) = self.learners().find(goes) {
            return Some(remove(vec![learner.raft_id]));
        }
        let voter = self.voters().find(goes)?;
        if let Some(spare) = self.spare(&voter.id) {
            return Some(replace(voter, spare));
        }
        // The remaining members must be able to continue without it: dead members among them count against that.
        let mut removed = vec![voter.raft_id];
        let stay: Vec<&MemberView> = self.voters().filter(|other| other.raft_id != voter.raft_id).collect();
        let (alive, silent): (Vec<&&MemberView>, Vec<&&MemberView>) =
            stay.iter().partition(|other| other.silent_ticks < self.absent_ticks);
        // A new leader does not know yet which of them are alive.
        let heard = alive.iter().filter(|other| !self.may_be_dead(other)).count();
        if heard < alive.len() && stay.len() > 2 * heard.saturating_sub(1) + 1 {
            return None;
        }
        let mut silent = silent.into_iter();
        while stay.len() + 1 - removed.len() > 2 * alive.len().saturating_sub(1) + 1
            && let Some(other) = silent.next()
        {
            removed.push(other.raft_id);
        }
        (stay.len() + 1 > removed.len()).then(|| remove(removed))
    }

    /// A leader that leaves needs a transfer target: a spare, even if all voters are present.
    fn ensure_successor(&self) -> Option<Step> {
        let me = self.me().filter(|me| me.leaves || me.is_removal_requested)?;
        let is_transfer_target = |voter: &MemberView| {
            voter.raft_id != me.raft_id
                && !voter.is_closing
                && !voter.is_removal_requested
                && voter.silent_ticks < self.absent_ticks
        };
        if self.voters().any(is_transfer_target) {
            return None;
        }
        Some(Step::Change { promote: Some(self.spare(&me.id)?.raft_id), demote: None, remove: Vec::new() })
    }

    fn grow(&self) -> Option<Step> {
        if self.voters().count() >= self.cluster_size {
            return None;
        }
        let spare = self.spare(&Arc::from("")).filter(|spare| !self.may_be_dead(spare))?;
        // If the new voter dies immediately, the others must still be a quorum; this does not apply to a first voter.
        let count = self.voters().count();
        let alive = self.voters().filter(|voter| !self.may_be_dead(voter) && !voter.is_closing).count();
        let goes_on = alive == count || alive > count.div_ceil(2);
        goes_on.then(|| Step::Change { promote: Some(spare.raft_id), demote: None, remove: Vec::new() })
    }

    /// It has missed a heartbeat or two, long before it counts as absent.
    fn may_be_dead(&self, member: &MemberView) -> bool {
        member.raft_id != self.me && (!member.is_heard || member.silent_ticks >= self.absent_ticks / 4)
    }

    fn replace(&self) -> Option<Step> {
        let others = || self.voters().filter(|voter| voter.raft_id != self.me);
        let twin = others().filter(|voter| voter.silent_ticks >= self.absent_ticks).find_map(|voter| {
            let spare = self.spare(&voter.id).filter(|spare| spare.id == voter.id)?;
            Some(replace(voter, spare))
        });
        let stranger = || {
            let dead = others().find(|voter| voter.silent_ticks >= self.dead_ticks)?;
            Some(replace(dead, self.spare(&dead.id)?))
        };
        twin.or_else(stranger)
    }

    /// Whether a voter should give its vote to another member, because it should not vote: it was the last voter of a
    /// cluster that was recovered. Of two such voters neither yields, or they would transfer leadership to each other
    /// forever.
    fn should_yield(&self, voter: &MemberView) -> bool {
        let mut others = self.voters().filter(|other| other.raft_id != voter.raft_id);
        !voter.may_vote && others.all(|other| other.may_vote)
    }

    fn yield_vote(&self) -> Option<Step> {
        let voter = self.voters().find(|voter| voter.raft_id != self.me && !voter.may_vote)?;
        let spare = self.spare(&Arc::from("")).filter(|spare| !self.may_be_dead(spare))?;
        let (promote, demote) = (Some(spare.raft_id), Some(voter.raft_id));
        Some(Step::Change { promote, demote, remove: Vec::new() })
    }

    /// A newcomer with the id of a member waits until that member is silent; if the member sends something later, it
    /// stays.
    fn admit(&self) -> Option<Step> {
        if self.learners().count() >= LEARNERS_MAX {
            return None;
        }
        let may_enter = |newcomer: &&Newcomer| {
            let mut namesakes = self.members.iter().filter(|member| member.id == newcomer.id);
            namesakes.all(|member| member.raft_id != self.me && member.silent_ticks >= self.absent_ticks)
        };
        let longest =
            self.newcomers.iter().filter(may_enter).max_by_key(|newcomer| newcomer.waiting_ticks)?;
        Some(Step::Admit(longest.clone()))
    }

    fn shrink(&self) -> Option<Step> {
        if self.voters().count() <= self.cluster_size {
            return None;
        }
        let others = || self.voters().filter(|voter| voter.raft_id != self.me);
        if let Some(dead) = others().find(|voter| voter.silent_ticks >= self.dead_ticks) {
            return Some(remove(vec![dead.raft_id]));
        }
        // If a member may be dead, it will be removed once that is certain: demoting another one would leave fewer
        // living voters.
        if others().any(|voter| self.may_be_dead(voter)) {
            return None;
        }
        let voter = others().max_by_key(|voter| (voter.is_closing, !voter.may_vote, voter.raft_id))?;
        Some(Step::Change { promote: None, demote: Some(voter.raft_id), remove: Vec::new() })
    }

    /// Removes a learner that is dead, or is a second process of a living member.
    fn tidy(&self) -> Option<Step> {
        let is_twin = |learner: &MemberView| {
            self.members.iter().any(|member| {
                member.raft_id != learner.raft_id
                    && member.id == learner.id
                    && member.silent_ticks < self.absent_ticks
                    && (member.is_voter || member.silent_ticks < learner.silent_ticks)
            })
        };
        let gone =
            self.learners().find(|learner| learner.silent_ticks >= self.dead_ticks || is_twin(learner))?;
        Some(remove(vec![gone.raft_id]))
    }
}

fn remove(members: Vec<RaftId>) -> Step {
    Step::Change { promote: None, demote: None, remove: members }
}

fn replace(gone: &MemberView, by: &MemberView) -> Step {
    Step::Change { promote: Some(by.raft_id), demote: None, remove: vec![gone.raft_id] }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEAD: u64 = 500;
    const ABSENT: u64 = 50;

    fn member(raft_id: RaftId, is_voter: bool) -> MemberView {
        MemberView {
            raft_id,
            id: format!("n{raft_id}").into(),
            is_voter,
            may_vote: true,
            is_caught_up: true,
            silent_ticks: 0,
            is_heard: true,
            is_closing: false,
            leaves: false,
            is_removal_requested: false,
        }
    }

    /// Led by 1.
    fn view(voters: u64, learners: u64) -> ClusterView {
        let members = (1..=voters + learners).map(|raft_id| member(raft_id, raft_id <= voters));
        ClusterView {
            me: 1,
            cluster_size: 3,
            has_pending_change: false,
            is_joint: false,
            has_transfer_target: true,
            members: members.collect(),
            newcomers: Vec::new(),
            dead_ticks: DEAD,
            absent_ticks: ABSENT,
        }
    }

    fn newcomer(id: &str, waiting_ticks: u64) -> Newcomer {
        Newcomer { incarnation: Incarnation::from_u128(99), id: id.into(), may_vote: true, waiting_ticks }
    }

    #[test]
    fn nothing_is_done_in_a_full_and_healthy_cluster_or_while_a_change_is_pending() {
        assert_eq!(next(&view(3, 1)), None);
        let mut pending = view(3, 1);
        pending.members[2].silent_ticks = DEAD;
        pending.has_pending_change = true;
        assert_eq!(next(&pending), None);
    }

    #[test]
    fn a_voter_that_should_not_vote_leads_no_longer_than_it_must_and_yields_its_vote_to_a_spare() {
        let mut view = view(1, 0);
        view.members[0].may_vote = false;
        view.has_transfer_target = false;
        assert_eq!(next(&view), None, "it is alone");
        let mut view = self::view(3, 1);
        view.members[0].may_vote = false;
        assert_eq!(next(&view), Some(Step::TransferLeadership));
        view.members[1].may_vote = false;
        let yields = Step::Change { promote: Some(4), demote: Some(2), remove: vec![] };
        assert_eq!(next(&view), Some(yields.clone()), "two of them do not pass leadership to each other");
        view.members[0].may_vote = true;
        assert_eq!(next(&view), Some(yields));
        view.members[3].silent_ticks = ABSENT;
        assert_eq!(next(&view), None, "without a spare it votes on");
        let mut view = self::view(4, 0);
        view.members[1].may_vote = false;
        assert_eq!(next(&view), Some(Step::Change { promote: None, demote: Some(2), remove: vec![] }));
    }

    #[test]
    fn a_joint_configuration_is_left_before_anything_else() {
        let mut view = view(3, 1);
        view.is_joint = true;
        view.members[2].silent_ticks = DEAD;
        assert_eq!(next(&view), Some(Step::LeaveJoint));
    }

    #[test]
    fn a_newcomer_is_let_in_and_promoted_when_it_has_caught_up_and_a_vote_is_free() {
        let mut view = view(2, 0);
        view.newcomers.push(newcomer("n3", 0));
        assert_eq!(next(&view), Some(Step::Admit(newcomer("n3", 0))));
        let mut view = self::view(2, 1);
        view.members[2].is_caught_up = false;
        assert_eq!(next(&view), None);
        view.members[2].is_caught_up = true;
        assert_eq!(next(&view), Some(Step::Change { promote: Some(3), demote: None, remove: vec![] }));
    }

    #[test]
    fn a_cluster_grows_only_where_it_goes_on_if_the_new_voter_dies_at_once() {
        let grown = Some(Step::Change { promote: Some(4), demote: None, remove: vec![] });
        let mut view = view(3, 1);
        view.cluster_size = 5;
        assert_eq!(next(&view), grown);
        view.members[3].silent_ticks = ABSENT / 4;
        assert_eq!(next(&view), None, "it may be dead already");
        view.members[3].silent_ticks = 0;
        view.members[1].silent_ticks = ABSENT / 4;
        assert_eq!(next(&view), None, "two of four are no quorum");
        view.members[1].silent_ticks = DEAD;
        assert_eq!(next(&view), Some(Step::Change { promote: Some(4), demote: None, remove: vec![2] }));
        let mut view = self::view(4, 1);
        view.cluster_size = 5;
        view.members[1].silent_ticks = DEAD - 1;
        assert_eq!(next(&view), Some(Step::Change { promote: Some(5), demote: None, remove: vec![] }));
    }

    #[test]
    fn a_dead_voter_is_replaced_by_a_spare_and_kept_without_one() {
        let mut view = view(3, 1);
        view.members[1].silent_ticks = DEAD - 1;
        assert_eq!(next(&view), None);
        view.members[1].silent_ticks = DEAD;
        assert_eq!(next(&view), Some(Step::Change { promote: Some(4), demote: None, remove: vec![2] }));
        view.members.pop();
        assert_eq!(next(&view), None);
    }

    #[test]
    fn the_new_incarnation_of_a_silent_voter_replaces_it_soon() {
        let mut view = view(3, 1);
        view.members[3].id = "n2".into();
        view.members[1].silent_ticks = ABSENT;
        assert_eq!(next(&view), Some(Step::Change { promote: Some(4), demote: None, remove: vec![2] }));
        view.members[1].silent_ticks = 0;
        assert_eq!(next(&view), Some(remove(vec![4])), "its twin lives");
    }

    #[test]
    fn a_newcomer_waits_for_its_namesake_to_be_silent() {
        let mut view = view(3, 0);
        view.newcomers.push(newcomer("n2", 10));
        assert_eq!(next(&view), None);
        view.members[1].silent_ticks = ABSENT;
        assert_eq!(next(&view), Some(Step::Admit(newcomer("n2", 10))));
    }

    #[test]
    fn a_leaver_gives_its_vote_to_a_spare_or_gives_it_up() {
        let mut view = view(3, 1);
        view.members[2].leaves = true;
        assert_eq!(next(&view), Some(Step::Change { promote: Some(4), demote: None, remove: vec![3] }));
        view.members.pop();
        assert_eq!(next(&view), Some(remove(vec![3])));
    }

    #[test]
    fn the_remaining_members_can_continue_without_the_leaver() {
        let mut view = view(3, 0);
        view.members[1].silent_ticks = ABSENT;
        view.members[2].leaves = true;
        assert_eq!(next(&view), Some(remove(vec![3, 2])), "1 alone is a quorum of what is left");
        let mut view = self::view(5, 0);
        view.members[1].silent_ticks = ABSENT;
        view.members[2].leaves = true;
        assert_eq!(next(&view), Some(remove(vec![3])), "three of four are a quorum");
    }

    #[test]
    fn the_last_voter_is_never_removed() {
        let mut view = view(1, 0);
        view.members[0].is_removal_requested = true;
        assert_eq!(next(&view), None);
    }

    #[test]
    fn a_smaller_cluster_demotes_and_a_removed_leader_transfers_leadership_first() {
        let mut view = view(5, 0);
        assert_eq!(next(&view), Some(Step::Change { promote: None, demote: Some(5), remove: vec![] }));
        view.members[1].silent_ticks = ABSENT;
        assert_eq!(next(&view), None, "it may be dead");
        view.members[1].silent_ticks = DEAD;
        assert_eq!(next(&view), Some(remove(vec![2])));
        view.members[0].is_removal_requested = true;
        assert_eq!(next(&view), Some(Step::TransferLeadership));
    }

    /// A former leader had demoted it, or asked for its removal, before it came to lead.
    #[test]
    fn a_leader_without_a_vote_transfers_leadership_and_a_leaving_one_never_removes_itself() {
        let mut view = view(3, 0);
        view.members[0].is_voter = false;
        assert_eq!(next(&view), Some(Step::TransferLeadership));
        let mut view = self::view(2, 0);
        view.cluster_size = 2;
        view.members[0].leaves = true;
        assert_eq!(next(&view), None, "2 may lead, and then removes it");
    }

    /// Found by seed 744 of `churn`: the leader and the only other voter were unwanted, and nothing was done any more.
    #[test]
    fn a_leader_that_leaves_without_a_transfer_target_handles_other_members_first() {
        let mut view = view(2, 1);
        view.members[0].is_removal_requested = true;
        view.members[1].is_removal_requested = true;
        view.has_transfer_target = false;
        assert_eq!(next(&view), Some(Step::Change { promote: Some(3), demote: None, remove: vec![2] }));
        view.members.remove(1);
        view.members[1].is_voter = true;
        view.has_transfer_target = true;
        assert_eq!(next(&view), Some(Step::TransferLeadership));
    }

    #[test]
    fn a_leader_that_goes_and_is_the_only_voter_promotes_a_spare_first() {
        for leaves in [true, false] {
            let mut view = view(1, 1);
            view.cluster_size = 1;
            (view.members[0].leaves, view.members[0].is_removal_requested) = (leaves, !leaves);
            let promotes = Step::Change { promote: Some(2), demote: None, remove: vec![] };
            assert_eq!(next(&view), Some(promotes), "leaves: {leaves}");
        }
    }

    /// Found by seed 1719 of `churn`: the leader was new, and the other one that stayed was dead.
    #[test]
    fn no_member_is_removed_before_the_remaining_ones_are_known_to_suffice() {
        let mut view = view(3, 0);
        view.members[1].is_heard = false;
        view.members[1].silent_ticks = ABSENT - 1;
        view.members[2].is_removal_requested = true;
        assert_eq!(next(&view), None);
        view.members[1].silent_ticks = ABSENT;
        assert_eq!(next(&view), Some(remove(vec![3, 2])));
        (view.members[1].is_heard, view.members[1].silent_ticks) = (true, 0);
        assert_eq!(next(&view), Some(remove(vec![3])));
    }

    #[test]
    fn a_learner_that_closes_takes_no_vote() {
        let mut view = view(2, 1);
        view.members[2].is_closing = true;
        assert_eq!(next(&view), None);
        let mut view = self::view(3, 1);
        view.members[1].silent_ticks = DEAD;
        view.members[3].is_closing = true;
        assert_eq!(next(&view), None);
    }

    #[test]
    fn a_member_that_may_not_vote_is_admitted_and_never_promoted() {
        let mut view = view(2, 1);
        view.members[2].may_vote = false;
        assert_eq!(next(&view), None, "there is a free vote, and no candidate for it");
        let guest = Newcomer { may_vote: false, ..newcomer("n9", 5) };
        view.newcomers.push(guest.clone());
        assert_eq!(next(&view), Some(Step::Admit(guest)));
        let mut view = self::view(3, 2);
        view.members[3].may_vote = false;
        view.members[1].silent_ticks = DEAD;
        assert_eq!(next(&view), Some(Step::Change { promote: Some(5), demote: None, remove: vec![2] }));
        view.members.pop();
        assert_eq!(next(&view), None, "a dead voter keeps its vote until another can take it");
        (view.members[1].silent_ticks, view.members[1].leaves) = (0, true);
        assert_eq!(next(&view), Some(remove(vec![2])));
        let mut alone = self::view(1, 1);
        alone.members[1].may_vote = false;
        alone.members[0].leaves = true;
        assert_eq!(next(&alone), None);
    }

    /// The one that answers stays. As long as both do, neither is removed for the other.
    #[test]
    fn of_two_learners_with_one_id_the_one_that_is_silent_for_longer_goes() {
        for (silent, other) in [(3, 4), (4, 3)] {
            let mut view = view(3, 2);
            view.members[4].id = view.members[3].id.clone();
            assert_eq!(next(&view), None, "both answer");
            (view.members[silent].silent_ticks, view.members[other].silent_ticks) = (2, 1);
            assert_eq!(next(&view), Some(remove(vec![silent as RaftId + 1])));
        }
    }

    /// Two processes have that id, and the one that votes stays.
    #[test]
    fn a_learner_with_the_id_of_another_voter_replaces_no_voter() {
        let mut view = view(3, 2);
        view.members[1].silent_ticks = DEAD;
        view.members[3].id = view.members[2].id.clone();
        let by_the_other = Step::Change { promote: Some(5), demote: None, remove: vec![2] };
        assert_eq!(view.replace(), Some(by_the_other));
        view.members[3].id = view.members[1].id.clone();
        let by_its_successor = Step::Change { promote: Some(4), demote: None, remove: vec![2] };
        assert_eq!(view.replace(), Some(by_its_successor));
    }

    #[test]
    fn dead_learners_go() {
        let mut view = view(3, 1);
        view.members[3].silent_ticks = DEAD;
        assert_eq!(next(&view), Some(remove(vec![4])));
    }
}
