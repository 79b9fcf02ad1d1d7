//! The settings of a core. Times are in ticks: only the driver knows milliseconds.

use std::sync::Arc;

use super::application::Application;

/// The largest chunk of a snapshot.
pub const CHUNK_BYTES: usize = 256 << 10;

/// Fewer evaluations take less time than to wake JavaScript for them.
pub const EVALUATIONS_AHEAD_MIN: usize = 128;

/// The settings of one node's core.
#[derive(Clone, Debug)]
pub struct Options {
    /// The node's name, given by the application; unique among the live nodes of a cluster.
    pub id: Arc<str>,
    /// How many voters found the cluster.
    pub cluster_size: usize,
    /// Whether this node may vote: found a cluster, or become a voter of one. The cluster remembers it from its admission
    /// on.
    pub may_vote: bool,
    /// The election timeout is drawn from `min..=max` (paper §5.2).
    pub election_timeout_ticks_min: u64,
    pub election_timeout_ticks_max: u64,
    /// A leader's heartbeat, and the pace of Discover while founding.
    pub heartbeat_ticks: u64,
    /// A snapshot is taken when this many entries, or bytes of actions, are in the log since the last one.
    pub snapshot_entries: u64,
    pub snapshot_bytes: u64,
    /// The size of a snapshot's chunks.
    pub chunk_bytes: usize,
    /// Of the application's code: a word that changes when reducer or methods do.
    pub version: Arc<str>,
    /// The application of the node.
    pub application: Application,
    /// The name of the channel, for messages about two applications that share it.
    pub channel_name: Arc<str>,
    /// Compare the states of all nodes at intervals, while this one leads.
    pub compares_states: bool,
    /// Whether the log survives a restart, so that this node keeps its replica when it closes.
    pub is_durable: bool,
    /// After this many ticks without a quorum the survivors recover the cluster without an operator; `None`: never.
    pub recover_ticks: Option<u64>,
    /// The length of a tick, to convert durations of JavaScript into ticks, and ticks into milliseconds.
    pub tick_micros: u64,
    /// Distinguishes this process from any other of the same incarnation.
    pub nonce: u64,
    /// A member that is silent for this many ticks loses its session. `None`: there are no sessions.
    pub session_timeout_ticks: Option<u64>,
    /// A leader hands JavaScript a second batch, to evaluate while it proposes the first one, if both have so many
    /// evaluations.
    pub evaluations_ahead_min: usize,
    /// Feeds every random choice of this core: the same seed and inputs give the same work.
    pub seed: [u8; 32],
}

impl Options {
    pub fn milliseconds(&self, ticks: u64) -> u64 {
        ticks * self.tick_micros / 1_000
    }

    /// The defaults of the public API (300–500 ms, 50 ms) at 10 ms a tick.
    pub fn new(id: &str, cluster_size: usize, seed: [u8; 32]) -> Self {
        Self {
            id: id.into(),
            cluster_size,
            may_vote: true,
            election_timeout_ticks_min: 30,
            election_timeout_ticks_max: 50,
            heartbeat_ticks: 5,
            snapshot_entries: 10_000,
            snapshot_bytes: 16 << 20,
            chunk_bytes: CHUNK_BYTES,
            version: "".into(),
            application: Application::default(),
            channel_name: "conflux".into(),
            compares_states: true,
            is_durable: false,
            recover_ticks: None,
            tick_micros: 10_000,
            session_timeout_ticks: None,
            evaluations_ahead_min: EVALUATIONS_AHEAD_MIN,
            nonce: u64::from_le_bytes([
                seed[0], seed[1], seed[2], seed[3], seed[4], seed[5], seed[6], seed[7],
            ]),
            seed,
        }
    }
}
