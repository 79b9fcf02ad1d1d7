//! Carries frames over a channel that the application itself provides, in JavaScript.
//!
//! Joined by `driver.rs`. Frames wait in two bounded queues, one for each direction. JavaScript is notified once that
//! there are frames, and takes them through [`OpenLinks`] in a later turn of its event loop; so a slow channel loses
//! the oldest frames and never delays the driver. Only the end of a link waits for JavaScript, for a bounded time.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use super::{
    Attachment, Channel, Health, Inbound, Limits, Link, Outbound, Queue, Sender, lock, marker::Marker,
    no_peer_events,
};
use crate::raft::{Incarnation, Lane, Target};

/// JavaScript's side of the channel. Notices arrive there in the order of the calls. Must not block.
pub trait Script: Send + Sync {
    fn notify(&self, notice: Notice);
}

/// Links of a node are numbered: what JavaScript still does for a former link has no effect on the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    Join {
        link: u32,
        me: Incarnation,
    },
    /// There are frames to take. Not repeated before JavaScript has taken all.
    Frames {
        link: u32,
    },
    /// JavaScript sends the frames that it can still take, and then leaves.
    Leave {
        link: u32,
    },
}

/// An application's channel.
pub struct Custom {
    script: Arc<dyn Script>,
    links: OpenLinks,
    numbers: AtomicU32,
}

impl Custom {
    pub fn new(script: Arc<dyn Script>, links: OpenLinks) -> Self {
        Self { script, links, numbers: AtomicU32::new(0) }
    }
}

impl Channel for Custom {
    fn join(&self, me: Incarnation) -> Link {
        let link = Arc::new(OpenLink {
            number: self.numbers.fetch_add(1, Ordering::Relaxed),
            outbound: Queue::new(Limits::OF_A_LINK),
            inbound: Arc::new(Queue::new(Limits::OF_A_LINK)),
            health: watch::Sender::new(Health::Connecting),
            is_notified: AtomicBool::new(false),
            has_left: Notify::new(),
        });
        lock(&self.links.0).insert(link.number, link.clone());
        self.script.notify(Notice::Join { link: link.number, me });
        let marker = Arc::new(Marker::default());
        Link {
            outbound: Outbound(Arc::new(CustomSender { script: self.script.clone(), link: link.clone() })),
            inbound: Inbound::new(link.inbound.clone()),
            health: link.health.subscribe(),
            found: marker.found(),
            noted: marker.noted(),
            marker,
            peers: no_peer_events(),
            attachment: Box::new(CustomAttachment {
                script: self.script.clone(),
                links: self.links.clone(),
                link,
                is_leaving: false,
            }),
        }
    }
}

/// JavaScript's access to a node's links, by their numbers. A call that names one that has ended has no effect.
#[derive(Clone, Default)]
pub struct OpenLinks(Arc<Mutex<BTreeMap<u32, Arc<OpenLink>>>>);

impl OpenLinks {
    /// What JavaScript takes at once. It looks at the clock in between.
    const BATCH: Limits = Limits { count_max: 64, bytes_max: 1 << 20 };

    /// The oldest frames that wait to be sent. Once there are none, JavaScript is notified of the next.
    pub fn take(&self, link: u32) -> Vec<(Target, Bytes)> {
        let mut frames = Vec::new();
        if let Some(open) = self.get(link)
            && !open.outbound.try_take(&mut frames, Self::BATCH)
        {
            open.is_notified.store(false, Ordering::SeqCst);
            // One may have been queued just before, without a notice.
            open.outbound.try_take(&mut frames, Self::BATCH);
        }
        frames
    }

    /// These frames have arrived.
    pub fn received(&self, link: u32, frames: impl IntoIterator<Item = Bytes>) {
        let Some(open) = self.get(link) else { return };
        frames.into_iter().for_each(|frame| open.inbound.add(frame));
        open.inbound.wake();
    }

    /// The channel works (`None`), or does not, for this cause.
    pub fn set_health(&self, link: u32, cause: Option<String>) {
        let Some(open) = self.get(link) else { return };
        let health = match cause {
            None => Health::Healthy,
            Some(cause) => {
                // Raft repeats the necessary ones once the channel works.
                open.outbound.clear();
                Health::Broken { cause }
            }
        };
        open.health.send_if_modified(|former| {
            let is_news = *former != health;
            *former = health;
            is_news
        });
    }

    /// JavaScript has left the link's channel.
    pub fn left(&self, link: u32) {
        if let Some(open) = self.get(link) {
            open.has_left.notify_one();
        }
    }

    fn get(&self, link: u32) -> Option<Arc<OpenLink>> {
        lock(&self.0).get(&link).cloned()
    }
}

struct OpenLink {
    number: u32,
    outbound: Queue<(Target, Bytes)>,
    inbound: Arc<Queue<Bytes>>,
    health: watch::Sender<Health>,
    /// JavaScript takes frames until it finds none.
    is_notified: AtomicBool,
    has_left: Notify,
}

struct CustomSender {
    script: Arc<dyn Script>,
    link: Arc<OpenLink>,
}

