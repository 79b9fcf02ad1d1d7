//! Switches one mutation on, or notes which mutations each test reaches. It stands in for `src/mutants.rs` in the copy.
#![allow(dead_code)]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::Write;
use std::sync::LazyLock;
use std::time::Instant;

/// The number of the mutation that is on; 0 is none.
static ACTIVE: LazyLock<u32> =
    LazyLock::new(|| std::env::var("CONFLUX_MUTANT").ok().and_then(|text| text.parse().ok()).unwrap_or(0));

/// Where the threads write what they have reached, if that is asked for.
static REACHED_FILE: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("CONFLUX_REACHED").ok());

thread_local! {
    static REACHED: Reached =
        Reached { started: Instant::now(), flags: RefCell::default() };
}

/// What one thread has reached. libtest runs each test in a thread of its own, which has the test's name.
struct Reached {
    started: Instant,
    flags: RefCell<Vec<bool>>,
}

impl Reached {
    fn add(&self, number: u32) {
        let mut flags = self.flags.borrow_mut();
        let at = number as usize;
        if flags.len() <= at {
            flags.resize(at + 1, false);
        }
        flags[at] = true;
    }
}

impl Drop for Reached {
    /// Adds one line to the file: the thread's name, its milliseconds, and the numbers.
    fn drop(&mut self) {
        let Some(path) = &*REACHED_FILE else { return };
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        let flags = self.flags.take();
        let numbers: BTreeSet<String> =
            flags.iter().enumerate().filter(|(_, is_set)| **is_set).map(|(at, _)| at.to_string()).collect();
        let numbers = numbers.into_iter().collect::<Vec<_>>().join(",");
        let line = format!("{name}\t{}\t{numbers}\n", self.started.elapsed().as_millis());
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        written.expect("the list of reached mutations can be written");
    }
}

/// Whether this mutation is the one that is on.
pub fn is(number: u32) -> bool {
    if REACHED_FILE.is_some() {
        // A thread that ends may still drop values that get here.
        _ = REACHED.try_with(|reached| reached.add(number));
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
