//! Two processes on one database: one runs the sagas, the other stands by and takes over.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test may")]

use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use support::api::{Answer, Api};
use support::coordinator::{Coordinator, Settings};
use support::database::{Kind, TestDatabase};
use support::definitions::Definitions;
use support::ledger::{Faults, Ledger};

const ORDER: &str = "
name: order
version: 1
steps:
  - { id: reserve, participant: ledger, action: { command: reserve },
      compensation: { command: release } }
  - { id: charge, participant: ledger, action: { command: charge },
      compensation: { command: refund } }
  - { id: ship, participant: ledger, pivot: true, action: { command: ship } }
";

const WAITING: &str = "
name: waiting
version: 1
steps:
  - { id: approval, wait: { signal: go } }
";

const STEPS: &[&str] = &["reserve", "charge", "ship"];
const LONG: Duration = Duration::from_secs(30);

/// A participant that takes its time, so that whatever is done to the coordinator comes in the
/// middle.
fn slow_ledger() -> Ledger {
    Ledger::start(Faults {
        slow: 1.0,
        slow_by: Duration::from_millis(400),
        ..Faults::default()
    })
}

struct Scene {
    ledger: Ledger,
    settings: Settings,
    _definitions: Definitions,
    database: TestDatabase,
}

impl Scene {
    fn new(kind: Kind, lease: Option<&str>) -> Self {
        let ledger = slow_ledger();
        let database = TestDatabase::fresh(kind);
        let definitions = Definitions::of(&[ORDER, WAITING]);
        let binary = env!("CARGO_BIN_EXE_amends");
        let mut settings = Settings::new(binary, database.url(), definitions.path())
            .participant("ledger", ledger.url("ledger"));
        if let Some(lease) = lease {
            settings = settings.key("engine.lease", lease);
        }
        Self {
            ledger,
            settings,
            _definitions: definitions,
            database,
        }
    }

    async fn pair(&self) -> (Coordinator, Coordinator) {
        let first = Coordinator::start(self.settings.clone()).await;
        let second = Coordinator::spawn(self.settings.clone());
        second.wait_for("standby", LONG).await;
        // Its API listens a moment after its management port does.
        support::eventually("the second's API", LONG, async || {
            second.api().get("/sagas").await.ok()
        })
        .await;
        (first, second)
    }

