//! Makes a call take effect exactly once (thesis §6.3), with three types:
//!
//! - [`ClientSession`]: the requests of this node that have not ended;
//! - [`LeaderSessions`]: what a leader has evaluated in its term, for every origin;
//! - [`SessionTable`]: the requests that were applied, according to the log; the same on every node.
//!
//! Used by `node.rs` alone.

mod client_session;
mod evaluated_batch;
mod in_flight;
mod leader_sessions;
#[cfg(test)]
mod leader_sessions_tests;
mod provisional;
mod sequence_map;
mod session;
mod session_table;
mod system_actions;

pub use client_session::{ClientSession, Pending};
pub use leader_sessions::{DueOutcome, LeaderSessions, Reply};
pub use session::Evaluation;
pub use session_table::{ApplyResult, RequestStatus, SessionTable};

/// Cuts items into pages of about `bytes_max`, in their order; each page has at least one.
pub fn in_pages<T>(items: Vec<T>, bytes_max: usize, bytes_of: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut pages: Vec<Vec<T>> = Vec::new();
    let mut bytes = bytes_max;
    for item in items {
        if bytes >= bytes_max {
            pages.push(Vec::new());
            bytes = 0;
        }
        bytes += bytes_of(&item);
        pages.last_mut().expect("the first item opens a page").push(item);
    }
    pages
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::raft::wire::message::Outcome;

    #[test]
    fn outcomes_with_much_data_are_cut_into_pages_in_their_order() {
        let large = Outcome::Refused(Bytes::from(vec![b'1'; 100 << 10]));
        let outcomes: Vec<(u64, Outcome)> = (1..=10).map(|sequence| (sequence, large.clone())).collect();
        let cut = |outcomes| in_pages(outcomes, 256 << 10, |(_, outcome): &(u64, Outcome)| outcome.bytes());
        let pages = cut(outcomes.clone());
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 3, 1]);
        assert_eq!(pages.concat(), outcomes);
        assert_eq!(cut(vec![(1, Outcome::Nothing); 2_048]).len(), 1);
        assert!(cut(Vec::new()).is_empty());
    }
}
