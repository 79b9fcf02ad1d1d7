//! Packs: frames of several links for links of one other process, which travel as one message.
//!
//! Filled by the writer of batches, read by the subscriber. Each process that has several links listens to a topic of
//! its own, and packs what it sends; so its peers learn which links are there, and send to that topic what they have
//! for them. A process forgets that after `patience`: an incarnation may return in another process. Frames for links
//! of unknown processes are sent to the link alone. A link that is alone in its process packs nothing.
//!
//! | bytes | field |
//! |---|---|
//! | 16 | the process that sends |
//! | 8 | of each frame: fingerprint of the channel |
//! | 16 | incarnation of the receiver |
//! | 16 | incarnation of the sender |
//! | 4 | length of the frame, big-endian; the frame follows |
//!
//! A frame is what the link sent: a sealed one stays sealed.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes};
use redis::Cmd;
use uuid::Uuid;

use super::{super::lock, redis_link::Batch, topics::Address};
use crate::raft::Target;

/// Longer frames travel alone. So does a pack of this length: a long message delays those behind it.
const PACK_BYTES_MAX: usize = 64 << 10;

/// The limit of known links of other processes: any client may publish into our topics.
const PEERS_MAX: usize = 65_536;

/// After so many echoes that were not heard, nothing is packed any more: the user may have lost the right.
const ECHOES_UNHEARD_MAX: u32 = 4;

pub(super) struct Packing {
    me: Uuid,
    topic: String,
    patience: Duration,
    /// There are several links.
    is_wanted: AtomicBool,
    /// The topic of this process is subscribed in the present session.
    is_subscribed: AtomicBool,
    /// What this process sends to such a topic arrives.
    is_proven: AtomicBool,
    echoes_unheard: AtomicU32,
    /// Where links of other processes are, and when they were last heard.
    peers: Mutex<HashMap<Address, (Uuid, Instant)>>,
}

/// A frame in a pack.
pub(super) struct Packed {
    pub(super) to: Address,
    pub(super) frame: Bytes,
}

impl Packing {
    pub(super) fn new(patience: Duration) -> Self {
        let me = Uuid::new_v4();
        Self {
            me,
            topic: topic_of(me),
            patience,
            is_wanted: AtomicBool::new(false),
            is_subscribed: AtomicBool::new(false),
            is_proven: AtomicBool::new(false),
            echoes_unheard: AtomicU32::new(0),
            peers: Mutex::default(),
        }
    }

    /// The topic of this process.
    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    pub(super) fn set_wanted(&self, is_wanted: bool) {
        self.is_wanted.store(is_wanted, Ordering::Relaxed);
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Relaxed)
    }

    /// The topic is subscribed, or a session has ended.
    pub(super) fn set_subscribed(&self, is_subscribed: bool) {
        self.is_proven.store(false, Ordering::Relaxed);
        self.echoes_unheard.store(0, Ordering::Relaxed);
        self.is_subscribed.store(is_subscribed, Ordering::Relaxed);
    }

    /// An empty pack to this process itself, if its topic is in use. To be called again only when everything that was
    /// published before the last call has arrived or is lost.
    pub(super) fn echo(&self) -> Option<Cmd> {
        if !self.is_subscribed.load(Ordering::Relaxed) || !self.is_wanted() {
            return None;
        }
        if self.echoes_unheard.fetch_add(1, Ordering::Relaxed) >= ECHOES_UNHEARD_MAX {
            self.is_proven.store(false, Ordering::Relaxed);
        }
        Some(publish(&self.topic, self.me.as_bytes()))
    }

    /// The frames of a pack in the topic of this process, or of the link with this address.
    pub(super) fn read(&self, mut pack: Bytes, link: Option<Address>) -> Vec<Packed> {
        let mut frames = Vec::new();
        if pack.len() < size_of::<Uuid>() {
            return frames;
        }
        let process = Uuid::from_u128(pack.get_u128());
        if process == self.me && link.is_none() && pack.is_empty() {
            self.echoes_unheard.store(0, Ordering::Relaxed);
            self.is_proven.store(true, Ordering::Relaxed);
        }
        let mut peers = lock(&self.peers);
        let now = Instant::now();
        while pack.len() >= Address::BYTES + size_of::<u128>() + size_of::<u32>() {
            let (channel, to, from) = (pack.get_u64(), pack.get_u128(), pack.get_u128());
            let length = pack.get_u32() as usize;
            if pack.len() < length {
                break;
            }
            let frame = pack.split_to(length);
            let to = Address::new(channel, to);
            if link.is_some_and(|link| link != to) {
                continue;
            }
            frames.push(Packed { to, frame });
            let peer = Address::new(channel, from);
            if peers.len() >= PEERS_MAX && !peers.contains_key(&peer) {
                peers.retain(|_, (_, heard)| now.duration_since(*heard) < self.patience);
            }
            if peers.len() < PEERS_MAX || peers.contains_key(&peer) {
                peers.insert(peer, (process, now));
            }
        }
        frames
    }

    /// The commands that publish a batch. The frames of a link to a receiver keep their order.
    pub(super) fn commands(&self, batch: Batch) -> Vec<Cmd> {
        let mut commands = Vec::new();
        if !self.is_proven.load(Ordering::Relaxed) || !self.is_wanted() {
            for (link, frames) in batch {
                commands.extend(frames.iter().map(|frame| link.topics.publish(frame)));
            }
            return commands;
        }
        let peers = lock(&self.peers);
        let now = Instant::now();
        let process_of = |address: &Address| {
            peers
                .get(address)
                .filter(|(_, heard)| now.duration_since(*heard) < self.patience)
                .map(|(process, _)| *process)
        };
        let mut packs: Vec<(Destination, Vec<u8>)> = Vec::new();
        // The links with frames in these packs.
        let mut packed: HashSet<Address> = HashSet::new();
        for (link, frames) in batch {
            for (to, frame) in frames {
                let receiver = match to {
                    Target::One(receiver) if frame.len() <= PACK_BYTES_MAX => receiver,
                    Target::One(_) | Target::All => {
                        // What the link has sent before must not arrive later.
                        if packed.contains(&link.topics.address()) {
                            commands.extend(packs.drain(..).map(close));
                            packed.clear();
                        }
                        commands.push(link.topics.publish(&(to, frame)));
                        continue;
                    }
                };
                packed.insert(link.topics.address());
                let address = link.topics.address().of(receiver);
                let destination = match process_of(&address) {
                    Some(process) => Destination::Process(process),
                    None => Destination::Link(link.topics.pack_of(receiver)),
                };
                let open = packs.iter_mut().find(|(other, _)| *other == destination);
                let pack = match open {
                    Some((_, pack)) => pack,
                    None => {
                        packs.push((destination.clone(), self.me.as_bytes().to_vec()));
                        &mut packs.last_mut().expect("it was just pushed").1
                    }
                };
                if pack.len() + frame.len() > PACK_BYTES_MAX && pack.len() > size_of::<Uuid>() {
                    let full = std::mem::replace(pack, self.me.as_bytes().to_vec());
                    commands.push(close((destination, full)));
                }
                address.write(pack);
                pack.extend_from_slice(link.topics.me().as_bytes());
                pack.extend_from_slice(&(frame.len() as u32).to_be_bytes());
                pack.extend_from_slice(&frame);
            }
        }
        commands.extend(packs.drain(..).map(close));
        commands
    }
}

