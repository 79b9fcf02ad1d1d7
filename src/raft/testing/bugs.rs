//! Reintroduces known bugs, one at a time, to verify that the simulations detect them: a checker that never fails
//! proves nothing.
//!
//! `injected_bug!` marks the few places of the core where a bug can live; a build that is shipped contains none of them.
//! The switch is the thread's own, so that tests beside this one are not touched.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use super::{
    churn, copies, hanging_disks, hibernation, load, losses, orders, recoveries, removals, script, sessions,
    simulation, slow_links, steadiness, strangers,
};
use crate::raft::bootstrap::simulation as founding;
use crate::raft::consensus::entry::Context;
use crate::raft::requests::ClientSession;
use crate::raft::{CallOutcome, Delivery, RaftId};

/// A mistake that a node's consensus has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The leader reports to the origin when the entry is in its own log.
    AcknowledgesBeforeCommit,
    /// A vote, or an append's receipt, leaves before it is durable.
    AnswersBeforeSaving,
    /// raft-rs is not notified that a snapshot has arrived.
    ReportsNoSnapshot,
    /// All confirmations of leadership have one number.
    ReusesReadContext,
    /// A snapshot holds no request table.
    ForgetsRequestTable,
    /// What was evaluated in an earlier leadership is proposed in a later one.
    ProposesStaleEvaluation,
    /// A node that receives nothing raises its term immediately.
    CampaignsWithoutPreVote,
    /// Half of an even number of voters is a quorum.
    CountsHalfAsQuorum,
    /// One incarnation accepts one roster after another.
    PromisesTwice,
    /// A restarted node has its incarnation, and an empty log.
    ReturnsWithEmptyLog,
    /// What is not committed is applied.
    AppliesBeforeCommit,
    /// A request that is repeated within a term is evaluated again.
    EvaluatesTwice,
    /// An error is reported before what its method saw is committed.
    RefusesBeforeCommit,
    /// The guard believes only members, whatever they say.
    GuardAdmitsMembersOnly,
    /// An outcome ends a call before its node has the state that the method saw.
    SettlesBeforeItsState,
    /// A node has caught up as soon as it is a member.
    CatchesUpAtOnce,
    /// Every leader gives up a request that takes longer than an election timeout, also one that another gave up.
    GivesUpOnSlowRequests,
    /// What one peer has not acknowledged is bounded in messages alone.
    SendsWithoutWindow,
    /// What was evaluated behind a dropped batch is proposed.
    ProposesVoidBatch,
    /// What JavaScript has not evaluated of a batch goes behind what came later.
    RequeuesBehind,
    /// All outcomes since an origin's last action are recorded by one entry.
    RecordsInOneEntry,
    /// What was given up after its evaluation is ignored in the log, and what was refused because of it stays refused.
    PassesOverGivenUp,
    /// A leader goes by a new configuration as soon as that is committed.
    AppliesChangeAtOnce,
    /// That a change of the configuration is committed is saved along with the next entry.
    ForgetsCommitOfChange,
    /// A leader that has no vote is confirmed by a node that has.
    ConfirmsWithoutVote,
    /// A leader transfers leadership to a member that it removes.
    HandsOverToRemoved,
    /// A node that was informed that its state differs, and restored, accepts a repetition of that report.
    RemembersComparedState,
    /// With every hash that arrives the leader notifies all members that differ.
    TellsDisagreementAgain,
    /// A node that stays diverged keeps its whole log.
    DivergedKeepsLog,
    /// A chunk of another transfer ends the one that is under way, whosoever it is.
    AnyChunkEndsReception,
    /// A recovered cluster is known to its own disk under its former name.
    ForgetsSuccessorName,
    /// A survivor judges by the former member list whether it is a member of the cluster that it recovered.
    SurvivorTakesItselfForRemoved,
    /// Whether the quorum is lost is asked of all voters of a joint configuration together.
    CountsVotersOfBothHalves,
    /// A member that has no actions starts over, although others of its cluster have some.
    LeavesActionsOfOthers,
    /// A leader admits a node for a Discover from before its removal.
    LetsInByOldHello,
    /// A recovered cluster serves before the write that founds it is durable.
    FoundsBeforeSaving,
    /// A survivor promises its vote, and has not kept that.
    PromisesBeforeSaving,
    /// A promise to a survivor that died binds forever.
    KeepsPromiseToTheDead,
    /// Who goes to the successor has nothing left, should it not be admitted.
    DropsLogBeforeSuccessor,
    /// A node that joins a recovered cluster gets a snapshot from before the recovery, and gives up a longer log for
    /// it.
    SendsImageOfFormerCluster,
    /// A cluster that has a leader does not end, even if it was replaced.
    OutlivesItsSuccessor,
    /// An order to resize that is given again undoes what was ordered since.
    RepeatsOrders,
    /// A node whose disk hangs leads on, or takes leadership.
    LeadsWithoutStorage,
    /// The log behind an image under way is cut as any other.
    CutsLogBehindImage,
    /// A transfer begins again when a snapshot is taken.
    RestartsTransfer,
    /// Whatever a peer has not acknowledged, more is sent.
    IgnoresLine,
    /// A leader counts what a member has received as saved there.
    CountsReceipts,
    /// Whatever process speaks under a member's incarnation is heard.
    HearsEveryStart,
    /// A start that the record names is heard although a later one is, and whatever it has to say for itself.
    HearsFormerStart,
    /// Members of any application are admitted.
    WelcomesEveryApplication,
    /// A roster holds nodes of any application.
    FoundsWithEveryApplication,
    /// A node founds a cluster although it does not know yet whether there is one, or knows that there is.
    FoundsBeforeItsChannel,
    /// A chunk of an image that comes before the one that it follows is dropped.
    DropsWhatComesEarly,
    /// An entry carries the time of its leader's wall clock, whatever the time of those before it.
    FallsAtLeaderChange,
    /// A timer fires whether it has fired at that time or not, and although its firing is in the log and not applied.
    FiresTwice,
    /// A learner continues to know a member as its leader that campaigns.
    TakesCandidateForLeader,
    /// A node takes a frame that is meant for others.
    HearsFramesForOthers,
    /// A session that has ended is ended again.
    EndsSessionTwice,
    /// A leader ends the session of a member that it does not hear, and does not ask the others.
    EndsSessionUnconfirmed,
    /// A follower that hibernates does not wake for a call.
    SleepsThroughCalls,
    /// A follower that wakes does not wake the others.
    WakesAlone,
    /// A leader hibernates although a member may not know.
    HibernatesUnconfirmed,
    /// A leader records a start of a member although the record has a newer one, which stays.
    RecordsOlderStart,
}

