//! What an event makes of a saga. Deciding uses the same function as replaying, so both give the
//! same state (I5).

mod shown;

use std::sync::Arc;

use super::event::{Event, Resolution};
use super::guard::Guard;
use super::id::{SagaId, Timestamp};
use super::input::REPLIES_KEPT_MAX;
use super::outcome::{ActionOutcome, StepError};
use super::state::{Progress, Saga, SeenReply, StepRecord, StepState};
use crate::definition::StepIndex;
use crate::definition::request::Phase;

/// A journal that cannot be replayed. The saga is set aside with `journal_unreadable`.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is nothing, or something else before the start.
    #[error("the journal does not begin with the saga's start")]
    NoStart,
    /// An event does not follow the one before it.
    #[error("event {found} stands where event {expected} belongs")]
    Gap {
        /// The number that was due.
        expected: u64,
        /// The number that was found.
        found: u64,
    },
    /// A row is damaged, or was written by a newer version.
    #[error("event {seq} cannot be read")]
    Unreadable {
        /// The row's number.
        seq: u64,
        /// Why.
        source: serde_json::Error,
    },
    /// An event names a step that the definition does not have.
    #[error("event {seq} names step {step}, which the definition does not have")]
    UnknownStep {
        /// The event's number.
        seq: u64,
        /// The step's index.
        step: u16,
    },
}

impl Saga {
    /// The state of a saga that has just started.
    ///
    /// # Errors
    /// When `event` is not a start.
    pub fn begin(
        id: SagaId,
        steps: usize,
        event: &Event,
        at: Timestamp,
    ) -> Result<Self, ReplayError> {
        let Event::SagaStarted(started) = event else {
            return Err(ReplayError::NoStart);
        };
        Ok(Self {
            id,
            started: Arc::new(started.as_ref().clone()),
            created_at: at,
            updated_at: at,
            finished_at: None,
            progress: Progress::Forward,
            suspended: false,
            suspended_at: None,
            overdue: false,
            timed_out: false,
            cause: None,
            stop: None,
            output: None,
            output_error: None,
            steps: vec![StepRecord::pending(); steps],
            signals: std::collections::BTreeMap::new(),
            signal_keys: std::collections::BTreeSet::new(),
            seq: 1,
        })
    }

