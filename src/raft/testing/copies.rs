//! This file tells of copied directories: of processes under one incarnation only the rightful one is heard, and what a
//! directory has forgotten is not believed.

use super::cluster::{Network, Sent};
use super::disk::Disk;
use super::seeds::{self, for_seeds};
use super::tale::Tale;
use crate::error::Error;
use crate::raft::{Ask, Input, Warning};

/// Within so many ticks a copy is refused: it speaks when it looks for a leader.
const REFUSED_TICKS_MAX: u64 = 400;
const SEEDS: u64 = 60;

fn copy(tale: &Tale, name: &str) -> Disk {
    tale.cluster.replicas[name].disk.clone().expect("it has a disk").crash(0)
}

/// A cluster of 3 or 5 with disks, and the one whose directory is copied: the leader in every third seed.
fn found(seed: u64) -> (Tale, String) {
    let mut tale = Tale::found(seed, 3 + 2 * (seed % 2) as usize, true);
    let leader = tale.leader().expect("it was found");
    let victim = if seed.is_multiple_of(3) { leader } else { tale.followers()[0].clone() };
    // Its start is in the log by now.
    tale.ticks(20);
    tale.serve();
    (tale, victim)
}

fn worsen(tale: &mut Tale, seed: u64) {
    let is_bad = seed % 4 == 3;
    let (loss, stragglers) = if is_bad { (5, 2) } else { (0, 0) };
    tale.cluster.network = Network { loss, repeats: loss, delay_ticks_max: 2, stragglers };
}

fn serve_some(tale: &mut Tale, count: usize) {
    (0..count).for_each(|_| tale.serve());
}

/// The process stops with this error, and no other does.
fn assert_refused(tale: &mut Tale, name: &str, is: impl Fn(&Error) -> bool) {
    let stopped = |tale: &Tale, name: &str| tale.cluster.replicas[name].stopped.clone().map(Option::unwrap);
    tale.holds_within(REFUSED_TICKS_MAX, |tale| stopped(tale, name).is_some());
    let error =
        stopped(tale, name).unwrap_or_else(|| panic!("{name} runs on: {:#?}", tale.cluster.statuses()));
    assert!(is(&error), "{name} stopped with: {error}");
    tale.cluster.crash(name);
    let others: Vec<String> = tale.names();
    assert!(others.iter().all(|other| stopped(tale, other).is_none()), "{others:?}");
    tale.cluster.network = Network { delay_ticks_max: 2, ..Network::default() };
    tale.until("a leader that all know", |tale| tale.leader().is_some());
    tale.serve();
}

/// A copy is started beside the member, which goes on.
pub fn a_copy_runs_beside(seed: u64) {
    let (mut tale, victim) = found(seed);
    let disk = copy(&tale, &victim);
    serve_some(&mut tale, 3);
    worsen(&mut tale, seed);
    let clone = tale.start_anew(&victim, Some(disk));
    assert_refused(&mut tale, &clone, |error| matches!(error, Error::StorageCopied { .. }));
    let has_warned =
        |name: &String| tale.has_warned(name, |warning| matches!(warning, Warning::StorageCopied { .. }));
    assert!(tale.names().iter().any(has_warned), "nobody was told");
}

#[test]
fn a_copy_beside_its_member_is_refused() {
    for_seeds(0..SEEDS, a_copy_runs_beside);
}

/// The directory of a member is put back as it was before its last starts.
pub fn an_older_directory_is_put_back(seed: u64) {
    let (mut tale, victim) = found(seed);
    let mut disk = tale.crash(&victim, 4).expect("it has a disk");
    let older = disk.clone();
    for start in 0..=seed % 3 {
        let name = tale.start_anew(&victim, Some(disk));
        tale.until("it is back", |tale| tale.leader().is_some());
        tale.serve();
        // The cluster has recorded it.
        tale.ticks(20);
        serve_some(&mut tale, 1 + start as usize);
        disk = tale.crash(&name, 4).expect("it has a disk");
    }
    worsen(&mut tale, seed);
    if seed % 5 == 4 {
        // Nobody is left who has heard it.
        let disks = tale.names().into_iter().map(|name| (name.clone(), tale.crash(&name, 4)));
        for (name, disk) in disks.collect::<Vec<_>>() {
            let id = name.split('+').next().expect("a name begins with the id");
            tale.start_anew(id, disk);
        }
    }
    let name = tale.start_anew(&victim, Some(older));
    assert_refused(&mut tale, &name, |error| matches!(error, Error::StorageOutdated { .. }));
}

#[test]
fn an_older_directory_is_refused_also_by_who_has_only_read_of_it() {
    for_seeds(0..SEEDS, an_older_directory_is_put_back);
}

