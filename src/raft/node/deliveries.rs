//! This file makes the batches for JavaScript: news, then committed actions, then what it is to evaluate.

use raft_rs::eraftpb::Entry;

use super::Node;
use crate::raft::entry::Request;
use crate::raft::events::{Delivery, Work};
use crate::raft::requests::Effect;

/// A delivery of committed actions is about this large at most, so that JavaScript is never blocked for long.
const BATCH_BYTES_MAX: usize = 1 << 20;
const BATCH_ENTRIES_MAX: usize = 4_096;

impl Node {
    /// Hands JavaScript the next batch, if the last one is answered: news, then committed actions, then, only if no
    /// committed action is left to see first, what it is to evaluate.
    pub(super) fn deliver(&mut self) {
        if self.is_delivering {
            return;
        }
        let mut batch = std::mem::take(&mut self.news);
        self.apply_committed(&mut batch);
        self.evaluate(&mut batch);
        batch.append(&mut self.news);
        if batch.is_empty() {
            if let Some(seat) = &mut self.seat
                && seat.applied_index < seat.delivered_index
            {
                // Only the starts of terms: nothing that JavaScript must see.
                seat.applied_index = seat.delivered_index;
                seat.group.applied(seat.applied_index);
            }
            return;
        }
        self.is_delivering = true;
        self.work.push_back(Work::Deliver(batch));
    }

    pub(super) fn apply_committed(&mut self, batch: &mut Vec<Delivery>) {
        let (mut bytes, mut entries) = (0, 0);
        while bytes < BATCH_BYTES_MAX && entries < BATCH_ENTRIES_MAX {
            let Some(entry) = self.seat.as_mut().and_then(|seat| seat.group.next_committed()) else { return };
            bytes += entry.data.len();
            entries += 1;
            self.apply(entry, batch);
        }
    }

    /// Applies one committed entry. What it changes is decided here, by the log alone, so that every node decides alike.
    pub(super) fn apply(&mut self, entry: Entry, batch: &mut Vec<Delivery>) {
        let me = self.membership.me().raft_id();
        let Some(seat) = &mut self.seat else { return };
        assert!(
            entry.index == seat.delivered_index + 1,
            "applying index {} after {}",
            entry.index,
            seat.delivered_index
        );
        seat.delivered_index = entry.index;
        if entry.data.is_empty() {
            if let Some(leadership) =
                seat.leadership.as_mut().filter(|leadership| leadership.term() == entry.term)
            {
                leadership.open();
            }
            return;
        }
        let is_provisional =
            seat.leadership.as_mut().is_some_and(|leadership| leadership.takes_provisional(entry.index));
        let request = Request::decode(&entry.context);
        let effect = request.as_ref().map_or(Effect::Ignored, |request| seat.table.apply(request));
        match (effect, request) {
            (Effect::Applied, Some(request)) => {
                let is_ours = request.id.origin == me && request.id.start == self.origin.start();
                let own = Some(request.id.sequence)
                    .filter(|sequence| is_ours && self.origin.end(*sequence).is_some());
                if is_ours {
                    for (sequence, outcome) in request.observed {
                        self.settle_observed(sequence, outcome);
                    }
                }
                batch.push(Delivery::Committed {
                    index: entry.index,
                    own,
                    is_provisional,
                    action: entry.data,
                });
            }
            (Effect::Applied | Effect::Ignored, _) => {
                if is_provisional && let Some(leadership) = &mut seat.leadership {
                    // JavaScript's provisional states rest on an action that changes nothing.
                    leadership.drop_provisional(seat.group.last_index());
                    batch.push(Delivery::ResetProvisional);
                }
            }
        }
    }

    pub(super) fn evaluate(&mut self, batch: &mut Vec<Delivery>) {
        let Some(seat) = &mut self.seat else { return };
        if seat.group.has_committed() || !seat.group.accepts_proposals() {
            return;
        }
        let Some(leadership) = &mut seat.leadership else { return };
        let term = leadership.term();
        let (evaluations, told) = leadership.take_evaluations(seat.delivered_index, &seat.table);
        batch.extend(
            evaluations
                .into_iter()
                .map(|evaluation| Delivery::Evaluate { method: evaluation.method, args: evaluation.args }),
        );
        self.send_outcomes(term, told);
    }
}
