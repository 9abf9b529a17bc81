//! Expressions: CEL inside `${ … }`, compiled once at load.

use serde_json::Value;

use super::model::StepIndex;

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

/// The facts of one saga at one moment, with what was already converted for the evaluator.
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

/// JSON with expressions in it.
#[derive(Debug)]
pub struct Template {}
/// A condition, an expression that gives true or false.
#[derive(Debug)]
pub struct Condition {}
/// Text with expressions in it (a header's value).
#[derive(Debug)]
pub struct TextTemplate {}
/// A path with expressions in it.
#[derive(Debug)]
pub struct PathTemplate {}

impl Template {
    /// The JSON that it gives.
    ///
    /// # Errors
    /// When an expression fails.
    pub fn render(&self, scope: &Scope<'_>) -> Result<Value, ExpressionError> {
        let _ = scope.facts();
        unimplemented!("H1")
    }
}
impl Condition {
    /// Whether it holds.
    ///
    /// # Errors
    /// When the expression fails or gives anything but true or false.
    pub fn holds(&self, scope: &Scope<'_>) -> Result<bool, ExpressionError> {
        let _ = scope.facts();
        unimplemented!("H1")
    }
}
impl TextTemplate {
    /// The text that it gives.
    ///
    /// # Errors
    /// When an expression fails.
    pub fn render(&self, scope: &Scope<'_>) -> Result<String, ExpressionError> {
        let _ = scope.facts();
        unimplemented!("H1")
    }
}
