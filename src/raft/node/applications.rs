//! Keeps nodes of other applications out of a cluster: the leader compares newcomers and members with the living
//! members.
//!
//! Over several deploys an application may come to have none of the methods that it was founded with, so that nothing
//! older than the last word of each member counts. Founding is `bootstrap/state_machine/applications.rs`.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::effect::Effect;
use super::replica::Replica;
use crate::error::Error;
use crate::raft::application::{Application, Difference};
use crate::raft::events::{Target, Warning};
use crate::raft::frame::Message;
use crate::raft::identity::{ClusterUuid, Incarnation, RaftId};
use crate::raft::options::Options;
use crate::raft::timing::Timing;

/// No more differences than these are reported.
const REPORTED_MAX: usize = 64;

/// The differences between applications that this node has reported.
#[derive(Debug, Default)]
pub(super) struct ApplicationGuard {
    reported: BTreeSet<(Arc<str>, Arc<str>, Arc<str>)>,
}

/// What the guard compares.
pub(super) struct Facts<'a> {
    pub(super) me: Incarnation,
    pub(super) options: &'a Options,
    pub(super) timing: Timing,
    pub(super) replica: &'a Replica,
}

impl Facts<'_> {
    /// The members that live, with what they have said of their application.
    fn living(&self) -> Vec<(Incarnation, Option<&Application>)> {
        let Self { me, timing, replica, .. } = self;
        let lives = |member: RaftId| {
            let heard = replica.heard.get(&member);
            member == me.raft_id() || heard.is_some_and(|heard| heard + timing.election() > replica.now)
        };
        let members = replica.members.iter().filter(|(member, ..)| lives(*member));
        members.map(|(member, incarnation, _)| (incarnation, replica.applications.get(&member))).collect()
    }
}

/// What a node tells the members of itself; `asks`: they are to do the same.
pub(super) fn member_info(options: &Options, asks: bool) -> Message {
    Message::MemberInfo { version: options.version.clone(), application: options.application.clone(), asks }
}

impl ApplicationGuard {
    /// A member has said of which application it is. A leader and a member of the same version each warn once if their
    /// methods differ.
    pub(super) fn compare_methods(
        &mut self,
        facts: &Facts,
        from: Incarnation,
        application: &Application,
    ) -> Vec<Effect> {
        let Facts { options, replica, .. } = facts;
        let peer = from.raft_id();
        let leads = replica.group.is_leader();
        let is_same_version = replica.versions.get(&peer) == Some(&options.version);
        if !is_same_version || !leads && replica.group.leader() != Some(peer) {
            return Vec::new();
        }
        let difference = options.application.difference(application);
        let (Some(Difference { ours, theirs }), Some(id)) = (difference, replica.members.id(peer)) else {
            return Vec::new();
        };
        let mut effects = Vec::new();
        if leads {
            effects.push(Effect::Send(Target::One(from), member_info(options, false)));
        }
        if self.is_new(id, &ours, &theirs) {
            effects.push(Effect::Warn(Warning::OtherMethods { id: id.clone(), ours, theirs }));
        }
        effects
    }

    /// The first time; of what exceeds the bound, never.
    fn is_new(&mut self, who: &Arc<str>, ours: &Arc<str>, theirs: &Arc<str>) -> bool {
        self.reported.len() < REPORTED_MAX
            && self.reported.insert((who.clone(), ours.clone(), theirs.clone()))
    }

    /// A member that has come back with its log may be of another application by now. Where that is said of the leader
    /// by two others, it is the leader that stops.
    pub(super) fn judge_members(&mut self, facts: &Facts) -> Vec<Effect> {
        let Facts { me, options, replica, .. } = facts;
        let living = facts.living();
        // One against one would be decided for the leader, where a third may show that it is the leader's that differs.
        if replica.leader_state.is_none() || living.iter().any(|(_, application)| application.is_none()) {
            return Vec::new();
        }
        let known: Vec<(Incarnation, &Application)> =
            living.into_iter().filter_map(|(member, application)| Some((member, application?))).collect();
        let others = |one: Incarnation| {
            let others = known.iter().filter(move |(member, _)| *member != one);
            Application::union(others.map(|(_, application)| *application))
        };
        let theirs = others(*me);
        if known.len() > 2 && !options.application.goes_with(&theirs) {
            return vec![fail_as_foreign(options, &theirs)];
        }
        let mut effects = Vec::new();
        for (member, application) in known.iter().filter(|(member, _)| member != me) {
            let theirs = others(*member);
            let id = replica.members.id(member.raft_id()).filter(|_| !application.goes_with(&theirs));
            if let Some(id) = id {
                effects.extend(self.refuse(facts, *member, id, application, theirs));
            }
        }
        effects
    }

    /// As a leader: asks the members that live and have not said of which application they are, and judges the others
    /// again. Words may be lost.
    pub(super) fn watch(&mut self, facts: &Facts) -> Vec<Effect> {
        let living = facts.living();
        if living.iter().all(|(_, application)| *application == Some(&facts.options.application)) {
            return Vec::new();
        }
        let unknown = living.into_iter().filter(|(_, application)| application.is_none());
        let ask = |(member, _)| Effect::Send(Target::One(member), member_info(facts.options, true));
        let mut effects: Vec<Effect> = unknown.map(ask).collect();
        effects.extend(self.judge_members(facts));
        effects
    }

    /// Whether a newcomer is of the cluster's application; otherwise the leader refuses it as soon as it knows of all
    /// members that live.
    pub(super) fn judge_newcomer(
        &mut self,
        facts: &Facts,
        from: Incarnation,
        id: &Arc<str>,
        application: &Application,
    ) -> Result<(), Vec<Effect>> {
        if facts.replica.leader_state.is_none() {
            return Ok(());
        }
        let living = facts.living();
        let cluster = Application::union(living.iter().filter_map(|(_, application)| *application));
        injected_bug!(WelcomesEveryApplication, return Ok(()));
        if application.goes_with(&cluster) {
            return Ok(());
        }
        let is_known = living.iter().all(|(_, application)| application.is_some());
        Err(if is_known { self.refuse(facts, from, id, application, cluster) } else { Vec::new() })
    }

    /// Tells a node that it is of another application than the members, and this one's operator.
    fn refuse(
        &mut self,
        facts: &Facts,
        to: Incarnation,
        id: &Arc<str>,
        application: &Application,
        theirs: Application,
    ) -> Vec<Effect> {
        let Facts { options, replica, .. } = facts;
        let refusal = Message::OtherApplication { cluster: replica.cluster, theirs };
        let mut effects = vec![Effect::Send(Target::One(to), refusal)];
        if self.is_new(id, &application.describe(), &"".into()) {
            effects.push(Effect::Warn(Warning::OtherApplication {
                who: format!("node `{id}`"),
                theirs: application.describe(),
                ours: options.application.describe(),
                channel_name: options.channel_name.clone(),
            }));
        }
        effects
    }
}

/// This member is of another application than the rest, as its leader says.
pub(super) fn judge_self(facts: &Facts, cluster: ClusterUuid, theirs: &Application) -> Option<Effect> {
    let is_ours = facts.replica.cluster == cluster;
    let is_foreign = is_ours && !facts.options.application.goes_with(theirs);
    is_foreign.then(|| fail_as_foreign(facts.options, theirs))
}

fn fail_as_foreign(options: &Options, theirs: &Application) -> Effect {
    let (ours, channel_name) = (options.application.describe(), options.channel_name.clone());
    Effect::Fail(Error::OtherApplication { ours, theirs: theirs.describe(), channel_name })
}
