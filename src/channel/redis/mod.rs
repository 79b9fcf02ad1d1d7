//! Carries frames over the pub/sub of a Redis server.
//!
//! Joined by `driver.rs`. Links of one process with the same options for the server share connections ([`shared`]).
//! One supervisor task ([`supervisor`]) connects, starts tasks which wait on one thing each ([`publisher`],
//! [`subscriber`], [`watchdog`], [`admissions`], [`marker_looks`]), and starts over when the first of them ends. It
//! must never touch a key of the server other than its marker and its note, never report a password, and never give
//! up.

mod admissions;
mod cause;
#[cfg(test)]
pub(super) mod deployments;
mod discovery;
mod echoes;
mod ended;
mod endpoint;
mod links;
mod marker_looks;
mod options;
#[cfg(test)]
mod outages;
mod packing;
mod publisher;
mod redis_link;
mod refusal;
mod role;
#[cfg(test)]
pub(super) mod server;
mod shared;
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

use super::{
    Attachment, Channel, Health, Inbound, Link, Outbound,
    backoff::Backoff,
    marker::{Marker, MarkerRequest},
    no_peer_events,
};
use crate::raft::{Incarnation, Target};
use endpoint::Endpoint;
use redis_link::RedisLink;
use shared::{LinkSender, ServerKey, Shared};
use supervisor::Supervisor;
use topics::Topics;

/// A frame in flight out.
type OutboundFrame = (Target, Bytes);

/// A channel over a Redis server, shared by all nodes with the same server, db and channel name.
pub struct Redis {
    endpoint: Endpoint,
    channel_name: String,
    patience: Duration,
    /// Links with the same key share connections; `None`: this one shares none.
    key: Option<ServerKey>,
}

impl Redis {
    /// Checks the options; connects to nothing yet.
    pub fn new(options: RedisOptions) -> Result<Self, RedisOptionsError> {
        let endpoint = Endpoint::new(&options)?;
        let key = ServerKey::new(&options);
        Ok(Self { endpoint, channel_name: options.channel_name, patience: options.patience, key })
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
        let open = self.key.as_ref().and_then(Shared::find);
        let is_new = open.is_none();
        let shared = open.unwrap_or_else(|| Shared::new(self.key.clone(), self.patience));
        let marker = Marker::at(format!("{} {}", self.endpoint.address(), topics.all()));
        let link = Arc::new(RedisLink::new(topics, marker.waking(shared.is_urgent.clone())));
        shared.add(&link);
        if is_new {
            let supervisor = Supervisor {
                endpoint: self.endpoint.clone(),
                shared: shared.clone(),
                backoff: Backoff::new(*me.as_bytes()),
            };
            shared.set_supervisor(tokio::spawn(supervisor.run()));
        }
        Link {
            outbound: Outbound(Arc::new(LinkSender { shared: shared.clone(), link: link.clone() })),
            inbound: Inbound::new(link.inbound.clone()),
            health: link.health(),
            found: link.marker.found(),
            noted: link.marker.noted(),
            marker: link.marker.clone(),
            peers: no_peer_events(),
            attachment: Box::new(Connection { shared, link }),
        }
    }
}

/// Keeps a link on its connections; dropping the last one ends every task and connection.
struct Connection {
    shared: Arc<Shared>,
    link: Arc<RedisLink>,
}

impl Connection {
    const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

    /// Waits until what is queued has left: with the last link, until the server has taken it.
    async fn flush(&self) {
        match self.shared.close_if_last() {
            Some(supervisor) => drop(supervisor.await),
            None => {
                self.shared.writer.write();
                self.shared.writer.drained(&self.link).await;
            }
        }
    }
}

impl Attachment for Connection {
    fn leave(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let can_flush = *self.link.health().borrow() == Health::Healthy;
            self.link.begin_leaving();
            if can_flush {
                // No newcomer is to wait for a cluster that ends here. If it continues, its next leader marks it again.
                if self.link.marker.request() == MarkerRequest::Keep {
                    self.shared.writer.write_commands(&[self.link.topics.unmark()]);
                }
                // When the time is over, what is still queued is lost: the drop below ends what serves the last link.
                let _ = tokio::time::timeout(Self::FLUSH_TIMEOUT, self.flush()).await;
            }
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.link.marker.leave();
        self.shared.remove(&self.link);
    }
}
