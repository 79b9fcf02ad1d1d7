//! The exchange between a link and its node about clusters that this node may be unable to reach.
//!
//! After a failover the members of a cluster and newcomers may be on different servers for a moment. A channel that can
//! keep something for a few seconds keeps a marker there while a leader asks for it; a node that finds it does not found a cluster.
//! It keeps a note of the cluster's members for longer: a founder that finds one knows that a cluster has ended. Notes of
//! this process's own nodes are found as well. A channel with a secret keeps sealed notes; a marker holds nothing secret.

use std::{
    collections::BTreeMap,
    mem::replace,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::{Notify, watch};

use super::lock;

/// For how long after the end of a cluster its note is found.
pub(super) const NOTE_IS_KEPT: Duration = Duration::from_secs(300);

/// What a node needs from the marker at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MarkerRequest {
    #[default]
    Nothing,
    /// It leads a cluster: keep the marker.
    Keep,
    /// It may found one: look for the marker.
    Look,
}

#[derive(Default)]
pub struct Marker {
    /// Distinguishes this channel from others of the process; `None`: it keeps no notes.
    channel_key: Option<String>,
    request: AtomicU8,
    is_found: watch::Sender<bool>,
    note: Mutex<Note>,
    cipher: OnceLock<Arc<dyn NoteCipher>>,
    noted: watch::Sender<Option<Bytes>>,
    /// Holds one permit if the marker is wanted at once: a failover may come right after a founding.
    is_urgent: Arc<Notify>,
}

/// A note as the node gives it, and as the channel keeps it.
#[derive(Default)]
struct Note {
    given: Bytes,
    kept: Bytes,
}

/// Seals notes, and opens those that other nodes sealed.
pub(super) trait NoteCipher: Send + Sync {
    fn seal(&self, note: Bytes) -> Bytes;

    /// `None` for what no node with the same secret has sealed.
    fn open(&self, note: Bytes) -> Option<Bytes>;
}

/// What nodes of this process left at places: their cluster's note, and when they left.
static DEPARTED: Mutex<BTreeMap<String, (Bytes, Instant)>> = Mutex::new(BTreeMap::new());

impl Marker {
    pub(super) fn at(channel_key: String) -> Self {
        let mut left = lock(&DEPARTED);
        left.retain(|_, (_, at)| at.elapsed() < NOTE_IS_KEPT);
        let note = left.get(&channel_key).map(|(note, _)| note.clone());
        Self { channel_key: Some(channel_key), noted: watch::Sender::new(note), ..Self::default() }
    }

    /// Several markers may wake one task.
    pub(super) fn waking(self, is_urgent: Arc<Notify>) -> Self {
        Self { is_urgent, ..self }
    }

    /// To be set before anything else, and once.
    pub(super) fn set_cipher(&self, cipher: Arc<dyn NoteCipher>) {
        self.noted.send_if_modified(|noted| {
            *noted = noted.take().and_then(|note| cipher.open(note));
            true
        });
        let _ = self.cipher.set(cipher);
    }

    /// The members of the node's cluster. To be set before the request.
    pub fn set_note(&self, given: Bytes) {
        let mut note = lock(&self.note);
        if note.given != given {
            let kept = match self.cipher.get() {
                Some(cipher) if !given.is_empty() => cipher.seal(given.clone()),
                Some(_) | None => given.clone(),
            };
            *note = Note { given, kept };
        }
    }

    /// As the channel keeps it. Empty if the node is in no cluster.
    pub(super) fn note(&self) -> Bytes {
        lock(&self.note).kept.clone()
    }

    /// The channel keeps this note.
    pub(super) fn set_noted(&self, note: Bytes) {
        let opened = match self.cipher.get() {
            Some(cipher) => cipher.open(note),
            None => Some(note),
        };
        if opened.is_some() {
            self.noted.send_replace(opened);
        }
    }

    pub fn noted(&self) -> watch::Receiver<Option<Bytes>> {
        self.noted.subscribe()
    }

    /// The node leaves the channel.
    pub(super) fn leave(&self) {
        let note = self.note();
        if let Some(channel_key) = self.channel_key.as_ref().filter(|_| !note.is_empty()) {
            lock(&DEPARTED).insert(channel_key.clone(), (note, Instant::now()));
        }
    }

    pub fn set_request(&self, request: MarkerRequest) {
        let former = self.request.swap(request as u8, Ordering::Relaxed);
        if request == MarkerRequest::Keep && former != request as u8 {
            self.is_urgent.notify_one();
        }
    }

    pub(super) fn request(&self) -> MarkerRequest {
        match self.request.load(Ordering::Relaxed) {
            request if request == MarkerRequest::Keep as u8 => MarkerRequest::Keep,
            request if request == MarkerRequest::Look as u8 => MarkerRequest::Look,
            _ => MarkerRequest::Nothing,
        }
    }

    /// There may be a cluster from which this link receives nothing.
    pub(super) fn set_found(&self, is_found: bool) {
        self.is_found.send_if_modified(|former| replace(former, is_found) != is_found);
    }

    pub fn found(&self) -> watch::Receiver<bool> {
        self.is_found.subscribe()
    }
}
