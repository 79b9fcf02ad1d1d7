//! Records which process of a member is accepted, and which other process challenges it.

use crate::raft::identity::Start;
use crate::raft::wire::message::Refused;

/// What a node knows about the starts of a member.
#[derive(Debug, Default)]
pub(super) struct MemberStarts {
    /// Frames of this start are accepted.
    accepted: Option<Start>,
    heard_at: u64,
    challenger: Option<Challenger>,
}

/// Another start, which is not accepted.
#[derive(Debug)]
struct Challenger {
    start: Start,
    /// The token of the newest query; a living process answers all since the first.
    token: u64,
    first_token: u64,
    since: u64,
    asked_at: u64,
    /// It has answered, so its directory knows the last start.
    has_answered: bool,
}

impl MemberStarts {
    /// Only frames of this start are accepted.
    pub(super) fn accept(start: Start, now: u64) -> Self {
        Self { accepted: Some(start), heard_at: now, challenger: None }
    }

    pub(super) fn accepted(&self) -> Option<Start> {
        self.accepted
    }

    /// A frame of the accepted start has arrived.
    pub(super) fn heard(&mut self, now: u64) {
        self.heard_at = now;
    }

    pub(super) fn is_challenged(&self) -> bool {
        self.challenger.is_some()
    }

    /// Whether this start has answered a query.
    pub(super) fn has_answered(&self, start: Start) -> bool {
        self.challenger
            .as_ref()
            .is_some_and(|challenger| challenger.start.is_same(start) && challenger.has_answered)
    }

    /// Since when the accepted start has been silent, as far as this node can know when a frame of `challenger`
    /// arrives.
    pub(super) fn silent_since(&self, challenger: Start) -> u64 {
        let asked = self.challenger.as_ref().filter(|asked| asked.start.is_same(challenger));
        asked.map_or(self.heard_at, |asked| asked.since.min(self.heard_at))
    }

    /// A frame of another start arrived: whether to query all processes now, under this token.
    pub(super) fn is_query_due(&mut self, start: Start, token: u64, now: u64, interval_ticks: u64) -> bool {
        match self.challenger.as_mut().filter(|challenger| challenger.start.is_same(start)) {
            Some(challenger) if now < challenger.asked_at + interval_ticks => return false,
            Some(challenger) => (challenger.token, challenger.asked_at) = (token, now),
            None => {
                let (since, asked_at, first_token) = (now, now, token);
                self.challenger =
                    Some(Challenger { start, token, first_token, since, asked_at, has_answered: false });
            }
        }
        true
    }

    /// A process has answered: if it is the accepted one, its challenger is refused; otherwise it is the challenger.
    /// Returns the start that is refused, and the reason.
    pub(super) fn handle_reply(&mut self, reply: &StartReply, now: u64) -> Option<(Start, Refused)> {
        let challenger = self
            .challenger
            .as_mut()
            .filter(|challenger| (challenger.first_token..=challenger.token).contains(&reply.token))?;
        let accepted = self.accepted;
        let refused = if let Some(accepted) = accepted.filter(|accepted| accepted.is_same(reply.start)) {
            injected_bug!(HearsFormerStart, now => challenger.since);
            challenger.since = now;
            // A node that has just started may have accepted the copy first: an accepted start refuses no other if the
            // log records another one.
            reply.record.is_none_or(|record| record.is_same(accepted)).then_some(Refused::Copy)
        } else if !challenger.start.is_same(reply.start) {
            None
        } else if accepted.is_some() && reply.is_outdated {
            // While the other process may still answer, either error is possible.
            reply.is_free.then_some(Refused::Outdated)
        } else {
            challenger.has_answered = true;
            None
        };
        let start = challenger.start;
        if refused.is_some() {
            self.challenger = None;
        }
        Some((start, refused?))
    }
}

/// The answer of a process of a member, and what this node knows about it.
#[derive(Debug)]
pub(super) struct StartReply {
    pub(super) start: Start,
    pub(super) token: u64,
    /// The start that the log has recorded.
    pub(super) record: Option<Start>,
    /// Its directory lacks what the member has acknowledged.
    pub(super) is_outdated: bool,
    /// The accepted start has ended, as far as this node can know.
    pub(super) is_free: bool,
}
