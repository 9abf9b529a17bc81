//! The published definitions: immutable rows but for their pause, published once under a name and
//! a version.

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

/// Where a version was published from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A coordinator's directory of definitions.
    Directory,
    /// The API.
    Api,
}

impl Source {
    /// The word on the wire and in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Api => "api",
        }
    }

    /// A newer release may know more ways; none of them is the directory.
    fn of(word: &str) -> Self {
        if word == Self::Directory.as_str() {
            Self::Directory
        } else {
            Self::Api
        }
    }
}

/// A version to publish.
#[derive(Clone, Copy, Debug)]
pub struct NewDefinition<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: u32,
    /// The document, as JSON.
    pub document: &'a str,
    /// When it is published.
    pub at: Timestamp,
    /// From where.
    pub source: Source,
}

/// What is known of a published version beside its document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefinitionState {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// When it was published.
    pub published_at: Timestamp,
    /// Whether it takes no new starts.
    pub paused: bool,
    /// Where it was published from.
    pub source: Source,
}

impl Store {
    /// Publishes a version. Two at the same moment make one row, and both are told the truth.
    /// Where it is new, `record` is written with it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away; [`StoreError::Unreadable`] when what
    /// is published there already, or `document` itself, is not JSON.
    pub async fn publish_definition(
        &self,
        new: &NewDefinition<'_>,
        record: &AuditRecord,
    ) -> Result<Published, StoreError> {
        let (verb, absent) = self.backend.insert_where_absent();
        let sql = format!(
            "{verb} INTO definitions (name, version, published_at, document, source) \
             VALUES (?, ?, ?, ?, ?) {absent}"
        );
        let values: Vec<Value> = vec![
            new.name.into(),
            i64::from(new.version).into(),
            new.at.0.into(),
            new.document.into(),
            new.source.as_str().into(),
        ];
        let statement = self.backend.statement(&sql, values);
        let transaction = self.db.begin().await?;
        let is_new = transaction.execute(statement).await?.rows_affected() == 1;
        if is_new {
            let record = std::slice::from_ref(record);
            audit::write(&transaction, self.backend, self.audit, record).await?;
        }
        transaction.commit().await?;
        if is_new {
            return Ok(Published::New);
        }
        let Some(stored) = self.definition_document(new.name, new.version).await? else {
            return Err(StoreError::Unreadable {
                column: "document",
                source: None,
            });
        };
        let same = json(&stored)? == json(new.document)?;
        Ok(if same {
            Published::Same
        } else {
            Published::Conflict
        })
    }

    /// Every published version, by name and version, without the documents.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away.
    pub async fn definitions(&self) -> Result<Vec<DefinitionState>, StoreError> {
        let sql = "SELECT name, version, published_at, paused, source FROM definitions \
                   WHERE namespace = 'default' ORDER BY name, version";
        let rows = self
            .db
            .query_all(self.backend.statement(sql, Vec::new()))
            .await?;
        rows.iter()
            .map(|row| {
                Ok(DefinitionState {
                    name: text(row, "name")?,
                    version: number(row, "version")?,
                    published_at: Timestamp(column(row, "published_at")?),
                    paused: column(row, "paused")?,
                    source: Source::of(&text(row, "source")?),
                })
            })
            .collect()
    }

    /// The document of a published version, as JSON.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away.
    pub async fn definition_document(
        &self,
        name: &str,
        version: u32,
    ) -> Result<Option<String>, StoreError> {
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

    /// Pauses a version, or all that are published under the name, or lets them take starts again.
    /// `None` when there is no such version; else the versions that were not so before, and where
    /// there are any, `record` is written with the change.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away; nothing has changed then.
    pub async fn pause_definition(
        &self,
        name: &str,
        version: Option<u32>,
        paused: bool,
        record: &AuditRecord,
    ) -> Result<Option<Vec<u32>>, StoreError> {
        let mut sql = "SELECT version FROM definitions \
                       WHERE namespace = 'default' AND name = ?"
            .to_owned();
        let mut values: Vec<Value> = vec![name.into()];
        if let Some(version) = version {
            sql.push_str(" AND version = ?");
            values.push(i64::from(version).into());
        }
        sql.push_str(" ORDER BY version");
        let rows = self
            .db
            .query_all(self.backend.statement(&sql, values))
            .await?;
        if rows.is_empty() {
            return Ok(None);
        }
        // It begins with a write: SQLite lets no transaction that has read before wait for its turn.
        let transaction = self.db.begin().await?;
        let mut changed = Vec::new();
        for row in &rows {
            let version: u32 = number(row, "version")?;
            let sql = "UPDATE definitions SET paused = ? \
                       WHERE namespace = 'default' AND name = ? AND version = ? AND paused <> ?";
            let values: Vec<Value> = vec![
                paused.into(),
                name.into(),
                i64::from(version).into(),
                paused.into(),
            ];
            let statement = self.backend.statement(sql, values);
            if transaction.execute(statement).await?.rows_affected() == 1 {
                changed.push(version);
            }
        }
        if !changed.is_empty() {
            let record = std::slice::from_ref(record);
            audit::write(&transaction, self.backend, self.audit, record).await?;
        }
        transaction.commit().await?;
        Ok(Some(changed))
    }
}

fn json(document: &str) -> Result<serde_json::Value, StoreError> {
    serde_json::from_str(document).map_err(|source| StoreError::unreadable("document", source))
}
