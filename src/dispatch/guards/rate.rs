//! The rate limit of one participant: governor's token bucket. The time comes in with every call.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

use crate::config::RateLimit;

/// A clock that stands where it was last put.
#[derive(Clone, Debug, Default)]
struct Told(Arc<AtomicU64>);

impl Clock for Told {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// A rate limit.
#[derive(Debug)]
pub(super) struct Rate {
    limiter: RateLimiter<NotKeyed, InMemoryState, Told, NoOpMiddleware<Duration>>,
    clock: Told,
    origin: Instant,
    per_second: u32,
}

impl Rate {
    pub(super) fn new(settings: &RateLimit, now: Instant) -> Self {
        let at_least_one = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(settings.per_second))
            .allow_burst(at_least_one(settings.burst));
        let clock = Told::default();
        Self {
            limiter: RateLimiter::direct_with_clock(quota, clock.clone()),
            clock,
            origin: now,
            per_second: settings.per_second,
        }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// When there is none: when the next one comes.
    pub(super) fn take(&self, now: Instant) -> Result<(), Instant> {
        let elapsed = now.saturating_duration_since(self.origin).as_nanos();
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
        self.clock.0.store(elapsed, Ordering::Relaxed);
        self.limiter
            .check()
            .map_err(|wait| now + wait.wait_time_from(self.clock.now()))
    }

    pub(super) fn per_second(&self) -> u32 {
        self.per_second
    }
}
