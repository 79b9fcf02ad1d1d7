//! What a leader does about the sessions of the members.
//!
//! `coordination/presence.rs` decides; here is what the leader sees.

use super::member_starts::MemberStarts;
use super::replica::Replica;
use crate::raft::coordination::{MemberView, SystemAction};
use crate::raft::options::Options;

/// So many actions are in one batch.
const BATCH_ACTIONS_MAX: usize = 256;

/// The sessions that start and end now, for JavaScript to evaluate. `process`: the number of this node's.
pub(super) fn due(
    replica: &mut Replica,
    is_closing: bool,
    process: u64,
    options: &Options,
) -> Vec<SystemAction> {
    let Some(timeout_ticks) = options.session_timeout_ticks else { return Vec::new() };
    let Some(leader_state) = &mut replica.leader_state else { return Vec::new() };
    if !std::mem::take(&mut leader_state.is_presence_due) {
        return Vec::new();
    }
    let since = leader_state.since();
    let mut presence = replica.coordination.presence.clone();
    for action in leader_state.sessions.pending_system_actions() {
        match action {
            SystemAction::SessionStarted(start) => _ = presence.start(start, true),
            SystemAction::SessionEnded(end) => _ = presence.end(end),
            SystemAction::TimerFired(_) => {}
        }
    }
    if !presence.is_on() && !replica.all_have_sessions() {
        return Vec::new();
    }
    let me = replica.me.raft_id();
    let views = replica.members.iter().map(|(member, _, id)| {
        let accepted = replica.starts.get(&member).and_then(MemberStarts::accepted);
        let is_heard = replica.heard.get(&member).is_some_and(|heard| *heard > since)
            && replica.silent_ticks(member, since) < replica.timing.election();
        MemberView {
            member,
            id: id.clone(),
            process: if member == me { process } else { accepted.map_or(0, |start| start.number) },
            is_closing: replica.closing.contains_key(&member) || member == me && is_closing,
            is_heard: member == me || is_heard,
            is_silent: replica.silent_ticks(member, since) >= timeout_ticks,
        }
    });
    let views: Vec<MemberView> = views.collect();
    presence.due(&views, BATCH_ACTIONS_MAX)
}

impl Replica {
    /// Applies an action of a leader's own. False: it changes nothing.
    pub(super) fn apply_system(&mut self, index: u64, action: &SystemAction) -> bool {
        if let Some(leader_state) = &mut self.leader_state {
            leader_state.sessions.applied_system(index);
        }
        self.coordination.apply(action, |member| self.members.id(member).is_some())
    }

    /// Whether every member has said that it has sessions.
    fn all_have_sessions(&self) -> bool {
        self.members.iter().all(|(member, ..)| {
            self.applications.get(&member).is_some_and(|application| application.has_sessions())
        })
    }
}
