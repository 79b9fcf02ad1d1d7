//! Decides how many ticks an idle node may skip.
//!
//! The driver reports all ticks that have passed before any other input, so the count is always right. Only actions
//! that a tick itself triggers may be late: by one tick while anything is pending, or by the skipped ticks if
//! JavaScript's thread starts something in its own turn, which wakes no thread.

use super::replica::Replica;

/// The number of ticks after which an idle node needs a turn, at the latest; at least 1.
///
/// An idle leader only has to send its next heartbeat (paper §5.2), and an idle follower to notice that none arrived
/// for an election timeout. Their other clocks may be late by as much, because they measure election timeouts.
pub(super) fn ticks_until_wakeup(replica: &Replica) -> u64 {
    let until = if replica.group.is_leader() {
        replica.group.ticks_until_heartbeat()
    } else {
        replica.group.ticks_until_election().min(replica.timing.idle_follower())
    };
    until.max(1)
}

/// Whether the replica waits for no answer and has nothing to do before its next heartbeat or election timeout.
pub(super) fn may_skip_ticks(replica: &Replica) -> bool {
    replica.leader().is_some()
        && !replica.is_frozen()
        && !replica.group.is_holding_answer()
        && !replica.divergence.is_diverged()
        && replica.leader_state.as_ref().is_none_or(|leader_state| {
            // Only a leader follows changes of the voters.
            leader_state.is_done() && !replica.group.has_pending_change() && !replica.group.is_joint()
        })
}
