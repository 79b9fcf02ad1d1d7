//! Scenarios, step by step, of a cluster that transfers leadership, or that loses its quorum for good;
//! `divergences.rs` has those of a state that is not to be trusted.

use super::application::End;
use super::cluster::{Cluster, Network};
use super::disk::Disk;
use crate::error::Error;
use crate::raft::{Input, Operation, Options, Role, Warning};

/// A cluster whose network is good but not instant.
pub struct Scenario {
    pub cluster: Cluster,
    pub performed: u64,
}

impl Scenario {
    pub fn found(seed: u64, size: usize, change: impl Fn(&mut Options)) -> Self {
        let mut scenario = Self { cluster: Cluster::new(seed), performed: 0 };
        scenario.cluster.network = Network { delay_ticks_max: 2, ..Network::default() };
        for n in 0..size {
            scenario.start(&format!("n{n}"), size, &change);
        }
        scenario.until("a leader that all know", |scenario| scenario.leader().is_some());
        scenario
    }

    pub fn start(&mut self, name: &str, size: usize, change: impl Fn(&mut Options)) {
        self.start_over(name, size, change, Disk::default());
    }

    /// A process that finds this disk, if the options say that it has one.
    pub fn start_over(&mut self, name: &str, size: usize, change: impl Fn(&mut Options), disk: Disk) {
        let seed = self.cluster.draw_seed();
        let mut options = Options { snapshot_entries: 20, ..Options::new(name, size, seed) };
        change(&mut options);
        let is_durable = options.is_durable;
        self.cluster.start(name, options, is_durable.then_some(disk));
    }

    /// Disks make durable what was written in the ticks before.
    fn tick(&mut self) {
        self.cluster.tick();
        for name in self.cluster.replicas.keys().cloned().collect::<Vec<_>>() {
            self.cluster.sync(&name);
        }
    }

    /// The node that all living ones take for their leader.
    pub fn leader(&self) -> Option<String> {
        let statuses = self.cluster.statuses();
        let leader = statuses.iter().find(|(_, status)| status.role == Role::Leader)?;
        statuses
            .values()
            .all(|status| status.leader == leader.1.leader && status.commit_index > 1)
            .then(|| leader.0.clone())
    }

    /// The leader of a cluster with this many members, regardless of other running nodes.
    pub fn leader_among(&self, count: usize) -> Option<String> {
        let statuses = self.cluster.statuses();
        let mut leaders = statuses.iter().filter(|(_, status)| status.role == Role::Leader);
        leaders.find(|(_, status)| status.members.len() == count).map(|(name, _)| name.clone())
    }

    pub fn followers(&self) -> Vec<String> {
        let leader = self.leader();
        self.cluster.replicas.keys().filter(|name| Some(*name) != leader.as_ref()).cloned().collect()
    }

    /// Calls on every living node, and waits until that is in all their states.
    pub fn serve(&mut self) {
        let names: Vec<String> = self.cluster.replicas.keys().cloned().collect();
        let serving: Vec<String> =
            names.into_iter().filter(|name| !self.cluster.replicas[name].application.is_diverged).collect();
        for _ in 0..5 {
            for name in &serving {
                self.performed += 1;
                let args = format!("{name}/{}", self.performed);
                self.cluster.perform(name, "append", &args);
            }
            self.ticks(3);
        }
        self.until("all is served", |scenario| {
            scenario.cluster.statuses().values().all(|status| status.pending == 0)
                && serving.windows(2).all(|pair| scenario.state(&pair[0]) == scenario.state(&pair[1]))
        });
    }

    pub fn state(&self, name: &str) -> &super::application::State {
        &self.cluster.replicas[name].application.state
    }

    fn has_warned(&self, name: &str, is: impl Fn(&Warning) -> bool) -> bool {
        self.cluster.replicas[name].application.warnings.iter().any(is)
    }

    fn answer(&self, name: &str, ticket: u64) -> Option<&Result<(), Error>> {
        self.cluster.replicas[name].application.answered.get(&ticket)
    }

    pub fn ticks(&mut self, count: u64) {
        for _ in 0..count {
            self.tick();
        }
    }

