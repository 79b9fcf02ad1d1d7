//! Scenarios in which members are replaced, removed, demoted and admitted while a leader dies at the worst moment or
//! snapshots are in flight.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::bugs::{Bug, assert_back_is_noticed};
use super::scenarios::Scenario;
use super::seeds::for_seeds;
use crate::raft::application::Application;
use crate::raft::identity::ClusterUuid;
use crate::raft::snapshot::transfer::Transfer;
use crate::raft::wire::frame::{Frame, Receivers};
use crate::raft::wire::message::{
    BootstrapMessage, Chunk, DivergenceMessage, LivenessMessage, MembershipMessage, Message, RaftKind,
    RaftMessage, SnapshotMessage,
};
use crate::raft::{Incarnation, Input, Operation, Options, Role};

/// How the voters change.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// A dead one of three is replaced, through a joint configuration.
    Replace,
    /// A dead one of four is removed.
    Remove,
    /// A third one votes beside two.
    Grow,
}

impl Change {
    /// The cluster, its leader, and a dead member, when the change is under way.
    fn begin(self, seed: u64, change: impl Fn(&mut Options) + Copy) -> (Scenario, String, Option<String>) {
        let size = match self {
            Change::Replace => 3,
            Change::Remove => 4,
            Change::Grow => 2,
        };
        let mut scenario = Scenario::found(seed, size, change);
        scenario.serve();
        let leader = scenario.leader().expect("it leads");
        match self {
            Change::Replace => {
                scenario.start("n9", 3, change);
                scenario.until("four are members", |scenario| {
                    scenario.leader().is_some()
                        && scenario.cluster.statuses().values().all(|status| status.members.len() == 4)
                });
                let leader = scenario.leader().expect("it leads");
                let dead = scenario.followers().into_iter().find(|name| name != "n9").expect("a voter");
                scenario.cluster.crash(&dead);
                (scenario, leader, Some(dead))
            }
            Change::Remove => {
                let dead = scenario.followers().remove(0);
                scenario.cluster.crash(&dead);
                scenario.cluster.operation(&leader, Operation::Resize { cluster_size: 3 }, 1_000);
                scenario.cluster.operation(&leader, Operation::Remove { id: dead.as_str().into() }, 1_000);
                (scenario, leader, Some(dead))
            }
            Change::Grow => {
                scenario.cluster.operation(&leader, Operation::Resize { cluster_size: 3 }, 1_000);
                scenario.until("all know", |scenario| {
                    scenario.cluster.statuses().values().all(|status| status.cluster_size == 3)
                });
                scenario.start("n9", 3, change);
                (scenario, leader, None)
            }
        }
    }
}

/// The leader's own status says that three vote, and that the dead one is gone.
fn is_done(scenario: &Scenario, leader: &str, dead: Option<&String>) -> bool {
    let status = &scenario.cluster.statuses()[leader];
    status.members.iter().filter(|member| member.is_voter).count() == 3
        && status.members.iter().all(|member| Some(&*member.id) != dead.map(String::as_str))
}

/// It dies in that very moment, and what it has just sent is lost: two of three live, and must continue.
fn leader_dies_when_the_voters_have_changed(change: Change, seed: u64) {
    let (mut scenario, leader, dead) = change.begin(seed, |_| {});
    scenario.until("the voters have changed", |scenario| is_done(scenario, &leader, dead.as_ref()));
    scenario.cluster.frames.retain(|_, sent| sent.from != leader);
    scenario.cluster.crash(&leader);
    scenario.until("another leads", |scenario| scenario.leader().is_some());
    scenario.serve();
}

#[test]
fn two_of_three_go_on_where_the_leader_dies_when_the_voters_have_changed() {
    for change in [Change::Replace, Change::Remove, Change::Grow] {
        for seed in 100..150 {
            leader_dies_when_the_voters_have_changed(change, seed);
        }
    }
}

#[test]
fn bug_of_applying_a_change_at_once_is_caught() {
    for change in [Change::Replace, Change::Remove, Change::Grow] {
        assert_back_is_noticed(Bug::AppliesChangeAtOnce, 100.., |seed| {
            leader_dies_when_the_voters_have_changed(change, seed);
        });
    }
}

