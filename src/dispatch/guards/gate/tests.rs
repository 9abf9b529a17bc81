//! The gate on a clock of the tests' own, and what must hold whatever comes in whatever order.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::config::{CircuitBreaker, RateLimit};

const FAST: Duration = Duration::from_millis(1);
const SLOW: Duration = Duration::from_secs(3);

fn saga(age: u32) -> SagaId {
    SagaId(Uuid::from_u128(u128::from(age)))
}

fn breaker() -> CircuitBreaker {
    CircuitBreaker {
        failure_rate: None,
        window_ms: 10_000,
        calls_min: 4,
        consecutive_failures: Some(3),
        slow_call_ms: Some(2_000),
        open_for_ms: 1_000,
        open_for_max_ms: 3_000,
        probes: 2,
    }
}

fn bulkhead(concurrent_max: u32, waiting_max: u32) -> Bulkhead {
    Bulkhead {
        concurrent_max,
        waiting_max,
        wait_max_ms: 10_000,
    }
}

/// A gate, the time, and who has passed it.
struct Bed {
    gate: Arc<Gate>,
    now: Instant,
}

impl Bed {
    fn new(guards: Guards) -> Self {
        Self {
            gate: Gate::new("payment", &guards),
            now: Instant::now(),
        }
    }

    fn with_breaker(settings: CircuitBreaker) -> Self {
        Self::new(Guards {
            circuit_breaker: Some(settings),
            ..Guards::default()
        })
    }

    fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        self.gate.look(self.now);
    }

    fn enter(&self, age: u32) -> Entrance {
        self.gate.enter_at(saga(age), self.now)
    }

    fn open(&self, age: u32) -> Pass {
        match self.enter(age) {
            Entrance::Open(pass) => pass,
            other @ (Entrance::Wait(_) | Entrance::Away(_)) => panic!("{other:?}"),
        }
    }

    fn wait(&self, age: u32) -> Waiting {
        match self.enter(age) {
            Entrance::Wait(waiting) => waiting,
            other @ (Entrance::Open(_) | Entrance::Away(_)) => panic!("{other:?}"),
        }
    }

    fn end(&self, mut pass: Pass, well: Option<bool>, took: Duration) {
        pass.end_at(well, took, self.now);
    }

    fn call(&self, well: bool) {
        let pass = self.open(1);
        self.end(pass, Some(well), FAST);
    }

    fn state(&self) -> BreakerState {
        self.gate.reading().breaker
    }

    /// Opens the breaker by failures in a row.
    fn break_it(&self) {
        for _ in 0..3 {
            self.call(false);
        }
        assert_eq!(self.state(), BreakerState::Open);
    }
}

fn turn(waiting: &mut Waiting) -> Option<Turn> {
    waiting.turn.try_recv().ok()
}

#[test]
fn who_has_no_guards_passes_without_a_lock() {
    let bed = Bed::new(Guards::default());
    let _locked = bed.gate.inner.lock();
    let Entrance::Open(pass) = bed.gate.enter(saga(1)) else {
        panic!("it must go")
    };
    assert!(pass.inside.is_none());
}

#[test]
fn failures_in_a_row_open_it_and_refusals_are_healthy() {
    let bed = Bed::with_breaker(breaker());
    bed.call(false);
    bed.call(false);
    // A refusal and a success are the same to a breaker.
    bed.call(true);
    bed.call(false);
    bed.call(false);
    // What says nothing of the participant counts neither way.
    let pass = bed.open(1);
    bed.end(pass, None, FAST);
    drop(bed.open(1));
    assert_eq!(bed.state(), BreakerState::Closed);
    bed.call(false);
    assert_eq!(bed.state(), BreakerState::Open);
}

#[test]
fn slow_calls_count_as_failures() {
    let bed = Bed::with_breaker(breaker());
    for _ in 0..3 {
        let pass = bed.open(1);
        bed.end(pass, Some(true), SLOW);
    }
    assert_eq!(bed.state(), BreakerState::Open);
}

#[test]
fn a_rate_over_the_window_opens_it_from_the_minimum_of_calls_on() {
    let settings = CircuitBreaker {
        failure_rate: Some(0.5),
        consecutive_failures: None,
        ..breaker()
    };
    let mut bed = Bed::with_breaker(settings);
    for well in [false, false, false] {
        bed.call(well);
    }
    assert_eq!(bed.state(), BreakerState::Closed);
    // They are forgotten with the window.
    bed.pass(10_001);
    for well in [true, true, true, false, false] {
        bed.call(well);
    }
    assert_eq!(bed.state(), BreakerState::Closed);
    bed.call(false);
    assert_eq!(bed.state(), BreakerState::Open);
}

