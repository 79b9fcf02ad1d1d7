//! One run of a simulated cluster: its clients, the outcomes that they got, and whether these were true.
//!
//! The simulations say what happens to it; `faults.rs` holds what several of them do to it.

use std::collections::{BTreeMap, BTreeSet};

use super::application::{End, State, THROWN};
use super::cluster::{Cluster, Replica};
use super::disk::Disk;
use super::faults::Fault;
use crate::raft::{ClusterUuid, Input, Operation, Options, Warning};

/// What a test remembers of a call when it makes it.
struct Made {
    method: &'static str,
    action: String,
    /// The highest commit index anywhere when it was made: what the application could already know of.
    commit_index: u64,
    /// The same when it ended.
    ended: Option<u64>,
}

/// What the façade lets through, less the rest of the text.
const ACTION_BYTES_MAX: usize = 1_000_000;
const ERROR_BYTES_MAX: usize = 60_000;
/// The session timeout: three election timeouts.
pub const SESSION_TICKS: u64 = 150;
/// What makes an action larger, and is no part of its name.
pub const PADDING: &str = "#";

/// One run: a cluster, its clients, and the outcomes that they got.
pub struct Run {
    pub cluster: Cluster,
    pub size: usize,
    made: BTreeMap<(String, u64), Made>,
    ends: BTreeMap<(String, u64), End>,
    /// Processes that left with grace, that started over as new members, or whose reducer threw.
    pub excused: BTreeSet<String>,
    /// The highest index of an action of each cluster that any node acknowledged.
    acknowledged: BTreeMap<ClusterUuid, u64>,
    commit_index_max: u64,
    /// What a `sync` must bring: (process, ticket) → the index acknowledged before.
    syncs: BTreeMap<(String, u64), BTreeMap<ClusterUuid, u64>>,
    pub synced: u64,
    /// What had been acknowledged when a process started: it has that when it says that it has caught up.
    arrived: BTreeMap<String, BTreeMap<ClusterUuid, u64>>,
    pub caught_up: u64,
    given_up: BTreeSet<(String, u64)>,
}

/// Small snapshots, so that logs are compacted all the time.
pub fn options(cluster: &mut Cluster, id: &str, size: usize, is_durable: bool) -> Options {
    let seed = cluster.draw_seed();
    let snapshot_entries = 10 + cluster.roll(60);
    let recover_ticks = cluster.recover_ticks;
    let defaults = Options::new(id, size, seed);
    // So small that a snapshot has several parts, but not always.
    let is_tiny = seed[0].is_multiple_of(2) && !cluster.is_large;
    let chunk_bytes = if is_tiny { 40 + usize::from(seed[1]) } else { defaults.chunk_bytes };
    // What has sessions never hibernates.
    let session_timeout_ticks = (!cluster.hibernates).then_some(SESSION_TICKS);
    let evaluations_ahead_min = 1 + usize::from(seed[2] % 3);
    let application = defaults.application.clone().with_sessions(session_timeout_ticks.is_some());
    Options {
        snapshot_entries,
        chunk_bytes,
        is_durable,
        recover_ticks,
        session_timeout_ticks,
        evaluations_ahead_min,
        application,
        ..defaults
    }
}

impl Run {
    /// Founds a cluster of `size` nodes, of whom some keep their log on disks.
    pub fn found_of(mut cluster: Cluster, size: usize, is_durable: &dyn Fn(usize) -> bool) -> Self {
        for n in 0..size {
            let name = format!("n{n}");
            let options = options(&mut cluster, &name, size, is_durable(n));
            cluster.start(&name, options, is_durable(n).then(Disk::default));
        }
        let mut run = Self {
            cluster,
            size,
            made: BTreeMap::new(),
            ends: BTreeMap::new(),
            excused: BTreeSet::new(),
            acknowledged: BTreeMap::new(),
            commit_index_max: 0,
            syncs: BTreeMap::new(),
            synced: 0,
            arrived: BTreeMap::new(),
            caught_up: 0,
            given_up: BTreeSet::new(),
        };
        run.until("a cluster is founded", 2_000, |run| {
            run.cluster.statuses().values().all(|status| status.leader.is_some() && status.commit_index > 1)
        });
        run
    }

