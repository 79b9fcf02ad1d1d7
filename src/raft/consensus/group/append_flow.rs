//! Limits the appends to a peer to what its link carries.
//!
//! Part of `group.rs`. raft-rs limits the number of appends in flight (`window.rs`). On a slow line these would take
//! seconds, and the heartbeats would wait behind them (`pace.rs`). Appends therefore wait here, in order; other
//! messages overtake them.

use std::collections::VecDeque;

use raft_rs::ProgressState;
use raft_rs::eraftpb::{Message, MessageType};

use super::{APPEND_BYTES_MAX, RaftGroup, window};
use crate::raft::consensus::pace::{Flight, Pace};
use crate::raft::consensus::timing::Timing;
use crate::raft::identity::RaftId;
use crate::raft::options::Options;
use crate::raft::wire;
use crate::raft::wire::items::WireEntry;
use crate::raft::wire::message::{RaftKind, RaftMessage};

/// The limit of raft-rs for one peer.
const BYTES_MAX: usize = window::APPENDS_MAX * APPEND_BYTES_MAX as usize;

/// Appends to one peer, by this leader.
///
/// Invariants:
/// - what is in flight and what waits are contiguous in the log, from `begin` (exclusive) to `last_index`;
/// - the peer has everything up to `matched`, which is not behind `begin`;
/// - an append of raft-rs waits until it leaves, or until raft-rs repeats it.
#[derive(Debug)]
pub(super) struct AppendFlow {
    pace: Pace,
    matched: u64,
    begin: u64,
    flights: VecDeque<(u64, Flight)>,
    waiting: VecDeque<RaftMessage>,
    last_index: u64,
    /// The last append that left, without its entries.
    last_left: Option<RaftMessage>,
    /// Nothing has been acknowledged for so long that the peer is asked what it has.
    asks: bool,
    asked_at: u64,
    /// The number of appends that may be in flight.
    appends_max: usize,
}

impl AppendFlow {
    fn new(pace: Pace) -> Self {
        Self {
            pace,
            matched: 0,
            begin: 0,
            flights: VecDeque::new(),
            waiting: VecDeque::new(),
            last_index: 0,
            last_left: None,
            asks: false,
            asked_at: 0,
            appends_max: window::APPENDS_MAX,
        }
    }

    /// Adds an append, and takes what may leave.
    ///
    /// raft-rs does not know which entries are in flight, and sends them again with each heartbeat that a peer answers.
    /// Only new entries are added: a leader's log only grows (paper §5.3).
    fn add(&mut self, mut message: RaftMessage, now: u64, leaving: &mut Vec<RaftMessage>) {
        let is_late = self.flights.front().is_some_and(|(_, flight)| self.pace.is_late(*flight, now));
        // raft-rs may begin before what is acknowledged: a rejection is late, or the member never saved what its
        // receipt named.
        if is_late {
            self.matched = self.matched.min(message.index);
        }
        let acknowledged = self.matched.saturating_sub(message.index) as usize;
        if acknowledged > 0 {
            if acknowledged >= message.entries.len() {
                return;
            }
            message = cut(&mut message, acknowledged);
        }
        let is_on_its_way = (self.begin..self.last_index).contains(&message.index) && !is_late;
        if message.index != self.last_index && !is_on_its_way {
            self.begin_anew(message.index);
        }
        let known = self.last_index.saturating_sub(message.index) as usize;
        if known > 0 {
            if known >= message.entries.len() {
                return;
            }
            message = cut(&mut message, known);
        }
        self.last_index = message.index + message.entries.len() as u64;
        match self.waiting.back_mut() {
            // An append without entries is not sent if an earlier append can carry its commit index.
            Some(last) if message.entries.is_empty() => {
                last.commit = last.commit.max(message.commit);
                last.asks |= message.asks;
            }
            Some(_) => self.waiting.push_back(message),
            None if message.entries.is_empty() => leaving.push(message),
            None => {
                self.waiting.push_back(message);
                self.release(now, leaving);
            }
        }
    }