thread_local! {
    static BACK: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Whether this bug is put back on this thread.
pub fn is_injected(bug: Bug) -> bool {
    BACK.get() == Some(bug)
}

/// Of [`Bug::AcknowledgesBeforeCommit`]: what the leader itself performed ends with its proposal.
pub fn acknowledge_early(
    entries: &[(Bytes, Bytes)],
    me: RaftId,
    origin: &mut ClientSession,
) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for (context, action) in entries {
        if let Some(Context::Request(request)) = Context::decode(context)
            && request.id.origin == me
            && origin.end(request.id.sequence).is_some()
        {
            let call_outcome = CallOutcome::Done(action.clone());
            deliveries.push(Delivery::Settled { sequence: request.id.sequence, call_outcome });
        }
    }
    deliveries
}

/// Does something with the bug put back.
pub fn with<T>(bug: Bug, act: impl FnOnce() -> T) -> T {
    BACK.set(Some(bug));
    let result = act();
    BACK.set(None);
    result
}

/// Runs the test from these seeds on with the bug put back, until it fails.
pub fn assert_back_is_noticed(bug: Bug, seeds: impl Iterator<Item = u64>, test: impl Fn(u64)) {
    assert_caught(bug, seeds, test);
}

/// Within so many seeds a bug must be caught.
const SEEDS_MAX: u64 = 200;
/// Two bugs take about 250 seeds of churn; they are put back from a seed on from where it takes fewer.
const LATER: u64 = 100;

