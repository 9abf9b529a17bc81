//! A batch as one string of statements, for SQLite.
//!
//! SQLite is driven by a thread of its own, and every statement that is sent to it is a hop there
//! and back; under load the hops, not the disk, are what a commit costs. So the whole transaction
//! goes over at once, and each table's rows are one JSON parameter: the text never changes and is
//! prepared once. The transaction is a writer from its beginning, so the epoch that it sees is
//! current until it ends.

use std::collections::HashSet;
use std::sync::LazyLock;

use sea_orm::{ConnectionTrait, DatabaseConnection, Value};
use serde::Serialize;
use uuid::Uuid;

use super::Pending;
use super::batch::{Rows, Summary};
use super::commit::{CommitError, Done};
use super::lookup::Seen;
use super::rows::{self, SUMMARIES};
use crate::saga::id::{SagaId, Timestamp};
use crate::store::dialect::{column, signed};
use crate::store::{AuditRecord, Backend, StoreError, audit};

/// How many numbers the statements leave out, the second one, the third two, and so on.
const COUNTED_BY_SQLX: usize = 1 + 2 + 3 + 4;

static TRANSACTION: LazyLock<String> = LazyLock::new(|| {
    let fence = "EXISTS (SELECT 1 FROM replicas WHERE id = ?1 AND epoch = ?2)";
    let columns = |count: usize| {
        let columns: Vec<String> = (0..count)
            .map(|place| format!("value ->> {place}"))
            .collect();
        columns.join(", ")
    };
    let summaries = columns(SUMMARIES.count).replacen("value ->> 0", "unhex(value ->> 0)", 1);
    let told = columns(audit::COLUMNS_COUNT).replacen("value ->> 1", "unhex(value ->> 1)", 1);
    format!(
        "BEGIN IMMEDIATE; \
         INSERT INTO saga_events (saga_id, seq, at, events_count, events) \
         SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4 \
         FROM json_each(?3) WHERE {fence}; \
         INSERT INTO sagas ({}) SELECT {summaries} FROM json_each(?4) WHERE {fence} {}; \
         INSERT INTO saga_labels (name, value, saga_id) \
         SELECT value ->> 0, value ->> 1, unhex(value ->> 2) FROM json_each(?5) WHERE {fence}; \
         INSERT INTO audit_log ({}) SELECT {told} FROM json_each(?6) WHERE {fence}; \
         DELETE FROM inbox WHERE id IN (SELECT value FROM json_each(?7)) AND {fence}; \
         SELECT {fence} AS held; \
         COMMIT",
        SUMMARIES.columns,
        SUMMARIES.present[0],
        audit::COLUMNS,
    )
});

/// Writes the batch.
///
/// # Errors
/// [`CommitError::Fenced`] when the epoch is no longer current.
pub(super) async fn commit(
    on: &DatabaseConnection,
    batch: &[Pending],
    replica: Uuid,
    epoch: i64,
) -> Result<Done, CommitError> {
    let rows = Rows::of(batch, &HashSet::new());
    if !rows.keys.is_empty() {
        // Whose a key is has to be read back before the rest is written.
        return rows::commit(on, Backend::Sqlite, batch, replica, epoch).await;
    }
    let events: Vec<_> = rows.entries.iter().map(|pending| event(pending)).collect();
    let summaries: Vec<_> = rows.summaries.iter().map(summary).collect();
    let labels: Vec<_> = rows
        .labels
        .iter()
        .map(|(name, value, saga)| (name, value, hex(*saga)))
        .collect();
    let told: Vec<_> = rows
        .audit
        .iter()
        .map(|(record, saga)| told(record, *saga))
        .collect();
    // sqlx counts a number that a statement leaves out as a parameter of its own, taken from the
    // values in turn, over all statements, and binds nothing more when it runs out of them: so there
    // are as many as it counts.
    let mut values: Vec<Value> = vec![
        replica.into(),
        epoch.into(),
        json(&events)?.into(),
        json(&summaries)?.into(),
        json(&labels)?.into(),
        json(&told)?.into(),
        json(&rows.inbox)?.into(),
    ];
    values.resize(COUNTED_BY_SQLX, Value::Int(None));
    let statement = Backend::Sqlite.statement(&TRANSACTION, values);
    // How many rows were changed says nothing: SQLite's count of a BEGIN is the last statement's.
    let told = match on.query_all(statement).await {
        Ok(told) => told,
        Err(error) => {
            // What it failed with tells more than what the rollback may fail with.
            if let Err(rollback) = on.execute_unprepared("ROLLBACK").await {
                tracing::debug!(error = %rollback, "rollback failed");
            }
            return Err(error.into());
        }
    };
    let held = told.first().map(|row| column::<bool>(row, "held"));
    if !held.transpose()?.unwrap_or(false) {
        return Err(CommitError::Fenced);
    }
    Ok(Done {
        seen: Seen::new(),
        rows: rows.count(),
        events: rows.events(),
    })
}

fn event(pending: &Pending) -> (String, u64, i64, u32, &str) {
    let transition = &pending.entry.transition;
    let id = hex(pending.entry.saga);
    (
        id,
        transition.seq,
        transition.at.0,
        transition.count,
        &transition.events,
    )
}

/// The columns of a summary, in the order of [`SUMMARIES`].
fn summary<'a>(summary: &'a Summary<'_>) -> Vec<Column<'a>> {
    let write = summary.write;
    let failure = write.failure.as_ref();
    let time = |time: Option<Timestamp>| time.map_or(Column::Null, |time| Column::Number(time.0));
    let text = |text: Option<&'a str>| text.map_or(Column::Null, Column::Text);
    vec![
        Column::Own(hex(summary.saga)),
        Column::Number(summary.shard.into()),
        Column::Text(&write.definition),
        Column::Number(write.version.into()),
        text(write.key.as_deref()),
        text(summary.labels.as_deref()),
        Column::Text(write.status.as_str()),
        Column::Number(write.suspended.into()),
        Column::Number(write.overdue.into()),
        text(failure.and_then(|failure| failure.step.as_deref())),
        text(failure.map(|failure| failure.code.as_str())),
        text(failure.map(|failure| failure.message.as_str())),
        Column::Number(write.created_at.0),
        time(write.finished_at),
        time(write.deadline),
        time(write.wake_at),
        Column::Number(signed(summary.last_seq)),
    ]
}

/// The columns of a row of the audit, in the order of [`audit::COLUMNS`].
fn told(record: &AuditRecord, saga: SagaId) -> [Column<'_>; audit::COLUMNS_COUNT] {
    let text = |text| Option::map_or(text, Column::Null, Column::Text);
    let remote = record.remote_text();
    [
        Column::Number(record.at.0),
        Column::Own(hex(saga)),
        record
            .definition_version()
            .map_or(Column::Null, Column::Number),
        Column::Text(&record.actor),
        Column::Text(record.action.as_str()),
        text(record.definition_name()),
        text(record.step.as_deref()),
        remote.map_or(Column::Null, Column::Own),
        text(record.detail.as_deref()),
    ]
}

/// A column's value.
#[derive(Serialize)]
#[serde(untagged)]
enum Column<'a> {
    Null,
    /// Text of its own: an id in hex, an address.
    Own(String),
    Number(i64),
    Text(&'a str),
}

fn hex(id: SagaId) -> String {
    id.0.simple().to_string()
}

fn json(rows: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(rows).map_err(|source| StoreError::Unwritable { source })
}
