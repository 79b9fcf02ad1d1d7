//! Checks what must hold in a simulated cluster after every step.
//!
//! Of the paper's Figure 3: election safety, and state machine safety (as one sequence of actions per cluster that
//! every node is a prefix of); `logs.rs` has the other three. And that snapshot ≤ applied ≤ commit ≤ last, that terms
//! and indexes never fall, that an action is applied once, that each origin's actions keep call order, that the clock
//! never falls, and that no crash is tolerated without a leader.

use std::collections::{BTreeMap, BTreeSet};

use super::application::{Application, Applied, State};
use super::logs::Logs;
use super::run::PADDING;
use crate::raft::consensus::log::Log;
use crate::raft::wire::message::Ancestor;
use crate::raft::{ClusterUuid, Incarnation, Role, Status};

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Checker {
    leaders: BTreeMap<(ClusterUuid, u64), Incarnation>,
    /// The one sequence of actions that the nodes of a cluster go through.
    pub sequences: BTreeMap<ClusterUuid, Sequence>,
    /// What the log of its survivor held when a recovered cluster was first seen, applied or not.
    pub kept: BTreeMap<ClusterUuid, BTreeSet<String>>,
    last: BTreeMap<String, Seen>,
    /// How much of what each node applied is checked.
    checked: BTreeMap<String, usize>,
    /// The cluster that each node's JavaScript knows to be in, and how often it had moved: it hears later than the
    /// core.
    reported: BTreeMap<String, (ClusterUuid, usize)>,
    logs: Logs,
    /// StoredState clusters whose survivor's log was not looked at yet.
    unlisted: BTreeSet<ClusterUuid>,
}

#[derive(Debug)]
struct Seen {
    cluster: ClusterUuid,
    incarnation: Incarnation,
    term: u64,
    commit_index: u64,
    applied_index: u64,
    is_diverged: bool,
}

/// What a cluster's log amounts to, as its nodes applied it.
#[derive(Debug, Default)]
pub struct Sequence {
    pub actions: BTreeMap<u64, String>,
    states: BTreeMap<u64, State>,
    times: BTreeMap<u64, u64>,
    indexes: BTreeMap<String, u64>,
}

impl Sequence {
    fn up_to(&self, index: u64) -> Self {
        Self {
            actions: self.actions.range(..=index).map(|(index, action)| (*index, action.clone())).collect(),
            states: self.states.range(..=index).map(|(index, state)| (*index, state.clone())).collect(),
            times: self.times.range(..=index).map(|(index, at)| (*index, *at)).collect(),
            indexes: self
                .indexes
                .iter()
                .filter(|(_, at)| **at <= index)
                .map(|(a, at)| (a.clone(), *at))
                .collect(),
        }
    }

    /// Where an action that comes once was applied.
    pub fn index_of(&self, action: &str) -> Option<u64> {
        self.indexes.get(action).copied()
    }

    fn check(&mut self, name: &str, applied: &Applied) {
        let Applied { index, at, action, state } = applied;
        let Some(action) = action else {
            let expected =
                self.states.range(..=index).next_back().map_or(State::default(), |(_, state)| state.clone());
            assert_eq!(
                *state, expected,
                "{name}: the snapshot at {index} is what the log makes of the state there"
            );
            return;
        };
        let first = self.actions.entry(*index).or_insert_with(|| action.clone());
        assert_eq!(first, action, "{name}: every node applies the same action at index {index}");
        let first = self.states.entry(*index).or_insert_with(|| state.clone());
        assert_eq!(first, state, "{name}: every node has the same state after index {index}");
        let first = *self.times.entry(*index).or_insert(*at);
        assert_eq!(first, *at, "{name}: every node has the same time at index {index}");
        let before = self.times.range(..index).next_back();
        let after = self.times.range(index + 1..).next();
        assert!(
            before.is_none_or(|(_, before)| before <= at) && after.is_none_or(|(_, after)| at <= after),
            "{name}: the clock never falls, but it is {before:?}, then {at} at {index}, then {after:?}"
        );
        if is_unique(action) {
            let place = *self.indexes.entry(action.clone()).or_insert(*index);
            assert_eq!(place, *index, "{name}: `{action}` was applied at index {place} and again at {index}");
        }
    }
}

