//! Checks that a history of registers and queues is linearizable.
//!
//! Run by the nemesis (`nemesis/checks/linearizability.js`) with a file of JSON lines, one operation each:
//! `{ object, call, return, write | cas | read | push | take | list }`. The search is
//! `todc_utils`' (Wing and Gong's, with Lowe's memory); this file only says what a register and a queue do. It must know nothing of conflux: it is the second opinion.

use std::{
    collections::{BTreeMap, VecDeque},
    env, fs,
    process::ExitCode,
    thread,
};

use serde::Deserialize;
use todc_utils::{
    linearizability::{
        WGLChecker,
        history::{Action, History},
    },
    specifications::Specification,
};

/// One operation of a client. Without `return` it is unknown whether it happened: it may have, at any later time.
#[derive(Clone, Debug, Deserialize)]
struct Operation {
    object: String,
    call: u64,
    r#return: Option<u64>,
    #[serde(flatten)]
    what: What,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum What {
    Write(Value),
    Cas(Value, Value),
    Read(Value),
    /// At the end of a queue.
    Push(String),
    /// What was at its front; nothing: it was empty, or that is not known.
    Take(Value),
    /// All that is in the queue.
    List(VecDeque<String>),
}

/// What a register holds; nothing at first.
type Value = Option<String>;

/// What the search decides about: an operation, and whether its result is known.
#[derive(Clone, Debug)]
struct Step {
    what: What,
    is_known: bool,
}

/// What an object holds: a register its value, a queue its items.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    value: Value,
    items: VecDeque<String>,
}

struct Object;

impl Specification for Object {
    type State = State;
    type Operation = Step;

    fn init() -> State {
        State::default()
    }

    fn apply(Step { what, is_known }: &Step, state: &State) -> (bool, State) {
        let holding = |value: &Value| State { value: value.clone(), items: state.items.clone() };
        match what {
            What::Write(value) => (true, holding(value)),
            What::Cas(from, to) if *from == state.value => (true, holding(to)),
            // One whose outcome is unknown may also have been refused.
            What::Cas(..) => (!is_known, state.clone()),
            What::Read(value) => (*value == state.value, state.clone()),
            What::Push(item) => {
                let mut next = state.clone();
                next.items.push_back(item.clone());
                (true, next)
            }
            What::Take(item) => {
                let mut next = state.clone();
                let front = next.items.pop_front();
                (!is_known || front == *item, next)
            }
            What::List(items) => (*items == state.items, state.clone()),
        }
    }
}

