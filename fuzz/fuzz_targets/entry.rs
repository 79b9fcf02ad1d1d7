//! A fuzz target: what an entry of the log carries.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| conflux::raft::fuzzing::entry(bytes));
