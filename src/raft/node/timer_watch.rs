//! What a leader knows about the time: the time of JavaScript's clock, and the time for which JavaScript waits.

/// What a leader knows about the time.
#[derive(Debug, Default)]
pub(super) struct TimerWatch {
    /// The last time that JavaScript's clock reported.
    pub(super) at: u64,
    /// The time for which JavaScript waits, as last notified; `None`: it waits for none.
    pub(super) reported: Option<u64>,
}

impl TimerWatch {
    pub(super) fn reached(&mut self, at: u64) {
        self.at = self.at.max(at);
        // JavaScript waits for nothing more.
        self.reported = None;
    }
}
