//! Subscribes to the topics of links that join a session, and leaves those that no link needs any more.
//!
//! Run by the supervisor as one task per session. If a user may not subscribe to the topics of a link, that link
//! alone is broken; it is tried again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{RedisResult, aio::PubSubSink};
use tokio::time::timeout;

use super::{
    cause::{CONNECT_TIMEOUT, cause},
    ended::Ended,
    endpoint::{Endpoint, Look, look_at, subscribe},
    redis_link::RedisLink,
    shared::Shared,
};

/// How long after a refusal a link is tried again.
const RETRY: Duration = Duration::from_millis(500);

pub(super) struct Admissions {
    pub(super) shared: Arc<Shared>,
    pub(super) endpoint: Endpoint,
    pub(super) sink: PubSubSink,
    /// Until when the members of a cluster may still be returning from an outage, if there was one.
    pub(super) returns_until: Option<Instant>,
}

impl Admissions {
    pub(super) async fn run(mut self) -> Ended {
        let mut has_tried_to_pack = false;
        loop {
            for topic in self.shared.links.take_unneeded() {
                // A user without this right continues to receive frames that no link needs, and ignores them.
                let _ = self.sink.unsubscribe(topic).await;
            }
            let links = self.shared.links.select(|link| !link.is_admitted());
            if !links.is_empty()
                && let Err(ended) =
                    timeout(CONNECT_TIMEOUT, self.admit(&links)).await.unwrap_or(Err(Ended::Unanswered))
                && let Some(cause) = cause(&ended, &self.endpoint)
            {
                links.iter().for_each(|link| link.set_broken(&cause));
            }
            let packing = &self.shared.writer.packing;
            if packing.is_wanted() && !std::mem::replace(&mut has_tried_to_pack, true) {
                // A user without this right packs nothing.
                packing.set_subscribed(self.sink.subscribe(packing.topic()).await.is_ok());
                self.shared.is_urgent.notify_one();
            }
            let is_done = !self.shared.links.any(|link| !link.is_admitted());
            let change = self.shared.has_changed.notified();
            if is_done {
                change.await;
            } else {
                let _ = timeout(RETRY, change).await;
            }
        }
    }

    /// Over a connection of its own, which asks what the channels hold.
    async fn admit(&self, links: &[Arc<RedisLink>]) -> Result<(), Ended> {
        let mut connection =
            self.endpoint.connect_to_ask().await.map_err(|error| Ended::Unconnected { error })?;
        let looks = look_at(&mut connection, links).await;
        let subscribed = subscribe(&self.sink, links).await;
        let returns = self.returns_until.is_some_and(|until| Instant::now() < until);
        for ((link, look), subscribed) in links.iter().zip(looks).zip(subscribed) {
            admit(link, look, subscribed, returns, &self.endpoint);
        }
        self.shared.is_urgent.notify_one();
        Ok(())
    }
}

/// Lets a link take part in the session, if its topics are subscribed.
pub(super) fn admit(
    link: &RedisLink,
    look: Look,
    subscribed: RedisResult<()>,
    returns: bool,
    endpoint: &Endpoint,
) {
    if let Err(error) = subscribed {
        let refused = Ended::Failed { doing: format!("subscribing to {}", link.topics.quoted()), error };
        if let Some(cause) = cause(&refused, endpoint) {
            link.set_broken(&cause);
        }
        return;
    }
    if let Some(note) = look.note {
        link.marker.set_noted(note);
    }
    link.marker.set_found(look.is_marked == Some(true) || returns);
    link.admit(look.is_marked);
}
