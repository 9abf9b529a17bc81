//! A fresh database for each test.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sea_orm::{ConnectOptions, ConnectionTrait as _, Database};
use tempfile::TempDir;

use crate::block_on;

/// Where databases are made, and by whom.
const POSTGRES: (&str, &str) = (
    "AMENDS_TEST_POSTGRES",
    "postgres://postgres@127.0.0.1:5432/postgres",
);
const MARIADB: (&str, &str) = ("AMENDS_TEST_MARIADB", "mysql://root@127.0.0.1:3306/test");

/// The kinds of database that everything is tested on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file in a temporary directory.
    Sqlite,
    /// The server of `AMENDS_TEST_POSTGRES`.
    Postgres,
    /// The server of `AMENDS_TEST_MARIADB`.
    MariaDb,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Sqlite, Self::Postgres, Self::MariaDb];
}

/// A database of a test's own; dropped with it.
#[derive(Debug)]
pub struct TestDatabase {
    url: String,
    keeper: Keeper,
}

#[derive(Debug)]
enum Keeper {
    Directory { _kept: TempDir },
    Server { url: String, drop: String },
}

impl TestDatabase {
    /// Makes an empty database.
    ///
    /// # Panics
    /// When the server cannot be reached: a test that needs it must fail, not pass unseen.
    #[must_use]
    pub fn fresh(kind: Kind) -> Self {
        match kind {
            Kind::Sqlite => {
                let directory = tempfile::tempdir().expect("a temporary directory");
                let path = directory.path().join("amends.db");
                Self {
                    url: format!("sqlite://{}", path.display()),
                    keeper: Keeper::Directory { _kept: directory },
                }
            }
            Kind::Postgres => Self::on_postgres(&server(POSTGRES)),
            Kind::MariaDb => {
                let name = fresh_name();
                Self::on_server(
                    &server(MARIADB),
                    &name,
                    format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"),
                    format!("DROP DATABASE IF EXISTS {name}"),
                )
            }
        }
    }

    /// Makes an empty database on the PostgreSQL server at `url`.
    ///
    /// # Panics
    /// When the server cannot be reached.
    #[must_use]
    pub fn on_postgres(url: &str) -> Self {
        let name = fresh_name();
        Self::on_server(
            url,
            &name,
            format!("CREATE DATABASE {name}"),
            format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
        )
    }

    fn on_server(url: &str, name: &str, create: String, drop: String) -> Self {
        block_on(execute(url, &create)).unwrap_or_else(|error| panic!("{url}: {error}"));
        let (server, query) = url
            .split_once('?')
            .map_or((url, None), |(a, b)| (a, Some(b)));
        let (host, _) = server.rsplit_once('/').expect("a URL with a database");
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        Self {
            url: format!("{host}/{name}{query}"),
            keeper: Keeper::Server {
                url: url.to_owned(),
                drop,
            },
        }
    }

    /// The database, as `database.url` takes it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        match &self.keeper {
            Keeper::Directory { .. } => {}
            Keeper::Server { url, drop } => {
                // A server that is gone by now has taken the database with it.
                if let Err(error) = block_on(execute(url, drop)) {
                    eprintln!("{url}: {error}");
                }
            }
        }
    }
}

async fn execute(url: &str, sql: &str) -> Result<(), sea_orm::DbErr> {
    let mut options = ConnectOptions::new(url);
    // A server that is down is tried until this is over.
    options
        .acquire_timeout(Duration::from_secs(10))
        .max_connections(1);
    let connection = Database::connect(options).await?;
    connection.execute_unprepared(sql).await?;
    connection.close().await
}

fn server((variable, default): (&str, &str)) -> String {
    std::env::var(variable).unwrap_or_else(|_unset| default.to_owned())
}

fn fresh_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let nanos = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .map_or(0, |elapsed| elapsed.as_nanos());
    format!("amends_test_{}_{number}_{nanos}", std::process::id())
}