    pub fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..5_000 {
            if holds(self) {
                return;
            }
            self.tick();
        }
        panic!("it never holds that {what}: {:#?}", self.cluster.statuses());
    }
}

#[test]
fn a_state_that_cannot_be_kept_is_told_and_nothing_is_compacted() {
    let mut scenario = Scenario::found(5, 3, |_| {});
    let name = scenario.followers().remove(0);
    scenario.cluster.replicas.get_mut(&name).expect("it runs").application.refuses_snapshots = true;
    for _ in 0..10 {
        scenario.serve();
    }
    assert!(scenario.has_warned(&name, |warning| matches!(warning, Warning::SnapshotFailed { .. })));
    // It is tried again after 30 s, and after 60 s: for the same reason, which is no news.
    scenario.ticks(7_000);
    let warnings = &scenario.cluster.replicas[&name].application.warnings;
    let is_of_snapshots = |warning: &&Warning| matches!(warning, Warning::SnapshotFailed { .. });
    assert_eq!(warnings.iter().filter(is_of_snapshots).count(), 1, "{warnings:?}");
    let statuses = scenario.cluster.statuses();
    assert_eq!(statuses[&name].snapshot_index, 0);
    assert!(statuses.iter().all(|(other, status)| *other == name || status.snapshot_index > 0));
    scenario.cluster.replicas.get_mut(&name).expect("it runs").application.refuses_snapshots = false;
    scenario.until("it has a snapshot", |scenario| scenario.cluster.statuses()[&name].snapshot_index > 0);
}

#[test]
fn a_leader_hands_over_before_a_snapshot_that_would_take_long_and_none_follows_soon() {
    let mut scenario = Scenario::found(6, 3, |_| {});
    for replica in scenario.cluster.replicas.values_mut() {
        replica.application.snapshot_micros = Some(150_000);
    }
    let first = scenario.leader().expect("it leads");
    while scenario.cluster.statuses()[&first].snapshot_index == 0 {
        scenario.serve();
    }
    let leads = scenario.leader().expect("it leads");
    assert_eq!(leads, first, "what the first one takes is not known before");
    let former = scenario.cluster.statuses()[&first].snapshot_index;
    // A hundred times 150 ms, in ticks of 10 ms: until then there is none.
    while scenario.cluster.now < 1_400 {
        scenario.serve();
        assert_eq!(
            scenario.cluster.statuses()[&first].snapshot_index,
            former,
            "at tick {}",
            scenario.cluster.now
        );
        assert_eq!(scenario.leader().as_ref(), Some(&first));
    }
    while scenario.cluster.statuses()[&first].snapshot_index == former {
        assert!(scenario.cluster.now < 4_000, "it takes another one");
        scenario.serve();
    }
    assert!(scenario.leader().is_some_and(|leader| leader != first), "and leads no more");
}

/// JavaScript of the others is blocked, so no node answers the call or can replace the leader.
#[test]
fn a_node_that_closes_ends_a_call_that_nothing_answers_and_stops_in_time() {
    for seed in 0..10 {
        let mut scenario = Scenario::found(seed, 3, |_| {});
        let name = scenario.followers().remove(0);
        for (other, replica) in &mut scenario.cluster.replicas {
            replica.is_busy = *other != name;
        }
        let sequence = scenario.cluster.perform(&name, "append", "x/1");
        scenario.cluster.handle(&name, Input::Close { ticks: 200, leaves: true });
        let has_stopped = |scenario: &Scenario| scenario.cluster.replicas[&name].stopped.is_some();
        scenario.ticks(99);
        assert!(!has_stopped(&scenario), "seed {seed}: its call may still end");
        scenario.ticks(102);
        assert!(has_stopped(&scenario), "seed {seed}: its time is over");
        let end = scenario.cluster.replicas[&name].application.ends.get(&sequence);
        assert_eq!(end, Some(&End::Unknown));
    }
}

