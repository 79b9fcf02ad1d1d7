//! The core of conflux: one Redux store, replicated by Raft over any number of Node processes.
//!
//! # Rooms
//!
//! | room | what it does | what it may name |
//! |---|---|---|
//! | `js/` | the edge: one JSON text a turn, each way | everything below |
//! | `driver.rs` | the event loop: the only clock, the only `select!`; decides nothing | `channel`, `storage`, `raft` |
//! | `channel/` | carries frames: memory, Redis | of the core, `Incarnation` and `Target` |
//! | `storage/` | keeps what must survive a restart | of the core, the records that it keeps |
//! | `raft/` | decides; pure: no clock, dice, thread, file, socket or JavaScript | `error`, raft-rs, codecs |
//!
//! Imports point one way, down this table; `tidy.rs` holds it.
//!
//! # The journey of one action
//!
//! 1. `perform` on any node: the façade batches the calls of one turn, `js/turn.rs` reads them, and they become
//!    requests of this node in `raft/requests/origin.rs`, held until a leader is known.
//! 2. They go to the leader (`raft/node/outcomes.rs`), which takes them in order (`raft/requests/leadership.rs`) and,
//!    once an entry of its own term is applied, hands them to JavaScript (`raft/node/deliveries.rs`, `js/batch.rs`).
//! 3. The method runs over the provisional state, the reducer over its action; the answers come back together.
//! 4. Actions are proposed (`raft/group.rs`) and replicated by raft-rs until a quorum has them. A refusal waits until
//!    what it saw is committed and a quorum has confirmed the leadership since.
//! 5. Every node applies the entry: `raft/requests/table.rs` says whether it counts, JavaScript reduces it, subscribers
//!    are called, and the node that performed resolves the promise.
//!
//! # The life of a member
//!
//! 1. A newcomer says HELLO (`raft/membership/`); the leader hears it (`raft/node/care.rs`) and asks `raft/steward.rs` what
//!    to do next about who votes. Each change of the configuration is an entry of the log.
//! 2. It gets a snapshot in chunks (`raft/transfer.rs`, `raft/node/snapshots.rs`), then entries, and then it may vote.
//! 3. What every node must know of the members, the same everywhere, is in `raft/registry.rs`, a part of the snapshot.
//! 4. It closes (`raft/node/closing.rs`), or is silent for too long, and another takes its seat.

pub mod channel;
mod crash;
pub mod driver;
pub mod error;
pub mod js;
pub mod raft;
pub mod storage;
#[cfg(test)]
mod tidy;