#[test]
fn it_stays_open_twice_as_long_each_time_and_anew_after_it_has_closed() {
    let mut bed = Bed::with_breaker(breaker());
    bed.break_it();
    let mut waiting = bed.wait(7);
    for open_ms in [1_000, 2_000, 3_000, 3_000] {
        bed.pass(open_ms - 1);
        assert_eq!(bed.state(), BreakerState::Open);
        assert!(turn(&mut waiting).is_none());
        // failsafe's own clock is the system's, and it has to have moved.
        std::thread::sleep(Duration::from_millis(1));
        bed.pass(1);
        assert_eq!(bed.state(), BreakerState::HalfOpen, "after {open_ms}");
        let probe = turn(&mut waiting).unwrap().unwrap();
        bed.end(probe, Some(false), FAST);
        assert_eq!(bed.state(), BreakerState::Open);
        waiting = bed.wait(7);
    }
    bed.pass(3_000);
    let probe = turn(&mut waiting).unwrap().unwrap();
    bed.end(probe, Some(true), FAST);
    assert_eq!(bed.state(), BreakerState::Closed);
    bed.break_it();
    let mut waiting = bed.wait(7);
    std::thread::sleep(Duration::from_millis(1));
    bed.pass(1_000);
    assert!(turn(&mut waiting).unwrap().is_ok());
}

#[test]
fn no_more_probes_than_configured_and_only_they_decide() {
    let mut bed = Bed::with_breaker(breaker());
    // Calls that began before it opened say nothing of how the participant is after.
    let before: Vec<Pass> = (0..3).map(|_| bed.open(1)).collect();
    bed.break_it();
    let mut waiting: Vec<Waiting> = (1..=5).map(|age| bed.wait(age)).collect();
    assert_eq!(bed.gate.held_by(), Guard::CircuitBreaker);
    std::thread::sleep(Duration::from_millis(1));
    bed.pass(1_000);
    let mut probes: Vec<Pass> = waiting
        .iter_mut()
        .filter_map(|waiting| turn(waiting)?.ok())
        .collect();
    assert_eq!(probes.len(), 2);
    for pass in before {
        bed.end(pass, Some(true), FAST);
    }
    assert_eq!(bed.state(), BreakerState::HalfOpen);
    // One that was given up makes room for another.
    drop(probes.pop());
    let third = waiting[2].turn.try_recv().unwrap();
    assert!(third.is_ok());
    assert!(turn(&mut waiting[3]).is_none());
    bed.end(probes.pop().unwrap(), Some(true), FAST);
    assert_eq!(bed.state(), BreakerState::Closed);
    // The other probe's failure comes too late to open it again.
    bed.end(third.unwrap(), Some(false), FAST);
    assert_eq!(bed.state(), BreakerState::Closed);
    assert!(turn(&mut waiting[3]).unwrap().is_ok());
}

#[test]
fn after_it_has_closed_the_participant_is_approached_slowly() {
    let mut bed = Bed::with_breaker(breaker());
    bed.break_it();
    let mut waiting = bed.wait(1);
    std::thread::sleep(Duration::from_millis(1));
    bed.pass(1_000);
    let probe = turn(&mut waiting).unwrap().unwrap();
    bed.end(probe, Some(true), FAST);
    let mut under_way: Vec<Pass> = (0..4).map(|_| bed.open(1)).collect();
    let mut waiting: Vec<Waiting> = (0..500).map(|age| bed.wait(age)).collect();
    assert_eq!(bed.gate.held_by(), Guard::Bulkhead);
    // Every success makes room for one more than it was itself: twice as many each time around.
    for expected in [8, 16, 32, 64] {
        for pass in std::mem::take(&mut under_way) {
            bed.end(pass, Some(true), FAST);
        }
        under_way.extend(waiting.iter_mut().filter_map(|waiting| turn(waiting)?.ok()));
        assert_eq!(under_way.len(), expected);
    }
    // Failures do not.
    for pass in std::mem::take(&mut under_way) {
        bed.end(pass, None, FAST);
    }
    under_way.extend(waiting.iter_mut().filter_map(|waiting| turn(waiting)?.ok()));
    assert_eq!(under_way.len(), 64);
    // It is over in any case after a while.
    bed.pass(30_000);
    under_way.extend(waiting.iter_mut().filter_map(|waiting| turn(waiting)?.ok()));
    assert_eq!(
        bed.gate.reading().waiting.map(|(_, count)| count),
        [0, 0, 0]
    );
}

