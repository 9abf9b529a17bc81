//! The facts of a journal on the wire: one flat object each, steps by their ids, times in
//! RFC 3339.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, RefBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

use super::At;
use super::saga::{ErrorView, FailureView, step_id};
use crate::api::openapi::{examples, words};
use crate::definition::Definition;
use crate::definition::request::Phase;
use crate::saga::{Event, Failure, Resolution, Started, StepError, Timestamp};

/// One fact, numbered.
#[derive(Debug, Serialize)]
pub struct EventView<'a> {
    /// Its number in the saga's journal, from 1.
    pub seq: u64,
    /// When it happened.
    pub at: At,
    /// What happened.
    #[serde(flatten)]
    pub fact: Fact<'a>,
}

/// What happened. Only the members that belong to the type are there.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Fact<'a> {
    /// The type, the same word as in the journal.
    #[schema(schema_with = words::event_type)]
    pub r#type: &'static str,
    /// The step that it happened to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<&'a str>,
    /// `action` or `compensation`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = words::phase, required = false)]
    pub phase: Option<&'static str>,
    /// Which attempt, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// What the attempt came to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<&'a str>,
    /// The id of the reply that came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<&'a str>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorView<'a>>,
    /// When the next attempt is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<At>,
    /// The guard that holds it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guard: Option<&'static str>,
    /// When a wait is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<At>,
    /// The name of a signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<&'a str>,
    /// What came with a signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<&'a Value>,
    /// What a step or the saga gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<&'a Value>,
    /// Why the saga's result is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_error: Option<&'a str>,
    /// Why the saga turned back or stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureView<'a>>,
    /// How a person settled a step.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = words::resolution, required = false)]
    pub resolution: Option<&'static str>,
    /// The steps that are tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<&'a str>>,
    /// Who did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<&'a str>,
    /// Why, in their words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// Why a step was settled so, in their words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<&'a str>,
    /// With what the saga started.
    #[serde(flatten)]
    #[schema(ignore)]
    pub start: Option<Start<'a>>,
}

/// With what a saga started.
#[derive(Debug, Serialize, ToSchema)]
pub struct Start<'a> {
    /// The definition's name.
    definition: &'a str,
    /// The definition's version.
    version: u32,
    /// The business key.
    key: Option<&'a str>,
    /// Labels, the definition's and its own.
    labels: &'a BTreeMap<String, String>,
    /// What the saga started with.
    input: &'a Value,
    /// When its time is up.
    deadline: Option<At>,
}

/// One flat object: what `flatten` makes of the three.
impl PartialSchema for EventView<'_> {
    fn schema() -> RefOr<Schema> {
        let at = RefBuilder::new()
            .ref_location_from_schema_name(At::name())
            .description(Some("When it happened."));
        let mut event = ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::Object))
            .description(Some(
                "One fact of a saga's journal. Only the members of its type are there.",
            ))
            .property("seq", words::seq())
            .property("at", at)
            .required("seq")
            .required("at")
            .required("type")
            .examples([examples::event()])
            .build();
        for part in [Fact::schema(), Start::schema()] {
            if let RefOr::T(Schema::Object(part)) = part {
                event.properties.extend(part.properties);
            }
        }
        event.into()
    }
}

impl ToSchema for EventView<'_> {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Event")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Fact::schemas(schemas);
        Start::schemas(schemas);
    }
}

impl<'a> EventView<'a> {
    /// A fact of a saga of `definition`.
    #[must_use]
    pub fn of(definition: &'a Definition, seq: u64, at: Timestamp, event: &'a Event) -> Self {
        Self {
            seq,
            at: At(at),
            fact: fact(definition, event),
        }
    }

    /// A row of the journal that cannot be read.
    #[must_use]
    pub fn unreadable(seq: u64, at: Timestamp) -> Self {
        Self {
            seq,
            at: At(at),
            fact: Fact {
                r#type: "unreadable",
                ..Fact::default()
            },
        }
    }
}

fn fact<'a>(definition: &'a Definition, event: &'a Event) -> Fact<'a> {
    fact_of_step(definition, event)
        .or_else(|| fact_of_saga(definition, event))
        .unwrap_or_default()
}