/// The same with disks: the leader is gone, and all others lose their power with it. What they knew of the change they
/// still know.
fn power_is_lost_when_the_voters_have_changed(change: Change, seed: u64) {
    let durable = |options: &mut Options| options.is_durable = true;
    let (mut scenario, leader, dead) = change.begin(seed, durable);
    scenario.until("the voters have changed", |scenario| is_done(scenario, &leader, dead.as_ref()));
    scenario.cluster.frames.clear();
    for name in scenario.cluster.replicas.keys().cloned().collect::<Vec<_>>() {
        let disk = scenario.cluster.crash(&name).and_then(|replica| replica.disk).expect("all have disks");
        if name != leader {
            scenario.start_over(&name, 3, durable, disk.crash(0));
        }
    }
    scenario.until("another leads", |scenario| scenario.leader().is_some());
    scenario.serve();
}

#[test]
fn two_of_three_come_back_from_their_disks_where_the_power_is_lost_when_the_voters_have_changed() {
    for change in [Change::Replace, Change::Remove, Change::Grow] {
        for seed in 200..240 {
            power_is_lost_when_the_voters_have_changed(change, seed);
        }
    }
}

#[test]
fn bug_of_not_saving_the_commit_of_a_change_is_caught() {
    assert_back_is_noticed(Bug::ForgetsCommitOfChange, 200.., |seed| {
        power_is_lost_when_the_voters_have_changed(Change::Replace, seed);
    });
}

/// A second voter is admitted, and dies before it knows: the first one, alone enough until then, does not lead on
/// forever without being able to apply that.
#[test]
fn a_leader_whose_next_voters_are_gone_steps_down_and_can_be_recovered() {
    let mut seen = 0;
    for seed in 400..420 {
        let mut scenario = Scenario::found(seed, 1, |_| {});
        scenario.serve();
        scenario.cluster.operation("n0", Operation::Resize { cluster_size: 2 }, 1_000);
        scenario.ticks(5);
        scenario.start("n9", 2, |_| {});
        let is_about_to =
            |scenario: &Scenario| scenario.cluster.replicas["n0"].node.inspect().only_awaits_knowledge();
        for _ in 0..500 {
            if !is_about_to(&scenario) {
                scenario.ticks(1);
            }
        }
        // Where its answer takes no time, it votes already.
        if !is_about_to(&scenario) {
            continue;
        }
        seen += 1;
        scenario.cluster.crash("n9");
        scenario.cluster.frames.clear();
        scenario
            .until("the quorum is lost", |scenario| !scenario.cluster.statuses()["n0"].missing.is_empty());
        let ticket = scenario.cluster.operation("n0", Operation::Recover, 1_000);
        scenario.until("it goes on alone", |scenario| {
            scenario.cluster.replicas["n0"].application.answered.contains_key(&ticket)
        });
        assert_eq!(scenario.cluster.replicas["n0"].application.answered[&ticket], Ok(()));
        scenario.serve();
    }
    assert!(seen >= 5, "only {seen} of 20 were about to vote");
}

/// Whatever a leader does that is removed while it is asked for what is current, an answer is never older than what was
/// acknowledged before; and all but one voter can be removed.
#[test]
fn all_but_one_are_removed_the_leader_among_them_and_the_last_one_serves() {
    for seed in 300..340 {
        let mut scenario = Scenario::found(seed, 5, |_| {});
        scenario.serve();
        let last = scenario.followers().remove(0);
        for count in (1..5).rev() {
            let leader = scenario.leader().expect("it leads");
            let goes = if leader == last { scenario.followers().remove(0) } else { leader };
            let incarnation = scenario.cluster.replicas[&goes].incarnation.expect("it runs");
            let sequence = scenario.cluster.perform(&goes, "append", &format!("{goes}/last"));
            scenario.cluster.operation(&last, Operation::Remove { id: goes.as_str().into() }, 1_000);
            let ticket = scenario.cluster.operation(&last, Operation::Sync, 1_000);
            scenario.until("it is removed", |scenario| {
                let status = &scenario.cluster.statuses()[&last];
                status.members.iter().all(|member| member.incarnation != incarnation)
            });
            scenario.until("the read is answered", |scenario| {
                scenario.cluster.replicas[&last].application.answered.contains_key(&ticket)
            });
            assert_eq!(scenario.cluster.replicas[&last].application.answered[&ticket], Ok(()));
            scenario.until("its call has ended", |scenario| {
                scenario.cluster.replicas[&goes].application.ends.contains_key(&sequence)
            });
            // It lives, and has joined again as a newcomer, or is about to.
            scenario.cluster.crash(&goes);
            scenario.cluster.operation(&last, Operation::Remove { id: goes.as_str().into() }, 1_000);
            scenario.until("so many are left", |scenario| {
                scenario.leader().is_some() && scenario.cluster.statuses()[&last].members.len() == count
            });
        }
        assert_eq!(scenario.leader().as_ref(), Some(&last));
        scenario.serve();
    }
}

