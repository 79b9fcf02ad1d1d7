//! Keeps shared connections connected: connects, runs a session until a part of it ends, and starts again.
//!
//! Spawned by [`super::Redis`], one task for all links that share connections. It must end only by being closed or
//! dropped.

use std::{sync::Arc, time::Instant};

use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    super::backoff::Backoff,
    admissions::{self, Admissions},
    cause::{CONNECT_TIMEOUT, cause},
    echoes::Echoes,
    ended::Ended,
    endpoint::{Connections, Endpoint},
    marker_looks::MarkerLooks,
    publisher,
    redis_link::RedisLink,
    refusal::refusable,
    shared::Shared,
    subscriber,
    watchdog::{ECHOES_UNHEARD_MAX, Watchdog},
};
use crate::error::message_of;

pub(super) struct Supervisor {
    pub(super) endpoint: Endpoint,
    pub(super) shared: Arc<Shared>,
    pub(super) backoff: Backoff,
}

impl Supervisor {
    /// Runs until the last link has left and the server has taken all that was queued.
    pub(super) async fn run(mut self) {
        for session in 0.. {
            let cause = match self.endpoint.resolved().await {
                Ok(endpoint) => cause(&self.session(&endpoint, session).await, &endpoint),
                Err(why) => Some(format!("connecting to {}: {why}", self.endpoint.address())),
            };
            let Some(cause) = cause else { return };
            if self.shared.links.any(RedisLink::is_proven) {
                self.backoff.reset();
            }
            self.shared.set_broken(&cause);
            sleep(self.backoff.next()).await;
            // Raft has repeated the necessary frames by now, and would have to read these before the present ones.
            self.shared.writer.clear();
        }
    }

    async fn session(&self, endpoint: &Endpoint, session: u64) -> Ended {
        let links = self.shared.links.all();
        let connecting = refusable(endpoint.connect(&links));
        match timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(Ok(connections))) => self.serve(endpoint, connections, &links, session).await,
            Ok(Ok(Err(ended))) => ended,
            Ok(Err(panic)) => Ended::Refused { cause: message_of(&*panic) },
            Err(_) => Ended::Unanswered,
        }
    }

    /// Runs the tasks of a session until one of them ends; the others then end with it.
    async fn serve(
        &self,
        endpoint: &Endpoint,
        connections: Connections,
        links: &[Arc<RedisLink>],
        session: u64,
    ) -> Ended {
        let Connections { publishing, question, looks, subscribed, sink, messages, received } = connections;
        self.shared.set_served();
        // After an outage the members of a cluster return one after the other.
        let returns = session > 0;
        let returns_until = returns.then(|| Instant::now() + self.shared.patience);
        for ((link, look), subscribed) in links.iter().zip(looks).zip(subscribed) {
            admissions::admit(link, look, subscribed, returns, endpoint);
        }
        let echoes = Arc::new(Echoes::new(session));
        let interval = self.shared.patience / ECHOES_UNHEARD_MAX;
        let mut tasks = JoinSet::new();
        tasks.spawn(subscriber::run(messages, self.shared.clone(), echoes.clone(), received.clone()));
        tasks.spawn(publisher::run(publishing.clone(), self.shared.clone()));
        tasks.spawn(publisher::listen(publishing.clone(), question, self.shared.clone()));
        let deferred = publisher::write_deferred(self.shared.clone());
        tasks.spawn(async move { match deferred.await {} });
        let admissions =
            Admissions { shared: self.shared.clone(), endpoint: endpoint.clone(), sink, returns_until };
        tasks.spawn(admissions.run());
        let looks = MarkerLooks {
            shared: self.shared.clone(),
            endpoint: endpoint.clone(),
            publishing: publishing.clone(),
            interval,
            returns_until,
        };
        tasks.spawn(async move { match looks.run().await {} });
        let watchdog = Watchdog {
            publishing,
            question,
            shared: self.shared.clone(),
            endpoint: endpoint.clone(),
            echoes,
            received,
            kept: Vec::new(),
            turn: 0,
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
        self.shared.writer.shut();
        ended
    }
}
