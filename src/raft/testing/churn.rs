//! Runs clusters from seeds whose members come and go under faults: newcomers, deaths, restarts from disk,
//! graceful closes, removals, other sizes, and reducers that throw.
//!
//! `CONFLUX_SEED=7 cargo test churn` replays one seed; `CONFLUX_SEEDS=50000` runs that many.

use std::collections::BTreeMap;

use super::cluster::{Cluster, Network};
use super::disk::Disk;
use super::faults::{Fault, RATE};
use super::run::{Run, options};
use super::seeds::{self, for_seeds};
use crate::raft::{Incarnation, Input, Operation, Role, Status};

/// The life of a cluster: the run, and the processes that are to come back.
pub(super) struct Life {
    pub(super) run: Run,
    /// Process, node id, disk and tick of its return.
    pub(super) away: Vec<(String, Disk, u64)>,
    /// Ids of processes that are gone for good.
    pub(super) free_ids: Vec<String>,
    started: u64,
    /// When a node was last lost, and when a size was last asked for.
    lost_at: u64,
    resized_at: u64,
    /// The nodes that are being removed, and until when the removal may still be carried out.
    removed: Vec<(Incarnation, u64)>,
    /// How often the reducer of a process threw.
    thrown: BTreeMap<String, u32>,
    /// Quorums are lost for good, or for long, and recovered.
    pub(super) loses: bool,
}

/// So long an operator's order to remove a member is repeated; a leader that heard it carries it out some time after.
const REMOVAL_TICKS: u64 = 300;

#[test]
fn churn_of_members_breaks_no_promise() {
    for_seeds(0..1_000, live_through);
}

/// The other half, so that both cores have something to do.
#[test]
fn churn_of_members_breaks_no_promise_in_more_seeds() {
    for_seeds(1_000..2_000, live_through);
}

#[test]
fn churn_of_members_fires_timers_once() {
    for_seeds(0..200, |seed| {
        let mut cluster = Cluster::new(seed);
        cluster.has_timers = true;
        cluster.connect_directly();
        Life::found_in(cluster, seed).live();
    });
}

pub(super) fn live_through(seed: u64) {
    Life::found(seed).live();
}

impl Life {
    fn live(mut self) {
        self.disturb(seeds::ticks(1_500));
        self.heal();
        self.run.check();
    }

    /// A cluster of 3 or 5, with disks in two of three seeds.
    pub(super) fn found(seed: u64) -> Self {
        let mut cluster = Cluster::new(seed);
        cluster.connect_directly();
        Self::found_in(cluster, seed)
    }

    pub(super) fn found_in(cluster: Cluster, seed: u64) -> Self {
        let size = seeds::nodes([3, 5][(seed % 2) as usize]);
        let is_durable = move |n: usize| seed % 3 == 1 || seed % 3 == 2 && n.is_multiple_of(2);
        let run = Run::found_of(cluster, size, &is_durable);
        Self {
            run,
            away: Vec::new(),
            free_ids: Vec::new(),
            started: 0,
            lost_at: 0,
            resized_at: 0,
            removed: Vec::new(),
            thrown: BTreeMap::new(),
            loses: false,
        }
    }

    pub(super) fn disturb(&mut self, ticks: u64) {
        self.run.draw_faults();
        self.run.worsen_network(16, 11, 6, 3);
        self.run.cluster.slow_disks.draw();
        for _ in 0..ticks {
            self.run.step();
            self.run.slow_disks();
            self.return_who_is_due();
            let names: Vec<String> = self.run.cluster.replicas.keys().cloned().collect();
            if names.is_empty() {
                continue;
            }
            let number = self.run.cluster.roll(names.len() as u64) as usize;
            let name = &names[number];
            let other = &names[self.run.cluster.roll(names.len() as u64) as usize];
            match self.run.cluster.roll(400) {
                0..90 => self.run.perform(&names[number % seeds::clients(names.len())]),
                90..94 => self.run.pause(name),
                94..102 => self.run.busy(name),
                102..105 => self.run.cut_one_way(name, other),
                105..109 => self.run.cluster.cuts.clear(),
                109 => self.run.isolate(name),
                110..116 => self.start_newcomer(),
                116..119 => self.kill(name),
                119..122 => self.close(name),
                122 => self.resize(name),
                123..125 if Fault::Transfers.strikes() => {
                    self.run.cluster.operation(name, Operation::TransferLeadership { to: None }, 100);
                }
                125..130 => self.run.sync(name),
                130 => self.run.partition(),
                131 => self.run.break_channel(name),
                132 => self.run.drift(name),
                133 => self.run.throw_in_method(name),
                134..136 if !self.loses => self.remove(name),
                136 if !self.loses => self.diverge(name),
                137..139 => self.run.slow_down(name),
                139..145 if self.loses => self.lose(name),
                _ => {}
            }
        }
    }

