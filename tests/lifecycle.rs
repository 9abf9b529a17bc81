//! Starting, stopping, and what a restart finds.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may"
)]

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use support::coordinator::{Coordinator, Settings};
use support::database::{Kind, TestDatabase};
use support::definitions::Definitions;
use support::ledger::{Faults, Ledger};
use support::scripted::{Reply, Scripted};

const BINARY: &str = env!("CARGO_BIN_EXE_amends");
const LONG: Duration = Duration::from_secs(30);

const ORDER: &str = "
name: order
version: 1
steps:
  - { id: reserve, participant: ledger, action: { command: reserve },
      compensation: { command: release } }
  - { id: pause, delay: 200ms }
  - { id: charge, participant: ledger, action: { command: charge },
      compensation: { command: refund } }
  - { id: approval, wait: { signal: go, timeout: 1s }, on_failure: continue }
  - { id: ship, participant: ledger, action: { command: ship }, compensation: { command: halt } }
";
const STEPS: &[&str] = &["reserve", "charge", "ship"];

const PROBE: &str = "
name: probe
version: 1
retry: { max_attempts: 10, initial: 10ms, max: 20ms }
steps:
  - { id: ask, participant: probe, timeout: 20s, action: { post: /ask } }
";

const LONG_WAIT: &str = "
name: long_wait
version: 1
steps:
  - { id: rest, delay: '${ input.rest }' }
  - { id: done, participant: ledger, action: { command: done },
      compensation: { command: undone } }
";

fn answered() -> Reply {
    Reply::json(200, &json!({ "ok": true }))
}

async fn a_stop_loses_nothing(kind: Kind) {
    let ledger = Ledger::start(Faults {
        slow: 1.0,
        slow_by: Duration::from_millis(300),
        ..Faults::default()
    });
    let database = TestDatabase::fresh(kind);
    let definitions = Definitions::of(&[ORDER]);
    let settings = Settings::new(BINARY, database.url(), definitions.path())
        .participant("ledger", ledger.url("ledger"))
        .key("engine.drain_timeout", "5s");
    let mut coordinator = Coordinator::start(settings).await;
    let api = coordinator.api();
    let mut sagas = Vec::new();
    // Every second stop comes while starts are under way.
    for round in 0..3 {
        let starts = (0..30).map(|number| {
            let api = api.clone();
            async move {
                let key = format!("{round}-{number}");
                api.start("order", &Value::Null, Some(&key)).await
            }
        });
        let begun = Instant::now();
        let (answers, status) = tokio::join!(join_all(starts), async {
            support::eventually("calls", LONG, async || {
                (ledger.calls() > 20 * (round + 1)).then_some(())
            })
            .await;
            coordinator.stop(Duration::from_secs(6)).await
        });
        assert_eq!(status.code(), Some(0), "{}", coordinator.log());
        assert!(begun.elapsed() < Duration::from_secs(6));
        for answer in answers.into_iter().flatten() {
            match answer.status.as_u16() {
                202 => sagas.push(answer.id()),
                503 => assert_eq!(answer.code(), "draining"),
                _ => panic!("{} {}", answer.status, answer.body),
            }
        }
        coordinator.restart().await;
    }
    let mut wrong = ledger.violations();
    for id in &sagas {
        let end = api.settled(id, LONG).await;
        assert_eq!(end["status"], "completed", "{end}");
        wrong.extend(ledger.wrong_with(id, true, STEPS));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(sagas.len() > 30, "only {} sagas", sagas.len());
    // What was answered in time was not sent again.
    let calls = u64::try_from(sagas.len() * STEPS.len()).expect("a few");
    assert!(
        ledger.calls() <= calls + 3,
        "{} calls, {calls} steps",
        ledger.calls()
    );
}

#[tokio::test]
async fn a_stop_loses_nothing_on_sqlite() {
    a_stop_loses_nothing(Kind::Sqlite).await;
}

#[tokio::test]
async fn a_stop_loses_nothing_on_postgres() {
    a_stop_loses_nothing(Kind::Postgres).await;
}

#[tokio::test]
async fn a_stop_loses_nothing_on_mariadb() {
    a_stop_loses_nothing(Kind::MariaDb).await;
}

/// What was in flight is sent again as the same attempt, under the same key.
#[tokio::test]
async fn i2_a_restart_repeats_the_attempt_that_was_in_flight() {
    let seen = AtomicUsize::new(0);
    // The third attempt is in flight when the process ends, three times.
    let probe = Scripted::start(move |_| match seen.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => Reply::http(503, &[], ""),
        2..=4 => Reply::Silence,
        _ => answered(),
    });
    let database = TestDatabase::fresh(Kind::Sqlite);
    let definitions = Definitions::of(&[PROBE]);
    let settings = Settings::new(BINARY, database.url(), definitions.path())
        .participant("probe", probe.url("probe"))
        .key("engine.drain_timeout", "200ms");
    let mut coordinator = Coordinator::start(settings).await;
    let started = coordinator.api().start("probe", &Value::Null, None).await;
    let id = started.expect("an answer").id();
    for (times, kill) in [(3, true), (4, false), (5, true)] {
        support::eventually("the attempt", LONG, async || {
            (probe.asked().len() == times).then_some(())
        })
        .await;
        if kill {
            coordinator.kill();
        } else {
            // The drain's time is up before the participant answers.
            let status = coordinator.stop(Duration::from_secs(10)).await;
            assert_eq!(status.code(), Some(0), "{}", coordinator.log());
        }
        coordinator.restart().await;
    }
    let end = coordinator.api().settled(&id, LONG).await;
    assert_eq!(end["status"], "completed");
    assert_eq!(end["steps"][0]["attempts"], 3);
    let asked = probe.asked();
    let numbers: Vec<&str> = asked.iter().map(|a| a.header("amends-attempt")).collect();
    assert_eq!(numbers, ["1", "2", "3", "3", "3", "3"]);
    for asked in &asked {
        let key = format!("{id}:ask:action");
        assert_eq!(asked.header("idempotency-key"), key);
    }
    let fences: Vec<u64> = asked
        .iter()
        .map(|asked| asked.header("amends-fence").parse().expect("a number"))
        .collect();
    assert!(fences.is_sorted() && fences[2] < fences[5], "{fences:?}");
}

