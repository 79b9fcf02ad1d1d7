//! Turns the façade's option `channel` into a channel.
//!
//! Called by `options.rs`. The façade has checked it and filled in the defaults (`lib/options.js`), so a fault found
//! here is a bug of the façade, or one that only a channel can detect.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::asked::Asked;
use super::bug;
use crate::channel::Channel;
use crate::channel::custom::{Custom, OpenLinks, Script};
use crate::channel::local::Local;
use crate::channel::memory::{Isolation, Memory};
use crate::channel::redis::{Credentials, Redis, RedisOptions, RedisServer, RedisTls, Sentinels};
use crate::channel::sealed::{Secret, Security};
use crate::channel::tcp::{AskedPeers, Listen, Peers, Pem, Tcp, TcpOptions, TcpTls};
use crate::error::Error;

/// What a channel needs beside its options.
pub(super) struct ChannelParts {
    pub(super) asked: Option<Asked>,
    /// Of a custom channel.
    pub(super) script: Option<Arc<dyn Script>>,
    pub(super) links: OpenLinks,
    /// Of a memory channel.
    pub(super) isolation: Isolation,
    pub(super) patience: Duration,
}

#[derive(Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub(super) enum GivenChannel {
    Local(GivenLocal),
    Memory(GivenMemory),
    Custom(GivenMemory),
    Redis(Box<GivenRedis>),
    Tcp(GivenTcp),
}

impl GivenChannel {
    pub(super) fn channel_name(&self) -> &str {
        match self {
            GivenChannel::Local(given) => &given.channel_name,
            GivenChannel::Memory(given) | GivenChannel::Custom(given) => &given.channel_name,
            GivenChannel::Redis(given) => &given.channel_name,
            GivenChannel::Tcp(given) => &given.channel_name,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GivenLocal {
    channel_name: String,
    /// An absolute path; none: one of the user and the channel's name.
    path: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GivenMemory {
    channel_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GivenTcp {
    channel_name: String,
    listen: String,
    advertise: Option<String>,
    /// `None`: JavaScript is asked for them.
    peers: Option<Vec<String>>,
    tls: Option<GivenTcpTls>,
}

/// Texts in PEM, or `{ file }` with an absolute path.
#[derive(Deserialize)]
struct GivenTcpTls {
    cert: GivenPem,
    key: GivenPem,
    ca: GivenPem,
    allow: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum GivenPem {
    Text(String),
    File { file: PathBuf },
}

impl From<GivenPem> for Pem {
    fn from(given: GivenPem) -> Self {
        match given {
            GivenPem::Text(text) => Pem::Text(text),
            GivenPem::File { file } => Pem::File(file),
        }
    }
}

impl From<GivenTcpTls> for TcpTls {
    fn from(GivenTcpTls { cert, key, ca, allow }: GivenTcpTls) -> Self {
        Self { cert: cert.into(), key: key.into(), ca: ca.into(), allow }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GivenRedis {
    channel_name: String,
    connection_string: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    username: Option<String>,
    password: Option<String>,
    db: Option<u32>,
    tls: Option<GivenTls>,
    sentinels: Option<GivenSentinels>,
    #[serde(default)]
    cluster_nodes: Vec<GivenServer>,
    /// The certificates that Node trusts, in PEM.
    #[serde(default)]
    authorities: Vec<String>,
    /// Equal for the same functions for the username and the password.
    credentials: Option<String>,
}

#[derive(Deserialize)]
struct GivenServer {
    host: String,
    port: u16,
}

impl From<GivenServer> for RedisServer {
    fn from(GivenServer { host, port }: GivenServer) -> Self {
        Self { host, port }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenSentinels {
    servers: Vec<GivenServer>,
    primary_name: String,
    username: Option<String>,
    password: Option<String>,
    uses_tls: bool,
}

impl From<GivenSentinels> for Sentinels {
    fn from(given: GivenSentinels) -> Self {
        Self {
            servers: given.servers.into_iter().map(RedisServer::from).collect(),
            primary_name: given.primary_name,
            username: given.username,
            password: given.password,
            uses_tls: given.uses_tls,
        }
    }
}

/// PEM.
#[derive(Deserialize)]
struct GivenTls {
    ca: Option<String>,
    cert: Option<String>,
    key: Option<String>,
}

impl GivenChannel {
    /// Returns the channel, which is not sealed yet, and the keys that will seal it. The keys depend on what
    /// distinguishes the channel from others on which the same secret may be used.
    pub(super) fn open(
        self,
        parts: ChannelParts,
        secrets: &[Secret],
    ) -> Result<(Box<dyn Channel>, Security), Error> {
        let security = Security::new(self.channel_name(), secrets);
        let ChannelParts { asked, script, links, isolation, patience } = parts;
        let channel: Box<dyn Channel> = match self {
            GivenChannel::Custom(_) => {
                let script = script.ok_or_else(|| bug("a custom channel has no function"))?;
                Box::new(Custom::new(script, links))
            }
            GivenChannel::Local(given) => {
                Box::new(Local::new(&given.channel_name, given.path, security.clone(), patience))
            }
            GivenChannel::Memory(given) => {
                Box::new(Memory::new(&given.channel_name).with_isolation(isolation))
            }
            GivenChannel::Redis(given) => {
                let redis = redis(*given, asked, patience)?;
                let security = Security::new(&redis.scope(), secrets);
                return Ok((Box::new(redis), security));
            }
            GivenChannel::Tcp(given) => Box::new(tcp(given, asked, security.clone(), patience)?),
        };
        Ok((channel, security))
    }
}

fn redis(given: GivenRedis, asked: Option<Asked>, patience: Duration) -> Result<Redis, Error> {
    let options = RedisOptions {
        connection_string: given.connection_string,
        host: given.host,
        port: given.port,
        username: given.username,
        password: given.password,
        credentials: asked
            .map(|asked| Arc::new(asked.with_identity(given.credentials)) as Arc<dyn Credentials>),
        db: given.db,
        channel_name: given.channel_name,
        tls: given.tls.map(|tls| RedisTls { ca: tls.ca, certificate_and_key: tls.cert.zip(tls.key) }),
        authorities: given.authorities,
        sentinels: given.sentinels.map(Sentinels::from),
        cluster_nodes: given.cluster_nodes.into_iter().map(RedisServer::from).collect(),
        patience,
    };
    Redis::new(options).map_err(|error| Error::InvalidChannel { cause: error.to_string() })
}

fn tcp(given: GivenTcp, asked: Option<Asked>, security: Security, patience: Duration) -> Result<Tcp, Error> {
    let listen = Listen::parse(&given.listen)
        .ok_or_else(|| bug(format!("no address to listen on: {}", given.listen)))?;
    let asked = asked.map(|asked| Peers::Asked(Arc::new(asked) as Arc<dyn AskedPeers>));
    let options = TcpOptions {
        channel_name: given.channel_name,
        security,
        listen,
        advertise: given.advertise,
        peers: given.peers.map(Peers::List).or(asked).unwrap_or_else(|| Peers::List(Vec::new())),
        patience,
        tls: given.tls.map(TcpTls::from),
    };
    Tcp::new(options).map_err(|cause| Error::InvalidChannel { cause })
}
