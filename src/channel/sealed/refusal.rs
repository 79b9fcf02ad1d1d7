//! Why a frame, or a connection, is refused.

/// Why a frame was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// This node has a secret, and the frame is not sealed.
    Unsealed,
    /// The frame is sealed, and this node has no secret.
    Sealed,
    /// It is sealed with a secret that this node does not have.
    UnknownKey,
    /// It is not what a node with the secret sealed.
    Forged,
    /// It was accepted before, or is too old to know, or is this node's own.
    Replayed,
    /// It was sealed for another node.
    Misdirected,
    Malformed,
    /// It was sealed by another version of conflux.
    OtherVersion,
}

impl Refusal {
    pub const ALL: [Self; 8] = [
        Self::Unsealed,
        Self::Sealed,
        Self::UnknownKey,
        Self::Forged,
        Self::Replayed,
        Self::Misdirected,
        Self::Malformed,
        Self::OtherVersion,
    ];

    /// Whether the two nodes cannot meet because of their secrets.
    pub(super) fn is_mismatch(self) -> bool {
        matches!(self, Self::Unsealed | Self::Sealed | Self::UnknownKey)
    }

    /// Whether it must be reported. The others happen on a channel that repeats frames, or are harmless.
    pub(super) fn is_reported(self) -> bool {
        self.is_mismatch() || self == Self::Forged
    }
}
