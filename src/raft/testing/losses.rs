//! Adds to the lives of `churn.rs` that quorums are lost, for good or for long, and recovered: on command, by
//! themselves, twice at once.
//!
//! In the end one cluster must be left, and have everything that was acknowledged in it, or that the log held from
//! which it was recovered. `CONFLUX_SEED=7 cargo test losses` replays one seed.

use std::collections::{BTreeMap, BTreeSet};

use super::churn::Life;
use super::cluster::Cluster;
use super::faults::Fault;
use super::seeds::{self, for_seeds};
use crate::raft::{ClusterUuid, Operation, Role, Status};

#[test]
fn losses_of_quorums_end_in_one_cluster_that_has_what_was_kept() {
    for_seeds(0..300, live_through);
}

#[test]
fn losses_of_quorums_end_in_one_cluster_that_has_what_was_kept_in_more_seeds() {
    for_seeds(300..600, live_through);
}

pub(super) fn live_through(seed: u64) {
    let mut cluster = Cluster::new(seed);
    // In a quarter of the seeds the nodes recover by themselves.
    cluster.recover_ticks = seed.is_multiple_of(4).then_some(500 + seed % 700);
    cluster.connect_directly();
    let mut life = Life::found_in(cluster, seed);
    life.loses = true;
    life.disturb(seeds::ticks(2_500));
    life.heal();
    life.run.check();
}

/// So long an operator looks on before it decides between two successors.
const PATIENCE_TICKS: u64 = 1_500;
/// So long until a cluster is left.
const RECOVERY_TICKS_MAX: u64 = 20_000;

impl Life {
    /// Something happens to a quorum, or is done about it.
    pub(super) fn lose(&mut self, name: &str) {
        match self.run.cluster.roll(30) {
            0 => self.lose_majority(name),
            1 => self.freeze_majority(name),
            // What was frozen thaws.
            2..4 => self.thaw(),
            _ => self.ask_to_recover(name),
        }
    }

    /// All but a few voters are gone at once: for good, or until they come back with what they had, if they had disks.
    fn lose_majority(&mut self, survivor: &str) {
        let statuses = self.run.cluster.statuses();
        let Some(status) = statuses.get(survivor).filter(|status| !status.cluster.is_none()) else { return };
        // A cluster without an action is not kept: what is left of it waits for as many as found another.
        // Nor is one of which no node stays.
        let replica = &self.run.cluster.replicas[survivor];
        let holds_actions = replica.node.inspect().log().is_some_and(|log| log.holds_actions());
        if !holds_actions || replica.is_closing() || !Fault::Losses.strikes() {
            return;
        }
        let voters = status.members.iter().filter(|member| member.is_voter).count();
        let mut left = self.run.cluster.roll(voters.div_ceil(2) as u64) + 1;
        for name in statuses.keys().filter(|name| *name != survivor) {
            let survives = left > 1 && self.run.cluster.roll(3) > 0;
            if survives {
                left -= 1;
                continue;
            }
            let id = statuses[name].id.to_string();
            let disk = self.run.crash(name).and_then(|replica| replica.disk);
            match disk.filter(|_| self.run.cluster.roll(3) > 0) {
                Some(disk) => {
                    let kept = self.run.cluster.roll(4) as usize;
                    let due = self.run.cluster.now + 100 + self.run.cluster.roll(2_000);
                    self.away.push((id, disk.crash(kept), due));
                }
                None => self.free_ids.push(id),
            }
        }
    }

    fn freeze_majority(&mut self, survivor: &str) {
        if !Fault::Freezes.strikes() {
            return;
        }
        for (name, replica) in &mut self.run.cluster.replicas {
            replica.is_paused |= name != survivor;
        }
    }

    fn thaw(&mut self) {
        self.run.cluster.replicas.values_mut().for_each(|replica| replica.is_paused = false);
    }

    fn ask_to_recover(&mut self, name: &str) {
        let statuses = self.run.cluster.statuses();
        let is_lost = statuses.get(name).is_some_and(|status| !status.missing.is_empty());
        if is_lost && Fault::Losses.strikes() {
            self.run.cluster.operation(name, Operation::Recover, 400);
        }
    }

    /// All faults have ended: an operator recovers what has no quorum, and decides between two successors.
    pub(super) fn recover(&mut self) {
        let mut divided_since = None;
        for _ in 0..RECOVERY_TICKS_MAX {
            self.run.step();
            self.return_who_is_due();
            let now = self.run.cluster.now;
            let statuses = self.run.cluster.statuses();
            if is_one(&statuses) {
                return;
            }
            let waits = |status: &Status| status.cluster.is_none() && status.cluster_size == self.run.size;
            if now.is_multiple_of(300) && statuses.values().all(waits) && statuses.len() < self.run.size {
                // Nothing is left to recover: every process of the cluster is gone for good, or lost what it had not saved.
                self.start_another();
            }
            if now.is_multiple_of(300) {
                statuses.keys().for_each(|name| self.ask_to_recover(name));
            }
            let led = statuses.values().filter(|status| status.role == Role::Leader);
            let led: BTreeSet<ClusterUuid> = led.map(|status| status.cluster).collect();
            if led.len() < 2 {
                divided_since = None;
            } else if *divided_since.get_or_insert(now) + PATIENCE_TICKS <= now {
                divided_since = None;
                self.decide(&statuses, &led);
            }
        }
        let statuses = self.run.cluster.statuses();
        let lines: Vec<String> = statuses
            .iter()
            .map(|(name, s)| {
                let ids: Vec<String> = s
                    .members
                    .iter()
                    .map(|m| format!("{}{}", m.id, if m.is_voter { "" } else { "?" }))
                    .collect();
                format!(
                    "{name} ({}) in {:.8} {} of {:?}, term {}, commit {}, last {}, size {}, {:?}, {:?}: {}",
                    s.id,
                    s.cluster.to_string(),
                    s.role.as_str(),
                    s.leader,
                    s.term,
                    s.commit_index,
                    s.last_index,
                    s.cluster_size,
                    s.missing,
                    s.waiting_for,
                    ids.join(" ")
                )
            })
            .collect();
        panic!("after {RECOVERY_TICKS_MAX} ticks there is not one cluster:\n{}", lines.join("\n"));
    }

    /// Of several successors one is kept. The nodes of the others end, and with them what they had.
    fn decide(&mut self, statuses: &BTreeMap<String, Status>, led: &BTreeSet<ClusterUuid>) {
        let kept = *led.first().expect("there are two");
        for (name, _) in
            statuses.iter().filter(|(_, status)| led.contains(&status.cluster) && status.cluster != kept)
        {
            self.run.excused.insert(name.clone());
            self.run.crash(name);
        }
    }
}

/// Every node is in one cluster that has a leader, but for those that were started for one of another size.
fn is_one(statuses: &BTreeMap<String, Status>) -> bool {
    let Some(leads) = statuses.values().find(|status| status.role == Role::Leader) else { return false };
    statuses.values().all(|status| {
        let is_stranger = status.cluster.is_none() && status.cluster_size != leads.cluster_size;
        is_stranger || status.cluster == leads.cluster && status.leader == leads.leader
    })
}
