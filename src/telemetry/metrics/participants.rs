//! What is counted of one participant.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, Registry};

use super::buckets;
use super::families::{Counters, Histograms, MetricsError};
use crate::definition::request::Phase;
use crate::saga::Outcome;

/// Both phases, in the order of their series.
const PHASES: [Phase; 2] = [Phase::Action, Phase::Compensation];

/// What an attempt came to, as it is counted. That nobody knows what became of it (an answer that
/// was too long) is `transient` here: it may or may not have been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The participant did it.
    Succeeded,
    /// The participant did not do it and will not.
    Refused,
    /// It may or may not have been done.
    Transient,
}

impl AttemptOutcome {
    const ALL: [Self; 3] = [Self::Succeeded, Self::Refused, Self::Transient];

    /// As it is counted.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Succeeded { .. } => Self::Succeeded,
            Outcome::Refused(_) => Self::Refused,
            Outcome::Transient { .. } | Outcome::Unknown(_) => Self::Transient,
        }
    }

    /// The label's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Refused => "refused",
            Self::Transient => "transient",
        }
    }
}

/// The families of participants.
#[derive(Debug)]
pub(super) struct ParticipantFamilies {
    attempts: Counters<3>,
    durations: Histograms<2>,
    late: Counters<1>,
}

impl ParticipantFamilies {
    pub(super) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        Ok(Self {
            attempts: Counters::new(
                registry,
                (
                    "amends_step_attempts_total",
                    "Attempts at actions and compensations, by what they came to.",
                ),
                ["participant", "phase", "outcome"],
            )?,
            durations: Histograms::new(
                registry,
                (
                    "amends_step_duration_seconds",
                    "How long attempts took, from the request to its outcome.",
                ),
                ["participant", "phase"],
                &buckets::EXCHANGE_SECONDS,
            )?,
            late: Counters::new(
                registry,
                (
                    "amends_late_replies_total",
                    "Replies that came when their step had ended already.",
                ),
                ["participant"],
            )?,
        })
    }

    pub(super) fn of(&self, participant: &str, on: bool) -> ParticipantMetrics {
        let attempts = PHASES.map(|phase| {
            AttemptOutcome::ALL.map(|outcome| {
                self.attempts
                    .at([participant, phase.as_str(), outcome.as_str()])
            })
        });
        ParticipantMetrics {
            on,
            attempts,
            durations: PHASES.map(|phase| self.durations.at([participant, phase.as_str()])),
            late: self.late.at([participant]),
        }
    }
}

/// What is counted of one participant, every series at hand.
#[derive(Debug)]
pub struct ParticipantMetrics {
    on: bool,
    attempts: [[IntCounter; 3]; 2],
    durations: [Histogram; 2],
    late: IntCounter,
}

impl ParticipantMetrics {
    /// An attempt came to an end, so long after its request.
    pub fn attempt_ended(&self, phase: Phase, outcome: AttemptOutcome, took: Duration) {
        if !self.on {
            return;
        }
        let ([actions, compensations], [action, compensation]) = (&self.attempts, &self.durations);
        let ([succeeded, refused, transient], duration) = match phase {
            Phase::Action => (actions, action),
            Phase::Compensation => (compensations, compensation),
        };
        match outcome {
            AttemptOutcome::Succeeded => succeeded.inc(),
            AttemptOutcome::Refused => refused.inc(),
            AttemptOutcome::Transient => transient.inc(),
        }
        duration.observe(took.as_secs_f64());
    }

    /// A reply came for a step that had ended.
    pub fn late_reply(&self) {
        if self.on {
            self.late.inc();
        }
    }
}
