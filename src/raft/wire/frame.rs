//! The frame that a node sends to others in one turn, and its encoding.
//!
//! A frame is `magic (2) | version (1) | checksum (4, little endian) | length of the header (2, little endian) | header |
//! messages`; header and messages are in postcard. The checksum is the CRC32C of the messages, followed by the length and
//! the header: so a leader encodes and checksums what it sends to all followers once, although each frame names its
//! receivers. Decoding accepts any bytes: what is no frame of ours is an error, never a panic.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::message::Message;
use crate::raft::events::Target;
use crate::raft::identity::{ClusterUuid, Incarnation, RaftId, Start};

/// The version of the protocol that this build speaks.
pub const VERSION: u8 = 1;

const MAGIC: [u8; 2] = *b"cx";
const PREFIX_BYTES: usize = 7;
const LENGTH_BYTES: usize = 2;

/// More receivers than this have several frames, so that the length of a header fits.
pub const RECEIVERS_MAX: usize = 1_024;

/// What one node sends to another, or to all, in one turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// The sender's cluster; [`ClusterUuid::NONE`] while it has none.
    pub cluster: ClusterUuid,
    pub from: Incarnation,
    /// `None`: the sender has no storage, so there is no other process of its incarnation.
    pub start: Option<Started>,
    pub to: Receivers,
    pub messages: Vec<Message>,
}

/// The nodes that a frame is meant for. All other nodes ignore it, even if their channel delivers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Receivers {
    All,
    One(Incarnation),
    /// Several members at once. It travels to all.
    Several(Arc<[RaftId]>),
}

impl From<Target> for Receivers {
    fn from(target: Target) -> Self {
        match target {
            Target::All => Self::All,
            Target::One(incarnation) => Self::One(incarnation),
        }
    }
}

impl Receivers {
    pub fn include(&self, me: Incarnation) -> bool {
        match self {
            Self::All => true,
            Self::One(incarnation) => *incarnation == me,
            Self::Several(members) => members.contains(&me.raft_id()),
        }
    }

    /// The target of the frame for the channel.
    pub fn target(&self) -> Target {
        match self {
            Self::One(incarnation) => Target::One(*incarnation),
            Self::All | Self::Several(_) => Target::All,
        }
    }
}

/// The messages of a frame, encoded: the same bytes for every receiver.
pub struct EncodedMessages {
    bytes: Vec<u8>,
    checksum: u32,
}

/// The start of a sender, and the one that its directory knew before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    pub start: Start,
    pub former: Option<Start>,
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Not a frame of conflux, or damaged in flight.
    NoFrame,
    /// A frame of another version of the protocol.
    OtherVersion(u8),
}

impl EncodedMessages {
    /// `bytes` is about how many they take.
    pub fn new(messages: &[Message], bytes: usize) -> Self {
        let bytes = encode(messages, Vec::with_capacity(bytes));
        Self { checksum: crc32c::crc32c(&bytes), bytes }
    }
}

impl Frame {
    /// A frame of messages that are encoded already.
    pub fn of(
        cluster: ClusterUuid,
        from: Incarnation,
        start: Option<Started>,
        to: &Receivers,
        messages: &EncodedMessages,
    ) -> Bytes {
        const RECEIVER_BYTES_MAX: usize = 10;
        let receivers = if let Receivers::Several(members) = to { members.len() } else { 0 };
        let header_bytes = 128 + receivers * RECEIVER_BYTES_MAX;
        let mut bytes = Vec::with_capacity(PREFIX_BYTES + LENGTH_BYTES + header_bytes + messages.bytes.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.push(VERSION);
        bytes.extend_from_slice(&[0; 4 + LENGTH_BYTES]);
        let mut bytes = encode(&(cluster, from, start, to), bytes);
        let length = bytes.len() - PREFIX_BYTES - LENGTH_BYTES;
        let length = u16::try_from(length).expect("a frame has at most `RECEIVERS_MAX` receivers");
        bytes[PREFIX_BYTES..][..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
        let checksum = crc32c::crc32c_append(messages.checksum, &bytes[PREFIX_BYTES..]);
        bytes[3..PREFIX_BYTES].copy_from_slice(&checksum.to_le_bytes());
        bytes.extend_from_slice(&messages.bytes);
        bytes.into()
    }

    pub fn encode(&self) -> Bytes {
        let messages = EncodedMessages::new(&self.messages, 128);
        Self::of(self.cluster, self.from, self.start, &self.to, &messages)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::decode_if(bytes, |_| true).map(|frame| frame.expect("every frame is wanted"))
    }

    /// Decodes a frame if its receivers are accepted; `None` if not. A frame for other nodes costs little.
    pub fn decode_if(
        bytes: &[u8],
        accepts: impl FnOnce(&Receivers) -> bool,
    ) -> Result<Option<Self>, Malformed> {
        let Some((prefix, rest)) = bytes.split_at_checked(PREFIX_BYTES) else {
            return Err(Malformed::NoFrame);
        };
        if prefix[..2] != MAGIC {
            return Err(Malformed::NoFrame);
        }
        if prefix[2] != VERSION {
            return Err(Malformed::OtherVersion(prefix[2]));
        }
        let length = rest.first_chunk().map_or(0, |length| usize::from(u16::from_le_bytes(*length)));
        let Some((header, messages)) = rest.split_at_checked(LENGTH_BYTES + length) else {
            return Err(Malformed::NoFrame);
        };
        // Damage may change the receivers: then the frame is lost, like any damaged frame.
        let (cluster, from, start, to) = decode(&header[LENGTH_BYTES..])?;
        if !accepts(&to) {
            return Ok(None);
        }
        if prefix[3..] != crc32c::crc32c_append(crc32c::crc32c(messages), header).to_le_bytes() {
            return Err(Malformed::NoFrame);
        }
        Ok(Some(Self { cluster, from, start, to, messages: decode(messages)? }))
    }
}

fn encode(value: &(impl Serialize + ?Sized), bytes: Vec<u8>) -> Vec<u8> {
    postcard::to_extend(value, bytes).expect("a frame is plain data: encoding it cannot fail")
}

/// All of the bytes.
fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Malformed> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok(_) | Err(_) => Err(Malformed::NoFrame),
    }
}
