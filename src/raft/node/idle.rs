//! Decides how many ticks an idle node may skip.
//!
//! The driver reports all ticks that have passed before any other input, so that the count is always right; only what a
//! tick itself sets off comes later. Where anything is under way, that is a tick at most; where JavaScript's thread
//! begins it in a turn of its own, which wakes no thread, as long as the node had been left alone.

use super::replica::Replica;

/// The number of ticks after which a node at rest needs a turn, at the latest; at least 1.
///
/// A leader at rest only has its next heartbeat to send (paper §5.2), and a follower to notice when none has come for
/// an election timeout. What else they count may be late by as much: it is measured in election timeouts.
pub(super) fn ticks_until_wakeup(replica: &Replica) -> u64 {
    let until = if replica.group.is_leader() {
        replica.group.ticks_until_heartbeat()
    } else {
        replica.group.ticks_until_election().min(replica.timing.idle_follower())
    };
    until.max(1)
}

/// The replica waits for no answer, and whatever it can do is done.
pub(super) fn is_at_rest(replica: &Replica) -> bool {
    replica.leader().is_some()
        && !replica.is_frozen()
        && !replica.group.is_holding_answer()
        && !replica.divergence.is_diverged()
        && replica.leader_state.as_ref().is_none_or(|leader_state| {
            // Only a leader follows changes of the voters.
            leader_state.is_done() && !replica.group.has_pending_change() && !replica.group.is_joint()
        })
}
