//! Scenarios of copied directories: of the processes of one incarnation only one is accepted, and none whose
//! directory lacks what its member has acknowledged.

use super::cluster::{Network, Sent};
use super::disk::Disk;
use super::scenario::Scenario;
use super::seeds::{self, for_seeds};
use crate::error::Error;
use crate::raft::{Input, Operation, Warning};

/// Within so many ticks a copy is refused: it speaks when it looks for a leader.
const REFUSED_TICKS_MAX: u64 = 400;
const SEEDS: u64 = 60;

fn copy(scenario: &Scenario, name: &str) -> Disk {
    scenario.cluster.replicas[name].disk.clone().expect("it has a disk").crash(0)
}

/// A cluster of 3 or 5 with disks, and the one whose directory is copied: the leader in every third seed.
fn found(seed: u64) -> (Scenario, String) {
    let mut scenario = Scenario::found(seed, 3 + 2 * (seed % 2) as usize, true);
    let leader = scenario.leader().expect("it was found");
    let target = if seed.is_multiple_of(3) { leader } else { scenario.followers()[0].clone() };
    // Its start is in the log by now.
    scenario.ticks(20);
    scenario.serve();
    (scenario, target)
}

fn worsen(scenario: &mut Scenario, seed: u64) {
    let is_bad = seed % 4 == 3;
    let (loss, stragglers) = if is_bad { (5, 2) } else { (0, 0) };
    scenario.cluster.network = Network { loss, repeats: loss, delay_ticks_max: 2, stragglers };
}

fn serve_some(scenario: &mut Scenario, count: usize) {
    (0..count).for_each(|_| scenario.serve());
}

/// The process stops with this error, and no other does.
fn assert_refused(scenario: &mut Scenario, name: &str, is: impl Fn(&Error) -> bool) {
    let stopped =
        |scenario: &Scenario, name: &str| scenario.cluster.replicas[name].stopped.clone().map(Option::unwrap);
    scenario.holds_within(REFUSED_TICKS_MAX, |scenario| stopped(scenario, name).is_some());
    let error = stopped(scenario, name)
        .unwrap_or_else(|| panic!("{name} runs on: {:#?}", scenario.cluster.statuses()));
    assert!(is(&error), "{name} stopped with: {error}");
    scenario.cluster.crash(name);
    let others: Vec<String> = scenario.names();
    assert!(others.iter().all(|other| stopped(scenario, other).is_none()), "{others:?}");
    scenario.cluster.network = Network { delay_ticks_max: 2, ..Network::default() };
    scenario.until("a leader that all know", |scenario| scenario.leader().is_some());
    scenario.serve();
}

/// A copy is started beside the member, which continues.
pub fn a_copy_runs_beside(seed: u64) {
    let (mut scenario, target) = found(seed);
    let disk = copy(&scenario, &target);
    serve_some(&mut scenario, 3);
    worsen(&mut scenario, seed);
    let clone = scenario.start_anew(&target, Some(disk));
    assert_refused(&mut scenario, &clone, |error| matches!(error, Error::StorageCopied { .. }));
    let has_warned =
        |name: &String| scenario.has_warned(name, |warning| matches!(warning, Warning::StorageCopied { .. }));
    assert!(scenario.names().iter().any(has_warned), "no node has warned");
}

#[test]
fn a_copy_beside_its_member_is_refused() {
    for_seeds(0..SEEDS, a_copy_runs_beside);
}

/// The directory of a member is put back as it was before its last starts.
pub fn an_older_directory_is_put_back(seed: u64) {
    let (mut scenario, target) = found(seed);
    let mut disk = scenario.crash(&target, 4).expect("it has a disk");
    let older = disk.clone();
    for start in 0..=seed % 3 {
        let name = scenario.start_anew(&target, Some(disk));
        scenario.until("it is back", |scenario| scenario.leader().is_some());
        scenario.serve();
        // The cluster has recorded it.
        scenario.ticks(20);
        serve_some(&mut scenario, 1 + start as usize);
        disk = scenario.crash(&name, 4).expect("it has a disk");
    }
    worsen(&mut scenario, seed);
    if seed % 5 == 4 {
        // No process is left that has heard it.
        let disks = scenario.names().into_iter().map(|name| (name.clone(), scenario.crash(&name, 4)));
        for (name, disk) in disks.collect::<Vec<_>>() {
            let id = name.split('+').next().expect("a name begins with the id");
            scenario.start_anew(id, disk);
        }
    }
    let name = scenario.start_anew(&target, Some(older));
    assert_refused(&mut scenario, &name, |error| matches!(error, Error::StorageOutdated { .. }));
}

#[test]
fn an_older_directory_is_refused_also_by_who_has_only_read_of_it() {
    for_seeds(0..SEEDS, an_older_directory_is_put_back);
}

/// A follower's directory is put back as it was in the middle of its last run: its leader knows what it acknowledged.
pub fn an_older_moment_is_put_back(seed: u64) {
    let (mut scenario, _) = found(seed);
    let target = scenario.followers()[0].clone();
    let older = copy(&scenario, &target);
    serve_some(&mut scenario, 5);
    scenario.ticks(20);
    scenario.crash(&target, 4);
    worsen(&mut scenario, seed);
    let name = scenario.start_anew(&target, Some(older));
    assert_refused(&mut scenario, &name, |error| matches!(error, Error::StorageOutdated { .. }));
}

