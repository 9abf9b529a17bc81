//! The document as Rust types, from which `sagas/schema.json` is generated. Nothing is read by
//! them: a check reports every problem with its place, and serde stops at the first.

use std::collections::BTreeMap;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

/// A saga definition of the coordinator `amends`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "Saga definition")]
#[expect(dead_code, reason = "only the schema is made of it")]
struct Document {
    /// The definition's name.
    name: Name,
    /// The version, from 1. A published version never changes.
    #[schemars(range(min = 1))]
    version: u32,
    /// For people.
    description: Option<String>,
    /// Labels that every saga started from this definition carries; a start's own labels win.
    labels: Option<BTreeMap<String, String>>,
    /// The JSON Schema 2020-12 of the saga's input; only references within it. Any JSON when left out.
    #[schemars(extend("$ref" = "https://json-schema.org/draft/2020-12/schema"))]
    input: Option<Value>,
    /// The longest the saga may run forward; past it, it turns to compensation.
    timeout: Option<Duration>,
    /// How transient outcomes of the saga's actions are retried, field by field over the built-in policy.
    retry: Option<Retry>,
    /// How the saga is undone.
    compensation: Option<CompensationSettings>,
    /// The steps, run in the order listed unless `after` says otherwise.
    #[schemars(length(min = 1, max = 500))]
    steps: Vec<Step>,
    /// The saga's result, a template; the output of the last step listed when left out.
    output: Option<Value>,
}

/// How a saga is undone.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only the schema is made of it")]
struct CompensationSettings {
    /// The order in which steps are undone: each when all that came after it is (`reverse`), one at a time in the reverse order of completion (`sequential`), or all at once (`parallel`).
    order: Option<Order>,
    /// What happens to the others when a compensation cannot be done.
    on_failure: Option<OnCompensationFailure>,
    /// How compensations are retried, field by field over the built-in policy.
    retry: Option<Retry>,
}

/// One step: an `action`, a `wait` or a `delay`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    { "required": ["action", "participant"] },
    { "required": ["wait"] },
    { "required": ["delay"] },
]))]
#[expect(dead_code, reason = "only the schema is made of it")]
struct Step {
    /// The step's id, unique in its definition.
    id: Name,
    /// A participant by its name in the configuration.
    participant: Option<String>,
    /// What is asked of the participant.
    action: Option<Call>,
    /// What undoes the action; a step without one has nothing to undo.
    compensation: Option<Compensation>,
    /// Waits for a signal; its payload is the step's output.
    wait: Option<Wait>,
    /// Waits for a duration, or for what a template gives: a duration or an RFC 3339 time.
    delay: Option<String>,
    /// The steps that must have ended first; `[]` is at once. The step above when left out.
    after: Option<Vec<Name>>,
    /// A condition in CEL, without `${ }`; when it is false the step is skipped.
    #[schemars(extend("type" = ["string", "boolean"]))]
    when: Option<String>,
    /// The longest one attempt may take.
    timeout: Option<Duration>,
    /// How transient outcomes are retried, field by field over the saga's `retry`.
    retry: Option<Retry>,
    /// Whether the HTTP answer is the outcome (`sync`), or a 202 only accepts and the outcome comes to the callback (`async`).
    reply: Option<Reply>,
    /// The point of no return: once this has succeeded the saga only goes forward.
    pivot: Option<bool>,
    /// What the step's failure does: undo the saga, or go on without this step.
    on_failure: Option<OnFailure>,
    /// When the action is undone: when it succeeded or its outcome is unknown (`done`), or after a refusal too (`always`).
    compensate: Option<Compensate>,
    /// Statuses that are read as a refusal; wins over `retry_on`.
    refuse_on: Option<Vec<Status>>,
    /// Statuses that are read as transient.
    retry_on: Option<Vec<Status>>,
}

/// What is asked of a participant: a verb with a path, or a command.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    { "required": ["get"] }, { "required": ["post"] }, { "required": ["put"] },
    { "required": ["patch"] }, { "required": ["delete"] }, { "required": ["command"] },
]))]
#[expect(dead_code, reason = "only the schema is made of it")]
struct Call {
    /// The path of a GET.
    get: Option<Path>,
    /// The path of a POST.
    post: Option<Path>,
    /// The path of a PUT.
    put: Option<Path>,
    /// The path of a PATCH.
    patch: Option<Path>,
    /// The path of a DELETE.
    delete: Option<Path>,
    /// A command's name; over HTTP it is `POST {url}/{command}`.
    command: Option<String>,
    /// Query parameters.
    query: Option<BTreeMap<String, Scalar>>,
    /// Headers.
    headers: Option<BTreeMap<String, Scalar>>,
    /// The body, a template.
    body: Option<Value>,
}

/// What undoes an action: a verb with a path, or a command.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    { "required": ["get"] }, { "required": ["post"] }, { "required": ["put"] },
    { "required": ["patch"] }, { "required": ["delete"] }, { "required": ["command"] },
]))]
#[expect(dead_code, reason = "only the schema is made of it")]
struct Compensation {
    /// The path of a GET.
    get: Option<Path>,
    /// The path of a POST.
    post: Option<Path>,
    /// The path of a PUT.
    put: Option<Path>,
    /// The path of a PATCH.
    patch: Option<Path>,
    /// The path of a DELETE.
    delete: Option<Path>,
    /// A command's name; over HTTP it is `POST {url}/{command}`.
    command: Option<String>,
    /// Query parameters.
    query: Option<BTreeMap<String, Scalar>>,
    /// Headers.
    headers: Option<BTreeMap<String, Scalar>>,
    /// The body, a template; `{ input, output }` when left out.
    body: Option<Value>,
    /// A condition in CEL, without `${ }`; when it is false there is nothing to undo.
    #[schemars(extend("type" = ["string", "boolean"]))]
    when: Option<String>,
    /// How it is retried, field by field over the definition's `compensation.retry`.
    retry: Option<Retry>,
    /// The longest one attempt may take; 30 s when left out.
    timeout: Option<Duration>,
}

