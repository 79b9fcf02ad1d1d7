//! Decides whether bytes from the network may be part of a batch for JavaScript.
//!
//! Called by `batch.rs`. It gives the same verdict on every node: whether an action is reduced must not depend on
//! where it is read.

use serde::de::IgnoredAny;

/// How deep an action may nest (arrays and objects), here and in `lib/json.js`.
pub const DEPTH_MAX: usize = 64;

/// The text, if `JSON.parse` takes it and it nests no deeper than `depth_max`.
pub fn text(bytes: &[u8], depth_max: usize) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    (opening_brackets(text) <= depth_max || depth(text) <= depth_max).then_some(text)
}

/// The same, if the value is an array (`[`) or an object (`{`).
pub fn text_opening_with(opening: u8, bytes: &[u8], depth_max: usize) -> Option<&str> {
    let text = text(bytes, depth_max)?.trim_ascii_start();
    (text.as_bytes().first() == Some(&opening)).then_some(text)
}

/// Whether parsing the text twice gives two objects, so that changing one does not change the other.
pub fn is_compound(text: &str) -> bool {
    matches!(text.trim_ascii_start().as_bytes().first(), Some(b'[' | b'{'))
}

/// How many bytes open an array or an object, if they are not part of a string: the text nests no deeper. It takes a
/// fraction of the time of [`depth`].
fn opening_brackets(text: &str) -> usize {
    const COUNTED_AT_ONCE: usize = u8::MAX as usize;
    const BIT_OF_BRACES: u8 = b'[' ^ b'{';
    let chunks = text.as_bytes().chunks(COUNTED_AT_ONCE);
    let count = |chunk: &[u8]| chunk.iter().map(|byte| u8::from(byte | BIT_OF_BRACES == b'{')).sum::<u8>();
    chunks.map(|chunk| usize::from(count(chunk))).sum()
}

/// The depth of a valid JSON text. No depth overflows anything: it is counted, not recursed.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest): (usize, usize) = (0, 0);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
    }
    deepest
}

fn skip_string(bytes: &mut std::str::Bytes) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => _ = bytes.next(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_json_parse_takes_passes_unchanged() {
        for json in [
            "null",
            " 1.5e3 ",
            r#"{"a":[1,"]}\"[["]}"#,
            r#""\ud800""#,
            r#"{"__proto__":{"x":1}}"#,
            "\"\u{2028}\"",
        ] {
            assert_eq!(text(json.as_bytes(), DEPTH_MAX), Some(json));
        }
    }

    #[test]
    fn what_json_parse_refuses_is_no_text() {
        for bytes in [
            &b""[..],
            b"nul",
            b"1,2",
            b"]",
            b"{\"a\":1}x",
            b"\"\xff\"",
            b"\"\n\"",
            b"NaN",
            b"01",
            b"'a'",
            b"\xef\xbb\xbf1",
        ] {
            assert_eq!(text(bytes, DEPTH_MAX), None, "{bytes:?}");
        }
    }

    #[test]
    fn depth_counts_brackets_outside_strings() {
        assert_eq!(depth(r#"[{"a":"[[[[\"[["},[[]]]"#), 3);
        assert_eq!(opening_brackets(r#"[{"a":"[[[[\"[["},[[]]]"#), 10);
        assert_eq!(opening_brackets(&"[{}]".repeat(1_000)), 2_000);
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(text(nested(DEPTH_MAX).as_bytes(), DEPTH_MAX).is_some());
        assert!(text(nested(DEPTH_MAX + 1).as_bytes(), DEPTH_MAX).is_none());
        assert!(text(nested(1_000_000).as_bytes(), DEPTH_MAX).is_none());
    }

    #[test]
    fn the_kind_of_a_value_is_seen_through_white_space() {
        assert_eq!(text_opening_with(b'[', b" [1] ", DEPTH_MAX), Some("[1] "));
        assert_eq!(text_opening_with(b'[', b"{}", DEPTH_MAX), None);
        assert!(is_compound("\n{}"));
        assert!(!is_compound("\"[\""));
    }
}
