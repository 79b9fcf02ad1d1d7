//! Checks that a history of registers is linearizable.
//!
//! Run by the nemesis (`nemesis/checks/register.js`) with a file of JSON lines, one operation each:
//! `{ key, call, return, write | cas | read }`. The search is `todc_utils`' (Wing and Gong's, with Lowe's memory); this
//! file only says what a register does. It must know nothing of conflux: it is the second opinion.

use std::{collections::BTreeMap, env, fs, process::ExitCode, thread};

use serde::Deserialize;
use todc_utils::{
    linearizability::{
        WGLChecker,
        history::{Action, History},
    },
    specifications::Specification,
};

/// One operation of a client. Without `return` nobody knows whether it happened: it may have, at any later time.
#[derive(Clone, Debug, Deserialize)]
struct Operation {
    key: u64,
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
}

/// What a register holds; nothing at first.
type Value = Option<String>;

/// What the search decides about: an operation, and whether its result is known.
#[derive(Clone, Debug)]
struct Step {
    what: What,
    is_known: bool,
}

struct Register;

impl Specification for Register {
    type State = Value;
    type Operation = Step;

    fn init() -> Value {
        None
    }

    fn apply(Step { what, is_known }: &Step, state: &Value) -> (bool, Value) {
        match what {
            What::Write(value) => (true, value.clone()),
            What::Cas(from, to) if from == state => (true, to.clone()),
            // One of which nobody knows may as well have been refused.
            What::Cas(..) => (!is_known, state.clone()),
            What::Read(value) => (value == state, state.clone()),
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
    let wrong = wrong_keys(operations);
    for key in &wrong {
        println!("the register of key {key} is not linearizable");
    }
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read(file: &str) -> Result<Vec<Operation>, Box<dyn std::error::Error>> {
    Ok(fs::read_to_string(file)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// Linearizability is local: each register is checked alone.
fn wrong_keys(operations: Vec<Operation>) -> Vec<u64> {
    let mut by_key: BTreeMap<u64, Vec<Operation>> = BTreeMap::new();
    for operation in operations {
        by_key.entry(operation.key).or_default().push(operation);
    }
    let keys: Vec<_> = by_key.into_iter().collect();
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let mut wrong: Vec<u64> = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers)
            .map(|worker| {
                let share = keys.iter().skip(worker).step_by(workers);
                scope.spawn(move || {
                    share
                        .filter(|(_, operations)| !is_linearizable(operations))
                        .map(|(key, _)| *key)
                        .collect()
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| -> Vec<u64> { worker.join().expect("a checker does not panic") })
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
    WGLChecker::<Register>::is_linearizable(History::from_actions(actions))
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
            key: 1,
            call: *call,
            r#return: (*end != 0).then_some(*end),
            what: what.clone(),
        });
        wrong_keys(operations.collect()).is_empty()
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
    fn names_the_register_that_is_wrong() {
        let operation = |key, what| Operation { key, call: 1, r#return: Some(2), what };
        assert_eq!(wrong_keys(vec![operation(1, read("-")), operation(2, read("z"))]), [2]);
    }
}