    /// The peer has no entry behind this index of what was sent.
    fn begin_anew(&mut self, index: u64) {
        self.waiting.clear();
        for (_, flight) in self.flights.drain(..) {
            self.pace.ended(flight);
        }
        (self.begin, self.last_index) = (index, index);
        (self.last_left, self.asks) = (None, false);
    }

    fn release(&mut self, now: u64, leaving: &mut Vec<RaftMessage>) {
        while let Some(first) = self.waiting.front_mut() {
            let piece = self.pace.piece().min(APPEND_BYTES_MAX as usize);
            let (count, bytes) = piece_of(&first.entries, piece);
            let has_room = self.pace.has_room(bytes);
            injected_bug!(IgnoresLine, has_room => true);
            injected_bug!(SendsWithoutWindow, has_room => true);
            if !has_room {
                return;
            }
            let rest = cut(first, count);
            let mut message = std::mem::replace(first, rest);
            if first.entries.is_empty() {
                self.waiting.pop_front();
            }
            let last = message.entries.last().expect("what waits has entries");
            let (index, log_term) = (last.index, last.term);
            self.flights.push_back((index, self.pace.sent(bytes, now)));
            message.asks |= self.pace.is_half_used() || 2 * self.flights.len() >= self.appends_max;
            let context = message.context.clone();
            self.last_left = Some(RaftMessage {
                index,
                log_term,
                commit: 0,
                entries: Vec::new(),
                context,
                asks: true,
                ..message
            });
            leaving.push(message);
        }
    }

    /// The peer has everything up to this index.
    fn acknowledged(&mut self, index: u64, now: u64) {
        self.matched = self.matched.max(index);
        while let Some((last_index, flight)) = self.flights.front().copied()
            && last_index <= index
        {
            self.flights.pop_front();
            self.begin = last_index;
            if self.asked_at > flight.sent_at() {
                // It may have been lost, and the peer was asked for it: its delay does not measure the line.
                self.pace.arrived(flight);
            } else {
                self.pace.acknowledged(flight, now);
            }
        }
        while let Some(first) = self.waiting.front_mut()
            && first.index < self.matched
        {
            let known = (self.matched - first.index) as usize;
            if known < first.entries.len() {
                *first = cut(first, known);
            } else {
                self.waiting.pop_front();
            }
        }
        if self.begin < self.matched {
            self.begin = self.matched;
            self.last_index = self.last_index.max(self.matched);
        }
    }

    /// A tick has passed. An append that is not acknowledged for long may be lost, and raft-rs would notice with the
    /// next append. That one is empty, because the former may still be in flight: a peer that lacks entries rejects an
    /// empty append too.
    fn tick(&mut self, now: u64) {
        let Some((_, first)) = self.flights.front() else { return };
        if first.age(now).min(now - self.asked_at) >= self.pace.ask_ticks() {
            (self.asks, self.asked_at) = (true, now);
            self.pace.back_off();
        }
    }
}

/// How many entries a piece holds, at least one, and their bytes.
fn piece_of(entries: &[WireEntry], piece: usize) -> (usize, usize) {
    let mut bytes = entries.first().map_or(0, size);
    let more = entries.iter().skip(1).take_while(|entry| {
        let is_within = bytes + size(entry) <= piece;
        bytes += if is_within { size(entry) } else { 0 };
        is_within
    });
    (1 + more.count(), bytes)
}

/// Keeps this many entries in an append, and returns one with the others.
fn cut(message: &mut RaftMessage, count: usize) -> RaftMessage {
    let entries = message.entries.split_off(count);
    let last = message.entries.last().expect("a piece has an entry");
    let (index, log_term) = (last.index, last.term);
    RaftMessage { index, log_term, entries, context: message.context.clone(), ..*message }
}

fn size(entry: &WireEntry) -> usize {
    entry.data.len() + entry.context.len()
}

/// Whether the message is one that a learner sends more often than its leader needs.
fn is_answer(message: &RaftMessage) -> bool {
    matches!(message.kind, RaftKind::AppendResponse | RaftKind::HeartbeatResponse)
}

