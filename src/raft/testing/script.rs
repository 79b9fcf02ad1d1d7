//! Runs the golden scripts: commands, `---`, and the complete result in the terms of the paper.
//!
//! `UPDATE_GOLDENFILES=1 cargo test` rewrites them.

use std::collections::BTreeMap;
use std::error::Error;

use goldenscript::{Command, Context, Runner};

use super::cluster::{Cluster, Sent};
use super::disk::Disk;
use crate::raft::identity::Incarnation;
use crate::raft::{Input, Operation, Options, Role};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// How long an ask and a close may take.
pub const ASK_TICKS: u64 = 100;
pub const CLOSE_TICKS: u64 = 200;

#[test]
fn every_script_has_its_consequence() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/raft/scripts");
    let mut count = 0;
    for file in std::fs::read_dir(folder).expect("the scripts are in the tree") {
        let path = file.expect("the folder can be read").path();
        goldenscript::run(&mut Script::new(), &path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        count += 1;
    }
    assert!(count >= 10, "only {count} scripts were found");
}

/// What a script's consequence should be, and what it is now.
pub fn replay(name: &str) -> (String, String) {
    let path = format!("{}/src/raft/scripts/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let should = std::fs::read_to_string(&path).expect("the script is in the tree");
    let is = goldenscript::generate(&mut Script::new(), &should).expect("the script runs");
    (should, is)
}

/// A world under a script's hand: no frame moves and no clock ticks unless a command says so.
pub struct Script {
    pub cluster: Cluster,
    /// With what each process was started.
    started: BTreeMap<String, Options>,
    /// The disks of processes that crashed, and how often each process was started again.
    disks: BTreeMap<String, Disk>,
    restarts: BTreeMap<String, usize>,
}

impl Script {
    pub fn new() -> Self {
        let mut cluster = Cluster::new(1);
        cluster.trace = Some(Vec::new());
        let (started, disks, restarts) = Default::default();
        Self { cluster, started, disks, restarts }
    }

    /// Starts nodes whose incarnations sort as their names do, so that `a` proposes the roster and campaigns.
    fn start(&mut self, names: &[String], cluster_size: usize, has_disk: bool, session_ticks: Option<u64>) {
        for name in names {
            // `a2` is another process with the id `a`; its incarnation is above that of `a` and below that of `b`.
            let id = name.trim_end_matches(char::is_numeric);
            let mut options = Options::new(id, cluster_size, seed_for(name, 0));
            options.is_durable = has_disk;
            options.session_timeout_ticks = session_ticks;
            options.application = options.application.with_sessions(session_ticks.is_some());
            self.started.insert(name.clone(), options.clone());
            self.cluster.start(name, options, has_disk.then(Disk::default));
        }
    }

    /// What is not durable is lost.
    fn crash(&mut self, name: &str) {
        let disk = self.cluster.crash(name).and_then(|replica| replica.disk);
        self.disks.extend(disk.map(|disk| (name.to_string(), disk.crash(0))));
    }

    fn restart(&mut self, name: &str) -> Result<(), String> {
        let disk = self.disks.remove(name).ok_or_else(|| format!("`{name}` left no disk"))?;
        let restarts = self.restarts.entry(name.to_string()).or_default();
        *restarts += 1;
        let options = restarted(&self.started[name], name, *restarts);
        self.cluster.start(name, options, Some(disk));
        Ok(())
    }

    /// The oldest frame from one node to another but for this many.
    fn take_frame(&mut self, from: &str, to: &str, number: usize) -> Option<Sent> {
        let frames = self.cluster.frames.iter();
        let mut keys = frames.filter(|(_, sent)| sent.from == from && sent.to == to).map(|(key, _)| *key);
        let key = keys.nth(number - 1)?;
        self.cluster.frames.remove(&key)
    }

    fn ticks(&mut self, names: &[String], count: u64) {
        for _ in 0..count {
            for name in names {
                self.cluster.handle(name, Input::Tick);
            }
        }
    }

    fn all(&self) -> Vec<String> {
        self.cluster.replicas.keys().cloned().collect()
    }

    fn deliver(&mut self, keep: impl Fn(&str, &str) -> bool, rounds: u64) {
        for _ in 0..rounds {
            let due: Vec<_> = self
                .cluster
                .frames
                .iter()
                .filter(|(_, sent)| keep(&sent.from, &sent.to))
                .map(|(k, _)| *k)
                .collect();
            if due.is_empty() {
                return;
            }
            for key in due {
                if let Some(sent) = self.cluster.frames.remove(&key) {
                    self.cluster.deliver(sent);
                }
            }
        }
    }

    /// One tick of all clocks, and what it causes.
    fn round(&mut self) {
        let names = self.all();
        self.ticks(&names, 1);
        self.deliver(|_, _| true, 20);
        names.iter().for_each(|name| self.cluster.sync(name));
    }

    /// Ticks and delivers until all nodes know one leader and have applied what it committed.
    fn settle(&mut self) {
        for _ in 0..400 {
            self.round();
            let statuses = self.cluster.statuses();
            let leads = statuses.values().find(|status| status.role == Role::Leader);
            if let Some(leads) = leads
                && leads.commit_index == leads.last_index
                && statuses
                    .values()
                    .all(|status| status.leader == leads.leader && status.applied_index == leads.commit_index)
                && leads.commit_index > 1
            {
                return;
            }
        }
        panic!("the cluster did not settle: {:?}", self.cluster.statuses());
    }
}

/// What a process is started with again.
pub fn restarted(options: &Options, name: &str, restarts: usize) -> Options {
    let seed = seed_for(name, restarts);
    let nonce = Options::new(name, 1, seed).nonce;
    Options { seed, nonce, ..options.clone() }
}

/// The incarnation that a process draws from it sorts as its name does.
fn seed_for(name: &str, restarts: usize) -> [u8; 32] {
    let is_second = name.ends_with(char::is_numeric);
    let place = 2 * (name.as_bytes()[0] - b'a') + u8::from(is_second);
    let mut seeds = (0..).map(seed_of).filter(|seed| first_nibble(*seed) == place);
    seeds.nth(restarts).expect("some seed draws it")
}

/// What is asked, in a script's words.
pub fn ask_of(what: &str, about: Option<&str>) -> Result<Operation, Box<dyn Error>> {
    Ok(match (what, about) {
        ("sync", None) => Operation::Sync,
        ("recover", None) => Operation::Recover,
        ("resize", Some(size)) => Operation::Resize { cluster_size: size.parse()? },
        ("remove", Some(id)) => Operation::Remove { id: id.into() },
        ("transfer", to) => Operation::TransferLeadership { to: to.map(Into::into) },
        (what, about) => return Err(format!("nothing to ask: {what} {about:?}").into()),
    })
}

fn seed_of(number: u64) -> [u8; 32] {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    seed
}

/// The first digit of the incarnation that a core draws from this seed.
fn first_nibble(seed: [u8; 32]) -> u8 {
    let mut rng = ChaCha8Rng::from_seed(seed);
    let mut inner = [0; 32];
    rng.fill_bytes(&mut inner);
    Incarnation::draw(&mut ChaCha8Rng::from_seed(inner)).as_bytes()[0] >> 4
}

impl Runner for Script {
    type Command = Command;

    fn run(&mut self, command: &Command, _context: &Context) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        let key = |args: &mut goldenscript::ArgumentConsumer<'_>, name: &str| {
            args.take_key(name).map(str::to_string)
        };
        let mut is_quiet = false;
        match command.name.as_str() {
            // start NAME… [size=N] [storage=disk] [sessions=TICKS]: starts processes.
            "start" => {
                let (size, storage) = (key(&mut args, "size"), key(&mut args, "storage"));
                let sessions = key(&mut args, "sessions").map(|ticks| ticks.parse()).transpose()?;
                let names = rest(&mut args);
                let size = size.map_or(Ok(names.len()), |size| size.parse())?;
                self.start(&names, size, storage.is_some_and(|storage| storage == "disk"), sessions);
            }
            // found NAME… [storage=disk] [sessions=TICKS]: starts them and lets them found a cluster and elect a leader, untold.
            "found" => {
                let storage = key(&mut args, "storage");
                let sessions = key(&mut args, "sessions").map(|ticks| ticks.parse()).transpose()?;
                let names = rest(&mut args);
                let has_disk = storage.is_some_and(|storage| storage == "disk");
                self.start(&names, names.len(), has_disk, sessions);
                self.settle();
                is_quiet = true;
            }
            // settle: ticks and delivers until all agree, untold.
            "settle" => {
                self.settle();
                is_quiet = true;
            }
            // run COUNT: so many ticks, and what they cause, untold.
            "run" => {
                let count: u64 = args.next_pos().ok_or("run needs a count")?.parse()?;
                (0..count).for_each(|_| self.round());
                is_quiet = true;
            }
            // tick COUNT [NAME…]
            "tick" => {
                let count = args.next_pos().ok_or("tick needs a count")?.parse()?;
                let names = rest(&mut args);
                let names = if names.is_empty() { self.all() } else { names };
                self.ticks(&names, count);
            }
            // deliver [from=NAME] [to=NAME] [rounds=N]: frames in flight arrive; rounds=1 by default, so that what
            // they cause stays in flight.
            "deliver" => {
                let (from, to) = (key(&mut args, "from"), key(&mut args, "to"));
                let rounds = key(&mut args, "rounds").map_or(Ok(1), |rounds| rounds.parse())?;
                let is = |wanted: &Option<String>, name: &str| {
                    wanted.as_deref().is_none_or(|wanted| wanted == name)
                };
                self.deliver(|f, t| is(&from, f) && is(&to, t), rounds);
            }
            // lose [from=NAME] [to=NAME]: frames in flight are lost.
            "lose" => {
                let (from, to) = (key(&mut args, "from"), key(&mut args, "to"));
                let is = |wanted: &Option<String>, name: &str| {
                    wanted.as_deref().is_none_or(|wanted| wanted == name)
                };
                self.cluster.frames.retain(|_, sent| !(is(&from, &sent.from) && is(&to, &sent.to)));
            }
            // next FROM TO [N] / drop FROM TO [N]: the oldest frame from one to the other, or the Nth, arrives / is
            // lost.
            what @ ("next" | "drop") => {
                let from = args.next_pos().ok_or("the frame is from a node")?.to_string();
                let to = args.next_pos().ok_or("the frame is for a node")?.to_string();
                let number = args.next_pos().map_or(Ok(1), str::parse)?;
                let sent = self.take_frame(&from, &to, number).ok_or("no such frame is on its way")?;
                if what == "next" {
                    self.cluster.deliver(sent);
                }
            }
            // repeat: every frame in flight will arrive twice.
            "repeat" => {
                let copies: Vec<_> = self.cluster.frames.values().cloned().collect();
                let last = self.cluster.frames.keys().next_back().copied().unwrap_or_default();
                for (n, sent) in (1..).zip(copies) {
                    self.cluster.frames.insert((last.0, last.1 + (1 << 32) + n), sent);
                }
            }
            // perform NAME METHOD [ARGS]
            "perform" => {
                let name = args.next_pos().ok_or("perform needs a node")?.to_string();
                let method = args.next_pos().ok_or("perform needs a method")?.to_string();
                let text = args.next_pos().unwrap_or("").to_string();
                self.cluster.perform(&name, &method, &text);
            }
            // busy NAME / answer NAME: JavaScript of the node holds its batches / handles them and is free again.
            "busy" => self.replica(args.next_pos())?.is_busy = true,
            "answer" => {
                let name = args.next_pos().ok_or("answer needs a node")?.to_string();
                self.replica(Some(&name))?.is_busy = false;
                self.cluster.answer(&name);
            }
            // due NAME: the time of the next timer has come.
            "due" => {
                let name = args.next_pos().ok_or("due needs a node")?.to_string();
                let timer = self.replica(Some(&name))?.application.next_timer.take();
                let at = timer.ok_or("the node waits for no timer")?;
                self.cluster.handle(&name, Input::TimersDue { at });
            }
            // sync NAME: what the node has written is durable.
            "sync" => {
                let name = args.next_pos().ok_or("sync needs a node")?.to_string();
                self.cluster.sync(&name);
            }
            // crash NAME: only what is durable is left. restart NAME: from its disk.
            "crash" => {
                let name = args.next_pos().ok_or("crash needs a node")?.to_string();
                self.crash(&name);
            }
            "restart" => {
                let name = args.next_pos().ok_or("restart needs a node")?.to_string();
                self.restart(&name)?;
            }
            // close NAME: for good, or, where it has a disk, for now.
            "close" => {
                let name = args.next_pos().ok_or("close needs a node")?.to_string();
                let leaves = self.replica(Some(&name))?.disk.is_none();
                self.cluster.handle(&name, Input::Close { ticks: CLOSE_TICKS, leaves });
            }
            // ask NAME sync | recover | resize N | remove NAME | transfer [NAME]
            "ask" => {
                let name = args.next_pos().ok_or("ask needs a node")?.to_string();
                let what = args.next_pos().ok_or("ask needs a question")?.to_string();
                let operation = ask_of(&what, args.next_pos())?;
                self.cluster.operation(&name, operation, ASK_TICKS);
            }
            "status" => {
                let statuses = self.cluster.statuses();
                let lines = statuses.iter().map(|(name, status)| {
                    format!(
                        "{name}: {} term={} leader={} applied={} commit={} last={} pending={}{}{}",
                        status.role.as_str(),
                        status.term,
                        status.leader.as_deref().unwrap_or("none"),
                        status.applied_index,
                        status.commit_index,
                        status.last_index,
                        status.pending,
                        if self.cluster.replicas[name].node.is_delaying() { " delays an append" } else { "" },
                        status.waiting_for.as_ref().map_or(String::new(), |text| format!(" ({text})"))
                    )
                });
                let text: Vec<String> = lines.collect();
                args.reject_next()?;
                return Ok(text.join("\n") + "\n");
            }
            other => return Err(format!("no command `{other}`").into()),
        }
        args.reject_next()?;
        let trace = std::mem::take(self.cluster.trace.as_mut().expect("scripts trace"));
        Ok(if is_quiet || trace.is_empty() { String::new() } else { trace.join("\n") + "\n" })
    }
}

impl Script {
    fn replica(&mut self, name: Option<&str>) -> Result<&mut super::cluster::Replica, String> {
        let name = name.ok_or("the command needs a node")?;
        self.cluster.replicas.get_mut(name).ok_or_else(|| format!("no node `{name}` runs"))
    }
}

fn rest(args: &mut goldenscript::ArgumentConsumer<'_>) -> Vec<String> {
    std::iter::from_fn(|| args.next_pos().map(str::to_string)).collect()
}
