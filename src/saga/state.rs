//! The state of a saga: what its events have made of it.

mod waking;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use super::event::{Failure, Started};
use super::guard::Guard;
use super::id::{SagaId, Timestamp};
use super::outcome::{ActionOutcome, Status, StepError};
use crate::definition::model::{OnFailure, Position, Step};
use crate::definition::request::Phase;
use crate::definition::{Definition, StepIndex};

/// A saga as its journal tells it. Cheap to clone: payloads are shared.
#[derive(Clone, Debug, PartialEq)]
pub struct Saga {
    /// Its id.
    pub id: SagaId,
    /// What it started with.
    pub started: Arc<Started>,
    /// When it started.
    pub created_at: Timestamp,
    /// When its newest event happened.
    pub updated_at: Timestamp,
    /// When it finished.
    pub finished_at: Option<Timestamp>,
    /// Where it is heading, or where it ended.
    pub progress: Progress,
    /// Nothing new is sent while this is set.
    pub suspended: bool,
    /// Since when.
    pub suspended_at: Option<Timestamp>,
    /// Its time passed after the pivot.
    pub overdue: bool,
    /// Its time passed before the pivot; the deadline bounds nothing any more.
    pub timed_out: bool,
    /// Why it turned back (or will, once the pivot's outcome is known).
    pub cause: Option<Failure>,
    /// What stopped it, while it is failed.
    pub stop: Option<Failure>,
    /// The result.
    pub output: Option<Arc<Value>>,
    /// Why the result is missing.
    pub output_error: Option<String>,
    /// One record a step, in the order of the definition.
    pub steps: Vec<StepRecord>,
    /// Signals that no `wait` has taken yet, by name.
    pub signals: BTreeMap<String, VecDeque<Arc<Value>>>,
    /// The idempotency keys of signals, so that each is taken once.
    pub signal_keys: BTreeSet<String>,
    /// How many events it has; the next one gets this number plus one.
    pub seq: u64,
}

/// Where a saga is heading, or where it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Towards completion.
    Forward,
    /// Being undone (or waiting for attempts in flight to end before it is).
    Back,
    /// Stopped on the way forward.
    StoppedForward,
    /// Stopped on the way back.
    StoppedBack,
    /// Final.
    Completed,
    /// Final.
    Compensated,
}

/// What became of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRecord {
    /// Its state.
    pub state: StepState,
    /// Attempts at the action, begun.
    pub attempts: u32,
    /// Attempts at the compensation, begun.
    pub compensation_attempts: u32,
    /// Attempts begun of the current set; a `retry` gives a fresh one.
    pub tries: u32,
    /// An attempt at the action that a guard held back after a change of owners: it is not counted,
    /// but the owner before may have sent it.
    pub may_be_sent: bool,
    /// Until when a reply to the attempt in flight is awaited; none while its owner carries it out.
    pub awaited_until: Option<Timestamp>,
    /// No consumer could take the command of the attempt in flight, and it waits for an operator.
    pub dead_lettered: bool,
    /// The replies that came, the newest last.
    pub replies: Vec<SeenReply>,
    /// What it gave.
    pub output: Option<Arc<Value>>,
    /// The error of its last failed attempt, of whichever phase.
    pub error: Option<StepError>,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Since when it is in its state.
    pub since: Timestamp,
    /// The number of the event that ended its action: the order of completion.
    pub ended_seq: u64,
}

/// A reply that came: the same one twice is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenReply {
    /// Its own id.
    pub id: String,
    /// Whether the step had ended before.
    pub late: bool,
}

/// The state of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepState {
    /// Not begun.
    Pending,
    /// An attempt at the action is in flight.
    Running,
    /// The action's next attempt is due at this time.
    Retrying(Timestamp),
    /// A guard holds the action's next attempt back, until this time at the latest; none while it
    /// waits in its owner's memory, which is never so in a journal.
    Held(Guard, Option<Timestamp>),
    /// It waits for a signal, until this time.
    AwaitingSignal(Option<Timestamp>),
    /// It waits for this time.
    AwaitingTime(Timestamp),
    /// The action ended so.
    Ended(ActionOutcome),
    /// It was passed over.
    Skipped,
    /// An attempt at the compensation is in flight; the action ended so.
    Compensating(ActionOutcome),
    /// The compensation's next attempt is due at the time; the action ended so.
    CompensationRetrying(ActionOutcome, Timestamp),
    /// A guard holds the compensation's next attempt back, as with `Held`; the action ended so.
    CompensationHeld(ActionOutcome, Guard, Option<Timestamp>),
    /// It is undone; the action ended so.
    Compensated(ActionOutcome),
    /// It cannot be undone without a person; the action ended so.
    CompensationFailed(ActionOutcome),
}