impl RaftGroup {
    /// Messages that may leave now, each with the peer it goes to.
    ///
    /// raft-rs also answers an append that only carries a commit index, so it acknowledges the same entries twice. The
    /// second acknowledgement within a tick is dropped. If the first was lost, a heartbeat's answer makes the leader
    /// ask again.
    pub fn take_messages(&mut self) -> Vec<(RaftId, RaftMessage)> {
        if !self.is_leader() {
            self.append_flows.clear();
        }
        let mut leaving = Vec::with_capacity(self.out.len());
        let asks_all = !self.out.is_empty() && self.needs_answers();
        for message in std::mem::take(&mut self.out) {
            let to = message.to;
            if message.get_msg_type() == MessageType::MsgAppendResponse {
                let now = (!message.reject).then_some((to, message.term, message.index));
                if std::mem::replace(&mut self.acknowledged, now) == now && now.is_some() {
                    continue;
                }
            }
            if message.get_msg_type() == MessageType::MsgSnapshot {
                self.append_flows.get_mut(&to).into_iter().for_each(|line| line.begin_anew(0));
                self.wants_snapshot.push(to);
            }
            let Some(mut message) = wire::outgoing(message) else { continue };
            message.asks = asks_all;
            if message.kind == RaftKind::Append && self.is_leader() {
                self.append_through_flow(to, message, &mut leaving);
            } else if is_answer(&message) && !self.votes() {
                let answer = self.learner_answers.pass(to, message, self.now, self.timing);
                leaving.extend(answer.map(|answer| (to, answer)));
            } else {
                leaving.extend(window::in_parts(message).into_iter().map(|part| (to, part)));
            }
        }
        self.release_append_flows(&mut leaving);
        leaving.extend(self.learner_answers.release(self.votes(), self.now, self.timing));
        leaving.append(&mut self.receipts);
        leaving
    }

    fn append_through_flow(
        &mut self,
        to: RaftId,
        mut message: RaftMessage,
        leaving: &mut Vec<(RaftId, RaftMessage)>,
    ) {
        let progress = self.raw.raft.prs().get(to);
        message.asks |= progress.is_some_and(|progress| progress.state != ProgressState::Replicate);
        let appends_max = self.appends_max(to);
        let line = self.append_flows.entry(to).or_insert_with(|| AppendFlow::new(self.pace.anew(BYTES_MAX)));
        line.appends_max = appends_max.unwrap_or(line.appends_max);
        let mut parts = Vec::new();
        line.add(message, self.now, &mut parts);
        leaving.extend(parts.into_iter().map(|part| (to, part)));
    }

    fn release_append_flows(&mut self, leaving: &mut Vec<(RaftId, RaftMessage)>) {
        for (to, line) in
            self.append_flows.iter_mut().filter(|(_, line)| line.asks || !line.waiting.is_empty())
        {
            let mut parts = Vec::new();
            line.release(self.now, &mut parts);
            if std::mem::take(&mut line.asks) {
                parts.extend(line.last_left.clone());
            }
            leaving.extend(parts.into_iter().map(|part| (*to, part)));
        }
    }

    /// As a leader: the answers of learners are needed now, because some may become voters, or be voters without
    /// knowing it.
    fn needs_answers(&self) -> bool {
        self.is_leader() && (self.has_pending_change() || self.is_joint() || !self.is_change_known())
    }

    /// A learner's acknowledgement waits for others.
    pub fn is_holding_answer(&self) -> bool {
        self.learner_answers.is_holding()
    }

    /// Appends to this member wait for its slow line.
    pub fn has_slow_line(&self, member: RaftId) -> bool {
        let line = self.append_flows.get(&member);
        line.is_some_and(|line| !line.waiting.is_empty() && line.pace.is_narrow())
    }

    pub(super) fn first_pace(options: &Options) -> Pace {
        Pace::new(Timing::new(options), BYTES_MAX)
    }

