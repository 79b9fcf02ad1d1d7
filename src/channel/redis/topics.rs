//! Names the topics of a channel and encodes what is published in them.
//!
//! Used by the publisher, the subscriber and the watchdog. The db number is part of every name: pub/sub knows no db,
//! and without it a staging cluster in db 1 would join production in db 0.
//!
//! | topic | heard by | message |
//! |---|---|---|
//! | `conflux:{db}:{channel}` | all | the sender's incarnation (16 bytes), then the frame |
//! | `conflux:{db}:{channel}:{incarnation}` | that incarnation | the frame |
//! | `conflux:{db}:{channel}:{incarnation}:echo` | that incarnation | an echo: its number (8 bytes, big-endian) |
//! | `conflux:{db}:{channel}:{incarnation}:pack` | that incarnation | a pack with its frames |
//! | `conflux:process:{process}` | a process with several links | a pack (`packing.rs`) |
//!
//! No name of a channel makes two of them equal, unless it contains the incarnation of another channel's node.
//!
//! There are two keys: `conflux:{db}:{channel}:cluster`, the marker that a cluster runs, expires within seconds;
//! `conflux:{db}:{channel}:members`, the note of its members, outlives it by minutes. In a Redis Cluster the name of the
//! channel is in braces, so that one node owns both.

use std::time::Duration;

use bytes::{Buf, Bytes};
use redis::{Cmd, Msg, Value};
use ring::digest::{SHA256, digest};

use super::OutboundFrame;
use crate::raft::{Incarnation, Target};

/// The topics of one link.
#[derive(Clone)]
pub(super) struct Topics {
    me: Incarnation,
    all: String,
    mine: String,
    echo: String,
    pack: String,
    address: Address,
    marker: String,
    note: String,
}

/// A link among all links of a server: the fingerprint of its channel, and its incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Address {
    channel: u64,
    incarnation: Incarnation,
}

impl Address {
    pub(super) const BYTES: usize = 24;

    pub(super) fn new(channel: u64, incarnation: u128) -> Self {
        Self { channel, incarnation: Incarnation::from_u128(incarnation) }
    }

    /// That of another link on the same channel.
    pub(super) fn of(self, incarnation: Incarnation) -> Self {
        Self { incarnation, ..self }
    }

    pub(super) fn write(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.channel.to_be_bytes());
        bytes.extend_from_slice(self.incarnation.as_bytes());
    }
}

/// What was heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    Frame(Bytes),
    Pack(Bytes),
    Echo(u64),
}

impl Topics {
    /// What the marker holds; only its presence matters.
    const MARK: &str = "a conflux cluster runs";

    pub(super) fn new(db: i64, channel_name: &str, me: Incarnation) -> Self {
        let all = Self::channel(db, channel_name);
        let mine = format!("{all}:{me}");
        let echo = format!("{mine}:echo");
        let pack = format!("{mine}:pack");
        let hash = digest(&SHA256, all.as_bytes());
        let mut fingerprint = hash.as_ref();
        let address = Address { channel: fingerprint.get_u64(), incarnation: me };
        let marker = format!("{all}:cluster");
        let note = format!("{all}:members");
        Self { me, all, mine, echo, pack, address, marker, note }
    }

    /// The name of the channel on a server.
    pub(super) fn channel(db: i64, channel_name: &str) -> String {
        format!("conflux:{db}:{channel_name}")
    }

    /// A name whose slot in a Redis Cluster all names with this tag share.
    pub(super) fn tag(channel: &str) -> String {
        format!("{{{channel}}}")
    }

    /// With keys that one node of a Redis Cluster owns.
    pub(super) fn with_tagged_keys(self) -> Self {
        let tag = Self::tag(&self.all);
        Self { marker: format!("{tag}:cluster"), note: format!("{tag}:members"), ..self }
    }

    /// The topic that all of the channel hear, which names the channel.
    pub(super) fn all(&self) -> &str {
        &self.all
    }

