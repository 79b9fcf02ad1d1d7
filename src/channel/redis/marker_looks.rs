//! Looks for the markers of the channels on which a node may found a cluster, and says what was found.
//!
//! Run by the supervisor as one task per session. A socket hears no replies, so the questions have a connection of their
//! own, as long as a link has any.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use tokio::time::{sleep, timeout};

use super::{
    super::marker::MarkerRequest,
    endpoint::{Endpoint, Publishing},
    redis_link::RedisLink,
    shared::Shared,
    topics::Topics,
};

pub(super) struct MarkerLooks {
    pub(super) shared: Arc<Shared>,
    pub(super) endpoint: Endpoint,
    pub(super) publishing: Publishing,
    /// From one look to the next.
    pub(super) interval: Duration,
    /// Until when the members of a cluster may still be returning from an outage, if there was one.
    pub(super) returns_until: Option<Instant>,
}

impl MarkerLooks {
    pub(super) async fn run(self) -> Infallible {
        let mut connection = None;
        loop {
            sleep(self.interval).await;
            let looks = |link: &RedisLink| link.marker.request() == MarkerRequest::Look && link.may_mark();
            let links = self.shared.links.select(looks);
            if links.is_empty() {
                connection = None;
            } else if let Some(asked) = self.connection(connection.take()).await {
                let looks = join_all(links.iter().map(|link| {
                    let mut connection = asked.clone();
                    let look = link.topics.look();
                    async move { connection.send_packed_command(&look).await }
                }));
                if let Ok(looks) = timeout(self.interval, looks).await {
                    let mut works = true;
                    for (link, look) in links.iter().zip(looks) {
                        match look {
                            Ok(reply) => link.set_sees_mark(Topics::is_marked(&reply)),
                            Err(error) => works &= !error.is_unrecoverable_error(),
                        }
                    }
                    connection = works.then_some(asked);
                }
            }
            let has_just_returned = self.returns_until.is_some_and(|until| Instant::now() < until);
            for link in self.shared.links.select(RedisLink::is_admitted) {
                link.marker.set_found(link.sees_mark() == Some(true) || has_just_returned);
            }
        }
    }

    async fn connection(&self, former: Option<MultiplexedConnection>) -> Option<MultiplexedConnection> {
        match &self.publishing {
            Publishing::Client(connection) => Some(connection.clone()),
            Publishing::Socket(_) if former.is_some() => former,
            Publishing::Socket(_) => {
                timeout(self.interval, self.endpoint.connect_to_ask()).await.ok().and_then(Result::ok)
            }
        }
    }
}
