//! What a node's links share about its secret: the key ring, the frames that were refused, and the key of each sender.
//!
//! Made by `js/`, which changes the ring and describes the rest in the status, from JavaScript's thread.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    header::Fingerprint,
    keys::{KeyRing, Secret, name_of},
    refusal::Refusal,
};
use crate::{channel::lock, raft::Incarnation};

/// For how long a frame that was sealed otherwise explains why a node is waiting.
const MISMATCH_COUNTS: Duration = Duration::from_secs(10);

/// What announces a change of the ring to the other nodes.
type Announce = Box<dyn Fn() + Send>;

/// A handle; clones share one value.
#[derive(Clone)]
pub struct Security(Arc<Shared>);

struct Shared {
    channel_name: String,
    ring: Mutex<Arc<KeyRing>>,
    /// Rises with every new ring.
    generation: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
    /// The reasons that were reported since the last change of the ring, as bits.
    reported: AtomicU32,
    mismatch: Mutex<Option<(Refusal, Instant)>>,
    /// Of the present link.
    announce: Mutex<Option<Announce>>,
    /// The first key of each sender's ring. The opener bounds it.
    first_keys: Mutex<BTreeMap<Incarnation, Fingerprint>>,
}

impl Security {
    /// `channel_name`: what distinguishes the channel from all others on which the same secret may be used.
    pub fn new(channel_name: &str, secrets: &[Secret]) -> Self {
        Self(Arc::new(Shared {
            channel_name: channel_name.to_string(),
            ring: Mutex::new(Arc::new(KeyRing::new(channel_name, secrets))),
            generation: AtomicU64::new(1),
            refused: [const { AtomicU64::new(0) }; Refusal::ALL.len()],
            reported: AtomicU32::new(0),
            mismatch: Mutex::new(None),
            announce: Mutex::new(None),
            first_keys: Mutex::new(BTreeMap::new()),
        }))
    }

    /// From now on frames are sealed with the first of these secrets, and opened with any of them.
    pub fn set_secrets(&self, secrets: &[Secret]) {
        let ring = Arc::new(KeyRing::new(&self.0.channel_name, secrets));
        *lock(&self.0.ring) = ring;
        // What was wrong before may be wrong again, for another reason.
        self.0.reported.store(0, Ordering::Relaxed);
        *lock(&self.0.mismatch) = None;
        self.0.generation.fetch_add(1, Ordering::Release);
        if let Some(announce) = &*lock(&self.0.announce) {
            announce();
        }
    }

    /// Proves to the other side of a connection that this node has the secret. `transcript`: what both have said, which
    /// neither can choose alone.
    pub(in crate::channel) fn prove(&self, transcript: &[u8]) -> Vec<u8> {
        self.ring().prove(transcript)
    }

    /// Checks the proof of the other side.
    pub(in crate::channel) fn verify(&self, transcript: &[u8], proof: &[u8]) -> Result<(), Refusal> {
        let verified = self.ring().verify(transcript, proof);
        if let Err(refusal) = verified {
            self.0.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
            self.note_mismatch([refusal]);
        }
        verified
    }

    pub(super) fn set_announce(&self, announce: impl Fn() + Send + 'static) {
        *lock(&self.0.announce) = Some(Box::new(announce));
    }

    /// The number of the present ring: where it has not changed, the ring has not either.
    pub(super) fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    pub(super) fn ring(&self) -> Arc<KeyRing> {
        lock(&self.0.ring).clone()
    }

    /// The name of the key with which this node seals; `None` without a secret.
    pub fn own_key(&self) -> Option<Arc<str>> {
        self.ring().first().map(|key| key.name.clone())
    }

    /// The name of the key with which a node seals, as far as this one heard; `None` without a secret.
    pub fn key_of(&self, sender: Incarnation) -> Option<Arc<str>> {
        let ring = self.ring();
        let first = self.first_key_of(sender).filter(|_| !ring.is_empty())?;
        Some(ring.get(first).map_or_else(|| name_of(first), |key| key.name.clone()))
    }

    pub(super) fn first_key_of(&self, sender: Incarnation) -> Option<Fingerprint> {
        lock(&self.0.first_keys).get(&sender).copied()
    }

    /// The first keys of all senders.
    pub(super) fn first_keys(&self) -> BTreeSet<Fingerprint> {
        lock(&self.0.first_keys).values().copied().collect()
    }

    pub(super) fn set_first_key_of(&self, sender: Incarnation, first: Fingerprint) {
        lock(&self.0.first_keys).insert(sender, first);
    }

    pub(super) fn forget(&self, sender: Incarnation) {
        lock(&self.0.first_keys).remove(&sender);
    }

    pub(super) fn forget_all(&self) {
        lock(&self.0.first_keys).clear();
    }

    /// How many frames were refused for this reason.
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.0.refused[refusal as usize].load(Ordering::Relaxed)
    }

    /// Counts a refused frame. Returns whether the refusal must be reported now.
    pub(super) fn refuse(&self, refusal: Refusal) -> bool {
        self.0.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
        let bit = 1 << refusal as u32;
        refusal.is_reported() && self.0.reported.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }

    /// The secrets of some node on the channel and of this one differ, as a frame that arrived just now shows.
    pub(super) fn note_mismatch(&self, refusals: impl IntoIterator<Item = Refusal>) {
        if let Some(refusal) = refusals.into_iter().filter(|refusal| refusal.is_mismatch()).last() {
            *lock(&self.0.mismatch) = Some((refusal, Instant::now()));
        }
    }

    /// What a node that waits for others may be waiting for.
    pub fn mismatch(&self) -> Option<Refusal> {
        let (refusal, at) = (*lock(&self.0.mismatch))?;
        (at.elapsed() < MISMATCH_COUNTS).then_some(refusal)
    }
}