#[test]
fn a_slow_approach_ends_and_leaves_no_lock_behind() {
    let bed = Bed::new(Guards::default());
    bed.gate.approach_slowly(None);
    let waiting: Vec<Entrance> = (0..5).map(|age| bed.enter(age)).collect();
    let waits = |entrance: &&Entrance| matches!(entrance, Entrance::Wait(_));
    assert_eq!(waiting.iter().filter(waits).count(), 1);
    drop(waiting);
    for _ in 0..256 {
        bed.call(true);
    }
    assert!(bed.gate.free.load(Ordering::Relaxed));
}

#[test]
fn when_the_room_is_full_the_youngest_is_turned_away() {
    let bed = Bed::new(Guards {
        bulkhead: Some(bulkhead(1, 2)),
        ..Guards::default()
    });
    let under_way = bed.open(50);
    let mut middle = bed.wait(20);
    let mut young = bed.wait(30);
    assert!(matches!(bed.enter(40), Entrance::Away(Guard::Bulkhead)));
    let mut old = bed.wait(10);
    assert!(matches!(turn(&mut young), Some(Err(Guard::Bulkhead))));
    drop(under_way);
    let oldest = turn(&mut old).unwrap().unwrap();
    assert!(turn(&mut middle).is_none());
    // Who leaves the room makes way, and a pass that nobody takes goes to the next.
    let next = bed.wait(60);
    drop(oldest);
    drop(middle);
    drop(next);
    assert_eq!(bed.gate.reading().in_flight, 0);
}

#[test]
fn the_journal_gets_room_ahead_of_those_that_are_younger() {
    let mut bed = Bed::new(Guards {
        circuit_breaker: Some(breaker()),
        bulkhead: Some(bulkhead(3, 10)),
        ..Guards::default()
    });
    assert_eq!(bed.gate.recallable_at(saga(5), bed.now), 6);
    let _under_way: Vec<Pass> = (0..3).map(|_| bed.open(1)).collect();
    let _waiting: Vec<Waiting> = (1..=9).map(|age| bed.wait(age)).collect();
    // Four of those that wait are older.
    assert_eq!(bed.gate.recallable_at(saga(5), bed.now), 2);
    assert_eq!(bed.gate.recallable_at(saga(100), bed.now), 0);

    let other = Bed::with_breaker(breaker());
    other.break_it();
    bed.gate = Arc::clone(&other.gate);
    bed.now = other.now;
    assert_eq!(bed.gate.recallable_at(saga(5), bed.now), 0);
    // As many as it probes with.
    bed.now += Duration::from_secs(1);
    assert_eq!(bed.gate.recallable_at(saga(5), bed.now), 2);
}

#[test]
fn the_rate_bounds_what_is_expected_and_recalled() {
    let bed = Bed::new(Guards {
        rate_limit: Some(RateLimit {
            per_second: 4,
            burst: 1,
        }),
        ..Guards::default()
    });
    assert_eq!(bed.gate.recallable_at(saga(1), bed.now), 10);
    assert_eq!(bed.gate.expected_in(0), Duration::from_secs(1));
    assert_eq!(bed.gate.expected_in(40), Duration::from_secs(10));
    assert_eq!(bed.gate.expected_in(1_000_000), Duration::from_secs(300));
}

#[tokio::test]
async fn who_waits_too_long_is_turned_away() {
    let gate = Gate::new(
        "payment",
        &Guards {
            bulkhead: Some(Bulkhead {
                concurrent_max: 1,
                waiting_max: 5,
                wait_max_ms: 20,
            }),
            ..Guards::default()
        },
    );
    let Entrance::Open(under_way) = gate.enter(saga(1)) else {
        panic!("it must go")
    };
    let Entrance::Wait(mut waiting) = gate.enter(saga(2)) else {
        panic!("it must wait")
    };
    assert!(matches!(waiting.turn().await, Err(Guard::Bulkhead)));
    drop(under_way);
    assert!(matches!(gate.enter(saga(2)), Entrance::Open(_)));
}

/// Time alone lets calls go, with nobody entering or leaving.
#[tokio::test]
async fn the_keeper_of_the_time_lets_calls_go() {
    let limit = RateLimit {
        per_second: 100,
        burst: 1,
    };
    let gate = Gate::new(
        "payment",
        &Guards {
            rate_limit: Some(limit),
            ..Guards::default()
        },
    );
    let stop = CancellationToken::new();
    let begun = Instant::now();
    let calls = async {
        for age in 0..6 {
            match gate.enter(saga(age)) {
                Entrance::Open(pass) => drop(pass),
                Entrance::Wait(mut waiting) => drop(waiting.turn().await.unwrap()),
                Entrance::Away(guard) => panic!("{guard:?}"),
            }
        }
        stop.cancel();
    };
    tokio::join!(calls, Arc::clone(&gate).keep_time(stop.clone()));
    assert!(begun.elapsed() >= Duration::from_millis(49));
}

