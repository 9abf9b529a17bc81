//! Deciding: a saga's state and one input give the facts that now hold.
//!
//! [`decide`] records what the input itself tells, and then *settles* the saga: it goes as far as
//! it can without another input (times that have come, steps that may start, steps to be undone,
//! the end). The files below hold one idea each: `attempt` what the end of an attempt means,
//! `forward` and `back` the two directions, `command` what a person asks for, `reply` what
//! participants tell later, `signal`.

mod attempt;
mod back;
mod command;
mod forward;
mod reply;
mod signal;

use super::apply::TIMED_OUT;
use super::event::{Event, Failure, Resolution, Started};
use super::facts::SagaFacts;
use super::id::{SagaId, Timestamp};
use super::input::{Input, Rejection};
use super::outcome::StepError;
use super::state::{InFlight, Progress, Saga, StepState};
use crate::definition::expression::{ExpressionError, Scope};
use crate::definition::request::{Phase, Request};
use crate::definition::{Definition, StepIndex};

/// What an input came to.
#[derive(Debug)]
pub struct Decision {
    /// The facts that now hold, in order; empty when the input changed nothing. They belong into
    /// the journal together.
    pub events: Vec<Event>,
    /// The state after them: what replaying them on the state before gives.
    pub saga: Saga,
    /// The rendered requests of the attempts that begin with these events. Nothing may be sent
    /// before the events are durable (I6).
    pub requests: Vec<Prepared>,
}

/// An attempt that begins, and what it asks.
#[derive(Debug)]
pub struct Prepared {
    /// Which attempt.
    pub call: InFlight,
    /// What it asks.
    pub request: Request,
    /// Whether the owner of the saga before this one may have sent it; never so for an attempt that
    /// begins with a decision.
    pub sent: bool,
}

/// The start of a saga.
#[must_use]
pub fn start(definition: &Definition, id: SagaId, started: Started, now: Timestamp) -> Decision {
    let event = Event::SagaStarted(Box::new(started));
    let Ok(saga) = Saga::begin(id, definition.steps.len(), &event, now) else {
        unreachable!("a start begins a saga");
    };
    let mut deciding = Deciding {
        definition,
        saga,
        now,
        events: vec![event],
        requests: Vec::new(),
    };
    deciding.settle();
    deciding.finish()
}

/// What `input`, arriving at `now`, makes of `saga`.
///
/// # Errors
/// When the input cannot be taken in the saga's state; nothing has changed then.
pub fn decide(
    definition: &Definition,
    saga: &Saga,
    input: Input,
    now: Timestamp,
) -> Result<Decision, Rejection> {
    // Clocks of different replicas differ, and a journal whose times run backwards would make
    // waits longer than they were declared.
    let now = now.max(saga.updated_at);
    let mut deciding = Deciding {
        definition,
        saga: saga.clone(),
        now,
        events: Vec::new(),
        requests: Vec::new(),
    };
    match input {
        Input::Attempt(attempted) => deciding.attempt_ended(attempted),
        Input::Held(held) => deciding.attempt_held(held),
        Input::LetThrough { step, phase } => deciding.let_through(step, phase),
        Input::Accepted { call, until } => deciding.accepted(call, until),
        Input::Reply(replied) => deciding.reply(replied)?,
        Input::DeadLettered(letter) => deciding.dead_lettered(letter),
        Input::Wake { draw } => deciding.give_up_waiting(draw),
        Input::Signal {
            name,
            payload,
            key,
            actor,
        } => {
            deciding.signal(name, payload, key, actor)?;
        }
        Input::Command { command, actor } => deciding.command(command, actor)?,
    }
    deciding.settle();
    Ok(deciding.finish())
}

/// Renders the request of an attempt that a journal says is in flight, to send it again after a
/// restart. The same journal always gives the same request.
///
/// # Errors
/// When the step has no such call, or an expression fails that did not fail before: the
/// attempt is then refused with `expression_failed`.
pub fn render(
    definition: &Definition,
    saga: &Saga,
    call: InFlight,
) -> Result<Request, ExpressionError> {
    let step = definition.step(call.step);
    let declared = step.and_then(|step| match call.phase {
        Phase::Action => step.action().map(|action| &action.call),
        Phase::Compensation => step.compensation().map(|compensation| &compensation.call),
    });
    let Some(declared) = declared else {
        return Err(ExpressionError {
            expression: String::new(),
            place: format!("step {}", call.step.0),
            reason: format!("the definition declares no {} for it", call.phase.as_str()),
        });
    };
    let facts = SagaFacts::of(definition, saga, call.phase);
    declared.render(call.step, call.phase, &Scope::new(&facts))
}

