//! A service with a database: its effects are rows of a table of its own.

use amends::participant::{
    ActionOutcome, Barrier, Command, HandlerError, Phase, ReplyOutcome, ReplyTo, SagaId, Timestamp,
};
use sea_orm::sqlx::Executor as _;
use sea_orm::sqlx::mysql::MySqlPoolOptions;
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbErr, SqlxMySqlConnector,
};
use serde_json::json;
use support::database::{Kind, TestDatabase};

/// How many connections a service has.
const CONNECTIONS: u32 = 8;

pub(crate) struct Bed {
    pub(crate) kind: Kind,
    level: Option<&'static str>,
    database: TestDatabase,
    pub(crate) connection: DatabaseConnection,
    pub(crate) barrier: Barrier,
}

impl Bed {
    pub(crate) async fn new(kind: Kind) -> Self {
        Self::isolated(kind, None).await
    }

    /// Where transactions are isolated otherwise than by the server's default.
    pub(crate) async fn isolated(kind: Kind, level: Option<&'static str>) -> Self {
        let database = TestDatabase::fresh(kind);
        let connection = connect(database.url(), level, CONNECTIONS).await;
        let barrier = Barrier::new(connection.clone());
        barrier.create_table().await.unwrap();
        // It may be there already.
        barrier.create_table().await.unwrap();
        let effects = "CREATE TABLE effects (what VARCHAR(200) NOT NULL)";
        connection.execute_unprepared(effects).await.unwrap();
        Self {
            kind,
            level,
            database,
            connection,
            barrier,
        }
    }

    /// The barrier as another process of the service has it.
    pub(crate) async fn another(&self) -> Barrier {
        self.with_connections(CONNECTIONS).await
    }

    /// The barrier as a process has it that has so many connections.
    pub(crate) async fn with_connections(&self, connections: u32) -> Barrier {
        Barrier::new(connect(self.database.url(), self.level, connections).await)
    }

    /// How often this was done.
    pub(crate) async fn count(&self, what: &str) -> u64 {
        self.counted(&format!(
            "SELECT COUNT(*) AS n FROM effects WHERE what = '{what}'"
        ))
        .await
    }

    /// How many rows the barrier has.
    pub(crate) async fn kept(&self) -> u64 {
        self.counted("SELECT COUNT(*) AS n FROM amends_barrier")
            .await
    }

    async fn counted(&self, sql: &str) -> u64 {
        let backend = self.connection.get_database_backend();
        let statement = sea_orm::Statement::from_string(backend, sql);
        let row = self.connection.query_one(statement).await.unwrap().unwrap();
        row.try_get::<i64>("", "n").unwrap().try_into().unwrap()
    }
}

async fn connect(url: &str, level: Option<&'static str>, connections: u32) -> DatabaseConnection {
    if url.starts_with("mysql:") {
        let level = level.unwrap_or("REPEATABLE READ");
        let pool = MySqlPoolOptions::new()
            .max_connections(connections)
            .after_connect(move |connection, _| {
                let set = format!("SET SESSION TRANSACTION ISOLATION LEVEL {level}");
                Box::pin(async move { connection.execute(set.as_str()).await.map(|_| ()) })
            });
        return SqlxMySqlConnector::from_sqlx_mysql_pool(pool.connect(url).await.unwrap());
    }
    let url = match level {
        Some(level) => format!("{url}?options[default_transaction_isolation]={level}"),
        None if url.starts_with("sqlite:") => format!("{url}?mode=rwc"),
        None => url.to_owned(),
    };
    let mut options = ConnectOptions::new(url);
    options.max_connections(connections).sqlx_logging(false);
    Database::connect(options).await.unwrap()
}

pub(crate) fn action(saga: u128) -> Command {
    Command {
        name: "charge".to_owned(),
        saga: SagaId(uuid::Uuid::from_u128(saga)),
        definition: "order/1".to_owned(),
        step: "charge".to_owned(),
        phase: Phase::Action,
        attempt: 1,
        action_outcome: None,
        deadline: Timestamp(0),
        fence: 1,
        traceparent: None,
        tracestate: None,
        reply_to: ReplyTo::Answer,
        data: r#"{"amount":40}"#.to_owned(),
    }
}

pub(crate) fn compensation(saga: u128, known: ActionOutcome) -> Command {
    Command {
        phase: Phase::Compensation,
        action_outcome: Some(known),
        ..action(saga)
    }
}

/// Does something to the service's own data.
pub(crate) async fn effect(on: &impl ConnectionTrait, what: &str) -> Result<(), DbErr> {
    on.execute_unprepared(&format!("INSERT INTO effects (what) VALUES ('{what}')"))
        .await
        .map(|_| ())
}

/// A handler that does `what` and says so.
pub(crate) async fn done(
    on: &impl ConnectionTrait,
    what: &str,
) -> Result<ReplyOutcome, HandlerError> {
    effect(on, what).await?;
    Ok(succeeded(what))
}

pub(crate) fn succeeded(what: &str) -> ReplyOutcome {
    ReplyOutcome::Succeeded(json!({ "did": what }))
}
