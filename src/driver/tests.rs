//! Tests the driver with storages that are slow or fail.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Condvar, Mutex};

use super::*;
use crate::channel::memory::Memory;
use crate::raft::{
    Answered, ClusterUuid, Incarnation, MethodResult, Perform, ReplicaRecord, StoredState, Write,
};

pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// What happens at a node, in its order.
#[derive(Debug)]
pub(super) enum Event {
    Delivered(Vec<Delivery>),
    Stopped(Option<Error>),
    Loading,
    /// A save began, with this many writes.
    Saving(usize),
    /// A save began after one that failed.
    SavingAgain,
    /// The gate is shut, and the storage waits at it.
    Held,
    /// The storage was dropped.
    Released,
}

struct Events(Sender<Event>);

impl Application for Events {
    fn deliver(&self, batch: Vec<Delivery>) {
        let _ = self.0.send(Event::Delivered(batch));
    }

    fn stopped(&self, error: Option<Error>) {
        let _ = self.0.send(Event::Stopped(error));
    }
}

/// A storage that does nothing until the test lets it.
struct Gated {
    gate: Gate,
    events: Sender<Event>,
    has_failed: bool,
}

#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Default)]
struct GateState {
    is_open: bool,
    fails: Option<Failure>,
}

#[derive(Clone, Copy)]
enum Failure {
    Error,
    Panic,
}

fn failure() -> Error {
    Error::Storage { what: "writing", path: "a path".into(), cause: "the device failed".into() }
}

impl Gate {
    fn set(&self, is_open: bool) {
        self.0.0.lock().unwrap().is_open = is_open;
        self.0.1.notify_all();
    }

    fn fail(&self, failure: Failure) {
        self.0.0.lock().unwrap().fails = Some(failure);
        self.set(true);
    }

    fn pass(&self, events: &Sender<Event>) -> Result<(), Error> {
        let state = self.0.0.lock().unwrap();
        if !state.is_open {
            let _ = events.send(Event::Held);
        }
        let fails = self.0.1.wait_while(state, |state| !state.is_open).unwrap().fails;
        match fails {
            None => Ok(()),
            Some(Failure::Error) => Err(failure()),
            Some(Failure::Panic) => panic!("the storage has a bug"),
        }
    }
}

impl Storage for Gated {
    fn load(&mut self) -> Result<Option<StoredState>, Error> {
        let _ = self.events.send(Event::Loading);
        self.gate.pass(&self.events).map(|()| None)
    }

    fn save(&mut self, writes: &[Write]) -> Result<(), Error> {
        let event = if self.has_failed { Event::SavingAgain } else { Event::Saving(writes.len()) };
        let _ = self.events.send(event);
        self.has_failed = true;
        self.gate.pass(&self.events)?;
        self.has_failed = false;
        Ok(())
    }

    fn is_durable(&self) -> bool {
        true
    }
}

impl Drop for Gated {
    fn drop(&mut self) {
        let _ = self.events.send(Event::Released);
    }
}

/// A cluster of one node.
struct World {
    handle: Handle,
    gate: Gate,
    events: Receiver<Event>,
}

impl World {
    fn new(name: &str) -> Self {
        let gate = Gate::default();
        let (events, receiver) = channel();
        let storage = Gated { gate: gate.clone(), events: events.clone(), has_failed: false };
        let handle = begin(name, Box::new(storage), events);
        Self { handle, gate, events: receiver }
    }

    /// Waits for an event, answering what is delivered on the way.
    fn wait_for<T>(&self, mut sought: impl FnMut(&Event) -> Option<T>) -> T {
        loop {
            let event = self.next();

            if let Event::Delivered(batch) = &event {
                self.handle.send(Input::Answered(answers_to(batch)));
            }
            if let Some(found) = sought(&event) {
                return found;
            }
        }
    }

    fn next(&self) -> Event {
        self.events.recv_timeout(PATIENCE).expect("something happens")
    }

    fn perform(&self, sequence: u64) {
        self.handle.send(perform(sequence));
    }

    fn wait_for_commit(&self) {
        self.wait_for(|event| is_commit(event).then_some(()));
    }
}

pub(super) fn begin(name: &str, storage: Box<dyn Storage>, events: Sender<Event>) -> Handle {
    let options = Options::new("a", 1, [7; 32]);
    start(options, Duration::from_millis(1), Box::new(Memory::new(name)), storage, Events(events)).unwrap()
}

pub(super) fn perform(sequence: u64) -> Input {
    Input::Perform(vec![Perform { sequence, method: "m".into(), args: "[]".into() }])
}

pub(super) fn answers_to(batch: &[Delivery]) -> Answered {
    let evaluations = batch.iter().filter(|delivery| delivery.is_evaluation());
    Answered::from(evaluations.map(|_| MethodResult::Action("1".into())).collect::<Vec<_>>())
}

fn is_commit(event: &Event) -> bool {
    matches!(event, Event::Delivered(batch) if batch.iter().any(|d| matches!(d, Delivery::Committed { .. })))
}

fn is_settled(event: &Event) -> bool {
    matches!(event, Event::Delivered(batch) if batch.iter().any(|d| matches!(d, Delivery::Settled { .. })))
}

#[test]
fn while_the_storage_is_read_inputs_wait_and_the_status_says_so() {
    let world = World::new("reads");
    assert!(matches!(world.next(), Event::Loading));
    assert_eq!(world.handle.status().waiting_for.as_deref(), Some("reading its storage"));
    world.perform(1);
    world.gate.set(true);
    world.wait_for_commit();
    assert_eq!(world.handle.status().waiting_for, None);
    world.handle.kill();
}

