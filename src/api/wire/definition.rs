//! Definitions on the wire.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::At;
use crate::api::openapi::words;
use crate::definition::{Problem, Severity};
use crate::engine::catalogue::Published;

/// A definition in a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ListedDefinition)]
pub struct Listed<'a> {
    /// Its name.
    name: &'a str,
    /// The newest version.
    version: u32,
    /// Every version, from oldest to newest.
    versions: Vec<Version>,
    /// What the newest version says of itself.
    #[schema(required)]
    description: Option<&'a str>,
    /// The newest version's labels.
    labels: &'a BTreeMap<String, String>,
}

/// A published version in a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ListedVersion)]
struct Version {
    /// The version.
    version: u32,
    /// Whether it takes no new starts.
    paused: bool,
    /// When it was published.
    published_at: At,
    /// Where it came from.
    source: &'static str,
}

impl<'a> Listed<'a> {
    /// A definition by its published versions, from oldest to newest; none without a version.
    #[must_use]
    pub fn of(name: &'a str, published: &'a [Published]) -> Option<Self> {
        let newest = &published.last()?.definition;
        let version = |published: &Published| Version {
            version: published.definition.version,
            paused: published.paused,
            published_at: At(published.published_at),
            source: published.source.as_str(),
        };
        Some(Self {
            name,
            version: newest.version,
            versions: published.iter().map(version).collect(),
            description: newest.description.as_deref(),
            labels: &newest.labels,
        })
    }
}

/// One version of a definition, as it was written.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Definition)]
pub struct Document<'a> {
    /// Its name.
    name: &'a str,
    /// The version.
    version: u32,
    /// Whether it takes no new starts.
    paused: bool,
    /// When it was published.
    published_at: At,
    /// The definition as it was written, in JSON.
    definition: &'a Value,
}

impl<'a> Document<'a> {
    /// A published version.
    #[must_use]
    pub fn of(published: &'a Published) -> Self {
        Self {
            name: &published.definition.name,
            version: published.definition.version,
            paused: published.paused,
            published_at: At(published.published_at),
            definition: &published.definition.document,
        }
    }
}

/// The steps of a definition as a graph, for the API's description only: `definition::graph` makes
/// it.
#[derive(Debug, ToSchema)]
pub struct Graph {
    /// The steps.
    pub nodes: Vec<Node>,
    /// Which step comes after which.
    pub edges: Vec<Edge>,
}

/// A step in a graph.
#[derive(Debug, ToSchema)]
#[schema(as = GraphNode)]
pub struct Node {
    /// Its id.
    pub id: String,
    /// `action`, `wait` or `delay`.
    pub kind: String,
    /// What it does, in a few words.
    pub label: String,
    /// Who is asked; null where nobody is.
    #[schema(required)]
    pub participant: Option<String>,
    /// `before` the pivot, the `pivot` or `after` it.
    pub position: String,
    /// Whether it is the pivot.
    pub pivot: bool,
    /// Whether it can be undone.
    pub compensation: bool,
    /// Whether it has a condition.
    pub conditional: bool,
    /// What its failure does: `compensate` or `continue`.
    pub on_failure: String,
}

/// An edge of a graph.
#[derive(Debug, ToSchema)]
#[schema(as = GraphEdge)]
pub struct Edge {
    /// The step that comes first.
    pub from: String,
    /// The step that comes after it.
    pub to: String,
}

/// What a check found.
#[derive(Debug, Serialize, ToSchema)]
pub struct CheckResult<'a> {
    /// Every problem, in the order of the document.
    pub problems: Vec<Finding<'a>>,
}

/// One thing that a check found in a definition.
#[derive(Debug, Serialize, ToSchema)]
pub struct Finding<'a> {
    /// The line, from 1.
    #[schema(minimum = 1)]
    line: usize,
    /// The column, from 1.
    #[schema(minimum = 1)]
    column: usize,
    /// Whether it keeps the definition from being used: `error`, or only `warning`.
    #[schema(schema_with = words::severity)]
    severity: Severity,
    /// A stable word.
    code: &'static str,
    /// A sentence that says what to do.
    message: &'a str,
}

impl<'a> From<&'a Problem> for Finding<'a> {
    fn from(problem: &'a Problem) -> Self {
        Self {
            line: problem.line,
            column: problem.column,
            severity: problem.severity,
            code: problem.code,
            message: &problem.message,
        }
    }
}
