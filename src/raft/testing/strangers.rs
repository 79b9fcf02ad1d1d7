//! Scenarios of nodes of another application that find a cluster, and of deploys that only look like that.

use super::cluster::Network;
use super::scenario::Scenario;
use super::seeds::{self, for_seeds};
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

fn worsen(scenario: &mut Scenario, seed: u64) {
    let loss = if seed.is_multiple_of(2) { 8 } else { 0 };
    scenario.cluster.network = Network { loss, repeats: loss, delay_ticks_max: 3, stragglers: loss / 4 };
}

fn assert_refused(scenario: &mut Scenario, name: &str) {
    let stopped = |scenario: &Scenario| scenario.cluster.replicas[name].stopped.clone().map(Option::unwrap);
    scenario.holds_within(REFUSED_TICKS_MAX, |scenario| stopped(scenario).is_some());
    let error = stopped(scenario);
    assert!(
        matches!(error, Some(Error::OtherApplication { .. })),
        "{error:?}: {:#?}",
        scenario.cluster.statuses()
    );
    scenario.cluster.crash(name);
    scenario.cluster.network = Network { delay_ticks_max: 2, ..Network::default() };
    scenario.until("a leader that all know", |scenario| scenario.leader().is_some());
    scenario.serve();
}

/// Newcomers of another application come to a cluster, one after the other.
pub fn a_stranger_knocks(seed: u64) {
    let is_named = seed.is_multiple_of(3);
    let (ours, theirs) =
        if is_named { (named("shop"), named("chat")) } else { (with(&["append", "lock"]), with(&["say"])) };
    let size = 3 + 2 * (seed % 2) as usize;
    let mut scenario = Scenario::found_as(seed, size, false, ours);
    worsen(&mut scenario, seed);
    for id in ["x", "n1"] {
        scenario.application = theirs.clone();
        let name = scenario.start_anew(id, None);
        assert_refused(&mut scenario, &name);
        let is_told = |warning: &Warning| matches!(warning, Warning::OtherApplication { .. });
        assert!(scenario.names().iter().any(|name| scenario.has_warned(name, is_told)), "no node has warned");
        assert!(scenario.names().iter().all(|name| scenario.status(name).members.len() == size));
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
        let mut scenario = Scenario::found_as(seed, 3, true, shop.clone());
        let target = if seed.is_multiple_of(2) {
            scenario.leader().expect("it was found")
        } else {
            scenario.names()[0].clone()
        };
        let disk = scenario.crash(&target, 4);
        worsen(&mut scenario, seed);
        scenario.application = with(&["say"]);
        let stranger = scenario.start_anew(&target, disk);
        scenario.application = shop;
        scenario.holds_within(REFUSED_TICKS_MAX, |scenario| {
            scenario.cluster.replicas[&stranger].stopped.is_some()
        });
        let disk = scenario.cluster.replicas[&stranger].disk.clone().map(|disk| disk.crash(4));
        assert_refused(&mut scenario, &stranger);
        // Corrected, it is welcome.
        scenario.start_anew(&target, disk);
        scenario.until("a leader that all know", |scenario| scenario.leader().is_some());
        scenario.serve();
    }
}

/// Each version has methods in common with the one before, and in the end there are none of those of the first.
#[test]
fn deploys_may_change_all_methods() {
    for seed in seeds::chosen(0..SEEDS) {
        let names: Vec<String> = (0..8).map(|number| format!("m{number}")).collect();
        let version = |number: usize| with(&[&names[number], &names[number + 1]]);
        let mut scenario = Scenario::found_as(seed, 3, true, version(0));
        worsen(&mut scenario, seed);
        for number in 1..6 {
            scenario.application = version(number);
            for id in ["n0", "n1", "n2"] {
                let names = scenario.names();
                let name = names.iter().find(|name| name.starts_with(id)).expect("it runs").clone();
                let disk = scenario.crash(&name, 4);
                scenario.start_anew(id, disk);
                scenario.until("a leader that all know", |scenario| scenario.leader().is_some());
            }
        }
        scenario.cluster.network = Network { delay_ticks_max: 2, ..Network::default() };
        scenario.serve();
        assert!(scenario.cluster.replicas.values().all(|replica| replica.stopped.is_none()));
    }
}
