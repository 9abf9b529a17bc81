//! Headers that a definition may declare, and those that it may not.

use super::expression::{Compiler, TextTemplate};
use super::tree::Entry;

/// Headers that the coordinator or the transport sets, in small letters.
const RESERVED: [&str; 16] = [
    "idempotency-key",
    "traceparent",
    "tracestate",
    "content-type",
    "content-length",
    "content-encoding",
    "host",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "date",
];

/// Whether a definition must not declare a header of this name, in any case of its letters.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("amends-") || RESERVED.contains(&name.as_str())
}

/// Compiles the headers of a call.
pub(super) fn compile(
    entries: &[Entry],
    path: &str,
    compiler: &mut Compiler<'_>,
) -> Vec<(String, TextTemplate)> {
    let mut headers: Vec<(String, TextTemplate)> = Vec::with_capacity(entries.len());
    for Entry { place, key, value } in entries {
        if is_reserved(key) {
            let message = format!("The coordinator sets `{key}` itself; take it out.");
            compiler.problems.error(*place, "reserved_header", message);
        } else if !is_token(key) {
            let message = format!("`{key}` is not the name of a header.");
            compiler.problems.error(*place, "invalid_header", message);
        } else if headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case(key))
        {
            let message = format!("The header `{key}` stands here twice; keep one of them.");
            compiler.problems.error(*place, "invalid_header", message);
        }
        if let Some(text) = compiler.text(value, &format!("{path}.headers.{key}")) {
            headers.push((key.clone(), text));
        }
    }
    headers
}

/// Whether it is a token of RFC 9110.
fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