impl Sender for CustomSender {
    fn send(&self, to: Target, _: Lane, frame: Bytes) {
        self.link.outbound.add((to, frame));
    }

    fn flush(&self) {
        if !self.link.is_notified.swap(true, Ordering::SeqCst) {
            self.script.notify(Notice::Frames { link: self.link.number });
        }
    }
}

/// Keeps a link on the application's channel; dropping it leaves, without the frames that still wait.
struct CustomAttachment {
    script: Arc<dyn Script>,
    links: OpenLinks,
    link: Arc<OpenLink>,
    is_leaving: bool,
}

impl CustomAttachment {
    const LEAVE_TIMEOUT: Duration = Duration::from_millis(500);

    fn leave(&mut self) {
        self.is_leaving = true;
        self.link.outbound.close();
        self.script.notify(Notice::Leave { link: self.link.number });
    }
}

impl Attachment for CustomAttachment {
    fn leave(mut self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            CustomAttachment::leave(&mut self);
            // When the time is over, what is still queued is lost.
            let _ = timeout(Self::LEAVE_TIMEOUT, self.link.has_left.notified()).await;
        })
    }
}

impl Drop for CustomAttachment {
    fn drop(&mut self) {
        self.link.outbound.clear();
        self.link.inbound.close();
        if !self.is_leaving {
            self.leave();
        }
        lock(&self.links.0).remove(&self.link.number);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::lock, *};

    /// Notices that no JavaScript acts on.
    #[derive(Default)]
    struct Noted(Mutex<Vec<Notice>>);

    impl Script for Noted {
        fn notify(&self, notice: Notice) {
            lock(&self.0).push(notice);
        }
    }

    fn incarnation(number: u128) -> Incarnation {
        Incarnation::from_u128(number)
    }

    fn joined() -> (Arc<Noted>, OpenLinks, Custom, Link) {
        let (script, open) = (Arc::new(Noted::default()), OpenLinks::default());
        let custom = Custom::new(script.clone(), open.clone());
        let link = custom.join(incarnation(1));
        assert_eq!(notices(&script), [Notice::Join { link: 0, me: incarnation(1) }]);
        (script, open, custom, link)
    }

    fn notices(script: &Noted) -> Vec<Notice> {
        std::mem::take(&mut lock(&script.0))
    }

    #[tokio::test]
    async fn javascript_is_notified_once_until_it_has_taken_all() {
        let (script, open, _custom, link) = joined();
        for frame in ["a", "b", "c"] {
            link.outbound.say(Target::All, Bytes::from(frame));
        }
        assert_eq!(notices(&script), [Notice::Frames { link: 0 }]);
        let taken: Vec<Bytes> = open.take(0).into_iter().map(|(_, frame)| frame).collect();
        assert_eq!(taken, ["a", "b", "c"]);
        link.outbound.say(Target::All, Bytes::from("while it still sends those"));
        assert_eq!(notices(&script), []);
        assert_eq!(open.take(0).len(), 1);
        assert_eq!(open.take(0), []);
        link.outbound.say(Target::All, Bytes::from("d"));
        assert_eq!(notices(&script), [Notice::Frames { link: 0 }]);
    }

    #[tokio::test]
    async fn a_former_link_has_no_effect_on_the_next() {
        let (script, open, custom, link) = joined();
        drop(link);
        let mut next = custom.join(incarnation(2));
        assert_eq!(
            notices(&script),
            [Notice::Leave { link: 0 }, Notice::Join { link: 1, me: incarnation(2) }]
        );
        next.outbound.say(Target::All, Bytes::from("of the next"));
        open.set_health(0, Some("it is gone".into()));
        open.received(0, [Bytes::from("late")]);
        open.left(0);
        assert_eq!(open.take(0), []);
        assert_eq!(*next.health.borrow(), Health::Connecting);
        open.received(1, [Bytes::from("heard")]);
        let mut frames = Vec::new();
        assert!(next.inbound.recv_many(&mut frames).await);
        assert_eq!(frames, ["heard"]);
        assert_eq!(open.take(1).len(), 1);
    }

    #[tokio::test]
    async fn a_break_loses_what_waits_and_is_reported_with_its_cause() {
        let (_script, open, _custom, link) = joined();
        link.outbound.say(Target::All, Bytes::from("stale"));
        open.set_health(0, Some("no cable".into()));
        assert_eq!(*link.health.borrow(), Health::Broken { cause: "no cable".into() });
        assert_eq!(open.take(0), []);
        open.set_health(0, None);
        assert_eq!(*link.health.borrow(), Health::Healthy);
    }

    #[tokio::test]
    async fn a_link_that_javascript_does_not_leave_ends_all_the_same() {
        let (script, open, _custom, link) = joined();
        link.outbound.say(Target::All, Bytes::from("last"));
        link.close().await;
        assert_eq!(notices(&script), [Notice::Frames { link: 0 }, Notice::Leave { link: 0 }]);
        assert_eq!(open.take(0), []);
    }
}
