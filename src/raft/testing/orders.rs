//! Scenarios of commands that a node repeats because it has not learned that they were executed.

use super::scenarios::Scenario;
use crate::raft::{Operation, Role};

/// A member gives an order, and hears nothing from a moment on, early or late.
fn order_and_hear_nothing(seed: u64, operation: Operation) -> (Scenario, String) {
    let mut scenario = Scenario::found(seed, 4, |_| {});
    scenario.serve();
    let asker = scenario.followers().remove(0);
    scenario.cluster.operation(&asker, operation, 10_000);
    scenario.ticks(3 + seed % 8);
    pause(&mut scenario, &asker, true);
    (scenario, asker)
}

fn pause(scenario: &mut Scenario, name: &str, is_paused: bool) {
    scenario.cluster.replicas.get_mut(name).expect("it runs").is_paused = is_paused;
}

/// The leader of a cluster of this many voters.
fn size(scenario: &Scenario) -> Option<usize> {
    scenario
        .cluster
        .statuses()
        .values()
        .find(|status| status.role == Role::Leader)
        .map(|status| status.cluster_size)
}

/// A node that was removed and joins again, before the other node learns of either, stays a member.
pub(super) fn a_removal_is_not_repeated(seed: u64) {
    let removed = "n3";
    let mut scenario = Scenario::found(seed, 4, |_| {});
    scenario.serve();
    if scenario.followers().remove(0) == removed || scenario.leader().as_deref() == Some(removed) {
        return;
    }
    let (mut scenario, asker) = order_and_hear_nothing(seed, Operation::Remove { id: removed.into() });
    let former = scenario.cluster.replicas[removed].incarnation;
    let is_back = |scenario: &Scenario| {
        let statuses = scenario.cluster.statuses();
        let leads = statuses.values().find(|status| status.role == Role::Leader);
        leads.is_some_and(|status| {
            let named: Vec<_> = status.members.iter().filter(|member| &*member.id == removed).collect();
            named.len() == 1 && Some(named[0].incarnation) != former
        })
    };
    for _ in 0..2_000 {
        if !is_back(&scenario) {
            scenario.ticks(1);
        }
    }
    let has_joined_again = is_back(&scenario);
    let now = scenario.cluster.replicas[removed].incarnation;
    pause(&mut scenario, &asker, false);
    scenario.until("the order is carried out", |scenario| {
        !scenario.cluster.replicas[&asker].application.answered.is_empty()
    });
    scenario.ticks(500);
    if has_joined_again {
        assert_eq!(scenario.cluster.replicas[removed].incarnation, now, "it was removed twice");
    }
    scenario.serve();
}

/// Another size that was ordered since stays.
pub(super) fn a_resize_is_not_repeated(seed: u64) {
    let (mut scenario, asker) = order_and_hear_nothing(seed, Operation::Resize { cluster_size: 5 });
    for _ in 0..200 {
        if size(&scenario) != Some(5) {
            scenario.ticks(1);
        }
    }
    let was_resized = size(&scenario) == Some(5);
    if was_resized {
        let other = scenario.cluster.replicas.keys().find(|name| **name != asker).cloned().expect("four run");
        scenario.cluster.operation(&other, Operation::Resize { cluster_size: 3 }, 10_000);
        scenario.until("it is resized again", |scenario| size(scenario) == Some(3));
    }
    pause(&mut scenario, &asker, false);
    scenario.until("the order is carried out", |scenario| {
        !scenario.cluster.replicas[&asker].application.answered.is_empty()
    });
    scenario.ticks(500);
    assert_eq!(size(&scenario), Some(if was_resized { 3 } else { 5 }), "it was resized twice");
}

#[test]
fn an_order_that_is_given_again_is_not_carried_out_twice() {
    for seed in 0..60 {
        a_removal_is_not_repeated(seed);
        a_resize_is_not_repeated(seed);
    }
}
