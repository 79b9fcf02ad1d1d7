//! This file lets the tests look into a node; nothing in a build that is shipped.

use super::Node;
use crate::raft::events::Delivery;
use crate::raft::frame::Ancestor;
use crate::raft::identity::Incarnation;
use crate::raft::transfer::Reception;

impl Node {
    /// What JavaScript has not been told yet.
    pub fn news(&self) -> impl Iterator<Item = &Delivery> {
        self.news.iter()
    }

    /// This leader has applied what it knows to be committed, but for a change that not enough others know of.
    pub fn only_awaits_knowledge(&self) -> bool {
        self.seat.as_ref().is_some_and(|seat| seat.group.voters_awaited().is_some())
    }

    /// The voters of the configuration, or of both halves of a joint one, and of the one that is to be applied next.
    pub fn voter_halves(&self) -> Vec<Vec<Incarnation>> {
        let Some(seat) = &self.seat else { return Vec::new() };
        let conf = seat.group.conf_state();
        let awaited = seat.group.voters_awaited().unwrap_or_default();
        let halves = [conf.voters, conf.voters_outgoing, awaited].into_iter().filter(|half| !half.is_empty());
        halves.map(|half| half.into_iter().filter_map(|id| seat.incarnation(id)).collect()).collect()
    }

    /// The transfers on their way to others.
    pub fn transfers(&self) -> Vec<u64> {
        let care = self.seat.as_ref().and_then(|seat| seat.care.as_ref());
        care.map_or(Vec::new(), |care| care.transfers.values().map(|transfer| transfer.number).collect())
    }

    /// Which transfer arrives, and how much of it is here.
    pub fn reception(&self) -> Option<(u64, u64)> {
        self.reception.as_ref().map(Reception::progress)
    }

    /// Whether the node with this id, as a survivor, promised this one to take no more part.
    pub fn was_promised_by(&self, id: &str) -> bool {
        self.seat
            .as_ref()
            .is_some_and(|seat| seat.registry.named(id).any(|member| self.loss.is_promised_by(member)))
    }

    /// Whether the log is put aside of a cluster whose successor this node waits for.
    pub fn has_former_log(&self) -> bool {
        self.former.is_some()
    }

    /// What this node's cluster was called before it was recovered, oldest first.
    pub fn ancestors(&self) -> Vec<Ancestor> {
        self.membership.ancestors().to_vec()
    }

    pub fn log(&self) -> Option<&crate::raft::log::Log> {
        self.seat.as_ref().map(|seat| seat.group.log())
    }
}
