//! The functions and types that expressions may use: CEL's standard library.

use cel::common::ast::operators;

use super::names::Fault;
use crate::definition::problem::suggestion;

/// Functions by the names that people write.
const FUNCTIONS: &str = "bool bytes contains double duration dyn endsWith getDate getDayOfMonth \
    getDayOfWeek getDayOfYear getFullYear getHours getMilliseconds getMinutes getMonth getSeconds hasValue \
    int matches or orValue size startsWith string timestamp type \
    uint value existsOne optMap optFlatMap";

/// What the parser makes of operators and macros.
const OPERATORS: [&str; 27] = [
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::SUBSTRACT,
    operators::ADD,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER_EQUALS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::LESS,
    operators::NEGATE,
    operators::INDEX,
    operators::OPT_INDEX,
    operators::OPT_SELECT,
    operators::EXISTS_ONE,
    operators::HAS,
    operators::ALL,
    operators::EXISTS,
    operators::MAP,
    operators::FILTER,
    operators::NOT_STRICTLY_FALSE,
    operators::IN,
];

/// Functions that are called on the name `optional`.
const OPTIONAL_FUNCTIONS: [&str; 3] = ["none", "of", "ofNonZeroValue"];

/// Names of types, for `type(x) == int`.
pub(super) const TYPES: [&str; 11] = [
    "bool",
    "bytes",
    "double",
    "int",
    "list",
    "map",
    "null_type",
    "optional_type",
    "string",
    "type",
    "uint",
];

/// What is wrong with calling `name`, when something is.
pub(super) fn check(name: &str, on_optional: bool) -> Option<Fault> {
    let words = || FUNCTIONS.split_ascii_whitespace();
    let known = if on_optional {
        OPTIONAL_FUNCTIONS.contains(&name)
    } else {
        OPERATORS.contains(&name) || words().any(|word| word == name)
    };
    (!known).then(|| {
        let near = suggestion(name, words());
        Fault::new(
            "unknown_function",
            format!("There is no function `{name}`{near}"),
        )
    })
}
