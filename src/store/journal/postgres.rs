//! A batch as one statement: PostgreSQL commits it by itself, in one round trip.
//!
//! The text depends on which kinds of rows there are and not on their number, so it is prepared
//! once. The fence is a CTE that share-locks the replica's row: with a takeover under way it waits
//! for that one's commit, sees the new epoch, and nothing is written.

use std::collections::HashSet;
use std::sync::LazyLock;

use sea_orm::sea_query::ArrayType;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement, Value};
use uuid::Uuid;

use super::Pending;
use super::batch::{Rows, Summary};
use super::commit::{CommitError, Done};
use super::lookup::{self, Seen};
use crate::saga::id::{SagaId, Timestamp};
use crate::store::dialect::{column, signed};
use crate::store::{Backend, audit};

/// What is null in a summary's arrays, which hold no nulls, or true.
const SUSPENDED: i32 = 1;
const OVERDUE: i32 = 2;
const KEY: i32 = 4;
const FAILURE: i32 = 8;
const FAILURE_STEP: i32 = 16;
const LABELS: i32 = 32;
/// A time or a version that is null.
const NEVER: i64 = i64::MIN;

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
    let mut values: Vec<Value> = Vec::with_capacity(32);
    values.push(replica.into());
    values.push(epoch.into());
    let kinds = Kinds {
        summaries: !rows.summaries.is_empty(),
        labels: !rows.labels.is_empty(),
        keys: !rows.keys.is_empty(),
        audit: !rows.audit.is_empty(),
        inbox: !rows.inbox.is_empty(),
    };
    if kinds.keys {
        push_keys(&mut values, &rows);
    }
    push_events(&mut values, &rows);
    if kinds.summaries {
        push_summaries(&mut values, &rows.summaries);
    }
    if kinds.labels {
        push_labels(&mut values, &rows);
    }
    if kinds.audit {
        push_audit(&mut values, &rows);
    }
    if kinds.inbox {
        values.push(longs(rows.inbox.iter().copied()));
    }
    let text = TEXTS.get(kinds.number()).map_or("", String::as_str);
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, text, values);
    let mut held = false;
    let mut skipped: HashSet<SagaId> = HashSet::new();
    for row in on.query_all(statement).await? {
        match column::<Option<Uuid>>(&row, "skipped")? {
            None => held = true,
            Some(saga) => {
                skipped.insert(SagaId(saga));
            }
        }
    }
    if !held {
        return Err(CommitError::Fenced);
    }
    if skipped.is_empty() {
        return Ok(Done {
            seen: Seen::new(),
            rows: rows.count(),
            events: rows.events(),
        });
    }
    let keys: Vec<_> = rows
        .keys
        .iter()
        .copied()
        .filter(|(_, saga)| skipped.contains(saga))
        .collect();
    let seen = lookup::seen_keys(on, Backend::Postgres, &keys, false).await?;
    let written = Rows::of(batch, &skipped);
    Ok(Done {
        seen,
        rows: written.count(),
        events: written.events(),
    })
}

/// Which kinds of rows a batch has beside its events.
#[derive(Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one a kind, and any of them together"
)]
struct Kinds {
    summaries: bool,
    labels: bool,
    keys: bool,
    audit: bool,
    inbox: bool,
}

impl Kinds {
    fn of_number(number: usize) -> Self {
        let has = |bit: usize| number & bit != 0;
        Self {
            summaries: has(1),
            labels: has(2),
            keys: has(4),
            audit: has(8),
            inbox: has(16),
        }
    }

    fn number(self) -> usize {
        usize::from(self.summaries)
            + 2 * usize::from(self.labels)
            + 4 * usize::from(self.keys)
            + 8 * usize::from(self.audit)
            + 16 * usize::from(self.inbox)
    }
}

static TEXTS: LazyLock<[String; 32]> =
    LazyLock::new(|| std::array::from_fn(|number| text(Kinds::of_number(number))));

