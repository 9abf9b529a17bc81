//! The bodies that calls take, for the document only: handlers read them member by member
//! (`members.rs`), so that everything that is wrong is told at once. The limits are the same
//! constants.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    Array, ArrayBuilder, Object, ObjectBuilder, Ref, Schema, SchemaType, Type,
};

use utoipa::{PartialSchema, ToSchema};

use super::examples;
use super::words;
use crate::api::commands::{NOTE_CHARS_MAX, REASON_CHARS_MAX};
use crate::api::headers::IDEMPOTENCY_KEY_CHARS_MAX;
use crate::api::members::Length;
use crate::api::start::read::{
    BATCH_MAX, KEY_CHARS_MAX, LABEL_NAME_CHARS_MAX, LABEL_VALUE_CHARS_MAX, LABELS_MAX,
    NAME_CHARS_MAX,
};

/// What starts a saga.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = examples::start)]
pub struct StartBody {
    /// The name of the definition.
    #[schema(schema_with = definition_name)]
    pub definition: String,
    /// Its version; left out, the newest that is not paused.
    #[schema(schema_with = version, required = false)]
    pub version: Option<u32>,
    /// The business key. It need not be unique.
    #[schema(schema_with = key, required = false)]
    pub key: Option<String>,
    /// What the saga starts with, as the definition's schema wants it.
    #[schema(schema_with = input, required = false)]
    pub input: Value,
    /// Labels to find it by.
    #[schema(schema_with = labels, required = false)]
    pub labels: BTreeMap<String, String>,
}

/// A start in a batch.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchStartBody {
    /// The name of the definition.
    #[schema(schema_with = definition_name)]
    pub definition: String,
    /// Its version; left out, the newest that is not paused.
    #[schema(schema_with = version, required = false)]
    pub version: Option<u32>,
    /// The business key. It need not be unique.
    #[schema(schema_with = key, required = false)]
    pub key: Option<String>,
    /// What the saga starts with, as the definition's schema wants it.
    #[schema(schema_with = input, required = false)]
    pub input: Value,
    /// Labels to find it by.
    #[schema(schema_with = labels, required = false)]
    pub labels: BTreeMap<String, String>,
    /// What the header `Idempotency-Key` is for a single start.
    #[schema(schema_with = idempotency_key, required = false)]
    pub idempotency_key: Option<String>,
}

/// Starts, each with a result of its own.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = examples::batch)]
pub struct BatchBody {
    /// The starts. What is wrong with one keeps none of the others from being made.
    #[schema(schema_with = starts)]
    pub sagas: Vec<BatchStartBody>,
}

/// Why a saga is cancelled.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = examples::cancel)]
pub struct CancelBody {
    /// For people; it becomes the failure's message.
    #[schema(schema_with = reason, required = false)]
    pub reason: Option<String>,
}

/// Which version of a definition is paused or resumed.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseBody {
    /// That version; left out, every one that is published now.
    #[schema(schema_with = version, required = false)]
    pub version: Option<u32>,
}

/// Nothing: an empty object, or no body at all.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmptyBody {}

/// How a person has settled a step.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = examples::resolve)]
pub struct ResolveBody {
    /// `compensated` for a failed compensation; `succeeded` or `skipped` for a step after the
    /// pivot; `succeeded` or `refused` for a pivot whose outcome is unknown.
    #[schema(schema_with = words::resolution)]
    pub outcome: String,
    /// Why, and what was found.
    #[schema(schema_with = note)]
    pub note: String,
    /// What the step gave; only with `succeeded`.
    #[schema(schema_with = output, required = false)]
    pub output: Value,
}

fn definition_name() -> Object {
    text(1, NAME_CHARS_MAX)
}

fn key() -> Object {
    nullable(text(1, KEY_CHARS_MAX))
}

fn idempotency_key() -> Object {
    nullable(text(1, IDEMPOTENCY_KEY_CHARS_MAX))
}

fn reason() -> Object {
    nullable(text(0, REASON_CHARS_MAX))
}

fn note() -> Object {
    text(1, NOTE_CHARS_MAX)
}

fn input() -> Object {
    words::payload("What the saga starts with, as the definition's schema wants it.")
}

fn output() -> Object {
    words::payload("What the step gave; only with `succeeded`.")
}

fn version() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Integer, Type::Null]))
        .minimum(Some(1.0))
        .maximum(Some(f64::from(u32::MAX)))
        .build()
}

fn labels() -> Object {
    let name = words::text(Length {
        min: 1,
        max: LABEL_NAME_CHARS_MAX,
    });
    let name = name.pattern(Some(r"^[^:\u0000]*$")).build();
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Object, Type::Null]))
        .additional_properties(Some(Schema::from(text(0, LABEL_VALUE_CHARS_MAX))))
        .property_names(Some(name))
        .max_properties(Some(LABELS_MAX))
        .build()
}

fn starts() -> Array {
    ArrayBuilder::new()
        .items(Ref::from_schema_name("BatchStartBody"))
        .max_items(Some(BATCH_MAX))
        .build()
}

fn text(min: usize, max: usize) -> Object {
    words::text(Length { min, max }).build()
}

/// A member that may be null, which is as if it were left out.
fn nullable(mut schema: Object) -> Object {
    schema.schema_type = SchemaType::from_iter([Type::String, Type::Null]);
    schema
}

/// What a signal carries.
#[derive(Debug)]
pub struct SignalBody;

impl PartialSchema for SignalBody {
    fn schema() -> RefOr<Schema> {
        words::payload("What the signal carries: it becomes the output of the `wait` step.").into()
    }
}

impl ToSchema for SignalBody {}
