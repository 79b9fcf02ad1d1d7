use crate::raft::{Incarnation, Target};
use bytes::Bytes;
pub trait Channel: Send + Sync {
    fn join(&self, me: Incarnation) -> Link;
}
pub struct Link {
    pub outbound: Outbound,
    pub inbound: Inbound,
    pub health: tokio::sync::watch::Receiver<Health>,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Connecting,
    Healthy,
    Broken { cause: String },
}
pub struct Outbound;
pub struct Inbound;
impl Outbound {
    pub fn send(&self, _to: Target, _frame: Bytes) {}
}
impl Inbound {
    pub async fn recv_many(&mut self, _frames: &mut Vec<Bytes>) -> bool {
        std::future::pending().await
    }
}
impl Link {
    pub async fn close(self) {}
}
