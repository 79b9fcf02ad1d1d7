//! A single node that gets false messages: it executes its own work, and is checked after every frame.

use super::adversary::Lie;
use crate::raft::events::{Effects, Hashed, TakenSnapshot};
use crate::raft::{ClusterUuid, Delivery, Incarnation, Input, MethodResult, Node, Role, Status, Work};

/// One node, and the application that answers it.
pub struct Target {
    pub node: Node,
    /// The others of its cluster.
    pub peers: Vec<Incarnation>,
    /// The last write that is not durable yet.
    unsaved: Option<u64>,
    frames: u64,
    is_stopped: bool,
}

/// What a message that cannot be true must leave alone.
#[derive(Debug, PartialEq)]
struct Stance {
    incarnation: Incarnation,
    cluster: ClusterUuid,
    role: Role,
    term: u64,
    leader: Option<String>,
    commit_index: u64,
    last_index: u64,
}

impl Stance {
    fn of(status: &Status) -> Self {
        Self {
            incarnation: status.incarnation,
            cluster: status.cluster,
            role: status.role,
            term: status.term,
            leader: status.leader.as_ref().map(ToString::to_string),
            commit_index: status.commit_index,
            last_index: status.last_index,
        }
    }
}

impl Target {
    pub fn new(node: Node, peers: Vec<Incarnation>) -> Self {
        let mut target = Self { node, peers, unsaved: None, frames: 0, is_stopped: false };
        target.execute();
        target
    }

    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    pub fn hear(&mut self, lie: &Lie) {
        self.frames += 1;
        let before = Stance::of(&self.node.status());
        self.handle(Input::Frame(lie.frame.encode()));
        let after = Stance::of(&self.node.status());
        if lie.is_impossible {
            assert_eq!(after, before, "changed by {:?}", lie.frame);
        }
        if (after.incarnation, after.cluster) == (before.incarnation, before.cluster) {
            assert!(after.term >= before.term, "the term fell from {before:?} to {after:?}: {:?}", lie.frame);
            assert!(
                after.commit_index >= before.commit_index && after.commit_index <= after.last_index,
                "from {before:?} to {after:?}: {:?}",
                lie.frame
            );
        }
        // A disk takes a while, and other frames come meanwhile.
        if self.frames.is_multiple_of(3)
            && let Some(number) = self.unsaved.take()
        {
            self.handle(Input::Persisted(number));
        }
    }

    pub fn handle(&mut self, input: Input) {
        self.node.handle(input);
        self.execute();
    }

    fn execute(&mut self) {
        while let Some(work) = self.node.poll() {
            match work {
                Work::Join(_) | Work::Send(..) => {}
                Work::Persist(number, _) => self.unsaved = Some(number),
                Work::Deliver(batch) => self.answer(batch),
                Work::Stop(_) => self.is_stopped = true,
            }
        }
    }

    fn answer(&mut self, batch: Vec<Delivery>) {
        let mut answers = Vec::new();
        for delivery in batch {
            match delivery {
                Delivery::Evaluate { .. } | Delivery::EvaluateSystem(_) => {
                    answers.push(MethodResult::Action("1".into()))
                }
                Delivery::EvaluateTimer(_) => {
                    let effects = Effects { action: Some("1".into()), ..Effects::default() };
                    answers.push(MethodResult::Effects(Box::new(effects)));
                }
                Delivery::TakeSnapshot { index } => {
                    let taken = TakenSnapshot { index, state: Ok("1".into()), micros: 1, longest_micros: 1 };
                    self.node.handle(Input::SnapshotTaken(taken));
                }
                Delivery::Hash { index } => {
                    self.node.handle(Input::Hashed(Hashed { index, hash: Some([7; 16]), micros: 1 }));
                }
                Delivery::Role { .. }
                | Delivery::Caller { .. }
                | Delivery::Sessions(_)
                | Delivery::OwnSession { .. }
                | Delivery::ResetProvisional
                | Delivery::Committed { .. }
                | Delivery::Clock { .. }
                | Delivery::NextTimer { .. }
                | Delivery::Settled { .. }
                | Delivery::Restore { .. }
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
        self.node.handle(Input::Answered(answers.into()));
    }
}
