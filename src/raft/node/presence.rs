//! What a node does about the sessions of the members: the leader decides by what it and a majority hear; each node
//! follows its own session.
//!
//! `coordination/presence.rs` is the table, and decides which sessions start and end.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::member_starts::MemberStarts;
use super::output::Output;
use super::replica::Replica;
use crate::error::Error;
use crate::raft::coordination::{MemberView, Presence, SystemAction};
use crate::raft::events::{Delivery, Target, Warning};
use crate::raft::identity::{Incarnation, RaftId};
use crate::raft::options::Options;
use crate::raft::requests::Evaluation;
use crate::raft::wire::message::LivenessMessage;

/// The limit of actions in one batch.
const BATCH_ACTIONS_MAX: usize = 256;

/// The sessions that start and end now, for JavaScript to evaluate. `process`: the number of this node's process.
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
    let replica = &*replica;
    let Some(leader_state) = &replica.leader_state else { return Vec::new() };
    let since = leader_state.since();
    let presence = replica.provisional_presence();
    if !presence.is_on() && !replica.members_without_sessions().is_empty() {
        return Vec::new();
    }
    let me = replica.me.raft_id();
    let views = replica.members.iter().map(|(member, _, id)| {
        let accepted = replica.starts.get(&member).and_then(MemberStarts::accepted);
        let is_heard = replica.liveness.heard_at(member).is_some_and(|heard_at| heard_at >= since)
            && replica.liveness.silent_ticks(member, since) < replica.timing.election();
        MemberView {
            member,
            id: id.clone(),
            process: if member == me { process } else { accepted.map_or(0, |start| start.number) },
            is_closing: replica.closing.contains_key(&member) || member == me && is_closing,
            // A session that starts behind the removal of its member in the log would change nothing.
            is_heard: (member == me || is_heard) && !replica.is_being_removed(member),
            is_silent: replica.liveness.silent_ticks(member, since) >= timeout_ticks
                && replica.is_silent_for_majority(leader_state.silence.get(&member)),
        }
    });
    let views: Vec<MemberView> = views.collect();
    presence.due(&views, BATCH_ACTIONS_MAX)
}

/// As the leader, once per heartbeat interval: asks whether the others hear the members whose sessions would end. A
/// session ends only if a majority does not hear its member: a partition between the leader and one member is not
/// enough.
pub(super) fn query_silence(replica: &mut Replica, options: &Options, output: &mut Output) {
    let Some(timeout_ticks) = options.session_timeout_ticks else { return };
    let Some(leader_state) = &replica.leader_state else { return };
    let since = leader_state.since();
    let members = replica.members.iter().map(|(member, ..)| member);
    let silent: Vec<RaftId> = members
        .filter(|member| replica.liveness.silent_ticks(*member, since) >= timeout_ticks)
        .filter(|member| replica.coordination.presence.live_session(*member).is_some())
        .collect();
    let Some(leader_state) = &mut replica.leader_state else { return };
    leader_state.silence.retain(|member, _| silent.contains(member));
    if !silent.is_empty() {
        let milliseconds = options.milliseconds(timeout_ticks);
        output.send(Target::All, LivenessMessage::SilenceQuery { milliseconds, members: silent });
    }
}

/// Answers the leader.
pub(super) fn answer_silence(
    from: Incarnation,
    milliseconds: u64,
    mut members: Vec<RaftId>,
    replica: &Replica,
    options: &Options,
    output: &mut Output,
) {
    let ticks = milliseconds.saturating_mul(1_000).div_ceil(options.tick_micros.max(1));
    members.retain(|member| {
        replica.members.id(*member).is_some() && replica.liveness.silent_ticks(*member, 0) >= ticks
    });
    if !members.is_empty() {
        output.send(Target::One(from), LivenessMessage::SilenceReply { members });
    }
}

/// Another member does not hear these either.
pub(super) fn note_silence(from: RaftId, members: &[RaftId], replica: &mut Replica) {
    let now = replica.liveness.now();
    let Some(leader_state) = &mut replica.leader_state else { return };
    for member in members.iter().filter(|member| replica.members.id(**member).is_some()) {
        leader_state.silence.entry(*member).or_default().insert(from, now);
    }
    leader_state.is_presence_due = true;
}

impl Replica {
    /// Applies an action of a leader's own. False: it changes nothing.
    pub(super) fn apply_system(&mut self, index: u64, action: &SystemAction) -> bool {
        if let Some(leader_state) = &mut self.leader_state {
            leader_state.sessions.applied_system(index);
        }
        let applies = self.coordination.apply(action, |member| self.members.id(member).is_some());
        self.describe_sessions();
        applies
    }

