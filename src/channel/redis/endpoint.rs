//! Connects to the server, and describes the server without its password.
//!
//! Used by the supervisor. No text for an operator that leaves this file may contain a secret.

use std::{
    pin::pin,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::future::{self, Either, join_all};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, RedisConnectionInfo, RedisError,
    RedisResult, ValueCodec,
    aio::{MultiplexedConnection, PubSub, PubSubSink, PubSubStream},
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

use tokio::time::timeout;
use tokio_util::codec::Decoder;

use super::{
    super::socket::{Counting, Socket},
    discovery::{self, Discovery},
    ended::Ended,
    options::{Credentials, RedisOptions, RedisOptionsError, text_of},
    redis_link::RedisLink,
    role::{self, Question, Role},
    topics::Topics,
};

/// How many frames wait in a connection over TLS while the server takes none. The rest waits, bounded, in the outbound
/// queue, where the oldest are dropped. Replies that are outstanding need no bound of their own: nothing is kept for
/// them but a place in a list, and the buffers of the sockets hold a limited number of commands.
const FRAMES_IN_CONNECTION_MAX: usize = 64;

/// A server and how to log in there.
#[derive(Clone)]
pub(super) struct Endpoint {
    client: Client,
    address: String,
    db: i64,
    credentials: Option<Arc<dyn Credentials>>,
    /// What finds the server; `None`: it is fixed.
    discovery: Option<Discovery>,
}

/// What a session needs: one connection to publish on, one that hears what it subscribed to.
pub(super) struct Connections {
    pub(super) publishing: Publishing,
    /// The command that detects whether the server has become a replica; `None` if the server answers none.
    pub(super) question: Option<Question>,
    /// What was found on the channel of each link.
    pub(super) looks: Vec<Look>,
    /// Whether the topics of each link are subscribed.
    pub(super) subscribed: Vec<RedisResult<()>>,
    pub(super) sink: PubSubSink,
    pub(super) messages: PubSubStream,
    /// Rises with whatever arrives beside them.
    pub(super) received: Arc<AtomicU64>,
}

/// The connection to publish on.
#[derive(Clone)]
pub(super) enum Publishing {
    /// Logged in; any task may write to it.
    Socket(Socket),
    /// Over TLS. Only the publisher writes to it.
    Client(MultiplexedConnection),
}

impl Endpoint {
    const GREETING_TIMEOUT: Duration = Duration::from_millis(250);

    /// Long enough for a token from another service; a function that takes longer is called again.
    const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(10);

    pub(super) fn new(options: &RedisOptions) -> Result<Self, RedisOptionsError> {
        let client = options.client()?;
        let info = client.get_connection_info();
        let discovery = Discovery::new(options);
        let address = discovery.as_ref().map_or_else(|| address_of(info.addr()), Discovery::describe);
        let db = info.redis_settings().db();
        // No SELECT: pub/sub knows no db, and the server may refuse it for a reason that redis-rs keeps to itself.
        let login =
            info.redis_settings().clone().set_db(0).set_lib_name("conflux", env!("CARGO_PKG_VERSION"));
        // nodelay: a frame must not wait for the acknowledgement of the one before. keepalive: the watchdog notices a
        // peer that vanished; this frees the sockets.
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive());
        let info = info.clone().set_redis_settings(login).set_tcp_settings(tcp);
        let client = Client::open(info).map_err(RedisOptionsError::connection)?;
        Ok(Self { client, address, db, credentials: options.credentials.clone(), discovery })
    }

    /// This endpoint with its present server, username and password, or why they are not known.
    pub(super) async fn resolved(&self) -> Result<Self, String> {
        let mut endpoint = self.clone();
        endpoint.log_in().await?;
        if let Some(discovery) = &self.discovery {
            let info = endpoint.client.get_connection_info().clone();
            let server = discovery.locate(&info).await?;
            let address = discovery::at(info.addr(), &server);
            endpoint.address = address_of(&address);
            endpoint.client = Client::open(info.set_addr(address)).map_err(|error| text_of(&error))?;
        }
        Ok(endpoint)
    }

    async fn log_in(&mut self) -> Result<(), String> {
        let Some(credentials) = &self.credentials else { return Ok(()) };
        let asked = timeout(Self::CREDENTIALS_TIMEOUT, credentials.ask()).await;
        let asked = asked.unwrap_or_else(|_| {
            Err(format!(
                "the functions for `username` and `password` did not answer within {:?}",
                Self::CREDENTIALS_TIMEOUT
            ))
        })?;
        let info = self.client.get_connection_info().clone();
        let mut login = info.redis_settings().clone();
        if let Some(username) = asked.username {
            login = login.set_username(username);
        }
        if let Some(password) = asked.password {
            login = login.set_password(password);
        }
        self.client = Client::open(info.set_redis_settings(login)).map_err(|error| text_of(&error))?;
        Ok(())
    }

    /// Ends when the session should be with another server.
    pub(super) fn watch(&self) -> Option<impl Future<Output = Ended> + Send + use<>> {
        let info = self.client.get_connection_info().clone();
        self.discovery.clone().map(|discovery| discovery.watch(info))
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.discovery.as_ref().is_some_and(Discovery::is_cluster)
    }

    /// The number of the db, which is part of every topic's name.
    pub(super) fn db(&self) -> i64 {
        self.db
    }

    /// The server for people: no user, no password.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Connects twice and subscribes for the links. Waits as long as it takes: the caller sets the limit.
    pub(super) async fn connect(&self, links: &[Arc<RedisLink>]) -> Result<Connections, Ended> {
        let received = Arc::new(AtomicU64::new(0));
        let subscribe = async {
            let connected = self.connect_to_subscribe(received.clone()).await;
            let (sink, messages) = connected.map_err(unconnected)?.split();
            let subscribed = subscribe(&sink, links).await;
            Ok((sink, messages, subscribed))
        };
        let publish = async {
            match self.connect_to_publish(links).await.map_err(unconnected)? {
                (_, Found { role: Some((_, Role::Replica)), .. }) => Err(Ended::Replica),
                found => Ok(found),
            }
        };
        match tokio::try_join!(publish, subscribe) {
            Ok(((publishing, Found { role, looks }), (sink, messages, subscribed))) => {
                let question = role.map(|(question, _)| question);
                Ok(Connections { publishing, question, looks, subscribed, sink, messages, received })
            }
            Err(Ended::Unconnected { error }) => {
                let error = self.reason(&error).await.unwrap_or(error);
                Err(Ended::Unconnected { error })
            }
            Err(ended) => Err(ended),
        }
    }

    /// A connection for questions. The sockets that frames leave by hear no replies.
    pub(super) async fn connect_to_ask(&self) -> RedisResult<MultiplexedConnection> {
        self.client.get_multiplexed_async_connection_with_config(&connection_config()).await
    }

    /// What the server has to say to a connection that failed, if redis-rs keeps it to itself.
    async fn reason(&self, error: &RedisError) -> Option<RedisError> {
        if error.kind() == ErrorKind::AuthenticationFailed {
            self.refusal().await
        } else if error.code().is_none() {
            self.greeting().await
        } else {
            None
        }
    }

    /// The message that a server sends unasked to a new connection that it is about to close: it has too many
    /// clients, or is in protected mode.
    async fn greeting(&self) -> Option<RedisError> {
        let socket = match self.client.get_connection_info().addr() {
            ConnectionAddr::Tcp(host, port) => Socket::tcp(host, *port, &keepalive()).await.ok()?,
            #[cfg(unix)]
            ConnectionAddr::Unix(path) => Socket::unix(path).await.ok()?,
            _ => return None,
        };
        let mut bytes = BytesMut::new();
        timeout(Self::GREETING_TIMEOUT, socket.read(&mut bytes)).await.ok()?.ok()?;
        ValueCodec::default().decode(&mut bytes).ok()??.extract_error().err()
    }

    /// `received` counts what arrives, over TLS only what has arrived whole.
    async fn connect_to_subscribe(&self, received: Arc<AtomicU64>) -> RedisResult<PubSub> {
        let info = self.client.get_connection_info();
        let socket = match info.addr() {
            ConnectionAddr::Tcp(host, port) => Socket::tcp(host, *port, &keepalive()).await?,
            #[cfg(unix)]
            ConnectionAddr::Unix(path) => Socket::unix(path).await?,
            _ => return self.client.get_async_pubsub().await,
        };
        PubSub::new(info.redis_settings(), Counting::new(socket, received)).await
    }

    async fn connect_to_publish(&self, links: &[Arc<RedisLink>]) -> RedisResult<(Publishing, Found)> {
        let info = self.client.get_connection_info();
        let socket = match info.addr() {
            ConnectionAddr::Tcp(host, port) => Socket::tcp(host, *port, &keepalive()).await?,
            #[cfg(unix)]
            ConnectionAddr::Unix(path) => Socket::unix(path).await?,
            _ => {
                let config = connection_config();
                let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
                let found = query_at_connect(&connection, links).await;
                return Ok((Publishing::Client(connection), found));
            }
        };
        // redis-rs logs in and asks, and its connection goes: the socket is all that stays.
        let login = info.redis_settings();
        let (connection, driver) =
            MultiplexedConnection::new_with_config(login, socket.clone(), connection_config()).await?;
        let found = match future::select(pin!(query_at_connect(&connection, links)), pin!(driver)).await {
            Either::Left((found, _)) => found,
            Either::Right(_) => Found::default(),
        };
        Ok((Publishing::Socket(socket), found))
    }

    /// What the server says to this command, if it refuses. Asked over a connection of its own: the sockets that frames
    /// leave by hear no replies.
    pub(super) async fn refusal_of(&self, command: &Cmd) -> Option<RedisError> {
        let mut connection = self.connect_to_ask().await.ok()?;
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
            Some(password) if !password.is_empty() => text_of(error).replace(password, "***"),
            Some(_) | None => text_of(error),
        }
    }
}

