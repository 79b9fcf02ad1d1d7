//! This file knows the server: how to connect to it, and how to speak of it without giving its password away.
//!
//! Used by the supervisor. Nothing that leaves this file for a person's eyes may hold a secret.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, RedisConnectionInfo, RedisError,
    RedisResult,
    aio::{MultiplexedConnection, PubSubStream},
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

use super::{
    options::{RedisOptions, RedisOptionsError, words},
    publisher::FRAMES_IN_CONNECTION_MAX,
    socket::Socket,
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
    pub(super) publishing: Publishing,
    pub(super) messages: PubSubStream,
}

/// The connection to publish on.
#[derive(Clone)]
pub(super) enum Publishing {
    /// Logged in; written to by whoever has something to say.
    Socket(Socket),
    /// Over TLS. Only the publisher writes to it.
    Client(MultiplexedConnection),
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
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive());
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
        let subscribe = async {
            let (mut sink, messages) = self.client.get_async_pubsub().await?.split();
            sink.subscribe(&topics.names()[..]).await?;
            Ok(messages)
        };
        match tokio::try_join!(self.connect_to_publish(), subscribe) {
            Ok((publishing, messages)) => Ok(Connections { publishing, messages }),
            Err(error) if error.kind() == ErrorKind::AuthenticationFailed => {
                Err(self.refusal().await.unwrap_or(error))
            }
            Err(error) => Err(error),
        }
    }

    async fn connect_to_publish(&self) -> RedisResult<Publishing> {
        let info = self.client.get_connection_info();
        let socket = match info.addr() {
            ConnectionAddr::Tcp(host, port) => Socket::tcp(host, *port, &keepalive()).await?,
            #[cfg(unix)]
            ConnectionAddr::Unix(path) => Socket::unix(path).await?,
            _ => {
                let config = connection_config();
                let connection = self.client.get_multiplexed_async_connection_with_config(&config);
                return connection.await.map(Publishing::Client);
            }
        };
        // redis-rs logs in, and its connection goes: the socket is all that stays.
        let login = info.redis_settings();
        let _ = MultiplexedConnection::new_with_config(login, socket.clone(), connection_config()).await?;
        Ok(Publishing::Socket(socket))
    }

    /// What the server says to this command, if it refuses. Asked over a connection of its own: the sockets that frames
    /// leave by hear no replies.
    pub(super) async fn refusal_of(&self, command: &Cmd) -> Option<RedisError> {
        let config = connection_config();
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await.ok()?;
        let reply = connection.send_packed_command(command).await;
        reply.and_then(|reply| reply.extract_error()).err()
    }

    /// What the server says to our login. redis-rs keeps that to itself, so the login is tried once more by hand.
    async fn refusal(&self) -> Option<RedisError> {
        let info = self.client.get_connection_info();
        let stranger = info.clone().set_redis_settings(RedisConnectionInfo::default());
        let mut connection = Client::open(stranger).ok()?.get_multiplexed_async_connection().await.ok()?;
        let login = info.redis_settings();
        let mut auth = Cmd::new();
        auth.arg("AUTH").arg(login.username()).arg(login.password());
        let reply = connection.send_packed_command(&auth).await;
        reply.and_then(|reply| reply.extract_error()).err()
    }

    /// An error for people. A server that doesn't know a command repeats its arguments, the password among them.
    pub(super) fn describe(&self, error: &RedisError) -> String {
        match self.client.get_connection_info().redis_settings().password() {
            Some(password) if !password.is_empty() => words(error).replace(password, "***"),
            Some(_) | None => words(error),
        }
    }
}

fn connection_config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(FRAMES_IN_CONNECTION_MAX)
        .set_write_backpressure_boundary(256 << 10)
}

fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new().with_time(Duration::from_secs(10))
}

/// A host as a URL writes it: an IPv6 address in brackets.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_the_server_repeats_is_struck_out() {
        let options = RedisOptions { password: Some("tops3cret".to_string()), ..RedisOptions::default() };
        let endpoint = Endpoint::new(&options).expect("these options are good");
        let detail = "unknown command 'AUTH', with args beginning with: 'tops3cret'".to_string();
        let error = RedisError::from((ErrorKind::Client, "the server refused", detail));
        assert_eq!(
            endpoint.describe(&error),
            "the server refused: unknown command 'AUTH', with args beginning with: '***'"
        );
    }

    #[test]
    fn an_address_is_written_as_in_a_url() {
        for (text, address) in [
            ("redis://user:tops3cret@[::1]:7000/3", "redis://[::1]:7000"),
            ("rediss://:tops3cret@example.org", "rediss://example.org:6379"),
            ("unix:///run/redis.sock?pass=tops3cret", "unix:/run/redis.sock"),
        ] {
            let options =
                RedisOptions { connection_string: Some(text.to_string()), ..RedisOptions::default() };
            assert_eq!(Endpoint::new(&options).expect("these options are good").address(), address);
        }
    }
}
