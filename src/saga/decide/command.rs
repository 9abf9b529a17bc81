//! What a person may ask of a saga: cancel, suspend, resume, retry, resolve.

use std::sync::Arc;

use serde_json::Value;

use super::{CANCELLED, Deciding};
use crate::definition::StepIndex;
use crate::definition::model::{OnFailure, Position};
use crate::saga::event::{Event, Failure, Resolution};
use crate::saga::input::{Command, Rejection};
use crate::saga::outcome::ActionOutcome;
use crate::saga::state::{Progress, StepState};

impl Deciding<'_> {
    /// Takes in a command.
    pub(super) fn command(&mut self, command: Command, actor: String) -> Result<(), Rejection> {
        match command {
            Command::Cancel { reason } => self.cancel(reason, actor),
            Command::Suspend => {
                self.unfinished()?;
                if !self.saga.suspended {
                    self.emit(Event::SagaSuspended { actor });
                }
                Ok(())
            }
            Command::Resume => {
                self.unfinished()?;
                if self.saga.suspended {
                    self.emit(Event::SagaResumed { actor });
                }
                Ok(())
            }
            Command::Retry => self.retry(actor),
            Command::Resolve {
                step,
                resolution,
                note,
                output,
            } => self.resolve(step, resolution, note, output, actor),
        }
    }

    fn unfinished(&self) -> Result<(), Rejection> {
        if self.saga.status().is_finished() {
            Err(Rejection::AlreadyFinished)
        } else {
            Ok(())
        }
    }

    fn cancel(&mut self, reason: Option<String>, actor: String) -> Result<(), Rejection> {
        self.unfinished()?;
        if self.saga.past_pivot(self.definition) {
            return Err(Rejection::PastPivot);
        }
        match self.saga.progress {
            Progress::Forward => {
                let message = reason
                    .clone()
                    .unwrap_or_else(|| format!("cancelled by {actor}"));
                self.emit(Event::SagaCancelled { actor, reason });
                self.turn_back(Failure {
                    step: None,
                    code: CANCELLED.to_owned(),
                    message,
                });
            }
            Progress::Back
            | Progress::StoppedForward
            | Progress::StoppedBack
            | Progress::Completed
            | Progress::Compensated => {}
        }
        Ok(())
    }

    fn retry(&mut self, actor: String) -> Result<(), Rejection> {
        match self.saga.progress {
            Progress::StoppedForward | Progress::StoppedBack => {}
            Progress::Forward | Progress::Back | Progress::Completed | Progress::Compensated => {
                return Err(Rejection::NotFailed);
            }
        }
        let steps = self.stopped_steps();
        self.emit(Event::SagaRetried { actor, steps });
        self.emit(Event::SagaUnblocked);
        Ok(())
    }

    fn resolve(
        &mut self,
        index: StepIndex,
        resolution: Resolution,
        note: String,
        output: Value,
        actor: String,
    ) -> Result<(), Rejection> {
        if !self.resolvable(index, resolution) {
            return Err(Rejection::NotResolvable);
        }
        let undecided = self.pivot_is_undecided(index);
        let error = self.last_error(index);
        self.emit(Event::StepResolved {
            step: index,
            resolution,
            actor,
            note,
            output: Arc::new(output),
        });
        if undecided && resolution == Resolution::Refused {
            let cause = self.saga.cause.clone();
            self.turn_back(cause.unwrap_or_else(|| Failure::of_step(index, &error)));
            return Ok(());
        }
        if self.saga.stop.is_some() && self.stopped_steps().is_empty() {
            self.emit(Event::SagaUnblocked);
            if undecided && self.saga.cause.is_some() {
                self.emit(Event::SagaWentForward);
            }
        }
        Ok(())
    }

    fn stopped_steps(&self) -> Vec<StepIndex> {
        let stopping = self
            .definition
            .steps
            .iter()
            .filter(|step| self.saga.is_stopped_by(step));
        stopping.map(|step| step.index).collect()
    }

    pub(super) fn resolvable(&self, index: StepIndex, resolution: Resolution) -> bool {
        let Some(step) = self.definition.step(index) else {
            return false;
        };
        let state = self.saga.step_state(index);
        match resolution {
            Resolution::Compensated => matches!(state, StepState::CompensationFailed(_)),
            Resolution::Refused => self.pivot_is_undecided(index),
            Resolution::Succeeded if self.pivot_is_undecided(index) => true,
            Resolution::Succeeded | Resolution::Skipped => {
                step.position == Position::After
                    && self.saga.past_pivot(self.definition)
                    && !self.saga.status().is_finished()
                    && match state {
                        StepState::Running
                        | StepState::Retrying(_)
                        | StepState::Held(..)
                        | StepState::AwaitingSignal(_)
                        | StepState::AwaitingTime(_) => true,
                        StepState::Ended(ActionOutcome::Refused | ActionOutcome::Unknown) => {
                            step.on_failure == OnFailure::Compensate
                        }
                        StepState::Pending
                        | StepState::Ended(ActionOutcome::Succeeded)
                        | StepState::Skipped
                        | StepState::Compensating(_)
                        | StepState::CompensationRetrying(..)
                        | StepState::CompensationHeld(..)
                        | StepState::Compensated(_)
                        | StepState::CompensationFailed(_) => false,
                    }
            }
        }
    }

    /// Whether the saga stands still because nobody knows what became of its pivot. A pivot that was
    /// let go stopped nothing, and there is no way back behind it.
    fn pivot_is_undecided(&self, index: StepIndex) -> bool {
        self.definition.pivot == Some(index)
            && self.saga.step_state(index) == StepState::Ended(ActionOutcome::Unknown)
            && self
                .definition
                .step(index)
                .is_some_and(|step| self.saga.is_stopped_by(step))
    }
}
