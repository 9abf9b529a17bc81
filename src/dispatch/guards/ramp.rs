//! The slow approach to a participant after an outage: how many calls may be under way at once
//! starts small and grows with every success.

use std::time::Duration;

use tokio::time::Instant;

/// Calls at once, at first. One more for every success doubles them with each round trip.
const AT_FIRST: usize = 4;
/// A participant that takes so many calls at once is approached no more.
const ENOUGH: usize = 256;
/// After so long it is over in any case: who has no guards configured is not held back for ever
/// because it fails.
const LASTS: Duration = Duration::from_secs(30);

/// One approach.
#[derive(Debug)]
pub(super) struct Ramp {
    window: usize,
    /// None while what it waits for has not come back yet: the time does not run then.
    ends: Option<Instant>,
}

impl Ramp {
    /// Begins; the time runs from `from` on.
    pub(super) fn begin(from: Option<Instant>) -> Self {
        Self {
            window: AT_FIRST,
            ends: from.map(|from| from + LASTS),
        }
    }

    /// Calls at once.
    pub(super) fn window(&self) -> usize {
        self.window
    }

    /// When it is over in any case.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.ends
    }

    /// A call went well.
    pub(super) fn grow(&mut self) {
        self.window = self.window.saturating_add(1);
    }

    /// Whether it holds nothing back any more that `limit` does not.
    pub(super) fn is_over(&self, limit: Option<usize>, now: Instant) -> bool {
        self.window >= limit.unwrap_or(ENOUGH).min(ENOUGH)
            || self.ends.is_some_and(|ends| ends <= now)
    }
}
