//! Reading what a body says, member by member, so that everything that is wrong with it is told
//! at once, each thing with its pointer.

use serde_json::{Map, Value};

use super::error::BodyProblem;
use crate::saga::nesting::{NESTING_MAX, is_shallow};

/// How long a text may be, in characters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Length {
    /// The least.
    pub(super) min: usize,
    /// The most.
    pub(super) max: usize,
}

/// The members of a JSON object, taken out one by one. What is wrong with any of them is
/// gathered; what nobody took is unknown.
#[derive(Debug)]
pub(super) struct Members {
    pointer: String,
    members: Map<String, Value>,
    problems: Vec<BodyProblem>,
}

impl Members {
    /// The members of `value`, which stands at `pointer`.
    pub(super) fn of(value: Value, pointer: &str) -> Result<Self, Vec<BodyProblem>> {
        match value {
            Value::Object(members) => Ok(Self {
                pointer: pointer.to_owned(),
                members,
                problems: Vec::new(),
            }),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Err(vec![wrong_type(pointer.to_owned(), "an object")]),
        }
    }

    /// Records that something is wrong with `member`.
    pub(super) fn problem(&mut self, member: &str, code: &str, detail: impl Into<String>) {
        let problem = BodyProblem {
            pointer: self.place(member),
            code: code.to_owned(),
            detail: detail.into(),
        };
        self.problems.push(problem);
    }

    /// A member; null and none are the same.
    fn take(&mut self, member: &str) -> Option<Value> {
        self.members.remove(member).filter(|value| !value.is_null())
    }

    /// A text that may be left out.
    pub(super) fn text(&mut self, member: &str, length: Length) -> Option<String> {
        let value = self.take(member)?;
        let place = self.place(member);
        match text(value, place, length) {
            Ok(text) => Some(text),
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }

    /// A text that may not be left out. What is missing is a problem, and empty.
    pub(super) fn required_text(&mut self, member: &str, length: Length) -> String {
        if !self.members.contains_key(member) {
            self.problem(member, "required", format!("`{member}` is missing"));
            return String::new();
        }
        // Null is a value of the wrong type here.
        let value = self.members.remove(member).unwrap_or_default();
        match text(value, self.place(member), length) {
            Ok(text) => text,
            Err(problem) => {
                self.problems.push(problem);
                String::new()
            }
        }
    }

    /// A whole number from 1 that may be left out.
    pub(super) fn count(&mut self, member: &str) -> Option<u32> {
        let value = self.take(member)?;
        let number = value.as_f64().filter(|number| number.fract() == 0.0);
        let Some(number) = number else {
            let problem = wrong_type(self.place(member), "a whole number");
            self.problems.push(problem);
            return None;
        };
        let count = whole(number).filter(|count| *count >= 1);
        if count.is_none() {
            let keyword = if number < 1.0 { "minimum" } else { "maximum" };
            self.problem(
                member,
                keyword,
                format!("must lie between 1 and {}", u32::MAX),
            );
        }
        count
    }

    /// One of a few words that may not be left out.
    pub(super) fn word<T: Copy>(&mut self, member: &str, words: &[(&str, T)]) -> Option<T> {
        let Some(value) = self.members.remove(member) else {
            self.problem(member, "required", format!("`{member}` is missing"));
            return None;
        };
        let Value::String(text) = value else {
            let problem = wrong_type(self.place(member), "a string");
            self.problems.push(problem);
            return None;
        };
        let known = words
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, meaning)| *meaning);
        if known.is_none() {
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.problem(
                member,
                "enum",
                format!("must be one of {}", words.join(", ")),
            );
        }
        known
    }

    /// One of a few words, that may be left out or null.
    pub(super) fn optional_word<T: Copy>(
        &mut self,
        member: &str,
        words: &[(&str, T)],
    ) -> Option<T> {
        match self.members.get(member) {
            None => None,
            Some(Value::Null) => {
                self.members.remove(member);
                None
            }
            Some(_) => self.word(member, words),
        }
    }

    /// Any JSON, as deep as the journal can hold it; `None` when it was left out.
    pub(super) fn payload(&mut self, member: &str) -> Option<Value> {
        let value = self.members.remove(member)?;
        if let Err(problem) = shallow(&value, self.place(member)) {
            self.problems.push(problem);
        }
        Some(value)
    }

    /// A list that may not be left out.
    pub(super) fn required_list(&mut self, member: &str, max: usize) -> Vec<Value> {
        let list = match self.members.remove(member) {
            None => {
                self.problem(member, "required", format!("`{member}` is missing"));
                return Vec::new();
            }
            Some(Value::Array(list)) => list,
            Some(_) => {
                let problem = wrong_type(self.place(member), "a list");
                self.problems.push(problem);
                return Vec::new();
            }
        };
        if list.len() > max {
            self.problem(
                member,
                "max_items",
                format!("must have at most {max} items"),
            );
        }
        list
    }

    /// An object that may be left out, for its own members to be read.
    pub(super) fn object(&mut self, member: &str) -> Option<Map<String, Value>> {
        match self.take(member)? {
            Value::Object(members) => Some(members),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => {
                let problem = wrong_type(self.place(member), "an object");
                self.problems.push(problem);
                None
            }
        }
    }

    /// Records problems found elsewhere.
    pub(super) fn absorb(&mut self, problems: impl IntoIterator<Item = BodyProblem>) {
        self.problems.extend(problems);
    }

    /// The pointer of a member.
    pub(super) fn place(&self, member: &str) -> String {
        below(&self.pointer, member)
    }

    /// Everything that was wrong; members that nobody took are unknown.
    pub(super) fn close(self) -> Result<(), Vec<BodyProblem>> {
        let Self {
            pointer,
            members,
            mut problems,
        } = self;
        problems.extend(members.keys().map(|member| BodyProblem {
            pointer: below(&pointer, member),
            code: "additional_properties".to_owned(),
            detail: format!("`{member}` is not known here"),
        }));
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }
}