/// Runs seeds with the bug reintroduced until one fails, and returns which, and what was broken.
fn assert_caught(bug: Bug, seeds: impl Iterator<Item = u64>, test: impl Fn(u64)) {
    for (count, seed) in seeds.take(SEEDS_MAX as usize).enumerate() {
        BACK.set(Some(bug));
        let result = catch_unwind(AssertUnwindSafe(|| test(seed)));
        BACK.set(None);
        let Err(panic) = result else { continue };
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or_default();
        println!("{bug:?}: caught by seed {seed}, number {}: {text}", count + 1);
        return;
    }
    panic!("{bug:?}: {SEEDS_MAX} seeds did not catch it");
}

/// Replays the script with the bug put back: it has another consequence.
fn assert_caught_by_script(bug: Bug, script: &str) {
    let (should, is) = script::replay(script);
    assert_eq!(is, should, "without the bug the script has its consequence");
    BACK.set(Some(bug));
    let (should, is) = script::replay(script);
    BACK.set(None);
    assert_ne!(is, should, "{bug:?}: {script} did not catch it");
}

#[test]
fn bug_of_acknowledging_before_commit_is_caught() {
    assert_caught(Bug::AcknowledgesBeforeCommit, 0.., simulation::live_through);
}

#[test]
fn bug_of_answering_before_saving_is_caught() {
    assert_caught(Bug::AnswersBeforeSaving, 0.., churn::live_through);
}

#[test]
fn bug_of_reporting_no_snapshot_is_caught() {
    assert_caught(Bug::ReportsNoSnapshot, 400.., churn::live_through);
}

/// Not by seeds, of which 200 do not make a deposed leader ask again just before late answers arrive, but by the script
/// that does.
#[test]
fn bug_of_reusing_a_read_context_is_caught() {
    assert_caught_by_script(Bug::ReusesReadContext, "late_answers_to_an_earlier_round_confirm_no_later_read");
}

/// Nor do 200 seeds find a leader that is just losing its vote when it is asked.
#[test]
fn bug_of_confirming_without_a_vote_is_caught() {
    assert_caught_by_script(
        Bug::ConfirmsWithoutVote,
        "a_demoted_leader_of_two_transfers_leadership_and_confirms_nothing",
    );
}

#[test]
fn bug_of_handing_over_to_a_member_that_is_removed_is_caught() {
    assert_caught_by_script(Bug::HandsOverToRemoved, "leadership_goes_to_no_member_that_is_being_removed");
}

#[test]
fn bug_of_applying_a_change_at_once_is_caught_by_a_read() {
    assert_caught_by_script(Bug::AppliesChangeAtOnce, "a_removed_leader_of_two_confirms_no_read");
}

/// The world's checker may notice it before the script has run to its end.
#[test]
fn bug_of_hearing_frames_for_others_is_caught() {
    assert_caught(Bug::HearsFramesForOthers, 0..1, |_| {
        let (should, is) = script::replay("a_heartbeat_for_others_commits_nothing_on_a_former_leader");
        assert_eq!(is, should);
    });
}

#[test]
fn bug_of_forgetting_the_request_table_is_caught() {
    assert_caught(Bug::ForgetsRequestTable, 0.., simulation::live_through);
}

#[test]
fn bug_of_proposing_a_stale_evaluation_is_caught() {
    assert_caught(Bug::ProposesStaleEvaluation, 0.., simulation::live_through);
}

#[test]
fn bug_of_campaigning_without_pre_vote_is_caught() {
    assert_caught(Bug::CampaignsWithoutPreVote, 0.., steadiness::live_through);
}

/// Only an even number has a half: every sixth seed founds a cluster of four.
#[test]
fn bug_of_counting_half_as_a_quorum_is_caught() {
    assert_caught(Bug::CountsHalfAsQuorum, (5..).step_by(6), simulation::live_through);
}

#[test]
fn bug_of_leaving_the_actions_of_others_is_caught() {
    assert_caught(Bug::LeavesActionsOfOthers, 0.., recoveries::a_voter_comes_back_without_actions);
}

#[test]
fn bug_of_promising_twice_is_caught() {
    assert_caught(Bug::PromisesTwice, 0.., founding::live_through);
}

#[test]
fn bug_of_returning_with_an_empty_log_is_caught() {
    assert_caught(Bug::ReturnsWithEmptyLog, 0.., churn::live_through);
}

