//! `${env:NAME}` and `${file:/path}` in strings of the configuration.

use std::collections::BTreeMap;

use super::problem::ConfigProblem;
use super::tree::{Content, Node, Scalar};

/// What is shown in place of a secret.
pub(super) const MASK: &str = "***";

/// Puts the values in place, everywhere below `node`; what cannot be found is reported.
pub(super) fn resolve(
    node: &mut Node,
    path: &str,
    environment: &BTreeMap<String, String>,
    problems: &mut Vec<ConfigProblem>,
) {
    match &mut node.content {
        Content::Scalar(scalar) if !scalar.literal && scalar.text.contains("${") => {
            match interpolate(&scalar.text, environment) {
                Ok(resolved) => *scalar = resolved,
                Err(messages) => {
                    problems.extend(messages.into_iter().map(|message| ConfigProblem {
                        path: path.to_owned(),
                        message: format!("{message} ({})", node.origin),
                    }));
                    node.content = Content::Broken;
                }
            }
        }
        Content::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                resolve(item, &format!("{path}[{index}]"), environment, problems);
            }
        }
        Content::Map(entries) => {
            for (key, entry) in entries {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                resolve(entry, &path, environment, problems);
            }
        }
        Content::Null | Content::Scalar(_) | Content::Broken => {}
    }
}

fn interpolate(text: &str, environment: &BTreeMap<String, String>) -> Result<Scalar, Vec<String>> {
    let mut resolved = Scalar::new(String::new());
    let mut messages = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            push(&mut resolved, before);
            push(&mut resolved, "${");
            rest = after;
            continue;
        }
        push(&mut resolved, before);
        let Some((reference, after)) = after.split_once('}') else {
            messages.push("has a ${ without its }".to_owned());
            rest = "";
            break;
        };
        match look_up(reference, environment) {
            Ok(value) => {
                resolved.text.push_str(&value);
                resolved.shown.push_str(MASK);
            }
            Err(message) => messages.push(message),
        }
        rest = after;
    }
    push(&mut resolved, rest);
    if messages.is_empty() {
        Ok(resolved)
    } else {
        Err(messages)
    }
}

fn push(scalar: &mut Scalar, text: &str) {
    scalar.text.push_str(text);
    scalar.shown.push_str(text);
}

/// A file's text is taken without the line break at its end, which editors put there.
fn look_up(reference: &str, environment: &BTreeMap<String, String>) -> Result<String, String> {
    match reference.split_once(':') {
        Some(("env", name)) => environment
            .get(name)
            .cloned()
            .ok_or_else(|| format!("the environment variable {name} is not set")),
        Some(("file", path)) => std::fs::read_to_string(path)
            .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
            .map_err(|error| format!("the file {path} cannot be read: {error}")),
        Some(_) | None => Err(format!(
            "${{{reference}}} is neither ${{env:NAME}} nor ${{file:/path}}; $${{ is a literal ${{"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> BTreeMap<String, String> {
        [("TOKEN".to_owned(), "s3cret".to_owned())].into()
    }

    #[test]
    fn values_are_put_in_and_never_shown() {
        let scalar = interpolate("Bearer ${env:TOKEN}!", &environment()).unwrap();
        assert_eq!(
            (scalar.text.as_str(), scalar.shown.as_str()),
            ("Bearer s3cret!", "Bearer ***!")
        );
        assert_eq!(format!("{scalar:?}"), "\"Bearer ***!\"");
    }

    #[test]
    fn a_file_is_read_without_its_last_line_break() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "two\nlines\r\n").unwrap();
        let scalar = interpolate(
            &format!("${{file:{}}}", file.path().display()),
            &environment(),
        )
        .unwrap();
        assert_eq!(scalar.text, "two\nlines");
    }

    #[test]
    fn every_missing_one_is_named() {
        let messages =
            interpolate("${env:A} ${file:/no/such} ${what} ${", &environment()).unwrap_err();
        assert_eq!(messages.len(), 4, "{messages:?}");
        assert!(
            messages[0].contains('A') && messages[1].contains("/no/such"),
            "{messages:?}"
        );
    }

    #[test]
    fn a_doubled_dollar_is_a_literal_one() {
        assert_eq!(
            interpolate("$${env:TOKEN}", &environment()).unwrap().text,
            "${env:TOKEN}"
        );
    }
}
