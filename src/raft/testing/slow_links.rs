//! Scenarios of nodes on slow lines: they get a large state once, and the log behind it, while the cluster is written
//! to, and large data never delays for long what keeps a node in its cluster.

use super::run::PADDING;
use super::scenarios::Scenario;
use crate::raft::{Operation, Options, Role};

/// The state takes the line so long.
const STATE_TICKS: u64 = 400;
/// From 1 to 32 Mbit/s, at 10 ms a tick.
const BYTES_A_TICK: [u64; 4] = [1_250, 5_000, 12_500, 40_000];
/// To be admitted, and to hear of it.
const JOIN_TICKS: u64 = 60;
/// Nothing waits in a line for longer; a channel is given up after 100. At 1 Mbit/s a window that has just begun takes
/// 13, and doubles before the first answer says that the line is slow.
const QUEUE_TICKS_MAX: u64 = 40;

struct Slow {
    scenario: Scenario,
    leader: String,
    term: u64,
    ballast: u64,
    bytes_a_tick: u64,
    performed: u64,
}

impl Slow {
    /// Three nodes with a large state, which takes JavaScript long to write.
    fn found(seed: u64) -> Self {
        let bytes_a_tick = BYTES_A_TICK[(seed % 4) as usize];
        let ballast = STATE_TICKS * bytes_a_tick;
        let mut scenario = Scenario::found(seed, 3, |_| {});
        for replica in scenario.cluster.replicas.values_mut() {
            replica.application.ballast = ballast as usize;
            replica.application.snapshot_micros = Some(2_000);
        }
        scenario.serve();
        scenario.serve();
        scenario.serve();
        let mut slow =
            Self { scenario, leader: String::new(), term: 0, ballast, bytes_a_tick, performed: 1_000 };
        slow.settle();
        slow
    }

    fn settle(&mut self) {
        self.scenario.until("a node leads", |scenario| scenario.leader().is_some());
        self.leader = self.scenario.leader().expect("it leads");
        self.term = self.status(&self.leader).term;
    }

    fn status(&self, name: &str) -> crate::raft::Status {
        self.scenario.cluster.replicas[name].node.status()
    }

    fn slow_down(&mut self, name: &str) {
        let replica = self.scenario.cluster.replicas.get_mut(name).expect("it runs");
        replica.link.line().bytes_a_tick = Some(self.bytes_a_tick);
    }

    /// A fifth of what the line carries is written: four snapshots of the usual length and more.
    fn write(&mut self) {
        let bytes = self.bytes_a_tick as usize;
        if self.scenario.cluster.now.is_multiple_of(8) {
            self.performed += 1;
            let args = format!("{}/{}{}", self.leader, self.performed, "x".repeat(bytes));
            self.scenario.cluster.perform(&self.leader.clone(), "append", &args);
        }
    }

    /// It has everything but what was written in the last ticks.
    fn is_level(&self, name: &str) -> bool {
        let status = self.status(name);
        status.last_index + 10 > self.status(&self.leader).last_index && status.is_caught_up
    }

    /// Writes until `name` has everything; after how many ticks.
    fn bring_in(&mut self, name: &str) -> u64 {
        let mut ticks = 0;
        let mut texts = std::collections::BTreeSet::new();
        while !self.is_level(name) {
            ticks += 1;
            assert!(ticks < 6_000, "it never has everything: {:#?}", self.scenario.cluster.statuses());
            self.write();
            self.scenario.ticks(1);
            texts.extend(self.status(name).waiting_for);
        }
        assert!(texts.iter().filter(|text| text.contains("receiving the state: ")).count() >= 4, "{texts:?}");
        assert!(!texts.iter().any(|text| text.contains("anew")), "{texts:?}");
        ticks
    }

    fn check(&mut self, name: &str, ticks: u64) {
        let status = self.status(&self.leader);
        assert_eq!((status.role, status.term), (Role::Leader, self.term), "nothing disturbs the leader");
        let rate = self.bytes_a_tick;
        let line = *self.scenario.cluster.replicas.get_mut(name).expect("it runs").link.line();
        assert!(ticks <= STATE_TICKS * 3 / 2 + JOIN_TICKS, "at {rate} bytes a tick it took {ticks} ticks");
        let state = self.ballast;
        let carried = line.carried_bytes;
        assert!(carried <= state * 3 / 2, "{carried} bytes were sent for a state of {state}");
        let waited = line.waited_ticks_max;
        assert!(waited <= QUEUE_TICKS_MAX, "at {rate} bytes a tick something waited for {waited} ticks");
    }
}

pub fn a_newcomer_gets_the_state(seed: u64) {
    let mut slow = Slow::found(seed);
    slow.scenario.start("n3", 3, |_| {});
    slow.slow_down("n3");
    let ticks = slow.bring_in("n3");
    slow.check("n3", ticks);
}

#[test]
fn a_newcomer_on_a_slow_line_gets_the_state_once_and_the_log_behind_it() {
    (0..12).for_each(a_newcomer_gets_the_state);
}

