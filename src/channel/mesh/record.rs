//! The records that travel over a connection of the mesh.
//!
//! A record is `length of the rest (4, big endian) | kind (1) | payload`. A record of a kind that this version does
//! not know is skipped. Malformed bytes end the connection; they never cause a panic, nor an allocation beyond the
//! largest record.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, LengthDelimitedCodec};

/// How much of a large frame travels in one record.
pub(super) const SLICE_BYTES_MAX: usize = 64 << 10;

/// The limit of a frame in slices: no node sends a larger one.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// A hello may name hundreds of addresses.
const RECORD_BYTES_MAX: usize = 1 + SLICE_BYTES_MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// The first record in each direction (`hello.rs`).
    Hello = 0,
    /// The second record in each direction: accepts the other side's hello.
    Welcome = 1,
    /// A whole frame.
    Frame = 2,
    /// A part of a bulk frame that has more parts. The parts of two frames never mix.
    Slice = 3,
    LastSlice = 4,
    /// The sender is alive.
    Ping = 5,
    /// Addresses of other members.
    Addresses = 6,
}

/// What a connection receives.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Hello(Bytes),
    Welcome(Bytes),
    Frame(Bytes),
    Addresses(Bytes),
}

pub(super) fn write(bytes: &mut Vec<u8>, kind: Kind, payload: &[u8]) {
    debug_assert!(payload.len() <= SLICE_BYTES_MAX, "a record holds {} bytes", payload.len());
    bytes.put_u32(1 + payload.len() as u32);
    bytes.put_u8(kind as u8);
    bytes.extend_from_slice(payload);
}

/// Takes the bytes of a connection apart.
pub(super) struct Records {
    codec: LengthDelimitedCodec,
    buffer: BytesMut,
    /// The slices of a bulk frame so far.
    partial: BytesMut,
    /// The limit of a frame in slices: before the handshake is over, a frame would only take memory.
    partial_bytes_max: usize,
}

impl Default for Records {
    fn default() -> Self {
        let mut codec = LengthDelimitedCodec::new();
        codec.set_max_frame_length(RECORD_BYTES_MAX);
        Self { codec, buffer: BytesMut::new(), partial: BytesMut::new(), partial_bytes_max: 0 }
    }
}

impl Records {
    /// The handshake is over: frames may arrive.
    pub(super) fn allow_frames(&mut self) {
        self.partial_bytes_max = FRAME_BYTES_MAX;
    }

    /// Where the bytes that arrive are to be appended.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next record that matters, if it has arrived whole.
    pub(super) fn next(&mut self) -> io::Result<Option<Incoming>> {
        while let Some(mut record) = self.codec.decode(&mut self.buffer)? {
            if record.is_empty() {
                return Err(invalid("a record without a kind"));
            }
            let kind = record.get_u8();
            if kind == Kind::Slice as u8 || kind == Kind::LastSlice as u8 {
                if self.partial.len() + record.len() > self.partial_bytes_max {
                    return Err(invalid("a frame that is too large"));
                }
                self.partial.extend_from_slice(&record);
                if kind == Kind::LastSlice as u8 {
                    return Ok(Some(Incoming::Frame(std::mem::take(&mut self.partial).freeze())));
                }
                continue;
            }
            let incoming: fn(Bytes) -> Incoming = match kind {
                kind if kind == Kind::Frame as u8 => Incoming::Frame,
                kind if kind == Kind::Hello as u8 => Incoming::Hello,
                kind if kind == Kind::Welcome as u8 => Incoming::Welcome,
                kind if kind == Kind::Addresses as u8 => Incoming::Addresses,
                _ => continue,
            };
            return Ok(Some(incoming(record.freeze())));
        }
        Ok(None)
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the peer sent {what}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_records_or_an_error(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..10)) {
            let mut records = Records::default();
            for chunk in chunks {
                records.buffer().extend_from_slice(&chunk);
                while let Ok(Some(_)) = records.next() {}
            }
        }

        #[test]
        fn records_arrive_whole_however_the_bytes_are_cut(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..10),
            cut in 1_usize..50,
        ) {
            let mut bytes = Vec::new();
            payloads.iter().for_each(|payload| write(&mut bytes, Kind::Frame, payload));
            write(&mut bytes, Kind::Ping, &[]);
            let (mut records, mut frames) = (Records::default(), Vec::new());
            for part in bytes.chunks(cut) {
                records.buffer().extend_from_slice(part);
                while let Some(incoming) = records.next().unwrap() {
                    frames.push(incoming);
                }
            }
            let expected: Vec<_> = payloads.into_iter().map(|payload| Incoming::Frame(payload.into())).collect();
            prop_assert_eq!(frames, expected);
        }
    }

    #[test]
    fn slices_without_an_end_are_refused() {
        let (mut records, mut slice) = (Records::default(), Vec::new());
        write(&mut slice, Kind::Slice, &[7; SLICE_BYTES_MAX]);
        records.buffer().extend_from_slice(&slice);
        assert!(records.next().is_err(), "the handshake is not over");
        records.allow_frames();
        for _ in 0..FRAME_BYTES_MAX / SLICE_BYTES_MAX {
            records.buffer().extend_from_slice(&slice);
            assert_eq!(records.next().unwrap(), None);
        }
        records.buffer().extend_from_slice(&slice);
        assert!(records.next().is_err());
    }
}
