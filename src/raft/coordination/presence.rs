//! The sessions of the members: the log decides which nodes are present.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::raft::identity::RaftId;

/// Numbers stay below this, so that they are exact as JavaScript numbers.
const NUMBER_MAX: u64 = 1 << 53;

/// A recovery skips this many numbers: the lost part of the log may have used some of them.
const NUMBERS_SKIPPED_BY_RECOVERY: u64 = 1_000_000;

/// For each member, its newest session.
///
/// Invariants:
/// - numbers are unique and rise in the whole cluster;
/// - a member has at most one live session, and so has an id;
/// - an ended session never becomes live again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Presence {
    /// The number of the newest session of the cluster; 0: sessions are off.
    last: u64,
    rows: BTreeMap<RaftId, Row>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    id: Arc<str>,
    session: u64,
    /// The number of the member's process; 0 without storage.
    process: u64,
    started: StartReason,
    ended: Option<EndReason>,
}

/// Why a session starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartReason {
    /// The first one of this member.
    Joined,
    /// The member is heard again.
    Returned,
    /// The member restarted with its log.
    Restarted,
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndReason {
    /// The member announced that it closes.
    Closed,
    /// The member was removed.
    Removed,
    /// The member was silent for the session timeout.
    Silent,
    /// The member's process restarted.
    Restarted,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStart {
    pub member: RaftId,
    pub id: Arc<str>,
    pub session: u64,
    pub process: u64,
    pub reason: StartReason,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionEnd {
    pub member: RaftId,
    pub id: Arc<str>,
    pub session: u64,
    pub reason: EndReason,
}

/// A member, as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    pub member: RaftId,
    pub id: Arc<str>,
    /// The number of its process; 0: it has no storage, or was not heard yet.
    pub process: u64,
    pub is_closing: bool,
    /// The leader hears it.
    pub is_heard: bool,
    /// A majority has not heard it for the session timeout.
    pub is_silent: bool,
}

impl StartReason {
    pub fn as_str(self) -> &'static str {
        match self {
            StartReason::Joined => "joined",
            StartReason::Returned => "returned",
            StartReason::Restarted => "restarted",
        }
    }
}

impl EndReason {
    pub fn as_str(self) -> &'static str {
        match self {
            EndReason::Closed => "closed",
            EndReason::Removed => "removed",
            EndReason::Silent => "silent",
            EndReason::Restarted => "restarted",
        }
    }
}

impl Presence {
    /// Whether the cluster has sessions: from its first one on.
    pub fn is_on(&self) -> bool {
        self.last > 0
    }

    /// The live sessions, oldest first.
    pub fn live(&self) -> Vec<(&Arc<str>, u64)> {
        let rows = self.rows.values().filter(|row| row.ended.is_none());
        let mut live: Vec<(&Arc<str>, u64)> = rows.map(|row| (&row.id, row.session)).collect();
        live.sort_unstable_by_key(|(_, session)| *session);
        live
    }

    pub fn live_session(&self, member: RaftId) -> Option<u64> {
        self.rows.get(&member).filter(|row| row.ended.is_none()).map(|row| row.session)
    }

    /// The live session of this process of a member.
    pub fn session_of_process(&self, member: RaftId, process: u64) -> Option<u64> {
        let row = self.rows.get(&member).filter(|row| row.ended.is_none() && row.process == process)?;
        Some(row.session)
    }

