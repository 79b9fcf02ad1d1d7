//! Measures the core alone, on one thread: what the codec of frames costs, and what three cores take to
//! commit and apply, without JavaScript, channel, disk or clock. What is left of the time of a call is theirs.
//!
//! `cargo bench --bench micro`.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use conflux::raft::wire::frame::{Frame, Receivers};
use conflux::raft::wire::items::RequestItem;
use conflux::raft::wire::message::{Message, Requests};
use conflux::raft::{
    ChannelState, ClusterUuid, Delivery, Incarnation, Input, MethodResult, Node, Options, Perform, Role,
    TakenSnapshot, Target, Work,
};
use divan::{Bencher, black_box, counter::ItemsCount};

fn main() {
    divan::main();
}

/// How many calls share a turn: one alone, some, and as many as a busy event loop hands over.
const CALLS: [usize; 3] = [1, 100, 1000];

#[divan::bench(args = CALLS)]
fn frame_encode(bencher: Bencher, calls: usize) {
    let frame = frame_of(calls);
    bencher.counter(ItemsCount::new(calls)).bench(|| black_box(&frame).encode());
}

#[divan::bench(args = CALLS)]
fn frame_decode(bencher: Bencher, calls: usize) {
    let bytes = frame_of(calls).encode();
    bencher.counter(ItemsCount::new(calls)).bench(|| Frame::decode(black_box(&bytes)));
}

/// From `Perform` on the leader until all three have applied.
#[divan::bench(args = CALLS)]
fn three_cores_from_the_leader(bencher: Bencher, calls: usize) {
    let mut cores = Cores::with_leader();
    bencher.counter(ItemsCount::new(calls)).bench_local(|| cores.perform(0, calls));
}

/// The same from a follower.
#[divan::bench(args = CALLS)]
fn three_cores_from_a_follower(bencher: Bencher, calls: usize) {
    let mut cores = Cores::with_leader();
    bencher.counter(ItemsCount::new(calls)).bench_local(|| cores.perform(1, calls));
}

/// Behind so many actions: nothing on the way of an action may grow with the log, or with the table of requests.
#[divan::bench(args = [1_000, 200_000], sample_count = 50)]
fn three_cores_behind_a_log_of(bencher: Bencher, log: usize) {
    const TURN: usize = 100;
    let mut cores = Cores::with_leader();
    for _ in 0..log / TURN {
        cores.perform(0, TURN);
    }
    bencher.counter(ItemsCount::new(TURN)).bench_local(|| cores.perform(0, TURN));
}

/// A turn in which nothing happens.
#[divan::bench]
fn a_tick_of_three_cores(bencher: Bencher) {
    let mut cores = Cores::with_leader();
    bencher.bench_local(|| cores.tick());
}

fn frame_of(calls: usize) -> Frame {
    let requests = (1..=calls as u64).map(|sequence| RequestItem {
        sequence,
        after: sequence - 1,
        method: "append".into(),
        args: Bytes::from_static(ARGS),
        attempts: 0,
        session: 0,
    });
    let requests = Requests { term: 2, start: 1, floor: 1, requests: requests.collect() };
    Frame {
        cluster: ClusterUuid::NONE,
        from: Incarnation::from_u128(1),
        start: None,
        to: Receivers::One(Incarnation::from_u128(2)),
        messages: vec![Message::Requests(requests)],
    }
}

const ARGS: &[u8] = br#"[{"type":"ADDED","thing":"a thing of fifty bytes"}]"#;

/// Three cores whose frames arrive at once and in order, and whose JavaScript answers with the arguments.
struct Cores {
    nodes: Vec<Member>,
    frames: VecDeque<(usize, Target, Bytes)>,
    method: Arc<str>,
}

struct Member {
    node: Node,
    incarnation: Option<Incarnation>,
    performed: u64,
}

