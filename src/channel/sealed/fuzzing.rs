//! Exposes the opening of frames to its target in `fuzz/`. Not part of a release.

use bytes::Bytes;

use super::{
    Secret, Security,
    header::{HEADER_BYTES, Header, Kind},
    opener::{Opener, open_note},
};
use crate::raft::{Incarnation, Target};

/// Input from the network: as it is, behind a right header, and as a note.
pub fn sealed(bytes: &[u8]) {
    let secret = Secret { id: None, secret: "a secret".to_string() };
    let security = Security::new("channel", &[secret]);
    let me = Incarnation::from_u128(1);
    let mut opener = Opener::new(security.clone(), me, [1; 16]);
    let fingerprint = security.ring().first().expect("there is one key").fingerprint;
    let header = Header {
        kind: Kind::Frame,
        fingerprint,
        first: fingerprint,
        from: Incarnation::from_u128(2),
        to: Target::One(me),
        boot: [2; 16],
        counter: 1,
    };
    let mut frame = Vec::with_capacity(HEADER_BYTES + bytes.len());
    header.write(&mut frame);
    frame.extend_from_slice(bytes);
    for frame in [Bytes::copy_from_slice(bytes), frame.into()] {
        assert!(opener.open(frame.clone()).is_err(), "no input is authentic");
        assert!(open_note(&security, frame).is_none(), "no input is authentic");
    }
}
