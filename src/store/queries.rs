//! The lists and look-ups of the API. Newest first is the order of the primary key, because ids are
//! UUIDv7; a list page walks one index and stops at its limit.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, Value};
use uuid::Uuid;

use super::dialect::{column, signed};
use super::records::SUMMARY_COLUMNS;
use super::{Store, StoreError, StoredTransition, SummaryRow};
use crate::saga::id::{SagaId, Timestamp};
use crate::saga::outcome::Status;

/// How far the time in a saga's id may lie from its `created_at`: a list by time narrows its walk
/// with the ids, and then looks at the exact times. One replica makes both within a moment.
const ID_SKEW_MS: i64 = 10_000;

/// What a list is narrowed to: everything that is set must hold.
#[derive(Clone, Debug, Default)]
pub struct ListFilter {
    /// The name of the definition.
    pub definition: Option<String>,
    /// The version of the definition.
    pub version: Option<u32>,
    /// Any of these; all when empty.
    pub statuses: Vec<Status>,
    /// The business key.
    pub key: Option<String>,
    /// Labels, all of which the saga has.
    pub labels: BTreeMap<String, String>,
    /// Started at this moment or later.
    pub created_after: Option<Timestamp>,
    /// Started before this moment.
    pub created_before: Option<Timestamp>,
    /// The failure's code.
    pub failure_code: Option<String>,
    /// Held by an operator, or not.
    pub suspended: Option<bool>,
    /// Overdue, or not.
    pub overdue: Option<bool>,
}

impl Store {
    /// The summary of one saga.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away.
    pub async fn summary(&self, id: SagaId) -> Result<Option<SummaryRow>, StoreError> {
        let sql = format!("SELECT {SUMMARY_COLUMNS} FROM sagas s WHERE s.id = ?");
        let statement = self.backend.statement(&sql, vec![id.0.into()]);
        self.db
            .query_one(statement)
            .await?
            .as_ref()
            .map(SummaryRow::read)
            .transpose()
    }

    /// Sagas that the filter lets through, newest first, those older than `cursor`: give the id
    /// of the last one for the next page.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away.
    pub async fn list(
        &self,
        filter: &ListFilter,
        cursor: Option<SagaId>,
        limit: u64,
    ) -> Result<Vec<SummaryRow>, StoreError> {
        let conditions = Conditions::of(filter, cursor);
        let (sql, values) = conditions.select(limit);
        let rows = self
            .db
            .query_all(self.backend.statement(&sql, values))
            .await?;
        rows.iter().map(SummaryRow::read).collect()
    }

    /// The saga that was started under an idempotency key, and the digest of what came with it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away.
    pub async fn start_key(&self, key: &str) -> Result<Option<(SagaId, [u8; 32])>, StoreError> {
        let sql = "SELECT saga_id, digest FROM start_keys \
                   WHERE namespace = 'default' AND start_key = ?";
        let statement = self.backend.statement(sql, vec![key.into()]);
        let Some(row) = self.db.query_one(statement).await? else {
            return Ok(None);
        };
        let digest: Vec<u8> = column(&row, "digest")?;
        let digest = <[u8; 32]>::try_from(digest.as_slice())
            .map_err(|source| StoreError::unreadable("digest", source))?;
        Ok(Some((SagaId(column::<Uuid>(&row, "saga_id")?), digest)))
    }

    /// The journal of a saga, oldest first, from the transition that contains event `from_seq` on;
    /// at most `limit` transitions.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away.
    pub async fn transitions(
        &self,
        id: SagaId,
        from_seq: u64,
        limit: u64,
    ) -> Result<Vec<StoredTransition>, StoreError> {
        let sql = "SELECT seq, at, events_count, events FROM saga_events \
                   WHERE saga_id = ? AND seq >= (SELECT COALESCE(MAX(seq), 0) FROM saga_events \
                   WHERE saga_id = ? AND seq <= ?) AND seq + events_count > ? \
                   ORDER BY seq LIMIT ?";
        let from = signed(from_seq);
        let values: Vec<Value> = vec![
            id.0.into(),
            id.0.into(),
            from.into(),
            from.into(),
            signed(limit).into(),
        ];
        let rows = self
            .db
            .query_all(self.backend.statement(sql, values))
            .await?;
        rows.iter().map(StoredTransition::read).collect()
    }
}

