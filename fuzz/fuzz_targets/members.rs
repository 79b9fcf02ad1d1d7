//! A fuzz target: who is in a cluster.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| conflux::raft::fuzzing::members(bytes));
