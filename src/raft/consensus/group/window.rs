//! Limits the bytes of unacknowledged appends to a peer.
//!
//! Part of `group.rs`. raft-rs counts messages (`max_inflight_msgs`), but one entry may be much larger than an append
//! of several. An overloaded channel drops the frames that Raft needs next, or is disconnected: Redis does so to a
//! subscriber that is 32 MB behind.

use raft_rs::eraftpb::{Entry, Message};

use super::{APPEND_BYTES_MAX, RaftGroup};
use crate::raft::consensus::log;
use crate::raft::identity::RaftId;
use crate::raft::requests::in_pages;
use crate::raft::wire::message::{RaftMessage, WireEntry};

/// Appends in flight to one peer: 8 MiB of them.
pub const APPENDS_MAX: usize = 32;
/// The same while each append may contain an entry of the largest size: an action, and the outcomes recorded with it.
const LARGE_APPENDS_MAX: usize = 6;
const LARGE_BYTES_MAX: usize = 1_400 << 10;
/// The limit for all peers together.
const LEAVING_BYTES_MAX: usize = 48 << 20;

/// Cuts an append into parts of about [`APPEND_BYTES_MAX`]: raft-rs puts all that it has for a peer in one turn into
/// one message (`batch_append`), of any size.
pub fn in_parts(message: RaftMessage) -> Vec<RaftMessage> {
    let size = |entry: &WireEntry| entry.data.len() + entry.context.len();
    if message.entries.iter().map(size).sum::<usize>() <= APPEND_BYTES_MAX as usize {
        return vec![message];
    }
    let mut before = (message.index, message.log_term);
    let pages = in_pages(message.entries, APPEND_BYTES_MAX as usize, size).into_iter();
    let parts = pages.map(|entries| {
        let (index, log_term) = before;
        let last = entries.last().expect("a page has an entry");
        before = (last.index, last.term);
        RaftMessage { index, log_term, entries, context: message.context.clone(), ..message }
    });
    parts.collect()
}

impl RaftGroup {
    /// The append with the entry before its first one as its position; none if this node no longer has that entry.
    ///
    /// raft-rs adds entries to a waiting empty append to the same peer, which may have a later position
    /// (`try_batching`). No peer accepts such an append.
    pub(super) fn naming_what_it_follows(&self, mut message: Message) -> Option<Message> {
        if let Some(first) = message.entries.first().filter(|first| first.index != message.index + 1) {
            message.index = first.index - 1;
            message.log_term = self.raw.raft.raft_log.term(message.index).ok()?;
        }
        Some(message)
    }

    /// Up to where a member has acknowledged the log to this leader.
    pub fn acknowledged(&self, id: RaftId) -> u64 {
        self.raw.raft.prs().get(id).map_or(0, |progress| progress.matched)
    }

    /// This node becomes leader.
    pub(super) fn begin_windows(&mut self) {
        self.append_flows.clear();
        self.learners_answered_at.clear();
        let large = self.raw.store().entries_from(0).rev().find(|entry| log::size(entry) > APPEND_BYTES_MAX);
        self.large_until = large.map_or(0, |entry| entry.index);
        self.bound_windows();
    }

    /// These are about to be appended by this leader.
    pub(super) fn note_large(&mut self, entries: &[Entry]) {
        if entries.iter().any(|entry| log::size(entry) > APPEND_BYTES_MAX) {
            self.large_until = self.last_index() + entries.len() as u64;
            self.bound_windows();
        }
    }

    /// A peer has answered: if it has all large entries, it may have more appends in flight.
    pub(super) fn widen_window(&mut self, peer: RaftId) {
        if self.large_until > 0 {
            self.bound_window(peer);
        }
    }

    pub(super) fn bound_windows(&mut self) {
        let peers: Vec<RaftId> = self.raw.raft.prs().iter().map(|(id, _)| *id).collect();
        peers.into_iter().for_each(|peer| self.bound_window(peer));
    }

    fn bound_window(&mut self, peer: RaftId) {
        if let Some(appends) = self.appends_max(peer) {
            self.raw.raft.adjust_max_inflight_msgs(peer, appends);
        }
    }

    /// How many appends may be in flight to a member.
    pub(super) fn appends_max(&self, peer: RaftId) -> Option<usize> {
        let members = self.raw.raft.prs();
        let peers = members.iter().len().max(2) - 1;
        let progress = members.get(peer)?;
        let (appends_max, bytes) = if progress.matched >= self.large_until {
            (APPENDS_MAX, APPEND_BYTES_MAX as usize)
        } else {
            (LARGE_APPENDS_MAX, LARGE_BYTES_MAX)
        };
        let appends = (LEAVING_BYTES_MAX / (peers * bytes)).clamp(2, appends_max);
        injected_bug!(SendsWithoutWindow, appends => 256);
        Some(appends)
    }
}
