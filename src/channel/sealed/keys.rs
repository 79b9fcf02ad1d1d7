//! Derives keys from secrets.
//!
//! Used by the sealer and the opener. HKDF-SHA256: the salt is the name of the channel, so that one secret for two
//! channels gives two keys. Nothing of this file may be printed but names and fingerprints.

use std::sync::Arc;

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Prk, Salt},
    hmac,
};

use super::{
    header::{Boot, Fingerprint, HEADER_BYTES},
    refusal::Refusal,
};

/// Of one key of a ring, in a handshake.
const PROOF_BYTES: usize = size_of::<Fingerprint>() + 32;

/// What nodes share. It has no `Debug` on purpose.
pub struct Secret {
    /// The name of the key for people; none: its fingerprint.
    pub id: Option<String>,
    pub secret: String,
}

/// The keys of a node: the first one seals, all open. Empty: frames are neither sealed nor opened.
#[derive(Default)]
pub(super) struct KeyRing(Vec<RingKey>);

/// A key of the ring, from which each link derives its own.
pub(super) struct RingKey {
    pub(super) name: Arc<str>,
    pub(super) fingerprint: Fingerprint,
    prk: Prk,
}

impl KeyRing {
    pub(super) fn new(channel_name: &str, secrets: &[Secret]) -> Self {
        let salt = Salt::new(HKDF_SHA256, &[b"conflux sealed frames ", channel_name.as_bytes()].concat());
        Self(secrets.iter().map(|secret| RingKey::new(&salt, secret)).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn first(&self) -> Option<&RingKey> {
        self.0.first()
    }

    /// The keys of one link, in the order of the ring.
    pub(super) fn of_boot(&self, boot: &Boot) -> Vec<BootKey> {
        self.0.iter().map(|key| key.of_boot(boot)).collect()
    }

    /// Proves to the other side of a connection that this node has the secret: of each key its fingerprint and a MAC.
    pub(super) fn prove(&self, transcript: &[u8]) -> Vec<u8> {
        let proof =
            |key: &RingKey| [&key.fingerprint[..], hmac::sign(&key.mac(), transcript).as_ref()].concat();
        self.0.iter().flat_map(proof).collect()
    }

    /// Checks the proof of the other side: one key in common is enough.
    pub(super) fn verify(&self, transcript: &[u8], proof: &[u8]) -> Result<(), Refusal> {
        if self.is_empty() || proof.is_empty() {
            return match (self.is_empty(), proof.is_empty()) {
                (true, true) => Ok(()),
                (false, _) => Err(Refusal::Unsealed),
                (true, false) => Err(Refusal::Sealed),
            };
        }
        let mut refusal = Refusal::UnknownKey;
        for proof in proof.chunks_exact(PROOF_BYTES) {
            let (fingerprint, mac) = proof.split_at(size_of::<Fingerprint>());
            if let Some(key) = self.0.iter().find(|key| key.fingerprint == fingerprint) {
                if hmac::verify(&key.mac(), transcript, mac).is_ok() {
                    return Ok(());
                }
                refusal = Refusal::Forged;
            }
        }
        Err(refusal)
    }

    pub(super) fn get(&self, fingerprint: Fingerprint) -> Option<&RingKey> {
        self.0.iter().find(|key| key.fingerprint == fingerprint)
    }
}

impl RingKey {
    fn new(salt: &Salt, secret: &Secret) -> Self {
        let prk = salt.extract(secret.secret.as_bytes());
        let mut fingerprint = [0; size_of::<Fingerprint>()];
        let okm = prk.expand(&[b"fingerprint"], FingerprintLength).expect("8 bytes are not too many");
        okm.fill(&mut fingerprint).expect("the lengths are equal");
        let name = secret.id.as_deref().map_or_else(|| name_of(fingerprint), Arc::from);
        Self { name, fingerprint, prk }
    }

    /// The key that authenticates handshakes.
    fn mac(&self) -> hmac::Key {
        let okm = self.prk.expand(&[b"handshake"], hmac::HMAC_SHA256).expect("a key is not too long");
        okm.into()
    }

    /// The key of one link.
    pub(super) fn of_boot(&self, boot: &Boot) -> BootKey {
        let info = [&b"frames of boot "[..], boot];
        let okm = self.prk.expand(&info, &AES_256_GCM).expect("a key is not too long");
        BootKey { key: LessSafeKey::new(UnboundKey::from(okm)), fingerprint: self.fingerprint }
    }
}

/// Of a key that has no other.
pub(super) fn name_of(fingerprint: Fingerprint) -> Arc<str> {
    fingerprint.map(|byte| format!("{byte:02x}")).concat().into()
}

struct FingerprintLength;

impl KeyType for FingerprintLength {
    fn len(&self) -> usize {
        size_of::<Fingerprint>()
    }
}

/// The key under which one link seals.
pub(super) struct BootKey {
    key: LessSafeKey,
    pub(super) fingerprint: Fingerprint,
}

impl BootKey {
    pub(super) const TAG_BYTES: usize = 16;

    /// Seals what follows the header, in place, and appends the tag. The caller never repeats a counter. `None`: too long.
    pub(super) fn seal(&self, counter: u64, bytes: &mut Vec<u8>) -> Option<()> {
        let (header, body) = bytes.split_at_mut(HEADER_BYTES);
        let tag = self.key.seal_in_place_separate_tag(nonce(counter), Aad::from(header), body).ok()?;
        bytes.extend_from_slice(tag.as_ref());
        Some(())
    }

    /// Opens what follows the header, in place, and returns its length; `None` if a bit of it or of the header is not as
    /// it was sealed.
    pub(super) fn open(&self, counter: u64, bytes: &mut [u8]) -> Option<usize> {
        let (header, body) = bytes.split_at_mut(HEADER_BYTES);
        let opened = self.key.open_in_place(nonce(counter), Aad::from(header), body).ok()?;
        Some(opened.len())
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - 8..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}
