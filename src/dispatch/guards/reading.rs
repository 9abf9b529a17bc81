//! What the guards of a participant show of themselves, for metrics and people.

use crate::saga::Guard;

/// The guards of one participant at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardReading {
    /// The participant.
    pub participant: String,
    /// Where its circuit breaker stands; closed where it has none.
    pub breaker: BreakerState,
    /// How many calls wait for each guard, in memory and in the journal: every guard once.
    pub waiting: [(Guard, usize); 3],
    /// How many calls are under way, as far as they are counted: where it has guards.
    pub in_flight: usize,
}

/// Where a circuit breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls go through.
    Closed,
    /// Some calls go through, to see whether the participant is well.
    HalfOpen,
    /// No call goes through.
    Open,
}

impl BreakerState {
    /// The number in the metrics.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }
}

impl GuardReading {
    /// A participant that nothing waits for.
    pub(crate) fn idle(participant: &str) -> Self {
        Self {
            participant: participant.to_owned(),
            breaker: BreakerState::Closed,
            waiting: Guard::ALL.map(|guard| (guard, 0)),
            in_flight: 0,
        }
    }
}
