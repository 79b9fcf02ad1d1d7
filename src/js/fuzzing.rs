//! Exposes the readers of this module to the targets in `fuzz/`. Not part of a release.

use bytes::Bytes;
use serde::de::IgnoredAny;

use super::{batch, turn};
use crate::raft::{CallOutcome, Delivery};

/// Input from the network, in a batch for JavaScript: the batch is always one JSON text.
pub fn batch(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    let deliveries = [
        Delivery::Evaluate { method: "m".into(), args: bytes.clone(), is_own: false },
        Delivery::Committed { index: 1, own: None, is_provisional: false, at: 5, action: bytes.clone() },
        Delivery::Committed { index: 2, own: Some(1), is_provisional: false, at: 5, action: bytes.clone() },
        Delivery::Settled { sequence: 3, call_outcome: CallOutcome::Refused(bytes.clone()) },
        Delivery::Settled { sequence: 4, call_outcome: CallOutcome::Done(bytes) },
    ];
    let text = batch::encode(&deliveries).text;
    // A number may be too large for Rust: JavaScript reads Infinity.
    assert!(serde_json::from_str::<Vec<IgnoredAny>>(&text).is_ok(), "{text}");
}

/// The texts that JavaScript hands over in a turn.
pub fn turn(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let beside = || vec!["[1]".to_owned()];
    let _ = turn::calls(1, text, beside());
    let _ = turn::sequences(text);
    let _ = turn::operation(text);
    let _ = turn::answers(text, beside(), &[0]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_of_the_edge_panic(bytes in prop_oneof![
            any::<Vec<u8>>(),
            "[\\[\\]{}\",:0-9a\\\\ ]{0,40}".prop_map(String::into_bytes),
            "\\[[0-4](,([0-4]|\\[\\]|\\{\\}|\"sync\"|\"a\"))*\\]?".prop_map(String::into_bytes),
        ]) {
            batch(&bytes);
            turn(&bytes);
        }
    }
}