    /// One at a time: as many as found a cluster of their own would do so where they cannot hear of ours.
    fn start_newcomer(&mut self) {
        let statuses = self.run.cluster.statuses();
        let outside = statuses.values().filter(|status| status.cluster.is_none()).count();
        if outside >= 1 || statuses.len() >= self.run.size + 2 || !Fault::Newcomers.strikes() {
            return;
        }
        self.start_another();
    }

    pub(super) fn start_another(&mut self) {
        self.started += 1;
        let name = format!("p{}", self.started);
        let reused = self.run.cluster.roll(2) == 0;
        let id = self.free_ids.pop().filter(|_| reused).unwrap_or_else(|| name.clone());
        let is_durable = self.run.cluster.roll(3) == 0;
        let size = self.run.size;
        let options = options(&mut self.run.cluster, &id, size, is_durable);
        self.run.cluster.start(&name, options, is_durable.then(Disk::default));
    }

    /// The process ends; what it had on disk comes back, what it had in memory must be elsewhere.
    fn kill(&mut self, name: &str) {
        let id = self.run.cluster.replicas[name].node.status().id.to_string();
        let is_durable = self.run.cluster.replicas[name].disk.is_some();
        if self.run.cluster.replicas[name].node.status().cluster.is_none() {
            return;
        }
        if !is_durable && !self.may_lose(name) || !Fault::Crashes.strikes() {
            return;
        }
        let disk = self.run.crash(name).and_then(|replica| replica.disk);
        match disk {
            Some(disk) => {
                let kept = self.run.cluster.roll(4) as usize;
                let due = self.run.cluster.now + self.run.cluster.roll(300);
                self.away.push((id, disk.crash(kept), due));
            }
            None => self.free_ids.push(id),
        }
    }

    fn close(&mut self, name: &str) {
        let replica = &self.run.cluster.replicas[name];
        let leaves = replica.disk.is_none() || self.run.cluster.now.is_multiple_of(2);
        if replica.is_closing() || !self.may_lose(name) || !Fault::Closes.strikes() {
            return;
        }
        let id = self.run.cluster.replicas[name].node.status().id.to_string();
        self.run.cluster.handle(name, Input::Close { ticks: 200, leaves });
        self.free_ids.push(id);
    }

    /// An operator removes a member that lives, the leader as often as all others together, down to one voter; it comes
    /// back as a newcomer. A node asks meanwhile for what is current, and so does the member that goes.
    fn remove(&mut self, name: &str) {
        let statuses = self.run.cluster.statuses();
        let Some((leader, _)) = statuses.iter().find(|(_, status)| status.role == Role::Leader) else {
            return;
        };
        let name = if self.run.cluster.roll(2) == 0 { leader.clone() } else { name.to_string() };
        let asked = self.run.cluster.roll(statuses.len() as u64) as usize;
        let asked = statuses.keys().nth(asked).expect("it runs").clone();
        let Some(incarnation) = self.run.cluster.replicas[&name].incarnation else { return };
        // A node that is left must be able to continue; one that died before it was removed still counts against that.
        let halves = self.run.cluster.replicas[leader].node.inspect().voter_halves();
        let goes =
            |other: &Incarnation| *other == incarnation || self.is_removed(*other) && self.lives(*other);
        let goes_on = halves.into_iter().all(|half| {
            let left: Vec<Incarnation> = half.into_iter().filter(|voter| !goes(voter)).collect();
            left.iter().filter(|voter| self.lives(**voter)).count() > left.len() / 2
        });
        if !goes_on || self.is_resizing() || !Fault::Removals.strikes() {
            return;
        }
        self.removed.push((incarnation, self.run.cluster.now + 2 * REMOVAL_TICKS));
        self.run.cluster.operation(
            &asked,
            Operation::Remove { id: statuses[&name].id.clone() },
            REMOVAL_TICKS,
        );
        self.run.sync(&asked);
        self.run.sync(&name);
    }

