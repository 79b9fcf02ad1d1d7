pub mod channel;
pub mod error;
pub mod raft;
#[cfg(test)]
mod tidy;
