//! This file tells what happens while members are replaced, removed, demoted and let in, and a leader goes at the worst
//! moment; and of snapshots on their way meanwhile.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::bugs::{Bug, assert_back_is_noticed};
use super::seeds::for_seeds;
use super::stories::Story;
use crate::raft::application::Application;
use crate::raft::frame::{Chunk, Frame, Message, RaftKind, RaftMessage};
use crate::raft::identity::ClusterUuid;
use crate::raft::transfer::Transfer;
use crate::raft::{Ask, Incarnation, Input, Options, Role};

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
    fn begin(self, seed: u64, change: impl Fn(&mut Options) + Copy) -> (Story, String, Option<String>) {
        let size = match self {
            Change::Replace => 3,
            Change::Remove => 4,
            Change::Grow => 2,
        };
        let mut story = Story::found(seed, size, change);
        story.serve();
        let leader = story.leader().expect("it leads");
        match self {
            Change::Replace => {
                story.start("n9", 3, change);
                story.until("four are members", |story| {
                    story.leader().is_some()
                        && story.cluster.statuses().values().all(|status| status.members.len() == 4)
                });
                let leader = story.leader().expect("it leads");
                let dead = story.followers().into_iter().find(|name| name != "n9").expect("a voter");
                story.cluster.crash(&dead);
                (story, leader, Some(dead))
            }
            Change::Remove => {
                let dead = story.followers().remove(0);
                story.cluster.crash(&dead);
                story.cluster.ask(&leader, Ask::Resize { cluster_size: 3 }, 1_000);
                story.cluster.ask(&leader, Ask::Remove { id: dead.as_str().into() }, 1_000);
                (story, leader, Some(dead))
            }
            Change::Grow => {
                story.cluster.ask(&leader, Ask::Resize { cluster_size: 3 }, 1_000);
                story.until("all know", |story| {
                    story.cluster.statuses().values().all(|status| status.cluster_size == 3)
                });
                story.start("n9", 3, change);
                (story, leader, None)
            }
        }
    }
}

/// The leader's own status says that three vote, and that the dead one is gone.
fn is_done(story: &Story, leader: &str, dead: Option<&String>) -> bool {
    let status = &story.cluster.statuses()[leader];
    status.members.iter().filter(|member| member.is_voter).count() == 3
        && status.members.iter().all(|member| Some(&*member.id) != dead.map(String::as_str))
}

