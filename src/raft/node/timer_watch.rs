//! What a leader knows about the time: how far JavaScript's clock is, and for which time it waits.

/// What a leader knows about the time.
#[derive(Debug, Default)]
pub(super) struct TimerWatch {
    /// JavaScript's clock has reached this.
    pub(super) at: u64,
    /// The time that JavaScript was last notified of; `None`: there is none.
    pub(super) reported: Option<u64>,
}

impl TimerWatch {
    pub(super) fn reached(&mut self, at: u64) {
        self.at = self.at.max(at);
        // JavaScript waits for nothing more.
        self.reported = None;
    }
}