    /// A reducer throws here, and not elsewhere: the node is diverged, and restored once. One that has a disk stays
    /// diverged the second time, until its process is started again.
    fn diverge(&mut self, name: &str) {
        let replicas = &self.run.cluster.replicas;
        let is_wrong =
            |name: &String| replicas[name].application.is_failed() || replicas[name].application.throws;
        let count = self.thrown.get(name).copied().unwrap_or(0);
        if replicas.keys().any(is_wrong)
            || replicas.len() < 3
            || count > 0 && replicas[name].disk.is_none()
            || !self.may_lose(name)
            || !Fault::Throws.strikes()
        {
            return;
        }
        self.thrown.insert(name.to_string(), count + 1);
        self.run.excused.insert(name.to_string());
        self.run.cluster.replicas.get_mut(name).expect("it was just listed").application.throws = true;
    }

    fn is_removed(&self, incarnation: Incarnation) -> bool {
        let now = self.run.cluster.now;
        self.removed.iter().any(|(removed, until)| *removed == incarnation && now <= *until)
    }

    fn is_resizing(&self) -> bool {
        self.resized_at > 0 && self.run.cluster.now < self.resized_at + 600
    }

    fn lives(&self, incarnation: Incarnation) -> bool {
        self.run.cluster.replicas.values().any(|replica| {
            replica.incarnation == Some(incarnation) && replica.stopped.is_none() && !replica.is_closing()
        })
    }

    /// A cluster that is being made smaller bears fewer losses with each step: no node is lost shortly before or
    /// meanwhile.
    fn resize(&mut self, name: &str) {
        let now = self.run.cluster.now;
        if now < self.lost_at + 100 || !Fault::Resizes.strikes() {
            return;
        }
        self.resized_at = now;
        let cluster_size = 3 + self.run.cluster.roll(5) as usize;
        self.run.cluster.operation(name, Operation::Resize { cluster_size }, 400);
    }

    /// Whether the remaining nodes have everything that was committed, and can continue: in the newest leader's
    /// configuration, in each half of it, a majority is neither gone nor going, and no other is in flight.
    fn may_lose(&mut self, name: &str) -> bool {
        if self.is_resizing() {
            return false;
        }
        let statuses = self.run.cluster.statuses();
        let leaders = statuses.iter().filter(|(_, status)| status.role == Role::Leader);
        let Some((leader, leads)) = leaders.max_by_key(|(_, status)| status.term) else { return false };
        let voters = leads.members.iter().filter(|member| member.is_voter).count();
        // A learner may become a voter before its death shows: together with that of a voter these would be two.
        let lost = &self.run.cluster.replicas[name].incarnation;
        let is_learner =
            !leads.members.iter().any(|member| member.is_voter && Some(member.incarnation) == *lost);
        // One that votes alone admits a second, and does not hear that it is just going: then it cannot continue.
        if is_learner && (self.run.cluster.now < self.lost_at + 20 || voters == 1) {
            return false;
        }
        let is_settled = leads.applied_index == leads.last_index
            || self.run.cluster.replicas[leader].node.inspect().only_awaits_knowledge();
        if voters > leads.cluster_size
            || !is_settled
            || statuses.values().any(|status| status.last_index > leads.last_index)
        {
            return false;
        }
        let stays = |incarnation| {
            Some(incarnation) != *lost && self.lives(incarnation) && !self.is_removed(incarnation)
        };
        // The leader says which majorities are needed, of both halves of a joint configuration: what it says counts
        // also where it is the one that dies next, and no other node has heard of it.
        let may = self.run.cluster.replicas[leader].node.inspect().voter_halves().into_iter().all(|half| {
            let voters = half.len();
            half.into_iter().filter(|incarnation| stays(*incarnation)).count() > voters / 2
        });
        if may {
            self.lost_at = self.run.cluster.now;
        }
        may
    }

