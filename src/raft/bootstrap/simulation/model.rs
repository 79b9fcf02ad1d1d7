//! A small Raft in place of raft-rs, for the simulation of the founding.
//!
//! Called by the simulation. It elects, replicates and commits as the paper says (§5.2–§5.4, with check-quorum), but
//! sends its whole log each time, for logs here are a few entries long.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rand_chacha::{ChaCha8Rng, rand_core::RngCore};

use crate::raft::identity::{ClusterUuid, Incarnation};
use crate::raft::wire::message::Roster;

const HEARTBEAT: u64 = 5;
const ELECTION_TIMEOUT_MIN: u64 = 30;
const ELECTION_TIMEOUT_MAX: u64 = 50;

#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    term: u64,
    is_action: bool,
}

/// The messages between the members of a group.
#[derive(Clone, Debug)]
pub struct Rpc {
    term: u64,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Append { log: Rc<[Entry]>, commit: usize },
    Appended { len: usize },
    AskVote { last: (u64, usize) },
    Vote,
}

#[derive(Debug)]
enum Role {
    Follower,
    Candidate {
        votes: BTreeSet<Incarnation>,
    },
    /// What each follower has, and when it last said so.
    Leader {
        followers: BTreeMap<Incarnation, (usize, u64)>,
        beats_at: u64,
    },
}

/// One member of a raft group.
#[derive(Debug)]
pub struct Group {
    me: Incarnation,
    others: Vec<Incarnation>,
    pub cluster: ClusterUuid,
    term: u64,
    voted_for: Option<Incarnation>,
    log: Vec<Entry>,
    commit: usize,
    role: Role,
    leader_heard_at: Option<u64>,
    campaigns_at: u64,
}

pub type Sends = Vec<(Incarnation, Rpc)>;

impl Group {
    pub fn new(me: Incarnation, roster: &Roster, campaign: bool, now: u64, rng: &mut ChaCha8Rng) -> Self {
        let others = roster.0.iter().map(|(other, _)| *other).filter(|other| *other != me).collect();
        let campaigns_at = if campaign { now } else { now + timeout(rng) };
        Self {
            me,
            others,
            cluster: roster.uuid(),
            term: 1,
            voted_for: None,
            log: Vec::new(),
            commit: 0,
            role: Role::Follower,
            leader_heard_at: None,
            campaigns_at,
        }
    }

    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader { .. })
    }

    pub fn has_leader(&self, now: u64) -> bool {
        self.is_leader() || self.leader_heard_at.is_some_and(|at| now - at <= ELECTION_TIMEOUT_MAX)
    }

    pub fn has_seen_commit(&self) -> bool {
        self.commit > 0
    }

    pub fn holds_actions(&self) -> bool {
        self.log.iter().any(|entry| entry.is_action)
    }

    pub fn committed_actions(&self) -> usize {
        self.log[..self.commit].iter().filter(|entry| entry.is_action).count()
    }

    /// Appends an action, on a leader that has committed an entry of its term.
    pub fn perform(&mut self) {
        let leads_firmly = self.is_leader() && self.commit > 0 && self.log[self.commit - 1].term == self.term;
        if leads_firmly {
            self.log.push(Entry { term: self.term, is_action: true });
        }
    }

    pub fn tick(&mut self, now: u64, rng: &mut ChaCha8Rng) -> Sends {
        let majority = self.majority();
        if let Role::Leader { followers, beats_at } = &mut self.role {
            let heard = followers.values().filter(|(_, at)| now - at <= ELECTION_TIMEOUT_MAX).count();
            if heard + 1 < majority {
                self.step_down(self.term, now, rng);
                return Vec::new();
            }
            if now < *beats_at {
                return Vec::new();
            }
            *beats_at = now + HEARTBEAT;
            return self.append();
        }
        if now < self.campaigns_at {
            return Vec::new();
        }
        self.term += 1;
        self.voted_for = Some(self.me);
        self.leader_heard_at = None;
        self.role = Role::Candidate { votes: BTreeSet::from([self.me]) };
        self.campaigns_at = now + timeout(rng);
        self.to_all(&Kind::AskVote { last: self.last() })
    }

    pub fn handle_message(&mut self, from: Incarnation, rpc: &Rpc, now: u64, rng: &mut ChaCha8Rng) -> Sends {
        if rpc.term > self.term {
            self.voted_for = None;
            self.step_down(rpc.term, now, rng);
        }
        if rpc.term < self.term {
            return Vec::new();
        }
        match &rpc.kind {
            Kind::Append { log, commit } => {
                self.role = Role::Follower;
                self.leader_heard_at = Some(now);
                self.campaigns_at = now + timeout(rng);
                // A late append of the same term must not shorten the log.
                if log.len() >= self.log.len() || self.last().0 < rpc.term {
                    self.log = log.to_vec();
                }
                self.commit = self.commit.max((*commit).min(log.len()));
                vec![(from, self.rpc(Kind::Appended { len: log.len() }))]
            }
            Kind::Appended { len } => {
                if let Role::Leader { followers, .. } = &mut self.role {
                    let (matched, at) = followers.entry(from).or_insert((0, now));
                    *matched = (*matched).max(*len);
                    *at = now;
                    self.advance_commit();
                }
                Vec::new()
            }
            Kind::AskVote { last } => {
                if self.voted_for.is_none_or(|candidate| candidate == from) && *last >= self.last() {
                    self.voted_for = Some(from);
                    self.campaigns_at = now + timeout(rng);
                    return vec![(from, self.rpc(Kind::Vote))];
                }
                Vec::new()
            }
            Kind::Vote => {
                let majority = self.majority();
                let Role::Candidate { votes } = &mut self.role else { return Vec::new() };
                votes.insert(from);
                if votes.len() < majority {
                    return Vec::new();
                }
                let followers = self.others.iter().map(|other| (*other, (0, now))).collect();
                self.role = Role::Leader { followers, beats_at: now + HEARTBEAT };
                self.log.push(Entry { term: self.term, is_action: false });
                self.append()
            }
        }
    }

    fn advance_commit(&mut self) {
        let Role::Leader { followers, .. } = &self.role else { return };
        let mut matched: Vec<usize> = followers.values().map(|(len, _)| *len).collect();
        matched.push(self.log.len());
        matched.sort_unstable_by(|one, next| next.cmp(one));
        let agreed = matched[self.majority() - 1];
        if agreed > self.commit && self.log[agreed - 1].term == self.term {
            self.commit = agreed;
        }
    }

    fn step_down(&mut self, term: u64, now: u64, rng: &mut ChaCha8Rng) {
        self.term = term;
        self.role = Role::Follower;
        self.leader_heard_at = None;
        self.campaigns_at = now + timeout(rng);
    }

    fn append(&self) -> Sends {
        self.to_all(&Kind::Append { log: self.log.as_slice().into(), commit: self.commit })
    }

    fn to_all(&self, kind: &Kind) -> Sends {
        self.others.iter().map(|other| (*other, self.rpc(kind.clone()))).collect()
    }

    fn rpc(&self, kind: Kind) -> Rpc {
        Rpc { term: self.term, kind }
    }

    fn majority(&self) -> usize {
        self.others.len().div_ceil(2) + 1
    }

    fn last(&self) -> (u64, usize) {
        (self.log.last().map_or(0, |entry| entry.term), self.log.len())
    }
}

fn timeout(rng: &mut ChaCha8Rng) -> u64 {
    ELECTION_TIMEOUT_MIN + rng.next_u64() % (ELECTION_TIMEOUT_MAX - ELECTION_TIMEOUT_MIN + 1)
}
