//! A directory of definitions: which files are definitions, which of them are good, and which
//! contradict each other.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::CatalogueError;
use crate::definition::{self, Definition, Problem, Severity, Surroundings};

/// A problem, and the file that it was found in.
#[derive(Clone, Debug)]
pub struct FileProblem {
    /// The file.
    pub path: PathBuf,
    /// What was found.
    pub problem: Problem,
}

/// Checks several files together: each by itself, and names and versions that two of them claim. Answers with those that can be used, and with every problem.
pub(super) fn check_files<'a>(
    files: impl Iterator<Item = (&'a Path, &'a str)>,
    surroundings: &Surroundings,
) -> (Vec<(PathBuf, Arc<Definition>)>, Vec<FileProblem>) {
    let mut good: Vec<(PathBuf, Arc<Definition>)> = Vec::new();
    let mut problems = Vec::new();
    for (path, source) in files {
        let checked = definition::check(source, Some(surroundings));
        let found = checked.problems;
        if let Some(definition) = checked.definition {
            good.push((path.to_owned(), definition));
        }
        problems.extend(found.into_iter().map(|problem| FileProblem {
            path: path.to_owned(),
            problem,
        }));
    }
    let named: Vec<(String, &Definition)> = good
        .iter()
        .map(|(path, definition)| (path.display().to_string(), definition.as_ref()))
        .collect();
    let files: Vec<(&str, &Definition)> = named
        .iter()
        .map(|(path, definition)| (path.as_str(), *definition))
        .collect();
    let conflicts = definition::conflicts(&files);
    good.retain(|(path, _)| {
        let path = path.display().to_string();
        conflicts.iter().all(|conflict| conflict.path != path)
    });
    problems.extend(conflicts.into_iter().map(|conflict| FileProblem {
        path: conflict.path.into(),
        problem: conflict.problem,
    }));
    (good, problems)
}

pub(super) fn conflict(path: &Path, definition: &Definition) -> FileProblem {
    let message = format!(
        "{} is published already with another content; a published version never changes: give this one a new version",
        definition.reference()
    );
    let problem = Problem {
        line: 1,
        column: 1,
        severity: Severity::Error,
        code: "version_conflict",
        message,
    };
    FileProblem {
        path: path.to_owned(),
        problem,
    }
}

/// The definition files of a directory, in the order of their names. A directory that is not
/// there has none.
pub(super) fn read_directory(directory: &Path) -> Result<Vec<(PathBuf, String)>, CatalogueError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| CatalogueError::Unreadable { path, source }
    };
    if !directory.exists() {
        tracing::warn!(directory = %directory.display(), "there is no directory of definitions");
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable(directory))? {
        let path = entry.map_err(unreadable(directory))?.path();
        if is_definition(&path) {
            paths.push(path);
        }
    }
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let source = std::fs::read_to_string(&path).map_err(unreadable(&path))?;
            Ok((path, source))
        })
        .collect()
}

/// YAML and JSON files, but not the JSON Schema of the language that may lie beside them.
fn is_definition(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json")) && !name.ends_with("schema.json")
}