    pub fn check(&self) {
        self.cluster.checker.check_call_order();
        let nothing = Default::default();
        let lineage = self.lineage();
        let sequences = &self.cluster.checker.sequences;
        let sequence = lineage.last().and_then(|cluster| sequences.get(cluster));
        let sequence = sequence.map_or(&nothing, |sequence| &sequence.actions);
        let states: Vec<&State> =
            self.cluster.replicas.values().map(|replica| &replica.application.state).collect();
        assert!(states.windows(2).all(|pair| pair[0] == pair[1]), "states differ: {states:?}");
        for ((name, number), made) in &self.made {
            let count = sequence.values().filter(|action| **action == made.action).count();
            let Some(end) = self.ends.get(&(name.clone(), *number)) else {
                let is_given_up = self.given_up.contains(&(name.clone(), *number));
                assert!(
                    is_given_up || !self.cluster.replicas.contains_key(name),
                    "{name}'s perform {number} never ended"
                );
                assert!(count <= 1, "`{}` is there {count} times", made.action);
                continue;
            };
            match end {
                End::Resolved(action) => {
                    assert_eq!(action, &made.action);
                    assert!(
                        count == 1 || count == 0 && self.may_be_lost(action, &lineage),
                        "`{action}` was acknowledged and is there {count} times"
                    );
                }
                End::Nothing => assert_eq!(made.method, "nothing"),
                End::Refused(error) => {
                    let is_only = lineage.len() < 2
                        && self.cluster.checker.sequences.keys().all(|cluster| lineage.contains(cluster));
                    // Two may ask to unlock the same lock: only one of them is refused. And what one leader refused
                    // after another had appended it may be in the log of the survivor that a recovery commits, or in
                    // the cluster that is left after a successor that refused it is gone.
                    assert!(
                        count == 0 || made.method == "unlock" || count == 1 && !is_only,
                        "`{}` was refused and is there",
                        made.action
                    );
                    // What another cluster refused, of which nothing is left, is not to be seen in this one.
                    if made.method == "lock" && error != THROWN && is_only {
                        self.check_refusal(sequence, made);
                    }
                }
                End::NotApplied | End::Unknown => {
                    assert!(
                        self.excused.contains(name),
                        "{name}'s perform {number} ended {end}, but it neither closed nor started over"
                    );
                    let count_max = usize::from(*end == End::Unknown);
                    let is_outcome_right = count <= count_max || made.method == "unlock";
                    assert!(is_outcome_right, "`{}` ended as {end} and is there {count} times", made.action);
                }
            }
        }
    }

    /// The cluster that is left, after what it was recovered from, oldest first.
    fn lineage(&self) -> Vec<ClusterUuid> {
        let left = self.cluster.replicas.values().find(|replica| !replica.node.status().cluster.is_none());
        let left = left.map(|replica| (replica.node.inspect().ancestors(), replica.node.status().cluster));
        left.map_or(Vec::new(), |(ancestors, cluster)| {
            ancestors.iter().map(|ancestor| ancestor.cluster).chain([cluster]).collect()
        })
    }

    /// An action is lost where its cluster was recovered from a log that did not have it, or where that cluster is gone
    /// and another successor is left.
    fn may_be_lost(&self, action: &str, lineage: &[ClusterUuid]) -> bool {
        let checker = &self.cluster.checker;
        let had = |cluster: &ClusterUuid| {
            let sequence = checker.sequences.get(cluster);
            sequence.is_some_and(|sequence| sequence.actions.values().any(|applied| applied == action))
        };
        let keeps = |cluster| checker.kept.get(cluster).is_some_and(|kept| kept.contains(action));
        let is_lost = lineage.windows(2).any(|pair| had(&pair[0]) && !keeps(&pair[1]));
        let others = checker.sequences.keys().filter(|cluster| !lineage.contains(cluster));
        is_lost || !lineage.iter().any(had) && others.into_iter().any(had)
    }

    /// A refused lock was held at some moment between its call and its end: otherwise a deposed leader answered.
    fn check_refusal(&self, sequence: &BTreeMap<u64, String>, made: &Made) {
        let ended = made.ended.expect("it ended");
        let mut holder = None;
        let mut was_held = false;
        for (index, action) in sequence {
            was_held |= holder.is_some() && *index > made.commit_index;
            if *index > ended {
                break;
            }
            if action.starts_with("lock ") {
                holder = Some(action);
            } else if action.starts_with("unlock ") {
                holder = None;
            }
        }
        was_held |= holder.is_some();
        assert!(was_held, "`{}` was refused, but no owner held the lock meanwhile", made.action);
    }

