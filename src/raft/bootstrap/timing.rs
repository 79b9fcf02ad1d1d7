//! The waiting times of the bootstrap, in ticks, derived from the options.
//!
//! Called by the state machine. It must never count time itself.

use rand_chacha::{ChaCha8Rng, rand_core::RngCore};

use crate::raft::Options;

/// Everything that membership waits for. What several nodes do at the same moment is jittered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    discover: u64,
    election: u64,
}

impl Timing {
    pub fn new(options: &Options) -> Self {
        Self { discover: options.heartbeat_ticks.max(1), election: options.election_timeout_ticks_max.max(1) }
    }

    /// From one Discover or Accept to the next: half to one and a half intervals.
    pub fn interval(&self, rng: &mut ChaCha8Rng) -> u64 {
        jittered(self.discover, rng)
    }

    /// The same for what is said in the background: Discover while waiting, and ClusterAnnouncement.
    pub fn slow_interval(&self, rng: &mut ChaCha8Rng) -> u64 {
        jittered(10 * self.discover, rng)
    }

    /// How long an alone founder's Discover goes unanswered before it founds.
    pub fn answer(&self) -> u64 {
        self.discover
    }

    /// How long a Discover counts for founding: three intervals at their longest, so that one lost Discover takes
    /// no node off the list.
    pub fn discover_is_fresh(&self) -> u64 {
        3 * longest(self.discover)
    }

    /// How long a Discover counts as that of a newcomer: several slow intervals.
    pub fn newcomer_is_near(&self) -> u64 {
        10 * self.election.max(self.discover)
    }

    /// At least this long apart, a member answers the HEREs of one other cluster.
    pub fn between_answers(&self) -> u64 {
        10 * self.discover
    }

    /// How long an accepted roster may take to be founded. The jitter keeps those who gave up from meeting again as
    /// the same halves.
    pub fn until_founded(&self, rng: &mut ChaCha8Rng) -> u64 {
        10 * self.discover + below(10 * self.discover, rng)
    }

    /// How long a founded cluster may take to have a leader.
    pub fn until_committed(&self, rng: &mut ChaCha8Rng) -> u64 {
        6 * self.election + below(2 * self.election, rng)
    }

    /// How long without a leader before a member without actions believes that the quorum is lost.
    pub fn until_quorum_lost(&self, rng: &mut ChaCha8Rng) -> u64 {
        self.leader_is_lost() + below(2 * self.election, rng)
    }

    /// How long without a leader before that counts against a cluster with actions that meets another.
    pub fn leader_is_lost(&self) -> u64 {
        10 * self.election
    }

    /// How long an election may take before a cluster without actions counts as one without a leader.
    pub fn election_is_long(&self) -> u64 {
        2 * self.election
    }

    /// How long a ClusterAnnouncement keeps its hearer from founding.
    pub fn here_holds(&self) -> u64 {
        10 * self.election
    }

    /// How long a node waits for others before it says so, and from one such warning to the next.
    pub fn until_warning(&self) -> u64 {
        4 * self.election
    }
}

fn longest(interval: u64) -> u64 {
    interval + interval / 2
}

fn jittered(interval: u64, rng: &mut ChaCha8Rng) -> u64 {
    let shortest = interval - interval / 2;
    shortest + below(longest(interval) - shortest, rng)
}

/// A number in `0..=most`.
fn below(most: u64, rng: &mut ChaCha8Rng) -> u64 {
    rng.next_u64() % (most + 1)
}
