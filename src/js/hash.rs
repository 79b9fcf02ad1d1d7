//! Hashes a state: two states have the same hash if their JSON texts differ only in the order of keys.
//!
//! Called by `mod.rs` on JavaScript's thread, with what `JSON.stringify` made: it writes a number and a string in one
//! way only, so that texts are compared, not values. It must give the same hash for a state on every node of a version,
//! whatever the machine.

use uuid::Uuid;

use crate::raft::events::StateHash;

/// The hash; `None` if the text is not what `JSON.stringify` makes.
///
/// An array or object stands in its parent as its own hash, so that the cost is that of the text's length, however deep
/// it nests, and nothing recurses.
pub fn hash(text: &str) -> Option<StateHash> {
    let mut scanner = Scanner { text: text.as_bytes(), at: 0 };
    let mut open: Vec<Compound> = Vec::new();
    loop {
        let mut value = match scanner.peek()? {
            b'[' => {
                scanner.at += 1;
                if !scanner.skip(b']') {
                    open.push(Compound::Array(Vec::new()));
                    continue;
                }
                Compound::Array(Vec::new()).close()
            }
            b'{' => {
                scanner.at += 1;
                if !scanner.skip(b'}') {
                    open.push(Compound::Object { members: Vec::new(), key: scanner.key()? });
                    continue;
                }
                Compound::Object { members: Vec::new(), key: &[] }.close()
            }
            _ => Value::Scalar(scanner.scalar()?),
        };
        // The value is complete, and with it perhaps what it stands in.
        loop {
            let Some(parent) = open.last_mut() else {
                return (scanner.at == scanner.text.len()).then(|| Compound::Array(vec![value]).hash());
            };
            parent.add(value);
            if scanner.skip(b',') {
                if let Compound::Object { key, .. } = parent {
                    *key = scanner.key()?;
                }
                break;
            }
            if !scanner.skip(parent.closing()) {
                return None;
            }
            value = open.pop()?.close();
        }
    }
}

enum Value<'a> {
    Scalar(&'a [u8]),
    Compound(StateHash),
}

/// An array or object, as far as it was read.
enum Compound<'a> {
    Array(Vec<Value<'a>>),
    /// `key` is that of the next member; quotes and all, as are those of `members`.
    Object {
        members: Vec<(&'a [u8], Value<'a>)>,
        key: &'a [u8],
    },
}

impl<'a> Compound<'a> {
    fn add(&mut self, value: Value<'a>) {
        match self {
            Compound::Array(items) => items.push(value),
            Compound::Object { members, key } => members.push((key, value)),
        }
    }

    fn closing(&self) -> u8 {
        match self {
            Compound::Array(_) => b']',
            Compound::Object { .. } => b'}',
        }
    }

    fn close(self) -> Value<'a> {
        Value::Compound(self.hash())
    }

    fn hash(self) -> StateHash {
        let mut bytes = Vec::new();
        match self {
            Compound::Array(items) => {
                bytes.push(b'[');
                items.iter().for_each(|item| item.write(&mut bytes));
            }
            Compound::Object { mut members, .. } => {
                members.sort_unstable_by_key(|(key, _)| *key);
                bytes.push(b'{');
                for (key, value) in members {
                    bytes.extend_from_slice(key);
                    value.write(&mut bytes);
                }
            }
        }
        Uuid::new_v5(&Uuid::nil(), &bytes).into_bytes()
    }
}

