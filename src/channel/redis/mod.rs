//! Carries frames over the pub/sub of a Redis server.
//!
//! Joined by `driver.rs`. A link is one supervisor task ([`supervisor`]) that connects, starts tasks which wait on one
//! thing each ([`publisher`], [`subscriber`], [`watchdog`]), and starts over when the first of them ends. It
//! must never touch a key of the server but its marker and its note, never report a password, and never give up.

#[cfg(test)]
pub(super) mod deployments;
mod discovery;
mod ended;
mod endpoint;
mod options;
#[cfg(test)]
mod outages;
mod publisher;
mod refusal;
mod role;
#[cfg(test)]
pub(super) mod server;
mod socket_writer;
mod subscriber;
mod supervisor;
mod topics;
mod watchdog;

pub use options::{
    AskedCredentials, Credentials, RedisOptions, RedisOptionsError, RedisServer, RedisTls, Sentinels,
};

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{sync::watch, task::JoinHandle};

use super::{
    Attachment, Channel, Health, Inbound, Limits, Link, Outbound, Queue,
    backoff::Backoff,
    marker::{Marker, MarkerRequest},
    no_peer_events,
};
use crate::raft::{Incarnation, Target};
use endpoint::Endpoint;
use socket_writer::SocketWriter;
use supervisor::Supervisor;
use topics::Topics;

/// A frame in flight out.
type OutboundFrame = (Target, Bytes);

/// A channel over a Redis server, shared by all who name the same server, db and channel.
pub struct Redis {
    endpoint: Endpoint,
    channel_name: String,
    patience: Duration,
}

impl Redis {
    /// Checks the options; connects to nothing yet.
    pub fn new(options: RedisOptions) -> Result<Self, RedisOptionsError> {
        let endpoint = Endpoint::new(&options)?;
        Ok(Self { endpoint, channel_name: options.channel_name, patience: options.patience })
    }

    /// What distinguishes this channel from others of a server.
    pub fn scope(&self) -> String {
        Topics::channel(self.endpoint.db(), &self.channel_name)
    }
}

impl Channel for Redis {
    fn join(&self, me: Incarnation) -> Link {
        let topics = Topics::new(self.endpoint.db(), &self.channel_name, me);
        let topics = if self.endpoint.is_cluster() { topics.with_tagged_keys() } else { topics };
        let writer = Arc::new(SocketWriter::new(topics.clone()));
        let inbound = Arc::new(Queue::new(Limits::OF_A_LINK));
        let health = Arc::new(watch::Sender::new(Health::Connecting));
        let heard_health = health.subscribe();
        let marker = Arc::new(Marker::at(format!("{} {}", self.endpoint.address(), topics.all())));
        let supervisor = Supervisor {
            marker: marker.clone(),
            endpoint: self.endpoint.clone(),
            topics: topics.clone(),
            patience: self.patience,
            writer: writer.clone(),
            inbound: inbound.clone(),
            health,
            backoff: Backoff::new(*me.as_bytes()),
        };
        let task = tokio::spawn(supervisor.run());
        let connection = Connection {
            marker: marker.clone(),
            topics,
            writer: writer.clone(),
            health: heard_health.clone(),
            task,
        };
        Link {
            outbound: Outbound(writer),
            inbound: Inbound::new(inbound),
            health: heard_health,
            found: marker.found(),
            noted: marker.noted(),
            marker,
            peers: no_peer_events(),
            attachment: Box::new(connection),
        }
    }
}

/// Keeps a link's supervisor running; dropping it ends every task and connection of the link.
struct Connection {
    marker: Arc<Marker>,
    topics: Topics,
    writer: Arc<SocketWriter>,
    health: watch::Receiver<Health>,
    task: JoinHandle<()>,
}

impl Connection {
    const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);
}

impl Attachment for Connection {
    fn leave(mut self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let can_flush = *self.health.borrow() == Health::Healthy;
            if can_flush {
                // No newcomer is to wait for a cluster that ends here. If it continues, its next leader marks it again.
                let keeps = self.marker.request() == MarkerRequest::Keep;
                self.writer.close(keeps.then(|| self.topics.unmark()));
                // When the time is over, what is still queued is lost: the drop below ends the task.
                let _ = tokio::time::timeout(Self::FLUSH_TIMEOUT, &mut self.task).await;
            }
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.marker.leave();
        self.task.abort();
    }
}
