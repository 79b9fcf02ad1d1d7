//! The world of simulated nodes: it delivers their frames, ticks their clocks and answers for their
//! JavaScript, all from one seed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use super::application::Application;
use super::checker::Checker;
use super::connections::Connections;
use super::describe::describe_frame;
use super::disk::Disk;
use super::echoes::{Echo, Echoes};
use super::faults::RATE;
use super::javascript::Working;
use super::link::{Fate, Link, Outage};
use super::slow_disks::SlowDisks;
use crate::raft::{
    Delivery, Incarnation, Input, Node, Operation, Options, Perform, Status, Target, Warning, Work,
};

/// How the network treats frames.
#[derive(Clone, Copy, Debug, Default)]
pub struct Network {
    /// Of 100 frames, so many are lost.
    pub loss: u64,
    /// Of 100 frames, so many arrive twice.
    pub repeats: u64,
    /// A frame takes up to this many ticks.
    pub delay_ticks_max: u64,
    /// Of 100 frames, so many take up to [`STRAGGLER_TICKS_MAX`] instead: long enough to outlive a leader.
    pub stragglers: u64,
}

const STRAGGLER_TICKS_MAX: u64 = 200;

/// About a page, and one more action or error of the largest size.
const FRAME_BYTES_MAX: usize = 5 << 19;

/// Nodes whose answers make each other answer would continue forever where frames take no time.
const FRAMES_A_TICK_MAX: u64 = 20_000;

pub(super) const TICK_MS: u64 = 10;
/// What wall clocks say when a world begins.
pub(super) const WALL_CLOCK_MS: u64 = 1_600_000_000_000;

const WALL_CLOCK_OFFSET_MS_MAX: u64 = 60_000;

/// Each node's wall clock is off by up to a minute.
pub(super) fn wall_clock_offset(name: &str) -> u64 {
    name.bytes().fold(0, |offset, byte| (offset * 31 + u64::from(byte)) * 7_919 % WALL_CLOCK_OFFSET_MS_MAX)
}

/// Nodes and the frames between them.
pub struct Cluster {
    pub replicas: BTreeMap<String, Replica>,
    pub network: Network,
    /// (from, to): frames of the first do not reach the second.
    pub cuts: BTreeSet<(String, String)>,
    /// Frames in flight, by arrival, then by order of sending.
    pub frames: BTreeMap<(u64, u64), Sent>,
    pub checker: Checker,
    /// Nodes get ticks as from a driver: all that have passed, when they are due or an input arrives.
    pub rests: bool,
    /// Groups may hibernate, as in a process of many stores.
    pub hibernates: bool,
    /// What the options of new nodes say of a lost quorum.
    pub recover_ticks: Option<u64>,
    /// Actions and errors may be large, and so snapshots: those do not travel in tiny parts.
    pub is_large: bool,
    /// What is sent to all is lost: the channel takes it, and carries only what is sent to one.
    pub loses_broadcasts: bool,
    /// Some actions set timers.
    pub has_timers: bool,
    pub trace: Option<Vec<String>>,
    /// Everything is printed as it happens: `CONFLUX_TRACE=1`, to look at one seed.
    pub(super) prints: bool,
    pub now: u64,
    sent: u64,
    /// What was sent before this tick.
    sent_before: u64,
    rng: ChaCha8Rng,
    pub echoes: Echoes,
    pub slow_disks: SlowDisks,
    pub connections: Connections,
    /// What happened to each process so far, if a test wants to repeat it.
    pub journal: Option<Vec<(String, Noted)>>,
    /// The network is the test's: frames end up here instead of in flight.
    pub outbox: Option<Vec<(Target, Bytes)>>,
}

/// What happened to a process.
#[derive(Clone, Debug)]
pub enum Noted {
    Start { options: Options, has_disk: bool },
    Input(Input),
}

/// A frame in flight.
#[derive(Clone, Debug)]
pub struct Sent {
    pub from: String,
    pub to: String,
    pub bytes: Bytes,
}

/// One simulated process.
pub struct Replica {
    pub node: Node,
    pub application: Application,
    pub incarnation: Option<Incarnation>,
    /// `None`: memory only.
    pub disk: Option<Disk>,
    next_sequence: u64,
    next_ticket: u64,
    /// The process is stopped: it hears and does nothing, and its clock stands still.
    pub is_paused: bool,
    /// Of [`RATE`]: how fast the clock goes, and how far it is into a tick.
    pub rate: u64,
    clock: u64,
    /// Ticks that have passed and were not delivered.
    untold: u64,
    /// To Redis.
    pub link: Link,
    /// JavaScript is busy: batches wait.
    pub is_busy: bool,
    /// What JavaScript takes for an evaluation, and for reducing what it has not evaluated, in hundredths of a tick.
    pub cost: u64,
    /// The batch that it works on, if that takes time.
    pub(super) working: Option<Working>,
    /// JavaScript has answered a batch, and its turn is not over.
    pub(super) is_in_turn: bool,
    pub batches: VecDeque<Vec<Delivery>>,
    pub stopped: Option<Option<crate::error::Error>>,
    is_closing: bool,
}

