//! Decides which part of the log a leader keeps for members that do not have it yet.
//!
//! Behind a snapshot whose image is under way, the log is what its receiver needs next: were it cut
//! meanwhile, each image would arrive too late, and the next one would begin. So it is kept until the receiver has it,
//! within a bound.

use super::Replica;
use crate::raft::identity::RaftId;

/// The log that is kept for others may have so many bytes, or this many times those of the newest image, whichever is more.
const KEPT_BYTES_MIN: u64 = 64 << 20;
const KEPT_IMAGES: u64 = 2;

impl Replica {
    /// How long the log may get that is kept for others, in bytes of memory.
    fn kept_bytes_max(&self) -> u64 {
        KEPT_BYTES_MIN.max(KEPT_IMAGES * self.group.log().snapshot().image.len() as u64)
    }

    /// As a leader: the log is kept for a member whose image is under way, or that has just got it.
    pub(in crate::raft::node) fn keeps_log(&self) -> bool {
        injected_bug!(CutsLogBehindImage, return false);
        let leader_state = self.leader_state.as_ref();
        leader_state.is_some_and(|leader_state| leader_state.outgoing.needs_log())
            && self.group.log().bytes() < self.kept_bytes_max()
    }

    /// As a leader: the last index that the member has which needs the most of the log, if that is not too much.
    pub(in crate::raft::node) fn needed_behind(&self) -> Option<u64> {
        injected_bug!(CutsLogBehindImage, return None);
        let leader_state = self.leader_state.as_ref()?;
        let needed = self.members.iter().filter_map(|(member, ..)| {
            leader_state.outgoing.sent_index(member).or_else(|| {
                let matched = self.group.matched(member).filter(|_| self.group.is_active(member));
                matched.max(leader_state.outgoing.arrived_index(member))
            })
        });
        let needed = needed.min()?;
        let bytes = self.group.log().bytes_from(needed + 1);
        (bytes <= self.kept_bytes_max()).then_some(needed)
    }

    /// A tick has passed: a member that got an image, and has the log behind it by now or is silent, needs it no more.
    pub(in crate::raft::node) fn tick_arrived(&mut self) {
        let Some(leader_state) = &self.leader_state else { return };
        let (slack, _) = self.snapshots.slack();
        let needs_log = |member: RaftId| {
            let matched = self.group.matched(member).unwrap_or(0);
            self.members.incarnation(member).is_some()
                && self.liveness.silent_ticks(member, leader_state.since()) < self.timing.transfer_given_up()
                && matched + slack < self.group.last_index()
        };
        let over: Vec<RaftId> =
            leader_state.outgoing.arrived().filter(|member| !needs_log(*member)).collect();
        if let Some(leader_state) = &mut self.leader_state {
            leader_state.outgoing.end_arrivals(&over);
        }
    }
}
