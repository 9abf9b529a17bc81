//! What a saga *is*: a document is parsed, checked and compiled to a [`Definition`]. Pure: it
//! knows no clock, no network, no files.

mod compile;
pub mod document;
mod draft;
pub mod duration;
pub mod expression;
mod fields;
pub mod graph;
pub mod headers;
pub mod input;
pub mod model;
mod order;
pub mod problem;
mod relations;
pub mod request;
pub mod several;
mod tree;
mod warnings;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use model::{Definition, StepIndex};
pub use problem::{Place, Problem, Severity};
pub use several::{Conflict, conflicts};

use problem::Problems;

/// What a check knows of the configuration, when it is at hand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The configured participants and how each is reached.
    pub participants: BTreeMap<String, TransportKind>,
    /// Whether `server.public_url` is configured.
    pub has_public_url: bool,
}

/// How a participant is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransportKind {
    /// Over HTTP.
    Http,
    /// Over RabbitMQ.
    #[serde(rename = "rabbitmq")]
    RabbitMq,
    /// Over SQS.
    Sqs,
    /// In the process.
    Local,
}

/// What a reading of a document came to.
#[derive(Debug)]
pub struct Checked {
    /// The compiled definition; `None` when there is an error among the problems.
    pub definition: Option<Arc<Definition>>,
    /// Every problem found, in the order of the document.
    pub problems: Vec<Problem>,
}

/// Reads, checks and compiles a document (YAML, or JSON, which YAML includes). Without
/// `surroundings`, what only the configuration can tell is not checked.
#[must_use]
pub fn check(source: &str, surroundings: Option<&Surroundings>) -> Checked {
    // The expression parser goes some 300 KiB down for each bracket in a debug build, more than
    // the stack of a worker thread has. Should no thread be had, this one has to do.
    let checked = std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("definition".to_owned())
            .stack_size(CHECK_STACK_BYTES)
            .spawn_scoped(scope, || check_here(source, surroundings))
            .ok()
            .map(std::thread::ScopedJoinHandle::join)
    });
    match checked {
        Some(Ok(checked)) => checked,
        Some(Err(panic)) => std::panic::resume_unwind(panic),
        None => check_here(source, surroundings),
    }
}

/// The stack that a check is given. Nothing of it is used before it is needed.
const CHECK_STACK_BYTES: usize = 32 << 20;

fn check_here(source: &str, surroundings: Option<&Surroundings>) -> Checked {
    let mut problems = Problems::default();
    let definition = read(source, surroundings, &mut problems);
    let definition = definition.filter(|_| !problems.has_error()).map(Arc::new);
    Checked {
        definition,
        problems: problems.into_sorted(source),
    }
}

fn read(
    source: &str,
    surroundings: Option<&Surroundings>,
    problems: &mut Problems,
) -> Option<Definition> {
    let root = tree::read(source, problems)?;
    let draft = draft::read(&root, problems)?;
    let order = order::find(&draft.steps, problems);
    let (definition, reads) = compile::compile(&draft, &order, &root, problems);
    relations::check(&draft, surroundings, problems);
    warnings::check(&draft, &order, &reads, problems);
    definition
}