/// The conditions of a list, as SQL and its values.
struct Conditions {
    /// The label whose index the list walks: with it the walk is in order whether the label is
    /// frequent or rare, which an `EXISTS` leaves to luck.
    walk: Option<(String, String)>,
    /// Any of these.
    statuses: Vec<Status>,
    sql: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    fn of(filter: &ListFilter, cursor: Option<SagaId>) -> Self {
        let mut labels = filter.labels.iter();
        let walk = labels
            .next()
            .map(|(name, value)| (name.clone(), value.clone()));
        let mut statuses = filter.statuses.clone();
        statuses.sort_unstable_by_key(|status| status.as_str());
        statuses.dedup();
        let mut these = Self {
            walk,
            statuses,
            sql: Vec::new(),
            values: Vec::new(),
        };
        for (name, value) in labels {
            these.and(
                "EXISTS (SELECT 1 FROM saga_labels x \
                 WHERE x.name = ? AND x.value = ? AND x.saga_id = s.id)",
                [name.as_str().into(), value.as_str().into()],
            );
        }
        if let Some(id) = cursor {
            these.and_id("<", id.0);
        }
        if let Some(definition) = &filter.definition {
            these.and("s.definition = ?", [definition.as_str().into()]);
        }
        if let Some(version) = filter.version {
            these.and("s.version = ?", [i64::from(version).into()]);
        }
        if let Some(key) = &filter.key {
            these.and("s.business_key = ?", [key.as_str().into()]);
        }
        if let Some(code) = &filter.failure_code {
            these.and("s.failure_code = ?", [code.as_str().into()]);
        }
        these.and_flag("s.suspended", filter.suspended);
        these.and_flag("s.overdue", filter.overdue);
        these.and_times(filter);
        these
    }

    fn and_flag(&mut self, column: &str, flag: Option<bool>) {
        // Spelled as the index of the few rows that have it spells it.
        match flag {
            Some(true) => self.sql.push(format!("{column} = true")),
            Some(false) => self.sql.push(format!("{column} = false")),
            None => {}
        }
    }

    fn and_times(&mut self, filter: &ListFilter) {
        if let Some(after) = filter.created_after {
            self.and("s.created_at >= ?", [after.0.into()]);
            self.and_id(">=", first_id_of(after.0.saturating_sub(ID_SKEW_MS)));
        }
        if let Some(before) = filter.created_before {
            self.and("s.created_at < ?", [before.0.into()]);
            self.and_id("<", first_id_of(before.0.saturating_add(ID_SKEW_MS)));
        }
    }

    fn and(&mut self, sql: &str, values: impl IntoIterator<Item = Value>) {
        self.sql.push(sql.to_owned());
        self.values.extend(values);
    }

    fn and_id(&mut self, comparison: &str, id: Uuid) {
        let column = self.id_column();
        self.and(&format!("{column} {comparison} ?"), [id.into()]);
    }

    fn id_column(&self) -> &'static str {
        if self.walk.is_some() {
            "l.saga_id"
        } else {
            "s.id"
        }
    }

    fn select(&self, limit: u64) -> (String, Vec<Value>) {
        let order = self.id_column();
        let limit = Value::from(signed(limit));
        if let [] | [_] = self.statuses.as_slice() {
            let (from, mut values) = self.source(self.statuses.first());
            values.push(limit);
            let sql = format!("SELECT {SUMMARY_COLUMNS} FROM {from} ORDER BY {order} DESC LIMIT ?");
            return (sql, values);
        }
        // A walk for each status is in order; one for several would have to sort all they have.
        let mut walks = Vec::new();
        let mut values = Vec::new();
        for (number, status) in self.statuses.iter().enumerate() {
            let (from, mut these) = self.source(Some(status));
            values.append(&mut these);
            values.push(limit.clone());
            walks.push(format!(
                "SELECT w{number}.id FROM (SELECT s.id FROM {from} ORDER BY {order} DESC LIMIT ?) \
                 w{number}"
            ));
        }
        values.push(limit);
        let sql = format!(
            "SELECT {SUMMARY_COLUMNS} FROM ({}) w JOIN sagas s ON s.id = w.id \
             ORDER BY s.id DESC LIMIT ?",
            walks.join(" UNION ALL ")
        );
        (sql, values)
    }

    fn source(&self, status: Option<&Status>) -> (String, Vec<Value>) {
        let mut conditions = Vec::with_capacity(self.sql.len() + 2);
        let mut values = Vec::with_capacity(self.values.len() + 3);
        let mut sql = match &self.walk {
            Some((name, value)) => {
                conditions.push("l.name = ? AND l.value = ?");
                values.extend([name.as_str().into(), value.as_str().into()]);
                "saga_labels l JOIN sagas s ON s.id = l.saga_id".to_owned()
            }
            None => "sagas s".to_owned(),
        };
        conditions.extend(self.sql.iter().map(String::as_str));
        values.extend(self.values.iter().cloned());
        if let Some(status) = status {
            conditions.push("s.status = ?");
            values.push(status.as_str().into());
        }
        if !conditions.is_empty() {
            sql.push_str(" WHERE ");
            sql.push_str(&conditions.join(" AND "));
        }
        (sql, values)
    }
}

/// The least UUIDv7 of that millisecond, or less.
pub(super) fn first_id_of(ms: i64) -> Uuid {
    let ms = u128::try_from(ms).unwrap_or(0).min((1 << 48) - 1);
    Uuid::from_u128(ms << 80)
}