impl Checker {
    /// The process under this name is gone.
    pub fn forget(&mut self, name: &str) {
        self.last.remove(name);
        self.checked.remove(name);
        self.reported.remove(name);
        self.logs.forget(name);
    }

    /// What a recovered cluster began with: everything in its survivor's log counts as committed.
    pub fn note_kept(&mut self, status: &Status, log: &Log) {
        if self.unlisted.remove(&status.cluster) {
            let actions = log.entries_from(log.compacted().index + 1).filter(|entry| !entry.data.is_empty());
            let actions = actions.map(|entry| String::from_utf8_lossy(&entry.data).into_owned());
            self.kept.entry(status.cluster).or_default().extend(actions);
        }
    }

    /// The log of a node whose status was checked.
    pub fn check_log(&mut self, name: &str, status: &Status, application: &Application, log: &Log) {
        // A leader's snapshot is the whole log until JavaScript has its state, which that of a diverged node may never
        // get; one that is restored may not even have heard that it was diverged.
        let is_ahead = log.compacted() == log.snapshot().position
            || status.diverged.is_some()
            || application.is_diverged
            || !status.is_caught_up;
        assert!(
            status.snapshot_index <= status.commit_index
                && (status.snapshot_index <= status.applied_index || is_ahead),
            "{name}: snapshot ≤ applied ≤ commit, but {status:?}"
        );
        self.logs.check(name, status, log);
    }

    /// `ancestors`: what the node's cluster was before it was recovered, oldest first. `is_told`: its JavaScript has
    /// heard of every cluster that it left.
    pub fn check(
        &mut self,
        name: &str,
        status: &Status,
        application: &Application,
        ancestors: &[Ancestor],
        is_told: bool,
    ) {
        self.branch_off(status.cluster, ancestors);
        self.check_applied(name, status.cluster, application, ancestors, is_told);
        if status.cluster.is_none() {
            self.last.remove(name);
            return;
        }
        if status.role == Role::Leader {
            let leader = self.leaders.entry((status.cluster, status.term)).or_insert(status.incarnation);
            assert_eq!(*leader, status.incarnation, "two leaders in term {} of one cluster", status.term);
        }
        assert!(
            status.applied_index <= status.commit_index && status.commit_index <= status.last_index,
            "{name}: applied ≤ commit ≤ last, but {status:?}"
        );
        let sessions = &status.sessions;
        assert!(
            sessions.windows(2).all(|pair| pair[0].1 < pair[1].1)
                && sessions.iter().map(|(id, _)| id).collect::<BTreeSet<_>>().len() == sessions.len(),
            "{name}: no id has two live sessions, but {sessions:?}"
        );
        let voters = status.members.iter().filter(|member| member.is_voter).count();
        assert!(voters > 0, "{name}: a node in a cluster names its members");
        assert!(
            status.leader.is_some() || status.fault_tolerance == 0,
            "{name}: without a leader no crash is tolerated, but {status:?}"
        );
        if let Some(seen) = self.last.get(name).filter(|seen| seen.incarnation == status.incarnation) {
            assert!(
                seen.cluster == status.cluster
                    || ancestors.iter().any(|ancestor| ancestor.cluster == seen.cluster),
                "{name}: an incarnation stays in its cluster, or in what that became"
            );
            assert!(
                seen.term <= status.term
                    && seen.commit_index <= status.commit_index
                    && (seen.applied_index <= status.applied_index || seen.is_diverged),
                "{name}: term, commit and applied index never fall, but {seen:?} became {status:?}"
            );
        }
        let seen = Seen {
            cluster: status.cluster,
            incarnation: status.incarnation,
            term: status.term,
            commit_index: status.commit_index,
            applied_index: status.applied_index,
            is_diverged: status.diverged.is_some(),
        };
        self.last.insert(name.to_string(), seen);
    }

