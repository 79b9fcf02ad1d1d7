//! Closes a node: its own calls end, leadership and vote go to others, and the node stops, at the latest when its
//! timeout is over.

use super::effect::Effect;
use super::replica::Replica;
use crate::raft::events::Target;
use crate::raft::frame::Message;
use crate::raft::timing::Timing;

/// The progress of closing.
#[derive(Debug)]
pub(super) struct Closing {
    /// This incarnation will not return, and gives up its membership.
    leaves: bool,
    /// Its own calls have ended, or their share of the timeout is over.
    is_settled: bool,
    ticks: u64,
    ticks_max: u64,
    /// The last write before this node could go: what rests on it may be the vote that its transfer target waits for.
    last_write: Option<u64>,
}

/// What closing depends on.
pub(super) struct Facts<'a> {
    pub(super) replica: Option<&'a Replica>,
    /// No call and no operation of this node is pending.
    pub(super) has_ended: bool,
    /// The number of the last write that was ordered.
    pub(super) writes: u64,
}

impl Closing {
    pub(super) fn new(ticks_max: u64, leaves: bool) -> Self {
        Self { leaves, is_settled: false, ticks: 0, ticks_max, last_write: None }
    }

    /// The membership is given up only when that cannot lose a call of this node.
    pub(super) fn gives_up_membership(&self) -> bool {
        self.leaves && self.is_settled
    }

    pub(super) fn message(&self) -> Message {
        Message::Closing { leaves: self.gives_up_membership() }
    }

    /// Announces to the other members that this node closes.
    pub(super) fn announce(&self) -> Effect {
        Effect::Send(Target::All, self.message())
    }

    /// Counts a tick, and repeats the announcement, which may be lost.
    pub(super) fn tick(&mut self, is_member: bool, timing: Timing) -> Option<Effect> {
        self.ticks += 1;
        (is_member && self.ticks.is_multiple_of(timing.heartbeat())).then(|| self.announce())
    }

    pub(super) fn advance(&mut self, facts: &Facts) -> Vec<Effect> {
        let mut effects = Vec::new();
        let has_leader = facts.replica.is_some_and(|replica| replica.leader().is_some());
        // Half of the time is for the calls, the rest for a way out that costs the others nothing.
        if !facts.has_ended && has_leader && self.ticks < self.ticks_max / 2 {
            return effects;
        }
        if !std::mem::replace(&mut self.is_settled, true) && facts.replica.is_some() {
            effects.push(self.announce());
        }
        effects.extend(self.leave(facts));
        effects
    }

    /// The next step of the way out; `None` while this node waits.
    fn leave(&mut self, facts: &Facts) -> Option<Effect> {
        let successors = facts.replica.filter(|replica| has_successor(replica));
        let Some(replica) = successors.filter(|_| self.ticks < self.ticks_max) else {
            return Some(Effect::EndClosing);
        };
        if replica.group.is_leader() {
            self.last_write = None;
            return Some(Effect::TransferLeadership(None));
        }
        // One that leaves waits until the log, or the leader, says that it is no member.
        let is_done = !self.leaves && replica.group.is_saved(*self.last_write.get_or_insert(facts.writes));
        is_done.then_some(Effect::EndClosing)
    }
}

/// Some other member is not closing too.
fn has_successor(replica: &Replica) -> bool {
    replica.members.iter().filter(|(member, ..)| *member != replica.me.raft_id()).any(|(member, ..)| {
        let is_transfer_target = replica.group.is_voter(member) || replica.group.is_leader();
        is_transfer_target
            && !replica.is_closing(member)
            && replica.silent_ticks(member, 0) < replica.timing.election()
    })
}
