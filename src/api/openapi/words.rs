//! Schemas of what Rust's types do not say: closed sets of words, times, and texts with limits.

use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::schema::{
    AnyOfBuilder, KnownFormat, Object, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type,
};

use crate::api::commands::RESOLUTIONS;
use crate::api::error::ErrorCode;
use crate::api::members::Length;
use crate::definition::request::Phase;
use crate::saga::Status;
use crate::saga::nesting::NESTING_MAX;
use crate::store::{AuditAction, DeadLetterStatus, Transport};

/// A text that is one of these.
pub(in crate::api) fn one_of(words: impl IntoIterator<Item = &'static str>) -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .enum_values(Some(words))
        .build()
}

/// A schema with its description.
fn described(description: &str, mut schema: Object) -> Object {
    schema.description = Some(description.to_owned());
    schema
}

/// The status of a saga.
pub(in crate::api) fn saga_status() -> Object {
    described(
        "The status of the saga.",
        one_of(Status::ALL.map(Status::as_str)),
    )
}

/// Every word for the state of a step (execution.md, "Statuses").
const STEP_STATUSES: [&str; 10] = [
    "pending",
    "running",
    "waiting",
    "succeeded",
    "refused",
    "unknown",
    "skipped",
    "compensating",
    "compensated",
    "compensation_failed",
];

/// The status of a step.
pub(in crate::api) fn step_status() -> Object {
    described("The status of the step.", one_of(STEP_STATUSES))
}

/// What a step can wait for, beside a signal.
const WAITINGS: [&str; 7] = [
    "reply",
    "time",
    "retry",
    "circuit_breaker",
    "bulkhead",
    "rate_limit",
    "operator",
];

/// On what a step waits, or null.
pub(in crate::api) fn waiting_for() -> Schema {
    let signal = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .pattern(Some("^signal:"));
    AnyOfBuilder::new()
        .item(one_of(WAITINGS))
        .item(signal)
        .item(null())
        .description(Some("On what it waits; null when it does not."))
        .build()
        .into()
}

/// The type of an event: the same words as in the journal, and one for a row that cannot be read.
const EVENT_TYPES: [&str; 31] = [
    "saga_started",
    "attempt_started",
    "attempt_failed",
    "attempt_held",
    "attempt_accepted",
    "attempt_dead_lettered",
    "reply_taken",
    "wait_started",
    "delay_started",
    "signal_received",
    "signal_taken",
    "step_succeeded",
    "step_refused",
    "step_unknown",
    "step_skipped",
    "step_compensated",
    "step_resolved",
    "compensation_failed",
    "late_reply",
    "saga_compensating",
    "saga_went_forward",
    "saga_overdue",
    "saga_failed",
    "saga_unblocked",
    "saga_completed",
    "saga_compensated",
    "saga_cancelled",
    "saga_suspended",
    "saga_resumed",
    "saga_retried",
    "unreadable",
];

/// The type of an event.
pub(in crate::api) fn event_type() -> Object {
    described(
        "What happened: the same word as in the journal.",
        one_of(EVENT_TYPES),
    )
}

/// What the audit says was done.
pub(in crate::api) fn audit_action() -> Object {
    described(
        "What was done.",
        one_of(AuditAction::ALL.map(AuditAction::as_str)),
    )
}

/// Where a dead letter stands.
pub(in crate::api) fn dead_letter_status() -> Object {
    described(
        "Where it stands.",
        one_of(DeadLetterStatus::ALL.map(DeadLetterStatus::as_str)),
    )
}

/// What a dead letter came through.
pub(in crate::api) fn dead_letter_transport() -> Object {
    described(
        "What it came through.",
        one_of(Transport::ALL.map(Transport::as_str)),
    )
}

/// How bytes that are no text are written.
pub(in crate::api) const BASE64: &str = "base64";

/// How a message is written that is neither JSON nor a text.
pub(in crate::api) fn message_encoding() -> Object {
    described(
        "Only where the message is neither JSON nor a text: how it is written instead.",
        one_of([BASE64]),
    )
}

/// A dead letter's message.
pub(in crate::api) fn dead_message() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::AnyValue)
        .description(Some(
            "The whole message: the JSON that it is; or its text; or, with `message_encoding`, its \
             bytes.",
        ))
        .build()
}

/// Which of a step's two calls an event is of.
pub(in crate::api) fn phase() -> Object {
    let words = [Phase::Action, Phase::Compensation].map(Phase::as_str);
    described("Which of the step's two calls it was.", one_of(words))
}

/// How a person settles a step.
pub(in crate::api) fn resolution() -> Object {
    described(
        "`compensated` for a failed compensation; `succeeded` or `skipped` for a step after the \
         pivot; `succeeded` or `refused` for a pivot whose outcome is unknown.",
        one_of(RESOLUTIONS.iter().map(|(word, _)| *word)),
    )
}

/// How bad it is, what a check found.
pub(in crate::api) fn severity() -> Object {
    described(
        "Whether it keeps the definition from being used: `error`, or only `warning`.",
        one_of(["error", "warning"]),
    )
}

/// The code of a problem.
pub(in crate::api) fn error_code() -> Object {
    described(
        "A stable word, for clients to switch on.",
        one_of(ErrorCode::ALL.iter().map(|code| code.as_str())),
    )
}

/// The number of an event in its saga's journal.
pub(in crate::api) fn seq() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Integer))
        .minimum(Some(1))
        .description(Some("Its number in the saga's journal, from 1."))
        .build()
}

/// A moment.
pub(in crate::api) fn time() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .description(Some("RFC 3339, in UTC with milliseconds."))
        .examples(["2026-11-21T09:30:00.123Z"])
        .build()
}

/// Nothing.
pub(super) fn null() -> Object {
    Object::with_type(SchemaType::Type(Type::Null))
}

/// A text of so many characters. No text may have the character U+0000: the database cannot hold
/// it.
pub(super) fn text(length: Length) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .min_length(Some(length.min))
        .max_length(Some(length.max))
        .pattern(Some(r"^[^\u0000]*$"))
}

/// Any JSON that nests no deeper than the journal can hold it.
pub(super) fn payload(description: &str) -> Object {
    // JSON Schema has no word for the depth.
    let depth = ExtensionsBuilder::new().add("x-max-depth", NESTING_MAX);
    let limit = format!("Any JSON, at most {NESTING_MAX} levels deep.");
    ObjectBuilder::new()
        .schema_type(SchemaType::AnyValue)
        .description(Some(format!("{description} {limit}")))
        .extensions(Some(depth.build()))
        .build()
}
