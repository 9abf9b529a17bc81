//! Expressions: CEL inside `${ … }`, compiled once at load.
//!
//! A template is taken apart (`split`), each expression parsed, its names checked and its paths
//! into the facts found (`rewrite`, `names`), and kept as a `program`. Evaluating one follows
//! its paths through the saga's JSON (`path`) and converts only what they lead to (`values`).

mod arithmetic;
mod bounds;
mod compiler;
mod failure;
mod functions;
mod kind;
mod names;
mod path;
mod program;
mod rewrite;
mod split;
mod template;
mod text;
mod values;

use serde_json::Value;

pub use template::{Condition, Template};
pub use text::{PathTemplate, TextTemplate};

use super::model::StepIndex;
pub(super) use compiler::Compiler;
pub(super) use names::{Names, Read};
pub(super) use template::push_json;
pub(super) use text::push_encoded;

/// What expressions may see of a saga. Implemented by the saga's state; nothing else is visible.
pub trait Facts {
    /// The saga's id.
    fn saga_id(&self) -> String;
    /// The business key.
    fn key(&self) -> Option<&str>;
    /// The definition's name.
    fn definition(&self) -> &str;
    /// The definition's version.
    fn version(&self) -> u32;
    /// When the saga was started, RFC 3339 in UTC with milliseconds.
    fn started_at(&self) -> String;
    /// The saga's input.
    fn input(&self) -> &Value;
    /// The output of a step that has succeeded, else `None` (expressions see null).
    fn step_output(&self, step: StepIndex) -> Option<&Value>;
    /// `succeeded`, `skipped`, `refused` or `unknown` once the step has ended; `None` before.
    fn step_status(&self, step: StepIndex) -> Option<&'static str>;
    /// Why the saga is compensated: step id, code, message. Null in actions.
    fn failure(&self) -> Option<FailureFacts<'_>>;
}

/// Why a saga is compensated, as expressions see it.
#[derive(Clone, Copy, Debug)]
pub struct FailureFacts<'a> {
    /// The step that failed; none for a cancel or a timeout of the saga.
    pub step: Option<&'a str>,
    /// The code.
    pub code: &'a str,
    /// The sentence.
    pub message: &'a str,
}

/// The facts of one saga at one moment.
///
/// Nothing is converted ahead of time: an expression that is only a path borrows the JSON it
/// leads to, and any other converts no more than its paths lead to, texts borrowed.
pub struct Scope<'a> {
    facts: &'a dyn Facts,
}

impl<'a> Scope<'a> {
    /// A scope over `facts`.
    #[must_use]
    pub fn new(facts: &'a dyn Facts) -> Self {
        Self { facts }
    }
    /// The facts.
    #[must_use]
    pub fn facts(&self) -> &'a dyn Facts {
        self.facts
    }
}

/// An expression that failed when it was evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{expression} in {place}: {reason}")]
pub struct ExpressionError {
    /// The expression as it was written, `${ … }` included.
    pub expression: String,
    /// Where it stands, for example `steps.charge.action.body.amount`.
    pub place: String,
    /// Why it failed.
    pub reason: String,
}
