//! The gate in front of one participant.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::breaker::{Breaker, Era};
use super::pace::Pace;
use super::ramp::Ramp;
use super::rate::Rate;
use super::reading::{BreakerState, GuardReading};
use super::room::{Place, Room, Turn};
use crate::config::{Bulkhead, Guards};
use crate::saga::{Guard, SagaId};

/// How many calls are brought back from the journal ahead of their turn, at most.
const AHEAD_MAX: usize = 64;
/// How often whoever waits in the journal looks for room, should nothing tell it before.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The bounds of how far ahead a call that was turned away is expected.
const EXPECTED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// What holds calls to one participant back.
pub struct Gate {
    participant: String,
    /// No guard and no slow approach: whoever reads this needs no lock.
    free: AtomicBool,
    guarded: bool,
    concurrent_max: Option<usize>,
    waiting_max: usize,
    wait_max: Duration,
    inner: Mutex<Inner>,
    /// The time at which something may go has come nearer.
    sooner: Notify,
    /// Somebody left.
    left: Notify,
}

/// How a gate stands.
struct Inner {
    breaker: Option<Breaker>,
    rate: Option<Rate>,
    ramp: Option<Ramp>,
    in_flight: usize,
    room: Room,
    /// What the oldest in the room waits for, and so all behind it.
    held_by: Guard,
    /// When it may go, where that is a matter of time.
    next: Option<Instant>,
    /// Until when the keeper of the time sleeps.
    armed: Option<Instant>,
    pace: Pace,
}

/// What became of a call that came to a gate.
#[derive(Debug)]
pub enum Entrance {
    /// It may go.
    Open(Pass),
    /// It waits in the room.
    Wait(Waiting),
    /// There is no room for it: it has to wait elsewhere for this guard.
    Away(Guard),
}

/// The leave to make one call. Its end, or its drop, makes room for the next.
#[derive(Debug)]
pub struct Pass {
    inside: Option<(Arc<Gate>, Option<Era>)>,
}

/// A call that waits in the room. Dropping it leaves the room.
#[derive(Debug)]
pub struct Waiting {
    gate: Arc<Gate>,
    place: Place,
    turn: oneshot::Receiver<Turn>,
    until: Instant,
}

/// What the end of a call says of the participant.
#[derive(Clone, Copy)]
struct Ended {
    well: bool,
    took: Duration,
}

/// Why nothing may go.
struct Held {
    by: Guard,
    /// When to look again, where that is a matter of time.
    until: Option<Instant>,
}

type Told = Vec<(oneshot::Sender<Turn>, Turn)>;

impl Gate {
    /// The gate of a participant with these guards.
    #[must_use]
    pub fn new(participant: &str, guards: &Guards) -> Arc<Self> {
        let now = Instant::now();
        let size = |count| usize::try_from(count).unwrap_or(usize::MAX);
        let bulkhead = guards.bulkhead.as_ref();
        let waiting_max = bulkhead.map_or(Bulkhead::WAITING_MAX, |own| own.waiting_max);
        let wait_max_ms = bulkhead.map_or(Bulkhead::WAIT_MAX_MS, |own| own.wait_max_ms);
        let guarded = *guards != Guards::default();
        let breaker = guards.circuit_breaker.as_ref();
        let rate = guards.rate_limit.as_ref();
        Arc::new(Self {
            participant: participant.to_owned(),
            free: AtomicBool::new(!guarded),
            guarded,
            concurrent_max: bulkhead.map(|own| size(own.concurrent_max)),
            waiting_max: size(waiting_max),
            wait_max: Duration::from_millis(wait_max_ms),
            inner: Mutex::new(Inner {
                breaker: breaker.map(|settings| Breaker::new(settings, now)),
                rate: rate.map(|settings| Rate::new(settings, now)),
                ramp: None,
                in_flight: 0,
                room: Room::default(),
                held_by: Guard::Bulkhead,
                next: None,
                armed: None,
                pace: Pace::new(now),
            }),
            sooner: Notify::new(),
            left: Notify::new(),
        })
    }

    /// The participant behind it.
    #[must_use]
    pub fn participant(&self) -> &str {
        &self.participant
    }

