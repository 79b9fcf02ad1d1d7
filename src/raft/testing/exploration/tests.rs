//! Runs the explorations: a short one of every scenario with the tests, a long one on demand.

use std::time::Instant;

use super::{SCENARIOS, Scenario, explore, usual_script};
use crate::raft::testing::bugs::{self, Bug};
use crate::raft::testing::seeds;

/// So many states of each scenario are visited, unless `CONFLUX_STATES` says another number.
const STATES: u64 = 1_500;

#[test]
fn exploration_of_every_scenario_breaks_no_promise() {
    for (number, scenario) in SCENARIOS.iter().enumerate() {
        println!("scenario {number}: {}", scenario.name);
    }
    for scenario in chosen() {
        let started = Instant::now();
        let visited =
            explore(scenario, seeds::states(STATES)).unwrap_or_else(|violation| panic!("{violation}"));
        let seconds = started.elapsed().as_secs_f64();
        let rate = visited.states as f64 / seconds;
        let memory = memory_peak_mib().map_or(String::new(), |mib| format!(", {mib} MiB of memory"));
        println!("explored {}: {visited}; {seconds:.1} s, {rate:.0} states/s{memory}", scenario.name);
        assert!(visited.schedules > 10, "{}: {visited}", scenario.name);
    }
}

/// Scenarios are chosen like seeds, by their place in the list.
fn chosen() -> impl Iterator<Item = &'static Scenario> {
    let chosen = seeds::chosen(0..SCENARIOS.len() as u64);
    (0..).zip(&SCENARIOS).filter(move |(number, _)| chosen.contains(number)).map(|(_, scenario)| scenario)
}

/// Of this process, so far; only Linux reports it.
fn memory_peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024)
}

/// Explores scenarios whose names contain the word with the bug put back until one finds it.
fn assert_caught(bug: Bug, word: &str, states_max: u64) {
    for scenario in SCENARIOS.iter().filter(|scenario| scenario.name.contains(word)) {
        if let Err(violation) = bugs::with(bug, || explore(scenario, states_max)) {
            println!("{bug:?}: caught by exploration: {violation}");
            assert!(!violation.script.contains("can't be run"), "the script leads there");
            return;
        }
    }
    panic!("{bug:?}: {states_max} states of the scenarios with `{word}` did not catch it");
}

#[test]
fn bug_of_confirming_without_a_vote_is_caught_by_exploration() {
    assert_caught(Bug::ConfirmsWithoutVote, "of two is demoted", 100_000);
}

#[test]
fn bug_of_applying_a_change_at_once_is_caught_by_exploration() {
    assert_caught(Bug::AppliesChangeAtOnce, "and another dies", 100_000);
}

#[test]
fn bug_of_reusing_a_read_context_is_caught_by_exploration() {
    assert_caught(Bug::ReusesReadContext, "that was deposed reads", 100_000);
}

/// What the explorer does is what golden scripts do: run as one, the usual schedule of a scenario takes every node to the
/// same state.
#[test]
fn usual_schedules_are_golden_scripts() {
    for scenario in chosen() {
        println!("{}\n\n{}", scenario.name, usual_script(scenario));
    }
}

/// Which bugs are found, in which scenarios, and after how many states: `CONFLUX_STATES=20000 cargo test --lib survey --
/// --ignored --nocapture`.
#[test]
#[ignore = "takes half an hour, and reports instead of judging"]
fn survey_of_bugs() {
    let states_max = seeds::states(10_000);
    let (from, count) = (seeds::chosen(0..ALL.len() as u64), ALL.len());
    println!("{count} bugs, up to {states_max} states of each scenario");
    for bug in &ALL[from.start as usize..(from.end as usize).min(count)] {
        let mut found = Vec::new();
        for scenario in &SCENARIOS {
            if let Err(violation) = bugs::with(*bug, || explore(scenario, states_max)) {
                let text: String = violation.text.chars().take(100).collect();
                found.push(format!("{} ({} states: {text})", violation.scenario, violation.visited.states));
            }
        }
        println!("survey {bug:?}: {}", if found.is_empty() { "not found".into() } else { found.join("; ") });
    }
}

const ALL: [Bug; 53] = [
    Bug::AcknowledgesBeforeCommit,
    Bug::AnswersBeforeSaving,
    Bug::ReportsNoSnapshot,
    Bug::ReusesReadContext,
    Bug::ForgetsRequestTable,
    Bug::ProposesStaleEvaluation,
    Bug::CampaignsWithoutPreVote,
    Bug::CountsHalfAsQuorum,
    Bug::PromisesTwice,
    Bug::ReturnsWithEmptyLog,
    Bug::AppliesBeforeCommit,
    Bug::EvaluatesTwice,
    Bug::RefusesBeforeCommit,
    Bug::GuardAdmitsMembersOnly,
    Bug::SettlesBeforeItsState,
    Bug::CatchesUpAtOnce,
    Bug::GivesUpOnSlowRequests,
    Bug::SendsWithoutWindow,
    Bug::RequeuesBehind,
    Bug::RecordsInOneEntry,
    Bug::PassesOverGivenUp,
    Bug::AppliesChangeAtOnce,
    Bug::ForgetsCommitOfChange,
    Bug::ConfirmsWithoutVote,
    Bug::HandsOverToRemoved,
    Bug::RemembersComparedState,
    Bug::TellsDisagreementAgain,
    Bug::DivergedKeepsLog,
    Bug::AnyChunkEndsReception,
    Bug::ForgetsSuccessorName,
    Bug::SurvivorTakesItselfForRemoved,
    Bug::CountsVotersOfBothHalves,
    Bug::LeavesActionsOfOthers,
    Bug::LetsInByOldHello,
    Bug::FoundsBeforeSaving,
    Bug::PromisesBeforeSaving,
    Bug::KeepsPromiseToTheDead,
    Bug::DropsLogBeforeSuccessor,
    Bug::SendsImageOfFormerCluster,
    Bug::OutlivesItsSuccessor,
    Bug::RepeatsOrders,
    Bug::LeadsWithoutStorage,
    Bug::CutsLogBehindImage,
    Bug::RestartsTransfer,
    Bug::IgnoresLine,
    Bug::CountsReceipts,
    Bug::HearsEveryStart,
    Bug::HearsFormerStart,
    Bug::WelcomesEveryApplication,
    Bug::FoundsWithEveryApplication,
    Bug::FoundsBeforeItsChannel,
    Bug::DropsWhatComesEarly,
    Bug::TakesCandidateForLeader,
];