/// The pointer of `member` of what stands at `pointer` (RFC 6901).
pub(super) fn below(pointer: &str, member: &str) -> String {
    format!("{pointer}/{}", member.replace('~', "~0").replace('/', "~1"))
}

/// Reads a text. PostgreSQL's text columns cannot hold the character NUL, so no text may.
pub(super) fn text(value: Value, pointer: String, length: Length) -> Result<String, BodyProblem> {
    let Value::String(text) = value else {
        return Err(wrong_type(pointer, "a string"));
    };
    let count = text.chars().count();
    let wrong = if text.contains('\0') {
        (
            "pattern",
            "must not contain the character U+0000".to_owned(),
        )
    } else if count < length.min {
        (
            "min_length",
            format!("must have at least {} characters", length.min),
        )
    } else if count > length.max {
        (
            "max_length",
            format!("must have at most {} characters", length.max),
        )
    } else {
        return Ok(text);
    };
    Err(BodyProblem {
        pointer,
        code: wrong.0.to_owned(),
        detail: wrong.1,
    })
}

/// Refuses a payload that nests deeper than the journal can hold it.
pub(super) fn shallow(value: &Value, pointer: String) -> Result<(), BodyProblem> {
    if is_shallow(value) {
        return Ok(());
    }
    let detail = format!("must not nest deeper than {NESTING_MAX} levels");
    Err(BodyProblem {
        pointer,
        code: "max_depth".to_owned(),
        detail,
    })
}

/// A whole number that a `u32` holds; every one of those is a float exactly.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range was checked, and the caller has seen that there is no fraction"
)]
fn whole(number: f64) -> Option<u32> {
    (0.0..=f64::from(u32::MAX))
        .contains(&number)
        .then_some(number as u32)
}

fn wrong_type(pointer: String, expected: &str) -> BodyProblem {
    BodyProblem {
        pointer,
        code: "type".to_owned(),
        detail: format!("must be {expected}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pointers_are_escaped() {
        assert_eq!(below("/labels", "a/b~c"), "/labels/a~1b~0c");
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
        assert!(shallow(&nested(NESTING_MAX), String::new()).is_ok());
        let problem = shallow(&nested(NESTING_MAX + 1), "/input".to_owned()).unwrap_err();
        assert_eq!(
            (problem.pointer.as_str(), problem.code.as_str()),
            ("/input", "max_depth")
        );
    }
}
