//! A fuzz target: bytes from a channel with a secret are refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| conflux::channel::sealed::fuzzing::sealed(bytes));