    /// Why the newest session of a member has started, or ended; a member without one was removed.
    pub fn reason(&self, member: RaftId) -> &'static str {
        self.rows.get(&member).map_or(EndReason::Removed.as_str(), |row| {
            row.ended.map_or(row.started.as_str(), EndReason::as_str)
        })
    }

    /// Applies an action that concerns sessions. False: it changes nothing.
    pub fn apply(&mut self, action: &super::SystemAction, is_member: impl Fn(RaftId) -> bool) -> bool {
        match action {
            super::SystemAction::SessionStarted(start) => self.start(start, is_member(start.member)),
            super::SystemAction::SessionEnded(end) => self.end(end, is_member(end.member)),
            super::SystemAction::TimerFired(_) => false,
        }
    }

    pub fn start(&mut self, start: &SessionStart, is_member: bool) -> bool {
        let is_taken = self.rows.values().any(|row| row.id == start.id && row.ended.is_none());
        let is_next = start.session == self.last + 1;
        if !is_member || is_taken || !is_next || self.live_session(start.member).is_some() {
            return false;
        }
        let SessionStart { member, session, process, reason, .. } = *start;
        self.last = session;
        let (id, started) = (start.id.clone(), reason);
        self.rows.insert(member, Row { id, session, process, started, ended: None });
        true
    }

    pub fn end(&mut self, end: &SessionEnd, is_member: bool) -> bool {
        let Some(row) = self.rows.get_mut(&end.member).filter(|row| row.session == end.session) else {
            return false;
        };
        let has_ended = row.ended.is_some();
        injected_bug!(EndsSessionTwice, has_ended => false);
        if has_ended {
            return false;
        }
        row.ended = Some(end.reason);
        if !is_member {
            self.rows.remove(&end.member);
        }
        true
    }

    /// The member is removed; its session, if it lives, ends by an entry.
    pub fn forget(&mut self, member: RaftId) {
        self.rows.retain(|other, row| *other != member || row.ended.is_none());
    }

    pub fn recovered(&mut self, survivor: RaftId) {
        if self.is_on() {
            self.last += NUMBERS_SKIPPED_BY_RECOVERY;
        }
        self.rows.retain(|member, row| *member == survivor || row.ended.is_none());
    }

    /// The next changes, in their order, at most `count_max`. `self` contains what is appended and not applied.
    pub fn due(&self, members: &[MemberView], count_max: usize) -> Vec<super::SystemAction> {
        let mut after = self.clone();
        let mut due = Vec::new();
        for (member, row) in &self.rows {
            let has_ended = row.ended.is_some();
            injected_bug!(EndsSessionTwice, has_ended => false);
            if has_ended {
                continue;
            }
            let view = members.iter().find(|view| view.member == *member);
            let Some(reason) = end_reason(row, view) else { continue };
            let end = SessionEnd { member: *member, id: row.id.clone(), session: row.session, reason };
            after.end(&end, view.is_some());
            due.push(super::SystemAction::SessionEnded(end));
        }
        for view in members.iter().filter(|view| view.is_heard && !view.is_closing && !view.is_silent) {
            let start = SessionStart {
                member: view.member,
                id: view.id.clone(),
                session: after.last + 1,
                process: view.process,
                reason: match after.rows.get(&view.member).map(|row| row.ended) {
                    None => StartReason::Joined,
                    Some(Some(EndReason::Restarted)) => StartReason::Restarted,
                    Some(_) => StartReason::Returned,
                },
            };
            if after.start(&start, true) {
                due.push(super::SystemAction::SessionStarted(start));
            }
        }
        due.truncate(count_max);
        due
    }

    pub fn is_well_formed(&self) -> bool {
        let live = self.live();
        self.last < NUMBER_MAX
            && self.rows.values().all(|row| (1..=self.last).contains(&row.session))
            && live.iter().all(|(id, _)| live.iter().filter(|(other, _)| other == id).count() == 1)
    }
}

/// Why the session of a member ends now, if it does. `None` as the view: it is not a member.
fn end_reason(row: &Row, view: Option<&MemberView>) -> Option<EndReason> {
    let Some(view) = view else { return Some(EndReason::Removed) };
    if view.is_closing {
        return Some(EndReason::Closed);
    }
    if view.process > row.process {
        return Some(EndReason::Restarted);
    }
    view.is_silent.then_some(EndReason::Silent)
}
