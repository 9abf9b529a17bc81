//! From what stands in a document to templates and conditions.

use serde_json::Value;

use super::kind::Kind;
use super::names::{Fault, Names, Read};
use super::program::Program;
use super::split::{Part, has_template, split};
use super::template::{Condition, Field, Piece, Pieces, Shape, Template};
use crate::definition::problem::{Place, Problems};
use crate::definition::tree::{Node, Tree};

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
        if !self.problems.admits_expression(place) {
            return None;
        }
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
