//! Seals the frames and the note of one link.
//!
//! The outbound side of a sealed link, called by the threads that have turns. A frame is sealed once, also for all: its
//! one copy is the allocation in which it is sealed.
//!
//! A frame to one node is sealed with the first key of that node's ring, where this node has it, else with its own first
//! key. So a node that missed a rotation can return as long as the others still have its key. A frame to all is sealed
//! once more for each such key: most of what a leader sends is to all, and a node that can open both takes it twice, as if
//! the channel had repeated it.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;

use super::{
    header::{Boot, HEADER_BYTES, Header, Kind},
    keys::BootKey,
    opener,
    security::Security,
};
use crate::{
    channel::{Outbound, Sender, lock, marker::NoteCipher},
    raft::{Incarnation, Lane, Target},
};

pub(super) struct Sealer {
    inner: Outbound,
    security: Security,
    me: Incarnation,
    boot: Boot,
    /// Of all frames of the link, whatever their key: no nonce repeats, also where a key returns to the ring.
    counter: AtomicU64,
    /// The keys, and the generation of the ring that they are from. The thread that sends has the turn: none waits.
    keys: Mutex<(u64, Arc<[BootKey]>)>,
}

impl Sealer {
    pub(super) fn new(inner: Outbound, security: Security, me: Incarnation, boot: Boot) -> Self {
        Self { inner, security, me, boot, counter: AtomicU64::new(0), keys: Mutex::new((0, Arc::from([]))) }
    }

    /// What is to be sent: the frame itself if there is no secret, nothing if it is too long to be sealed.
    pub(super) fn seal(&self, kind: Kind, to: Target, plain: Bytes) -> Option<Bytes> {
        let keys = self.keys();
        let Some(first) = keys.first() else { return Some(plain) };
        self.seal_with(self.key_for(to, &keys).unwrap_or(first), first, kind, to, &plain)
    }

    /// The same frame to all, for those that may not have this node's first key.
    fn seal_for_others(&self, plain: &Bytes) -> Vec<Bytes> {
        let keys = self.keys();
        let [first, others @ ..] = &*keys else { return Vec::new() };
        if others.is_empty() {
            return Vec::new();
        }
        let used = self.security.first_keys();
        let others = others.iter().filter(|key| used.contains(&key.fingerprint));
        others.filter_map(|key| self.seal_with(key, first, Kind::Frame, Target::All, plain)).collect()
    }

    fn seal_with(
        &self,
        key: &BootKey,
        first: &BootKey,
        kind: Kind,
        to: Target,
        plain: &Bytes,
    ) -> Option<Bytes> {
        let counter = self.counter.fetch_add(1, Ordering::Relaxed) + 1;
        let header = Header {
            kind,
            fingerprint: key.fingerprint,
            first: first.fingerprint,
            from: self.me,
            to,
            boot: self.boot,
            counter,
        };
        let mut sealed = Vec::with_capacity(HEADER_BYTES + plain.len() + BootKey::TAG_BYTES);
        header.write(&mut sealed);
        sealed.extend_from_slice(plain);
        key.seal(counter, &mut sealed)?;
        Some(sealed.into())
    }

    /// Announces to all nodes which key this one uses from now on: a follower might otherwise not learn it for a long
    /// time.
    pub(super) fn announce(&self) {
        if let Some(announcement) =
            self.seal(Kind::Announcement, Target::All, Bytes::new()).filter(|it| !it.is_empty())
        {
            self.inner.send(Target::All, Lane::Control, announcement);
            self.inner.flush();
        }
    }

    fn key_for<'a>(&self, to: Target, keys: &'a [BootKey]) -> Option<&'a BootKey> {
        match to {
            Target::One(receiver) if keys.len() > 1 => {
                let first = self.security.first_key_of(receiver)?;
                keys.iter().find(|key| key.fingerprint == first)
            }
            Target::One(_) | Target::All => None,
        }
    }

    fn keys(&self) -> Arc<[BootKey]> {
        let mut cached = lock(&self.keys);
        let generation = self.security.generation();
        if cached.0 != generation {
            *cached = (generation, self.security.ring().of_boot(&self.boot).into());
        }
        cached.1.clone()
    }
}

impl Sender for Sealer {
    fn send(&self, to: Target, lane: Lane, frame: Bytes) {
        if to == Target::All {
            self.seal_for_others(&frame).into_iter().for_each(|sealed| self.inner.send(to, lane, sealed));
        }
        if let Some(sealed) = self.seal(Kind::Frame, to, frame) {
            self.inner.send(to, lane, sealed);
        }
    }

    fn flush(&self) {
        self.inner.flush();
    }
}

impl NoteCipher for Sealer {
    fn seal(&self, note: Bytes) -> Bytes {
        self.seal(Kind::Note, Target::All, note).unwrap_or_default()
    }

    fn open(&self, note: Bytes) -> Option<Bytes> {
        opener::open_note(&self.security, note)
    }
}
