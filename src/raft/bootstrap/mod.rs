//! Discovers other nodes, founds or joins a cluster, and resolves conflicts between clusters.
//!
//! Embedded in the node of the core, which passes it ticks, messages and the [`Facts`] about the Raft group, and
//! executes its [`Event`]s. It must never touch raft-rs, and decides nothing inside a cluster: the leader and the
//! commit index reach it only as facts.
//!
//! The map: `state_machine` moves a node from phase to phase; `phase` lists the phases; `peers` remembers the nodes
//! that sent Discover; `conflict` decides between two clusters. The parts of the state machine: `founding` founds a
//! cluster with peers; `applications` separates two applications; `succession` decides between a cluster and its
//! recovered successor; `note` detects a cluster that is founded where another one ended; `messages` builds messages
//! and warnings.
//!
//! Safety: an incarnation accepts at most one roster, and a cluster exists only if all N members of its roster accepted
//! it. Therefore two clusters never share an incarnation, and no quorum of one can count for the other. Liveness: a
//! node that gets stuck becomes a new incarnation, which is a crash for Raft, and may accept again.

mod conflict;
mod peers;
mod phase;
mod state_machine;

#[cfg(test)]
pub mod simulation;
#[cfg(test)]
mod tests;

pub use phase::Phase;
pub use state_machine::{Bootstrap, Note};

use super::events::{Target, Warning};
use super::identity::{ClusterUuid, Incarnation};
use super::wire::message::{BootstrapMessage, Roster};
use crate::error::Error;

/// The node's present knowledge of its channel and its Raft group (without a group, those facts are false).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// This node leads its group.
    pub is_leader: bool,
    /// The index of the last applied change of the members.
    pub members_index: u64,
    /// A leader of the present term is known, as far as this node can know with check-quorum on.
    pub has_leader: bool,
    /// An entry beyond the founding snapshot is committed here: this cluster has had a leader with a quorum.
    pub has_seen_commit: bool,
    /// The log holds an action, committed or not. Such a node never starts over: the action may be acknowledged.
    pub holds_actions: bool,
    /// An action is committed here, so that a quorum of the cluster holds it and will not dissolve.
    pub holds_committed_actions: bool,
    /// This node is closing.
    pub is_closing: bool,
    /// There may be a cluster from which this node receives nothing yet.
    pub cluster_was_found: bool,
    /// The channel works. It is independent of a group. While it is false, the bootstrap counts no ticks, because
    /// silence then means nothing.
    pub channel_is_healthy: bool,
}

impl Facts {
    /// A channel that works, and no raft group.
    pub const ALONE: Self = Self {
        is_leader: false,
        members_index: 0,
        has_leader: false,
        has_seen_commit: false,
        holds_actions: false,
        holds_committed_actions: false,
        is_closing: false,
        cluster_was_found: false,
        channel_is_healthy: true,
    };
}

/// What the node must do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Join the channel under this incarnation, leaving it under the former one.
    Join(Incarnation),
    /// Send this message in a frame of the present cluster.
    Send(Target, BootstrapMessage),
    /// The cluster of this roster exists: build its raft group. `campaign`: start an election at once; true for the
    /// lowest node of the roster, so that the others need not wait for an election timeout.
    Founded { roster: Roster, campaign: bool },
    /// This node is a new incarnation, and belongs to no cluster: drop the raft group, if there is one. A `Join`
    /// follows. Whether that is worth a `Warning::StartingOver` is the node's choice.
    NewIncarnation { why: String },
    /// The cluster of this node has a successor, whose log has what was committed up to `kept`: it has ended.
    Superseded { by: Incarnation, successor: ClusterUuid, kept: u64 },
    /// This node is a new incarnation and waits until the successor of its cluster admits it: put the raft group aside,
    /// and drop it after the admission. Until now this node was `former`. A `Join` follows.
    LeftForSuccessor { former: Incarnation },
    /// The successor is silent: this node becomes its former incarnation again, with the raft group that was put aside.
    /// A `Join` follows.
    ReturnedToFormer,
    /// Information for an operator.
    Warn(Warning),
    /// This node has failed; nothing follows.
    Fail(Error),
}
