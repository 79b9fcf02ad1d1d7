//! Decodes the text that JavaScript hands over once per turn: calls, results of methods, abandoned calls, operations.
//!
//! Called by `mod.rs` on JavaScript's thread. The façade writes these texts: a fault in one is a bug of the façade,
//! and the description of the fault is for its developer. Arguments and actions stay text and are never parsed into
//! values. Large ones arrive beside the text, in the order of their placeholders, and are not checked: the façade has
//! just encoded them.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::raft::arena::Arena;
use crate::raft::coordination::TimerChange;
use crate::raft::events::{Effects, Operation};
use crate::raft::{MethodResult, Perform};

/// `["method",[…args],"method",0,…]`, numbered from `first` on. `0` stands for the next text of `beside`.
pub fn calls(first: u64, text: &str, beside: Vec<String>) -> Result<Vec<Perform>, String> {
    let arena = Arena::with_capacity(text.len());
    read(text, Calls { first, beside: beside.into_iter(), arena })
}

/// Borrowed, unless something in it is escaped.
#[derive(Deserialize)]
struct Method<'a>(#[serde(borrow)] Cow<'a, str>);

struct Calls {
    first: u64,
    beside: std::vec::IntoIter<String>,
    arena: Arena,
}

impl<'de> Visitor<'de> for Calls {
    type Value = Vec<Perform>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a flat array of methods and arguments")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut calls: Vec<Perform> = Vec::new();
        while let Some(Method(method)) = items.next_element()? {
            let args = items.next_element::<&RawValue>()?.ok_or_else(|| A::Error::custom("half a call"))?;
            // Most turns perform one method again and again.
            let last = calls.last().map(|last| &last.method).filter(|last| ***last == *method);
            let method = last.cloned().unwrap_or_else(|| method.into());
            let args = if args.get() == "0" { take(&mut self.beside)? } else { self.arena.copy(bytes(args)) };
            calls.push(Perform { sequence: self.first + calls.len() as u64, method, args });
        }
        Ok(calls)
    }
}

/// `[sequence,…]`
pub fn sequences(text: &str) -> Result<Vec<u64>, String> {
    parse(text)
}

/// `[ticket,milliseconds,operation]`
pub fn operation(text: &str) -> Result<(u64, u64, Operation), String> {
    let (ticket, timeout, operation): (u64, u64, GivenOperation) = parse(text)?;
    let operation = match operation {
        GivenOperation::Sync => Operation::Sync,
        GivenOperation::TransferLeadership { to } => Operation::TransferLeadership { to },
        GivenOperation::Remove { id } => Operation::Remove { id },
        GivenOperation::Resize { cluster_size } => Operation::Resize { cluster_size },
        GivenOperation::Recover => Operation::Recover,
    };
    Ok((ticket, timeout, operation))
}

/// `"sync"`, `{"remove":{"id":"a"}}` and so on.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
enum GivenOperation {
    Sync,
    TransferLeadership { to: Option<Arc<str>> },
    Remove { id: Arc<str> },
    Resize { cluster_size: usize },
    Recover,
}

/// The answers of JavaScript, `[0,1,action,2,error,3,error,6,…]`, with a refusal inserted at each position in
/// `refused`. JavaScript may have stopped before the end of its batch: evaluations after its last answer get no
/// answer, refused ones included. `6` is the action that is the next text of `beside`.
pub fn answers(text: &str, beside: Vec<String>, refused: &[usize]) -> Result<Vec<MethodResult>, String> {
    let arena = Arena::with_capacity(text.len());
    let mut answers = read(text, Answers { beside: beside.into_iter(), arena })?;
    // The positions are in ascending order, so each is already the final position among all answers.
    for &position in refused {
        if position <= answers.len() {
            answers.insert(position, MethodResult::Refused(NOT_JSON.into()));
        }
    }
    Ok(answers)
}

const NOT_JSON: &str =
    r#"{"message":"the arguments are not the JSON text of an array","code":"ERR_CONFLUX_NOT_JSON"}"#;

struct Answers {
    beside: std::vec::IntoIter<String>,
    arena: Arena,
}