/// Large states take a while: later batches are answered meanwhile.
#[test]
fn snapshots_that_come_after_later_batches_are_of_their_index_and_serve_newcomers() {
    let mut scenario = Scenario::found(9, 3, |_| {});
    for (batches, replica) in (1..).zip(scenario.cluster.replicas.values_mut()) {
        replica.application.snapshot_batches = 3 * batches;
    }
    for _ in 0..100 {
        scenario.serve();
    }
    let statuses = scenario.cluster.statuses();
    assert!(statuses.values().all(|status| status.snapshot_index > 20), "{statuses:?}");
    let follower = scenario.followers().remove(0);
    scenario.cluster.crash(&follower);
    scenario.start("late", 3, |_| {});
    scenario.until("the newcomer has the whole state", |scenario| {
        scenario.cluster.replicas["late"].application.state.count == scenario.performed
    });
    scenario.serve();
}

/// What a log of short lives contains is no action: newcomers need not receive all of it either.
#[test]
fn entries_of_membership_changes_are_compacted_without_any_action() {
    let mut scenario = Scenario::found(10, 3, |_| {});
    for n in 0..40 {
        let name = format!("short{n}");
        scenario.start(&name, 3, |_| {});
        scenario.until("it is admitted", |scenario| {
            scenario.cluster.replicas[&name].application.leader.is_some()
        });
        scenario.cluster.handle(&name, Input::Close { ticks: 200, leaves: true });
        scenario.ticks(250);
        scenario.cluster.crash(&name);
    }
    for (name, status) in scenario.cluster.statuses() {
        assert!(status.last_index > 60, "{name} has {} entries", status.last_index);
        let behind = status.last_index - status.snapshot_index;
        // 20, and up to half of that for a node's own delay; a life has several entries.
        assert!(behind < 45, "{name} has {behind} entries behind its snapshot");
    }
}

/// The admission tells every node, and later leaders learn it from the log or an image.
#[test]
fn a_node_that_may_not_vote_receives_everything_and_never_becomes_a_voter() {
    let mut scenario = Scenario::found(9, 3, |_| {});
    let guest = |options: &mut Options| options.may_vote = false;
    scenario.start("guest", 3, guest);
    scenario.until("the guest is in", |scenario| scenario.leader_among(4).is_some());
    let guest_is_no_voter = |scenario: &Scenario| {
        scenario.cluster.statuses().values().all(|status| {
            let known = status.members.iter().find(|member| &*member.id == "guest");
            known.is_none_or(|guest| !guest.is_voter && !guest.may_vote)
        })
    };
    for n in 3..8 {
        // Images are taken meanwhile.
        for _ in 0..3 {
            scenario.serve();
        }
        let leader = scenario.leader().expect("it leads");
        scenario.cluster.crash(&leader);
        scenario.ticks(1_000);
        assert!(guest_is_no_voter(&scenario), "{:#?}", scenario.cluster.statuses());
        scenario.until("others lead", |scenario| scenario.leader().is_some());
        // Before anything else replaces the dead one.
        scenario.start(&format!("n{n}"), 3, |_| {});
        scenario.until("three living vote", |scenario| {
            let statuses = scenario.cluster.statuses();
            statuses.values().all(|status| {
                let voters = status.members.iter().filter(|member| member.is_voter);
                let lives = |id: &str| statuses.contains_key(id);
                status.members.len() == 4 && voters.filter(|voter| lives(&voter.id)).count() == 3
            })
        });
        assert!(guest_is_no_voter(&scenario));
    }
    assert!(scenario.cluster.statuses()["guest"].snapshot_index > 0);
    scenario.serve();
}

#[test]
fn nodes_that_may_not_vote_wait_for_enough_that_may() {
    let mut cluster = Cluster::new(10);
    let start = |cluster: &mut Cluster, name: &str, may_vote| {
        let options = Options { may_vote, ..Options::new(name, 2, cluster.draw_seed()) };
        cluster.start(name, options, None);
    };
    ["g0", "g1", "g2"].into_iter().for_each(|name| start(&mut cluster, name, false));
    start(&mut cluster, "n0", true);
    (0..1_000).for_each(|_| cluster.tick());
    assert!(cluster.statuses().values().all(|status| status.cluster.is_none()), "{:#?}", cluster.statuses());
    start(&mut cluster, "n1", true);
    (0..1_000).for_each(|_| cluster.tick());
    for status in cluster.statuses().values() {
        let voters = status.members.iter().filter(|member| member.is_voter).map(|member| &*member.id);
        assert_eq!((voters.collect::<Vec<_>>(), status.members.len()), (vec!["n0", "n1"], 5), "{status:#?}");
    }
}