fn text(kinds: Kinds) -> String {
    let mut next = 0_usize;
    let mut arrays = |types: &[&str]| {
        let marks: Vec<String> = types
            .iter()
            .map(|ty| {
                next += 1;
                format!("${next}::{ty}")
            })
            .collect();
        marks.join(", ")
    };
    let fence = arrays(&["uuid", "bigint"]);
    let (id, epoch) = fence.split_once(", ").unwrap_or_default();
    let held = if kinds.keys {
        "WHERE EXISTS (SELECT 1 FROM fence) AND u.saga NOT IN (SELECT saga FROM skip)"
    } else {
        "WHERE EXISTS (SELECT 1 FROM fence)"
    };
    let mut sql = format!(
        "WITH fence AS MATERIALIZED \
         (SELECT 1 FROM replicas WHERE id = {id} AND epoch = {epoch} FOR SHARE)"
    );
    if kinds.keys {
        let keys = arrays(&["text[]", "bytea[]", "uuid[]"]);
        sql.push_str(&format!(
            ", keyed AS MATERIALIZED (SELECT * FROM UNNEST({keys}) AS u(start_key, digest, saga)), \
             taken AS (INSERT INTO start_keys (start_key, digest, saga_id) \
             SELECT start_key, digest, saga FROM keyed WHERE EXISTS (SELECT 1 FROM fence) \
             ON CONFLICT DO NOTHING RETURNING saga_id), \
             skip AS MATERIALIZED (SELECT saga FROM keyed EXCEPT SELECT saga_id FROM taken)"
        ));
    }
    let events = arrays(&["uuid[]", "bigint[]", "bigint[]", "int[]", "text[]"]);
    sql.push_str(&format!(
        ", written AS (INSERT INTO saga_events (saga_id, seq, at, events_count, events) \
         SELECT u.saga, u.seq, u.at, u.n, u.events \
         FROM UNNEST({events}) AS u(saga, seq, at, n, events) {held})"
    ));
    if kinds.summaries {
        sql.push_str(&summaries_text(&arrays(&SUMMARY_TYPES), held));
    }
    if kinds.labels {
        let labels = arrays(&["text[]", "text[]", "uuid[]"]);
        sql.push_str(&format!(
            ", labelled AS (INSERT INTO saga_labels (name, value, saga_id) \
             SELECT u.name, u.value, u.saga FROM UNNEST({labels}) AS u(name, value, saga) {held})"
        ));
    }
    if kinds.audit {
        sql.push_str(&audit_text(&arrays(&AUDIT_TYPES), held));
    }
    if kinds.inbox {
        let ids = arrays(&["bigint[]"]);
        sql.push_str(&format!(
            ", emptied AS (DELETE FROM inbox WHERE id = ANY({ids}) \
             AND EXISTS (SELECT 1 FROM fence))"
        ));
    }
    sql.push_str(" SELECT NULL::uuid AS skipped FROM fence");
    if kinds.keys {
        sql.push_str(" UNION ALL SELECT saga FROM skip");
    }
    sql
}

const SUMMARY_TYPES: [&str; 16] = [
    "uuid[]", "int[]", "text[]", "bigint[]", "text[]", "text[]", "text[]", "int[]", "text[]",
    "text[]", "text[]", "bigint[]", "bigint[]", "bigint[]", "bigint[]", "bigint[]",
];

fn summaries_text(arrays: &str, held: &str) -> String {
    // INSERT … ON CONFLICT and not UPDATE … FROM UNNEST, which is planned once, while the table is
    // small, as a sequential scan.
    format!(
        ", summed AS (INSERT INTO sagas (id, shard, definition, version, business_key, labels, \
         status, suspended, overdue, failure_step, failure_code, failure_message, created_at, \
         finished_at, deadline, wake_at, last_seq) \
         SELECT u.saga, u.shard, u.definition, u.version, \
         CASE WHEN u.flags & {KEY} <> 0 THEN u.business_key END, \
         CASE WHEN u.flags & {LABELS} <> 0 THEN u.labels END, \
         u.status, u.flags & {SUSPENDED} <> 0, u.flags & {OVERDUE} <> 0, \
         CASE WHEN u.flags & {FAILURE_STEP} <> 0 THEN u.failure_step END, \
         CASE WHEN u.flags & {FAILURE} <> 0 THEN u.failure_code END, \
         CASE WHEN u.flags & {FAILURE} <> 0 THEN u.failure_message END, \
         u.created_at, NULLIF(u.finished_at, {NEVER}), NULLIF(u.deadline, {NEVER}), \
         NULLIF(u.wake_at, {NEVER}), u.last_seq \
         FROM UNNEST({arrays}) AS u(saga, shard, definition, version, business_key, labels, \
         status, flags, failure_step, failure_code, failure_message, created_at, finished_at, \
         deadline, wake_at, last_seq) {held} \
         ON CONFLICT (id) DO UPDATE SET shard = excluded.shard, status = excluded.status, \
         suspended = excluded.suspended, overdue = excluded.overdue, \
         failure_step = excluded.failure_step, failure_code = excluded.failure_code, \
         failure_message = excluded.failure_message, finished_at = excluded.finished_at, \
         deadline = excluded.deadline, wake_at = excluded.wake_at, last_seq = excluded.last_seq)"
    )
}

const AUDIT_TYPES: [&str; audit::COLUMNS_COUNT] = [
    "bigint[]", "uuid[]", "bigint[]", "text[]", "text[]", "text[]", "text[]", "text[]", "text[]",
];

fn audit_text(arrays: &str, held: &str) -> String {
    // No text of them is empty, so an empty one stands for null.
    format!(
        ", told AS (INSERT INTO audit_log ({}) \
         SELECT u.at, u.saga, NULLIF(u.version, {NEVER}), u.actor, u.action, \
         NULLIF(u.definition, ''), NULLIF(u.step, ''), NULLIF(u.remote, ''), \
         NULLIF(u.detail, '') FROM UNNEST({arrays}) \
         AS u(at, saga, version, actor, action, definition, step, remote, detail) {held})",
        audit::COLUMNS
    )
}

