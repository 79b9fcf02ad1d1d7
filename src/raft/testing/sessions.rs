//! Scenarios of sessions, which end once, and only if a majority does not hear the member.

use super::cluster::{Cluster, Network};
use super::run::{Run, SESSION_TICKS};
use super::seeds::for_seeds;
use crate::raft::{Input, Role};

const SEEDS: u64 = 40;
/// A session that is to end has ended so many ticks after its timeout: the leader asks once per heartbeat interval.
const ENDED_WITHIN: u64 = 60;

fn found(seed: u64) -> Run {
    let mut cluster = Cluster::new(seed);
    cluster.is_large = false;
    let mut run = Run::found_of(cluster, 5, &|_| false);
    run.cluster.network = Network { delay_ticks_max: run.cluster.roll(3), ..Network::default() };
    run.until("every member has a session", 200, |run| {
        run.cluster.statuses().values().all(|status| status.sessions.len() == 5 && status.session.is_some())
    });
    run
}

fn leader(run: &Run) -> String {
    let statuses = run.cluster.statuses();
    let leads = statuses.iter().filter(|(_, status)| status.role == Role::Leader);
    leads.max_by_key(|(_, status)| status.term).expect("there is a leader").0.clone()
}

fn session_of(run: &Run, of: &str, on: &str) -> Option<u64> {
    let status = run.cluster.replicas[on].node.status();
    status.sessions.iter().find(|(id, _)| &**id == of).map(|(_, session)| *session)
}

/// The leader does not hear one member, and that one does not hear the leader; the others hear it.
pub fn the_leader_alone_is_cut_off(seed: u64) {
    let mut run = found(seed);
    let leader = leader(&run);
    let other = run.cluster.replicas.keys().find(|name| **name != leader).expect("there are five").clone();
    let before = session_of(&run, &other, &leader);
    run.cluster.cut_apart(|one, next| one == leader && next == other || one == other && next == leader);
    for _ in 0..3 * SESSION_TICKS {
        run.step();
        let session = run.cluster.replicas.contains_key(&leader).then(|| session_of(&run, &other, &leader));
        assert!(
            session.is_none_or(|session| session == before),
            "a majority hears {other}, and its session ended"
        );
    }
    run.cluster.cuts.clear();
    run.until("all agree", 400, |run| {
        let statuses = run.cluster.statuses();
        statuses.values().all(|status| status.session.is_some() && status.sessions.len() == 5)
    });
    run.check();
}

/// A member dies; the leader that has logged the end of its session is deposed before it knows that as committed.
pub fn two_leaders_see_one_death(seed: u64) {
    let mut run = found(seed);
    let leader = leader(&run);
    let dead = run.cluster.replicas.keys().find(|name| **name != leader).expect("there are five").clone();
    let before = session_of(&run, &dead, &leader);
    run.crash(&dead);
    let patience = run.cluster.roll(30);
    for _ in 0..SESSION_TICKS + patience {
        run.step();
    }
    // Its heartbeats are lost, its entries are not: the next leader has them, or not.
    run.cluster.replicas.get_mut(&leader).expect("it leads").is_paused = true;
    run.until("the session has ended", 2 * SESSION_TICKS + 400, |run| {
        let others = run.cluster.replicas.keys().filter(|name| **name != leader);
        others.into_iter().all(|name| session_of(run, &dead, name).is_none())
    });
    run.cluster.replicas.get_mut(&leader).expect("it led").is_paused = false;
    run.until("all agree", 600, |run| {
        let statuses = run.cluster.statuses();
        let first = statuses.values().next().expect("nodes are left");
        statuses.values().all(|status| status.applied_index == first.last_index && status.session.is_some())
    });
    assert!(
        run.cluster.replicas.keys().all(|name| session_of(&run, &dead, name) != before || before.is_none())
    );
    run.check();
}

#[test]
fn a_session_lives_while_a_majority_hears_its_member() {
    for_seeds(0..SEEDS, the_leader_alone_is_cut_off);
}

#[test]
fn a_session_ends_once_whoever_leads() {
    for_seeds(0..SEEDS, two_leaders_see_one_death);
}

#[test]
fn a_session_ends_soon_after_its_timeout_or_at_once_if_its_member_closes() {
    for_seeds(0..SEEDS, |seed| {
        let mut run = found(seed);
        let leader = leader(&run);
        let others: Vec<String> =
            run.cluster.replicas.keys().filter(|name| **name != leader).cloned().collect();
        run.crash(&others[0]);
        run.cluster.handle(&others[1], Input::Close { ticks: 100, leaves: true });
        run.until("the session of the one that closes has ended", 10, |run| {
            session_of(run, &others[1], &leader).is_none()
        });
        for _ in 0..SESSION_TICKS - 20 {
            run.step();
            assert!(session_of(&run, &others[0], &leader).is_some(), "it ended before its timeout");
        }
        run.until("the session of the dead one has ended", 20 + ENDED_WITHIN, |run| {
            session_of(run, &others[0], &leader).is_none()
        });
        run.until("nothing is kept of its silence", ENDED_WITHIN, |run| {
            run.cluster.replicas[&leader].node.inspect().members_reported_silent() == 0
        });
    });
}