/// A retry's time and a wait's are recorded times: a restart does not begin them anew.
#[tokio::test]
async fn a_restart_keeps_the_times_of_waits() {
    let ledger = Ledger::start(Faults::default());
    let database = TestDatabase::fresh(Kind::Sqlite);
    let definitions = Definitions::of(&[LONG_WAIT]);
    let settings = Settings::new(BINARY, database.url(), definitions.path())
        .participant("ledger", ledger.url("ledger"));
    let mut coordinator = Coordinator::start(settings).await;
    let api = coordinator.api();
    let begun = Instant::now();
    let rest = json!({ "rest": "3s" });
    let id = api.start("long_wait", &rest, None).await;
    let id = id.expect("an answer").id();
    let until = |saga: &Value| saga["steps"][0]["next_attempt_at"].clone();
    let before = api.saga(&id).await.expect("an answer").body;
    coordinator.kill();
    coordinator.restart().await;
    let after = api.saga(&id).await.expect("an answer").body;
    assert_eq!(until(&after), until(&before));
    let end = api.settled(&id, LONG).await;
    assert_eq!(end["status"], "completed");
    let took = begun.elapsed();
    let expected = Duration::from_millis(2_900)..Duration::from_millis(4_500);
    assert!(expected.contains(&took), "took {took:?}");
}

