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
use crate::raft::wire::items::WireEntry;
use crate::raft::wire::message::RaftMessage;

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
        let log = self.raw.store();
        let is_large = |entry: &&Entry| log::size(entry) > APPEND_BYTES_MAX;
        let last = log.entries_from(log.compacted().index + 1).rev().find(is_large);
        self.large_until = last.map_or(0, |entry| entry.index);
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

#[cfg(test)]
mod tests {
    use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

    use super::*;
    use crate::raft::Incarnation;
    use crate::raft::consensus::entry::FOUNDING_TERM;
    use crate::raft::consensus::log::Log;
    use crate::raft::options::Options;
    use crate::raft::snapshot::Snapshot;
    use crate::raft::wire::message::Roster;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, ..Entry::default() }
    }

    /// One of three founders; its log has these entries.
    fn group(entries: &[Entry]) -> RaftGroup {
        let founders = [1, 2, 3].map(|number| (Incarnation::from_u128(number), "any".into()));
        let snapshot = Snapshot::found(&Roster(founders.to_vec()));
        let mut log = Log::start(&snapshot, snapshot.encode(), FOUNDING_TERM);
        log.append(entries.to_vec());
        let options = Options::new("any", 3, [0; 32]);
        RaftGroup::new(log, 1, &options, &mut ChaCha8Rng::from_seed([0; 32]))
    }

    /// With the term of an earlier entry, a peer that has another entry there could take it for this one.
    #[test]
    fn an_append_names_the_index_and_the_term_of_the_entry_before_its_first_one() {
        let group = group(&[entry(2, 2), entry(3, 2), entry(4, 3), entry(5, 3)]);
        let names = |index: u64, log_term: u64, entries: Vec<Entry>| {
            let mut message = Message { index, log_term, ..Message::default() };
            message.set_entries(entries.into());
            let message = group.naming_what_it_follows(message)?;
            Some((message.index, message.log_term))
        };
        assert_eq!(names(2, 2, vec![]), Some((2, 2)));
        assert_eq!(names(3, 2, vec![entry(4, 3), entry(5, 3)]), Some((3, 2)));
        assert_eq!(names(2, 2, vec![entry(5, 3)]), Some((4, 3)));
    }

    #[test]
    fn a_peer_that_has_all_large_entries_may_have_many_appends_in_flight() {
        let mut group = group(&[]);
        let mut appends_max = |large_until: u64, matched: u64| {
            group.large_until = large_until;
            group.raw.raft.mut_prs().get_mut(2).expect("it founded").matched = matched;
            group.appends_max(2)
        };
        assert_eq!(appends_max(0, 0), Some(APPENDS_MAX), "there are none");
        assert_eq!(appends_max(5, 4), Some(LARGE_APPENDS_MAX));
        assert_eq!(appends_max(5, 5), Some(APPENDS_MAX));
    }

    #[test]
    fn a_leader_bounds_its_windows_for_the_large_entries_of_earlier_leaders() {
        let large = Entry { data: vec![b'1'; 2 * APPEND_BYTES_MAX as usize].into(), ..entry(2, 2) };
        let mut group = group(&[large, entry(3, 2)]);
        group.begin_windows();
        assert_eq!(group.appends_max(2), Some(LARGE_APPENDS_MAX));
        let in_flight = &mut group.raw.raft.mut_prs().get_mut(2).expect("it founded").ins;
        for index in 1..=LARGE_APPENDS_MAX as u64 {
            assert!(!in_flight.full(), "{index}");
            in_flight.add(index);
        }
        assert!(in_flight.full());
    }
}
