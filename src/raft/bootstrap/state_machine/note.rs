//! The note about their cluster that members leave on the channel, and the warning that a founder derives from it.
//!
//! Part of `state_machine.rs`. A cluster without storage whose processes end at about the same time is founded again
//! from the initial state, by the same ids, and each of them looks healthy. The only trace of the loss is what the
//! channel, or this process, still knows of the former cluster.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Bootstrap;
use crate::raft::Warning;
use crate::raft::bootstrap::{Event, Facts, Phase};
use crate::raft::identity::ClusterUuid;

/// The members of a cluster. Every client that may write to the channel can forge it, so it is used only for a warning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    cluster: ClusterUuid,
    ids: Vec<Arc<str>>,
}

impl Note {
    /// It names only the first members: one id that returns is enough.
    const IDS_MAX: usize = 32;
    const BYTES_MAX: usize = 64 << 10;

    pub fn new<'a>(cluster: ClusterUuid, ids: impl Iterator<Item = &'a Arc<str>>) -> Self {
        Self { cluster, ids: ids.take(Self::IDS_MAX).cloned().collect() }
    }

    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("a note is plain data: encoding it cannot fail")
    }

    /// `None` if the bytes are not a note.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > Self::BYTES_MAX {
            return None;
        }
        postcard::from_bytes(bytes).ok().filter(|note: &Self| note.ids.len() <= Self::IDS_MAX)
    }
}

impl Bootstrap {
    /// The channel has the note of a cluster that is, or was, on it.
    pub fn noted(&mut self, bytes: &[u8]) {
        if !self.phase.is_in_cluster()
            && let Some(note) = Note::decode(bytes)
        {
            self.note = Some(note);
        }
    }

    /// What the channel knows of clusters may have changed. A founded cluster exists once it has committed; it begins
    /// with the initial state.
    pub(super) fn see_facts(&mut self, facts: &Facts) {
        self.cluster_was_found = facts.cluster_was_found;
        self.channel_is_healthy = facts.channel_is_healthy;
        if let Phase::Founded { cluster, roster, .. } = &self.phase
            && facts.has_seen_commit
        {
            let (cluster, founders) = (*cluster, roster.clone());
            self.phase = Phase::Member { cluster };
            let Some(Note { cluster: former, mut ids }) = self.note.take() else { return };
            ids.retain(|id| founders.0.iter().any(|(_, founder)| founder == id));
            if former != cluster && !ids.is_empty() {
                self.events.push_back(Event::Warn(Warning::StateLost { cluster, former, ids }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

    use super::*;
    use crate::raft::{Incarnation, Options};

    const FORMER: ClusterUuid = ClusterUuid::NONE;

    /// What node `a` warns of that founds a cluster of its own behind this note.
    fn warnings_behind(note: &Note) -> Vec<Warning> {
        let options = Options::new("a", 1, [1; 32]);
        let mut node = Bootstrap::new(&options, ChaCha8Rng::from_seed(options.seed));
        node.noted(&note.encode());
        while !node.phase().is_in_cluster() {
            node.tick(&Facts::ALONE);
        }
        // What is found later is the note of this very cluster, or of one that this node does not replace.
        node.noted(&Note::new(FORMER, ["a".into()].iter()).encode());
        node.tick(&Facts { has_leader: true, has_seen_commit: true, ..Facts::ALONE });
        let events = std::iter::from_fn(|| node.poll());
        events
            .filter_map(|event| if let Event::Warn(warning) = event { Some(warning) } else { None })
            .collect()
    }

    #[test]
    fn a_founder_whose_id_was_in_another_cluster_moments_ago_warns() {
        let note = Note::new(FORMER, ["c".into(), "a".into()].iter());
        let warnings = warnings_behind(&note);
        let [Warning::StateLost { cluster, former, ids }] = &warnings[..] else { panic!("{warnings:?}") };
        assert_ne!(cluster, former);
        assert_eq!((*former, &ids[..]), (FORMER, &["a".into()][..]));
        assert_eq!(warnings_behind(&Note::new(FORMER, ["b".into()].iter())), []);
    }

    #[test]
    fn a_node_that_is_let_in_by_a_cluster_warns_of_nothing() {
        let options = Options::new("a", 1, [1; 32]);
        let mut node = Bootstrap::new(&options, ChaCha8Rng::from_seed(options.seed));
        node.noted(&Note::new(FORMER, ["a".into()].iter()).encode());
        node.admitted(ClusterUuid::of_epoch(FORMER, Incarnation::from_u128(1)), 1);
        node.tick(&Facts { has_leader: true, has_seen_commit: true, ..Facts::ALONE });
        assert!(!std::iter::from_fn(|| node.poll()).any(|event| matches!(event, Event::Warn(_))));
    }

    #[test]
    fn what_is_no_note_is_none() {
        let note = Note::new(ClusterUuid::NONE, ["a".into(), "b".into()].iter());
        assert_eq!(Note::decode(&note.encode()), Some(note.clone()));
        let endless = Note { ids: vec!["a".into(); Note::IDS_MAX + 1], ..note.clone() };
        let huge = Note { ids: vec!["a".repeat(Note::BYTES_MAX).into()], ..note };
        for bytes in [&b""[..], b"a conflux cluster runs", &endless.encode(), &huge.encode()] {
            assert_eq!(Note::decode(bytes), None);
        }
    }
}
