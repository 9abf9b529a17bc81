//! A batch as a transaction of multi-row statements, for MariaDB and MySQL; and for SQLite where
//! a batch brings start keys.
//!
//! A statement holds one of a few fixed numbers of rows, so that each text is prepared once.
//!
//! The fence: MariaDB and MySQL share-lock the replica's row first of all. SQLite has one writer
//! at a time and its first insert makes this transaction that writer, so there the epoch is looked
//! at after it; asking before would begin the transaction as a reader, which cannot always go on
//! to write.

use std::collections::HashSet;

use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, TransactionTrait, Value};
use uuid::Uuid;

use super::Pending;
use super::batch::{Rows, Summary};
use super::commit::{CommitError, Done};
use super::lookup::{self, Seen};
use crate::saga::id::{SagaId, Timestamp};
use crate::store::dialect::{marks, signed};
use crate::store::{Backend, StoreError, audit};

/// The numbers of rows that statements are made for, largest first.
const ROWS_OF_A_STATEMENT: [usize; 5] = [256, 64, 16, 4, 1];
/// After how many seconds MariaDB ends a transaction of a journal that has fallen silent in the
/// middle of it, and with it the lock that a takeover waits for.
const SILENCE_MAX_SECONDS: u32 = 5;

/// How a table is written.
pub(super) struct Shape {
    table: &'static str,
    pub(super) columns: &'static str,
    pub(super) count: usize,
    /// What is done with a row that is there: SQLite, then MySQL.
    pub(super) present: [&'static str; 2],
}

const EVENTS: Shape = Shape {
    table: "saga_events",
    columns: "saga_id, seq, at, events_count, events",
    count: 5,
    present: ["", ""],
};

pub(super) const SUMMARIES: Shape = Shape {
    table: "sagas",
    columns: "id, shard, definition, version, business_key, labels, status, suspended, overdue, \
        failure_step, failure_code, failure_message, created_at, finished_at, deadline, wake_at, \
        last_seq",
    count: 17,
    present: [
        "ON CONFLICT (id) DO UPDATE SET shard = excluded.shard, status = excluded.status, \
         suspended = excluded.suspended, overdue = excluded.overdue, \
         failure_step = excluded.failure_step, failure_code = excluded.failure_code, \
         failure_message = excluded.failure_message, finished_at = excluded.finished_at, \
         deadline = excluded.deadline, wake_at = excluded.wake_at, last_seq = excluded.last_seq",
        "ON DUPLICATE KEY UPDATE shard = VALUES(shard), status = VALUES(status), \
         suspended = VALUES(suspended), overdue = VALUES(overdue), \
         failure_step = VALUES(failure_step), failure_code = VALUES(failure_code), \
         failure_message = VALUES(failure_message), finished_at = VALUES(finished_at), \
         deadline = VALUES(deadline), wake_at = VALUES(wake_at), last_seq = VALUES(last_seq)",
    ],
};

const LABELS: Shape = Shape {
    table: "saga_labels",
    columns: "name, value, saga_id",
    count: 3,
    present: ["", ""],
};

const KEYS: Shape = Shape {
    table: "start_keys",
    columns: "start_key, digest, saga_id",
    count: 3,
    // Not INSERT IGNORE, which would also let data errors pass.
    present: [
        "ON CONFLICT DO NOTHING",
        "ON DUPLICATE KEY UPDATE start_key = start_key",
    ],
};

const AUDIT: Shape = Shape {
    table: "audit_log",
    columns: audit::COLUMNS,
    count: audit::COLUMNS_COUNT,
    present: ["", ""],
};

/// Says to a fresh connection what the journal needs of it.
pub(super) async fn prepare_session(
    on: &DatabaseConnection,
    backend: Backend,
) -> Result<(), StoreError> {
    if backend != Backend::MySql {
        return Ok(());
    }
    // Gap locks would only make replicas wait for each other.
    on.execute_unprepared("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        .await?;
    let sql = format!("SET SESSION idle_transaction_timeout = {SILENCE_MAX_SECONDS}");
    if let Err(error) = on.execute_unprepared(&sql).await.map_err(StoreError::from) {
        if error.is_unavailable() {
            return Err(error);
        }
        tracing::debug!("this server has no idle_transaction_timeout; MySQL has not");
    }
    Ok(())
}

/// Writes the batch.
///
/// # Errors
/// [`CommitError::Fenced`] when the epoch is no longer current.
pub(super) async fn commit(
    on: &DatabaseConnection,
    backend: Backend,
    batch: &[Pending],
    replica: Uuid,
    epoch: i64,
) -> Result<Done, CommitError> {
    let transaction = on.begin().await?;
    match write(&transaction, backend, batch, replica, epoch).await {
        Ok(done) => {
            transaction.commit().await?;
            Ok(done)
        }
        Err(error) => {
            // What it failed with tells more than what the rollback may fail with.
            if let Err(rollback) = transaction.rollback().await {
                tracing::debug!(error = %rollback, "rollback failed");
            }
            Err(error)
        }
    }
}

async fn write(
    on: &DatabaseTransaction,
    backend: Backend,
    batch: &[Pending],
    replica: Uuid,
    epoch: i64,
) -> Result<Done, CommitError> {
    if backend == Backend::MySql {
        check_fence(on, backend, replica, epoch).await?;
    }
    let mut rows = Rows::of(batch, &HashSet::new());
    let mut seen = Seen::new();
    if !rows.keys.is_empty() {
        insert(on, backend, &KEYS, &rows.keys, |(key, saga), values| {
            values.extend([
                key.key.as_str().into(),
                key.digest.to_vec().into(),
                saga.0.into(),
            ]);
        })
        .await?;
        seen = lookup::seen_keys(on, backend, &rows.keys, true).await?;
        if !seen.is_empty() {
            let skip: HashSet<SagaId> = seen.keys().copied().collect();
            rows = Rows::of(batch, &skip);
        }
    }
    insert(on, backend, &EVENTS, &rows.entries, |pending, values| {
        let transition = &pending.entry.transition;
        values.extend([
            pending.entry.saga.0.into(),
            signed(transition.seq).into(),
            transition.at.0.into(),
            i64::from(transition.count).into(),
            transition.events.as_str().into(),
        ]);
    })
    .await?;
    insert(on, backend, &SUMMARIES, &rows.summaries, push_summary).await?;
    insert(
        on,
        backend,
        &LABELS,
        &rows.labels,
        |(name, value, saga), values| {
            values.extend([(*name).into(), (*value).into(), saga.0.into()]);
        },
    )
    .await?;
    insert(
        on,
        backend,
        &AUDIT,
        &rows.audit,
        |(record, saga), values| {
            record.push_values(Some(*saga), values);
        },
    )
    .await?;
    if !rows.inbox.is_empty() {
        let sql = format!(
            "DELETE FROM inbox WHERE id IN ({})",
            marks(rows.inbox.len())
        );
        let values = rows.inbox.iter().map(|id| Value::from(*id)).collect();
        on.execute(backend.statement(&sql, values)).await?;
    }
    if backend == Backend::Sqlite {
        check_fence(on, backend, replica, epoch).await?;
    }
    Ok(Done {
        seen,
        rows: rows.count(),
        events: rows.events(),
    })
}

async fn check_fence(
    on: &DatabaseTransaction,
    backend: Backend,
    replica: Uuid,
    epoch: i64,
) -> Result<(), CommitError> {
    let lock = if backend == Backend::MySql {
        " LOCK IN SHARE MODE"
    } else {
        ""
    };
    let sql = format!("SELECT epoch FROM replicas WHERE id = ? AND epoch = ?{lock}");
    let statement = backend.statement(&sql, vec![replica.into(), epoch.into()]);
    match on.query_one(statement).await? {
        Some(_) => Ok(()),
        None => Err(CommitError::Fenced),
    }
}

async fn insert<T>(
    on: &DatabaseTransaction,
    backend: Backend,
    shape: &Shape,
    rows: &[T],
    push: impl Fn(&T, &mut Vec<Value>),
) -> Result<(), StoreError> {
    let [sqlite, mysql] = shape.present;
    let present = if backend == Backend::MySql {
        mysql
    } else {
        sqlite
    };
    let mut rest = rows;
    for size in ROWS_OF_A_STATEMENT {
        while let Some((now, later)) = rest.split_at_checked(size) {
            let marks = vec![format!("({})", marks(shape.count)); size].join(", ");
            let sql = format!(
                "INSERT INTO {} ({}) VALUES {marks} {present}",
                shape.table, shape.columns
            );
            let mut values = Vec::with_capacity(size * shape.count);
            for row in now {
                push(row, &mut values);
            }
            on.execute(backend.statement(&sql, values)).await?;
            rest = later;
        }
    }
    Ok(())
}

fn push_summary(summary: &Summary<'_>, values: &mut Vec<Value>) {
    let write = summary.write;
    let failure = write.failure.as_ref();
    let time = |time: Option<Timestamp>| Value::BigInt(time.map(|time| time.0));
    let text = |text: Option<&str>| Value::String(text.map(|text| Box::new(text.to_owned())));
    values.extend([
        summary.saga.0.into(),
        i32::from(summary.shard).into(),
        write.definition.as_str().into(),
        i64::from(write.version).into(),
        text(write.key.as_deref()),
        text(summary.labels.as_deref()),
        write.status.as_str().into(),
        write.suspended.into(),
        write.overdue.into(),
        text(failure.and_then(|failure| failure.step.as_deref())),
        text(failure.map(|failure| failure.code.as_str())),
        text(failure.map(|failure| failure.message.as_str())),
        write.created_at.0.into(),
        time(write.finished_at),
        time(write.deadline),
        time(write.wake_at),
        signed(summary.last_seq).into(),
    ]);
}
