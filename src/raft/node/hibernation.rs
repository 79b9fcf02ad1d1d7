//! Lets an idle group hibernate, so that many idle stores of a process cost little: its nodes count one tick in ten, and
//! with that all that they measure in ticks takes ten times as long, the leader's heartbeats as well.
//!
//! When nothing has happened for some seconds, the leader offers to hibernate in its heartbeats, and hibernates when
//! all members have confirmed. Whatever happens on a node ends it there: a call, a command, a frame that is no
//! heartbeat, a change of its channel. A follower notifies all members (`LivenessMessage::Wake`); a leader sends
//! heartbeats, which say the same. A follower that misses heartbeats wakes the others too. From then on its election
//! timeout has its usual length, so that nodes campaign and vote awake: hibernation delays an election that no call
//! needs, and changes none (paper §5.2).
//!
//! Called by `node.rs` with each input, message and tick. No rule of safety depends on it: reads are confirmed by a quorum
//! in either state, and a node that counts slowly grants its vote later, never earlier (thesis §4.2.3).

use std::collections::BTreeSet;

use super::output::Output;
use super::replica::Replica;
use crate::raft::consensus::timing::HIBERNATING_TICKS;
use crate::raft::events::{Input, Target};
use crate::raft::identity::RaftId;
use crate::raft::options::Options;
use crate::raft::wire::message::{BootstrapMessage, LivenessMessage, Message, RaftKind, RaftMessage};

/// Whether this node hibernates, and what it knows about the hibernation of the others.
#[derive(Debug, Default)]
pub(super) struct Hibernation {
    /// This process has so many stores that hibernation pays.
    is_allowed: bool,
    phase: Phase,
    /// The term and leader for which the phase holds.
    leadership: (u64, Option<RaftId>),
    /// Ticks since the last one that counted.
    skipped: u64,
    is_aligned: bool,
    /// The node woke in this turn. The node hibernated during the rest of the ticks that the driver reports at once, and no
    /// answer could arrive between them.
    woke_in_turn: bool,
    /// As a follower: according to the leader's last heartbeat the group hibernates.
    leader_hibernates: bool,
    /// When this node last sent or received a `Wake`.
    wake_sent_at: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// As a leader: for this many ticks more the group must be idle.
    Awake {
        idle_ticks_left: u64,
    },
    /// As a leader that is awake: the members that have confirmed, after this many ticks.
    Offering {
        ticks: u64,
        confirmed: BTreeSet<RaftId>,
    },
    Hibernating,
}

impl Default for Phase {
    fn default() -> Self {
        // Each leadership begins with a time of its own.
        Self::Awake { idle_ticks_left: 0 }
    }
}

/// Where something happened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Here,
    /// On another node, so that others know about it.
    Elsewhere,
}

impl Hibernation {
    pub(super) fn is_hibernating(&self) -> bool {
        self.phase == Phase::Hibernating
    }

    fn is_awake(&self) -> bool {
        matches!(self.phase, Phase::Awake { .. })
    }

    /// Whether [`Self::tick`] uses `is_idle`, which is costly to compute.
    pub(super) fn wants_idleness(&self) -> bool {
        self.is_allowed || !self.is_awake()
    }

    pub(super) fn allow(&mut self, is_allowed: bool, replica: Option<&mut Replica>, output: &mut Output) {
        self.is_allowed = is_allowed;
        if !is_allowed {
            self.wake(Origin::Here, replica, output);
        }
    }

    /// Counts a tick; whether the node skips it.
    pub(super) fn skips_tick(&mut self) -> bool {
        if !self.is_hibernating() {
            return self.woke_in_turn;
        }
        self.skipped += 1;
        if self.skipped >= HIBERNATING_TICKS {
            self.skipped = 0;
        }
        self.skipped > 0
    }

    /// The inputs of a turn are handled.
    pub(super) fn end_turn(&mut self) {
        self.woke_in_turn = false;
    }

    /// The number of the last tick: leaders of a process hibernate with the same ticks.
    pub(super) fn align(&mut self, number: u64, replica: &mut Replica) {
        if !self.is_hibernating() {
            return replica.group.align_heartbeats(number);
        }
        if replica.group.is_leader() {
            self.skipped = number % HIBERNATING_TICKS;
            if !std::mem::replace(&mut self.is_aligned, true) {
                replica.group.align_heartbeats_now(number / HIBERNATING_TICKS);
            }
        }
    }

    /// As long as this node hibernates, the number of ticks after which it needs a turn.
    pub(super) fn ticks_until_wakeup(&self, replica: &Replica) -> u64 {
        let until = if replica.group.is_leader() {
            replica.group.ticks_until_heartbeat()
        } else {
            let silent_max = replica.timing.hibernating_leader_silent();
            let until_silent = silent_max.saturating_sub(replica.liveness.leader_silent_ticks());
            replica.group.ticks_until_election().min(until_silent)
        };
        (until.max(1) * HIBERNATING_TICKS).saturating_sub(self.skipped).max(1)
    }

