//! Encodes what is stored, each value under its own checksum.
//!
//! Called by `database.rs`. A checksum covers the value and the place it belongs to, so that a value at another's place
//! is noticed like a flipped bit. The bytes are a format that later versions must read: the tests hold them.

use protobuf::Message;
use raft_rs::eraftpb::{Entry, HardState};
use serde::{Deserialize, Serialize};

use crate::raft::{ClusterUuid, Incarnation, Position, RecoveryVote, ReplicaRecord, Start};

/// Rises with every change that an older version could not read.
pub const FORMAT: u32 = 1;

const CHECKSUM_BYTES: usize = 4;

/// Where a value belongs.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    Format,
    Head,
    /// An entry of the log, by its index.
    Entry(u64),
    /// A part of the snapshot at this position: without it, a part of an older snapshot would pass.
    Part(u64, Position),
    /// The id of the node that the file belongs to.
    Node,
    /// The starts with this file.
    Starts,
}

impl Place {
    fn checksum(self, content: &[u8]) -> u32 {
        let (kind, numbers) = match self {
            Place::Format => (0, [0; 3]),
            Place::Head => (1, [0; 3]),
            Place::Entry(index) => (2, [index, 0, 0]),
            Place::Part(number, Position { index, term }) => (3, [number, index, term]),
            Place::Node => (4, [0; 3]),
            Place::Starts => (5, [0; 3]),
        };
        let place = numbers
            .iter()
            .fold(crc32c::crc32c(&[kind]), |sum, number| crc32c::crc32c_append(sum, &number.to_le_bytes()));
        crc32c::crc32c_append(place, content)
    }
}

/// `checksum (4, little endian) | content`.
pub fn seal(place: Place, content: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(CHECKSUM_BYTES + content.len());
    value.extend_from_slice(&place.checksum(content).to_le_bytes());
    value.extend_from_slice(content);
    value
}

/// The content of a value; `None` if it is not what was sealed for this place.
pub fn open(place: Place, value: &[u8]) -> Option<&[u8]> {
    let (checksum, content) = value.split_first_chunk::<CHECKSUM_BYTES>()?;
    (u32::from_le_bytes(*checksum) == place.checksum(content)).then_some(content)
}

/// Everything that is stored, except for the entries and the bytes of the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub replica: ReplicaRecord,
    pub start: u64,
    pub compacted: Position,
    pub snapshot: Position,
    pub snapshot_bytes: u64,
    pub term: u64,
    pub vote: u64,
    pub commit: u64,
}

/// As it is written, in postcard.
#[derive(Serialize, Deserialize)]
struct HeadFields {
    incarnation: Incarnation,
    cluster: ClusterUuid,
    start: u64,
    compacted: (u64, u64),
    snapshot: (u64, u64),
    snapshot_bytes: u64,
    term: u64,
    vote: u64,
    commit: u64,
    /// The survivor, and the cluster as which it may continue.
    recovery_vote: Option<(Incarnation, ClusterUuid)>,
}

impl Head {
    /// Of a replica in which nothing has happened yet.
    pub fn new(replica: ReplicaRecord, start: u64) -> Self {
        let nowhere = Position::default();
        Self {
            replica,
            start,
            compacted: nowhere,
            snapshot: nowhere,
            snapshot_bytes: 0,
            term: 0,
            vote: 0,
            commit: 0,
        }
    }

    pub fn set_hard_state(&mut self, hard_state: &HardState) {
        let HardState { term, vote, commit, .. } = *hard_state;
        (self.term, self.vote, self.commit) = (term, vote, commit);
    }

    pub fn hard_state(&self) -> HardState {
        HardState { term: self.term, vote: self.vote, commit: self.commit, ..HardState::default() }
    }

    pub fn encode(&self) -> Vec<u8> {
        let fields = HeadFields {
            incarnation: self.replica.incarnation,
            cluster: self.replica.cluster,
            start: self.start,
            compacted: (self.compacted.index, self.compacted.term),
            snapshot: (self.snapshot.index, self.snapshot.term),
            snapshot_bytes: self.snapshot_bytes,
            term: self.term,
            vote: self.vote,
            commit: self.commit,
            recovery_vote: self
                .replica
                .recovery_vote
                .map(|recovery_vote| (recovery_vote.survivor, recovery_vote.cluster)),
        };
        postcard::to_allocvec(&fields).expect("a head is plain data: encoding it cannot fail")
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let fields: HeadFields = postcard::from_bytes(bytes).ok()?;
        let position = |(index, term)| Position { index, term };
        Some(Self {
            replica: ReplicaRecord {
                incarnation: fields.incarnation,
                cluster: fields.cluster,
                recovery_vote: fields
                    .recovery_vote
                    .map(|(survivor, cluster)| RecoveryVote { survivor, cluster }),
            },
            start: fields.start,
            compacted: position(fields.compacted),
            snapshot: position(fields.snapshot),
            snapshot_bytes: fields.snapshot_bytes,
            term: fields.term,
            vote: fields.vote,
            commit: fields.commit,
        })
    }
}

