//! How deep a payload may nest. The journal is JSON, puts payloads a few levels down, and what is
//! read back must stay under `serde_json`'s limit of 128.

use serde_json::Value;

/// The deepest that a payload may nest: an input, a signal's payload, an output.
pub const NESTING_MAX: usize = 100;

/// Whether a value nests no deeper than the journal can hold it.
#[must_use]
pub fn is_shallow(value: &Value) -> bool {
    nests_within(value, NESTING_MAX)
}

fn nests_within(value: &Value, levels: usize) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        Value::Array(items) => {
            levels > 0 && items.iter().all(|item| nests_within(item, levels - 1))
        }
        Value::Object(members) => {
            levels > 0
                && members
                    .values()
                    .all(|member| nests_within(member, levels - 1))
        }
    }
}