    pub fn perform(&mut self, name: &str) {
        let number =
            self.made.range((name.to_string(), 0)..).take_while(|((n, _), _)| n == name).count() as u64 + 1;
        let tag = format!("{name}/{number}");
        let (method, args, action) = match self.cluster.roll(10) {
            0..5 => {
                let action = tag + &self.padding(ACTION_BYTES_MAX);
                ("append", action.clone(), action)
            }
            5..7 => ("lock", tag.clone(), format!("lock {tag}")),
            // Unlocks whatever lock this node knows: its own applied state says who holds it.
            7 => {
                let holder = self.cluster.replicas[name].application.state.holder.clone().unwrap_or_default();
                ("unlock", holder.clone(), format!("unlock {holder}"))
            }
            8 => ("nothing", String::new(), "nothing".into()),
            _ => ("refuse", format!("no{}", self.padding(ERROR_BYTES_MAX)), "refused".into()),
        };
        if self.cluster.replicas[name].is_closing() {
            // The façade refuses calls from the moment of `close()`.
            return;
        }
        let commit_index = self.commit_index();
        self.made.insert((name.to_string(), number), Made { method, action, commit_index, ended: None });
        assert_eq!(self.cluster.perform(name, method, &args), number);
        self.note_ends();
    }

    /// Now and then, up to this many bytes more; small sizes are as frequent as large ones.
    fn padding(&mut self, bytes_max: usize) -> String {
        let (is_large, bytes) = (self.cluster.roll(40) == 0, 1 << self.cluster.roll(21));
        let is_large = is_large && self.cluster.is_large && Fault::Sizes.strikes();
        let bytes = if is_large { bytes_max.min(bytes) } else { 0 };
        PADDING.repeat(bytes)
    }

    /// A node that waits for the node's last calls does no longer: their time is over.
    pub fn give_up(&mut self, name: &str) {
        let count = 1 + self.cluster.roll(4) as usize;
        let made = self.made.range((name.to_string(), 0)..=(name.to_string(), u64::MAX));
        let open = made.rev().map(|((_, number), _)| *number);
        let open = open.filter(|number| !self.ends.contains_key(&(name.to_string(), *number)));
        let numbers: Vec<u64> = open.take(count).collect();
        if numbers.is_empty() || !Fault::Timeouts.strikes() {
            return;
        }
        self.given_up.extend(numbers.iter().map(|number| (name.to_string(), *number)));
        self.cluster.handle(name, Input::Abandon(numbers));
    }

    pub fn crash(&mut self, name: &str) -> Option<Replica> {
        self.note_ends();
        self.cluster.crash(name)
    }

    /// A read that must be current when it is answered.
    pub fn sync(&mut self, name: &str) {
        let ticket = self.cluster.operation(name, Operation::Sync, 300);
        self.syncs.insert((name.to_string(), ticket), self.acknowledged.clone());
    }

