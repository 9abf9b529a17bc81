//! The definitions that sagas can be started from: read from a directory, published to the store,
//! and kept there for ever, because a running saga keeps the version that it started with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::clock;
use crate::definition::{self, Definition, Problem, Severity, Surroundings};
use crate::saga::Timestamp;
use crate::store::{self, AuditAction, AuditRecord, Store, StoreError};

/// The published definitions, every version of each.
#[derive(Debug, Default)]
pub struct Catalogue {
    names: BTreeMap<String, BTreeMap<u32, Published>>,
}

/// A published version.
#[derive(Clone, Debug)]
pub struct Published {
    /// The definition.
    pub definition: Arc<Definition>,
    /// When it was published.
    pub published_at: Timestamp,
}

/// A problem, and the file that it was found in.
#[derive(Clone, Debug)]
pub struct FileProblem {
    /// The file.
    pub path: PathBuf,
    /// What was found.
    pub problem: Problem,
}

/// Why no catalogue could be made.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The directory of definitions cannot be read.
    #[error("the definitions in {} cannot be read", path.display())]
    Unreadable {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Catalogue {
    /// Reads every definition of a directory, publishes those that are good and not published yet,
    /// and then takes all that the store has. A bad file keeps none of the others from being
    /// served; what was found is in the list that comes along.
    ///
    /// # Errors
    /// When the directory exists and cannot be read, or the database fails.
    pub async fn load(
        store: &Store,
        directory: &Path,
        surroundings: &Surroundings,
    ) -> Result<(Self, Vec<FileProblem>), CatalogueError> {
        let files = read_directory(directory)?;
        let sources = files
            .iter()
            .map(|(path, source)| (path.as_path(), source.as_str()));
        let (good, mut problems) = check_files(sources, surroundings);
        for (path, definition) in good {
            let document = definition.document.to_string();
            let (name, version, now) = (&definition.name, definition.version, clock::now());
            let record =
                AuditRecord::new(AuditAction::DefinitionPublished, now, store::SYSTEM, None)
                    .of_definition(name, Some(version));
            let published = store
                .publish_definition(name, version, &document, now, &record)
                .await?;
            match published {
                store::Published::New | store::Published::Same => {}
                store::Published::Conflict => problems.push(conflict(&path, &definition)),
            }
        }
        let mut catalogue = Self::default();
        for stored in store.definitions().await? {
            catalogue.take(&stored);
        }
        Ok((catalogue, problems))
    }

    fn take(&mut self, stored: &store::StoredDefinition) {
        let checked = definition::check(&stored.document, None);
        let Some(definition) = checked.definition else {
            // It was good when it was published, so a newer version of amends wrote it.
            tracing::error!(
                definition = %stored.name,
                version = stored.version,
                problems = ?checked.problems,
                "a published definition cannot be read; its sagas cannot go on here"
            );
            return;
        };
        let published = Published {
            definition,
            published_at: stored.published_at,
        };
        self.names
            .entry(stored.name.clone())
            .or_default()
            .insert(stored.version, published);
    }

    /// A version, or the newest.
    #[must_use]
    pub fn find(&self, name: &str, version: Option<u32>) -> Option<Published> {
        let versions = self.names.get(name)?;
        match version {
            Some(version) => versions.get(&version).cloned(),
            None => versions
                .last_key_value()
                .map(|(_, published)| published.clone()),
        }
    }

    /// Every definition by name, with its versions from oldest to newest.
    #[must_use]
    pub fn all(&self) -> Vec<(String, Vec<Published>)> {
        self.names
            .iter()
            .map(|(name, versions)| (name.clone(), versions.values().cloned().collect()))
            .collect()
    }
}

/// Checks several files together: each by itself, what this version does not run, and names and
/// versions that two of them claim. Answers with those that can be used, and with every problem.
fn check_files<'a>(
    files: impl Iterator<Item = (&'a Path, &'a str)>,
    surroundings: &Surroundings,
) -> (Vec<(PathBuf, Arc<Definition>)>, Vec<FileProblem>) {
    let mut good: Vec<(PathBuf, Arc<Definition>)> = Vec::new();
    let mut problems = Vec::new();
    for (path, source) in files {
        let checked = definition::check(source, Some(surroundings));
        let mut found = checked.problems;
        if let Some(definition) = checked.definition {
            found.extend(definition::unsupported(&definition, Some(surroundings)));
            if !found
                .iter()
                .any(|problem| problem.severity == Severity::Error)
            {
                good.push((path.to_owned(), definition));
            }
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

fn conflict(path: &Path, definition: &Definition) -> FileProblem {
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
fn read_directory(directory: &Path) -> Result<Vec<(PathBuf, String)>, CatalogueError> {
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
