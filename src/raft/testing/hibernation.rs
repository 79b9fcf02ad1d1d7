//! Tests idle groups that hibernate, and what wakes them: from then on nothing takes longer than usual.
//!
//! `CONFLUX_SEED=7 cargo test hibernation` replays one seed of the worlds under faults.

use super::cluster::{Cluster, Network};
use super::faults::RATE;
use super::run::Run;
use super::scenario::Scenario;
use super::seeds::{self, for_seeds};
use crate::raft::snapshot::transfer::Transfer;
use crate::raft::wire::frame::{Frame, Receivers};
use crate::raft::wire::message::SnapshotMessage;
use crate::raft::{Input, Operation, Options, Role, Warning};

/// What is sent arrives within two ticks: a call on a follower takes a few of these.
const SERVED_WITHIN: u64 = 25;
/// What a node sends to all when it wakes has arrived.
const WOKEN_WITHIN: u64 = 3;
/// An election timeout is at most 50 ticks; votes, the first commit, and a call that is repeated to the new leader come
/// on top. Two nodes may campaign at once, and do so again after another timeout.
const SERVED_AFTER_DEATH_WITHIN: u64 = 125;
/// Until a follower has missed two heartbeats of a leader that hibernates.
const MISSED_WITHIN: u64 = 110;
/// What a leader of an idle group sends to each follower between two heartbeats.
const HEARTBEAT_TICKS: u64 = 50;

fn is_served_within(scenario: &mut Scenario, name: &str, ticks: u64) -> bool {
    let (sequence, _) = scenario.append(name);
    scenario.holds_within(ticks, |scenario| scenario.end(name, sequence).is_some())
}

fn leader_and_term(scenario: &Scenario) -> (String, u64) {
    let leader = scenario.leader().expect("all know one leader");
    let term = scenario.status(&leader).term;
    (leader, term)
}

fn size(seed: u64) -> usize {
    [3, 5][(seed / 2 % 2) as usize]
}

#[test]
fn an_idle_group_sends_few_heartbeats_and_keeps_its_leader() {
    for seed in 0..8 {
        let mut scenario = Scenario::found_hibernating(seed, size(seed), seed % 3 == 0);
        let before = leader_and_term(&scenario);
        scenario.cluster.trace = Some(Vec::new());
        let ticks = 4_000;
        scenario.ticks(ticks);
        let trace = scenario.cluster.trace.take().expect("it was switched on");
        let heartbeats = trace.iter().filter(|line| line.contains("Heartbeat term")).count() as u64;
        let due = ticks / HEARTBEAT_TICKS * (size(seed) as u64 - 1);
        assert!((due - 10..=due + 10).contains(&heartbeats), "seed {seed}: {heartbeats} of {due}");
        assert_eq!(leader_and_term(&scenario), before);
        assert!(scenario.cluster.statuses().values().all(|status| status.is_hibernating));
    }
}

#[test]
fn a_node_that_hibernates_needs_a_turn_only_for_heartbeats() {
    let scenario = Scenario::found_hibernating(0, 3, false);
    let (leader, _) = leader_and_term(&scenario);
    for (name, replica) in &scenario.cluster.replicas {
        let ticks = replica.node.ticks_until_wakeup();
        let ticks_max = if *name == leader { HEARTBEAT_TICKS } else { MISSED_WITHIN };
        assert!(ticks <= ticks_max, "{name}: {ticks}");
    }
    let followers = scenario.followers();
    let wakeups = followers.iter().map(|name| scenario.cluster.replicas[name].node.ticks_until_wakeup());
    assert!(wakeups.min() > Some(MISSED_WITHIN - HEARTBEAT_TICKS - 15), "a heartbeat comes before");
}

/// Otherwise a follower would miss its leader.
pub(super) fn a_leader_hibernates_last(seed: u64) {
    let mut scenario = Scenario::found_hibernating(seed, size(seed), false);
    scenario.cluster.network = Network { loss: 2, delay_ticks_max: 3, ..Network::default() };
    let (leader, _) = leader_and_term(&scenario);
    for _ in 0..3 {
        scenario.append(&leader);
        scenario.until("the leader is awake", |scenario| !scenario.status(&leader).is_hibernating);
        scenario.until("the leader hibernates", |scenario| scenario.status(&leader).is_hibernating);
        let awake: Vec<String> =
            scenario.names().into_iter().filter(|name| !scenario.status(name).is_hibernating).collect();
        assert!(awake.is_empty(), "seed {seed}: {awake:?} do not know that {leader} hibernates");
    }
}

#[test]
fn a_leader_hibernates_when_all_members_do() {
    for_seeds(0..40, a_leader_hibernates_last);
}

