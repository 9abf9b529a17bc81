//! The parameters that calls take, for the document only: handlers read them by hand
//! (`query.rs`, `headers.rs`), and the limits are the same constants.

use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{
    ArrayBuilder, KnownFormat, Object, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{RefOr, Required};

use super::words;
use crate::api::headers::IDEMPOTENCY_KEY_CHARS_MAX;
use crate::api::members::Length;
use crate::api::query::{LIMIT_DEFAULT, LIMIT_MAX, TEXT_CHARS_MAX};

/// Names sets of parameters: each is a type that stands among the `params` of a call's
/// `utoipa::path`.
macro_rules! parameters {
    ($($(#[$doc:meta])* $name:ident = [$($parameter:expr),* $(,)?];)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;

        impl IntoParams for $name {
            fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
                vec![$($parameter),*]
            }
        }
    )*};
}

parameters! {
    /// The saga that a path names.
    SagaPath = [path("id", "The saga's id.", uuid())];
    /// The step that a path names.
    StepPath = [path("step", "The step's id in the definition.", segment())];
    /// What lets a participant reply.
    CallbackToken = [query("token", "What came with the call, in the URL of `Amends-Callback`.", text())];
    /// The signal that a path names.
    SignalPath = [path("name", "The signal's name, as a `wait` step of the definition has it.", segment())];
    /// The definition that a path names.
    DefinitionPath = [path("name", "The definition's name.", segment())];
    /// The version of a definition that a path names.
    VersionPath = [path("version", "The version.", version())];

    /// The dead letter that a path names.
    DeadLetterPath = [path("id", "The dead letter's id.", uuid())];

    /// The version of a definition that a query names.
    VersionQuery = [query("version", "The version; left out, the newest.", version())];

    /// Which sagas are listed.
    SagaFilters = [
        query("definition", "The definition's name.", text()),
        query("version", "The definition's version.", version()),
        query("status", "The status; repeated, any of them.", list(words::saga_status())),
        query("key", "The business key.", text()),
        query("label", "`name:value`; repeated, all have to hold.", list(label())),
        query("created_after", "Started at this time or after it.", time()),
        query("created_before", "Started before this time.", time()),
        query("failure_code", "The code of the failure.", text()),
        query("suspended", "Whether the saga is suspended.", boolean()),
        query("overdue", "Whether the saga is overdue.", boolean()),
        query("cursor", "The `next_cursor` of the page before.", uuid()),
    ];
    /// Which entries of the audit are listed.
    AuditFilters = [
        query("saga", "About this saga.", uuid()),
        query("actor", "By this actor.", text()),
        query("action", "The action; repeated, any of them.", list(words::audit_action())),
        query("from", "At this time or after it.", time()),
        query("to", "Before this time.", time()),
        query("cursor", "The `next_cursor` of the page before.", audit_cursor()),
    ];
    /// Which dead letters are listed.
    DeadLetterFilters = [
        query("status", "The status; repeated, any of them.", list(words::dead_letter_status())),
        query("queue", "The queue that it was going to.", text()),
        query("saga", "About this saga.", uuid()),
        query("participant", "Going to this participant.", text()),
        query("transport", "What it came through.", words::dead_letter_transport()),
        query("reason", "Why nobody could take it, in just these words.", text()),
        query("received_after", "Come at this time or after it.", time()),
        query("received_before", "Come before this time.", time()),
        query("cursor", "The `next_cursor` of the page before.", uuid()),
    ];
    /// How many items a page has.
    Limit = [query("limit", "How many items the page has at most.", limit())];
    /// Where a page of events begins.
    EventCursor = [query(
        "cursor",
        "The `next_cursor` of the page before: the number of its last event.",
        integer(0, u64::from(u32::MAX)).build(),
    )];
    /// Where a stream of events goes on.
    LastEventId = [header(
        "Last-Event-ID",
        "With `Accept: text/event-stream`: the number of the last event that was seen. Without it \
         nobody looks at it.",
        string().examples(["3"]).build(),
    )];
    /// Where a page of definitions begins.
    NameCursor = [query(
        "cursor",
        "The `next_cursor` of the page before: the name of its last definition.",
        string().build(),
    )];

    /// The header that makes a start or a signal happen once.
    IdempotencyKey = [header(
        "Idempotency-Key",
        "The same key and the same JSON value again is answered with what the first call made; \
         another body is refused. What is not ASCII in UTF-8.",
        idempotency_key(),
    )];
    /// The header that lets a start wait for its saga.
    Prefer = [header(
        "Prefer",
        "`wait=N`: answer when the saga has finished or failed, after N seconds at the latest \
         (more than 60 counts as 60). Other preferences are ignored (RFC 7240).",
        string().examples(["wait=1"]).build(),
    )];
    /// The headers that a saga's calls pass on.
    TraceHeaders = [
        header(
            "traceparent",
            "The caller's trace (W3C Trace Context), passed on to participants. One that is not \
             well-formed is ignored.",
            string()
                .examples(["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"])
                .build(),
        ),
        header(
            "tracestate",
            "What goes with it.",
            string().examples(["vendor=value"]).build(),
        ),
    ];
    /// The header that names a request. Every call takes it.
    RequestId = [header(
        "x-request-id",
        "Names the request, in the answer and in the logs. What is not 1 to 128 letters, digits \
         and `-_.:/+=` is replaced.",
        string().build(),
    )];
}

/// A parameter in the path.
pub(in crate::api) fn path(name: &str, description: &str, schema: Object) -> Parameter {
    let parameter = parameter(name, ParameterIn::Path, description, schema);
    parameter.required(Required::True).build()
}

/// A parameter in the query, which may be left out.
pub(in crate::api) fn query(
    name: &str,
    description: &str,
    schema: impl Into<RefOr<Schema>>,
) -> Parameter {
    parameter(name, ParameterIn::Query, description, schema).build()
}

/// A header, which may be left out.
pub(in crate::api) fn header(name: &str, description: &str, schema: Object) -> Parameter {
    parameter(name, ParameterIn::Header, description, schema).build()
}

fn parameter(
    name: &str,
    place: ParameterIn,
    description: &str,
    schema: impl Into<RefOr<Schema>>,
) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema))
}

fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::String))
}

fn integer(minimum: u64, maximum: u64) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Integer))
        .minimum(Some(minimum))
        .maximum(Some(maximum))
}

fn boolean() -> Object {
    Object::with_type(SchemaType::Type(Type::Boolean))
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
    integer(1, u64::from(u32::MAX)).build()
}

fn limit() -> Object {
    integer(1, LIMIT_MAX)
        .default(Some(LIMIT_DEFAULT.into()))
        .build()
}

fn time() -> Object {
    string()
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .examples(["2026-11-21T09:30:00Z"])
        .build()
}

/// A text as a filter may have it.
fn text() -> Object {
    let length = Length {
        min: 0,
        max: TEXT_CHARS_MAX,
    };
    words::text(length).build()
}

/// A parameter that may be repeated.
fn list(item: Object) -> Schema {
    ArrayBuilder::new().items(item).build().into()
}

fn audit_cursor() -> Object {
    string()
        .pattern(Some(r"^[0-9]{1,18}\.-?[0-9]{1,18}$"))
        .examples(["1042.1795253400120"])
        .build()
}

fn label() -> Object {
    let pattern = format!(r"^[^:\u0000]{{1,{TEXT_CHARS_MAX}}}:[^\u0000]{{0,{TEXT_CHARS_MAX}}}$");
    string()
        .pattern(Some(pattern))
        .examples(["channel:web"])
        .build()
}

fn idempotency_key() -> Object {
    string()
        .min_length(Some(1))
        .max_length(Some(IDEMPOTENCY_KEY_CHARS_MAX))
        .pattern(Some(
            "^[!-~\u{a1}-\u{ff}]([ -~\u{a1}-\u{ff}]*[!-~\u{a1}-\u{ff}])?$",
        ))
        .examples(["ORD-12345"])
        .build()
}
