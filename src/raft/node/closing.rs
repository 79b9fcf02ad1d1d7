//! Closes a node: its own calls end, leadership and vote go to others, and the node stops, at the latest when its
//! timeout is over.
//!
//! Part of `node.rs`.

use super::Node;
use crate::error::Error;
use crate::raft::events::Target;
use crate::raft::frame::Message;

/// The progress of closing.
#[derive(Debug)]
pub(super) struct Closing {
    /// This incarnation will not return, and gives up its membership.
    pub(super) leaves: bool,
    /// Its own calls have ended, or their share of the timeout is over.
    pub(super) is_settled: bool,
    ticks: u64,
    ticks_max: u64,
    /// The last write before this node could go: what rests on it may be the vote that its transfer target waits for.
    last_write: Option<u64>,
}

impl Node {
    pub(super) fn close(&mut self, ticks_max: u64, leaves: bool) {
        if self.closing.is_none() {
            self.closing = Some(Closing { leaves, is_settled: false, ticks: 0, ticks_max, last_write: None });
            self.send_closing();
        }
    }

    /// Counts a tick, and repeats the announcement, which may be lost.
    pub(super) fn tick_closing(&mut self) {
        let Some(closing) = &mut self.closing else { return };
        closing.ticks += 1;
        if closing.ticks.is_multiple_of(self.timing.heartbeat()) {
            self.send_closing();
        }
    }

    pub(super) fn send_closing(&mut self) {
        if self.replica.is_some()
            && let Some(word) = self.closing_message()
        {
            self.outbox.push(Target::All, word);
        }
    }

    /// The announcement to the others. The membership is given up only when that cannot lose a call of this node.
    pub(super) fn closing_message(&self) -> Option<Message> {
        let closing = self.closing.as_ref()?;
        Some(Message::Closing { leaves: closing.leaves && closing.is_settled })
    }

    pub(super) fn continue_closing(&mut self) {
        let Some(Closing { leaves, is_settled, ticks, ticks_max, .. }) = self.closing else { return };
        let is_over = ticks >= ticks_max;
        let has_leader = self.replica.as_ref().is_some_and(|replica| replica.leader().is_some());
        // Half of the time is for the calls, the rest for a way out that costs the others nothing.
        let has_ended = self.client_session.is_empty() && !self.has_operations();
        if !has_ended && has_leader && ticks < ticks_max / 2 {
            return;
        }
        if !is_settled && let Some(closing) = &mut self.closing {
            closing.is_settled = true;
            self.send_closing();
        }
        if !is_over && !self.has_nobody_to_leave_to() {
            let Some(replica) = &self.replica else { return self.finish_closing() };
            if replica.group.is_leader() {
                if let Some(closing) = &mut self.closing {
                    closing.last_write = None;
                }
                return self.transfer_leadership(None);
            }
            // Until the log, or the leader, says that this node is no member.
            if leaves {
                return;
            }
            let writes = self.writes;
            if let Some(closing) = &mut self.closing
                && !replica.group.is_saved(*closing.last_write.get_or_insert(writes))
            {
                return;
            }
        }
        self.finish_closing();
    }

    /// All other members are closing too, or there are none.
    fn has_nobody_to_leave_to(&self) -> bool {
        let Some(replica) = &self.replica else { return true };
        let me = self.bootstrap.me().raft_id();
        let absent_ticks = self.timing.election();
        replica.members.iter().filter(|(member, ..)| *member != me).all(|(member, ..)| {
            let is_transfer_target = replica.group.is_voter(member) || replica.group.is_leader();
            !is_transfer_target
                || replica.is_closing(member, absent_ticks)
                || replica.silent_ticks(member, me, 0) >= absent_ticks
        })
    }

    fn finish_closing(&mut self) {
        let pending = self.client_session.end_where(|_| true);
        self.settle_failed(pending, &Error::Closed);
        self.fail_operations(&Error::Closed);
        self.stop(None);
    }

    /// This leader was removed, and a quorum has applied that (thesis §4.2.2). The leader notifies other removed
    /// members: until a quorum has applied the removal, their votes may be needed.
    pub(super) fn notice_removal(&mut self) {
        let me = self.bootstrap.me();
        let removed = self.replica.as_ref().filter(|replica| {
            let is_behind = replica.are_members_behind(me.raft_id());
            injected_bug!(SurvivorTakesItselfForRemoved, is_behind => false);
            replica.group.is_leader()
                && !is_behind
                && !replica.members.contains(me)
                && replica.group.is_change_known()
        });
        if let Some(cluster_size) = removed.map(|replica| replica.members.cluster_size()) {
            self.flush();
            self.leave_cluster(cluster_size);
        }
    }

    /// This node was removed, according to the log or the leader.
    pub(super) fn leave_cluster(&mut self, cluster_size: usize) {
        if self.closing.is_some() {
            self.finish_closing();
        } else {
            self.bootstrap.start_over(cluster_size, "this node was removed from its cluster");
        }
    }
}
