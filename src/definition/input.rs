//! The input of a saga against its definition's JSON Schema.

use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use super::problem::Problems;
use super::tree::{Node, Tree};

/// No more problems than this are told of one input.
const PROBLEMS_MAX: usize = 100;

/// The longest sentence about one of them, in characters.
const DETAIL_CHARS_MAX: usize = 300;

/// A compiled JSON Schema 2020-12 of a saga's input.
#[derive(Debug)]
pub struct InputSchema {
    validator: jsonschema::Validator,
}

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

/// Where an input breaks the schema: at the member that is missing or not known, where the problem
/// is one member's, as it is for the members of a start.
fn pointer_of(error: &jsonschema::ValidationError<'_>) -> String {
    let mut pointer = error.instance_path().as_str().to_owned();
    let kind = error.kind();
    let member = if let ValidationErrorKind::Required { property } = kind {
        property.as_str()
    } else if let ValidationErrorKind::AdditionalProperties { unexpected }
    | ValidationErrorKind::UnevaluatedProperties { unexpected } = kind
        && let [only] = unexpected.as_slice()
    {
        Some(only.as_str())
    } else {
        None
    };
    if let Some(member) = member {
        pointer.push('/');
        pointer.push_str(&member.replace('~', "~0").replace('/', "~1"));
    }
    pointer
}

impl InputSchema {
    /// Everything that is wrong with `input`; empty when it fits.
    #[must_use]
    pub fn problems(&self, input: &Value) -> Vec<InputProblem> {
        if self.validator.is_valid(input) {
            return Vec::new();
        }
        self.validator
            .iter_errors(input)
            .take(PROBLEMS_MAX)
            .map(|error| InputProblem {
                pointer: pointer_of(&error),
                code: snake_case(error.kind().keyword()),
                detail: shortened(&error.to_string()),
            })
            .collect()
    }

    /// Compiles the schema that stands at `node`.
    pub(super) fn compile(node: &Node, problems: &mut Problems) -> Option<Self> {
        if !matches!(node.tree, Tree::Map(_) | Tree::Bool(_)) {
            let message = format!("`input` is a JSON Schema, a map, not {}.", node.kind());
            problems.error(node.place, "wrong_type", message);
            return None;
        }
        let schema = node.to_json();
        let before = problems.count();
        check_dialect(&schema, node, problems);
        check_references(node, &schema, problems);
        for error in jsonschema::draft202012::meta::validator().iter_errors(&schema) {
            let place = node.at_pointer(error.instance_path().as_str()).place;
            let message = format!(
                "The input's schema is not valid: {}.",
                shortened(&error.to_string())
            );
            problems.error(place, "input_schema_invalid", message);
        }
        if problems.count() > before {
            return None;
        }
        match jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .build(&schema)
        {
            Ok(validator) => Some(Self { validator }),
            Err(error) => {
                let place = node.at_pointer(error.instance_path().as_str()).place;
                let message = format!(
                    "The input's schema is not valid: {}.",
                    shortened(&error.to_string())
                );
                problems.error(place, "input_schema_invalid", message);
                None
            }
        }
    }
}

fn check_dialect(schema: &Value, node: &Node, problems: &mut Problems) {
    let Some(dialect) = schema.get("$schema") else {
        return;
    };
    let written = dialect.as_str().unwrap_or_default().trim_end_matches('#');
    if written != "https://json-schema.org/draft/2020-12/schema" {
        let place = node.at_pointer("/$schema").place;
        let message =
            "An input's schema is JSON Schema 2020-12; leave `$schema` out, or name that.";
        problems.error(place, "input_schema_invalid", message);
    }
}

/// References stay within the schema: nothing is fetched, and what an input must look like does
/// not depend on where the coordinator runs.
fn check_references(node: &Node, root: &Value, problems: &mut Problems) {
    match &node.tree {
        Tree::Map(entries) => {
            for entry in entries {
                let reference = matches!(entry.key.as_str(), "$ref" | "$dynamicRef");
                match &entry.value.tree {
                    Tree::Text(target) if reference && !is_within(target, root) => {
                        let message = format!(
                            "`{target}` leads out of the input's schema; refer to its own `$defs`."
                        );
                        problems.error(entry.value.place, "input_schema_reference", message);
                    }
                    Tree::Null
                    | Tree::Bool(_)
                    | Tree::Integer(_)
                    | Tree::Float(_)
                    | Tree::Text(_)
                    | Tree::List(_)
                    | Tree::Map(_) => check_references(&entry.value, root, problems),
                }
            }
        }
        Tree::List(items) => {
            for item in items {
                check_references(item, root, problems);
            }
        }
        Tree::Null | Tree::Bool(_) | Tree::Integer(_) | Tree::Float(_) | Tree::Text(_) => {}
    }
}

fn is_within(target: &str, root: &Value) -> bool {
    match target.strip_prefix('#') {
        Some("") => true,
        Some(pointer) if pointer.starts_with('/') => percent_encoding::percent_decode_str(pointer)
            .decode_utf8()
            .is_ok_and(|pointer| root.pointer(&pointer).is_some()),
        Some(_anchor) => true,
        None => false,
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(DETAIL_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.trim_end_matches('.').to_owned(),
    }
}

fn snake_case(keyword: &str) -> String {
    let mut word = String::with_capacity(keyword.len() + 2);
    for letter in keyword.chars() {
        if letter.is_ascii_uppercase() {
            word.push('_');
        }
        word.push(letter.to_ascii_lowercase());
    }
    word
}
