//! A saga on the wire: the summary that lists and starts answer, and the whole with its steps.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::Value;
use utoipa::ToSchema;

use super::At;
use crate::api::openapi::{examples, words};
use crate::definition::model::{Step, StepKind};
use crate::definition::{Definition, StepIndex};
use crate::engine::Snapshot;
use crate::saga::{Failure, Guard, Saga, SagaId, StepError, StepRecord, StepState};

/// A saga without its payloads and steps.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(examples::summary))]
pub struct Summary<'a> {
    /// Its id.
    #[schema(value_type = Uuid)]
    pub id: SagaId,
    /// The definition's name.
    pub definition: &'a str,
    /// The definition's version.
    pub version: u32,
    /// The business key.
    #[schema(required)]
    pub key: Option<&'a str>,
    /// Labels, the definition's and its own.
    pub labels: &'a BTreeMap<String, String>,
    /// The status's word.
    #[schema(schema_with = words::saga_status)]
    pub status: &'static str,
    /// Nothing new is sent while this is set.
    pub suspended: bool,
    /// Its time passed after the pivot.
    pub overdue: bool,
    /// Why it is compensated or failed.
    #[schema(required)]
    pub failure: Option<FailureView<'a>>,
    /// When it started.
    pub created_at: At,
    /// When something last happened.
    pub updated_at: At,
    /// When it finished.
    #[schema(required)]
    pub finished_at: Option<At>,
    /// When its time is up.
    #[schema(required)]
    pub deadline: Option<At>,
}

/// A whole saga. The order of the members is the one of the documentation.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(examples::saga), as = Saga)]
pub struct Whole<'a> {
    /// Its id.
    #[schema(value_type = Uuid)]
    pub id: SagaId,
    /// The definition's name.
    pub definition: &'a str,
    /// The definition's version.
    pub version: u32,
    /// The business key.
    #[schema(required)]
    pub key: Option<&'a str>,
    /// Labels, the definition's and its own.
    pub labels: &'a BTreeMap<String, String>,
    /// The status's word.
    #[schema(schema_with = words::saga_status)]
    pub status: &'static str,
    /// Nothing new is sent while this is set.
    pub suspended: bool,
    /// Its time passed after the pivot.
    pub overdue: bool,
    /// What it started with.
    pub input: &'a Value,
    /// Its result.
    #[schema(required)]
    pub output: Option<&'a Value>,
    /// Why the result is missing.
    #[schema(required)]
    pub output_error: Option<&'a str>,
    /// Why it is compensated or failed.
    #[schema(required)]
    pub failure: Option<FailureView<'a>>,
    /// When it started.
    pub created_at: At,
    /// When something last happened.
    pub updated_at: At,
    /// When it finished.
    #[schema(required)]
    pub finished_at: Option<At>,
    /// When its time is up.
    #[schema(required)]
    pub deadline: Option<At>,
    /// Its steps, in the order of the definition.
    pub steps: Vec<StepView<'a>>,
}

/// Why a saga is compensated or failed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Failure)]
pub struct FailureView<'a> {
    /// The step that failed; null for a cancel or a timeout.
    #[schema(required)]
    pub step: Option<&'a str>,
    /// A stable word.
    pub code: &'a str,
    /// A sentence for people.
    pub message: &'a str,
}

/// A step of a saga.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Step)]
pub struct StepView<'a> {
    /// Its id in the definition.
    pub id: &'a str,
    /// The status's word.
    #[schema(schema_with = words::step_status)]
    pub status: &'static str,
    /// Attempts at the action.
    pub attempts: u32,
    /// Attempts at the compensation.
    pub compensation_attempts: u32,
    /// When it began.
    #[schema(required)]
    pub started_at: Option<At>,
    /// When it ended.
    #[schema(required)]
    pub finished_at: Option<At>,
    /// When the next attempt begins.
    #[schema(required)]
    pub next_attempt_at: Option<At>,
    /// On what it waits.
    #[schema(schema_with = words::waiting_for)]
    pub waiting_for: Option<WaitingFor<'a>>,
    /// What it gave.
    #[schema(required)]
    pub output: Option<&'a Value>,
    /// The error of its last failed attempt.
    #[schema(required)]
    pub error: Option<ErrorView<'a>>,
}

/// The error of an attempt.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StepError)]
pub struct ErrorView<'a> {
    /// A stable word.
    pub code: &'a str,
    /// A sentence for people.
    pub message: &'a str,
}

/// On what a step waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitingFor<'a> {
    /// The end of the attempt in flight.
    Reply,
    /// A signal of this name.
    Signal(&'a str),
    /// A time.
    Time,
    /// The next attempt.
    Retry,
    /// A guard that holds the next attempt back.
    Guard(Guard),
    /// A person.
    Operator,
}

impl Serialize for WaitingFor<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Reply => serializer.serialize_str("reply"),
            Self::Signal(name) => serializer.collect_str(&format_args!("signal:{name}")),
            Self::Time => serializer.serialize_str("time"),
            Self::Retry => serializer.serialize_str("retry"),
            Self::Guard(guard) => serializer.serialize_str(guard.as_str()),
            Self::Operator => serializer.serialize_str("operator"),
        }
    }
}