/// What an arbitrary history is checked against.
struct Model {
    bed: Bed,
    begun: Instant,
    waiting: Vec<(u32, Waiting)>,
    under_way: Vec<Pass>,
    passed: u32,
}

impl Model {
    fn new() -> Self {
        let bed = Bed::new(Guards {
            circuit_breaker: Some(breaker()),
            bulkhead: Some(bulkhead(3, 6)),
            rate_limit: Some(RateLimit {
                per_second: 10,
                burst: 4,
            }),
        });
        Self {
            begun: bed.now,
            bed,
            waiting: Vec::new(),
            under_way: Vec::new(),
            passed: 0,
        }
    }

    fn step(&mut self, (what, which): (u8, u16)) {
        let place = |len: usize| usize::from(which) % len;
        match what % 8 {
            0..=2 => self.enter(u32::from(which) % 50),
            3 if !self.under_way.is_empty() => {
                let pass = self.under_way.swap_remove(place(self.under_way.len()));
                self.bed.end(pass, Some(true), FAST);
            }
            4 if !self.under_way.is_empty() => {
                let pass = self.under_way.swap_remove(place(self.under_way.len()));
                self.bed.end(pass, Some(false), FAST);
            }
            5 if !self.under_way.is_empty() => {
                drop(self.under_way.swap_remove(place(self.under_way.len())));
            }
            6 if !self.waiting.is_empty() => {
                drop(self.waiting.swap_remove(place(self.waiting.len())));
            }
            _ => self.bed.pass(u64::from(which) % 700),
        }
        self.take_turns();
        self.check();
    }

    fn enter(&mut self, age: u32) {
        match self.bed.enter(age) {
            Entrance::Open(pass) => {
                assert!(self.waiting.is_empty(), "it went before those that wait");
                self.passed += 1;
                self.under_way.push(pass);
            }
            Entrance::Wait(waiting) => self.waiting.push((age, waiting)),
            Entrance::Away(_) => {
                let older = self.waiting.iter().all(|(other, _)| *other <= age);
                assert!(self.waiting.len() == 6 && older, "it had to be taken in");
            }
        }
    }

    fn take_turns(&mut self) {
        let mut went = Vec::new();
        let mut still = Vec::new();
        for (age, mut waiting) in std::mem::take(&mut self.waiting) {
            match turn(&mut waiting) {
                Some(Ok(pass)) => {
                    went.push(age);
                    self.under_way.push(pass);
                }
                Some(Err(_guard)) => {}
                None => still.push((age, waiting)),
            }
        }
        self.passed += u32::try_from(went.len()).unwrap();
        self.waiting = still;
        let oldest = self.waiting.iter().map(|(age, _)| *age).min();
        for age in went {
            assert!(
                oldest.is_none_or(|oldest| age <= oldest),
                "{age} before {oldest:?}"
            );
        }
    }

    fn check(&self) {
        let inner = self.bed.gate.inner.lock();
        assert_eq!(inner.in_flight, self.under_way.len());
        assert!(inner.in_flight <= 3, "above max_concurrent");
        assert_eq!(inner.room.len(), self.waiting.len());
        assert!(inner.room.len() <= 6, "above max_waiting");
        let seconds = self.bed.now.duration_since(self.begun).as_secs_f64();
        assert!(
            f64::from(self.passed) <= 4.0 + 10.0 * seconds + 0.001,
            "above the rate"
        );
        // Somebody or something will wake who waits.
        let woken = inner.next.is_some() || inner.in_flight > 0;
        assert!(inner.room.is_empty() || woken, "nothing lets them go");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Never above `max_concurrent`, `max_waiting` or the rate; the oldest first; nobody forgotten;
    /// and whatever is dropped gives its place back.
    #[test]
    fn the_bounds_hold_in_every_history(script in prop::collection::vec(any::<(u8, u16)>(), 0..200)) {
        let mut model = Model::new();
        for step in script {
            model.step(step);
        }
        model.waiting.clear();
        model.under_way.clear();
        prop_assert_eq!(model.bed.gate.reading().in_flight, 0);
        prop_assert!(model.bed.gate.inner.lock().room.is_empty());
    }
}
