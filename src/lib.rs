//! The core of conflux: one Redux store, replicated by Raft over any number of Node processes.
//!
//! # Modules
//!
//! | module | what it does | what it may import |
//! |---|---|---|
//! | `js/` | the boundary to JavaScript: one JSON text per turn, in each direction | everything below |
//! | `driver.rs` | the event loop: the only clock and the only `select!`; it decides nothing | `channel`, `storage`, `raft` |
//! | `channel/` | carries frames: TCP, Unix sockets, Redis, memory, the application's own | of the core, `Incarnation`, `Target` and `Lane` |
//! | `storage/` | keeps what must survive a restart | of the core, the records that it keeps |
//! | `raft/` | decides; pure: no clock, unseeded random number, thread, file, socket or JavaScript | `error`, raft-rs, codecs |
//!
//! Imports point one way, down this table; `tidy.rs` checks it. ARCHITECTURE.md has the glossary.
//!
//! # The path of one action
//!
//! 1. `perform` on any node: the façade batches the calls of one turn, `js/turn.rs` decodes them, and
//!    `driver/shared_core.rs` hands them to the core (`raft/node.rs`). They become requests of this node's client session
//!    (`raft/requests/client_session.rs`), which holds them until a leader is known.
//! 2. `raft/node/outcomes.rs` sends them to the leader, in the frame of the turn (`raft/wire/outbox.rs`), over a channel.
//!    There, `raft/node/inbound.rs` dispatches the messages. The leader's sessions accept the requests in order
//!    (`raft/requests/leader_sessions.rs`) and, once an entry of the leader's own term is applied, hand them to
//!    JavaScript (`raft/node/deliveries.rs`, `js/batch.rs`).
//! 3. The method runs over the provisional state, the reducer over its action; the results return in one batch
//!    (`js/turn.rs`).
//! 4. Actions are proposed (`raft/consensus/group.rs`) and replicated by raft-rs until a quorum has them. A refusal waits
//!    until everything that its method saw is committed and a quorum has confirmed the leadership since.
//! 5. Every node applies the entry (`raft/node/deliveries.rs`): `raft/requests/session_table.rs` decides whether it counts,
//!    JavaScript reduces it and calls the subscribers, and the calling node resolves the promise.
//!
//! # The life of a member
//!
//! 1. A newcomer broadcasts `Discover` (`raft/bootstrap/`). The leader receives it (`raft/node/configuration.rs`) and asks
//!    `raft/membership/planner.rs` for the next change of the configuration. Each change is an entry of the log.
//! 2. The newcomer receives a snapshot in chunks (`raft/snapshot/transfer.rs`, `raft/node/snapshot_transfers.rs`), then entries,
//!    and may then vote.
//! 3. What every node must know about the members is replicated in `raft/membership/members.rs`, a part of the snapshot.
//! 4. When the member closes (`raft/node/closing.rs`) or is silent for too long, another one takes over its vote.

pub mod channel;
mod crash;
pub mod driver;
pub mod error;
pub mod js;
pub mod raft;
pub mod storage;
#[cfg(test)]
mod tidy;