impl StepState {
    /// What became of the action, once it has ended.
    #[must_use]
    pub fn action_outcome(self) -> Option<ActionOutcome> {
        match self {
            Self::Pending
            | Self::Running
            | Self::Retrying(_)
            | Self::Held(..)
            | Self::AwaitingSignal(_)
            | Self::AwaitingTime(_)
            | Self::Skipped => None,
            Self::Ended(outcome)
            | Self::Compensating(outcome)
            | Self::CompensationRetrying(outcome, _)
            | Self::CompensationHeld(outcome, ..)
            | Self::Compensated(outcome)
            | Self::CompensationFailed(outcome) => Some(outcome),
        }
    }

    /// The phase of the attempt that a guard holds back, which guard, and until when.
    #[must_use]
    pub fn held(self) -> Option<(Phase, Guard, Option<Timestamp>)> {
        match self {
            Self::Held(guard, until) => Some((Phase::Action, guard, until)),
            Self::CompensationHeld(_, guard, until) => Some((Phase::Compensation, guard, until)),
            Self::Pending
            | Self::Running
            | Self::Retrying(_)
            | Self::AwaitingSignal(_)
            | Self::AwaitingTime(_)
            | Self::Ended(_)
            | Self::Skipped
            | Self::Compensating(_)
            | Self::CompensationRetrying(..)
            | Self::Compensated(_)
            | Self::CompensationFailed(_) => None,
        }
    }

    /// When what it waits for is over at the latest, where that is known.
    #[must_use]
    pub fn until(self) -> Option<Timestamp> {
        match self {
            Self::Retrying(at) | Self::AwaitingTime(at) | Self::CompensationRetrying(_, at) => {
                Some(at)
            }
            Self::Held(_, until)
            | Self::CompensationHeld(_, _, until)
            | Self::AwaitingSignal(until) => until,
            Self::Pending
            | Self::Running
            | Self::Ended(_)
            | Self::Skipped
            | Self::Compensating(_)
            | Self::Compensated(_)
            | Self::CompensationFailed(_) => None,
        }
    }

    /// Which of the step's two calls it is about.
    #[must_use]
    pub fn phase(self) -> Phase {
        match self {
            Self::Pending
            | Self::Running
            | Self::Retrying(_)
            | Self::Held(..)
            | Self::AwaitingSignal(_)
            | Self::AwaitingTime(_)
            | Self::Ended(_)
            | Self::Skipped => Phase::Action,
            Self::Compensating(_)
            | Self::CompensationRetrying(..)
            | Self::CompensationHeld(..)
            | Self::Compensated(_)
            | Self::CompensationFailed(_) => Phase::Compensation,
        }
    }

    /// The phase of the attempt in flight, when there is one.
    #[must_use]
    pub fn in_flight(self) -> Option<Phase> {
        match self {
            Self::Running => Some(Phase::Action),
            Self::Compensating(_) => Some(Phase::Compensation),
            Self::Pending
            | Self::Retrying(_)
            | Self::Held(..)
            | Self::AwaitingSignal(_)
            | Self::AwaitingTime(_)
            | Self::Ended(_)
            | Self::Skipped
            | Self::CompensationRetrying(..)
            | Self::CompensationHeld(..)
            | Self::Compensated(_)
            | Self::CompensationFailed(_) => None,
        }
    }
}

impl StepRecord {
    /// A step that has not begun.
    pub(super) fn pending() -> Self {
        Self {
            state: StepState::Pending,
            attempts: 0,
            compensation_attempts: 0,
            tries: 0,
            may_be_sent: false,
            awaited_until: None,
            dead_lettered: false,
            replies: Vec::new(),
            output: None,
            error: None,
            started_at: None,
            finished_at: None,
            since: Timestamp::default(),
            ended_seq: 0,
        }
    }

    /// Whether the participant may have been asked for the action.
    #[must_use]
    pub fn may_be_done(&self) -> bool {
        self.attempts > 0 || self.may_be_sent
    }

    /// A reply with this id, if it came before.
    #[must_use]
    pub fn seen(&self, id: &str) -> Option<&SeenReply> {
        self.replies.iter().find(|seen| seen.id == id)
    }

    /// The number of the newest attempt of a phase.
    #[must_use]
    pub fn attempt(&self, phase: Phase) -> u32 {
        match phase {
            Phase::Action => self.attempts,
            Phase::Compensation => self.compensation_attempts,
        }
    }
}

/// A call that is in flight: what names one attempt for ever.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct InFlight {
    /// The step.
    pub step: StepIndex,
    /// Which of its calls.
    pub phase: Phase,
    /// Which attempt, from 1.
    pub attempt: u32,
}

/// What will wake a saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// An attempt is in its owner's hands: its end will.
    Active,
    /// This time will, if nothing from outside does before.
    Until(Timestamp),
    /// Only something from outside: a signal, an operator; or nothing, when it has finished.
    Outside,
}

