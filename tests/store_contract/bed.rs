//! A database for one test, and entries to fill it with.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use amends::saga::id::{SagaId, Timestamp};
use amends::saga::outcome::Status;
use amends::store::{
    AppendError, Appended, DatabaseSettings, Entry, Journal, Lease, ReplicaInfo, StartKey,
    StartRecord, Store, SummaryWrite, Transition,
};
use amends::telemetry::Metrics;
use futures_util::FutureExt;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
    MariaDb,
}

/// The database of one test.
pub(crate) struct Bed {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    pub(crate) store: Store,
    pub(crate) tracker: TaskTracker,
    pub(crate) stop: CancellationToken,
    _directory: tempfile::TempDir,
}

/// The wait for anything at all has a limit.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test in a fresh database and drops it, whatever came of the test.
pub(crate) async fn run<F, T>(kind: Kind, test: F)
where
    F: FnOnce(Arc<Bed>) -> T,
    T: Future<Output = ()>,
{
    let directory = tempfile::tempdir().unwrap();
    let name = fresh_name();
    let (url, admin) = match kind {
        Kind::Sqlite => (
            format!("sqlite://{}", directory.path().join("amends.db").display()),
            None,
        ),
        Kind::Postgres | Kind::MariaDb => {
            let base = server(kind);
            let admin = Database::connect(base.as_str())
                .await
                .unwrap_or_else(|error| panic!("no {kind:?} at {base}: {error}"));
            admin
                .execute_unprepared(&format!("CREATE DATABASE {name}"))
                .await
                .unwrap();
            (with_database(&base, &name), Some(admin))
        }
    };
    let store = connect(&url).await;
    store.migrate().await.unwrap();
    let bed = Arc::new(Bed {
        kind,
        url,
        store,
        tracker: TaskTracker::new(),
        stop: CancellationToken::new(),
        _directory: directory,
    });
    let outcome = tokio::time::timeout(
        PATIENCE,
        AssertUnwindSafe(test(Arc::clone(&bed))).catch_unwind(),
    )
    .await;
    bed.stop.cancel();
    bed.tracker.close();
    let ended = tokio::time::timeout(Duration::from_secs(20), bed.tracker.wait()).await;
    bed.store.close().await.unwrap();
    if let Some(admin) = admin {
        let force = if kind == Kind::Postgres {
            " WITH (FORCE)"
        } else {
            ""
        };
        admin
            .execute_unprepared(&format!("DROP DATABASE {name}{force}"))
            .await
            .unwrap();
    }
    match outcome {
        Ok(Ok(())) => ended.expect("the journal ends when it is told to"),
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(_elapsed) => panic!("the test took longer than {PATIENCE:?}"),
    }
}

fn fresh_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let nanos = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("amends_test_{}_{nanos}_{next}", std::process::id())
}

#[expect(clippy::disallowed_methods, reason = "where the database servers are")]
fn server(kind: Kind) -> String {
    let (variable, usual) = match kind {
        Kind::MariaDb => ("AMENDS_TEST_MARIADB", "mysql://root@127.0.0.1:3306/test"),
        Kind::Postgres | Kind::Sqlite => (
            "AMENDS_TEST_POSTGRES",
            "postgres://postgres@127.0.0.1:5432/postgres",
        ),
    };
    std::env::var_os(variable).map_or(usual.to_owned(), |url| url.into_string().unwrap())
}

fn with_database(base: &str, name: &str) -> String {
    let mut url = url::Url::parse(base).unwrap();
    url.set_path(name);
    url.to_string()
}

pub(crate) async fn connect(url: &str) -> Store {
    let settings = DatabaseSettings {
        url: url.to_owned(),
        pool: 5,
    };
    Store::connect(&settings).await.unwrap()
}

pub(crate) fn replica(n: u128) -> Uuid {
    Uuid::from_u128((0x0198_0000_0000_7000_8000 << 48) + n)
}

pub(crate) fn info() -> ReplicaInfo {
    ReplicaInfo {
        address: "http://127.0.0.1:8080".to_owned(),
        version: "0.1.0".to_owned(),
        role: "active".to_owned(),
    }
}

