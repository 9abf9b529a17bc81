//! Lists of dead letters, newest first: the order of their ids.
//!
//! A page has whole letters, and a letter may be as long as a broker lets it be. So a page ends
//! where it has enough bytes, too, and its first letter is on it however long that is.

use sea_orm::{ConnectionTrait, Value};
use uuid::Uuid;

use super::read::COLUMNS;
use super::{DeadLetter, DeadLetterId, DeadLetterStatus, Transport};
use crate::saga::id::{SagaId, Timestamp};
use crate::store::dialect::{column, marks, number, signed};
use crate::store::queries::first_id_of;
use crate::store::{Backend, Store, StoreError};

/// How many bytes of messages and headers a page has, unless its first letter alone has more.
const PAGE_BYTES_MAX: u64 = 8 * 1_024 * 1_024;

/// What is looked for: everything that is set must hold.
#[derive(Clone, Debug, Default)]
pub struct DeadLetterFilter {
    /// Any of these; all when empty.
    pub statuses: Vec<DeadLetterStatus>,
    /// What it came through.
    pub transport: Option<Transport>,
    /// The queue that it was going to.
    pub queue: Option<String>,
    /// About this saga.
    pub saga: Option<SagaId>,
    /// Going to this participant.
    pub participant: Option<String>,
    /// For this reason.
    pub reason: Option<String>,
    /// Come at this moment or later.
    pub received_after: Option<Timestamp>,
    /// Come before this moment.
    pub received_before: Option<Timestamp>,
}

/// Some of the letters that a filter lets through.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetterPage {
    /// The letters, newest first.
    pub letters: Vec<DeadLetter>,
    /// Whether there are more behind the last of them.
    pub more: bool,
}

impl Store {
    /// The letters that the filter lets through, newest first, those older than `cursor`: give the
    /// id of the last one for the next page. There are at most `limit`, and fewer where they are
    /// long.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away.
    pub async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        cursor: Option<DeadLetterId>,
        limit: u64,
    ) -> Result<DeadLetterPage, StoreError> {
        // One more than is wanted tells whether there is a next page.
        let (sql, values) = measured(self.backend, filter, cursor, limit.saturating_add(1));
        let statement = self.backend.statement(&sql, values);
        let mut ids: Vec<Value> = Vec::new();
        let mut bytes = 0_u64;
        let mut more = false;
        for row in self.db.query_all(statement).await? {
            let length: u64 = number(&row, "bytes")?;
            bytes = bytes.saturating_add(length);
            more = ids.len() as u64 == limit || (bytes > PAGE_BYTES_MAX && !ids.is_empty());
            if more {
                break;
            }
            ids.push(column::<Uuid>(&row, "id")?.into());
        }
        if ids.is_empty() {
            let letters = Vec::new();
            return Ok(DeadLetterPage { letters, more });
        }
        let marks = marks(ids.len());
        let sql =
            format!("SELECT {COLUMNS} FROM dead_letters WHERE id IN ({marks}) ORDER BY id DESC");
        let rows = self.db.query_all(self.backend.statement(&sql, ids)).await?;
        let letters = rows
            .iter()
            .map(DeadLetter::read)
            .collect::<Result<_, _>>()?;
        Ok(DeadLetterPage { letters, more })
    }
}

/// The statement for the ids of a page, and how long each letter is.
fn measured(
    backend: Backend,
    filter: &DeadLetterFilter,
    cursor: Option<DeadLetterId>,
    limit: u64,
) -> (String, Vec<Value>) {
    let (conditions, mut values) = conditions(filter, cursor);
    let only = if conditions.is_empty() {
        String::new()
    } else {
        format!("WHERE {} ", conditions.join(" AND "))
    };
    let whole = match backend {
        Backend::Sqlite | Backend::Postgres => "bigint",
        Backend::MySql => "signed",
    };
    values.push(signed(limit).into());
    let sql = format!(
        "SELECT id, CAST(OCTET_LENGTH(message) + OCTET_LENGTH(headers) AS {whole}) AS bytes \
         FROM dead_letters {only}ORDER BY id DESC LIMIT ?"
    );
    (sql, values)
}

/// What must hold of the rows.
fn conditions(
    filter: &DeadLetterFilter,
    cursor: Option<DeadLetterId>,
) -> (Vec<String>, Vec<Value>) {
    let mut conditions = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    let mut and = |condition: &str, value: Value| {
        conditions.push(condition.to_owned());
        values.push(value);
    };
    if let Some(saga) = filter.saga {
        and("saga_id = ?", saga.0.into());
    }
    let words = [
        ("queue = ?", filter.queue.as_deref()),
        ("participant = ?", filter.participant.as_deref()),
        ("transport = ?", filter.transport.map(Transport::as_str)),
        ("reason = ?", filter.reason.as_deref()),
    ];
    for (condition, word) in words {
        if let Some(word) = word {
            and(condition, word.into());
        }
    }
    // An id begins with the time at which its letter came.
    if let Some(after) = filter.received_after {
        and("id >= ?", first_id_of(after.0).into());
    }
    if let Some(before) = filter.received_before {
        and("id < ?", first_id_of(before.0).into());
    }
    if let Some(DeadLetterId(id)) = cursor {
        and("id < ?", id.into());
    }
    let statuses = filter.statuses.iter().map(|status| status.as_str().into());
    let statuses: Vec<Value> = statuses.collect();
    if !statuses.is_empty() {
        conditions.push(format!("status IN ({})", marks(statuses.len())));
        values.extend(statuses);
    }
    (conditions, values)
}
