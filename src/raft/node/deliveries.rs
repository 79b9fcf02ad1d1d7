//! This file makes the batches for JavaScript: news, then committed actions, then what it is to evaluate.

use raft_rs::eraftpb::{Entry, EntryType};

use super::Node;
use crate::raft::entry::Context;
use crate::raft::events::{Delivery, Settlement, Work};
use crate::raft::identity::RaftId;
use crate::raft::requests::Effect;

/// A batch is about this large at most: it becomes one string of JavaScript's, which must be short enough for one, and is
/// parsed in one go.
pub(super) const BATCH_BYTES_MAX: usize = 1 << 20;
const BATCH_ENTRIES_MAX: usize = 4_096;

impl Node {
    /// Hands JavaScript the next batch, if the last one is answered: news, then committed actions, then, only if no
    /// committed action is left to see first, what it is to evaluate.
    pub(super) fn deliver(&mut self) {
        if self.delivering.is_some() {
            return;
        }
        let mut batch = Vec::new();
        self.take_news(&mut batch);
        // What happened first is told first, and the rest of it fills the next batch.
        if self.news.is_empty() {
            self.apply_committed(&mut batch);
            self.tell_replayed(&mut batch);
            self.settle_decided();
            self.take_snapshot(&mut batch);
            self.evaluate(&mut batch);
            self.take_news(&mut batch);
        }
        let Some(seat) = &mut self.seat else {
            if !batch.is_empty() {
                self.delivering = Some(0);
                self.note_batch(&batch);
                self.work.push_back(Work::Deliver(batch));
            }
            return;
        };
        if batch.is_empty() {
            // Only what JavaScript need not see.
            seat.reduced(seat.delivered_index);
            return;
        }
        let until = seat.delivered_index;
        self.delivering = Some(until);
        self.note_batch(&batch);
        self.note_own(&batch, until);
        self.work.push_back(Work::Deliver(batch));
    }

    /// Adds the oldest news to the batch, as much as it has room for.
    fn take_news(&mut self, batch: &mut Vec<Delivery>) {
        let mut bytes: usize = batch.iter().map(payload_bytes).sum();
        let has_room = |delivery: &&Delivery| {
            let had_room = bytes < BATCH_BYTES_MAX;
            bytes += payload_bytes(delivery);
            had_room
        };
        let count = self.news.iter().take_while(has_room).count();
        let rest = self.news.split_off(count);
        batch.append(&mut std::mem::replace(&mut self.news, rest));
    }

    fn apply_committed(&mut self, batch: &mut Vec<Delivery>) {
        let (mut bytes, mut entries) = (batch.iter().map(payload_bytes).sum::<usize>(), 0);
        while bytes < BATCH_BYTES_MAX && entries < BATCH_ENTRIES_MAX {
            let Some(entry) = self.seat.as_mut().and_then(|seat| seat.group.next_committed()) else { return };
            bytes += entry.data.len();
            entries += 1;
            self.apply(entry, batch);
        }
    }

    /// Applies one committed entry. What it changes is decided here, by the log alone, so that every node decides alike.
    fn apply(&mut self, entry: Entry, batch: &mut Vec<Delivery>) {
        let Some(seat) = &mut self.seat else { return };
        assert!(
            entry.index == seat.delivered_index + 1,
            "applying index {} after {}",
            entry.index,
            seat.delivered_index
        );
        seat.delivered_index = entry.index;
        if entry.entry_type != EntryType::EntryNormal {
            return self.apply_change(&entry);
        }
        let context = Context::decode(&entry.context);
        if !entry.data.is_empty() {
            return self.apply_action(entry, context, batch);
        }
        match context {
            None => {
                let leadership = seat.leadership.as_mut();
                if let Some(leadership) = leadership.filter(|leadership| leadership.term() == entry.term) {
                    leadership.open();
                }
            }
            Some(Context::Resize { cluster_size, after }) => {
                seat.registry.resize(cluster_size, after, entry.index);
                self.membership.resized(seat.registry.cluster_size());
            }
            Some(Context::Check) => {
                if self.options.compares_states && !seat.fence.is_fenced() {
                    batch.push(Delivery::Hash { index: entry.index });
                }
            }
            Some(Context::Epoch { cluster, survivor, id, missing, kept }) => {
                self.apply_epoch(entry.index, cluster, survivor, id, missing, kept);
            }
            Some(Context::Observed { origin, start, observed }) => {
                let is_ours = origin == self.membership.me().raft_id() && start == self.origin.start();
                if seat.table.observe(origin, start, &observed) && is_ours {
                    for (sequence, outcome) in observed {
                        self.settle_observed(sequence, outcome);
                    }
                }
            }
            Some(Context::Started { starts }) => self.apply_started(starts),
            // A request without an action is nobody's.
            Some(Context::Request(_)) => {}
        }
    }

