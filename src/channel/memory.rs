//! This file carries frames between the nodes of one process, worker threads included.
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
    Channel, Health, Inbound, Limits, Link, Membership, Outbound, Queue, Sender, lock, marker::Marker,
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
        let room = Room::enter(&self.name, me, inbound.clone());
        let seat = Seat {
            name: self.name.clone(),
            me,
            inbound: inbound.clone(),
            health: watch::Sender::new(Health::Healthy),
        };
        let marker = Arc::new(Marker::default());
        Link {
            outbound: Outbound(Arc::new(Door { room, me })),
            inbound: Inbound(inbound),
            health: seat.health.subscribe(),
            found: marker.found(),
            noted: marker.noted(),
            marker,
            membership: Box::new(seat),
        }
    }
}

/// All rooms in which somebody is, by name. Who enters or leaves holds this lock before the room's own.
static ROOMS: Mutex<BTreeMap<Arc<str>, Arc<Room>>> = Mutex::new(BTreeMap::new());

/// Those who joined under one name. Of copies of a directory several join under one incarnation: all of them hear.
#[derive(Default)]
struct Room {
    inbounds: Mutex<BTreeMap<Incarnation, Vec<Arc<Queue<Bytes>>>>>,
}

impl Room {
    fn enter(name: &Arc<str>, me: Incarnation, inbound: Arc<Queue<Bytes>>) -> Arc<Self> {
        let mut rooms = lock(&ROOMS);
        let room = rooms.entry(name.clone()).or_default().clone();
        lock(&room.inbounds).entry(me).or_default().push(inbound);
        room
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

/// Where a link speaks into its room.
struct Door {
    room: Arc<Room>,
    me: Incarnation,
}

impl Sender for Door {
    fn send(&self, to: Target, frame: Bytes) {
        self.room.send(self.me, to, frame);
    }
}

/// A link's entry in its room; dropping it clears the entry, and the room if it is then empty.
struct Seat {
    name: Arc<str>,
    me: Incarnation,
    inbound: Arc<Queue<Bytes>>,
    /// Kept so that the link's receiver waits for ever instead of hearing that nobody will report any more.
    health: watch::Sender<Health>,
}

impl Membership for Seat {
    fn leave(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        drop(self);
        Box::pin(std::future::ready(()))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut rooms = lock(&ROOMS);
        let Some(room) = rooms.get(&self.name) else { return };
        let mut inbounds = lock(&room.inbounds);
        // Whoever joined since under the same incarnation stays.
        if let Some(mine) = inbounds.get_mut(&self.me) {
            mine.retain(|inbound| !Arc::ptr_eq(inbound, &self.inbound));
        }
        inbounds.retain(|_, inbounds| !inbounds.is_empty());
        let is_empty = inbounds.is_empty();
        drop(inbounds);
        if is_empty {
            rooms.remove(&self.name);
        }
        self.inbound.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_room_lasts_as_long_as_somebody_is_in_it() {
        let memory = Memory::new("a room lasts as long as somebody is in it");
        let exists = || lock(&ROOMS).contains_key(&memory.name);
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
