//! Seals the frames that leave a node and opens those that arrive, around any channel.
//!
//! `js/` wraps every channel in it. With a secret, each frame is encrypted and authenticated by AES-256-GCM (of the two
//! ciphers of `ring` the faster one on processors with AES instructions: 3 to 6 times as fast as ChaCha20-Poly1305 for
//! frames of 1 KiB to 1 MiB). Without a secret, frames pass as they are, and sealed ones are refused. It must never know
//! what a frame means, print a secret, or keep anything of a sender whose frame is not authentic.
//!
//! - Each link draws a random *boot* and derives its own key from the secret, the name of the channel and the boot
//!   ([`keys`]). So a counter is a nonce that never repeats, whatever other processes and former links have sent.
//! - The header is in the clear and authenticated ([`header`]): version, key, sender, receiver, boot, counter. The uuid of
//!   the cluster is part of the frame, so it is encrypted and authenticated as well: the core refuses a frame of another
//!   cluster, and this module need not know that there are clusters.
//! - A link accepts a counter of a boot once ([`window`]). What an attacker can repeat is what a link has never heard: a
//!   frame to all, or to a member that has restarted from its disk, of a boot from before the link. Raft tolerates that
//!   like a frame that was delayed; SECURITY.md says so.

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod header;
mod keys;
mod opener;
mod refusal;
mod sealer;
mod security;
#[cfg(test)]
mod tests;
mod window;

pub use keys::Secret;
pub use refusal::Refusal;
pub use security::Security;

pub(super) use opener::Opener;

use std::sync::Arc;

use ring::rand::{SecureRandom, SystemRandom};

use super::{Channel, Link, Outbound};
use crate::raft::Incarnation;
use header::Boot;
use sealer::Sealer;

/// A channel whose frames only nodes with the same secret can read and make.
pub struct Sealed {
    inner: Box<dyn Channel>,
    security: Security,
}

impl Sealed {
    pub fn new(inner: Box<dyn Channel>, security: Security) -> Self {
        Self { inner, security }
    }
}

impl Channel for Sealed {
    fn join(&self, me: Incarnation) -> Link {
        let boot = draw_boot();
        let Link { outbound, inbound, health, marker, found, noted, peers, attachment } = self.inner.join(me);
        let sealer = Arc::new(Sealer::new(outbound, self.security.clone(), me, boot));
        marker.set_cipher(sealer.clone());
        let announcer = Arc::downgrade(&sealer);
        self.security.set_announce(move || {
            if let Some(sealer) = announcer.upgrade() {
                sealer.announce();
            }
        });
        Link {
            outbound: Outbound(sealer),
            inbound: inbound.opened_by(Opener::new(self.security.clone(), me, boot)),
            health,
            marker,
            found,
            noted,
            peers,
            attachment,
        }
    }
}

fn draw_boot() -> Boot {
    let mut boot = [0; 16];
    // A boot that is not random could repeat a nonce: a node without random numbers must not send anything.
    SystemRandom::new().fill(&mut boot).expect("the system gives random numbers");
    boot
}
