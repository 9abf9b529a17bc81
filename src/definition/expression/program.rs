//! One compiled expression.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use cel::common::ast::{Expr, IdedExpr};
use cel::common::functions::Function;
use cel::common::types::{CelBool, CelOptional, DYN_TYPE};
use cel::common::value::Val;
use cel::{Context, Env, ExecutionError};
use serde_json::Value;

use super::arithmetic::{add, divide, multiply, subtract};
use super::bounds::{
    BUDGET, Budget, MEASURED, ORDERED, SharedBudget, TICK, TICK_NOTHING, measured, ordered, tick,
    tick_nothing,
};
use super::failure::Failure;
use super::kind::{Kind, depth, kind};
use super::names::{Fault, Names, Read};
use super::path::{Found, Path};
use super::rewrite::{Rewrite, variable};
use super::split::nesting;
use super::values::{from_json, to_json};
use super::{ExpressionError, Facts, Scope};

/// The longest expression, in bytes.
const EXPRESSION_BYTES_MAX: usize = 4_096;

/// The deepest nesting of brackets, and the longest chain of operators and selections. The parser
/// and the evaluator go down with both, and have to fit a thread's stack.
const BRACKETS_MAX: usize = 24;
const CHAIN_MAX: usize = 64;

/// The deepest nesting of what the parser makes of it.
const DEPTH_MAX: usize = 72;

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::stdlib();
    let functions: [(&str, usize, Function); 8] = [
        ("@add", 3, add),
        ("@subtract", 3, subtract),
        ("@multiply", 3, multiply),
        ("@divide", 3, divide),
        (TICK, 1, tick),
        (TICK_NOTHING, 1, tick_nothing),
        (MEASURED, 2, measured),
        (ORDERED, 1, ordered),
    ];
    for (name, arguments, function) in functions {
        let added = environment.add_overload(
            name,
            name,
            (0..arguments).map(|_| DYN_TYPE).collect(),
            function,
        );
        debug_assert!(added.is_ok(), "the names are ours alone");
    }
    Arc::new(environment)
});

/// A compiled expression.
#[derive(Debug)]
pub(super) struct Program {
    /// As it was written, `${ … }` included.
    source: String,
    /// Where it stands.
    place: String,
    evaluation: Evaluation,
}

#[derive(Debug)]
enum Evaluation {
    /// Only a path: the JSON it leads to is the result, and nothing is converted.
    Path(Path),
    Evaluated {
        expression: IdedExpr,
        variables: Vec<(String, Path)>,
        bounded: bool,
    },
}

/// What a compilation gives beside the program.
pub(super) struct Compiled {
    pub(super) program: Program,
    pub(super) reads: Vec<Read>,
    pub(super) kind: Kind,
}

impl Program {
    /// Compiles `text`, the expression alone; `source` is how it was written.
    pub(super) fn compile(
        text: &str,
        source: &str,
        place: &str,
        names: Names<'_>,
    ) -> Result<Compiled, Vec<Fault>> {
        let syntax = |message: String| vec![Fault::new("template_syntax", message)];
        if text.trim().is_empty() {
            return Err(syntax(
                "The expression is empty; write one, or leave it out.".to_owned(),
            ));
        }
        if text.len() > EXPRESSION_BYTES_MAX {
            return Err(syntax(format!(
                "The expression is longer than {EXPRESSION_BYTES_MAX} bytes; make it shorter."
            )));
        }
        let nesting = nesting(text);
        if nesting.brackets > BRACKETS_MAX || nesting.chain > CHAIN_MAX {
            return Err(too_deep());
        }
        let parsed = ENVIRONMENT.parser().parse(text).map_err(|errors| {
            let words: Vec<String> = errors
                .errors
                .iter()
                .map(|error| error.msg.trim().replace('\n', " "))
                .collect();
            syntax(format!(
                "`{}` does not parse: {}.",
                text.trim(),
                words.join("; ")
            ))
        })?;
        if depth(&parsed) > DEPTH_MAX {
            return Err(too_deep());
        }
        let kind = kind(&parsed);
        let mut rewrite = Rewrite::new(names);
        let expression = rewrite.expression(parsed);
        let Rewrite {
            paths,
            faults,
            bounded,
            ..
        } = rewrite;
        if !faults.is_empty() {
            return Err(faults);
        }
        let reads = paths.iter().filter_map(Path::read).collect();
        let mut paths = paths;
        let evaluation = match (&expression.expr, paths.len()) {
            (Expr::Ident(_), 1) => paths.pop().map(Evaluation::Path),
            _ => None,
        };
        let evaluation = evaluation.unwrap_or_else(|| Evaluation::Evaluated {
            expression,
            variables: paths
                .into_iter()
                .enumerate()
                .map(|(index, path)| (variable(index), path))
                .collect(),
            bounded,
        });
        let program = Self {
            source: source.to_owned(),
            place: place.to_owned(),
            evaluation,
        };
        Ok(Compiled {
            program,
            reads,
            kind,
        })
    }

