//! Holds the faults that the simulations share, each under a name by which it can be switched off.
//!
//! `CONFLUX_WITHOUT=drift,outages` leaves these out, so that `npm run sim` finds what a failing seed needs. The
//! random numbers are drawn nevertheless: until the fault would have struck, the seed is the same.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::OnceLock;

use super::cluster::{Cluster, Network, Replica};
use super::link::Outage;
use super::run::Run;
use crate::raft::Role;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Loss,
    Repeats,
    Delay,
    Stragglers,
    /// Frames come again, from any earlier moment.
    Echoes,
    Cuts,
    Partitions,
    Outages,
    Pauses,
    Drift,
    Busy,
    Throws,
    Crashes,
    Closes,
    Newcomers,
    Resizes,
    Transfers,
    /// Evaluations and reductions take time.
    Costs,
    /// Arguments, actions and errors are large.
    Sizes,
    /// Callers give up what they performed.
    Timeouts,
    Removals,
    Losses,
    Freezes,
    /// What is sent to a node comes over a slow line.
    SlowLinks,
    /// A disk takes tens or hundreds of ticks to answer.
    SlowDisks,
}

/// Each of these is absent from a third of the seeds: what one of them hides, a seed without it shows.
const SOMETIMES: [Fault; 9] = [
    Fault::Cuts,
    Fault::Partitions,
    Fault::Outages,
    Fault::Pauses,
    Fault::Drift,
    Fault::Closes,
    Fault::Throws,
    Fault::Costs,
    Fault::Sizes,
];

thread_local! {
    /// What is absent from the seed that runs.
    static ABSENT: RefCell<Vec<Fault>> = const { RefCell::new(Vec::new()) };
    /// What struck in the seed that runs.
    static STRUCK: RefCell<BTreeSet<&'static str>> = const { RefCell::new(BTreeSet::new()) };
}

/// The names of what struck since the last time.
pub fn take_struck() -> Vec<&'static str> {
    STRUCK.take().into_iter().collect()
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Fault::Loss => "loss",
            Fault::Repeats => "repeats",
            Fault::Delay => "delay",
            Fault::Stragglers => "stragglers",
            Fault::Echoes => "echoes",
            Fault::Cuts => "cuts",
            Fault::Partitions => "partitions",
            Fault::Outages => "outages",
            Fault::Pauses => "pauses",
            Fault::Drift => "drift",
            Fault::Busy => "busy",
            Fault::Throws => "throws",
            Fault::Crashes => "crashes",
            Fault::Closes => "closes",
            Fault::Newcomers => "newcomers",
            Fault::Resizes => "resizes",
            Fault::Transfers => "transfers",
            Fault::Costs => "costs",
            Fault::Sizes => "sizes",
            Fault::Timeouts => "timeouts",
            Fault::Removals => "removals",
            Fault::Losses => "losses",
            Fault::Freezes => "freezes",
            Fault::SlowLinks => "slow-links",
            Fault::SlowDisks => "slow-disks",
        }
    }

    /// Whether this fault may strike.
    pub fn strikes(self) -> bool {
        static WITHOUT: OnceLock<Vec<String>> = OnceLock::new();
        let without = WITHOUT.get_or_init(|| {
            let list = std::env::var("CONFLUX_WITHOUT").unwrap_or_default();
            list.split(',').map(str::to_string).collect()
        });
        let is_absent = ABSENT.with_borrow(|absent| absent.contains(&self));
        if is_absent || without.iter().any(|name| name == self.name()) {
            return false;
        }
        STRUCK.with_borrow_mut(|struck| struck.insert(self.name()));
        true
    }

    /// The number, or nothing of it.
    fn of(self, number: u64) -> u64 {
        if number > 0 && self.strikes() { number } else { 0 }
    }
}

/// Of 100, a clock that is right: so many does a tick add.
pub const RATE: u64 = 100;
const RATE_MIN: u64 = 80;
const RATE_MAX: u64 = 125;
/// Redis is away for up to this many ticks: 2 s.
const OUTAGE_TICKS_MAX: u64 = 200;

impl Run {
    /// Says which faults this seed has.
    pub fn draw_faults(&mut self) {
        ABSENT.set(SOMETIMES.into_iter().filter(|_| self.cluster.roll(3) == 0).collect());
    }

    /// Loses, repeats and delays frames up to these numbers, until [`Run::mend`].
    pub fn worsen_network(&mut self, loss: u64, repeats: u64, delay_ticks: u64, stragglers: u64) {
        let cluster = &mut self.cluster;
        cluster.network = Network {
            loss: Fault::Loss.of(cluster.roll(loss)),
            repeats: Fault::Repeats.of(cluster.roll(repeats)),
            delay_ticks_max: Fault::Delay.of(cluster.roll(delay_ticks)),
            stragglers: Fault::Stragglers.of(cluster.roll(stragglers)),
        };
        cluster.echoes.draw();
    }

    /// An evaluation takes this node from a tenth of a millisecond to longer than an election timeout, or no time
    /// again.
    pub fn slow_down(&mut self, name: &str) {
        let cost = [0, 1, 10, 100, 1_000, 8_000][self.cluster.roll(6) as usize];
        let replica = self.cluster.replicas.get_mut(name).expect("what strikes a node finds it running");
        replica.cost = if cost > 0 && Fault::Costs.strikes() { cost } else { 0 };
    }

