//! Reading the body of a start, and of a batch of them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::api::error::BodyProblem;
use crate::api::headers::IDEMPOTENCY_KEY_CHARS_MAX;
use crate::api::members::{Length, Members, below, text};
use crate::engine::{Actor, Idempotency, StartRequest};

/// The most sagas of one batch.
pub(in crate::api) const BATCH_MAX: usize = 500;
/// The longest business key, in characters.
pub(in crate::api) const KEY_CHARS_MAX: usize = 255;
/// The most labels of one saga.
pub(in crate::api) const LABELS_MAX: usize = 64;
/// The longest name of a label, in characters.
pub(in crate::api) const LABEL_NAME_CHARS_MAX: usize = 255;
/// The longest value of a label, in characters.
pub(in crate::api) const LABEL_VALUE_CHARS_MAX: usize = 255;
/// The longest name of a definition that is looked for, in characters.
pub(in crate::api) const NAME_CHARS_MAX: usize = 255;

/// A start as it was read.
#[derive(Debug, PartialEq)]
pub(super) struct Start {
    definition: String,
    version: Option<u32>,
    key: Option<String>,
    input: Value,
    labels: BTreeMap<String, String>,
}

impl Start {
    pub(super) fn request(self, idempotency: Option<Idempotency>, actor: Actor) -> StartRequest {
        StartRequest {
            definition: self.definition,
            version: self.version,
            key: self.key,
            input: self.input,
            labels: self.labels,
            idempotency,
            traceparent: None,
            tracestate: None,
            actor,
        }
    }
}

/// Reads a start that stands at `pointer` of the body.
pub(super) fn read_start(value: Value, pointer: &str) -> Result<Start, Vec<BodyProblem>> {
    let mut members = Members::of(value, pointer)?;
    let start = Start {
        definition: members.required_text(
            "definition",
            Length {
                min: 1,
                max: NAME_CHARS_MAX,
            },
        ),
        version: members.count("version"),
        key: members.text(
            "key",
            Length {
                min: 1,
                max: KEY_CHARS_MAX,
            },
        ),
        input: members.payload("input").unwrap_or_default(),
        labels: labels(&mut members),
    };
    members.close().map(|()| start)
}

fn labels(members: &mut Members) -> BTreeMap<String, String> {
    let Some(object) = members.object("labels") else {
        return BTreeMap::new();
    };
    let pointer = members.place("labels");
    if object.len() > LABELS_MAX {
        let detail = format!("must have at most {LABELS_MAX} members");
        members.problem("labels", "max_properties", detail);
        return BTreeMap::new();
    }
    let read = |(name, value): (String, Value)| {
        let place = below(&pointer, &name);
        let name = text(
            name.into(),
            place.clone(),
            Length {
                min: 1,
                max: LABEL_NAME_CHARS_MAX,
            },
        )?;
        if name.contains(':') {
            // A list's filter reads `label=name:value` up to the first colon.
            let detail = "the name of a label must not contain a colon".to_owned();
            return Err(BodyProblem {
                pointer: place,
                code: "pattern".to_owned(),
                detail,
            });
        }
        Ok((
            name,
            text(
                value,
                place,
                Length {
                    min: 0,
                    max: LABEL_VALUE_CHARS_MAX,
                },
            )?,
        ))
    };
    let (good, bad): (Vec<_>, Vec<_>) = object.into_iter().map(read).partition(Result::is_ok);
    members.absorb(bad.into_iter().filter_map(Result::err));
    good.into_iter().filter_map(Result::ok).collect()
}

/// Reads a batch down to its starts, each of which is read by itself.
pub(super) fn read_batch(value: Value) -> Result<Vec<Value>, Vec<BodyProblem>> {
    let mut members = Members::of(value, "")?;
    let starts = members.required_list("sagas", BATCH_MAX);
    members.close().map(|()| starts)
}

/// The idempotency key of one start of a batch, where it has one.
pub(super) fn key_of(start: &Value) -> Option<&str> {
    start.get("idempotency_key").and_then(Value::as_str)
}

