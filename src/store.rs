//! What is durable: the journal and its group commit, the summaries that lists and recovery read,
//! the published definitions, the leases, the audit, the dead letters. Nothing outside this layer
//! knows SQL or SeaORM.
//!
//! **A row of `saga_events` is a transition, not a fact.** It holds the facts that one input made,
//! as a JSON array, under the sequence number of the first of them; so a step's result and the
//! completion that follows from it are one row. That halves the row writes of a saga, and loses
//! nothing: facts of one transition are never durable without each other anyway.
//!
//! What differs between SQLite, PostgreSQL and MariaDB or MySQL is in `dialect`, in
//! `journal/` (how a batch is written) and in the migrations.

mod audit;
mod dead_letters;
mod definitions;
mod dialect;
mod error;
mod file_lock;
mod inbox;
mod journal;
mod lease;
mod migrate;
mod queries;
mod records;
mod recovery;
mod session;

use std::sync::Arc;
use std::time::Duration;

use sea_orm::{ConnectOptions, Database, DatabaseConnection};

pub use audit::{AuditAction, AuditActions, AuditCursor, AuditEntry, AuditFilter};
pub use audit::{AuditPolicy, AuditRecord, NoAuditCursor, SYSTEM, UnknownAction};
pub use dead_letters::{DeadLetter, DeadLetterCount, DeadLetterFilter, DeadLetterId};
pub use dead_letters::{DeadLetterPage, DeadLetterStatus, Kept, NewDeadLetter, REPLAY_HEADER};
pub use dead_letters::{Settlement, Transport};
pub use definitions::{DefinitionState, NewDefinition, Published, Source};
pub use error::StoreError;
pub use inbox::{InboxId, InboxRow};
pub use journal::{AppendError, Appended, Counters, Entry, Journal, Receipt};
pub use journal::{StartKey, StartRecord, SummaryWrite, Transition};
pub use lease::{JOURNAL_UNREADABLE, Lease, OwnedShard, Renewal, ReplicaInfo};
pub use queries::ListFilter;
pub use records::{DueSaga, Failure, StoredSaga, StoredTransition, SummaryRow};

use file_lock::FileLock;

/// What the log lines and spans of the database's library begin their target with.
pub const LIBRARY_TARGET: &str = "sea_orm";

/// How long a query waits for a connection before the database counts as away.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the database is, and how many connections to it queries may use.
#[derive(Clone, Debug)]
pub struct DatabaseSettings {
    /// `sqlite://./amends.db`, `postgres://…`, `mysql://…` (MariaDB too).
    pub url: String,
    /// Connections for queries at most. The journal and the lease have one each of their own.
    pub pool: u32,
}

/// Which kind of database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// A file, and one process at a time.
    Sqlite,
    /// PostgreSQL 14 or later.
    Postgres,
    /// MariaDB 10.6 or MySQL 8, or later.
    MySql,
}

/// The database. Cheap to clone: all clones share the connections.
#[derive(Clone, Debug)]
pub struct Store {
    db: DatabaseConnection,
    url: Arc<str>,
    backend: Backend,
    /// What of all that is done is written to the audit.
    audit: AuditPolicy,
    /// Held as long as any clone lives, so that no second process opens the file.
    _lock: Option<Arc<FileLock>>,
}

impl Store {
    /// Connects. An SQLite file is made when it is missing, and locked against other processes.
    ///
    /// # Errors
    /// [`StoreError::Url`] for a URL of no known kind, [`StoreError::Locked`] when another process
    /// has the SQLite file, [`StoreError::Unavailable`] when the database does not answer: wait and
    /// try again.
    pub async fn connect(settings: &DatabaseSettings) -> Result<Self, StoreError> {
        let backend = Backend::of(&settings.url)?;
        let lock = match backend {
            Backend::Sqlite => Some(Arc::new(FileLock::take(&settings.url)?)),
            Backend::Postgres | Backend::MySql => None,
        };
        let mut options = connect_options(&settings.url, backend);
        options.max_connections(settings.pool.max(1));
        let db = Database::connect(options).await?;
        Ok(Self {
            db,
            url: Arc::from(settings.url.as_str()),
            backend,
            audit: AuditPolicy::default(),
            _lock: lock,
        })
    }

    /// Which kind of database this is.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when there is none.
    pub async fn ping(&self) -> Result<(), StoreError> {
        match tokio::time::timeout(ACQUIRE_TIMEOUT, self.db.ping()).await {
            Ok(answer) => Ok(answer?),
            Err(_elapsed) => Err(StoreError::Silent {
                after: ACQUIRE_TIMEOUT,
            }),
        }
    }

    /// Closes the connections that queries use.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database was away by then.
    pub async fn close(&self) -> Result<(), StoreError> {
        Ok(self.db.clone().close().await?)
    }

    /// One connection of its own, outside the pool, opened when it is first used.
    async fn own_connection(&self, tested: bool) -> Result<DatabaseConnection, StoreError> {
        let mut options = connect_options(&self.url, self.backend);
        options
            .max_connections(1)
            .min_connections(0)
            .test_before_acquire(tested)
            // sqlx would close it after ten minutes of silence or half an hour of life, and a
            // session's lock with it.
            .idle_timeout(FOR_EVER)
            .max_lifetime(FOR_EVER)
            .connect_lazy(true);
        Ok(Database::connect(options).await?)
    }
}

/// Longer than any process lives.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl Backend {
    fn of(url: &str) -> Result<Self, StoreError> {
        let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
        match scheme {
            "sqlite" => Ok(Self::Sqlite),
            "postgres" | "postgresql" => Ok(Self::Postgres),
            "mysql" | "mariadb" => Ok(Self::MySql),
            _ => Err(StoreError::Url {
                scheme: scheme.to_owned(),
            }),
        }
    }
}

fn connect_options(url: &str, backend: Backend) -> ConnectOptions {
    // SeaORM knows MariaDB under MySQL's name only.
    let url = match url.strip_prefix("mariadb:") {
        Some(rest) => format!("mysql:{rest}"),
        None => url.to_owned(),
    };
    let mut options = ConnectOptions::new(url);
    options
        .sqlx_logging(false)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_timeout(ACQUIRE_TIMEOUT);
    if backend == Backend::Sqlite {
        options.map_sqlx_sqlite_opts(dialect::sqlite_options);
    }
    options
}
