//! This file says for how long a node may be left alone: a cluster at rest need not be woken by every tick.
//!
//! Part of `node.rs`. The driver tells all ticks that have passed before it tells anything else, so that the count is
//! always right; only what a tick itself sets off comes later. Where anything is under way, that is a tick at most; where
//! JavaScript's thread begins it in a turn of its own, which wakes nobody, as long as the node had been left alone.

use super::Node;
use crate::raft::events::ChannelState;

/// A follower hears its leader once in a heartbeat interval. Longer than that, its own clock would only wake it for
/// nothing.
const INTERVALS: u64 = 2;

impl Node {
    /// After so many ticks the node wants to be told, at the latest; at least 1.
    ///
    /// A leader at rest only has its next heartbeat to send (paper §5.2), and a follower to notice when none has come for
    /// an election timeout. What else they count may be late by as much: it is measured in election timeouts.
    pub fn rest_ticks(&self) -> u64 {
        let Some(seat) = self.seat.as_ref().filter(|_| self.is_at_rest()) else { return 1 };
        let until = if seat.group.is_leader() {
            seat.group.ticks_until_heartbeat()
        } else {
            let heartbeats = INTERVALS * self.options.heartbeat_ticks;
            seat.group.ticks_until_election().min(heartbeats)
        };
        until.max(1)
    }

    /// Nothing here waits for an answer, and whatever can be done is done.
    fn is_at_rest(&self) -> bool {
        let Some(seat) = &self.seat else { return false };
        // What a node at work fails first comes first: this is asked in every turn.
        self.delivering.is_none()
            && self.origin.is_empty()
            && self.tidings.is_empty()
            && self.asks.is_empty()
            && self.reception.is_none()
            && self.closing.is_none()
            && self.channel == ChannelState::Healthy
            && !self.is_stopped
            && seat.leader().is_some()
            && !seat.is_bound()
            && !seat.fence.is_fenced()
            && seat.care.as_ref().is_none_or(|care| {
                // Who votes is a leader's concern.
                care.is_done() && !seat.group.has_pending_change() && !seat.group.is_joint()
            })
    }
}
