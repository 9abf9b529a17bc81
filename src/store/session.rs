//! A connection that is more than a place in a pool: what is locked on it stays locked until the
//! connection ends.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection};

use super::dialect::column;
use super::{Backend, Store, StoreError};

/// How long a schema change by somebody else is waited for.
const MIGRATION_WAIT: Duration = Duration::from_secs(120);
/// The PostgreSQL advisory lock that migrations are made under: "amends", then a number.
const MIGRATION_KEY: i64 = 0x616d_656e_6473_0001;

/// The right to change the schema, until it is given back.
pub(super) struct MigrationTurn {
    session: Option<DatabaseConnection>,
}

impl MigrationTurn {
    /// Waits for it. On SQLite the lock on the file has given it already.
    pub(super) async fn take(store: &Store) -> Result<Self, StoreError> {
        let sql = match store.backend {
            Backend::Sqlite => return Ok(Self { session: None }),
            Backend::Postgres => {
                format!("SELECT CAST(pg_try_advisory_lock({MIGRATION_KEY}) AS int)::bigint AS held")
            }
            Backend::MySql => {
                "SELECT CAST(COALESCE(GET_LOCK(CONCAT('amends:', SHA1(DATABASE())), 0), 0) \
                 AS SIGNED) AS held"
                    .to_owned()
            }
        };
        let session = store.own_connection(false).await?;
        let waited = tokio::time::timeout(MIGRATION_WAIT, async {
            loop {
                let statement = store.backend.statement(&sql, Vec::new());
                let held: i64 = match session.query_one(statement).await? {
                    Some(row) => column(&row, "held")?,
                    None => 0,
                };
                if held == 1 {
                    return Ok::<(), StoreError>(());
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        match waited.await {
            Ok(taken) => taken.map(|()| Self {
                session: Some(session),
            }),
            Err(_elapsed) => Err(StoreError::MigrationBusy {
                after: MIGRATION_WAIT,
            }),
        }
    }

    /// Gives it back: the session ends, and its lock with it.
    pub(super) async fn end(self) -> Result<(), StoreError> {
        match self.session {
            Some(session) => Ok(session.close().await?),
            None => Ok(()),
        }
    }
}