impl<'de> Visitor<'de> for Answers {
    type Value = Vec<MethodResult>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a flat array of answers")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut answers = Vec::new();
        while let Some(kind) = items.next_element::<u8>()? {
            let mut text =
                || items.next_element::<&RawValue>()?.ok_or_else(|| A::Error::custom("half an answer"));
            answers.push(match kind {
                0 => MethodResult::Nothing,
                1 => MethodResult::Action(self.arena.copy(bytes(text()?))),
                2 => MethodResult::Refused(copy(text()?)),
                3 => MethodResult::Unknown(copy(text()?)),
                4 => {
                    let action = some(text()?);
                    effects(None, action, items.next_element()?.unwrap_or_default())
                }
                5 => {
                    let next = items.next_element::<Option<u64>>()?.flatten();
                    let action = items.next_element::<&RawValue>()?.and_then(some);
                    effects(next, action, items.next_element()?.unwrap_or_default())
                }
                6 => MethodResult::Action(take(&mut self.beside)?),
                _ => return Err(A::Error::custom(format!("no kind of answer: {kind}"))),
            });
        }
        Ok(answers)
    }
}

fn effects(next: Option<u64>, action: Option<Bytes>, changes: Vec<GivenChange>) -> MethodResult {
    let changes = changes.into_iter().map(change).collect();
    MethodResult::Effects(Box::new(Effects { action, next, changes }))
}

/// No action is null.
fn some(raw: &RawValue) -> Option<Bytes> {
    (raw.get() != "null").then(|| copy(raw))
}

/// `["name",[due,"method",[…args],{…rule}]]`, or `["name",null]` to remove a timer.
type GivenChange<'a> = (Arc<str>, Option<(u64, Arc<str>, &'a RawValue, &'a RawValue)>);

fn change((name, set): GivenChange) -> TimerChange {
    match set {
        Some((due, method, args, rule)) => {
            TimerChange::Set { name, due, method, args: copy(args), rule: copy(rule) }
        }
        None => TimerChange::Remove { name },
    }
}

/// A copy, because a slice would keep the text of the whole turn alive for as long as its action is in the log.
fn copy(raw: &RawValue) -> Bytes {
    Bytes::copy_from_slice(bytes(raw))
}

fn bytes(raw: &RawValue) -> &[u8] {
    raw.get().as_bytes()
}

/// The text's own allocation.
fn take<E: serde::de::Error>(beside: &mut impl Iterator<Item = String>) -> Result<Bytes, E> {
    beside.next().map(Bytes::from).ok_or_else(|| E::custom("a text is missing beside the turn"))
}

/// Reads a flat array, without a value for each of its items.
fn read<'de, V: Visitor<'de>>(text: &'de str, visitor: V) -> Result<V::Value, String> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = json.deserialize_seq(visitor).map_err(|error| describe(error, text))?;
    json.end().map_err(|error| describe(error, text))?;
    Ok(value)
}

fn parse<'de, T: serde::Deserialize<'de>>(text: &'de str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| describe(error, text))
}

