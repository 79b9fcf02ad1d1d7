//! This file sends a snapshot's image in chunks, and puts it together again.
//!
//! Called by `node/snapshots.rs`. Few chunks are on their way at a time, so that no channel's buffer overflows however
//! large the state is (Redis drops a reader that is far behind), and each is sent again until it is acknowledged.

use bytes::{Bytes, BytesMut};

use super::frame::Chunk;
use super::identity::Incarnation;
use super::snapshot::Snapshot;

const CHUNK_BYTES: usize = 256 << 10;
/// So many chunks may be unacknowledged.
const WINDOW_CHUNKS: usize = 4;
/// An image beyond this is not one of ours: no JavaScript string is as long.
const IMAGE_BYTES_MAX: u64 = 2 << 30;

/// A snapshot on its way to a member.
#[derive(Debug)]
pub struct Transfer {
    pub receiver: Incarnation,
    /// raft-rs wished it, and waits to be told of its end.
    pub is_reported: bool,
    number: u64,
    term: u64,
    heals: bool,
    image: Bytes,
    checksum: u32,
    acknowledged: usize,
    /// As the receiver said last: less than before if it has lost what it had, or if the word is late.
    reported: usize,
    sent: usize,
    idle_ticks: u64,
    lifeless_ticks: u64,
}

/// What a tick does to a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    Waits,
    /// The receiver has been silent for too long.
    Over,
}

impl Transfer {
    pub fn new(number: u64, term: u64, receiver: Incarnation, image: Bytes, heals: bool) -> Self {
        let checksum = crc32c::crc32c(&image);
        Self {
            receiver,
            is_reported: false,
            number,
            term,
            heals,
            image,
            checksum,
            acknowledged: 0,
            reported: 0,
            sent: 0,
            idle_ticks: 0,
            lifeless_ticks: 0,
        }
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn heals(&self) -> bool {
        self.heals
    }

    /// The chunks that may go now.
    pub fn chunks(&mut self) -> Vec<Chunk> {
        let end = self.image.len().min(self.acknowledged + WINDOW_CHUNKS * CHUNK_BYTES);
        let mut chunks = Vec::new();
        while self.sent < end {
            let next = (self.sent + CHUNK_BYTES).min(self.image.len());
            chunks.push(Chunk {
                transfer: self.number,
                term: self.term,
                total: self.image.len() as u64,
                checksum: self.checksum,
                offset: self.sent as u64,
                bytes: self.image.slice(self.sent..next),
                heals: self.heals,
            });
            self.sent = next;
        }
        chunks
    }

    /// The receiver has the first `bytes`; true if that is all.
    pub fn acknowledge(&mut self, bytes: u64) -> bool {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(self.image.len());
        self.lifeless_ticks = 0;
        self.reported = bytes;
        if bytes > self.acknowledged {
            self.acknowledged = bytes;
            self.sent = self.sent.max(bytes);
            self.idle_ticks = 0;
        }
        self.acknowledged == self.image.len()
    }

    /// A tick has passed. After `retry` without progress the window is sent again, from where the receiver says that it
    /// is: killed and back from its disk, it has nothing. After `patience` without a sign of the receiver it is over.
    pub fn tick(&mut self, retry: u64, patience: u64) -> Patience {
        self.idle_ticks += 1;
        self.lifeless_ticks += 1;
        if self.idle_ticks >= retry {
            self.idle_ticks = 0;
            self.acknowledged = self.acknowledged.min(self.reported);
            self.sent = self.acknowledged;
        }
        if self.lifeless_ticks >= patience { Patience::Over } else { Patience::Waits }
    }
}

/// A snapshot that arrives.
#[derive(Debug)]
pub struct Reception {
    from: Incarnation,
    transfer: u64,
    bytes: BytesMut,
}

/// What a chunk brought.
#[derive(Debug)]
pub enum Received {
    /// So many bytes are here.
    Part(u64),
    /// All of it.
    Whole { snapshot: Box<Snapshot>, image: Bytes },
    /// It is no snapshot: the sender begins again, with another number.
    Broken,
}

impl Reception {
    pub fn new(from: Incarnation, transfer: u64) -> Self {
        Self { from, transfer, bytes: BytesMut::new() }
    }

    pub fn is_of(&self, from: Incarnation, transfer: u64) -> bool {
        self.from == from && self.transfer == transfer
    }

