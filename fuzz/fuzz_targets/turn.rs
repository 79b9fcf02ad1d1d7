//! A fuzz target: the texts of JavaScript in a turn.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| conflux::js::fuzzing::turn(bytes));
