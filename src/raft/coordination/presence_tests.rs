//! Tests which sessions start and end, and how the table changes.

use super::*;

fn view(member: RaftId) -> MemberView {
    let id = format!("n{member}").into();
    MemberView { member, id, process: 0, is_closing: false, is_heard: true, is_silent: false }
}

/// Applies what is due, and says it in words.
fn step(presence: &mut Presence, members: &[MemberView]) -> Vec<String> {
    let is_member = |member| members.iter().any(|view| view.member == member);
    let due = presence.due(members, usize::MAX);
    let words = due.iter().map(|action| {
        assert!(presence.apply(action, is_member), "{action:?}");
        assert!(presence.is_well_formed());
        match action {
            SystemAction::SessionStarted(start) => {
                format!("{} starts {} {}", start.id, start.session, start.reason.as_str())
            }
            SystemAction::TimerFired(_) => unreachable!("it is no session"),
            SystemAction::SessionEnded(end) => {
                format!("{} ends {} {}", end.id, end.session, end.reason.as_str())
            }
        }
    });
    words.collect()
}

#[test]
fn every_member_that_is_heard_gets_one_session() {
    let mut presence = Presence::default();
    let unheard = MemberView { is_heard: false, ..view(3) };
    assert!(!presence.is_on());
    assert_eq!(
        step(&mut presence, &[view(1), view(2), unheard]),
        ["n1 starts 1 joined", "n2 starts 2 joined"]
    );
    assert!(presence.is_on());
    assert!(step(&mut presence, &[view(1), view(2)]).is_empty());
    assert_eq!(presence.live(), [(&"n1".into(), 1), (&"n2".into(), 2)]);
}

#[test]
fn an_ended_session_never_revives() {
    let mut presence = Presence::default();
    step(&mut presence, &[view(1), view(2)]);
    let silent = MemberView { is_heard: false, is_silent: true, ..view(2) };
    assert_eq!(step(&mut presence, &[view(1), silent.clone()]), ["n2 ends 2 silent"]);
    assert!(step(&mut presence, &[view(1), silent]).is_empty());
    let end = SessionEnd { member: 2, id: "n2".into(), session: 2, reason: EndReason::Silent };
    assert!(!presence.end(&end, true), "it has ended");
    assert_eq!(step(&mut presence, &[view(1), view(2)]), ["n2 starts 3 returned"]);
    assert!(!presence.end(&end, true), "its number is another one");
}

#[test]
fn a_closing_member_gets_no_new_session() {
    let mut presence = Presence::default();
    step(&mut presence, &[view(1)]);
    let closing = MemberView { is_closing: true, ..view(1) };
    assert_eq!(step(&mut presence, std::slice::from_ref(&closing)), ["n1 ends 1 closed"]);
    assert!(step(&mut presence, &[closing]).is_empty());
}

#[test]
fn a_new_process_of_a_member_has_a_new_session() {
    let mut presence = Presence::default();
    let process = |number| MemberView { process: number, ..view(1) };
    step(&mut presence, &[process(1)]);
    assert_eq!(step(&mut presence, &[process(2)]), ["n1 ends 1 restarted", "n1 starts 2 restarted"]);
    assert!(step(&mut presence, &[process(1)]).is_empty(), "a frame of the former process came late");
}

#[test]
fn a_newcomer_with_the_id_of_a_member_waits_for_the_end_of_its_session() {
    let mut presence = Presence::default();
    step(&mut presence, &[view(1)]);
    let newcomer = MemberView { id: "n1".into(), ..view(2) };
    assert!(step(&mut presence, &[view(1), newcomer.clone()]).is_empty());
    assert_eq!(step(&mut presence, &[newcomer]), ["n1 ends 1 removed", "n1 starts 2 joined"]);
}

#[test]
fn the_row_of_a_removed_member_goes_with_its_session() {
    let mut presence = Presence::default();
    step(&mut presence, &[view(1), view(2)]);
    presence.forget(2);
    assert_eq!(presence.live_session(2), Some(2), "an entry ends it");
    assert_eq!(step(&mut presence, &[view(1)]), ["n2 ends 2 removed"]);
    step(&mut presence, &[MemberView { is_silent: true, ..view(1) }]);
    presence.forget(1);
    assert!(presence.live().is_empty() && presence.reason(1) == "removed");
}

#[test]
fn a_recovered_cluster_uses_no_number_again() {
    let mut presence = Presence::default();
    step(&mut presence, &[view(1), view(2)]);
    presence.recovered(1);
    assert_eq!(step(&mut presence, &[view(1)]), ["n2 ends 2 removed"]);
    assert_eq!(step(&mut presence, &[view(1), view(3)]), ["n3 starts 1000003 joined"]);
}
