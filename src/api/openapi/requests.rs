//! The bodies that calls take, for the document only: handlers read them member by member
//! (`members.rs`), so that everything that is wrong is told at once. The limits are the same
//! constants.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    AdditionalProperties, AnyOfBuilder, ArrayBuilder, Object, ObjectBuilder, Schema, SchemaType,
    Type,
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

/// Names bodies: each is a type for the `request_body` of a call's `utoipa::path`.
macro_rules! bodies {
    ($($(#[$doc:meta])* $name:ident = $schema:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                Schema::from($schema).into()
            }
        }

        impl ToSchema for $name {}
    )*};
}

bodies! {
    /// What starts a saga.
    StartBody = start()
        .description(Some("What starts a saga."))
        .examples([examples::start()])
        .build();
    /// Starts, each with a result of its own.
    BatchBody = body("Starts. What is wrong with one keeps none of the others from being made.")
        .property("sagas", starts())
        .required("sagas")
        .examples([examples::batch()])
        .build();
    /// Why a saga is cancelled.
    CancelBody = body("Why the saga is cancelled.")
        .property(
            "reason",
            nullable(text("For people; it becomes the failure's message.", 0, REASON_CHARS_MAX)),
        )
        .examples([examples::cancel()])
        .build();
    /// Why a dead letter is discarded.
    DiscardBody = body("Why the letter is discarded.")
        .property("reason", text("For people; it becomes the letter's note.", 1, REASON_CHARS_MAX))
        .required("reason")
        .examples([examples::discard()])
        .build();
    /// A definition, in YAML or in JSON.
    DefinitionBody = ObjectBuilder::new()
        .schema_type(SchemaType::AnyValue)
        .description(Some(
            "A definition (`sagas/schema.json`). What is none is told of as its problems.",
        ))
        .examples([examples::definition()])
        .build();
    /// Nothing.
    EmptyBody = body("Nothing: an empty object, or no body at all.").build();
    /// Which version of a definition is paused or resumed.
    PauseBody = body("That version; left out, every one that is published now.")
        .property("version", nullable(version()))
        .build();
    /// How a person has settled a step.
    ResolveBody = AnyOfBuilder::new()
        .description(Some("How a person has settled a step."))
        .item(resolve(&["succeeded"], words::payload("What the step gave.")))
        .item(resolve(&["skipped", "refused", "compensated"], words::null()))
        .examples([examples::resolve()])
        .build();
    /// What came of a call.
    ReplyBody = AnyOfBuilder::new()
        .description(Some("What came of a call."))
        .item(reply(&["succeeded"], words::payload("What the step gave.")))
        .item(reply(&["refused", "retry"], reply_error()))
        .build();
    /// What a signal carries.
    SignalBody = words::payload("It becomes the output of the `wait` step.");
}

/// An object with no members but those that are named.
pub(in crate::api) fn body(description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Object))
        .description(Some(description))
        .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)))
}

/// A text of so many characters.
pub(in crate::api) fn text(description: &str, min: usize, max: usize) -> Object {
    let text = words::text(Length { min, max });
    text.description(Some(description)).build()
}

/// A member that may be null, which is as if it were left out.
pub(in crate::api) fn nullable(mut schema: Object) -> Object {
    if let SchemaType::Type(only) = &schema.schema_type {
        schema.schema_type = SchemaType::from_iter([only.clone(), Type::Null]);
    }
    schema
}

fn reply(outcomes: &[&'static str], data: impl Into<RefOr<Schema>>) -> ObjectBuilder {
    let word = |words: &[&'static str]| {
        ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::String))
            .enum_values(Some(words.iter().copied()))
            .build()
    };
    body("What came of a call.")
        .property("phase", nullable(word(&["action", "compensation"])))
        .property("outcome", word(outcomes))
        .property("data", data)
        .required("outcome")
}

/// Why a call was refused, or is to be tried again.
fn reply_error() -> Object {
    let text = |description| {
        let text = ObjectBuilder::new().schema_type(SchemaType::Type(Type::String));
        nullable(text.description(Some(description)).build())
    };
    let seconds = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Number))
        .minimum(Some(0))
        .maximum(Some(86_400_000))
        .description(Some("With `retry`: the least wait, in seconds."));
    let error = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Object))
        .property(
            "code",
            text("A stable word; `refused` or `retry` when left out."),
        )
        .property("message", text("A sentence for people."))
        .property("retryafter", nullable(seconds.build()))
        .build();
    nullable(error)
}

/// Only a step that succeeded has an output.
fn resolve(outcomes: &[&'static str], output: Object) -> ObjectBuilder {
    let mut outcome = words::resolution();
    outcome.enum_values = Some(outcomes.iter().map(|word| (*word).into()).collect());
    body("How a person has settled a step.")
        .property("outcome", outcome)
        .property("note", text("Why, and what was found.", 1, NOTE_CHARS_MAX))
        .property("output", output)
        .required("outcome")
        .required("note")
}

fn start() -> ObjectBuilder {
    let definition = text("The name of the definition.", 1, NAME_CHARS_MAX);
    let key = text("The business key. It need not be unique.", 1, KEY_CHARS_MAX);
    body("A start.")
        .property("definition", definition)
        .property("version", nullable(version()))
        .property("key", nullable(key))
        .property(
            "input",
            words::payload("What the saga starts with, as the definition's schema wants it."),
        )
        .property("labels", nullable(labels()))
        .required("definition")
}

fn starts() -> Schema {
    let key = text(
        "What the header `Idempotency-Key` is for a single start.",
        1,
        IDEMPOTENCY_KEY_CHARS_MAX,
    );
    ArrayBuilder::new()
        .items(start().property("idempotency_key", nullable(key)).build())
        .max_items(Some(BATCH_MAX))
        .build()
        .into()
}

fn version() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Integer))
        .minimum(Some(1))
        .maximum(Some(u32::MAX))
        .description(Some(
            "Its version; left out, the newest that is not paused.",
        ))
        .build()
}

fn labels() -> Object {
    let name = words::text(Length {
        min: 1,
        max: LABEL_NAME_CHARS_MAX,
    });
    let name = name.pattern(Some(r"^[^:\u0000]*$")).build();
    let value = words::text(Length {
        min: 0,
        max: LABEL_VALUE_CHARS_MAX,
    });
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Object))
        .description(Some("Labels to find it by."))
        .additional_properties(Some(Schema::from(value.build())))
        .property_names(Some(name))
        .max_properties(Some(LABELS_MAX))
        .build()
}
