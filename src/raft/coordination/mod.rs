//! Replicated tables about the cluster itself that the application sees, and the entries that change them.
//!
//! The leader makes these entries on its own account: no call requests them. Each is a [`SystemAction`], and its effect
//! is applied from the log alone, on every node alike. Used by `node/`; it must not touch a clock or a message.

mod presence;
#[cfg(test)]
mod presence_tests;

use serde::{Deserialize, Serialize};

use super::identity::RaftId;
pub use presence::{EndReason, MemberView, Presence, SessionEnd, SessionStart, StartReason};

/// An action of the cluster itself. If the entry contains an action text, the reducer sees it.
///
/// New variants go to the end: the position is the encoding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SystemAction {
    SessionStarted(SessionStart),
    SessionEnded(SessionEnd),
}

impl SystemAction {
    /// The action counts only if this node is a member where it is applied.
    pub fn member_needed(&self) -> Option<RaftId> {
        match self {
            SystemAction::SessionStarted(start) => Some(start.member),
            SystemAction::SessionEnded(_) => None,
        }
    }
}

/// The replicated tables.
///
/// Invariant: they change only in log order, and so are a function of the log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Coordination {
    pub presence: Presence,
    /// How often the cluster was recovered from a lost quorum.
    pub recoveries: u64,
}

impl Coordination {
    /// Applies a committed action. False: it changes nothing, because the log has decided otherwise meanwhile.
    pub fn apply(&mut self, action: &SystemAction, is_member: impl Fn(RaftId) -> bool) -> bool {
        match action {
            SystemAction::SessionStarted(start) => self.presence.start(start, is_member(start.member)),
            SystemAction::SessionEnded(end) => self.presence.end(end, is_member(end.member)),
        }
    }

    /// The member is removed.
    pub fn forget_member(&mut self, member: RaftId) {
        self.presence.forget(member);
    }

    /// The cluster was recovered: the lost part of the former log may contain what this one does not.
    pub fn recovered(&mut self, survivor: RaftId) {
        self.recoveries += 1;
        self.presence.recovered(survivor);
    }

    /// Whether the tables are consistent.
    pub fn is_well_formed(&self) -> bool {
        self.presence.is_well_formed()
    }
}
