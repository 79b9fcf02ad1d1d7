//! Delays a leader's commit updates so that they travel with its next append.
//!
//! An application that calls, waits and calls again would otherwise wake every follower twice per
//! action: by the entry, and by its commit update. Therefore the commit updates for this node's own actions wait until
//! JavaScript, which receives the commit at the same time, has finished its turn. They wait for nothing else, and for
//! one tick at most.

use std::collections::BTreeMap;

use crate::raft::events::Delivery;
use crate::raft::identity::RaftId;
use crate::raft::wire::message::{RaftKind, RaftMessage};

/// With more than this in a batch, JavaScript's turn is long, and the commit update gets its own frame.
const ACTIONS_MAX: usize = 16;

/// Delayed commit updates.
#[derive(Debug, Default)]
pub(super) struct CommitPiggyback {
    /// Committed actions up to here are this node's own, and are with JavaScript.
    own_until: u64,
    /// By peer: an append without entries.
    held: BTreeMap<RaftId, RaftMessage>,
}

impl CommitPiggyback {
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// A batch with everything up to this index is delivered to JavaScript.
    pub(super) fn note_batch(&mut self, batch: &[Delivery], until: u64) {
        let mut actions = batch.iter().filter_map(|delivery| match delivery {
            Delivery::Committed { own, .. } => Some(own.is_some()),
            _ => None,
        });
        let Some(is_own) = actions.next() else { return };
        let is_waiting = is_own && batch.len() <= ACTIONS_MAX && actions.all(|is_own| is_own);
        self.own_until = if is_waiting { until } else { 0 };
    }

    /// JavaScript has finished its turn, or a tick has passed: sends the delayed commit updates.
    pub(super) fn release(&mut self) {
        self.own_until = 0;
    }

    /// The messages of a leader that leave now, including delayed ones.
    pub(super) fn hold(&mut self, messages: Vec<(RaftId, RaftMessage)>) -> Vec<(RaftId, RaftMessage)> {
        let Self { own_until, held } = self;
        if *own_until == 0 && held.is_empty() {
            return messages;
        }
        let mut leaving = Vec::with_capacity(messages.len());
        for (to, message) in messages {
            if message.kind == RaftKind::Append {
                // The later one contains everything of the earlier one.
                held.remove(&to);
                if message.entries.is_empty() && message.commit <= *own_until {
                    held.insert(to, message);
                    continue;
                }
            }
            if message.kind == RaftKind::TimeoutNow {
                // The next leader should know what is committed.
                *own_until = 0;
            }
            leaving.push((to, message));
        }
        if *own_until == 0 {
            // First: a `TimeoutNow` may be among the others.
            leaving.splice(0..0, std::mem::take(held));
        }
        leaving
    }
}