#[test]
fn leaders_that_die_one_after_another_are_replaced_all_the_same() {
    let mut scenario = Scenario::found(8, 5, |_| {});
    for n in 5..15 {
        scenario.serve();
        let leader = scenario.leader().expect("it leads");
        scenario.cluster.crash(&leader);
        // Each leader is gone before the one before it counts as dead by its own count.
        scenario.ticks(480);
        scenario.start(&format!("n{n}"), 5, |_| {});
        scenario.until("another leads, and the newcomer is in", |scenario| scenario.leader().is_some());
    }
    scenario.until("five living vote", |scenario| {
        let statuses = scenario.cluster.statuses();
        statuses.values().all(|status| {
            let voters = status.members.iter().filter(|member| member.is_voter);
            voters
                .filter(|voter| statuses.values().any(|other| other.incarnation == voter.incarnation))
                .count()
                == 5
        })
    });
    scenario.serve();
}

#[test]
fn a_leader_whose_javascript_is_stuck_hands_over_to_a_node_whose_javascript_answers() {
    let mut scenario = Scenario::found(7, 3, |_| {});
    scenario.serve();
    let first = scenario.leader().expect("it leads");
    let followers = scenario.followers();
    let busy = |scenario: &mut Scenario, name: &str, is_busy| {
        scenario.cluster.replicas.get_mut(name).expect("it runs").is_busy = is_busy;
    };
    busy(&mut scenario, &first, true);
    scenario.ticks(1_000);
    assert_eq!(scenario.leader().as_ref(), Some(&first), "nothing waits for it");
    for name in &followers {
        busy(&mut scenario, name, true);
    }
    let sequence = scenario.cluster.perform(&followers[0], "append", "x/1");
    scenario.ticks(1_000);
    assert_eq!(scenario.leader().as_ref(), Some(&first), "no other node can do better");
    for name in &followers {
        busy(&mut scenario, name, false);
        scenario.cluster.answer(name);
    }
    let started = scenario.cluster.now;
    scenario.until("it is performed", |scenario| {
        scenario.cluster.replicas[&followers[0]].application.ends.contains_key(&sequence)
    });
    let took = scenario.cluster.now - started;
    assert!(took < 100, "after {took} ticks");
    scenario.until("another leads", |scenario| scenario.leader().is_some_and(|leader| leader != first));
    busy(&mut scenario, &first, false);
    scenario.cluster.answer(&first);
    scenario.serve();
}

/// Five nodes of which three died; the two that are left.
fn bereaved(seed: u64, change: impl Fn(&mut Options) + Copy) -> (Scenario, Vec<String>) {
    let mut scenario = Scenario::found(seed, 5, change);
    scenario.serve();
    let leader = scenario.leader().expect("it leads");
    let survivors = scenario.followers().split_off(2);
    // What the dead majority may have acknowledged: it is on one survivor, uncommitted there.
    scenario.cluster.cuts.insert((leader.clone(), survivors[1].clone()));
    scenario.cluster.perform(&leader, "append", "last/1");
    scenario.until("it is acknowledged", |scenario| {
        scenario.cluster.replicas[&leader].application.ends.len() > 5
    });
    for name in scenario.cluster.replicas.keys().cloned().collect::<Vec<_>>() {
        if !survivors.contains(&name) {
            scenario.cluster.crash(&name);
        }
    }
    scenario.cluster.cuts.clear();
    (scenario, survivors)
}