/// A follower's directory is put back as it was in the middle of its last run: its leader knows what it acknowledged.
pub fn an_older_moment_is_put_back(seed: u64) {
    let (mut tale, _) = found(seed);
    let victim = tale.followers()[0].clone();
    let older = copy(&tale, &victim);
    serve_some(&mut tale, 5);
    tale.ticks(20);
    tale.crash(&victim, 4);
    worsen(&mut tale, seed);
    let name = tale.start_anew(&victim, Some(older));
    assert_refused(&mut tale, &name, |error| matches!(error, Error::StorageOutdated { .. }));
}

#[test]
fn an_older_moment_of_the_same_run_is_refused() {
    for_seeds(0..SEEDS, an_older_moment_is_put_back);
}

/// Two processes with one content, started one after the other while the member is away: the first takes its place.
#[test]
fn of_two_copies_the_first_is_heard() {
    for seed in seeds::chosen(0..SEEDS) {
        let (mut tale, victim) = found(seed);
        let disk = tale.crash(&victim, 4).expect("it has a disk");
        tale.start_anew(&victim, Some(disk.clone()));
        tale.until("it is back", |tale| tale.leader().is_some());
        tale.serve();
        tale.ticks(20);
        worsen(&mut tale, seed);
        let second = tale.start_anew(&victim, Some(disk));
        // It does not know the start of the first, and may hear that before the first answers.
        assert_refused(&mut tale, &second, |error| {
            matches!(error, Error::StorageCopied { .. } | Error::StorageOutdated { .. })
        });
    }
}

/// Whatever happens to a directory that is no copy, it is never refused: it comes back at once, again and again, with
/// starts that no other node heard, beside others, while leaders change, and while frames of earlier starts come again.
pub fn a_directory_is_no_copy(seed: u64) {
    let (mut tale, _) = found(seed);
    worsen(&mut tale, seed);
    tale.cluster.echoes.draw();
    for round in 0..6 {
        let names = tale.names();
        let count = if round == 3 { names.len() } else { 1 + tale.cluster.roll(2) as usize };
        let gone = names.into_iter().take(count).map(|name| (name.clone(), tale.crash(&name, 4)));
        let gone: Vec<(String, Option<Disk>)> = gone.collect();
        for (name, disk) in gone {
            let mut disk = disk.expect("it has a disk");
            // Starts that end before they say a word.
            for silent in 0..tale.cluster.roll(3) {
                disk.load(silent << 32 | round << 16 | seed);
            }
            let id = name.split('+').next().expect("a name begins with the id").to_string();
            tale.start_anew(&id, Some(disk));
            let pause = tale.cluster.roll(80);
            tale.ticks(pause);
        }
        tale.until("a leader that all know", |tale| tale.leader().is_some());
        for name in tale.names() {
            tale.cluster.ask(&name, Ask::TransferLeadership { to: None }, 100);
            tale.ticks(seed % 7 * 10);
        }
        tale.until("a leader that all know", |tale| tale.leader().is_some());
        assert!(tale.cluster.replicas.values().all(|replica| replica.stopped.is_none()), "one was refused");
    }
    tale.cluster.echoes.end();
    tale.cluster.network = Network { delay_ticks_max: 2, ..Network::default() };
    tale.until("a leader that all know", |tale| tale.leader().is_some());
    tale.serve();
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
    let mut tale = Tale::found(seed, 3, true);
    let [next, member] = &tale.followers()[..] else { panic!("three have two followers") };
    let (next, member) = (next.clone(), member.clone());
    let disk = tale.crash(&member, 4);
    let former = tale.start_anew(&member, disk);
    let mut late = None;
    for _ in 0..200 {
        let is_late = |sent: &&Sent| sent.from == former && sent.to == next;
        late = tale.cluster.frames.values().rfind(is_late).map(|sent| sent.bytes.clone()).or(late);
        tale.tick();
    }
    let late = late.expect("it said which start it is");
    // Both that are left lead one after the other, and are not ready to: neither records the present start.
    let leader = tale.leader().expect("it is back");
    let disk = tale.crash(&former, 4);
    let gone = tale.crash(&leader, 4);
    let present = tale.start_anew(&member, disk);
    let set_busy = |tale: &mut Tale, is_busy| {
        for name in [&next, &present] {
            tale.cluster.replicas.get_mut(name).expect("it runs").is_busy = is_busy;
            tale.cluster.answer(name);
        }
    };
    set_busy(&mut tale, true);
    tale.ticks(100);
    tale.cluster.handle(&next, Input::Frame(late.clone()));
    tale.cluster.ask(&present, Ask::TransferLeadership { to: Some(next.as_str().into()) }, 100);
    tale.ticks(80);
    tale.cluster.handle(&next, Input::Frame(late));
    tale.ticks(60);
    set_busy(&mut tale, false);
    tale.start_anew(leader.split('+').next().expect("a name begins with the id"), gone);
    tale.until("a leader that all know", |tale| tale.leader().is_some());
    tale.serve();
}
