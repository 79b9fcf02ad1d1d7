//! Identifiers: a start of a node ([`Incarnation`]), its number in Raft ([`RaftId`]), and the cluster that a roster of
//! incarnations founded ([`ClusterUuid`]).

use std::fmt;

use rand_chacha::{ChaCha8Rng, rand_core::RngCore};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One start of a node. A node that starts without a stored log is a new incarnation, and so a new member to Raft: a
/// raft id that returned with an empty log would have forgotten its votes (paper §5.2, thesis §11.7.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(Uuid);

/// The number by which raft-rs knows an incarnation: 63 bits of it, never 0 (raft-rs's "no node").
pub type RaftId = u64;

impl Incarnation {
    /// Draws a new incarnation: 122 random bits, so that no two are the same.
    pub fn draw(rng: &mut ChaCha8Rng) -> Self {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    pub fn from_u128(number: u128) -> Self {
        Self(Uuid::from_u128(number))
    }

    /// The incarnation is random already, so its low bits are as good a hash as any.
    pub fn raft_id(self) -> RaftId {
        (self.0.as_u64_pair().1 & (u64::MAX >> 1)).max(1)
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One start of a process with a stored log. Copies of a directory have the same incarnation, and each its own starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Start {
    pub number: u64,
    /// Drawn again by each process.
    pub nonce: u64,
}

impl Start {
    pub fn is_same(self, other: Self) -> bool {
        self.nonce == other.nonce
    }
}

/// The name of a cluster: the hash of the roster that founded it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterUuid(Uuid);

impl ClusterUuid {
    /// No cluster: in frames of nodes that have not founded or joined one.
    pub const NONE: Self = Self(Uuid::nil());

    const NAMESPACE: Uuid = Uuid::from_u128(0x636f_6e66_6c75_7820_726f_7374_6572_2e31);

    /// Hashes what identifies a founding: its incarnations in their order.
    pub fn of_roster(incarnations: impl Iterator<Item = Incarnation>) -> Self {
        let bytes: Vec<u8> = incarnations.flat_map(|incarnation| *incarnation.as_bytes()).collect();
        Self(Uuid::new_v5(&Self::NAMESPACE, &bytes))
    }

    /// The name of a cluster that continues, from one survivor's log, after its quorum was lost.
    pub fn of_epoch(former: Self, survivor: Incarnation) -> Self {
        let bytes = [former.0.as_bytes().as_slice(), survivor.as_bytes()].concat();
        Self(Uuid::new_v5(&Self::NAMESPACE, &bytes))
    }

    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

impl fmt::Display for ClusterUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ClusterUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