impl<'a> Summary<'a> {
    /// The summary of a saga.
    #[must_use]
    pub fn of(snapshot: &'a Snapshot) -> Self {
        let Snapshot { definition, saga } = snapshot;
        Self {
            id: saga.id,
            definition: &saga.started.definition,
            version: saga.started.version,
            key: saga.started.key.as_deref(),
            labels: &saga.started.labels,
            status: saga.status().as_str(),
            suspended: saga.suspended,
            overdue: saga.overdue,
            failure: saga
                .failure()
                .map(|failure| FailureView::of(failure, definition)),
            created_at: At(saga.created_at),
            updated_at: At(saga.updated_at),
            finished_at: saga.finished_at.map(At),
            deadline: saga.started.deadline.map(At),
        }
    }
}

impl<'a> Whole<'a> {
    /// The whole of a saga.
    #[must_use]
    pub fn of(snapshot: &'a Snapshot) -> Self {
        let Snapshot { definition, saga } = snapshot;
        let steps = definition.steps.iter().zip(&saga.steps);
        Self {
            input: &saga.started.input,
            output: saga.output.as_deref(),
            output_error: saga.output_error.as_deref(),
            steps: steps
                .map(|(step, record)| StepView::of(saga, step, record))
                .collect(),
            ..Self::without_steps(Summary::of(snapshot))
        }
    }

    /// The whole of a saga of which no more than the summary can be read.
    #[must_use]
    pub fn without_steps(summary: Summary<'a>) -> Self {
        Self {
            id: summary.id,
            definition: summary.definition,
            version: summary.version,
            key: summary.key,
            labels: summary.labels,
            status: summary.status,
            suspended: summary.suspended,
            overdue: summary.overdue,
            input: &Value::Null,
            output: None,
            output_error: None,
            failure: summary.failure,
            created_at: summary.created_at,
            updated_at: summary.updated_at,
            finished_at: summary.finished_at,
            deadline: summary.deadline,
            steps: Vec::new(),
        }
    }
}

impl<'a> FailureView<'a> {
    /// A failure, its step by name.
    #[must_use]
    pub fn of(failure: &'a Failure, definition: &'a Definition) -> Self {
        Self {
            step: failure.step.map(|step| step_id(definition, step)),
            code: &failure.code,
            message: &failure.message,
        }
    }
}

/// The id of a step. The journal names only steps of the definition; replaying it checks that.
#[must_use]
pub fn step_id(definition: &Definition, step: StepIndex) -> &str {
    definition.step(step).map_or("?", |step| step.id.as_str())
}

impl<'a> StepView<'a> {
    fn of(saga: &Saga, step: &'a Step, record: &'a StepRecord) -> Self {
        let (status, waiting_for) = step_words(saga, step, record);
        Self {
            id: &step.id,
            status,
            attempts: record.attempts,
            compensation_attempts: record.compensation_attempts,
            started_at: record.started_at.map(At),
            finished_at: record.finished_at.map(At),
            next_attempt_at: match record.state {
                StepState::Retrying(at) | StepState::CompensationRetrying(_, at) => Some(At(at)),
                StepState::Held(_, until) | StepState::CompensationHeld(_, _, until) => {
                    until.map(At)
                }
                StepState::Pending
                | StepState::Running
                | StepState::AwaitingSignal(_)
                | StepState::AwaitingTime(_)
                | StepState::Ended(_)
                | StepState::Skipped
                | StepState::Compensating(_)
                | StepState::Compensated(_)
                | StepState::CompensationFailed(_) => None,
            },
            waiting_for,
            output: record.output.as_deref(),
            error: record.error.as_ref().map(ErrorView::of),
        }
    }
}

impl<'a> ErrorView<'a> {
    /// The error of an attempt.
    #[must_use]
    pub fn of(error: &'a StepError) -> Self {
        Self {
            code: &error.code,
            message: &error.message,
        }
    }
}

/// The word for a step's state, and on what it waits.
pub fn step_words<'a>(
    saga: &Saga,
    step: &'a Step,
    record: &StepRecord,
) -> (&'static str, Option<WaitingFor<'a>>) {
    let in_flight = Some(if record.dead_lettered {
        WaitingFor::Operator
    } else {
        WaitingFor::Reply
    });
    let operator = saga.is_stopped_by(step).then_some(WaitingFor::Operator);
    match record.state {
        StepState::Pending => ("pending", None),
        StepState::Running if record.awaited_until.is_some() || record.dead_lettered => {
            ("waiting", in_flight)
        }
        StepState::Running => ("running", in_flight),
        StepState::Retrying(_) => ("waiting", Some(WaitingFor::Retry)),
        StepState::Held(guard, _) => ("waiting", Some(WaitingFor::Guard(guard))),
        StepState::AwaitingSignal(_) => ("waiting", signal_of(step)),
        StepState::AwaitingTime(_) => ("waiting", Some(WaitingFor::Time)),
        StepState::Ended(outcome) => (outcome.as_str(), operator),
        StepState::Skipped => ("skipped", None),
        StepState::Compensating(_) => ("compensating", in_flight),
        StepState::CompensationRetrying(..) => ("compensating", Some(WaitingFor::Retry)),
        StepState::CompensationHeld(_, guard, _) => {
            ("compensating", Some(WaitingFor::Guard(guard)))
        }
        StepState::Compensated(_) => ("compensated", None),
        StepState::CompensationFailed(_) => ("compensation_failed", operator),
    }
}

fn signal_of(step: &Step) -> Option<WaitingFor<'_>> {
    match &step.kind {
        StepKind::Wait(wait) => Some(WaitingFor::Signal(&wait.signal)),
        StepKind::Action(_) | StepKind::Delay(_) => None,
    }
}
