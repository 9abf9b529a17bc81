//! What a transition of a saga tells the audit: derived from its events alone, so that the audit
//! says what the journal says, and written in the same transaction.
//!
//! Whoever gave the input is the actor of what he asked for; what follows from it is the
//! coordinator's own doing (`system`).

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use crate::definition::request::Phase;
use crate::definition::{Definition, StepIndex};
use crate::saga::{
    ActionOutcome, Event, Failure, Progress, Resolution, Saga, SagaId, StepState, Timestamp,
};
use crate::store::{AuditAction, AuditPolicy, AuditRecord, SYSTEM};

/// A transition, with what is needed to tell of it.
pub(super) struct Told<'a> {
    /// What is to be told.
    pub(super) policy: AuditPolicy,
    /// What the saga is.
    pub(super) definition: &'a Definition,
    /// The saga as it was; at its start as it is.
    pub(super) before: &'a Saga,
    /// The saga as it is.
    pub(super) after: &'a Saga,
    /// What happened between.
    pub(super) events: &'a [Event],
    /// Where the input came from.
    pub(super) remote: Option<IpAddr>,
}

impl Told<'_> {
    /// The records, in the order of the events.
    pub(super) fn records(&self) -> Vec<AuditRecord> {
        self.events
            .iter()
            .filter_map(|event| self.record(event))
            .collect()
    }

    /// What one event tells. The arms are in the order of the words in operations.md.
    #[expect(
        clippy::too_many_lines,
        reason = "one arm an event, every variant named"
    )]
    fn record(&self, event: &Event) -> Option<AuditRecord> {
        use AuditAction as Action;
        let input = self.policy.include_input;
        let output = self.policy.include_output;
        match event {
            Event::SagaStarted(started) => {
                let detail = Detail::new().with(input, "input", || (*started.input).clone());
                self.by(Action::SagaStarted, &started.actor, None, detail)
            }
            Event::SagaCompleted {
                output: result,
                output_error,
            } => {
                let detail = Detail::new()
                    .with(output, "output", || (**result).clone())
                    .with_text("output_error", output_error.as_deref());
                self.system(Action::SagaCompleted, None, detail)
            }
            Event::SagaCompensating { failure } => {
                self.system(Action::SagaCompensating, failure.step, of(failure))
            }
            Event::StepCompensated { step } => self.compensated(*step),
            Event::SagaCompensated => {
                let code = self.after.failure().map(|failure| failure.code.as_str());
                let detail = Detail::new().with_text("code", code);
                self.system(Action::SagaCompensated, None, detail)
            }
            Event::SagaFailed { failure, .. } => {
                self.system(Action::SagaFailed, failure.step, of(failure))
            }
            Event::SagaCancelled { actor, reason } => {
                let detail = Detail::new().with_text("reason", reason.as_deref());
                self.by(Action::SagaCancelled, actor, None, detail)
            }
            Event::SagaOverdue => self.system(Action::SagaOverdue, None, Detail::new()),
            // Its time was up while nobody knew that it was past its pivot.
            Event::SagaWentForward if self.after.overdue && !self.before.overdue => {
                self.system(Action::SagaOverdue, None, Detail::new())
            }
            Event::SagaSuspended { actor } => {
                self.by(Action::SagaSuspended, actor, None, Detail::new())
            }
            Event::SagaResumed { actor } => {
                self.by(Action::SagaResumed, actor, None, Detail::new())
            }
            Event::SagaRetried { actor, steps } => {
                let steps = || {
                    steps
                        .iter()
                        .filter_map(|step| self.step_id(*step))
                        .collect()
                };
                let detail = Detail::new().with(true, "steps", steps);
                self.by(Action::SagaRetried, actor, None, detail)
            }
            Event::StepResolved {
                step,
                resolution,
                actor,
                note,
                output: given,
            } => {
                let shows = output && *resolution == Resolution::Succeeded;
                let detail = Detail::new()
                    .with_text("outcome", Some(word_of(*resolution)))
                    .with_text("note", Some(note))
                    .with(shows, "output", || (**given).clone());
                self.by(Action::StepResolved, actor, Some(*step), detail)
            }
            Event::SignalReceived {
                name,
                payload,
                actor,
                ..
            } => {
                let detail =
                    Detail::new()
                        .with_text("signal", Some(name))
                        .with(input, "payload", || (**payload).clone());
                self.by(Action::SignalReceived, actor, None, detail)
            }
            Event::LateReply {
                step,
                phase: Phase::Action,
                attempt,
                outcome,
                reply: _,
            } if outcome == "succeeded" && self.is_undone_as_unknown(*step) => {
                let detail = Detail::new().with(true, "attempt", || json!(attempt));
                self.system(Action::LateSuccess, Some(*step), detail)
            }
            Event::SagaWentForward
            | Event::SagaUnblocked
            | Event::AttemptStarted { .. }
            | Event::AttemptFailed { .. }
            | Event::AttemptHeld { .. }
            | Event::AttemptAccepted { .. }
            | Event::AttemptDeadLettered { .. }
            | Event::ReplyTaken { .. }
            | Event::WaitStarted { .. }
            | Event::DelayStarted { .. }
            | Event::SignalTaken { .. }
            | Event::StepSucceeded { .. }
            | Event::StepRefused { .. }
            | Event::StepUnknown { .. }
            | Event::StepSkipped { .. }
            | Event::CompensationFailed { .. }
            | Event::LateReply { .. } => None,
        }
    }

    /// A step that a participant has undone, unlike one of which there was nothing to undo.
    fn compensated(&self, step: StepIndex) -> Option<AuditRecord> {
        let action = match self.before.step_state(step) {
            // A reply may come while the next try is due, or a guard holds it back.
            StepState::Compensating(action)
            | StepState::CompensationRetrying(action, _)
            | StepState::CompensationHeld(action, ..) => action,
            StepState::Pending
            | StepState::Running
            | StepState::Retrying(_)
            | StepState::Held(..)
            | StepState::AwaitingSignal(_)
            | StepState::AwaitingTime(_)
            | StepState::Ended(_)
            | StepState::Skipped
            | StepState::Compensated(_)
            | StepState::CompensationFailed(_) => return None,
        };
        let attempt = self.after.steps.get(step.offset());
        let attempt = attempt.map_or(1, |record| record.compensation_attempts);
        let detail = Detail::new()
            .with(true, "attempt", || json!(attempt))
            .with_text("action", Some(action.as_str()));
        self.system(AuditAction::CompensationExecuted, Some(step), detail)
    }

    /// Whether a step that may or may not have been done is undone, or going to be.
    fn is_undone_as_unknown(&self, step: StepIndex) -> bool {
        match self.before.step_state(step) {
            StepState::Compensating(outcome)
            | StepState::CompensationRetrying(outcome, _)
            | StepState::CompensationHeld(outcome, ..)
            | StepState::Compensated(outcome)
            | StepState::CompensationFailed(outcome) => outcome == ActionOutcome::Unknown,
            StepState::Ended(outcome) => {
                let declared = self.definition.step(step);
                outcome == ActionOutcome::Unknown
                    && declared.is_some_and(|step| step.compensation().is_some())
                    && match self.before.progress {
                        Progress::Back | Progress::StoppedBack | Progress::Compensated => true,
                        Progress::Forward | Progress::StoppedForward | Progress::Completed => false,
                    }
            }
            StepState::Pending
            | StepState::Running
            | StepState::Retrying(_)
            | StepState::Held(..)
            | StepState::AwaitingSignal(_)
            | StepState::AwaitingTime(_)
            | StepState::Skipped => false,
        }
    }

    fn step_id(&self, step: StepIndex) -> Option<String> {
        self.definition.step(step).map(|step| step.id.clone())
    }

    fn system(
        &self,
        action: AuditAction,
        step: Option<StepIndex>,
        detail: Detail,
    ) -> Option<AuditRecord> {
        self.of_saga(action, SYSTEM, None, step, detail)
    }

    fn by(
        &self,
        action: AuditAction,
        actor: &str,
        step: Option<StepIndex>,
        detail: Detail,
    ) -> Option<AuditRecord> {
        // The journals of the first release name nobody at a start.
        let actor = if actor.is_empty() { SYSTEM } else { actor };
        self.of_saga(action, actor, self.remote, step, detail)
    }

    fn of_saga(
        &self,
        action: AuditAction,
        actor: &str,
        remote: Option<IpAddr>,
        step: Option<StepIndex>,
        detail: Detail,
    ) -> Option<AuditRecord> {
        if !self.policy.actions.contains(action) {
            return None;
        }
        let at: Timestamp = self.after.updated_at;
        let saga: SagaId = self.after.id;
        let started = &self.after.started;
        let mut record = AuditRecord::new(action, at, actor, remote)
            .of_definition(&started.definition, Some(started.version));
        record.saga = Some(saga);
        record.step = step.and_then(|step| self.step_id(step));
        record.detail = detail.text();
        Some(record)
    }
}

/// More about an action, as a JSON object; most have none.
struct Detail(Map<String, Value>);

impl Detail {
    fn new() -> Self {
        Self(Map::new())
    }

    fn with(mut self, wanted: bool, name: &str, value: impl FnOnce() -> Value) -> Self {
        if wanted {
            self.0.insert(name.to_owned(), value());
        }
        self
    }

    fn with_text(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(text) => self.with(true, name, || text.into()),
            None => self,
        }
    }

    fn text(self) -> Option<String> {
        (!self.0.is_empty()).then(|| Value::Object(self.0).to_string())
    }
}

fn of(failure: &Failure) -> Detail {
    Detail::new()
        .with_text("code", Some(&failure.code))
        .with_text("message", Some(&failure.message))
}

fn word_of(resolution: Resolution) -> &'static str {
    match resolution {
        Resolution::Succeeded => "succeeded",
        Resolution::Skipped => "skipped",
        Resolution::Refused => "refused",
        Resolution::Compensated => "compensated",
    }
}

#[cfg(test)]
mod tests;
