//! Records what has happened in an explored world as far as a promise depends on it, and detects the promise that a
//! step breaks.
//!
//! Of the paper's Figure 3: election safety, leader append-only, log matching, leader completeness and state machine
//! safety. And that terms and indexes never fall, that no action is applied twice, that what was acknowledged is in the
//! log, and that reads and refusals are linearizable. `checker.rs` says the same of the worlds of seeds; here what is
//! compared is small enough to be part of a state.

use std::hash::Hash;

use super::facts::{Applied, Ended, Facts, LogEntry};
use crate::raft::{ClusterUuid, Incarnation, Role};

/// What happened so far.
#[derive(Clone, Debug, Default, Hash)]
pub struct History {
    leaders: Vec<(ClusterUuid, u64, Incarnation)>,
    /// The one sequence of actions that the nodes of each cluster go through.
    sequence: Vec<(ClusterUuid, Applied)>,
    committed: Vec<Committed>,
    /// The cluster that the application of each node knows to be in, and how often it had moved.
    reported: Vec<Option<(ClusterUuid, usize)>>,
    /// What a client of each cluster knows: the last action that was acknowledged, by index and count.
    acknowledged: Vec<(ClusterUuid, u64, u64)>,
    questions: Vec<TrackedOperation>,
}

#[derive(Clone, Copy, Debug, Hash)]
struct Committed {
    cluster: ClusterUuid,
    entry: LogEntry,
    /// The term in which that was first seen.
    term: u64,
}

/// A read or a call without an end: its answer contains whatever was acknowledged before.
#[derive(Clone, Copy, Debug, Hash)]
struct TrackedOperation {
    node: usize,
    number: u64,
    is_read: bool,
    cluster: ClusterUuid,
    least_index: u64,
    least_count: u64,
}

impl History {
    pub fn begin(facts: &[&Facts]) -> Result<Self, String> {
        let mut history = Self { reported: vec![None; facts.len()], ..Self::default() };
        let before = Facts::of_nothing();
        for (node, after) in facts.iter().enumerate() {
            history.observe(node, &before, after, &[])?;
        }
        Ok(history)
    }

    /// A client asks this node.
    pub fn operation(&mut self, node: usize, facts: &Facts, is_read: bool) {
        let Some((cluster, _)) = self.reported[node] else { return };
        let known = self.acknowledged.iter().find(|(of, ..)| *of == cluster);
        let (least_index, least_count) = known.map_or((0, 0), |(_, index, count)| (*index, *count));
        let number = if is_read { facts.next_ticket } else { facts.next_sequence };
        self.questions.push(TrackedOperation { node, number, is_read, cluster, least_index, least_count });
    }

    /// One process has made a step; `others` are as they were.
    pub fn observe(
        &mut self,
        node: usize,
        before: &Facts,
        after: &Facts,
        others: &[&Facts],
    ) -> Result<(), String> {
        if !after.is_up {
            self.reported[node] = None;
            self.questions.retain(|question| question.node != node);
            return Ok(());
        }
        self.branch_off(after);
        self.check_applied(node, before, after)?;
        self.check_ends(node, before, after)?;
        if after.cluster.is_none() {
            return Ok(());
        }
        check_indexes(before, after)?;
        if after.log != before.log {
            check_matching(after, others)?;
        }
        self.check_leader(after)?;
        self.check_commit(before, after)
    }

    /// A recovered cluster begins with what its survivor knew as committed.
    fn branch_off(&mut self, after: &Facts) {
        let Some((former, kept)) = after.ancestors.last() else { return };
        if self.sequence.iter().any(|(cluster, _)| *cluster == after.cluster) {
            return;
        }
        let of_former =
            |(cluster, applied): &&(ClusterUuid, Applied)| cluster == former && applied.index <= *kept;
        let begins: Vec<_> = self.sequence.iter().filter(of_former).map(|(_, applied)| *applied).collect();
        self.sequence.extend(begins.into_iter().map(|applied| (after.cluster, applied)));
    }

