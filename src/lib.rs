pub mod channel;
pub mod error;
pub mod raft;