    /// All of these complete, each effect made once.
    async fn all_complete(&self, api: &Api, sagas: &[String]) {
        join_all(sagas.iter().map(|id| async move {
            let end = api.settled(id, LONG).await;
            assert_eq!(end["status"], "completed", "{end}");
        }))
        .await;
        let wrong: Vec<String> = sagas
            .iter()
            .flat_map(|id| self.ledger.wrong_with(id, true, STEPS))
            .chain(self.ledger.violations())
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

async fn start_orders(api: &Api, count: usize) -> Vec<String> {
    let starts = (0..count).map(|number| async move {
        let input = json!({ "number": number });
        let answer = api.start("order", &input, None).await.expect("an answer");
        assert_eq!(answer.status, 202, "{}", answer.body);
        answer.id()
    });
    join_all(starts).await
}

fn assert_not_ready(answer: &Answer) {
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert_eq!(answer.code(), "not_ready");
    assert_ne!(answer.header("retry-after"), "");
    assert_eq!(answer.header("content-type"), "application/problem+json");
}

async fn a_standby_only_reads(scene: &Scene) {
    let (first, second) = scene.pair().await;
    let started = first.api().start("waiting", &Value::Null, None).await;
    let id = started.expect("an answer").id();
    let api = second.api();

    assert_eq!(second.readiness().await, Some((503, "standby".to_owned())));
    let read = api.saga(&id).await.expect("an answer");
    assert_eq!((read.status.as_u16(), read.id()), (200, id.clone()));
    for path in [
        "/sagas",
        "/definitions",
        "/definitions/order",
        &format!("/sagas/{id}/events"),
    ] {
        let read = api.get(path).await.expect("an answer");
        assert_eq!(read.status, 200, "{path}: {}", read.body);
    }

    let start = json!({ "definition": "order" });
    // Commands, signals and replies are left for the owner: tests/callbacks/inbox.rs.
    let answer = api.post("/sagas", &start).await.expect("an answer");
    assert_not_ready(&answer);
    let batch = json!({ "sagas": [start] });
    let answer = api.post("/sagas:batch", &batch).await.expect("an answer");
    assert_eq!(answer.status, 207);
    assert_eq!(answer.body["results"][0]["problem"]["code"], "not_ready");

    // None of that has changed anything.
    let unchanged = first.api().saga(&id).await.expect("an answer").body;
    assert_eq!(unchanged["status"], "running");
    let all = first.api().get("/sagas").await.expect("an answer").body;
    assert_eq!(all["items"].as_array().map(Vec::len), Some(1));
}

async fn a_killed_owner_is_replaced(scene: &Scene, within: Duration) {
    let (mut first, second) = scene.pair().await;
    let sagas = start_orders(&first.api(), 20).await;
    first.kill();
    let killed = Instant::now();
    second.wait_for("ready", LONG).await;
    assert!(killed.elapsed() < within, "took {:?}", killed.elapsed());
    scene.all_complete(&second.api(), &sagas).await;
}

async fn journals(api: &Api, sagas: &[String]) -> Vec<Value> {
    let read = sagas.iter().map(|id| async move {
        let path = format!("/sagas/{id}/events?limit=500");
        api.get(&path).await.expect("an answer").body
    });
    join_all(read).await
}

/// It sleeps past its lease in the middle of its calls, and wakes up when another owns its sagas.
async fn i7_an_owner_that_was_frozen_writes_nothing(scene: &Scene) {
    let (first, second) = scene.pair().await;
    let sagas = start_orders(&first.api(), 20).await;
    first.signal("STOP");
    second.wait_for("ready", LONG).await;
    scene.all_complete(&second.api(), &sagas).await;
    let before = journals(&second.api(), &sagas).await;

    // It is the first thing that it finds when it wakes up.
    let frozen = first.api();
    let nobody = Value::Null;
    let (late, ()) = tokio::join!(frozen.start("order", &nobody, None), async {
        first.signal("CONT");
    });
    assert_not_ready(&late.expect("an answer"));
    first.wait_for("standby", LONG).await;
    let log = first.log();
    assert!(log.contains("the lease was lost"), "{log}");

    assert_eq!(journals(&second.api(), &sagas).await, before);
    let all = second.api().get("/sagas").await.expect("an answer").body;
    assert_eq!(all["items"].as_array().map(Vec::len), Some(sagas.len()));
    scene.all_complete(&first.api(), &sagas).await;
    assert_eq!(second.readiness().await, Some((200, "ready".to_owned())));
    let more = start_orders(&second.api(), 3).await;
    scene.all_complete(&second.api(), &more).await;
}

async fn a_restart_takes_over_at_once(scene: &Scene) {
    let mut only = Coordinator::start(scene.settings.clone()).await;
    let sagas = start_orders(&only.api(), 20).await;
    only.kill();
    let restarted = Instant::now();
    only.restart().await;
    let took = restarted.elapsed();
    assert!(took < Duration::from_secs(3), "took {took:?}");
    scene.all_complete(&only.api(), &sagas).await;
}

/// An owner that is told to end gives its shards back: nobody waits for its lease.
async fn a_stopped_owner_is_replaced_at_once(scene: &Scene) {
    let (mut first, second) = scene.pair().await;
    let sagas = start_orders(&first.api(), 20).await;
    let status = first.stop(LONG).await;
    assert_eq!(status.code(), Some(0), "{}", first.log());
    let stopped = Instant::now();
    second.wait_for("ready", LONG).await;
    let took = stopped.elapsed();
    assert!(took < Duration::from_secs(3), "took {took:?}");
    scene.all_complete(&second.api(), &sagas).await;
    // Each effect was asked for once: what was answered in the drain was not asked for again.
    let asked = u64::try_from(sagas.len() * STEPS.len()).expect("a few");
    assert_eq!(scene.ledger.calls(), asked);
}

/// Started at the same moment on an empty database, one owns it, and none gives up.
async fn one_of_several_owns(scene: &Scene) {
    let mut all: Vec<Coordinator> = (0..3)
        .map(|_| Coordinator::spawn(scene.settings.clone()))
        .collect();
    let words = support::eventually("one to own it", LONG, async || {
        let said = join_all(all.iter().map(Coordinator::readiness)).await;
        let words: Vec<String> = said
            .into_iter()
            .map(|said| said.map(|(_, word)| word))
            .collect::<Option<_>>()?;
        words.contains(&"ready".to_owned()).then_some(words)
    })
    .await;
    assert_eq!(
        words.iter().filter(|word| *word == "ready").count(),
        1,
        "{words:?}"
    );
    let owner = words.iter().position(|word| word == "ready").expect("one");
    let sagas = start_orders(&all[owner].api(), 5).await;
    scene.all_complete(&all[owner].api(), &sagas).await;
    for coordinator in &mut all {
        assert!(coordinator.exit_status().is_none(), "{}", coordinator.log());
    }
    let words = join_all(all.iter().map(Coordinator::readiness)).await;
    let ready = words.iter().flatten().filter(|(_, word)| word == "ready");
    assert_eq!(ready.count(), 1, "{words:?}");
}

#[tokio::test]
async fn a_standby_only_reads_on_postgres() {
    a_standby_only_reads(&Scene::new(Kind::Postgres, None)).await;
}

#[tokio::test]
async fn a_standby_only_reads_on_mariadb() {
    a_standby_only_reads(&Scene::new(Kind::MariaDb, None)).await;
}

/// The lease is ten seconds; the advisory lock tells sooner.
#[tokio::test]
async fn a_killed_owner_is_replaced_on_postgres() {
    let scene = Scene::new(Kind::Postgres, None);
    a_killed_owner_is_replaced(&scene, Duration::from_secs(4)).await;
}

#[tokio::test]
async fn a_killed_owner_is_replaced_on_mariadb() {
    let scene = Scene::new(Kind::MariaDb, Some("2s"));
    a_killed_owner_is_replaced(&scene, Duration::from_secs(6)).await;
}

#[tokio::test]
async fn i7_an_owner_that_was_frozen_writes_nothing_on_postgres() {
    i7_an_owner_that_was_frozen_writes_nothing(&Scene::new(Kind::Postgres, Some("1s"))).await;
}

#[tokio::test]
async fn i7_an_owner_that_was_frozen_writes_nothing_on_mariadb() {
    i7_an_owner_that_was_frozen_writes_nothing(&Scene::new(Kind::MariaDb, Some("1s"))).await;
}

#[tokio::test]
async fn a_restart_takes_over_at_once_on_sqlite() {
    a_restart_takes_over_at_once(&Scene::new(Kind::Sqlite, None)).await;
}

#[tokio::test]
async fn a_restart_takes_over_at_once_on_postgres() {
    a_restart_takes_over_at_once(&Scene::new(Kind::Postgres, None)).await;
}

#[tokio::test]
async fn sqlite_lets_one_process_in() {
    let scene = Scene::new(Kind::Sqlite, None);
    let first = Coordinator::start(scene.settings.clone()).await;
    let holder = first.process_id().to_string();

    let mut second = Coordinator::spawn(scene.settings.clone());
    assert!(!second.wait_ready().await, "there are two of them");
    let status = second.exit_status().and_then(|status| status.code());
    assert_eq!(status, Some(1), "{}", second.log());
    assert!(second.log().contains(&holder), "{}", second.log());

    let migrate = Command::new(env!("CARGO_BIN_EXE_amends"))
        .args(["migrate", "--database", scene.database.url()])
        .output()
        .expect("the binary");
    let said = String::from_utf8_lossy(&migrate.stderr);
    assert_eq!(migrate.status.code(), Some(1), "{said}");
    assert!(said.contains(&holder), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");

    let sagas = start_orders(&first.api(), 1).await;
    scene.all_complete(&first.api(), &sagas).await;
}

#[tokio::test]
async fn a_stopped_owner_is_replaced_at_once_on_postgres() {
    a_stopped_owner_is_replaced_at_once(&Scene::new(Kind::Postgres, None)).await;
}

#[tokio::test]
async fn a_stopped_owner_is_replaced_at_once_on_mariadb() {
    a_stopped_owner_is_replaced_at_once(&Scene::new(Kind::MariaDb, None)).await;
}

#[tokio::test]
async fn one_of_several_owns_on_postgres() {
    one_of_several_owns(&Scene::new(Kind::Postgres, None)).await;
}

#[tokio::test]
async fn one_of_several_owns_on_mariadb() {
    one_of_several_owns(&Scene::new(Kind::MariaDb, None)).await;
}