impl Replica {
    /// JavaScript has heard of every cluster that this node left.
    pub fn is_told(&self) -> bool {
        let working = self.working.iter().map(|working| &working.batch);
        let waiting = self.batches.iter().chain(working).flatten();
        !waiting.chain(self.node.inspect().pending_deliveries()).any(|delivery| {
            matches!(delivery, Delivery::Warning(Warning::StartingOver { .. } | Warning::Superseded { .. }))
        })
    }

    /// Whatever its application does takes no time from here on.
    pub fn hurry(&mut self, now: u64) {
        self.cost = 0;
        if let Some(working) = &mut self.working {
            working.ends_at = now;
        }
    }

    /// The numbers of the next call and of the next ask.
    pub fn next_numbers(&self) -> (u64, u64) {
        (self.next_sequence, self.next_ticket)
    }

    pub fn is_closing(&self) -> bool {
        self.is_closing
    }
}

impl Cluster {
    pub fn new(seed: u64) -> Self {
        Self {
            replicas: BTreeMap::new(),
            network: Network::default(),
            cuts: BTreeSet::new(),
            frames: BTreeMap::new(),
            checker: Checker::default(),
            rests: false,
            hibernates: false,
            recover_ticks: None,
            is_large: seed % 4 == 3,
            loses_broadcasts: false,
            has_timers: false,
            trace: None,
            prints: std::env::var_os("CONFLUX_TRACE").is_some(),
            now: 0,
            sent: 0,
            sent_before: 0,
            rng: ChaCha8Rng::seed_from_u64(seed),
            echoes: Echoes::new(seed),
            slow_disks: SlowDisks::new(seed),
            connections: Connections::new(seed),
            journal: None,
            outbox: None,
        }
    }

    /// A number below `bound`.
    pub fn roll(&mut self, bound: u64) -> u64 {
        self.rng.next_u64() % bound
    }

    /// Starts a process under a name that is its place in the world, with the disk that a former process left behind,
    /// or an empty one.
    pub fn start(&mut self, name: &str, options: Options, mut disk: Option<Disk>) {
        if let Some(journal) = &mut self.journal {
            let start = Noted::Start { options: options.clone(), has_disk: disk.is_some() };
            journal.push((name.to_string(), start));
        }
        let recovered = disk.as_mut().and_then(|disk| disk.load(options.nonce));
        let replica = Replica {
            node: Node::new(options, recovered),
            application: Application::default(),
            incarnation: None,
            disk,
            next_sequence: 1,
            next_ticket: 1,
            is_paused: false,
            rate: RATE,
            clock: 0,
            untold: 0,
            link: Link::default(),
            is_busy: false,
            cost: 0,
            working: None,
            is_in_turn: false,
            batches: VecDeque::new(),
            stopped: None,
            is_closing: false,
        };
        self.replicas.insert(name.to_string(), replica);
        if self.hibernates {
            self.handle(name, Input::MayHibernate(true));
        }
        self.run(name);
    }