fn array(of: ArrayType, values: impl Iterator<Item = Value>) -> Value {
    Value::Array(of, Some(Box::new(values.collect())))
}

fn ids(sagas: impl Iterator<Item = SagaId>) -> Value {
    array(ArrayType::Uuid, sagas.map(|saga| saga.0.into()))
}

fn longs(numbers: impl Iterator<Item = i64>) -> Value {
    array(ArrayType::BigInt, numbers.map(Value::from))
}

fn ints(numbers: impl Iterator<Item = i32>) -> Value {
    array(ArrayType::Int, numbers.map(Value::from))
}

fn texts<'a>(texts: impl Iterator<Item = &'a str>) -> Value {
    array(ArrayType::String, texts.map(Value::from))
}

fn push_events(values: &mut Vec<Value>, rows: &Rows<'_>) {
    let transitions = || rows.entries.iter().map(|pending| &pending.entry.transition);
    values.extend([
        ids(rows.entries.iter().map(|pending| pending.entry.saga)),
        longs(transitions().map(|transition| signed(transition.seq))),
        longs(transitions().map(|transition| transition.at.0)),
        ints(transitions().map(|transition| i32::try_from(transition.count).unwrap_or(i32::MAX))),
        texts(transitions().map(|transition| transition.events.as_str())),
    ]);
}

fn push_summaries(values: &mut Vec<Value>, summaries: &[Summary<'_>]) {
    let writes = || summaries.iter().map(|summary| summary.write);
    let failures = || writes().map(|write| write.failure.as_ref());
    let time = |time: Option<Timestamp>| time.map_or(NEVER, |time| time.0);
    values.extend([
        ids(summaries.iter().map(|summary| summary.saga)),
        ints(summaries.iter().map(|summary| i32::from(summary.shard))),
        texts(writes().map(|write| write.definition.as_str())),
        longs(writes().map(|write| i64::from(write.version))),
        texts(writes().map(|write| write.key.as_deref().unwrap_or_default())),
        texts(
            summaries
                .iter()
                .map(|summary| summary.labels.as_deref().unwrap_or_default()),
        ),
        texts(writes().map(|write| write.status.as_str())),
        ints(summaries.iter().map(flags)),
        texts(failures().map(|failure| {
            failure
                .and_then(|failure| failure.step.as_deref())
                .unwrap_or_default()
        })),
        texts(failures().map(|failure| failure.map_or("", |failure| failure.code.as_str()))),
        texts(failures().map(|failure| failure.map_or("", |failure| failure.message.as_str()))),
        longs(writes().map(|write| write.created_at.0)),
        longs(writes().map(|write| time(write.finished_at))),
        longs(writes().map(|write| time(write.deadline))),
        longs(writes().map(|write| time(write.wake_at))),
        longs(summaries.iter().map(|summary| signed(summary.last_seq))),
    ]);
}

fn flags(summary: &Summary<'_>) -> i32 {
    let write = summary.write;
    let step = write
        .failure
        .as_ref()
        .is_some_and(|failure| failure.step.is_some());
    [
        (write.suspended, SUSPENDED),
        (write.overdue, OVERDUE),
        (write.key.is_some(), KEY),
        (write.failure.is_some(), FAILURE),
        (step, FAILURE_STEP),
        (summary.labels.is_some(), LABELS),
    ]
    .into_iter()
    .filter_map(|(set, bit)| set.then_some(bit))
    .sum()
}

fn push_labels(values: &mut Vec<Value>, rows: &Rows<'_>) {
    values.extend([
        texts(rows.labels.iter().map(|(name, _, _)| *name)),
        texts(rows.labels.iter().map(|(_, value, _)| *value)),
        ids(rows.labels.iter().map(|(_, _, saga)| *saga)),
    ]);
}

fn push_audit(values: &mut Vec<Value>, rows: &Rows<'_>) {
    let records = || rows.audit.iter().map(|(record, _)| *record);
    values.extend([
        longs(records().map(|record| record.at.0)),
        ids(rows.audit.iter().map(|(_, saga)| *saga)),
        longs(records().map(|record| record.definition_version().unwrap_or(NEVER))),
        texts(records().map(|record| record.actor.as_str())),
        texts(records().map(|record| record.action.as_str())),
        texts(records().map(|record| record.definition_name().unwrap_or_default())),
        texts(records().map(|record| record.step.as_deref().unwrap_or_default())),
        array(
            ArrayType::String,
            records().map(|record| record.remote_text().unwrap_or_default().into()),
        ),
        texts(records().map(|record| record.detail.as_deref().unwrap_or_default())),
    ]);
}

fn push_keys(values: &mut Vec<Value>, rows: &Rows<'_>) {
    values.extend([
        texts(rows.keys.iter().map(|(key, _)| key.key.as_str())),
        array(
            ArrayType::Bytes,
            rows.keys.iter().map(|(key, _)| key.digest.to_vec().into()),
        ),
        ids(rows.keys.iter().map(|(_, saga)| *saga)),
    ]);
}
