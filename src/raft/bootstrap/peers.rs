//! Remembers the nodes whose `Discover` was received, and which of them can found a cluster.
//!
//! Called by the state machine. It must never send anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::raft::application::Application;
use crate::raft::identity::Incarnation;

/// The limit of remembered nodes, so that a crowded channel cannot fill the memory.
const HEARD_MAX: usize = 1_024;

/// The nodes with our cluster size that sent something recently.
///
/// Invariant: an entry older than `near` is never reported.
#[derive(Debug)]
pub(super) struct Peers {
    heard: BTreeMap<Incarnation, PeerEntry>,
    rival_heard_at: Option<u64>,
    /// How long a Discover counts for founding, and how long its sender counts as a newcomer; in ticks.
    fresh: u64,
    near: u64,
}

#[derive(Debug)]
struct PeerEntry {
    id: Arc<str>,
    /// Unknown for a node that was received only with an Accept.
    application: Application,
    at: u64,
    /// It has accepted a roster, so it can accept no other. A late Discover does not change that.
    has_accepted: bool,
}

impl Peers {
    pub fn new(fresh: u64, near: u64) -> Self {
        Self { heard: BTreeMap::new(), rival_heard_at: None, fresh, near }
    }

    /// The possible founders, including this node. If two incarnations have one id, neither counts: one of them is dead
    /// or about to be refused, and a roster with it would fail.
    pub fn candidates(&self, me: Incarnation, my_id: &Arc<str>, now: u64) -> BTreeMap<Incarnation, Arc<str>> {
        let mut incarnations = BTreeMap::from([(my_id, Some(me))]);
        for (incarnation, heard) in &self.heard {
            if self.is_fresh(heard, now) && !heard.has_accepted {
                incarnations.entry(&heard.id).and_modify(|twin| *twin = None).or_insert(Some(*incarnation));
            }
        }
        let unambiguous =
            incarnations.into_iter().filter_map(|(id, incarnation)| Some((incarnation?, id.clone())));
        unambiguous.collect()
    }

    /// Notes a Discover. True if its sender was unknown: then it may not know this node either.
    pub fn note_discover(
        &mut self,
        from: Incarnation,
        id: &Arc<str>,
        application: &Application,
        now: u64,
    ) -> bool {
        let was_fresh = self.heard.get(&from).is_some_and(|heard| self.is_fresh(heard, now));
        self.note(from, id, now);
        if let Some(heard) = self.heard.get_mut(&from) {
            heard.application = application.clone();
        }
        !was_fresh
    }

    pub fn application(&self, incarnation: Incarnation) -> Option<&Application> {
        self.heard.get(&incarnation).map(|heard| &heard.application)
    }

    /// Notes that a node accepted a roster; `is_rival` if this node is not in it.
    pub fn note_acceptance(&mut self, from: Incarnation, id: &Arc<str>, is_rival: bool, now: u64) {
        if is_rival {
            self.rival_heard_at = Some(now);
        }
        self.note(from, id, now);
        if let Some(heard) = self.heard.get_mut(&from) {
            heard.has_accepted = true;
        }
    }

    /// Others are founding a cluster without us.
    pub fn has_recent_rivals(&self, now: u64) -> bool {
        self.rival_heard_at.is_some_and(|at| now - at <= self.fresh)
    }

    /// The ids of recent Discovers and our own, sorted.
    pub fn ids(&self, my_id: &Arc<str>, now: u64) -> Vec<Arc<str>> {
        let heard = self.heard.values().filter(|heard| self.is_fresh(heard, now)).map(|heard| &heard.id);
        let ids: BTreeSet<&Arc<str>> = heard.chain([my_id]).collect();
        ids.into_iter().cloned().collect()
    }

    /// The number of other nodes without a cluster, now or shortly before.
    pub fn newcomers(&self, my_id: &Arc<str>, now: u64) -> usize {
        let near = self.heard.values().filter(|heard| now - heard.at <= self.near).map(|heard| &heard.id);
        let ids: BTreeSet<&Arc<str>> = near.filter(|id| *id != my_id).collect();
        ids.len()
    }

    fn note(&mut self, from: Incarnation, id: &Arc<str>, now: u64) {
        if let Some(heard) = self.heard.get_mut(&from) {
            heard.at = now;
            return;
        }
        self.heard.retain(|_, heard| now - heard.at <= self.near);
        if self.heard.len() < HEARD_MAX {
            self.heard.insert(
                from,
                PeerEntry {
                    id: id.clone(),
                    application: Application::default(),
                    at: now,
                    has_accepted: false,
                },
            );
        }
    }

    fn is_fresh(&self, heard: &PeerEntry, now: u64) -> bool {
        now - heard.at <= self.fresh
    }
}
