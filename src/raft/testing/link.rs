//! The connection of a simulated node to Redis: it breaks, freezes or falls silent, and the node is notified late, as
//! by the driver.

use crate::raft::ChannelState;

/// What is wrong between a node and Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// What is sent to the node or by it is lost.
    Down,
    /// What is sent to the node is lost: Redis dropped its subscriber.
    Deaf,
    /// Everything waits, until the outage ends or the driver gives the connections up.
    Frozen,
}

/// The watchdog hears nothing of its own for about two election timeouts.
const WATCHDOG_TICKS: u64 = 60;
/// A broken connection is noticed within, and made again within.
const NOTICED_TICKS: u64 = 10;
const CONNECTED_TICKS: u64 = 20;

/// A node's connection. By default it works.
#[derive(Clone, Copy, Debug, Default)]
pub struct Link {
    outage: Option<Outage>,
    ends_at: u64,
    noticed_at: u64,
    is_given_up: bool,
    line: Line,
}

/// What carries frames to a node, one after the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line {
    /// So many bytes a tick, if it is slow.
    pub bytes_a_tick: Option<u64>,
    /// When it will have carried what it has, in thousandths of a tick.
    free_at: u64,
    pub carried_bytes: u64,
    /// The longest time that anything waited.
    pub waited_ticks_max: u64,
}

impl Line {
    /// When a frame of this size arrives that comes to the line at `now`.
    pub fn carry(&mut self, now: u64, bytes: usize) -> u64 {
        let Some(bytes_a_tick) = self.bytes_a_tick else { return now };
        self.carried_bytes += bytes as u64;
        self.free_at = self.free_at.max(now * 1_000);
        self.waited_ticks_max = self.waited_ticks_max.max(self.free_at / 1_000 - now);
        self.free_at += bytes as u64 * 1_000 / bytes_a_tick.max(1);
        self.free_at / 1_000
    }
}

/// What becomes of a frame at one end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Passes,
    IsLost,
    WaitsUntil(u64),
}

impl Link {
    /// An outage from `now` on; `roll` gives a number below its argument.
    pub fn strike(&mut self, outage: Outage, now: u64, ticks: u64, roll: &mut dyn FnMut(u64) -> u64) {
        let noticed_after = match outage {
            Outage::Down => roll(NOTICED_TICKS),
            Outage::Deaf | Outage::Frozen => WATCHDOG_TICKS + roll(WATCHDOG_TICKS / 2),
        };
        let ends_at = now + ticks + roll(CONNECTED_TICKS);
        *self = Self { outage: Some(outage), ends_at, noticed_at: now + noticed_after, ..*self };
    }

    pub fn line(&mut self) -> &mut Line {
        &mut self.line
    }

    /// The outage ends with the next tick.
    pub fn mend(&mut self, now: u64) {
        self.ends_at = self.ends_at.min(now);
    }

    /// What the driver learns in this tick.
    pub fn tick(&mut self, now: u64) -> Option<ChannelState> {
        self.outage?;
        if now >= self.ends_at {
            let was_given_up = self.is_given_up;
            *self = Self { line: self.line, ..Self::default() };
            return was_given_up.then_some(ChannelState::Healthy);
        }
        if now >= self.noticed_at && !self.is_given_up {
            self.is_given_up = true;
            return Some(ChannelState::Broken { cause: "the simulation broke it".into() });
        }
        None
    }

    pub fn fate_of_sent(&self) -> Fate {
        match self.outage {
            None | Some(Outage::Deaf) if !self.is_given_up => Fate::Passes,
            Some(Outage::Frozen) if !self.is_given_up => Fate::WaitsUntil(self.ends_at),
            Some(Outage::Down | Outage::Deaf | Outage::Frozen) | None => Fate::IsLost,
        }
    }

    pub fn fate_of_arriving(&self) -> Fate {
        match self.outage {
            None => Fate::Passes,
            Some(Outage::Frozen) if !self.is_given_up => Fate::WaitsUntil(self.ends_at),
            Some(Outage::Down | Outage::Deaf | Outage::Frozen) => Fate::IsLost,
        }
    }
}
