//! What a cancel would undo now, and in what order. Nothing but `decide` says what is undone when:
//! a copy of the saga is cancelled, whatever is in flight is answered, and what is then asked to be
//! undone is noted.

use serde_json::Value;

use super::decide::decide;
use super::id::Timestamp;
use super::input::{Attempted, Command, Input, Rejection};
use super::outcome::{Outcome, Status, StepError};
use super::state::{InFlight, Saga};
use crate::definition::request::Phase;
use crate::definition::{Definition, StepIndex};

/// Why a cancel would change nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoCancel {
    /// It is turned away.
    Rejected(Rejection),
    /// The saga has failed and stays as it is until it is retried or resolved.
    Failed,
}

/// The steps that are undone when the saga is cancelled at `now` (or that are still to be undone,
/// where it has turned back already), in groups: those of one are undone at the same time, and all
/// of them before the next.
///
/// An action that is in flight counts as one that may have been done; but should a pivot succeed
/// after all, nothing is undone, so one that declares nothing to undo it with counts as refused.
/// Where something cannot be undone the saga may stop before.
///
/// # Errors
/// When a cancel would change nothing.
pub fn undoes(
    definition: &Definition,
    saga: &Saga,
    now: Timestamp,
) -> Result<Vec<Vec<StepIndex>>, NoCancel> {
    let mut copy = Copy {
        definition,
        saga: saga.clone(),
        now,
    };
    let cancel = Command::Cancel { reason: None };
    copy.command(cancel).map_err(NoCancel::Rejected)?;
    if saga.status() == Status::Failed {
        return Err(NoCancel::Failed);
    }
    if copy.saga.suspended && !copy.saga.status().is_finished() {
        // What is held back by it is undone when it is resumed.
        copy.command(Command::Resume).map_err(NoCancel::Rejected)?;
    }
    for call in copy.in_flight(Phase::Action) {
        copy.answer(call, action_outcome(definition, call.step));
    }
    let mut groups = Vec::new();
    // Each step is undone once.
    while groups.len() < definition.steps.len() {
        copy.begin_what_waits();
        let group = copy.in_flight(Phase::Compensation);
        if group.is_empty() {
            break;
        }
        for call in &group {
            copy.answer(
                *call,
                Outcome::Succeeded {
                    output: Value::Null,
                },
            );
        }
        groups.push(group.iter().map(|call| call.step).collect());
    }
    Ok(groups)
}

/// What an action that is in flight counts as.
fn action_outcome(definition: &Definition, step: StepIndex) -> Outcome {
    let error = StepError::new("in_flight", "nobody knows yet");
    let undone = definition
        .step(step)
        .is_some_and(|step| step.compensation().is_some());
    if definition.pivot == Some(step) && !undone {
        Outcome::Refused(error)
    } else {
        Outcome::Unknown(error)
    }
}

/// A copy of a saga, to be played with.
struct Copy<'a> {
    definition: &'a Definition,
    saga: Saga,
    now: Timestamp,
}

impl Copy<'_> {
    fn feed(&mut self, input: Input) -> Result<(), Rejection> {
        self.saga = decide(self.definition, &self.saga, input, self.now)?.saga;
        Ok(())
    }

    fn command(&mut self, command: Command) -> Result<(), Rejection> {
        let actor = String::new();
        self.feed(Input::Command { command, actor })
    }

    /// Nothing but a command is ever turned away.
    fn take(&mut self, input: Input) {
        let taken = self.feed(input);
        debug_assert!(taken.is_ok(), "{taken:?}");
    }

    fn answer(&mut self, call: InFlight, outcome: Outcome) {
        let InFlight {
            step,
            phase,
            attempt,
        } = call;
        self.take(Input::Attempt(Attempted {
            step,
            phase,
            attempt,
            outcome,
            draw: 0.0,
        }));
    }

    fn in_flight(&self, phase: Phase) -> Vec<InFlight> {
        let flying = self.saga.in_flight();
        flying.filter(|call| call.phase == phase).collect()
    }

    /// Compensations that wait for their next try, or for a guard, are under way, too.
    fn begin_what_waits(&mut self) {
        let held: Vec<_> = self.saga.held().collect();
        for (step, phase, _) in held {
            self.take(Input::LetThrough { step, phase });
        }
        while let Some(time) = self.saga.next_time() {
            self.now = self.now.max(time);
            let before = self.saga.seq;
            self.take(Input::Wake { draw: 0.0 });
            if self.saga.seq == before {
                break;
            }
        }
    }
}