impl Value<'_> {
    /// No JSON text has a byte 0, so none looks like a hash.
    fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Value::Scalar(text) => bytes.extend_from_slice(text),
            Value::Compound(hash) => {
                bytes.push(0);
                bytes.extend_from_slice(hash);
            }
        }
        bytes.push(b',');
    }
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Whether the next byte is this one, which is then behind us.
    fn skip(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn key(&mut self) -> Option<&'a [u8]> {
        let key = self.string()?;
        self.skip(b':').then_some(key)
    }

    fn scalar(&mut self) -> Option<&'a [u8]> {
        if self.peek()? == b'"' {
            return self.string();
        }
        let rest = &self.text[self.at..];
        let length = rest.iter().position(|byte| b",]}".contains(byte)).unwrap_or(rest.len());
        self.at += length;
        (length > 0).then(|| &rest[..length])
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        if !self.skip(b'"') {
            return None;
        }
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(&self.text[start..self.at]);
                }
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;

    #[test]
    fn the_order_of_keys_is_no_difference() {
        assert_eq!(
            hash(r#"{"a":1,"b":{"c":[1,{"x":"}","y":null}],"d":"\"]"}}"#).unwrap(),
            hash(r#"{"b":{"d":"\"]","c":[1,{"y":null,"x":"}"}]},"a":1}"#).unwrap()
        );
    }

    #[test]
    fn everything_else_is() {
        let texts = [
            "null",
            "0",
            "1",
            "-1",
            "\"\"",
            "\"1\"",
            "[]",
            "{}",
            "[[]]",
            "[{}]",
            "[1]",
            "[1,2]",
            "[2,1]",
            "[12]",
            "[[1],2]",
            "[[1,2]]",
            "[1,[2]]",
            "{\"a\":1}",
            "{\"a\":[1]}",
            "{\"a\":\"1\"}",
            "{\"b\":1}",
            "{\"a\":1,\"b\":1}",
            "{\"a\":{\"b\":1}}",
            "[\"a\",1]",
            "[\"a,1\"]",
            "[\"a\\\"\",1]",
        ];
        for (i, text) in texts.iter().enumerate() {
            for other in &texts[i + 1..] {
                assert_ne!(hash(text).unwrap(), hash(other).unwrap(), "{text} and {other}");
            }
        }
    }

    #[test]
    fn the_hash_of_a_state_is_the_same_in_every_release() {
        let hash = Uuid::from_bytes(hash(r#"{"b":[1,"é"],"a":{}}"#).unwrap());
        assert_eq!(hash.to_string(), "e3167609-f799-5b70-9edb-1fbb89b3ee4a");
    }

    #[test]
    fn depth_overflows_nothing() {
        assert!(hash(&("[".repeat(1_000_000) + &"]".repeat(1_000_000))).is_some());
        assert!(hash(&("{\"a\":".repeat(1_000_000) + "1" + &"}".repeat(1_000_000))).is_some());
    }

    #[test]
    fn what_is_no_json_has_no_hash() {
        for text in [
            "",
            "[",
            "]",
            "[1",
            "[1}",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1]",
            "1,2",
            "[]]",
            "[,]",
            "\"a",
            "\"\\",
        ] {
            assert_eq!(hash(text), None, "{text}");
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-c\"\\\\{}\\[\\]:,é]{0,4}".prop_map(Value::from),
        ];
        scalar.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[a-c\"]{0,2}", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    /// As `JSON.stringify` would, of an object whose keys were set in the opposite order.
    fn reversed(value: &Value) -> String {
        match value {
            Value::Array(items) => format!("[{}]", items.iter().map(reversed).collect::<Vec<_>>().join(",")),
            Value::Object(members) => {
                let member =
                    |(key, value)| format!("{}:{}", Value::String(String::clone(key)), reversed(value));
                format!("{{{}}}", members.iter().rev().map(member).collect::<Vec<_>>().join(","))
            }
            scalar => scalar.to_string(),
        }
    }

    proptest! {
        #[test]
        fn two_states_hash_alike_exactly_if_they_are_equal(a in json(), b in json()) {
            prop_assert_eq!(hash(&a.to_string()).unwrap(), hash(&reversed(&a)).unwrap());
            prop_assert_eq!(hash(&a.to_string()) == hash(&reversed(&b)), a == b);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]{}\",:0-9a\\\\é]{0,40}") {
            hash(&text);
        }
    }
}
