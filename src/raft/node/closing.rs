//! Closes a node: its own calls end, leadership and vote go to others, and the node stops, at the latest when its
//! timeout is over.

use super::output::Output;
use super::replica::Replica;
use crate::raft::consensus::timing::Timing;
use crate::raft::events::Target;
use crate::raft::wire::message::MembershipMessage;

/// The progress of closing.
#[derive(Debug)]
pub(super) struct Closing {
    /// This incarnation will not return, and gives up its membership.
    leaves: bool,
    /// Its own calls have ended, or their share of the timeout is over.
    is_settled: bool,
    ticks: u64,
    ticks_max: u64,
    /// The last write before this node could stop: it may contain the vote that the transfer target waits for.
    last_write: Option<u64>,
}

impl Closing {
    pub(super) fn new(ticks_max: u64, leaves: bool) -> Self {
        Self { leaves, is_settled: false, ticks: 0, ticks_max, last_write: None }
    }

    /// The membership is given up only when that cannot lose a call of this node.
    pub(super) fn gives_up_membership(&self) -> bool {
        self.leaves && self.is_settled
    }

    pub(super) fn message(&self) -> MembershipMessage {
        MembershipMessage::Closing { leaves: self.gives_up_membership() }
    }

    /// Announces to the other members that this node closes.
    pub(super) fn announce(&self, output: &mut Output) {
        output.send(Target::All, self.message());
    }

    /// Counts a tick, and repeats the announcement, which may be lost.
    pub(super) fn tick(&mut self, is_member: bool, timing: Timing, output: &mut Output) {
        self.ticks += 1;
        if is_member && self.ticks.is_multiple_of(timing.heartbeat()) {
            self.announce(output);
        }
    }

    /// Takes the next step of closing, or waits for it. True once the node can stop. `has_ended`: no call and no
    /// operation of this node is pending.
    pub(super) fn advance(
        &mut self,
        has_ended: bool,
        replica: Option<&mut Replica>,
        output: &mut Output,
    ) -> bool {
        let has_leader = replica.as_ref().is_some_and(|replica| replica.leader().is_some());
        // Half of the time is for the calls, the rest for leaving without a cost to the others.
        if !has_ended && has_leader && self.ticks < self.ticks_max / 2 {
            return false;
        }
        if !std::mem::replace(&mut self.is_settled, true) && replica.is_some() {
            self.announce(output);
        }
        let Some(replica) = replica.filter(|replica| self.ticks < self.ticks_max && has_successor(replica))
        else {
            return true;
        };
        if replica.group.is_leader() {
            self.last_write = None;
            replica.transfer_leadership(None);
            return false;
        }
        // A node that leaves waits until the log or the leader reports that it is no longer a member.
        !self.leaves && replica.group.is_saved(*self.last_write.get_or_insert(output.writes()))
    }
}

/// Whether there is a member that is not closing.
fn has_successor(replica: &Replica) -> bool {
    replica.members.iter().filter(|(member, ..)| *member != replica.me.raft_id()).any(|(member, ..)| {
        let is_transfer_target = replica.group.is_voter(member) || replica.group.is_leader();
        is_transfer_target
            && !replica.is_closing(member)
            && replica.liveness.silent_ticks(member, 0) < replica.timing.election()
    })
}
