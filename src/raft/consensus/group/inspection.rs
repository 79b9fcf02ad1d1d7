//! Prints the whole state of a group for the tests, which rely on it to predict the group's behavior. Not part of a
//! release.

use std::collections::BTreeMap;
use std::fmt;

use super::RaftGroup;

/// Equal text means equal behavior: hash maps are sorted, and the text contains all of raft-rs's state that a later
/// step reads. The private state of `RawNode` follows from it once no `Ready` is pending.
impl fmt::Debug for RaftGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let raft = &self.raw.raft;
        let log = &raft.raft_log;
        let state =
            (raft.state, raft.term, raft.vote, raft.leader_id, raft.lead_transferee, raft.promotable());
        let clocks =
            (raft.election_elapsed, raft.heartbeat_elapsed(), raft.randomized_election_timeout(), self.now);
        let pending = (raft.pending_conf_index, raft.pending_request_snapshot, raft.uncommitted_size());
        let peers: BTreeMap<_, _> = raft.prs().iter().collect();
        let votes: BTreeMap<_, _> = raft.prs().votes().iter().collect();
        let reads: BTreeMap<_, _> = raft
            .read_only
            .pending_read_index
            .iter()
            .map(|(context, read)| (context, (read.index, &read.req, read.acks.len(), sorted(&read.acks))))
            .collect();
        let conf = self.conf_state();
        f.debug_tuple("Group")
            .field(&(state, clocks, pending, &raft.read_states, &raft.msgs))
            .field(&(
                log.committed,
                log.persisted,
                log.applied,
                &log.unstable.entries,
                &log.unstable.snapshot,
            ))
            .field(&(self.log(), peers, votes, reads, &raft.read_only.read_index_queue, conf))
            .field(&(&self.rng, self.drawn_for, &self.unsaved, self.unsaved_bytes, &self.out, &self.receipts))
            .field(&(
                self.received,
                self.acknowledged,
                &self.committed,
                self.conf_index,
                &self.wants_snapshot,
            ))
            .field(&(self.taken_index, self.reduced_index, &self.installing, self.has_installed))
            .field(&(
                self.has_unsaved_commit,
                self.holds_committed_actions,
                &self.confirmed,
                self.read_context,
            ))
            .field(&(self.large_until, &self.append_flows, &self.pace, self.saved_commit, self.waiting_ticks))
            .finish()
    }
}

fn sorted<'a>(ids: impl IntoIterator<Item = &'a u64>) -> Vec<u64> {
    let mut ids: Vec<u64> = ids.into_iter().copied().collect();
    ids.sort_unstable();
    ids
}
