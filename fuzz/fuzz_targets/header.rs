//! A fuzz target: the head of the database's file.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| conflux::storage::disk::fuzzing::header(bytes));
