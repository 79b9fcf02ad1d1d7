//! Delays a leader's appends to learners until their entries are committed.
//!
//! A learner counts in no quorum (thesis §4.2.1), so that no commit waits for it. Sent at once, each action would
//! wake every learner twice, by the entry and by its commit update, while the voters need the processors and the
//! channel for what the commit waits for. Entries that are not committed by the next tick leave without their commit.

use std::collections::BTreeMap;

use crate::raft::identity::RaftId;
use crate::raft::wire::message::{RaftKind, RaftMessage};

/// By learner: its appends that wait, in order.
#[derive(Debug, Default)]
pub(super) struct LearnerAppends {
    held: BTreeMap<RaftId, Vec<RaftMessage>>,
    /// The held appends leave with the next messages.
    is_released: bool,
}

impl LearnerAppends {
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// A tick has passed.
    pub(super) fn release(&mut self) {
        self.is_released = true;
    }

    /// The messages of a leader that leave now, including delayed ones.
    pub(super) fn hold(
        &mut self,
        messages: Vec<(RaftId, RaftMessage)>,
        is_learner: impl Fn(RaftId) -> bool,
    ) -> Vec<(RaftId, RaftMessage)> {
        let is_released = std::mem::take(&mut self.is_released);
        let is_delayed =
            |(to, message): &(RaftId, RaftMessage)| message.kind == RaftKind::Append && is_learner(*to);
        if self.held.is_empty() && !messages.iter().any(is_delayed) {
            return messages;
        }
        let mut leaving = Vec::with_capacity(messages.len());
        for (to, message) in messages {
            if message.kind != RaftKind::Append {
                leaving.push((to, message));
                continue;
            }
            let held = self.held.entry(to).or_default();
            add(held, message);
            let commit = held.last().map_or(0, |last| last.commit);
            let is_due = |message: &RaftMessage| !is_learner(to) || last_index(message) <= commit;
            let count = held.iter().take_while(|message| is_due(message)).count();
            leaving.extend(held.drain(..count).map(|message| (to, message)));
        }
        if is_released {
            for (to, held) in &mut self.held {
                leaving.extend(held.drain(..).map(|message| (*to, message)));
            }
        }
        self.held.retain(|_, held| !held.is_empty());
        leaving
    }
}

/// An append without entries that follows another says only what is committed: the other can say that.
fn add(held: &mut Vec<RaftMessage>, message: RaftMessage) {
    match held.last_mut() {
        Some(last)
            if message.entries.is_empty()
                && message.term == last.term
                && message.index == last_index(last) =>
        {
            last.commit = last.commit.max(message.commit);
            last.asks |= message.asks;
        }
        Some(_) | None => held.push(message),
    }
}

fn last_index(message: &RaftMessage) -> u64 {
    message.entries.last().map_or(message.index, |entry| entry.index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::wire::items::WireEntry;

    const VOTER: RaftId = 2;
    const LEARNER: RaftId = 9;

    /// An append of the entries after `previous` up to `last`.
    fn append(previous: u64, last: u64, commit: u64) -> RaftMessage {
        let entry = |index| WireEntry {
            term: 3,
            index,
            is_change: false,
            data: Default::default(),
            context: Default::default(),
        };
        RaftMessage {
            kind: RaftKind::Append,
            term: 3,
            log_term: 3,
            index: previous,
            commit,
            commit_term: 0,
            reject: false,
            reject_hint: 0,
            context: Default::default(),
            entries: (previous + 1..=last).map(entry).collect(),
            asks: false,
        }
    }

    fn hold(appends: &mut LearnerAppends, messages: &[(RaftId, RaftMessage)]) -> Vec<(RaftId, RaftMessage)> {
        appends.hold(messages.to_vec(), |to| to == LEARNER)
    }

    #[test]
    fn a_learner_receives_an_entry_with_its_commit_as_one_message() {
        let mut appends = LearnerAppends::default();
        let entry = append(10, 11, 10);
        let sent = [(VOTER, entry.clone()), (LEARNER, entry.clone())];
        assert_eq!(hold(&mut appends, &sent), [(VOTER, entry)]);
        let commit = append(11, 11, 11);
        let sent = [(VOTER, commit.clone()), (LEARNER, commit.clone())];
        assert_eq!(hold(&mut appends, &sent), [(VOTER, commit), (LEARNER, append(10, 11, 11))]);
        assert!(appends.is_empty());
    }

    #[test]
    fn the_next_append_carries_the_commit_of_the_one_before() {
        let mut appends = LearnerAppends::default();
        assert_eq!(hold(&mut appends, &[(LEARNER, append(10, 11, 10))]), []);
        assert_eq!(hold(&mut appends, &[(LEARNER, append(11, 12, 11))]), [(LEARNER, append(10, 11, 10))]);
        assert_eq!(hold(&mut appends, &[(LEARNER, append(12, 12, 12))]), [(LEARNER, append(11, 12, 12))]);
    }

    #[test]
    fn what_is_not_committed_waits_for_one_tick_at_most() {
        let mut appends = LearnerAppends::default();
        let sent = [(LEARNER, append(10, 11, 10)), (LEARNER, append(11, 12, 10))];
        assert_eq!(hold(&mut appends, &sent), []);
        appends.release();
        assert_eq!(hold(&mut appends, &[]), sent);
        assert!(appends.is_empty());
        assert_eq!(hold(&mut appends, &[(LEARNER, append(12, 13, 10))]), [], "the next one waits again");
    }

    #[test]
    fn committed_entries_and_other_messages_never_wait() {
        let mut appends = LearnerAppends::default();
        let heartbeat = RaftMessage { kind: RaftKind::Heartbeat, ..append(10, 10, 10) };
        let sent = [
            (LEARNER, append(3, 8, 10)),
            (LEARNER, append(8, 8, 10)),
            (LEARNER, heartbeat),
            (7, append(8, 12, 10)),
        ];
        assert_eq!(hold(&mut appends, &sent), sent);
    }

    #[test]
    fn a_learner_that_becomes_a_voter_receives_what_was_held_first() {
        let mut appends = LearnerAppends::default();
        assert_eq!(hold(&mut appends, &[(LEARNER, append(10, 11, 10))]), []);
        let leaving = appends.hold(vec![(LEARNER, append(11, 12, 10))], |_| false);
        assert_eq!(leaving, [(LEARNER, append(10, 11, 10)), (LEARNER, append(11, 12, 10))]);
    }
}