/// Where a pack goes.
#[derive(Clone, PartialEq, Eq)]
enum Destination {
    Process(Uuid),
    /// To the topic of one link, whose process is not known.
    Link(String),
}

fn close((destination, pack): (Destination, Vec<u8>)) -> Cmd {
    match destination {
        Destination::Process(process) => publish(&topic_of(process), &pack),
        Destination::Link(topic) => publish(&topic, &pack),
    }
}

fn topic_of(process: Uuid) -> String {
    format!("conflux:process:{process}")
}

fn publish(topic: &str, payload: &[u8]) -> Cmd {
    let mut command = Cmd::with_capacity(3, topic.len() + payload.len() + 32);
    command.arg("PUBLISH").arg(topic).arg(payload);
    command.set_no_response(true);
    command
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{
        super::{super::marker::Marker, redis_link::RedisLink, topics::Topics},
        *,
    };
    use crate::raft::Incarnation;

    const PATIENCE: Duration = Duration::from_secs(1_000);

    fn link(channel: &str, number: u128) -> Arc<RedisLink> {
        let topics = Topics::new(0, channel, Incarnation::from_u128(number));
        Arc::new(RedisLink::new(topics, Marker::default()))
    }

    /// Of a process with several links, whose topic works.
    fn packing() -> Packing {
        let packing = Packing::new(PATIENCE);
        packing.set_wanted(true);
        packing.set_subscribed(true);
        assert!(packing.echo().is_some());
        assert_eq!(packing.read(Bytes::copy_from_slice(packing.me.as_bytes()), None).len(), 0);
        packing
    }

    fn to(number: u128, frame: &str) -> (Target, Bytes) {
        (Target::One(Incarnation::from_u128(number)), Bytes::copy_from_slice(frame.as_bytes()))
    }

    /// The topic and the payload of each command.
    fn published(commands: &[Cmd]) -> Vec<(String, Bytes)> {
        let published = commands.iter().map(|command| {
            let arguments: Vec<Bytes> = command
                .args_iter()
                .map(|argument| match argument {
                    redis::Arg::Simple(bytes) => Bytes::copy_from_slice(bytes),
                    _ => panic!("a PUBLISH has no cursor"),
                })
                .collect();
            (String::from_utf8(arguments[1].to_vec()).expect("topics are text"), arguments[2].clone())
        });
        published.collect()
    }

    fn frames(packed: &[Packed]) -> Vec<(Address, &[u8])> {
        packed.iter().map(|packed| (packed.to, &packed.frame[..])).collect()
    }

    #[test]
    fn links_of_two_processes_share_messages_once_one_has_heard_the_other() {
        let (here, there) = (packing(), packing());
        let [a1, b1, a2, b2] =
            [("a", 1), ("b", 1), ("a", 2), ("b", 2)].map(|(name, number)| link(name, number));

        // Nothing is known: a message for each receiver, in its own topic.
        let first =
            here.commands(vec![(a1.clone(), vec![to(2, "1")]), (b1.clone(), vec![to(2, "2"), to(2, "3")])]);
        let first = published(&first);
        assert_eq!(first.len(), 2);
        for ((topic, pack), (link, expected)) in
            first.into_iter().zip([(&a2, &[b"1"][..]), (&b2, &[b"2", b"3"][..])])
        {
            assert_eq!(topic, link.topics.pack_of(link.topics.me()));
            let packed = there.read(pack, Some(link.topics.address()));
            let expected: Vec<_> = expected.iter().map(|frame| (link.topics.address(), &frame[..])).collect();
            assert_eq!(frames(&packed), expected);
        }

        // The answers share one message to the process that was heard.
        let answers = there.commands(vec![(a2.clone(), vec![to(1, "4")]), (b2.clone(), vec![to(1, "5")])]);
        let answers = published(&answers);
        let [(topic, pack)] = &answers[..] else { panic!("{answers:?}") };
        assert_eq!(topic, here.topic());
        let packed = here.read(pack.clone(), None);
        assert_eq!(frames(&packed), [(a1.topics.address(), &b"4"[..]), (b1.topics.address(), &b"5"[..])]);
    }

    #[test]
    fn what_is_not_packed_keeps_its_place() {
        let here = packing();
        let a1 = link("a", 1);
        let large = "x".repeat(PACK_BYTES_MAX + 1);
        let all = (Target::All, Bytes::from("all"));
        let commands =
            here.commands(vec![(a1.clone(), vec![to(2, "1"), all, to(2, "2"), to(2, &large), to(2, "3")])]);
        let topics: Vec<String> = published(&commands).into_iter().map(|(topic, _)| topic).collect();
        let pack = a1.topics.pack_of(Incarnation::from_u128(2));
        let mine = Topics::new(0, "a", Incarnation::from_u128(2));
        assert_eq!(topics, [&pack, mine.all(), &pack, mine.mine(), &pack]);
    }

    #[test]
    fn a_pack_has_a_limit() {
        let here = packing();
        let frame = "x".repeat(PACK_BYTES_MAX / 3);
        let commands = here.commands(vec![(link("a", 1), (0..10).map(|_| to(2, &frame)).collect())]);
        let published = published(&commands);
        assert_eq!(published.len(), 5);
        assert!(published.iter().all(|(_, pack)| pack.len() < PACK_BYTES_MAX + 1_000));
    }

    #[test]
    fn without_the_right_or_with_one_link_nothing_is_packed() {
        let a1 = link("a", 1);
        let mine = Topics::new(0, "a", Incarnation::from_u128(2));
        let topic_of_one = |packing: &Packing| {
            let commands = packing.commands(vec![(a1.clone(), vec![to(2, "1")])]);
            published(&commands)[0].0.clone()
        };
        let refused = Packing::new(PATIENCE);
        refused.set_wanted(true);
        refused.set_subscribed(true);
        assert_eq!(topic_of_one(&refused), mine.mine(), "its echo was not heard");

        let lost = packing();
        for _ in 0..ECHOES_UNHEARD_MAX {
            assert!(lost.echo().is_some());
            assert_ne!(topic_of_one(&lost), mine.mine());
        }
        assert!(lost.echo().is_some());
        assert_eq!(topic_of_one(&lost), mine.mine(), "its echoes are not heard any more");

        let single = packing();
        single.set_wanted(false);
        assert_eq!(topic_of_one(&single), mine.mine(), "it has one link");
    }

    #[test]
    fn a_peer_that_was_not_heard_for_long_is_not_known() {
        let (here, mut there) = (packing(), packing());
        there.patience = Duration::ZERO;
        let [a1, a2] = [1, 2].map(|number| link("a", number));
        let pack = published(&here.commands(vec![(a1.clone(), vec![to(2, "1")])])).remove(0).1;
        assert_eq!(there.read(pack, None).len(), 1);
        let answer = published(&there.commands(vec![(a2, vec![to(1, "2")])])).remove(0);
        assert_eq!(answer.0, a1.topics.pack_of(a1.topics.me()));
    }

    #[test]
    fn no_bytes_make_reading_panic_and_a_link_hears_only_what_is_its_own() {
        let (here, there) = (packing(), packing());
        let a1 = link("a", 1);
        let frames = vec![to(2, "one"), to(3, "another")];
        let pack = published(&here.commands(vec![(a1, frames)])).remove(0).1;
        for length in 0..pack.len() {
            assert_eq!(there.read(pack.slice(..length), None).len(), 0, "{length}");
        }
        let other = link("a", 3).topics.address();
        assert_eq!(there.read(pack.clone(), Some(other)).len(), 0);
        assert_eq!(there.read(pack, None).len(), 1);
        assert_eq!(there.read(Bytes::from(vec![u8::MAX; 100]), None).len(), 0);
    }
}
