//! Carries frames over direct connections, one to each peer.
//!
//! Joined by the `tcp` and the `local` channel, which say how peers are found and connected to ([`Network`]). A link
//! listens, dials every address that it learns of ([`dialer`]), and exchanges hellos over each connection
//! ([`hello`]); the thread that ends a turn writes its frames to the sockets itself ([`connection`]). It must never
//! wait for a peer, and never use an address as an identity.

mod connection;
mod dialer;
mod hello;
mod lanes;
mod peers;
mod record;
mod stream;
mod targets;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, Semaphore, mpsc, watch},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use uuid::Uuid;

use super::{
    Attachment, Health, Inbound, Limits, Link, Outbound, PeerEvent, Queue, Sender, lock, marker::Marker,
    sealed::Security, socket::Socket,
};
use crate::raft::{Incarnation, Lane, Target};
use connection::{Connection, Origin};
use dialer::Event;
use hello::{Greeted, Hello, Unwelcome};
use peers::Peers;
use record::{Incoming, Kind, Records};

pub(super) use hello::LinkId;
pub(super) use stream::Stream;

/// How the links of a channel find and reach each other.
pub(super) trait Network: Send + Sync + 'static {
    type Address: Clone + Ord + Display + Send + Sync + 'static;
    type Listener: Send + Sync + 'static;

    /// Begins to accept connections. Must not wait. The error is a sentence.
    fn listen(&self, link: LinkId) -> Result<Self::Listener, String>;

    /// The next connection. Cancel-safe.
    fn accept(&self, listener: &Self::Listener) -> impl Future<Output = io::Result<Socket>> + Send;

    /// Waits until the other side of an accepted connection has shown that it may connect.
    fn admit(&self, _: &Self::Listener, socket: Socket) -> impl Future<Output = io::Result<Stream>> + Send {
        std::future::ready(Ok(socket.into()))
    }

    /// Where the peer at the other end of a connection, and those that it knows, may connect to this link.
    fn address(&self, listener: &Self::Listener, socket: &Socket) -> Option<String>;

    /// Whether the peer at the other end of a connection may be given this address of another one.
    fn may_share(&self, socket: &Socket, address: &str) -> bool;

    /// Where peers may be; `learned` are the addresses that others gave.
    fn discover(&self, learned: Vec<String>) -> impl Future<Output = Discovered<Self::Address>> + Send;

    fn dial(&self, address: &Self::Address) -> impl Future<Output = io::Result<Stream>> + Send;

    /// How long each connection may last by the certificates of both sides, in the same order; empty without
    /// certificates.
    fn expiries(&self, _: &[Stream]) -> impl Future<Output = Vec<Expiry>> + Send {
        std::future::ready(Vec::new())
    }

    /// What an error of TLS means, in words.
    fn describe_untrusted(&self, error: &rustls::Error) -> String {
        error.to_string()
    }

    /// Nothing listens at this address, although it was discovered.
    fn refused(&self, _address: &Self::Address) {}
}

/// How long a connection may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    Valid,
    /// It is to be replaced by a new one meanwhile.
    Soon,
    Expired,
}

pub(super) struct Discovered<A> {
    pub(super) addresses: BTreeSet<A>,
    /// Why some addresses are missing, in sentences.
    pub(super) causes: Vec<String>,
}

/// What the links of a node on a mesh have in common.
pub(super) struct Settings {
    pub(super) channel_name: String,
    /// Has the secret that both sides of a connection must have.
    pub(super) security: Security,
    /// How long a peer may be silent.
    pub(super) patience: Duration,
}

pub(super) fn join<N: Network>(network: Arc<N>, settings: &Settings, me: Incarnation) -> Link {
    let Settings { channel_name, security, patience } = settings;
    // Unbounded: it holds no more than one event for each address and connection.
    let (events, queue) = mpsc::unbounded_channel();
    // Unbounded: it holds one event for each handshake, and each of at most `Refusals::COUNT_MAX` causes once.
    let (reporter, peers) = mpsc::unbounded_channel();
    let inbound = Arc::new(Queue::new(Limits::OF_A_LINK));
    let health = watch::Sender::new(Health::Connecting);
    let seen_health = health.subscribe();
    let shared = Arc::new(Shared {
        network,
        channel_name: channel_name.clone(),
        security: security.clone(),
        me,
        link: LinkId::draw(),
        patience: *patience,
        peers: Mutex::default(),
        learned: Mutex::default(),
        has_learned: Notify::new(),
        inbound: inbound.clone(),
        health,
        events,
        listener: Mutex::default(),
        is_leaving: AtomicBool::new(false),
        dials: Mutex::default(),
        refusals: Refusals { reported: Mutex::default(), reporter: reporter.clone() },
        reporter,
        tasks: Mutex::default(),
    });
    // Before any task runs: of two links that join, the later one finds the earlier one.
    let listening = shared.listen();
    shared.spawn(shared.clone().accept_all(listening));
    shared.spawn(shared.clone().discover_always());
    shared.spawn(shared.clone().look_after_connections());
    shared.spawn(shared.clone().renew_connections());
    shared.spawn(dialer::run(shared.clone(), queue));
    let marker = Arc::new(Marker::default());
    Link {
        outbound: Outbound(shared.clone()),
        inbound: Inbound::new(inbound),
        health: seen_health,
        found: marker.found(),
        noted: marker.noted(),
        marker,
        peers,
        attachment: Box::new(MeshAttachment { shared }),
    }
}

