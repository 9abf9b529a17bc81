//! What can go wrong with the database, sorted by what the caller is to do about it.

use std::path::PathBuf;
use std::time::Duration;

use sea_orm::sqlx;
use sea_orm::{DbErr, RuntimeErr};

/// A failure of the store. [`StoreError::is_unavailable`] tells what is worth another try.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is away, full, read-only or overloaded: the same call may succeed later.
    #[error("the database is unavailable")]
    Unavailable(#[source] DbErr),
    /// The database gave no answer in time; what it was asked for may have been done.
    #[error("the database gave no answer within {after:?}")]
    Silent {
        /// How long it was waited for.
        after: Duration,
    },
    /// The database understood and refused: the data break one of its rules. Not worth a retry.
    #[error("the database refused the data")]
    Refused(#[source] DbErr),
    /// The database failed in a way that nobody foresaw.
    #[error("the database failed")]
    Database(#[source] DbErr),
    /// A stored row cannot be understood; it was damaged, or written by a newer version.
    #[error("column {column} of a stored row cannot be read")]
    Unreadable {
        /// Where the damage is.
        column: &'static str,
        /// What the reading failed with, where there is more to say.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A row cannot be given to the database.
    #[error("a row cannot be written as JSON")]
    Unwritable {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The URL is of no kind that is supported.
    #[error(
        "database URLs begin with sqlite:, postgres:, mysql: or mariadb:, this one with {scheme:?}"
    )]
    Url {
        /// What it begins with.
        scheme: String,
    },
    /// Another process has the SQLite database open.
    #[error("{} is in use by the process with id {holder}; only one may have it open", path.display())]
    Locked {
        /// The database file.
        path: PathBuf,
        /// Who has it: a process id.
        holder: String,
    },
    /// The file beside an SQLite database that keeps others out cannot be used.
    #[error("the lock file {} cannot be used", path.display())]
    LockFile {
        /// The lock file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// This replica's epoch was raised: another has taken its shards. Register anew.
    #[error("another replica has taken over from this one")]
    LeaseLost,
    /// A replica with this id is alive and connected.
    #[error("a replica with this id is already registered and alive")]
    ReplicaTaken,
    /// Somebody else has been migrating the schema for too long.
    #[error("another process has been migrating the schema for over {after:?}")]
    MigrationBusy {
        /// How long it was waited for.
        after: Duration,
    },
}

impl StoreError {
    /// Whether the same call may succeed later without anything being changed.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Silent { .. } | Self::MigrationBusy { .. } => true,
            Self::Refused(_)
            | Self::Database(_)
            | Self::Unreadable { .. }
            | Self::Unwritable { .. }
            | Self::Url { .. }
            | Self::Locked { .. }
            | Self::LockFile { .. }
            | Self::LeaseLost
            | Self::ReplicaTaken => false,
        }
    }

    /// A stored value that is not what it should be.
    pub(super) fn unreadable(
        column: &'static str,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self::Unreadable {
            column,
            source: Some(Box::new(source)),
        }
    }
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        match Trouble::of(&error) {
            Trouble::Away => Self::Unavailable(error),
            Trouble::Data => Self::Refused(error),
            Trouble::Unforeseen => Self::Database(error),
        }
    }
}

/// What a database error calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Wait and do the same again.
    Away,
    /// These data will never do.
    Data,
    /// A bug or a broken schema.
    Unforeseen,
}

impl Trouble {
    /// Sorts an error.
    pub(super) fn of(error: &DbErr) -> Self {
        match driver_error(error) {
            Some(sqlx::Error::Database(database)) => Self::of_database(database.as_ref()),
            Some(
                sqlx::Error::Encode(_)
                | sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::Decode(_)
                | sqlx::Error::Configuration(_)
                | sqlx::Error::InvalidArgument(_),
            ) => Self::Unforeseen,
            // Io, Tls, Protocol, a closed or exhausted pool: the connection is of no more use.
            Some(_) => Self::Away,
            None if matches!(error, DbErr::ConnectionAcquire(_) | DbErr::Conn(_)) => Self::Away,
            None => Self::Unforeseen,
        }
    }

    fn of_database(error: &dyn sqlx::error::DatabaseError) -> Self {
        if let Some(mysql) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
            return Self::of_mysql(mysql.number(), mysql.code());
        }
        let code = error.code().unwrap_or_default();
        if error
            .try_downcast_ref::<sqlx::sqlite::SqliteError>()
            .is_some()
        {
            return Self::of_sqlite(&code);
        }
        match code.get(..2) {
            // Data exception, integrity, a value too large for an index or a row.
            Some("22" | "23" | "54") => Self::Data,
            // Connection, rollback by conflict, resources, lock not available, shutting down, I/O.
            Some("08" | "40" | "53" | "55" | "57" | "58") => Self::Away,
            _ if code == "25006" => Self::Away,
            _ => Self::Unforeseen,
        }
    }

    fn of_mysql(number: u16, code: Option<&str>) -> Self {
        match number {
            // Too large a packet, wrong bytes for the character set, a CHECK that fails.
            1153 | 1301 | 1366 | 3819 | 4025 => Self::Data,
            // Full, no connection left, shutting down, read-only, lock waits, killed, gone.
            1021
            | 1040
            | 1053
            | 1077
            | 1079
            | 1105
            | 1114
            | 1152
            | 1158..=1161
            | 1184
            | 1203
            | 1205
            | 1213
            | 1290
            | 1317
            | 1792
            | 1836
            | 1927
            | 2006
            | 2013 => Self::Away,
            _ => match code.and_then(|code| code.get(..2)) {
                Some("22" | "23") => Self::Data,
                Some("08" | "40" | "70") => Self::Away,
                _ => Self::Unforeseen,
            },
        }
    }

    /// `code` is SQLite's extended code; its low byte is the kind.
    fn of_sqlite(code: &str) -> Self {
        match code.parse::<u32>().unwrap_or_default() & 0xff {
            // TOOBIG, CONSTRAINT, MISMATCH.
            18..=20 => Self::Data,
            // BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, IOERR, FULL, CANTOPEN.
            5..=10 | 13 | 14 => Self::Away,
            _ => Self::Unforeseen,
        }
    }
}

fn driver_error(error: &DbErr) -> Option<&sqlx::Error> {
    let (DbErr::Conn(RuntimeErr::SqlxError(source))
    | DbErr::Exec(RuntimeErr::SqlxError(source))
    | DbErr::Query(RuntimeErr::SqlxError(source))) = error
    else {
        return None;
    };
    Some(source)
}
