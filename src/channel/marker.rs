//! This file is what a link and its node tell each other about clusters that may be out of hearing.
//!
//! After a failover the members of a cluster and newcomers may be on different servers for a moment. A channel that can
//! keep something for a few seconds keeps a marker there while a leader asks for it; whoever finds it does not found.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::{Notify, watch};

/// What a node wants of the marker at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wish {
    #[default]
    Nothing,
    /// It leads a cluster: keep the marker.
    Keep,
    /// It may found one: look for the marker.
    Look,
}

#[derive(Default)]
pub struct Marker {
    wish: AtomicU8,
    is_found: watch::Sender<bool>,
    /// Holds one permit if the marker is wanted at once: a failover may come right after a founding.
    is_urgent: Notify,
}

impl Marker {
    pub fn set_wish(&self, wish: Wish) {
        let former = self.wish.swap(wish as u8, Ordering::Relaxed);
        if wish == Wish::Keep && former != wish as u8 {
            self.is_urgent.notify_one();
        }
    }

    pub(super) async fn urgent(&self) {
        self.is_urgent.notified().await;
    }

    pub(super) fn wish(&self) -> Wish {
        match self.wish.load(Ordering::Relaxed) {
            wish if wish == Wish::Keep as u8 => Wish::Keep,
            wish if wish == Wish::Look as u8 => Wish::Look,
            _ => Wish::Nothing,
        }
    }

    /// A cluster may be there that this link does not hear.
    pub(super) fn set_found(&self, is_found: bool) {
        self.is_found.send_if_modified(|former| std::mem::replace(former, is_found) != is_found);
    }

    pub fn found(&self) -> watch::Receiver<bool> {
        self.is_found.subscribe()
    }
}