impl Cores {
    /// The leader is the first.
    fn with_leader() -> Self {
        let nodes = (0..3u8).map(|number| {
            let mut options = Options::new(&format!("node-{number}"), 3, [number + 1; 32]);
            options.compares_states = false;
            Member { node: Node::new(options, None), incarnation: None, performed: 0 }
        });
        let mut cores = Self { nodes: nodes.collect(), frames: VecDeque::new(), method: "append".into() };
        for number in 0..3 {
            cores.obey(number);
        }
        for _ in 0..10_000 {
            cores.tick();
            let statuses: Vec<_> = cores.nodes.iter().map(|member| member.node.status()).collect();
            let leader = statuses.iter().position(|status| status.role == Role::Leader);
            if let Some(leader) = leader
                && statuses.iter().all(|status| status.applied_index == statuses[leader].last_index)
            {
                cores.nodes.swap(0, leader);
                return cores;
            }
        }
        panic!("three cores on a perfect network found no leader in 10,000 ticks");
    }

    fn tick(&mut self) {
        for number in 0..self.nodes.len() {
            self.nodes[number].node.handle(Input::Tick);
            self.obey(number);
        }
        self.travel();
    }

    fn perform(&mut self, number: usize, count: usize) {
        let member = &mut self.nodes[number];
        let first = member.performed + 1;
        member.performed += count as u64;
        let calls = (first..=member.performed).map(|sequence| Perform {
            sequence,
            method: self.method.clone(),
            args: Bytes::from_static(ARGS),
        });
        member.node.handle(Input::Perform(calls.collect()));
        self.obey(number);
        self.travel();
        let status = self.nodes[number].node.status();
        assert_eq!(status.pending, 0, "everything has been acknowledged: {status:?}");
    }

    fn travel(&mut self) {
        while let Some((from, target, frame)) = self.frames.pop_front() {
            for number in 0..self.nodes.len() {
                let is_meant = match target {
                    Target::All => number != from,
                    Target::One(incarnation) => self.nodes[number].incarnation == Some(incarnation),
                };
                if is_meant {
                    self.nodes[number].node.handle(Input::Frame(frame.clone()));
                    self.obey(number);
                }
            }
        }
    }

    fn obey(&mut self, number: usize) {
        while let Some(work) = self.nodes[number].node.poll() {
            let member = &mut self.nodes[number];
            match work {
                Work::Join(incarnation) => {
                    member.incarnation = Some(incarnation);
                    member.node.handle(Input::Channel(ChannelState::Healthy));
                }
                Work::Send(target, _, frame) => self.frames.push_back((number, target, frame)),
                Work::Persist(write, _) => member.node.handle(Input::Persisted(write)),
                Work::Deliver(batch) => answer(&mut member.node, batch),
                Work::Stop(error) => panic!("a core stopped: {error:?}"),
            }
        }
    }
}

fn answer(node: &mut Node, batch: Vec<Delivery>) {
    let mut answers = Vec::new();
    for delivery in batch {
        match delivery {
            Delivery::Evaluate { args, .. } => answers.push(MethodResult::Action(args)),
            Delivery::TakeSnapshot { index } => {
                node.handle(Input::SnapshotTaken(TakenSnapshot {
                    index,
                    longest_micros: 1,
                    state: Ok(Bytes::from_static(b"0")),
                    micros: 0,
                }));
            }
            Delivery::Role { .. }
            | Delivery::ResetProvisional
            | Delivery::EvaluateSystem(_)
            | Delivery::Committed { .. }
            | Delivery::EvaluateTimer(_)
            | Delivery::NextTimer { .. }
            | Delivery::Clock { .. }
            | Delivery::Settled { .. }
            | Delivery::Restore { .. }
            | Delivery::Hash { .. }
            | Delivery::Caller { .. }
            | Delivery::Sessions(_)
            | Delivery::OwnSession { .. }
            | Delivery::AppProbe
            | Delivery::ReportProgress
            | Delivery::CaughtUp(_)
            | Delivery::Replayed
            | Delivery::OperationEnded { .. }
            | Delivery::Diverged(_)
            | Delivery::Restored
            | Delivery::Warning(_) => {}
        }
    }
    node.handle(Input::Answered(answers.into()));
}
