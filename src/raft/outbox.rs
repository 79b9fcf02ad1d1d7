//! Collects the messages of one turn, so that each peer receives one frame.

use super::events::{Lane, Target, Work};
use super::frame::{Frame, Message, RaftKind, Started};
use super::identity::{ClusterUuid, Incarnation};

/// A frame is closed when it holds about this much; a turn that says more makes several.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// Messages of both lanes share a frame up to about this size: a second frame costs more than the wait.
const MIXED_FRAME_BYTES_MAX: usize = 16 << 10;

/// Messages of one turn, by target, in the order in which targets were first spoken to.
#[derive(Debug, Default)]
pub struct Outbox {
    pages: Vec<Page>,
}

#[derive(Debug)]
struct Page {
    target: Target,
    lane: Lane,
    messages: Vec<Message>,
    bytes: usize,
}

impl Outbox {
    pub fn push(&mut self, target: Target, message: Message) {
        let (bytes, lane) = (size(&message), lane(&message));
        let mut open = self.pages.iter_mut().rev().filter(|page| page.target == target);
        // Of each lane only the last page is open: the messages of a lane keep their order.
        let page = open.find(|page| page.lane == lane || page.bytes + bytes <= MIXED_FRAME_BYTES_MAX);
        match page.filter(|page| page.bytes + bytes <= FRAME_BYTES_MAX) {
            Some(page) => {
                page.bytes += bytes;
                page.messages.push(message);
                if lane == Lane::Bulk {
                    page.lane = Lane::Bulk;
                }
            }
            None => self.pages.push(Page { target, lane, messages: vec![message], bytes }),
        }
    }

    /// What was said so far is not to leave: its sender is no more.
    pub fn clear(&mut self) {
        self.pages.clear();
    }

    pub fn seal(
        &mut self,
        cluster: ClusterUuid,
        from: Incarnation,
        start: Option<Started>,
    ) -> impl Iterator<Item = Work> + '_ {
        self.pages.drain(..).map(move |page| {
            let to = match page.target {
                Target::All => None,
                Target::One(incarnation) => Some(incarnation),
            };
            let frame = Frame { cluster, from, start, to, messages: page.messages };
            Work::Send(page.target, page.lane, frame.encode())
        })
    }
}

/// Requests and their outcomes may be large; appends must keep their order among each other.
fn lane(message: &Message) -> Lane {
    let is_bulk = match message {
        Message::Raft(raft) => raft.kind == RaftKind::Append,
        message => matches!(message, Message::Requests(_) | Message::Outcomes { .. } | Message::Chunk(_)),
    };
    if is_bulk { Lane::Bulk } else { Lane::Control }
}

/// About how many bytes a message takes; only those with payloads are ever large.
fn size(message: &Message) -> usize {
    const SMALL: usize = 64;
    match message {
        Message::Raft(raft) => {
            SMALL
                + raft.entries.iter().map(|entry| entry.data.len() + entry.context.len() + 24).sum::<usize>()
        }
        Message::Requests(requests) => {
            SMALL
                + requests.requests.iter().map(|item| item.args.len() + item.method.len() + 24).sum::<usize>()
        }
        Message::Outcomes { outcomes, .. } => {
            SMALL + outcomes.iter().map(|(_, outcome)| outcome.bytes()).sum::<usize>()
        }
        Message::ChunkReceived { held, .. } => SMALL + held.len() * 16,
        // A chunk fills a frame, so that a large state never travels in larger pieces.
        Message::Chunk(chunk) => FRAME_BYTES_MAX.max(chunk.bytes.len()),
        Message::Discover { .. }
        | Message::Accept(_)
        | Message::ClusterAnnouncement(_)
        | Message::IdInUse { .. }
        | Message::Closing { .. }
        | Message::Received { .. }
        | Message::MemberInfo { .. }
        | Message::Removed { .. }
        | Message::OperationRequest { .. }
        | Message::OperationReply { .. }
        | Message::StateHash { .. }
        | Message::Disagrees { .. }
        | Message::Diverged { .. }
        | Message::Recover
        | Message::RecoveryVoteRequest { .. }
        | Message::RecoveryVoteGranted
        | Message::RecoveryVoteRejected { .. }
        | Message::Released
        | Message::AppProbe
        | Message::AppProbeReply
        | Message::Unreachable { .. }
        | Message::OtherApplication { .. }
        | Message::StartQuery { .. }
        | Message::StartReply { .. }
        | Message::StartRefused { .. } => SMALL,
    }
}