/// A newcomer, and the frames of leaders that send it a snapshot.
struct Arrival {
    scenario: Scenario,
    cluster: ClusterUuid,
    chunks: Vec<Chunk>,
}

impl Arrival {
    /// What the leader of a cluster would send to a newcomer that has none of it yet.
    fn new() -> Self {
        let mut scenario = Scenario::found(1, 3, |_| {});
        scenario.serve();
        let leader = scenario.leader().expect("it leads");
        let cluster = scenario.cluster.statuses()[&leader].cluster;
        let image = scenario.cluster.replicas[&leader]
            .node
            .inspect()
            .log()
            .expect("it has one")
            .snapshot()
            .image
            .clone();
        for name in ["n0", "n1", "n2"] {
            scenario.cluster.crash(name);
        }
        scenario.start("n9", 3, |_| {});
        let receiver = scenario.cluster.replicas["n9"].incarnation.expect("it runs");
        let options = Options { chunk_bytes: 40, ..Options::new("n0", 3, [0; 32]) };
        let chunks = Transfer::new(5, 3, receiver, (1, image), &options, false).chunks();
        Self { scenario, cluster, chunks }
    }

    /// Which transfer the newcomer has how much of when it has heard the chunk from this sender.
    fn hear(&mut self, from: Incarnation, chunk: &Chunk) -> Option<(u64, u64)> {
        let to = self.scenario.cluster.replicas["n9"].incarnation;
        let messages = vec![SnapshotMessage::Chunk(chunk.clone()).into()];
        let frame = Frame {
            cluster: self.cluster,
            from,
            start: None,
            to: to.map_or(Receivers::All, Receivers::One),
            messages,
        };
        self.scenario.cluster.handle("n9", Input::Frame(frame.encode()));
        self.scenario.cluster.replicas["n9"].node.inspect().reception()
    }
}

fn a_late_chunk_ends_no_transfer_that_is_under_way(_: u64) {
    let [leader, former, next] = [1001, 1002, 1003].map(Incarnation::from_u128);
    let mut arrival = Arrival::new();
    let [first, second] = [arrival.chunks[0].clone(), arrival.chunks[1].clone()];
    let number = first.transfer;
    assert_eq!(arrival.hear(leader, &first), Some((number, 40)));
    // A former leader's, and one that this leader sent in an earlier transfer.
    arrival.hear(former, &Chunk { term: first.term - 1, ..first.clone() });
    arrival.hear(leader, &Chunk { transfer: number - 1, ..first.clone() });
    arrival.hear(former, &Chunk { transfer: number + 9, ..first.clone() });
    assert_eq!(arrival.hear(leader, &second), Some((number, 80)), "it goes on where it was");
    let later = Chunk { term: first.term + 1, transfer: 1, ..first.clone() };
    assert_eq!(arrival.hear(next, &later), Some((1, 40)), "a later leader begins its own");
    assert_eq!(arrival.hear(leader, &second), Some((1, 40)));
    // It dies, and the former one is heard again.
    for _ in 0..499 {
        arrival.scenario.cluster.handle("n9", Input::Tick);
    }
    assert_eq!(arrival.hear(leader, &first), Some((1, 40)), "the later leader is only slow");
    for _ in 0..500 {
        arrival.scenario.cluster.handle("n9", Input::Tick);
    }
    assert_eq!(arrival.hear(leader, &first), Some((number, 40)));
}

#[test]
fn a_chunk_that_is_late_or_no_leaders_ends_no_transfer_that_is_under_way() {
    a_late_chunk_ends_no_transfer_that_is_under_way(0);
}

#[test]
fn bug_of_ending_a_transfer_for_any_chunk_is_caught() {
    assert_back_is_noticed(Bug::AnyChunkEndsReception, 0..1, a_late_chunk_ends_no_transfer_that_is_under_way);
}

