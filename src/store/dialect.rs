//! The words in which the databases differ, outside the journal and the schema.

use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::{DbBackend, QueryResult, Statement, Value};

use super::{Backend, StoreError};

/// How long an SQLite writer waits for another of this process.
const SQLITE_BUSY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// What SQLite needs to be told on each connection.
pub(super) fn sqlite_options(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(SQLITE_BUSY_TIMEOUT)
        .pragma("cache_size", "-16384")
        .pragma("journal_size_limit", "67108864")
}

impl Backend {
    /// SeaORM's name for it.
    pub(super) fn orm(self) -> DbBackend {
        match self {
            Self::Sqlite => DbBackend::Sqlite,
            Self::Postgres => DbBackend::Postgres,
            Self::MySql => DbBackend::MySql,
        }
    }

    /// The database's own clock, in milliseconds since 1970.
    pub(super) fn now(self) -> &'static str {
        match self {
            Self::Sqlite => "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
            Self::Postgres => "(extract(epoch from clock_timestamp()) * 1000)::bigint",
            Self::MySql => "CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED)",
        }
    }

    /// What comes before and after an insert that leaves rows that are there already alone.
    pub(super) fn insert_where_absent(self) -> (&'static str, &'static str) {
        match self {
            Self::Sqlite | Self::Postgres => ("INSERT", "ON CONFLICT DO NOTHING"),
            Self::MySql => ("INSERT IGNORE", ""),
        }
    }

    /// What makes a `SELECT` wait for writers and hold them off.
    pub(super) fn for_update(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres | Self::MySql => " FOR UPDATE",
        }
    }

    /// A statement written with `?` for its values.
    pub(super) fn statement(self, sql: &str, values: Vec<Value>) -> Statement {
        Statement::from_sql_and_values(self.orm(), self.placeholders(sql), values)
    }

    /// `?` in the words of this database.
    pub(super) fn placeholders(self, sql: &str) -> String {
        match self {
            Self::Sqlite | Self::MySql => sql.to_owned(),
            Self::Postgres => {
                let mut numbered = String::with_capacity(sql.len() + 32);
                let mut number = 0_usize;
                for (index, part) in sql.split('?').enumerate() {
                    if index > 0 {
                        number += 1;
                        numbered.push('$');
                        numbered.push_str(&number.to_string());
                    }
                    numbered.push_str(part);
                }
                numbered
            }
        }
    }
}

/// `?, ?, ?`: as many as there are values to come.
pub(super) fn marks(count: usize) -> String {
    let mut marks = "?, ".repeat(count);
    marks.truncate(marks.len().saturating_sub(2));
    marks
}

/// A column of a row; texts through [`text`] and [`maybe_text`].
pub(super) fn column<T: sea_orm::TryGetable>(
    row: &QueryResult,
    column: &'static str,
) -> Result<T, StoreError> {
    row.try_get("", column)
        .map_err(|source| StoreError::unreadable(column, source))
}

/// A text. MySQL calls a text that is compared byte by byte binary, and its driver then reads
/// bytes only.
pub(super) fn text(row: &QueryResult, name: &'static str) -> Result<String, StoreError> {
    maybe_text(row, name)?.ok_or(StoreError::Unreadable {
        column: name,
        source: None,
    })
}

/// A text that may be absent.
pub(super) fn maybe_text(
    row: &QueryResult,
    name: &'static str,
) -> Result<Option<String>, StoreError> {
    match row.try_get::<Option<String>>("", name) {
        Ok(text) => Ok(text),
        Err(_driver_sees_bytes) => match column::<Option<Vec<u8>>>(row, name)? {
            Some(bytes) => String::from_utf8(bytes)
                .map(Some)
                .map_err(|source| StoreError::unreadable(name, source)),
            None => Ok(None),
        },
    }
}

/// A number that was unsigned when it was written.
pub(super) fn number<T: TryFrom<i64>>(
    row: &QueryResult,
    name: &'static str,
) -> Result<T, StoreError> {
    let number: i64 = column(row, name)?;
    T::try_from(number).map_err(|_out_of_range| StoreError::Unreadable {
        column: name,
        source: None,
    })
}

/// An unsigned number as the databases know them.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
