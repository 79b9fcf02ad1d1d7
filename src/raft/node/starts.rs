//! Distinguishes the processes of one incarnation: of several copies of a directory at most one is accepted, and none
//! that lacks what the cluster knows about it.
//!
//! A copy has the incarnation, the log and the votes of a member, but not what that member did since: counting it
//! would count a vote twice, or an entry that does not exist (paper §5.2, Figure 2). Therefore every frame names the
//! start of its incarnation. A start that continues the last one is accepted immediately if that one is silent.
//! Otherwise all processes of the incarnation are queried: a directory that does not know the last start is an older
//! copy and stops, and one whose predecessor also answers is refused. The leader records the starts in the log.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::applications::member_info;
use super::member_starts::{MemberStarts, StartReply};
use super::output::Output;
use super::replica::Replica;
use crate::error::Error;
use crate::raft::consensus::entry::Context;
use crate::raft::events::{StoredState, Target, Warning};
use crate::raft::identity::{Incarnation, RaftId, Start};
use crate::raft::options::Options;
use crate::raft::wire::frame::{Frame, Started};
use crate::raft::wire::message::{Message, Refused, StartMessage};

/// The limit of reported refused starts.
const REPORTED_MAX: usize = 64;

/// Decides from which process of an incarnation frames are accepted. An error ends this process.
#[derive(Debug)]
pub(super) struct StartGuard {
    /// `None` without storage.
    own: Option<OwnStarts>,
    reported: BTreeSet<Start>,
    last_token: u64,
}

/// What this process knows of its own directory.
#[derive(Debug)]
struct OwnStarts {
    /// The newest, the present one last.
    starts: Vec<Start>,
    /// Where the log ended when this process read it.
    last_index: u64,
}

impl OwnStarts {
    fn current(&self) -> Start {
        self.starts.last().copied().unwrap_or_default()
    }

    /// Whether the directory knows this start, or is too old to know.
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
            self.starts.entry(member).or_default().heard(self.liveness.now());
            return true;
        }
        let continues = last
            .or(self.members.start(member))
            .is_none_or(|last| last.is_same(start) || former.is_some_and(|former| former.is_same(last)));
        let is_complete = last.is_none() || self.acknowledged(member) == 0;
        let has_answered = self.starts.get(&member).is_some_and(|heard| heard.has_answered(start));
        let is_known = continues && is_complete || has_answered;
        let is_free = self.is_free(member, start);
        // An image contains the record without its entry. The start that was accepted in its place may have been a
        // copy. But a frame of an older start that the record still names may have been delayed: that start must
        // answer.
        injected_bug!(HearsFormerStart, has_answered => has_answered || is_free);
        let is_recorded = self.members.start(member).is_some_and(|record| {
            record.is_same(start) && last.is_none_or(|last| has_answered || last.number <= record.number)
        });
        // If there is a leader, it decides which start replaces another one: its record informs the others.
        let is_others_choice = last.is_some()
            && self.leader().is_some_and(|leader| leader != self.me.raft_id() && leader != member);
        is_recorded || is_known && is_free && !is_others_choice
    }

    /// Whether the accepted start of a member has ended, as far as this node can know when a frame of `challenger`
    /// arrives.
    fn is_free(&self, member: RaftId, challenger: Start) -> bool {
        let Some(heard) = self.starts.get(&member).filter(|heard| heard.accepted().is_some()) else {
            return true;
        };
        heard.silent_since(challenger) + self.timing.election() <= self.liveness.now()
            || self.is_closing(member)
    }

    /// Accepts frames of this start from now on.
    fn accept_start(&mut self, member: RaftId, start: Start) {
        let heard = MemberStarts::accept(start, self.liveness.now());
        if self.starts.insert(member, heard).is_some_and(|former| former.accepted().is_some()) {
            // Another process may run other code.
            self.applications.remove(&member);
        }
        self.group.begin_append_flow(member);
        self.closing.retain(|closing, going| *closing != member || going.leaves);
    }
}

impl StartGuard {
    /// The tokens of queries continue after `last_token`: an answer to a former one may still be in flight.
    pub(super) fn new(options: &Options, recovered: Option<&StoredState>, last_token: u64) -> Self {
        let own = options.is_durable.then(|| OwnStarts {
            starts: recovered.map_or_else(
                || vec![Start { number: 1, nonce: options.nonce }],
                |recovered| recovered.starts.clone(),
            ),
            last_index: recovered.map_or(0, StoredState::last_index),
        });
        Self { own, reported: BTreeSet::new(), last_token }
    }

