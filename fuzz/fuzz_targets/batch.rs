//! A fuzz target: what came over the network, on its way to JavaScript.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| conflux::js::fuzzing::batch(bytes));