    pub fn draw_seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        seed
    }

    /// The process is gone, and everything it knew.
    pub fn crash(&mut self, name: &str) -> Option<Replica> {
        self.note(|| format!("{name}: is gone"));
        self.checker.forget(name);
        self.close_connections_of(name);
        self.replicas.remove(name)
    }

    pub fn handle(&mut self, name: &str, input: Input) {
        if let Some(journal) = &mut self.journal {
            journal.push((name.to_string(), Noted::Input(input.clone())));
        }
        if let Some(replica) = self.replicas.get_mut(name) {
            replica.is_closing |= matches!(input, Input::Close { .. });
            replica.application.is_closing = replica.is_closing;
            (0..std::mem::take(&mut replica.untold)).for_each(|_| replica.node.handle(Input::Tick));
            replica.node.handle(input);
            self.run(name);
        }
    }

    pub fn perform(&mut self, name: &str, method: &str, args: &str) -> u64 {
        let replica = self.replicas.get_mut(name).expect("the test calls on a node that runs");
        let sequence = replica.next_sequence;
        replica.next_sequence += 1;
        let perform = Perform { sequence, method: method.into(), args: args.to_string().into() };
        self.handle(name, Input::Perform(vec![perform]));
        sequence
    }

    pub fn operation(&mut self, name: &str, operation: Operation, ticks: u64) -> u64 {
        let replica = self.replicas.get_mut(name).expect("the test asks a node that runs");
        let ticket = replica.next_ticket;
        replica.next_ticket += 1;
        self.handle(name, Input::Operation { ticket, operation, ticks });
        ticket
    }

    /// What was written is durable.
    pub fn sync(&mut self, name: &str) {
        let number = self.replicas.get_mut(name).and_then(|replica| replica.disk.as_mut()?.sync());
        if let Some(number) = number {
            self.handle(name, Input::Persisted(number));
        }
    }

    /// One tick of the world: about one of every clock, then everything that is due.
    pub fn tick(&mut self) {
        self.now += 1;
        self.sent_before = self.sent;
        let names: Vec<String> = self.replicas.keys().cloned().collect();
        for name in names {
            let Some(replica) = self.replicas.get_mut(&name).filter(|replica| !replica.is_paused) else {
                continue;
            };
            replica.clock += replica.rate;
            let ticks = replica.clock / RATE;
            replica.clock %= RATE;
            self.work(&name);
            self.wake_timers(&name);
            let Some(replica) = self.replicas.get_mut(&name) else { continue };
            if let Some(state) = replica.link.tick(self.now) {
                self.handle(&name, Input::Channel(state));
            }
            for _ in 0..ticks {
                self.pass_tick(&name);
            }
        }
        self.end_a_connection();
        self.deliver_due();
    }

    /// JavaScript has waited for the time of a timer.
    fn wake_timers(&mut self, name: &str) {
        let at = self.time();
        let Some(replica) = self.replicas.get_mut(name).filter(|replica| !replica.is_busy) else { return };
        if replica.application.next_timer.take_if(|due| *due <= at).is_some() {
            self.handle(name, Input::TimersDue { at });
        }
    }

    /// The time of timers, in milliseconds since 1970: no wall clock is ahead of it.
    pub fn time(&self) -> u64 {
        WALL_CLOCK_MS + self.now * TICK_MS + WALL_CLOCK_OFFSET_MS_MAX
    }

    fn pass_tick(&mut self, name: &str) {
        let Some(replica) = self.replicas.get_mut(name) else { return };
        if self.rests && replica.untold + 1 < replica.node.ticks_until_wakeup() {
            replica.untold += 1;
        } else {
            self.handle(name, Input::Tick);
            if self.rests {
                self.handle(name, Input::TickNumber(self.now));
            }
        }
    }

    /// An outage of Redis for these nodes.
    pub fn break_links(&mut self, outage: Outage, ticks: u64, is_struck: impl Fn(&str) -> bool) {
        let now = self.now;
        let rng = &mut self.rng;
        for (_, replica) in self.replicas.iter_mut().filter(|(name, _)| is_struck(name)) {
            replica.link.strike(outage, now, ticks, &mut |bound| rng.next_u64() % bound);
        }
    }

    /// Cuts every pair, in the direction from the first to the second, that is apart.
    pub fn cut_apart(&mut self, are_apart: impl Fn(&str, &str) -> bool) {
        let names: Vec<&String> = self.replicas.keys().collect();
        for one in &names {
            for other in names.iter().filter(|other| *other != one && are_apart(one, other)) {
                self.cuts.insert((one.to_string(), other.to_string()));
            }
        }
    }

    /// Delivers what is due, and what that causes without delay.
    pub fn deliver_due(&mut self) {
        while let Some(entry) = self.frames.first_entry()
            && entry.key().0 <= self.now
        {
            let sent = entry.remove();
            self.deliver(sent);
        }
    }

    pub fn deliver(&mut self, sent: Sent) {
        let Some(replica) = self.replicas.get(&sent.to).filter(|replica| !replica.is_paused) else { return };
        match replica.link.fate_of_arriving() {
            Fate::Passes => self.handle(&sent.to, Input::Frame(sent.bytes)),
            Fate::IsLost => {}
            Fate::WaitsUntil(then) => self.put_on_way(then.max(self.now + 1), sent),
        }
    }

    fn put_on_way(&mut self, arrives_at: u64, sent: Sent) {
        self.sent += 1;
        let in_tick = self.sent - self.sent_before;
        assert!(in_tick <= FRAMES_A_TICK_MAX, "tick {}: {in_tick} frames, and no end", self.now);
        self.frames.insert((arrives_at, self.sent), sent);
    }

    pub fn statuses(&self) -> BTreeMap<String, Status> {
        let live = self.replicas.iter().filter(|(_, replica)| replica.stopped.is_none());
        live.map(|(name, replica)| (name.clone(), replica.node.status())).collect()
    }

    pub(super) fn run(&mut self, name: &str) {
        loop {
            while let Some(work) = self.replicas.get_mut(name).and_then(|replica| replica.node.poll()) {
                self.execute(name, work);
            }
            let Some(replica) = self.replicas.get_mut(name).filter(|replica| replica.is_in_turn) else {
                break;
            };
            // JavaScript has nothing to do any more.
            replica.is_in_turn = false;
            replica.node.handle(Input::TurnOver);
        }
        // A caller that executes a process alone compares its states.
        if let Some(replica) = self.replicas.get(name).filter(|_| self.outbox.is_none()) {
            let status = replica.node.status();
            let ancestors = replica.node.inspect().ancestors();
            self.checker.check(name, &status, &replica.application, &ancestors, replica.is_told());
            let pending_deliveries = replica.application.warnings.iter().rev();
            let has_given_way = pending_deliveries.filter_map(|warning| match warning {
                Warning::Superseded { .. } => Some(true),
                Warning::StartingOver { .. } => Some(false),
                _ => None,
            });
            if status.cluster.is_none() && !replica.is_busy && has_given_way.take(1).eq([true]) {
                assert!(
                    replica.node.inspect().has_former_log(),
                    "{name}: gave up its log before it had the successor's"
                );
            }
            if let Some(log) = replica.node.inspect().log() {
                self.checker.note_kept(&status, log);
                self.checker.check_log(name, &status, &replica.application, log);
            }
        }
    }

    fn execute(&mut self, name: &str, work: Work) {
        let replica = self.replicas.get_mut(name).expect("a node that works runs");
        match work {
            Work::Join(incarnation) => replica.incarnation = Some(incarnation),
            Work::Send(target, _, bytes) => self.send(name, target, bytes),
            Work::Persist(number, write) => match &mut replica.disk {
                None => replica.node.handle(Input::Persisted(number)),
                Some(disk) => disk.write(number, *write),
            },
            Work::Deliver(batch) => {
                replica.batches.push_back(batch);
                assert!(replica.batches.len() + replica.working.iter().len() <= 2, "{name}: a third batch");
                if let Some(batch) = replica.next_batch() {
                    self.begin_batch(name, batch);
                }
            }
            Work::Stop(error) => {
                replica.stopped = Some(error.clone());
                let how = error.map_or("closed".to_string(), |error| error.to_string());
                self.note(|| format!("{name}: stopped: {how}"));
            }
        }
    }

    fn send(&mut self, name: &str, target: Target, bytes: Bytes) {
        assert!(bytes.len() <= FRAME_BYTES_MAX, "{name}: a frame has {} bytes", bytes.len());
        if let Some(outbox) = &mut self.outbox {
            return outbox.push((target, bytes));
        }
        if self.loses_broadcasts && target == Target::All {
            return;
        }
        let to = self.addressees(name, target);
        let fate = self.replicas.get(name).map_or(Fate::Passes, |replica| replica.link.fate_of_sent());
        let leaves_at = match fate {
            Fate::Passes => self.now,
            Fate::IsLost => return,
            Fate::WaitsUntil(then) => then,
        };
        for to in to {
            self.note(|| describe_frame(name, &to, &bytes));
            let copies = 1 + u64::from(self.roll(100) < self.network.repeats);
            for _ in 0..copies {
                let is_cut = self.cuts.contains(&(name.to_string(), to.clone()));
                let is_lost = self.roll(100) < self.network.loss;
                let is_straggler = self.roll(100) < self.network.stragglers;
                let delay_max = if is_straggler { STRAGGLER_TICKS_MAX } else { self.network.delay_ticks_max };
                let delay = self.roll(delay_max + 1);
                if !is_cut && !is_lost {
                    let sent = Sent { from: name.to_string(), to: to.clone(), bytes: bytes.clone() };
                    let replica = self.replicas.get_mut(&to).expect("it was just found");
                    let arrives_at = replica.link.line().carry(leaves_at + delay, bytes.len());
                    self.put_on_way(arrives_at, sent);
                }
            }
        }
        let echo = Echo { from: name.to_string(), target, bytes };
        if let Some(Echo { from, target, bytes }) = self.echoes.hear(echo) {
            for to in self.addressees(&from, target) {
                self.note(|| format!("once more {}", describe_frame(&from, &to, &bytes)));
                if !self.cuts.contains(&(from.clone(), to.clone())) {
                    self.put_on_way(leaves_at + 1, Sent { from: from.clone(), to, bytes: bytes.clone() });
                }
            }
        }
    }

    fn addressees(&self, from: &str, target: Target) -> Vec<String> {
        let is_addressed = |(other, replica): &(&String, &Replica)| match target {
            Target::All => *other != from,
            Target::One(incarnation) => replica.incarnation == Some(incarnation),
        };
        self.replicas.iter().filter(is_addressed).map(|(other, _)| other.clone()).collect()
    }

    pub fn note(&mut self, line: impl FnOnce() -> String) {
        if self.prints {
            eprintln!("{} {}", self.now, line());
        } else if let Some(trace) = &mut self.trace {
            trace.push(line());
        }
    }
}