    /// What a link subscribes to.
    pub(super) fn names(&self) -> [&str; 4] {
        [&self.all, &self.mine, &self.echo, &self.pack]
    }

    pub(super) fn me(&self) -> Incarnation {
        self.me
    }

    pub(super) fn address(&self) -> Address {
        self.address
    }

    /// The topic for packs with frames of one link of this channel.
    pub(super) fn pack_of(&self, incarnation: Incarnation) -> String {
        format!("{}:{incarnation}:pack", self.all)
    }

    #[cfg(test)]
    pub(super) fn mine(&self) -> &str {
        &self.mine
    }

    /// The command that keeps the marker for this long.
    pub(super) fn mark(&self, ttl: Duration) -> Cmd {
        let mut command = Cmd::new();
        command.arg("SET").arg(&self.marker).arg(Self::MARK).arg("PX").arg(ttl.as_millis() as u64);
        command
    }

    pub(super) fn look(&self) -> Cmd {
        let mut command = Cmd::new();
        command.arg("GET").arg(&self.marker);
        command
    }

    pub(super) fn unmark(&self) -> Cmd {
        let mut command = Cmd::new();
        command.arg("DEL").arg(&self.marker);
        command
    }

    /// Whether a reply to `look` says that there is a marker; `None` for a refusal, and for what is no such reply.
    pub(super) fn is_marked(reply: &Value) -> Option<bool> {
        match reply {
            Value::BulkString(bytes) if bytes == Self::MARK.as_bytes() => Some(true),
            Value::Nil => Some(false),
            _ => None,
        }
    }

    /// The command that keeps the note for this long.
    pub(super) fn keep_note(&self, note: &[u8], ttl: Duration) -> Cmd {
        let mut command = Cmd::new();
        command.arg("SET").arg(&self.note).arg(note).arg("PX").arg(ttl.as_millis() as u64);
        command
    }

    pub(super) fn read_note(&self) -> Cmd {
        let mut command = Cmd::new();
        command.arg("GET").arg(&self.note);
        command
    }

    /// The note in a reply to `read_note`.
    pub(super) fn note_of(reply: Value) -> Option<Bytes> {
        match reply {
            Value::BulkString(bytes) => Some(bytes.into()),
            _ => None,
        }
    }

    /// The topics for people.
    pub(super) fn quoted(&self) -> String {
        format!("`{}`, `{}` and `{}`", self.all, self.mine, self.echo)
    }

    pub(super) fn echo(&self) -> &str {
        &self.echo
    }

    /// The command that publishes a frame. Its reply is ignored.
    pub(super) fn publish(&self, (to, frame): &OutboundFrame) -> Cmd {
        let mut command = Cmd::with_capacity(3, frame.len() + self.echo.len() + 32);
        command.arg("PUBLISH");
        match to {
            Target::All => command.arg(&self.all).arg([self.me.as_bytes().as_slice(), frame].concat()),
            Target::One(incarnation) => {
                command.arg(format!("{}:{incarnation}", self.all)).arg(frame.as_ref())
            }
        };
        command.set_no_response(true);
        command
    }

    /// The command after which the server no longer answers commands of the connection: each reply would wake a
    /// thread that ignores it. A server that does not know the command continues to answer.
    pub(super) fn replies_off() -> Cmd {
        let mut command = Cmd::new();
        command.arg("CLIENT").arg("REPLY").arg("OFF");
        command
    }

    /// The commands around one whose reply is needed.
    pub(super) fn with_reply(command: Cmd) -> [Cmd; 3] {
        let mut reply = Cmd::new();
        reply.arg("CLIENT").arg("REPLY").arg("ON");
        [reply, command, Self::replies_off()]
    }

    /// The command that publishes an echo to this link itself.
    pub(super) fn publish_echo(&self, number: u64) -> Cmd {
        self.publish_to_echo(&number.to_be_bytes())
    }