    /// The number of this process among those of its incarnation; 0 without storage.
    pub(super) fn process(&self) -> u64 {
        self.own.as_ref().map_or(0, |own| own.current().number)
    }

    /// Which start of its incarnation this process is.
    pub(super) fn started(&self) -> Option<Started> {
        let own = self.own.as_ref()?;
        let former = own.starts.iter().rev().nth(1).copied();
        Some(Started { start: own.current(), former })
    }

    /// Whether the process that has sent this frame of the replica's cluster is accepted.
    pub(super) fn accepts(
        &mut self,
        frame: &Frame,
        replica: &mut Replica,
        options: &Options,
        output: &mut Output,
    ) -> Result<bool, Error> {
        injected_bug!(HearsEveryStart, return Ok(true));
        let start = frame.start.map(|started| started.start);
        for message in &frame.messages {
            if let Message::Start(message) = message {
                self.handle_message(frame.from, start, *message, replica, output)
                    .map_err(failure(options))?;
            }
        }
        let Some(started) = frame.start else { return Ok(true) };
        if frame.from == replica.me {
            self.handle_same_incarnation(started.start, replica, output).map_err(failure(options))?;
            return Ok(false);
        }
        if !replica.members.contains(frame.from) {
            return Ok(true);
        }
        let member = frame.from.raft_id();
        let was_heard = replica.starts.get(&member).is_some_and(|heard| {
            heard.is_challenged() || heard.accepted().is_some_and(|accepted| !accepted.is_same(started.start))
        });
        if !replica.accepts(member, started) {
            self.query(frame.from, started.start, replica, output);
            return Ok(false);
        }
        let accepted = replica.starts.get(&member).and_then(MemberStarts::accepted);
        if accepted.is_none_or(|accepted| !accepted.is_same(started.start)) {
            replica.accept_start(member, started.start);
            if was_heard {
                // The information that it sent before it was accepted is lost.
                output.send(Target::One(frame.from), member_info(options, true));
            }
        }
        Ok(true)
    }

    /// Queries all processes of an incarnation for their start, at intervals.
    fn query(&mut self, to: Incarnation, start: Start, replica: &mut Replica, output: &mut Output) {
        let record = replica.members.start(to.raft_id());
        let heard = replica.starts.entry(to.raft_id()).or_default();
        let known = heard.accepted().or(record);
        let token = self.last_token + 1;
        if heard.is_query_due(start, token, replica.liveness.now(), replica.timing.heartbeat()) {
            self.last_token = token;
            output.send(Target::One(to), StartMessage::Query { token, known });
        }
    }

    /// Accepted from every node of our cluster, and from starts that are not accepted: such a start may be the only one
    /// that is left, and a log that lags behind does not know all members.
    fn handle_message(
        &mut self,
        from: Incarnation,
        start: Option<Start>,
        message: StartMessage,
        replica: &mut Replica,
        output: &mut Output,
    ) -> Result<(), Refused> {
        let is_own = |start| self.own.as_ref().is_some_and(|own| own.current().is_same(start));
        match message {
            StartMessage::Query { token, known } => {
                if let Some(own) = self.own.as_ref().filter(|_| !start.is_some_and(is_own)) {
                    if known.is_some_and(|known| !own.knows(known)) {
                        return Err(Refused::Outdated);
                    }
                    let last_index = own.last_index;
                    output.send(Target::One(from), StartMessage::Reply { token, last_index });
                }
            }
            StartMessage::Reply { token, last_index } => {
                if let Some(start) = start.filter(|start| !is_own(*start)) {
                    self.handle_reply(from, start, token, last_index, replica, output);
                }
            }
            StartMessage::Refused { start, why } => {
                if is_own(start) {
                    return Err(why);
                }
            }
        }
        Ok(())
    }

