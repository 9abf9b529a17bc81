//! Which problems each call may answer: one line a call. What is not listed here, a call never
//! answers; the fuzzer holds it to that.

use std::collections::BTreeMap;

use serde_json::json;
use utoipa::IntoResponses;
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, Ref, SchemaType, Type};
use utoipa::openapi::{Content, RefOr, Response, ResponseBuilder};

use crate::api::error::ErrorCode::{self, *};

/// What any call may answer.
const ANY: &[ErrorCode] = &[Internal];
/// What a call with a query in its address may answer.
const QUERY: &[ErrorCode] = &[UnknownParameter, ParameterInvalid];
/// What a call that reads the database may answer.
const READ: &[ErrorCode] = &[DatabaseUnavailable];
/// What a call with a body may answer.
const BODY: &[ErrorCode] = &[
    BadRequest,
    MalformedJson,
    PayloadTooLarge,
    UnsupportedMediaType,
    InputInvalid,
];
/// What a call that starts or changes sagas may answer.
const CHANGE: &[ErrorCode] = &[NotReady, Draining, DatabaseUnavailable];
/// What a call for one saga may answer.
const SAGA: &[ErrorCode] = &[BadRequest, SagaNotFound];

/// What a call for one dead letter may answer.
const LETTER: &[ErrorCode] = &[BadRequest, DeadLetterNotFound];

/// A line of the table: a type that stands among the responses of a call's `utoipa::path`.
macro_rules! problems {
    ($($name:ident: $($group:ident)* [$($code:ident)*];)*) => {$(
        #[doc = concat!("The problems of `", stringify!($name), "`.")]
        pub(in crate::api) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                responses(&[ANY, $($group,)* &[$($code),*]])
            }
        }
    )*};
}

problems! {
    Start: BODY CHANGE [DefinitionNotFound DefinitionPaused IdempotencyKeyReused TooManySagas];
    StartBatch: BODY [];
    ListSagas: QUERY READ [];
    GetSaga: SAGA READ [NotReady Draining];
    ListEvents: SAGA QUERY READ [JournalUnreadable Draining TooManyStreams];
    Cancel: SAGA BODY CHANGE [JournalUnreadable AlreadyFinished PastPivot];
    Suspend: SAGA BODY CHANGE [JournalUnreadable AlreadyFinished];
    Resume: SAGA BODY CHANGE [JournalUnreadable AlreadyFinished];
    Retry: SAGA BODY CHANGE [JournalUnreadable NotFailed];
    Resolve: SAGA BODY CHANGE [JournalUnreadable StepNotFound NotResolvable];
    Signal: SAGA BODY CHANGE [JournalUnreadable AlreadyFinished SignalUnknown TooManySignals];
    Reply: SAGA QUERY BODY CHANGE [BadToken JournalUnreadable StepNotFound NotWaiting];
    ListDefinitions: QUERY [];
    GetDefinition: READ [DefinitionNotFound];
    GetVersion: READ [BadRequest DefinitionNotFound];
    GetGraph: QUERY READ [BadRequest DefinitionNotFound];
    PublishDefinition: READ [
        BadRequest MalformedJson PayloadTooLarge UnsupportedMediaType DefinitionInvalid
        VersionConflict
    ];
    PauseDefinition: BODY READ [DefinitionNotFound];
    ListAudit: QUERY READ [BadRequest];
    ListDeadLetters: QUERY READ [];
    GetDeadLetter: LETTER READ [];
    ReplayDeadLetter: LETTER BODY READ [AlreadySettled NotReplayable BrokerUnavailable Draining];
    DiscardDeadLetter: LETTER BODY READ [AlreadySettled];
    CheckDefinition: [BadRequest MalformedJson PayloadTooLarge UnsupportedMediaType];
}

/// The responses with these codes: one a status, with the codes that it may carry.
pub(super) fn responses(groups: &[&[ErrorCode]]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<u16, Vec<ErrorCode>> = BTreeMap::new();
    for code in groups.iter().copied().flatten() {
        let codes = by_status.entry(code.status().as_u16()).or_default();
        if !codes.contains(code) {
            codes.push(*code);
        }
    }
    by_status
        .into_iter()
        .map(|(status, codes)| (status.to_string(), response(status, &codes).into()))
        .collect()
}

fn response(status: u16, codes: &[ErrorCode]) -> Response {
    let line = |code: &ErrorCode| format!("- `{}`: {}", code.as_str(), code.title());
    let lines: Vec<_> = codes.iter().map(line).collect();
    let narrowed = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Object))
        .property(
            "status",
            ObjectBuilder::new()
                .schema_type(SchemaType::Type(Type::Integer))
                .enum_values(Some([json!(status)])),
        )
        .property(
            "code",
            ObjectBuilder::new()
                .schema_type(SchemaType::Type(Type::String))
                .enum_values(Some(codes.iter().map(|code| code.as_str()))),
        );
    let schema = AllOfBuilder::new()
        .item(Ref::from_schema_name("Problem"))
        .item(narrowed);
    ResponseBuilder::new()
        .description(lines.join("\n"))
        .content("application/problem+json", Content::new(Some(schema)))
        .build()
}
