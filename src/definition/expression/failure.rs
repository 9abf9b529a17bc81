//! Why an evaluation failed, in words that hold no data of the saga: they are journaled, logged
//! and must come out the same at every replay.

use cel::{ExecutionError, Value};

/// Why an evaluation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error("No such key: {0}")]
    MissingKey(String),
    #[error("index {0} is not in the list")]
    MissingIndex(i64),
    #[error("{found} has no key `{key}`")]
    NotAMap { key: String, found: &'static str },
    #[error("{found} cannot be indexed with {index}")]
    NotAList { index: i64, found: &'static str },
    #[error("it must give true or false, and gave {0}")]
    NotBoolean(&'static str),
    #[error("it took more than {0} turns of its macros")]
    TooManyTurns(u32),
    #[error("it made more than {0} bytes")]
    TooLarge(usize),
    #[error("{0} cannot be written as JSON")]
    NotJson(String),
    #[error("a path segment came out as `{0}`; it must not be empty, `.` or `..`")]
    UnsafeSegment(String),
    #[error("the header's value has a line break or another control character in it")]
    UnsafeHeader,
    #[error("it must give a duration or an RFC 3339 time")]
    NotATime,
    #[error("{0}")]
    Evaluation(String),
}

impl Failure {
    /// The evaluator's error without the values that it shows.
    #[expect(deprecated, reason = "the evaluator still has these variants")]
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the evaluator's enum is not exhaustive"
    )]
    pub(super) fn of(error: &ExecutionError) -> Self {
        use ExecutionError as E;
        let text = match error {
            E::NoSuchKey(key) => return Self::MissingKey(key.to_string()),
            E::UnsupportedTargetType { target } => {
                format!("{} is not supported here", kind(target))
            }
            E::NotSupportedAsMethod { method, target } => {
                format!("`{method}` is not a method of {}", kind(target))
            }
            E::UnsupportedKeyType(key) | E::UnsupportedMapIndex(key) => {
                format!("{} cannot be the key of a map", kind(key))
            }
            E::UnsupportedListIndex(index) | E::UnsupportedIndex(index, _) => {
                format!("{} cannot be an index", kind(index))
            }
            E::ValuesNotComparable(left, right) => {
                format!("{} cannot be compared with {}", kind(left), kind(right))
            }
            E::UnsupportedUnaryOperator(operator, value) => {
                format!("`{operator}` does not take {}", kind(value))
            }
            E::UnsupportedBinaryOperator(operator, left, right) => {
                format!(
                    "`{operator}` does not take {} and {}",
                    kind(left),
                    kind(right)
                )
            }
            E::DivisionByZero(_) | E::RemainderByZero(_) => "division by zero".to_owned(),
            E::Overflow(operator, _, _) => format!("the result of `{operator}` is out of range"),
            E::IndexOutOfBounds(Value::Int(index)) => return Self::MissingIndex(*index),
            E::IndexOutOfBounds(_) => "an index is not in the list".to_owned(),
            E::DuplicateKey(_) => "a map has one key twice".to_owned(),
            E::UnexpectedType { got, want } => format!("got {got} where {want} is wanted"),
            E::FunctionError { function, .. } => {
                format!("`{function}` does not take what it was given")
            }
            E::NoSuchOverload(overload) => overload.to_string(),
            E::UndeclaredReference(name) => format!("there is no `{name}`"),
            E::InvalidArgumentCount { expected, actual } => {
                format!("{actual} arguments were given where {expected} are wanted")
            }
            _ => "it cannot be evaluated".to_owned(),
        };
        Self::Evaluation(text)
    }
}

fn kind(value: &Value) -> String {
    format!("a value of type {}", value.type_of())
}
