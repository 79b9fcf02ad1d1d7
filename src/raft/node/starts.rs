//! Distinguishes the processes of one incarnation: of several copies of a directory at most one is accepted, and none
//! that is older than the cluster knows.
//!
//! Part of `node.rs`. A copy has the incarnation, the log and the votes of a member, but not what that member did
//! since: counting it would count a vote twice, or an entry that does not exist (paper §5.2, Figure 2). Therefore every
//! frame names the start of its incarnation. A start that continues the last one is accepted immediately if that one is
//! silent. Otherwise all processes of the incarnation are queried: a directory that does not know the last start is an
//! older copy and stops by itself, and one whose predecessor also answers is refused. The leader records the starts in
//! the log.

use bytes::Bytes;

use super::Node;
use super::applications::member_info;
use super::member_starts::{MemberStarts, StartReply};
use super::replica::Replica;
use crate::error::Error;
use crate::raft::entry::Context;
use crate::raft::events::{Target, Warning};
use crate::raft::frame::{Frame, Message, Refused, Started};
use crate::raft::identity::{Incarnation, RaftId, Start};

/// What this process knows of its own directory.
#[derive(Debug)]
pub(super) struct OwnStarts {
    /// The newest, the present one last.
    starts: Vec<Start>,
    /// Where the log ended when this process read it.
    last_index: u64,
}

impl OwnStarts {
    pub(super) fn new(starts: Vec<Start>, last_index: u64) -> Self {
        Self { starts, last_index }
    }

    fn current(&self) -> Start {
        self.starts.last().copied().unwrap_or_default()
    }

    /// Whether the directory has kept this start, or is too old to tell.
    fn knows(&self, start: Start) -> bool {
        self.starts.iter().any(|own| own.is_same(start))
            || self.starts.first().is_some_and(|first| start.number < first.number)
    }
}

impl Replica {
    /// What the incarnation has acknowledged for certain before the present start, as this leader knows.
    fn acknowledged(&self, member: RaftId) -> u64 {
        if !self.group.is_leader() {
            return 0;
        }
        self.group.acknowledged(member).min(self.group.commit_index())
    }

    /// Whether frames of this start of a member are accepted from now on.
    fn accepts(&mut self, member: RaftId, Started { start, former }: Started) -> bool {
        let last = self.starts.get(&member).and_then(MemberStarts::accepted);
        if last.is_some_and(|last| last.is_same(start)) {
            self.starts.entry(member).or_default().heard(self.now);
            return true;
        }
        let continues = last
            .or(self.members.start(member))
            .is_none_or(|last| last.is_same(start) || former.is_some_and(|former| former.is_same(last)));
        let is_complete = last.is_none() || self.acknowledged(member) == 0;
        let has_answered = self.starts.get(&member).is_some_and(|heard| heard.has_answered(start));
        let is_known = continues && is_complete || has_answered;
        let is_free = self.is_free(member, start);
        // An image brings the record without its entry. What was accepted beside the record may have been a copy; but
        // an older start that the record still names may be heard of by a frame that was long under way: it must
        // answer.
        injected_bug!(HearsFormerStart, has_answered => has_answered || is_free);
        let is_recorded = self.members.start(member).is_some_and(|record| {
            record.is_same(start) && last.is_none_or(|last| has_answered || last.number <= record.number)
        });
        // Where there is a leader, it decides who takes the place of another start: its record tells the others.
        let is_others_choice = last.is_some()
            && self.leader().is_some_and(|leader| leader != self.me.raft_id() && leader != member);
        is_recorded || is_known && is_free && !is_others_choice
    }

    /// Whether the start of a member that is heard has ended, as far as this node can know when `challenger` speaks.
    fn is_free(&self, member: RaftId, challenger: Start) -> bool {
        let Some(heard) = self.starts.get(&member).filter(|heard| heard.accepted().is_some()) else {
            return true;
        };
        heard.silent_since(challenger) + self.timing.election() <= self.now || self.is_closing(member)
    }

