//! This room lies to a core: it takes nodes out of a living cluster and sends them what no correct peer would send.
//!
//! `situation` brings a cluster into the states that matter, `liar` makes the messages, `victim` is the node that hears
//! them. `CONFLUX_MESSAGES=500000 cargo test hostile` is the long form; a failure names its seed, and
//! `CONFLUX_SEED=7 cargo test hostile` replays it.

mod liar;
mod situation;
mod victim;

use std::collections::BTreeMap;

use liar::{Liar, Lie};
use situation::{SITUATIONS, Situation};
use victim::Victim;

use super::simulation::for_seeds;
use crate::raft::Input;

/// A node that was lied to this often is worn out: its term and log are no longer those of a cluster.
const LIES_PER_VICTIM: u64 = 400;

fn messages() -> u64 {
    std::env::var("CONFLUX_MESSAGES").ok().and_then(|text| text.parse().ok()).unwrap_or(50_000)
}

/// raft-rs trusts its peers and panics on what they never say: the guard must keep all of that from it.
#[test]
fn hostile_raft_messages_never_panic_and_what_cannot_be_true_changes_nothing() {
    let seen = bombard(messages(), Liar::raft);
    for situation in SITUATIONS {
        assert!(seen.contains_key(&situation), "no node was {situation:?}: {seen:?}");
    }
}

/// The same of everything else that a frame can say.
#[test]
fn hostile_words_of_every_kind_never_panic() {
    bombard(messages(), Liar::anything);
}

/// How many victims there were of each kind.
fn bombard(
    messages: u64,
    lie: impl Fn(&mut Liar, &Victim) -> Lie + std::panic::RefUnwindSafe,
) -> BTreeMap<Situation, u64> {
    let seen = std::sync::Mutex::new(BTreeMap::new());
    // Three nodes of each cluster hear lies.
    let clusters = messages.div_ceil(LIES_PER_VICTIM * 3).max(SITUATIONS.len() as u64);
    // Of the three, one is in the situation itself.
    for_seeds(0..clusters, |seed| {
        let (situation, victims, mut liar) = situation::prepare(seed);
        if let Some(situation) = situation {
            *seen.lock().expect("no holder panics").entry(situation).or_insert(0) += 1;
        }
        for mut victim in victims {
            for _ in 0..LIES_PER_VICTIM {
                let told = lie(&mut liar, &victim);
                victim.hear(&told);
                if victim.is_stopped() {
                    break;
                }
                if liar.roll(10) == 0 {
                    victim.handle(Input::Tick);
                }
            }
        }
    });
    seen.into_inner().expect("no holder panics")
}