#[test]
fn a_slow_storage_holds_up_no_other_node() {
    let slow = World::new("slow");
    assert!(matches!(slow.next(), Event::Loading));
    let other = World::new("other");
    other.gate.set(true);
    other.perform(1);
    other.wait_for_commit();
    // The slow one gets further, and is held up in its first save.
    slow.gate.set(true);
    slow.perform(1);
    slow.wait_for_commit();
    slow.gate.set(false);
    slow.perform(2);
    slow.wait_for(|event| matches!(event, Event::Held).then_some(()));
    other.perform(2);
    other.wait_for_commit();
    // What rests on the write that is held up waits for it.
    slow.gate.set(true);
    slow.wait_for_commit();
    slow.handle.kill();
    other.handle.kill();
}

#[test]
fn a_storage_that_cannot_be_read_ends_the_node() {
    let world = World::new("unreadable");
    world.gate.fail(Failure::Error);
    assert_eq!(world.wait_for(stopped), Some(failure()));
}

#[test]
fn a_node_that_is_killed_releases_its_storage_and_says_nothing() {
    let reading = World::new("killed while it reads");
    assert!(matches!(reading.next(), Event::Loading));
    reading.handle.kill();
    reading.gate.set(true);
    reading.wait_for(|event| matches!(event, Event::Released).then_some(()));
    assert!(reading.events.recv_timeout(PATIENCE).is_err(), "a killed node delivers nothing");

    let writing = World::new("killed while it writes");
    writing.gate.set(true);
    writing.perform(1);
    writing.wait_for_commit();
    writing.handle.kill();
    writing.wait_for(|event| matches!(event, Event::Released).then_some(()));
    while let Ok(event) = writing.events.recv_timeout(PATIENCE) {
        assert!(!matches!(event, Event::Stopped(_)), "{event:?}");
    }
}

#[test]
fn a_failed_write_ends_the_node_and_nothing_is_written_after_it() {
    for (kind, expected) in [
        (Failure::Error, failure()),
        (Failure::Panic, Error::Panic { message: "the storage has a bug".into() }),
    ] {
        let world = World::new("fails");
        world.gate.set(true);
        world.perform(1);
        world.wait_for_commit();
        world.gate.fail(kind);
        world.perform(2);
        let mut is_released = false;
        let error = world.wait_for(|event| {
            assert!(!matches!(event, Event::SavingAgain), "{event:?}");
            assert!(!is_commit(event), "{event:?} after a failure");
            is_released |= matches!(event, Event::Released);
            stopped(event)
        });
        assert_eq!((error, is_released), (Some(expected), true));
    }
}

#[test]
fn a_closing_node_saves_everything_and_releases_its_storage_before_it_says_so() {
    let world = World::new("closes");
    world.gate.set(true);
    world.perform(1);
    world.wait_for_commit();
    world.gate.set(false);
    world.perform(2);
    world.wait_for(|event| matches!(event, Event::Held).then_some(()));
    world.handle.send(Input::Close { ticks: 0, leaves: false });
    world.gate.set(true);
    world.wait_for(|event| {
        assert!(stopped(event).is_none(), "stopped before its storage was released");
        matches!(event, Event::Released).then_some(())
    });
    assert_eq!(world.wait_for(stopped), None);
}

#[test]
fn a_storage_that_fails_while_a_node_closes_is_told() {
    let world = World::new("closes badly");
    world.gate.set(true);
    world.perform(1);
    world.wait_for_commit();
    world.gate.set(false);
    world.perform(2);
    world.wait_for(|event| matches!(event, Event::Held).then_some(()));
    world.handle.send(Input::Close { ticks: 0, leaves: false });
    // The core has given up its call and stopped; only the write is in flight.
    world.wait_for(|event| is_settled(event).then_some(()));
    world.gate.fail(Failure::Error);
    assert_eq!(world.wait_for(stopped), Some(failure()));
}

#[tokio::test]
async fn writes_that_wait_are_saved_together_and_a_former_replica_is_not_reported() {
    let gate = Gate::default();
    let (events, receiver) = channel();
    gate.set(true);
    let (mut write_handle, mut reports) =
        Reports::start(Box::new(Gated { gate: gate.clone(), events, has_failed: false })).unwrap();
    assert_eq!(reports.load().await, Ok(None));
    gate.set(false);
    write_handle.save(7, Write::default());
    assert!(matches!(receiver.recv_timeout(PATIENCE), Ok(Event::Loading)));
    assert!(matches!(receiver.recv_timeout(PATIENCE), Ok(Event::Saving(1))));
    assert!(matches!(receiver.recv_timeout(PATIENCE), Ok(Event::Held)));
    let replica = ReplicaRecord::new(Incarnation::from_u128(1), ClusterUuid::NONE);
    write_handle.save(8, Write::default());
    // A new replica numbers its writes again.
    write_handle.save(1, Write { replica: Some(replica), ..Write::default() });
    write_handle.save(2, Write::default());
    gate.set(true);
    assert!(matches!(reports.next().await, Input::Persisted(2)));
    assert!(matches!(receiver.recv_timeout(PATIENCE), Ok(Event::Saving(3))));
    assert_eq!(reports.end(Some(write_handle)).await, Ok(()));
    assert!(matches!(receiver.recv_timeout(PATIENCE), Ok(Event::Released)));
}

fn stopped(event: &Event) -> Option<Option<Error>> {
    match event {
        Event::Stopped(error) => Some(error.clone()),
        Event::Delivered(_)
        | Event::Loading
        | Event::Saving(_)
        | Event::SavingAgain
        | Event::Held
        | Event::Released => None,
    }
}