fn main() -> ExitCode {
    let Some(file) = env::args().nth(1) else {
        eprintln!("usage: linearizability <file of JSON lines>");
        return ExitCode::from(2);
    };
    let operations = match read(&file) {
        Ok(operations) => operations,
        Err(error) => {
            eprintln!("reading `{file}`: {error}");
            return ExitCode::from(2);
        }
    };
    let wrong = wrong_objects(operations);
    for object in &wrong {
        println!("the {object} is not linearizable");
    }
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read(file: &str) -> Result<Vec<Operation>, Box<dyn std::error::Error>> {
    Ok(fs::read_to_string(file)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// Linearizability is local: each object is checked alone.
fn wrong_objects(operations: Vec<Operation>) -> Vec<String> {
    let mut by_object: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
    for operation in operations {
        by_object.entry(operation.object.clone()).or_default().push(operation);
    }
    let objects: Vec<_> = by_object.into_iter().collect();
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let mut wrong: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers)
            .map(|worker| {
                let share = objects.iter().skip(worker).step_by(workers);
                scope.spawn(move || {
                    share
                        .filter(|(_, operations)| !is_linearizable(operations))
                        .map(|(object, _)| object.clone())
                        .collect()
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| -> Vec<String> { worker.join().expect("a checker does not panic") })
            .collect()
    });
    wrong.sort_unstable();
    wrong
}

fn is_linearizable(operations: &[Operation]) -> bool {
    // At one time calls come first: who returns when another calls overlaps with it.
    let mut events: Vec<((u64, bool), usize, Action<Step>)> = Vec::new();
    for (number, Operation { call, r#return, what, .. }) in operations.iter().enumerate() {
        let step = Step { what: what.clone(), is_known: r#return.is_some() };
        events.push(((*call, false), number, Action::Call(step.clone())));
        events.push(((r#return.unwrap_or(u64::MAX), true), number, Action::Response(step)));
    }
    events.sort_by_key(|(at, number, _)| (*at, *number));
    // To the library every operation is a process of its own: then one without an answer holds up no other.
    let actions = events.into_iter().map(|(_, number, action)| (number, action)).collect();
    WGLChecker::<Object>::is_linearizable(History::from_actions(actions))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        (text != "-").then(|| text.to_string())
    }

    fn cas(from: &str, to: &str) -> What {
        What::Cas(value(from), value(to))
    }

    fn write(to: &str) -> What {
        What::Write(value(to))
    }

    fn read(seen: &str) -> What {
        What::Read(value(seen))
    }

    /// Whether this history, each as call, return (0: unknown) and operation, is taken for right.
    fn accepts(history: &[(u64, u64, What)]) -> bool {
        let operations = history.iter().map(|(call, end, what)| Operation {
            object: "register 1".into(),
            call: *call,
            r#return: (*end != 0).then_some(*end),
            what: what.clone(),
        });
        wrong_objects(operations.collect()).is_empty()
    }

    #[test]
    fn accepts_what_a_register_may_do() {
        assert!(accepts(&[]));
        assert!(accepts(&[(1, 2, read("-")), (3, 4, write("a")), (5, 6, cas("a", "b")), (7, 8, read("b"))]));
        // Of two that overlap either may be first.
        assert!(accepts(&[(1, 4, write("a")), (2, 3, read("-")), (5, 6, read("a"))]));
        assert!(accepts(&[(1, 4, write("a")), (2, 3, read("a"))]));
        assert!(accepts(&[(1, 4, write("a")), (1, 4, write("b")), (5, 6, read("a"))]));
    }

    #[test]
    fn accepts_that_an_unknown_outcome_happened_late_or_never() {
        assert!(accepts(&[(1, 0, write("a")), (2, 3, read("-")), (4, 5, read("a"))]));
        assert!(accepts(&[(1, 0, write("a")), (2, 3, read("-"))]));
        assert!(accepts(&[(1, 0, cas("x", "y")), (2, 3, read("-"))]));
    }

    #[test]
    fn finds_a_stale_read() {
        assert!(!accepts(&[(1, 2, write("a")), (3, 4, write("b")), (5, 6, read("a"))]));
    }

    #[test]
    fn finds_a_lost_write() {
        assert!(!accepts(&[(1, 2, write("a")), (3, 4, read("-"))]));
    }

    #[test]
    fn finds_a_value_that_nobody_wrote() {
        assert!(!accepts(&[(1, 2, write("a")), (3, 4, read("z"))]));
    }

    #[test]
    fn finds_two_that_swapped_the_same_value() {
        assert!(!accepts(&[(1, 2, write("a")), (3, 6, cas("a", "b")), (4, 5, cas("a", "c"))]));
    }

    #[test]
    fn finds_a_read_that_went_back() {
        assert!(!accepts(&[(1, 9, write("a")), (2, 3, read("a")), (4, 5, read("-"))]));
    }

    #[test]
    fn finds_an_unknown_write_that_happened_before_it_was_made() {
        assert!(!accepts(&[(1, 2, read("a")), (3, 0, write("a"))]));
    }

    #[test]
    fn finds_an_unknown_write_that_happened_twice() {
        assert!(!accepts(&[
            (1, 0, write("a")),
            (2, 3, read("a")),
            (4, 5, write("b")),
            (6, 7, read("b")),
            (8, 9, read("a")),
        ]));
    }

    #[test]
    fn names_the_object_that_is_wrong() {
        let operation =
            |object: &str, what| Operation { object: object.into(), call: 1, r#return: Some(2), what };
        let operations = vec![operation("register 1", read("-")), operation("register 2", read("z"))];
        assert_eq!(wrong_objects(operations), ["register 2"]);
    }

    fn push(item: &str) -> What {
        What::Push(item.into())
    }

    fn take(item: &str) -> What {
        What::Take(value(item))
    }

    #[test]
    fn accepts_what_a_queue_may_do() {
        assert!(accepts(&[(1, 2, take("-")), (3, 4, push("a")), (5, 6, push("b")), (7, 8, take("a"))]));
        // Of two that overlap either may be first, and one without an answer may have taken one.
        assert!(accepts(&[(1, 4, push("a")), (1, 4, push("b")), (5, 6, take("b")), (7, 8, take("a"))]));
        assert!(accepts(&[(1, 2, push("a")), (3, 0, take("-")), (4, 5, take("-"))]));
        assert!(accepts(&[(1, 2, push("a")), (3, 0, take("-")), (4, 5, take("a"))]));
        assert!(accepts(&[(1, 2, push("a")), (3, 4, What::List(VecDeque::from(["a".to_string()])))]));
    }

    #[test]
    fn finds_an_item_that_was_taken_twice_or_out_of_order() {
        assert!(!accepts(&[(1, 2, push("a")), (3, 6, take("a")), (4, 5, take("a"))]));
        assert!(!accepts(&[(1, 2, push("a")), (3, 4, push("b")), (5, 6, take("b"))]));
    }

    #[test]
    fn finds_a_queue_that_was_called_empty_and_was_not() {
        assert!(!accepts(&[(1, 2, push("a")), (3, 4, take("-"))]));
        assert!(!accepts(&[(1, 2, push("a")), (3, 4, What::List(VecDeque::new()))]));
    }
}
