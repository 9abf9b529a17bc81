//! What a replica reads to go on where it, or another, left off.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, Value};
use uuid::Uuid;

use super::dialect::{column, marks, number, signed};
use super::records::{SUMMARY_COLUMNS, status};
use super::{Backend, DueSaga, Store, StoreError, StoredSaga, StoredTransition, SummaryRow};
use crate::saga::id::{SagaId, Timestamp};
use crate::saga::outcome::Status;
use crate::telemetry::metrics::SagasStanding;

impl Store {
    /// Sagas of these shards whose `wake_at` lies before `before`, the longest waiting first; give
    /// the last one's `(wake_at, id)` as `after` for the next page.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away.
    pub async fn due(
        &self,
        shards: &[u16],
        before: Timestamp,
        after: Option<(Timestamp, SagaId)>,
        limit: u64,
    ) -> Result<Vec<DueSaga>, StoreError> {
        if shards.is_empty() {
            return Ok(Vec::new());
        }
        let mut due = Vec::new();
        let mut after = after;
        loop {
            let page = self.due_of_all_shards(before, after, limit).await?;
            let last = page.last().map(|saga| (saga.wake_at, saga.id));
            let full = signed(limit) <= i64::try_from(page.len()).unwrap_or(i64::MAX);
            let missing = usize::try_from(limit)
                .unwrap_or(usize::MAX)
                .saturating_sub(due.len());
            due.extend(
                page.into_iter()
                    .filter(|saga| shards.contains(&saga.shard))
                    .take(missing),
            );
            if !full || last.is_none() || due.len() as u64 >= limit {
                return Ok(due);
            }
            after = last;
        }
    }

    /// A page of the walk through all that is due. The shards are no part of it: with them
    /// PostgreSQL prefers to look each up and to sort, and then every page reads all that is left.
    async fn due_of_all_shards(
        &self,
        before: Timestamp,
        after: Option<(Timestamp, SagaId)>,
        limit: u64,
    ) -> Result<Vec<DueSaga>, StoreError> {
        let mut sql = "SELECT id, shard, wake_at FROM sagas \
                       WHERE wake_at IS NOT NULL AND wake_at < ?"
            .to_owned();
        let mut values: Vec<Value> = vec![before.0.into()];
        if let Some((at, SagaId(id))) = after {
            if self.backend == Backend::MySql {
                // It does not use an index for a comparison of rows.
                sql.push_str(" AND wake_at >= ? AND (wake_at > ? OR id > ?)");
                values.extend([at.0.into(), at.0.into(), id.into()]);
            } else {
                sql.push_str(" AND (wake_at, id) > (?, ?)");
                values.extend([at.0.into(), id.into()]);
            }
        }
        sql.push_str(" ORDER BY wake_at, id LIMIT ?");
        values.push(signed(limit).into());
        let rows = self
            .db
            .query_all(self.backend.statement(&sql, values))
            .await?;
        rows.iter().map(DueSaga::read).collect()
    }

    /// These sagas with their journals, in the order asked for; those that do not exist are left
    /// out. Two queries, whatever their number: ask for pages of some hundreds.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away; [`StoreError::Unreadable`] when a row
    /// is damaged: ask for the sagas one by one to find out whose.
    pub async fn load(&self, ids: &[SagaId]) -> Result<Vec<StoredSaga>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let values: Vec<Value> = ids.iter().map(|id| id.0.into()).collect();
        let marks = marks(ids.len());
        // The events are read first: a summary that was written in between is then no older than
        // the journal beside it.
        let sql = format!(
            "SELECT saga_id, seq, at, events_count, events FROM saga_events \
             WHERE saga_id IN ({marks}) ORDER BY saga_id, seq"
        );
        let rows = self
            .db
            .query_all(self.backend.statement(&sql, values.clone()))
            .await?;
        let mut journals: HashMap<Uuid, Vec<StoredTransition>> = HashMap::with_capacity(ids.len());
        for row in &rows {
            let saga: Uuid = column(row, "saga_id")?;
            journals
                .entry(saga)
                .or_default()
                .push(StoredTransition::read(row)?);
        }
        let sql = format!("SELECT {SUMMARY_COLUMNS} FROM sagas s WHERE s.id IN ({marks})");
        let rows = self
            .db
            .query_all(self.backend.statement(&sql, values))
            .await?;
        let mut summaries: HashMap<Uuid, SummaryRow> = HashMap::with_capacity(ids.len());
        for row in &rows {
            let summary = SummaryRow::read(row)?;
            summaries.insert(summary.id.0, summary);
        }
        Ok(ids
            .iter()
            .filter_map(|SagaId(id)| {
                let summary = summaries.remove(id)?;
                let transitions = journals.remove(id).unwrap_or_default();
                Some(StoredSaga {
                    summary,
                    transitions,
                })
            })
            .collect())
    }

    /// How many sagas of these shards are not final, and where they stand. Only their own rows are
    /// looked at, however many sagas have finished.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away.
    pub async fn standing(&self, shards: &[u16]) -> Result<SagasStanding, StoreError> {
        let mut standing = SagasStanding::default();
        if shards.is_empty() {
            return Ok(standing);
        }
        let sql = format!(
            "SELECT status, overdue, COUNT(*) AS sagas FROM sagas \
             WHERE status IN ('running', 'compensating', 'failed') AND shard IN ({}) \
             GROUP BY status, overdue",
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
        for row in &rows {
            let sagas: u64 = number(row, "sagas")?;
            match status(row)? {
                Status::Running => standing.running += sagas,
                Status::Compensating => standing.compensating += sagas,
                Status::Failed => standing.failed += sagas,
                Status::Completed | Status::Compensated => continue,
            }
            if column(row, "overdue")? {
                standing.overdue += sagas;
            }
        }
        Ok(standing)
    }
}