impl Saga {
    /// The status on the wire.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.progress {
            Progress::Forward => Status::Running,
            Progress::Back => Status::Compensating,
            Progress::StoppedForward | Progress::StoppedBack => Status::Failed,
            Progress::Completed => Status::Completed,
            Progress::Compensated => Status::Compensated,
        }
    }

    /// Why it is compensated or failed, as it is shown.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.stop.as_ref().or(self.cause.as_ref())
    }

    /// Whether the point of no return is behind: the pivot succeeded, or the saga went on without
    /// it (its condition was false, or it was let go by `on_failure: continue`).
    #[must_use]
    pub fn past_pivot(&self, definition: &Definition) -> bool {
        let Some(pivot) = definition.pivot else {
            return false;
        };
        let forward = match self.progress {
            Progress::Forward | Progress::StoppedForward | Progress::Completed => true,
            Progress::Back | Progress::StoppedBack | Progress::Compensated => false,
        };
        self.step_state(pivot) == StepState::Ended(ActionOutcome::Succeeded)
            || forward && self.satisfied(definition, pivot)
    }

    /// Whether a step has ended in a way that lets what comes after it start.
    #[must_use]
    pub fn satisfied(&self, definition: &Definition, step: StepIndex) -> bool {
        let Some(record) = self.steps.get(step.offset()) else {
            return false;
        };
        match record.state {
            StepState::Skipped | StepState::Ended(ActionOutcome::Succeeded) => true,
            StepState::Ended(ActionOutcome::Refused | ActionOutcome::Unknown) => definition
                .step(step)
                .is_some_and(|step| step.on_failure == OnFailure::Continue),
            StepState::Pending
            | StepState::Running
            | StepState::Retrying(_)
            | StepState::Held(..)
            | StepState::AwaitingSignal(_)
            | StepState::AwaitingTime(_)
            | StepState::Compensating(_)
            | StepState::CompensationRetrying(..)
            | StepState::CompensationHeld(..)
            | StepState::Compensated(_)
            | StepState::CompensationFailed(_) => false,
        }
    }

    /// Whether a step keeps a failed saga from going on, so that a person has to `retry` it or
    /// `resolve` it.
    #[must_use]
    pub fn is_stopped_by(&self, step: &Step) -> bool {
        match self.step_state(step.index) {
            StepState::CompensationFailed(_) => self.progress == Progress::StoppedBack,
            StepState::Ended(ActionOutcome::Refused | ActionOutcome::Unknown) => {
                self.progress == Progress::StoppedForward
                    && step.on_failure == OnFailure::Compensate
                    && step.position != Position::Before
            }
            StepState::Pending
            | StepState::Running
            | StepState::Retrying(_)
            | StepState::Held(..)
            | StepState::AwaitingSignal(_)
            | StepState::AwaitingTime(_)
            | StepState::Ended(ActionOutcome::Succeeded)
            | StepState::Skipped
            | StepState::Compensating(_)
            | StepState::CompensationRetrying(..)
            | StepState::CompensationHeld(..)
            | StepState::Compensated(_) => false,
        }
    }

    /// The attempts in flight.
    pub fn in_flight(&self) -> impl Iterator<Item = InFlight> + '_ {
        self.steps
            .iter()
            .zip(0_u16..)
            .filter_map(|(record, index)| {
                let phase = record.state.in_flight()?;
                Some(InFlight {
                    step: StepIndex(index),
                    phase,
                    attempt: record.attempt(phase),
                })
            })
    }

    /// The attempts in flight that nobody else has for good: their owner carries them out, and a
    /// new owner sends them again.
    pub fn in_hand(&self) -> impl Iterator<Item = InFlight> + '_ {
        self.in_flight()
            .filter(|call| self.awaited_until(call.step).is_none())
    }

    /// Until when a reply to a step's attempt in flight is awaited.
    #[must_use]
    pub fn awaited_until(&self, step: StepIndex) -> Option<Timestamp> {
        self.record(step)?.awaited_until
    }

    /// Whether attempts may be sent: not while suspended, stopped or finished.
    #[must_use]
    pub fn sends(&self) -> bool {
        !self.suspended && matches!(self.progress, Progress::Forward | Progress::Back)
    }

    /// The time that bounds the attempts of actions.
    #[must_use]
    pub fn not_after(&self, definition: &Definition) -> Option<Timestamp> {
        if self.timed_out && self.progress == Progress::Forward || self.past_pivot(definition) {
            return None;
        }
        self.started.deadline
    }

    pub(super) fn record(&self, step: StepIndex) -> Option<&StepRecord> {
        self.steps.get(step.offset())
    }

    /// The state of a step; one that the definition does not have counts as skipped.
    #[must_use]
    pub fn step_state(&self, step: StepIndex) -> StepState {
        self.record(step)
            .map_or(StepState::Skipped, |record| record.state)
    }
}