    /// What a node has applied since is what its cluster, or the one that it has left, goes through there.
    fn check_applied(&mut self, node: usize, before: &Facts, after: &Facts) -> Result<(), String> {
        let known = if before.is_up { before.applied.len() } else { 0 };
        let new = &after.applied[known..];
        let reported = self.reported[node];
        let left = match reported {
            _ if !after.is_told => new.len(),
            // What was under way when it left comes before the state that it joined with.
            Some((_, moves)) if moves != after.moves => {
                new.iter().take_while(|applied| applied.action.is_some()).count()
            }
            _ => 0,
        };
        for (place, applied) in new.iter().enumerate() {
            let cluster =
                if place < left { reported.map(|(cluster, _)| cluster) } else { Some(after.cluster) };
            if let Some(cluster) = cluster.filter(|cluster| !cluster.is_none()) {
                self.apply(cluster, applied)?;
            }
        }
        if after.is_told {
            self.reported[node] = Some((after.cluster, after.moves));
        }
        Ok(())
    }

    fn apply(&mut self, of: ClusterUuid, applied: &Applied) -> Result<(), String> {
        let index = applied.index;
        let mut sequence = self.sequence.iter().filter(|(cluster, _)| *cluster == of).map(|(_, other)| other);
        if applied.action.is_none() {
            // A snapshot is what the log makes of the state there; nothing is known of one that lies ahead.
            let last = sequence.filter(|other| other.index <= index).max_by_key(|other| other.index);
            return match last {
                Some(last) if last.state != applied.state && last.count >= applied.count => {
                    Err(format!("the snapshot at {index} is not what the log makes of the state there"))
                }
                _ => Ok(()),
            };
        }
        let is_again =
            |other: &&Applied| applied.is_unique && other.action == applied.action && other.index != index;
        if let Some(other) = sequence.clone().find(is_again) {
            return Err(format!("an action was applied at index {} and again at {index}", other.index));
        }
        match sequence.find(|other| other.index == index) {
            Some(other) if other != applied => {
                Err(format!("two nodes differ in the action or the state at index {index}"))
            }
            Some(_) => Ok(()),
            None => {
                self.sequence.push((of, *applied));
                self.sequence.sort_by_key(|(cluster, applied)| (*cluster, applied.index));
                Ok(())
            }
        }
    }

    /// What was acknowledged is in the log, and what was asked is answered by a state that contains what was acknowledged
    /// before (thesis §6.4).
    fn check_ends(&mut self, node: usize, before: &Facts, after: &Facts) -> Result<(), String> {
        let cluster = self.reported[node].map_or(after.cluster, |(cluster, _)| cluster);
        if after.ends.len() != before.ends.len() || !before.is_up {
            let is_new = |end: &&(u64, Ended)| !before.is_up || !before.ends.contains(end);
            for (sequence, end) in after.ends.iter().filter(is_new) {
                self.check_end(node, cluster, *sequence, *end)?;
            }
        }
        for (ticket, index) in
            after.answered.iter().skip(if before.is_up { before.answered.len() } else { 0 })
        {
            let question = self.take_question(node, *ticket, true);
            if let Some(asked) =
                question.filter(|asked| asked.cluster == cluster && asked.least_index > *index)
            {
                return Err(format!(
                    "a read was answered from the state at index {index}, but {} was acknowledged before",
                    asked.least_index
                ));
            }
        }
        Ok(())
    }

    fn check_end(
        &mut self,
        node: usize,
        cluster: ClusterUuid,
        number: u64,
        end: Ended,
    ) -> Result<(), String> {
        let question = self.take_question(node, number, false).filter(|asked| asked.cluster == cluster);
        match end {
            Ended::Resolved(action) => {
                let is = |(of, applied): &&(ClusterUuid, Applied)| {
                    *of == cluster && applied.action == Some(action)
                };
                let Some((_, applied)) = self.sequence.iter().rfind(is) else {
                    return Err("an action was acknowledged that no node has applied".to_string());
                };
                let known = (cluster, applied.index, applied.count);
                match self.acknowledged.iter_mut().find(|(of, ..)| *of == cluster) {
                    Some(former) if former.1 < known.1 => *former = known,
                    Some(_) => {}
                    None => self.acknowledged.push(known),
                }
                Ok(())
            }
            Ended::RefusedAfter(seen) => match question {
                Some(asked) if seen < asked.least_count => Err(format!(
                    "a method refused by a state of {seen} actions, but {} were acknowledged before",
                    asked.least_count
                )),
                _ => Ok(()),
            },
            Ended::Otherwise => Ok(()),
        }
    }

    fn take_question(&mut self, node: usize, number: u64, is_read: bool) -> Option<TrackedOperation> {
        let is = |asked: &TrackedOperation| {
            asked.node == node && asked.number == number && asked.is_read == is_read
        };
        let place = self.questions.iter().position(is)?;
        Some(self.questions.remove(place))
    }