    /// A call of a saga wants to go.
    pub fn enter(self: &Arc<Self>, saga: SagaId) -> Entrance {
        // Relaxed: a call that just misses the beginning of a slow approach is one call more.
        if self.free.load(Ordering::Relaxed) {
            return Entrance::Open(Pass::free());
        }
        self.enter_at(saga, Instant::now())
    }

    pub(super) fn enter_at(self: &Arc<Self>, saga: SagaId, now: Instant) -> Entrance {
        let mut inner = self.inner.lock();
        if inner.room.is_empty() {
            match inner.admit(self.concurrent_max, now) {
                Ok(era) => return Entrance::Open(self.pass(era)),
                Err(held) => inner.hold(&held),
            }
        }
        let mut told = Told::new();
        if inner.room.len() >= self.waiting_max {
            if !inner.room.has_younger(saga) {
                return Entrance::Away(inner.held_by);
            }
            let held_by = inner.held_by;
            told.extend(inner.room.youngest().map(|tell| (tell, Err(held_by))));
        }
        let (place, turn) = inner.room.enter(saga);
        self.arm(&inner, now);
        drop(inner);
        tell(told);
        Entrance::Wait(Waiting {
            gate: Arc::clone(self),
            place,
            turn,
            until: now + self.wait_max,
        })
    }

    /// Approaches the participant slowly: few calls at once at first, more with every success. The
    /// time after which that is over in any case runs from `from` on; with none it does not run yet.
    pub fn approach_slowly(&self, from: Option<Instant>) {
        let mut inner = self.inner.lock();
        inner.ramp = Some(Ramp::begin(from));
        self.free.store(false, Ordering::Relaxed);
    }

    /// What a call that waits in the room waits for.
    #[must_use]
    pub fn held_by(&self) -> Guard {
        self.inner.lock().held_by
    }

    /// How it stands.
    #[must_use]
    pub fn reading(&self) -> GuardReading {
        let inner = self.inner.lock();
        let breaker = inner.breaker.as_ref();
        let breaker = breaker.map_or(BreakerState::Closed, Breaker::state);
        let waiting = Guard::ALL.map(|guard| {
            let count = if guard == inner.held_by {
                inner.room.len()
            } else {
                0
            };
            (guard, count)
        });
        GuardReading {
            participant: self.participant.clone(),
            breaker,
            waiting,
            in_flight: inner.in_flight,
        }
    }

    /// How many calls that wait in the journal may come back now, if `oldest` is the oldest of them:
    /// as many as keep the participant busy, counted without those in the room that are younger
    /// still.
    #[must_use]
    pub fn recallable(&self, oldest: SagaId) -> usize {
        self.recallable_at(oldest, Instant::now())
    }

    pub(super) fn recallable_at(&self, oldest: SagaId, now: Instant) -> usize {
        let mut inner = self.inner.lock();
        inner.end_ramp(self.concurrent_max, now);
        let limit = inner.limit(self.concurrent_max).unwrap_or(AHEAD_MAX);
        let mut ahead = limit
            .saturating_mul(2)
            .clamp(1, AHEAD_MAX)
            .min(self.waiting_max);
        if let Some(rate) = &inner.rate {
            // No more than go within the time that they may wait in memory.
            let per_wait = u128::from(rate.per_second()) * self.wait_max.as_millis() / 4_000;
            ahead = ahead.min(usize::try_from(per_wait).unwrap_or(usize::MAX).max(1));
        }
        let room = inner.breaker.as_ref().and_then(|breaker| breaker.room(now));
        if let Some(room) = room {
            ahead = ahead.min(usize::try_from(room).unwrap_or(usize::MAX));
        }
        ahead.saturating_sub(inner.room.older(oldest, ahead))
    }

    /// Waits until there may be room for who waits in the journal.
    pub async fn may_have_room(&self) {
        let open_until = {
            let inner = self.inner.lock();
            inner.breaker.as_ref().and_then(Breaker::open_until)
        };
        let look = Instant::now() + LOOK_EVERY;
        tokio::select! {
            () = self.left.notified() => {}
            () = tokio::time::sleep_until(open_until.map_or(look, |until| until.min(look))) => {}
        }
    }

