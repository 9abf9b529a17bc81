//! The digest of a JSON value: equal for equal values, however they were written.
//!
//! Object keys are sorted and numbers normalised, so `{"a":1,"b":2}` and `{ "b": 2.0, "a": 1e0 }`
//! are one value. Digests are kept with their idempotency keys for as long as a saga lives, so
//! the form never changes.

use serde_json::{Number, Value};
use sha2::{Digest as _, Sha256};

/// SHA-256 of a value's canonical form.
pub(super) fn digest(value: &Value) -> [u8; 32] {
    let mut hash = Sha256::new();
    absorb(&mut hash, value);
    hash.finalize().into()
}

/// Every value begins with a letter for its kind, and whatever has a length with its length, so
/// that no two values have one form.
fn absorb(hash: &mut Sha256, value: &Value) {
    match value {
        Value::Null => hash.update(b"n"),
        Value::Bool(true) => hash.update(b"t"),
        Value::Bool(false) => hash.update(b"f"),
        Value::Number(number) => absorb_number(hash, number),
        Value::String(text) => absorb_text(hash, text),
        Value::Array(items) => {
            absorb_length(hash, b"a", items.len());
            for item in items {
                absorb(hash, item);
            }
        }
        Value::Object(members) => {
            absorb_length(hash, b"o", members.len());
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            for (name, member) in members {
                absorb_text(hash, name);
                absorb(hash, member);
            }
        }
    }
}

fn absorb_text(hash: &mut Sha256, text: &str) {
    absorb_length(hash, b"s", text.len());
    hash.update(text);
}

fn absorb_length(hash: &mut Sha256, kind: &[u8], length: usize) {
    hash.update(kind);
    hash.update(u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
}

/// A number that is whole has one form, written with a fraction or without.
fn absorb_number(hash: &mut Sha256, number: &Number) {
    let whole = number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from));
    let float = number.as_f64().unwrap_or(f64::NAN);
    match whole.or_else(|| whole_of(float)) {
        Some(whole) => {
            hash.update(b"i");
            hash.update(whole.to_be_bytes());
        }
        None => {
            hash.update(b"d");
            hash.update(float.to_bits().to_be_bytes());
        }
    }
}

/// The whole number that a float is, where an `i128` holds it.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a float without a fraction below 2^126 is an i128 exactly"
)]
fn whole_of(float: f64) -> Option<i128> {
    let bound = 2_f64.powi(126);
    (float.fract() == 0.0 && float.abs() < bound).then_some(float as i128)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> [u8; 32] {
        digest(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn equal_values_have_one_digest() {
        let equal = [
            (
                r#"{"a":1,"b":[true,null]}"#,
                "{ \"b\" : [ true, null ], \"a\" : 1 }",
            ),
            ("1", "1.0"),
            ("1", "1e0"),
            ("0", "-0.0"),
            ("100000000000000000000", "1e20"),
            (r#""é""#, r#""\u00e9""#),
        ];
        for (left, right) in equal {
            assert_eq!(of(left), of(right), "{left} and {right}");
        }
    }

    #[test]
    fn different_values_have_different_digests() {
        let values = [
            "null",
            "false",
            "true",
            "0",
            "1",
            "1.5",
            "-1",
            "\"\"",
            "\"1\"",
            "[]",
            "{}",
            "[[]]",
            "[1,2]",
            "[2,1]",
            "[12]",
            r#"["1","2"]"#,
            r#"["12"]"#,
            r#"{"a":1}"#,
            r#"{"b":1}"#,
            r#"{"a":null}"#,
            "18446744073709551615",
            "18446744073709551616",
            "1e300",
        ];
        for (index, left) in values.iter().enumerate() {
            for right in &values[index + 1..] {
                assert_ne!(of(left), of(right), "{left} and {right}");
            }
        }
    }

    #[test]
    fn the_form_stays_as_it_is() {
        let digest = of(r#"{"definition":"order","input":{"total":10.5,"items":["a"]}}"#);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "798db3a3b41978714f4e3e96985b0afe5b5a7137010783259c4b371f792bad8c"
        );
    }
}
