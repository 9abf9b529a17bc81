//! The configuration in force, written as YAML.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// Writes `value` as YAML that the configuration's own reader takes.
pub(super) fn yaml(value: &Value) -> String {
    let mut text = String::new();
    if let Value::Object(entries) = value {
        write_map(&mut text, entries, 0);
    }
    text
}

fn write_map(text: &mut String, entries: &Map<String, Value>, depth: usize) {
    for (key, value) in entries {
        let inner = value.as_object().filter(|inner| !inner.is_empty());
        // Writing to a string cannot fail, and JSON is YAML.
        let written = match inner {
            Some(_) => writeln!(text, "{:depth$}{key}:", ""),
            None => writeln!(text, "{:depth$}{key}: {value}", ""),
        };
        debug_assert!(written.is_ok());
        if let Some(inner) = inner {
            write_map(text, inner, depth + 2);
        }
    }
}
