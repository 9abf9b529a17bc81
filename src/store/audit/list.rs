//! Reading the audit, newest first.
//!
//! Without a time to look for, newest first is by `seq`. With one it is by `at` and then `seq`, and
//! so a range of one index: a row is written some moments after what it tells of, and after an
//! outage of the database much later, so `seq` says little about `at`. Where a saga is asked for,
//! its rows are few, and `seq` is their order.

use std::fmt;
use std::str::FromStr;

use sea_orm::{ConnectionTrait, QueryResult, Value};
use uuid::Uuid;

use super::{AuditAction, SYSTEM};
use crate::saga::id::{SagaId, Timestamp};
use crate::store::dialect::{column, maybe_text, number, signed, text};
use crate::store::{Store, StoreError};

/// What is looked for: everything that is set must hold.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// About this saga.
    pub saga: Option<SagaId>,
    /// By this actor.
    pub actor: Option<String>,
    /// Any of these; all when empty.
    pub actions: Vec<AuditAction>,
    /// At this moment or later.
    pub from: Option<Timestamp>,
    /// Before this moment.
    pub to: Option<Timestamp>,
}

/// A row of the audit. Its words are left as they are: a newer version may know more of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number; it grows in the order of writing.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What: one of the words of [`AuditAction`], or a newer one.
    pub action: String,
    /// To which saga.
    pub saga: Option<SagaId>,
    /// Of which definition, and which version of it.
    pub definition: Option<(String, Option<u32>)>,
    /// To which step.
    pub step: Option<String>,
    /// More about it, a JSON object.
    pub detail: Option<String>,
    /// Where from.
    pub remote: Option<String>,
}

/// Where a page ended; the next begins behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditCursor {
    at: Timestamp,
    seq: u64,
}

impl AuditEntry {
    /// Where a page ends that has this entry for its last.
    #[must_use]
    pub fn cursor(&self) -> AuditCursor {
        AuditCursor {
            at: self.at,
            seq: self.seq,
        }
    }

    fn read(row: &QueryResult) -> Result<Self, StoreError> {
        let version = column::<Option<i64>>(row, "version")?
            .map(u32::try_from)
            .transpose()
            .map_err(|source| StoreError::unreadable("version", source))?;
        Ok(Self {
            seq: number(row, "seq")?,
            at: Timestamp(column(row, "at")?),
            actor: text(row, "actor")?,
            action: text(row, "action")?,
            saga: column::<Option<Uuid>>(row, "saga_id")?.map(SagaId),
            definition: maybe_text(row, "definition")?.map(|name| (name, version)),
            step: maybe_text(row, "step")?,
            detail: maybe_text(row, "detail")?,
            remote: maybe_text(row, "remote")?,
        })
    }
}

impl fmt::Display for AuditCursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.seq, self.at.0)
    }
}

/// A text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not where a page of the audit ended")]
pub struct NoAuditCursor;

impl FromStr for AuditCursor {
    type Err = NoAuditCursor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (seq, at) = text.split_once('.').ok_or(NoAuditCursor)?;
        // Numbers in the database are 64 bits with a sign.
        let seq: i64 = seq.parse().map_err(|_wrong| NoAuditCursor)?;
        let at: i64 = at.parse().map_err(|_wrong| NoAuditCursor)?;
        let seq = u64::try_from(seq).map_err(|_negative| NoAuditCursor)?;
        let at = Timestamp(at);
        Ok(Self { at, seq })
    }
}

impl Store {
    /// The rows that the filter lets through, newest first, those behind `cursor`; at most
    /// `limit`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away.
    pub async fn audit(
        &self,
        filter: &AuditFilter,
        cursor: Option<AuditCursor>,
        limit: u64,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let (sql, values) = select(filter, cursor, limit);
        let rows = self
            .db
            .query_all(self.backend.statement(&sql, values))
            .await?;
        rows.iter().map(AuditEntry::read).collect()
    }
}

