//! Replicated tables about the cluster itself that the application sees, and the entries that change them.
//!
//! Their content follows from the log alone, on every node alike. Used by `node/`; it must not touch a clock or a
//! message.

mod clock;

use serde::{Deserialize, Serialize};

pub use clock::{ClusterClock, NO_TIME};

/// The replicated tables.
///
/// Invariant: they change only in log order, and so are a function of the log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Coordination {
    pub clock: ClusterClock,
}
