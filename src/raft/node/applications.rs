//! Keeps nodes of other applications out of a cluster: the leader compares newcomers and members with the living
//! members.
//!
//! Part of `node.rs`. Over several deploys an application may come to have none of the methods that it was founded with, so
//! that nothing older than the last word of each member counts. Founding is `bootstrap/state_machine/applications.rs`.

use std::sync::Arc;

use super::Node;
use super::replica::Replica;
use crate::error::Error;
use crate::raft::application::{Application, Difference};
use crate::raft::events::{Target, Warning};
use crate::raft::frame::Message;
use crate::raft::identity::{ClusterUuid, Incarnation, RaftId};

/// No more differences than these are reported.
const REPORTED_MAX: usize = 64;

impl Replica {
    /// The members that live, with what they have said of their application.
    fn living(&self, me: RaftId, election_ticks: u64) -> Vec<(Incarnation, Option<&Application>)> {
        let lives = |member: RaftId| {
            member == me || self.heard.get(&member).is_some_and(|heard| heard + election_ticks > self.now)
        };
        let members = self.members.iter().filter(|(member, ..)| lives(*member));
        members.map(|(member, incarnation, _)| (incarnation, self.applications.get(&member))).collect()
    }
}

impl Node {
    /// What this node tells the members of itself.
    pub(super) fn about(&self, asks: bool) -> Message {
        let (version, application) = (self.options.version.clone(), self.options.application.clone());
        Message::MemberInfo { version, application, asks }
    }

    /// A member has said of which application it is.
    pub(super) fn handle_member_info(&mut self, from: Incarnation, application: Application, asks: bool) {
        if asks {
            let about = self.about(false);
            self.outbox.push(Target::One(from), about);
        }
        self.compare_methods(from, &application);
        let Some(replica) = &mut self.replica else { return };
        replica.applications.insert(from.raft_id(), application);
        self.judge_members();
    }

    /// A leader and a member of the same version each warn once if their methods differ.
    fn compare_methods(&mut self, from: Incarnation, application: &Application) {
        let peer = from.raft_id();
        let Some(replica) = &self.replica else { return };
        let leads = replica.group.is_leader();
        let is_same_version = replica.versions.get(&peer) == Some(&self.options.version);
        if !is_same_version || !leads && replica.group.leader() != Some(peer) {
            return;
        }
        let Some(Difference { ours, theirs }) = self.options.application.difference(application) else {
            return;
        };
        let Some(id) = replica.members.id(peer).cloned() else { return };
        if leads {
            let about = self.about(false);
            self.outbox.push(Target::One(from), about);
        }
        if self.is_news(&id, &ours, &theirs) {
            self.warn(Warning::OtherMethods { id, ours, theirs });
        }
    }

    /// The first time; of what exceeds the bound, never.
    fn is_news(&mut self, who: &Arc<str>, ours: &Arc<str>, theirs: &Arc<str>) -> bool {
        self.reported_applications.len() < REPORTED_MAX
            && self.reported_applications.insert((who.clone(), ours.clone(), theirs.clone()))
    }

    /// A member that has come back with its log may be of another application by now. Where that is said of the leader by
    /// two others, it is the leader that stops.
    fn judge_members(&mut self) {
        let (me, ours) = (self.bootstrap.me(), self.options.application.clone());
        let Some(replica) = self.replica.as_ref().filter(|replica| replica.leader_state.is_some()) else {
            return;
        };
        let living = replica.living(me.raft_id(), self.timing.election());
        // One against one would be decided for the leader, where a third may show that it is the leader's that differs.
        if living.iter().any(|(_, application)| application.is_none()) {
            return;
        }
        let known: Vec<(Incarnation, &Application)> =
            living.into_iter().filter_map(|(member, application)| Some((member, application?))).collect();
        let others = |one: Incarnation| {
            let others = known.iter().filter(move |(member, _)| *member != one);
            Application::union(others.map(|(_, application)| *application))
        };
        let theirs = others(me);
        if known.len() > 2 && !ours.goes_with(&theirs) {
            return self.fail_as_foreign(&theirs);
        }
        let refused = known.iter().filter(|(member, _)| *member != me).filter_map(|(member, application)| {
            let theirs = others(*member);
            let id = replica.members.id(member.raft_id())?.clone();
            (!application.goes_with(&theirs)).then(|| (*member, id, (*application).clone(), theirs))
        });
        for (member, id, application, theirs) in refused.collect::<Vec<_>>() {
            self.refuse(member, &id, &application, theirs);
        }
    }

    /// As a leader: asks the members that live and have not said of which application they are, and judges the others
    /// again. Words may be lost.
    pub(super) fn watch_applications(&mut self) {
        let me = self.bootstrap.me().raft_id();
        let Some(replica) = self.replica.as_ref() else { return };
        let living = replica.living(me, self.timing.election());
        if living.iter().all(|(_, application)| *application == Some(&self.options.application)) {
            return;
        }
        let unknown = living.into_iter().filter(|(_, application)| application.is_none());
        for member in unknown.map(|(member, _)| member).collect::<Vec<_>>() {
            let about = self.about(true);
            self.outbox.push(Target::One(member), about);
        }
        self.judge_members();
    }

    /// Whether a newcomer is of the cluster's application; otherwise the leader refuses it as soon as it knows of all
    /// members that live.
    pub(super) fn may_join(&mut self, from: Incarnation, id: &Arc<str>, application: &Application) -> bool {
        let me = self.bootstrap.me().raft_id();
        let Some(replica) = self.replica.as_ref().filter(|replica| replica.leader_state.is_some()) else {
            return true;
        };
        let living = replica.living(me, self.timing.election());
        let cluster = Application::union(living.iter().filter_map(|(_, application)| *application));
        injected_bug!(WelcomesEveryApplication, return true);
        if application.goes_with(&cluster) {
            return true;
        }
        if living.iter().all(|(_, application)| application.is_some()) {
            self.refuse(from, id, application, cluster);
        }
        false
    }

    /// Tells a node that it is of another application than the members, and this one's operator.
    fn refuse(&mut self, to: Incarnation, id: &Arc<str>, application: &Application, theirs: Application) {
        let Some(cluster) = self.replica.as_ref().map(|replica| replica.cluster) else { return };
        self.outbox.push(Target::One(to), Message::OtherApplication { cluster, theirs });
        if self.is_news(id, &application.describe(), &"".into()) {
            let warning = self.bootstrap.other_application(&format!("node `{id}`"), application);
            self.warn(warning);
        }
    }

    /// This member is of another application than the rest, as its leader says.
    pub(super) fn handle_other_application(&mut self, cluster: ClusterUuid, theirs: &Application) {
        let is_ours = self.replica.as_ref().is_some_and(|replica| replica.cluster == cluster);
        if is_ours && !self.options.application.goes_with(theirs) {
            self.fail_as_foreign(theirs);
        }
    }

    fn fail_as_foreign(&mut self, theirs: &Application) {
        let (ours, channel_name) = (self.options.application.describe(), self.options.channel_name.clone());
        self.fail(Error::OtherApplication { ours, theirs: theirs.describe(), channel_name });
    }
}
