//! The connections of a link: one to each peer, and those that are being replaced.
//!
//! Used by [`super::Shared`] under its lock. It must never hold two open connections to one link.

use std::{sync::Arc, time::Duration};

use super::{connection::Connection, hello::LinkId};
use crate::raft::Target;

#[derive(Default)]
pub(super) struct Peers {
    open: Vec<Arc<Connection>>,
    /// Replaced connections: what their peers have sent is still read, and nothing new is written.
    finishing: Vec<Arc<Connection>>,
}

impl Peers {
    /// Takes a connection in. If there is one to the same link, one of the two finishes.
    pub(super) fn admit(&mut self, connection: Arc<Connection>, patience: Duration) {
        let former = self.open.iter().position(|open| open.link == connection.link);
        let finishing = match former {
            None => None,
            Some(at) if connection.supersedes(&self.open[at], patience) => Some(self.open.swap_remove(at)),
            Some(_) => Some(connection.clone()),
        };
        if let Some(finishing) = &finishing {
            finishing.finish();
        }
        if finishing.as_ref().is_none_or(|finishing| !Arc::ptr_eq(finishing, &connection)) {
            self.open.push(connection);
        }
        self.finishing.extend(finishing);
    }

    /// A connection has ended.
    pub(super) fn remove(&mut self, connection: &Arc<Connection>) {
        for connections in [&mut self.open, &mut self.finishing] {
            connections.retain(|one| !Arc::ptr_eq(one, connection));
        }
    }

    pub(super) fn open(&self) -> &[Arc<Connection>] {
        &self.open
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.open.iter().chain(&self.finishing)
    }

    pub(super) fn has(&self, link: LinkId) -> bool {
        self.open.iter().any(|connection| connection.link == link)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.finishing.is_empty()
    }

    /// Copies of a directory have one incarnation: all of them receive what is sent to it.
    pub(super) fn to(&self, target: Target) -> impl Iterator<Item = &Arc<Connection>> {
        self.open.iter().filter(move |connection| match target {
            Target::All => true,
            Target::One(incarnation) => connection.incarnation == incarnation,
        })
    }
}