/// What the tasks of a link share.
struct Shared<N: Network> {
    network: Arc<N>,
    channel_name: String,
    security: Security,
    me: Incarnation,
    link: LinkId,
    patience: Duration,
    peers: Mutex<Peers>,
    /// Addresses that others gave, and when they did last.
    learned: Mutex<BTreeMap<String, Instant>>,
    has_learned: Notify,
    inbound: Arc<Queue<Bytes>>,
    health: watch::Sender<Health>,
    events: mpsc::UnboundedSender<Event<N::Address>>,
    listener: Mutex<Option<Arc<N::Listener>>>,
    /// No peer is accepted any more.
    is_leaving: AtomicBool,
    /// How many connections this link has dialed.
    dials: Mutex<u64>,
    refusals: Refusals,
    reporter: mpsc::UnboundedSender<PeerEvent>,
    tasks: Mutex<JoinSet<()>>,
}

/// Why peers and this link refuse each other.
struct Refusals {
    reported: Mutex<BTreeSet<String>>,
    reporter: mpsc::UnboundedSender<PeerEvent>,
}

impl Refusals {
    /// Each cause is reported once, and at most this many: one more would explain nothing.
    const COUNT_MAX: usize = 100;

    fn report(&self, cause: String) {
        let mut reported = lock(&self.reported);
        if reported.len() < Self::COUNT_MAX && reported.insert(cause.clone()) {
            let _ = self.reporter.send(PeerEvent::Refused(cause));
        }
    }
}

impl<N: Network> Shared<N> {
    const GREETING_TIMEOUT: Duration = Duration::from_secs(2);

    /// Connections whose other side has not been greeted yet; further ones are closed at once.
    const GREETINGS_MAX: usize = 256;

    const LISTENS_EVERY: Duration = Duration::from_millis(50);

    /// How often names are resolved again while all is well: their records may change.
    const DISCOVERS_EVERY: Duration = Duration::from_secs(2);

    /// An address that others gave is dialed for this long after the last of them gave it.
    const LEARNED_IS_KEPT: Duration = Duration::from_secs(60);

