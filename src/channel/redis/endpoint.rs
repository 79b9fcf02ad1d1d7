//! This file knows the server: how to connect to it, and how to speak of it without giving its password away.
//!
//! Used by the supervisor. Nothing that leaves this file for a person's eyes may hold a secret.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, RedisError, RedisResult,
    aio::{MultiplexedConnection, PubSubStream},
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

use super::{
    options::{RedisOptions, RedisOptionsError},
    publisher::FRAMES_IN_CONNECTION_MAX,
    topics::Topics,
};

/// A server and how to log in there.
#[derive(Clone)]
pub(super) struct Endpoint {
    client: Client,
    address: String,
}

/// What a session needs: one connection to publish on, one that hears what it subscribed to.
pub(super) struct Connections {
    pub(super) publisher: MultiplexedConnection,
    pub(super) messages: PubSubStream,
}

impl Endpoint {
    pub(super) fn new(options: &RedisOptions) -> Result<Self, RedisOptionsError> {
        let client = options.client()?;
        let info = client.get_connection_info();
        let address = match info.addr() {
            ConnectionAddr::Tcp(host, port) => format!("redis://{}:{port}", bracketed(host)),
            ConnectionAddr::TcpTls { host, port, .. } => format!("rediss://{}:{port}", bracketed(host)),
            ConnectionAddr::Unix(path) => format!("unix:{}", path.display()),
            other => other.to_string(),
        };
        let login = info.redis_settings().clone().set_lib_name("conflux", env!("CARGO_PKG_VERSION"));
        // nodelay: a frame must not wait for the acknowledgement of the one before. keepalive: a peer that vanished
        // without a word is noticed by the watchdog; this frees the sockets.
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            .set_keepalive(TcpKeepalive::new().with_time(Duration::from_secs(10)));
        let info = info.clone().set_redis_settings(login).set_tcp_settings(tcp);
        let client = Client::open(info).map_err(RedisOptionsError::connection)?;
        Ok(Self { client, address })
    }

    /// The number of the db, which is part of every topic's name.
    pub(super) fn db(&self) -> i64 {
        self.client.get_connection_info().redis_settings().db()
    }

    /// The server for people: no user, no password.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Connects twice and subscribes. Waits as long as it takes: the caller sets the limit.
    pub(super) async fn connect(&self, topics: &Topics) -> RedisResult<Connections> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(FRAMES_IN_CONNECTION_MAX)
            .set_write_backpressure_boundary(256 << 10);
        let subscribe = async {
            let (mut sink, messages) = self.client.get_async_pubsub().await?.split();
            sink.subscribe(&topics.names()[..]).await?;
            Ok(messages)
        };
        let publish = self.client.get_multiplexed_async_connection_with_config(&config);
        let (publisher, messages) = tokio::try_join!(publish, subscribe)?;
        Ok(Connections { publisher, messages })
    }

    /// An error for people. A server that doesn't know a command repeats its arguments, the password among them.
    pub(super) fn describe(&self, error: &RedisError) -> String {
        let text = match (error.code(), error.detail()) {
            (Some(code), Some(detail)) => format!("{code} {detail}"),
            (Some(_), None) | (None, Some(_)) | (None, None) => error.to_string(),
        };
        match self.client.get_connection_info().redis_settings().password() {
            Some(password) if !password.is_empty() => text.replace(password, "***"),
            Some(_) | None => text,
        }
    }
}

/// A host as a URL writes it: an IPv6 address in brackets.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_string() }
}