    /// What is sent to this node comes over a slow line, or over a fast one again. A line that one large action keeps
    /// busy for long is not asked for what is due at once.
    pub fn slow_link(&mut self, name: &str) {
        let rates = if self.cluster.is_large { [50_000, 100_000, 200_000] } else { [1_000, 5_000, 20_000] };
        let rate = rates[self.cluster.roll(3) as usize];
        let replica = self.cluster.replicas.get_mut(name).expect("what strikes a node finds it running");
        let line = replica.link.line();
        let is_slow = line.bytes_a_tick.is_none() && Fault::SlowLinks.strikes();
        line.bytes_a_tick = is_slow.then_some(rate);
    }

    /// The process stops, or continues.
    pub fn pause(&mut self, name: &str) {
        let replica = self.cluster.replicas.get_mut(name).expect("what strikes a node finds it running");
        replica.is_paused = !replica.is_paused && Fault::Pauses.strikes();
    }

    /// JavaScript answers late, or at last.
    pub fn busy(&mut self, name: &str) {
        let replica = self.cluster.replicas.get_mut(name).expect("what strikes a node finds it running");
        replica.is_busy = !replica.is_busy && Fault::Busy.strikes();
        if !replica.is_busy {
            self.cluster.answer(name);
        }
    }

    /// The clock goes at another rate from here on.
    pub fn drift(&mut self, name: &str) {
        let rate = RATE_MIN + self.cluster.roll(RATE_MAX - RATE_MIN + 1);
        let replica = self.cluster.replicas.get_mut(name).expect("what strikes a node finds it running");
        replica.rate = if Fault::Drift.strikes() { rate } else { RATE };
    }

    /// The next method that this node runs throws.
    pub fn throw_in_method(&mut self, name: &str) {
        let replica = self.cluster.replicas.get_mut(name).expect("what strikes a node finds it running");
        replica.application.method_throws = Fault::Throws.strikes();
    }

    /// Redis is away for all, or for this node; or it has dropped the node's subscriber.
    pub fn break_channel(&mut self, name: &str) {
        let kind = self.cluster.roll(5);
        let outage =
            [Outage::Down, Outage::Frozen, Outage::Down, Outage::Frozen, Outage::Deaf][kind as usize];
        let ticks = 10 + self.cluster.roll(OUTAGE_TICKS_MAX);
        if Fault::Outages.strikes() {
            self.cluster.break_links(outage, ticks, |other| kind < 2 || other == name);
        }
    }

    /// The leader's JavaScript answers late, and Redis is away meanwhile: when the answer comes, the leader is none any
    /// more, or leads in another term.
    pub fn depose_busy_leader(&mut self) {
        let ticks = 40 + self.cluster.roll(60);
        let statuses = self.cluster.statuses();
        let leader = statuses.into_iter().find(|(_, status)| status.role == Role::Leader);
        let Some((name, _)) = leader.filter(|_| Fault::Busy.strikes() && Fault::Outages.strikes()) else {
            return;
        };
        self.perform(&name);
        self.cluster.replicas.get_mut(&name).expect("it leads").is_busy = true;
        self.perform(&name);
        self.cluster.break_links(Outage::Down, ticks, |_| true);
    }

    /// A tick has passed: some disks hang, others answer again.
    pub fn slow_disks(&mut self) {
        let Cluster { slow_disks, replicas, now, .. } = &mut self.cluster;
        let has_disk = |(name, replica): (&String, &Replica)| replica.disk.is_some().then(|| name.clone());
        let disks: Vec<String> = replicas.iter().filter_map(has_disk).collect();
        slow_disks.tick(*now, &disks);
        for (name, replica) in replicas {
            if let Some(disk) = &mut replica.disk {
                disk.hangs = slow_disks.hangs(name, *now);
            }
        }
    }

    /// Frames of one node do not reach another.
    pub fn cut_one_way(&mut self, name: &str, other: &str) {
        if Fault::Cuts.strikes() {
            self.cluster.cuts.insert((name.to_string(), other.to_string()));
        }
    }

    /// No node reaches this node, nor it any node.
    pub fn isolate(&mut self, name: &str) {
        if Fault::Cuts.strikes() {
            self.cluster.cut_apart(|one, other| (one == name) != (other == name));
        }
    }

    /// Replaces all cuts by a partition into halves, or by one in which every node is alone. From that into halves, an
    /// election begins on both sides at once.
    pub fn partition(&mut self) {
        let mut sides: Vec<String> = self.cluster.replicas.keys().cloned().collect();
        let first = self.cluster.roll(sides.len() as u64) as usize;
        sides.rotate_left(first);
        let is_halves = self.cluster.roll(3) > 0;
        if Fault::Partitions.strikes() {
            let half = &sides[..sides.len() / 2];
            let is_in = |name: &str| half.iter().any(|one| one == name);
            self.cluster.cuts.clear();
            self.cluster.cut_apart(|one, other| !is_halves || is_in(one) != is_in(other));
        }
    }

    /// These stop being cut off, stopped, slow, or fast, and their connections are made again. All disks answer.
    pub fn mend(&mut self, names: &[String]) {
        self.cluster.cuts.clear();
        self.cluster.echoes.end();
        self.cluster.slow_disks.end();
        self.slow_disks();
        for name in names {
            let now = self.cluster.now;
            let Some(replica) = self.cluster.replicas.get_mut(name) else { continue };
            (replica.is_paused, replica.is_busy) = (false, false);
            replica.application.method_throws = false;
            replica.hurry(now);
            replica.link.mend(now);
            replica.link.line().bytes_a_tick = None;
            self.cluster.answer(name);
        }
    }
}