/// Only the newest starts are kept, at most this many.
const STARTS_MAX: usize = 256;

/// Adds the present start to those that are kept.
pub fn note_start(starts: &mut Vec<Start>, start: Start) {
    starts.retain(|former| !former.is_same(start));
    starts.push(start);
    starts.drain(..starts.len().saturating_sub(STARTS_MAX));
}

pub fn encode_starts(starts: &[Start]) -> Vec<u8> {
    postcard::to_allocvec(starts).expect("starts are plain data: encoding them cannot fail")
}

pub fn decode_starts(bytes: &[u8]) -> Option<Vec<Start>> {
    postcard::from_bytes(bytes).ok()
}

pub fn encode_entry(entry: &Entry) -> Vec<u8> {
    entry.write_to_bytes().expect("an entry is plain data: encoding it cannot fail")
}

pub fn decode_entry(bytes: &[u8]) -> Option<Entry> {
    Entry::parse_from_bytes(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head() -> Head {
        Head {
            replica: ReplicaRecord {
                incarnation: Incarnation::from_u128(0x0102_0304),
                cluster: ClusterUuid::of_roster([Incarnation::from_u128(7)].into_iter()),
                recovery_vote: Some(RecoveryVote {
                    survivor: Incarnation::from_u128(9),
                    cluster: ClusterUuid::NONE,
                }),
            },
            start: 3,
            compacted: Position { index: 90, term: 4 },
            snapshot: Position { index: 100, term: 5 },
            snapshot_bytes: 1_234_567,
            term: 6,
            vote: u64::MAX >> 1,
            commit: 120,
        }
    }

    fn entry() -> Entry {
        Entry { index: 101, term: 5, data: "\"x\"".into(), context: "id".into(), ..Entry::default() }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What a disk holds outlives the program that wrote it: a change here needs a new `FORMAT`.
    #[test]
    fn the_bytes_of_format_1_do_not_change() {
        assert_eq!(FORMAT, 1);
        assert_eq!(hex(&seal(Place::Format, &FORMAT.to_le_bytes())), "8078bb9601000000");
        assert_eq!(
            hex(&seal(Place::Head, &head().encode())),
            "cad93c4a100000000000000000000000000102030410917ed80c019353e1b485c64b05d53667035a04640587ad4b06ffffffffffffffff7f780110000000000000000000000000000000091000000000000000000000000000000000"
        );
        assert_eq!(
            hex(&seal(Place::Entry(101), &encode_entry(&entry()))),
            "fbd6e23210051865220322782232026964"
        );
        assert_eq!(
            hex(&seal(Place::Part(2, Position { index: 100, term: 5 }), b"state")),
            "f08488307374617465"
        );
    }

    #[test]
    fn the_newest_starts_are_kept() {
        let mut starts = Vec::new();
        let start = |number| Start { number, nonce: number };
        (1..=300).for_each(|number| note_start(&mut starts, start(number)));
        note_start(&mut starts, Start { number: 301, nonce: 300 });
        assert_eq!(starts.len(), STARTS_MAX);
        assert_eq!((starts[0], starts[255]), (start(45), Start { number: 301, nonce: 300 }));
        assert_eq!(decode_starts(&encode_starts(&starts)), Some(starts));
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        assert_eq!(Head::decode(&head().encode()), Some(head()));
        assert_eq!(decode_entry(&encode_entry(&entry())), Some(entry()));
    }

    #[test]
    fn a_value_is_known_at_its_own_place_only() {
        let (here, there) = (Position { index: 100, term: 5 }, Position { index: 100, term: 6 });
        let places = [
            Place::Format,
            Place::Head,
            Place::Entry(1),
            Place::Entry(2),
            Place::Part(1, here),
            Place::Part(2, here),
            Place::Part(1, there),
            Place::Node,
            Place::Starts,
        ];
        for (number, place) in places.into_iter().enumerate() {
            let value = seal(place, b"content");
            for (other_number, other) in places.into_iter().enumerate() {
                assert_eq!(open(other, &value).is_some(), number == other_number, "{place:?} at {other:?}");
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let value = seal(Place::Head, &head().encode());
        for bit in 0..8 * value.len() {
            let mut flipped = value.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(Place::Head, &flipped), None, "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = open(Place::Head, &bytes);
            let _ = Head::decode(&bytes);
            let _ = decode_entry(&bytes);
            let _ = decode_starts(&bytes);
        }
    }
}