    /// The task ends with the link at the latest.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    fn listen(&self) -> Result<Arc<N::Listener>, String> {
        let listener = Arc::new(self.network.listen(self.link)?);
        *lock(&self.listener) = Some(listener.clone());
        Ok(listener)
    }

    async fn accept_all(self: Arc<Self>, first: Result<Arc<N::Listener>, String>) {
        let listener = self.until_listening(first).await;
        // Clients that connect and send nothing must not use up the descriptors of the process.
        let greetings = Arc::new(Semaphore::new(Self::GREETINGS_MAX));
        loop {
            let accepted = self.network.accept(&listener).await;
            match (accepted, greetings.clone().try_acquire_owned()) {
                (Ok(socket), Ok(permit)) => {
                    let (shared, listener) = (self.clone(), listener.clone());
                    self.spawn(async move {
                        shared.answer(&listener, socket).await;
                        drop(permit);
                    });
                }
                (Ok(_), Err(_)) => {}
                // The process may have no more descriptors, for example.
                (Err(_), _) => sleep(Self::LISTENS_EVERY).await,
            }
        }
    }

    /// Tries until it can listen. The former link of this node may still hold the address for a moment, which is
    /// not reported.
    async fn until_listening(&self, first: Result<Arc<N::Listener>, String>) -> Arc<N::Listener> {
        const GRACE: Duration = Duration::from_millis(200);
        let (begun, mut listening) = (Instant::now(), first);
        loop {
            match listening {
                Ok(listener) => {
                    let _ = self.events.send(Event::Listening(Ok(())));
                    return listener;
                }
                Err(cause) if begun.elapsed() > GRACE => {
                    let _ = self.events.send(Event::Listening(Err(cause)));
                }
                Err(_) => {}
            }
            sleep(Self::LISTENS_EVERY).await;
            listening = self.listen();
        }
    }

    /// Greets a client that has connected to this link. Clients that are not nodes are ignored.
    async fn answer(self: Arc<Self>, listener: &N::Listener, socket: Socket) {
        let from = socket.tcp_stream().and_then(|stream| stream.peer_addr().ok());
        let admitted = self.network.admit(listener, socket);
        let Ok(admitted) = timeout(Self::GREETING_TIMEOUT, admitted).await else { return };
        let met = match admitted {
            Ok(stream) => self.clone().meet(stream, None).await.map(|_| ()),
            Err(error) => Err(error.into()),
        };
        if let Err(unwelcome) = met
            && unwelcome.is_refusal()
        {
            let from = from.map_or_else(String::new, |from| format!(" from {}", from.ip()));
            self.refusals.report(format!("a connection{from}: {}", self.describe(&unwelcome)));
        }
    }

    fn describe(&self, unwelcome: &Unwelcome) -> String {
        match unwelcome {
            Unwelcome::Untrusted(error) => self.network.describe_untrusted(error),
            Unwelcome::Io(_) | Unwelcome::Foreign | Unwelcome::OtherChannel(_) | Unwelcome::Secret(_) => {
                unwelcome.to_string()
            }
        }
    }

    async fn discover_always(self: Arc<Self>) {
        loop {
            let learned = {
                let mut learned = lock(&self.learned);
                learned.retain(|_, at| at.elapsed() < Self::LEARNED_IS_KEPT);
                learned.keys().cloned().collect()
            };
            let Discovered { addresses, causes } = self.network.discover(learned).await;
            let _ = self.events.send(Event::Discovered { addresses, causes });
            let _ = timeout(Self::DISCOVERS_EVERY, self.has_learned.notified()).await;
        }
    }

    async fn look_after_connections(self: Arc<Self>) {
        let mut looks = interval(self.patience / Connection::SILENT_LOOKS_MAX);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            lock(&self.peers).all().for_each(|connection| connection.look());
        }
    }

    async fn renew_connections(self: Arc<Self>) {
        const LOOKS_EVERY: Duration = Duration::from_secs(5);
        loop {
            sleep(LOOKS_EVERY).await;
            let connections = lock(&self.peers).open().to_vec();
            // Without connections, no file is read.
            if connections.is_empty() {
                continue;
            }
            let streams: Vec<Stream> =
                connections.iter().map(|connection| connection.stream.clone()).collect();
            let expiries = self.network.expiries(&streams).await;
            for (connection, expiry) in connections.iter().zip(expiries) {
                match expiry {
                    Expiry::Valid => {}
                    // The side that dialed dials again: the new connection replaces this one.
                    Expiry::Soon => drop(self.events.send(Event::Renew(connection.link))),
                    Expiry::Expired => connection.give_up(),
                }
            }
        }
    }

    /// Greets the other end of a connection and takes the connection in. `dial`: its number, if this link dialed.
    async fn meet(self: Arc<Self>, stream: Stream, dial: Option<u64>) -> Result<LinkId, Unwelcome> {
        let greeted = match timeout(Self::GREETING_TIMEOUT, self.greet(&stream, dial)).await {
            Ok(greeted) => greeted?,
            Err(_) => return Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        };
        let Greeted { hello: theirs, records, welcome } = greeted;
        let link = theirs.link;
        if link == self.link || self.is_leaving.load(Ordering::Relaxed) {
            return Ok(link);
        }
        let origin = match dial {
            Some(dial) => Origin { dialed_by: self.link, dial },
            None => Origin { dialed_by: link, dial: theirs.dial },
        };
        let connection =
            Arc::new(Connection::new(theirs.incarnation, link, origin, theirs.address.clone(), stream));
        if let Some(welcome) = welcome {
            connection.send_record(Kind::Welcome, &welcome);
        }
        lock(&self.peers).admit(connection.clone(), self.patience);
        self.spawn(self.clone().receive(connection.clone(), records));
        self.spawn(async move { connection.attend().await });
        self.learn(theirs.known);
        self.introduce(link, theirs.address);
        let _ = self.events.send(Event::PeersChanged);
        let _ = self.reporter.send(PeerEvent::Connected(theirs.incarnation));
        Ok(link)
    }

    async fn greet(&self, stream: &Stream, dial: Option<u64>) -> Result<Greeted, Unwelcome> {
        let known = |connection: &Arc<Connection>| {
            connection.address.clone().filter(|address| self.network.may_share(stream.socket(), address))
        };
        let hello = Hello {
            channel_name: self.channel_name.clone(),
            incarnation: self.me,
            link: self.link,
            dial: dial.unwrap_or_default(),
            nonce: Uuid::new_v4(),
            address: lock(&self.listener)
                .as_ref()
                .and_then(|listener| self.network.address(listener, stream.socket())),
            known: lock(&self.peers).open().iter().filter_map(known).take(Hello::KNOWN_MAX).collect(),
        };
        match dial {
            Some(_) => hello::greet(stream, &hello, &self.security).await,
            None => hello::answer(stream, &hello, &self.security).await,
        }
    }

    /// Gives the address of a new peer to the others.
    fn introduce(&self, link: LinkId, address: Option<String>) {
        let Some(address) = address else { return };
        let peers = lock(&self.peers);
        let others = peers.open().iter().filter(|connection| connection.link != link);
        for connection in
            others.filter(|connection| self.network.may_share(connection.stream.socket(), &address))
        {
            let addresses = hello::encode_addresses(std::slice::from_ref(&address));
            connection.send_record(Kind::Addresses, &addresses);
        }
    }

    fn learn(&self, addresses: Vec<String>) {
        if addresses.is_empty() {
            return;
        }
        let mut learned = lock(&self.learned);
        for address in addresses.into_iter().take(Hello::KNOWN_MAX) {
            if learned.len() < Hello::KNOWN_MAX || learned.contains_key(&address) {
                learned.insert(address, Instant::now());
            }
        }
        self.has_learned.notify_one();
    }

    /// Reads a connection until it ends.
    async fn receive(self: Arc<Self>, connection: Arc<Connection>, mut records: Records) {
        let end = self.read_records(&connection, &mut records).await;
        let is_closed_by_peer = !connection.is_given_up() && is_end_of_peer(&end);
        connection.abort();
        let has_other = {
            let mut peers = lock(&self.peers);
            peers.remove(&connection);
            peers.to(Target::One(connection.incarnation)).next().is_some()
        };
        if is_closed_by_peer && !has_other {
            let _ = self.reporter.send(PeerEvent::Disconnected(connection.incarnation));
        }
        let _ = self.events.send(Event::PeersChanged);
    }

    async fn read_records(&self, connection: &Connection, records: &mut Records) -> io::Result<()> {
        const READ_AT_ONCE: usize = 64 << 10;
        records.allow_frames();
        loop {
            let mut has_frames = false;
            while let Some(incoming) = records.next()? {
                match incoming {
                    Incoming::Frame(frame) => {
                        self.inbound.add(frame);
                        has_frames = true;
                    }
                    Incoming::Addresses(addresses) => self.learn(hello::decode_addresses(&addresses)),
                    // It would be a second one.
                    Incoming::Hello(_) | Incoming::Welcome(_) => {
                        return Err(io::ErrorKind::InvalidData.into());
                    }
                }
            }
            if has_frames {
                self.inbound.wake();
            }
            records.buffer().reserve(READ_AT_ONCE);
            if connection.stream.read(records.buffer()).await? == 0 {
                return Ok(());
            }
            connection.note_received();
        }
    }
}