    /// The sessions with the leader's own actions that are appended and not applied.
    fn provisional_presence(&self) -> Cow<'_, Presence> {
        let mut presence = Cow::Borrowed(&self.coordination.presence);
        let pending = self.leader_state.iter().flat_map(|leader| leader.sessions.pending_system_actions());
        for action in pending.filter(|action| action.concerns_presence()) {
            presence.to_mut().apply(action, |member| self.members.id(member).is_some());
        }
        presence
    }

    /// The members that have not reported that they have sessions.
    fn members_without_sessions(&self) -> Vec<(RaftId, &Arc<str>)> {
        let has_sessions = |member: RaftId| {
            self.applications.get(&member).is_some_and(|application| application.has_sessions())
        };
        let members = self.members.iter().filter(|(member, ..)| !has_sessions(*member));
        members.map(|(member, _, id)| (member, id)).collect()
    }

    /// Whether these voters, which confirmed it lately, and this leader are a majority (in a joint configuration, of
    /// each half: paper §6).
    fn is_silent_for_majority(&self, confirmed: Option<&BTreeMap<RaftId, u64>>) -> bool {
        let me = self.me.raft_id();
        let confirms = |voter: RaftId| {
            let at = confirmed.and_then(|confirmed| confirmed.get(&voter));
            voter == me || at.is_some_and(|at| at + self.timing.election() > self.liveness.now())
        };
        let conf = self.group.conf_state();
        let halves = [conf.voters, conf.voters_outgoing].into_iter().filter(|voters| !voters.is_empty());
        let mut majorities =
            halves.map(|voters| voters.iter().filter(|voter| confirms(**voter)).count() > voters.len() / 2);
        let is_confirmed = majorities.all(|is_majority| is_majority);
        injected_bug!(EndsSessionUnconfirmed, is_confirmed => true);
        is_confirmed
    }
}

/// Names the callers of a batch, and the sessions that their methods see.
pub(super) struct Callers {
    /// `None`: without the option, callers are not named.
    presence: Option<Presence>,
    last: Option<(RaftId, u64)>,
}

impl Callers {
    pub(super) fn new(
        replica: &mut Replica,
        options: &Options,
        has_evaluations: bool,
        batch: &mut Vec<Delivery>,
    ) -> Self {
        if options.session_timeout_ticks.is_none() || !has_evaluations {
            return Self { presence: None, last: None };
        }
        let mut presence = replica.provisional_presence().into_owned();
        for delivery in batch.iter() {
            if let Delivery::EvaluateSystem(action) = delivery {
                presence.apply(action, |member| replica.members.id(member).is_some());
            }
        }
        let live: Vec<(Arc<str>, u64)> =
            presence.live().into_iter().map(|(id, session)| (id.clone(), session)).collect();
        if let Some(leader_state) = &mut replica.leader_state
            && leader_state.delivered_sessions.as_ref() != Some(&live)
        {
            leader_state.delivered_sessions = Some(live.clone());
            batch.push(Delivery::Sessions(live));
        }
        Self { presence: Some(presence), last: None }
    }

    /// The caller of this evaluation, unless it is that of the last one.
    pub(super) fn announce(&mut self, evaluation: &Evaluation, replica: &Replica, batch: &mut Vec<Delivery>) {
        let Some(presence) = &self.presence else { return };
        let caller = (evaluation.origin, evaluation.session);
        if self.last.replace(caller) == Some(caller) {
            return;
        }
        let Some(id) = replica.members.id(evaluation.origin) else { return };
        let session = presence.live_session(evaluation.origin);
        let has_ended = evaluation.session != 0 && session != Some(evaluation.session);
        batch.push(Delivery::Caller { id: id.clone(), session, has_ended });
    }
}

/// The session of this node, as its application knows it.
#[derive(Debug, Default)]
pub(super) struct OwnSession {
    session: Option<u64>,
    /// The members without sessions of which this node has warned.
    warned_of: BTreeSet<Arc<str>>,
}

impl OwnSession {
    pub(super) fn current(&self) -> Option<u64> {
        self.session
    }

    /// Follows the log. A node without the option cannot be in a cluster that has sessions.
    pub(super) fn follow(
        &mut self,
        replica: Option<&Replica>,
        process: u64,
        options: &Options,
        batch: &mut Vec<Delivery>,
    ) -> Result<(), Error> {
        let presence = replica.map(|replica| (&replica.coordination.presence, replica.me.raft_id()));
        if options.session_timeout_ticks.is_none() {
            let is_required = presence.is_some_and(|(presence, _)| presence.is_on());
            return if is_required { Err(Error::SessionsRequired) } else { Ok(()) };
        }
        let session = presence.and_then(|(presence, me)| presence.session_of_process(me, process));
        if session != self.session {
            let previous = std::mem::replace(&mut self.session, session);
            let reason = presence.map_or("removed", |(presence, me)| presence.reason(me));
            batch.push(Delivery::OwnSession { session, previous, reason });
        }
        Ok(())
    }

    /// Warns once of each member that keeps the cluster from having sessions.
    pub(super) fn warn_of_members_without(
        &mut self,
        replica: &Replica,
        options: &Options,
        output: &mut Output,
    ) {
        let is_waiting = options.session_timeout_ticks.is_some() && !replica.coordination.presence.is_on();
        if !is_waiting || replica.leader().is_none() {
            return;
        }
        // A member that has not reported anything yet may have sessions.
        let without = replica.members_without_sessions();
        let reporting = without.into_iter().filter(|(member, _)| replica.applications.contains_key(member));
        let ids: Vec<Arc<str>> = reporting.map(|(_, id)| id.clone()).collect();
        if ids.iter().any(|id| !self.warned_of.contains(id)) {
            self.warned_of.extend(ids.iter().cloned());
            output.warn(Warning::SessionsWait { ids });
        }
    }
}