#[test]
fn an_older_moment_of_the_same_run_is_refused() {
    for_seeds(0..SEEDS, an_older_moment_is_put_back);
}

/// Two processes with one content, started one after the other while the member is away: the first takes its place.
#[test]
fn of_two_copies_the_first_is_heard() {
    for seed in seeds::chosen(0..SEEDS) {
        let (mut scenario, target) = found(seed);
        let disk = scenario.crash(&target, 4).expect("it has a disk");
        scenario.start_anew(&target, Some(disk.clone()));
        scenario.until("it is back", |scenario| scenario.leader().is_some());
        scenario.serve();
        scenario.ticks(20);
        worsen(&mut scenario, seed);
        let second = scenario.start_anew(&target, Some(disk));
        // It does not know the start of the first, and may hear that before the first answers.
        assert_refused(&mut scenario, &second, |error| {
            matches!(error, Error::StorageCopied { .. } | Error::StorageOutdated { .. })
        });
    }
}

/// Whatever happens to a directory that is no copy, it is never refused: it comes back at once, again and again, with
/// starts that no other node heard, beside others, while leaders change, and while frames of earlier starts come again.
pub fn a_directory_is_no_copy(seed: u64) {
    let (mut scenario, _) = found(seed);
    worsen(&mut scenario, seed);
    scenario.cluster.echoes.draw();
    for round in 0..6 {
        let names = scenario.names();
        let count = if round == 3 { names.len() } else { 1 + scenario.cluster.roll(2) as usize };
        let gone = names.into_iter().take(count).map(|name| (name.clone(), scenario.crash(&name, 4)));
        let gone: Vec<(String, Option<Disk>)> = gone.collect();
        for (name, disk) in gone {
            let mut disk = disk.expect("it has a disk");
            // Starts that end before they say a word.
            for silent in 0..scenario.cluster.roll(3) {
                disk.load(silent << 32 | round << 16 | seed);
            }
            let id = name.split('+').next().expect("a name begins with the id").to_string();
            scenario.start_anew(&id, Some(disk));
            let pause = scenario.cluster.roll(80);
            scenario.ticks(pause);
        }
        scenario.until("a leader that all know", |scenario| scenario.leader().is_some());
        for name in scenario.names() {
            scenario.cluster.operation(&name, Operation::TransferLeadership { to: None }, 100);
            scenario.ticks(seed % 7 * 10);
        }
        scenario.until("a leader that all know", |scenario| scenario.leader().is_some());
        assert!(
            scenario.cluster.replicas.values().all(|replica| replica.stopped.is_none()),
            "one was refused"
        );
    }
    scenario.cluster.echoes.end();
    scenario.cluster.network = Network { delay_ticks_max: 2, ..Network::default() };
    scenario.until("a leader that all know", |scenario| scenario.leader().is_some());
    scenario.serve();
}

#[test]
fn a_directory_that_is_no_copy_is_never_refused() {
    for_seeds(0..SEEDS, a_directory_is_no_copy);
}

#[test]
fn a_former_start_that_the_log_names_is_not_heard_again() {
    for_seeds(0..40, a_frame_of_a_former_start_comes_late);
}

/// It reaches a leader that has heard the member's present start, while its log names the former one.
pub(super) fn a_frame_of_a_former_start_comes_late(seed: u64) {
    let mut scenario = Scenario::found(seed, 3, true);
    let [next, member] = &scenario.followers()[..] else { panic!("three have two followers") };
    let (next, member) = (next.clone(), member.clone());
    let disk = scenario.crash(&member, 4);
    let former = scenario.start_anew(&member, disk);
    let mut late = None;
    for _ in 0..200 {
        let is_late = |sent: &&Sent| sent.from == former && sent.to == next;
        late = scenario.cluster.frames.values().rfind(is_late).map(|sent| sent.bytes.clone()).or(late);
        scenario.tick();
    }
    let late = late.expect("it said which start it is");
    // Both that are left lead one after the other, and are not ready to: neither records the present start.
    let leader = scenario.leader().expect("it is back");
    let disk = scenario.crash(&former, 4);
    let gone = scenario.crash(&leader, 4);
    let present = scenario.start_anew(&member, disk);
    let set_busy = |scenario: &mut Scenario, is_busy| {
        for name in [&next, &present] {
            scenario.cluster.replicas.get_mut(name).expect("it runs").is_busy = is_busy;
            scenario.cluster.answer(name);
        }
    };
    set_busy(&mut scenario, true);
    scenario.ticks(100);
    scenario.cluster.handle(&next, Input::Frame(late.clone()));
    scenario.cluster.operation(
        &present,
        Operation::TransferLeadership { to: Some(next.as_str().into()) },
        100,
    );
    scenario.ticks(80);
    scenario.cluster.handle(&next, Input::Frame(late));
    scenario.ticks(60);
    set_busy(&mut scenario, false);
    scenario.start_anew(leader.split('+').next().expect("a name begins with the id"), gone);
    scenario.until("a leader that all know", |scenario| scenario.leader().is_some());
    scenario.serve();
}
