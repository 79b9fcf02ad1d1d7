//! A fuzz target: a leader that hears frames.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| conflux::raft::fuzzing::core(bytes));
