//! The connections that the links of one process share, if their options for the server are the same.
//!
//! Found or made by `Redis::join`; the supervisor keeps them connected while there are links. A link's frames leave in one
//! write on the thread that had the turn. If other links share the connection, the driver's thread writes once all nodes
//! that were ready have had their turns: what they send leaves together.

use std::{
    cell::RefCell,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, ThreadId},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::Notify,
    task::{AbortHandle, JoinHandle},
};

use super::{
    super::{Sender, lock},
    links::Links,
    options::{RedisOptions, RedisServer, RedisTls, Sentinels},
    packing::Packing,
    redis_link::RedisLink,
    socket_writer::SocketWriter,
};
use crate::raft::{Lane, Target};

thread_local! {
    /// Those of the driver's thread, which runs all links of the process.
    static OPEN: RefCell<Vec<(ServerKey, Weak<Shared>)>> = const { RefCell::new(Vec::new()) };
}

pub(super) struct Shared {
    pub(super) links: Links,
    pub(super) writer: SocketWriter,
    /// Holds one permit if the watchdog is to look at its links at once.
    pub(super) is_urgent: Arc<Notify>,
    /// Holds one permit if links have come or left.
    pub(super) has_changed: Notify,
    pub(super) patience: Duration,
    /// Why there is no session, since one failed.
    broken: Mutex<Option<String>>,
    /// New links may join.
    is_open: AtomicBool,
    /// Taken by the last link that leaves, to wait for its end.
    supervisor: Mutex<Option<JoinHandle<()>>>,
    abort: Mutex<Option<AbortHandle>>,
    thread: ThreadId,
}

/// What links that share connections have in common: everything that decides which server is reached, and as which
/// user.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ServerKey {
    connection_string: Option<String>,
    server: (Option<String>, Option<u16>),
    login: (Option<String>, Option<String>),
    credentials: Option<String>,
    tls: Option<RedisTls>,
    authorities: Vec<String>,
    sentinels: Option<Sentinels>,
    cluster_nodes: Vec<RedisServer>,
    /// In a Redis Cluster, the node that owns the keys of a channel is its server.
    channel_name: Option<String>,
    patience: Duration,
}

impl ServerKey {
    /// `None` if the credentials are those of one link alone.
    pub(super) fn new(options: &RedisOptions) -> Option<Self> {
        let credentials = match &options.credentials {
            Some(credentials) => Some(credentials.identity()?.to_string()),
            None => None,
        };
        let is_cluster = !options.cluster_nodes.is_empty();
        Some(Self {
            connection_string: options.connection_string.clone(),
            server: (options.host.clone(), options.port),
            login: (options.username.clone(), options.password.clone()),
            credentials,
            tls: options.tls.clone(),
            authorities: options.authorities.clone(),
            sentinels: options.sentinels.clone(),
            cluster_nodes: options.cluster_nodes.clone(),
            channel_name: is_cluster.then(|| options.channel_name.clone()),
            patience: options.patience,
        })
    }
}

impl Shared {
    /// The connections of this key, if there are any that links may join.
    pub(super) fn find(key: &ServerKey) -> Option<Arc<Self>> {
        OPEN.with_borrow_mut(|open| {
            open.retain(|(_, shared)| shared.upgrade().is_some_and(|shared| shared.is_open()));
            open.iter().find(|(other, _)| other == key).and_then(|(_, shared)| shared.upgrade())
        })
    }

    /// New connections; links with the same key will find them. Without a key, none will.
    pub(super) fn new(key: Option<ServerKey>, patience: Duration) -> Arc<Self> {
        let shared = Arc::new(Self {
            links: Links::default(),
            writer: SocketWriter::new(Packing::new(patience)),
            is_urgent: Arc::default(),
            has_changed: Notify::new(),
            patience,
            broken: Mutex::new(None),
            is_open: AtomicBool::new(true),
            supervisor: Mutex::new(None),
            abort: Mutex::new(None),
            thread: thread::current().id(),
        });
        if let Some(key) = key {
            OPEN.with_borrow_mut(|open| open.push((key, Arc::downgrade(&shared))));
        }
        shared
    }

    pub(super) fn set_supervisor(&self, supervisor: JoinHandle<()>) {
        *lock(&self.abort) = Some(supervisor.abort_handle());
        *lock(&self.supervisor) = Some(supervisor);
    }

    pub(super) fn add(&self, link: &Arc<RedisLink>) {
        self.links.add(link);
        self.writer.packing.set_wanted(!self.links.is_single());
        if let Some(cause) = &*lock(&self.broken) {
            link.set_broken(cause);
        }
        self.has_changed.notify_one();
    }

    /// The link leaves at once; with the last one all tasks and connections end.
    pub(super) fn remove(&self, link: &Arc<RedisLink>) {
        link.outbound.close();
        link.outbound.clear();
        let others_remain = self.links.remove(link);
        self.writer.packing.set_wanted(others_remain && !self.links.is_single());
        self.has_changed.notify_one();
        if !others_remain {
            self.is_open.store(false, Ordering::Relaxed);
            if let Some(supervisor) = lock(&self.abort).take() {
                supervisor.abort();
            }
        }
    }

    /// If all other links have left or are leaving, no link may join any more, and the supervisor's end is that of the
    /// connections.
    pub(super) fn close_if_last(&self) -> Option<JoinHandle<()>> {
        if self.links.any(|link| !link.is_leaving()) {
            return None;
        }
        let supervisor = lock(&self.supervisor).take();
        if supervisor.is_some() {
            self.is_open.store(false, Ordering::Relaxed);
            self.writer.close();
        }
        supervisor
    }

    fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// No session serves the links, for this cause.
    pub(super) fn set_broken(&self, cause: &str) {
        *lock(&self.broken) = Some(cause.to_string());
        self.writer.packing.set_subscribed(false);
        for link in self.links.all() {
            link.end_session();
            link.set_broken(cause);
        }
    }

    /// A session begins.
    pub(super) fn set_served(&self) {
        *lock(&self.broken) = None;
    }
}

/// The outbound side of one link.
pub(super) struct LinkSender {
    pub(super) shared: Arc<Shared>,
    pub(super) link: Arc<RedisLink>,
}

impl Sender for LinkSender {
    fn send(&self, to: Target, _: Lane, frame: Bytes) {
        self.link.outbound.add((to, frame));
    }

    fn flush(&self) {
        let Shared { writer, thread, .. } = &*self.shared;
        writer.enqueue(&self.link);
        if writer.packing.is_wanted() && *thread == thread::current().id() {
            writer.defer();
        } else {
            writer.write();
        }
    }
}