    /// Accepts frames of this start from now on.
    fn accept_start(&mut self, member: RaftId, start: Start) {
        let heard = MemberStarts::accept(start, self.now);
        if self.starts.insert(member, heard).is_some_and(|former| former.accepted().is_some()) {
            // Another process may run other code.
            self.applications.remove(&member);
        }
        self.group.begin_append_flow(member);
        self.closing.retain(|closing, going| *closing != member || going.leaves);
    }
}

impl Node {
    /// Which start of its incarnation this process is.
    pub(super) fn started(&self) -> Option<Started> {
        let own = self.starts.as_ref()?;
        let former = own.starts.iter().rev().nth(1).copied();
        Some(Started { start: own.current(), former })
    }

    /// Whether the process of a member that has sent a frame is accepted.
    pub(super) fn is_from_accepted_start(&mut self, frame: &Frame) -> bool {
        let is_ours = self.replica.as_ref().is_some_and(|replica| replica.cluster == frame.cluster);
        injected_bug!(HearsEveryStart, return true);
        if !is_ours {
            return true;
        }
        for message in &frame.messages {
            self.handle_start_messages(frame.from, frame.start.map(|started| started.start), message);
        }
        let Some(started) = frame.start else { return !self.is_stopped };
        let me = self.bootstrap.me();
        if frame.from == me {
            self.handle_same_incarnation(started.start);
            return false;
        }
        let Some(replica) = self.replica.as_mut().filter(|replica| replica.members.contains(frame.from))
        else {
            return !self.is_stopped;
        };
        let member = frame.from.raft_id();
        let was_heard = replica.starts.get(&member).is_some_and(|heard| {
            heard.is_challenged() || heard.accepted().is_some_and(|accepted| !accepted.is_same(started.start))
        });
        if !replica.accepts(member, started) {
            self.query_starts(frame.from, started.start);
            return false;
        }
        let accepted = replica.starts.get(&member).and_then(MemberStarts::accepted);
        if accepted.is_none_or(|accepted| !accepted.is_same(started.start)) {
            replica.accept_start(member, started.start);
            if was_heard {
                self.query_member_info(frame.from);
            }
        }
        !self.is_stopped
    }

    /// The information that it sent before it was accepted is lost.
    fn query_member_info(&mut self, member: Incarnation) {
        self.outbox.push(Target::One(member), member_info(&self.options, true));
    }

    /// Queries all processes of an incarnation for their start, at intervals.
    fn query_starts(&mut self, to: Incarnation, start: Start) {
        let Some(replica) = &mut self.replica else { return };
        let (now, interval) = (replica.now, self.timing.heartbeat());
        let record = replica.members.start(to.raft_id());
        let heard = replica.starts.entry(to.raft_id()).or_default();
        let known = heard.accepted().or(record);
        let token = self.last_request_id + 1;
        if !heard.is_query_due(start, token, now, interval) {
            return;
        }
        self.last_request_id = token;
        self.outbox.push(Target::One(to), Message::StartQuery { token, known });
    }

    /// These are accepted from every node of our cluster, also from a start that is not accepted: it may be the only
    /// one that is left, and a log that lags behind does not know all members.
    fn handle_start_messages(&mut self, from: Incarnation, start: Option<Start>, message: &Message) {
        let own = self.starts.as_ref();
        let is_own = |start| own.is_some_and(|own| own.current().is_same(start));
        match *message {
            Message::StartQuery { token, known } => {
                let Some(own) = own.filter(|_| !start.is_some_and(is_own)) else { return };
                if known.is_some_and(|known| !own.knows(known)) {
                    return self.fail_as(Refused::Outdated);
                }
                self.outbox
                    .push(Target::One(from), Message::StartReply { token, last_index: own.last_index });
            }
            Message::StartReply { token, last_index } => {
                if let Some(start) = start.filter(|start| !is_own(*start)) {
                    self.handle_start_reply(from, start, token, last_index);
                }
            }
            Message::StartRefused { start, why } if is_own(start) => self.fail_as(why),
            _ => {}
        }
    }

    fn handle_start_reply(&mut self, from: Incarnation, start: Start, token: u64, last_index: u64) {
        let member = from.raft_id();
        let Some(replica) = &mut self.replica else { return };
        let reply = StartReply {
            start,
            token,
            record: replica.members.start(member),
            is_outdated: last_index < replica.acknowledged(member),
            is_free: replica.is_free(member, start),
        };
        let refused =
            replica.starts.get_mut(&member).and_then(|heard| heard.handle_reply(&reply, replica.now));
        if let Some((start, why)) = refused {
            self.refuse_start(from, start, why);
        }
    }

