//! The waiting times of the core, in ticks: every multiple of a heartbeat interval or an election timeout.
//!
//! Derived from the options. It must never count time itself. An election timeout here is the longest that may be
//! drawn: whatever lives answers within it.

use rand_chacha::{ChaCha8Rng, rand_core::RngCore};

use crate::raft::options::Options;

/// A node that hibernates counts one tick in this many. With the default options its leader then sends two heartbeats
/// per second.
pub const HIBERNATING_TICKS: u64 = 10;

#[derive(Clone, Copy, Debug)]
pub struct Timing {
    heartbeat: u64,
    election_min: u64,
    election: u64,
}

impl Timing {
    pub fn new(options: &Options) -> Self {
        Self {
            heartbeat: options.heartbeat_ticks.max(1),
            election_min: options.election_timeout_ticks_min,
            election: options.election_timeout_ticks_max.max(1),
        }
    }
}

/// Waiting times in a cluster.
impl Timing {
    pub fn heartbeat(&self) -> u64 {
        self.heartbeat
    }

    /// After the connection to the leader has ended and a heartbeat interval has passed, a follower campaigns after a
    /// random wait of at most this long, so that not all followers campaign at once.
    pub fn campaigns_spread_over(&self) -> u64 {
        2 * self.heartbeat
    }

    /// The minimum time between two alignments of a leader's heartbeats, each of which advances its clock by up to a
    /// heartbeat interval.
    pub fn between_alignments(&self) -> u64 {
        20 * self.heartbeat
    }

    /// A member that was silent for this long is absent: it sends several messages in that time.
    pub fn election(&self) -> u64 {
        self.election
    }

    /// Without a leader, living voters campaign in turns: a node that was silent for three turns is missing. A learner,
    /// which never campaigns, counts its leader as lost after the same time, and a leader forgets a newcomer.
    pub fn missing(&self) -> u64 {
        3 * self.election
    }

    /// A member that was silent for this long will not return soon: a spare may replace it.
    pub fn dead(&self) -> u64 {
        10 * self.election
    }

    /// A learner answers a heartbeat when it has sent nothing for this long: twice within an election timeout, so that one
    /// answer may be lost before it counts as silent.
    pub fn learner_answer(&self) -> u64 {
        (2 * self.election_min / 3).max(1)
    }

    /// A voter that has answered nothing for this long has missed a heartbeat that was sent to several members as one
    /// frame: it gets separate frames before its election timeout is over.
    pub fn voter_answers_shared(&self) -> u64 {
        2 * self.heartbeat
    }

    /// The same for a learner, which answers less often.
    pub fn learner_answers_shared(&self) -> u64 {
        self.election
    }

    /// For how long a member gets separate frames: what loses shared frames usually persists for some time.
    pub fn separate_frames_last(&self) -> u64 {
        10 * self.election
    }

    /// A learner's acknowledgement waits for others for this long: it must not seem lost, which is what the leader suspects
    /// after a heartbeat interval.
    pub fn acknowledgement_held_max(&self) -> u64 {
        (self.heartbeat / 2).max(1)
    }

    /// Without a leader for this long, several elections have failed: the quorum is lost, if voters are missing.
    pub fn quorum_lost(&self) -> u64 {
        10 * self.election
    }

    /// A transfer of a snapshot without progress for this long is given up: its peer has ended, or gave it up.
    pub fn transfer_given_up(&self) -> u64 {
        10 * self.election
    }

    /// The time between two transfers of leadership because of a snapshot: if the present leader was elected again, the
    /// others cannot do better.
    pub fn between_transfers_for_snapshot(&self) -> u64 {
        10 * self.election
    }

    /// A write that is under way for this long is overdue: slow disks take less, and the others wait for this node.
    pub fn write_overdue(&self) -> u64 {
        2 * self.election
    }

    /// The next voters have not answered a leader for this long: it steps down, as it does when the present voters are
    /// silent for one election timeout.
    pub fn change_doubted(&self) -> u64 {
        2 * self.election
    }

    /// A diverged node campaigns only after this long without a leader: the others had three turns.
    pub fn diverged_campaigns(&self) -> u64 {
        3 * self.election
    }

    /// The time between two reports of a diverged node.
    pub fn between_divergence_reports(&self) -> u64 {
        2 * self.heartbeat
    }

    /// JavaScript counts as blocked if it gave no sign for this long.
    pub fn app_blocked(&self) -> u64 {
        self.election
    }

    /// The same while it is busy with a request that an earlier leader may have given up: if every leader gave up on
    /// it, it would never end.
    pub fn app_blocked_by_slow_request(&self) -> u64 {
        20 * self.election
    }