    /// How soon a call that is turned away may be expected to go, if `ahead` go before it: when the
    /// breaker lets somebody through again, and then at the pace of the limit, or of late.
    #[must_use]
    pub fn expected_in(&self, ahead: usize) -> Duration {
        let now = Instant::now();
        let inner = self.inner.lock();
        let open_until = inner.breaker.as_ref().and_then(Breaker::open_until);
        let open = open_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        let seen = inner.pace.per_second(now).max(1.0);
        let pace = match &inner.rate {
            Some(rate) => f64::from(rate.per_second()),
            None => seen,
        };
        let ahead = f64::from(u32::try_from(ahead).unwrap_or(u32::MAX));
        let expected = open.as_secs_f64() + ahead / pace;
        Duration::from_secs_f64(expected.clamp(EXPECTED.0.as_secs_f64(), EXPECTED.1.as_secs_f64()))
    }

    /// Lets calls go whose time has come, until it is told to stop. Without it nobody in the room
    /// notices that time passes.
    pub async fn keep_time(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let next = self.look(Instant::now());
            let time = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = time => {}
                () = self.sooner.notified() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Lets those go whose time has come; answers when to look again.
    pub(super) fn look(self: &Arc<Self>, now: Instant) -> Option<Instant> {
        let (told, next) = {
            let mut inner = self.inner.lock();
            let told = self.let_go(&mut inner, now);
            inner.armed = inner.next;
            (told, inner.next)
        };
        tell(told);
        next
    }

    fn pass(self: &Arc<Self>, era: Option<Era>) -> Pass {
        Pass {
            inside: Some((Arc::clone(self), era)),
        }
    }

    /// Lets those go, the oldest first, who may. They are told when the lock is given back: who is
    /// not there any more gives its pass back, which takes the lock.
    fn let_go(self: &Arc<Self>, inner: &mut Inner, now: Instant) -> Told {
        let mut told = Told::new();
        inner.next = None;
        while !inner.room.is_empty() {
            match inner.admit(self.concurrent_max, now) {
                Ok(era) => {
                    let pass = self.pass(era);
                    told.extend(inner.room.oldest().map(|tell| (tell, Ok(pass))));
                }
                Err(held) => {
                    inner.hold(&held);
                    break;
                }
            }
        }
        told
    }

    /// Wakes the keeper of the time when it would sleep too long.
    fn arm(&self, inner: &Inner, now: Instant) {
        let sooner = |next| inner.armed.is_none_or(|armed| next < armed || armed <= now);
        if inner.next.is_some_and(sooner) {
            self.sooner.notify_one();
        }
    }

    /// A call has ended, or was given up; `ended` is what it says of the participant, if anything.
    fn leave(self: &Arc<Self>, era: Option<Era>, ended: Option<Ended>, now: Instant) {
        let (told, change) = {
            let mut inner = self.inner.lock();
            let before = inner.breaker.as_ref().map(Breaker::state);
            inner.leave(era, ended, now);
            let after = inner.breaker.as_ref().map(Breaker::state);
            inner.end_ramp(self.concurrent_max, now);
            self.free
                .store(!self.guarded && inner.ramp.is_none(), Ordering::Relaxed);
            let told = self.let_go(&mut inner, now);
            self.arm(&inner, now);
            (told, after.filter(|_| before != after))
        };
        tell(told);
        self.left.notify_one();
        match change {
            Some(BreakerState::Open) => {
                tracing::warn!(participant = %self.participant, "the circuit breaker opens: calls wait");
            }
            Some(BreakerState::Closed) => {
                tracing::info!(participant = %self.participant, "the circuit breaker closes");
            }
            Some(BreakerState::HalfOpen) | None => {}
        }
    }
}

/// Tells those whose turn it is, and those who are turned away. Never under the gate's lock.
fn tell(told: Told) {
    for (tell, turn) in told {
        // Who has left meanwhile gives its pass back by dropping it.
        drop(tell.send(turn));
    }
}

impl Inner {
    /// How many calls may be under way at once.
    fn limit(&self, concurrent_max: Option<usize>) -> Option<usize> {
        let ramp = self.ramp.as_ref().map(Ramp::window);
        concurrent_max.into_iter().chain(ramp).min()
    }