/// The columns of an [`AuditEntry`].
const ENTRY_COLUMNS: &str =
    "seq, at, actor, action, saga_id, definition, version, step, detail, remote";

/// The statement for a page.
fn select(filter: &AuditFilter, cursor: Option<AuditCursor>, limit: u64) -> (String, Vec<Value>) {
    let by_time = filter.saga.is_none() && (filter.from.is_some() || filter.to.is_some());
    let order = if by_time {
        "at DESC, seq DESC"
    } else {
        "seq DESC"
    };
    let limit = Value::from(signed(limit));
    let mut actions = filter.actions.clone();
    actions.sort_unstable();
    actions.dedup();
    if let [] | [_] = actions.as_slice() {
        let (from, mut values) = source(filter, actions.first(), cursor, by_time);
        values.push(limit);
        let sql = format!("SELECT {ENTRY_COLUMNS} FROM {from} ORDER BY {order} LIMIT ?");
        return (sql, values);
    }
    // A walk for each action is in order; one for several would have to sort all they have.
    let mut walks = Vec::new();
    let mut values = Vec::new();
    for (number, action) in actions.iter().enumerate() {
        let (from, mut these) = source(filter, Some(action), cursor, by_time);
        values.append(&mut these);
        values.push(limit.clone());
        walks.push(format!(
            "SELECT * FROM (SELECT {ENTRY_COLUMNS} FROM {from} ORDER BY {order} LIMIT ?) w{number}"
        ));
    }
    values.push(limit);
    let walks = walks.join(" UNION ALL ");
    let sql = format!("SELECT {ENTRY_COLUMNS} FROM ({walks}) w ORDER BY {order} LIMIT ?");
    (sql, values)
}

/// The table with what must hold of its rows.
fn source(
    filter: &AuditFilter,
    action: Option<&AuditAction>,
    cursor: Option<AuditCursor>,
    by_time: bool,
) -> (String, Vec<Value>) {
    let mut conditions = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    if let Some(saga) = filter.saga {
        conditions.push("saga_id = ?");
        values.push(saga.0.into());
    }
    if let Some(actor) = &filter.actor {
        conditions.push("actor = ?");
        values.push(actor.as_str().into());
        if actor != SYSTEM {
            // Spelled as the index of them spells it.
            conditions.push("actor <> 'system'");
        }
    }
    match action {
        None => {}
        Some(AuditAction::SagaStarted) => conditions.push("action = 'SAGA_STARTED'"),
        Some(AuditAction::SagaCompleted) => conditions.push("action = 'SAGA_COMPLETED'"),
        Some(rare) => {
            conditions
                .push("action = ? AND action <> 'SAGA_STARTED' AND action <> 'SAGA_COMPLETED'");
            values.push(rare.as_str().into());
        }
    }
    if let Some(from) = filter.from {
        conditions.push("at >= ?");
        values.push(from.0.into());
    }
    if let Some(to) = filter.to {
        conditions.push("at < ?");
        values.push(to.0.into());
    }
    if let Some(AuditCursor { at, seq }) = cursor {
        if by_time {
            // The first half is what an index can be entered with; the second makes it exact.
            conditions.push("at <= ? AND (at < ? OR seq < ?)");
            values.extend([at.0.into(), at.0.into()]);
        } else {
            conditions.push("seq < ?");
        }
        values.push(signed(seq).into());
    }
    if conditions.is_empty() {
        return ("audit_log".to_owned(), values);
    }
    let sql = format!("audit_log WHERE {}", conditions.join(" AND "));
    (sql, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_is_written() {
        let cursor = AuditCursor {
            at: Timestamp(-5),
            seq: 7,
        };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for bad in [
            "",
            "7",
            "7.",
            ".5",
            "-1.5",
            "x.5",
            "7.x",
            "9223372036854775808.1",
        ] {
            assert_eq!(bad.parse::<AuditCursor>(), Err(NoAuditCursor), "{bad}");
        }
    }
}