/// Nothing would wake the node when the pause after a failed one is over, and its log would stay as long as it is.
#[test]
fn a_group_hibernates_when_no_snapshot_is_due_any_more() {
    for seed in 0..8 {
        let mut scenario = Scenario::found_hibernating(seed, size(seed), seed % 3 == 0);
        let (leader, _) = leader_and_term(&scenario);
        let name = if seed % 2 == 0 { leader } else { scenario.followers().remove(0) };
        let refuse = |scenario: &mut Scenario, refuses| {
            let replica = scenario.cluster.replicas.get_mut(&name).expect("it runs");
            replica.application.refuses_snapshots = refuses;
        };
        refuse(&mut scenario, true);
        let is_failure = |warning: &Warning| matches!(warning, Warning::SnapshotFailed { .. });
        while !scenario.has_warned(&name, is_failure) {
            scenario.serve();
        }
        refuse(&mut scenario, false);
        let before = scenario.status(&name).snapshot_index;
        scenario.until("it has a snapshot", |scenario| scenario.status(&name).snapshot_index > before);
        scenario.hibernate();
    }
}

#[test]
fn a_call_on_any_node_of_a_group_that_hibernates_takes_no_longer() {
    for seed in 0..20 {
        let mut scenario = Scenario::found_hibernating(seed, size(seed), false);
        let before = leader_and_term(&scenario);
        for name in scenario.names() {
            scenario.ticks(seed * 7 % HEARTBEAT_TICKS);
            assert!(is_served_within(&mut scenario, &name, SERVED_WITHIN), "seed {seed}: {name}");
            assert!(!scenario.status(&name).is_hibernating);
            scenario.hibernate();
        }
        assert_eq!(leader_and_term(&scenario), before, "seed {seed}");
    }
}

/// The leader dies, and some time later a follower calls: at most the time of two missed heartbeats.
pub(super) fn a_leader_dies_and_a_follower_calls(seed: u64) {
    let mut scenario = Scenario::found_hibernating(seed, size(seed), false);
    let (leader, _) = leader_and_term(&scenario);
    let follower = scenario.followers()[(seed % 2) as usize].clone();
    scenario.ticks(seed * 13 % HEARTBEAT_TICKS);
    scenario.crash(&leader, 0);
    scenario.ticks(seed * 17 % 30);
    let (sequence, _) = scenario.append(&follower);
    let are_awake = scenario.holds_within(WOKEN_WITHIN, |scenario| {
        scenario.cluster.statuses().values().all(|status| !status.is_hibernating)
    });
    assert!(are_awake, "seed {seed}: {:#?}", scenario.cluster.statuses());
    let is_served = scenario
        .holds_within(SERVED_AFTER_DEATH_WITHIN, |scenario| scenario.end(&follower, sequence).is_some());
    assert!(is_served, "seed {seed}: {follower} is not served in time: {:#?}", scenario.cluster.statuses());
}

#[test]
fn a_call_after_the_death_of_a_leader_that_hibernated_takes_no_longer() {
    for_seeds(0..100, a_leader_dies_and_a_follower_calls);
}

#[test]
fn a_leader_that_dies_is_replaced_although_its_group_is_idle() {
    for seed in 0..40 {
        let mut scenario = Scenario::found_hibernating(seed, size(seed), false);
        let (leader, _) = leader_and_term(&scenario);
        scenario.ticks(seed * 13 % HEARTBEAT_TICKS);
        scenario.crash(&leader, 0);
        let ticks = MISSED_WITHIN + SERVED_AFTER_DEATH_WITHIN;
        let is_replaced = scenario.holds_within(ticks, |scenario| {
            scenario.cluster.statuses().values().any(|status| status.role == Role::Leader)
        });
        assert!(is_replaced, "seed {seed}: {:#?}", scenario.cluster.statuses());
    }
}

/// All followers that live wake by then: those that hibernate for longer would not vote in time.
#[test]
fn a_follower_that_has_missed_two_heartbeats_of_a_leader_that_hibernates_wakes() {
    for seed in 0..40 {
        let mut scenario = Scenario::found_hibernating(seed, size(seed), false);
        let (leader, _) = leader_and_term(&scenario);
        scenario.ticks(seed * 13 % HEARTBEAT_TICKS);
        scenario.crash(&leader, 0);
        scenario.cluster.frames.clear();
        // What one sends to all when it wakes is lost: each counts alone.
        scenario.cluster.cut_apart(|_, _| true);
        let are_awake = scenario.holds_within(MISSED_WITHIN, |scenario| {
            scenario.cluster.statuses().values().all(|status| !status.is_hibernating)
        });
        assert!(are_awake, "seed {seed}: {:#?}", scenario.cluster.statuses());
    }
}