    /// One leader a term, and it has everything that was committed in earlier terms.
    fn check_leader(&mut self, after: &Facts) -> Result<(), String> {
        let (Role::Leader, Some(me)) = (after.role, after.incarnation) else { return Ok(()) };
        let (cluster, term) = (after.cluster, after.term);
        match self.leaders.iter().find(|(of, in_term, _)| *of == cluster && *in_term == term) {
            Some((.., other)) if *other != me => return Err(format!("two leaders in term {term}")),
            Some(_) => return Ok(()),
            None => {}
        }
        self.leaders.push((cluster, term, me));
        self.leaders.sort_unstable();
        let earlier =
            self.committed.iter().filter(|committed| committed.cluster == cluster && committed.term < term);
        for Committed { entry, .. } in earlier {
            if entry.index > after.compacted_index && !after.log.contains(entry) {
                return Err(format!(
                    "the leader of term {term} lacks the entry at {} of term {}, which was committed before",
                    entry.index, entry.term
                ));
            }
        }
        Ok(())
    }

    /// One entry is committed at an index.
    fn check_commit(&mut self, before: &Facts, after: &Facts) -> Result<(), String> {
        let is_same =
            before.is_up && before.cluster == after.cluster && before.incarnation == after.incarnation;
        let known = if is_same { before.commit_index } else { 0 };
        let new = after.log.iter().filter(|entry| entry.index > known && entry.index <= after.commit_index);
        for entry in new {
            let mut noted = self.committed.iter();
            let is = |noted: &&Committed| noted.cluster == after.cluster && noted.entry.index == entry.index;
            match noted.find(is) {
                Some(noted) if noted.entry != *entry => {
                    return Err(format!(
                        "two entries are committed at index {}: of term {} and of term {}",
                        entry.index, noted.entry.term, entry.term
                    ));
                }
                Some(_) => {}
                None => {
                    let committed = Committed { cluster: after.cluster, entry: *entry, term: after.term };
                    self.committed.push(committed);
                    self.committed.sort_by_key(|committed| (committed.cluster, committed.entry.index));
                }
            }
        }
        Ok(())
    }
}

/// Terms and indexes never fall, and a leader only appends.
fn check_indexes(before: &Facts, after: &Facts) -> Result<(), String> {
    let Facts { snapshot_index, applied_index, commit_index, last_index, .. } = *after;
    let is_ordered = applied_index <= commit_index
        && commit_index <= last_index
        && snapshot_index <= commit_index
        && (snapshot_index <= applied_index || after.is_ahead);
    if !is_ordered {
        return Err(format!(
            "snapshot {snapshot_index} ≤ applied {applied_index} ≤ commit {commit_index} ≤ last {last_index}"
        ));
    }
    if !before.is_up || before.cluster.is_none() || before.incarnation != after.incarnation {
        return Ok(());
    }
    if before.cluster != after.cluster {
        let has_become = after.ancestors.iter().any(|(former, _)| *former == before.cluster);
        let error = || "an incarnation left its cluster for one that did not become of it".to_string();
        return has_become.then_some(()).ok_or_else(error);
    }
    let has_fallen = after.term < before.term
        || commit_index < before.commit_index
        || (applied_index < before.applied_index && !before.is_diverged);
    if has_fallen {
        return Err("a term, a commit index or an applied index fell".to_string());
    }
    let leads_on = before.role == Role::Leader && after.role == Role::Leader && before.term == after.term;
    let last = before.log.last().filter(|last| leads_on && last.index > after.compacted_index);
    match last.filter(|last| !after.log.contains(last)) {
        Some(last) => Err(format!("a leader removed or replaced its own entry at index {}", last.index)),
        None => Ok(()),
    }
}

/// Two entries with the same index and term are the same.
fn check_matching(after: &Facts, others: &[&Facts]) -> Result<(), String> {
    for other in others.iter().filter(|other| other.cluster == after.cluster) {
        for entry in &after.log {
            let is_other = |its: &&LogEntry| {
                its.index == entry.index && its.term == entry.term && its.digest != entry.digest
            };
            if other.log.iter().any(|its| is_other(&its)) {
                return Err(format!("two entries at index {} of term {}", entry.index, entry.term));
            }
        }
    }
    Ok(())
}
