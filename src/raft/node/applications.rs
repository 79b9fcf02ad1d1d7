//! Keeps nodes of other applications out of a cluster: the leader compares newcomers and members with the living
//! members.
//!
//! Over several deployments an application may replace all the methods that it had at the founding. Therefore only the
//! newest report of each member counts. `bootstrap/state_machine/applications.rs` does the same for founders.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::output::Output;
use super::replica::Replica;
use crate::error::Error;
use crate::raft::application::{Application, Difference};
use crate::raft::consensus::timing::Timing;
use crate::raft::events::{Target, Warning};
use crate::raft::identity::{ClusterUuid, Incarnation, RaftId};
use crate::raft::options::Options;
use crate::raft::wire::message::{BootstrapMessage, MembershipMessage};

/// The limit of reported differences.
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
    /// The living members, with their applications as far as they have reported them.
    fn living(&self) -> Vec<(Incarnation, Option<&Application>)> {
        let Self { me, timing, replica, .. } = self;
        let lives = |member: RaftId| {
            let heard_at = replica.liveness.heard_at(member);
            member == me.raft_id()
                || heard_at.is_some_and(|heard_at| heard_at + timing.election() > replica.liveness.now())
        };
        let members = replica.members.iter().filter(|(member, ..)| lives(*member));
        members.map(|(member, incarnation, _)| (incarnation, replica.applications.get(&member))).collect()
    }
}

/// The message in which a node describes itself to the members; `asks`: they answer with theirs.
pub(super) fn member_info(options: &Options, asks: bool) -> MembershipMessage {
    MembershipMessage::MemberInfo {
        version: options.version.clone(),
        application: options.application.clone(),
        asks,
    }
}

impl ApplicationGuard {
    /// A member has reported its application. A leader and a member of the same version each warn once if their methods
    /// differ.
    pub(super) fn compare_methods(
        &mut self,
        facts: &Facts,
        from: Incarnation,
        application: &Application,
        output: &mut Output,
    ) {
        let Facts { options, replica, .. } = facts;
        let peer = from.raft_id();
        let leads = replica.group.is_leader();
        let is_same_version = replica.versions.get(&peer) == Some(&options.version);
        if !is_same_version || !leads && replica.group.leader() != Some(peer) {
            return;
        }
        let difference = options.application.difference(application);
        let (Some(Difference { ours, theirs }), Some(id)) = (difference, replica.members.id(peer)) else {
            return;
        };
        if leads {
            output.send(Target::One(from), member_info(options, false));
        }
        if self.is_new(id, &ours, &theirs) {
            output.warn(Warning::OtherMethods { id: id.clone(), ours, theirs });
        }
    }

    /// True the first time; false beyond the limit.
    fn is_new(&mut self, who: &Arc<str>, ours: &Arc<str>, theirs: &Arc<str>) -> bool {
        self.reported.len() < REPORTED_MAX
            && self.reported.insert((who.clone(), ours.clone(), theirs.clone()))
    }

    /// A member that has restarted with its log may be of another application now. If two others have another
    /// application than the leader, the leader itself stops, with the error.
    pub(super) fn judge_members(&mut self, facts: &Facts, output: &mut Output) -> Result<(), Error> {
        let Facts { me, options, replica, .. } = facts;
        let living = facts.living();
        // With two members, the leader's application counts. With three, a third member can show that the leader is
        // the one that differs.
        if replica.leader_state.is_none() || living.iter().any(|(_, application)| application.is_none()) {
            return Ok(());
        }
        let known: Vec<(Incarnation, &Application)> =
            living.into_iter().filter_map(|(member, application)| Some((member, application?))).collect();
        let others = |one: Incarnation| {
            let others = known.iter().filter(move |(member, _)| *member != one);
            Application::union(others.map(|(_, application)| *application))
        };
        let theirs = others(*me);
        if known.len() > 2 && !options.application.is_compatible_with(&theirs) {
            return Err(foreign(options, &theirs));
        }
        for (member, application) in known.iter().filter(|(member, _)| member != me) {
            let theirs = others(*member);
            let id =
                replica.members.id(member.raft_id()).filter(|_| !application.is_compatible_with(&theirs));
            if let Some(id) = id {
                self.refuse(facts, *member, id, application, theirs, output);
            }
        }
        Ok(())
    }

    /// As a leader: asks the living members that have not reported their application, and judges the others again,
    /// because messages may be lost.
    pub(super) fn watch(&mut self, facts: &Facts, output: &mut Output) -> Result<(), Error> {
        let living = facts.living();
        if living.iter().all(|(_, application)| *application == Some(&facts.options.application)) {
            return Ok(());
        }
        for (member, _) in living.into_iter().filter(|(_, application)| application.is_none()) {
            output.send(Target::One(member), member_info(facts.options, true));
        }
        self.judge_members(facts, output)
    }

    /// Whether a newcomer is of the cluster's application; otherwise the leader refuses it as soon as it knows the
    /// applications of all living members.
    pub(super) fn judge_newcomer(
        &mut self,
        facts: &Facts,
        from: Incarnation,
        id: &Arc<str>,
        application: &Application,
        output: &mut Output,
    ) -> bool {
        if facts.replica.leader_state.is_none() {
            return true;
        }
        let living = facts.living();
        let cluster = Application::union(living.iter().filter_map(|(_, application)| *application));
        injected_bug!(WelcomesEveryApplication, return true);
        let lacks_sessions = facts.replica.coordination.presence.is_on() && !application.has_sessions();
        if lacks_sessions && application.is_compatible_with(&cluster) {
            let theirs = facts.options.application.clone();
            let refusal = BootstrapMessage::OtherApplication { cluster: facts.replica.cluster, theirs };
            output.send(Target::One(from), refusal);
            return false;
        }
        if application.is_compatible_with(&cluster) {
            return true;
        }
        if living.iter().all(|(_, application)| application.is_some()) {
            self.refuse(facts, from, id, application, cluster, output);
        }
        false
    }

    /// Refuses a node that is of another application than the members, and warns this node's operator.
    fn refuse(
        &mut self,
        facts: &Facts,
        to: Incarnation,
        id: &Arc<str>,
        application: &Application,
        theirs: Application,
        output: &mut Output,
    ) {
        let Facts { options, replica, .. } = facts;
        let refusal = BootstrapMessage::OtherApplication { cluster: replica.cluster, theirs };
        output.send(Target::One(to), refusal);
        if self.is_new(id, &application.describe(), &"".into()) {
            output.warn(Warning::OtherApplication {
                who: format!("node `{id}`"),
                theirs: application.describe(),
                ours: options.application.describe(),
                channel_name: options.channel_name.clone(),
            });
        }
    }
}

/// The leader reports that this member is of another application than the others: it stops with the error.
pub(super) fn judge_self(facts: &Facts, cluster: ClusterUuid, theirs: &Application) -> Result<(), Error> {
    let is_ours = facts.replica.cluster == cluster;
    let is_foreign = is_ours && !facts.options.application.is_compatible_with(theirs);
    if is_foreign { Err(foreign(facts.options, theirs)) } else { Ok(()) }
}

fn foreign(options: &Options, theirs: &Application) -> Error {
    let (ours, channel_name) = (options.application.describe(), options.channel_name.clone());
    Error::OtherApplication { ours, theirs: theirs.describe(), channel_name }
}
