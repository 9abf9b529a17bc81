//! What is counted of the sagas of one definition.

use std::sync::Arc;

use prometheus::{Histogram, IntCounter, Registry};

use super::buckets;
use super::families::{Counters, Histograms, MetricsError};
use super::participants::ParticipantMetrics;
use crate::definition::StepIndex;

/// How a saga finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Every step was done.
    Completed,
    /// Everything that was due to be undone is.
    Compensated,
}

impl Finish {
    const ALL: [Self; 2] = [Self::Completed, Self::Compensated];

    fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Compensated => "compensated",
        }
    }
}

/// What the compensation of a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undoing {
    /// The step is undone.
    Compensated,
    /// It cannot be undone without a person.
    Failed,
}

impl Undoing {
    const ALL: [Self; 2] = [Self::Compensated, Self::Failed];

    fn as_str(self) -> &'static str {
        match self {
            Self::Compensated => "compensated",
            Self::Failed => "failed",
        }
    }
}

/// The families of definitions.
#[derive(Debug)]
pub(super) struct SagaFamilies {
    started: Counters<1>,
    finished: Counters<2>,
    failed: Counters<1>,
    durations: Histograms<2>,
    compensations: Counters<2>,
}

impl SagaFamilies {
    pub(super) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        Ok(Self {
            started: Counters::new(
                registry,
                (
                    "amends_sagas_started_total",
                    "Sagas that were accepted: their start is durable.",
                ),
                ["definition"],
            )?,
            finished: Counters::new(
                registry,
                ("amends_sagas_finished_total", "Sagas that are final."),
                ["definition", "status"],
            )?,
            failed: Counters::new(
                registry,
                (
                    "amends_sagas_failed_total",
                    "How often a saga came to where it needs a person; it may go on from there.",
                ),
                ["definition"],
            )?,
            durations: Histograms::new(
                registry,
                (
                    "amends_saga_duration_seconds",
                    "From a saga's start to its end.",
                ),
                ["definition", "status"],
                &buckets::SAGA_SECONDS,
            )?,
            compensations: Counters::new(
                registry,
                (
                    "amends_compensations_total",
                    "Steps that were undone, or could not be.",
                ),
                ["definition", "outcome"],
            )?,
        })
    }

    /// What is counted of a definition; `steps` are its participants, in the order of its steps.
    pub(super) fn of(
        &self,
        definition: &str,
        steps: Vec<Option<Arc<ParticipantMetrics>>>,
        on: bool,
    ) -> SagaMetrics {
        SagaMetrics {
            on,
            started: self.started.at([definition]),
            failed: self.failed.at([definition]),
            finished: Finish::ALL.map(|how| self.finished.at([definition, how.as_str()])),
            durations: Finish::ALL.map(|how| self.durations.at([definition, how.as_str()])),
            compensations: Undoing::ALL
                .map(|outcome| self.compensations.at([definition, outcome.as_str()])),
            steps,
        }
    }
}

/// What is counted of the sagas of one version of a definition, every series at hand.
#[derive(Debug)]
pub struct SagaMetrics {
    on: bool,
    started: IntCounter,
    failed: IntCounter,
    finished: [IntCounter; 2],
    durations: [Histogram; 2],
    compensations: [IntCounter; 2],
    steps: Vec<Option<Arc<ParticipantMetrics>>>,
}

impl SagaMetrics {
    /// A saga was accepted.
    pub fn started(&self) {
        if self.on {
            self.started.inc();
        }
    }

    /// A saga came to where it needs a person.
    pub fn failed(&self) {
        if self.on {
            self.failed.inc();
        }
    }

    /// A saga is final, so long after its start.
    pub fn finished(&self, how: Finish, lasted_ms: u64) {
        if !self.on {
            return;
        }
        let ([completed, compensated], [forward, back]) = (&self.finished, &self.durations);
        let (finished, duration) = match how {
            Finish::Completed => (completed, forward),
            Finish::Compensated => (compensated, back),
        };
        finished.inc();
        duration.observe(seconds(lasted_ms));
    }

    /// A step was undone, or cannot be.
    pub fn compensation(&self, outcome: Undoing) {
        if !self.on {
            return;
        }
        let [compensated, failed] = &self.compensations;
        match outcome {
            Undoing::Compensated => compensated.inc(),
            Undoing::Failed => failed.inc(),
        }
    }

    /// What is counted of the participant of a step.
    #[must_use]
    pub fn participant(&self, step: StepIndex) -> Option<&ParticipantMetrics> {
        self.steps.get(usize::from(step.0))?.as_deref()
    }
}

/// Milliseconds as seconds.
pub(super) fn seconds(ms: u64) -> f64 {
    std::time::Duration::from_millis(ms).as_secs_f64()
}
