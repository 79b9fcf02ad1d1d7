//! Sends false messages to a core: takes nodes out of a running cluster and sends them what no correct peer would
//! send.
//!
//! `situation` brings a cluster into the states that matter, `adversary` makes the messages, `target` is the node
//! that receives them. `CONFLUX_MESSAGES=500000 cargo test hostile` is the long form; a failure names its seed, and
//! `CONFLUX_SEED=7 cargo test hostile` replays it.

mod adversary;
mod situation;
mod target;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, RefUnwindSafe};

use adversary::{Adversary, Lie};
use bytes::Bytes;
use situation::{SITUATIONS, Situation};
use target::Target;

use super::scenarios::Scenario;
use super::seeds::for_seeds;
use crate::raft::Input;
use crate::raft::wire::frame::{Frame, Receivers};
use crate::raft::wire::items::WireEntry;
use crate::raft::wire::message::{Message, RaftKind, RaftMessage};

/// A node that was lied to this often is worn out: its term and log are no longer those of a cluster.
const LIES_PER_VICTIM: u64 = 400;

/// How many forged frames a test sends.
fn messages() -> u64 {
    std::env::var("CONFLUX_MESSAGES").ok().and_then(|text| text.parse().ok()).unwrap_or(50_000)
}

/// raft-rs trusts its peers and panics on what they never say: the guard must keep all of that from it.
#[test]
fn hostile_raft_messages_never_panic_and_what_cannot_be_true_changes_nothing() {
    let bombardment = bombard(Adversary::raft);
    bombardment.assert_enough();
    assert!(
        bombardment.impossible > bombardment.lies / 20,
        "only {} of {} could not be true",
        bombardment.impossible,
        bombardment.lies
    );
}

/// The same of everything else that a frame can say.
#[test]
fn hostile_words_of_every_kind_never_panic() {
    bombard(Adversary::anything).assert_enough();
}

/// Terms rise with time: what a leader appends is of its own term or an earlier one (paper §5.3).
#[test]
fn an_append_with_an_entry_of_a_later_term_than_its_own_changes_nothing() {
    for later in [0, 1] {
        let mut scenario = Scenario::found(1, 3, |_| {});
        let (leader, name) = (scenario.leader().expect("it leads"), scenario.followers().remove(0));
        let statuses = scenario.cluster.statuses();
        let (from, before) = (statuses[&leader].incarnation, &statuses[&name]);
        let log = scenario.cluster.replicas[&name].node.inspect().log().expect("it follows");
        let log_term = log.term_at(before.last_index).expect("it is its last one");
        let (term, index) = (before.term + later, before.last_index + 1);
        let entry = WireEntry { term, index, is_change: false, data: Bytes::new(), context: Bytes::new() };
        let append = RaftMessage {
            log_term,
            entries: vec![entry],
            ..RaftMessage::new(RaftKind::Append, before.term, before.last_index)
        };
        let frame = Frame {
            cluster: before.cluster,
            from,
            start: None,
            to: Receivers::One(before.incarnation),
            messages: vec![Message::Raft(append)],
        };
        scenario.cluster.handle(&name, Input::Frame(frame.encode()));
        let taken = scenario.cluster.statuses()[&name].last_index - before.last_index;
        assert_eq!(taken, 1 - later, "of an entry of term {term} in an append of term {}", before.term);
    }
}

#[derive(Debug, Default)]
struct Bombardment {
    lies: u64,
    impossible: u64,
    /// Of each kind of target, how many.
    situations: BTreeMap<Situation, u64>,
}

impl Bombardment {
    fn assert_enough(&self) {
        if std::env::var_os("CONFLUX_SEED").is_some() {
            return;
        }
        assert!(self.lies >= messages(), "{self:?}");
        for situation in SITUATIONS {
            assert!(self.situations.contains_key(&situation), "no node was {situation:?}: {self:?}");
        }
        println!("{self:?}");
    }
}

fn bombard(lie: impl Fn(&mut Adversary, &Target) -> Lie + RefUnwindSafe) -> Bombardment {
    let bombardment = AssertUnwindSafe(RefCell::new(Bombardment::default()));
    // Some targets stop before they have heard all: that is an answer, too.
    let clusters = 4 * messages().div_ceil(LIES_PER_VICTIM * 3).max(SITUATIONS.len() as u64);
    for_seeds(0..clusters, |seed| {
        let mut bombardment = bombardment.borrow_mut();
        if bombardment.lies >= messages() {
            return;
        }
        let (situation, targets, mut adversary) = situation::prepare(seed);
        if let Some(situation) = situation {
            *bombardment.situations.entry(situation).or_default() += 1;
        }
        for mut target in targets {
            for _ in 0..LIES_PER_VICTIM {
                let lie = lie(&mut adversary, &target);
                bombardment.lies += 1;
                bombardment.impossible += u64::from(lie.is_impossible);
                target.hear(&lie);
                if target.is_stopped() {
                    break;
                }
                if adversary.roll(10) == 0 {
                    target.handle(Input::Tick);
                }
            }
        }
    });
    bombardment.0.into_inner()
}
