//! A fuzz target: a snapshot's image.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| conflux::raft::fuzzing::snapshot(bytes));
