//! The encoding of a snapshot: the application's state, and everything else that is a function of the log up to one
//! index (paper §7; thesis §6.3 for the session table).
//!
//! An image is `the state, as the façade wrote it | head in postcard | length of the head (4, little endian) | MARKER`.
//! The head ends with the members' starts, the tables of `coordination/`, and the members that never vote. The state
//! comes first, because it may have a gigabyte: the rest is appended to it without a copy. Storages keep images, and
//! images travel in chunks (`transfer.rs`).
//!
//! A former version wrote `length of the head | head | state`. Such images are read.

pub mod transfer;

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use raft_rs::eraftpb::{ConfState, Snapshot as RaftSnapshot};
use serde::{Deserialize, Serialize};

use super::consensus::entry::{FOUNDING_INDEX, FOUNDING_TERM, NUMBER_MAX};
use super::coordination::Coordination;
use super::events::{Position, SnapshotRecord};
use super::identity::{RaftId, Start};
use super::membership::members::Members;
use super::requests::SessionTable;
use super::wire::message::Roster;

const LENGTH_BYTES: usize = 4;

/// The end of an image. The former format ends with the text of a state, or, without one, with a head.
const MARKER: &[u8; 8] = b"\0cfximg2";

/// The result of the log up to `position`.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub position: Position,
    pub conf_state: ConfState,
    pub members: Members,
    pub table: SessionTable,
    pub coordination: Coordination,
    /// `None`: the initial state, which the reducer makes.
    pub state: Option<Bytes>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    index: u64,
    term: u64,
    voters: Vec<RaftId>,
    voters_outgoing: Vec<RaftId>,
    learners: Vec<RaftId>,
    learners_next: Vec<RaftId>,
    auto_leave: bool,
    members: Members,
    table: SessionTable,
    has_state: bool,
}

impl Snapshot {
    /// Where a cluster's log starts: the founders are its voters, and the state is the initial one.
    pub fn found(roster: &Roster) -> Self {
        let mut table = SessionTable::default();
        for (incarnation, _) in &roster.0 {
            table.admit(incarnation.raft_id());
        }
        let conf_state = ConfState {
            voters: roster.0.iter().map(|(incarnation, _)| incarnation.raft_id()).collect(),
            ..ConfState::default()
        };
        let position = Position { index: FOUNDING_INDEX, term: FOUNDING_TERM };
        Self {
            position,
            conf_state,
            members: Members::found(roster),
            table,
            coordination: Coordination::default(),
            state: None,
        }
    }

    pub fn encode(&self) -> SnapshotRecord {
        let state = self.state.as_deref().unwrap_or_default();
        self.encode_behind(BytesMut::from(state))
    }

    /// The same without a copy of the state, if there is no other reference to it. Afterwards the state is a part of
    /// the image.
    pub fn move_to_record(&mut self) -> SnapshotRecord {
        let state = self.state.take();
        let (has_state, length) = (state.is_some(), state.as_ref().map_or(0, Bytes::len));
        // The head says whether there is a state.
        self.state = has_state.then(Bytes::new);
        let record = self.encode_behind(state.unwrap_or_default().into());
        self.state = has_state.then(|| record.image.slice(..length));
        record
    }

    fn encode_behind(&self, mut image: BytesMut) -> SnapshotRecord {
        let head = Head {
            index: self.position.index,
            term: self.position.term,
            voters: self.conf_state.voters.clone(),
            voters_outgoing: self.conf_state.voters_outgoing.clone(),
            learners: self.conf_state.learners.clone(),
            learners_next: self.conf_state.learners_next.clone(),
            auto_leave: self.conf_state.auto_leave,
            members: self.members.clone(),
            table: self.table.clone(),
            has_state: self.state.is_some(),
        };
        let plain = "a snapshot's head is plain data: encoding it cannot fail";
        let head = postcard::to_allocvec(&head).expect(plain);
        let head = postcard::to_extend(self.members.starts(), head).expect(plain);
        let head = postcard::to_extend(&self.coordination, head).expect(plain);
        let head = postcard::to_extend(self.members.non_voting(), head).expect(plain);
        image.reserve(head.len() + LENGTH_BYTES + MARKER.len());
        image.extend_from_slice(&head);
        image.extend_from_slice(&u32::try_from(head.len()).expect("a head is far below 4 GiB").to_le_bytes());
        image.extend_from_slice(MARKER);
        SnapshotRecord { position: self.position, image: image.freeze() }
    }

