//! How many calls a participant has answered in a second lately.

use std::time::Duration;

use tokio::time::Instant;

/// Over how long calls are counted.
const SLOT: Duration = Duration::from_secs(1);

/// A count of the slot before, and of the one under way.
#[derive(Debug)]
pub(super) struct Pace {
    since: Instant,
    count: u32,
    before: f64,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            count: 0,
            before: 0.0,
        }
    }

    /// Counts a call that was answered.
    pub(super) fn count(&mut self, now: Instant) {
        let elapsed = now.duration_since(self.since);
        if elapsed >= SLOT {
            self.before = f64::from(self.count) / elapsed.as_secs_f64();
            self.since = now;
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
    }

    /// Calls a second.
    pub(super) fn per_second(&self, now: Instant) -> f64 {
        let elapsed = now.duration_since(self.since).max(SLOT);
        self.before
            .max(f64::from(self.count) / elapsed.as_secs_f64())
    }
}