    pub fn step(&mut self) {
        for name in self.cluster.replicas.keys() {
            self.arrived.entry(name.clone()).or_insert_with(|| self.acknowledged.clone());
        }
        self.cluster.tick();
        let disks = self.cluster.replicas.iter().filter(|(_, replica)| replica.disk.is_some());
        for name in disks.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            if self.cluster.roll(2) == 0 {
                self.cluster.sync(&name);
            }
        }
        self.note_ends();
        let stopped = self.cluster.replicas.iter().filter(|(_, replica)| replica.stopped.is_some());
        for name in stopped.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.check_stopped(&name);
            self.excused.insert(name.clone());
            self.cluster.crash(&name);
        }
    }

    /// A node that stops has ended every call and every read of its application. Busy JavaScript receives that later.
    fn check_stopped(&self, name: &str) {
        let replica = &self.cluster.replicas[name];
        if replica.is_busy || replica.cost > 0 || !replica.batches.is_empty() {
            return;
        }
        let made = self.made.range((name.to_string(), 0)..=(name.to_string(), u64::MAX)).map(|(key, _)| key);
        let open: Vec<_> =
            made.filter(|key| !self.ends.contains_key(key) && !self.given_up.contains(key)).collect();
        let syncs: Vec<_> = self.syncs.keys().filter(|(asked, _)| asked == name).collect();
        assert!(
            open.is_empty() && syncs.is_empty(),
            "{name} stopped and did not end the performs {open:?} and the reads {syncs:?}"
        );
    }

    fn note_ends(&mut self) {
        let commit_index = self.highest_commit_index();
        for (name, replica) in &mut self.cluster.replicas {
            let application = &mut replica.application;
            let arrived = self.arrived.get_mut(name).filter(|arrived| !arrived.is_empty());
            if let Some(acknowledged) = arrived.filter(|_| application.is_caught_up) {
                let acknowledged = std::mem::take(acknowledged);
                let acknowledged = acknowledged.get(&replica.node.status().cluster).copied().unwrap_or(0);
                let applied = application.applied.last().map_or(0, |applied| applied.index);
                assert!(
                    acknowledged <= applied || self.excused.contains(name),
                    "{name} has caught up with its state at {applied}, but {acknowledged} was acknowledged before it came"
                );
                self.caught_up += 1;
            }
            let has_left = |warning: &Warning| {
                matches!(warning, Warning::StartingOver { .. } | Warning::Superseded { .. })
            };
            if application.warnings.iter().any(has_left) {
                self.excused.insert(name.clone());
            }
            for (number, end) in std::mem::take(&mut application.ends) {
                let key = (name.clone(), number);
                self.made.get_mut(&key).expect("only what was made ends").ended = Some(commit_index);
                if let End::Resolved(action) = &end {
                    let cluster = replica.node.status().cluster;
                    let sequence = self.cluster.checker.sequences.get(&cluster);
                    let index = sequence.and_then(|sequence| sequence.index_of(action)).unwrap_or(0);
                    let newest = self.acknowledged.entry(cluster).or_default();
                    *newest = index.max(*newest);
                }
                let former = self.ends.insert(key, end);
                assert_eq!(former, None, "{name}'s perform {number} ended twice");
            }
            for (ticket, result) in std::mem::take(&mut application.answered) {
                let Some(acknowledged) = self.syncs.remove(&(name.clone(), ticket)) else { continue };
                if result.is_ok() {
                    self.synced += 1;
                    let cluster = replica.node.status().cluster;
                    let acknowledged = acknowledged.get(&cluster).copied().unwrap_or(0);
                    let (applied, moves) = application.answered_at[&ticket];
                    let has_moved_since = moves != application.moves();
                    assert!(
                        acknowledged <= applied || has_moved_since,
                        "{name}: after sync the state ends at {applied}, but {acknowledged} was acknowledged before"
                    );
                }
            }
        }
    }

    /// The highest commit index that was ever seen, also on nodes that are gone.
    fn highest_commit_index(&mut self) -> u64 {
        self.commit_index_max = self.commit_index_max.max(self.commit_index());
        self.commit_index_max
    }

    fn commit_index(&self) -> u64 {
        self.cluster.statuses().values().map(|status| status.commit_index).max().unwrap_or(0)
    }

    pub fn until(&mut self, what: &str, ticks_max: u64, holds: impl Fn(&Self) -> bool) {
        for _ in 0..ticks_max {
            self.step();
            if holds(self) {
                return;
            }
        }
        let statuses = self.cluster.statuses();
        let lines = statuses.iter().map(|(name, status)| {
            let members = status.members.iter().map(|member| {
                let kind = if member.is_voter { "" } else { " learner" };
                format!("{} {:.8}{kind}", member.id, member.incarnation.to_string())
            });
            format!(
                "{name} ({} {:.8}): {} of {:?} in term {}, applied {} commit {} last {} snapshot {} pending {} size {} {:?}: {}",
                status.id,
                status.incarnation.to_string(),
                status.role.as_str(),
                status.leader,
                status.term,
                status.applied_index,
                status.commit_index,
                status.last_index,
                status.snapshot_index,
                status.pending,
                status.cluster_size,
                status.waiting_for,
                members.collect::<Vec<_>>().join(", ")
            )
        });
        let lines: Vec<String> = lines.collect();
        panic!("after {ticks_max} ticks it does not hold that {what}:\n{}", lines.join("\n"));
    }
}
