//! Sends a snapshot's image in chunks, and reassembles it.
//!
//! Called by `node/snapshot_transfers.rs`. Few bytes are in flight at a time, however large the state is: as many as the
//! line carries at once (`pace.rs`), so that no channel's buffer overflows and nothing waits behind them for long. A
//! chunk is sent again until it is acknowledged; what arrives out of order is kept (as RFC 2018 does), so that only what
//! is missing is sent again.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use super::Snapshot;
use crate::raft::consensus::pace::{Flight, Pace};
use crate::raft::consensus::timing::Timing;
use crate::raft::identity::Incarnation;
use crate::raft::options::{CHUNK_BYTES, Options};
use crate::raft::wire::message::Chunk;

/// The number of largest chunks that may be in flight, or be kept behind a missing one.
const WINDOW_CHUNKS: usize = 4;
/// The same at the receiver, which does not know how large the sender's chunks are.
const HELD_BYTES_MAX: usize = WINDOW_CHUNKS * CHUNK_BYTES;
/// The number of parts behind the first gap that are acknowledged; the others may be sent again.
const PARTS_REPORTED_MAX: usize = 16;
/// The limit of an image: the address space of JavaScript has no room for a larger state.
const IMAGE_BYTES_MAX: u64 = 32 << 30;

/// A snapshot in flight to a member.
///
/// Invariants:
/// - what is before `acknowledged` has arrived, and what is from `cut` on has not been sent;
/// - `sent` covers what is between them.
#[derive(Debug)]
pub struct Transfer {
    pub receiver: Incarnation,
    /// raft-rs requested it, and waits for the result.
    pub is_reported: bool,
    pub number: u64,
    /// The snapshot's: the log behind it is needed next.
    pub index: u64,
    /// The number of earlier images that became obsolete because the log was compacted behind them.
    pub overtaken: u32,
    pub restores: bool,
    term: u64,
    image: Bytes,
    chunk_bytes: usize,
    /// The checksum of the first `summed` bytes: computed as they are sent, because an image may have a gigabyte.
    checksum: u32,
    summed: usize,
    pace: Pace,
    acknowledged: usize,
    /// The last report of the receiver, in bytes and in parts behind them: less than before if it has lost something,
    /// or if the report is late.
    reported: (usize, Vec<(u64, u64)>),
    cut: usize,
    /// By where they begin.
    sent: BTreeMap<usize, Sent>,
    /// Of all chunks that have arrived, the time at which the last one was sent.
    arrived_sent_at: u64,
    now: u64,
    idle_ticks: u64,
    lifeless_ticks: u64,
}

/// A chunk that was sent, behind a gap.
#[derive(Clone, Copy, Debug)]
struct Sent {
    end: usize,
    flight: Flight,
    /// Whether it counts as in flight.
    flies: bool,
    /// Whether the receiver has it.
    is_held: bool,
    /// It was sent several times, so an acknowledgement does not show which one arrived.
    is_repeated: bool,
}

/// Why a member gets the newest image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotReason {
    /// It may have no log yet.
    Admission,
    /// raft-rs requests it, and waits for the result.
    LogBehind,
    /// Its state differs from that of a majority.
    Restoration,
}

/// What a transfer does after a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    Waits,
    /// The other side has been silent for too long.
    Over,
}

impl Transfer {
    /// Sends an image taken at `index`, as the leader of `term`.
    pub fn new(
        number: u64,
        term: u64,
        receiver: Incarnation,
        (index, image): (u64, Bytes),
        options: &Options,
        restores: bool,
    ) -> Self {
        Self {
            receiver,
            is_reported: false,
            number,
            index,
            overtaken: 0,
            restores,
            term,
            image,
            chunk_bytes: options.chunk_bytes,
            checksum: 0,
            summed: 0,
            pace: Pace::new(Timing::new(options), WINDOW_CHUNKS * options.chunk_bytes),
            acknowledged: 0,
            reported: (0, Vec::new()),
            cut: 0,
            sent: BTreeMap::new(),
            arrived_sent_at: 0,
            now: 0,
            idle_ticks: 0,
            lifeless_ticks: 0,
        }
    }

    /// Replaces a transfer to the same receiver whose image ends before the log begins.
    pub fn overtakes(self, former: &Self) -> Self {
        let pace = former.pace.anew(WINDOW_CHUNKS * self.chunk_bytes);
        Self { overtaken: former.overtaken + 1, pace, lifeless_ticks: former.lifeless_ticks, ..self }
    }