    /// What a node has applied since the last check is what its cluster, or the one that it has left, goes through there.
    fn check_applied(
        &mut self,
        name: &str,
        cluster: ClusterUuid,
        application: &Application,
        ancestors: &[Ancestor],
        is_told: bool,
    ) {
        let checked = self.checked.insert(name.to_string(), application.applied.len()).unwrap_or(0);
        let new = &application.applied[checked..];
        let moves = application.moves();
        let reported = self.reported.get(name).copied();
        let left = match reported {
            _ if !is_told => new.len(),
            Some((former, before)) if before != moves => {
                // What was under way when it left comes before the state that it joined with. It got none if it took back
                // its promise to a successor, and recovered the cluster from its own log.
                let restores = new.iter().any(|applied| applied.action.is_none());
                let ancestor = ancestors.iter().find(|ancestor| ancestor.cluster == former && !restores);
                let kept = ancestor.map_or(u64::MAX, |ancestor| ancestor.kept);
                new.iter().take_while(|applied| applied.action.is_some() && applied.index <= kept).count()
            }
            _ => 0,
        };
        let (before, after) = new.split_at(left);
        for (cluster, part) in [(reported.map(|(cluster, _)| cluster), before), (Some(cluster), after)] {
            let Some(cluster) = cluster.filter(|cluster| !cluster.is_none()) else { continue };
            let sequence = self.sequences.entry(cluster).or_default();
            part.iter().for_each(|applied| sequence.check(name, applied));
        }
        if is_told {
            self.reported.insert(name.to_string(), (cluster, moves));
        }
    }

    /// A recovered cluster begins with what its survivor knew as committed in the former one; the rest of its log
    /// follows. What only others knew may be lost.
    fn branch_off(&mut self, cluster: ClusterUuid, ancestors: &[Ancestor]) {
        let Some(Ancestor { cluster: former, kept }) = ancestors.last() else { return };
        if self.sequences.contains_key(&cluster) {
            return;
        }
        let sequence = self.sequences.get(former).map(|former| former.up_to(*kept)).unwrap_or_default();
        self.kept.insert(cluster, sequence.actions.values().cloned().collect());
        self.unlisted.insert(cluster);
        self.sequences.insert(cluster, sequence);
    }

    /// Actions named `origin/number`, and locks for them, were performed in the order of their numbers, and must be
    /// applied so.
    pub fn check_call_order(&self) {
        for sequence in self.sequences.values() {
            check_sessions(&sequence.actions);
            let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
            for action in sequence.actions.values() {
                let name = action.strip_prefix("lock ").unwrap_or(action);
                let Some((origin, number)) = name.split_once('/').filter(|_| !name.starts_with("unlock"))
                else {
                    continue;
                };
                let number = number.trim_end_matches(PADDING);
                let number = number.parse().expect("the tests number their actions");
                let former = newest.insert(origin, number).unwrap_or(0);
                assert!(
                    former < number,
                    "`{action}` was applied after {origin}/{former}, against call order"
                );
            }
        }
    }
}

/// What the log says about sessions: numbers rise, an id has one live session at a time, and each that ended was live.
fn check_sessions(actions: &BTreeMap<u64, String>) {
    let mut last = 0;
    let mut live: BTreeMap<&str, u64> = BTreeMap::new();
    for action in actions.values() {
        let words: Vec<&str> = action.split(' ').collect();
        let ["session", number, "of", id, what, _] = words[..] else { continue };
        let number: u64 = number.parse().expect("a session has a number");
        if what == "started:" {
            assert!(number > last, "`{action}` comes after session {last}");
            last = number;
            let former = live.insert(id, number);
            assert_eq!(former, None, "`{action}`, and its member has a live session");
        } else {
            assert_eq!(live.remove(id), Some(number), "`{action}`, and another session is live");
        }
    }
}

/// Locks come again; everything else is called once in a test.
fn is_unique(action: &str) -> bool {
    !action.contains("lock")
}