    /// Steps an answer to an append. raft-rs may send what was lost again, or see that the answer is late.
    pub(super) fn step_append_response(&mut self, message: Message) {
        let (from, is_rejected, index) = (message.from, message.reject, message.index);
        let is_ours = message.term == self.term();
        let next_index = |group: &Self| group.raw.raft.prs().get(from).map(|progress| progress.next_idx);
        let before = next_index(self);
        let _ = self.raw.step(message);
        let next = next_index(self);
        let Some(line) = self.append_flows.get_mut(&from).filter(|_| is_ours) else { return };
        match next.filter(|_| next < before) {
            Some(next) if is_rejected => line.begin_anew(next - 1),
            Some(_) | None if !is_rejected => line.acknowledged(index, self.now),
            Some(_) | None => {}
        }
    }

    /// A member has the log up to this index, saved or not; or, if it rejects, no entry behind it.
    pub(super) fn note_receipt(&mut self, from: RaftId, receipt: &RaftMessage) {
        let Some(line) = self.append_flows.get_mut(&from) else { return };
        if receipt.reject {
            line.begin_anew(self.raw.raft.prs().get(from).map_or(0, |progress| progress.next_idx - 1));
        } else if receipt.index > 0 {
            line.acknowledged(receipt.index, self.now);
        }
    }

    /// The member has a new process, which lacks what the former one had received and not saved.
    pub fn begin_append_flow(&mut self, member: RaftId) {
        self.append_flows.remove(&member);
    }

    pub(super) fn tick_append_flows(&mut self) {
        self.now += 1;
        self.append_flows.values_mut().for_each(|line| line.tick(self.now));
    }