    /// What the line to the receiver carries.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// The chunks that may be sent now: first those that were lost.
    pub fn chunks(&mut self) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        while let Some((start, end)) = self.next() {
            let flight = self.pace.sent(end - start, self.now);
            let is_repeated = self.sent.contains_key(&start);
            self.sent.insert(start, Sent { end, flight, flies: true, is_held: false, is_repeated });
            self.cut = self.cut.max(end);
            chunks.push(self.chunk(start, end));
        }
        chunks
    }

    /// Where the next chunk begins and ends, if there is room for it.
    fn next(&self) -> Option<(usize, usize)> {
        let lost = self.sent.iter().find(|(_, sent)| !sent.flies && !sent.is_held);
        let (start, end) = lost.map_or_else(
            || (self.cut, self.cut + self.pace.piece().min(self.chunk_bytes)),
            |(start, sent)| (*start, sent.end),
        );
        let end = end.min(self.image.len());
        let is_within = end <= self.acknowledged + WINDOW_CHUNKS * self.chunk_bytes;
        (start < end && is_within && self.pace.has_room(end - start)).then_some((start, end))
    }

    fn chunk(&mut self, start: usize, end: usize) -> Chunk {
        if end > self.summed {
            // Chunks are cut one behind the other.
            self.checksum = crc32c::crc32c_append(self.checksum, &self.image[self.summed..end]);
            self.summed = end;
        }
        let is_last = end == self.image.len();
        Chunk {
            transfer: self.number,
            term: self.term,
            total: self.image.len() as u64,
            checksum: if is_last { self.checksum } else { 0 },
            offset: start as u64,
            bytes: self.image.slice(start..end),
            restores: self.restores,
            overtaken: self.overtaken,
        }
    }

    /// The receiver has the first `bytes`, and the parts `held` behind them; true if that is all.
    pub fn acknowledge(&mut self, bytes: u64, held: &[(u64, u64)]) -> bool {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(self.image.len());
        self.lifeless_ticks = 0;
        self.reported = (bytes, held.to_vec());
        for (start, sent) in &mut self.sent {
            if sent.is_held || !has_arrived(*start, sent.end, bytes, held) {
                continue;
            }
            sent.is_held = true;
            self.idle_ticks = 0;
            if !std::mem::take(&mut sent.flies) {
                continue;
            }
            if sent.is_repeated {
                self.pace.arrived(sent.flight);
            } else {
                self.pace.acknowledged(sent.flight, self.now);
                self.arrived_sent_at = self.arrived_sent_at.max(sent.flight.sent_at());
            }
        }
        if bytes > self.acknowledged {
            self.acknowledged = bytes;
            self.cut = self.cut.max(bytes);
            self.sent.retain(|_, sent| sent.end > bytes);
            self.idle_ticks = 0;
        }
        self.acknowledged == self.image.len()
    }

    /// A tick has passed. A chunk that is not acknowledged in time is sent again; one that was overtaken is lost, and
    /// is sent again at once. Without any progress for as long, everything behind the receiver's last report is sent
    /// again: a receiver that was killed and restarted has nothing. After `patience` ticks without an answer the
    /// transfer is over.
    pub fn tick(&mut self, patience: u64) -> Patience {
        self.now += 1;
        self.idle_ticks += 1;
        self.lifeless_ticks += 1;
        let retry = self.pace.retry_ticks();
        let mut is_late = false;
        for sent in self.sent.values_mut().filter(|sent| sent.flies) {
            let is_overtaken = self.pace.is_overtaken(sent.flight, self.arrived_sent_at);
            if sent.flight.age(self.now) < retry && !is_overtaken {
                continue;
            }
            sent.flies = false;
            self.pace.ended(sent.flight);
            is_late |= !is_overtaken;
        }
        if self.idle_ticks >= retry {
            self.idle_ticks = 0;
            self.believe_report();
        }
        if is_late {
            self.pace.back_off();
        }
        if self.lifeless_ticks >= patience { Patience::Over } else { Patience::Waits }
    }

    /// The receiver has what it reported last, and nothing else.
    fn believe_report(&mut self) {
        let (bytes, held) = &self.reported;
        if *bytes < self.acknowledged {
            for sent in self.sent.values().filter(|sent| sent.flies) {
                self.pace.ended(sent.flight);
            }
            self.sent.clear();
            (self.acknowledged, self.cut) = (*bytes, *bytes);
        }
        for (start, sent) in &mut self.sent {
            sent.is_held &= has_arrived(*start, sent.end, *bytes, held);
        }
    }
}

fn has_arrived(start: usize, end: usize, bytes: usize, held: &[(u64, u64)]) -> bool {
    end <= bytes || held.iter().any(|(from, to)| *from <= start as u64 && end as u64 <= *to)
}

/// A snapshot that arrives.
///
/// Invariant: nothing in `held` begins at the end of `bytes` or before it.
#[derive(Debug)]
pub struct Reception {
    from: Incarnation,
    transfer: u64,
    term: u64,
    /// Without a gap.
    bytes: BytesMut,
    /// Of `bytes`.
    checksum: u32,
    /// The checksum of the whole image, which the last chunk has.
    expected_checksum: Option<u32>,
    /// Behind a gap, by where they begin.
    held: BTreeMap<u64, Bytes>,
    total: u64,
    overtaken: u32,
    lifeless_ticks: u64,
}

