//! The clear header of a sealed frame.
//!
//! | bytes | field |
//! |---|---|
//! | 2 | magic: `cs` for a frame, `ca` for an announcement, `cn` for a note |
//! | 1 | version of this format |
//! | 8 | fingerprint of the key |
//! | 8 | fingerprint of the first key of the sender's ring: every frame to it may be sealed with that one |
//! | 16 | incarnation of the sender |
//! | 16 | incarnation of the receiver; zero: all |
//! | 16 | boot of the sender's link |
//! | 8 | counter, big-endian: the nonce |
//!
//! The ciphertext and its tag follow. The whole header is associated data: no byte of it can be altered.

use crate::raft::{Incarnation, Target};

/// Distinguishes the links of a sender: random, so that no two ever have the same.
pub(super) type Boot = [u8; 16];

/// Names a key without revealing it.
pub(super) type Fingerprint = [u8; 8];

pub(super) const HEADER_BYTES: usize = 75;

const VERSION: u8 = 1;

/// What is sealed. Each kind has its own magic, so that one is never taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Frame,
    /// Of another key: it is empty, and only its header counts.
    Announcement,
    Note,
}

impl Kind {
    fn magic(self) -> &'static [u8; 2] {
        match self {
            Kind::Frame => b"cs",
            Kind::Announcement => b"ca",
            Kind::Note => b"cn",
        }
    }

    /// What travels; anything else is taken for a frame that is not sealed.
    pub(super) fn of(bytes: &[u8]) -> Self {
        if Kind::Announcement.begins(bytes) { Kind::Announcement } else { Kind::Frame }
    }

    /// Whether these bytes are sealed, and of this kind, if they are anything of conflux.
    pub(super) fn begins(self, bytes: &[u8]) -> bool {
        bytes.starts_with(self.magic())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) fingerprint: Fingerprint,
    pub(super) first: Fingerprint,
    pub(super) from: Incarnation,
    pub(super) to: Target,
    pub(super) boot: Boot,
    pub(super) counter: u64,
}

/// Why bytes have no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderFault {
    OtherKind,
    OtherVersion,
    Cut,
}

impl Header {
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        let to = match self.to {
            Target::All => [0; 16],
            Target::One(incarnation) => *incarnation.as_bytes(),
        };
        bytes.extend_from_slice(self.kind.magic());
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.fingerprint);
        bytes.extend_from_slice(&self.first);
        bytes.extend_from_slice(self.from.as_bytes());
        bytes.extend_from_slice(&to);
        bytes.extend_from_slice(&self.boot);
        bytes.extend_from_slice(&self.counter.to_be_bytes());
    }

    pub(super) fn read(kind: Kind, bytes: &[u8]) -> Result<Self, HeaderFault> {
        if !kind.begins(bytes) {
            return Err(HeaderFault::OtherKind);
        }
        if bytes.get(2).is_some_and(|version| *version != VERSION) {
            return Err(HeaderFault::OtherVersion);
        }
        let mut rest = bytes.get(3..HEADER_BYTES).ok_or(HeaderFault::Cut)?;
        let fingerprint = take(&mut rest);
        let first = take(&mut rest);
        let from = incarnation(take(&mut rest));
        let to = take(&mut rest);
        let to = if to == [0; 16] { Target::All } else { Target::One(incarnation(to)) };
        let boot = take(&mut rest);
        let counter = u64::from_be_bytes(take(&mut rest));
        Ok(Self { kind, fingerprint, first, from, to, boot, counter })
    }
}

/// The next bytes. The length of a header is checked before.
fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (taken, left) = rest.split_first_chunk().expect("a header has all of its fields");
    *rest = left;
    *taken
}

fn incarnation(bytes: [u8; 16]) -> Incarnation {
    Incarnation::from_u128(u128::from_be_bytes(bytes))
}
