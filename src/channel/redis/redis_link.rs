//! One incarnation's place on connections that links share.
//!
//! Its queues, its health and its marker are its own, so that a link that floods, fails or leaves takes nothing from the
//! others. It must never know how frames travel.

use std::{
    mem::replace,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use tokio::sync::watch;

use super::{
    super::{Health, Limits, Queue, lock, marker::Marker},
    OutboundFrame,
    topics::Topics,
};

/// Frames with the links that send them, in their order.
pub(super) type Batch = Vec<(Arc<RedisLink>, Vec<OutboundFrame>)>;

pub(super) struct RedisLink {
    pub(super) topics: Topics,
    pub(super) marker: Arc<Marker>,
    pub(super) inbound: Arc<Queue<Bytes>>,
    pub(super) outbound: Queue<OutboundFrame>,
    /// Whether the link waits for its turn in the writer.
    pub(super) is_queued: AtomicBool,
    health: watch::Sender<Health>,
    /// It sends what is queued, and leaves.
    is_leaving: AtomicBool,
    admission: Mutex<Option<Admission>>,
}

/// What a link has in a session that has subscribed to its topics.
struct Admission {
    /// What was last seen of the marker; `None` if this user may not look for it.
    sees_mark: Option<bool>,
    /// An echo of this link was heard.
    is_proven: bool,
    /// The number of the first echo since the last one that was heard.
    unheard_since: Option<u64>,
}

impl RedisLink {
    pub(super) fn new(topics: Topics, marker: Marker) -> Self {
        Self {
            topics,
            marker: Arc::new(marker),
            inbound: Arc::new(Queue::new(Limits::OF_A_LINK)),
            outbound: Queue::new(Limits::OF_A_LINK),
            is_queued: AtomicBool::new(false),
            health: watch::Sender::new(Health::Connecting),
            is_leaving: AtomicBool::new(false),
            admission: Mutex::new(None),
        }
    }

    pub(super) fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// The link does not work, for this cause.
    pub(super) fn set_broken(&self, cause: &str) {
        let broken = Health::Broken { cause: cause.to_string() };
        self.health.send_if_modified(|health| {
            let is_news = *health != broken;
            *health = broken;
            is_news
        });
    }

    pub(super) fn is_broken(&self) -> bool {
        matches!(*self.health.borrow(), Health::Broken { .. })
    }

    /// The topics are subscribed. `None`: this user may not look for the marker.
    pub(super) fn admit(&self, sees_mark: Option<bool>) {
        *self.admission() = Some(Admission { sees_mark, is_proven: false, unheard_since: None });
    }

    /// The session has ended.
    pub(super) fn end_session(&self) {
        *self.admission() = None;
    }

    pub(super) fn is_admitted(&self) -> bool {
        self.admission().is_some()
    }

    /// An echo with this number is about to be published.
    pub(super) fn note_echo_sent(&self, number: u64) {
        if let Some(admission) = &mut *self.admission() {
            admission.unheard_since.get_or_insert(number);
        }
    }

    /// An echo of this session arrived: what this link sends, it receives.
    pub(super) fn note_echo(&self) {
        if let Some(admission) = &mut *self.admission() {
            admission.is_proven = true;
            admission.unheard_since = None;
            self.health.send_if_modified(|health| replace(health, Health::Healthy) != Health::Healthy);
        }
    }

    pub(super) fn is_proven(&self) -> bool {
        self.admission().as_ref().is_some_and(|admission| admission.is_proven)
    }

    /// Its last echo was heard.
    pub(super) fn has_heard_last_echo(&self) -> bool {
        self.admission()
            .as_ref()
            .is_some_and(|admission| admission.is_proven && admission.unheard_since.is_none())
    }

    /// How many echoes before this number, which was heard, were not.
    pub(super) fn echoes_lost(&self, heard: u64) -> u64 {
        let admission = self.admission();
        let since = admission.as_ref().and_then(|admission| admission.unheard_since);
        since.map_or(0, |since| heard.saturating_sub(since))
    }

    /// A user that may not even look for the marker has no right to it at all.
    pub(super) fn may_mark(&self) -> bool {
        self.sees_mark().is_some()
    }

    pub(super) fn sees_mark(&self) -> Option<bool> {
        self.admission().as_ref().and_then(|admission| admission.sees_mark)
    }

    pub(super) fn set_sees_mark(&self, sees_mark: Option<bool>) {
        if let Some(admission) = &mut *self.admission() {
            admission.sees_mark = sees_mark;
        }
    }

    /// Accepts no more frames. Queued ones still leave.
    pub(super) fn begin_leaving(&self) {
        self.outbound.close();
        self.is_leaving.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }

    fn admission(&self) -> MutexGuard<'_, Option<Admission>> {
        lock(&self.admission)
    }
}
