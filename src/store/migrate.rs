//! The schema, brought up to date by one replica at a time.

use sea_orm::ConnectionTrait;

use super::dialect::column;
use super::session::MigrationTurn;
use super::{Store, StoreError};

impl Store {
    /// Brings the schema up to date, on one replica at a time, and names what was applied.
    ///
    /// # Errors
    /// [`StoreError::MigrationBusy`] when another replica took too long over it;
    /// [`StoreError::Unavailable`] when the database is away.
    pub async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        let turn = MigrationTurn::take(self).await?;
        let applied = self.apply_migrations().await;
        turn.end().await?;
        applied
    }

    /// The migrations that the database has yet to take; none when it is up to date.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away.
    pub async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
        Ok(amends_migrations::pending(&self.db).await?)
    }

    async fn apply_migrations(&self) -> Result<Vec<String>, StoreError> {
        let sql = format!("SELECT {} AS now", self.backend.now());
        let row = self
            .db
            .query_one(self.backend.statement(&sql, Vec::new()))
            .await?;
        let now: i64 = row.as_ref().map_or(Ok(0), |row| column(row, "now"))?;
        Ok(amends_migrations::apply(&self.db, now / 1000).await?)
    }
}
