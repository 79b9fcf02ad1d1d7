//! A fuzz target: input from the network, in a batch for JavaScript.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| conflux::js::fuzzing::batch(bytes));
