//! The state machine of the bootstrap: seek, accept, found, join, start over.
//!
//! Called by the node of the core with every tick and every [`BootstrapMessage`]. It must never take a step that lets
//! one incarnation accept a second roster.

mod applications;
mod founding;
mod messages;
mod note;
mod succession;

use std::collections::VecDeque;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;

use super::conflict::{ConflictHistory, Resolution};
use super::peers::Peers;
use super::{Event, Facts, Phase};
use crate::error::Error;
use crate::raft::application::Application;
use crate::raft::consensus::timing::Timing;
use crate::raft::identity::{ClusterUuid, Incarnation};
use crate::raft::wire::message::{Ancestor, BootstrapMessage, ClusterAnnouncement, Roster};
use crate::raft::{Options, ReplicaRecord, Target, Warning};

use applications::Refusal;
pub use note::Note;
use succession::FormerMembership;

/// Brings one node into a cluster, and watches for other clusters.
///
/// Its inputs are `tick`, `note_frame` and `handle_message`; after each, `poll` returns events until there are none.
///
/// Invariants:
/// - an incarnation accepts at most one roster (`me` changes on every way back from `Accepted`);
/// - while this node holds an action it never becomes a new incarnation;
/// - the same state of a sender is answered once, so that two nodes never answer each other forever.
#[derive(Debug)]
pub struct Bootstrap {
    id: Arc<str>,
    cluster_size: usize,
    /// Without it, this node founds nothing and only joins.
    may_vote: bool,
    version: Arc<str>,
    application: Application,
    channel_name: Arc<str>,
    /// The former names of a recovered cluster.
    ancestors: Vec<Ancestor>,
    /// The membership to which this node returns if the successor becomes silent.
    former: Option<FormerMembership>,
    /// The leader of a cluster of another application has refused this node.
    refusal: Option<Refusal>,
    /// The cluster that removed this node, whose present size this node adopts.
    removed_from: Option<ClusterUuid>,
    timing: Timing,
    rng: ChaCha8Rng,
    me: Incarnation,
    /// Ticks with a healthy channel so far.
    now: u64,
    phase: Phase,
    /// The last members index of the leader by which this node waits to be admitted, and when this node repeated it.
    members_index: u64,
    admission_requested_at: Option<u64>,
    peers: Peers,
    conflict_history: ConflictHistory,
    /// When this node broadcasts its next Discover, Accept or ClusterAnnouncement.
    announces_at: u64,
    /// A cluster of one is not founded before this: a node may still answer its Discover.
    answered_by: u64,
    /// In a cluster: ticks without a known leader, and the number after which the quorum counts as lost.
    leaderless: u64,
    leaderless_max: u64,
    /// In a cluster: a member has reported committed actions.
    knows_of_actions: bool,
    /// While waiting for others: when the next warning is due, and the ids in the last one.
    warns_at: u64,
    warned_of: Option<Vec<Arc<str>>>,
    channel_was_healthy: bool,
    /// There may be a cluster that will be received shortly: this node does not found one.
    cluster_was_found: bool,
    /// Before the channel is healthy, whether there is such a cluster is unknown.
    channel_is_healthy: bool,
    /// The channel's note of a cluster, from before this node was in one.
    note: Option<Note>,
    /// Emptied by the caller after each input, and an input adds a few at most: no bound is needed.
    events: VecDeque<Event>,
}

impl Bootstrap {
    /// A node that has just started. `rng` draws its incarnation, and later the jitter.
    pub fn new(options: &Options, mut rng: ChaCha8Rng) -> Self {
        let timing = Timing::new(options);
        let mut bootstrap = Self {
            id: options.id.clone(),
            cluster_size: options.cluster_size,
            may_vote: options.may_vote,
            version: options.version.clone(),
            application: options.application.clone(),
            channel_name: options.channel_name.clone(),
            ancestors: Vec::new(),
            former: None,
            refusal: None,
            removed_from: None,
            timing,
            me: Incarnation::draw(&mut rng),
            rng,
            now: 0,
            phase: Phase::Seeking,
            members_index: 0,
            admission_requested_at: None,
            peers: Peers::new(timing.discover_is_fresh(), timing.newcomer_is_near()),
            conflict_history: ConflictHistory::default(),
            announces_at: 0,
            answered_by: 0,
            leaderless: 0,
            leaderless_max: 0,
            knows_of_actions: false,
            warns_at: timing.until_warning(),
            warned_of: None,
            channel_was_healthy: true,
            cluster_was_found: false,
            channel_is_healthy: false,
            note: None,
            events: VecDeque::new(),
        };
        bootstrap.join();
        bootstrap
    }

