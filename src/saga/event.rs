//! The facts about a saga. The journal is made of them, and nothing else: replaying them with
//! [`Saga::apply`](super::Saga::apply) gives exactly the state that was.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::guard::Guard;
use super::id::Timestamp;
use super::outcome::StepError;
use crate::definition::StepIndex;
use crate::definition::request::Phase;

/// One fact about one saga. What several events of one input tell is made durable together.
///
/// The serialised form is the journal's: a variant or a member is never renamed, and a new member
/// has a default, so that the events of the last release stay readable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The saga was accepted.
    SagaStarted(Box<Started>),
    /// An attempt at an action or a compensation begins; its number is one more than the last.
    AttemptStarted {
        /// The step.
        step: StepIndex,
        /// Which of its calls.
        phase: Phase,
    },
    /// An attempt failed and the next one is due at `retry_at`.
    AttemptFailed {
        /// The step.
        step: StepIndex,
        /// Which of its calls.
        phase: Phase,
        /// Why.
        error: StepError,
        /// When the next attempt is due.
        retry_at: Timestamp,
    },
    /// A guard holds the attempt back that had begun: nothing was sent, it is taken back, and it
    /// begins anew at `until` if it is not let through before.
    AttemptHeld {
        /// The step.
        step: StepIndex,
        /// Which of its calls.
        phase: Phase,
        /// Which guard.
        guard: Guard,
        /// When it begins anew at the latest.
        until: Timestamp,
        /// Whether an owner before this one may have sent it.
        #[serde(default, skip_serializing_if = "is_false")]
        sent: bool,
    },
    /// The participant has an attempt for good, and a reply will tell what came of it: nobody has
    /// to send it again.
    AttemptAccepted {
        /// The step.
        step: StepIndex,
        /// Which of its calls.
        phase: Phase,
        /// When it is given up.
        until: Timestamp,
    },
    /// No consumer could take the command of an attempt, and it waits for an operator.
    AttemptDeadLettered {
        /// The step.
        step: StepIndex,
        /// Which of its calls.
        phase: Phase,
        /// Why.
        error: StepError,
    },
    /// A reply came, and was taken: what it says follows. It is one reply however often it comes.
    ReplyTaken {
        /// The step.
        step: StepIndex,
        /// Which of its calls.
        phase: Phase,
        /// The reply's own id.
        id: String,
    },
    /// A `wait` step began to wait.
    WaitStarted {
        /// The step.
        step: StepIndex,
        /// When it gives up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// A `delay` step began to wait.
    DelayStarted {
        /// The step.
        step: StepIndex,
        /// When it is over.
        until: Timestamp,
    },
    /// A `wait` step took the oldest kept signal of its name.
    SignalTaken {
        /// The step.
        step: StepIndex,
        /// The signal's name.
        name: String,
    },
    /// A step did what it had to do.
    StepSucceeded {
        /// The step.
        step: StepIndex,
        /// What it gave.
        #[serde(default, skip_serializing_if = "is_null")]
        output: Arc<Value>,
    },
    /// A step was not done and will not be.
    StepRefused {
        /// The step.
        step: StepIndex,
        /// Why.
        error: StepError,
    },
    /// Nobody knows whether a step was done.
    StepUnknown {
        /// The step.
        step: StepIndex,
        /// The last thing that went wrong.
        error: StepError,
    },
    /// A step's condition was false, or the saga turned back while it waited.
    StepSkipped {
        /// The step.
        step: StepIndex,
    },
    /// A step is undone (or there was nothing to undo).
    StepCompensated {
        /// The step.
        step: StepIndex,
    },
    /// A step cannot be undone without a person.
    CompensationFailed {
        /// The step.
        step: StepIndex,
        /// Why.
        error: StepError,
    },
    /// The saga turned back.
    SagaCompensating {
        /// Why.
        failure: Failure,
    },
    /// The pivot succeeded after the saga had been told to turn back: it goes forward after all.
    SagaWentForward,
    /// Its time is up, but it is past its pivot.
    SagaOverdue,
    /// It can go neither forward nor back without a person.
    SagaFailed {
        /// What stopped it.
        failure: Failure,
        /// Whether it was going forward.
        forward: bool,
    },
    /// What stopped it is settled: it goes on in the direction it was going.
    SagaUnblocked,
    /// Every step has ended.
    SagaCompleted {
        /// The saga's result.
        #[serde(default, skip_serializing_if = "is_null")]
        output: Arc<Value>,
        /// Why the result is null although the definition declares one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output_error: Option<String>,
    },
    /// Everything that was due to be undone is.
    SagaCompensated,
    /// Somebody asked to turn back.
    SagaCancelled {
        /// Who.
        actor: String,
        /// Why, in their words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Nothing new is sent from here on.
    SagaSuspended {
        /// Who asked for it.
        actor: String,
    },
    /// The saga goes on after a suspension.
    SagaResumed {
        /// Who asked for it.
        actor: String,
    },
    /// What stopped a failed saga is tried again.
    SagaRetried {
        /// Who asked for it.
        actor: String,
        /// The steps that get a fresh set of attempts.
        steps: Vec<StepIndex>,
    },
    /// A person settled a step by hand.
    StepResolved {
        /// The step.
        step: StepIndex,
        /// How.
        resolution: Resolution,
        /// Who.
        actor: String,
        /// Why, in their words.
        note: String,
        /// The output they gave it.
        #[serde(default, skip_serializing_if = "is_null")]
        output: Arc<Value>,
    },
    /// A signal arrived and is kept until a `wait` step takes it.
    SignalReceived {
        /// Its name.
        name: String,
        /// What came with it.
        #[serde(default, skip_serializing_if = "is_null")]
        payload: Arc<Value>,
        /// The sender's idempotency key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// Who sent it.
        actor: String,
    },
    /// A reply came for a step that had ended; nothing changed.
    LateReply {
        /// The step.
        step: StepIndex,
        /// Which of its calls.
        phase: Phase,
        /// The attempt it answered.
        attempt: u32,
        /// `succeeded`, `refused`, `transient` or `unknown`.
        outcome: String,
        /// The reply's own id, where it came as a message or a callback.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply: Option<String>,
    },
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_null(value: &Arc<Value>) -> bool {
    value.is_null()
}

/// What a saga starts with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// The definition's name.
    pub definition: String,
    /// The version it keeps for ever.
    pub version: u32,
    /// The business key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Labels, the definition's and its own together.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The input.
    pub input: Arc<Value>,
    /// When its time is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// The caller's W3C trace context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The vendor part of the trace context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<String>,
    /// Who started it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub actor: String,
}

/// Why a saga turned back or stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The step that failed; none for a cancel or a timeout of the saga.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepIndex>,
    /// A stable word.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

impl Failure {
    /// The failure of a step.
    #[must_use]
    pub fn of_step(step: StepIndex, error: &StepError) -> Self {
        Self {
            step: Some(step),
            code: error.code.clone(),
            message: error.message.clone(),
        }
    }
}

/// How a person settled a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// It was done.
    Succeeded,
    /// The saga goes on without it.
    Skipped,
    /// It was not done.
    Refused,
    /// It was undone.
    Compensated,
}

impl Resolution {
    /// Every resolution.
    pub const ALL: [Self; 4] = [
        Self::Succeeded,
        Self::Skipped,
        Self::Refused,
        Self::Compensated,
    ];
}