/// Thousands that wait for an hour neither delay a start nor the one that is due.
#[tokio::test]
async fn long_waits_do_not_hold_up_a_restart() {
    const BATCHES: usize = 6;
    let ledger = Ledger::start(Faults::default());
    let database = TestDatabase::fresh(Kind::Sqlite);
    let definitions = Definitions::of(&[LONG_WAIT]);
    let settings = Settings::new(BINARY, database.url(), definitions.path())
        .participant("ledger", ledger.url("ledger"));
    let mut coordinator = Coordinator::start(settings).await;
    let api = coordinator.api();
    let one = json!({ "definition": "long_wait", "input": { "rest": "1h" } });
    let batch = json!({ "sagas": vec![one; 500] });
    for _ in 0..BATCHES {
        let answer = api.post("/sagas:batch", &batch).await.expect("an answer");
        let results = answer.body["results"].as_array().expect("results");
        assert!(results.iter().all(|result| result["status"] == 202));
        assert_eq!(results.len(), 500);
    }
    let begun = Instant::now();
    let short = json!({ "rest": "2s" });
    let due = api.start("long_wait", &short, None).await;
    let due = due.expect("an answer").id();
    coordinator.kill();
    let killed = Instant::now();
    coordinator.restart().await;
    let took = killed.elapsed();
    assert!(took < Duration::from_secs(3), "ready after {took:?}");
    let end = api.settled(&due, LONG).await;
    assert_eq!(end["status"], "completed");
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "due after {took:?}");
    assert_eq!(ledger.calls(), 1);

    // One of those that are not in memory takes a command all the same.
    let running = api.get("/sagas?status=running&limit=1").await;
    let running = running.expect("an answer").body["items"][0]["id"].clone();
    let running = running.as_str().expect("an id");
    let cancel = format!("/sagas/{running}/cancel");
    let cancelled = api.post(&cancel, &json!({})).await.expect("an answer");
    assert_eq!(cancelled.status, 202);
    let end = api.settled(running, LONG).await;
    assert_eq!(end["status"], "compensated");
}

/// Everything that is wrong is told at once, each thing by its key.
#[test]
fn a_bad_configuration_is_told_in_full() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("amends.yaml");
    let config = "
server: { listen: nowhere, max_body: lots, colour: red }
engine: { lease: 10ms, shards: many }
database: { url: 'oracle://x', pool: -1 }
participants:
  inventory: { url: 'ftp://inventory' }
  payment: { url: 'http://payment', timeout: soon, headers: { authorization: '${env:AMENDS_NO_SUCH}' } }
telemetry: { log: loud }
";
    std::fs::write(&file, config).expect("a file");
    let output = Command::new(BINARY)
        .args(["serve", "--config"])
        .arg(&file)
        .current_dir(directory.path())
        .env("AMENDS__SAGAS__STRICT", "perhaps")
        .env("AMENDS__ENGINE__NO_SUCH_KEY", "1")
        .output()
        .expect("the binary");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for key in [
        "server.listen",
        "server.max_body",
        "server.colour",
        "engine.lease",
        "engine.shards",
        "engine.no_such_key",
        "database.url",
        "database.pool",
        "participants.inventory.url",
        "participants.payment.timeout",
        "participants.payment.headers.authorization",
        "sagas.strict",
        "telemetry.log",
    ] {
        assert!(said.contains(key), "{key} is not told of:\n{said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

/// An API open to others has to be wanted in so many words.
#[test]
fn an_open_api_without_authentication_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = Command::new(BINARY)
        .args(["serve", "--listen", "0.0.0.0:0"])
        .current_dir(directory.path())
        .output()
        .expect("the binary");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("auth"), "{said}");
}

/// A bad definition is not served, the good ones are; a strict start is none.
#[tokio::test]
async fn a_bad_definition_stops_only_a_strict_start() {
    let database = TestDatabase::fresh(Kind::Sqlite);
    let definitions = Definitions::of(&[PROBE, "name: bad\nversion: 0\nsteps: []\n"]);
    let settings = Settings::new(BINARY, database.url(), definitions.path())
        .participant("probe", "http://127.0.0.1:1");
    let mut strict = Coordinator::spawn(settings.clone().key("sagas.strict", "true"));
    assert!(!strict.wait_ready().await);
    let code = strict.exit_status().and_then(|status| status.code());
    assert_eq!(code, Some(1), "{}", strict.log());

    let coordinator = Coordinator::start(settings).await;
    let listed = coordinator.api().get("/definitions").await;
    let listed = listed.expect("an answer").body;
    let names: Vec<&Value> = listed["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| &item["name"])
        .collect();
    assert_eq!(names, ["probe"]);
    assert!(
        coordinator.log().contains("1.yaml:2:"),
        "{}",
        coordinator.log()
    );
}