    /// A node that restarts with its log, and so with its incarnation and its replica.
    pub fn resumed(options: &Options, rng: ChaCha8Rng, replica: ReplicaRecord) -> Self {
        let mut bootstrap = Self::new(options, rng);
        bootstrap.events.clear();
        bootstrap.me = replica.incarnation;
        bootstrap.enter(replica.cluster);
        bootstrap.events.push_back(Event::Join(replica.incarnation));
        bootstrap
    }

    /// How many voters the cluster is to have, as far as this node knows.
    pub fn cluster_size(&self) -> usize {
        self.cluster_size
    }

    #[cfg(test)]
    pub fn ancestors(&self) -> &[Ancestor] {
        &self.ancestors
    }

    /// May be admitted to a cluster: is in none, and has accepted no roster.
    pub fn may_be_admitted(&self) -> bool {
        matches!(self.phase, Phase::Seeking | Phase::Waiting { .. })
    }

    /// A node that waits for the successor of its cluster is admitted by no other cluster.
    pub fn may_be_admitted_to(&self, cluster: ClusterUuid) -> bool {
        match &self.phase {
            Phase::Seeking => self.former.is_none(),
            Phase::Waiting { cluster: awaited, .. } => self.former.is_none() || *awaited == cluster,
            Phase::Accepted { .. } | Phase::Founded { .. } | Phase::Member { .. } | Phase::Stopped => false,
        }
    }

    /// The leader of this cluster admitted this node.
    pub fn admitted(&mut self, cluster: ClusterUuid, cluster_size: usize) {
        self.cluster_size = cluster_size;
        self.former = None;
        self.enter(cluster);
    }

    /// The cluster of this node has another name: it was recovered.
    pub fn renamed(&mut self, cluster: ClusterUuid, ancestors: Vec<Ancestor>) {
        self.ancestors = ancestors;
        if self.phase.is_in_cluster() {
            self.phase = Phase::Member { cluster };
        }
    }

    /// Changes the number of voters, which newcomers must use too.
    pub fn resized(&mut self, cluster_size: usize) {
        self.cluster_size = cluster_size;
    }

    /// This node was removed from its cluster, which is to have `cluster_size` voters: it starts over as a new member.
    pub fn start_over(&mut self, cluster_size: usize, why: &str) {
        // Before the new incarnation's first Discover, which names the size.
        (self.removed_from, self.cluster_size) = (Some(self.phase.cluster()), cluster_size);
        self.become_new_incarnation(why);
    }

    pub fn me(&self) -> Incarnation {
        self.me
    }

    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Counts a tick, unless the channel is broken: then nothing can be received.
    pub fn tick(&mut self, facts: &Facts) {
        let channel_returned = facts.channel_is_healthy && !self.channel_was_healthy;
        self.channel_was_healthy = facts.channel_is_healthy;
        if !facts.channel_is_healthy {
            return;
        }
        self.now += 1;
        if channel_returned {
            self.announces_at = self.now;
            self.answered_by = self.now + self.timing.answer();
        }
        self.see_facts(facts);
        self.leaderless = if facts.has_leader { 0 } else { self.leaderless + 1 };
        self.leave_overdue_phase(facts);
        if self.announces_at <= self.now {
            self.announce(facts);
        }
        self.found_with_others();
        self.apply_refusal();
        self.warn_of_waiting();
    }

    /// A frame of cluster `cluster` arrived; called before its messages are handled. If the cluster is that of the
    /// roster we accepted, all others accepted it too: the frame proves the founding.
    pub fn note_frame(&mut self, from: Incarnation, cluster: ClusterUuid, facts: &Facts) {
        self.see_facts(facts);
        if from != self.me {
            self.see_cluster(cluster);
        }
    }

