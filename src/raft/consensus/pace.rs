//! Limits the bytes in flight to a peer to what its link carries within a short time.
//!
//! Used by `transfer.rs` for chunks and by `group/window.rs` for appends. A slow line queues what arrives too fast, and
//! heartbeats and the channel's echoes wait in that queue. The delay of acknowledgements, beyond that of the line
//! without a queue, measures the queue, which is kept short (as LEDBAT does, RFC 6817).

use super::timing::Timing;

/// A window begins with this many bytes, and about doubles with each acknowledged window until the line's queue grows. It
/// never becomes smaller, because a peer with a slow disk acknowledges late too.
const BYTES_MIN: usize = 16 << 10;
/// A line with a smaller window carries less than about 10 Mbit/s.
const NARROW_BYTES: usize = 128 << 10;
/// The time after which something counts as lost doubles with each loss, at most so often.
const FAILURES_MAX: u32 = 3;
/// A window is sent in this many pieces, so that the acknowledgement of one measures the line for the others.
const PIECES: usize = 4;

/// What may be in flight to one peer.
///
/// Invariant: `outstanding` is the sum of the bytes of all flights that have not ended.
#[derive(Debug)]
pub struct Pace {
    window: usize,
    bytes_min: usize,
    bytes_max: usize,
    outstanding: usize,
    /// The shortest delay so far: what the line takes without a queue.
    shortest_ticks: u64,
    /// The queue has grown once: from now on the window widens slowly.
    is_measured: bool,
    narrowed_at: u64,
    /// The longest of the recent delays.
    delay_ticks: u64,
    /// How often something was not acknowledged in time since the last acknowledgement.
    failures: u32,
    timing: Timing,
}

/// Something that was sent and is not acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct Flight {
    bytes: usize,
    sent_at: u64,
    /// What was in flight then, this included.
    outstanding: usize,
}

impl Flight {
    pub fn sent_at(&self) -> u64 {
        self.sent_at
    }

    pub fn age(&self, now: u64) -> u64 {
        now.saturating_sub(self.sent_at)
    }
}

impl Pace {
    pub fn new(timing: Timing, bytes_max: usize) -> Self {
        Self {
            window: BYTES_MIN.min(bytes_max),
            bytes_min: BYTES_MIN.min(bytes_max),
            bytes_max,
            outstanding: 0,
            shortest_ticks: u64::MAX,
            is_measured: false,
            narrowed_at: 0,
            delay_ticks: 0,
            failures: 0,
            timing,
        }
    }

    /// The pace of the same line for a new transfer, of which nothing is in flight yet.
    pub fn anew(&self, bytes_max: usize) -> Self {
        let bytes_min = BYTES_MIN.min(bytes_max);
        let window = self.window.clamp(bytes_min, bytes_max);
        Self { window, bytes_min, bytes_max, outstanding: 0, ..*self }
    }

    pub fn has_room(&self, bytes: usize) -> bool {
        self.outstanding == 0 || self.outstanding + bytes <= self.window
    }

    /// Whether the line carries little, as far as is known.
    pub fn is_narrow(&self) -> bool {
        self.window < NARROW_BYTES
    }

    /// Whether half of the window is used.
    pub fn is_half_used(&self) -> bool {
        2 * self.outstanding > self.window
    }

    /// Larger messages should be sent in pieces of this size.
    pub fn piece(&self) -> usize {
        (self.window / PIECES).max(self.bytes_min.div_ceil(PIECES))
    }

    /// Whether it should have been acknowledged by now.
    pub fn is_late(&self, flight: Flight, now: u64) -> bool {
        flight.age(now) >= self.due_ticks()
    }

    /// Whether it is lost: something that was sent much later has arrived, and reordering does not explain that (RFC
    /// 8985 decides in the same way).
    pub fn is_overtaken(&self, flight: Flight, arrived_sent_at: u64) -> bool {
        flight.sent_at + self.timing.reordering_max() < arrived_sent_at
    }

