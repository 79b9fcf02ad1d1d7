//! Ends the process at a named point, for the crash tests (`__test__/crash-points.test.js`).
//!
//! Passed by `driver.rs` and `storage/`. Without the feature `crash-points`, which no shipped addon has, a point is
//! nothing. With it, `CONFLUX_CRASH_POINT=after-sync:3` ends the process the third time that it passes this point.

#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub fn point(_name: &str) {}

#[cfg(feature = "crash-points")]
pub fn point(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static CHOSEN: OnceLock<Option<(String, AtomicU64)>> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        let text = std::env::var("CONFLUX_CRASH_POINT").ok()?;
        let (name, count) = text.split_once(':').expect("it is `name:count`");
        Some((name.to_owned(), AtomicU64::new(count.parse().expect("the count is a number"))))
    });
    if let Some((chosen, left)) = chosen
        && chosen == name
        && left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        // As kill -9: no destructor runs, no buffer is written.
        std::process::abort();
    }
}
