//! The leader's own actions on their way into the log.
//!
//! Used only by `leader_sessions.rs`. JavaScript evaluates them with the requests, so that the provisional states are
//! those of everything that is appended. They are not repeated: what is not appended, the leader decides anew, and after
//! a loss of leadership the next leader does.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::raft::coordination::SystemAction;
use crate::raft::entry::Context;
use crate::raft::events::MethodResult;

/// The leader's own actions of one term.
#[derive(Debug, Default)]
pub(super) struct SystemActions {
    /// With JavaScript, before the requests of the same batch.
    evaluating: Vec<SystemAction>,
    /// Appended and not applied, with their indexes.
    appended: VecDeque<(u64, SystemAction)>,
}

impl SystemActions {
    pub(super) fn is_evaluating(&self) -> bool {
        !self.evaluating.is_empty()
    }

    pub(super) fn evaluating(&self) -> &[SystemAction] {
        &self.evaluating
    }

    pub(super) fn evaluate(&mut self, actions: Vec<SystemAction>) {
        self.evaluating = actions;
    }

    pub(super) fn drop_evaluating(&mut self) {
        self.evaluating.clear();
    }

    /// Takes the answers to the leader's own actions out of `answers`, and returns what was evaluated, with an entry
    /// for each, which carries the time `at`. If the reducer threw, the entry has no action: what the log decides must not depend on a reducer.
    pub(super) fn take_evaluated(
        &mut self,
        answers: &mut Vec<MethodResult>,
        at: u64,
    ) -> (Vec<SystemAction>, Vec<(Vec<u8>, Bytes)>) {
        let mut evaluated = std::mem::take(&mut self.evaluating);
        evaluated.truncate(answers.len());
        let answers = answers.drain(..evaluated.len());
        let entries = evaluated.iter().zip(answers).map(|(action, answer)| {
            let data = match answer {
                MethodResult::Action(data) => data,
                MethodResult::Nothing | MethodResult::Refused(_) | MethodResult::Unknown(_) => Bytes::new(),
            };
            (Context::System(action.clone()).encode_at(at), data)
        });
        let entries = entries.collect();
        (evaluated, entries)
    }

    /// Their entries are the first ones from `first_index` on.
    pub(super) fn appended(&mut self, actions: Vec<SystemAction>, first_index: u64) {
        self.appended.extend((first_index..).zip(actions));
    }

    pub(super) fn applied(&mut self, index: u64) {
        while self.appended.front().is_some_and(|(appended, _)| *appended <= index) {
            self.appended.pop_front();
        }
    }

    pub(super) fn pending(&self) -> impl Iterator<Item = &SystemAction> {
        self.appended.iter().map(|(_, action)| action)
    }
}
