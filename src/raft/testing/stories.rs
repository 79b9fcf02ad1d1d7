//! This file tells, one by one, what happens to a cluster that hands over, or that loses its quorum for good;
//! `fences.rs` tells of a state that is not to be trusted.

use super::cluster::{Cluster, Network};
use super::disk::Disk;
use crate::error::Error;
use crate::raft::{Ask, Options, Role, Warning};

/// A cluster whose network is good but not instant.
pub struct Story {
    pub cluster: Cluster,
    pub performed: u64,
}

impl Story {
    pub fn found(seed: u64, size: usize, change: impl Fn(&mut Options)) -> Self {
        let mut story = Self { cluster: Cluster::new(seed), performed: 0 };
        story.cluster.network = Network { delay_ticks_max: 2, ..Network::default() };
        for n in 0..size {
            story.start(&format!("n{n}"), size, &change);
        }
        story.until("a leader that all know", |story| story.leader().is_some());
        story
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

    /// The node that leads a cluster of so many members, whoever else runs.
    pub fn leader_among(&self, count: usize) -> Option<String> {
        let statuses = self.cluster.statuses();
        let mut leaders = statuses.iter().filter(|(_, status)| status.role == Role::Leader);
        leaders.find(|(_, status)| status.members.len() == count).map(|(name, _)| name.clone())
    }

    pub fn followers(&self) -> Vec<String> {
        let leader = self.leader();
        self.cluster.replicas.keys().filter(|name| Some(*name) != leader.as_ref()).cloned().collect()
    }

    /// Performs on every living node, and waits until that is in all their states.
    pub fn serve(&mut self) {
        let names: Vec<String> = self.cluster.replicas.keys().cloned().collect();
        let serving: Vec<String> =
            names.into_iter().filter(|name| !self.cluster.replicas[name].application.is_fenced).collect();
        for _ in 0..5 {
            for name in &serving {
                self.performed += 1;
                let args = format!("{name}/{}", self.performed);
                self.cluster.perform(name, "append", &args);
            }
            self.ticks(3);
        }
        self.until("all is served", |story| {
            story.cluster.statuses().values().all(|status| status.pending == 0)
                && serving.windows(2).all(|pair| story.state(&pair[0]) == story.state(&pair[1]))
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
    let mut story = Story::found(5, 3, |_| {});
    let name = story.followers().remove(0);
    story.cluster.replicas.get_mut(&name).expect("it runs").application.refuses_snapshots = true;
    for _ in 0..10 {
        story.serve();
    }
    assert!(story.has_warned(&name, |warning| matches!(warning, Warning::SnapshotFailed { .. })));
    let statuses = story.cluster.statuses();
    assert_eq!(statuses[&name].snapshot_index, 0);
    assert!(statuses.iter().all(|(other, status)| *other == name || status.snapshot_index > 0));
}

#[test]
fn a_leader_hands_over_before_a_snapshot_that_would_take_long_and_none_follows_soon() {
    let mut story = Story::found(6, 3, |_| {});
    for replica in story.cluster.replicas.values_mut() {
        replica.application.snapshot_micros = Some(150_000);
    }
    let first = story.leader().expect("it leads");
    while story.cluster.statuses()[&first].snapshot_index == 0 {
        story.serve();
    }
    let leads = story.leader().expect("it leads");
    assert_eq!(leads, first, "what the first one takes is not known before");
    let former = story.cluster.statuses()[&first].snapshot_index;
    // A hundred times 150 ms, in ticks of 10 ms: until then there is none.
    while story.cluster.now < 1_400 {
        story.serve();
        assert_eq!(story.cluster.statuses()[&first].snapshot_index, former, "at tick {}", story.cluster.now);
        assert_eq!(story.leader().as_ref(), Some(&first));
    }
    while story.cluster.statuses()[&first].snapshot_index == former {
        assert!(story.cluster.now < 4_000, "it takes another one");
        story.serve();
    }
    assert!(story.leader().is_some_and(|leader| leader != first), "and leads no more");
}

#[test]
fn leaders_that_die_one_after_another_are_replaced_all_the_same() {
    let mut story = Story::found(8, 5, |_| {});
    for n in 5..15 {
        story.serve();
        let leader = story.leader().expect("it leads");
        story.cluster.crash(&leader);
        // Each leader is gone before the one before it counts as dead by its own count.
        story.ticks(480);
        story.start(&format!("n{n}"), 5, |_| {});
        story.until("another leads, and the newcomer is in", |story| story.leader().is_some());
    }
    story.until("five living vote", |story| {
        let statuses = story.cluster.statuses();
        statuses.values().all(|status| {
            let voters = status.members.iter().filter(|member| member.is_voter);
            voters
                .filter(|voter| statuses.values().any(|other| other.incarnation == voter.incarnation))
                .count()
                == 5
        })
    });
    story.serve();
}

#[test]
fn a_leader_whose_javascript_is_stuck_hands_over_to_a_node_whose_javascript_answers() {
    let mut story = Story::found(7, 3, |_| {});
    story.serve();
    let first = story.leader().expect("it leads");
    let followers = story.followers();
    let busy = |story: &mut Story, name: &str, is_busy| {
        story.cluster.replicas.get_mut(name).expect("it runs").is_busy = is_busy;
    };
    busy(&mut story, &first, true);
    story.ticks(1_000);
    assert_eq!(story.leader().as_ref(), Some(&first), "nothing waits for it");
    for name in &followers {
        busy(&mut story, name, true);
    }
    let sequence = story.cluster.perform(&followers[0], "append", "x/1");
    story.ticks(1_000);
    assert_eq!(story.leader().as_ref(), Some(&first), "nobody else can do better");
    for name in &followers {
        busy(&mut story, name, false);
        story.cluster.answer(name);
    }
    let started = story.cluster.now;
    story.until("it is performed", |story| {
        story.cluster.replicas[&followers[0]].application.ends.contains_key(&sequence)
    });
    let took = story.cluster.now - started;
    assert!(took < 100, "after {took} ticks");
    story.until("another leads", |story| story.leader().is_some_and(|leader| leader != first));
    busy(&mut story, &first, false);
    story.cluster.answer(&first);
    story.serve();
}

/// Five nodes of which three died; the two that are left.
fn bereaved(seed: u64, change: impl Fn(&mut Options) + Copy) -> (Story, Vec<String>) {
    let mut story = Story::found(seed, 5, change);
    story.serve();
    let leader = story.leader().expect("it leads");
    let survivors = story.followers().split_off(2);
    // What the dead majority may have acknowledged: it is on one survivor, uncommitted there.
    story.cluster.cuts.insert((leader.clone(), survivors[1].clone()));
    story.cluster.perform(&leader, "append", "last/1");
    story.until("it is acknowledged", |story| story.cluster.replicas[&leader].application.ends.len() > 5);
    for name in story.cluster.replicas.keys().cloned().collect::<Vec<_>>() {
        if !survivors.contains(&name) {
            story.cluster.crash(&name);
        }
    }
    story.cluster.cuts.clear();
    (story, survivors)
}

#[test]
fn a_lost_quorum_is_told_and_what_is_left_goes_on_only_when_it_is_told_to() {
    for seed in 10..20 {
        let (mut story, survivors) = bereaved(seed, |_| {});
        let kept = survivors.iter().map(|name| story.state(name).count).max();
        let tickets: Vec<u64> =
            survivors.iter().map(|name| story.cluster.ask(name, Ask::Recover, 100)).collect();
        story.ticks(2);
        for (name, ticket) in survivors.iter().zip(tickets) {
            let answer = story.answer(name, ticket);
            assert!(matches!(answer, Some(Err(Error::QuorumNotLost { .. }))), "{answer:?}");
        }
        story.until("the loss is told", |story| {
            survivors.iter().all(|name| {
                story.has_warned(name, |warning| matches!(warning, Warning::QuorumLost { voters: 5, .. }))
            })
        });
        story.ticks(2_000);
        assert!(story.leader().is_none(), "nobody goes on by itself");
        assert_eq!(story.cluster.statuses()[&survivors[0]].missing.len(), 3);

        // Both are told at once: they agree on one.
        let tickets: Vec<u64> =
            survivors.iter().map(|name| story.cluster.ask(name, Ask::Recover, 1_000)).collect();
        story.until("all that is left is one cluster", |story| {
            story.leader().is_some()
                && story.cluster.statuses().values().all(|status| status.members.len() == 2)
        });
        story.ticks(50);
        for (name, ticket) in survivors.iter().zip(tickets) {
            let answer = story.answer(name, ticket);
            assert!(matches!(answer, Some(Ok(()) | Err(Error::QuorumNotLost { .. }))), "{answer:?}");
        }
        assert!(story.state(&survivors[0]).count >= kept.expect("two are left"));
        story.serve();
        for n in 5..8 {
            story.start(&format!("n{n}"), 5, |_| {});
        }
        story.until("five vote again", |story| {
            let voters = |status: &crate::raft::Status| status.members.iter().filter(|m| m.is_voter).count();
            story.cluster.statuses().values().all(|status| voters(status) == 5)
        });
        story.serve();
    }
}

#[test]
fn what_is_left_goes_on_by_itself_where_the_options_say_so() {
    for seed in 20..25 {
        let (mut story, survivors) = bereaved(seed, |options| options.recover_ticks = Some(1_000));
        story.until("all that is left is one cluster", |story| {
            story.leader().is_some()
                && story.cluster.statuses().values().all(|status| status.members.len() == 2)
        });
        let is_told =
            |warning: &Warning| matches!(warning, Warning::Recovered { missing, .. } if missing.len() == 3);
        assert!(survivors.iter().any(|name| story.has_warned(name, is_told)));
        story.serve();
    }
}

#[test]
fn a_quorum_that_comes_back_is_told_and_whoever_missed_a_recovery_joins_anew() {
    let mut story = Story::found(30, 5, |_| {});
    story.serve();
    let names: Vec<String> = story.cluster.replicas.keys().cloned().collect();
    let pause = |story: &mut Story, is_paused| {
        for name in
            names[2..].iter().filter(|name| story.cluster.replicas.contains_key(*name)).collect::<Vec<_>>()
        {
            story.cluster.replicas.get_mut(name).expect("it runs").is_paused = is_paused;
        }
    };
    pause(&mut story, true);
    story.until("the loss is told", |story| {
        story.has_warned(&names[0], |warning| matches!(warning, Warning::QuorumLost { .. }))
    });
    pause(&mut story, false);
    story.until("the return is told", |story| {
        story.has_warned(&names[0], |warning| matches!(warning, Warning::QuorumRestored))
    });
    story.serve();

    pause(&mut story, true);
    story.cluster.crash(&names[2]);
    story.cluster.crash(&names[3]);
    story.until("the quorum is lost", |story| !story.cluster.statuses()[&names[0]].missing.is_empty());
    let ticket = story.cluster.ask(&names[0], Ask::Recover, 1_000);
    story.until("two go on", |story| story.answer(&names[0], ticket).is_some());
    pause(&mut story, false);
    story.until("the others join anew", |story| {
        story.leader().is_some() && story.cluster.statuses().values().all(|status| status.members.len() == 3)
    });
    assert!(story.has_warned(&names[4], |warning| matches!(warning, Warning::Superseded { .. })));
    story.serve();
}
