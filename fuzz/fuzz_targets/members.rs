//! A fuzz target: the members of a cluster.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| conflux::raft::fuzzing::members(bytes));
