//! Brings a small cluster into a state that matters, records its traffic on the way, and gives its nodes away.

use bytes::Bytes;

use super::adversary::Adversary;
use super::target::Target;
use crate::raft::testing::cluster::{Cluster, Network};
use crate::raft::{Incarnation, Operation, Options, Role};

/// What a node is doing when it hears lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Situation {
    Follower,
    Candidate,
    Leader,
    /// A leader between two configurations.
    Joint,
    /// A follower whose log ends before what its leader still has.
    Behind,
    /// A node that has no cluster yet.
    Newcomer,
}

pub const SITUATIONS: [Situation; 6] = [
    Situation::Follower,
    Situation::Candidate,
    Situation::Leader,
    Situation::Joint,
    Situation::Behind,
    Situation::Newcomer,
];

/// Some thousands are enough to change: the newest.
const FRAMES_MAX: usize = 2_000;

/// The situation if it was reached, the nodes, and an adversary that has recorded their frames.
pub fn prepare(seed: u64) -> (Option<Situation>, Vec<Target>, Adversary) {
    let wanted = SITUATIONS[(seed % SITUATIONS.len() as u64) as usize];
    let mut stage = Stage::found(seed);
    let is_reached = match wanted {
        Situation::Follower | Situation::Leader => true,
        Situation::Candidate => stage.cut_off_until_it_campaigns(),
        Situation::Joint => stage.replace_a_voter(),
        Situation::Behind => stage.fall_behind(),
        Situation::Newcomer => stage.start_a_newcomer(),
    };
    let Stage { mut cluster, frames, .. } = stage;
    let adversary = Adversary::new(cluster.draw_seed(), frames);
    let everyone: Vec<Incarnation> =
        cluster.replicas.values().filter_map(|replica| replica.incarnation).collect();
    let mut targets = Vec::new();
    while let Some((_, replica)) = cluster.replicas.pop_first() {
        let me = replica.incarnation;
        let peers = everyone.iter().copied().filter(|peer| Some(*peer) != me).collect();
        targets.push(Target::new(replica.node, peers));
    }
    (is_reached.then_some(wanted), targets, adversary)
}

struct Stage {
    cluster: Cluster,
    frames: Vec<Bytes>,
    performed: u64,
}

impl Stage {
    /// Three nodes that have led a life: actions, and snapshots that dropped most of the log.
    fn found(seed: u64) -> Self {
        let mut cluster = Cluster::new(seed);
        cluster.network = Network { delay_ticks_max: 2, ..Network::default() };
        let mut stage = Self { cluster, frames: Vec::new(), performed: 0 };
        for n in 0..3 {
            stage.start(&format!("n{n}"));
        }
        assert!(stage.until(|stage| stage.leader().is_some()), "seed {seed} elects no leader");
        stage.perform(30);
        stage
    }

    fn start(&mut self, name: &str) {
        let seed = self.cluster.draw_seed();
        let options = Options { snapshot_entries: 20, ..Options::new(name, 3, seed) };
        self.cluster.start(name, options, None);
    }

    fn tick(&mut self) {
        self.cluster.tick();
        self.frames.extend(self.cluster.frames.values().map(|sent| sent.bytes.clone()));
        let surplus = self.frames.len().saturating_sub(FRAMES_MAX);
        self.frames.drain(..surplus);
    }

    fn until(&mut self, holds: impl Fn(&Self) -> bool) -> bool {
        for _ in 0..2_000 {
            if holds(self) {
                return true;
            }
            self.tick();
        }
        false
    }

    fn leader(&self) -> Option<String> {
        let statuses = self.cluster.statuses();
        let leads =
            statuses.iter().find(|(_, status)| status.role == Role::Leader && status.commit_index > 1);
        leads.map(|(name, _)| name.clone())
    }

    fn follower(&self) -> String {
        let leader = self.leader();
        let mut names = self.cluster.replicas.keys().filter(|name| Some(*name) != leader.as_ref());
        names.next().expect("a cluster of three has followers").clone()
    }

    fn perform(&mut self, count: u64) {
        let Some(leader) = self.leader() else { return };
        for _ in 0..count {
            self.performed += 1;
            self.cluster.perform(&leader, "append", &self.performed.to_string());
            self.tick();
        }
    }

    fn isolate(&mut self, name: &str) {
        let others: Vec<String> =
            self.cluster.replicas.keys().filter(|other| *other != name).cloned().collect();
        for other in others {
            self.cluster.cuts.insert((name.to_string(), other.clone()));
            self.cluster.cuts.insert((other, name.to_string()));
        }
    }

    fn cut_off_until_it_campaigns(&mut self) -> bool {
        let name = self.follower();
        self.isolate(&name);
        self.until(|stage| stage.cluster.statuses()[&name].role == Role::Candidate)
    }

    fn fall_behind(&mut self) -> bool {
        let name = self.follower();
        self.isolate(&name);
        let last_index = self.cluster.statuses()[&name].last_index;
        for _ in 0..20 {
            self.perform(20);
            let statuses = self.cluster.statuses();
            let covered = self.leader().map_or(0, |leader| statuses[&leader].snapshot_index);
            if covered > last_index {
                self.cluster.cuts.clear();
                return self.until(|stage| stage.frames.iter().any(|frame| frame.len() > 100));
            }
        }
        false
    }

    fn start_a_newcomer(&mut self) -> bool {
        self.start("n3");
        self.tick();
        true
    }

    fn replace_a_voter(&mut self) -> bool {
        self.start("n3");
        let is_in = self.until(|stage| {
            let statuses = stage.cluster.statuses();
            statuses["n3"].members.len() == 4
        });
        let Some(leader) = self.leader().filter(|_| is_in) else { return false };
        let id = self.follower();
        self.cluster.operation(&leader, Operation::Remove { id: id.as_str().into() }, 1_000);
        self.until(|stage| {
            stage.cluster.replicas.values().any(|replica| replica.node.inspect().voter_halves().len() == 2)
        })
    }
}
