//! Decides which part of the log a leader keeps for members that do not have it yet.
//!
//! A member that receives an image needs the log behind it next. If the log were compacted meanwhile, each image would
//! arrive too late, and another one would follow. Therefore the leader keeps that log until the receiver has it, up to
//! a limit.

use super::Replica;
use crate::raft::identity::RaftId;

/// The limit of the log that is kept for others, in bytes; for a large image a multiple of its size, if that is more.
const KEPT_BYTES_MIN: u64 = 64 << 20;
const KEPT_IMAGES: u64 = 2;

impl Replica {
    /// The limit of the log that is kept for others, in bytes of memory.
    fn kept_bytes_max(&self) -> u64 {
        KEPT_BYTES_MIN.max(KEPT_IMAGES * self.group.log().snapshot().image.len() as u64)
    }

    /// As a leader: whether the log is kept for a member that is receiving an image, or has just received it.
    pub(in crate::raft::node) fn keeps_log(&self) -> bool {
        injected_bug!(CutsLogBehindImage, return false);
        let leader_state = self.leader_state.as_ref();
        leader_state.is_some_and(|leader_state| leader_state.outgoing.needs_log())
            && self.group.log().bytes() < self.kept_bytes_max()
    }

    /// As a leader: the index behind which some member needs the log; `None` if that part exceeds the limit.
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

    /// A tick has passed: a member that has the log behind its image, or is silent, no longer needs it.
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
