//! Replicated tables about the cluster itself that the application sees, and the entries that change them.
//!
//! The leader makes these entries itself: no call requests them. Each is a [`SystemAction`], whose effect follows from
//! the log alone, so it is the same on every node. Used by `node/`; it must not touch a clock or a message.

mod clock;
mod presence;
#[cfg(test)]
mod presence_tests;
mod timers;

use serde::{Deserialize, Serialize};

use super::identity::RaftId;
pub use clock::{ClusterClock, NO_TIME};
pub use presence::{EndReason, MemberView, Presence, SessionEnd, SessionStart, StartReason};
pub use timers::{DueTimer, Effects, Timer, TimerChange, TimerFiring, Timers};

/// An action of the cluster itself. If the entry contains an action text, the reducer sees it.
///
/// New variants go to the end: the position is the encoding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SystemAction {
    SessionStarted(SessionStart),
    SessionEnded(SessionEnd),
    TimerFired(TimerFiring),
}

impl SystemAction {
    /// The seed of random numbers for its evaluation: the same for every leader that decides the same.
    pub fn seed(&self) -> u64 {
        match self {
            SystemAction::TimerFired(firing) => mix(mix(firing.number) ^ firing.due),
            SystemAction::SessionStarted(_) | SystemAction::SessionEnded(_) => 0,
        }
    }

    /// Whether it starts or ends a session.
    pub fn concerns_presence(&self) -> bool {
        match self {
            SystemAction::SessionStarted(_) | SystemAction::SessionEnded(_) => true,
            SystemAction::TimerFired(_) => false,
        }
    }

    /// The action counts only if this node is a member where it is applied.
    pub fn member_needed(&self) -> Option<RaftId> {
        match self {
            SystemAction::SessionStarted(start) => Some(start.member),
            SystemAction::SessionEnded(_) | SystemAction::TimerFired(_) => None,
        }
    }
}

/// The finalizer of SplitMix64: changes half of all bits for each bit that differs.
pub fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The replicated tables.
///
/// Invariant: they change only in log order, and so are a function of the log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Coordination {
    pub clock: ClusterClock,
    pub presence: Presence,
    /// How often the cluster was recovered from a lost quorum.
    pub recoveries: u64,
    pub timers: Timers,
}

impl Coordination {
    /// Applies a committed action. False: it changes nothing, because the log has decided otherwise meanwhile.
    pub fn apply(&mut self, action: &SystemAction, is_member: impl Fn(RaftId) -> bool) -> bool {
        match action {
            SystemAction::SessionStarted(_) | SystemAction::SessionEnded(_) => {
                self.presence.apply(action, is_member)
            }
            SystemAction::TimerFired(firing) => self.timers.fire(firing),
        }
    }

    /// The member is removed.
    pub fn forget_member(&mut self, member: RaftId) {
        self.presence.forget(member);
    }

    /// The cluster was recovered: the lost part of the former log may contain sessions that this log does not.
    pub fn recovered(&mut self, survivor: RaftId) {
        self.recoveries += 1;
        self.presence.recovered(survivor);
    }

    /// Whether the tables are consistent.
    pub fn is_well_formed(&self) -> bool {
        self.presence.is_well_formed() && self.timers.is_well_formed()
    }
}