    /// Takes any bytes: `None` if they are no image, or an inconsistent one.
    pub fn decode(image: &Bytes) -> Option<Self> {
        let (head, state) = split(image)?;
        let (head, rest) = postcard::take_from_bytes::<Head>(&head).ok()?;
        // An image of a version that recorded no starts ends here.
        let (starts, rest): (BTreeMap<RaftId, Start>, &[u8]) = match rest {
            [] => (BTreeMap::new(), rest),
            rest => postcard::take_from_bytes(rest).ok()?,
        };
        // And one of a version that had no sessions, here.
        let (coordination, rest) = match rest {
            [] => (Coordination::default(), rest),
            rest => postcard::take_from_bytes(rest).ok()?,
        };
        // And one of a version in which all might vote, here.
        let non_voting: BTreeSet<RaftId> = match rest {
            [] => BTreeSet::new(),
            rest => postcard::from_bytes(rest).ok()?,
        };
        if !head.has_state && !state.is_empty() {
            return None;
        }
        let snapshot = Self {
            position: Position { index: head.index, term: head.term },
            conf_state: ConfState {
                voters: head.voters,
                voters_outgoing: head.voters_outgoing,
                learners: head.learners,
                learners_next: head.learners_next,
                auto_leave: head.auto_leave,
                ..ConfState::default()
            },
            members: head.members.with_starts(starts).with_non_voting(non_voting),
            table: head.table,
            coordination,
            state: head.has_state.then_some(state),
        };
        snapshot.is_well_formed().then_some(snapshot)
    }

    /// Whether the snapshot is consistent, as all other code assumes: raft-rs panics on an inconsistent
    /// configuration.
    fn is_well_formed(&self) -> bool {
        let ConfState { voters, voters_outgoing, learners, learners_next, auto_leave, .. } = &self.conf_state;
        let is_set = |ids: &[RaftId]| {
            let mut sorted = ids.to_vec();
            sorted.sort_unstable();
            sorted.windows(2).all(|pair| pair[0] != pair[1]) && !ids.contains(&0)
        };
        let is_apart = |ids: &[RaftId], others: &[RaftId]| ids.iter().all(|id| !others.contains(id));
        (FOUNDING_INDEX..NUMBER_MAX).contains(&self.position.index)
            && (FOUNDING_TERM..NUMBER_MAX).contains(&self.position.term)
            && !voters.is_empty()
            && [voters, voters_outgoing, learners, learners_next].into_iter().all(|ids| is_set(ids))
            && is_apart(learners, voters)
            && is_apart(learners, voters_outgoing)
            && is_apart(learners_next, voters)
            && learners_next.iter().all(|id| voters_outgoing.contains(id))
            && (!auto_leave || !voters_outgoing.is_empty())
            && self.table.is_well_formed()
            && self.coordination.is_well_formed()
    }
}

/// The head and the state of an image.
fn split(image: &Bytes) -> Option<(Bytes, Bytes)> {
    let Some(rest) = image.strip_suffix(MARKER) else { return split_former(image) };
    let (rest, length) = rest.split_last_chunk::<LENGTH_BYTES>()?;
    let start = rest.len().checked_sub(u32::from_le_bytes(*length) as usize)?;
    Some((image.slice(start..rest.len()), image.slice(..start)))
}

fn split_former(image: &Bytes) -> Option<(Bytes, Bytes)> {
    let (length, rest) = image.split_first_chunk::<LENGTH_BYTES>()?;
    let length = u32::from_le_bytes(*length) as usize;
    let end = LENGTH_BYTES.checked_add(length)?;
    (length <= rest.len()).then(|| (image.slice(LENGTH_BYTES..end), image.slice(end..)))
}

