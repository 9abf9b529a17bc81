//! Going back: when the attempts in flight have ended, what was done (or may have been) is undone
//! in the declared order.

use super::{COMPENSATION_FAILED, Deciding, expression_failed};
use crate::definition::StepIndex;
use crate::definition::expression::Scope;
use crate::definition::model::{Compensate, CompensationOrder, OnCompensationFailure, OnFailure};
use crate::definition::request::Phase;
use crate::saga::event::{Event, Failure};
use crate::saga::facts::SagaFacts;
use crate::saga::outcome::{ActionOutcome, StepError};
use crate::saga::state::StepState;

/// Where a step stands on the way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Undoing {
    /// Nothing is to be undone, or it is.
    Clear,
    /// It is to be undone, and nothing was begun.
    Due,
    /// An attempt is in flight, or waits for its next try or for a guard.
    Active,
    /// It cannot be undone without a person.
    Failed,
}

impl Deciding<'_> {
    /// One pass over a saga that is being undone.
    pub(super) fn settle_back(&mut self) {
        let acting = self
            .steps()
            .any(|step| self.saga.step_state(step) == StepState::Running);
        // I3: an action that is still in flight may be done after it was undone.
        if acting {
            return;
        }
        if let Some(pivot) = self.undecided_pivot() {
            let failure = self.pivot_unknown(pivot);
            self.emit(Event::SagaFailed {
                failure,
                forward: true,
            });
            return;
        }
        if self.stop_on_failed_compensation() {
            return;
        }
        self.begin_due_retries();
        if !self.saga.suspended {
            for step in self.next_to_undo() {
                self.begin_undoing(step);
                if self.stop_on_failed_compensation() {
                    return;
                }
            }
        }
        let all_clear = self
            .steps()
            .all(|step| self.undoing(step) == Undoing::Clear);
        if all_clear {
            self.emit(Event::SagaCompensated);
        }
    }

    /// A pivot whose outcome nobody knows and that declares nothing to undo it with.
    pub(super) fn undecided_pivot(&self) -> Option<StepIndex> {
        let pivot = self.definition.pivot?;
        let step = self.definition.step(pivot)?;
        (step.compensation().is_none()
            && step.on_failure == OnFailure::Compensate
            && self.saga.step_state(pivot) == StepState::Ended(ActionOutcome::Unknown))
        .then_some(pivot)
    }

    /// With `halt` a compensation that failed stops the saga at once; with `continue` when
    /// everything else is undone.
    fn stop_on_failed_compensation(&mut self) -> bool {
        let failed = self
            .steps()
            .find(|step| self.undoing(*step) == Undoing::Failed);
        let Some(step) = failed else { return false };
        let others_remain = self
            .steps()
            .any(|step| matches!(self.undoing(step), Undoing::Due | Undoing::Active));
        let goes_on = self.definition.on_compensation_failure == OnCompensationFailure::Continue;
        if goes_on && others_remain {
            return false;
        }
        let error = self.last_error(step);
        let id = self
            .definition
            .step(step)
            .map_or("", |step| step.id.as_str());
        let failure = Failure {
            step: Some(step),
            code: COMPENSATION_FAILED.to_owned(),
            message: format!(
                "`{id}` could not be undone: {}: {}",
                error.code, error.message
            ),
        };
        self.emit(Event::SagaFailed {
            failure,
            forward: false,
        });
        true
    }

    /// The steps whose turn it is to be undone.
    fn next_to_undo(&self) -> Vec<StepIndex> {
        let due = |step: &StepIndex| self.undoing(*step) == Undoing::Due;
        match self.definition.compensation_order {
            CompensationOrder::Parallel => self.steps().filter(due).collect(),
            CompensationOrder::Sequential => {
                let active = self
                    .steps()
                    .any(|step| self.undoing(step) == Undoing::Active);
                let last = self
                    .steps()
                    .filter(|step| !active && due(step))
                    .max_by_key(|step| self.saga.record(*step).map(|record| record.ended_seq));
                last.into_iter().collect()
            }
            CompensationOrder::Reverse => self.undone_after_followers(),
        }
    }

    /// The due steps after which nothing is left to be undone.
    fn undone_after_followers(&self) -> Vec<StepIndex> {
        let mut open = vec![false; self.definition.steps.len()];
        let mut next = Vec::new();
        for index in self.definition.topological.iter().rev() {
            let Some(step) = self.definition.step(*index) else {
                continue;
            };
            let blocked = step
                .followers
                .iter()
                .any(|follower| open.get(follower.offset()).copied().unwrap_or(false));
            let undoing = self.undoing(*index);
            if undoing == Undoing::Due && !blocked {
                next.push(*index);
            }
            if let Some(slot) = open.get_mut(index.offset()) {
                *slot = blocked || matches!(undoing, Undoing::Due | Undoing::Active);
            }
        }
        next
    }

    fn undoing(&self, index: StepIndex) -> Undoing {
        let Some(step) = self.definition.step(index) else {
            return Undoing::Clear;
        };
        match self.saga.step_state(index) {
            StepState::Ended(outcome) => {
                let owed = match (&step.action(), outcome) {
                    (_, ActionOutcome::Succeeded | ActionOutcome::Unknown) => true,
                    (Some(action), ActionOutcome::Refused) => {
                        action.compensate == Compensate::Always
                    }
                    (None, ActionOutcome::Refused) => false,
                };
                if owed && step.compensation().is_some() {
                    Undoing::Due
                } else {
                    Undoing::Clear
                }
            }
            StepState::Compensating(_)
            | StepState::CompensationRetrying(..)
            | StepState::CompensationHeld(..) => Undoing::Active,
            StepState::CompensationFailed(_) => Undoing::Failed,
            StepState::Pending
            | StepState::Running
            | StepState::Retrying(_)
            | StepState::Held(..)
            | StepState::AwaitingSignal(_)
            | StepState::AwaitingTime(_)
            | StepState::Skipped
            | StepState::Compensated(_) => Undoing::Clear,
        }
    }

    fn begin_undoing(&mut self, index: StepIndex) {
        match self.nothing_to_undo(index) {
            Ok(true) => return self.emit(Event::StepCompensated { step: index }),
            Ok(false) => {}
            Err(error) => return self.emit(Event::CompensationFailed { step: index, error }),
        }
        match self.prepare(index, Phase::Compensation) {
            Ok(request) => self.begin_attempt(index, Phase::Compensation, request),
            Err(error) => self.emit(Event::CompensationFailed { step: index, error }),
        }
    }

    fn nothing_to_undo(&self, index: StepIndex) -> Result<bool, StepError> {
        let when = self
            .definition
            .step(index)
            .and_then(|step| step.compensation())
            .and_then(|compensation| compensation.when.as_ref());
        let Some(when) = when else { return Ok(false) };
        let facts = SagaFacts::of(self.definition, &self.saga, Phase::Compensation);
        let holds = when
            .holds(&Scope::new(&facts))
            .map_err(|error| expression_failed(&error))?;
        Ok(!holds)
    }
}
