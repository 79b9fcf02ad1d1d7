//! Collects the messages of one turn, so that each peer receives one frame.

use super::frame::{EncodedMessages, Frame, Receivers, Started};
use super::message::{Message, RaftKind, SnapshotMessage};
use crate::raft::events::{Lane, Work};
use crate::raft::identity::{ClusterUuid, Incarnation};

/// A frame is closed when it holds about this much; a turn with more messages makes several.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// Messages of both lanes share a frame up to about this size: a second frame costs more than the wait.
const MIXED_FRAME_BYTES_MAX: usize = 16 << 10;

/// Messages of one turn, by receivers, in the order of the first message to them.
#[derive(Debug, Default)]
pub struct Outbox {
    pages: Vec<Page>,
}

#[derive(Debug)]
struct Page {
    receivers: Receivers,
    lane: Lane,
    messages: Vec<Message>,
    bytes: usize,
}

impl Outbox {
    pub fn push(&mut self, receivers: Receivers, message: Message) {
        let (bytes, lane) = (size(&message), lane(&message));
        let mut open = self.pages.iter_mut().rev().filter(|page| page.receivers == receivers);
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
            None => self.pages.push(Page { receivers, lane, messages: vec![message], bytes }),
        }
    }

    /// Drops the messages so far: their sender has ended.
    pub fn clear(&mut self) {
        self.pages.clear();
    }

    pub fn seal(
        &mut self,
        cluster: ClusterUuid,
        from: Incarnation,
        start: Option<Started>,
    ) -> impl Iterator<Item = Work> + '_ {
        let mut encoded: Vec<(Vec<Message>, EncodedMessages)> = Vec::new();
        self.pages.drain(..).map(move |page| {
            // Followers that keep up receive the same append.
            let known = encoded.iter().position(|(messages, _)| *messages == page.messages);
            let known = known.unwrap_or_else(|| {
                let messages = EncodedMessages::new(&page.messages, page.bytes);
                encoded.push((page.messages, messages));
                encoded.len() - 1
            });
            let frame = Frame::of(cluster, from, start, &page.receivers, &encoded[known].1);
            Work::Send(page.receivers.target(), page.lane, frame)
        })
    }
}

/// Requests and their outcomes may be large; appends must keep their order among each other.
fn lane(message: &Message) -> Lane {
    let is_bulk = match message {
        Message::Raft(raft) => raft.kind == RaftKind::Append,
        Message::Snapshot(snapshot) => matches!(snapshot, SnapshotMessage::Chunk(_)),
        message => matches!(message, Message::Requests(_) | Message::Outcomes { .. }),
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
        Message::Snapshot(SnapshotMessage::ChunkReceived { held, .. }) => SMALL + held.len() * 16,
        // A chunk fills a frame, so that a large state never travels in larger pieces.
        Message::Snapshot(SnapshotMessage::Chunk(chunk)) => FRAME_BYTES_MAX.max(chunk.bytes.len()),
        Message::Received { .. }
        | Message::Bootstrap(_)
        | Message::Start(_)
        | Message::Membership(_)
        | Message::Operation(_)
        | Message::Divergence(_)
        | Message::Recovery(_)
        | Message::Liveness(_) => SMALL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::wire::items::RequestItem;
    use crate::raft::wire::message::{LivenessMessage, Requests};

    const CONTROL: Message = Message::Liveness(LivenessMessage::AppProbe);

    fn requests(floor: u64, bytes: usize) -> Message {
        let item = RequestItem {
            sequence: floor,
            after: 0,
            method: "m".into(),
            args: vec![b'0'; bytes].into(),
            attempts: 0,
            session: 0,
        };
        Message::Requests(Requests { term: 1, start: 1, floor, requests: vec![item] })
    }

    /// The lane of each frame to all, and what it holds: the floors of requests, 0 for a control message.
    fn sealed(messages: impl IntoIterator<Item = Message>) -> Vec<(Lane, Vec<u64>)> {
        let mut outbox = Outbox::default();
        messages.into_iter().for_each(|message| outbox.push(Receivers::All, message));
        let work = outbox.seal(ClusterUuid::NONE, Incarnation::from_u128(1), None);
        work.map(|work| {
            let Work::Send(_, lane, bytes) = work else { panic!("{work:?}") };
            let messages = Frame::decode(&bytes).expect("it is a frame").messages;
            let floors = messages.iter().map(|message| match message {
                Message::Requests(requests) => requests.floor,
                message => {
                    assert_eq!(*message, CONTROL);
                    0
                }
            });
            (lane, floors.collect())
        })
        .collect()
    }

    #[test]
    fn control_messages_do_not_wait_for_large_bulk_data() {
        let large = 2 * MIXED_FRAME_BYTES_MAX;
        assert_eq!(
            sealed([requests(1, large), CONTROL, requests(2, large), CONTROL]),
            [(Lane::Bulk, vec![1, 2]), (Lane::Control, vec![0, 0])]
        );
        assert_eq!(
            sealed([CONTROL, requests(1, large), CONTROL]),
            [(Lane::Control, vec![0, 0]), (Lane::Bulk, vec![1])]
        );
    }

    #[test]
    fn small_messages_of_both_lanes_share_a_bulk_frame() {
        assert_eq!(sealed([CONTROL, requests(1, 10), CONTROL]), [(Lane::Bulk, vec![0, 1, 0])]);
    }

    #[test]
    fn bulk_messages_keep_their_order_over_several_frames() {
        let bytes = [10, FRAME_BYTES_MAX / 2, 10, FRAME_BYTES_MAX, 10, MIXED_FRAME_BYTES_MAX, 10];
        let messages = (1..).zip(bytes).flat_map(|(floor, bytes)| [requests(floor, bytes), CONTROL]);
        let frames = sealed(messages);
        assert!(frames.len() > 2, "{frames:?}");
        let bulk = frames.iter().filter(|(lane, _)| *lane == Lane::Bulk).flat_map(|(_, floors)| floors);
        assert!(bulk.filter(|floor| **floor > 0).copied().eq(1..=7), "{frames:?}");
    }
}