/// It was away while the log that it lacks was cut.
#[test]
fn a_follower_on_a_slow_line_gets_the_state_once_and_the_log_behind_it() {
    for seed in 0..12 {
        let mut slow = Slow::found(seed);
        let name = slow.scenario.followers().remove(0);
        slow.scenario.cluster.cut_apart(|one, other| one == name || other == name);
        while slow.status(&slow.leader).snapshot_index < slow.status(&name).last_index + 10 {
            slow.write();
            slow.scenario.ticks(1);
        }
        slow.scenario.cluster.cuts.clear();
        slow.slow_down(&name);
        let ticks = slow.bring_in(&name);
        slow.check(&name, ticks);
    }
}

/// More is written at once than its line carries within many election timeouts.
pub fn a_follower_gets_the_log(seed: u64) {
    let mut slow = Slow::found(seed);
    let name = slow.scenario.followers().remove(0);
    slow.slow_down(&name);
    for _ in 0..100 {
        slow.performed += 1;
        let bytes = slow.bytes_a_tick as usize * 2;
        let args = format!("{}/{}{}", slow.leader, slow.performed, "x".repeat(bytes));
        slow.scenario.cluster.perform(&slow.leader.clone(), "append", &args);
    }
    let mut ticks = 0;
    while slow.status(&name).last_index < slow.status(&slow.leader).last_index
        || slow.status(&slow.leader).pending > 0
    {
        ticks += 1;
        assert!(ticks < 6_000, "it never has everything: {:#?}", slow.scenario.cluster.statuses());
        slow.scenario.ticks(1);
    }
    slow.check(&name, ticks);
}

#[test]
fn a_follower_on_a_slow_line_gets_a_burst_without_losing_its_leader() {
    (0..12).for_each(a_follower_gets_the_log);
}

/// raft-rs waits until the image that it requested has arrived or not, and sends nothing else meanwhile.
#[test]
fn a_member_that_is_away_while_another_image_takes_the_place_of_its_own_gets_the_log_afterwards() {
    let mut scenario = Scenario::found(9, 3, |_| {});
    scenario.serve();
    let (leader, away) = (scenario.leader().expect("it leads"), scenario.followers().remove(0));
    let write = |scenario: &mut Scenario, count: usize, bytes: usize| {
        for _ in 0..count {
            scenario.performed += 1;
            let args = format!("{leader}/{}{}", scenario.performed, PADDING.repeat(bytes));
            scenario.cluster.perform(&leader, "append", &args);
        }
        scenario.until("all is written", |scenario| scenario.cluster.statuses()[&leader].pending == 0);
    };
    let pause = |scenario: &mut Scenario, is_paused| {
        scenario.cluster.replicas.get_mut(&away).expect("it runs").is_paused = is_paused;
    };
    let log_begins = |scenario: &Scenario| {
        scenario.cluster.replicas[&leader].node.inspect().log().expect("it leads").compacted().index
    };
    let transfers = |scenario: &Scenario| scenario.cluster.replicas[&leader].node.inspect().transfers();
    pause(&mut scenario, true);
    let had = scenario.cluster.statuses()[&away].last_index;
    while log_begins(&scenario) <= had {
        write(&mut scenario, 20, 0);
    }
    pause(&mut scenario, false);
    scenario.until("an image is on its way", |scenario| !transfers(scenario).is_empty());
    scenario.cluster.cut_apart(|one, other| one == away || other == away);
    scenario.cluster.frames.retain(|_, sent| sent.from != away && sent.to != away);
    let first = transfers(&scenario);
    // More than a leader keeps for the receiver of an image.
    while transfers(&scenario) == first {
        write(&mut scenario, 10, 900_000);
    }
    assert_eq!(transfers(&scenario).len(), 1, "another takes the place of {first:?}");
    scenario.until("it is given up", |scenario| transfers(scenario).is_empty());
    scenario.cluster.cuts.clear();
    scenario.serve();
}

/// A majority that needs a voter without the log would wait until that one has it.
#[test]
fn a_newcomer_on_a_slow_line_votes_when_it_has_the_log() {
    for (seed, bytes_a_tick) in (0..).zip(BYTES_A_TICK) {
        let change = |options: &mut Options| options.snapshot_entries = 1_000;
        let mut scenario = Scenario::found(seed, 2, change);
        let leader = scenario.leader().expect("it leads");
        scenario.cluster.operation(&leader, Operation::Resize { cluster_size: 3 }, 1_000);
        scenario.until("it is resized", |scenario| {
            scenario.cluster.statuses().values().all(|status| status.cluster_size == 3)
        });
        for number in 0..100 {
            let args = format!("{leader}/{number}{}", "x".repeat(2 * bytes_a_tick as usize));
            scenario.cluster.perform(&leader, "append", &args);
        }
        scenario.until("all is done", |scenario| scenario.cluster.statuses()[&leader].pending == 0);
        let committed = scenario.cluster.statuses()[&leader].commit_index;
        // Until that was committed some time ago.
        scenario.ticks(200);
        scenario.start("n9", 3, change);
        let newcomer = scenario.cluster.replicas.get_mut("n9").expect("it runs");
        newcomer.link.line().bytes_a_tick = Some(bytes_a_tick);
        let votes = |scenario: &Scenario| {
            let members = &scenario.cluster.statuses()[&leader].members;
            members.iter().any(|member| &*member.id == "n9" && member.is_voter)
        };
        scenario.until("it votes", votes);
        let has = scenario.cluster.statuses()["n9"].last_index;
        assert!(has >= committed, "at {bytes_a_tick} bytes a tick it has {has} of {committed} entries");
    }
}
