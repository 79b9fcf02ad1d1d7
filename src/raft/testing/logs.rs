//! Checks what must hold for the logs in a simulated cluster after every step: of the paper's Figure 3, leader
//! append-only, log matching and leader completeness; that no leader records a start of a member again and again; and
//! that all snapshots at an index have one configuration.
//!
//! Called by `checker.rs`, which checks what became of the logs.

use std::collections::{BTreeMap, BTreeSet};

use raft_rs::eraftpb::{Entry, EntryType};

use crate::raft::consensus::entry::Context;
use crate::raft::consensus::log::Log;
use crate::raft::identity::{RaftId, Start};
use crate::raft::snapshot::Snapshot;
use crate::raft::{ClusterUuid, Incarnation, Position, Role, SnapshotRecord, Status};

/// A leader whose state is restored from a snapshot may record a start once more.
const RECORDS_OF_START_MAX: usize = 3;

/// The logs of all clusters, as far as they were seen.
#[derive(Debug, Default)]
pub struct Logs {
    clusters: BTreeMap<ClusterUuid, Union>,
    seen: BTreeMap<String, Seen>,
}

/// All logs of a cluster together.
#[derive(Debug, Default)]
struct Union {
    /// Every entry that any log ever had, by index and term, and the term of the one before it.
    entries: BTreeMap<(u64, u64), (Entry, Option<u64>)>,
    /// The term of each entry that a leader has committed.
    committed: BTreeMap<u64, u64>,
    /// Up to which index the leader of each term has committed.
    commit_indexes: BTreeMap<u64, u64>,
    /// The terms whose leader was seen.
    led: BTreeSet<u64>,
    /// Where the leader of a term has recorded a start of a member.
    starts: BTreeMap<(u64, RaftId, Start), BTreeSet<u64>>,
    /// The configuration in the first snapshot that was taken at an index.
    configurations: BTreeMap<u64, Configuration>,
}

/// Voters, former voters, learners and next learners, in the order of their ids.
type Configuration = [BTreeSet<RaftId>; 4];

/// One log when it was last looked at.
#[derive(Debug)]
struct Seen {
    cluster: ClusterUuid,
    incarnation: Incarnation,
    last: Position,
    commit_index: u64,
    /// The term in which this node led.
    led_in: Option<u64>,
    /// The term of each entry that it had, so that only new ones are compared.
    terms: BTreeMap<u64, u64>,
    snapshot_index: u64,
}

impl Logs {
    /// The process under this name is gone.
    pub fn forget(&mut self, name: &str) {
        self.seen.remove(name);
    }

    pub fn check(&mut self, name: &str, status: &Status, log: &Log) {
        let last = Position { index: log.last_index(), term: log.term_at(log.last_index()).unwrap_or(0) };
        let led_in = Some(status.term).filter(|_| status.role == Role::Leader);
        let (cluster, incarnation) = (status.cluster, status.incarnation);
        let known = self.seen.remove(name);
        let known = known.filter(|seen| seen.incarnation == incarnation && seen.cluster == cluster);
        let is_new = known.is_none();
        let mut seen = known.unwrap_or_else(|| Seen {
            cluster,
            incarnation,
            last,
            commit_index: log.compacted().index,
            led_in,
            terms: BTreeMap::new(),
            snapshot_index: 0,
        });
        let union = self.clusters.entry(cluster).or_default();
        if led_in.is_some() && seen.led_in == led_in {
            assert!(
                seen.last.index <= last.index
                    && log.term_at(seen.last.index).is_none_or(|term| term == seen.last.term),
                "{name}: a leader only appends, but its log ended at {:?} and ends at {last:?}",
                seen.last
            );
        }
        if is_new || seen.last != last {
            union.check_matching(name, &mut seen.terms, log);
        }
        if seen.snapshot_index != log.snapshot().position.index {
            seen.snapshot_index = log.snapshot().position.index;
            union.check_configuration(name, log);
        }
        if let Some(term) = led_in {
            if union.led.insert(term) {
                union.check_completeness(name, term, log);
            }
            if is_new || seen.commit_index < status.commit_index || seen.led_in != led_in {
                union.commit(name, status, log, seen.commit_index);
            }
        }
        (seen.last, seen.led_in) = (last, led_in);
        seen.commit_index = if led_in.is_some() { status.commit_index } else { seen.commit_index };
        self.seen.insert(name.to_string(), seen);
    }
}

