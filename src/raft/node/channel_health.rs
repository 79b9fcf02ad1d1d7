//! Follows the state of the channel, and warns of its changes.

use crate::raft::events::{ChannelState, Warning};

#[derive(Debug)]
pub(super) struct ChannelHealth(ChannelState);

impl Default for ChannelHealth {
    fn default() -> Self {
        Self(ChannelState::Healthy)
    }
}

impl ChannelHealth {
    pub(super) fn is_healthy(&self) -> bool {
        self.0 == ChannelState::Healthy
    }

    pub(super) fn change(&mut self, state: ChannelState) -> Option<Warning> {
        let former = std::mem::replace(&mut self.0, state);
        match (self.0.clone(), former) {
            (ChannelState::Broken { cause }, ChannelState::Broken { cause: former }) => {
                (cause != former).then_some(Warning::ChannelStillBroken { cause })
            }
            (ChannelState::Broken { cause }, ChannelState::Healthy | ChannelState::Connecting) => {
                Some(Warning::ChannelBroken { cause })
            }
            (ChannelState::Healthy, ChannelState::Broken { .. }) => Some(Warning::ChannelRestored),
            (ChannelState::Healthy | ChannelState::Connecting, _) => None,
        }
    }
}
