//! Templates: JSON with expressions in it, and conditions.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::failure::Failure;
use super::kind::Kind;
use super::names::{Fault, Names, Read};
use super::program::{Program, push_text};
use super::split::{Part, has_template, split};
use super::{ExpressionError, Scope};
use crate::definition::duration;
use crate::definition::problem::{Place, Problems};
use crate::definition::tree::{Node, Tree};

/// JSON with expressions in it.
#[derive(Debug)]
pub struct Template {
    root: Shape,
}

/// A condition, an expression that gives true or false.
#[derive(Debug)]
pub struct Condition {
    program: Program,
}

/// A node of a template.
#[derive(Debug)]
enum Shape {
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
struct Field {
    key: String,
    key_text: String,
    value: Shape,
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
    use std::fmt::Write as _;
    let written = write!(out, "{json}");
    debug_assert!(written.is_ok(), "a String takes everything");
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

/// Compiles what stands at one place of a document, and gathers what is wrong and what is read.
pub(in crate::definition) struct Compiler<'a> {
    /// The names that are known here.
    pub(in crate::definition) names: Names<'a>,
    /// Where what is wrong is told.
    pub(in crate::definition) problems: &'a mut Problems,
    /// The step's facts that were read, and where.
    pub(in crate::definition) reads: Vec<(Place, Read)>,
}

impl<'a> Compiler<'a> {
    pub(in crate::definition) fn new(names: Names<'a>, problems: &'a mut Problems) -> Self {
        Self {
            names,
            problems,
            reads: Vec::new(),
        }
    }

    /// Compiles a template; `path` says where it stands, for example `steps.charge.action.body`.
    pub(in crate::definition) fn template(&mut self, node: &Node, path: &str) -> Template {
        Template {
            root: self.part(node, path),
        }
    }

    /// Compiles a condition, written without `${ }`.
    pub(in crate::definition) fn condition(
        &mut self,
        node: &Node,
        path: &str,
    ) -> Option<Condition> {
        let text = match &node.tree {
            Tree::Text(text) => text.clone(),
            Tree::Bool(value) => value.to_string(),
            Tree::Null | Tree::Integer(_) | Tree::Float(_) | Tree::List(_) | Tree::Map(_) => {
                let message = format!(
                    "A condition is an expression in a text, not {}.",
                    node.kind()
                );
                self.problems.error(node.place, "wrong_type", message);
                return None;
            }
        };
        if has_template(&text) {
            let message = "A condition is an expression by itself; write it without `${ }`.";
            self.problems.error(node.place, "template_syntax", message);
            return None;
        }
        let (program, kind) = self.program(node.place, &text, &text, path)?;
        if kind == Kind::NotBoolean {
            let message = format!("`{text}` cannot give true or false; compare it with something.");
            self.problems.error(node.place, "not_a_condition", message);
            return None;
        }
        Some(Condition { program })
    }

    fn part(&mut self, node: &Node, path: &str) -> Shape {
        match &node.tree {
            Tree::Text(text) if has_template(text) => self.text_part(node.place, text, path),
            Tree::List(items) => {
                let parts: Vec<Shape> = items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| self.part(item, &format!("{path}.{index}")))
                    .collect();
                folded(parts.iter().all(is_literal), Shape::List(parts))
            }
            Tree::Map(entries) => {
                let mut parts = Vec::with_capacity(entries.len());
                for entry in entries {
                    if has_template(&entry.key) {
                        let message = "Expressions stand in values, not in keys.";
                        self.problems.error(entry.place, "template_syntax", message);
                    }
                    parts.push(Field {
                        key: entry.key.clone(),
                        key_text: Value::String(entry.key.clone()).to_string(),
                        value: self.part(&entry.value, &format!("{path}.{}", entry.key)),
                    });
                }
                let literal = parts.iter().all(|field| is_literal(&field.value));
                folded(literal, Shape::Map(parts))
            }
            Tree::Null | Tree::Bool(_) | Tree::Integer(_) | Tree::Float(_) | Tree::Text(_) => {
                literal(node.to_json())
            }
        }
    }

    fn text_part(&mut self, place: Place, text: &str, path: &str) -> Shape {
        let Some(mut pieces) = self.pieces(place, text, path) else {
            return literal(Value::Null);
        };
        match pieces.pop() {
            Some(Piece::Expression(program)) if pieces.is_empty() => Shape::Expression(program),
            Some(Piece::Text(text)) if pieces.is_empty() => literal(Value::String(text)),
            last => {
                pieces.extend(last);
                Shape::Text(Pieces(pieces))
            }
        }
    }

    /// The pieces of a text; `None` when something is wrong with it.
    pub(super) fn pieces(&mut self, place: Place, text: &str, path: &str) -> Option<Vec<Piece>> {
        let parts = match split(text) {
            Ok(parts) => parts,
            Err(fault) => {
                self.problems.error(place, fault.code, fault.message);
                return None;
            }
        };
        let pieces: Vec<Option<Piece>> = parts
            .into_iter()
            .map(|part| match part {
                Part::Text(text) => Some(Piece::Text(text)),
                Part::Expression { inner, source } => self
                    .program(place, inner, source, path)
                    .map(|(program, _)| Piece::Expression(program)),
            })
            .collect();
        pieces.into_iter().collect()
    }

    fn program(
        &mut self,
        place: Place,
        inner: &str,
        source: &str,
        path: &str,
    ) -> Option<(Program, Kind)> {
        match Program::compile(inner, source, path, self.names) {
            Ok(compiled) => {
                self.reads
                    .extend(compiled.reads.into_iter().map(|read| (place, read)));
                Some((compiled.program, compiled.kind))
            }
            Err(faults) => {
                for Fault { code, message } in faults {
                    let stop = if message.ends_with(['.', '?']) {
                        ""
                    } else {
                        "."
                    };
                    self.problems.error(place, code, format!("{message}{stop}"));
                }
                None
            }
        }
    }
}

fn literal(json: Value) -> Shape {
    let text = json.to_string();
    Shape::Literal { json, text }
}

fn is_literal(part: &Shape) -> bool {
    matches!(part, Shape::Literal { .. })
}

/// What holds no expression is kept whole. A text may still have held `$${`, so it is put
/// together from its parts and not from the document.
fn folded(all_literal: bool, shape: Shape) -> Shape {
    if all_literal {
        literal(shape.literal_json())
    } else {
        shape
    }
}

impl Shape {
    fn literal_json(self) -> Value {
        match self {
            Self::Literal { json, .. } => json,
            Self::List(items) => items.into_iter().map(Self::literal_json).collect(),
            Self::Map(entries) => Value::Object(
                entries
                    .into_iter()
                    .map(|field| (field.key, field.value.literal_json()))
                    .collect(),
            ),
            Self::Expression(_) | Self::Text(_) => Value::Null,
        }
    }
}
