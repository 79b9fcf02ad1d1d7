//! Collects what a node has for others: messages, deliveries for JavaScript, writes.
//!
//! Parts of the core add to it, each kind in its order. Only `node.rs` hands it out, as work.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::Error;
use crate::raft::events::{Delivery, Target, Warning, Work, Write};
use crate::raft::identity::{ClusterUuid, Incarnation, RaftId};
use crate::raft::requests::in_pages;
use crate::raft::wire::frame::{Receivers, Started};
use crate::raft::wire::message::Message;
use crate::raft::wire::outbox::Outbox;

/// The approximate limit of a batch: it becomes one JavaScript string, whose length is limited, and is parsed at
/// once.
pub(super) const BATCH_BYTES_MAX: usize = 1 << 20;

#[cfg_attr(test, derive(Debug))]
#[derive(Default)]
pub(super) struct Output {
    work: VecDeque<Work>,
    outbox: Outbox,
    /// Deliveries that wait until the batch with JavaScript is answered. Bounded: roles and warnings come at the rate
    /// of elections and Discover messages, outcomes are limited by the calls that the façade admits.
    deliveries: Vec<Delivery>,
    /// The number of the last write that was ordered.
    writes: u64,
}

impl Output {
    pub(super) fn send(&mut self, target: Target, message: impl Into<Message>) {
        self.outbox.push(target.into(), message.into());
    }

    /// Sends a message to several members, as one frame.
    pub(super) fn send_shared(&mut self, members: Arc<[RaftId]>, message: Message) {
        self.outbox.push(Receivers::Several(members), message);
    }

    pub(super) fn deliver(&mut self, delivery: Delivery) {
        self.deliveries.push(delivery);
    }

    pub(super) fn warn(&mut self, warning: Warning) {
        self.deliveries.push(Delivery::Warning(warning));
    }

    /// Orders a write on which only later frames depend.
    pub(super) fn persist(&mut self, write: Write) {
        self.writes += 1;
        self.work.push_back(Work::Persist(self.writes, Box::new(write)));
    }

    pub(super) fn writes(&self) -> u64 {
        self.writes
    }

    pub(super) fn has_work(&self) -> bool {
        !self.work.is_empty()
    }

    pub(super) fn next_work(&mut self) -> Option<Work> {
        self.work.pop_front()
    }

    /// The node has another incarnation: drops the unsent messages of the former one.
    pub(super) fn join(&mut self, incarnation: Incarnation) {
        self.outbox.clear();
        self.work.push_back(Work::Join(incarnation));
    }

    /// Closes the frames: this incarnation sent the messages so far, in this cluster.
    pub(super) fn seal(&mut self, cluster: ClusterUuid, from: Incarnation, started: Option<Started>) {
        let frames = self.outbox.seal(cluster, from, started);
        self.work.extend(frames);
    }

    /// Hands a batch to JavaScript.
    pub(super) fn deliver_batch(&mut self, batch: Vec<Delivery>) {
        self.work.push_back(Work::Deliver(batch));
    }

    pub(super) fn pending_deliveries(&self) -> &[Delivery] {
        &self.deliveries
    }

    /// Moves the oldest pending deliveries to the batch, as much as it has room for.
    pub(super) fn fill(&mut self, batch: &mut Vec<Delivery>) {
        let mut bytes: usize = batch.iter().map(Delivery::payload_bytes).sum();
        let has_room = |delivery: &&Delivery| {
            let had_room = bytes < BATCH_BYTES_MAX;
            bytes += delivery.payload_bytes();
            had_room
        };
        let count = self.deliveries.iter().take_while(has_room).count();
        let rest = self.deliveries.split_off(count);
        batch.append(&mut std::mem::replace(&mut self.deliveries, rest));
    }

    /// Hands out all pending deliveries, in batches.
    pub(super) fn deliver_all(&mut self) {
        let deliveries = std::mem::take(&mut self.deliveries);
        let batches = in_pages(deliveries, BATCH_BYTES_MAX, Delivery::payload_bytes);
        self.work.extend(batches.into_iter().map(Work::Deliver));
    }

    pub(super) fn stop(&mut self, error: Option<Error>) {
        self.work.push_back(Work::Stop(error));
    }
}