    /// Takes a chunk if it is the next one; a repeated one, or one behind a lost one, adds nothing.
    pub fn take(&mut self, chunk: &Chunk) -> Received {
        if chunk.total > IMAGE_BYTES_MAX {
            return Received::Broken;
        }
        if chunk.offset == self.bytes.len() as u64 && chunk.offset + chunk.bytes.len() as u64 <= chunk.total {
            self.bytes.extend_from_slice(&chunk.bytes);
        }
        if (self.bytes.len() as u64) < chunk.total {
            return Received::Part(self.bytes.len() as u64);
        }
        let image = std::mem::take(&mut self.bytes).freeze();
        if crc32c::crc32c(&image) != chunk.checksum {
            return Received::Broken;
        }
        match Snapshot::decode(&image) {
            Some(snapshot) => Received::Whole { snapshot: Box::new(snapshot), image },
            None => Received::Broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::frame::Roster;

    fn image(bytes: usize) -> Bytes {
        let mut snapshot = Snapshot::found(&Roster(vec![(Incarnation::from_u128(1), "a".into())]));
        snapshot.state = Some(vec![b'7'; bytes].into());
        snapshot.encode().image
    }

    fn transfer(bytes: usize) -> Transfer {
        Transfer::new(1, 2, Incarnation::from_u128(3), image(bytes), false)
    }

    #[test]
    fn an_image_arrives_whole_whatever_is_lost_or_repeated() {
        let mut transfer = transfer(3 << 20);
        let mut reception = Reception::new(Incarnation::from_u128(1), 1);
        let mut rounds = 0;
        loop {
            rounds += 1;
            assert!(rounds < 1_000, "it makes no progress");
            assert_eq!(transfer.tick(1, 1_000), Patience::Waits);
            let chunks = transfer.chunks();
            assert!(chunks.len() <= WINDOW_CHUNKS);
            // Every third is lost, every other comes twice.
            let arriving = chunks.iter().enumerate().filter(|(i, _)| (i + rounds) % 3 != 0);
            for chunk in arriving.flat_map(|(i, chunk)| std::iter::repeat_n(chunk, 1 + i % 2)) {
                match reception.take(chunk) {
                    Received::Part(bytes) => assert!(!transfer.acknowledge(bytes)),
                    Received::Whole { image, .. } => {
                        assert!(transfer.acknowledge(image.len() as u64));
                        assert_eq!(image, self::image(3 << 20));
                        return;
                    }
                    Received::Broken => panic!("nothing was damaged"),
                }
            }
        }
    }

    /// Killed while it installs, it comes back from its disk as the same member, and has no chunk.
    #[test]
    fn a_receiver_that_has_lost_its_first_chunks_gets_them_again() {
        let mut transfer = transfer(3 << 20);
        let mut reception = Reception::new(Incarnation::from_u128(1), 1);
        for round in 0..100 {
            if round == 2 {
                reception = Reception::new(Incarnation::from_u128(1), 1);
            }
            assert_eq!(transfer.tick(1, 1_000), Patience::Waits);
            for chunk in transfer.chunks() {
                match reception.take(&chunk) {
                    Received::Part(bytes) => assert!(!transfer.acknowledge(bytes)),
                    Received::Whole { image, .. } => return assert_eq!(image, self::image(3 << 20)),
                    Received::Broken => panic!("nothing was damaged"),
                }
            }
        }
        panic!("it makes no progress");
    }

    #[test]
    fn a_receiver_that_is_silent_for_too_long_is_given_up() {
        let mut transfer = transfer(10);
        let ticks = (1..).take_while(|_| transfer.tick(5, 50) == Patience::Waits).count();
        assert_eq!(ticks, 49);
    }

    #[test]
    fn what_is_damaged_or_no_snapshot_is_noticed() {
        let mut chunk = transfer(10).chunks().remove(0);
        chunk.checksum ^= 1;
        let mut reception = Reception::new(Incarnation::from_u128(1), 1);
        assert!(matches!(reception.take(&chunk), Received::Broken));
        let image = Bytes::from_static(b"no image");
        let mut transfer = Transfer::new(1, 2, Incarnation::from_u128(3), image, false);
        let mut reception = Reception::new(Incarnation::from_u128(1), 1);
        assert!(matches!(reception.take(&transfer.chunks()[0]), Received::Broken));
    }
}
