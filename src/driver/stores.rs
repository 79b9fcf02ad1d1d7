//! Counts the stores of this process: where there are many, idle ones hibernate.
//!
//! The name of its channel identifies a store. Few stores cost little while they are idle; their leaders are replaced
//! as fast as those of busy ones.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A process with more stores than this has many.
const FEW: usize = 8;

/// The stores of this process.
static STORES: Stores = Stores::new();

/// Whether this process has many stores.
pub fn are_many() -> bool {
    STORES.are_many.load(Ordering::Relaxed)
}

/// An open node of a store; dropped when the node ends.
pub struct OpenStore {
    stores: &'static Stores,
    channel_name: Arc<str>,
}

impl OpenStore {
    pub fn new(channel_name: Arc<str>) -> Self {
        STORES.open(channel_name)
    }
}

impl Drop for OpenStore {
    fn drop(&mut self) {
        self.stores.close(&self.channel_name);
    }
}

struct Stores {
    /// The number of open nodes of each store.
    nodes: Mutex<BTreeMap<Arc<str>, usize>>,
    are_many: AtomicBool,
}

impl Stores {
    const fn new() -> Self {
        Self { nodes: Mutex::new(BTreeMap::new()), are_many: AtomicBool::new(false) }
    }

    fn open(&'static self, channel_name: Arc<str>) -> OpenStore {
        let mut nodes = self.lock();
        *nodes.entry(channel_name.clone()).or_default() += 1;
        self.are_many.store(nodes.len() > FEW, Ordering::Relaxed);
        OpenStore { stores: self, channel_name }
    }

    fn close(&self, channel_name: &str) {
        let mut nodes = self.lock();
        let Some(count) = nodes.get_mut(channel_name) else { return };
        *count -= 1;
        if *count == 0 {
            nodes.remove(channel_name);
        }
        self.are_many.store(nodes.len() > FEW, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, usize>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_many_while_more_than_a_few_have_nodes() {
        static STORES: Stores = Stores::new();
        let are_many = || STORES.are_many.load(Ordering::Relaxed);
        let few: Vec<OpenStore> = (0..FEW).map(|n| STORES.open(format!("{n}").into())).collect();
        let again = STORES.open("0".into());
        assert!(!are_many(), "two nodes of one store are one store");
        let last = STORES.open("last".into());
        assert!(are_many());
        drop(again);
        assert!(are_many());
        drop(last);
        assert!(!are_many());
        drop(few);
        assert!(STORES.lock().is_empty());
    }
}
