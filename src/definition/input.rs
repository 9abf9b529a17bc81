//! The input of a saga against its definition's JSON Schema.

use serde_json::Value;

/// A compiled JSON Schema 2020-12 of a saga's input.
#[derive(Debug)]
pub struct InputSchema {}

/// One thing that is wrong with an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputProblem {
    /// A JSON pointer from the input's root, empty for the root itself.
    pub pointer: String,
    /// The schema keyword that it breaks, in snake_case, for example `required`.
    pub code: String,
    /// What is wrong.
    pub detail: String,
}

impl InputSchema {
    /// Everything that is wrong with `input`; empty when it fits.
    #[must_use]
    pub fn problems(&self, input: &Value) -> Vec<InputProblem> {
        let _ = input;
        unimplemented!("H1")
    }
}
