//! What a leader does about timers: it evaluates those that are due, and notifies JavaScript of the next time.
//!
//! JavaScript has the clock (`lib/clock.js`): it reports when that time has come (`Input::TimersDue`).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::replica::Replica;
use crate::raft::consensus::entry::Context;
use crate::raft::consensus::log::Log;
use crate::raft::coordination::{SystemAction, TimerChange, TimerFiring};
use crate::raft::events::{Delivery, DueTimer};

/// The limit per batch; JavaScript evaluates as many as its time allows.
const BATCH_TIMERS_MAX: usize = 512;
const BATCH_BYTES_MAX: usize = 256 << 10;

/// The timers to evaluate in this batch, and, behind `may_evaluate`, the next time if JavaScript does not know it.
pub(super) fn due(replica: &mut Replica, may_evaluate: bool, batch: &mut Vec<Delivery>) -> Vec<SystemAction> {
    let Some(leader_state) = &mut replica.leader_state else { return Vec::new() };
    let (sessions, watch) = (&mut leader_state.sessions, &mut leader_state.timers);
    let timers = &replica.coordination.timers;
    if timers.count() == 0 && watch.reported.is_none() || !sessions.is_open() {
        return Vec::new();
    }
    let takes_turn = may_evaluate && sessions.timers_have_turn();
    // If the log is about to change a timer, its evaluation would have no effect, nor would the later evaluations.
    let pending = match timers.next_due() {
        Some(due) if due <= watch.at => pending(replica.group.log(), replica.delivered_index),
        Some(_) | None => BTreeSet::new(),
    };
    // Without this limit, the only member of a cluster would fire forever.
    injected_bug!(FiresTwice, pending => match replica.group.log().last_index() - replica.delivered_index {
        0..3 => BTreeSet::new(),
        _ => pending,
    });
    let mut firings = Vec::new();
    let mut next = None;
    let mut bytes = 0;
    let waiting = timers
        .by_due()
        .filter(|(_, name, timer)| !pending.contains(*name) && !sessions.is_stalled(name, timer.number));
    for (due, name, timer) in waiting {
        if due > watch.at {
            next = Some(due);
            break;
        }
        if !takes_turn || firings.len() == BATCH_TIMERS_MAX || bytes >= BATCH_BYTES_MAX {
            break;
        }
        bytes += timer.args.len() + timer.rule.len();
        let due_timer = DueTimer {
            name: name.clone(),
            due,
            method: timer.method.clone(),
            args: timer.args.clone(),
            rule: timer.rule.clone(),
        };
        batch.push(Delivery::EvaluateTimer(Box::new(due_timer)));
        let firing = TimerFiring { name: name.clone(), number: timer.number, due, next: None };
        firings.push(SystemAction::TimerFired(firing));
    }
    if next.is_some() && next != watch.reported {
        watch.reported = next;
        batch.push(Delivery::NextTimer { due: next });
    } else if next.is_none() && firings.is_empty() && timers.count() == 0 && watch.reported.take().is_some() {
        batch.push(Delivery::NextTimer { due: None });
    }
    firings
}

/// The timers that fire or change by an entry that is appended and not applied.
fn pending(log: &Log, delivered_index: u64) -> BTreeSet<Arc<str>> {
    let mut names = BTreeSet::new();
    for entry in log.entries_from(delivered_index + 1) {
        let Some((context, stamp)) = Context::decode_stamped(&entry.context) else { continue };
        if let Context::System(SystemAction::TimerFired(firing)) = context {
            names.insert(firing.name);
        }
        names.extend(stamp.timers.into_iter().map(|change| match change {
            TimerChange::Set { name, .. } | TimerChange::Remove { name } => name,
        }));
    }
    names
}

/// How many timers there may be, and the bytes that they take, once what is appended is applied.
pub(super) fn expected(replica: &Replica) -> (usize, usize) {
    let timers = &replica.coordination.timers;
    let appended = replica.group.log().entries_from(replica.delivered_index + 1);
    let changes = appended
        .filter_map(|entry| Context::decode_stamped(&entry.context))
        .flat_map(|(_, stamp)| stamp.timers);
    let sets = changes.filter(|change| matches!(change, TimerChange::Set { .. }));
    sets.fold((timers.count(), timers.bytes()), |(count, bytes), set| (count + 1, bytes + set.bytes()))
}

impl Replica {
    /// Applies what an entry that counts does to the timers.
    pub(super) fn change_timers(&mut self, changes: Vec<TimerChange>) {
        changes.into_iter().for_each(|change| self.coordination.timers.apply(change));
    }
}