/// It dies in that very moment, and what it has just sent is lost: two of three live, and must go on.
fn leader_dies_when_the_voters_have_changed(change: Change, seed: u64) {
    let (mut story, leader, dead) = change.begin(seed, |_| {});
    story.until("the voters have changed", |story| is_done(story, &leader, dead.as_ref()));
    story.cluster.frames.retain(|_, sent| sent.from != leader);
    story.cluster.crash(&leader);
    story.until("another leads", |story| story.leader().is_some());
    story.serve();
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
    let (mut story, leader, dead) = change.begin(seed, durable);
    story.until("the voters have changed", |story| is_done(story, &leader, dead.as_ref()));
    story.cluster.frames.clear();
    for name in story.cluster.replicas.keys().cloned().collect::<Vec<_>>() {
        let disk = story.cluster.crash(&name).and_then(|replica| replica.disk).expect("all have disks");
        if name != leader {
            story.start_over(&name, 3, durable, disk.crash(0));
        }
    }
    story.until("another leads", |story| story.leader().is_some());
    story.serve();
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

/// A second voter is let in, and dies before it knows: the first one, alone enough until then, does not lead on for ever
/// without being able to apply that.
#[test]
fn a_leader_whose_next_voters_are_gone_steps_down_and_can_be_recovered() {
    let mut seen = 0;
    for seed in 400..420 {
        let mut story = Story::found(seed, 1, |_| {});
        story.serve();
        story.cluster.ask("n0", Ask::Resize { cluster_size: 2 }, 1_000);
        story.ticks(5);
        story.start("n9", 2, |_| {});
        let is_about_to = |story: &Story| story.cluster.replicas["n0"].node.only_awaits_knowledge();
        for _ in 0..500 {
            if !is_about_to(&story) {
                story.ticks(1);
            }
        }
        // Where its answer takes no time, it votes already.
        if !is_about_to(&story) {
            continue;
        }
        seen += 1;
        story.cluster.crash("n9");
        story.cluster.frames.clear();
        story.until("the quorum is lost", |story| !story.cluster.statuses()["n0"].missing.is_empty());
        let ticket = story.cluster.ask("n0", Ask::Recover, 1_000);
        story.until("it goes on alone", |story| {
            story.cluster.replicas["n0"].application.answered.contains_key(&ticket)
        });
        assert_eq!(story.cluster.replicas["n0"].application.answered[&ticket], Ok(()));
        story.serve();
    }
    assert!(seen >= 5, "only {seen} of 20 were about to vote");
}

/// Whatever a leader does that is removed while it is asked for what is current, an answer is never older than what was
/// acknowledged before; and all but one voter can be removed.
#[test]
fn all_but_one_are_removed_the_leader_among_them_and_the_last_one_serves() {
    for seed in 300..340 {
        let mut story = Story::found(seed, 5, |_| {});
        story.serve();
        let last = story.followers().remove(0);
        for count in (1..5).rev() {
            let leader = story.leader().expect("it leads");
            let goes = if leader == last { story.followers().remove(0) } else { leader };
            let incarnation = story.cluster.replicas[&goes].incarnation.expect("it runs");
            let sequence = story.cluster.perform(&goes, "append", &format!("{goes}/last"));
            story.cluster.ask(&last, Ask::Remove { id: goes.as_str().into() }, 1_000);
            let ticket = story.cluster.ask(&last, Ask::Sync, 1_000);
            story.until("it is removed", |story| {
                let status = &story.cluster.statuses()[&last];
                status.members.iter().all(|member| member.incarnation != incarnation)
            });
            story.until("the read is answered", |story| {
                story.cluster.replicas[&last].application.answered.contains_key(&ticket)
            });
            assert_eq!(story.cluster.replicas[&last].application.answered[&ticket], Ok(()));
            story.until("its perform has ended", |story| {
                story.cluster.replicas[&goes].application.ends.contains_key(&sequence)
            });
            // It lives, and has joined again as a newcomer, or is about to.
            story.cluster.crash(&goes);
            story.cluster.ask(&last, Ask::Remove { id: goes.as_str().into() }, 1_000);
            story.until("so many are left", |story| {
                story.leader().is_some() && story.cluster.statuses()[&last].members.len() == count
            });
        }
        assert_eq!(story.leader().as_ref(), Some(&last));
        story.serve();
    }
}

/// A newcomer, and the frames of leaders that send it a snapshot.
struct Arrival {
    story: Story,
    cluster: ClusterUuid,
    chunks: Vec<Chunk>,
}

impl Arrival {
    /// What the leader of a cluster would send to a newcomer that has none of it yet.
    fn new() -> Self {
        let mut story = Story::found(1, 3, |_| {});
        story.serve();
        let leader = story.leader().expect("it leads");
        let cluster = story.cluster.statuses()[&leader].cluster;
        let image = story.cluster.replicas[&leader].node.log().expect("it has one").snapshot().image.clone();
        for name in ["n0", "n1", "n2"] {
            story.cluster.crash(name);
        }
        story.start("n9", 3, |_| {});
        let receiver = story.cluster.replicas["n9"].incarnation.expect("it runs");
        let options = Options { chunk_bytes: 40, ..Options::new("n0", 3, [0; 32]) };
        let chunks = Transfer::new(5, 3, receiver, (1, image), &options, false).chunks();
        Self { story, cluster, chunks }
    }

    /// Which transfer the newcomer has how much of when it has heard the chunk from this sender.
    fn hear(&mut self, from: Incarnation, chunk: &Chunk) -> Option<(u64, u64)> {
        let to = self.story.cluster.replicas["n9"].incarnation;
        let messages = vec![Message::Chunk(chunk.clone())];
        let frame = Frame { cluster: self.cluster, from, start: None, to, messages };
        self.story.cluster.handle("n9", Input::Frame(frame.encode()));
        self.story.cluster.replicas["n9"].node.reception()
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
        arrival.story.cluster.handle("n9", Input::Tick);
    }
    assert_eq!(arrival.hear(leader, &first), Some((1, 40)), "the later leader is only slow");
    for _ in 0..500 {
        arrival.story.cluster.handle("n9", Input::Tick);
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
    let mut story = Story::found(4, 3, |_| {});
    story.serve();
    let name = story.followers().remove(0);
    let before = story.cluster.statuses()[&name].clone();
    let to = story.cluster.replicas[&name].incarnation;
    let leader = story.cluster.replicas[&story.leader().expect("it leads")].incarnation.expect("it runs");
    let cluster = before.cluster;
    let says = |story: &mut Story, from: Incarnation, message: Message| {
        let frame = Frame { cluster, from, start: None, to, messages: vec![message] };
        story.cluster.handle(&name, Input::Frame(frame.encode()));
    };
    says(&mut story, leader, Message::Removed { term: before.term - 1, cluster_size: 3 });
    let stranger = Incarnation::from_u128(77);
    let [hash, theirs] = [[1; 16], [2; 16]];
    for message in [
        Message::Closing { leaves: true },
        Message::About { version: "other".into(), application: Application::default(), asks: false },
        Message::Fenced { index: Some(1) },
        Message::Disagrees { index: before.applied_index, ours: hash, theirs },
        Message::Silent { members: Vec::new() },
        Message::Wake,
    ] {
        says(&mut story, stranger, message);
    }
    let after = story.cluster.statuses()[&name].clone();
    assert_eq!(
        (after.incarnation, after.role, after.term),
        (before.incarnation, Role::Follower, before.term)
    );
    assert_eq!((after.fenced, after.members), (before.fenced, before.members));
    story.serve();
    says(&mut story, leader, Message::Removed { term: before.term, cluster_size: 3 });
    assert_ne!(story.cluster.replicas[&name].incarnation, to, "its leader's word counts");
}

#[test]
fn a_leader_that_campaigns_leads_no_more_also_where_a_learner_hears_it() {
    a_learner_hears_its_leader_campaign(6);
}

/// The former leader counts the learner as a voter, by a change that the learner does not know. If the others are gone, the
/// two recover the cluster only if the learner sees that nobody leads.
pub(super) fn a_learner_hears_its_leader_campaign(seed: u64) {
    let mut story = Story::found(seed, 3, |_| {});
    story.serve();
    story.start("n9", 3, |_| {});
    story.ticks(1_000);
    let learner = story.cluster.statuses()["n9"].clone();
    let to = story.cluster.replicas["n9"].incarnation;
    let leader = story.cluster.replicas[&story.leader_among(4).expect("it leads")].incarnation;
    story.cluster.cut_apart(|_, _| true);
    let message = RaftMessage {
        kind: RaftKind::RequestPreVote,
        term: learner.term + 1,
        log_term: learner.term,
        index: learner.last_index + 1,
        commit: learner.commit_index,
        commit_term: 0,
        reject: false,
        reject_hint: 0,
        context: Bytes::new(),
        entries: Vec::new(),
    };
    for _ in 0..20 {
        story.ticks(40);
        let from = leader.expect("it runs");
        let messages = vec![Message::Raft(message.clone())];
        let frame = Frame { cluster: learner.cluster, from, start: None, to, messages };
        story.cluster.handle("n9", Input::Frame(frame.encode()));
    }
    let after = &story.cluster.statuses()["n9"];
    assert_eq!(after.leader, None, "seed {seed}: {after:?}");
    assert!(!after.missing.is_empty(), "seed {seed}: it sees that the quorum is lost: {after:?}");
}

#[test]
fn a_newcomer_of_another_cluster_size_is_not_let_in() {
    let mut story = Story::found(5, 3, |_| {});
    story.serve();
    story.start("n9", 5, |_| {});
    story.ticks(1_000);
    let leader = story.leader_among(3).expect("it leads");
    assert_eq!(story.cluster.statuses()[&leader].members.len(), 3);
}

/// A HELLO may be under way for long. What the member had performed is then done, and its row of the session table is gone
/// with it: let in again, it would have everything done once more.
#[test]
fn a_hello_from_before_its_removal_lets_no_member_in_again() {
    for_seeds(0..20, an_old_hello_comes_late);
}

pub(super) fn an_old_hello_comes_late(seed: u64) {
    let mut story = Story::found(seed, 3, |_| {});
    story.serve();
    let leader = story.leader().expect("it leads");
    story.cluster.network.delay_ticks_max = 5;
    story.start("n9", 3, |_| {});
    let mut hellos = BTreeSet::new();
    while story.cluster.statuses()[&leader].members.len() < 4 {
        let frames = story.cluster.frames.values().filter(|sent| sent.from == "n9" && sent.to == leader);
        let says_hello = |bytes: &Bytes| {
            let frame = Frame::decode(bytes).expect("a node has written it");
            frame.messages.iter().any(|message| matches!(message, Message::Hello { .. }))
        };
        hellos.extend(frames.map(|sent| sent.bytes.clone()).filter(says_hello));
        story.ticks(1);
    }
    assert!(!hellos.is_empty(), "it was let in by a HELLO");
    story.serve();
    // It hears nothing of what becomes of its action, nor that it is removed.
    let others: Vec<String> = story.cluster.statuses().into_keys().filter(|name| name != "n9").collect();
    story.cluster.cuts.extend(others.iter().map(|other| (other.clone(), "n9".to_string())));
    let count = story.state(&leader).count;
    story.cluster.perform("n9", "append", "late");
    story.until("the action is done", |story| story.state(&leader).count > count);
    story.cluster.ask(&leader, Ask::Remove { id: "n9".into() }, 1_000);
    story.until("it is removed", |story| story.cluster.statuses()[&leader].members.len() == 3);
    for hello in hellos {
        story.cluster.handle(&leader, Input::Frame(hello));
    }
    story.ticks(10);
    assert_eq!(story.cluster.statuses()[&leader].members.len(), 3);
    story.cluster.cuts.clear();
    story.until("it is back as a newcomer", |story| {
        story.cluster.statuses().values().all(|status| status.members.len() == 4)
    });
    story.serve();
}

/// A leader that is cut off goes on for a while, and says something else of its members than the next one does.
#[test]
fn a_newcomer_that_hears_two_leaders_is_let_in_by_the_one_that_has_a_majority() {
    let mut story = Story::found(7, 3, |_| {});
    story.serve();
    let former = story.leader().expect("it leads");
    let others: Vec<String> = story.cluster.statuses().into_keys().filter(|name| *name != former).collect();
    story.cluster.network.delay_ticks_max = 0;
    // It does not notice: its clock stands still, and it answers nevertheless.
    story.cluster.replicas.get_mut(&former).expect("it runs").rate = 0;
    for other in &others {
        story.cluster.cuts.extend([(former.clone(), other.clone()), (other.clone(), former.clone())]);
    }
    story.until("another leads", |story| {
        others.iter().any(|name| story.cluster.statuses()[name].role == Role::Leader)
    });
    story.start("n8", 3, |_| {});
    let has = |story: &Story, count| {
        others.iter().all(|name| story.cluster.statuses()[name].members.len() == count)
    };
    story.until("a newcomer is let in", |story| has(story, 4));
    // The next one hears both, while neither can let it in.
    let cuts = story.cluster.cuts.clone();
    let [one, other] = &others[..] else { panic!("two are left") };
    story.cluster.cuts.extend([(one.clone(), other.clone()), (other.clone(), one.clone())]);
    story.start("n9", 3, |_| {});
    story.ticks(10);
    story.cluster.cuts = cuts;
    story.until("the next newcomer is let in", |story| has(story, 5));
}

/// That of an earlier transfer says nothing of this one.
#[test]
fn only_the_receipt_of_the_transfer_that_is_under_way_ends_it() {
    let mut story = Story::found(6, 3, |_| {});
    story.serve();
    let leader = story.leader().expect("it leads");
    story.cluster.network.delay_ticks_max = 2;
    story.start("n9", 3, |_| {});
    story.until("a snapshot is on its way", |story| {
        !story.cluster.replicas[&leader].node.transfers().is_empty()
    });
    story.cluster.cuts.insert((leader.clone(), "n9".into()));
    let [number] = story.cluster.replicas[&leader].node.transfers()[..] else { panic!("it is one") };
    let from = story.cluster.replicas["n9"].incarnation.expect("it runs");
    let to = story.cluster.replicas[&leader].incarnation;
    let mut says = |from: Incarnation, transfer: u64| {
        let messages = vec![Message::ChunkReceived { transfer, bytes: 1 << 30, held: Vec::new() }];
        let frame = Frame { cluster: ClusterUuid::NONE, from, start: None, to, messages };
        story.cluster.handle(&leader, Input::Frame(frame.encode()));
        story.cluster.replicas[&leader].node.transfers()
    };
    assert_eq!(says(from, number - 1), [number], "an earlier one");
    assert_eq!(says(Incarnation::from_u128(5), number), [number], "to another one");
    assert!(says(from, number).is_empty());
}