/// Applications do work while they lead: two nodes do for little longer than an election takes.
#[test]
fn a_leader_that_is_cut_off_steps_down_although_its_group_is_idle() {
    for seed in 0..20 {
        let mut scenario = Scenario::found_hibernating(seed, size(seed), false);
        let (leader, _) = leader_and_term(&scenario);
        scenario.ticks(seed * 13 % HEARTBEAT_TICKS);
        scenario.cluster.cut_apart(|one, other| (one == leader) != (other == leader));
        let ticks = MISSED_WITHIN + 2 * HEARTBEAT_TICKS;
        let has_stepped_down =
            scenario.holds_within(ticks, |scenario| scenario.status(&leader).role != Role::Leader);
        assert!(has_stepped_down, "seed {seed}: {:#?}", scenario.status(&leader));
        scenario.cluster.cuts.clear();
        scenario.hibernate();
    }
}

/// A channel with connections reports a process that ends, so that no timeout is needed.
#[test]
fn a_connection_that_ends_wakes_a_group_whose_leader_died() {
    for seed in 0..20 {
        let mut scenario = Scenario::found_hibernating(seed, 3, false);
        let (leader, _) = leader_and_term(&scenario);
        let incarnation = scenario.cluster.replicas[&leader].incarnation.expect("it has joined");
        scenario.crash(&leader, 0);
        for name in scenario.names() {
            scenario.cluster.handle(&name, Input::PeerDisconnected(incarnation));
        }
        // Two may campaign at once, and again after an election timeout.
        let is_replaced = scenario.holds_within(2 * HEARTBEAT_TICKS, |scenario| {
            scenario.cluster.statuses().values().any(|status| status.role == Role::Leader)
        });
        assert!(is_replaced, "seed {seed}: {:#?}", scenario.cluster.statuses());
    }
}

#[test]
fn commands_newcomers_and_closing_nodes_wake_a_group() {
    for seed in 0..20 {
        let mut scenario = Scenario::found_hibernating(seed, 3, false);
        let (leader, term) = leader_and_term(&scenario);
        for name in scenario.names() {
            let ticket = scenario.cluster.operation(&name, Operation::Sync, 100);
            let is_done = scenario.holds_within(SERVED_WITHIN, |scenario| {
                scenario.cluster.replicas[&name].application.answered.get(&ticket) == Some(&Ok(()))
            });
            assert!(is_done, "seed {seed}: sync on {name}");
            scenario.hibernate();
        }
        let newcomer = scenario.start_anew("newcomer", None);
        let is_member = scenario.holds_within(SERVED_AFTER_DEATH_WITHIN, |scenario| {
            scenario.status(&newcomer).members.len() == 4 && scenario.status(&newcomer).is_caught_up
        });
        assert!(is_member, "seed {seed}: {:#?}", scenario.cluster.statuses());
        // A learner hibernates like the others.
        scenario.hibernate();
        assert_eq!(leader_and_term(&scenario), (leader.clone(), term), "seed {seed}");
        scenario.cluster.handle(&leader, Input::Close { ticks: 200, leaves: true });
        let has_another = scenario.holds_within(SERVED_WITHIN, |scenario| {
            let statuses = scenario.cluster.statuses();
            statuses.iter().any(|(name, status)| status.role == Role::Leader && *name != leader)
        });
        assert!(has_another, "seed {seed}: {:#?}", scenario.cluster.statuses());
    }
}

/// A process that was stopped for a while, with its clock, changes nothing when it continues.
#[test]
fn a_silent_member_wakes_its_leader_and_returns_to_it() {
    for seed in 0..20 {
        let mut scenario = Scenario::found_hibernating(seed, 3, false);
        let before = leader_and_term(&scenario);
        let silent = scenario.followers().remove(0);
        scenario.pause(std::slice::from_ref(&silent), true);
        // Two heartbeats are not answered, and then an election timeout passes.
        let is_noticed = scenario.holds_within(MISSED_WITHIN + 3 * HEARTBEAT_TICKS, |scenario| {
            scenario.status(&before.0).fault_tolerance == 0
        });
        assert!(is_noticed, "seed {seed}: {:#?}", scenario.status(&before.0));
        scenario.pause(&[silent], false);
        scenario.hibernate();
        assert_eq!(leader_and_term(&scenario), before, "seed {seed}");
    }
}

/// A bad network, clocks of different speed, and now and then a call: the leader stays the leader.
fn a_leader_leads_on(seed: u64) {
    let mut scenario = Scenario::found_hibernating(seed, size(seed), false);
    let before = leader_and_term(&scenario);
    let loss = 1 + scenario.cluster.roll(5);
    scenario.cluster.network = Network { loss, delay_ticks_max: 3, ..Network::default() };
    let mut hibernated = 0;
    for _ in 0..6 {
        for name in scenario.names() {
            let rate = RATE - 10 + scenario.cluster.roll(21);
            scenario.cluster.replicas.get_mut(&name).expect("it runs").rate = rate;
        }
        for _ in 0..600 {
            scenario.tick();
            hibernated += u64::from(scenario.status(&before.0).is_hibernating);
            for (name, status) in scenario.cluster.statuses() {
                assert_ne!(status.role, Role::Candidate, "seed {seed}: {name} campaigns");
            }
        }
        let name = scenario.names().remove(0);
        assert!(is_served_within(&mut scenario, &name, SERVED_AFTER_DEATH_WITHIN), "seed {seed}");
    }
    assert!(hibernated > 0, "seed {seed}: {hibernated}");
}

