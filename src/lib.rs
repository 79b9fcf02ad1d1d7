pub mod channel;
pub mod driver;
pub mod error;
pub mod js;
pub mod raft;
pub mod storage;
#[cfg(test)]
mod tidy;
