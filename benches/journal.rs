//! What the journal's group commit costs beside the bare thing: entries a second by the number of
//! concurrent appenders, and the bare multi-row insert of as many rows through the same driver.
//!
//! `cargo bench --bench journal [-- sqlite postgres mariadb]`. The databases are found as the
//! contract tests find them; a table is printed, each figure the median of three runs with its
//! range.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints its table, and ends where it cannot go on"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use amends::saga::id::{SagaId, Timestamp};
use amends::saga::outcome::Status;
use amends::store::{
    AuditAction, AuditRecord, DatabaseSettings, Entry, Journal, ReplicaInfo, SYSTEM, StartRecord,
    Store, SummaryWrite, Transition,
};
use amends::telemetry::Metrics;
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, Statement, Value};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// How many appenders wait for their entries at the same time.
const APPENDERS: [u32; 4] = [1, 16, 64, 256];
/// How long each figure is measured.
const RUN: Duration = Duration::from_secs(2);
/// How often.
const RUNS: usize = 3;
/// Transitions of a saga, of which the first and the last write its summary.
const TRANSITIONS: u64 = 4;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    println!(
        "{:9} {:>9} {:>24} {:>9} {:>12} {:>24} {:>6}",
        "database",
        "appenders",
        "entries/s",
        "commits/s",
        "rows/commit",
        "bare insert, rows/s",
        "ratio"
    );
    for kind in ["sqlite", "postgres", "mariadb"] {
        if !wanted.is_empty() && !wanted.iter().any(|name| name == kind) {
            continue;
        }
        for appenders in APPENDERS {
            measure(kind, appenders).await;
        }
    }
}

async fn measure(kind: &str, appenders: u32) {
    let bed = Bed::make(kind).await;
    let mut journal_rates = Vec::new();
    let mut commit_rates = Vec::new();
    let mut rows = 0.0;
    for run in 0..RUNS {
        let before = bed.journal.counters();
        let begun = Instant::now();
        let appending = (0..appenders).map(|n| append_for(bed.journal.clone(), n, run));
        futures_util::future::join_all(appending).await;
        let seconds = begun.elapsed().as_secs_f64();
        let after = bed.journal.counters();
        journal_rates.push(per(after.events - before.events, seconds));
        commit_rates.push(per(after.commits - before.commits, seconds));
        rows = per(after.rows - before.rows, 1.0) / per(after.commits - before.commits, 1.0);
    }
    let mut bare_rates = Vec::new();
    for run in 0..RUNS {
        bare_rates.push(bed.bare(appenders, run).await);
    }
    let (entries, bare) = (median(&mut journal_rates), median(&mut bare_rates));
    println!(
        "{kind:9} {appenders:>9} {:>24} {:>9.0} {rows:>12.1} {:>24} {:>6.2}",
        spread(entries, &journal_rates),
        median(&mut commit_rates),
        spread(bare, &bare_rates),
        entries / bare
    );
    bed.end().await;
}

/// Sagas one after the other, each transition awaited before the next.
async fn append_for(journal: Journal, appender: u32, run: usize) {
    let begun = Instant::now();
    let mut n = 0_u128;
    while begun.elapsed() < RUN {
        let saga = (u128::from(appender) << 96) + ((run as u128) << 64) + n;
        n += 1;
        for seq in 1..=TRANSITIONS {
            journal.append(entry(saga, seq)).await.unwrap();
        }
    }
}

fn entry(saga: u128, seq: u64) -> Entry {
    let at = Timestamp(1_767_225_600_000);
    let (first, last) = (seq == 1, seq == TRANSITIONS);
    let summary = (first || last).then(|| SummaryWrite {
        definition: "order_fulfilment".to_owned(),
        version: 1,
        key: Some("ORD-12345".to_owned()),
        status: if last {
            Status::Completed
        } else {
            Status::Running
        },
        suspended: false,
        overdue: false,
        failure: None,
        created_at: at,
        finished_at: last.then_some(at),
        deadline: None,
        wake_at: first.then_some(at),
    });
    let start = first.then(|| StartRecord {
        key: None,
        labels: Default::default(),
        withdrawn: Arc::default(),
    });
    Entry {
        saga: SagaId(Uuid::from_u128(saga)),
        shard: 0,
        transition: Transition {
            seq,
            at,
            events: payload(),
            count: 1,
        },
        summary,
        start,
        audit: audited(SagaId(Uuid::from_u128(saga)), at, first, last),
        inbox: None,
    }
}

/// A saga that completes is audited at its start and at its end.
fn audited(saga: SagaId, at: Timestamp, first: bool, last: bool) -> Vec<AuditRecord> {
    let (action, actor) = match (first, last) {
        (true, _) => (AuditAction::SagaStarted, "shop"),
        (_, true) => (AuditAction::SagaCompleted, SYSTEM),
        (false, false) => return Vec::new(),
    };
    let mut record =
        AuditRecord::new(action, at, actor, None).of_definition("order_fulfilment", Some(1));
    record.saga = Some(saga);
    vec![record]
}

fn payload() -> String {
    r#"[{"type":"step_succeeded","step":"reserve_stock","output":{"reservation":"R-1","items":3}}]"#
        .to_owned()
}

/// A database made for one line of the table.
struct Bed {
    url: String,
    name: String,
    admin: Option<DatabaseConnection>,
    store: Store,
    journal: Journal,
    bare: DatabaseConnection,
    stop: CancellationToken,
    tracker: TaskTracker,
    _directory: tempfile::TempDir,
}

