//! Tests that two threads can take turns at one core.

use std::sync::mpsc::channel;
use std::time::Instant;

use super::tests::{Event, PATIENCE, answers_to, begin, perform};
use super::*;
use crate::storage::memory::Memory;

#[test]
fn inputs_of_a_thread_run_inline_or_sent_are_handled_in_order() {
    const PERFORMS_MIN: u64 = 20_000;
    let (events, receiver) = channel();
    let handle = begin("inline turns", Box::new(Memory), events);
    let mut committed = Vec::new();
    let mut inline_turns = 0;
    let handle_event = |event: Event, committed: &mut Vec<u64>| {
        let Event::Delivered(batch) = event else { panic!("{event:?}") };
        for delivery in &batch {
            if let Delivery::Committed { own: Some(sequence), .. } = delivery {
                committed.push(*sequence);
            }
        }
        // Some answers are sent, some are handled inline.
        let answers = Input::Answered(answers_to(&batch));
        if batch.len() % 2 == 0 { handle.send(answers) } else { handle.run_inline(answers) }
    };
    let started = Instant::now();
    let mut sequence = 0;
    while sequence < PERFORMS_MIN || inline_turns == 0 {
        assert!(started.elapsed() < PATIENCE, "no inline turn finds the core free");
        sequence += 1;
        // A gap between the numbers of calls makes the core panic.
        if sequence % 3 == 0 {
            handle.send(perform(sequence));
        } else if let Some(batch) = handle.run_inline_and_evaluate(perform(sequence)) {
            inline_turns += 1;
            handle.run_inline(Input::Answered(answers_to(&batch)));
        }
        // Now and then the core has nothing to do.
        while sequence % 50 == 1 && committed.len() < sequence as usize {
            handle_event(receiver.recv_timeout(PATIENCE).expect("something happens"), &mut committed);
        }
        while let Ok(event) = receiver.try_recv() {
            handle_event(event, &mut committed);
        }
    }
    while committed.len() < sequence as usize {
        handle_event(receiver.recv_timeout(PATIENCE).expect("something happens"), &mut committed);
    }
    assert!(committed.iter().copied().eq(1..=sequence));
    handle.kill();
}

#[test]
fn a_panic_of_an_inline_turn_ends_the_node_and_not_the_calling_thread() {
    let (events, receiver) = channel();
    let handle = begin("panics inline", Box::new(Memory), events);
    let status = handle.status();
    // A gap between the numbers is a bug of the caller.
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
    // The node has ended: inputs have no effect.
    handle.run_inline(perform(4));
    assert!(handle.run_inline_and_evaluate(perform(5)).is_none());
}
