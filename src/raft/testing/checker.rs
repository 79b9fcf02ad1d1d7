//! This file says what must hold in a simulated cluster after every step.
//!
//! Of the paper's Figure 3: election safety, log matching and state machine safety (as one sequence of actions per
//! cluster that every node is a prefix of), leader completeness (what was acknowledged stays in that sequence). And
//! that terms and indexes never fall, that an action is applied once, and that each origin's actions keep call order.

use std::collections::BTreeMap;

use super::application::Application;
use crate::raft::{ClusterUuid, Incarnation, Role, Status};

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Checker {
    leaders: BTreeMap<(ClusterUuid, u64), Incarnation>,
    /// The one sequence of (index, action) that the nodes of a cluster go through.
    pub sequences: BTreeMap<ClusterUuid, Vec<(u64, String)>>,
    last: BTreeMap<String, Seen>,
}

#[derive(Debug)]
struct Seen {
    cluster: ClusterUuid,
    incarnation: Incarnation,
    term: u64,
    commit_index: u64,
    applied_index: u64,
    checked: usize,
}

impl Checker {
    /// The process under this name is gone.
    pub fn forget(&mut self, name: &str) {
        self.last.remove(name);
    }

    pub fn check(&mut self, name: &str, status: &Status, application: &Application) {
        if status.cluster.is_none() {
            self.last.remove(name);
            return;
        }
        if status.role == Role::Leader {
            let leader = self.leaders.entry((status.cluster, status.term)).or_insert(status.incarnation);
            assert_eq!(*leader, status.incarnation, "two leaders in term {} of one cluster", status.term);
        }
        assert!(
            status.applied_index <= status.commit_index && status.commit_index <= status.last_index,
            "{name}: applied ≤ commit ≤ last, but {status:?}"
        );
        let voters = status.members.iter().filter(|member| member.is_voter).count();
        assert!(voters > 0, "{name}: a node in a cluster names its members");
        assert!(
            status.members.iter().any(|member| member.incarnation == status.incarnation && member.is_active),
            "{name}: a node is an active member of its own cluster"
        );
        let mut checked = 0;
        if let Some(seen) = self.last.get(name).filter(|seen| seen.incarnation == status.incarnation) {
            assert_eq!(seen.cluster, status.cluster, "{name}: an incarnation stays in its cluster");
            assert!(
                seen.term <= status.term
                    && seen.commit_index <= status.commit_index
                    && seen.applied_index <= status.applied_index,
                "{name}: term, commit and applied index never fall, but {seen:?} became {status:?}"
            );
            checked = seen.checked;
        }
        let sequence = self.sequences.entry(status.cluster).or_default();
        for (position, applied) in application.applied.iter().enumerate().skip(checked) {
            match sequence.get(position) {
                Some(first) => assert_eq!(first, applied, "{name}: every node applies the same sequence"),
                None => {
                    assert!(
                        sequence.iter().all(|(_, action)| action != &applied.1 || !is_unique(action)),
                        "{name}: `{}` was applied twice",
                        applied.1
                    );
                    sequence.push(applied.clone());
                }
            }
        }
        let seen = Seen {
            cluster: status.cluster,
            incarnation: status.incarnation,
            term: status.term,
            commit_index: status.commit_index,
            applied_index: status.applied_index,
            checked: application.applied.len(),
        };
        self.last.insert(name.to_string(), seen);
    }

    /// Actions named `origin/number`, and locks for them, were performed in the order of their numbers, and must be
    /// applied so.
    pub fn check_call_order(&self) {
        for sequence in self.sequences.values() {
            let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
            for (_, action) in sequence {
                let name = action.strip_prefix("lock ").unwrap_or(action);
                let Some((origin, number)) = name.split_once('/').filter(|_| !name.starts_with("unlock"))
                else {
                    continue;
                };
                let number = number.parse().expect("the tests number their actions");
                let former = newest.insert(origin, number).unwrap_or(0);
                assert!(
                    former < number,
                    "`{action}` was applied after {origin}/{former}, against call order"
                );
            }
        }
    }
}

/// Locks come again; everything else is performed once in a test.
fn is_unique(action: &str) -> bool {
    !action.contains("lock")
}
