//! What the end of an attempt means (execution.md: "The outcome of an attempt", "The pivot").

use std::sync::Arc;

use super::Deciding;
use crate::definition::StepIndex;
use crate::definition::model::{OnFailure, Position, RetryPolicy};
use crate::definition::request::Phase;
use crate::saga::event::Event;
use crate::saga::id::Timestamp;
use crate::saga::input::{Attempted, HeldBack};
use crate::saga::outcome::{Outcome, StepError};
use crate::saga::state::{InFlight, Progress, StepState};

impl Deciding<'_> {
    /// Takes in how an attempt ended. One that is not the attempt in flight changes nothing (I8).
    pub(super) fn attempt_ended(&mut self, attempted: Attempted) {
        let Attempted {
            step,
            phase,
            attempt,
            outcome,
            draw,
        } = attempted;
        let call = InFlight {
            step,
            phase,
            attempt,
        };
        if !self.saga.in_flight().any(|flying| flying == call) {
            self.late_reply(call, &outcome, None);
            return;
        }
        self.ended(step, phase, outcome, draw);
    }

    /// Takes in what came of the attempt of a step.
    pub(super) fn ended(&mut self, step: StepIndex, phase: Phase, outcome: Outcome, draw: f64) {
        match phase {
            Phase::Action => self.action_ended(step, outcome, draw),
            Phase::Compensation => self.compensation_ended(step, outcome, draw),
        }
    }

    /// Takes an attempt back that a guard did not let out. One that is not in flight changes
    /// nothing (I8).
    pub(super) fn attempt_held(&mut self, held: HeldBack) {
        let HeldBack {
            call,
            guard,
            until,
            sent,
        } = held;
        if !self.saga.in_flight().any(|flying| flying == call) {
            return;
        }
        let InFlight { step, phase, .. } = call;
        // One that somebody had was sent, whoever holds it back now.
        let had = self
            .saga
            .record(step)
            .is_some_and(|record| record.awaited_until.is_some() || record.dead_lettered);
        let sent = sent || had;
        self.emit(Event::AttemptHeld {
            step,
            phase,
            guard,
            until,
            sent,
        });
        // A saga that has turned back begins no attempt at an action any more.
        let turned = self.saga.progress == Progress::Back;
        if phase == Phase::Action && turned && self.may_be_done(step) {
            self.end_as_unknown(step);
        }
    }

    /// Begins the attempt that a guard held back.
    pub(super) fn let_through(&mut self, step: StepIndex, phase: Phase) {
        let held = self.saga.step_state(step).held();
        if self.saga.sends() && held.is_some_and(|(held, ..)| held == phase) {
            self.begin_again(step, phase);
        }
    }

    pub(super) fn late_reply(&mut self, call: InFlight, outcome: &Outcome, reply: Option<String>) {
        if self.definition.step(call.step).is_none() {
            return;
        }
        self.emit(Event::LateReply {
            step: call.step,
            phase: call.phase,
            attempt: call.attempt,
            outcome: outcome.as_str().to_owned(),
            reply,
        });
    }

    fn action_ended(&mut self, step: StepIndex, outcome: Outcome, draw: f64) {
        match outcome {
            Outcome::Succeeded { output } => {
                self.emit(Event::StepSucceeded {
                    step,
                    output: Arc::new(output),
                });
                // Whatever was to turn the saga back (a cancel, its timeout) came too late.
                if self.saga.cause.is_some() && self.definition.pivot == Some(step) {
                    self.emit(Event::SagaWentForward);
                }
            }
            Outcome::Refused(error) => {
                if self.retried_without_end(step) {
                    self.retry_later(step, error, self.policy(step).max_ms);
                } else {
                    self.emit(Event::StepRefused { step, error });
                }
            }
            Outcome::Transient {
                error,
                retry_after_ms,
            } => {
                self.action_transient(step, error, retry_after_ms, draw);
            }
            Outcome::Unknown(error) => self.emit(Event::StepUnknown { step, error }),
        }
    }

    fn action_transient(
        &mut self,
        step: StepIndex,
        error: StepError,
        retry_after_ms: Option<u64>,
        draw: f64,
    ) {
        let policy = self.policy(step);
        let tries = self.tries(step);
        let turned = self.saga.progress == Progress::Back;
        if turned || (tries >= policy.attempts_max && !self.retried_without_end(step)) {
            self.emit(Event::StepUnknown { step, error });
        } else if tries >= policy.attempts_max {
            self.retry_later(step, error, policy.max_ms);
        } else {
            self.retry_later(step, error, wait_ms(&policy, tries, draw, retry_after_ms));
        }
    }

    fn compensation_ended(&mut self, step: StepIndex, outcome: Outcome, draw: f64) {
        match outcome {
            Outcome::Succeeded { .. } => self.emit(Event::StepCompensated { step }),
            Outcome::Refused(error) | Outcome::Unknown(error) => {
                self.emit(Event::CompensationFailed { step, error });
            }
            Outcome::Transient {
                error,
                retry_after_ms,
            } => {
                let policy = self
                    .definition
                    .step(step)
                    .and_then(|step| step.compensation())
                    .map_or(RetryPolicy::COMPENSATION, |compensation| compensation.retry);
                let tries = self.tries(step);
                if tries >= policy.attempts_max {
                    self.emit(Event::CompensationFailed { step, error });
                    return;
                }
                let retry_at = self
                    .now
                    .plus_ms(wait_ms(&policy, tries, draw, retry_after_ms));
                self.emit(Event::AttemptFailed {
                    step,
                    phase: Phase::Compensation,
                    error,
                    retry_at,
                });
            }
        }
    }

    fn retry_later(&mut self, step: StepIndex, error: StepError, wait_ms: u64) {
        let retry_at = self.now.plus_ms(wait_ms);
        self.emit(Event::AttemptFailed {
            step,
            phase: Phase::Action,
            error,
            retry_at,
        });
    }

    /// After the pivot a step is retried until it succeeds, unless the saga can go on without it.
    fn retried_without_end(&self, step: StepIndex) -> bool {
        self.saga.past_pivot(self.definition)
            && self.definition.step(step).is_some_and(|step| {
                step.position == Position::After && step.on_failure == OnFailure::Compensate
            })
    }

    fn policy(&self, step: StepIndex) -> RetryPolicy {
        self.definition
            .step(step)
            .and_then(|step| step.action())
            .map_or(RetryPolicy::ACTION, |action| action.retry)
    }

    fn tries(&self, step: StepIndex) -> u32 {
        self.saga.record(step).map_or(0, |record| record.tries)
    }

    /// Begins the attempts whose time has come, unless nothing may be sent.
    pub(super) fn begin_due_retries(&mut self) {
        if !self.saga.sends() {
            return;
        }
        for step in self.steps() {
            let (phase, at) = match self.saga.step_state(step) {
                StepState::Retrying(at) => (Phase::Action, at),
                StepState::CompensationRetrying(_, at) => (Phase::Compensation, at),
                StepState::Held(_, Some(until)) => (Phase::Action, until),
                StepState::CompensationHeld(_, _, Some(until)) => (Phase::Compensation, until),
                StepState::Pending
                | StepState::Held(_, None)
                | StepState::CompensationHeld(_, _, None)
                | StepState::Running
                | StepState::AwaitingSignal(_)
                | StepState::AwaitingTime(_)
                | StepState::Ended(_)
                | StepState::Skipped
                | StepState::Compensating(_)
                | StepState::Compensated(_)
                | StepState::CompensationFailed(_) => continue,
            };
            if at <= self.now {
                self.begin_again(step, phase);
            }
        }
    }

    fn begin_again(&mut self, step: StepIndex, phase: Phase) {
        match (self.prepare(step, phase), phase) {
            (Ok(request), _) => self.begin_attempt(step, phase, request),
            // The same journal rendered it before, so this is a damaged definition; and where
            // something was sent, nobody knows whether it was done.
            (Err(error), Phase::Action) if self.may_be_done(step) => {
                self.emit(Event::StepUnknown { step, error });
            }
            (Err(error), Phase::Action) => self.emit(Event::StepRefused { step, error }),
            (Err(error), Phase::Compensation) => {
                self.emit(Event::CompensationFailed { step, error });
            }
        }
    }
}

/// The wait before the next attempt: by the policy, lengthened to what the participant asked for,
/// up to the policy's `max`.
fn wait_ms(policy: &RetryPolicy, tries: u32, draw: f64, retry_after_ms: Option<u64>) -> u64 {
    let asked = retry_after_ms.unwrap_or(0).min(policy.max_ms);
    policy.delay_ms(tries, draw).max(asked)
}

/// A time that has come.
pub(super) fn is_due(time: Option<Timestamp>, now: Timestamp) -> bool {
    time.is_some_and(|time| time <= now)
}