/// Waits for a signal.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only the schema is made of it")]
struct Wait {
    /// The signal's name.
    signal: String,
    /// Past it the step is refused with `wait_timed_out`.
    timeout: Option<Duration>,
}

/// How often and how soon something is tried again.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only the schema is made of it")]
struct Retry {
    /// Attempts in all, the first included.
    #[schemars(range(min = 1, max = 1000))]
    max_attempts: Option<u32>,
    /// The wait before the second attempt.
    initial: Option<Duration>,
    /// By how much each wait is longer than the one before.
    #[schemars(range(min = 1, max = 100))]
    multiplier: Option<f64>,
    /// The longest wait.
    max: Option<Duration>,
    /// How chance spreads the waits.
    jitter: Option<Jitter>,
}

macro_rules! words {
    ($($(#[$meta:meta])* $name:ident { $($word:ident),* })*) => {$(
        #[derive(JsonSchema)]
        #[schemars(rename_all = "snake_case", inline)]
        $(#[$meta])*
        #[expect(dead_code, reason = "only the schema is made of it")]
        enum $name { $($word),* }
    )*};
}

words! {
    Order { Reverse, Sequential, Parallel }
    OnCompensationFailure { Halt, Continue }
    OnFailure { Compensate, Continue }
    Compensate { Done, Always }
    Reply { Sync, Async }
    Jitter { Full, Equal, None }
}

macro_rules! texts {
    ($($(#[$meta:meta])* $name:ident)*) => {$(
        #[derive(JsonSchema)]
        #[expect(dead_code, reason = "only the schema is made of it")]
        $(#[$meta])*
        struct $name(String);
    )*};
}

texts! {
    /// A name: small letters, digits and `_`, a letter first, at most 63.
    #[schemars(extend("pattern" = "^[a-z][a-z0-9_]{0,62}$"))]
    Name
    /// A duration such as `200ms`, `10s` or `1h30m`, at most `400d`.
    #[schemars(extend("pattern" = "^([0-9]+(ms|s|m|h|d))+$"))]
    Duration
    /// A path from `/`, with expressions as whole segments or parts of them.
    #[schemars(extend("pattern" = "^/"))]
    Path
    /// A text with expressions, a number or a boolean.
    #[schemars(extend("type" = ["string", "number", "boolean"]))]
    Scalar
    /// A status such as `409`, or a hundred of them such as `4xx`.
    #[schemars(extend("type" = ["integer", "string"], "minimum" = 300, "maximum" = 599, "pattern" = "^([3-5]xx|[3-5][0-9]{2})$"))]
    Status
}

/// The JSON Schema of the document, as `sagas/schema.json` has it.
#[must_use]
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<Document>().to_value();
    without_null(&mut schema);
    schema
}

/// A field may be left out, but not be null: takes away the null that an `Option` brings.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    map.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(options)) = map.get_mut("anyOf") {
                options.retain(|option| option.get("type").is_none_or(|name| name != "null"));
                if let [Value::Object(only)] = options.as_slice() {
                    let only = only.clone();
                    map.shift_remove("anyOf");
                    map.extend(only);
                }
            }
            if let Some(Value::Array(words)) = map.get_mut("enum") {
                words.retain(|word| !word.is_null());
            }
            map.values_mut().for_each(without_null);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::fields;
    use super::*;

    const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sagas/schema.json");

    #[test]
    fn the_schema_file_is_fresh() {
        let fresh = format!("{:#}\n", schema());
        #[expect(
            clippy::disallowed_methods,
            reason = "a switch of this test, not configuration"
        )]
        if std::env::var("AMENDS_UPDATE_SCHEMA").is_ok() {
            std::fs::write(PATH, &fresh).unwrap();
        }
        let stored = std::fs::read_to_string(PATH).unwrap_or_default();
        assert!(
            stored == fresh,
            "sagas/schema.json is stale: AMENDS_UPDATE_SCHEMA=1 cargo test --lib schema"
        );
    }

    #[test]
    fn the_types_have_the_fields_that_a_check_knows() {
        let schema = schema();
        let properties = |map: &Value| {
            let mut names: Vec<String> = map["properties"]
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect();
            names.sort();
            names
        };
        let known = |names: &[&str]| {
            let mut names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            names.sort();
            names
        };
        assert_eq!(properties(&schema), known(fields::DEFINITION));
        for (name, fields) in [
            ("Step", fields::STEP),
            ("Call", fields::ACTION),
            ("Compensation", fields::COMPENSATION),
            ("CompensationSettings", fields::COMPENSATION_SETTINGS),
            ("Retry", fields::RETRY),
            ("Wait", fields::WAIT),
        ] {
            assert_eq!(properties(&schema["$defs"][name]), known(fields), "{name}");
        }
    }
}
