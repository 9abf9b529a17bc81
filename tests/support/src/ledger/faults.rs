//! What goes wrong, and how often.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

/// How often each fault happens, as probabilities from 0 to 1, of which the first that strikes
/// counts. The default is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// What chance begins with.
    pub seed: u64,
    /// An action is refused with a 409 problem, for good.
    pub refused: f64,
    /// A compensation is refused with a 409 problem, for good: its saga will be `failed`.
    pub compensation_refused: f64,
    /// A 503, without an effect.
    pub unavailable: f64,
    /// The connection is closed before anything is done.
    pub dropped_before: f64,
    /// It is done, and the connection closed without an answer.
    pub dropped_after: f64,
    /// It is done, and never answered.
    pub silent: f64,
    /// It is done, and answered only after [`Faults::slow_by`].
    pub slow: f64,
    /// How slow a slow answer is.
    pub slow_by: Duration,
}

impl Faults {
    /// Some of everything that a saga must survive, and no refused compensation.
    #[must_use]
    pub fn of_all_kinds(seed: u64) -> Self {
        Self {
            seed,
            refused: 0.1,
            compensation_refused: 0.0,
            unavailable: 0.1,
            dropped_before: 0.05,
            dropped_after: 0.05,
            silent: 0.02,
            slow: 0.05,
            slow_by: Duration::from_millis(100),
        }
    }

    /// Whether an action, or a compensation, with this key is refused: the same every time.
    pub(crate) fn is_refused(&self, key: &str, is_action: bool) -> bool {
        let probability = if is_action {
            self.refused
        } else {
            self.compensation_refused
        };
        self.draw(("refused", key, 0)) < probability
    }

    /// What the network does to the `arrival`th call with this key.
    pub(crate) fn of_network(&self, key: &str, arrival: u32) -> NetworkFault {
        let mut left = self.draw(("network", key, arrival));
        for (probability, fault) in [
            (self.unavailable, NetworkFault::Unavailable),
            (self.dropped_before, NetworkFault::DroppedBefore),
            (self.dropped_after, NetworkFault::DroppedAfter),
            (self.silent, NetworkFault::Silent),
            (self.slow, NetworkFault::Slow(self.slow_by)),
        ] {
            if left < probability {
                return fault;
            }
            left -= probability;
        }
        NetworkFault::None
    }

    /// A number from 0 to 1 that only the seed and `what` decide.
    fn draw(&self, what: (&str, &str, u32)) -> f64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, what).hash(&mut hasher);
        let bits = u32::try_from(hasher.finish() >> 32).unwrap_or(u32::MAX);
        f64::from(bits) / f64::from(u32::MAX)
    }
}

/// What the network does to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NetworkFault {
    None,
    Unavailable,
    DroppedBefore,
    DroppedAfter,
    Silent,
    Slow(Duration),
}
