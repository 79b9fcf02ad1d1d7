//! Carries frames between the nodes of one process, including its worker threads.
//!
//! Joined by `driver.rs`. A frame goes straight into its receivers' queues, without a copy, a task or a lock that is
//! held while anyone waits. It must never lose a frame but by a full queue.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use tokio::sync::watch;

use super::{
    Attachment, Channel, Health, Inbound, Limits, Link, Outbound, Queue, Sender, lock, marker::Marker,
};
use crate::raft::{Incarnation, Target};

/// A channel within this process, shared by all who name it alike.
pub struct Memory {
    name: Arc<str>,
}

impl Memory {
    pub fn new(name: &str) -> Self {
        Self { name: name.into() }
    }
}

impl Channel for Memory {
    fn join(&self, me: Incarnation) -> Link {
        let inbound = Arc::new(Queue::new(Limits::OF_A_LINK));
        let hub = Hub::enter(&self.name, me, inbound.clone());
        let attachment = MemoryAttachment {
            name: self.name.clone(),
            me,
            inbound: inbound.clone(),
            health: watch::Sender::new(Health::Healthy),
        };
        let marker = Arc::new(Marker::default());
        Link {
            outbound: Outbound(Arc::new(MemorySender { hub, me })),
            inbound: Inbound(inbound),
            health: attachment.health.subscribe(),
            found: marker.found(),
            noted: marker.noted(),
            marker,
            attachment: Box::new(attachment),
        }
    }
}

/// All hubs in which somebody is, by name. Who enters or leaves holds this lock before the hub's own.
static HUBS: Mutex<BTreeMap<Arc<str>, Arc<Hub>>> = Mutex::new(BTreeMap::new());

/// Those who joined under one name. Of copies of a directory several join under one incarnation: all of them hear.
#[derive(Default)]
struct Hub {
    inbounds: Mutex<BTreeMap<Incarnation, Vec<Arc<Queue<Bytes>>>>>,
}

impl Hub {
    fn enter(name: &Arc<str>, me: Incarnation, inbound: Arc<Queue<Bytes>>) -> Arc<Self> {
        let mut hubs = lock(&HUBS);
        let hub = hubs.entry(name.clone()).or_default().clone();
        lock(&hub.inbounds).entry(me).or_default().push(inbound);
        hub
    }

    fn send(&self, from: Incarnation, to: Target, frame: Bytes) {
        let inbounds = lock(&self.inbounds);
        match to {
            Target::All => {
                let others = inbounds.iter().filter(|(incarnation, _)| **incarnation != from);
                others.flat_map(|(_, inbounds)| inbounds).for_each(|inbound| inbound.push(frame.clone()));
            }
            Target::One(incarnation) => {
                let addressed = inbounds.get(&incarnation).into_iter().flatten();
                addressed.for_each(|inbound| inbound.push(frame.clone()));
            }
        }
    }
}

/// Where a link speaks into its hub.
struct MemorySender {
    hub: Arc<Hub>,
    me: Incarnation,
}

impl Sender for MemorySender {
    fn send(&self, to: Target, frame: Bytes) {
        self.hub.send(self.me, to, frame);
    }
}

/// A link's entry in its hub; dropping it clears the entry, and the hub if it is then empty.
struct MemoryAttachment {
    name: Arc<str>,
    me: Incarnation,
    inbound: Arc<Queue<Bytes>>,
    /// Kept so that the link's receiver waits forever instead of hearing that nobody will report any more.
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
        let mut inbounds = lock(&hub.inbounds);
        // Whoever joined since under the same incarnation stays.
        if let Some(mine) = inbounds.get_mut(&self.me) {
            mine.retain(|inbound| !Arc::ptr_eq(inbound, &self.inbound));
        }
        inbounds.retain(|_, inbounds| !inbounds.is_empty());
        let is_empty = inbounds.is_empty();
        drop(inbounds);
        if is_empty {
            hubs.remove(&self.name);
        }
        self.inbound.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hub_lasts_as_long_as_somebody_is_in_it() {
        let memory = Memory::new("a hub lasts as long as somebody is in it");
        let exists = || lock(&HUBS).contains_key(&memory.name);
        let first = memory.join(Incarnation::from_u128(1));
        let second = memory.join(Incarnation::from_u128(2));
        first.close().await;
        assert!(exists());
        drop(second);
        assert!(!exists());
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
