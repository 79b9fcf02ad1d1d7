//! Expects an election where the connection to the leader has ended.
//!
//! An election timeout is a guess from silence (paper §5.2). A process that ends closes its connections, which says the
//! same at once. It may be wrong: the connection alone may have ended, or been replaced. Then a pre-vote of a node that
//! is alone with its opinion fails (thesis §9.6), and the next heartbeat of the leader restores the usual timeout.

use super::replica::Replica;
use crate::raft::Incarnation;

pub(super) fn handle(replica: &mut Replica, peer: Incarnation) {
    let leader = replica.group.leader().and_then(|leader| replica.incarnation(leader));
    if leader == Some(peer) {
        replica.group.expect_election();
    }
}
