//! The circuit breaker of one participant: failsafe's state machine, driven by hand, with our own
//! policy of when to open, and our own clock, back-off and bound of the probes.
//!
//! failsafe is told to open for no time at all, and is asked again only when our own time is up:
//! its clock is the system's, its exponential back-off knows no less than a second, and when half
//! open it lets everybody through. The time comes in with every question.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use failsafe::{FailurePolicy, Instrument, StateMachine};
use tokio::time::Instant;

use super::reading::BreakerState;
use super::window::Window;
use crate::config::CircuitBreaker;

/// How soon failsafe is asked again when its own clock has not moved yet.
const ASK_AGAIN: Duration = Duration::from_millis(1);

/// A circuit breaker. Whoever holds it is its only user: the gate's lock is around it.
#[derive(Debug)]
pub(super) struct Breaker {
    machine: StateMachine<Policy, Seen>,
    seen: Arc<Shared>,
    slow_call: Option<Duration>,
    probes_max: u32,
    probing: u32,
    open_until: Instant,
    /// Grows with every change of state, so that the end of a call that began in another state
    /// says nothing: only probes decide what becomes of a breaker that is half open.
    era: u64,
}

/// In which state of the breaker a call began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Era(u64);

/// What the state machine has last said, how long its policy wants it to stay open, and what time
/// it is for the policy.
#[derive(Debug)]
struct Shared {
    state: AtomicU8,
    open_us: AtomicU64,
    origin: Instant,
    now_us: AtomicU64,
}

#[derive(Clone, Debug)]
struct Seen(Arc<Shared>);

impl Instrument for Seen {
    fn on_call_rejected(&self) {}

    fn on_open(&self) {
        self.0
            .state
            .store(BreakerState::Open.number(), Ordering::Relaxed);
    }

    fn on_half_open(&self) {
        self.0
            .state
            .store(BreakerState::HalfOpen.number(), Ordering::Relaxed);
    }

    fn on_closed(&self) {
        self.0
            .state
            .store(BreakerState::Closed.number(), Ordering::Relaxed);
    }
}

impl Shared {
    fn set_now(&self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.origin).as_micros();
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
        self.now_us.store(elapsed, Ordering::Relaxed);
    }

    fn now(&self) -> Instant {
        self.origin + Duration::from_micros(self.now_us.load(Ordering::Relaxed))
    }

    fn state(&self) -> BreakerState {
        match self.state.load(Ordering::Relaxed) {
            0 => BreakerState::Closed,
            1 => BreakerState::HalfOpen,
            _ => BreakerState::Open,
        }
    }
}

/// When it opens, and for how long.
#[derive(Debug)]
struct Policy {
    settings: CircuitBreaker,
    lately: Window,
    failures_in_a_row: u32,
    /// How often it has opened since it was last closed.
    opened: u32,
    seen: Arc<Shared>,
}

impl FailurePolicy for Policy {
    fn record_success(&mut self) {
        self.failures_in_a_row = 0;
        let now = self.seen.now();
        self.lately.count(false, now);
    }

    fn mark_dead_on_failure(&mut self) -> Option<Duration> {
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        let now = self.seen.now();
        self.lately.count(true, now);
        let half_open = self.seen.state() == BreakerState::HalfOpen;
        if !half_open && !self.in_a_row() && !self.too_often(now) {
            return None;
        }
        let open_ms = open_for_ms(&self.settings, self.opened);
        self.opened = self.opened.saturating_add(1);
        self.seen
            .open_us
            .store(open_ms.saturating_mul(1_000), Ordering::Relaxed);
        Some(Duration::ZERO)
    }

    fn revived(&mut self) {
        self.failures_in_a_row = 0;
        self.opened = 0;
        self.lately.clear();
    }
}

impl Policy {
    fn in_a_row(&self) -> bool {
        let max = self.settings.consecutive_failures;
        max.is_some_and(|max| self.failures_in_a_row >= max)
    }

