//! The items of a frame that are short and many: requests, and entries of the log.
//!
//! Called by `message.rs`. Where a list of them is decoded, their texts share allocations (`arena.rs`), and neighbors the
//! name of their method.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};

use crate::raft::arena::Arena;

/// A request of an origin; `Name` and `Text` differ only while it is decoded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestItem<Name = Arc<str>, Text = Bytes> {
    pub sequence: u64,
    /// The outstanding request before it, 0 if none: the leader evaluates this one only after that one.
    pub after: u64,
    pub method: Name,
    /// The text of a JSON array.
    pub args: Text,
    /// To how many earlier leaders it was sent. One of them may have lost its leadership because this very request
    /// takes long.
    pub attempts: u32,
    /// The session of the origin when the call was made; 0: none.
    pub session: u64,
}

/// An entry of the log on the wire; `Data` differs only while it is decoded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WireEntry<Data = Bytes> {
    pub term: u64,
    pub index: u64,
    /// A change of the configuration: `data` is raft-rs's.
    pub is_change: bool,
    pub data: Data,
    pub context: Data,
}

/// Decodes a list of entries.
pub fn entries<'de, D: Deserializer<'de>>(frame: D) -> Result<Vec<WireEntry>, D::Error> {
    let entries = Vec::<WireEntry<&[u8]>>::deserialize(frame)?;
    let mut arena =
        Arena::with_capacity(entries.iter().map(|entry| entry.data.len() + entry.context.len()).sum());
    let copy = |WireEntry { term, index, is_change, data, context }| {
        let (data, context) = (arena.copy(data), arena.copy(context));
        WireEntry { term, index, is_change, data, context }
    };
    Ok(entries.into_iter().map(copy).collect())
}

/// Decodes a list of requests.
pub fn requests<'de, D: Deserializer<'de>>(frame: D) -> Result<Vec<RequestItem>, D::Error> {
    let requests = Vec::<RequestItem<&str, &[u8]>>::deserialize(frame)?;
    let mut arena = Arena::with_capacity(requests.iter().map(|request| request.args.len()).sum());
    let mut last: Option<Arc<str>> = None;
    let copy = |request: RequestItem<&str, &[u8]>| {
        let RequestItem { sequence, after, method, args, attempts, session } = request;
        let method = last.take().filter(|last| **last == *method).unwrap_or_else(|| method.into());
        last = Some(method.clone());
        RequestItem { sequence, after, method, args: arena.copy(args), attempts, session }
    };
    Ok(requests.into_iter().map(copy).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::wire::message::{Message, RaftKind, RaftMessage, Requests};

    fn again(message: &Message) -> Message {
        postcard::from_bytes(&postcard::to_allocvec(message).unwrap()).unwrap()
    }

    #[test]
    fn requests_are_what_was_sent_and_neighbors_share_the_name_of_their_method() {
        let item = |sequence, method: &str, length| RequestItem {
            sequence,
            after: sequence - 1,
            method: method.into(),
            args: vec![b'1'; length].into(),
            attempts: 2,
            session: 3,
        };
        let methods = ["a", "a", "b", "a"];
        let requests =
            (1..).zip(methods).map(|(sequence, method)| item(sequence, method, 200 * sequence as usize));
        let sent = Requests { term: 4, start: 5, floor: 6, requests: requests.collect() };
        let Message::Requests(received) = again(&Message::Requests(sent.clone())) else {
            panic!("no requests")
        };
        assert_eq!(received, sent);
        let shares = |a: usize, b: usize| {
            let name = |i: usize| &received.requests[i].method;
            Arc::ptr_eq(name(a), name(b))
        };
        assert!(shares(0, 1) && !shares(0, 2) && !shares(1, 3));
    }

    #[test]
    fn entries_are_what_was_sent_and_short_ones_share_an_allocation() {
        let entry = |index, length| WireEntry {
            term: 1,
            index,
            is_change: index == 2,
            data: vec![b'd'; length].into(),
            context: vec![b'c'; 3].into(),
        };
        let sent = RaftMessage {
            entries: vec![entry(2, 10), entry(3, 10_000), entry(4, 0)],
            ..RaftMessage::new(RaftKind::Append, 1, 1)
        };
        let Message::Raft(received) = again(&Message::Raft(sent.clone())) else {
            panic!("no message of Raft")
        };
        assert_eq!(received, sent);
        let [first, second, _] = &received.entries[..] else { panic!("no three entries") };
        assert_eq!(first.data.as_ptr().wrapping_add(10), first.context.as_ptr());
        assert_eq!(first.context.as_ptr().wrapping_add(3), second.context.as_ptr());
        assert!(second.data.is_unique());
    }
}