    /// A message arrived, to all or to the present incarnation.
    pub fn handle_message(&mut self, from: Incarnation, message: &BootstrapMessage, facts: &Facts) {
        self.see_facts(facts);
        // A channel may return our own broadcasts.
        if from == self.me || self.phase == Phase::Stopped {
            return;
        }
        match message {
            BootstrapMessage::Discover { id, cluster_size, application, may_vote, .. } => {
                self.handle_discover(from, id, (*cluster_size, *may_vote), application, facts);
            }
            BootstrapMessage::Accept(roster) => self.handle_accept(from, roster),
            BootstrapMessage::ClusterAnnouncement(announcement) => {
                self.handle_announcement(from, announcement, facts)
            }
            BootstrapMessage::IdInUse { id } => self.handle_id_in_use(id),
            BootstrapMessage::OtherApplication { cluster, theirs } => self.handle_refusal(*cluster, theirs),
        }
    }

    /// The next thing to do; `None` until the next input.
    pub fn poll(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    // ---- Ticks -----------------------------------------------------------------------------------------------------

    fn leave_overdue_phase(&mut self, facts: &Facts) {
        match &self.phase {
            Phase::Waiting { until, .. } if *until <= self.now => match self.former.take() {
                Some(former) => self.return_to_former(former),
                None => self.seek(),
            },
            Phase::Accepted { until, .. } if *until <= self.now => {
                self.become_new_incarnation("not every founder accepted the roster in time")
            }
            // With a leader the first commit is imminent: if this node left now, the quorum might be lost.
            Phase::Founded { until, .. } if *until <= self.now && !facts.has_leader => {
                self.become_new_incarnation("the founded cluster had no leader in time");
            }
            Phase::Member { .. } if self.has_lost_quorum(facts) => {
                self.become_new_incarnation("the cluster lost its quorum before its first action");
            }
            Phase::Seeking
            | Phase::Waiting { .. }
            | Phase::Accepted { .. }
            | Phase::Founded { .. }
            | Phase::Member { .. }
            | Phase::Stopped => {}
        }
    }

    /// Our cluster has lost its quorum and has no actions, and there are other nodes to found a cluster with.
    ///
    /// Silence alone is no proof, because this node may be in the minority of a partition; leaving would then cost the
    /// others a voter. But a cluster without a quorum has lost at least N - ⌊N/2⌋ of its N founders. Only with as many
    /// newcomers can N nodes be alive; until then leaving has no benefit.
    fn has_lost_quorum(&self, facts: &Facts) -> bool {
        !self.cluster_holds_actions(facts)
            && self.leaderless >= self.leaderless_max
            && self.peers.newcomers(&self.id, self.now) >= self.cluster_size - self.cluster_size / 2
    }

    /// Whether our cluster holds actions, as far as this node knows. A node that has just restarted from its disk may
    /// have none itself, but its vote is needed to keep those of others.
    pub(super) fn cluster_holds_actions(&self, facts: &Facts) -> bool {
        injected_bug!(LeavesActionsOfOthers, return facts.holds_actions);
        facts.holds_actions || self.knows_of_actions
    }

    fn announce(&mut self, facts: &Facts) {
        let slow = self.timing.slow_interval(&mut self.rng);
        let fast = self.timing.interval(&mut self.rng);
        let pause = match &self.phase {
            Phase::Seeking | Phase::Accepted { .. } | Phase::Founded { .. } => fast,
            Phase::Waiting { .. } | Phase::Member { .. } | Phase::Stopped => slow,
        };
        self.announces_at = self.now + pause;
        if let Some(message) = self.current_announcement(facts) {
            self.send(Target::All, message);
        }
    }

    fn warn_of_waiting(&mut self) {
        if let Phase::Waiting { cluster, since, .. } = self.phase
            && since + self.timing.until_warning() <= self.now
            && self.conflict_history.is_new_awaited(cluster)
        {
            self.warn(self.waiting_to_join(cluster));
        }
        if self.phase != Phase::Seeking || self.now < self.warns_at {
            return;
        }
        let heard = self.heard_ids();
        if self.warned_of.as_ref() == Some(&heard) {
            return;
        }
        self.warns_at = self.now + self.timing.until_warning();
        self.warned_of = Some(heard.clone());
        self.warn(self.waiting_for_nodes(heard));
    }

    // ---- Messages --------------------------------------------------------------------------------------------------

    fn handle_discover(
        &mut self,
        from: Incarnation,
        id: &Arc<str>,
        (cluster_size, may_vote): (u32, bool),
        application: &Application,
        facts: &Facts,
    ) {
        let is_foreign = self.is_foreign(&format!("node `{id}`"), application);
        // Only a live process answers, so a restarted node is never refused because of its own past, nor because of a
        // process that is closing.
        if *id == self.id
            && !is_foreign
            && !facts.is_closing
            && (self.phase.is_in_cluster() || self.me < from)
        {
            self.send(Target::One(from), BootstrapMessage::IdInUse { id: id.clone() });
        }
        if is_foreign {
            // It cannot be a founder.
        } else if !self.is_our_size(cluster_size) {
            if self.conflict_history.is_new_size(id, cluster_size) {
                let (theirs, ours) = (cluster_size as usize, self.cluster_size);
                self.warn(Warning::OtherClusterSize { id: id.clone(), theirs, ours });
            }
        } else if may_vote {
            let is_news = self.peers.note_discover(from, id, application, self.now);
            if is_news && self.phase == Phase::Seeking {
                self.send(Target::One(from), self.discover());
            }
        }
        if let Phase::Member { cluster } = &self.phase
            && *id != self.id
        {
            self.send(Target::One(from), self.announcement(*cluster, facts));
        }
        self.found_with_others();
    }

    fn handle_accept(&mut self, from: Incarnation, theirs: &Roster) {
        let Some((_, id)) = theirs.0.iter().find(|(incarnation, _)| *incarnation == from) else { return };
        self.peers.note_acceptance(from, id, !theirs.contains(self.me), self.now);
        match &mut self.phase {
            Phase::Seeking => {
                if self.can_accept(theirs) {
                    self.accept(theirs.clone(), from);
                }
            }
            Phase::Accepted { roster, accepted_by, .. } if roster == theirs => {
                let is_news = accepted_by.insert(from);
                if is_news {
                    let answer = BootstrapMessage::Accept(roster.clone());
                    self.send(Target::One(from), answer);
                    self.found_if_agreed();
                }
            }
            Phase::Accepted { roster, .. } if roster.contains(from) => {
                self.become_new_incarnation(
                    "a founder accepted another roster, so this roster cannot be founded",
                );
            }
            Phase::Waiting { .. }
            | Phase::Accepted { .. }
            | Phase::Founded { .. }
            | Phase::Member { .. }
            | Phase::Stopped => {}
        }
    }

    fn handle_announcement(&mut self, from: Incarnation, announcement: &ClusterAnnouncement, facts: &Facts) {
        if announcement.cluster.is_none() {
            return;
        }
        if self.check_for_successor(from, announcement, facts) {
            return;
        }
        self.knows_of_actions |= announcement.holds_actions && self.phase.cluster() == announcement.cluster;
        if self.removed_from == Some(announcement.cluster) && self.may_be_admitted() {
            self.resized(announcement.cluster_size as usize);
        }
        if !self.is_our_size(announcement.cluster_size) {
            if self.conflict_history.is_new_other_sized(announcement.cluster) {
                let (theirs, ours) = (announcement.cluster_size as usize, self.cluster_size);
                self.warn(Warning::ClusterOfOtherSize { cluster: announcement.cluster, theirs, ours });
            }
            return;
        }
        self.see_cluster(announcement.cluster);
        if self.may_be_admitted()
            && self.is_foreign(&format!("cluster {}", announcement.cluster), &announcement.application)
            && self.awaits_other_than(announcement.cluster)
        {
            return;
        }
        match &self.phase {
            Phase::Seeking | Phase::Waiting { .. } => self.request_admission(from, announcement),
            Phase::Accepted { .. } => {
                self.become_new_incarnation("there is a full cluster already");
                self.request_admission(from, announcement);
            }
            Phase::Founded { cluster, .. } | Phase::Member { cluster } => {
                if *cluster != announcement.cluster {
                    self.handle_conflict(from, *cluster, announcement, facts);
                }
            }
            Phase::Stopped => {}
        }
    }

    /// Waits to be admitted. A leader announces the index at which its members last changed, and admits a node that
    /// repeats it. This node repeats one index per tick at most, because a former leader may announce another.
    pub(super) fn request_admission(&mut self, from: Incarnation, announcement: &ClusterAnnouncement) {
        self.wait_for(announcement.cluster);
        let is_news = announcement.members_index > 0 && announcement.members_index != self.members_index;
        if is_news && self.admission_requested_at != Some(self.now) {
            (self.members_index, self.admission_requested_at) = (announcement.members_index, Some(self.now));
            self.send(Target::One(from), self.discover());
        }
    }

    fn handle_conflict(
        &mut self,
        from: Incarnation,
        ours: ClusterUuid,
        theirs: &ClusterAnnouncement,
        facts: &Facts,
    ) {
        let Some(resolution) = self.judge_application(self.judge(ours, theirs, facts), theirs) else {
            return;
        };
        match resolution {
            Resolution::Stay => {}
            Resolution::Dissolve => {
                self.become_new_incarnation(&format!(
                    "cluster {ours} without actions met cluster {}",
                    theirs.cluster
                ));
                return self.request_admission(from, theirs);
            }
            Resolution::Warn => {
                if self.conflict_history.is_new_rival(theirs.cluster) {
                    let warning = self.warning_of(ours, theirs);
                    self.warn(warning);
                }
            }
            Resolution::Stop => return self.fail(Error::OtherCluster { ours, theirs: theirs.cluster }),
        }
        // The other side must learn of this cluster too. A node that has not seen its own cluster commit does not
        // announce it.
        if matches!(self.phase, Phase::Member { .. })
            && self.conflict_history.may_answer(theirs.cluster, self.now, self.timing.between_answers())
        {
            self.send(Target::One(from), self.announcement(ours, facts));
        }
    }

    fn handle_id_in_use(&mut self, id: &Arc<str>) {
        let is_ours = *id == self.id;
        match self.phase {
            Phase::Seeking | Phase::Waiting { .. } if is_ours => {
                self.fail(Error::DuplicateId { id: id.to_string() });
            }
            // An answer to a Discover from before this node accepted a roster is too late: otherwise two nodes with one
            // id could refuse each other. If this node founded, the other one is refused; if not, the next Discover is
            // answered again.
            Phase::Seeking
            | Phase::Waiting { .. }
            | Phase::Accepted { .. }
            | Phase::Founded { .. }
            | Phase::Member { .. }
            | Phase::Stopped => {}
        }
    }

    // ---- Steps between phases --------------------------------------------------------------------------------------

    /// Waits for the announced cluster, and founds none meanwhile.
    pub(super) fn wait_for(&mut self, cluster: ClusterUuid) {
        let mut waits_since = self.now;
        if let Phase::Waiting { since, .. } = &self.phase {
            waits_since = *since;
        } else {
            self.announces_at = self.now + self.timing.slow_interval(&mut self.rng);
        }
        let until = self.now + self.timing.announcement_holds();
        self.phase = Phase::Waiting { cluster, since: waits_since, until };
    }

    /// Becomes a new incarnation, which may accept a roster. For Raft the former one has crashed.
    pub(super) fn become_new_incarnation(&mut self, why: &str) {
        self.ancestors.clear();
        let me = Incarnation::draw(&mut self.rng);
        injected_bug!(PromisesTwice, me => self.me);
        self.me = me;
        self.events.push_back(Event::NewIncarnation { why: why.into() });
        if !matches!(self.phase, Phase::Accepted { .. }) {
            self.await_warning();
        }
        self.phase = Phase::Seeking;
        self.join();
    }

    pub(super) fn enter(&mut self, cluster: ClusterUuid) {
        self.leaderless = 0;
        self.leaderless_max = self.timing.until_quorum_lost(&mut self.rng);
        self.knows_of_actions = false;
        self.phase = Phase::Member { cluster };
        self.removed_from = None;
    }

    pub(super) fn join(&mut self) {
        self.events.push_back(Event::Join(self.me));
        self.send(Target::All, self.discover());
        self.announces_at = self.now + self.timing.interval(&mut self.rng);
        self.answered_by = self.now + self.timing.answer();
    }

    /// The cluster that this node waited for is silent. The node has accepted no roster, so it keeps its incarnation.
    fn seek(&mut self) {
        self.phase = Phase::Seeking;
        self.announces_at = self.now;
        self.answered_by = self.now + self.timing.answer();
        self.await_warning();
    }

    pub(super) fn await_warning(&mut self) {
        self.warns_at = self.now + self.timing.until_warning();
        self.warned_of = None;
    }

    pub(super) fn fail(&mut self, error: Error) {
        self.phase = Phase::Stopped;
        self.events.push_back(Event::Fail(error));
    }
}
