//! A fresh database of a measurement's own, and what its server tells of it from outside: CPU,
//! commits, row writes, bytes.

use std::time::Duration;

use anyhow::{Context as _, Result};
use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, Statement};
use support::database::{Kind as SupportKind, TestDatabase};

use crate::arguments::{Arguments, Kind};
use crate::process::{self, CpuTimes};

/// A database, and a connection that watches it. Dropped with it.
#[derive(Debug)]
pub(crate) struct Watched {
    kind: Kind,
    connection: Option<DatabaseConnection>,
    database: TestDatabase,
}

/// What a server counts, since it began to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    /// Commits. Every look at the counters is one.
    pub(crate) commits: f64,
    /// Rows inserted, updated and deleted.
    pub(crate) row_writes: f64,
}

impl Counters {
    /// What was counted since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            commits: self.commits - before.commits,
            row_writes: self.row_writes - before.row_writes,
        }
    }
}

impl Watched {
    /// Makes an empty database.
    pub(crate) async fn fresh(kind: Kind, arguments: &Arguments) -> Result<Self> {
        let database = match kind {
            Kind::Sqlite => TestDatabase::fresh(SupportKind::Sqlite),
            Kind::Postgres => TestDatabase::on_postgres(&arguments.postgres),
            Kind::Mariadb => TestDatabase::fresh(SupportKind::MariaDb),
        };
        let connection = match kind {
            Kind::Sqlite => None,
            Kind::Postgres | Kind::Mariadb => Some(connect(database.url()).await?),
        };
        Ok(Self {
            kind,
            connection,
            database,
        })
    }

    /// The database, as `database.url` takes it.
    pub(crate) fn url(&self) -> &str {
        self.database.url()
    }

    /// What it holds on disk, indices included.
    pub(crate) async fn bytes(&self) -> Result<f64> {
        let sql = match self.kind {
            Kind::Sqlite => return self.sqlite_bytes().await,
            Kind::Postgres => "SELECT pg_database_size(current_database())::float8",
            Kind::Mariadb => {
                "SELECT CAST(COALESCE(SUM(FILE_SIZE), 0) AS DOUBLE) \
                 FROM information_schema.INNODB_SYS_TABLESPACES \
                 WHERE NAME LIKE CONCAT(DATABASE(), '/%')"
            }
        };
        self.number(sql).await
    }

    /// What the server counts; `None` where nobody does.
    pub(crate) async fn counters(&self) -> Result<Option<Counters>> {
        let (commits, row_writes) = match self.kind {
            Kind::Sqlite => return Ok(None),
            Kind::Postgres => (
                "SELECT xact_commit::float8 FROM pg_stat_database \
                 WHERE datname = current_database()",
                "SELECT COALESCE(SUM(n_tup_ins + n_tup_upd + n_tup_del), 0)::float8 \
                 FROM pg_stat_user_tables",
            ),
            Kind::Mariadb => (
                "SELECT CAST(VARIABLE_VALUE AS DOUBLE) FROM information_schema.GLOBAL_STATUS \
                 WHERE VARIABLE_NAME = 'HANDLER_COMMIT'",
                "SELECT SUM(CAST(VARIABLE_VALUE AS DOUBLE)) FROM information_schema.GLOBAL_STATUS \
                 WHERE VARIABLE_NAME IN ('HANDLER_WRITE', 'HANDLER_UPDATE', 'HANDLER_DELETE')",
            ),
        };
        Ok(Some(Counters {
            commits: self.number(commits).await?,
            row_writes: self.number(row_writes).await?,
        }))
    }

    /// The CPU times of the server's processes that work for this database; `None` where there is
    /// no server. PostgreSQL's are the sessions of this database and the processes that all
    /// share, so that what others do on the same server counts little; MariaDB's is the whole
    /// server.
    pub(crate) async fn cpu_ms(&self) -> Result<Option<CpuTimes>> {
        let sql = match self.kind {
            Kind::Sqlite => return Ok(None),
            Kind::Postgres => {
                "SELECT pid::text AS found FROM pg_stat_activity \
                 WHERE (datname = current_database() OR datname IS NULL) \
                 AND pid <> pg_backend_pid()"
            }
            Kind::Mariadb => "SELECT @@pid_file AS found",
        };
        let connection = self.connection()?;
        let rows = connection
            .query_all(Statement::from_string(
                connection.get_database_backend(),
                sql,
            ))
            .await?;
        let mut processes = Vec::new();
        for row in rows {
            let found: String = row.try_get("", "found")?;
            let process = match self.kind {
                Kind::Mariadb => std::fs::read_to_string(&found).unwrap_or_default(),
                Kind::Sqlite | Kind::Postgres => found,
            };
            processes.extend(process.trim().parse::<u32>().ok());
        }
        let times = process::cpu_ms(processes);
        Ok((!times.is_empty()).then_some(times))
    }

    async fn number(&self, sql: &str) -> Result<f64> {
        number(self.connection()?, sql).await
    }

    fn connection(&self) -> Result<&DatabaseConnection> {
        self.connection.as_ref().context("no server")
    }

    /// Asked over a connection, since what the log holds may not be in the file yet.
    async fn sqlite_bytes(&self) -> Result<f64> {
        let connection = connect(&format!("{}?mode=ro", self.url())).await?;
        let pages = number(&connection, "SELECT page_count FROM pragma_page_count()").await;
        let size = number(&connection, "SELECT page_size FROM pragma_page_size()").await;
        connection.close().await?;
        Ok(pages? * size?)
    }
}

/// The only number of the only row.
async fn number(connection: &DatabaseConnection, sql: &str) -> Result<f64> {
    let row = connection
        .query_one(Statement::from_string(
            connection.get_database_backend(),
            sql,
        ))
        .await?
        .context("one row")?;
    // SQLite has integers here.
    row.try_get_by_index(0)
        .or_else(|_| row.try_get_by_index::<i64>(0).map(|number| number as f64))
        .context("one number")
}

/// One connection, which asks nothing but what it is told to.
pub(crate) async fn connect(url: &str) -> Result<DatabaseConnection> {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(1)
        .test_before_acquire(false)
        .acquire_timeout(Duration::from_secs(10))
        .sqlx_logging(false);
    Ok(Database::connect(options).await?)
}
