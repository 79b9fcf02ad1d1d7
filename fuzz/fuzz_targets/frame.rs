//! A fuzz target: bytes from a channel become a frame, or are dropped.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| conflux::raft::fuzzing::frame(bytes));
