//! Keeps a link connected: connects, runs a session until a part of it ends, and starts again.
//!
//! Spawned by [`super::Redis`], one task per link. It must never end but by being closed or dropped.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    super::{Health, backoff::Backoff, marker::Marker},
    Queue,
    ended::Ended,
    endpoint::{Connections, Endpoint},
    publisher,
    refusal::refusable,
    socket_writer::SocketWriter,
    subscriber,
    topics::Topics,
    watchdog::Watchdog,
};
use crate::error::message_of;

/// A connect attempt that takes longer is given up: a frozen server accepts connections and answers none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) struct Supervisor {
    pub(super) endpoint: Endpoint,
    pub(super) topics: Topics,
    pub(super) patience: Duration,
    pub(super) marker: Arc<Marker>,
    pub(super) writer: Arc<SocketWriter>,
    pub(super) inbound: Arc<Queue<Bytes>>,
    pub(super) health: Arc<watch::Sender<Health>>,
    pub(super) backoff: Backoff,
}

impl Supervisor {
    /// Runs until the outbound queue is closed and the server has taken all of it.
    pub(super) async fn run(mut self) {
        for session in 0.. {
            let cause = match self.endpoint.resolved().await {
                Ok(endpoint) => cause(&self.session(&endpoint, session).await, &endpoint),
                Err(why) => Some(format!("connecting to {}: {why}", self.endpoint.address())),
            };
            let Some(cause) = cause else { return };
            if *self.health.borrow() == Health::Healthy {
                self.backoff.reset();
            }
            let broken = Health::Broken { cause };
            self.health.send_if_modified(|health| {
                let is_news = *health != broken;
                *health = broken;
                is_news
            });
            sleep(self.backoff.next()).await;
            // Raft has repeated what matters of this by now, and would have to read it all before the present.
            self.writer.queue.clear();
        }
    }

    async fn session(&self, endpoint: &Endpoint, session: u64) -> Ended {
        let connecting = refusable(endpoint.connect(&self.topics));
        match timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(Ok(connections))) => self.serve(endpoint, connections, session).await,
            Ok(Ok(Err(ended))) => ended,
            Ok(Err(panic)) => Ended::Refused { cause: message_of(&*panic) },
            Err(_) => Ended::Unanswered,
        }
    }

    /// Runs the tasks of a session until one of them ends; the others then end with it.
    async fn serve(&self, endpoint: &Endpoint, connections: Connections, session: u64) -> Ended {
        let Connections { publishing, question, is_marked, note, messages, received } = connections;
        if let Some(note) = note {
            self.marker.set_noted(note);
        }
        // After an outage the members of a cluster return one after the other.
        self.marker.set_found(is_marked == Some(true) || session > 0);
        let first_echo = session << 32;
        let (echo, heard) = watch::channel(first_echo);
        let (marked, sees_mark) = watch::channel(is_marked);
        let mut tasks = JoinSet::new();
        tasks.spawn(subscriber::run(
            messages,
            self.topics.clone(),
            self.inbound.clone(),
            echo,
            received.clone(),
        ));
        tasks.spawn(publisher::run(publishing.clone(), self.topics.clone(), self.writer.clone()));
        tasks.spawn(publisher::listen(publishing.clone(), question, marked.clone(), self.writer.clone()));
        let watchdog = Watchdog {
            publishing,
            question,
            marker: self.marker.clone(),
            sees_mark,
            marked,
            returns: session > 0,
            writer: self.writer.clone(),
            endpoint: endpoint.clone(),
            topics: self.topics.clone(),
            heard,
            received,
            health: self.health.clone(),
            patience: self.patience,
            noted: None,
            first: first_echo,
        };
        tasks.spawn(watchdog.run());
        if let Some(watch) = endpoint.watch() {
            tasks.spawn(watch);
        }
        let ended = match tasks.join_next().await {
            Some(Ok(ended)) => ended,
            Some(Err(error)) => Ended::Crashed { error },
            None => unreachable!("tasks were just spawned"),
        };
        self.writer.shut();
        ended
    }
}

/// The cause for people, unless the link was closed.
fn cause(ended: &Ended, endpoint: &Endpoint) -> Option<String> {
    let address = endpoint.address();
    Some(match ended {
        Ended::Closed => return None,
        Ended::Unconnected { error } => format!("connecting to {address}: {}", endpoint.describe(error)),
        Ended::Refused { cause } => format!("connecting to {address}: {cause}"),
        Ended::Unanswered => {
            format!("connecting to {address}: no answer within {:?}", CONNECT_TIMEOUT)
        }
        Ended::Failed { doing, error } => format!("{doing} over {address}: {}", endpoint.describe(error)),
        Ended::Replica => format!(
            "{address} is a replica: PUBLISH there reaches only its own subscribers, not those of its primary; \
             this node needs the primary"
        ),
        Ended::Moved { to } => format!("{address} is not the primary any more: the Sentinels name {to}"),
        Ended::Deaf => format!("listening to {address}: the connection was closed"),
        Ended::Silent { patience } => format!("listening to {address}: no echo within {patience:?}"),
        Ended::Crashed { error } => format!("serving {address}: {error}"),
    })
}
