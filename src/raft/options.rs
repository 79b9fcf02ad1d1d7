//! This file holds what the core is told once, at its start. Times are in ticks: only the driver knows milliseconds.

use std::sync::Arc;

/// The settings of one node's core.
#[derive(Clone, Debug)]
pub struct Options {
    /// The node's name, given by the application; unique among the live nodes of a cluster.
    pub id: Arc<str>,
    /// How many voters found the cluster.
    pub cluster_size: usize,
    /// The election timeout is drawn from `min..=max` (paper §5.2).
    pub election_timeout_ticks_min: u64,
    pub election_timeout_ticks_max: u64,
    /// A leader's heartbeat, and the pace of HELLOs while founding.
    pub heartbeat_ticks: u64,
    /// Feeds every random choice of this core: the same seed and inputs give the same work.
    pub seed: [u8; 32],
}

impl Options {
    /// The defaults of the public API (300–500 ms, 50 ms) at 10 ms a tick.
    pub fn new(id: &str, cluster_size: usize, seed: [u8; 32]) -> Self {
        Self {
            id: id.into(),
            cluster_size,
            election_timeout_ticks_min: 30,
            election_timeout_ticks_max: 50,
            heartbeat_ticks: 5,
            seed,
        }
    }
}
