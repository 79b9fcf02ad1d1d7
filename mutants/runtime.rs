//! Switches one mutation on, and notes which were reached. It stands in for `src/mutants.rs` in the copy.
#![allow(dead_code)]

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

const COUNT: usize = 20_000;

static ACTIVE: LazyLock<u32> =
    LazyLock::new(|| std::env::var("CONFLUX_MUTANT").ok().and_then(|text| text.parse().ok()).unwrap_or(0));
static REACHED: [AtomicBool; COUNT] = [const { AtomicBool::new(false) }; COUNT];

/// Whether this mutation is the one that is on.
pub fn is(number: u32) -> bool {
    let reached = &REACHED[number as usize];
    if !reached.load(Relaxed) {
        reached.store(true, Relaxed);
    }
    *ACTIVE == number
}

pub fn lt<T: PartialOrd + ?Sized>(number: u32, a: &T, b: &T) -> bool {
    if is(number) { a <= b } else { a < b }
}

pub fn le<T: PartialOrd + ?Sized>(number: u32, a: &T, b: &T) -> bool {
    if is(number) { a < b } else { a <= b }
}

pub fn gt<T: PartialOrd + ?Sized>(number: u32, a: &T, b: &T) -> bool {
    if is(number) { a >= b } else { a > b }
}

pub fn ge<T: PartialOrd + ?Sized>(number: u32, a: &T, b: &T) -> bool {
    if is(number) { a > b } else { a >= b }
}

pub fn min<T: Ord>(number: u32, a: T, b: T) -> T {
    if is(number) { a.max(b) } else { a.min(b) }
}

pub fn max<T: Ord>(number: u32, a: T, b: T) -> T {
    if is(number) { a.min(b) } else { a.max(b) }
}

/// Writes the numbers of those that were reached, where the environment asks for them. Run as the last test.
pub fn write_reached() {
    let Ok(path) = std::env::var("CONFLUX_REACHED") else { return };
    let reached = REACHED.iter().enumerate().filter(|(_, reached)| reached.load(Relaxed));
    let numbers: Vec<String> = reached.map(|(number, _)| number.to_string()).collect();
    std::fs::write(path, numbers.join("\n")).expect("the list of reached mutations can be written");
}