/// What a chunk brought.
#[derive(Debug)]
pub enum Received {
    /// More is to come.
    Part,
    /// All of it.
    Whole { snapshot: Box<Snapshot>, image: Bytes },
    /// The parts are not a snapshot: the sender starts over, with another number.
    Broken,
}

impl Reception {
    /// The reception of a transfer of the leader of `term`.
    pub fn new(from: Incarnation, transfer: u64, term: u64) -> Self {
        Self {
            from,
            transfer,
            term,
            bytes: BytesMut::new(),
            checksum: 0,
            expected_checksum: None,
            held: BTreeMap::new(),
            total: 0,
            overtaken: 0,
            lifeless_ticks: 0,
        }
    }

    pub fn is_of(&self, from: Incarnation, transfer: u64) -> bool {
        self.from == from && self.transfer == transfer
    }

    /// Whether a chunk is of this transfer, or of a later one: of a later leader, or of the same sender, which numbers
    /// its transfers in order.
    pub fn gives_way_to(&self, from: Incarnation, chunk: &Chunk) -> bool {
        injected_bug!(AnyChunkEndsReception, return true);
        if self.from == from { chunk.transfer >= self.transfer } else { chunk.term > self.term }
    }

    #[cfg(test)]
    pub fn progress(&self) -> (u64, u64) {
        (self.transfer, self.bytes.len() as u64)
    }

    /// The progress, as text.
    pub fn describe(&self) -> String {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        let (here, total) = (self.bytes.len() + self.held_bytes(), self.total);
        let text =
            format!("receiving the state: {:.1} of {:.1} MB", megabytes(here as u64), megabytes(total));
        match self.overtaken {
            0 => text,
            times => format!(
                "{text}, anew ({times} before): the log behind the former one grew beyond its bound before it had arrived"
            ),
        }
    }

    /// A tick has passed; after `patience` ticks without a chunk the transfer is over.
    pub fn tick(&mut self, patience: u64) -> Patience {
        self.lifeless_ticks += 1;
        if self.lifeless_ticks >= patience { Patience::Over } else { Patience::Waits }
    }

    /// What to acknowledge: how much is here without a gap, and which parts behind the first one.
    pub fn parts(&self) -> (u64, Vec<(u64, u64)>) {
        let mut parts: Vec<(u64, u64)> = Vec::new();
        for (start, bytes) in &self.held {
            let end = start + bytes.len() as u64;
            if let Some((_, last)) = parts.last_mut().filter(|(_, last)| start <= last) {
                *last = end.max(*last);
            } else if parts.len() < PARTS_REPORTED_MAX {
                parts.push((*start, end));
            }
        }
        (self.bytes.len() as u64, parts)
    }

    /// Takes a chunk; a repeated one adds nothing, and one far behind a gap is not kept.
    pub fn take(&mut self, chunk: &Chunk) -> Received {
        self.lifeless_ticks = 0;
        let end = chunk.offset.saturating_add(chunk.bytes.len() as u64);
        if chunk.total > IMAGE_BYTES_MAX {
            return Received::Broken;
        }
        (self.total, self.overtaken) = (chunk.total, chunk.overtaken);
        if end == chunk.total {
            self.expected_checksum = Some(chunk.checksum);
        }
        if end <= chunk.total {
            self.keep(chunk, end);
        }
        if (self.bytes.len() as u64) < chunk.total {
            return Received::Part;
        }
        let image = std::mem::take(&mut self.bytes).freeze();
        if self.expected_checksum != Some(self.checksum) {
            return Received::Broken;
        }
        match Snapshot::decode(&image) {
            Some(snapshot) => Received::Whole { snapshot: Box::new(snapshot), image },
            None => Received::Broken,
        }
    }

    fn keep(&mut self, chunk: &Chunk, end: u64) {
        let here = self.bytes.len() as u64;
        if chunk.offset > here {
            injected_bug!(DropsWhatComesEarly, return);
            // A correct sender stays within the window; this limits the memory that forged chunks can take.
            if end - here <= HELD_BYTES_MAX as u64 && chunk.bytes.len() > self.held_from(chunk.offset) {
                self.held.insert(chunk.offset, chunk.bytes.clone());
            }
            return;
        }
        self.append(chunk.offset, &chunk.bytes);
        while let Some(first) = self.held.first_entry()
            && *first.key() <= self.bytes.len() as u64
        {
            let (offset, bytes) = first.remove_entry();
            self.append(offset, &bytes);
        }
    }

    /// Adds the new bytes of a part that begins at the end of what is here, or before it.
    fn append(&mut self, offset: u64, bytes: &Bytes) {
        let known = (self.bytes.len() as u64 - offset) as usize;
        let new = bytes.get(known..).unwrap_or_default();
        self.checksum = crc32c::crc32c_append(self.checksum, new);
        self.bytes.extend_from_slice(new);
    }

    fn held_from(&self, offset: u64) -> usize {
        self.held.get(&offset).map_or(0, Bytes::len)
    }

    fn held_bytes(&self) -> usize {
        self.held.values().map(Bytes::len).sum()
    }
}

#[cfg(test)]
mod tests;
