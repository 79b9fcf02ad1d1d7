//! Tests where recovery votes go while survivors die, or are heard late.
//!
//! `recoveries.rs` tests the rest of a recovery.

use super::scenario::Scenario;
use crate::raft::Warning;

/// Of three survivors, the one with the highest log is heard late: a survivor that has voted for another may vote for
/// it.
#[test]
fn a_promise_goes_on_to_a_better_survivor_that_is_heard_later() {
    for seed in 0..10 {
        let mut scenario = Scenario::found(seed, 7, seed.is_multiple_of(2));
        let leader = scenario.leader().expect("it leads");
        let followers = scenario.followers();
        let best = followers[0].clone();
        for name in &followers[1..] {
            scenario.cluster.cuts.insert((leader.clone(), name.clone()));
        }
        scenario.append(&leader);
        scenario.ticks(5);
        for name in followers[3..].iter().chain([&leader]) {
            scenario.crash(name, 0);
        }
        scenario.cluster.cuts.clear();
        scenario.cluster.cut_apart(|one, other| (one == best) != (other == best));
        let mut others = [followers[1].clone(), followers[2].clone()];
        others.sort_by_key(|name| scenario.status(name).incarnation);
        let [less, more] = others;
        scenario.until("the quorum is lost", |scenario| {
            [&less, &more].iter().all(|name| scenario.has_lost(name))
        });
        // It votes, and its vote is lost on the way.
        scenario.cluster.cuts.insert((less.clone(), more.clone()));
        let first = scenario.recover(&more, 3_000);
        scenario.ticks(20);
        assert!(scenario.status(&less).waiting_for.is_some_and(|text| text.contains("replaces this one")));
        scenario.cluster.cuts.clear();
        scenario.cluster.cuts.insert((less.clone(), more.clone()));
        scenario.ticks(100);
        scenario.cluster.cuts.clear();
        scenario.until("the command has its result", |scenario| {
            scenario.is_recovered(&more, first) && scenario.leader().is_some()
        });
        assert!(scenario.has_warned(&best, |warning| matches!(warning, Warning::Recovered { .. })));
        scenario.serve();
    }
}

/// Of three survivors, two have voted for the third, which dies. An order on the one with the lower log reaches the other:
/// that one withdraws its vote, and recovers the cluster.
#[test]
fn an_order_reaches_a_survivor_whose_vote_is_with_the_dead() {
    for seed in 0..10 {
        let mut scenario = Scenario::found(seed, 7, seed.is_multiple_of(2));
        let leader = scenario.leader().expect("it leads");
        let followers = scenario.followers();
        let (best, next, last) = (&followers[0], &followers[1], &followers[2]);
        // `best` gets two entries, `next` one, and `last` none of them: no majority has either.
        let cut_off = |scenario: &mut Scenario, names: &[String]| {
            let cuts = names.iter().map(|name| (leader.clone(), name.clone()));
            scenario.cluster.cuts.extend(cuts);
        };
        cut_off(&mut scenario, &followers[2..]);
        scenario.append(&leader);
        scenario.ticks(5);
        cut_off(&mut scenario, &followers[1..]);
        scenario.append(&leader);
        scenario.ticks(5);
        for name in followers[3..].iter().chain([&leader]) {
            scenario.crash(name, 0);
        }
        scenario.cluster.cuts.clear();
        scenario.until("the quorum is lost", |scenario| {
            followers[..3].iter().all(|name| scenario.has_lost(name))
        });
        // Both vote, and their votes are lost on the way.
        for voter in [next, last] {
            scenario.cluster.cuts.insert((voter.clone(), best.clone()));
        }
        scenario.recover(best, 3_000);
        let has_voted = |scenario: &Scenario, name: &str| {
            scenario.status(name).waiting_for.is_some_and(|text| text.contains("replaces this one"))
        };
        scenario.until("both have voted", |scenario| has_voted(scenario, next) && has_voted(scenario, last));
        scenario.crash(best, 0);
        scenario.cluster.cuts.clear();
        let silent = |warning: &Warning| matches!(warning, Warning::SuccessorSilent { .. });
        scenario.until("the silence is reported", |scenario| {
            scenario.has_warned(next, silent) && scenario.has_warned(last, silent)
        });
        let ticket = scenario.recover(last, 3_000);
        scenario.until("it is recovered", |scenario| {
            scenario.is_recovered(last, ticket) && scenario.leader().is_some()
        });
        assert!(scenario.has_warned(next, |warning| matches!(warning, Warning::Recovered { .. })));
        scenario.serve();
    }
}

/// Two of four come back while the survivor founds the successor, and its disk takes a while. With the other survivor they
/// would be a majority of the former cluster, and acknowledge what the successor lacks.
#[test]
fn a_vote_is_held_while_the_successor_is_being_founded() {
    for seed in 0..10 {
        let mut scenario = Scenario::found(seed, 4, true);
        let leader = scenario.leader().expect("it leads");
        let mut followers = scenario.followers();
        let away = [leader, followers.remove(0)];
        followers.sort_by_key(|name| scenario.status(name).incarnation);
        // Their logs are alike: the higher incarnation founds.
        let [voter, best] = <[String; 2]>::try_from(followers).expect("two of three are left");
        let hang = |scenario: &mut Scenario, hangs| {
            let disk = &mut scenario.cluster.replicas.get_mut(&best).expect("it runs").disk;
            disk.as_mut().expect("it has a disk").hangs = hangs;
        };
        scenario.pause(&away, true);
        scenario
            .until("the quorum is lost", |scenario| scenario.has_lost(&voter) && scenario.has_lost(&best));
        hang(&mut scenario, true);
        let ticket = scenario.recover(&best, 3_000);
        scenario.until("it has the vote", |scenario| {
            scenario.cluster.replicas[&best].node.inspect().has_recovery_vote_from(&voter)
        });
        scenario.pause(&away, false);
        for _ in 0..100 {
            scenario.tick();
            let waiting_for = scenario.status(&voter).waiting_for;
            let is_bound = waiting_for.as_ref().is_some_and(|text| text.contains("replaces this one"));
            assert!(is_bound, "seed {seed}: it waits for {waiting_for:?}");
        }
        hang(&mut scenario, false);
        scenario.until("it is recovered", |scenario| {
            scenario.is_recovered(&best, ticket) && scenario.leader().is_some()
        });
        scenario.serve();
    }
}