/// Takes the idempotency key out of a start, so that what is left is what the header's digest
/// would be made of.
pub(super) fn take_key(
    mut start: Value,
    pointer: &str,
) -> (Option<Result<String, BodyProblem>>, Value) {
    let key = start
        .as_object_mut()
        .and_then(|members| members.shift_remove("idempotency_key"));
    let length = Length {
        min: 1,
        max: IDEMPOTENCY_KEY_CHARS_MAX,
    };
    let read = |key| text(key, below(pointer, "idempotency_key"), length);
    (key.filter(|key| !key.is_null()).map(read), start)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::digest::digest;

    fn problems(body: Value) -> Vec<(String, String)> {
        let problems = read_start(body, "").unwrap_err();
        problems
            .into_iter()
            .map(|problem| (problem.pointer, problem.code))
            .collect()
    }

    #[test]
    fn a_whole_start_is_read() {
        let body = json!({
            "definition": "order", "version": 2, "key": "ORD-1", "input": { "total": 1 },
            "labels": { "channel": "web", "empty": "" },
        });
        let start = read_start(body, "").unwrap();
        assert_eq!(start.definition, "order");
        assert_eq!(
            (start.version, start.key.as_deref()),
            (Some(2), Some("ORD-1"))
        );
        assert_eq!(start.input, json!({ "total": 1 }));
        assert_eq!(start.labels.len(), 2);
    }

    #[test]
    fn what_may_be_left_out_may_be_null() {
        let body = json!({ "definition": "order", "version": null, "key": null, "labels": null });
        let start = read_start(body, "").unwrap();
        assert_eq!(
            (start.version, start.key, start.input),
            (None, None, Value::Null)
        );
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn every_wrong_member_is_told_with_its_pointer() {
        let long = "x".repeat(256);
        let many: BTreeMap<_, _> = (0..=64).map(|n| (format!("l{n}"), "v")).collect();
        let deep = (0..=100).fold(json!(1), |inner, _| json!([inner]));
        let table = [
            (json!([]), vec![("", "type")]),
            (json!("order"), vec![("", "type")]),
            (json!({}), vec![("/definition", "required")]),
            (json!({ "definition": null }), vec![("/definition", "type")]),
            (
                json!({ "definition": "" }),
                vec![("/definition", "min_length")],
            ),
            (
                json!({ "definition": "a\0" }),
                vec![("/definition", "pattern")],
            ),
            (
                json!({ "definition": "o", "version": 0 }),
                vec![("/version", "minimum")],
            ),
            (
                json!({ "definition": "o", "version": -3 }),
                vec![("/version", "minimum")],
            ),
            (
                json!({ "definition": "o", "version": 1.5 }),
                vec![("/version", "type")],
            ),
            (
                json!({ "definition": "o", "version": "1" }),
                vec![("/version", "type")],
            ),
            (
                json!({ "definition": "o", "version": 1e12 }),
                vec![("/version", "maximum")],
            ),
            (
                json!({ "definition": "o", "key": 5 }),
                vec![("/key", "type")],
            ),
            (
                json!({ "definition": "o", "key": long }),
                vec![("/key", "max_length")],
            ),
            (
                json!({ "definition": "o", "key": "\0" }),
                vec![("/key", "pattern")],
            ),
            (
                json!({ "definition": "o", "labels": [] }),
                vec![("/labels", "type")],
            ),
            (
                json!({ "definition": "o", "labels": many }),
                vec![("/labels", "max_properties")],
            ),
            (
                json!({ "definition": "o", "labels": { "a/b": 1, "c": "\0", "d:e": "f", "": "g" } }),
                vec![
                    ("/labels/a~1b", "type"),
                    ("/labels/c", "pattern"),
                    ("/labels/d:e", "pattern"),
                    ("/labels/", "min_length"),
                ],
            ),
            (
                json!({ "definition": "o", "input": deep }),
                vec![("/input", "max_depth")],
            ),
            (
                json!({ "defintion": "o", "version": "x", "key": [], "in~put": 1 }),
                vec![
                    ("/definition", "required"),
                    ("/version", "type"),
                    ("/key", "type"),
                    ("/defintion", "additional_properties"),
                    ("/in~0put", "additional_properties"),
                ],
            ),
        ];
        for (body, expected) in table {
            let shown = body.to_string();
            let mut found = problems(body);
            let mut expected: Vec<_> = expected
                .iter()
                .map(|(p, c)| ((*p).to_owned(), (*c).to_owned()))
                .collect();
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "{shown}");
        }
    }

    #[test]
    fn a_whole_number_may_be_written_with_a_fraction() {
        let start = read_start(json!({ "definition": "o", "version": 2.0 }), "").unwrap();
        assert_eq!(start.version, Some(2));
    }

    #[test]
    fn a_batchs_key_is_no_part_of_its_digest() {
        let plain = json!({ "definition": "o", "input": 1 });
        let keyed = json!({ "definition": "o", "idempotency_key": "k", "input": 1 });
        let (key, rest) = take_key(keyed, "/sagas/0");
        assert_eq!(key, Some(Ok("k".to_owned())));
        assert_eq!(digest(&rest), digest(&plain));
        let (bad, _) = take_key(json!({ "idempotency_key": "" }), "/sagas/0");
        assert_eq!(
            bad.unwrap().unwrap_err().pointer,
            "/sagas/0/idempotency_key"
        );
    }

    #[test]
    fn a_batch_is_bounded() {
        assert_eq!(read_batch(json!({ "sagas": [1, 2] })).unwrap().len(), 2);
        let table = [
            (json!([]), ""),
            (json!({}), "/sagas"),
            (json!({ "sagas": {} }), "/sagas"),
            (json!({ "sagas": vec![1; BATCH_MAX + 1] }), "/sagas"),
            (json!({ "sagas": [], "wait": 1 }), "/wait"),
        ];
        for (body, pointer) in table {
            let shown = body.to_string();
            assert_eq!(read_batch(body).unwrap_err()[0].pointer, pointer, "{shown}");
        }
    }
}