    fn end_ramp(&mut self, concurrent_max: Option<usize>, now: Instant) {
        if self
            .ramp
            .as_ref()
            .is_some_and(|ramp| ramp.is_over(concurrent_max, now))
        {
            self.ramp = None;
        }
    }

    /// Lets one call go, if every guard does. The rate limit is asked last: a token that was taken
    /// is gone.
    fn admit(&mut self, concurrent_max: Option<usize>, now: Instant) -> Result<Option<Era>, Held> {
        if let Some(breaker) = &mut self.breaker {
            breaker.permits(now).map_err(|until| Held {
                by: Guard::CircuitBreaker,
                until,
            })?;
        }
        self.end_ramp(concurrent_max, now);
        if self
            .limit(concurrent_max)
            .is_some_and(|limit| self.in_flight >= limit)
        {
            let by = Guard::Bulkhead;
            let until = self.ramp.as_ref().and_then(Ramp::ends);
            return Err(Held { by, until });
        }
        if let Some(rate) = &self.rate {
            rate.take(now).map_err(|until| Held {
                by: Guard::RateLimit,
                until: Some(until),
            })?;
        }
        self.in_flight += 1;
        Ok(self.breaker.as_mut().map(Breaker::enter))
    }

    fn hold(&mut self, held: &Held) {
        self.held_by = held.by;
        self.next = held.until;
    }

    fn leave(&mut self, era: Option<Era>, ended: Option<Ended>, now: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if ended.is_some() {
            self.pace.count(now);
        }
        let well = ended.map(|Ended { well, took }| {
            let breaker = self.breaker.as_ref();
            well && !breaker.is_some_and(|breaker| breaker.is_slow(took))
        });
        if let (true, Some(ramp)) = (well == Some(true), &mut self.ramp) {
            ramp.grow();
        }
        if let (Some(breaker), Some(era)) = (&mut self.breaker, era)
            && breaker.leave(era, well, now)
        {
            self.ramp = Some(Ramp::begin(Some(now)));
        }
    }
}

impl Pass {
    /// The leave of a participant that holds nothing back.
    #[must_use]
    pub fn free() -> Self {
        Self { inside: None }
    }

    /// Whether nobody cares how long the call takes and how it ends.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.inside.is_none()
    }

    /// The call was made; `well` is whether it succeeded or was refused, none where it says nothing
    /// of the participant. One that took too long is a failure all the same.
    pub fn end(mut self, well: Option<bool>, took: Duration) {
        if !self.is_free() {
            self.end_at(well, took, Instant::now());
        }
    }

    pub(super) fn end_at(&mut self, well: Option<bool>, took: Duration, now: Instant) {
        if let Some((gate, era)) = self.inside.take() {
            gate.leave(era, well.map(|well| Ended { well, took }), now);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some((gate, era)) = self.inside.take() {
            gate.leave(era, None, Instant::now());
        }
    }
}

impl Waiting {
    /// Waits until the call may go.
    ///
    /// # Errors
    /// The guard it waited for, when it has waited too long in memory, or older ones need its place.
    pub async fn turn(&mut self) -> Result<Pass, Guard> {
        let turn = tokio::time::timeout_at(self.until, &mut self.turn).await;
        let turn = match turn {
            Ok(turn) => turn,
            Err(_elapsed) => {
                if let Some(guard) = self.give_up() {
                    return Err(guard);
                }
                // Its turn came in this very moment.
                (&mut self.turn).await
            }
        };
        turn.unwrap_or_else(|_closed| Err(self.gate.held_by()))
    }

    /// Leaves the room, if its turn has not come; for which guard it waited.
    fn give_up(&self) -> Option<Guard> {
        let mut inner = self.gate.inner.lock();
        inner.room.leave(self.place).then_some(inner.held_by)
    }

    /// The gate that it waits at.
    #[must_use]
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // It may have left before, by its turn or by its time.
        self.give_up();
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Gate")
            .field("participant", &self.participant)
            .finish_non_exhaustive()
    }
}
