//! What is, read at the moment of a scrape.

use prometheus::Registry;

use super::families::{Gauges, MetricsError};
use super::sagas::seconds;
use crate::dispatch::GuardReading;

/// What the engine shows at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    /// The sagas of this replica's shards, in memory or not.
    pub sagas: SagasStanding,
    /// How long the saga that could go on has been waiting longest, in milliseconds.
    pub oldest_runnable_ms: u64,
    /// Entries on their way to the database.
    pub journal_pending: usize,
    /// Shards that this replica owns.
    pub shards_owned: usize,
    /// The guards of each participant.
    pub guards: Vec<GuardReading>,
    /// Messages that nobody took, by queue.
    pub dead_letters: Vec<DeadLetters>,
}

/// The sagas of this replica that are not final.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SagasStanding {
    /// Going forward.
    pub running: u64,
    /// Being undone.
    pub compensating: u64,
    /// Waiting for a person.
    pub failed: u64,
    /// Of all of them, those whose time was up after their pivot.
    pub overdue: u64,
}

impl SagasStanding {
    /// How many are running or compensating: what admission counts.
    #[must_use]
    pub fn unfinished(self) -> u64 {
        self.running + self.compensating
    }
}

/// Messages of one queue that nobody took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetters {
    /// The queue that they were for.
    pub queue: String,
    /// Neither replayed nor discarded.
    pub open: u64,
    /// Sent again.
    pub replayed: u64,
    /// Closed by a person.
    pub discarded: u64,
}

/// The gauges.
#[derive(Debug)]
pub(super) struct ReadingGauges {
    active: Gauges<1>,
    overdue: Gauges<0>,
    oldest_runnable: Gauges<0>,
    journal_pending: Gauges<0>,
    shards_owned: Gauges<0>,
    breaker: Gauges<1>,
    waiting: Gauges<2>,
    in_flight: Gauges<1>,
    dead_letters: Gauges<2>,
}

impl ReadingGauges {
    pub(super) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        let plain = |name, help| Gauges::new(registry, (name, help), []);
        let gauges = Self {
            active: Gauges::new(
                registry,
                (
                    "amends_sagas_active",
                    "Sagas of this replica that are not final.",
                ),
                ["status"],
            )?,
            overdue: plain(
                "amends_sagas_overdue",
                "Sagas of this replica whose time was up after their pivot, and that are not final.",
            )?,
            oldest_runnable: plain(
                "amends_oldest_runnable_seconds",
                "How long the saga that could go on has been waiting longest for this replica.",
            )?,
            journal_pending: plain(
                "amends_journal_pending",
                "Entries of the journal that are not durable yet.",
            )?,
            shards_owned: plain("amends_shards_owned", "Shards that this replica owns.")?,
            breaker: Gauges::new(
                registry,
                (
                    "amends_circuit_breaker_state",
                    "Where the participant's circuit breaker stands: 0 closed, 1 half-open, 2 open.",
                ),
                ["participant"],
            )?,
            waiting: Gauges::new(
                registry,
                (
                    "amends_guard_waiting",
                    "Calls that a guard holds back, in memory and in the journal.",
                ),
                ["participant", "guard"],
            )?,
            in_flight: Gauges::new(
                registry,
                (
                    "amends_bulkhead_in_flight",
                    "Calls to the participant that are under way.",
                ),
                ["participant"],
            )?,
            dead_letters: Gauges::new(
                registry,
                (
                    "amends_dead_letters",
                    "Messages that nobody took, by the queue they were for.",
                ),
                ["queue", "status"],
            )?,
        };
        gauges.show(&Readings::default());
        Ok(gauges)
    }

    /// Lets the series of a participant exist.
    pub(super) fn know(&self, participant: &str) {
        self.show_guards(&GuardReading::idle(participant));
    }

    /// Shows what was read.
    pub(super) fn show(&self, readings: &Readings) {
        let sagas = readings.sagas;
        self.active.at(["running"]).set(number(sagas.running));
        self.active
            .at(["compensating"])
            .set(number(sagas.compensating));
        self.active.at(["failed"]).set(number(sagas.failed));
        self.overdue.at([]).set(number(sagas.overdue));
        self.oldest_runnable
            .at([])
            .set(seconds(readings.oldest_runnable_ms));
        self.journal_pending
            .at([])
            .set(number(readings.journal_pending as u64));
        self.shards_owned
            .at([])
            .set(number(readings.shards_owned as u64));
        for guards in &readings.guards {
            self.show_guards(guards);
        }
        self.dead_letters.clear();
        for letters in &readings.dead_letters {
            for (status, count) in [
                ("open", letters.open),
                ("replayed", letters.replayed),
                ("discarded", letters.discarded),
            ] {
                self.dead_letters
                    .at([&letters.queue, status])
                    .set(number(count));
            }
        }
    }

    fn show_guards(&self, guards: &GuardReading) {
        let participant = guards.participant.as_str();
        self.breaker
            .at([participant])
            .set(f64::from(guards.breaker.number()));
        for (guard, waiting) in guards.waiting {
            self.waiting
                .at([participant, guard.as_str()])
                .set(number(waiting as u64));
        }
        self.in_flight
            .at([participant])
            .set(number(guards.in_flight as u64));
    }
}

/// Counts are far below where a float leaves out whole numbers.
#[expect(
    clippy::cast_precision_loss,
    reason = "nothing here has 2^53 of anything"
)]
fn number(count: u64) -> f64 {
    count as f64
}
