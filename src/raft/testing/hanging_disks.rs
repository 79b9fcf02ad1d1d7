//! This file tells of disks that hang: they take writes, give no error, and do not answer.

use super::tale::Tale;
use crate::raft::Warning;

/// Within so many ticks the others are served again: a write is overdue after 100, and an election takes up to 50.
const GAP_TICKS_MAX: u64 = 200;

fn hang(tale: &mut Tale, name: &str, hangs: bool) {
    let replica = tale.cluster.replicas.get_mut(name).expect("it runs");
    replica.disk.as_mut().expect("it has a disk").hangs = hangs;
}

fn is_served_within(tale: &mut Tale, name: &str, ticks: u64) -> bool {
    let (sequence, _) = tale.append(name);
    tale.holds_within(ticks, |tale| tale.end(name, sequence).is_some())
}

fn slow_warnings(tale: &Tale, name: &str) -> usize {
    let warnings = &tale.cluster.replicas[name].application.warnings;
    warnings.iter().filter(|warning| matches!(warning, Warning::StorageSlow { .. })).count()
}

/// The disks of the leader and of all but two followers hang: one of these two leads, and serves.
pub fn a_leader_gives_way(seed: u64) {
    let size = 3 + 2 * (seed % 2) as usize;
    let mut tale = Tale::found(seed, size, true);
    let leader = tale.leader().expect("it was found");
    let followers = tale.followers();
    let slow = &followers[..size / 2 - 1];
    let quick = &followers[size / 2 - 1..];
    hang(&mut tale, &leader, true);
    slow.iter().for_each(|name| hang(&mut tale, name, true));
    // Something for the disk to hang on.
    tale.append(&quick[0]);
    tale.ticks(GAP_TICKS_MAX);
    let next = quick.iter().find(|name| tale.status(name).role == crate::raft::Role::Leader);
    assert!(next.is_some(), "no node with a disk that answers leads: {:#?}", tale.cluster.statuses());
    assert!(is_served_within(&mut tale, &quick[0], GAP_TICKS_MAX), "the quick followers are not served");
    tale.ticks(500);
    assert_eq!(slow_warnings(&tale, &leader), 1, "it is told once");
    assert!(quick.iter().all(|name| slow_warnings(&tale, name) == 0));
    hang(&mut tale, &leader, false);
    slow.iter().for_each(|name| hang(&mut tale, name, false));
    tale.serve();
}

#[test]
fn a_leader_whose_disk_hangs_gives_way_to_one_whose_disk_answers() {
    (0..20).for_each(a_leader_gives_way);
}

/// Below the limit nothing happens.
#[test]
fn a_disk_that_answers_in_time_keeps_its_leader() {
    for seed in 0..10 {
        let mut tale = Tale::found(seed, 3, true);
        let leader = tale.leader().expect("it was found");
        let term = tale.status(&leader).term;
        for _ in 0..5 {
            hang(&mut tale, &leader, true);
            tale.append(&leader);
            tale.ticks(80);
            hang(&mut tale, &leader, false);
            tale.ticks(10);
        }
        tale.serve();
        assert_eq!((tale.leader(), tale.status(&leader).term), (Some(leader.clone()), term));
        assert_eq!(slow_warnings(&tale, &leader), 0);
    }
}