impl Union {
    /// Two entries with the same index and term are the same, and so is everything before them.
    fn check_matching(&mut self, name: &str, terms: &mut BTreeMap<u64, u64>, log: &Log) {
        _ = terms.split_off(&(log.last_index() + 1));
        for entry in log.entries_from(log.compacted().index + 1).rev() {
            if terms.insert(entry.index, entry.term) == Some(entry.term) {
                break;
            }
            let before = log.term_at(entry.index - 1);
            let place = (entry.index, entry.term);
            if !self.entries.contains_key(&place) {
                self.check_starts(name, entry);
            }
            let (first, first_before) = self.entries.entry(place).or_insert_with(|| (entry.clone(), before));
            assert_eq!(first, entry, "{name}: logs match at index and term {place:?}");
            assert_eq!(*first_before, before, "{name}: logs match before index and term {place:?}");
        }
    }

    /// A leader waits for the entry that records a start: otherwise it would write one in every turn until that one is applied.
    fn check_starts(&mut self, name: &str, entry: &Entry) {
        if entry.get_entry_type() != EntryType::EntryNormal {
            return;
        }
        let Some(Context::Started { starts }) = Context::decode(&entry.context) else { return };
        for (member, start) in starts {
            let indexes = self.starts.entry((entry.term, member, start)).or_default();
            indexes.insert(entry.index);
            assert!(
                indexes.len() <= RECORDS_OF_START_MAX,
                "{name}: the leader of term {} records {start:?} of {member} again and again: at {indexes:?}",
                entry.term
            );
        }
    }

    /// Whichever node takes a snapshot, its configuration is the one that the log has at that index: another node may
    /// start from it.
    fn check_configuration(&mut self, name: &str, log: &Log) {
        let SnapshotRecord { position, image } = log.snapshot();
        let conf = Snapshot::decode(image).expect("a node has encoded it").conf_state;
        let parts = [conf.voters, conf.voters_outgoing, conf.learners, conf.learners_next];
        let parts = parts.map(|part| part.into_iter().collect());
        let first = self.configurations.entry(position.index).or_insert_with(|| parts.clone());
        assert_eq!(
            *first, parts,
            "{name}: the configuration in the snapshot at {position:?} is that of others"
        );
    }

    /// A leader has everything that was committed in an earlier term.
    fn check_completeness(&self, name: &str, term: u64, log: &Log) {
        let earlier = self.commit_indexes.range(..term).map(|(_, index)| *index);
        let Some(index) = earlier.max() else { return };
        let is_complete = log.compacted().index > index
            || log
                .term_at(index)
                .is_some_and(|term| self.committed.get(&index).is_none_or(|had| *had == term));
        assert!(
            is_complete,
            "{name}: the leader of term {term} has every committed entry, but the one at {index} of term {:?}",
            self.committed.get(&index)
        );
    }

    fn commit(&mut self, name: &str, status: &Status, log: &Log, from: u64) {
        for entry in log.entries_from(from.max(log.compacted().index) + 1) {
            if entry.index > status.commit_index {
                break;
            }
            let term = *self.committed.entry(entry.index).or_insert(entry.term);
            assert_eq!(term, entry.term, "{name}: one entry is committed at index {}", entry.index);
        }
        let commit_index = self.commit_indexes.entry(status.term).or_default();
        *commit_index = status.commit_index.max(*commit_index);
    }
}
