//! Cuts the text of a state into pieces, from which JavaScript builds the state without blocking for long.
//!
//! Called by `mod.rs` on JavaScript's thread, piece by piece; read by `lib/state-builder.js`. A piece is a flat JSON
//! array of steps, each a number and its argument. The text comes from another node or from a disk. If it is not
//! JSON, at least one piece is not JSON either, or there are none.

use bytes::Bytes;

/// The argument is the whole value: the only step of a small state.
const VALUE: &str = "0";
/// These items are next in the innermost open array.
const ITEMS: &str = "1";
/// These members are next in the innermost open object.
const MEMBERS: &str = "2";
/// An object opens, under this key of the innermost open object, or as the next item: null.
const OPEN_OBJECT: &str = "3";
const OPEN_ARRAY: &str = "4";
/// The innermost open array or object is complete.
const CLOSE: &str = "5";
/// The state is complete.
const END: &str = "6";

/// A larger value is cut, and a piece has about this many bytes.
const PIECE_BYTES: usize = 64 << 10;

pub struct StatePieces {
    text: Bytes,
    at: usize,
    open: Vec<Open>,
    has_begun: bool,
    piece_bytes: usize,
}

/// An array or object that is cut.
struct Open {
    closing: u8,
    is_empty: bool,
}

/// The text is not JSON.
struct Broken;

impl StatePieces {
    pub fn new(text: Bytes) -> Self {
        Self { text, at: 0, open: Vec::new(), has_begun: false, piece_bytes: PIECE_BYTES }
    }

    /// The next piece; the last one contains `END`. `None` if the text is not JSON.
    pub fn next(&mut self) -> Option<String> {
        let mut piece = Piece(String::with_capacity(self.piece_bytes + self.piece_bytes / 4));
        let is_complete = self.fill(&mut piece).ok()?;
        if is_complete {
            piece.step(END, "0");
        }
        Some(piece.finish())
    }

    fn fill(&mut self, piece: &mut Piece) -> Result<bool, Broken> {
        if !std::mem::replace(&mut self.has_begun, true) && !self.begin(piece)? {
            self.at = self.text.len();
            return Ok(true);
        }
        while piece.0.len() < self.piece_bytes {
            if self.open.is_empty() {
                self.skip_space();
                return if self.at == self.text.len() { Ok(true) } else { Err(Broken) };
            }
            self.continue_innermost(piece)?;
        }
        Ok(false)
    }

    /// Opens a large array or object; every other state is one value.
    fn begin(&mut self, piece: &mut Piece) -> Result<bool, Broken> {
        self.skip_space();
        let is_large = self.text.len() > self.piece_bytes;
        if is_large && matches!(self.peek(), Some(b'[' | b'{')) {
            self.open(piece, "null");
            return Ok(true);
        }
        piece.step(VALUE, self.slice(0, self.text.len())?);
        Ok(false)
    }

    fn open(&mut self, piece: &mut Piece, key: &str) {
        let is_array = self.peek() == Some(b'[');
        piece.step(if is_array { OPEN_ARRAY } else { OPEN_OBJECT }, key);
        self.open.push(Open { closing: if is_array { b']' } else { b'}' }, is_empty: true });
        self.at += 1;
    }

    /// Takes as many complete members as fit; then opens the next one, if it is large, or closes.
    fn continue_innermost(&mut self, piece: &mut Piece) -> Result<(), Broken> {
        let Some(Open { closing, is_empty }) = self.open.last_mut() else { return Err(Broken) };
        let (is_object, mut is_first) = (*closing == b'}', std::mem::replace(is_empty, false));
        let closing = *closing;
        let mut taken: Option<(usize, usize)> = None;
        loop {
            self.skip_space();
            if self.skip(closing) {
                self.take(piece, is_object, taken)?;
                piece.step(CLOSE, "0");
                self.open.pop();
                return Ok(());
            }
            if !is_first && !self.skip(b',') {
                return Err(Broken);
            }
            is_first = false;
            self.skip_space();
            let start = self.at;
            let key_end = if is_object { Some(self.skip_key()?) } else { None };
            match self.end_of_value()? {
                Some(end) => {
                    self.at = end;
                    let (first, _) = *taken.get_or_insert((start, end));
                    taken = Some((first, end));
                    if end - first >= self.piece_bytes {
                        return self.take(piece, is_object, taken);
                    }
                }
                None => {
                    self.take(piece, is_object, taken)?;
                    let key =
                        key_end.map_or(Ok("null".into()), |end| self.slice(start, end).map(str::to_owned))?;
                    self.open(piece, &key);
                    return Ok(());
                }
            }
        }
    }

    fn take(&self, piece: &mut Piece, is_object: bool, taken: Option<(usize, usize)>) -> Result<(), Broken> {
        let Some((start, end)) = taken else { return Ok(()) };
        let (step, opening, closing) = if is_object { (MEMBERS, '{', '}') } else { (ITEMS, '[', ']') };
        let members = self.slice(start, end)?;
        piece.step(step, "");
        piece.0.push(opening);
        piece.0.push_str(members);
        piece.0.push(closing);
        Ok(())
    }

    /// Skips a key with its colon. Returns where the key ends.
    fn skip_key(&mut self) -> Result<usize, Broken> {
        let end = self.end_of_string(self.at)?;
        self.at = end;
        self.skip_space();
        if !self.skip(b':') {
            return Err(Broken);
        }
        self.skip_space();
        Ok(end)
    }

