//! What a saga's expressions may see of it.

use serde_json::Value;

use super::outcome::ActionOutcome;
use super::state::{Saga, StepState};
use crate::definition::expression::{Facts, FailureFacts};
use crate::definition::request::Phase;
use crate::definition::{Definition, StepIndex};

/// The facts of a saga, as the expressions of one of its calls see them.
pub(super) struct SagaFacts<'a> {
    definition: &'a Definition,
    saga: &'a Saga,
    phase: Phase,
}

impl<'a> SagaFacts<'a> {
    /// The facts for an action (or a condition, a delay, the output).
    pub(super) fn forward(definition: &'a Definition, saga: &'a Saga) -> Self {
        Self {
            definition,
            saga,
            phase: Phase::Action,
        }
    }

    /// The facts for one of the two phases.
    pub(super) fn of(definition: &'a Definition, saga: &'a Saga, phase: Phase) -> Self {
        Self {
            definition,
            saga,
            phase,
        }
    }
}

impl Facts for SagaFacts<'_> {
    fn saga_id(&self) -> String {
        self.saga.id.to_string()
    }

    fn key(&self) -> Option<&str> {
        self.saga.started.key.as_deref()
    }

    fn definition(&self) -> &str {
        &self.saga.started.definition
    }

    fn version(&self) -> u32 {
        self.saga.started.version
    }

    fn started_at(&self) -> String {
        self.saga.created_at.to_rfc3339()
    }

    fn input(&self) -> &Value {
        &self.saga.started.input
    }

    fn step_output(&self, step: StepIndex) -> Option<&Value> {
        let record = self.saga.record(step)?;
        match record.state.action_outcome()? {
            ActionOutcome::Succeeded => record.output.as_deref(),
            ActionOutcome::Refused | ActionOutcome::Unknown => None,
        }
    }

    fn step_status(&self, step: StepIndex) -> Option<&'static str> {
        let state = self.saga.step_state(step);
        if state == StepState::Skipped {
            return Some("skipped");
        }
        state.action_outcome().map(ActionOutcome::as_str)
    }

    fn failure(&self) -> Option<FailureFacts<'_>> {
        if self.phase == Phase::Action {
            return None;
        }
        let cause = self.saga.cause.as_ref()?;
        let step = cause.step.and_then(|step| self.definition.step(step));
        Some(FailureFacts {
            step: step.map(|step| step.id.as_str()),
            code: &cause.code,
            message: &cause.message,
        })
    }
}