/// For raft-rs, which looks at the metadata alone.
pub fn to_raft(record: &SnapshotRecord, conf_state: &ConfState) -> RaftSnapshot {
    let mut snapshot = RaftSnapshot { data: record.image.clone(), ..RaftSnapshot::default() };
    let metadata = snapshot.mut_metadata();
    metadata.index = record.position.index;
    metadata.term = record.position.term;
    metadata.set_conf_state(conf_state.clone());
    snapshot
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::raft::Incarnation;

    fn snapshot(state: Option<&'static str>) -> Snapshot {
        let mut snapshot = Snapshot::found(&Roster(vec![(Incarnation::from_u128(1), "a".into())]));
        snapshot.state = state.map(Bytes::from);
        snapshot
    }

    #[test]
    fn an_image_gives_back_what_it_was_made_of() {
        for state in [None, Some(""), Some(r#"{"a":1}"#)] {
            let snapshot = snapshot(state);
            let again = Snapshot::decode(&snapshot.encode().image).expect("it is an image");
            assert_eq!(again.state, snapshot.state);
            assert_eq!((again.position, again.members), (snapshot.position, snapshot.members));
            assert_eq!(again.conf_state, snapshot.conf_state);
        }
    }

    #[test]
    fn a_state_that_nothing_else_holds_becomes_the_image_without_a_copy() {
        let mut snapshot = snapshot(None);
        let state = BytesMut::from(&vec![b'7'; 1 << 20][..]);
        let mut state = state;
        state.reserve(1 << 16);
        let place = state.as_ptr();
        snapshot.state = Some(state.freeze());
        let copied = snapshot.encode().image;
        let record = snapshot.move_to_record();
        assert_eq!(record.image, copied);
        assert_eq!(record.image.as_ptr(), place);
        assert_eq!(snapshot.state.map(|state| (state.as_ptr(), state.len())), Some((place, 1 << 20)));
    }

    #[test]
    fn a_configuration_that_contradicts_itself_is_refused() {
        let mut bad = snapshot(None);
        bad.conf_state.learners = bad.conf_state.voters.clone();
        assert!(Snapshot::decode(&bad.encode().image).is_none());
        bad.conf_state.learners = vec![0];
        assert!(Snapshot::decode(&bad.encode().image).is_none());
        bad.conf_state = snapshot(None).conf_state;
        bad.conf_state.auto_leave = true;
        assert!(Snapshot::decode(&bad.encode().image).is_none(), "there is nothing to leave");
        bad = snapshot(None);
        bad.position.index = NUMBER_MAX;
        assert!(Snapshot::decode(&bad.encode().image).is_none(), "no log is as long");
        bad = snapshot(None);
        bad.conf_state = ConfState::default();
        assert!(Snapshot::decode(&bad.encode().image).is_none());
    }

    #[test]
    fn images_of_the_former_format_are_read_with_and_without_starts_and_sessions() {
        let mut snapshot = snapshot(Some("[1]"));
        let (head, _) = split(&snapshot.encode().image).unwrap();
        // The head ends with a byte that counts the starts, the coordination, and a byte that counts the members that
        // never vote: none of either.
        let coordination = postcard::to_allocvec(&snapshot.coordination).unwrap().len();
        for missing in [0, 1, 1 + coordination, 1 + coordination + 1] {
            let length = head.len() - missing;
            let mut former = (length as u32).to_le_bytes().to_vec();
            former.extend_from_slice(&head[..length]);
            former.extend_from_slice(b"[1]");
            let again = Snapshot::decode(&former.into()).expect("it is an image");
            assert_eq!((again.state, &again.members), (Some("[1]".into()), &snapshot.members));
            assert_eq!(again.coordination, Coordination::default());
        }
        let member = Incarnation::from_u128(1).raft_id();
        snapshot.members.set_start(member, Start { number: 3, nonce: 7 });
        let again = Snapshot::decode(&snapshot.encode().image).expect("it is an image");
        assert_eq!(again.members.start(member), Some(Start { number: 3, nonce: 7 }));
    }

    #[test]
    fn an_image_with_a_configuration_that_cannot_be_is_none() {
        let is_image = |voters: &[RaftId], outgoing: &[RaftId], learners: &[RaftId], next: &[RaftId]| {
            let mut snapshot = snapshot(None);
            let conf = &mut snapshot.conf_state;
            (conf.voters, conf.voters_outgoing) = (voters.to_vec(), outgoing.to_vec());
            (conf.learners, conf.learners_next) = (learners.to_vec(), next.to_vec());
            Snapshot::decode(&snapshot.encode().image).is_some()
        };
        assert!(is_image(&[1, 2], &[], &[3], &[]) && is_image(&[1, 2], &[2, 3], &[4], &[3]));
        for voters in [&[][..], &[1, 1], &[0, 1]] {
            assert!(!is_image(voters, &[], &[], &[]), "voters {voters:?}");
        }
        assert!(!is_image(&[1], &[], &[2, 2], &[]) && !is_image(&[1], &[2, 2], &[], &[]));
        assert!(!is_image(&[1], &[2, 3], &[], &[3, 3]) && !is_image(&[1], &[2], &[], &[3]));
        assert!(!is_image(&[1], &[], &[1], &[]) && !is_image(&[1], &[2], &[2], &[]));
        assert!(!is_image(&[1], &[1, 2], &[], &[1]));
    }

    proptest! {
        #[test]
        fn no_bytes_make_decode_panic(bytes in any::<Vec<u8>>(), at in any::<prop::sample::Index>(), bit in 0..8_u32) {
            let _ = Snapshot::decode(&bytes.into());
            let mut image = snapshot(Some("[1]")).encode().image.to_vec();
            let at = at.index(image.len());
            image[at] ^= 1 << bit;
            let _ = Snapshot::decode(&image.into());
        }
    }
}