    /// What is not acknowledged after this many ticks may be lost.
    pub fn retry_ticks(&self) -> u64 {
        self.timing.retransmission_min().max(self.due_ticks()) << self.failures
    }

    /// A peer that acknowledged nothing for this many ticks is asked what it has. That costs a small frame, so it is asked at
    /// least this often: whatever is lost must not wait for longer.
    pub fn ask_ticks(&self) -> u64 {
        self.retry_ticks().min(self.timing.acknowledgement_late_max())
    }

    fn due_ticks(&self) -> u64 {
        // Behind a small flight there may be as much as the line's queue may hold.
        let queue_ticks = if self.is_measured { self.timing.queue_max() } else { 0 };
        let due_ticks = self.timing.heartbeat() + 2 * (self.delay_ticks + queue_ticks);
        due_ticks.min(self.timing.acknowledgement_late_max())
    }

    pub fn sent(&mut self, bytes: usize, now: u64) -> Flight {
        self.outstanding += bytes;
        Flight { bytes, sent_at: now, outstanding: self.outstanding }
    }

    /// It is no longer in flight; nothing else is known.
    pub fn ended(&mut self, flight: Flight) {
        self.outstanding -= flight.bytes;
    }

    /// It is acknowledged, and may have been sent twice, so its delay does not measure the line (Karn's algorithm, RFC
    /// 6298 §3).
    pub fn arrived(&mut self, flight: Flight) {
        self.ended(flight);
        self.failures = self.failures.saturating_sub(1);
    }

    /// Something was not acknowledged in time: the line has become slower, or has lost it.
    pub fn back_off(&mut self) {
        self.failures = (self.failures + 1).min(FAILURES_MAX);
        self.window = (self.window / 2).max(self.bytes_min);
    }

    pub fn acknowledged(&mut self, flight: Flight, now: u64) {
        self.ended(flight);
        let delay = flight.age(now);
        self.shortest_ticks = self.shortest_ticks.min(delay);
        self.delay_ticks = delay.max((7 * self.delay_ticks + delay) / 8);
        self.failures = 0;
        let queue = delay - self.shortest_ticks;
        if queue <= self.timing.queue_max() {
            // Only a window that was used shows that the line can carry more.
            if 2 * flight.outstanding > self.window {
                let more = if self.is_measured { flight.bytes.div_ceil(PIECES) } else { flight.bytes };
                self.window = (self.window + more).min(self.bytes_max);
            }
        } else if flight.sent_at < self.narrowed_at {
            // It waited in a queue that a wider window had filled.
        } else if flight.outstanding > self.bytes_min {
            self.narrow(flight.outstanding, queue, now);
        } else if self.window == self.bytes_min && 2 * flight.outstanding > self.bytes_min {
            // The window cannot become smaller: the line itself has this delay.
            self.shortest_ticks = delay;
        }
    }