/// The word of a leader that is none any more.
#[test]
fn a_member_believes_no_former_leader_that_it_was_removed_and_no_stranger_anything() {
    let mut scenario = Scenario::found(4, 3, |_| {});
    scenario.serve();
    let name = scenario.followers().remove(0);
    let before = scenario.cluster.statuses()[&name].clone();
    let to = scenario.cluster.replicas[&name].incarnation;
    let leader =
        scenario.cluster.replicas[&scenario.leader().expect("it leads")].incarnation.expect("it runs");
    let cluster = before.cluster;
    let says = |scenario: &mut Scenario, from: Incarnation, message: Message| {
        let frame = Frame {
            cluster,
            from,
            start: None,
            to: to.map_or(Receivers::All, Receivers::One),
            messages: vec![message],
        };
        scenario.cluster.handle(&name, Input::Frame(frame.encode()));
    };
    says(&mut scenario, leader, MembershipMessage::Removed { term: before.term - 1, cluster_size: 3 }.into());
    let stranger = Incarnation::from_u128(77);
    let [hash, theirs] = [[1; 16], [2; 16]];
    for message in [
        MembershipMessage::Closing { leaves: true }.into(),
        MembershipMessage::MemberInfo {
            version: "other".into(),
            application: Application::default(),
            asks: false,
        }
        .into(),
        DivergenceMessage::Diverged { index: Some(1) }.into(),
        DivergenceMessage::Disagrees { index: before.applied_index, ours: hash, theirs }.into(),
        LivenessMessage::Unreachable { members: Vec::new() }.into(),
        LivenessMessage::AppProbe.into(),
    ] {
        says(&mut scenario, stranger, message);
    }
    let after = scenario.cluster.statuses()[&name].clone();
    assert_eq!(
        (after.incarnation, after.role, after.term),
        (before.incarnation, Role::Follower, before.term)
    );
    assert_eq!((after.diverged, after.members), (before.diverged, before.members));
    scenario.serve();
    says(&mut scenario, leader, MembershipMessage::Removed { term: before.term, cluster_size: 3 }.into());
    assert_ne!(scenario.cluster.replicas[&name].incarnation, to, "its leader's word counts");
}

#[test]
fn a_leader_that_campaigns_leads_no_more_also_where_a_learner_hears_it() {
    a_learner_hears_its_leader_campaign(6);
}

/// The former leader counts the learner as a voter, by a change that the learner does not know. If the others are gone, the
/// two recover the cluster only if the learner sees that no node leads.
pub(super) fn a_learner_hears_its_leader_campaign(seed: u64) {
    let mut scenario = Scenario::found(seed, 3, |_| {});
    scenario.serve();
    scenario.start("n9", 3, |_| {});
    scenario.ticks(1_000);
    let learner = scenario.cluster.statuses()["n9"].clone();
    let to = scenario.cluster.replicas["n9"].incarnation;
    let leader = scenario.cluster.replicas[&scenario.leader_among(4).expect("it leads")].incarnation;
    scenario.cluster.cut_apart(|_, _| true);
    let message = RaftMessage {
        log_term: learner.term,
        commit: learner.commit_index,
        ..RaftMessage::new(RaftKind::RequestPreVote, learner.term + 1, learner.last_index + 1)
    };
    for _ in 0..20 {
        scenario.ticks(40);
        let from = leader.expect("it runs");
        let messages = vec![Message::Raft(message.clone())];
        let frame = Frame {
            cluster: learner.cluster,
            from,
            start: None,
            to: to.map_or(Receivers::All, Receivers::One),
            messages,
        };
        scenario.cluster.handle("n9", Input::Frame(frame.encode()));
    }
    let after = &scenario.cluster.statuses()["n9"];
    assert_eq!(after.leader, None, "seed {seed}: {after:?}");
    assert!(!after.missing.is_empty(), "seed {seed}: it sees that the quorum is lost: {after:?}");
}

#[test]
fn a_newcomer_of_another_cluster_size_is_not_let_in() {
    let mut scenario = Scenario::found(5, 3, |_| {});
    scenario.serve();
    scenario.start("n9", 5, |_| {});
    scenario.ticks(1_000);
    let leader = scenario.leader_among(3).expect("it leads");
    assert_eq!(scenario.cluster.statuses()[&leader].members.len(), 3);
}

/// A Discover may be under way for long. What the member had performed is then done, and its row of the session table
/// is gone with it: admitted again, it would have everything done once more.
#[test]
fn a_discover_from_before_its_removal_lets_no_member_in_again() {
    for_seeds(0..20, an_old_discover_comes_late);
}