#[test]
fn bug_of_applying_before_commit_is_caught() {
    assert_caught(Bug::AppliesBeforeCommit, 0.., churn::live_through);
}

#[test]
fn bug_of_evaluating_twice_is_caught() {
    assert_caught(Bug::EvaluatesTwice, 0.., simulation::live_through);
}

#[test]
fn bug_of_refusing_before_commit_is_caught() {
    assert_caught(Bug::RefusesBeforeCommit, 0.., simulation::live_through);
}

#[test]
fn bug_of_settling_before_its_state_is_caught() {
    assert_caught(Bug::SettlesBeforeItsState, 0.., simulation::live_through);
}

#[test]
fn bug_of_catching_up_at_once_is_caught() {
    assert_caught(Bug::CatchesUpAtOnce, 0.., churn::live_through);
}

#[test]
fn bug_of_requeuing_behind_is_caught() {
    assert_caught(Bug::RequeuesBehind, 0.., simulation::live_through);
}

#[test]
fn bug_of_proposing_a_void_batch_is_caught() {
    assert_caught(Bug::ProposesVoidBatch, 70.., load::drop_a_batch_with_another_behind_it);
}

#[test]
fn bug_of_passing_over_what_was_given_up_is_caught() {
    assert_caught(Bug::PassesOverGivenUp, 60..61, load::refuse_by_what_was_given_up);
}

#[test]
fn bug_of_giving_up_on_slow_requests_is_caught() {
    assert_caught(Bug::GivesUpOnSlowRequests, 10..11, load::end_a_long_evaluation);
}

#[test]
fn bug_of_sending_without_a_window_is_caught() {
    assert_caught(Bug::SendsWithoutWindow, 40..41, load::send_large_entries_to_a_silent_peer);
}

#[test]
fn bug_of_recording_in_one_entry_is_caught() {
    assert_caught(Bug::RecordsInOneEntry, 50..51, load::refuse_with_much_data);
}

#[test]
fn bug_of_a_guard_that_admits_members_only_is_caught() {
    assert_caught(Bug::GuardAdmitsMembersOnly, LATER.., churn::live_through);
}

/// The scenario in which a recovered cluster restarts, from its 60th seed on.
#[test]
fn bug_of_forgetting_a_successors_name_is_caught() {
    assert_caught(Bug::ForgetsSuccessorName, 60.., recoveries::a_successor_restarts);
}

#[test]
fn bug_of_a_survivor_that_takes_itself_for_removed_is_caught() {
    assert_caught(Bug::SurvivorTakesItselfForRemoved, 0.., |seed| {
        _ = recoveries::a_newcomer_is_left_alone(seed)
    });
}

#[test]
fn bug_of_counting_the_voters_of_both_halves_is_caught() {
    assert_caught(Bug::CountsVotersOfBothHalves, 0.., |seed| {
        _ = recoveries::a_majority_of_the_former_voters_is_gone(seed)
    });
}

#[test]
fn bug_of_letting_in_by_an_old_discover_is_caught() {
    assert_caught(Bug::LetsInByOldHello, 0.., removals::an_old_discover_comes_late);
}

#[test]
fn bug_of_founding_anew_before_saving_is_caught() {
    assert_caught(Bug::FoundsBeforeSaving, 0.., recoveries::a_survivor_loses_its_power);
}

#[test]
fn bug_of_promising_before_saving_is_caught() {
    assert_caught(Bug::PromisesBeforeSaving, 0.., |number| _ = recoveries::a_promise_is_kept(number));
}

#[test]
fn bug_of_a_promise_to_the_dead_that_binds_is_caught() {
    assert_caught(Bug::KeepsPromiseToTheDead, 0.., losses::live_through);
}

#[test]
fn bug_of_dropping_a_log_before_the_successor_is_held_is_caught() {
    assert_caught(Bug::DropsLogBeforeSuccessor, 0.., losses::live_through);
}

#[test]
fn bug_of_sending_an_image_of_the_former_cluster_is_caught() {
    assert_caught(Bug::SendsImageOfFormerCluster, 0.., recoveries::one_survivor_dies);
}

#[test]
fn bug_of_outliving_a_successor_is_caught() {
    assert_caught(Bug::OutlivesItsSuccessor, 40.., recoveries::a_majority_thaws);
}