fn describe(error: serde_json::Error, text: &str) -> String {
    let start: String = text.chars().take(80).collect();
    format!("{error} in `{start}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn performs_keep_their_arguments_as_text() {
        let text = r#"["append",["a", {"x":1}],"n\"o",[],"n\"o",[2]]"#;
        let calls = calls(7, text, vec![]).unwrap();
        assert_eq!(calls.iter().map(|perform| perform.sequence).collect::<Vec<_>>(), [7, 8, 9]);
        assert_eq!((calls[0].sequence, &*calls[0].method), (7, "append"));
        assert_eq!(calls[0].args, r#"["a", {"x":1}]"#);
        assert_eq!(&*calls[1].method, "n\"o");
        assert_eq!((&*calls[2].method, &*calls[2].args), ("n\"o", &b"[2]"[..]));
    }

    #[test]
    fn answers_come_back_in_order_around_those_given_here() {
        let action = MethodResult::Action(r#"{"a":[1]}"#.into());
        let error = MethodResult::Refused(r#"{"message":"no"}"#.into());
        let ours = MethodResult::Refused(NOT_JSON.into());
        let text = r#"[1,{"a":[1]},0,2,{"message":"no"}]"#;
        assert_eq!(
            answers(text, vec![], &[]).unwrap(),
            [action.clone(), MethodResult::Nothing, error.clone()]
        );
        assert_eq!(
            answers("[3,{},0]", vec![], &[]).unwrap(),
            [MethodResult::Unknown("{}".into()), MethodResult::Nothing]
        );
        assert_eq!(
            answers(text, vec![], &[0, 2, 5]).unwrap(),
            [ours.clone(), action, ours.clone(), MethodResult::Nothing, error, ours.clone()]
        );
        assert_eq!(answers("[]", vec![], &[0, 1]).unwrap(), [ours.clone(), ours.clone()]);
        // JavaScript stopped after its first answer.
        assert_eq!(answers("[0]", vec![], &[0, 3]).unwrap(), [ours, MethodResult::Nothing]);
    }

    #[test]
    fn large_texts_are_taken_from_beside_in_their_order() {
        let beside = || vec!["[1]".to_owned(), "[2]".to_owned()];
        let calls = calls(7, r#"["a",0,"b",[0],"c",0]"#, beside()).unwrap();
        assert_eq!(
            calls.iter().map(|call| &call.args[..]).collect::<Vec<_>>(),
            [&b"[1]"[..], b"[0]", b"[2]"]
        );
        let action = |text: &'static str| MethodResult::Action(text.into());
        assert_eq!(
            answers("[6,1,0,0,6]", beside(), &[]).unwrap(),
            [action("[1]"), action("0"), MethodResult::Nothing, action("[2]")]
        );
        let missing = super::calls(1, r#"["a",0]"#, vec![]).unwrap_err();
        assert!(missing.starts_with("a text is missing"), "{missing}");
        assert!(answers("[6]", vec![], &[]).unwrap_err().starts_with("a text is missing"));
    }

    #[test]
    fn an_answer_says_what_happens_to_timers() {
        let set = TimerChange::Set {
            name: "t".into(),
            due: 5,
            method: "m".into(),
            args: "[1]".into(),
            rule: r#"{"every":10}"#.into(),
        };
        let effects = |action: Option<&'static str>, next, changes| {
            let action = action.map(Bytes::from);
            MethodResult::Effects(Box::new(Effects { action, next, changes }))
        };
        let text =
            r#"[4,{"a":1},[["t",[5,"m",[1],{"every":10}]],["u",null]],4,null,[],5,7,"x",[],5,null,null,[]]"#;
        let expected = [
            effects(Some(r#"{"a":1}"#), None, vec![set, TimerChange::Remove { name: "u".into() }]),
            effects(None, None, vec![]),
            effects(Some("\"x\""), Some(7), vec![]),
            effects(None, None, vec![]),
        ];
        assert_eq!(answers(text, Vec::new(), &[]).unwrap(), expected);
        assert!(answers(r#"[4,1,[["t",[5,"m"]]]]"#, Vec::new(), &[]).is_err());
        assert!(answers("[5,-1,null,[]]", Vec::new(), &[]).is_err());
    }

    #[test]
    fn an_ask_names_its_ticket_its_time_and_what_is_asked() {
        let cases = [
            (r#""sync""#, Operation::Sync),
            (r#"{"transferLeadership":{"to":null}}"#, Operation::TransferLeadership { to: None }),
            (r#"{"transferLeadership":{"to":"b"}}"#, Operation::TransferLeadership { to: Some("b".into()) }),
            (r#"{"remove":{"id":"b"}}"#, Operation::Remove { id: "b".into() }),
            (r#"{"resize":{"clusterSize":5}}"#, Operation::Resize { cluster_size: 5 }),
            (r#""recover""#, Operation::Recover),
        ];
        for (text, expected) in cases {
            assert_eq!(operation(&format!("[7,1000,{text}]")), Ok((7, 1000, expected)));
        }
        assert!(operation(r#"[7,1000,"rest"]"#).is_err());
        assert!(operation(r#"[7,-1,"sync"]"#).is_err());
    }

    #[test]
    fn a_text_that_is_no_turn_is_an_error() {
        assert!(answers("[1]", vec![], &[]).unwrap_err().starts_with("half an answer"));
        assert!(answers("[7]", vec![], &[]).unwrap_err().starts_with("no kind of answer: 7"));
        assert!(answers("[0", vec![], &[]).is_err());
        assert!(answers("[0]]", vec![], &[]).is_err());
        assert!(calls(1, r#"["a"]"#, vec![]).unwrap_err().starts_with("half a call"));
        assert!(calls(1, r#"[1,[]]"#, vec![]).is_err());
        assert!(calls(1, r#"["a",[]"#, vec![]).is_err());
    }

    #[test]
    fn our_own_refusal_is_json() {
        assert!(serde_json::from_str::<serde_json::Value>(NOT_JSON).unwrap()["message"].is_string());
    }
}
