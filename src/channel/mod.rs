//! This room carries frames between nodes.
//!
//! Called by `driver.rs`. A channel may lose, delay, repeat and reorder frames; it never alters one and never hands
//! one to somebody else. Everything that conflux says is a frame, so no channel ever learns what a frame means, and
//! none may name anything of the core but [`Incarnation`] and [`Target`].

pub mod memory;
pub mod redis;

use bytes::Bytes;

use crate::raft::{Incarnation, Target};

/// A way for frames to travel, set up once per node.
pub trait Channel: Send + Sync {
    /// Starts to hear and to be heard as `me`. Returns at once; the link connects by itself and tries for ever.
    /// Must be called on the driver's runtime, on which the link's tasks then run until the link is dropped.
    fn join(&self, me: Incarnation);
}