/// Whether a connection that ended so was closed by the other side's system: silence, or a network that does not work,
/// says nothing of the peer.
fn is_end_of_peer(end: &io::Result<()>) -> bool {
    match end {
        Ok(()) => true,
        Err(error) => matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof
        ),
    }
}

impl<N: Network> Sender for Shared<N> {
    fn send(&self, to: Target, lane: Lane, frame: Bytes) {
        lock(&self.peers).to(to).for_each(|connection| connection.push(lane, frame.clone()));
    }

    fn flush(&self) {
        lock(&self.peers).open().iter().for_each(|connection| connection.flush());
    }
}

/// Keeps a link's tasks running; dropping it ends every task and connection of the link.
struct MeshAttachment<N: Network> {
    shared: Arc<Shared<N>>,
}

impl<N: Network> Attachment for MeshAttachment<N> {
    fn leave(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        const TIMEOUT: Duration = Duration::from_millis(500);
        const LOOKS_EVERY: Duration = Duration::from_millis(1);
        Box::pin(async move {
            self.shared.is_leaving.store(true, Ordering::Relaxed);
            lock(&self.shared.peers).all().for_each(|connection| connection.finish());
            // A peer closes when it has read all of it. A socket that is closed before that may take back what it sent.
            let all_read = async {
                while !lock(&self.shared.peers).is_empty() {
                    sleep(LOOKS_EVERY).await;
                }
            };
            let _ = timeout(TIMEOUT, all_read).await;
        })
    }
}

impl<N: Network> Drop for MeshAttachment<N> {
    fn drop(&mut self) {
        lock(&self.shared.tasks).abort_all();
        lock(&self.shared.listener).take();
        // Copies of the outbound side may outlive the link.
        let peers = std::mem::take(&mut *lock(&self.shared.peers));
        peers.all().for_each(|connection| connection.abort());
        self.shared.inbound.close();
    }
}
