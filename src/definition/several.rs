//! What only several definitions, or a definition and this version of the coordinator, tell.

use super::model::{Definition, ReplyMode, StepKind};
use super::problem::{Place, Problem};
use super::{Surroundings, TransportKind};

/// What makes two files impossible to serve together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The file to change: the later of the two.
    pub path: String,
    /// What is wrong with it, at its `version`.
    pub problem: Problem,
}

/// The files that have the name and version of an earlier one, and differ from it.
///
/// Give them in a stable order (by path): of two that conflict the later is told.
#[must_use]
pub fn conflicts(files: &[(&str, &Definition)]) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    for (at, (path, definition)) in files.iter().enumerate() {
        let earlier = files.iter().take(at).find(|(_, earlier)| {
            earlier.name == definition.name && earlier.version == definition.version
        });
        if let Some((other, earlier)) = earlier
            && earlier.document != definition.document
        {
            let message = format!(
                "{other} also has {} and differs; a published version never changes, so give this one the next version.",
                definition.reference()
            );
            let problem = Problem::error(definition.version_place, "version_conflict", message);
            conflicts.push(Conflict {
                path: (*path).to_owned(),
                problem,
            });
        }
    }
    conflicts
}

/// What `definition` asks for that the language has and this coordinator does not run yet. Such
/// a definition is correct, and must not be served.
#[must_use]
pub fn unsupported(definition: &Definition, surroundings: Option<&Surroundings>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |place: Place, what: &str| {
        let message = format!("{what}: this version of the coordinator does not run it yet.");
        problems.push(Problem::error(place, "not_supported", message));
    };
    for step in &definition.steps {
        let StepKind::Action(action) = &step.kind else {
            continue;
        };
        if action.reply == ReplyMode::Async {
            refuse(action.reply_place.unwrap_or(step.place), "`reply: async`");
        }
        let transport = surroundings
            .and_then(|surroundings| surroundings.participants.get(&action.participant));
        let broker = match transport {
            Some(TransportKind::RabbitMq) => Some("RabbitMQ"),
            Some(TransportKind::Sqs) => Some("SQS"),
            Some(TransportKind::Http | TransportKind::Local) | None => None,
        };
        if let Some(broker) = broker {
            let what = format!("`{}` is reached over {broker}", action.participant);
            refuse(action.participant_place, &what);
        }
    }
    problems
}