/// The facts about a step.
#[expect(
    clippy::too_many_lines,
    reason = "one arm an event, every variant named"
)]
fn fact_of_step<'a>(definition: &'a Definition, event: &'a Event) -> Option<Fact<'a>> {
    let at = |r#type, step| Fact {
        step: Some(step_id(definition, step)),
        ..Fact::of(r#type)
    };
    Some(match event {
        Event::AttemptStarted { step, phase } => at("attempt_started", *step).phase(*phase),
        Event::AttemptFailed {
            step,
            phase,
            error,
            retry_at,
        } => {
            let failed = at("attempt_failed", *step).phase(*phase).error(error);
            Fact {
                retry_at: Some(At(*retry_at)),
                ..failed
            }
        }
        Event::AttemptHeld {
            step,
            phase,
            guard,
            until,
            sent: _,
        } => {
            let held = at("attempt_held", *step).phase(*phase).until(Some(*until));
            Fact {
                guard: Some(guard.as_str()),
                ..held
            }
        }
        Event::AttemptAccepted { step, phase, until } => at("attempt_accepted", *step)
            .phase(*phase)
            .until(Some(*until)),
        Event::AttemptDeadLettered { step, phase, error } => at("attempt_dead_lettered", *step)
            .phase(*phase)
            .error(error),
        Event::ReplyTaken { step, phase, id } => Fact {
            reply: Some(id),
            ..at("reply_taken", *step).phase(*phase)
        },
        Event::WaitStarted { step, until } => at("wait_started", *step).until(*until),
        Event::DelayStarted { step, until } => at("delay_started", *step).until(Some(*until)),
        Event::SignalTaken { step, name } => at("signal_taken", *step).signal(name),
        Event::StepSucceeded { step, output } => at("step_succeeded", *step).output(output),
        Event::StepRefused { step, error } => at("step_refused", *step).error(error),
        Event::StepUnknown { step, error } => at("step_unknown", *step).error(error),
        Event::StepSkipped { step } => at("step_skipped", *step),
        Event::StepCompensated { step } => at("step_compensated", *step),
        Event::CompensationFailed { step, error } => at("compensation_failed", *step).error(error),
        Event::LateReply {
            step,
            phase,
            attempt,
            outcome,
            reply,
        } => {
            let late = at("late_reply", *step).phase(*phase);
            Fact {
                attempt: Some(*attempt),
                outcome: Some(outcome),
                reply: reply.as_deref(),
                ..late
            }
        }
        Event::StepResolved {
            step,
            resolution,
            actor,
            note,
            output,
        } => {
            let resolved = at("step_resolved", *step).actor(actor).output(output);
            let resolution = Some(resolution_word(*resolution));
            Fact {
                resolution,
                note: Some(note),
                ..resolved
            }
        }
        Event::SagaStarted(_)
        | Event::SagaCompensating { .. }
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
        | Event::SignalReceived { .. } => return None,
    })
}

/// The facts about the saga as a whole.
#[expect(
    clippy::too_many_lines,
    reason = "one arm an event, every variant named"
)]
fn fact_of_saga<'a>(definition: &'a Definition, event: &'a Event) -> Option<Fact<'a>> {
    let of = Fact::of;
    let why = |r#type, failure: &'a Failure| Fact {
        failure: Some(FailureView::of(failure, definition)),
        ..of(r#type)
    };
    Some(match event {
        Event::SagaStarted(started) => started_fact(started),
        Event::SagaCompensating { failure } => why("saga_compensating", failure),
        Event::SagaWentForward => of("saga_went_forward"),
        Event::SagaOverdue => of("saga_overdue"),
        Event::SagaFailed {
            failure,
            forward: _,
        } => why("saga_failed", failure),
        Event::SagaUnblocked => of("saga_unblocked"),
        Event::SagaCompleted {
            output,
            output_error,
        } => {
            let output_error = output_error.as_deref();
            Fact {
                output_error,
                ..of("saga_completed").output(output)
            }
        }
        Event::SagaCompensated => of("saga_compensated"),
        Event::SagaCancelled { actor, reason } => Fact {
            reason: reason.as_deref(),
            ..of("saga_cancelled").actor(actor)
        },
        Event::SagaSuspended { actor } => of("saga_suspended").actor(actor),
        Event::SagaResumed { actor } => of("saga_resumed").actor(actor),
        Event::SagaRetried { actor, steps } => {
            let steps = steps
                .iter()
                .map(|step| step_id(definition, *step))
                .collect();
            Fact {
                steps: Some(steps),
                ..of("saga_retried").actor(actor)
            }
        }
        Event::SignalReceived {
            name,
            payload,
            key: _,
            actor,
        } => {
            let received = of("signal_received").actor(actor).signal(name);
            Fact {
                payload: Some(payload),
                ..received
            }
        }
        Event::AttemptStarted { .. }
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
        | Event::StepResolved { .. }
        | Event::LateReply { .. } => return None,
    })
}

impl<'a> Fact<'a> {
    fn of(r#type: &'static str) -> Self {
        Self {
            r#type,
            ..Self::default()
        }
    }

    fn phase(self, phase: Phase) -> Self {
        Self {
            phase: Some(phase.as_str()),
            ..self
        }
    }

    fn error(self, error: &'a StepError) -> Self {
        Self {
            error: Some(ErrorView::of(error)),
            ..self
        }
    }

    fn output(self, output: &'a Value) -> Self {
        Self {
            output: Some(output),
            ..self
        }
    }

    fn until(self, until: Option<Timestamp>) -> Self {
        Self {
            until: until.map(At),
            ..self
        }
    }

    fn signal(self, name: &'a str) -> Self {
        Self {
            signal: Some(name),
            ..self
        }
    }

    fn actor(self, actor: &'a str) -> Self {
        Self {
            actor: Some(actor),
            ..self
        }
    }
}

fn started_fact(started: &Started) -> Fact<'_> {
    Fact {
        r#type: "saga_started",
        actor: Some(&started.actor)
            .filter(|actor| !actor.is_empty())
            .map(String::as_str),
        start: Some(Start {
            definition: &started.definition,
            version: started.version,
            key: started.key.as_deref(),
            labels: &started.labels,
            input: &started.input,
            deadline: started.deadline.map(At),
        }),
        ..Fact::default()
    }
}

fn resolution_word(resolution: Resolution) -> &'static str {
    match resolution {
        Resolution::Succeeded => "succeeded",
        Resolution::Skipped => "skipped",
        Resolution::Refused => "refused",
        Resolution::Compensated => "compensated",
    }
}
