//! This file tells of nodes of another application that come upon a cluster, and of deploys that only look like that.

use super::cluster::Network;
use super::seeds::{self, for_seeds};
use super::tale::Tale;
use crate::error::Error;
use crate::raft::{Application, Warning};

const REFUSED_TICKS_MAX: u64 = 600;
const SEEDS: u64 = 40;

fn with(methods: &[&str]) -> Application {
    Application::new(None, methods.iter().copied())
}

fn named(name: &str) -> Application {
    Application::new(Some(name), ["append"])
}

fn worsen(tale: &mut Tale, seed: u64) {
    let loss = if seed.is_multiple_of(2) { 8 } else { 0 };
    tale.cluster.network = Network { loss, repeats: loss, delay_ticks_max: 3, stragglers: loss / 4 };
}

fn assert_refused(tale: &mut Tale, name: &str) {
    let stopped = |tale: &Tale| tale.cluster.replicas[name].stopped.clone().map(Option::unwrap);
    tale.holds_within(REFUSED_TICKS_MAX, |tale| stopped(tale).is_some());
    let error = stopped(tale);
    assert!(
        matches!(error, Some(Error::OtherApplication { .. })),
        "{error:?}: {:#?}",
        tale.cluster.statuses()
    );
    tale.cluster.crash(name);
    tale.cluster.network = Network { delay_ticks_max: 2, ..Network::default() };
    tale.until("a leader that all know", |tale| tale.leader().is_some());
    tale.serve();
}

/// Newcomers of another application come to a cluster, one after the other.
pub fn a_stranger_knocks(seed: u64) {
    let is_named = seed.is_multiple_of(3);
    let (ours, theirs) =
        if is_named { (named("shop"), named("chat")) } else { (with(&["append", "lock"]), with(&["say"])) };
    let size = 3 + 2 * (seed % 2) as usize;
    let mut tale = Tale::found_as(seed, size, false, ours);
    worsen(&mut tale, seed);
    for id in ["x", "n1"] {
        tale.application = theirs.clone();
        let name = tale.start_anew(id, None);
        assert_refused(&mut tale, &name);
        let is_told = |warning: &Warning| matches!(warning, Warning::OtherApplication { .. });
        assert!(tale.names().iter().any(|name| tale.has_warned(name, is_told)), "nobody was told");
        assert!(tale.names().iter().all(|name| tale.status(name).members.len() == size));
    }
}

#[test]
fn a_stranger_is_refused_and_its_cluster_serves_on() {
    for_seeds(0..SEEDS, a_stranger_knocks);
}

/// Members come back with their logs, as another application: followers and leaders, one after the other.
#[test]
fn a_member_that_returns_as_a_stranger_is_refused() {
    for seed in seeds::chosen(0..SEEDS) {
        let shop = with(&["append", "lock"]);
        let mut tale = Tale::found_as(seed, 3, true, shop.clone());
        let victim = if seed.is_multiple_of(2) {
            tale.leader().expect("it was found")
        } else {
            tale.names()[0].clone()
        };
        let disk = tale.crash(&victim, 4);
        worsen(&mut tale, seed);
        tale.application = with(&["say"]);
        let stranger = tale.start_anew(&victim, disk);
        tale.application = shop;
        tale.holds_within(REFUSED_TICKS_MAX, |tale| tale.cluster.replicas[&stranger].stopped.is_some());
        let disk = tale.cluster.replicas[&stranger].disk.clone().map(|disk| disk.crash(4));
        assert_refused(&mut tale, &stranger);
        // Corrected, it is welcome.
        tale.start_anew(&victim, disk);
        tale.until("a leader that all know", |tale| tale.leader().is_some());
        tale.serve();
    }
}

/// Each version has methods in common with the one before, and in the end there are none of those of the first.
#[test]
fn deploys_may_change_all_methods() {
    for seed in seeds::chosen(0..SEEDS) {
        let names: Vec<String> = (0..8).map(|number| format!("m{number}")).collect();
        let version = |number: usize| with(&[&names[number], &names[number + 1]]);
        let mut tale = Tale::found_as(seed, 3, true, version(0));
        worsen(&mut tale, seed);
        for number in 1..6 {
            tale.application = version(number);
            for id in ["n0", "n1", "n2"] {
                let names = tale.names();
                let name = names.iter().find(|name| name.starts_with(id)).expect("it runs").clone();
                let disk = tale.crash(&name, 4);
                tale.start_anew(id, disk);
                tale.until("a leader that all know", |tale| tale.leader().is_some());
            }
        }
        tale.cluster.network = Network { delay_ticks_max: 2, ..Network::default() };
        tale.serve();
        assert!(tale.cluster.replicas.values().all(|replica| replica.stopped.is_none()));
    }
}
