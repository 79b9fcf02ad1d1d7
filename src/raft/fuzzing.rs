//! Exposes the core's decoders to the targets in `fuzz/`, and to the test below, which does the same with a stable
//! compiler. Not part of a release.
//!
//! Each function takes any bytes, and panics only if there is a bug.

use bytes::Bytes;

use super::bootstrap::Note;
use super::consensus::entry::{Admission, Context};
use super::events::{Delivery, Input, Work};
use super::identity::Incarnation;
use super::membership::members::Members;
use super::node::Node;
use super::options::Options;
use super::snapshot::Snapshot;
use super::snapshot::transfer::{Received, Reception};
use super::wire::frame::{Frame, Receivers, VERSION};
use super::wire::message::Chunk;

/// Bytes from a channel, as they are, and with what stands before a frame's body put before them: without that no
/// fuzzer gets past the checksum.
pub fn frame(bytes: &[u8]) {
    let _ = Frame::decode(bytes);
    if let Ok(frame) = Frame::decode(&sealed(bytes)) {
        assert_eq!(Frame::decode(&frame.encode()).as_ref(), Ok(&frame));
    }
}

fn sealed(body: &[u8]) -> Vec<u8> {
    let (header, messages) =
        body.split_at(body.first().map_or(0, |length| (1 + usize::from(*length)).min(body.len())));
    let checksum = crc32c::crc32c_append(crc32c::crc32c(messages), header);
    [b"cx", [VERSION].as_slice(), &checksum.to_le_bytes(), body].concat()
}

/// What an entry of the log carries beside its action; and what is found on a channel, which is as small.
pub fn entry(bytes: &[u8]) {
    if let Some(note) = Note::decode(bytes) {
        assert_eq!(Note::decode(&note.encode()), Some(note));
    }
    let bytes = Bytes::copy_from_slice(bytes);
    if let Some(context) = Context::decode(&bytes) {
        assert_eq!(Context::decode(&context.encode().into()), Some(context));
    }
    if let Some(admission) = Admission::decode(&bytes) {
        assert_eq!(Admission::decode(&admission.encode().into()), Some(admission));
    }
}

/// The member list of a snapshot.
pub fn members(bytes: &[u8]) {
    let Ok(mut members) = postcard::from_bytes::<Members>(bytes) else { return };
    let incarnation = Incarnation::from_u128(1);
    members.admit(incarnation, "x".into(), false);
    assert!(members.contains(incarnation) && members.named("x").count() > 0);
    members.become_new_incarnation(members.cluster(), incarnation, "x".into(), 2);
    assert_eq!(members.iter().len(), 1);
}

/// A snapshot's image, as it is kept and sent; and with its head's length put right.
pub fn snapshot(bytes: &[u8]) {
    let headed = [&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes()[..], bytes].concat();
    for image in [Bytes::copy_from_slice(bytes), headed.into()] {
        let Some(snapshot) = Snapshot::decode(&image) else { continue };
        let again = Snapshot::decode(&snapshot.encode().image).expect("an image gives one back");
        assert_eq!((again.position, again.conf_state), (snapshot.position, snapshot.conf_state));
        assert_eq!((again.members, again.table), (snapshot.members, snapshot.table));
        assert_eq!(again.state, snapshot.state);
    }
}

/// A snapshot that arrives: the first bytes say how it is cut.
pub fn chunk(bytes: &[u8]) {
    let Some((head, image)) = bytes.split_first_chunk::<4>() else { return };
    let mut reception = Reception::new(Incarnation::from_u128(1), 1, 1);
    let length = usize::from(head[0]) + 1;
    for (number, part) in image.chunks(length).enumerate() {
        let offset = (number * length) as u64 + u64::from(head[1] == 1);
        let chunk = Chunk {
            transfer: 1,
            term: 1,
            total: if head[2] == 1 { u64::MAX } else { image.len() as u64 },
            checksum: crc32c::crc32c(image) ^ u32::from(head[3] == 1),
            offset: if head[1] == 2 { u64::MAX } else { offset },
            bytes: Bytes::copy_from_slice(part),
            restores: false,
            overtaken: 0,
        };
        match reception.take(&chunk) {
            Received::Part => assert!(reception.parts().0 <= chunk.total),
            Received::Whole { image: whole, .. } => assert_eq!(whole, image),
            Received::Broken => return,
        }
    }
}