    fn apply_action(&mut self, entry: Entry, context: Option<Context>, batch: &mut Vec<Delivery>) {
        let me = self.membership.me().raft_id();
        let Some(seat) = &mut self.seat else { return };
        let is_provisional =
            seat.leadership.as_mut().is_some_and(|leadership| leadership.takes_provisional(entry.index));
        let applied = match context {
            Some(Context::Request(request)) => match seat.table.apply(&request, &entry.data) {
                Effect::Applied => Some(request),
                Effect::Ignored => None,
            },
            Some(
                Context::Resize { .. }
                | Context::Check
                | Context::Epoch { .. }
                | Context::Observed { .. }
                | Context::Started { .. },
            )
            | None => None,
        };
        let Some(request) = applied else {
            seat.history.ignore(entry.index, seat.group.log().compacted().index);
            if is_provisional && let Some(leadership) = &mut seat.leadership {
                // JavaScript's provisional states rest on an action that changes nothing.
                leadership.drop_provisional(seat.group.last_index());
                batch.push(Delivery::ResetProvisional);
            }
            return;
        };
        seat.last_action = entry.index;
        seat.snapshots.note_action(entry.data.len() + entry.context.len());
        let is_ours = request.id.origin == me && request.id.start == self.origin.start();
        let own =
            Some(request.id.sequence).filter(|sequence| is_ours && self.origin.end(*sequence).is_some());
        let is_fenced = seat.fence.is_fenced();
        if is_ours {
            for (sequence, outcome) in request.observed {
                self.settle_observed(sequence, outcome);
            }
        }
        if !is_fenced {
            self.is_pristine = false;
            batch.push(Delivery::Committed { index: entry.index, own, is_provisional, action: entry.data });
        }
    }

    /// A node that came back has reduced all that it can have reduced before: the rest of its log, or what a leader that
    /// was elected since has put in its place.
    fn tell_replayed(&mut self, batch: &mut Vec<Delivery>) {
        let Some(seat) = &mut self.seat else {
            if std::mem::take(&mut self.is_replaying) {
                batch.push(Delivery::Replayed);
            }
            return;
        };
        let delivered = seat.delivered_index;
        let is_replayed = seat.replays_until.is_none_or(|until| {
            delivered >= until.index
                || seat.group.log().term_at(delivered).is_some_and(|term| term > until.term)
        });
        if is_replayed && std::mem::take(&mut self.is_replaying) {
            seat.replays_until = None;
            batch.push(Delivery::Replayed);
        }
    }

    fn evaluate(&mut self, batch: &mut Vec<Delivery>) {
        let Some(seat) = &mut self.seat else { return };
        if seat.group.has_committed() || !seat.group.accepts_proposals() || seat.fence.is_fenced() {
            return;
        }
        let going: Vec<RaftId> = seat
            .leadership
            .iter()
            .flat_map(|leadership| leadership.origins())
            .filter(|origin| seat.goes(*origin))
            .collect();
        let Some(leadership) = &mut seat.leadership else { return };
        leadership.forget(&going);
        let term = leadership.term();
        let (evaluations, told) = leadership.take_evaluations(seat.delivered_index, &seat.table);
        if leadership.attempts() > 0 {
            batch.push(Delivery::ReportProgress);
        }
        batch.extend(
            evaluations
                .into_iter()
                .map(|evaluation| Delivery::Evaluate { method: evaluation.method, args: evaluation.args }),
        );
        self.send_outcomes(term, told);
    }
}

/// What others determine the size of. Of a state only its place is in the text.
pub(in crate::raft) fn payload_bytes(delivery: &Delivery) -> usize {
    match delivery {
        Delivery::Committed { own: Some(_), action, .. } => 2 * action.len(),
        Delivery::Committed { own: None, action, .. } => action.len(),
        Delivery::Settled {
            settlement: Settlement::Refused(payload) | Settlement::Done(payload), ..
        } => payload.len(),
        Delivery::Evaluate { args, .. } => args.len(),
        Delivery::Settled { settlement: Settlement::Nothing | Settlement::Failed { .. }, .. }
        | Delivery::Role { .. }
        | Delivery::ResetProvisional
        | Delivery::TakeSnapshot
        | Delivery::Restore { .. }
        | Delivery::Hash { .. }
        | Delivery::Wake
        | Delivery::ReportProgress
        | Delivery::CaughtUp(_)
        | Delivery::Replayed
        | Delivery::Asked { .. }
        | Delivery::Fenced(_)
        | Delivery::Healed
        | Delivery::Warning(_) => 0,
    }
}
