//! Opens the frames that arrive at one link.
//!
//! Part of the inbound side of a link, on the driver's thread. Only an authentic frame may change what it keeps: what
//! any client can send costs no memory, and displaces nothing.

use std::{collections::BTreeMap, sync::Arc};

use bytes::{Buf, Bytes, BytesMut};

use super::{
    header::{Boot, Fingerprint, HEADER_BYTES, Header, HeaderFault, Kind},
    keys::{BootKey, KeyRing},
    refusal::Refusal,
    security::Security,
    window::Window,
};
use crate::raft::{Incarnation, Target};

/// How many boots a link remembers: more than a cluster can have members, for a few restarts each. Beyond that, the
/// one that has been silent for the longest time is forgotten.
const BOOTS_MAX: usize = 1_024;

pub(in crate::channel) struct Opener {
    security: Security,
    me: Incarnation,
    boot: Boot,
    /// The ring, and its generation.
    ring: (u64, Arc<KeyRing>),
    senders: BTreeMap<(Incarnation, Boot), Sender>,
    /// The number of authentic frames so far: the time by which senders are forgotten.
    heard: u64,
    /// Reasons that must be reported, and were not yet.
    news: Vec<Refusal>,
}

/// One link of another node.
struct Sender {
    /// Those of this node's ring with which it has sealed.
    keys: Vec<BootKey>,
    /// The first one of its own ring.
    first: Option<Fingerprint>,
    window: Window,
    heard_at: u64,
}

impl Opener {
    pub(super) fn new(security: Security, me: Incarnation, boot: Boot) -> Self {
        let ring = (security.generation(), security.ring());
        security.forget_all();
        Self { security, me, boot, ring, senders: BTreeMap::new(), heard: 0, news: Vec::new() }
    }

    /// Opens the frames from position `from` on; what is refused goes.
    pub(in crate::channel) fn open_all(&mut self, frames: &mut Vec<Bytes>, from: usize) {
        let generation = self.security.generation();
        if self.ring.0 != generation {
            self.ring = (generation, self.security.ring());
        }
        let is_sealed = |frame: &Bytes| Kind::of(frame).begins(frame);
        if self.ring.1.is_empty() && !frames[from..].iter().any(is_sealed) {
            return;
        }
        let mut refusals = Vec::new();
        let arrived = frames.split_off(from);
        for frame in arrived {
            let kind = Kind::of(&frame);
            match self.open(frame) {
                Ok(opened) if kind == Kind::Frame => frames.push(opened),
                Ok(_) => {}
                Err(refusal) => refusals.push(refusal),
            }
        }
        for &refusal in &refusals {
            if self.security.refuse(refusal) {
                self.news.push(refusal);
            }
        }
        self.security.note_mismatch(refusals);
    }

    /// Each reason for which frames are refused that must be reported: once, until the secret is changed.
    pub(in crate::channel) fn take_news(&mut self) -> Vec<Refusal> {
        std::mem::take(&mut self.news)
    }

    pub(super) fn open(&mut self, frame: Bytes) -> Result<Bytes, Refusal> {
        let (ring, kind) = (self.ring.1.clone(), Kind::of(&frame));
        if ring.is_empty() {
            return if kind.begins(&frame) { Err(Refusal::Sealed) } else { Ok(frame) };
        }
        let header = Header::read(kind, &frame).map_err(refusal_of)?;
        if header.to != Target::All && header.to != Target::One(self.me) {
            return Err(Refusal::Misdirected);
        }
        let sender = self.senders.get(&(header.from, header.boot));
        if header.boot == self.boot || sender.is_some_and(|sender| !sender.window.admits(header.counter)) {
            return Err(Refusal::Replayed);
        }
        let ring_key = ring.get(header.fingerprint).ok_or(Refusal::UnknownKey)?;
        let known = sender.and_then(|sender| sender.key(header.fingerprint));
        let fresh = known.is_none().then(|| ring_key.of_boot(&header.boot));
        let key = fresh.as_ref().or(known);
        let opened = key.and_then(|key| open(key, header.counter, frame)).ok_or(Refusal::Forged)?;
        self.accept(&header, fresh);
        Ok(opened)
    }

    /// Notes an authentic frame. `fresh` is the key, if it is the first one of its boot with this key.
    fn accept(&mut self, header: &Header, fresh: Option<BootKey>) {
        self.heard += 1;
        let sender = self.senders.entry((header.from, header.boot)).or_insert_with(Sender::new);
        sender.window.record(header.counter);
        sender.heard_at = self.heard;
        if sender.first != Some(header.first) {
            sender.first = Some(header.first);
            self.security.set_first_key_of(header.from, header.first);
        }
        if let Some(key) = fresh {
            sender.keys.retain(|key| self.ring.1.get(key.fingerprint).is_some());
            sender.keys.push(key);
            self.forget_oldest();
        }
    }

    /// What a frame holds, without accepting it.
    #[cfg(test)]
    pub(in crate::channel) fn peek(&self, frame: Bytes) -> Option<Bytes> {
        let header = Header::read(Kind::Frame, &frame).ok()?;
        open(&self.ring.1.get(header.fingerprint)?.of_boot(&header.boot), header.counter, frame)
    }

    fn forget_oldest(&mut self) {
        if self.senders.len() <= BOOTS_MAX {
            return;
        }
        let oldest = self.senders.iter().min_by_key(|(_, sender)| sender.heard_at);
        let Some((&oldest, _)) = oldest else { return };
        self.senders.remove(&oldest);
        if !self.senders.keys().any(|(sender, _)| *sender == oldest.0) {
            self.security.forget(oldest.0);
        }
    }
}

impl Sender {
    fn new() -> Self {
        Self { keys: Vec::new(), first: None, window: Window::new(), heard_at: 0 }
    }

    fn key(&self, fingerprint: Fingerprint) -> Option<&BootKey> {
        self.keys.iter().find(|key| key.fingerprint == fingerprint)
    }
}

fn refusal_of(fault: HeaderFault) -> Refusal {
    match fault {
        HeaderFault::OtherKind => Refusal::Unsealed,
        HeaderFault::OtherVersion => Refusal::OtherVersion,
        HeaderFault::Cut => Refusal::Malformed,
    }
}

/// In place, unless others of this process have the same frame.
fn open(key: &BootKey, counter: u64, frame: Bytes) -> Option<Bytes> {
    let mut bytes = frame.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    let length = key.open(counter, &mut bytes)?;
    bytes.advance(HEADER_BYTES);
    bytes.truncate(length);
    Some(bytes.freeze())
}

/// The note that another link kept. It may be read any number of times, also by a node that has heard nothing else of
/// that link.
pub(super) fn open_note(security: &Security, note: Bytes) -> Option<Bytes> {
    let ring = security.ring();
    if ring.is_empty() {
        return Some(note).filter(|note| !Kind::Note.begins(note));
    }
    let header = Header::read(Kind::Note, &note).ok()?;
    open(&ring.get(header.fingerprint)?.of_boot(&header.boot), header.counter, note)
}