#[test]
fn a_leader_whose_group_hibernates_leads_on_in_a_bad_network() {
    for_seeds(0..60, a_leader_leads_on);
}

/// Groups that hibernate and wake in worlds with all faults keep what all groups promise.
#[test]
fn hibernation_keeps_every_promise_under_faults() {
    for_seeds(0..60, live_through);
}

fn live_through(seed: u64) {
    let size = seeds::nodes([3, 5, 4, 2][(seed % 4) as usize]);
    let mut cluster = Cluster::new(seed);
    (cluster.hibernates, cluster.rests) = (true, seed.is_multiple_of(2));
    let mut run = Run::found_of(cluster, size, &|_| false);
    run.draw_faults();
    let mut losses_left = (size - 1) / 2;
    let mut hibernated = 0;
    for _ in 0..seeds::ticks(12) {
        // Some time without anything, on a good network.
        run.cluster.network = Network::default();
        let names: Vec<String> = run.cluster.replicas.keys().cloned().collect();
        run.mend(&names);
        for _ in 0..400 + run.cluster.roll(600) {
            run.step();
        }
        hibernated += run.cluster.statuses().values().filter(|status| status.is_hibernating).count();
        run.worsen_network(21, 11, 8, 4);
        for _ in 0..1 + run.cluster.roll(6) {
            let names: Vec<String> = run.cluster.replicas.keys().cloned().collect();
            let name = &names[run.cluster.roll(names.len() as u64) as usize];
            match run.cluster.roll(12) {
                0 if losses_left > 0 => {
                    losses_left -= 1;
                    run.crash(name);
                }
                1 if losses_left > 0 => {
                    losses_left -= 1;
                    run.cluster.handle(name, Input::Close { ticks: 200, leaves: true });
                }
                2 => run.pause(name),
                3 => run.isolate(name),
                4 => run.partition(),
                5 => run.break_channel(name),
                6 => run.drift(name),
                7 => run.busy(name),
                8 => run.sync(name),
                _ => run.perform(name),
            }
            for _ in 0..run.cluster.roll(150) {
                run.step();
            }
        }
    }
    run.cluster.network = Network::default();
    let names: Vec<String> = run.cluster.replicas.keys().cloned().collect();
    run.mend(&names);
    run.cluster.replicas.values_mut().for_each(|replica| replica.rate = RATE);
    run.until("every perform has ended, and all nodes agree", 1_000, |run| {
        let statuses = run.cluster.statuses();
        let leads = statuses.values().find(|status| status.role == Role::Leader);
        leads.is_some_and(|leads| {
            statuses.values().all(|status| status.pending == 0 && status.applied_index == leads.last_index)
        })
    });
    assert!(hibernated > 0, "seed {seed}: no node has ever hibernated");
    run.check();
}

/// The rest of the image never arrives: the node waits for it as long as any other, and then hibernates.
#[test]
fn a_node_that_receives_a_snapshot_does_not_hibernate() {
    for seed in 0..4 {
        let mut scenario = Scenario::found_hibernating(seed, 3, false);
        let (leader, follower) = (leader_and_term(&scenario).0, scenario.followers().remove(0));
        let log = scenario.cluster.replicas[&leader].node.inspect().log().expect("it has one");
        let record = log.snapshot().clone();
        let (from, to) = (scenario.status(&leader), scenario.status(&follower));
        let options = Options { chunk_bytes: 40, ..Options::new("any", 3, [0; 32]) };
        let image = (record.position.index, record.image);
        let mut transfer = Transfer::new(1 << 40, from.term, to.incarnation, image, &options, true);
        let first = transfer.chunks().swap_remove(0);
        let frame = Frame {
            cluster: from.cluster,
            from: from.incarnation,
            start: None,
            to: Receivers::One(to.incarnation),
            messages: vec![SnapshotMessage::Chunk(first).into()],
        };
        scenario.cluster.handle(&follower, Input::Frame(frame.encode()));
        let receives =
            |scenario: &Scenario| scenario.cluster.replicas[&follower].node.inspect().reception().is_some();
        assert!(receives(&scenario), "seed {seed}");
        while receives(&scenario) {
            assert!(!scenario.status(&follower).is_hibernating, "seed {seed}");
            scenario.tick();
        }
        scenario.hibernate();
    }
}
