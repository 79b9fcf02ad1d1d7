//! Carries frames between the nodes of one process, including its worker threads.
//!
//! Joined by `driver.rs`. A frame goes straight into its receivers' queues, without a copy, a task or a lock that is
//! held while anyone waits. It must lose a frame only if a queue is full.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use tokio::sync::watch;

use super::{
    Attachment, Channel, Health, Inbound, Limits, Link, Outbound, Queue, Sender, lock, marker::Marker,
    no_peer_events,
};
use crate::raft::{Incarnation, Lane, Target};

/// A channel within this process, shared by all nodes that use its name.
pub struct Memory {
    name: Arc<str>,
    isolation: Isolation,
}

impl Memory {
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), isolation: Isolation::default() }
    }

    pub fn with_isolation(self, isolation: Isolation) -> Self {
        Self { isolation, ..self }
    }
}

/// Whether a node is cut off from all others, for tests of applications. Clones share one value.
#[derive(Clone, Default)]
pub struct Isolation(Arc<AtomicBool>);

impl Isolation {
    /// While it is on, every frame from and to the node is lost.
    pub fn set(&self, is_on: bool) {
        self.0.store(is_on, Ordering::Relaxed);
    }

    fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Channel for Memory {
    fn join(&self, me: Incarnation) -> Link {
        let inbound = Arc::new(Queue::new(Limits::OF_A_LINK));
        let listener = Arc::new(Listener { inbound: inbound.clone(), isolation: self.isolation.clone() });
        let hub = Hub::enter(&self.name, me, listener.clone());
        let attachment = MemoryAttachment {
            name: self.name.clone(),
            me,
            listener,
            health: watch::Sender::new(Health::Healthy),
        };
        let marker = Arc::new(Marker::default());
        Link {
            outbound: Outbound(Arc::new(MemorySender { hub, me, isolation: self.isolation.clone() })),
            inbound: Inbound::new(inbound),
            health: attachment.health.subscribe(),
            found: marker.found(),
            noted: marker.noted(),
            marker,
            peers: no_peer_events(),
            attachment: Box::new(attachment),
        }
    }
}

/// All hubs that have listeners, by name. Entering and leaving take this lock before the hub's own.
static HUBS: Mutex<BTreeMap<Arc<str>, Arc<Hub>>> = Mutex::new(BTreeMap::new());

/// The links that joined under one name. Copies of a directory join under one incarnation: all of them receive.
#[derive(Default)]
struct Hub {
    listeners: Mutex<BTreeMap<Incarnation, Vec<Arc<Listener>>>>,
}

/// The receiving end of a link.
struct Listener {
    inbound: Arc<Queue<Bytes>>,
    isolation: Isolation,
}

impl Listener {
    fn push(&self, frame: Bytes) {
        if !self.isolation.is_on() {
            self.inbound.push(frame);
        }
    }
}

impl Hub {
    fn enter(name: &Arc<str>, me: Incarnation, listener: Arc<Listener>) -> Arc<Self> {
        let mut hubs = lock(&HUBS);
        let hub = hubs.entry(name.clone()).or_default().clone();
        lock(&hub.listeners).entry(me).or_default().push(listener);
        hub
    }

    fn send(&self, from: Incarnation, to: Target, frame: Bytes) {
        let listeners = lock(&self.listeners);
        match to {
            Target::All => {
                let others = listeners.iter().filter(|(incarnation, _)| **incarnation != from);
                others.flat_map(|(_, listeners)| listeners).for_each(|listener| listener.push(frame.clone()));
            }
            Target::One(incarnation) => {
                let addressed = listeners.get(&incarnation).into_iter().flatten();
                addressed.for_each(|listener| listener.push(frame.clone()));
            }
        }
    }
}

/// The outbound side of a link.
struct MemorySender {
    hub: Arc<Hub>,
    me: Incarnation,
    isolation: Isolation,
}

impl Sender for MemorySender {
    fn send(&self, to: Target, _: Lane, frame: Bytes) {
        if !self.isolation.is_on() {
            self.hub.send(self.me, to, frame);
        }
    }
}

/// A link's entry in its hub; dropping it clears the entry, and the hub if it is then empty.
struct MemoryAttachment {
    name: Arc<str>,
    me: Incarnation,
    listener: Arc<Listener>,
    /// Kept so that the link's receiver waits forever instead of ending because no sender is left.
    health: watch::Sender<Health>,
}

impl Attachment for MemoryAttachment {
    fn leave(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        drop(self);
        Box::pin(std::future::ready(()))
    }
}

impl Drop for MemoryAttachment {
    fn drop(&mut self) {
        let mut hubs = lock(&HUBS);
        let Some(hub) = hubs.get(&self.name) else { return };
        let mut listeners = lock(&hub.listeners);
        // A link that has joined since under the same incarnation stays.
        if let Some(mine) = listeners.get_mut(&self.me) {
            mine.retain(|listener| !Arc::ptr_eq(listener, &self.listener));
        }
        listeners.retain(|_, listeners| !listeners.is_empty());
        let is_empty = listeners.is_empty();
        drop(listeners);
        if is_empty {
            hubs.remove(&self.name);
        }
        self.listener.inbound.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hub_lasts_as_long_as_somebody_is_in_it() {
        let memory = Memory::new("a hub lasts as long as a node is in it");
        let exists = || lock(&HUBS).contains_key(&memory.name);
        let first = memory.join(Incarnation::from_u128(1));
        let second = memory.join(Incarnation::from_u128(2));
        first.close().await;
        assert!(exists());
        drop(second);
        assert!(!exists());
    }

    #[tokio::test]
    async fn an_isolated_node_neither_sends_nor_receives() {
        let name = "an isolated node neither sends nor receives";
        let isolation = Isolation::default();
        let mut one = Memory::new(name).with_isolation(isolation.clone()).join(Incarnation::from_u128(1));
        let mut other = Memory::new(name).join(Incarnation::from_u128(2));
        isolation.set(true);
        one.outbound.say(Target::All, Bytes::from("lost"));
        other.outbound.say(Target::All, Bytes::from("lost"));
        other.outbound.say(Target::One(Incarnation::from_u128(1)), Bytes::from("lost"));
        isolation.set(false);
        one.outbound.say(Target::All, Bytes::from("heard"));
        other.outbound.say(Target::All, Bytes::from("heard"));
        for link in [&mut one, &mut other] {
            let mut frames = Vec::new();
            assert!(link.inbound.recv_many(&mut frames).await);
            assert_eq!(frames, ["heard"]);
        }
    }

    #[tokio::test]
    async fn frames_cross_threads_and_runtimes() {
        let memory = Memory::new("frames cross threads and runtimes");
        let mut here = memory.join(Incarnation::from_u128(1));
        let there = std::thread::spawn(move || {
            memory.join(Incarnation::from_u128(2)).outbound.say(Target::All, Bytes::from("hello"));
        });
        let mut frames = Vec::new();
        assert!(here.inbound.recv_many(&mut frames).await);
        assert_eq!(frames, ["hello"]);
        there.join().expect("the other thread sends without a fault");
    }
}
