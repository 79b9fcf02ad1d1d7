//! Decides how many ticks an idle node may skip.
//!
//! Part of `node.rs`. The driver tells all ticks that have passed before it tells anything else, so that the count is
//! always right; only what a tick itself sets off comes later. Where anything is under way, that is a tick at most;
//! where JavaScript's thread begins it in a turn of its own, which wakes no thread, as long as the node had been left
//! alone.

use super::Node;

impl Node {
    /// The number of ticks after which the node needs a turn, at the latest; at least 1.
    ///
    /// A leader at rest only has its next heartbeat to send (paper §5.2), and a follower to notice when none has come
    /// for an election timeout. What else they count may be late by as much: it is measured in election timeouts.
    pub fn ticks_until_wakeup(&self) -> u64 {
        let Some(replica) = self.replica.as_ref().filter(|_| self.is_at_rest()) else { return 1 };
        let until = if replica.group.is_leader() {
            replica.group.ticks_until_heartbeat()
        } else {
            replica.group.ticks_until_election().min(self.timing.idle_follower())
        };
        until.max(1)
    }

    /// Nothing here waits for an answer, and whatever can be done is done.
    fn is_at_rest(&self) -> bool {
        let Some(replica) = &self.replica else { return false };
        // What a node at work fails first comes first: this is asked in every turn.
        self.delivering.is_none()
            && self.client_session.is_empty()
            && self.commit_piggyback.is_empty()
            && self.operations.is_empty()
            && self.reception.is_none()
            && self.closing.is_none()
            && self.channel.is_healthy()
            && !self.is_stopped
            && replica.leader().is_some()
            && !replica.is_frozen()
            && !replica.divergence.is_diverged()
            && replica.leader_state.as_ref().is_none_or(|leader_state| {
                // Who votes is a leader's concern.
                leader_state.is_done() && !replica.group.has_pending_change() && !replica.group.is_joint()
            })
    }
}