/// A time to begin with: 2026-01-01.
pub(crate) const T0: i64 = 1_767_225_600_000;

/// The id of a saga started `n` milliseconds after [`T0`].
pub(crate) fn saga(n: u32) -> SagaId {
    let ms = u128::from(T0.unsigned_abs()) + u128::from(n);
    SagaId(Uuid::from_u128(
        (ms << 80) | (7 << 76) | (2 << 62) | u128::from(n),
    ))
}

pub(crate) fn summary(n: u32, status: Status) -> SummaryWrite {
    SummaryWrite {
        definition: "order".to_owned(),
        version: 1,
        key: None,
        status,
        suspended: false,
        overdue: false,
        failure: None,
        created_at: Timestamp(T0 + i64::from(n)),
        finished_at: None,
        deadline: None,
        wake_at: Some(Timestamp(T0 + i64::from(n))),
    }
}

/// The start of saga `n`.
pub(crate) fn start(n: u32) -> Entry {
    Entry {
        saga: saga(n),
        shard: 0,
        transition: transition(n, 1, 1),
        summary: Some(summary(n, Status::Running)),
        start: Some(StartRecord {
            key: None,
            labels: BTreeMap::new(),
            withdrawn: Arc::new(AtomicBool::new(false)),
        }),
        audit: Vec::new(),
        inbox: None,
    }
}

/// The start of saga `n` with an `Idempotency-Key`.
pub(crate) fn keyed(n: u32, key: &str, digest: u8) -> Entry {
    let mut entry = start(n);
    entry.start.as_mut().unwrap().key = Some(StartKey {
        key: key.to_owned(),
        digest: [digest; 32],
    });
    entry
}

/// A later transition of saga `n`.
pub(crate) fn step(n: u32, seq: u64) -> Entry {
    Entry {
        saga: saga(n),
        shard: 0,
        transition: transition(n, seq, 1),
        summary: None,
        start: None,
        audit: Vec::new(),
        inbox: None,
    }
}

pub(crate) fn transition(n: u32, seq: u64, count: u32) -> Transition {
    Transition {
        seq,
        at: Timestamp(T0 + i64::from(n) + i64::try_from(seq).unwrap()),
        events: format!(r#"[{{"type":"step_succeeded","note":"żółć \"{n}\" {seq}"}}]"#),
        count,
    }
}

pub(crate) fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new([]).unwrap())
}

impl Bed {
    pub(crate) async fn lease(&self, n: u128, lease_ms: u64) -> Arc<Lease> {
        Arc::new(
            self.store
                .register(replica(n), &info(), lease_ms, 4)
                .await
                .unwrap(),
        )
    }

    pub(crate) fn journal(&self, lease: &Arc<Lease>) -> Journal {
        Journal::start(
            &self.store,
            Arc::clone(lease),
            metrics(),
            &self.tracker,
            self.stop.child_token(),
        )
    }

    /// A lease that holds all shards, and a journal under it.
    pub(crate) async fn writer(&self) -> Journal {
        let lease = self.lease(1, 60_000).await;
        lease.claim().await.unwrap();
        self.journal(&lease)
    }

    /// A plain connection, for what the store has no words for.
    pub(crate) async fn raw(&self) -> DatabaseConnection {
        Database::connect(self.url.as_str()).await.unwrap()
    }
}

/// Appends them all at once and waits for each.
pub(crate) async fn append_all(
    journal: &Journal,
    entries: impl IntoIterator<Item = Entry>,
) -> Vec<Result<Appended, AppendError>> {
    let receipts: Vec<_> = entries
        .into_iter()
        .map(|entry| journal.append(entry))
        .collect();
    futures_util::future::join_all(receipts).await
}

pub(crate) async fn write_all(journal: &Journal, entries: impl IntoIterator<Item = Entry>) {
    for outcome in append_all(journal, entries).await {
        assert_eq!(outcome.unwrap(), Appended::Written);
    }
}
