//! The clock of a replica: heartbeats, and election timeouts with their random draw.

use raft_rs::StateRole;
use rand_chacha::rand_core::RngCore;

use super::RaftGroup;

impl RaftGroup {
    pub fn tick(&mut self) {
        self.acknowledged = None;
        self.ticks_since_aligned += 1;
        self.tick_append_flows();
        if self.installing.is_some() {
            // If an election began now, raft-rs would look for entries that the snapshot covers.
            return;
        }
        self.raw.tick();
        self.doubt_change();
        self.draw_election_timeout();
    }

    /// As a leader, sends the next heartbeats with a tick whose number is a multiple of the interval. This advances
    /// the clock of raft-rs by less than one interval. It is rare, because the leader then checks its quorum earlier
    /// by as much.
    pub fn align_heartbeats(&mut self, number: u64) {
        if !self.is_leader()
            || self.installing.is_some()
            || self.ticks_since_aligned < self.timing.between_alignments()
        {
            return;
        }
        self.ticks_since_aligned = 0;
        let interval = self.timing.heartbeat();
        let ahead = self.ticks_until_heartbeat() + number % interval;
        for _ in 0..ahead % interval {
            self.raw.tick();
        }
        self.draw_election_timeout();
    }

    /// As [`Self::align_heartbeats`], although it may have been called a short while ago.
    pub fn align_heartbeats_now(&mut self, number: u64) {
        self.ticks_since_aligned = self.timing.between_alignments();
        self.align_heartbeats(number);
    }

    /// As a follower that has counted few ticks: its election timeout begins again, as if a heartbeat had arrived one interval ago.
    pub fn begin_election_timeout(&mut self) {
        let heartbeat = self.timing.heartbeat() as usize;
        let raft = &mut self.raw.raft;
        if raft.state == StateRole::Follower {
            raft.election_elapsed = raft.election_elapsed.min(heartbeat);
        }
    }

    /// As a leader that no longer hears a member: earlier answers do not count, and a quorum must answer within the next
    /// election timeout (thesis §6.2).
    pub fn doubt_quorum(&mut self) {
        let raft = &mut self.raw.raft;
        raft.election_elapsed = 0;
        let me = raft.id;
        raft.mut_prs().iter_mut().for_each(|(id, progress)| progress.recent_active = *id == me);
    }

    /// The leader has probably ended. A living leader connects again within a heartbeat interval. If this node hears
    /// none in that time, it grants votes, and campaigns within two more intervals.
    pub fn expect_election(&mut self) {
        let heartbeat = self.timing.heartbeat();
        let wait = self.rng.next_u64() % self.timing.campaigns_spread_over();
        let (min, max) = (*self.election_timeout_ticks.start(), *self.election_timeout_ticks.end());
        let raft = &mut self.raw.raft;
        // raft-rs grants votes from the shortest timeout on.
        let elapsed = min.saturating_sub(heartbeat) as usize;
        if raft.state == StateRole::Follower && raft.election_elapsed < elapsed {
            raft.election_elapsed = elapsed;
            raft.set_randomized_election_timeout((min + wait).min(max) as usize);
        }
    }

    /// If the next voters do not answer, the leader steps down, as it does when the present ones are silent (thesis
    /// §6.2). It then uses the new configuration, like all other nodes. Otherwise it would lead without applying
    /// anything, and no node could report that the quorum is lost.
    fn doubt_change(&mut self) {
        let is_waiting = self.committed.front().is_some_and(|entry| self.must_wait(entry));
        self.waiting_ticks = if is_waiting { self.waiting_ticks + 1 } else { 0 };
        if self.waiting_ticks >= self.timing.change_doubted() {
            self.waiting_ticks = 0;
            let term = self.term();
            self.raw.raft.become_follower(term, 0);
        }
    }

    /// As a leader.
    pub fn ticks_until_heartbeat(&self) -> u64 {
        let raft = &self.raw.raft;
        raft.heartbeat_timeout().saturating_sub(raft.heartbeat_elapsed()) as u64
    }

    /// As a follower or candidate that hears no leader.
    pub fn ticks_until_election(&self) -> u64 {
        let raft = &self.raw.raft;
        raft.randomized_election_timeout().saturating_sub(raft.election_elapsed) as u64
    }

    /// raft-rs draws an election timeout from the thread's generator whenever it resets; this draws it again from the
    /// seed.
    pub(super) fn draw_election_timeout(&mut self) {
        let raft = &mut self.raw.raft;
        let now = (raft.term, raft.state);
        if now != self.drawn_for {
            self.drawn_for = now;
            if now.1 == StateRole::Leader {
                self.begin_windows();
            }
            let raft = &mut self.raw.raft;
            let (min, max) = (*self.election_timeout_ticks.start(), *self.election_timeout_ticks.end());
            let drawn = min + self.rng.next_u64() % (max - min + 1);
            raft.set_randomized_election_timeout(drawn as usize);
        }
    }
}