/// What a new connection asks immediately.
#[derive(Default)]
struct Found {
    /// The role, and the question that the server answered.
    role: Option<(Question, Role)>,
    looks: Vec<Look>,
}

/// What was found on the channel of a link.
#[derive(Default)]
pub(super) struct Look {
    /// Whether there is a marker; `None` if this user may not look for it.
    pub(super) is_marked: Option<bool>,
    /// What is kept of a cluster that is, or was moments ago, on this channel.
    pub(super) note: Option<Bytes>,
}

/// Asks everything at once: it costs one round trip.
async fn query_at_connect(connection: &MultiplexedConnection, links: &[Arc<RedisLink>]) -> Found {
    let [mut one, mut two] = [(); 2].map(|()| connection.clone());
    let (role, looks) = tokio::join!(role::ask(&mut one), look_at(&mut two, links));
    Found { role, looks }
}

/// What is on the channel of each link.
pub(super) async fn look_at(connection: &mut MultiplexedConnection, links: &[Arc<RedisLink>]) -> Vec<Look> {
    join_all(links.iter().map(|link| {
        let [mut one, mut two] = [(); 2].map(|()| connection.clone());
        async move {
            let (look, read) = (link.topics.look(), link.topics.read_note());
            let (mark, note) = tokio::join!(one.send_packed_command(&look), two.send_packed_command(&read));
            let is_marked = mark.ok().and_then(|reply| Topics::is_marked(&reply));
            Look { is_marked, note: note.ok().and_then(Topics::note_of) }
        }
    }))
    .await
}

/// Subscribes to the topics of each link, all at once. A topic that the user may not read breaks that link alone.
pub(super) async fn subscribe(sink: &PubSubSink, links: &[Arc<RedisLink>]) -> Vec<RedisResult<()>> {
    join_all(links.iter().map(|link| {
        let mut sink = sink.clone();
        async move { sink.subscribe(&link.topics.names()[..]).await }
    }))
    .await
}

fn unconnected(error: RedisError) -> Ended {
    Ended::Unconnected { error }
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

fn address_of(address: &ConnectionAddr) -> String {
    match address {
        ConnectionAddr::Tcp(host, port) => format!("redis://{}:{port}", bracketed(host)),
        ConnectionAddr::TcpTls { host, port, .. } => format!("rediss://{}:{port}", bracketed(host)),
        ConnectionAddr::Unix(path) => format!("unix:{}", path.display()),
        other => other.to_string(),
    }
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
