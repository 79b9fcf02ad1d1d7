//! The status of a node: plain data, copied out of the core after each turn.

use std::sync::Arc;

use super::events::Role;
use super::identity::{ClusterUuid, Incarnation};
use super::options::Options;

/// What a node knows about itself at present, and about other nodes from their last messages.
#[derive(Clone, Debug)]
pub struct Status {
    pub id: Arc<str>,
    pub incarnation: Incarnation,
    /// [`ClusterUuid::NONE`] before the node is in a cluster.
    pub cluster: ClusterUuid,
    pub role: Role,
    pub term: u64,
    /// The id of the leader that this node knows.
    pub leader: Option<Arc<str>>,
    pub commit_index: u64,
    /// The last index that JavaScript has reduced.
    pub applied_index: u64,
    pub last_index: u64,
    /// Sorted by id; empty before the node is in a cluster.
    pub members: Arc<[Member]>,
    /// How many voters the cluster is to have; before the node is in a cluster, what it was started with.
    pub cluster_size: usize,
    /// The index of the newest snapshot; 0 if there is none but the founding one.
    pub snapshot_index: u64,
    /// Why this node is diverged.
    pub diverged: Option<Arc<str>>,
    /// While this node hears too few voters to commit anything: the missing ones, and for how many ticks.
    pub missing: Arc<[(Arc<str>, u64)]>,
    /// How many more voters may crash now without the loss of the quorum, as the leader hears them.
    pub fault_tolerance: usize,
    /// Calls of this node that have not ended yet.
    pub pending: usize,
    /// What the node is waiting for, in words, while it is not in a cluster with a leader.
    pub waiting_for: Option<Arc<str>>,
    /// The state contains everything that was committed when the node was admitted to its cluster or returned to it.
    pub is_caught_up: bool,
    /// The live sessions, oldest first.
    pub sessions: Arc<[(Arc<str>, u64)]>,
    /// The session of this node.
    pub session: Option<u64>,
    /// The group of this node is idle, and its heartbeats are rare.
    pub is_hibernating: bool,
    /// How often the cluster was recovered from a lost quorum.
    pub recoveries: u64,
    pub ignored_frames: IgnoredFrames,
    pub timers: usize,
    /// When the next timer is due.
    pub next_timer: Option<u64>,
}

/// How many frames were ignored, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IgnoredFrames {
    pub malformed: u64,
    pub other_version: u64,
}

impl Status {
    /// Of a node that has no core yet.
    pub fn starting(options: &Options, waiting_for: &str) -> Self {
        Self { waiting_for: Some(waiting_for.into()), ..Self::alone(options) }
    }

    /// Of a node that is in no cluster.
    pub fn alone(options: &Options) -> Self {
        Self {
            id: options.id.clone(),
            incarnation: Incarnation::from_u128(0),
            cluster: ClusterUuid::NONE,
            role: Role::Follower,
            term: 0,
            leader: None,
            commit_index: 0,
            applied_index: 0,
            last_index: 0,
            members: Arc::default(),
            cluster_size: options.cluster_size,
            snapshot_index: 0,
            diverged: None,
            missing: Arc::default(),
            fault_tolerance: 0,
            pending: 0,
            waiting_for: None,
            is_caught_up: false,
            sessions: Arc::default(),
            session: None,
            is_hibernating: false,
            recoveries: 0,
            ignored_frames: IgnoredFrames::default(),
            timers: 0,
            next_timer: None,
        }
    }
}

/// One member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: Arc<str>,
    pub incarnation: Incarnation,
    /// Counts in quorums; otherwise a learner.
    pub is_voter: bool,
    /// Is a voter or may become one.
    pub may_vote: bool,
    /// Heard within the last election timeout. Only a leader hears all members; a follower knows about itself and its
    /// leader, and reports the others as they last were.
    pub is_active: bool,
    /// Of the application's code on that node, as far as it was reported.
    pub version: Option<Arc<str>>,
    /// The last index of its log that the leader knows of; only a leader knows.
    pub matched: Option<u64>,
}
