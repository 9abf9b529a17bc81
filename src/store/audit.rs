//! The audit: who did what, and when. What a saga does is written by the journal, in the
//! transaction that makes it durable; what stands alone by [`Store::record`].
//!
//! **What readers may rely on.** A row is there exactly when what it tells of is, and never
//! changes. `seq` is counted up by the database as rows are written, so the rows of one saga are in
//! the order in which they happened, and so are those of one replica; but of two transactions that
//! run beside each other the one with the higher numbers may be there first. A reader who takes
//! the newest rows again and again may therefore meet a lower `seq` later than a higher one.

mod action;
mod list;

use std::net::IpAddr;

use sea_orm::{ConnectionTrait, Value};
use serde_json::json;

pub use action::{AuditAction, AuditActions, UnknownAction};
pub use list::{AuditCursor, AuditEntry, AuditFilter, NoAuditCursor};

use super::dialect::marks;
use super::{Backend, JOURNAL_UNREADABLE, Store, StoreError};
use crate::saga::id::{SagaId, Timestamp};

/// The actor of what the coordinator does by itself.
pub const SYSTEM: &str = "system";

/// The most characters of an actor's name that the audit keeps.
const ACTOR_CHARS_MAX: usize = 255;

/// How many rows one statement writes at most.
const ROWS_MAX: usize = 100;

/// The columns that [`AuditRecord::values`] gives values for.
pub(super) const COLUMNS: &str =
    "at, saga_id, version, actor, action, definition, step, remote, detail";
/// How many they are.
pub(super) const COLUMNS_COUNT: usize = 9;

/// What is audited, and with how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditPolicy {
    /// The actions that are written.
    pub actions: AuditActions,
    /// Whether what came in (a saga's input, a signal's payload) is written with them.
    pub include_input: bool,
    /// Whether what came out (a saga's output, that of a step settled by hand) is.
    pub include_output: bool,
}

impl Default for AuditPolicy {
    fn default() -> Self {
        Self {
            actions: AuditActions::ALL,
            include_input: false,
            include_output: false,
        }
    }
}

/// One thing that somebody did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// When.
    pub at: Timestamp,
    /// Who: a key's name, a token's subject, `anonymous`, or [`SYSTEM`].
    pub actor: String,
    /// The address that it came from; none for what the coordinator does by itself.
    pub remote: Option<IpAddr>,
    /// What.
    pub action: AuditAction,
    /// To which saga.
    pub saga: Option<SagaId>,
    /// Of which definition; the version is missing where it is all of them.
    pub definition: Option<(String, Option<u32>)>,
    /// To which of its steps.
    pub step: Option<String>,
    /// More about it: a small JSON object.
    pub detail: Option<String>,
}

impl AuditRecord {
    /// A record of this action, with nothing else said about it.
    #[must_use]
    pub fn new(action: AuditAction, at: Timestamp, actor: &str, remote: Option<IpAddr>) -> Self {
        Self {
            at,
            actor: actor_name(actor),
            remote,
            action,
            saga: None,
            definition: None,
            step: None,
            detail: None,
        }
    }

    /// The same about a definition; no version means all of them.
    #[must_use]
    pub fn of_definition(mut self, name: &str, version: Option<u32>) -> Self {
        self.definition = Some((name.to_owned(), version));
        self
    }

    /// The same with more about it; `detail` is a JSON object.
    #[must_use]
    pub fn with_detail(mut self, detail: &serde_json::Value) -> Self {
        self.detail = Some(detail.to_string());
        self
    }

    /// The name of its definition.
    pub(super) fn definition_name(&self) -> Option<&str> {
        self.definition.as_ref().map(|(name, _)| name.as_str())
    }

    /// The version of its definition.
    pub(super) fn definition_version(&self) -> Option<i64> {
        self.definition
            .as_ref()
            .and_then(|(_, version)| version.map(i64::from))
    }

    /// The address as it is stored.
    pub(super) fn remote_text(&self) -> Option<String> {
        self.remote.map(|remote| remote.to_string())
    }

