//! A fuzz target: a leader that receives frames.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| conflux::raft::fuzzing::core(bytes));