    /// The JSON that the expression gives.
    pub(super) fn json<'a>(&self, scope: &Scope<'a>) -> Result<Cow<'a, Value>, ExpressionError> {
        match &self.evaluation {
            Evaluation::Path(path) => path.find(scope.facts()).map(Found::into_json),
            Evaluation::Evaluated {
                expression,
                variables,
                bounded,
            } => evaluate(expression, variables, *bounded, scope.facts(), to_json).map(Cow::Owned),
        }
        .map_err(|failure| self.error(&failure))
    }

    /// Whether the expression gives true.
    pub(super) fn holds(&self, scope: &Scope<'_>) -> Result<bool, ExpressionError> {
        match &self.evaluation {
            Evaluation::Path(path) => {
                path.find(scope.facts())
                    .map(Found::into_json)
                    .and_then(|json| {
                        json.as_bool()
                            .ok_or_else(|| Failure::NotBoolean(super::path::kind(&json)))
                    })
            }
            Evaluation::Evaluated {
                expression,
                variables,
                bounded,
            } => evaluate(
                expression,
                variables,
                *bounded,
                scope.facts(),
                |value| match value.downcast_ref::<CelBool>() {
                    Some(holds) => Ok(*holds.inner()),
                    None => Err(Failure::NotBoolean("another value")),
                },
            ),
        }
        .map_err(|failure| self.error(&failure))
    }

    /// The error that tells of `failure`.
    pub(super) fn error(&self, failure: &Failure) -> ExpressionError {
        ExpressionError {
            expression: self.source.clone(),
            place: self.place.clone(),
            reason: failure.to_string(),
        }
    }
}

fn too_deep() -> Vec<Fault> {
    vec![Fault::new(
        "template_syntax",
        "The expression is nested too deeply; make it simpler.",
    )]
}

/// Evaluates `expression`. A path that leads nowhere fails it only when it is needed.
fn evaluate<T>(
    expression: &IdedExpr,
    variables: &[(String, Path)],
    bounded: bool,
    facts: &dyn Facts,
    convert: impl FnOnce(&dyn Val) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let found: Vec<Result<Found<'_>, Failure>> =
        variables.iter().map(|(_, path)| path.find(facts)).collect();
    let budget = bounded.then(Arc::<Budget>::default);
    let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
    for ((name, _), found) in variables.iter().zip(&found) {
        if let Ok(found) = found {
            context.add_variable_as_val(name.as_str(), variable_value(found));
        }
    }
    if let Some(budget) = &budget {
        context.add_variable_as_val(BUDGET, Box::new(SharedBudget(Arc::clone(budget))));
    }
    let value = cel::Value::resolve_val(expression, &context);
    if let Some(failure) = budget.as_ref().and_then(|budget| budget.exceeded()) {
        return Err(failure);
    }
    match value {
        Ok(value) => convert(value.as_ref()),
        Err(error) => Err(explain(&error, variables, &found)),
    }
}

fn variable_value<'v>(found: &'v Found<'_>) -> Box<dyn Val + 'v> {
    match found {
        Found::Json(json) => from_json(json),
        Found::Optional(None) => Box::new(CelOptional::none()),
        Found::Optional(Some(json)) => Box::new(CelOptional::of(from_json(json))),
    }
}

/// A variable that is missing stands for a path that led nowhere: tell why it did.
fn explain(
    error: &ExecutionError,
    variables: &[(String, Path)],
    found: &[Result<Found<'_>, Failure>],
) -> Failure {
    if let ExecutionError::UndeclaredReference(name) = error {
        let missing = variables
            .iter()
            .zip(found)
            .find(|((variable, _), _)| *variable == **name)
            .and_then(|(_, found)| found.as_ref().err());
        if let Some(failure) = missing {
            return failure.clone();
        }
    }
    Failure::of(error)
}

/// The text of JSON inside other text: a string as it is, anything else as its JSON.
pub(super) fn push_text(json: &Value, out: &mut String) {
    match json {
        Value::String(text) => out.push_str(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            out.push_str(&json.to_string());
        }
    }
}
