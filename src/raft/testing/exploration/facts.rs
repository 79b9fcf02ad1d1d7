//! Holds what the promises need to know of a process in one state: copied once, compared often.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::raft::testing::application::End;
use crate::raft::testing::cluster::Replica;
use crate::raft::{ClusterUuid, Incarnation, Role};

/// A process as it is seen from outside.
#[derive(Debug, PartialEq, Eq)]
pub struct Facts {
    /// `false`: it has crashed, and was not started again.
    pub is_up: bool,
    pub is_stopped: bool,
    pub incarnation: Option<Incarnation>,
    pub cluster: ClusterUuid,
    /// The clusters that were recovered before this one became of them, and up to which index each counts.
    pub ancestors: Vec<(ClusterUuid, u64)>,
    pub role: Role,
    pub term: u64,
    pub leader: Option<Incarnation>,
    pub applied_index: u64,
    pub commit_index: u64,
    pub last_index: u64,
    pub snapshot_index: u64,
    /// The snapshot may be ahead of the state: JavaScript does not have a leader's yet, or may never get it.
    pub is_ahead: bool,
    pub compacted_index: u64,
    pub log: Vec<LogEntry>,
    pub voters: Vec<Incarnation>,
    pub is_diverged: bool,
    /// What became of the state, in order.
    pub applied: Vec<Applied>,
    /// How often its application was notified that the node left a cluster, and that it has caught up.
    pub moves: usize,
    pub is_told: bool,
    pub ends: Vec<(u64, Ended)>,
    /// Asks that were answered well, and up to which index the state went then.
    pub answered: Vec<(u64, u64)>,
    /// Calls and asks that have no end.
    pub pending: usize,
    pub next_sequence: u64,
    pub next_ticket: u64,
    /// Writes are not durable.
    pub is_writing: bool,
    pub is_busy: bool,
    /// For this many ticks it does nothing by itself.
    pub ticks_until_wakeup: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogEntry {
    pub index: u64,
    pub term: u64,
    pub digest: u64,
}

/// An action that was reduced, or a snapshot that was restored (`None`), and the state after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Applied {
    pub index: u64,
    pub action: Option<u64>,
    /// Locks come again; any other action is called once.
    pub is_unique: bool,
    pub state: u64,
    /// How many actions the state contains.
    pub count: u64,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this action.
    Resolved(u64),
    /// By a method that saw so many actions.
    RefusedAfter(u64),
    Otherwise,
}

impl Facts {
    /// Of a process that is gone.
    pub fn of_nothing() -> Self {
        Self {
            is_up: false,
            is_stopped: false,
            incarnation: None,
            cluster: ClusterUuid::NONE,
            ancestors: Vec::new(),
            role: Role::Follower,
            term: 0,
            leader: None,
            applied_index: 0,
            commit_index: 0,
            last_index: 0,
            snapshot_index: 0,
            is_ahead: false,
            compacted_index: 0,
            log: Vec::new(),
            voters: Vec::new(),
            is_diverged: false,
            applied: Vec::new(),
            moves: 0,
            is_told: true,
            ends: Vec::new(),
            answered: Vec::new(),
            pending: 0,
            next_sequence: 1,
            next_ticket: 1,
            is_writing: false,
            is_busy: false,
            ticks_until_wakeup: 1,
        }
    }

    pub fn of(replica: &Replica) -> Self {
        let status = replica.node.status();
        let application = &replica.application;
        let (next_sequence, next_ticket) = replica.next_numbers();
        let asked = next_ticket - 1 - application.answered.len() as u64;
        let member = |id: &str| status.members.iter().find(|member| &*member.id == id);
        let entries = replica
            .node
            .inspect()
            .log()
            .into_iter()
            .flat_map(|log| log.entries_from(log.compacted().index + 1));
        let log = entries.map(|entry| LogEntry {
            index: entry.index,
            term: entry.term,
            digest: digest(&(entry.entry_type as i32, &entry.data[..], &entry.context[..])),
        });
        let applied = application.applied.iter().map(|applied| Applied {
            index: applied.index,
            action: applied.action.as_ref().map(digest),
            is_unique: applied.action.as_ref().is_some_and(|action| !action.contains("lock")),
            state: digest(&(&applied.state.holder, applied.state.digest)),
            count: applied.state.count,
        });
        let is_diverged = status.diverged.is_some() || application.is_diverged;
        let answered = application.answered.iter().filter(|(_, result)| result.is_ok());
        Self {
            is_up: true,
            is_stopped: replica.stopped.is_some(),
            incarnation: replica.incarnation,
            cluster: status.cluster,
            ancestors: replica
                .node
                .inspect()
                .ancestors()
                .iter()
                .map(|former| (former.cluster, former.kept))
                .collect(),
            role: status.role,
            term: status.term,
            leader: status.leader.as_deref().and_then(member).map(|member| member.incarnation),
            applied_index: status.applied_index,
            commit_index: status.commit_index,
            last_index: status.last_index,
            snapshot_index: status.snapshot_index,
            is_ahead: is_diverged
                || !status.is_caught_up
                || replica.node.inspect().log().is_some_and(|log| log.compacted() == log.snapshot().position),
            compacted_index: replica.node.inspect().log().map_or(0, |log| log.compacted().index),
            log: log.collect(),
            voters: status.members.iter().filter(|m| m.is_voter).map(|m| m.incarnation).collect(),
            is_diverged,
            applied: applied.collect(),
            moves: application.moves(),
            is_told: replica.is_told(),
            ends: application.ends.iter().map(|(sequence, end)| (*sequence, Ended::of(end))).collect(),
            answered: answered.map(|(ticket, _)| (*ticket, application.answered_at[ticket].0)).collect(),
            pending: status.pending + asked as usize,
            next_sequence,
            next_ticket,
            is_writing: replica.disk.as_ref().is_some_and(|disk| !disk.is_idle()),
            is_busy: replica.is_busy,
            ticks_until_wakeup: replica.node.ticks_until_wakeup().min(u64::from(u16::MAX)) as u16,
        }
    }

    /// For a person.
    pub fn describe(&self) -> String {
        if !self.is_running() {
            return "gone".to_string();
        }
        let Self { role, term, applied_index, commit_index, last_index, pending, .. } = self;
        let leader = if self.leader.is_some() { "a leader" } else { "no leader" };
        format!(
            "{} of term {term} with {leader}, applied {applied_index}, commit {commit_index}, last {last_index}, \
             {pending} pending",
            role.as_str()
        )
    }

    pub fn is_running(&self) -> bool {
        self.is_up && !self.is_stopped
    }
}

impl Ended {
    fn of(end: &End) -> Self {
        match end {
            End::Resolved(action) => Self::Resolved(digest(action)),
            End::Refused(error) => {
                let seen = error.rsplit_once("after ").and_then(|(_, seen)| seen.parse().ok());
                seen.map_or(Self::Otherwise, Self::RefusedAfter)
            }
            End::Nothing | End::NotApplied | End::Unknown => Self::Otherwise,
        }
    }
}

pub fn digest(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
