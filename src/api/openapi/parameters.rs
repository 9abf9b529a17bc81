//! The parameters that calls take, for the document only: handlers read them by hand
//! (`query.rs`, `headers.rs`).

use utoipa::IntoParams;
use utoipa::openapi::schema::{
    Array, ArrayBuilder, KnownFormat, Object, ObjectBuilder, SchemaFormat, SchemaType, Type,
};

use super::words;
use crate::api::headers::IDEMPOTENCY_KEY_CHARS_MAX;
use crate::api::members::Length;
use crate::api::query::{LIMIT_DEFAULT, LIMIT_MAX, TEXT_CHARS_MAX};

/// The saga that a path names.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct SagaPath {
    /// The saga's id.
    #[param(schema_with = uuid)]
    pub id: String,
}

/// The step that a path names.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct StepPath {
    /// The step's id in the definition.
    #[param(schema_with = segment)]
    pub step: String,
}

/// The signal that a path names.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct SignalPath {
    /// The signal's name, as a `wait` step of the definition has it.
    #[param(schema_with = segment)]
    pub name: String,
}

/// The definition that a path names.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct DefinitionPath {
    /// The definition's name.
    #[param(schema_with = segment)]
    pub name: String,
}

/// The version of a definition that a path names.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct VersionPath {
    /// The version.
    #[param(schema_with = version)]
    pub version: u32,
}

/// The version of a definition that a query names.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct VersionQuery {
    /// The version; left out, the newest.
    #[param(schema_with = version, required = false)]
    pub version: Option<u32>,
}

/// Which sagas are listed. Every filter that is given has to hold.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SagaFilters {
    /// The definition's name.
    #[param(schema_with = text, required = false)]
    pub definition: Option<String>,
    /// The definition's version.
    #[param(schema_with = version, required = false)]
    pub version: Option<u32>,
    /// The status; repeated, any of them.
    #[param(schema_with = statuses, required = false)]
    pub status: Vec<String>,
    /// The business key.
    #[param(schema_with = text, required = false)]
    pub key: Option<String>,
    /// `name:value`; repeated, all have to hold.
    #[param(schema_with = labels, required = false)]
    pub label: Vec<String>,
    /// Started at this time or after it.
    #[param(schema_with = time, required = false)]
    pub created_after: Option<String>,
    /// Started before this time.
    #[param(schema_with = time, required = false)]
    pub created_before: Option<String>,
    /// The failure's code.
    #[param(schema_with = text, required = false)]
    pub failure_code: Option<String>,
    /// Whether the saga is suspended.
    #[param(required = false)]
    pub suspended: Option<bool>,
    /// Whether the saga is overdue.
    #[param(required = false)]
    pub overdue: Option<bool>,
    /// The `next_cursor` of the page before.
    #[param(schema_with = uuid, required = false)]
    pub cursor: Option<String>,
}

/// How many items a page has.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Limit {
    /// How many items the page has at most.
    #[param(schema_with = limit, required = false)]
    pub limit: Option<u64>,
}

/// Where a page of events begins.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventCursor {
    /// The `next_cursor` of the page before: the number of its last event.
    #[param(schema_with = seq, required = false)]
    pub cursor: Option<u32>,
}

/// Where a stream of events goes on.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct LastEventId {
    /// With `Accept: text/event-stream`: the number of the last event that was seen.
    #[param(rename = "Last-Event-ID", schema_with = seq, required = false)]
    pub last_event_id: Option<u32>,
}

/// Where a page of definitions begins.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct NameCursor {
    /// The `next_cursor` of the page before: the name of its last definition.
    #[param(required = false, nullable = false)]
    pub cursor: Option<String>,
}

/// The header that makes a start or a signal happen once.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct IdempotencyKey {
    /// The same key and the same JSON value again is answered with what the first call made;
    /// another body is refused. 1 to 255 characters; those that are not ASCII in UTF-8.
    #[param(rename = "Idempotency-Key", schema_with = header_key, required = false)]
    pub key: Option<String>,
}

/// The headers of a start, beside its key.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct StartHeaders {
    /// `wait=N`: answer when the saga has finished or failed, at the latest after N seconds (more
    /// than 60 counts as 60). Other preferences are ignored (RFC 7240).
    #[param(
        rename = "Prefer",
        required = false,
        nullable = false,
        example = "wait=30"
    )]
    pub prefer: Option<String>,
}

/// The headers of a start that its calls pass on.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct TraceHeaders {
    /// The caller's trace (W3C Trace Context), passed on to participants. One that is not
    /// well-formed is ignored.
    #[param(
        required = false,
        nullable = false,
        example = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    )]
    pub traceparent: Option<String>,
    /// What goes with it.
    #[param(required = false, nullable = false, example = "vendor=value")]
    pub tracestate: Option<String>,
}

fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::String))
}

fn integer(minimum: f64, maximum: f64) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Integer))
        .minimum(Some(minimum))
        .maximum(Some(maximum))
}

fn uuid() -> Object {
    string()
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)))
        .build()
}

fn segment() -> Object {
    string().min_length(Some(1)).build()
}

fn version() -> Object {
    integer(1.0, f64::from(u32::MAX)).build()
}

fn seq() -> Object {
    integer(0.0, f64::from(u32::MAX)).build()
}

fn limit() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Integer))
        .minimum(Some(1))
        .maximum(Some(LIMIT_MAX))
        .default(Some(LIMIT_DEFAULT.into()))
        .build()
}

fn time() -> Object {
    string()
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .examples(["2026-11-21T09:30:00Z"])
        .build()
}

fn text() -> Object {
    let length = Length {
        min: 0,
        max: TEXT_CHARS_MAX,
    };
    words::text(length).build()
}

fn statuses() -> Array {
    ArrayBuilder::new().items(words::saga_status()).build()
}

fn labels() -> Array {
    let pattern = format!(r"^[^:\u0000]{{1,{TEXT_CHARS_MAX}}}:[^\u0000]{{0,{TEXT_CHARS_MAX}}}$");
    let label = string().pattern(Some(pattern)).examples(["channel:web"]);
    ArrayBuilder::new().items(label).build()
}

fn header_key() -> Object {
    string()
        .min_length(Some(1))
        .max_length(Some(IDEMPOTENCY_KEY_CHARS_MAX))
        .pattern(Some("^[!-~]([ -~]*[!-~])?$"))
        .examples(["ORD-12345"])
        .build()
}