    pub(super) fn return_who_is_due(&mut self) {
        let now = self.run.cluster.now;
        if let Some(size) = self.newest().map(|status| status.cluster_size) {
            self.run.size = size;
        }
        let (due, away) = std::mem::take(&mut self.away).into_iter().partition(|(.., due)| *due <= now);
        self.away = away;
        for (id, disk, _) in due as Vec<(String, Disk, u64)> {
            self.started += 1;
            let name = format!("r{}", self.started);
            let size = self.run.size;
            let options = options(&mut self.run.cluster, &id, size, true);
            self.run.cluster.start(&name, options, Some(disk));
        }
    }

    /// A node that stays diverged is started again, and has the leader's state and what came after that.
    fn restart_diverged(&mut self) {
        let stays_diverged = |name: &&String| {
            self.run.cluster.replicas[*name].application.is_failed()
                && self.thrown.get(*name).is_some_and(|count| *count > 1)
        };
        let diverged: Vec<String> =
            self.run.cluster.replicas.keys().filter(stays_diverged).cloned().collect();
        for name in diverged {
            let id = self.run.cluster.replicas[&name].node.status().id.to_string();
            let disk = self.run.crash(&name).and_then(|replica| replica.disk).expect("it has a disk");
            self.away.push((id, disk.crash(0), 0));
        }
        self.return_who_is_due();
    }

    /// What the node with the most of the log says.
    fn newest(&self) -> Option<Status> {
        let statuses = self.run.cluster.statuses();
        statuses.into_values().max_by_key(|status| (status.applied_index, status.term))
    }

    /// All faults stop: within a bounded time every living node is a member, as many as can vote do, and everything
    /// that was called has ended.
    pub(super) fn heal(&mut self) {
        self.run.cluster.network = Network::default();
        self.away.iter_mut().for_each(|(.., due)| *due = 0);
        self.return_who_is_due();
        let names: Vec<String> = self.run.cluster.replicas.keys().cloned().collect();
        self.run.mend(&names);
        self.run.cluster.replicas.values_mut().for_each(|replica| replica.rate = RATE);
        for replica in self.run.cluster.replicas.values_mut() {
            replica.application.throws = false;
        }
        // Orders that were given may still be carried out.
        for _ in 0..400 {
            self.run.step();
            self.return_who_is_due();
        }
        self.restart_diverged();
        if self.loses {
            self.recover();
        }
        let size = self.run.size;
        let outside = self
            .run
            .cluster
            .statuses()
            .into_iter()
            .filter(|(_, status)| status.cluster.is_none() && status.cluster_size != size);
        for name in outside.map(|(name, _)| name).collect::<Vec<_>>() {
            // It was started for a cluster of another size, and waits forever.
            self.run.crash(&name);
        }
        self.run.until("all are members, and every perform has ended", 4_000, |run| {
            let statuses = run.cluster.statuses();
            let Some(leads) = statuses.values().find(|status| status.role == Role::Leader) else {
                return false;
            };
            // A dead member without a spare to replace it stays a member.
            let lives = |incarnation| statuses.values().any(|status| status.incarnation == incarnation);
            let voters =
                leads.members.iter().filter(|member| member.is_voter && lives(member.incarnation)).count();
            let have_replayed = run
                .cluster
                .replicas
                .values()
                .all(|replica| replica.disk.is_none() || replica.application.is_replayed);
            let all_agree = statuses.values().all(|status| {
                status.pending == 0
                    && status.is_caught_up
                    && status.applied_index == leads.last_index
                    && status.leader == leads.leader
                    && leads.members.iter().any(|member| member.incarnation == status.incarnation)
            });
            have_replayed && all_agree && voters == leads.cluster_size.min(statuses.len())
        });
    }
}
