//! This file sends a snapshot's image in chunks, and puts it together again.
//!
//! Called by `node/snapshots.rs`. Few chunks are on their way at a time, so that no channel's buffer overflows however
//! large the state is (Redis drops a reader that is far behind), and each is sent again until it is acknowledged.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use super::frame::Chunk;
use super::identity::Incarnation;
use super::snapshot::Snapshot;
#[cfg(test)]
use super::testing::bugs::{Bug, is_back};

pub const CHUNK_BYTES: usize = 256 << 10;
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
    chunk_bytes: usize,
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
    /// The other side has been silent for too long.
    Over,
}

impl Transfer {
    pub fn new(
        number: u64,
        term: u64,
        receiver: Incarnation,
        image: Bytes,
        chunk_bytes: usize,
        heals: bool,
    ) -> Self {
        let checksum = crc32c::crc32c(&image);
        Self {
            receiver,
            is_reported: false,
            number,
            term,
            heals,
            image,
            chunk_bytes,
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
        let end = self.image.len().min(self.acknowledged + WINDOW_CHUNKS * self.chunk_bytes);
        let mut chunks = Vec::new();
        while self.sent < end {
            let next = (self.sent + self.chunk_bytes).min(self.image.len());
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
    term: u64,
    bytes: BytesMut,
    /// Chunks that came before one that they follow, by their place.
    early: BTreeMap<u64, Bytes>,
    lifeless_ticks: u64,
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
    /// Of a transfer of the leader of `term`.
    pub fn new(from: Incarnation, transfer: u64, term: u64) -> Self {
        Self { from, transfer, term, bytes: BytesMut::new(), early: BTreeMap::new(), lifeless_ticks: 0 }
    }

    pub fn is_of(&self, from: Incarnation, transfer: u64) -> bool {
        self.from == from && self.transfer == transfer
    }

    /// Whether a chunk is of this transfer, or of a later one: of a later leader, or of the same sender, which numbers its
    /// transfers in order.
    pub fn gives_way_to(&self, from: Incarnation, chunk: &Chunk) -> bool {
        #[cfg(test)]
        if is_back(Bug::AnyChunkEndsReception) {
            return true;
        }
        if self.from == from { chunk.transfer >= self.transfer } else { chunk.term > self.term }
    }

    #[cfg(test)]
    pub fn progress(&self) -> (u64, u64) {
        (self.transfer, self.bytes.len() as u64)
    }

    /// A tick has passed; after `patience` without a chunk the sender is gone.
    pub fn tick(&mut self, patience: u64) -> Patience {
        self.lifeless_ticks += 1;
        if self.lifeless_ticks >= patience { Patience::Over } else { Patience::Waits }
    }

    /// Takes a chunk if it is the next one, and those that waited for it. One that comes early waits, as many as a sender
    /// sends at a time; a repeated one adds nothing.
    pub fn take(&mut self, chunk: &Chunk) -> Received {
        self.lifeless_ticks = 0;
        if chunk.total > IMAGE_BYTES_MAX {
            return Received::Broken;
        }
        if chunk.offset.saturating_add(chunk.bytes.len() as u64) <= chunk.total {
            self.keep(chunk.offset, &chunk.bytes);
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

    fn keep(&mut self, offset: u64, bytes: &Bytes) {
        if offset > self.bytes.len() as u64 {
            #[cfg(test)]
            if is_back(Bug::DropsWhatComesEarly) {
                return;
            }
            if self.early.len() < WINDOW_CHUNKS && bytes.len() <= CHUNK_BYTES {
                self.early.insert(offset, bytes.clone());
            }
            return;
        }
        if offset == self.bytes.len() as u64 {
            self.bytes.extend_from_slice(bytes);
        }
        while let Some((offset, bytes)) = self.early.pop_first() {
            if offset > self.bytes.len() as u64 {
                self.early.insert(offset, bytes);
                return;
            }
            if offset == self.bytes.len() as u64 {
                self.bytes.extend_from_slice(&bytes);
            }
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
        Transfer::new(1, 2, Incarnation::from_u128(3), image(bytes), CHUNK_BYTES, false)
    }

    #[test]
    fn an_image_arrives_whole_whatever_is_lost_or_repeated() {
        let mut transfer = transfer(3 << 20);
        let mut reception = Reception::new(Incarnation::from_u128(1), 1, 2);
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

    #[test]
    fn chunks_that_come_early_wait_and_are_bounded_in_bytes() {
        let mut reception = Reception::new(Incarnation::from_u128(1), 1, 2);
        let chunks = transfer(3 << 20).chunks();
        for chunk in chunks.iter().rev() {
            assert!(!matches!(reception.take(chunk), Received::Broken));
        }
        assert_eq!(reception.progress().1, (WINDOW_CHUNKS * CHUNK_BYTES) as u64);
        let huge = Bytes::from(vec![0; CHUNK_BYTES + 1]);
        reception.take(&Chunk { offset: 2 << 20, bytes: huge, ..chunks[0].clone() });
        assert!(reception.early.is_empty(), "no sender sends a chunk of this size");
    }

    /// Killed while it installs, it comes back from its disk as the same member, and has no chunk.
    #[test]
    fn a_receiver_that_has_lost_its_first_chunks_gets_them_again() {
        let mut transfer = transfer(3 << 20);
        let mut reception = Reception::new(Incarnation::from_u128(1), 1, 2);
        for round in 0..100 {
            if round == 2 {
                reception = Reception::new(Incarnation::from_u128(1), 1, 2);
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

    /// A large state over a slow line takes longer than the patience that its sender has with silence.
    #[test]
    fn a_receiver_that_is_heard_is_never_given_up() {
        let mut transfer = transfer(3 << 20);
        for number in 1..=12 {
            for _ in 0..49 {
                assert_eq!(transfer.tick(5, 50), Patience::Waits);
            }
            assert!(!transfer.acknowledge(number * CHUNK_BYTES as u64));
        }
    }

    #[test]
    fn what_arrives_gives_way_to_what_is_newer_and_to_nothing_else() {
        let [sender, other] = [1, 2].map(Incarnation::from_u128);
        let chunk = |transfer, term| Chunk { transfer, term, ..self::transfer(10).chunks().remove(0) };
        let mut reception = Reception::new(sender, 7, 3);
        assert!(reception.gives_way_to(sender, &chunk(7, 3)), "it is a part of it");
        assert!(reception.gives_way_to(sender, &chunk(8, 3)), "the sender began again");
        assert!(!reception.gives_way_to(sender, &chunk(6, 3)), "what the sender began before is late");
        assert!(reception.gives_way_to(other, &chunk(1, 4)), "a later leader's");
        for (transfer, term) in [(9, 3), (9, 2)] {
            assert!(!reception.gives_way_to(other, &chunk(transfer, term)), "no later leader's");
        }
        for _ in 1..50 {
            assert_eq!(reception.tick(50), Patience::Waits);
        }
        assert!(matches!(reception.take(&Chunk { offset: 5, ..chunk(7, 3) }), Received::Part(0)));
        assert_eq!((1..).take_while(|_| reception.tick(50) == Patience::Waits).count(), 49);
    }

    #[test]
    fn what_is_damaged_or_no_snapshot_is_noticed() {
        let mut chunk = transfer(10).chunks().remove(0);
        chunk.checksum ^= 1;
        let mut reception = Reception::new(Incarnation::from_u128(1), 1, 2);
        assert!(matches!(reception.take(&chunk), Received::Broken));
        let image = Bytes::from_static(b"no image");
        let mut transfer = Transfer::new(1, 2, Incarnation::from_u128(3), image, CHUNK_BYTES, false);
        let mut reception = Reception::new(Incarnation::from_u128(1), 1, 2);
        assert!(matches!(reception.take(&transfer.chunks()[0]), Received::Broken));
    }
}