    /// The values of [`COLUMNS`], as of this saga.
    pub(super) fn push_values(&self, saga: Option<SagaId>, values: &mut Vec<Value>) {
        let text = |text: Option<&str>| Value::String(text.map(|text| Box::new(text.to_owned())));
        values.extend([
            self.at.0.into(),
            Value::Uuid(saga.map(|saga| Box::new(saga.0))),
            Value::BigInt(self.definition_version()),
            self.actor.as_str().into(),
            self.action.as_str().into(),
            text(self.definition_name()),
            text(self.step.as_deref()),
            text(self.remote_text().as_deref()),
            text(self.detail.as_deref()),
        ]);
    }
}

/// The name as far as the table takes it: who calls may have named himself.
fn actor_name(name: &str) -> String {
    name.chars()
        .filter(|c| *c != '\0')
        .take(ACTOR_CHARS_MAX)
        .collect()
}

impl Store {
    /// The same store, writing only what the policy asks for.
    #[must_use]
    pub fn with_audit(mut self, policy: AuditPolicy) -> Self {
        self.audit = policy;
        self
    }

    /// What is audited.
    #[must_use]
    pub fn audit_policy(&self) -> AuditPolicy {
        self.audit
    }

    /// Writes what stands alone. What belongs to a change of something else is written together
    /// with that.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away; none may be written then.
    pub async fn record(&self, records: &[AuditRecord]) -> Result<(), StoreError> {
        write(&self.db, self.backend, self.audit, records).await
    }
}

impl Store {
    /// Writes, in a transaction, that the coordinator did this now, by the database's clock.
    pub(super) async fn record_now(
        &self,
        on: &impl ConnectionTrait,
        action: AuditAction,
        detail: &str,
    ) -> Result<(), StoreError> {
        if !self.audit.actions.contains(action) {
            return Ok(());
        }
        let now = self.backend.now();
        let sql =
            format!("INSERT INTO audit_log (at, actor, action, detail) VALUES ({now}, ?, ?, ?)");
        let values = vec![SYSTEM.into(), action.as_str().into(), detail.into()];
        on.execute(self.backend.statement(&sql, values)).await?;
        Ok(())
    }

    /// Writes, in a transaction, that a saga failed because its journal cannot be read.
    pub(super) async fn record_set_aside(
        &self,
        on: &impl ConnectionTrait,
        saga: SagaId,
        why: &str,
    ) -> Result<(), StoreError> {
        let action = AuditAction::SagaFailed;
        if !self.audit.actions.contains(action) {
            return Ok(());
        }
        let now = self.backend.now();
        // PostgreSQL does not guess the type of a value that is selected.
        let text = match self.backend {
            Backend::Sqlite | Backend::Postgres => "text",
            Backend::MySql => "char",
        };
        let sql = format!(
            "INSERT INTO audit_log (at, saga_id, version, actor, action, definition, detail) \
             SELECT {now}, id, version, '{SYSTEM}', '{action}', definition, \
             CAST(? AS {text}) FROM sagas WHERE id = ?"
        );
        let detail = json!({ "code": JOURNAL_UNREADABLE, "message": why }).to_string();
        let values = vec![detail.into(), saga.0.into()];
        on.execute(self.backend.statement(&sql, values)).await?;
        Ok(())
    }
}

/// Writes those of the records that the policy asks for, on a connection or in a transaction.
pub(super) async fn write(
    on: &impl ConnectionTrait,
    backend: Backend,
    policy: AuditPolicy,
    records: &[AuditRecord],
) -> Result<(), StoreError> {
    let wanted: Vec<&AuditRecord> = records
        .iter()
        .filter(|record| policy.actions.contains(record.action))
        .collect();
    for chunk in wanted.chunks(ROWS_MAX) {
        let rows = vec![format!("({})", marks(COLUMNS_COUNT)); chunk.len()].join(", ");
        let sql = format!("INSERT INTO audit_log ({COLUMNS}) VALUES {rows}");
        let mut values = Vec::with_capacity(chunk.len() * COLUMNS_COUNT);
        for record in chunk {
            record.push_values(record.saga, &mut values);
        }
        on.execute(backend.statement(&sql, values)).await?;
    }
    Ok(())
}