/// A whole core, the leader of a cluster of one, that hears frames: a byte of length before each body. `from` and the
/// cluster are put right where the length is odd.
pub fn core(bytes: &[u8]) {
    let mut node = Node::new(Options { snapshot_entries: 3, ..Options::new("a", 1, [7; 32]) }, None);
    for _ in 0..100 {
        turn(&mut node, Input::Tick);
    }
    let mut rest = bytes;
    while let Some((length, behind)) = rest.split_first() {
        let (body, behind) = behind.split_at(behind.len().min(usize::from(*length)));
        rest = behind;
        let mut heard = sealed(body);
        if let Ok(mut frame) = Frame::decode(&heard)
            && length % 2 == 1
        {
            (frame.cluster, frame.to) = (node.status().cluster, Receivers::All);
            heard = frame.encode().to_vec();
        }
        turn(&mut node, Input::Frame(heard.into()));
        turn(&mut node, Input::Tick);
    }
}

fn turn(node: &mut Node, input: Input) {
    node.handle(input);
    while let Some(work) = node.poll() {
        match work {
            Work::Join(_) | Work::Send(..) | Work::Stop(_) => {}
            Work::Persist(number, _) => node.handle(Input::Persisted(number)),
            Work::Deliver(batch) => {
                let evaluations = batch.iter().filter(|delivery: &&Delivery| delivery.is_evaluation());
                let answers: Vec<_> = evaluations.map(|_| super::MethodResult::Nothing).collect();
                node.handle(Input::Answered(answers.into()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::raft::testing::formats;

    /// Real bytes, changed in some places; a fuzzer that knows nothing never gets far.
    fn changed() -> impl Strategy<Value = Vec<u8>> {
        let models = formats::written().into_iter().map(|(_, bytes)| bytes.to_vec());
        // Bodies of frames and heads of images are what the doors put something before.
        let models: Vec<Vec<u8>> = models
            .flat_map(|bytes| {
                [bytes.clone(), bytes[7.min(bytes.len())..].to_vec(), bytes[4.min(bytes.len())..].to_vec()]
            })
            .collect();
        let edit = (any::<prop::sample::Index>(), 0..5_u8, any::<u8>());
        let edits = proptest::collection::vec(edit, 0..5);
        (proptest::sample::select(models), edits).prop_map(|(mut bytes, edits)| {
            for (at, kind, byte) in edits {
                if bytes.is_empty() {
                    break;
                }
                let at = at.index(bytes.len());
                match kind {
                    0 => bytes[at] ^= 1 << (byte % 8),
                    1 => bytes[at] = byte,
                    2 => _ = bytes.splice(at..at, [0xff; 9].into_iter().chain([1])),
                    3 => _ = bytes.remove(at),
                    _ => bytes.truncate(at),
                }
            }
            bytes
        })
    }

    /// `PROPTEST_CASES=1000000 cargo test no_bytes` is the long form.
    fn cases() -> ProptestConfig {
        let default = ProptestConfig::default();
        let is_set = std::env::var_os("PROPTEST_CASES").is_some();
        ProptestConfig {
            cases: if is_set { default.cases } else { 4_000 },
            failure_persistence: None,
            ..default
        }
    }

    proptest! {
        #![proptest_config(cases())]

        #[test]
        fn no_bytes_make_a_decoder_of_the_core_panic(bytes in prop_oneof![any::<Vec<u8>>(), changed(), changed()]) {
            frame(&bytes);
            entry(&bytes);
            members(&bytes);
            snapshot(&bytes);
            chunk(&bytes);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: cases().cases / 8, ..cases() })]

        #[test]
        fn no_bytes_make_a_core_panic(frames in proptest::collection::vec(changed(), 1..8)) {
            let join = |bytes: Vec<u8>| [[bytes.len().min(255) as u8].as_slice(), &bytes].concat();
            core(&frames.into_iter().flat_map(join).collect::<Vec<u8>>());
        }
    }
}