    /// The line took `queue` ticks for `outstanding` bytes. One measurement proves little: a process may have been
    /// paused.
    fn narrow(&mut self, outstanding: usize, queue: u64, now: u64) {
        let queue_max = self.timing.queue_max();
        let carried = (outstanding as u64 * queue_max / queue) as usize;
        let half = self.window.min(outstanding) / 2;
        self.window = carried.max(half).clamp(self.bytes_min, self.window);
        (self.is_measured, self.narrowed_at) = (true, now);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::raft::options::Options;

    fn pace(bytes_max: usize) -> Pace {
        Pace::new(Timing::new(&Options::new("any", 3, [0; 32])), bytes_max)
    }

    /// A line that carries this many bytes a tick and takes `delay` ticks besides; how many it carried in 2,000 ticks,
    /// and the longest time that anything took of what was sent in the second half.
    fn carry(bytes_a_tick: usize, delay: u64) -> (usize, u64) {
        let (mut pace, mut flights, mut free_at, mut carried, mut longest) =
            (pace(1 << 20), VecDeque::<(Flight, usize, u64)>::new(), 0.0_f64, 0, 0);
        for now in 0..2_000_u64 {
            while let Some((flight, bytes, arrives_at)) = flights.front().copied()
                && arrives_at <= now
            {
                flights.pop_front();
                carried += bytes;
                if now > 1_000 {
                    longest = longest.max(flight.age(now));
                }
                pace.acknowledged(flight, now);
            }
            while pace.has_room(pace.piece()) {
                let bytes = pace.piece();
                free_at = free_at.max(now as f64) + bytes as f64 / bytes_a_tick as f64;
                flights.push_back((pace.sent(bytes, now), bytes, free_at.ceil() as u64 + delay));
            }
        }
        (carried, longest)
    }

    /// 1, 4, 32 and 100 Mbit/s, at 10 ms a tick, near and far.
    #[test]
    fn a_line_is_kept_busy_and_its_queue_short() {
        for (bytes_a_tick, delay) in
            [(1_250, 0), (5_000, 0), (5_000, 5), (40_000, 0), (40_000, 3), (125_000, 2)]
        {
            let (carried, longest) = carry(bytes_a_tick, delay);
            let possible = 2_000 * bytes_a_tick;
            let share = carried as f64 / possible as f64;
            assert!(share > 0.9, "{bytes_a_tick} bytes a tick, {delay} ticks: {share} of it was used");
            // An election timeout is 30 ticks at least.
            assert!(
                longest <= 25 + delay,
                "{bytes_a_tick} bytes a tick, {delay} ticks: took {longest} ticks"
            );
        }
    }

    /// Without the delay of a queue, only `bytes_max` bounds it.
    #[test]
    fn a_fast_line_gets_the_whole_window_at_once() {
        let mut pace = pace(1 << 20);
        let mut rounds = 0;
        while pace.window < 1 << 20 {
            let flights: Vec<Flight> = (0..4).map(|_| pace.sent(pace.piece(), 0)).collect();
            flights.into_iter().for_each(|flight| pace.acknowledged(flight, 0));
            rounds += 1;
        }
        assert!(rounds <= 12, "{rounds}");
    }

    /// What takes long with little in flight is no queue.
    #[test]
    fn a_peer_that_was_stopped_or_a_disk_that_was_slow_costs_half_at_most() {
        let mut pace = pace(8 << 20);
        pace.window = 8 << 20;
        let quick = pace.sent(1_000, 0);
        pace.acknowledged(quick, 0);
        let slow = pace.sent(1_000, 0);
        pace.acknowledged(slow, 400);
        assert_eq!(pace.window, 8 << 20);
        let flights: Vec<Flight> = (0..8).map(|_| pace.sent(1 << 20, 400)).collect();
        flights.into_iter().for_each(|flight| pace.acknowledged(flight, 800));
        assert!(pace.window >= 512 << 10, "{}", pace.window);
    }

    /// A line that became longer is not taken for one with a queue forever.
    #[test]
    fn a_line_that_takes_longer_from_now_on_is_used_again() {
        let mut pace = pace(1 << 20);
        let mut now = 0;
        for delay in [0, 20] {
            for _ in 0..200 {
                let mut flights = Vec::new();
                while pace.has_room(pace.piece()) {
                    flights.push(pace.sent(pace.piece(), now));
                }
                now += delay;
                flights.into_iter().for_each(|flight| pace.acknowledged(flight, now));
            }
            assert_eq!(pace.window, 1 << 20, "with {delay} ticks");
        }
    }

    #[test]
    fn what_is_not_acknowledged_makes_the_next_wait_longer() {
        let mut pace = pace(1 << 20);
        let first = pace.retry_ticks();
        pace.back_off();
        assert_eq!(pace.retry_ticks(), 2 * first);
        let flight = pace.sent(10, 0);
        pace.acknowledged(flight, 0);
        assert_eq!(pace.retry_ticks(), first);
    }
}