pub(super) fn an_old_discover_comes_late(seed: u64) {
    let mut scenario = Scenario::found(seed, 3, |_| {});
    scenario.serve();
    let leader = scenario.leader().expect("it leads");
    scenario.cluster.network.delay_ticks_max = 5;
    scenario.start("n9", 3, |_| {});
    let mut discovers = BTreeSet::new();
    while scenario.cluster.statuses()[&leader].members.len() < 4 {
        let frames = scenario.cluster.frames.values().filter(|sent| sent.from == "n9" && sent.to == leader);
        let says_discover = |bytes: &Bytes| {
            let frame = Frame::decode(bytes).expect("a node has written it");
            frame
                .messages
                .iter()
                .any(|message| matches!(message, Message::Bootstrap(BootstrapMessage::Discover { .. })))
        };
        discovers.extend(frames.map(|sent| sent.bytes.clone()).filter(says_discover));
        scenario.ticks(1);
    }
    assert!(!discovers.is_empty(), "a Discover admitted it");
    scenario.serve();
    // It hears nothing of what becomes of its action, nor that it is removed.
    let others: Vec<String> = scenario.cluster.statuses().into_keys().filter(|name| name != "n9").collect();
    scenario.cluster.cuts.extend(others.iter().map(|other| (other.clone(), "n9".to_string())));
    let count = scenario.state(&leader).count;
    scenario.cluster.perform("n9", "append", "late");
    scenario.until("the action is done", |scenario| scenario.state(&leader).count > count);
    scenario.cluster.operation(&leader, Operation::Remove { id: "n9".into() }, 1_000);
    scenario.until("it is removed", |scenario| scenario.cluster.statuses()[&leader].members.len() == 3);
    for discover in discovers {
        scenario.cluster.handle(&leader, Input::Frame(discover));
    }
    scenario.ticks(10);
    assert_eq!(scenario.cluster.statuses()[&leader].members.len(), 3);
    scenario.cluster.cuts.clear();
    scenario.until("it is back as a newcomer", |scenario| {
        scenario.cluster.statuses().values().all(|status| status.members.len() == 4)
    });
    scenario.serve();
}

/// A leader that is cut off continues for a while, and says something else of its members than the next one does.
#[test]
fn a_newcomer_that_hears_two_leaders_is_let_in_by_the_one_that_has_a_majority() {
    let mut scenario = Scenario::found(7, 3, |_| {});
    scenario.serve();
    let former = scenario.leader().expect("it leads");
    let others: Vec<String> =
        scenario.cluster.statuses().into_keys().filter(|name| *name != former).collect();
    scenario.cluster.network.delay_ticks_max = 0;
    // It does not notice: its clock stands still, and it answers nevertheless.
    scenario.cluster.replicas.get_mut(&former).expect("it runs").rate = 0;
    for other in &others {
        scenario.cluster.cuts.extend([(former.clone(), other.clone()), (other.clone(), former.clone())]);
    }
    scenario.until("another leads", |scenario| {
        others.iter().any(|name| scenario.cluster.statuses()[name].role == Role::Leader)
    });
    scenario.start("n8", 3, |_| {});
    let has = |scenario: &Scenario, count| {
        others.iter().all(|name| scenario.cluster.statuses()[name].members.len() == count)
    };
    scenario.until("a newcomer is admitted", |scenario| has(scenario, 4));
    // The next one hears both, while neither can let it in.
    let cuts = scenario.cluster.cuts.clone();
    let [one, other] = &others[..] else { panic!("two are left") };
    scenario.cluster.cuts.extend([(one.clone(), other.clone()), (other.clone(), one.clone())]);
    scenario.start("n9", 3, |_| {});
    scenario.ticks(10);
    scenario.cluster.cuts = cuts;
    scenario.until("the next newcomer is admitted", |scenario| has(scenario, 5));
}

