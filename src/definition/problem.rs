//! What a check finds.

use serde::Serialize;

/// One thing that a check found in a definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// Whether it keeps the definition from being used.
    pub severity: Severity,
    /// A stable snake_case word.
    pub code: &'static str,
    /// A sentence that says what to do.
    pub message: String,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The definition cannot be used.
    Error,
    /// It can be used; somebody should look.
    Warning,
}
