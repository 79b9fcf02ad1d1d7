//! The bounded queue of the channels: when it is full, it drops the oldest items.
//!
//! Used by both ends of a link. Raft repeats lost messages and has no use for old ones, so dropping the oldest is the
//! right back-pressure, and no sender ever waits for room. It does not know what an item means.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard},
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::lock;
use crate::raft::Target;

/// A queue of many senders, on any thread, and one taker.
///
/// Invariants:
/// - `bytes` is the sum of the items' bytes;
/// - more than the limits are never queued, except for a single item that alone is over the limit of bytes.
pub(super) struct Queue<T> {
    limits: Limits,
    state: Mutex<State<T>>,
    /// Holds one permit if something changed since the taker last looked.
    changed: Notify,
}

struct State<T> {
    items: VecDeque<T>,
    bytes: usize,
    is_closed: bool,
}

/// How much a queue holds.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) count_max: usize,
    pub(super) bytes_max: usize,
}

impl Limits {
    /// Seconds of the heaviest traffic; a taker that is further behind needs a snapshot.
    pub(super) const OF_A_LINK: Self = Self { count_max: 65_536, bytes_max: 64 << 20 };

    /// How many items a taker gets at most in one turn, so that it can do other work in between.
    pub(super) const TAKEN_AT_ONCE: usize = 1_024;
}

/// The size of an item, for the limit of bytes.
pub(super) trait Weighed {
    fn bytes(&self) -> usize;
}

impl Weighed for Bytes {
    fn bytes(&self) -> usize {
        self.len()
    }
}

impl Weighed for (Target, Bytes) {
    fn bytes(&self) -> usize {
        self.1.len()
    }
}

impl<T: Weighed> Queue<T> {
    pub(super) fn new(limits: Limits) -> Self {
        let state = State { items: VecDeque::new(), bytes: 0, is_closed: false };
        Self { limits, state: Mutex::new(state), changed: Notify::new() }
    }

    /// [`Self::add`], and wakes the taker.
    pub(super) fn push(&self, item: T) {
        self.add(item);
        self.wake();
    }

    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Appends an item, dropping the oldest until it fits. After `close`, the item itself is dropped.
    pub(super) fn add(&self, item: T) {
        let mut state = self.state();
        if state.is_closed {
            return;
        }
        let bytes = item.bytes();
        while state.items.len() >= self.limits.count_max || state.bytes + bytes > self.limits.bytes_max {
            let Some(oldest) = state.items.pop_front() else { break };
            state.bytes -= oldest.bytes();
        }
        state.bytes += bytes;
        state.items.push_back(item);
    }

    /// Waits until there is an item, then appends the oldest [`Limits::TAKEN_AT_ONCE`] to `taken`. Returns `false`
    /// once the queue is closed and empty. Cancel-safe.
    pub(super) async fn take(&self, taken: &mut Vec<T>) -> bool {
        loop {
            if self.try_take(taken, Limits { count_max: Limits::TAKEN_AT_ONCE, bytes_max: usize::MAX }) {
                return true;
            }
            if self.is_done() {
                return false;
            }
            self.changed.notified().await;
        }
    }

    /// Appends the oldest items to `taken`, up to the limits or one that is over them; `false` if there is none.
    pub(super) fn try_take(&self, taken: &mut Vec<T>, limits: Limits) -> bool {
        let mut state = self.state();
        let (mut count, mut bytes) = (0, 0);
        for item in state.items.iter().take(limits.count_max) {
            bytes += item.bytes();
            count += 1;
            if bytes >= limits.bytes_max {
                break;
            }
        }
        taken.extend(state.items.drain(..count));
        state.bytes -= bytes;
        count > 0
    }

    /// Closed, and empty.
    pub(super) fn is_done(&self) -> bool {
        let state = self.state();
        state.is_closed && state.items.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state().items.is_empty()
    }

    /// Drops all items.
    pub(super) fn clear(&self) {
        let mut state = self.state();
        state.items.clear();
        state.bytes = 0;
    }

    /// Accepts no more items. Queued ones can still be taken.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        lock(&self.state)
    }
}

#[cfg(test)]
impl<T: Clone> Queue<T> {
    /// The item that was queued last, if it still is.
    pub(super) fn newest(&self) -> Option<T> {
        self.state.lock().expect("no test panics under the lock").items.back().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn taken(queue: &Queue<Bytes>) -> Vec<Bytes> {
        let mut items = Vec::new();
        queue.close();
        while queue.take(&mut items).await {}
        items
    }

    #[tokio::test]
    async fn drops_the_oldest_over_its_count() {
        let queue = Queue::new(Limits { count_max: 3, bytes_max: 100 });
        for item in ["a", "b", "c", "d", "e"] {
            queue.push(Bytes::from(item));
        }
        assert_eq!(taken(&queue).await, ["c", "d", "e"]);
    }

    #[tokio::test]
    async fn drops_the_oldest_over_its_bytes() {
        let queue = Queue::new(Limits { count_max: 100, bytes_max: 6 });
        for item in ["aaa", "bb", "c", "dddd"] {
            queue.push(Bytes::from(item));
        }
        assert_eq!(taken(&queue).await, ["c", "dddd"]);
    }

    #[tokio::test]
    async fn lets_a_single_item_pass_that_is_over_its_bytes() {
        let queue = Queue::new(Limits { count_max: 100, bytes_max: 2 });
        queue.push(Bytes::from("a"));
        queue.push(Bytes::from("bbbb"));
        assert_eq!(taken(&queue).await, ["bbbb"]);
    }

    #[tokio::test]
    async fn has_room_again_for_what_was_taken() {
        let queue = Queue::new(Limits { count_max: 2, bytes_max: 4 });
        let mut items = Vec::new();
        for item in ["aa", "bb", "cc", "dd"] {
            queue.push(Bytes::from(item));
            assert!(queue.take(&mut items).await);
        }
        queue.push(Bytes::from("ee"));
        queue.push(Bytes::from("ff"));
        items.extend(taken(&queue).await);
        assert_eq!(items, ["aa", "bb", "cc", "dd", "ee", "ff"]);
    }

    #[tokio::test]
    async fn takes_a_bounded_number_at_once_and_the_rest_without_waiting() {
        let queue = Queue::new(Limits::OF_A_LINK);
        for _ in 0..Limits::TAKEN_AT_ONCE + 1 {
            queue.push(Bytes::new());
        }
        let mut items = Vec::new();
        assert!(queue.take(&mut items).await);
        assert_eq!(items.len(), Limits::TAKEN_AT_ONCE);
        assert!(queue.take(&mut items).await);
        assert_eq!(items.len(), Limits::TAKEN_AT_ONCE + 1);
    }
}
