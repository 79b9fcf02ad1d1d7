//! The world of the simulation: processes that start and crash, and the network between them.
//!
//! Called by the simulation, once per seed. Everything in it is drawn from that seed.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::Outcome;
use super::model::{Group, Rpc, Sends};
use crate::error::Error;
use crate::raft::bootstrap::{Bootstrap, Event, Facts, Phase};
use crate::raft::identity::{ClusterUuid, Incarnation};
use crate::raft::wire::message::{BootstrapMessage, Roster};
use crate::raft::{Application, Options, Target};

const LOST_PERCENT: u64 = 5;
const REPEATED_PERCENT: u64 = 3;
const DELAY_MAX: u64 = 3;
/// Longer than anything that membership waits for, so that what only seems settled shows.
const STAYS_SETTLED: u64 = 650;
/// More deliveries than this in one tick are two nodes that answer each other forever.
const DELIVERIES_MAX: usize = 2_000;
/// How long a marker lives after its last refresh, and how often a node looks for it, in ticks.
const MARKER_LIVES: u64 = 250;
const LOOK_INTERVAL: u64 = 12;

pub struct World {
    rng: ChaCha8Rng,
    pub(super) now: u64,
    pub(super) cluster_size: usize,
    pub(super) processes: Vec<Process>,
    starts: Vec<(u64, usize)>,
    crashes: Vec<(u64, usize)>,
    calls: Vec<u64>,
    pub(super) has_actions: bool,
    pub(super) last_disturbance: u64,
    last_perform: u64,
    is_faultless: bool,
    /// When every process was in a cluster.
    all_founded_at: Option<u64>,
    network: BTreeMap<(u64, u64, u64), Packet>,
    packets: u64,
    pub(super) promises: BTreeMap<Incarnation, ClusterUuid>,
    pub(super) founded: BTreeMap<ClusterUuid, Roster>,
    /// The most committed actions seen anywhere in a cluster.
    pub(super) committed: BTreeMap<ClusterUuid, usize>,
    /// The applications of the processes, in turn.
    pub(super) applications: Vec<Application>,
    /// The channel keeps the marker of a cluster, and is healthy only some time after a node's start.
    has_marker: bool,
    /// In this time, founders and newcomers do not hear each other.
    cut: Range<u64>,
    /// Since when there is a marker, and until when.
    pub(super) marked: Option<(u64, u64)>,
    is_told: bool,
    pub(super) fault: Option<String>,
}

/// A process of the operating system: it may start again, with the same id or another.
pub(super) struct Process {
    id: String,
    pub(super) node: Option<Node>,
    pub(super) failure: Option<Error>,
}

pub(super) struct Node {
    pub(super) bootstrap: Bootstrap,
    pub(super) group: Option<Group>,
    /// From when on the channel is healthy. Frames arrive before.
    pub(super) healthy_at: u64,
    sees_marker: bool,
}

#[derive(Clone)]
struct Packet {
    from: Incarnation,
    cluster: ClusterUuid,
    to: Option<Incarnation>,
    process: usize,
    content: Rc<Content>,
}