#[test]
fn a_lost_quorum_is_told_and_what_is_left_goes_on_only_when_it_is_told_to() {
    for seed in 10..20 {
        let (mut scenario, survivors) = bereaved(seed, |_| {});
        let kept = survivors.iter().map(|name| scenario.state(name).count).max();
        let tickets: Vec<u64> =
            survivors.iter().map(|name| scenario.cluster.operation(name, Operation::Recover, 100)).collect();
        scenario.ticks(2);
        for (name, ticket) in survivors.iter().zip(tickets) {
            let answer = scenario.answer(name, ticket);
            assert!(matches!(answer, Some(Err(Error::QuorumNotLost { .. }))), "{answer:?}");
        }
        scenario.until("the loss is reported", |scenario| {
            survivors.iter().all(|name| {
                scenario.has_warned(name, |warning| matches!(warning, Warning::QuorumLost { voters: 5, .. }))
            })
        });
        scenario.ticks(2_000);
        assert!(scenario.leader().is_none(), "no node continues by itself");
        assert_eq!(scenario.cluster.statuses()[&survivors[0]].missing.len(), 3);

        // Both are ordered at once: they agree on one.
        let tickets: Vec<u64> = survivors
            .iter()
            .map(|name| scenario.cluster.operation(name, Operation::Recover, 1_000))
            .collect();
        scenario.until("all that is left is one cluster", |scenario| {
            scenario.leader().is_some()
                && scenario.cluster.statuses().values().all(|status| status.members.len() == 2)
        });
        scenario.ticks(50);
        for (name, ticket) in survivors.iter().zip(tickets) {
            let answer = scenario.answer(name, ticket);
            assert!(matches!(answer, Some(Ok(()) | Err(Error::QuorumNotLost { .. }))), "{answer:?}");
        }
        assert!(scenario.state(&survivors[0]).count >= kept.expect("two are left"));
        scenario.serve();
        for n in 5..8 {
            scenario.start(&format!("n{n}"), 5, |_| {});
        }
        scenario.until("five vote again", |scenario| {
            let voters = |status: &crate::raft::Status| status.members.iter().filter(|m| m.is_voter).count();
            scenario.cluster.statuses().values().all(|status| voters(status) == 5)
        });
        scenario.serve();
    }
}

#[test]
fn what_is_left_goes_on_by_itself_where_the_options_say_so() {
    for seed in 20..25 {
        let (mut scenario, survivors) = bereaved(seed, |options| options.recover_ticks = Some(1_000));
        scenario.until("all that is left is one cluster", |scenario| {
            scenario.leader().is_some()
                && scenario.cluster.statuses().values().all(|status| status.members.len() == 2)
        });
        let is_told =
            |warning: &Warning| matches!(warning, Warning::Recovered { missing, .. } if missing.len() == 3);
        assert!(survivors.iter().any(|name| scenario.has_warned(name, is_told)));
        scenario.serve();
    }
}

#[test]
fn a_quorum_that_comes_back_is_told_and_whoever_missed_a_recovery_joins_anew() {
    let mut scenario = Scenario::found(30, 5, |_| {});
    scenario.serve();
    let names: Vec<String> = scenario.cluster.replicas.keys().cloned().collect();
    let pause = |scenario: &mut Scenario, is_paused| {
        for name in
            names[2..].iter().filter(|name| scenario.cluster.replicas.contains_key(*name)).collect::<Vec<_>>()
        {
            scenario.cluster.replicas.get_mut(name).expect("it runs").is_paused = is_paused;
        }
    };
    pause(&mut scenario, true);
    scenario.until("the loss is reported", |scenario| {
        scenario.has_warned(&names[0], |warning| matches!(warning, Warning::QuorumLost { .. }))
    });
    pause(&mut scenario, false);
    scenario.until("the return is reported", |scenario| {
        scenario.has_warned(&names[0], |warning| matches!(warning, Warning::QuorumRestored))
    });
    scenario.serve();

    pause(&mut scenario, true);
    scenario.cluster.crash(&names[2]);
    scenario.cluster.crash(&names[3]);
    scenario
        .until("the quorum is lost", |scenario| !scenario.cluster.statuses()[&names[0]].missing.is_empty());
    let ticket = scenario.cluster.operation(&names[0], Operation::Recover, 1_000);
    scenario.until("two go on", |scenario| scenario.answer(&names[0], ticket).is_some());
    pause(&mut scenario, false);
    scenario.until("the others join anew", |scenario| {
        scenario.leader().is_some()
            && scenario.cluster.statuses().values().all(|status| status.members.len() == 3)
    });
    assert!(scenario.has_warned(&names[4], |warning| matches!(warning, Warning::Superseded { .. })));
    scenario.serve();
}