    /// A member received an image taken at `index`, over a line that is measured by now: the log behind `index` comes
    /// next. If raft-rs did not request the image, it would begin where the log was when the member was admitted, or
    /// request another image.
    pub fn begin_behind_image(&mut self, to: RaftId, index: u64, pace: &Pace) {
        self.append_flows.insert(to, AppendFlow::new(pace.anew(BYTES_MAX)));
        let progress = self.raw.raft.mut_prs().get_mut(to);
        if let Some(progress) =
            progress.filter(|progress| progress.state == ProgressState::Probe && progress.matched < index)
        {
            progress.next_idx = index + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> AppendFlow {
        AppendFlow::new(Pace::new(Timing::new(&Options::new("any", 3, [0; 32])), BYTES_MAX))
    }

    /// An append of entries of 1 kB behind `index`.
    fn append(index: u64, count: u64) -> RaftMessage {
        let entry = |index| WireEntry {
            term: 2,
            index,
            is_change: false,
            data: vec![b'7'; 1_000].into(),
            context: bytes::Bytes::new(),
        };
        RaftMessage {
            kind: RaftKind::Append,
            term: 2,
            log_term: 2,
            index,
            commit: index,
            commit_term: 0,
            reject: false,
            reject_hint: 0,
            context: bytes::Bytes::new(),
            entries: (index + 1..=index + count).map(entry).collect(),
            asks: false,
        }
    }

    /// The indexes of what leaves.
    fn indexes(messages: &[RaftMessage]) -> Vec<u64> {
        for message in messages {
            assert_eq!(message.entries.first().map(|entry| entry.index), Some(message.index + 1));
        }
        messages.iter().flat_map(|message| message.entries.iter().map(|entry| entry.index)).collect()
    }

    #[test]
    fn a_large_append_leaves_as_its_parts_are_acknowledged_once_and_in_order() {
        let mut line = line();
        let (mut leaving, mut now) = (Vec::new(), 0);
        line.add(append(10, 300), now, &mut leaving);
        line.add(append(310, 1), now, &mut leaving);
        assert!(leaving.len() > 1 && indexes(&leaving).len() < 20, "{:?}", indexes(&leaving));
        let mut left = indexes(&leaving);
        while left.len() < 301 {
            now += 1;
            assert!(now < 100, "{left:?}");
            line.acknowledged(left.last().copied().expect("some left"), now);
            leaving.clear();
            line.release(now, &mut leaving);
            left.extend(indexes(&leaving));
        }
        assert_eq!(left, (11..=311).collect::<Vec<u64>>());
    }

    #[test]
    fn what_is_said_again_leaves_again_only_when_it_is_late() {
        let mut line = line();
        let mut leaving = Vec::new();
        line.add(append(10, 3), 0, &mut leaving);
        line.add(append(10, 3), 2, &mut leaving);
        assert_eq!(indexes(&leaving), [11, 12, 13]);
        // What is new of it leaves at once.
        line.add(append(10, 4), 2, &mut leaving);
        assert_eq!(indexes(&leaving), [11, 12, 13, 14]);
        leaving.clear();
        line.add(append(10, 4), 40, &mut leaving);
        assert_eq!(indexes(&leaving), [11, 12, 13, 14]);
    }

    /// raft-rs answers each acknowledgement by itself, and says from the first one on what the last one has
    /// acknowledged.
    #[test]
    fn what_is_acknowledged_does_not_leave() {
        let mut line = line();
        let mut leaving = Vec::new();
        line.add(append(10, 40), 0, &mut leaving);
        line.acknowledged(45, 1);
        leaving.clear();
        line.add(append(12, 50), 1, &mut leaving);
        line.release(1, &mut leaving);
        assert_eq!(indexes(&leaving)[..3], [46, 47, 48]);
    }

    #[test]
    fn what_is_late_leaves_again_also_if_it_is_said_again_with_what_was_acknowledged() {
        let mut line = line();
        let mut leaving = Vec::new();
        line.add(append(10, 2), 0, &mut leaving);
        line.acknowledged(12, 1);
        line.add(append(12, 3), 1, &mut leaving);
        leaving.clear();
        line.add(append(11, 4), 1_000, &mut leaving);
        assert_eq!(indexes(&leaving), [12, 13, 14, 15]);
    }

    #[test]
    fn a_peer_that_lacks_something_gets_it_again() {
        let mut line = line();
        let mut leaving = Vec::new();
        line.add(append(10, 3), 0, &mut leaving);
        line.add(append(13, 3), 0, &mut leaving);
        leaving.clear();
        // It has rejected what is behind 13.
        line.begin_anew(10);
        line.add(append(10, 6), 1, &mut leaving);
        assert_eq!(indexes(&leaving), [11, 12, 13, 14, 15, 16]);
    }

    /// Where all that was sent is lost, nothing would be sent any more.
    #[test]
    fn a_peer_that_acknowledges_nothing_for_long_is_asked_what_it_has_and_sent_nothing_large() {
        let mut line = line();
        let mut leaving = Vec::new();
        line.add(append(10, 300), 0, &mut leaving);
        let last = leaving.last().and_then(|message| message.entries.last()).expect("some left").index;
        let asked = (1..=300).filter(|now| {
            line.tick(*now);
            leaving.clear();
            line.release(*now, &mut leaving);
            assert!(leaving.is_empty(), "{:?}", indexes(&leaving));
            std::mem::take(&mut line.asks)
        });
        assert!((3..20).contains(&asked.count()));
        let asks = line.last_left.expect("something left");
        assert_eq!((asks.index, asks.log_term, asks.entries.len()), (last, 2, 0));
    }

    /// A peer whose appends do not wait learns at once what is committed; others learn it with their next append.
    #[test]
    fn that_something_is_committed_does_not_overtake_what_waits() {
        let mut line = line();
        let mut leaving = Vec::new();
        line.add(append(10, 3), 0, &mut leaving);
        line.add(RaftMessage { commit: 13, ..append(13, 0) }, 0, &mut leaving);
        assert_eq!(leaving.last().map(|message| (message.entries.len(), message.commit)), Some((0, 13)));
        line.add(append(13, 300), 0, &mut leaving);
        let count = leaving.len();
        line.add(RaftMessage { commit: 300, ..append(313, 0) }, 0, &mut leaving);
        assert_eq!(leaving.len(), count);
        assert_eq!(line.waiting.back().map(|message| message.commit), Some(300));
    }
}