#[derive(Clone, Debug)]
enum Content {
    Bootstrap(BootstrapMessage),
    Raft(Rpc),
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let cluster_size = 2 + draw(&mut rng, 8) as usize;
        let count = cluster_size + draw(&mut rng, 4) as usize;
        let are_together = draw(&mut rng, 2) == 0;
        let starts: Vec<(u64, usize)> = (0..count)
            .map(|process| (if are_together { draw(&mut rng, 5) } else { draw(&mut rng, 400) }, process))
            .collect();
        let crashes: Vec<(u64, usize)> = (0..draw(&mut rng, 2 + cluster_size as u64))
            .map(|_| (early_or_late(&mut rng), draw(&mut rng, count as u64) as usize))
            .collect();
        let last_disturbance = starts.iter().chain(&crashes).map(|(at, _)| *at).max().unwrap_or(0);
        Self {
            rng,
            now: 0,
            cluster_size,
            processes: (0..count)
                .map(|n| Process { id: format!("n{n}"), node: None, failure: None })
                .collect(),
            starts,
            crashes,
            calls: Vec::new(),
            has_actions: false,
            last_disturbance,
            last_perform: 0,
            is_faultless: false,
            all_founded_at: None,
            network: BTreeMap::new(),
            packets: 0,
            promises: BTreeMap::new(),
            founded: BTreeMap::new(),
            committed: BTreeMap::new(),
            applications: vec![Application::default()],
            has_marker: false,
            cut: 0..0,
            marked: None,
            is_told: std::env::var_os("CONFLUX_SEED").is_some(),
            fault: None,
        }
    }

    /// Every leader calls at intervals, often in its first moments.
    pub fn with_actions(mut self) -> Self {
        self.has_actions = true;
        self.calls = (0..1 + draw(&mut self.rng, 12)).map(|_| early_or_late(&mut self.rng)).collect();
        self.last_perform = self.calls.iter().copied().max().unwrap_or(0);
        self
    }

    /// The processes belong to several applications: some are compatible with each other, and some with all.
    pub fn with_applications(mut self) -> Self {
        let of = |name: Option<&str>, methods: &[&str]| Application::new(name, methods.iter().copied());
        self.applications = vec![
            of(None, &["a", "b"]),
            of(Some("shop"), &["b", "c"]),
            of(None, &["c", "d"]),
            of(Some("chat"), &["b"]),
            of(None, &[]),
        ];
        let first = draw(&mut self.rng, 5) as usize;
        self.applications.rotate_left(first);
        self.applications.truncate(2 + draw(&mut self.rng, 4) as usize);
        self
    }

    /// As many newcomers as founders start while a cluster serves, and do not hear it at first, as in a failover of the
    /// server. The channel keeps a marker as long as there is a leader, and nodes hear each other before they can look for
    /// it.
    pub fn with_marker(mut self) -> Self {
        self.has_marker = true;
        let begin = 450 + draw(&mut self.rng, 100);
        self.cut = begin..begin + 100;
        let founders = self.processes.len();
        for process in founders..founders + self.cluster_size {
            self.processes.push(Process { id: format!("n{process}"), node: None, failure: None });
            self.starts.push((begin + draw(&mut self.rng, 5), process));
        }
        self.last_disturbance = self.last_disturbance.max(self.cut.end);
        self
    }

    /// Runs for this many ticks, even if nothing is founded.
    pub fn run_for(mut self, ticks: u64) -> Outcome {
        while self.fault.is_none() && self.now < ticks {
            self.step();
        }
        Outcome { founded: self.founded.len(), fault: self.fault, ..Outcome::default() }
    }

    /// No node crashes, and the network brings everything, in one tick.
    pub fn without_faults(mut self) -> Self {
        self.is_faultless = true;
        self.crashes.clear();
        self.last_disturbance = self.starts.iter().map(|(at, _)| *at).max().unwrap_or(0);
        self
    }

    /// No more processes than founders.
    pub fn without_newcomers(mut self) -> Self {
        self.starts.truncate(self.cluster_size);
        self.processes.truncate(self.cluster_size);
        self.last_disturbance = self.starts.iter().map(|(at, _)| *at).max().unwrap_or(0);
        self
    }

    /// Runs until there has been one cluster for long, or until it is clear that there won't be.
    pub fn run(mut self, settled_within: u64) -> Outcome {
        let mut settled_at = None;
        while self.fault.is_none() {
            self.step();
            if self.now < self.last_disturbance {
                continue;
            }
            self.note_committed_actions();
            match (self.is_settled(), settled_at) {
                (true, None) => settled_at = Some(self.now),
                (true, Some(at)) if self.now >= at.max(self.last_perform) + STAYS_SETTLED => break,
                (true, Some(_)) => {}
                (false, _) => settled_at = None,
            }
            if settled_at.is_none() && self.now > self.last_disturbance + settled_within {
                self.fault =
                    Some(format!("not one cluster after {settled_within} ticks: {}", self.describe()));
            }
        }
        if self.fault.is_none() {
            self.check_committed_actions_are_kept();
        }
        Outcome {
            settled_after: settled_at.map_or(0, |at| at - self.last_disturbance),
            all_founded_after: self.all_founded_at.map(|at| at.saturating_sub(self.last_disturbance)),
            founded: self.founded.len(),
            are_two: self.clusters_with_actions().len() > 1,
            fault: self.fault,
        }
    }

    // ---- One tick --------------------------------------------------------------------------------------------------

    fn step(&mut self) {
        self.now += 1;
        let now = self.now;
        for process in take_due(&mut self.starts, now) {
            self.start(process);
        }
        for process in take_due(&mut self.crashes, now) {
            self.crash(process);
        }
        if !take_due_times(&mut self.calls, now).is_empty() {
            self.perform();
        }
        if self.has_marker {
            self.keep_marker();
        }
        for process in 0..self.processes.len() {
            self.tick(process);
        }
        let mut deliveries = 0;
        while let Some(entry) = self.network.first_entry()
            && entry.key().0 <= now
        {
            let packet = entry.remove();
            self.deliver(packet);
            deliveries += 1;
            if deliveries > DELIVERIES_MAX {
                self.fault = Some("nodes answer each other for ever".into());
                return;
            }
        }
    }

    fn start(&mut self, process: usize) {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let application = self.applications[process % self.applications.len()].clone();
        let options =
            Options { application, ..Options::new(&self.processes[process].id, self.cluster_size, seed) };
        let bootstrap = Bootstrap::new(&options, ChaCha8Rng::from_seed(seed));
        self.log(process, "starts");
        let healthy_at = if self.has_marker { self.now + draw(&mut self.rng, 30) } else { 0 };
        self.processes[process].node = Some(Node { bootstrap, group: None, healthy_at, sees_marker: false });
        self.execute(process);
    }

    /// Kills a process and has it started again a little later. Once there are actions in play, no founded cluster is
    /// robbed of its quorum: one that may hold an action stays dead for good, and every node waits on it.
    fn crash(&mut self, process: usize) {
        let quorum = self.cluster_size / 2 + 1;
        let is_last_of_quorum =
            self.cluster_of(process).is_some_and(|cluster| self.groups(cluster).count() <= quorum);
        if self.processes[process].node.is_none() || (self.has_actions && is_last_of_quorum) {
            return;
        }
        self.log(process, "crashes");
        self.processes[process].node = None;
        if draw(&mut self.rng, 2) == 0 {
            self.processes[process].id.push('\'');
        }
        let at = self.now + 1 + draw(&mut self.rng, 60);
        self.starts.push((at, process));
        self.last_disturbance = self.last_disturbance.max(at);
    }

    /// A node that leads calls, if its cluster isn't dead already: an action in the log of a dead one waits for its
    /// operator, because a node may have reported it as kept.
    fn perform(&mut self) {
        let (processes, quorum) = (0..self.processes.len(), self.cluster_size / 2 + 1);
        for process in processes {
            let Some(cluster) = self.cluster_of(process) else { continue };
            let has_quorum = self.groups(cluster).count() >= quorum;
            if has_quorum && let Some(group) = &mut self.node(process).group {
                group.perform();
            }
        }
    }

    /// Leaders keep the marker, and nodes look for it.
    fn keep_marker(&mut self) {
        let now = self.now;
        self.marked = self.marked.filter(|(_, until)| now < *until);
        let groups = self.processes.iter().filter_map(|process| process.node.as_ref()?.group.as_ref());
        if groups.into_iter().any(|group| group.is_leader() && group.has_seen_commit()) {
            let since = self.marked.map_or(now, |(since, _)| since);
            self.marked = Some((since, now + MARKER_LIVES));
        }
        for node in self.processes.iter_mut().filter_map(|process| process.node.as_mut()) {
            if now >= node.healthy_at && (now - node.healthy_at).is_multiple_of(LOOK_INTERVAL) {
                node.sees_marker = self.marked.is_some();
            }
        }
    }

    fn tick(&mut self, process: usize) {
        let Some(node) = &mut self.processes[process].node else { return };
        let sends = node.group.as_mut().map(|group| group.tick(self.now, &mut self.rng)).unwrap_or_default();
        let facts = node.facts(self.now);
        node.bootstrap.tick(&facts);
        self.send_rpcs(process, sends);
        self.execute(process);
    }

    fn deliver(&mut self, packet: Packet) {
        let process = packet.process;
        let Some(node) = &mut self.processes[process].node else { return };
        if packet.to.is_some_and(|to| to != node.bootstrap.me()) {
            return;
        }
        let facts = node.facts(self.now);
        node.bootstrap.note_frame(packet.from, packet.cluster, &facts);
        self.execute(process);
        let Some(node) = &mut self.processes[process].node else { return };
        match &*packet.content {
            Content::Bootstrap(message) => {
                let facts = node.facts(self.now);
                node.bootstrap.handle_message(packet.from, message, &facts);
                self.execute(process);
            }
            Content::Raft(rpc) => {
                let Some(group) = &mut node.group else { return };
                if group.cluster == packet.cluster {
                    let sends = group.handle_message(packet.from, rpc, self.now, &mut self.rng);
                    self.send_rpcs(process, sends);
                }
            }
        }
    }

    /// Does what a node's membership asks for.
    fn execute(&mut self, process: usize) {
        while let Some(event) = self.poll(process) {
            match event {
                Event::Join(_) | Event::Warn(_) => {}
                Event::Send(target, message) => {
                    self.note_acceptance(process, &message);
                    self.send(process, target, Content::Bootstrap(message));
                }
                Event::Founded { roster, campaign } => self.found(process, &roster, campaign),
                // Nothing is recovered here.
                Event::Superseded { .. } | Event::LeftForSuccessor { .. } | Event::ReturnedToFormer => {
                    unreachable!("process {process} heard of a successor")
                }
                Event::NewIncarnation { why } => {
                    self.log(process, &format!("starts over: {why}"));
                    self.node(process).group = None;
                }
                Event::Fail(error) => {
                    self.log(process, &format!("fails: {error}"));
                    self.node(process).group = None;
                    self.processes[process].failure = Some(error);
                }
            }
        }
    }

    fn found(&mut self, process: usize, roster: &Roster, campaign: bool) {
        let cluster = roster.uuid();
        self.log(process, &format!("founds {}", short(cluster)));
        self.check_rosters_are_apart(cluster, roster);
        self.check_applications(roster);
        self.check_marker_was_respected(roster);
        let me = self.node(process).bootstrap.me();
        let group = Group::new(me, roster, campaign, self.now, &mut self.rng);
        self.node(process).group = Some(group);
        self.founded.insert(cluster, roster.clone());
        let in_cluster = self.processes.iter().filter(|process| process.is_in_cluster()).count();
        if in_cluster == self.processes.len() {
            self.all_founded_at = Some(self.now);
        }
    }

    fn poll(&mut self, process: usize) -> Option<Event> {
        self.processes[process].node.as_mut()?.bootstrap.poll()
    }

    pub(super) fn node(&mut self, process: usize) -> &mut Node {
        self.processes[process].node.as_mut().expect("only a running process has events")
    }

    // ---- The network -----------------------------------------------------------------------------------------------

    fn send_rpcs(&mut self, process: usize, sends: Sends) {
        for (to, rpc) in sends {
            self.send(process, Target::One(to), Content::Raft(rpc));
        }
    }

    fn send(&mut self, process: usize, target: Target, content: Content) {
        let bootstrap = &self.node(process).bootstrap;
        let (from, cluster) = (bootstrap.me(), bootstrap.phase().cluster());
        let to = match target {
            Target::All => None,
            Target::One(incarnation) => Some(incarnation),
        };
        let content = Rc::new(content);
        // The topic for all also returns a node's own messages.
        for receiver in 0..self.processes.len() {
            if self.cut.contains(&self.now) && self.is_newcomer(process) != self.is_newcomer(receiver) {
                continue;
            }
            let bootstrap = self.processes[receiver].node.as_ref().map(|node| &node.bootstrap);
            if bootstrap.is_some_and(|bootstrap| to.is_none_or(|to| to == bootstrap.me())) {
                let packet = Packet { from, cluster, to, process: receiver, content: content.clone() };
                self.post(packet);
            }
        }
    }

    /// Of those that start while a cluster serves.
    fn is_newcomer(&self, process: usize) -> bool {
        process + self.cluster_size >= self.processes.len()
    }

    fn post(&mut self, packet: Packet) {
        if self.is_faultless {
            self.packets += 1;
            self.network.insert((self.now + 1, self.packets, self.packets), packet);
            return;
        }
        if draw(&mut self.rng, 100) < LOST_PERCENT {
            return;
        }
        let copies = if draw(&mut self.rng, 100) < REPEATED_PERCENT { 2 } else { 1 };
        for _ in 0..copies {
            self.packets += 1;
            let at = self.now + draw(&mut self.rng, DELAY_MAX + 1);
            let key = (at, self.rng.next_u64(), self.packets);
            self.network.insert(key, packet.clone());
        }
    }

    // ---- Logging ---------------------------------------------------------------------------------------------------

    fn log(&self, process: usize, what: &str) {
        if self.is_told {
            let process = &self.processes[process];
            let me = process.node.as_ref().map(|node| node.bootstrap.me().to_string());
            println!("{:5} {:5} {} {what}", self.now, process.id, &me.as_deref().unwrap_or("--------")[..8]);
        }
    }

    pub(super) fn describe(&self) -> String {
        let mut lines = format!("N = {}, tick {}", self.cluster_size, self.now);
        for process in &self.processes {
            let line = match &process.node {
                None => "dead".into(),
                Some(node) => {
                    let phase = match node.bootstrap.phase() {
                        Phase::Seeking => "seeks".into(),
                        Phase::Waiting { cluster, .. } => format!("waits on {}", short(*cluster)),
                        Phase::Accepted { cluster, .. } => format!("accepted {}", short(*cluster)),
                        Phase::Founded { cluster, .. } => format!("founded {}", short(*cluster)),
                        Phase::Member { cluster, .. } => format!("member of {}", short(*cluster)),
                        Phase::Stopped => format!("stopped: {:?}", process.failure),
                    };
                    format!("{} {phase}, {:?}", node.bootstrap.me(), node.facts(self.now))
                }
            };
            lines += &format!("\n  {}: {line}", process.id);
        }
        lines
    }
}

