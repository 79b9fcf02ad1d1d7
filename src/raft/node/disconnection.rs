//! Expects an election when the connection to the leader has ended.
//!
//! An election timeout is a guess from silence (paper §5.2). A process that ends closes its connections, which shows
//! the same at once. But the connection alone may have ended, or have been replaced. Then the pre-vote of a single node
//! fails (thesis §9.6), and the next heartbeat of the leader restores the usual timeout.

use super::replica::Replica;
use crate::raft::Incarnation;

pub(super) fn handle(replica: &mut Replica, peer: Incarnation) {
    let leader = replica.group.leader().and_then(|leader| replica.incarnation(leader));
    if leader == Some(peer) {
        replica.group.expect_election();
    }
}