    fn handle_reply(
        &mut self,
        from: Incarnation,
        start: Start,
        token: u64,
        last_index: u64,
        replica: &mut Replica,
        output: &mut Output,
    ) {
        let member = from.raft_id();
        let reply = StartReply {
            start,
            token,
            record: replica.members.start(member),
            is_outdated: last_index < replica.acknowledged(member),
            is_free: replica.is_free(member, start),
        };
        let heard = replica.starts.get_mut(&member);
        let Some((start, why)) = heard.and_then(|heard| heard.handle_reply(&reply, replica.liveness.now()))
        else {
            return;
        };
        output.send(Target::One(from), StartMessage::Refused { start, why });
        if let Some(id) = replica.members.id(member).cloned()
            && self.reported.len() < REPORTED_MAX
            && self.reported.insert(start)
        {
            output.warn(Warning::StorageCopied { id });
        }
    }

    /// A frame of this node's own incarnation. Other members decide about copies; the only member of a cluster decides
    /// itself, and the later start stops.
    fn handle_same_incarnation(
        &mut self,
        start: Start,
        replica: &mut Replica,
        output: &mut Output,
    ) -> Result<(), Refused> {
        let me = replica.me;
        let Some(current) = self.own.as_ref().map(OwnStarts::current) else { return Ok(()) };
        if start.is_same(current) || replica.members.iter().len() > 1 {
            return Ok(());
        }
        if !replica.starts.entry(me.raft_id()).or_default().has_answered(start) {
            self.query(me, start, replica, output);
        } else if start < current {
            return Err(Refused::Copy);
        }
        Ok(())
    }

    /// Applies the recorded starts.
    pub(super) fn apply(
        &self,
        starts: Vec<(RaftId, Start)>,
        replica: &mut Replica,
        options: &Options,
        output: &mut Output,
    ) -> Result<(), Error> {
        for (member, start) in starts {
            replica.members.set_start(member, start);
            let accepted = replica.starts.get(&member).and_then(MemberStarts::accepted);
            if member != replica.me.raft_id()
                && replica.members.start(member) == Some(start)
                && accepted
                    .is_some_and(|accepted| accepted.number <= start.number && !accepted.is_same(start))
            {
                replica.accept_start(member, start);
                if let Some(changed) = replica.members.incarnation(member) {
                    output.send(Target::One(changed), member_info(options, true));
                }
            }
        }
        self.check_own(replica, options)
    }

    /// A recorded start that this directory does not know is that of another directory.
    pub(super) fn check_own(&self, replica: &Replica, options: &Options) -> Result<(), Error> {
        let recorded = replica.members.start(replica.me.raft_id());
        let is_unknown = |own: &OwnStarts| recorded.is_some_and(|recorded| !own.knows(recorded));
        match self.own.as_ref().is_some_and(is_unknown) {
            true => Err(failure(options)(Refused::Outdated)),
            false => Ok(()),
        }
    }

    /// As a leader: records the accepted starts in the log.
    pub(super) fn record(&self, replica: &mut Replica) {
        let Some(leader_state) = replica.leader_state.as_mut().filter(|_| replica.group.accepts_proposals())
        else {
            return;
        };
        if !leader_state.sessions.is_open() || replica.delivered_index < leader_state.recorded_at {
            return;
        }
        let accepted = |member: RaftId| match member == replica.me.raft_id() {
            true => self.own.as_ref().map(OwnStarts::current),
            false => replica.starts.get(&member).and_then(MemberStarts::accepted),
        };
        let starts = replica.members.iter().filter_map(|(member, ..)| Some((member, accepted(member)?)));
        // The record may have a newer start than the accepted one, which would be proposed again and again.
        let is_new = |(member, start): &(RaftId, Start)| {
            let is_new = replica.members.is_new_start(*member, *start);
            injected_bug!(RecordsOlderStart, is_new => replica.members.start(*member) != Some(*start));
            is_new
        };
        let starts: Vec<(RaftId, Start)> = starts.filter(is_new).collect();
        if !starts.is_empty()
            && replica
                .group
                .propose(vec![(Context::Started { starts }.encode().into(), Bytes::new())])
                .is_ok()
        {
            leader_state.recorded_at = replica.group.last_index();
        }
    }
}

/// The error with which a refused process ends.
fn failure(options: &Options) -> impl Fn(Refused) -> Error + '_ {
    |why| match why {
        Refused::Copy => Error::StorageCopied { id: options.id.to_string() },
        Refused::Outdated => Error::StorageOutdated { id: options.id.to_string() },
    }
}
