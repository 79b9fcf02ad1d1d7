//! The frames that wait for one connection, in two lanes, and the records in which they travel.
//!
//! Used by [`super::connection`]. A frame of the bulk lane travels in slices, so that a frame of the control lane never
//! waits for more than what the socket has taken already. Neither lane drops a frame for the sake of the other.

use std::collections::VecDeque;

use bytes::Bytes;

use super::record::{self, Kind};
use crate::raft::Lane;

/// The frames of one peer. Each lane is bounded in bytes; when one is full, its oldest frames are lost.
#[derive(Default)]
pub(super) struct Lanes {
    control: Waiting,
    bulk: Waiting,
    /// How much of the first bulk frame has left.
    offset: usize,
}

#[derive(Default)]
struct Waiting {
    frames: VecDeque<Bytes>,
    bytes: usize,
}

impl Lanes {
    const CONTROL_BYTES_MAX: usize = 4 << 20;

    /// Seconds of the heaviest traffic; a peer that is further behind needs a snapshot.
    const BULK_BYTES_MAX: usize = 64 << 20;

    /// A large frame is bulk data, even if its sender marked it as control.
    pub(super) fn push(&mut self, lane: Lane, frame: Bytes) {
        match lane {
            Lane::Control if frame.len() <= record::SLICE_BYTES_MAX => {
                self.control.make_room(frame.len(), Self::CONTROL_BYTES_MAX, 0);
                self.control.push(frame);
            }
            Lane::Control | Lane::Bulk => {
                // The peer already has a part of the first frame.
                let started = usize::from(self.offset > 0);
                self.bulk.make_room(frame.len(), Self::BULK_BYTES_MAX, started);
                self.bulk.push(frame);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.control.frames.is_empty() && self.bulk.frames.is_empty()
    }

    /// Appends records to `bytes` until it holds at least `bytes_min`, or nothing waits: control frames first.
    pub(super) fn fill(&mut self, bytes: &mut Vec<u8>, bytes_min: usize) {
        while bytes.len() < bytes_min {
            if let Some(frame) = self.control.pop() {
                record::write(bytes, Kind::Frame, &frame);
            } else if !self.fill_slice(bytes) {
                return;
            }
        }
    }

    /// Appends the next slice of the bulk lane; `false` if nothing waits there.
    fn fill_slice(&mut self, bytes: &mut Vec<u8>) -> bool {
        let Some(frame) = self.bulk.frames.front() else { return false };
        let rest = &frame[self.offset..];
        if rest.len() > record::SLICE_BYTES_MAX {
            record::write(bytes, Kind::Slice, &rest[..record::SLICE_BYTES_MAX]);
            self.offset += record::SLICE_BYTES_MAX;
            return true;
        }
        let kind = if self.offset == 0 { Kind::Frame } else { Kind::LastSlice };
        record::write(bytes, kind, rest);
        self.bulk.pop();
        self.offset = 0;
        true
    }
}

impl Waiting {
    fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    fn pop(&mut self) -> Option<Bytes> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }

    /// Drops the oldest frames behind the first `kept` until this many more bytes fit, or none is left.
    fn make_room(&mut self, bytes: usize, bytes_max: usize, kept: usize) {
        while self.bytes + bytes > bytes_max {
            let Some(oldest) = self.frames.remove(kept) else { return };
            self.bytes -= oldest.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::record::{Incoming, Records},
        *,
    };

    /// What a peer receives, in its order.
    fn received(bytes: &[u8]) -> Vec<Bytes> {
        let mut records = Records::default();
        records.allow_frames();
        records.buffer().extend_from_slice(bytes);
        let mut frames = Vec::new();
        while let Some(incoming) = records.next().expect("our own records are good") {
            match incoming {
                Incoming::Frame(frame) => frames.push(frame),
                other => panic!("{other:?}"),
            }
        }
        frames
    }

    fn frame(letter: u8, bytes: usize) -> Bytes {
        Bytes::from(vec![letter; bytes])
    }

    #[test]
    fn a_control_frame_overtakes_a_bulk_frame_that_has_begun_to_leave() {
        let mut lanes = Lanes::default();
        let large = frame(b'l', 5 * record::SLICE_BYTES_MAX / 2);
        lanes.push(Lane::Bulk, large.clone());
        let mut bytes = Vec::new();
        lanes.fill(&mut bytes, 1);
        assert!(bytes.len() <= record::SLICE_BYTES_MAX + 16, "one slice at a time");
        lanes.push(Lane::Control, frame(b'c', 10));
        lanes.push(Lane::Bulk, frame(b'b', 10));
        lanes.fill(&mut bytes, usize::MAX);
        assert!(lanes.is_empty());
        assert_eq!(received(&bytes), [frame(b'c', 10), large, frame(b'b', 10)]);
    }

    #[test]
    fn a_full_lane_drops_its_own_oldest_frames_and_never_the_rest_of_a_started_one() {
        let mut lanes = Lanes::default();
        let large = Lanes::BULK_BYTES_MAX / 4;
        lanes.push(Lane::Bulk, frame(b'0', large));
        let mut bytes = Vec::new();
        lanes.fill(&mut bytes, 1);
        lanes.push(Lane::Control, frame(b'c', 10));
        for letter in b'1'..=b'5' {
            lanes.push(Lane::Bulk, frame(letter, large));
        }
        lanes.fill(&mut bytes, usize::MAX);
        let letters: Vec<u8> = received(&bytes).iter().map(|frame| frame[0]).collect();
        assert_eq!(letters, *b"c0345", "the started frame arrives whole, and the newest ones");
    }

    #[test]
    fn a_frame_of_any_size_arrives_whole() {
        for bytes in [0, 1, record::SLICE_BYTES_MAX, record::SLICE_BYTES_MAX + 1, 3 * record::SLICE_BYTES_MAX]
        {
            for lane in [Lane::Control, Lane::Bulk] {
                let (mut lanes, mut written) = (Lanes::default(), Vec::new());
                lanes.push(lane, frame(7, bytes));
                lanes.fill(&mut written, usize::MAX);
                assert_eq!(received(&written), [frame(7, bytes)], "{bytes} bytes");
            }
        }
    }
}
