//! A fuzz target: a value of the database.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| conflux::storage::disk::fuzzing::record(bytes));
