//! The links that share connections, and the topics by which each is reached.
//!
//! Filled by `Redis::join`, read by every task of a session. Topics without a link are kept until the server is notified.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};

use super::{super::lock, redis_link::RedisLink, topics::Address};

#[derive(Default)]
pub(super) struct Links {
    table: Mutex<Table>,
}

/// Invariant: a link is in the routes of each of its topics, and of its address, as long as it is in `links`.
#[derive(Default)]
struct Table {
    /// In the order in which they joined.
    links: Vec<Arc<RedisLink>>,
    /// The links of each topic. Several of one process may be on one channel.
    routes: HashMap<String, Vec<Arc<RedisLink>>>,
    /// The links of each address.
    addresses: HashMap<Address, Vec<Arc<RedisLink>>>,
    /// Topics that the server may still send.
    unneeded: BTreeSet<String>,
}

impl Links {
    pub(super) fn add(&self, link: &Arc<RedisLink>) {
        let mut table = self.table();
        for topic in link.topics.names() {
            table.unneeded.remove(topic);
            table.routes.entry(topic.to_string()).or_default().push(link.clone());
        }
        table.addresses.entry(link.topics.address()).or_default().push(link.clone());
        table.links.push(link.clone());
    }

    /// Whether other links remain.
    pub(super) fn remove(&self, link: &Arc<RedisLink>) -> bool {
        let mut table = self.table();
        table.links.retain(|other| !Arc::ptr_eq(other, link));
        if let Some(links) = table.addresses.get_mut(&link.topics.address()) {
            links.retain(|other| !Arc::ptr_eq(other, link));
            if links.is_empty() {
                table.addresses.remove(&link.topics.address());
            }
        }
        for topic in link.topics.names() {
            let Some(links) = table.routes.get_mut(topic) else { continue };
            links.retain(|other| !Arc::ptr_eq(other, link));
            if links.is_empty() {
                table.routes.remove(topic);
                table.unneeded.insert(topic.to_string());
            }
        }
        !table.links.is_empty()
    }

    /// Hands on what arrived in a topic to its links.
    pub(super) fn route(&self, topic: &str, mut receive: impl FnMut(&RedisLink)) {
        if let Some(links) = self.table().routes.get(topic) {
            links.iter().for_each(|link| receive(link));
        }
    }

    /// Hands on what a pack has for the links of an address.
    pub(super) fn deliver(&self, to: Address, mut receive: impl FnMut(&RedisLink)) {
        if let Some(links) = self.table().addresses.get(&to) {
            links.iter().for_each(|link| receive(link));
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<RedisLink>> {
        self.table().links.clone()
    }

    pub(super) fn select(&self, condition: impl Fn(&RedisLink) -> bool) -> Vec<Arc<RedisLink>> {
        self.table().links.iter().filter(|link| condition(link)).cloned().collect()
    }

    pub(super) fn any(&self, condition: impl Fn(&RedisLink) -> bool) -> bool {
        self.table().links.iter().any(|link| condition(link))
    }

    /// Whether there is one link.
    pub(super) fn is_single(&self) -> bool {
        self.table().links.len() == 1
    }

    /// The topics that no link needs any more, each once.
    pub(super) fn take_unneeded(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.table().unneeded)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }
}
