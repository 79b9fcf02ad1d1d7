//! Exposes the disk's decoders to the targets in `fuzz/`. Not part of a release.

use redb::StorageBackend;
use redb::backends::InMemoryBackend;

use super::header::Guarded;
use super::record::{self, Head, Place};
use crate::raft::Position;

/// A value of the database; also under a right checksum, which no fuzzer finds.
pub fn record(bytes: &[u8]) {
    let nowhere = Position::default();
    for place in [Place::Format, Place::Head, Place::Entry(7), Place::Part(1, nowhere)] {
        let _ = record::open(place, bytes);
        assert_eq!(record::open(place, &record::seal(place, bytes)), Some(bytes));
    }
    if let Some(head) = Head::decode(bytes) {
        assert_eq!(Head::decode(&head.encode()), Some(head));
    }
    if let Some(entry) = record::decode_entry(bytes) {
        assert_eq!(record::decode_entry(&record::encode_entry(&entry)), Some(entry));
    }
}

/// The head of the file, before redb sees it.
pub fn header(bytes: &[u8]) {
    let file = InMemoryBackend::new();
    file.set_len(bytes.len() as u64).expect("memory takes it");
    file.write(0, bytes).expect("memory takes it");
    let _ = Guarded::check(Box::new(file)).expect("memory is read");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::raft::ReplicaRecord;
    use crate::raft::{ClusterUuid, Incarnation};

    proptest! {
        #[test]
        fn no_bytes_make_a_decoder_of_the_disk_panic(
            bytes in any::<Vec<u8>>(),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            record(&bytes);
            header(&bytes);
            let replica = ReplicaRecord::new(Incarnation::from_u128(1), ClusterUuid::NONE);
            let entry = raft_rs::eraftpb::Entry { index: 1, term: 1, data: bytes.into(), ..Default::default() };
            for mut value in [Head::new(replica, 1).encode(), record::encode_entry(&entry), b"redb\x1A\x0A\xA9\x0D\x0A\x04\xfb".to_vec()] {
                let at = at.index(value.len());
                value[at] = byte;
                record(&value);
                header(&value);
            }
        }
    }
}