impl Bed {
    async fn make(kind: &str) -> Self {
        let directory = tempfile::tempdir_in(".").unwrap();
        let name = format!("amends_bench_{}", std::process::id());
        let (url, admin) = if kind == "sqlite" {
            (
                format!("sqlite://{}", directory.path().join("amends.db").display()),
                None,
            )
        } else {
            let base = server(kind);
            let admin = Database::connect(base.as_str()).await.unwrap();
            admin
                .execute_unprepared(&format!("CREATE DATABASE {name}"))
                .await
                .unwrap();
            let mut url = url::Url::parse(&base).unwrap();
            url.set_path(&name);
            (url.to_string(), Some(admin))
        };
        let store = Store::connect(&DatabaseSettings {
            url: url.clone(),
            pool: 2,
        })
        .await
        .unwrap();
        store.migrate().await.unwrap();
        let info = ReplicaInfo {
            address: String::new(),
            version: String::new(),
            role: "active".to_owned(),
        };
        let lease = Arc::new(
            store
                .register(Uuid::from_u128(1), &info, 600_000, 1)
                .await
                .unwrap(),
        );
        lease.claim().await.unwrap();
        let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
        let metrics = Arc::new(Metrics::new([]).unwrap());
        let journal = Journal::start(&store, lease, metrics, &tracker, stop.clone());
        let bare = bare_table(kind, &url).await;
        Self {
            url,
            name,
            admin,
            store,
            journal,
            bare,
            stop,
            tracker,
            _directory: directory,
        }
    }

    /// One insert of `rows` rows after the other, no transaction around, no fence, no index.
    async fn bare(&self, rows: u32, run: usize) -> f64 {
        let backend = self.bare.get_database_backend();
        let marks = (0..rows)
            .map(|row| match backend {
                sea_orm::DbBackend::Postgres => {
                    let first = row * 5 + 1;
                    let marks: Vec<String> =
                        (first..first + 5).map(|mark| format!("${mark}")).collect();
                    format!("({})", marks.join(", "))
                }
                sea_orm::DbBackend::MySql | sea_orm::DbBackend::Sqlite => {
                    "(?, ?, ?, ?, ?)".to_owned()
                }
            })
            .collect::<Vec<_>>()
            .join(", ");
        let sql =
            format!("INSERT INTO bare (saga_id, seq, at, events_count, events) VALUES {marks}");
        let begun = Instant::now();
        let mut written = 0_u64;
        while begun.elapsed() < RUN {
            let mut values: Vec<Value> = Vec::new();
            for _ in 0..rows {
                written += 1;
                let id = ((run as u128) << 96) + u128::from(written);
                values.extend([
                    Uuid::from_u128(id).into(),
                    1_i64.into(),
                    1_767_225_600_000_i64.into(),
                    1_i32.into(),
                    payload().into(),
                ]);
            }
            self.bare
                .execute(Statement::from_sql_and_values(
                    backend,
                    sql.as_str(),
                    values,
                ))
                .await
                .unwrap();
        }
        per(written, begun.elapsed().as_secs_f64())
    }

    async fn end(self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
        self.bare.close().await.unwrap();
        self.store.close().await.unwrap();
        if let Some(admin) = self.admin {
            let force = if self.url.starts_with("postgres") {
                " WITH (FORCE)"
            } else {
                ""
            };
            admin
                .execute_unprepared(&format!("DROP DATABASE {}{force}", self.name))
                .await
                .unwrap();
        }
    }
}

/// A connection like the journal's, with a table that has no index but its key.
async fn bare_table(kind: &str, url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(1)
        .sqlx_logging(false)
        .test_before_acquire(false);
    if kind == "sqlite" {
        options.map_sqlx_sqlite_opts(|options| {
            options
                .journal_mode(sea_orm::sqlx::sqlite::SqliteJournalMode::Wal)
                .synchronous(sea_orm::sqlx::sqlite::SqliteSynchronous::Full)
        });
    }
    let bare = Database::connect(options).await.unwrap();
    let key = "(saga_id, seq)";
    let (id, text) = match kind {
        "postgres" => ("uuid", "text"),
        "mariadb" => ("binary(16)", "longtext"),
        _ => ("blob", "text"),
    };
    bare.execute_unprepared(&format!(
        "CREATE TABLE bare (saga_id {id} NOT NULL, seq bigint NOT NULL, at bigint NOT NULL, \
         events_count integer NOT NULL, events {text} NOT NULL, PRIMARY KEY {key})"
    ))
    .await
    .unwrap();
    bare
}

#[expect(clippy::disallowed_methods, reason = "where the database servers are")]
fn server(kind: &str) -> String {
    let (variable, usual) = match kind {
        "mariadb" => ("AMENDS_TEST_MARIADB", "mysql://root@127.0.0.1:3306/test"),
        _ => (
            "AMENDS_TEST_POSTGRES",
            "postgres://postgres@127.0.0.1:5432/postgres",
        ),
    };
    std::env::var_os(variable).map_or(usual.to_owned(), |url| url.into_string().unwrap())
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a rate needs no more than 52 bits"
)]
fn per(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

fn spread(middle: f64, sorted: &[f64]) -> String {
    let least = sorted.first().copied().unwrap_or_default();
    let most = sorted.last().copied().unwrap_or_default();
    format!("{middle:.0} ({least:.0}–{most:.0})")
}