    fn too_often(&mut self, now: Instant) -> bool {
        let Some(rate) = self.settings.failure_rate else {
            return false;
        };
        let (calls, failures) = self.lately.sums(now);
        calls >= self.settings.calls_min && f64::from(failures) >= rate * f64::from(calls)
    }
}

/// How long it stays open after it has opened so often without closing: doubling, up to the most.
fn open_for_ms(settings: &CircuitBreaker, opened: u32) -> u64 {
    let factor = 1_u64.checked_shl(opened).unwrap_or(u64::MAX);
    settings
        .open_for_ms
        .saturating_mul(factor)
        .min(settings.open_for_max_ms)
}

impl Breaker {
    pub(super) fn new(settings: &CircuitBreaker, now: Instant) -> Self {
        let seen = Arc::new(Shared {
            state: AtomicU8::new(BreakerState::Closed.number()),
            open_us: AtomicU64::new(0),
            origin: now,
            now_us: AtomicU64::new(0),
        });
        let policy = Policy {
            settings: settings.clone(),
            lately: Window::new(Duration::from_millis(settings.window_ms), now),
            failures_in_a_row: 0,
            opened: 0,
            seen: Arc::clone(&seen),
        };
        Self {
            machine: StateMachine::new(policy, Seen(Arc::clone(&seen))),
            seen,
            slow_call: settings.slow_call_ms.map(Duration::from_millis),
            probes_max: settings.probes,
            probing: 0,
            open_until: now,
            era: 0,
        }
    }

    pub(super) fn state(&self) -> BreakerState {
        self.seen.state()
    }

    /// A call that takes that long is a failure, whatever it came to.
    pub(super) fn is_slow(&self, took: Duration) -> bool {
        self.slow_call.is_some_and(|slow| took >= slow)
    }

    /// Whether a call may go now.
    ///
    /// # Errors
    /// When it may not: when to ask again, where that is a matter of time and not of a probe.
    pub(super) fn permits(&mut self, now: Instant) -> Result<(), Option<Instant>> {
        if self.state() == BreakerState::Open {
            if now < self.open_until {
                return Err(Some(self.open_until));
            }
            if !self.machine.is_call_permitted() {
                return Err(Some(now + ASK_AGAIN));
            }
            self.era += 1;
            self.probing = 0;
        }
        if self.state() == BreakerState::HalfOpen && self.probing >= self.probes_max {
            return Err(None);
        }
        Ok(())
    }

    /// How many more calls it would let through now; none for any number.
    pub(super) fn room(&self, now: Instant) -> Option<u32> {
        match self.state() {
            BreakerState::Closed => None,
            BreakerState::HalfOpen => Some(self.probes_max.saturating_sub(self.probing)),
            BreakerState::Open if now >= self.open_until => Some(self.probes_max),
            BreakerState::Open => Some(0),
        }
    }

    /// When it next lets anything through, where that is a matter of time.
    pub(super) fn open_until(&self) -> Option<Instant> {
        (self.state() == BreakerState::Open).then_some(self.open_until)
    }

    /// Lets a call go that it permits.
    pub(super) fn enter(&mut self) -> Era {
        if self.state() == BreakerState::HalfOpen {
            self.probing += 1;
        }
        Era(self.era)
    }

    /// Takes in that a call has ended, and whether the participant is well by it; none where the
    /// call says nothing about that. Answers whether it has closed because of it.
    pub(super) fn leave(&mut self, began: Era, well: Option<bool>, now: Instant) -> bool {
        if began.0 != self.era {
            return false;
        }
        let before = self.state();
        if before == BreakerState::HalfOpen {
            self.probing = self.probing.saturating_sub(1);
        }
        self.seen.set_now(now);
        match well {
            Some(true) => self.machine.on_success(),
            Some(false) => self.machine.on_error(),
            None => {}
        }
        let after = self.state();
        if after == before {
            return false;
        }
        self.era += 1;
        self.probing = 0;
        if after == BreakerState::Open {
            let open = Duration::from_micros(self.seen.open_us.load(Ordering::Relaxed));
            self.open_until = now + open;
        }
        after == BreakerState::Closed
    }
}
