//! Tests that two threads can take turns at one core.

use std::sync::mpsc::channel;
use std::time::Instant;

use super::tests::{Event, PATIENCE, answers_to, begin, perform};
use super::*;
use crate::storage::memory::Memory;

#[test]
fn what_a_thread_says_by_visits_and_by_sending_is_heard_in_its_order() {
    const PERFORMS_MIN: u64 = 20_000;
    let (events, receiver) = channel();
    let handle = begin("visits", Box::new(Memory), events);
    let mut committed = Vec::new();
    let mut visits = 0;
    let hear = |event: Event, committed: &mut Vec<u64>| {
        let Event::Delivered(batch) = event else { panic!("{event:?}") };
        for delivery in &batch {
            if let Delivery::Committed { own: Some(sequence), .. } = delivery {
                committed.push(*sequence);
            }
        }
        // Some answers are sent, some brought.
        let answers = Input::Answered(answers_to(&batch));
        if batch.len() % 2 == 0 { handle.send(answers) } else { handle.run_inline(answers) }
    };
    let started = Instant::now();
    let mut sequence = 0;
    while sequence < PERFORMS_MIN || visits == 0 {
        assert!(started.elapsed() < PATIENCE, "no visit finds the core free");
        sequence += 1;
        // A core that hears calls with a gap between them panics.
        if sequence % 3 == 0 {
            handle.send(perform(sequence));
        } else if let Some(batch) = handle.run_inline_and_evaluate(perform(sequence)) {
            visits += 1;
            handle.run_inline(Input::Answered(answers_to(&batch)));
        }
        // Now and then the core has nothing to do.
        while sequence % 50 == 1 && committed.len() < sequence as usize {
            hear(receiver.recv_timeout(PATIENCE).expect("something happens"), &mut committed);
        }
        while let Ok(event) = receiver.try_recv() {
            hear(event, &mut committed);
        }
    }
    while committed.len() < sequence as usize {
        hear(receiver.recv_timeout(PATIENCE).expect("something happens"), &mut committed);
    }
    assert!(committed.iter().copied().eq(1..=sequence));
    handle.kill();
}

#[test]
fn a_panic_on_a_visit_ends_the_node_and_not_the_thread_that_made_it() {
    let (events, receiver) = channel();
    let handle = begin("panics on a visit", Box::new(Memory), events);
    let status = handle.status();
    // Numbers with a gap between them are a bug of whoever made them.
    handle.run_inline(perform(1));
    handle.run_inline(perform(3));
    let error = loop {
        match receiver.recv_timeout(PATIENCE).expect("something happens") {
            Event::Stopped(error) => break error,
            Event::Delivered(batch) => handle.run_inline(Input::Answered(answers_to(&batch))),
            event => panic!("{event:?}"),
        }
    };
    assert!(matches!(error, Some(Error::Panic { .. })), "{error:?}");
    assert_eq!(handle.status().id, status.id);
    // Nobody is there any more.
    handle.run_inline(perform(4));
    assert!(handle.run_inline_and_evaluate(perform(5)).is_none());
}
