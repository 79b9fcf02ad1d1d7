//! The handshake of a connection: which link is at the other end, and whether both belong to one channel.
//!
//! ```text
//! dialing side                listening side
//! Hello  ------------------->
//!        <-------------------  Hello      the other belongs to this channel
//! Welcome ------------------>             so does this one
//!        <-------------------  Welcome    behind it come frames
//! ```
//!
//! The listening side takes the connection in before it sends its welcome: a link that has been welcomed can be
//! reached. An address is never an identity: only the hello names the link at the other end.

use std::{fmt, io};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    super::sealed::{Refusal, Security},
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
    /// Random: no proof that was made for another connection is worth anything on this one.
    pub(super) nonce: Uuid,
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

/// Why a connection does not belong to this mesh.
#[derive(Debug)]
pub(super) enum Unwelcome {
    Io(io::Error),
    /// One side does not trust the other's certificate.
    Untrusted(rustls::Error),
    /// Not conflux, or another version of its mesh.
    Foreign,
    OtherChannel(String),
    /// The secrets differ.
    Secret(Refusal),
}

impl fmt::Display for Unwelcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unwelcome::Io(error) => error.fmt(f),
            Unwelcome::Untrusted(error) => error.fmt(f),
            Unwelcome::Foreign => f.write_str("what is there is no conflux node of this version"),
            Unwelcome::OtherChannel(name) => {
                write!(f, "the node there belongs to the channel named {name:?}")
            }
            Unwelcome::Secret(Refusal::Unsealed) => f.write_str("the node there has no `channel.secret`"),
            Unwelcome::Secret(Refusal::Sealed) => {
                f.write_str("the node there has a `channel.secret`, and this node has none")
            }
            Unwelcome::Secret(_) => f.write_str("the node there has another `channel.secret`"),
        }
    }
}

impl From<io::Error> for Unwelcome {
    fn from(error: io::Error) -> Self {
        match error.downcast::<rustls::Error>() {
            Ok(error) => Unwelcome::Untrusted(error),
            Err(error) => Unwelcome::Io(error),
        }
    }
}

impl Unwelcome {
    /// Whether both sides are nodes that refuse each other, and not a node and an unrelated client.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Unwelcome::OtherChannel(_) | Unwelcome::Secret(_) => true,
            Unwelcome::Untrusted(error) => matches!(
                error,
                rustls::Error::InvalidCertificate(_)
                    | rustls::Error::General(_)
                    | rustls::Error::NoCertificatesPresented
                    | rustls::Error::AlertReceived(_)
            ),
            Unwelcome::Io(_) | Unwelcome::Foreign => false,
        }
    }
}

/// What a link has learned of the other side of a connection.
pub(super) struct Greeted {
    pub(super) hello: Hello,
    /// With what has arrived behind the handshake.
    pub(super) records: Records,
    /// What the listening side still has to send; `None` on the other side.
    pub(super) welcome: Option<Vec<u8>>,
}

/// Greets as the side that dialed.
pub(super) async fn greet(stream: &Stream, mine: &Hello, security: &Security) -> Result<Greeted, Unwelcome> {
    let mut records = Records::default();
    let my_bytes = mine.encode();
    write(stream, Kind::Hello, &my_bytes).await?;
    let their_bytes = read_hello(stream, &mut records).await?;
    let hello = check(&their_bytes, mine)?;
    // A link that has reached itself sends no welcome.
    if hello.link != mine.link {
        write(stream, Kind::Welcome, &security.prove(&transcript(b'd', &my_bytes, &their_bytes))).await?;
        let proof = read_welcome(stream, &mut records).await?;
        security.verify(&transcript(b'l', &my_bytes, &their_bytes), &proof).map_err(Unwelcome::Secret)?;
    }
    Ok(Greeted { hello, records, welcome: None })
}

/// Greets as the side that listens. Its welcome is still to be sent.
pub(super) async fn answer(stream: &Stream, mine: &Hello, security: &Security) -> Result<Greeted, Unwelcome> {
    let mut records = Records::default();
    let my_bytes = mine.encode();
    let their_bytes = read_hello(stream, &mut records).await?;
    let checked = check(&their_bytes, mine);
    // The other side learns the name of this channel, too.
    if let Ok(_) | Err(Unwelcome::OtherChannel(_)) = &checked {
        write(stream, Kind::Hello, &my_bytes).await?;
    }
    let hello = checked?;
    let proof = read_welcome(stream, &mut records).await?;
    let welcome = security.prove(&transcript(b'l', &their_bytes, &my_bytes));
    let verified = security.verify(&transcript(b'd', &their_bytes, &my_bytes), &proof);
    if let Err(refusal) = verified {
        // The other side learns the reason from this proof.
        write(stream, Kind::Welcome, &welcome).await?;
        return Err(Unwelcome::Secret(refusal));
    }
    Ok(Greeted { hello, records, welcome: Some(welcome) })
}

/// The bytes over which a side proves its secret: its role, and the hellos of both.
fn transcript(role: u8, dialing: &[u8], listening: &[u8]) -> Vec<u8> {
    [&[role], &(dialing.len() as u64).to_be_bytes()[..], dialing, listening].concat()
}

fn check(their_bytes: &[u8], mine: &Hello) -> Result<Hello, Unwelcome> {
    let theirs = Hello::decode(their_bytes).ok_or(Unwelcome::Foreign)?;
    if theirs.channel_name != mine.channel_name {
        return Err(Unwelcome::OtherChannel(theirs.channel_name));
    }
    Ok(theirs)
}

async fn read_hello(stream: &Stream, records: &mut Records) -> Result<Bytes, Unwelcome> {
    match read(stream, records).await? {
        Incoming::Hello(bytes) => Ok(bytes),
        Incoming::Welcome(_) | Incoming::Frame(_) | Incoming::Addresses(_) => Err(Unwelcome::Foreign),
    }
}

async fn read_welcome(stream: &Stream, records: &mut Records) -> Result<Bytes, Unwelcome> {
    match read(stream, records).await? {
        Incoming::Welcome(proof) => Ok(proof),
        Incoming::Hello(_) | Incoming::Frame(_) | Incoming::Addresses(_) => Err(Unwelcome::Foreign),
    }
}

async fn write(stream: &Stream, kind: Kind, payload: &[u8]) -> io::Result<()> {
    let mut bytes = Vec::new();
    record::write(&mut bytes, kind, payload);
    stream.write_all(&bytes).await
}

async fn read(stream: &Stream, records: &mut Records) -> Result<Incoming, Unwelcome> {
    loop {
        if let Some(incoming) = records.next().map_err(|_| Unwelcome::Foreign)? {
            return Ok(incoming);
        }
        if stream.read(records.buffer()).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
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
