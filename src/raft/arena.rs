//! Copies of short byte strings that share an allocation.
//!
//! A call is a few bytes of arguments, of an action and of a context, each of which is kept, cloned and dropped on its
//! own. With an allocation for each, an eighth of the processor time of a busy node was the allocator's.

use bytes::{Bytes, BytesMut};

/// A string in use keeps this many bytes alive at most: those that were copied together with it. They are mostly in use
/// for as long, because they come from the same batch of calls or from neighboring entries of the log.
const CHUNK_BYTES: usize = 4 << 10;

/// Longer strings have their own allocation.
const SHARED_BYTES_MAX: usize = 256;

/// Copies byte strings. Each copy is independent of the arena, which may be dropped before it.
#[derive(Debug)]
pub struct Arena {
    chunk: BytesMut,
    chunk_bytes: usize,
    /// Where [`Self::encode`] encodes.
    scratch: Vec<u8>,
}

impl Default for Arena {
    fn default() -> Self {
        Self::with_capacity(CHUNK_BYTES)
    }
}

impl Arena {
    /// For copies of about `bytes` in total.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { chunk: BytesMut::new(), chunk_bytes: bytes.min(CHUNK_BYTES), scratch: Vec::new() }
    }

    pub fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.len() > SHARED_BYTES_MAX {
            return Bytes::copy_from_slice(bytes);
        }
        if self.chunk.capacity() < bytes.len() {
            self.chunk = BytesMut::with_capacity(self.chunk_bytes.max(bytes.len()));
        }
        self.chunk.extend_from_slice(bytes);
        self.chunk.split().freeze()
    }

    /// A copy of what `encode` writes to the empty buffer that it gets.
    pub fn encode(&mut self, encode: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Bytes {
        let mut encoded = encode(std::mem::take(&mut self.scratch));
        let copy = self.copy(&encoded);
        encoded.clear();
        if encoded.capacity() <= CHUNK_BYTES {
            self.scratch = encoded;
        }
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_what_was_copied() {
        let strings: Vec<Vec<u8>> =
            (0..2 * CHUNK_BYTES).map(|i| vec![i as u8; i % (SHARED_BYTES_MAX + 40)]).collect();
        let mut arena = Arena::default();
        let copies: Vec<Bytes> = strings.iter().map(|string| arena.copy(string)).collect();
        drop(arena);
        assert_eq!(copies, strings);
    }

    #[test]
    fn short_strings_share_an_allocation_up_to_its_size() {
        let mut arena = Arena::default();
        let copies: Vec<Bytes> = (0..1_000).map(|_| arena.copy(&[7; 16])).collect();
        let is_next_to = |pair: &[Bytes]| pair[0].as_ptr().wrapping_add(16) == pair[1].as_ptr();
        let borders = copies.windows(2).filter(|pair| !is_next_to(pair)).count();
        assert_eq!(borders, 1_000 * 16 / CHUNK_BYTES);
    }

    #[test]
    fn a_long_string_keeps_nothing_else_alive() {
        let mut arena = Arena::default();
        let short = arena.copy(b"short");
        let long = arena.copy(&[7; SHARED_BYTES_MAX + 1]);
        assert!(long.is_unique());
        assert!(!short.is_unique());
    }

    #[test]
    fn an_encoding_starts_with_an_empty_buffer() {
        let mut arena = Arena::with_capacity(1);
        for length in [3, 2 * CHUNK_BYTES, 5, 0] {
            let encoded = arena.encode(|bytes| {
                assert!(bytes.is_empty());
                [bytes, vec![7; length]].concat()
            });
            assert_eq!(encoded, vec![7; length]);
        }
    }
}
