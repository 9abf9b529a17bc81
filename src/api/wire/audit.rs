//! The audit on the wire.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::At;
use crate::api::openapi::{examples, words};
use crate::saga::SagaId;
use crate::store::AuditEntry;

/// Who did what.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = examples::audit_entry, as = AuditEntry)]
pub struct AuditEntryView<'a> {
    /// Its number; it grows in the order of writing.
    pub seq: u64,
    /// When.
    pub at: At,
    /// Who: a key's name, a token's subject, `anonymous`, or `system`.
    pub actor: &'a str,
    /// What.
    #[schema(schema_with = words::audit_action)]
    pub action: &'a str,
    /// To which saga.
    #[schema(value_type = Option<Uuid>, required)]
    pub saga: Option<SagaId>,
    /// Of which definition: `name/version`, or the name alone for all of its versions.
    #[schema(required)]
    pub definition: Option<String>,
    /// To which step.
    #[schema(required)]
    pub step: Option<&'a str>,
    /// More about it.
    #[schema(value_type = Object)]
    pub detail: &'a RawValue,
    /// The address that it came from; null for what the coordinator does by itself.
    #[schema(required)]
    pub remote: Option<&'a str>,
}

impl<'a> AuditEntryView<'a> {
    /// A row of the audit.
    #[must_use]
    pub fn of(entry: &'a AuditEntry) -> Self {
        Self {
            seq: entry.seq,
            at: At(entry.at),
            actor: &entry.actor,
            action: &entry.action,
            saga: entry.saga,
            definition: definition(entry),
            step: entry.step.as_deref(),
            detail: detail(entry),
            remote: entry.remote.as_deref(),
        }
    }
}

fn definition(entry: &AuditEntry) -> Option<String> {
    entry
        .definition
        .as_ref()
        .map(|(name, version)| match version {
            Some(version) => format!("{name}/{version}"),
            None => name.clone(),
        })
}

/// Nothing more to say.
const NO_DETAIL: &str = "{}";

fn detail(entry: &AuditEntry) -> &RawValue {
    let text = entry.detail.as_deref().unwrap_or(NO_DETAIL);
    // One that was damaged is left out; the rest of the entry is still true.
    serde_json::from_str(text)
        .or_else(|_damaged| serde_json::from_str(NO_DETAIL))
        .unwrap_or(RawValue::NULL)
}

/// Entries as a table: the members of an entry in their order, a header first (RFC 4180). What is
/// null is empty.
#[derive(Debug, Default)]
pub struct Table {
    begun: bool,
}

impl Table {
    /// The rows of these entries; before the first of all the header.
    ///
    /// # Errors
    /// Never, as far as anybody knows: what is written to is memory.
    pub fn rows<'a>(
        &mut self,
        entries: impl IntoIterator<Item = &'a AuditEntry>,
    ) -> Result<Vec<u8>, csv::Error> {
        let mut writer = csv::WriterBuilder::new()
            .terminator(csv::Terminator::CRLF)
            .from_writer(Vec::new());
        if !std::mem::replace(&mut self.begun, true) {
            writer.write_record([
                "seq",
                "at",
                "actor",
                "action",
                "saga",
                "definition",
                "step",
                "detail",
                "remote",
            ])?;
        }
        for entry in entries {
            let saga = entry.saga.map(|saga| saga.to_string());
            writer.write_record([
                entry.seq.to_string().as_str(),
                &entry.at.to_rfc3339(),
                &entry.actor,
                &entry.action,
                saga.as_deref().unwrap_or_default(),
                definition(entry).as_deref().unwrap_or_default(),
                entry.step.as_deref().unwrap_or_default(),
                entry.detail.as_deref().unwrap_or(NO_DETAIL),
                entry.remote.as_deref().unwrap_or_default(),
            ])?;
        }
        writer
            .into_inner()
            .map_err(|error| csv::Error::from(error.into_error()))
    }
}
