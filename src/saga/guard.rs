//! The guards around every call (execution.md, "Guards around every call"), as a saga knows them.

use serde::{Deserialize, Serialize};

/// What may hold a call back before it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// The participant has failed too often lately.
    CircuitBreaker,
    /// As many calls of it are under way as may be.
    Bulkhead,
    /// As many calls were sent lately as may be.
    RateLimit,
}

impl Guard {
    /// Every guard.
    pub const ALL: [Self; 3] = [Self::CircuitBreaker, Self::Bulkhead, Self::RateLimit];

    /// The word on the wire, in the journal and in the metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CircuitBreaker => "circuit_breaker",
            Self::Bulkhead => "bulkhead",
            Self::RateLimit => "rate_limit",
        }
    }
}