    /// An input is about to be handled.
    pub(super) fn note_input(&mut self, input: &Input, replica: Option<&mut Replica>, output: &mut Output) {
        let is_activity = match input {
            Input::ClusterFound(_)
            | Input::Noted(_)
            | Input::Perform(_)
            | Input::Abandon(_)
            | Input::TimersDue { .. }
            | Input::ReducerFailed { .. }
            | Input::Operation { .. }
            | Input::StorageFailed(_)
            | Input::PeerConnected(_)
            | Input::PeerDisconnected(_)
            | Input::Channel(_)
            | Input::Close { .. } => true,
            // Ticks, frames, and answers to what this node ordered.
            Input::Tick
            | Input::TickNumber(_)
            | Input::MayHibernate(_)
            | Input::Frame(_)
            | Input::Answered(_)
            | Input::Progressed { .. }
            | Input::TurnOver
            | Input::SnapshotTaken(_)
            | Input::Hashed(_)
            | Input::Persisted(_)
            | Input::FrameRefused(_)
            | Input::PeerRefused(_) => false,
        };
        injected_bug!(SleepsThroughCalls, is_activity => is_activity && !matches!(input, Input::Perform(_)));
        if is_activity {
            self.wake(Origin::Here, replica, output);
        }
    }

    /// A message is about to be handled: each wakes this node, except those that the leader and its members exchange
    /// while nothing happens.
    pub(super) fn note_message(
        &mut self,
        message: &Message,
        replica: Option<&mut Replica>,
        output: &mut Output,
    ) {
        let Some(replica) = replica else { return };
        let is_activity = match message {
            Message::Raft(raft) => !matches!(raft.kind, RaftKind::Heartbeat | RaftKind::HeartbeatResponse),
            Message::Bootstrap(BootstrapMessage::ClusterAnnouncement(announcement)) => {
                announcement.cluster != replica.cluster
            }
            _ => true,
        };
        if is_activity {
            self.wake(Origin::Elsewhere, Some(replica), output);
        }
    }

    /// A heartbeat, or an answer to one, was handled; `is_idle`: this node may hibernate.
    pub(super) fn note_heartbeat(
        &mut self,
        from: RaftId,
        message: (RaftKind, u64, bool),
        is_idle: bool,
        replica: &mut Replica,
        output: &mut Output,
    ) {
        let (kind, term, hibernates) = message;
        self.follow(replica);
        if term != replica.group.term() {
            return;
        }
        match kind {
            RaftKind::Heartbeat if replica.group.leader() == Some(from) && !replica.group.is_leader() => {
                self.leader_hibernates = hibernates;
                if !hibernates {
                    self.wake(Origin::Elsewhere, Some(replica), output);
                } else if self.is_allowed && is_idle {
                    self.hibernate();
                }
            }
            RaftKind::HeartbeatResponse if replica.group.is_leader() => match &mut self.phase {
                Phase::Offering { confirmed, .. } if hibernates => _ = confirmed.insert(from),
                Phase::Hibernating if !hibernates => self.wake(Origin::Elsewhere, Some(replica), output),
                Phase::Awake { .. } | Phase::Offering { .. } | Phase::Hibernating => {}
            },
            _ => {}
        }
    }

    /// A tick that counts has passed; `is_idle`: nothing is under way on this node, and, as a leader, with the others.
    pub(super) fn tick(&mut self, is_idle: bool, replica: &mut Replica, output: &mut Output) {
        self.follow(replica);
        let timing = replica.timing;
        if !replica.group.is_leader() {
            let silent_ticks = replica.liveness.leader_silent_ticks();
            injected_bug!(SleepsThroughCalls, is_idle => true);
            match self.is_hibernating() {
                true if !is_idle || silent_ticks >= timing.hibernating_leader_silent() => {
                    self.wake(Origin::Here, Some(replica), output);
                }
                // The leader does not know yet that this node is awake.
                false if self.leader_hibernates && silent_ticks > timing.woken_leader_answers() => {
                    self.wake_others(replica, output);
                }
                true | false => {}
            }
            return;
        }
        if !self.is_allowed || !is_idle {
            if self.is_hibernating() {
                // Most likely a member is silent. If a majority is, the others elect another leader soon.
                replica.group.doubt_quorum();
            }
            return self.wake(Origin::Here, Some(replica), output);
        }
        match &mut self.phase {
            Phase::Awake { idle_ticks_left } => {
                *idle_ticks_left = idle_ticks_left.saturating_sub(1);
                if *idle_ticks_left == 0 {
                    self.phase = Phase::Offering { ticks: 0, confirmed: BTreeSet::new() };
                }
            }
            Phase::Offering { ticks, confirmed } => {
                *ticks += 1;
                let me = replica.me.raft_id();
                let mut members = replica.members.iter().map(|(member, ..)| member);
                let have_confirmed = members.all(|member| member == me || confirmed.contains(&member));
                injected_bug!(HibernatesUnconfirmed, have_confirmed => true);
                if have_confirmed {
                    self.hibernate();
                } else if *ticks > timing.hibernation_offered() {
                    self.phase = Phase::Awake { idle_ticks_left: timing.hibernation_offered_again() };
                }
            }
            Phase::Hibernating => {}
        }
    }

