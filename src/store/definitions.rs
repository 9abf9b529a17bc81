//! The published definitions: immutable rows, published once under a name and a version.

use sea_orm::{ConnectionTrait, TransactionTrait, Value};

use super::dialect::{column, number, text};
use super::{AuditRecord, Store, StoreError, audit};
use crate::saga::id::Timestamp;

/// What publishing came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// It was not there before.
    New,
    /// The same JSON value is published under that name and version already.
    Same,
    /// Another one is; nothing was changed.
    Conflict,
}

/// A published version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDefinition {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// The document, as JSON.
    pub document: String,
    /// When it was published.
    pub published_at: Timestamp,
    /// Whether it takes no new starts.
    pub paused: bool,
}

impl Store {
    /// Publishes a version; `document` is JSON. Two at the same moment make one row, and both are
    /// told the truth. Where it is new, `record` is written with it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away; [`StoreError::Unreadable`] when what
    /// is published there already, or `document` itself, is not JSON.
    pub async fn publish_definition(
        &self,
        name: &str,
        version: u32,
        document: &str,
        at: Timestamp,
        record: &AuditRecord,
    ) -> Result<Published, StoreError> {
        let (verb, absent) = self.backend.insert_where_absent();
        let sql = format!(
            "{verb} INTO definitions (name, version, published_at, document) \
             VALUES (?, ?, ?, ?) {absent}"
        );
        let values: Vec<Value> = vec![
            name.into(),
            i64::from(version).into(),
            at.0.into(),
            document.into(),
        ];
        let statement = self.backend.statement(&sql, values);
        let transaction = self.db.begin().await?;
        let new = transaction.execute(statement).await?.rows_affected() == 1;
        if new {
            let record = std::slice::from_ref(record);
            audit::write(&transaction, self.backend, self.audit, record).await?;
        }
        transaction.commit().await?;
        if new {
            return Ok(Published::New);
        }
        let Some(stored) = self.document(name, version).await? else {
            return Err(StoreError::Unreadable {
                column: "document",
                source: None,
            });
        };
        let same = json(&stored)? == json(document)?;
        Ok(if same {
            Published::Same
        } else {
            Published::Conflict
        })
    }

    /// Every published version, by name and version.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away.
    pub async fn definitions(&self) -> Result<Vec<StoredDefinition>, StoreError> {
        let sql = "SELECT name, version, published_at, paused, document FROM definitions \
                   ORDER BY name, version";
        let rows = self
            .db
            .query_all(self.backend.statement(sql, Vec::new()))
            .await?;
        rows.iter()
            .map(|row| {
                Ok(StoredDefinition {
                    name: text(row, "name")?,
                    version: number(row, "version")?,
                    document: text(row, "document")?,
                    published_at: Timestamp(column(row, "published_at")?),
                    paused: column(row, "paused")?,
                })
            })
            .collect()
    }

    async fn document(&self, name: &str, version: u32) -> Result<Option<String>, StoreError> {
        let sql = "SELECT document FROM definitions \
                   WHERE namespace = 'default' AND name = ? AND version = ?";
        let values: Vec<Value> = vec![name.into(), i64::from(version).into()];
        match self
            .db
            .query_one(self.backend.statement(sql, values))
            .await?
        {
            Some(row) => Ok(Some(text(&row, "document")?)),
            None => Ok(None),
        }
    }
}

fn json(document: &str) -> Result<serde_json::Value, StoreError> {
    serde_json::from_str(document).map_err(|source| StoreError::unreadable("document", source))
}