    /// Takes one event in.
    ///
    /// # Errors
    /// When the event names a step that the definition does not have.
    #[expect(
        clippy::too_many_lines,
        reason = "one arm an event, every variant named"
    )]
    pub fn apply(&mut self, event: &Event, at: Timestamp) -> Result<(), ReplayError> {
        self.seq += 1;
        self.updated_at = at;
        match event {
            Event::SagaStarted(_) => return Err(ReplayError::NoStart),
            Event::AttemptStarted { step, phase } => self.attempt_started(*step, *phase, at)?,
            Event::AttemptHeld {
                step,
                phase,
                guard,
                until,
                sent,
            } => self.attempt_held(*step, *phase, (*guard, *until), *sent)?,
            Event::AttemptFailed {
                step,
                phase,
                error,
                retry_at,
            } => {
                self.attempt_failed(*step, *phase, error, *retry_at)?;
            }
            Event::AttemptAccepted { step, until, .. } => {
                self.record_untouched(*step)?.awaited_until = Some(*until);
            }
            Event::AttemptDeadLettered { step, error, .. } => {
                let record = self.record_untouched(*step)?;
                record.dead_lettered = true;
                record.error = Some(error.clone());
            }
            Event::ReplyTaken { step, id, .. } => self.reply_came(*step, id, false)?,
            Event::LateReply {
                step,
                reply: Some(id),
                ..
            } => self.reply_came(*step, id, true)?,
            Event::WaitStarted { step, until } => {
                self.wait_started(*step, StepState::AwaitingSignal(*until), at)?;
            }
            Event::DelayStarted { step, until } => {
                self.wait_started(*step, StepState::AwaitingTime(*until), at)?;
            }
            Event::SignalTaken { step, name } => {
                let payload = self.signals.get_mut(name).and_then(|kept| kept.pop_front());
                let record = self.end_step(*step, ActionOutcome::Succeeded, at)?;
                record.output = payload;
            }
            Event::StepSucceeded { step, output } => {
                let record = self.end_step(*step, ActionOutcome::Succeeded, at)?;
                record.output = Some(Arc::clone(output));
            }
            Event::StepRefused { step, error } => {
                self.end_step(*step, ActionOutcome::Refused, at)?.error = Some(error.clone());
            }
            Event::StepUnknown { step, error } => {
                self.end_step(*step, ActionOutcome::Unknown, at)?.error = Some(error.clone());
            }
            Event::StepSkipped { step } => self.set_ended(*step, StepState::Skipped, at)?,
            Event::StepCompensated { step } => {
                let outcome = self.outcome_of(*step);
                self.set_ended(*step, StepState::Compensated(outcome), at)?;
            }
            Event::CompensationFailed { step, error } => {
                let outcome = self.outcome_of(*step);
                self.set_ended(*step, StepState::CompensationFailed(outcome), at)?;
                self.record_mut(*step)?.error = Some(error.clone());
            }
            Event::StepResolved {
                step,
                resolution,
                output,
                ..
            } => {
                self.step_resolved(*step, *resolution, output, at)?;
            }
            Event::SagaCompensating { .. }
            | Event::SagaWentForward
            | Event::SagaOverdue
            | Event::SagaFailed { .. }
            | Event::SagaUnblocked
            | Event::SagaCompleted { .. }
            | Event::SagaCompensated
            | Event::SagaCancelled { .. }
            | Event::SagaSuspended { .. }
            | Event::SagaResumed { .. }
            | Event::SagaRetried { .. }
            | Event::SignalReceived { .. }
            | Event::LateReply { .. } => self.apply_to_saga(event, at)?,
        }
        Ok(())
    }

    /// The events that concern the saga as a whole.
    #[expect(
        clippy::too_many_lines,
        reason = "one arm an event, every variant named"
    )]
    fn apply_to_saga(&mut self, event: &Event, at: Timestamp) -> Result<(), ReplayError> {
        match event {
            Event::SagaRetried { steps, .. } => {
                for step in steps {
                    self.step_retried(*step)?;
                }
            }
            Event::SignalReceived {
                name, payload, key, ..
            } => {
                self.signals
                    .entry(name.clone())
                    .or_default()
                    .push_back(Arc::clone(payload));
                self.signal_keys.extend(key.clone());
            }
            Event::SagaCompensating { failure } => {
                self.progress = Progress::Back;
                self.stop = None;
                self.timed_out |= failure.step.is_none() && failure.code == TIMED_OUT;
                self.cause = Some(failure.clone());
                self.forget_held_actions();
            }
            Event::SagaWentForward => {
                self.progress = Progress::Forward;
                self.overdue |= self.timed_out;
                self.cause = None;
            }
            Event::SagaOverdue => self.overdue = true,
            Event::SagaFailed { failure, forward } => {
                self.progress = if *forward {
                    Progress::StoppedForward
                } else {
                    Progress::StoppedBack
                };
                self.stop = Some(failure.clone());
            }
            Event::SagaUnblocked => {
                self.stop = None;
                self.progress = match self.progress {
                    Progress::StoppedForward => Progress::Forward,
                    Progress::StoppedBack => Progress::Back,
                    other @ (Progress::Forward
                    | Progress::Back
                    | Progress::Completed
                    | Progress::Compensated) => other,
                };
            }
            Event::SagaCompleted {
                output,
                output_error,
            } => {
                self.progress = Progress::Completed;
                self.finished_at = Some(at);
                self.output = Some(Arc::clone(output));
                self.output_error.clone_from(output_error);
            }
            Event::SagaCompensated => {
                self.progress = Progress::Compensated;
                self.finished_at = Some(at);
            }
            Event::SagaSuspended { .. } => {
                self.suspended = true;
                self.suspended_at = Some(at);
            }
            Event::SagaResumed { .. } => {
                self.suspended = false;
                self.suspended_at = None;
            }
            Event::SagaStarted(_)
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
            | Event::StepCompensated { .. }
            | Event::CompensationFailed { .. }
            | Event::SagaCancelled { .. }
            | Event::StepResolved { .. }
            | Event::LateReply { .. } => {}
        }
        Ok(())
    }

    fn attempt_started(
        &mut self,
        step: StepIndex,
        phase: Phase,
        at: Timestamp,
    ) -> Result<(), ReplayError> {
        let outcome = self.outcome_of(step);
        let record = self.record_mut(step)?;
        record.started_at.get_or_insert(at);
        match phase {
            Phase::Action => {
                record.attempts += 1;
                record.state = StepState::Running;
            }
            Phase::Compensation => {
                if matches!(record.state, StepState::Ended(_)) {
                    record.tries = 0;
                    record.finished_at = None;
                }
                record.compensation_attempts += 1;
                record.state = StepState::Compensating(outcome);
            }
        }
        record.tries += 1;
        Ok(())
    }

    /// Takes the newest attempt back: it was not sent.
    fn attempt_held(
        &mut self,
        step: StepIndex,
        phase: Phase,
        (guard, until): (Guard, Timestamp),
        sent: bool,
    ) -> Result<(), ReplayError> {
        let outcome = self.outcome_of(step);
        let turned = self.progress == Progress::Back;
        let record = self.record_mut(step)?;
        record.tries = record.tries.saturating_sub(1);
        match phase {
            Phase::Action => {
                record.attempts = record.attempts.saturating_sub(1);
                record.may_be_sent |= sent;
                if !record.may_be_done() {
                    record.started_at = None;
                }
                record.state = if turned && !record.may_be_done() {
                    StepState::Pending
                } else {
                    StepState::Held(guard, Some(until))
                };
            }
            Phase::Compensation => {
                record.compensation_attempts = record.compensation_attempts.saturating_sub(1);
                record.state = StepState::CompensationHeld(outcome, guard, Some(until));
            }
        }
        Ok(())
    }

    /// A saga that turns back begins no action any more: what a guard held back before it was ever
    /// sent has not begun.
    fn forget_held_actions(&mut self) {
        for record in &mut self.steps {
            if matches!(record.state, StepState::Held(..)) && !record.may_be_done() {
                record.state = StepState::Pending;
            }
        }
    }

    fn attempt_failed(
        &mut self,
        step: StepIndex,
        phase: Phase,
        error: &StepError,
        retry_at: Timestamp,
    ) -> Result<(), ReplayError> {
        let outcome = self.outcome_of(step);
        let record = self.record_mut(step)?;
        record.error = Some(error.clone());
        record.state = match phase {
            Phase::Action => StepState::Retrying(retry_at),
            Phase::Compensation => StepState::CompensationRetrying(outcome, retry_at),
        };
        Ok(())
    }

    fn wait_started(
        &mut self,
        step: StepIndex,
        state: StepState,
        at: Timestamp,
    ) -> Result<(), ReplayError> {
        let record = self.record_mut(step)?;
        record.started_at.get_or_insert(at);
        record.state = state;
        Ok(())
    }

    fn end_step(
        &mut self,
        step: StepIndex,
        outcome: ActionOutcome,
        at: Timestamp,
    ) -> Result<&mut StepRecord, ReplayError> {
        self.set_ended(step, StepState::Ended(outcome), at)?;
        let seq = self.seq;
        let record = self.record_mut(step)?;
        record.ended_seq = seq;
        Ok(record)
    }

    fn set_ended(
        &mut self,
        step: StepIndex,
        state: StepState,
        at: Timestamp,
    ) -> Result<(), ReplayError> {
        let record = self.record_mut(step)?;
        record.state = state;
        record.finished_at = Some(at);
        Ok(())
    }

    fn step_resolved(
        &mut self,
        step: StepIndex,
        resolution: Resolution,
        output: &Arc<serde_json::Value>,
        at: Timestamp,
    ) -> Result<(), ReplayError> {
        match resolution {
            Resolution::Succeeded => {
                let record = self.end_step(step, ActionOutcome::Succeeded, at)?;
                record.output = Some(Arc::clone(output));
            }
            Resolution::Refused => {
                self.end_step(step, ActionOutcome::Refused, at)?;
            }
            Resolution::Skipped => self.set_ended(step, StepState::Skipped, at)?,
            Resolution::Compensated => {
                let outcome = self.outcome_of(step);
                self.set_ended(step, StepState::Compensated(outcome), at)?;
            }
        }
        Ok(())
    }

    /// Puts a step that stopped the saga back to where a fresh set of attempts begins.
    fn step_retried(&mut self, step: StepIndex) -> Result<(), ReplayError> {
        let record = self.record_mut(step)?;
        record.tries = 0;
        record.finished_at = None;
        record.state = match record.state {
            StepState::CompensationFailed(outcome) => StepState::Ended(outcome),
            StepState::Pending
            | StepState::Running
            | StepState::Retrying(_)
            | StepState::Held(..)
            | StepState::AwaitingSignal(_)
            | StepState::AwaitingTime(_)
            | StepState::Ended(_)
            | StepState::Skipped
            | StepState::Compensating(_)
            | StepState::CompensationRetrying(..)
            | StepState::CompensationHeld(..)
            | StepState::Compensated(_) => StepState::Pending,
        };
        Ok(())
    }

    fn outcome_of(&self, step: StepIndex) -> ActionOutcome {
        self.step_state(step)
            .action_outcome()
            .unwrap_or(ActionOutcome::Unknown)
    }

    /// Keeps the id of a reply, so that it is known when it comes again.
    fn reply_came(&mut self, step: StepIndex, id: &str, late: bool) -> Result<(), ReplayError> {
        let replies = &mut self.record_untouched(step)?.replies;
        if replies.len() >= REPLIES_KEPT_MAX {
            replies.remove(0);
        }
        replies.push(SeenReply {
            id: id.to_owned(),
            late,
        });
        Ok(())
    }

    /// The record of a step, for an event that leaves its state as it is.
    fn record_untouched(&mut self, step: StepIndex) -> Result<&mut StepRecord, ReplayError> {
        let seq = self.seq;
        self.steps
            .get_mut(step.offset())
            .ok_or(ReplayError::UnknownStep { seq, step: step.0 })
    }

    /// The record of a step, for an event that changes its state. What was awaited of the attempt in
    /// flight is over with it.
    fn record_mut(&mut self, step: StepIndex) -> Result<&mut StepRecord, ReplayError> {
        let at = self.updated_at;
        let record = self.record_untouched(step)?;
        record.since = at;
        record.awaited_until = None;
        record.dead_lettered = false;
        Ok(record)
    }
}

/// The code of a saga whose time was up.
pub const TIMED_OUT: &str = "timed_out";
