//! A fuzz target: a snapshot that arrives in parts.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| conflux::raft::fuzzing::chunk(bytes));
