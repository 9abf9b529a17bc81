//! The waits between two tries to reach a broker: longer and longer, for ever.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// The first wait after a failure; it doubles up to the longest.
const WAIT_FIRST: Duration = Duration::from_millis(100);
/// The longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Waits longer and longer between tries.
#[derive(Debug)]
pub(crate) struct BackOff(Duration);

impl BackOff {
    pub(crate) fn new() -> Self {
        Self(WAIT_FIRST)
    }

    /// It went well: the next wait is a short one.
    pub(crate) fn reset(&mut self) {
        self.0 = WAIT_FIRST;
    }

    /// Waits; `false` when that was cut short by `stop`.
    pub(crate) async fn wait(&mut self, stop: &CancellationToken) -> bool {
        let wait = self.next();
        tokio::select! {
            () = stop.cancelled() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }

    /// How long to wait now.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.0;
        self.0 = WAIT_MAX.min(wait.saturating_mul(2));
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_double_up_to_the_longest() {
        let mut back_off = BackOff::new();
        let waits: Vec<u128> = (0..8).map(|_| back_off.next().as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        let stop = CancellationToken::new();
        stop.cancel();
        assert!(!back_off.wait(&stop).await);
        back_off.reset();
        assert_eq!(back_off.next(), WAIT_FIRST);
    }
}
