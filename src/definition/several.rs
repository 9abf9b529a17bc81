//! What only several definitions, or a definition and this version of the coordinator, tell.

use super::model::Definition;
use super::problem::Problem;

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