/// How a person could resolve a step now.
#[must_use]
pub fn resolutions(definition: &Definition, saga: &Saga, step: StepIndex) -> Vec<Resolution> {
    let deciding = Deciding {
        definition,
        saga: saga.clone(),
        now: saga.updated_at,
        events: Vec::new(),
        requests: Vec::new(),
    };
    let mut all = Resolution::ALL.to_vec();
    all.retain(|resolution| deciding.resolvable(step, *resolution));
    all
}

/// One decision in the making: a scratch copy of the saga, advanced event by event.
struct Deciding<'a> {
    definition: &'a Definition,
    saga: Saga,
    now: Timestamp,
    events: Vec<Event>,
    requests: Vec<Prepared>,
}

impl Deciding<'_> {
    /// Records a fact.
    fn emit(&mut self, event: Event) {
        let applied = self.saga.apply(&event, self.now);
        debug_assert!(
            applied.is_ok(),
            "decided an event that does not apply: {applied:?}"
        );
        self.events.push(event);
    }

    /// Goes as far as the saga can without another input.
    fn settle(&mut self) {
        loop {
            let before = self.events.len();
            match self.saga.progress {
                Progress::Forward => self.settle_forward(),
                Progress::Back => self.settle_back(),
                Progress::StoppedForward
                | Progress::StoppedBack
                | Progress::Completed
                | Progress::Compensated => return,
            }
            if self.events.len() == before {
                return;
            }
        }
    }

    /// Begins an attempt, its request already rendered.
    fn begin_attempt(&mut self, step: StepIndex, phase: Phase, request: Request) {
        self.emit(Event::AttemptStarted { step, phase });
        let attempt = self
            .saga
            .record(step)
            .map_or(1, |record| record.attempt(phase));
        self.requests.push(Prepared {
            call: InFlight {
                step,
                phase,
                attempt,
            },
            request,
            sent: false,
        });
    }

    /// Renders the next attempt of a step.
    fn prepare(&self, step: StepIndex, phase: Phase) -> Result<Request, StepError> {
        let attempt = self
            .saga
            .record(step)
            .map_or(0, |record| record.attempt(phase))
            + 1;
        render(
            self.definition,
            &self.saga,
            InFlight {
                step,
                phase,
                attempt,
            },
        )
        .map_err(|error| expression_failed(&error))
    }

    /// Turns the saga back.
    fn turn_back(&mut self, failure: Failure) {
        self.emit(Event::SagaCompensating { failure });
        for step in self.steps() {
            match self.saga.step_state(step) {
                StepState::Retrying(_) => self.end_as_unknown(step),
                // One that was to begin anew after a `retry`, or that a guard held back.
                StepState::Pending | StepState::Held(..) if self.may_be_done(step) => {
                    self.end_as_unknown(step);
                }
                StepState::AwaitingSignal(_) | StepState::AwaitingTime(_) => {
                    self.emit(Event::StepSkipped { step });
                }
                StepState::Pending
                | StepState::Held(..)
                | StepState::Running
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

    fn may_be_done(&self, step: StepIndex) -> bool {
        self.saga
            .record(step)
            .is_some_and(super::state::StepRecord::may_be_done)
    }

    fn end_as_unknown(&mut self, step: StepIndex) {
        let error = self.last_error(step);
        self.emit(Event::StepUnknown { step, error });
    }

    fn time_is_up(&self) -> Failure {
        Failure {
            step: None,
            code: TIMED_OUT.to_owned(),
            message: "the saga's time was up".to_owned(),
        }
    }

    fn last_error(&self, step: StepIndex) -> StepError {
        self.saga
            .record(step)
            .and_then(|record| record.error.clone())
            .unwrap_or_else(|| StepError::new("unknown", "nobody knows whether it was done"))
    }

    /// Every step, in the order of the document.
    fn steps(&self) -> impl Iterator<Item = StepIndex> + use<> {
        (0..u16::try_from(self.definition.steps.len()).unwrap_or(u16::MAX)).map(StepIndex)
    }

    fn finish(self) -> Decision {
        Decision {
            events: self.events,
            saga: self.saga,
            requests: self.requests,
        }
    }
}

fn expression_failed(error: &ExpressionError) -> StepError {
    StepError::new(EXPRESSION_FAILED, error.to_string())
}

/// The code of a step whose expression failed.
pub const EXPRESSION_FAILED: &str = "expression_failed";
/// The code of a saga whose pivot may or may not have been done.
pub const PIVOT_UNKNOWN: &str = "pivot_unknown";
/// The code of a saga that cannot be undone without a person.
pub const COMPENSATION_FAILED: &str = "compensation_failed";
/// The code of a `wait` whose signal did not come in time.
pub const WAIT_TIMED_OUT: &str = "wait_timed_out";
/// The code of a saga that somebody cancelled.
pub const CANCELLED: &str = "cancelled";