    /// Where the value here ends; `None` if it is an array or object with more bytes than a piece.
    fn end_of_value(&self) -> Result<Option<usize>, Broken> {
        let start = self.at;
        match self.peek().ok_or(Broken)? {
            b'"' => self.end_of_string(start).map(Some),
            b'[' | b'{' => {
                let (mut at, mut depth) = (start, 0_usize);
                loop {
                    match self.text.get(at).ok_or(Broken)? {
                        b'"' => at = self.end_of_string(at)? - 1,
                        b'[' | b'{' => depth += 1,
                        b']' | b'}' => depth -= 1,
                        _ => {}
                    }
                    at += 1;
                    if at - start > self.piece_bytes {
                        return Ok(None);
                    }
                    if depth == 0 {
                        return Ok(Some(at));
                    }
                }
            }
            _ => {
                let rest = &self.text[start..];
                let length = rest.iter().position(|byte| b",]} \n\r\t".contains(byte)).unwrap_or(rest.len());
                if length == 0 { Err(Broken) } else { Ok(Some(start + length)) }
            }
        }
    }

    /// Where the string that begins here ends.
    fn end_of_string(&self, start: usize) -> Result<usize, Broken> {
        if self.text.get(start) != Some(&b'"') {
            return Err(Broken);
        }
        let mut at = start + 1;
        loop {
            match self.text.get(at).ok_or(Broken)? {
                b'"' => return Ok(at + 1),
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
    }

    fn slice(&self, start: usize, end: usize) -> Result<&str, Broken> {
        std::str::from_utf8(&self.text[start..end]).map_err(|_| Broken)
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }
}

/// A flat JSON array of steps.
struct Piece(String);

impl Piece {
    fn step(&mut self, step: &str, argument: &str) {
        self.0.push(if self.0.is_empty() { '[' } else { ',' });
        self.0.push_str(step);
        self.0.push(',');
        self.0.push_str(argument);
    }

    fn finish(mut self) -> String {
        self.0.push(']');
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    fn pieces(text: &str, piece_bytes: usize) -> StatePieces {
        StatePieces { piece_bytes, ..StatePieces::new(Bytes::copy_from_slice(text.as_bytes())) }
    }

    /// As `lib/state-builder.js` does.
    fn build(mut pieces: StatePieces) -> Option<Value> {
        let mut open: Vec<(Option<String>, Value)> = Vec::new();
        let mut result = None;
        loop {
            let steps: Vec<Value> = serde_json::from_str(&pieces.next()?).ok()?;
            for step in steps.chunks(2) {
                let argument = step[1].clone();
                match step[0].as_u64()? {
                    0 => result = Some(argument),
                    1 => open.last_mut()?.1.as_array_mut()?.extend(argument.as_array()?.iter().cloned()),
                    2 => open.last_mut()?.1.as_object_mut()?.extend(argument.as_object()?.clone()),
                    3 => open.push((argument.as_str().map(str::to_owned), json!({}))),
                    4 => open.push((argument.as_str().map(str::to_owned), json!([]))),
                    5 => {
                        let (key, value) = open.pop()?;
                        match open.last_mut() {
                            Some((_, Value::Array(items))) => items.push(value),
                            Some((_, Value::Object(members))) => _ = members.insert(key?, value),
                            Some(_) => return None,
                            None => result = Some(value),
                        }
                    }
                    6 => return result,
                    _ => return None,
                }
            }
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-c\"\\\\{}\\[\\]:,é ]{0,12}".prop_map(Value::from),
        ];
        scalar.prop_recursive(6, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec(("[a-c\"]{0,2}", inner), 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    #[test]
    fn a_small_state_is_one_step_and_a_large_one_is_cut() {
        assert_eq!(pieces("[1]", 100).next().as_deref(), Some("[0,[1],6,0]"));
        let mut large = pieces(r#"{"a":[1,2,3,4,5,6],"b":{"c":1}}"#, 12);
        assert_eq!(large.next().as_deref(), Some(r#"[3,null,4,"a"]"#));
        assert_eq!(large.next().as_deref(), Some(r#"[1,[1,2,3,4,5,6],5,0]"#));
        assert_eq!(large.next().as_deref(), Some(r#"[2,{"b":{"c":1}},5,0]"#));
        assert_eq!(large.next().as_deref(), Some("[6,0]"));
    }

    #[test]
    fn depth_overflows_nothing() {
        let text = "[".repeat(100_000) + &"]".repeat(100_000);
        let mut pieces = pieces(&text, 64);
        let count =
            (0..1_000_000).take_while(|_| !pieces.next().expect("it is JSON").ends_with("6,0]")).count();
        assert!(count > 1_000);
    }

    #[test]
    fn what_is_no_json_gives_no_state() {
        let long = "x".repeat(40);
        let texts = [
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
            "[1,]",
            "[1 2]",
            "\"a",
            "\"\\",
        ];
        for text in texts {
            for text in [text.to_owned(), format!("[\"{long}\",{text}]"), format!("{{\"{long}\":{text}}}")] {
                if serde_json::from_str::<Value>(&text).is_err() {
                    assert_eq!(build(pieces(&text, 8)), None, "{text}");
                }
            }
        }
        assert_eq!(build(StatePieces::new(Bytes::from_static(b"[\"\xff\"]"))), None);
    }

    proptest! {
        #[test]
        fn the_pieces_give_the_state_whatever_their_size(value in value(), piece_bytes in 1..200_usize) {
            prop_assert_eq!(build(pieces(&value.to_string(), piece_bytes)), Some(value.clone()));
            let spaced = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(build(pieces(&spaced, piece_bytes)), Some(value));
        }

        #[test]
        fn no_text_makes_it_panic_or_go_on_forever(text in "[\\[\\]{}\",:0-9a\\\\é ]{0,60}", piece_bytes in 1..20_usize) {
            let expected = serde_json::from_str::<Value>(&text).ok();
            let built = build(pieces(&text, piece_bytes));
            prop_assert!(built.is_none() || built == expected, "{:?}", built);
        }
    }
}