impl Process {
    fn is_in_cluster(&self) -> bool {
        self.node.as_ref().is_some_and(|node| node.group.is_some())
    }
}

impl Node {
    pub(super) fn facts(&self, now: u64) -> Facts {
        let about_channel = Facts {
            channel_is_healthy: now >= self.healthy_at,
            cluster_was_found: self.sees_marker,
            ..Facts::default()
        };
        let Some(group) = &self.group else { return about_channel };
        Facts {
            is_leader: group.is_leader(),
            has_leader: group.has_leader(now),
            has_seen_commit: group.has_seen_commit(),
            holds_actions: group.holds_actions(),
            holds_committed_actions: group.committed_actions() > 0,
            ..about_channel
        }
    }
}

fn take_due(schedule: &mut Vec<(u64, usize)>, now: u64) -> Vec<usize> {
    let due = schedule.iter().filter(|(at, _)| *at <= now).map(|(_, process)| *process).collect();
    schedule.retain(|(at, _)| *at > now);
    due
}

fn take_due_times(schedule: &mut Vec<u64>, now: u64) -> Vec<u64> {
    let due = schedule.iter().filter(|at| **at <= now).copied().collect();
    schedule.retain(|at| *at > now);
    due
}

pub(super) fn short(cluster: ClusterUuid) -> String {
    cluster.to_string()[..8].into()
}

/// Half of what happens does so in the first moments, when rosters are accepted and leaders elected.
fn early_or_late(rng: &mut ChaCha8Rng) -> u64 {
    let span = if draw(rng, 2) == 0 { 60 } else { 900 };
    draw(rng, span)
}

/// A number below `bound`.
fn draw(rng: &mut ChaCha8Rng, bound: u64) -> u64 {
    rng.next_u64() % bound
}