    /// Marks what leaves: the heartbeats of a group that may hibernate, and the answers of a node that does.
    pub(super) fn mark(&self, messages: &mut [(RaftId, RaftMessage)]) {
        let kind = match &self.phase {
            Phase::Awake { .. } => return,
            Phase::Offering { .. } => RaftKind::Heartbeat,
            // A node has only messages of one of these kinds.
            Phase::Hibernating => RaftKind::HeartbeatResponse,
        };
        for (_, message) in messages {
            if message.kind == RaftKind::Heartbeat || message.kind == kind {
                message.reject = true;
                // A learner, too, confirms each time.
                message.asks = message.kind == RaftKind::Heartbeat;
            }
        }
    }

    /// Each leadership starts awake.
    fn follow(&mut self, replica: &mut Replica) {
        let leadership = (replica.group.term(), replica.group.leader());
        if std::mem::replace(&mut self.leadership, leadership) != leadership {
            self.leader_hibernates = false;
            self.end(replica);
        }
    }

    fn hibernate(&mut self) {
        if !self.is_hibernating() {
            (self.phase, self.skipped, self.is_aligned) = (Phase::Hibernating, 0, false);
        }
    }

    /// Something has happened: from now on this node counts every tick.
    fn wake(&mut self, origin: Origin, replica: Option<&mut Replica>, output: &mut Output) {
        let Some(replica) = replica else {
            self.phase = Phase::default();
            return;
        };
        let was_awake = self.is_awake();
        self.end(replica);
        if was_awake && !self.leader_hibernates {
            return;
        }
        if replica.group.is_leader() {
            replica.group.ping();
        } else if origin == Origin::Here {
            self.wake_others_now(replica, output);
        } else {
            self.wake_sent_at = replica.liveness.now();
        }
    }

    fn end(&mut self, replica: &mut Replica) {
        if self.is_hibernating() {
            self.woke_in_turn = true;
            replica.group.begin_election_timeout();
            replica.liveness.note_leader_heard();
        }
        self.phase = Phase::Awake { idle_ticks_left: replica.timing.hibernates_after() };
    }

    fn wake_others(&mut self, replica: &Replica, output: &mut Output) {
        if self.wake_sent_at + replica.timing.heartbeat() <= replica.liveness.now() {
            self.wake_others_now(replica, output);
        }
    }

    fn wake_others_now(&mut self, replica: &Replica, output: &mut Output) {
        injected_bug!(WakesAlone, return);
        self.wake_sent_at = replica.liveness.now();
        output.send(Target::All, LivenessMessage::Wake);
    }
}

/// Whether nothing is pending in the group, as far as this node knows. A group with sessions or timers is never idle,
/// because they must end or fire in time even if the leader dies meanwhile.
pub(super) fn is_group_idle(is_hibernating: bool, replica: &Replica, options: &Options) -> bool {
    // Members that hibernate answer each heartbeat, learners too: then two were lost.
    let patience = match is_hibernating {
        true => replica.timing.voter_answers_shared(),
        false => replica.timing.election(),
    };
    let index = replica.group.last_index();
    index == replica.group.commit_index()
        && index == replica.delivered_index
        && replica.delivered_index == replica.applied_index
        && options.session_timeout_ticks.is_none()
        && replica.coordination.timers.count() == 0
        && !replica.snapshots.is_outstanding(index - replica.group.log().snapshot().position.index)
        && replica.closing.is_empty()
        && replica.leader_state.as_ref().is_none_or(|leader_state| {
            let since = leader_state.since();
            replica.has_open_sessions()
                && replica.group.transfer_target().is_none()
                && (!options.compares_states || leader_state.comparison.is_done(replica.last_action))
                && replica.members.iter().all(|(member, ..)| {
                    member == replica.me.raft_id()
                        || replica.group.matched(member) == Some(index)
                            && replica.liveness.silent_ticks(member, since) <= patience
                })
        })
}
