//! Definitions on the wire.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::At;
use crate::definition::Problem;
use crate::engine::catalogue::Published;

/// A definition in a list.
#[derive(Debug, Serialize)]
pub struct Listed<'a> {
    name: &'a str,
    version: u32,
    versions: Vec<Version>,
    description: Option<&'a str>,
    labels: &'a BTreeMap<String, String>,
}

/// A published version in a list.
#[derive(Debug, Serialize)]
struct Version {
    version: u32,
    paused: bool,
    published_at: At,
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
#[derive(Debug, Serialize)]
pub struct Document<'a> {
    name: &'a str,
    version: u32,
    paused: bool,
    published_at: At,
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

/// What a check found.
#[derive(Debug, Serialize)]
pub struct CheckResult {
    /// Every problem, in the order of the document.
    pub problems: Vec<Problem>,
}
