//! Templates: JSON with expressions in it, and conditions.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::failure::Failure;
use super::program::{Program, push_text};
use super::{ExpressionError, Scope};
use crate::definition::duration;

/// JSON with expressions in it.
#[derive(Debug)]
pub struct Template {
    pub(super) root: Shape,
}

/// A condition, an expression that gives true or false.
#[derive(Debug)]
pub struct Condition {
    pub(super) program: Program,
}

/// A node of a template.
#[derive(Debug)]
pub(super) enum Shape {
    /// Nothing is evaluated here or below; kept as JSON and as its text.
    Literal {
        json: Value,
        text: String,
    },
    /// A text that is one expression: the value takes its type.
    Expression(Program),
    /// Text with expressions in it.
    Text(Pieces),
    List(Vec<Shape>),
    Map(Vec<Field>),
}

/// One entry of a map: its key, the key as JSON text, and its value.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) key: String,
    pub(super) key_text: String,
    pub(super) value: Shape,
}

/// Text with expressions in it.
#[derive(Debug)]
pub(super) struct Pieces(pub(super) Vec<Piece>);

/// A part of such a text.
#[derive(Debug)]
pub(super) enum Piece {
    Text(String),
    Expression(Program),
}

impl Pieces {
    pub(super) fn render(&self, scope: &Scope<'_>) -> Result<String, ExpressionError> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Expression(program) => push_text(&*program.json(scope)?, &mut text),
            }
        }
        Ok(text)
    }
}

impl Template {
    /// The JSON that it gives.
    ///
    /// # Errors
    /// When an expression fails.
    pub fn render(&self, scope: &Scope<'_>) -> Result<Value, ExpressionError> {
        self.root.json(scope).map(Cow::into_owned)
    }

    /// Writes the JSON that it gives as text, at the end of `out`.
    ///
    /// # Errors
    /// When an expression fails; what was written of `out` then means nothing.
    pub fn write(&self, scope: &Scope<'_>, out: &mut String) -> Result<(), ExpressionError> {
        self.root.write(scope, out)
    }

    /// What it gives as text: a string as it is, anything else as its JSON.
    pub(in crate::definition) fn render_text(
        &self,
        scope: &Scope<'_>,
    ) -> Result<String, ExpressionError> {
        let mut text = String::new();
        push_text(&*self.root.json(scope)?, &mut text);
        Ok(text)
    }

    /// The error that says that what a `delay` gave is neither a duration nor a time.
    #[must_use]
    pub fn not_a_time(&self) -> ExpressionError {
        let failure = Failure::NotATime;
        match &self.root {
            Shape::Expression(program) => program.error(&failure),
            Shape::Text(Pieces(pieces)) => pieces
                .iter()
                .find_map(|piece| match piece {
                    Piece::Expression(program) => Some(program.error(&failure)),
                    Piece::Text(_) => None,
                })
                .unwrap_or_else(|| plain_error(&failure)),
            Shape::Literal { .. } | Shape::List(_) | Shape::Map(_) => plain_error(&failure),
        }
    }

    /// The wait that a `delay` template gives, at `now_ms` (milliseconds since 1970): the time
    /// at which it is over, in the same milliseconds.
    ///
    /// # Errors
    /// When an expression fails, or gives neither a duration nor an RFC 3339 time.
    pub fn render_time(&self, scope: &Scope<'_>, now_ms: i64) -> Result<i64, ExpressionError> {
        let rendered = self.root.json(scope)?;
        let Value::String(text) = &*rendered else {
            return Err(self.not_a_time());
        };
        if let Ok(wait_ms) = duration::parse_ms(text) {
            return Ok(now_ms.saturating_add_unsigned(wait_ms));
        }
        chrono::DateTime::parse_from_rfc3339(text)
            .map(|time| time.timestamp_millis())
            .map_err(|_not_a_time| self.not_a_time())
    }
}

fn plain_error(failure: &Failure) -> ExpressionError {
    ExpressionError {
        expression: "delay".to_owned(),
        place: "delay".to_owned(),
        reason: failure.to_string(),
    }
}

impl Shape {
    fn json<'a>(&'a self, scope: &Scope<'a>) -> Result<Cow<'a, Value>, ExpressionError> {
        match self {
            Self::Literal { json, .. } => Ok(Cow::Borrowed(json)),
            Self::Expression(program) => program.json(scope),
            Self::Text(pieces) => pieces
                .render(scope)
                .map(|text| Cow::Owned(Value::String(text))),
            Self::List(items) => {
                let items: Result<Vec<Value>, _> = items
                    .iter()
                    .map(|item| item.json(scope).map(Cow::into_owned))
                    .collect();
                items.map(|items| Cow::Owned(Value::Array(items)))
            }
            Self::Map(entries) => {
                let mut map = Map::with_capacity(entries.len());
                for field in entries {
                    map.insert(field.key.clone(), field.value.json(scope)?.into_owned());
                }
                Ok(Cow::Owned(Value::Object(map)))
            }
        }
    }

    fn write(&self, scope: &Scope<'_>, out: &mut String) -> Result<(), ExpressionError> {
        match self {
            Self::Literal { text, .. } => out.push_str(text),
            Self::Expression(program) => push_json(&*program.json(scope)?, out),
            Self::Text(pieces) => push_json(&Value::String(pieces.render(scope)?), out),
            Self::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write(scope, out)?;
                }
                out.push(']');
            }
            Self::Map(entries) => {
                out.push('{');
                for (index, field) in entries.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    out.push_str(&field.key_text);
                    out.push(':');
                    field.value.write(scope, out)?;
                }
                out.push('}');
            }
        }
        Ok(())
    }
}

/// Writes JSON at the end of `out`.
pub(in crate::definition) fn push_json(json: &Value, out: &mut String) {
    // A buffer of its own costs one copy more, and is twice as fast as going through `fmt`.
    let text = serde_json::to_string(json).unwrap_or_default();
    debug_assert!(!text.is_empty(), "JSON in memory is always written");
    out.push_str(&text);
}

impl Condition {
    /// Whether it holds.
    ///
    /// # Errors
    /// When the expression fails or gives anything but true or false.
    pub fn holds(&self, scope: &Scope<'_>) -> Result<bool, ExpressionError> {
        self.program.holds(scope)
    }
}
