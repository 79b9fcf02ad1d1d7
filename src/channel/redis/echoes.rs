//! The echoes of one session: their numbers, and which of them arrived last.
//!
//! Numbered by the watchdog, heard by the subscriber.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

/// The connection of a session keeps the order of what is published: if an echo is heard, every earlier one was heard or
/// is lost.
pub(super) struct Echoes {
    /// The numbers of a session's echoes follow this one, which no other session shares: an echo that was stuck in the
    /// server says nothing about the connections of today.
    first: u64,
    sent: AtomicU64,
    newest: watch::Sender<u64>,
}

impl Echoes {
    pub(super) fn new(session: u64) -> Self {
        let first = session << 32;
        Self { first, sent: AtomicU64::new(first), newest: watch::Sender::new(first) }
    }

    /// The number of the next echo.
    pub(super) fn next(&self) -> u64 {
        self.sent.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Whether an echo with this number was sent in this session: any client may publish into its topic.
    pub(super) fn hear(&self, number: u64) -> bool {
        let is_ours = (self.first + 1..=self.sent.load(Ordering::Relaxed)).contains(&number);
        if is_ours {
            self.newest.send_if_modified(|newest| std::mem::replace(newest, number.max(*newest)) < number);
        }
        is_ours
    }

    /// The number of the newest echo that was heard; the first one's predecessor if none was.
    pub(super) fn newest(&self) -> u64 {
        *self.newest.borrow()
    }

    /// Waits until this echo is heard.
    pub(super) async fn heard(&self, number: u64) {
        // The sender lives as long as this.
        let _ = self.newest.subscribe().wait_for(|newest| *newest >= number).await;
    }
}
