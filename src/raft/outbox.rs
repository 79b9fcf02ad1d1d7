//! Collects the messages of one turn, so that each peer receives one frame.

use bytes::Bytes;

use super::events::Target;
use super::frame::{Frame, Message, Started};
use super::identity::{ClusterUuid, Incarnation};

/// A frame is closed when it holds about this much; a turn that says more makes several.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// Messages of one turn, by target, in the order in which targets were first spoken to.
#[derive(Debug, Default)]
pub struct Outbox {
    pages: Vec<Page>,
}

#[derive(Debug)]
struct Page {
    target: Target,
    messages: Vec<Message>,
    bytes: usize,
}

impl Outbox {
    pub fn push(&mut self, target: Target, message: Message) {
        let bytes = size(&message);
        let open = self.pages.iter_mut().rev().find(|page| page.target == target);
        match open.filter(|page| page.bytes + bytes <= FRAME_BYTES_MAX) {
            Some(page) => {
                page.bytes += bytes;
                page.messages.push(message);
            }
            None => self.pages.push(Page { target, messages: vec![message], bytes }),
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
    ) -> impl Iterator<Item = (Target, Bytes)> + '_ {
        self.pages.drain(..).map(move |page| {
            let to = match page.target {
                Target::All => None,
                Target::One(incarnation) => Some(incarnation),
            };
            (page.target, Frame { cluster, from, start, to, messages: page.messages }.encode())
        })
    }
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
