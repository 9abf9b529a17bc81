//! Paths into the facts: `input.order.items[0].sku`. Whatever part of an expression is a path is
//! looked up in the JSON as it is, so only what an expression refers to is ever converted.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::failure::Failure;
use super::{Facts, FailureFacts};
use crate::definition::model::StepIndex;

/// Where a path begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Root {
    Input,
    Step(StepIndex),
    Output(StepIndex),
    Status(StepIndex),
    Saga,
    SagaId,
    SagaKey,
    SagaDefinition,
    SagaVersion,
    SagaStartedAt,
    Failure,
    FailureStep,
    FailureCode,
    FailureMessage,
}

/// One step along a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// `.key` or `["key"]`
    Key(String),
    /// `.?key` or `[?"key"]`
    OptionalKey(String),
    /// `[3]`
    Index(i64),
    /// `[?3]`
    OptionalIndex(i64),
    /// The last of `has(….key)`.
    Has(String),
}

impl Segment {
    /// Whether what is missing here is no failure.
    pub(super) fn is_guarded(&self) -> bool {
        match self {
            Self::OptionalKey(_) | Self::OptionalIndex(_) | Self::Has(_) => true,
            Self::Key(_) | Self::Index(_) => false,
        }
    }
}

/// A path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) root: Root,
    pub(super) segments: Vec<Segment>,
}

/// What a path leads to.
#[derive(Debug)]
pub(super) enum Found<'a> {
    Json(Cow<'a, Value>),
    /// The path has optional access in it.
    Optional(Option<Cow<'a, Value>>),
}

impl<'a> Found<'a> {
    /// The JSON; nothing found is null.
    pub(super) fn into_json(self) -> Cow<'a, Value> {
        match self {
            Self::Json(json) | Self::Optional(Some(json)) => json,
            Self::Optional(None) => Cow::Owned(Value::Null),
        }
    }
}

impl Path {
    /// Follows the path.
    pub(super) fn find<'a>(&self, facts: &'a dyn Facts) -> Result<Found<'a>, Failure> {
        let mut here = self.root.value(facts);
        let mut optional = false;
        for segment in &self.segments {
            let found = match segment {
                Segment::Has(key) => {
                    let has = match here.as_object() {
                        Some(map) => map.contains_key(key),
                        // As with optional access, nothing is found on null: the output of a
                        // step that was skipped, or whose outcome is unknown.
                        None if here.is_null() => false,
                        None => return Err(not_a_map(key, &here)),
                    };
                    return Ok(Found::Json(Cow::Owned(Value::Bool(has))));
                }
                Segment::OptionalKey(key) => {
                    optional = true;
                    child(here, key).ok()
                }
                Segment::OptionalIndex(index) => {
                    optional = true;
                    item(here, *index).ok()
                }
                Segment::Key(key) => match child(here, key) {
                    Err(Failure::MissingKey(_)) if optional => None,
                    Err(Failure::NotAMap { found: "null", .. }) if optional => None,
                    other => Some(other?),
                },
                Segment::Index(index) => item(here, *index)
                    .map(Some)
                    .or_else(|failure| if optional { Ok(None) } else { Err(failure) })?,
            };
            match found {
                Some(found) => here = found,
                None if self.ends_in_has() => {
                    return Ok(Found::Json(Cow::Owned(Value::Bool(false))));
                }
                None => return Ok(Found::Optional(None)),
            }
        }
        Ok(if optional {
            Found::Optional(Some(here))
        } else {
            Found::Json(here)
        })
    }

    fn ends_in_has(&self) -> bool {
        matches!(self.segments.last(), Some(Segment::Has(_)))
    }
}

impl Root {
    fn value(self, facts: &dyn Facts) -> Cow<'_, Value> {
        let text = |text: String| Cow::Owned(Value::String(text));
        let failure = || facts.failure();
        match self {
            Self::Input => Cow::Borrowed(facts.input()),
            Self::Output(step) => facts
                .step_output(step)
                .map_or(Cow::Owned(Value::Null), Cow::Borrowed),
            Self::Status(step) => {
                Cow::Owned(facts.step_status(step).map_or(Value::Null, Value::from))
            }
            Self::Step(step) => Cow::Owned(json!({
                "output": facts.step_output(step),
                "status": facts.step_status(step),
            })),
            Self::SagaId => text(facts.saga_id()),
            Self::SagaKey => Cow::Owned(facts.key().map_or(Value::Null, Value::from)),
            Self::SagaDefinition => text(facts.definition().to_owned()),
            Self::SagaVersion => Cow::Owned(Value::from(facts.version())),
            Self::SagaStartedAt => text(facts.started_at()),
            Self::Saga => Cow::Owned(json!({
                "id": facts.saga_id(),
                "key": facts.key(),
                "definition": facts.definition(),
                "version": facts.version(),
                "started_at": facts.started_at(),
            })),
            Self::FailureStep => Cow::Owned(
                failure()
                    .and_then(|failure| failure.step)
                    .map_or(Value::Null, Value::from),
            ),
            Self::FailureCode => {
                Cow::Owned(failure().map_or(Value::Null, |failure| Value::from(failure.code)))
            }
            Self::FailureMessage => {
                Cow::Owned(failure().map_or(Value::Null, |failure| Value::from(failure.message)))
            }
            Self::Failure => Cow::Owned(failure().map_or(Value::Null, |failure| {
                let FailureFacts {
                    step,
                    code,
                    message,
                } = failure;
                json!({ "step": step, "code": code, "message": message })
            })),
        }
    }
}

fn child<'a>(here: Cow<'a, Value>, key: &str) -> Result<Cow<'a, Value>, Failure> {
    let missing = || Failure::MissingKey(key.to_owned());
    match here {
        Cow::Borrowed(Value::Object(map)) => map.get(key).map(Cow::Borrowed).ok_or_else(missing),
        Cow::Owned(Value::Object(mut map)) => {
            map.swap_remove(key).map(Cow::Owned).ok_or_else(missing)
        }
        Cow::Borrowed(other) => Err(not_a_map(key, other)),
        Cow::Owned(other) => Err(not_a_map(key, &other)),
    }
}

fn item(here: Cow<'_, Value>, index: i64) -> Result<Cow<'_, Value>, Failure> {
    let missing = || Failure::MissingIndex(index);
    let offset = usize::try_from(index).map_err(|_negative| missing())?;
    match here {
        Cow::Borrowed(Value::Array(items)) => {
            items.get(offset).map(Cow::Borrowed).ok_or_else(missing)
        }
        Cow::Owned(Value::Array(items)) => items
            .into_iter()
            .nth(offset)
            .map(Cow::Owned)
            .ok_or_else(missing),
        Cow::Borrowed(other) => Err(Failure::NotAList {
            index,
            found: kind(other),
        }),
        Cow::Owned(other) => Err(Failure::NotAList {
            index,
            found: kind(&other),
        }),
    }
}

fn not_a_map(key: &str, found: &Value) -> Failure {
    Failure::NotAMap {
        key: key.to_owned(),
        found: kind(found),
    }
}

/// What kind of JSON it is, for messages.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}