    /// An operation is repeated to the leader: its answer needs a heartbeat round, and the next one if frames are lost.
    pub fn operation_retry(&self) -> u64 {
        4 * self.heartbeat
    }

    /// A follower hears its leader once per heartbeat interval, so its own clock need not wake it more often.
    pub fn idle_follower(&self) -> u64 {
        2 * self.heartbeat
    }

    /// An idle group hibernates after this long: an application that calls at intervals of a second does not wake it each time.
    pub fn hibernates_after(&self) -> u64 {
        6 * self.election
    }

    /// All members confirm within this time that they hibernate.
    pub fn hibernation_offered(&self) -> u64 {
        self.election
    }

    /// From an offer to hibernate that a member has not confirmed to the next one.
    pub fn hibernation_offered_again(&self) -> u64 {
        60 * self.election
    }

    /// A follower that hibernates has missed two heartbeats after this long, of the ticks that it counts: it wakes, and
    /// its election timeout applies.
    pub fn hibernating_leader_silent(&self) -> u64 {
        2 * self.heartbeat + 1
    }

    /// Otherwise a follower would campaign before it wakes.
    pub fn may_hibernate(&self) -> bool {
        self.hibernating_leader_silent() + 1 < self.election_min
    }

    /// A leader that receives a `Wake` sends a heartbeat, which arrives within this time.
    pub fn woken_leader_answers(&self) -> u64 {
        self.heartbeat + 1
    }

    /// Requests that are not answered are repeated, at first after this long.
    pub fn request_retry(&self) -> u64 {
        2 * self.heartbeat
    }

    /// Bulk data may queue in a connection for this long: heartbeats wait behind it, and must arrive in time.
    pub fn queue_max(&self) -> u64 {
        (self.election_min / 3).max(1)
    }

    /// An acknowledgement is late after this long, however slow the connection is.
    pub fn acknowledgement_late_max(&self) -> u64 {
        4 * self.election
    }

    /// What is not acknowledged may be lost, but is not sent again before.
    pub fn retransmission_min(&self) -> u64 {
        4 * self.heartbeat
    }

    /// No reordering delays a frame for this long.
    pub fn reordering_max(&self) -> u64 {
        2 * self.heartbeat
    }
}

/// Waiting times in the bootstrap. Actions of several nodes at the same moment are jittered.
impl Timing {
    /// From one Discover or Accept to the next: half to one and a half intervals.
    pub fn interval(&self, rng: &mut ChaCha8Rng) -> u64 {
        jittered(self.heartbeat, rng)
    }

    /// The same for messages in the background: Discover while waiting, and ClusterAnnouncement.
    pub fn slow_interval(&self, rng: &mut ChaCha8Rng) -> u64 {
        jittered(10 * self.heartbeat, rng)
    }

    /// How long a single founder waits for an answer to its Discover before it founds.
    pub fn answer(&self) -> u64 {
        self.heartbeat
    }

    /// How long a Discover counts for founding: three intervals at their longest, so that one lost Discover removes
    /// no node from the list.
    pub fn discover_is_fresh(&self) -> u64 {
        3 * longest(self.heartbeat)
    }

    /// How long a Discover counts as that of a newcomer: several slow intervals.
    pub fn newcomer_is_near(&self) -> u64 {
        10 * self.election.max(self.heartbeat)
    }

    /// The time between two answers to the ClusterAnnouncements of one other cluster, at least.
    pub fn between_answers(&self) -> u64 {
        10 * self.heartbeat
    }

    /// How long an accepted roster may take to be founded. The jitter prevents that the nodes that gave up form the
    /// same halves again.
    pub fn until_founded(&self, rng: &mut ChaCha8Rng) -> u64 {
        10 * self.heartbeat + below(10 * self.heartbeat, rng)
    }

    /// How long a founded cluster may take to have a leader.
    pub fn until_committed(&self, rng: &mut ChaCha8Rng) -> u64 {
        6 * self.election + below(2 * self.election, rng)
    }

    /// How long without a leader before a member without actions believes that the quorum is lost.
    pub fn until_quorum_lost(&self, rng: &mut ChaCha8Rng) -> u64 {
        self.leader_is_lost() + below(2 * self.election, rng)
    }

    /// The time without a leader after which a cluster with actions counts as leaderless when it meets another.
    pub fn leader_is_lost(&self) -> u64 {
        10 * self.election
    }

    /// How long an election may take before a cluster without actions counts as one without a leader.
    pub fn election_is_long(&self) -> u64 {
        2 * self.election
    }

    /// How long a ClusterAnnouncement keeps its receiver from founding.
    pub fn announcement_holds(&self) -> u64 {
        10 * self.election
    }

    /// How long a node waits for others before it warns, and between two such warnings.
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