    /// The command that publishes to the same topic, and is no echo: only whether the server refuses it counts.
    pub(super) fn publish_no_echo(&self) -> Cmd {
        self.publish_to_echo(b"")
    }

    fn publish_to_echo(&self, payload: &[u8]) -> Cmd {
        let mut command = Cmd::new();
        command.arg("PUBLISH").arg(&self.echo).arg(payload);
        command
    }

    /// Reads a message. `None` for this link's own frames to all, and for messages that no node sends: any client may
    /// publish into our topics.
    pub(super) fn read(&self, message: &Msg) -> Option<Received> {
        let topic = message.get_channel_name();
        let mut payload = Bytes::copy_from_slice(message.get_payload_bytes());
        if topic == self.all {
            if payload.len() < self.me.as_bytes().len() {
                return None;
            }
            let sender = payload.split_to(self.me.as_bytes().len());
            (sender != self.me.as_bytes().as_slice()).then_some(Received::Frame(payload))
        } else if topic == self.mine {
            Some(Received::Frame(payload))
        } else if topic == self.pack {
            Some(Received::Pack(payload))
        } else if topic == self.echo && payload.len() == 8 {
            Some(Received::Echo(payload.get_u64()))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: &str, payload: &[u8]) -> Msg {
        let parts = [&b"message"[..], topic.as_bytes(), payload].map(|part| Value::BulkString(part.to_vec()));
        Msg::from_value(&Value::Array(parts.to_vec())).expect("three strings are a message")
    }

    /// What a command says: its arguments.
    fn arguments(command: &Cmd) -> Vec<Vec<u8>> {
        command
            .args_iter()
            .map(|argument| match argument {
                redis::Arg::Simple(bytes) => bytes.to_vec(),
                redis::Arg::Cursor => panic!("a PUBLISH has no cursor"),
                _ => panic!("unknown kind of argument"),
            })
            .collect()
    }

    fn sent_by_one_and_read_by_other(to: Target, one: &Topics, other: &Topics) -> Option<Received> {
        let arguments = arguments(&one.publish(&(to, Bytes::from("frame"))));
        let topic = String::from_utf8(arguments[1].clone()).expect("topics are text");
        other.names().contains(&topic.as_str()).then(|| other.read(&message(&topic, &arguments[2])))?
    }

    #[test]
    fn reads_what_another_published_and_not_what_it_published_itself() {
        let [one, two] = [1, 2].map(|number| Topics::new(3, "name", Incarnation::from_u128(number)));
        let heard = Some(Received::Frame(Bytes::from("frame")));
        assert_eq!(sent_by_one_and_read_by_other(Target::All, &one, &two), heard);
        assert_eq!(sent_by_one_and_read_by_other(Target::All, &one, &one), None);
        assert_eq!(sent_by_one_and_read_by_other(Target::One(two.me), &one, &two), heard);
        assert_eq!(sent_by_one_and_read_by_other(Target::One(one.me), &one, &two), None);
    }

    #[test]
    fn reads_its_echo() {
        let topics = Topics::new(0, "name", Incarnation::from_u128(1));
        let arguments = arguments(&topics.publish_echo(7));
        assert_eq!(topics.read(&message(&topics.echo, &arguments[2])), Some(Received::Echo(7)));
    }

    #[test]
    fn ignores_what_nobody_of_ours_could_have_sent() {
        let topics = Topics::new(0, "name", Incarnation::from_u128(1));
        for (topic, payload) in [
            (&topics.all, &b"{\"type\":1}"[..]),
            (&topics.all, b""),
            (&topics.echo, b""),
            (&topics.echo, b"not a number"),
            (&"elsewhere".to_string(), b"01234567890123456789"),
        ] {
            assert_eq!(topics.read(&message(topic, payload)), None, "{topic}: {payload:?}");
        }
    }
}
