//! Damages the files of a disk storage: every damage is reported, or it is where nothing is kept.
//!
//! `CONFLUX_DAMAGE_SAMPLES` sets how many flips are tried.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use super::*;
use crate::storage::testing::folder::Machine;
use crate::storage::testing::model::{Model, life};

fn samples() -> usize {
    std::env::var("CONFLUX_DAMAGE_SAMPLES").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000)
}

/// redb's, with both commit slots.
const HEADER_BYTES: usize = 320;

/// A file with content, and what it holds. After a clean close the two last commits hold the same; after a crash the
/// older one lacks the last save.
struct Sample {
    content: Vec<u8>,
    model: Model,
}

fn sample(saves: usize, is_clean: bool) -> Sample {
    let machine = Machine::default();
    let mut disk = Disk::over(machine.folder(), "a");
    disk.load().unwrap();
    let mut model = Model::default();
    for writes in &life()[..saves] {
        disk.save(writes).unwrap();
        model.save(writes);
    }
    let crashed = machine.content(CURRENT);
    drop(disk);
    Sample { content: if is_clean { machine.content(CURRENT) } else { crashed }, model }
}

/// Whether the damage was noticed; if it was not, nothing may have changed.
fn is_noticed(content: Vec<u8>, model: &Model, context: &str) -> bool {
    let machine = Machine::with_file(CURRENT, content.clone());
    let mut disk = Disk::over(machine.folder(), "a");
    match disk.load() {
        Ok(recovered) => {
            assert_eq!(Model::of(recovered), *model, "{context}");
            false
        }
        Err(Error::StorageDamaged { .. }) => {
            drop(disk);
            assert_eq!(machine.names(), [CURRENT], "{context}");
            // But for what redb notes in its header.
            let after = machine.content(CURRENT);
            let behind_header = |bytes: &[u8]| bytes[HEADER_BYTES.min(bytes.len())..].to_vec();
            let is_same = behind_header(&after) == behind_header(&content);
            assert!(is_same, "{context}: the content was changed");
            true
        }
        Err(error) => panic!("{context}: {error}"),
    }
}

#[test]
fn a_flipped_bit_is_noticed_or_where_nothing_is_kept() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut noticed = 0;
    for (saves, is_clean) in [(6, true), (6, false), (8, true), (8, false)] {
        let sample = sample(saves, is_clean);
        // Most of a small file is empty. Half of the flips hit what is written, and every bit of the header is tried.
        let written: Vec<usize> =
            (0..sample.content.len()).filter(|byte| sample.content[*byte] != 0).collect();
        for number in 0..samples() / 4 {
            let byte = match number % 4 {
                0 => rng.next_u32() as usize % sample.content.len(),
                1 => rng.next_u32() as usize % HEADER_BYTES,
                _ => written[rng.next_u32() as usize % written.len()],
            };
            let bit = rng.next_u32() % 8;
            let mut content = sample.content.clone();
            content[byte] ^= 1 << bit;
            let context = format!("{saves} saves, clean: {is_clean}, bit {bit} of byte {byte}");
            noticed += usize::from(is_noticed(content, &sample.model, &context));
        }
    }
    assert!(noticed > samples() / 4, "{noticed} of {} flips were noticed", samples());
}

/// The flags of the header say which of the two last commits counts: a flip there takes a save back.
#[test]
fn a_flip_in_the_flags_of_the_header_is_noticed() {
    for (saves, is_clean) in [(2, false), (2, true), (6, false), (8, false)] {
        let sample = sample(saves, is_clean);
        for bit in 0..8 {
            let mut content = sample.content.clone();
            content[9] ^= 1 << bit;
            assert!(is_noticed(content, &sample.model, "flags"), "bit {bit} after {saves} saves");
        }
    }
}

/// At every byte.
#[test]
fn a_truncated_file_is_noticed_or_nothing_was_behind_its_end() {
    let sample = sample(6, false);
    for length in 0..sample.content.len() {
        let content = sample.content[..length].to_vec();
        let is_noticed = is_noticed(content, &sample.model, &format!("{length} bytes"));
        // What is not noticed cut off whole pages, behind the last one that is in use.
        assert!(is_noticed || length % 4096 == 0, "{length} bytes");
    }
}

#[test]
fn a_file_that_lost_its_content_is_not_a_new_storage() {
    for content in [Vec::new(), vec![0; 100_000], b"something else, and long enough to be looked at".to_vec()]
    {
        assert!(is_noticed(content, &Model::default(), "lost"));
    }
}