/// That of an earlier transfer says nothing of this one.
#[test]
fn only_the_receipt_of_the_transfer_that_is_under_way_ends_it() {
    let mut scenario = Scenario::found(6, 3, |_| {});
    scenario.serve();
    let leader = scenario.leader().expect("it leads");
    scenario.cluster.network.delay_ticks_max = 2;
    scenario.start("n9", 3, |_| {});
    scenario.until("a snapshot is on its way", |scenario| {
        !scenario.cluster.replicas[&leader].node.inspect().transfers().is_empty()
    });
    scenario.cluster.cuts.insert((leader.clone(), "n9".into()));
    let [number] = scenario.cluster.replicas[&leader].node.inspect().transfers()[..] else {
        panic!("it is one")
    };
    let from = scenario.cluster.replicas["n9"].incarnation.expect("it runs");
    let to = scenario.cluster.replicas[&leader].incarnation;
    let mut says = |from: Incarnation, transfer: u64| {
        let messages =
            vec![SnapshotMessage::ChunkReceived { transfer, bytes: 1 << 30, held: Vec::new() }.into()];
        let frame = Frame {
            cluster: ClusterUuid::NONE,
            from,
            start: None,
            to: to.map_or(Receivers::All, Receivers::One),
            messages,
        };
        scenario.cluster.handle(&leader, Input::Frame(frame.encode()));
        scenario.cluster.replicas[&leader].node.inspect().transfers()
    };
    assert_eq!(says(from, number - 1), [number], "an earlier one");
    assert_eq!(says(Incarnation::from_u128(5), number), [number], "to another one");
    assert!(says(from, number).is_empty());
}

/// It is replaced through a joint configuration, in which all take snapshots. The checker compares those.
#[test]
fn a_member_that_is_being_removed_takes_the_snapshots_that_the_others_take() {
    for seed in 0..10 {
        let mut scenario = Scenario::found(seed, 3, |options| options.snapshot_entries = 1);
        scenario.start("n9", 3, |options| options.snapshot_entries = 1);
        scenario.until("four are members", |scenario| {
            scenario.cluster.statuses().values().all(|status| status.members.len() == 4)
        });
        scenario.serve();
        let (leader, removed) = (scenario.leader().expect("it leads"), scenario.followers().remove(0));
        scenario.cluster.operation(&leader, Operation::Remove { id: removed.as_str().into() }, 1_000);
        let halves =
            |scenario: &Scenario| scenario.cluster.replicas[&removed].node.inspect().voter_halves().len();
        scenario.until("it is being replaced", |scenario| halves(scenario) > 1);
        let former = scenario.cluster.replicas[&removed].incarnation;
        scenario.until("it is removed", |scenario| scenario.cluster.replicas[&removed].incarnation != former);
        scenario.until("it is back as a newcomer", |scenario| scenario.leader().is_some());
        scenario.serve();
    }
}

#[test]
fn a_leader_sends_no_snapshot_to_a_member_that_is_removed() {
    let mut scenario = Scenario::found(6, 3, |_| {});
    scenario.serve();
    let leader = scenario.leader().expect("it leads");
    scenario.start("n9", 3, |_| {});
    let transfers = |scenario: &Scenario| scenario.cluster.replicas[&leader].node.inspect().transfers().len();
    scenario.until("a snapshot is on its way", |scenario| transfers(scenario) == 1);
    scenario.cluster.crash("n9");
    scenario.cluster.operation(&leader, Operation::Remove { id: "n9".into() }, 1_000);
    scenario.until("it is removed", |scenario| {
        scenario.cluster.statuses().values().all(|status| status.members.len() == 3)
    });
    assert_eq!(transfers(&scenario), 0);
}

/// A frame may hold more messages for the incarnation that its receiver was until the first one.
#[test]
fn a_removed_node_takes_nothing_else_from_the_frame_that_notifies_it() {
    let altered: usize = (0..10).map(a_notice_is_followed_by_another_message).sum();
    assert!(altered > 0, "no node was notified");
}

/// How many frames notified it.
fn a_notice_is_followed_by_another_message(seed: u64) -> usize {
    let mut scenario = Scenario::found(seed, 4, |_| {});
    scenario.serve();
    scenario.cluster.network.delay_ticks_max = 3;
    let leader = scenario.leader().expect("it was found");
    let removed = scenario.followers().remove(0);
    let former = scenario.cluster.replicas[&removed].incarnation;
    scenario.cluster.operation(&leader, Operation::Remove { id: removed.as_str().into() }, 10_000);
    let mut altered = 0;
    for _ in 0..1_000 {
        for sent in scenario.cluster.frames.values_mut().filter(|sent| sent.to == removed) {
            let mut frame = Frame::decode(&sent.bytes).expect("nothing is damaged");
            if let Some(Message::Membership(MembershipMessage::Removed { .. })) = frame.messages.last() {
                // What ends a node that has no cluster yet.
                frame.messages.push(BootstrapMessage::IdInUse { id: removed.as_str().into() }.into());
                sent.bytes = frame.encode();
                altered += 1;
            }
        }
        scenario.ticks(1);
    }
    assert_ne!(scenario.cluster.replicas[&removed].incarnation, former, "it was removed");
    scenario.serve();
    altered
}