    fn refuse_start(&mut self, from: Incarnation, start: Start, why: Refused) {
        self.outbox.push(Target::One(from), Message::StartRefused { start, why });
        let id = self.replica.as_ref().and_then(|replica| replica.members.id(from.raft_id()).cloned());
        if let Some(id) = id
            && self.reported_starts.len() < REPORTED_MAX
            && self.reported_starts.insert(start)
        {
            self.warn(Warning::StorageCopied { id });
        }
    }

    /// A frame under this node's own incarnation. In a cluster of others they see to it; one that is alone does itself,
    /// and the later start stops.
    fn handle_same_incarnation(&mut self, start: Start) {
        let me = self.bootstrap.me();
        let Some(current) = self.starts.as_ref().map(OwnStarts::current) else { return };
        let Some(replica) = &mut self.replica else { return };
        if start.is_same(current) || replica.members.iter().len() > 1 {
            return;
        }
        let heard = replica.starts.entry(me.raft_id()).or_default();
        if heard.has_answered(start) {
            if start < current {
                self.fail_as(Refused::Copy);
            }
            return;
        }
        self.query_starts(me, start);
    }

    /// Applies the recorded starts.
    pub(super) fn apply_started(&mut self, starts: Vec<(RaftId, Start)>) {
        let me = self.bootstrap.me().raft_id();
        let mut changed = Vec::new();
        let Some(replica) = &mut self.replica else { return };
        for (member, start) in starts {
            replica.members.set_start(member, start);
            let accepted = replica.starts.get(&member).and_then(MemberStarts::accepted);
            if member != me
                && replica.members.start(member) == Some(start)
                && accepted
                    .is_some_and(|accepted| accepted.number <= start.number && !accepted.is_same(start))
            {
                replica.accept_start(member, start);
                changed.extend(replica.members.incarnation(member));
            }
        }
        changed.into_iter().for_each(|member| self.query_member_info(member));
        self.check_own_start();
    }

    /// A start of this incarnation that its directory does not know was another directory's.
    pub(super) fn check_own_start(&mut self) {
        let me = self.bootstrap.me().raft_id();
        let recorded = self.replica.as_ref().and_then(|replica| replica.members.start(me));
        let is_unknown = |own: &OwnStarts| recorded.is_some_and(|recorded| !own.knows(recorded));
        if self.starts.as_ref().is_some_and(is_unknown) {
            self.fail_as(Refused::Outdated);
        }
    }

    /// As a leader: records the accepted starts in the log.
    pub(super) fn record_starts(&mut self) {
        let me = self.bootstrap.me().raft_id();
        let current = self.starts.as_ref().map(OwnStarts::current);
        let Some(replica) = self.replica.as_mut().filter(|replica| replica.group.accepts_proposals()) else {
            return;
        };
        let Some(leader_state) = &mut replica.leader_state else { return };
        if !leader_state.sessions.is_open() || replica.delivered_index < leader_state.recorded_at {
            return;
        }
        let heard = |member: RaftId| match member == me {
            true => current,
            false => replica.starts.get(&member).and_then(MemberStarts::accepted),
        };
        let starts = replica.members.iter().filter_map(|(member, ..)| Some((member, heard(member)?)));
        let starts: Vec<(RaftId, Start)> =
            starts.filter(|(member, start)| replica.members.start(*member) != Some(*start)).collect();
        if !starts.is_empty()
            && replica.group.propose(vec![(Context::Started { starts }.encode(), Bytes::new())]).is_ok()
        {
            leader_state.recorded_at = replica.group.last_index();
        }
    }

    fn fail_as(&mut self, why: Refused) {
        let id = self.options.id.to_string();
        self.fail(match why {
            Refused::Copy => Error::StorageCopied { id },
            Refused::Outdated => Error::StorageOutdated { id },
        });
    }
}

/// No more refused starts are reported.
const REPORTED_MAX: usize = 64;
