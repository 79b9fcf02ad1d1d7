//! The leader's own actions on their way into the log.
//!
//! Used only by `leader_sessions.rs`. JavaScript evaluates them with the requests, so that the provisional states are
//! those of everything that is appended. They are not repeated: if one is not appended, the leader decides anew, or the
//! next leader.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::raft::consensus::entry::{Context, Stamp};
use crate::raft::coordination::{SystemAction, TimerFiring};
use crate::raft::events::{Effects, MethodResult};

/// The leader's own actions of one term.
#[derive(Debug, Default)]
pub(super) struct SystemActions {
    /// In evaluation, before the requests of the same batch.
    evaluating: Vec<SystemAction>,
    /// Appended and not applied, with their indexes.
    appended: VecDeque<(u64, SystemAction)>,
    /// JavaScript stopped before it had evaluated all of them.
    is_cut: bool,
    /// Timers whose method this leader lacks: another leader may have it. At most as many as there are timers.
    stalled: BTreeSet<(Arc<str>, u64)>,
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
    /// for each, which carries the time `at`. If the reducer threw, the entry has no action: decisions of the log must
    /// not depend on a reducer.
    pub(super) fn take_evaluated(
        &mut self,
        answers: &mut Vec<MethodResult>,
        at: u64,
    ) -> (Vec<SystemAction>, Vec<(Bytes, Bytes)>) {
        let mut evaluated = std::mem::take(&mut self.evaluating);
        self.is_cut = answers.len() < evaluated.len();
        evaluated.truncate(answers.len());
        let answers: Vec<MethodResult> = answers.drain(..evaluated.len()).collect();
        evaluated
            .into_iter()
            .zip(answers)
            .filter_map(|(action, answer)| self.entry(action, answer, at))
            .unzip()
    }

    /// The action as it was decided, and its entry; none for a timer that this leader cannot evaluate.
    fn entry(
        &mut self,
        action: SystemAction,
        answer: MethodResult,
        at: u64,
    ) -> Option<(SystemAction, (Bytes, Bytes))> {
        let (action, effects) = match (action, answer) {
            (SystemAction::TimerFired(firing), MethodResult::Effects(effects)) => {
                (SystemAction::TimerFired(TimerFiring { next: effects.next, ..firing }), *effects)
            }
            // An earlier one of this batch has changed it.
            (SystemAction::TimerFired(_), MethodResult::Nothing) => return None,
            (SystemAction::TimerFired(firing), _) => {
                self.stalled.insert((firing.name, firing.number));
                return None;
            }
            (action, MethodResult::Action(data)) => {
                (action, Effects { action: Some(data), ..Effects::default() })
            }
            (action, _) => (action, Effects::default()),
        };
        let stamp = Stamp { at, timers: effects.changes };
        let context = Context::System(action.clone()).append_stamped_to(Vec::new(), &stamp);
        Some((action, (context.into(), effects.action.unwrap_or_default())))
    }

    /// Whether JavaScript had no time for some of the last ones; true once.
    pub(super) fn take_cut(&mut self) -> bool {
        std::mem::take(&mut self.is_cut)
    }

    pub(super) fn is_stalled(&self, timer: &str, number: u64) -> bool {
        !self.stalled.is_empty() && self.stalled.contains(&(timer.into(), number))
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
