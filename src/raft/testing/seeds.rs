//! Decides which seeds a simulation runs, by environment variables.
//!
//! `CONFLUX_SEED` is one to run alone; `CONFLUX_FROM` and `CONFLUX_SEEDS` are the first and how many. To find the
//! smallest run that still fails, `CONFLUX_TICKS` ends its faults early, `CONFLUX_NODES` and `CONFLUX_CLIENTS` say how
//! many nodes there are at most and on how many of them is called, and `CONFLUX_WITHOUT` leaves faults out
//! (`faults.rs`).

use std::ops::Range;

use super::faults;

/// The seeds to run, where nothing else is asked: `seeds`.
pub fn chosen(seeds: Range<u64>) -> Range<u64> {
    if let Some(seed) = number("CONFLUX_SEED") {
        return seed..seed + 1;
    }
    let from = number("CONFLUX_FROM").unwrap_or(seeds.start);
    let count = number("CONFLUX_SEEDS").unwrap_or(seeds.end - seeds.start);
    from..from + count
}

/// How many states of a scenario an exploration visits, where nothing else is asked: `states`.
pub fn states(states: u64) -> u64 {
    number("CONFLUX_STATES").unwrap_or(states)
}

/// For how many ticks there are faults, where nothing else is asked: `ticks`.
pub fn ticks(ticks: u64) -> u64 {
    number("CONFLUX_TICKS").unwrap_or(ticks)
}

/// How many nodes found the cluster, where nothing else is asked: `nodes`.
pub fn nodes(nodes: usize) -> usize {
    number("CONFLUX_NODES").map_or(nodes, |most| nodes.min(most.max(1) as usize))
}

/// Of `nodes`, on how many is called.
pub fn clients(nodes: usize) -> usize {
    number("CONFLUX_CLIENTS").map_or(nodes, |most| nodes.min(most.max(1) as usize))
}

/// Runs the chosen seeds, one by one, and names the one that fails.
pub fn for_seeds(seeds: Range<u64>, test: impl Fn(u64) + std::panic::RefUnwindSafe) {
    for seed in chosen(seeds) {
        _ = faults::take_struck();
        if let Err(panic) = std::panic::catch_unwind(|| test(seed)) {
            eprintln!("CONFLUX_SEED={seed} fails, with {}", faults::take_struck().join(","));
            std::panic::resume_unwind(panic);
        }
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not `{text}`")))
}
