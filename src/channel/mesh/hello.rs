//! The handshake of a connection: who is at the other end, and whether both belong to one channel.
//!
//! ```text
//! dialing side                listening side
//! Hello  ------------------->
//!        <-------------------  Hello      the other belongs to this channel
//! Welcome ------------------>             so does this one
//!        <-------------------  Welcome    behind it come frames
//! ```
//!
//! The listening side takes the connection in before it sends its welcome: a link that has been welcomed can be reached. An
//! address is never an identity: only the hello tells which link is at the other end.

use std::{fmt, io};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    record::{self, Incoming, Kind, Records},
    stream::Stream,
};
use crate::raft::Incarnation;

/// What every hello begins with; the last byte is the version of the mesh.
const MAGIC: &[u8] = b"conflux mesh\x01";

/// One join of one process. Copies of a directory share their incarnation, never this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::channel) struct LinkId(Uuid);

impl LinkId {
    pub(super) fn draw() -> Self {
        Self(Uuid::new_v4())
    }

    pub(super) fn as_bytes(&self) -> [u8; 16] {
        *self.0.as_bytes()
    }

    #[cfg(test)]
    pub(super) fn of(number: u128) -> Self {
        Self(Uuid::from_u128(number))
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) channel_name: String,
    pub(super) incarnation: Incarnation,
    pub(super) link: LinkId,
    /// The number of this connection among those that the dialing side has opened; 0 from the other side.
    pub(super) dial: u64,
    /// Where others may connect to the sender, if it says so.
    pub(super) address: Option<String>,
    /// Where others may connect to those that the sender is connected to.
    pub(super) known: Vec<String>,
}

impl Hello {
    /// A hello must fit into one record; what is left out arrives from others.
    pub(super) const KNOWN_MAX: usize = 128;

    fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, MAGIC.to_vec()).expect("a hello is plain data: encoding it cannot fail")
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes.strip_prefix(MAGIC)?).ok()
    }
}

/// Why a connection is none of this mesh.
#[derive(Debug)]
pub(super) enum Unwelcome {
    Io(io::Error),
    /// Not conflux, or a conflux whose mesh is another.
    Foreign,
    OtherChannel(String),
}

impl fmt::Display for Unwelcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unwelcome::Io(error) => error.fmt(f),
            Unwelcome::Foreign => f.write_str("what answers there is no conflux node of this version"),
            Unwelcome::OtherChannel(name) => {
                write!(f, "the node there belongs to the channel named {name:?}")
            }
        }
    }
}

impl From<io::Error> for Unwelcome {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData => Unwelcome::Foreign,
            _ => Unwelcome::Io(error),
        }
    }
}

/// Greets as the side that dialed. What has arrived behind the welcome stays in the records.
pub(super) async fn greet(stream: &Stream, mine: &Hello) -> Result<(Hello, Records), Unwelcome> {
    let mut records = Records::default();
    write(stream, Kind::Hello, &mine.encode()).await?;
    let theirs = read_hello(stream, &mut records, mine).await?;
    if theirs.link == mine.link {
        // It is this very link, which welcomes nothing of its own.
        return Ok((theirs, records));
    }
    write(stream, Kind::Welcome, &[]).await?;
    read_welcome(stream, &mut records).await?;
    Ok((theirs, records))
}

/// Greets as the side that listens. Its welcome is still to be sent.
pub(super) async fn answer(stream: &Stream, mine: &Hello) -> Result<(Hello, Records), Unwelcome> {
    let mut records = Records::default();
    let theirs = read_hello(stream, &mut records, mine).await;
    // The other side learns the name of this channel, too.
    if let Ok(_) | Err(Unwelcome::OtherChannel(_)) = &theirs {
        write(stream, Kind::Hello, &mine.encode()).await?;
    }
    read_welcome(stream, &mut records).await?;
    Ok((theirs?, records))
}

async fn read_hello(stream: &Stream, records: &mut Records, mine: &Hello) -> Result<Hello, Unwelcome> {
    let Incoming::Hello(bytes) = read(stream, records).await? else { return Err(Unwelcome::Foreign) };
    let theirs = Hello::decode(&bytes).ok_or(Unwelcome::Foreign)?;
    if theirs.channel_name != mine.channel_name {
        return Err(Unwelcome::OtherChannel(theirs.channel_name));
    }
    Ok(theirs)
}

async fn read_welcome(stream: &Stream, records: &mut Records) -> Result<(), Unwelcome> {
    match read(stream, records).await? {
        Incoming::Welcome(_) => Ok(()),
        Incoming::Hello(_) | Incoming::Frame(_) | Incoming::Addresses(_) => Err(Unwelcome::Foreign),
    }
}

async fn write(stream: &Stream, kind: Kind, payload: &[u8]) -> io::Result<()> {
    let mut bytes = Vec::new();
    record::write(&mut bytes, kind, payload);
    stream.write_all(&bytes).await
}

async fn read(stream: &Stream, records: &mut Records) -> io::Result<Incoming> {
    loop {
        if let Some(incoming) = records.next()? {
            return Ok(incoming);
        }
        if stream.read(records.buffer()).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The addresses of other members, in a record of their own.
pub(super) fn encode_addresses(addresses: &[String]) -> Bytes {
    postcard::to_extend(addresses, Vec::new()).expect("text is plain data: encoding it cannot fail").into()
}

pub(super) fn decode_addresses(bytes: &[u8]) -> Vec<String> {
    postcard::from_bytes(bytes).unwrap_or_default()
}