#[test]
fn bug_of_repeating_orders_is_caught() {
    assert_caught(Bug::RepeatsOrders, 0.., orders::a_resize_is_not_repeated);
}

#[test]
fn bug_of_leading_without_a_storage_is_caught() {
    assert_caught(Bug::LeadsWithoutStorage, 0.., hanging_disks::a_leader_gives_way);
}

#[test]
fn bug_of_cutting_the_log_behind_an_image_is_caught() {
    assert_caught(Bug::CutsLogBehindImage, 0.., slow_links::a_newcomer_gets_the_state);
}

#[test]
fn bug_of_restarting_a_transfer_is_caught() {
    assert_caught(Bug::RestartsTransfer, 0.., slow_links::a_newcomer_gets_the_state);
}

#[test]
fn bug_of_ignoring_the_line_is_caught() {
    assert_caught(Bug::IgnoresLine, 0.., slow_links::a_follower_gets_the_log);
}

#[test]
fn bug_of_counting_receipts_is_caught() {
    assert_caught(Bug::CountsReceipts, 0.., hanging_disks::receipts_count_for_nothing);
}

#[test]
fn bug_of_hearing_every_start_is_caught_beside_a_member() {
    assert_caught(Bug::HearsEveryStart, 0.., copies::a_copy_runs_beside);
}

#[test]
fn bug_of_hearing_every_start_is_caught_by_an_older_directory() {
    assert_caught(Bug::HearsEveryStart, 0.., copies::an_older_directory_is_put_back);
}

#[test]
fn bug_of_hearing_a_former_start_is_caught() {
    assert_caught(Bug::HearsFormerStart, 0.., copies::a_frame_of_a_former_start_comes_late);
}

#[test]
fn bug_of_founding_with_every_application_is_caught() {
    assert_caught(Bug::FoundsWithEveryApplication, 0.., |seed| _ = founding::found_with_strangers(seed));
}

#[test]
fn bug_of_founding_before_the_channel_is_healthy_is_caught() {
    assert_caught(Bug::FoundsBeforeItsChannel, 0.., founding::found_with_a_marker);
}

#[test]
fn bug_of_welcoming_every_application_is_caught() {
    assert_caught(Bug::WelcomesEveryApplication, 0.., strangers::a_stranger_knocks);
}

#[test]
fn bug_of_dropping_what_comes_early_is_caught() {
    assert_caught(Bug::DropsWhatComesEarly, 580.., steadiness::live_through);
}

#[test]
fn bug_of_taking_a_candidate_for_a_leader_is_caught() {
    assert_caught(Bug::TakesCandidateForLeader, 0.., removals::a_learner_hears_its_leader_campaign);
}

#[test]
fn bug_of_ending_a_session_twice_is_caught() {
    assert_caught(Bug::EndsSessionTwice, 0.., sessions::two_leaders_see_one_death);
}

#[test]
fn bug_of_ending_a_session_unconfirmed_is_caught() {
    assert_caught(Bug::EndsSessionUnconfirmed, 0.., sessions::the_leader_alone_is_cut_off);
}

#[test]
fn bug_of_a_clock_that_falls_at_a_leader_change_is_caught() {
    assert_caught(Bug::FallsAtLeaderChange, 0.., simulation::live_through);
}

#[test]
fn bug_of_a_timer_that_two_leaders_fire_is_caught() {
    assert_caught(Bug::FiresTwice, 0.., simulation::live_through);
}

#[test]
fn bug_of_sleeping_through_calls_is_caught() {
    assert_caught(Bug::SleepsThroughCalls, 0.., hibernation::a_leader_dies_and_a_follower_calls);
}

#[test]
fn bug_of_waking_alone_is_caught() {
    assert_caught(Bug::WakesAlone, 0.., hibernation::a_leader_dies_and_a_follower_calls);
}

#[test]
fn bug_of_hibernating_unconfirmed_is_caught() {
    assert_caught(Bug::HibernatesUnconfirmed, 0.., hibernation::a_leader_hibernates_last);
}

#[test]
fn bug_of_recording_an_older_start_is_caught() {
    assert_caught(Bug::RecordsOlderStart, 0.., churn::live_through);
}
