//! The inbox: inputs for sagas that another replica owns. Whoever an input reaches puts it here, and
//! the saga's owner takes it: the row goes in the transaction that journals what came of it, so an
//! input is taken once, and is never lost between the two (storage.md).

use std::net::IpAddr;

use sea_orm::{ConnectionTrait, Value};
use uuid::Uuid;

use super::dialect::{column, marks, maybe_text, text};
use super::{Store, StoreError};
use crate::saga::{SagaId, Timestamp};

/// The number of a row; the order in which inputs came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InboxId(pub i64);

/// An input that waits for its saga's owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxRow {
    /// Its number.
    pub id: InboxId,
    /// The saga.
    pub saga: SagaId,
    /// When it came.
    pub received_at: Timestamp,
    /// From where, where that is known.
    pub remote: Option<IpAddr>,
    /// What it is, as its writer spelt it.
    pub input: String,
}

impl Store {
    /// Puts an input in for the owner of a saga on `shard`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away; it is not there then, as far as is
    /// known.
    pub async fn put_in_inbox(
        &self,
        (saga, shard): (SagaId, u16),
        at: Timestamp,
        remote: Option<IpAddr>,
        input: &str,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO inbox (saga_id, shard, received_at, remote, input) \
                   VALUES (?, ?, ?, ?, ?)";
        let remote = remote.map(|remote| Box::new(remote.to_string()));
        let values: Vec<Value> = vec![
            saga.0.into(),
            i32::from(shard).into(),
            at.0.into(),
            Value::String(remote),
            input.into(),
        ];
        self.db.execute(self.backend.statement(sql, values)).await?;
        Ok(())
    }

    /// What waits for the sagas of these shards, the oldest first, at most so many.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away.
    pub async fn inbox(&self, shards: &[u16], limit: u64) -> Result<Vec<InboxRow>, StoreError> {
        if shards.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT id, saga_id, received_at, remote, input FROM inbox \
             WHERE shard IN ({}) ORDER BY id LIMIT {limit}",
            marks(shards.len())
        );
        let values = shards
            .iter()
            .map(|shard| Value::from(i32::from(*shard)))
            .collect();
        let rows = self
            .db
            .query_all(self.backend.statement(&sql, values))
            .await?;
        rows.iter()
            .map(|row| {
                let remote = maybe_text(row, "remote")?;
                Ok(InboxRow {
                    id: InboxId(column(row, "id")?),
                    saga: SagaId(column::<Uuid>(row, "saga_id")?),
                    received_at: Timestamp(column(row, "received_at")?),
                    remote: remote.and_then(|text| text.parse().ok()),
                    input: text(row, "input")?,
                })
            })
            .collect()
    }

    /// Takes a row out of which nothing came.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away.
    pub async fn drop_from_inbox(&self, id: InboxId) -> Result<(), StoreError> {
        let sql = "DELETE FROM inbox WHERE id = ?";
        let statement = self.backend.statement(sql, vec![id.0.into()]);
        self.db.execute(statement).await?;
        Ok(())
    }

    /// The shard of a saga; none where there is no such saga.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away.
    pub async fn shard_of(&self, saga: SagaId) -> Result<Option<u16>, StoreError> {
        let sql = "SELECT shard FROM sagas WHERE id = ?";
        let statement = self.backend.statement(sql, vec![saga.0.into()]);
        let row = self.db.query_one(statement).await?;
        row.as_ref().map(super::records::shard).transpose()
    }

    /// A secret that every replica of this database shares: the one that is kept, or `new`, which is
    /// kept then.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away.
    pub async fn shared_secret(
        &self,
        name: &str,
        new: &str,
        at: Timestamp,
    ) -> Result<String, StoreError> {
        let (verb, absent) = self.backend.insert_where_absent();
        let sql = format!("{verb} INTO secrets (name, value, made_at) VALUES (?, ?, ?) {absent}");
        let values: Vec<Value> = vec![name.into(), new.into(), at.0.into()];
        self.db
            .execute(self.backend.statement(&sql, values))
            .await?;
        let sql = "SELECT value FROM secrets WHERE name = ?";
        let row = self
            .db
            .query_one(self.backend.statement(sql, vec![name.into()]))
            .await?;
        row.as_ref()
            .map_or_else(|| Ok(new.to_owned()), |row| text(row, "value"))
    }
}
