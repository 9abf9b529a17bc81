//! Going forward: steps that may start are started, times that have come are acted on, a failed
//! step turns the saga back or stops it, and when every step has ended the saga is completed.

use std::sync::Arc;

use super::attempt::is_due;
use super::{Deciding, PIVOT_UNKNOWN, WAIT_TIMED_OUT, expression_failed};
use crate::definition::StepIndex;
use crate::definition::expression::Scope;
use crate::definition::model::{Delay, OnFailure, StepKind};
use crate::definition::request::Phase;
use crate::saga::event::{Event, Failure};
use crate::saga::facts::SagaFacts;
use crate::saga::id::Timestamp;
use crate::saga::nesting::{NESTING_MAX, is_shallow};
use crate::saga::outcome::{ActionOutcome, StepError};
use crate::saga::state::{Progress, StepState};

impl Deciding<'_> {
    /// One pass over a saga that goes forward.
    pub(super) fn settle_forward(&mut self) {
        if self.turn_back_if_out_of_time() {
            return;
        }
        self.take_kept_signals();
        self.end_due_waits();
        if self.act_on_failures() {
            return;
        }
        self.begin_due_retries();
        if self.act_on_failures() {
            return;
        }
        if !self.saga.suspended {
            for place in 0..self.definition.topological.len() {
                let Some(step) = self.definition.topological.get(place).copied() else {
                    break;
                };
                if self.saga.step_state(step) == StepState::Pending && self.may_start(step) {
                    self.start_step(step);
                    if self.act_on_failures() {
                        return;
                    }
                }
            }
        }
        self.complete_if_all_ended();
    }

    fn may_start(&self, step: StepIndex) -> bool {
        self.definition.step(step).is_some_and(|step| {
            step.after
                .iter()
                .all(|before| self.saga.satisfied(self.definition, *before))
        })
    }

    /// The saga's deadline: before the pivot it turns the saga back, after it only marks it.
    fn turn_back_if_out_of_time(&mut self) -> bool {
        if !is_due(self.saga.started.deadline, self.now) || self.saga.timed_out || self.saga.overdue
        {
            return false;
        }
        if self.saga.past_pivot(self.definition) {
            self.emit(Event::SagaOverdue);
            return false;
        }
        let failure = self.time_is_up();
        self.turn_back(failure);
        true
    }

    /// Ends the waits whose time has come. A saga's clock goes on while it is suspended.
    fn end_due_waits(&mut self) {
        for step in self.steps() {
            match self.saga.step_state(step) {
                StepState::AwaitingSignal(until) if is_due(until, self.now) => {
                    let error = StepError::new(WAIT_TIMED_OUT, "the signal did not come in time");
                    self.emit(Event::StepRefused { step, error });
                }
                StepState::AwaitingTime(until) if until <= self.now => {
                    self.emit(Event::StepSucceeded {
                        step,
                        output: Arc::default(),
                    });
                }
                StepState::AwaitingSignal(_)
                | StepState::AwaitingTime(_)
                | StepState::Pending
                | StepState::Running
                | StepState::Retrying(_)
                | StepState::Held(..)
                | StepState::Ended(_)
                | StepState::Skipped
                | StepState::Compensating(_)
                | StepState::CompensationRetrying(..)
                | StepState::CompensationHeld(..)
                | StepState::Compensated(_)
                | StepState::CompensationFailed(_) => {}
            }
        }
    }

    /// Starts a step whose turn has come.
    fn start_step(&mut self, index: StepIndex) {
        let definition = self.definition;
        let Some(step) = definition.step(index) else {
            return;
        };
        let facts = SagaFacts::forward(definition, &self.saga);
        let holds = step
            .when
            .as_ref()
            .map_or(Ok(true), |when| when.holds(&Scope::new(&facts)));
        match holds {
            Ok(true) => {}
            Ok(false) => return self.emit(Event::StepSkipped { step: index }),
            Err(error) => {
                let error = expression_failed(&error);
                return self.emit(Event::StepRefused { step: index, error });
            }
        }
        match &step.kind {
            StepKind::Action(_) => match self.prepare(index, Phase::Action) {
                Ok(request) => self.begin_attempt(index, Phase::Action, request),
                Err(error) => self.emit(Event::StepRefused { step: index, error }),
            },
            StepKind::Wait(wait) => {
                let until = wait.timeout_ms.map(|timeout| self.now.plus_ms(timeout));
                self.emit(Event::WaitStarted { step: index, until });
                self.take_signal(index, &wait.signal);
            }
            StepKind::Delay(delay) => match self.delay_until(delay) {
                Ok(until) => self.emit(Event::DelayStarted { step: index, until }),
                Err(error) => self.emit(Event::StepRefused { step: index, error }),
            },
        }
    }

    fn delay_until(&self, delay: &Delay) -> Result<Timestamp, StepError> {
        match delay {
            Delay::For(ms) => Ok(self.now.plus_ms(*ms)),
            Delay::Computed(template) => {
                let facts = SagaFacts::forward(self.definition, &self.saga);
                template
                    .render_time(&Scope::new(&facts), self.now.0)
                    .map(Timestamp)
                    .map_err(|error| expression_failed(&error))
            }
        }
    }

    /// Looks for a step that failed and cannot be let go. Answers whether the saga no longer goes
    /// forward.
    fn act_on_failures(&mut self) -> bool {
        let failed = self.definition.steps.iter().find(|step| {
            step.on_failure == OnFailure::Compensate
                && matches!(
                    self.saga.step_state(step.index),
                    StepState::Ended(ActionOutcome::Refused | ActionOutcome::Unknown)
                )
        });
        let Some(step) = failed else { return false };
        let index = step.index;
        let error = self.last_error(index);
        if self.saga.past_pivot(self.definition) {
            let failure = Failure::of_step(index, &error);
            self.emit(Event::SagaFailed {
                failure,
                forward: true,
            });
        } else if self.undecided_pivot() == Some(index) {
            let failure = self.pivot_unknown(index);
            self.emit(Event::SagaFailed {
                failure,
                forward: true,
            });
        } else {
            // A pivot that is tried again after a cancel or a timeout fails for that reason.
            let cause = self.saga.cause.clone();
            self.turn_back(cause.unwrap_or_else(|| Failure::of_step(index, &error)));
        }
        true
    }

    fn complete_if_all_ended(&mut self) {
        let ended = self.saga.progress == Progress::Forward
            && self
                .steps()
                .all(|step| self.saga.satisfied(self.definition, step));
        if !ended {
            return;
        }
        let facts = SagaFacts::forward(self.definition, &self.saga);
        let (output, output_error) = match &self.definition.output {
            Some(template) => match template.render(&Scope::new(&facts)) {
                Ok(output) if is_shallow(&output) => (Arc::new(output), None),
                Ok(_deep) => {
                    let error = format!("the output nests deeper than {NESTING_MAX} levels");
                    (Arc::default(), Some(error))
                }
                Err(error) => (Arc::default(), Some(error.to_string())),
            },
            None => {
                let last = self
                    .saga
                    .steps
                    .last()
                    .and_then(|record| record.output.clone());
                (last.unwrap_or_default(), None)
            }
        };
        self.emit(Event::SagaCompleted {
            output,
            output_error,
        });
    }

    /// The failure of a saga whose pivot may or may not have been done.
    pub(super) fn pivot_unknown(&self, pivot: StepIndex) -> Failure {
        let error = self.last_error(pivot);
        let message = format!(
            "nobody knows whether the pivot was done (its last attempt: {}: {}); resolve it as succeeded or refused, or retry it",
            error.code, error.message
        );
        Failure {
            step: Some(pivot),
            code: PIVOT_UNKNOWN.to_owned(),
            message,
        }
    }
}
