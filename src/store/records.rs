//! Rows as the other layers see them, and how they are read.

use std::collections::BTreeMap;

use sea_orm::QueryResult;
use uuid::Uuid;

use super::StoreError;
use super::dialect::{column, maybe_text, number, text};
use crate::saga::id::{SagaId, Timestamp};
use crate::saga::outcome::Status;

/// A saga's summary, as lists and recovery read it.
#[derive(Clone, Debug, PartialEq)]
pub struct SummaryRow {
    /// The saga.
    pub id: SagaId,
    /// The shard that it belongs to for life.
    pub shard: u16,
    /// The name of its definition.
    pub definition: String,
    /// The version of its definition.
    pub version: u32,
    /// The business key, where it has one.
    pub key: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where it stands.
    pub status: Status,
    /// Whether an operator holds it.
    pub suspended: bool,
    /// Whether its time ran out after the pivot.
    pub overdue: bool,
    /// Why it was turned back or stopped.
    pub failure: Option<Failure>,
    /// When it was started.
    pub created_at: Timestamp,
    /// When its newest transition was made.
    pub updated_at: Timestamp,
    /// When it became final.
    pub finished_at: Option<Timestamp>,
    /// When its time is up.
    pub deadline: Option<Timestamp>,
    /// When it has something to do by itself: see [`SummaryWrite::wake_at`](super::SummaryWrite).
    pub wake_at: Option<Timestamp>,
    /// The number of its last event when this summary was written.
    pub last_seq: u64,
}

/// Why a saga was turned back or stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The step, unless it was a cancel or the saga's own timeout.
    pub step: Option<String>,
    /// A stable word.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

/// The facts that one input made, as they were stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTransition {
    /// The number of the first fact.
    pub seq: u64,
    /// When they were made.
    pub at: Timestamp,
    /// How many they are.
    pub count: u32,
    /// The facts, a JSON array.
    pub events: String,
}

/// A saga with all that is needed to replay it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredSaga {
    /// Its summary.
    pub summary: SummaryRow,
    /// Its journal, oldest first.
    pub transitions: Vec<StoredTransition>,
}

/// A saga that has something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueSaga {
    /// The saga.
    pub id: SagaId,
    /// Its shard.
    pub shard: u16,
    /// Since when, or from when on.
    pub wake_at: Timestamp,
}

/// The columns that [`SummaryRow::read`] needs, of `sagas` as `s`. `updated_at` is looked up rather
/// than kept, because the summary is written only when the status changes.
pub(super) const SUMMARY_COLUMNS: &str = "s.id, s.shard, s.definition, s.version, \
    s.business_key, s.labels, s.status, s.suspended, s.overdue, s.failure_step, s.failure_code, \
    s.failure_message, s.created_at, s.finished_at, s.deadline, s.wake_at, s.last_seq, \
    (SELECT e.at FROM saga_events e WHERE e.saga_id = s.id ORDER BY e.seq DESC LIMIT 1) \
    AS updated_at";

impl SummaryRow {
    pub(super) fn read(row: &QueryResult) -> Result<Self, StoreError> {
        let created_at = Timestamp(column(row, "created_at")?);
        let updated_at: Option<i64> = column(row, "updated_at")?;
        Ok(Self {
            id: SagaId(column::<Uuid>(row, "id")?),
            shard: shard(row)?,
            definition: text(row, "definition")?,
            version: number(row, "version")?,
            key: maybe_text(row, "business_key")?,
            labels: labels(row)?,
            status: status(row)?,
            suspended: column(row, "suspended")?,
            overdue: column(row, "overdue")?,
            failure: failure(row)?,
            created_at,
            updated_at: updated_at.map_or(created_at, Timestamp),
            finished_at: moment(row, "finished_at")?,
            deadline: moment(row, "deadline")?,
            wake_at: moment(row, "wake_at")?,
            last_seq: number(row, "last_seq")?,
        })
    }
}

impl StoredTransition {
    pub(super) fn read(row: &QueryResult) -> Result<Self, StoreError> {
        let count: i32 = column(row, "events_count")?;
        Ok(Self {
            seq: number(row, "seq")?,
            at: Timestamp(column(row, "at")?),
            count: u32::try_from(count)
                .map_err(|source| StoreError::unreadable("events_count", source))?,
            events: text(row, "events")?,
        })
    }
}

impl DueSaga {
    pub(super) fn read(row: &QueryResult) -> Result<Self, StoreError> {
        Ok(Self {
            id: SagaId(column::<Uuid>(row, "id")?),
            shard: shard(row)?,
            wake_at: Timestamp(column(row, "wake_at")?),
        })
    }
}

/// The column `shard`.
pub(super) fn shard(row: &QueryResult) -> Result<u16, StoreError> {
    let shard: i32 = column(row, "shard")?;
    u16::try_from(shard).map_err(|source| StoreError::unreadable("shard", source))
}

fn moment(row: &QueryResult, name: &'static str) -> Result<Option<Timestamp>, StoreError> {
    Ok(column::<Option<i64>>(row, name)?.map(Timestamp))
}

fn labels(row: &QueryResult) -> Result<BTreeMap<String, String>, StoreError> {
    match maybe_text(row, "labels")? {
        None => Ok(BTreeMap::new()),
        Some(json) => {
            serde_json::from_str(&json).map_err(|source| StoreError::unreadable("labels", source))
        }
    }
}

/// The column `status`.
pub(super) fn status(row: &QueryResult) -> Result<Status, StoreError> {
    let word = text(row, "status")?;
    Status::ALL
        .into_iter()
        .find(|status| status.as_str() == word)
        .ok_or(StoreError::Unreadable {
            column: "status",
            source: None,
        })
}

fn failure(row: &QueryResult) -> Result<Option<Failure>, StoreError> {
    let Some(code) = maybe_text(row, "failure_code")? else {
        return Ok(None);
    };
    Ok(Some(Failure {
        step: maybe_text(row, "failure_step")?,
        code,
        message: maybe_text(row, "failure_message")?.unwrap_or_default(),
    }))
}
