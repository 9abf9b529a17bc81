//! The drain (operations.md): under load again and again, by signal and by `POST /drain`, and what a
//! second signal does.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may"
)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use support::api::{Api, send};
use support::coordinator::{Coordinator, Settings};
use support::database::{Kind, TestDatabase};
use support::definitions::Definitions;
use support::ledger::{Faults, Ledger};
use support::scripted::{Reply, Scripted};

const BINARY: &str = env!("CARGO_BIN_EXE_amends");
const LONG: Duration = Duration::from_secs(30);
/// How often the coordinator is drained.
const ROUNDS: usize = 20;
/// How many clients start sagas all the while.
const CLIENTS: usize = 12;
/// How many sagas a client starts one after another, and how long it pauses before each further one.
const AT_ONCE: usize = 2;
const PAUSE: Duration = Duration::from_millis(200);
/// How long all that was left may take in the end.
const ALL_DONE: Duration = Duration::from_secs(120);
/// How long an exchange with the participant takes, unless it is quick.
const EXCHANGE: Duration = Duration::from_millis(60);
/// `engine.drain_timeout`, and with it how long a drain may take in all.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

const ORDER: &str = "
name: order
version: 1
steps:
  - { id: reserve, participant: ledger, action: { command: reserve },
      compensation: { command: release } }
  - { id: insure, participant: ledger, after: [], action: { command: insure },
      compensation: { command: cancel } }
  - { id: pause, after: [reserve, insure], delay: 50ms }
  - { id: charge, participant: ledger, action: { command: charge },
      compensation: { command: refund } }
  - { id: ship, participant: ledger, action: { command: ship }, compensation: { command: halt } }
";
const STEPS: &[&str] = &["reserve", "insure", "charge", "ship"];

const PROBE: &str = "
name: probe
version: 1
steps:
  - { id: ask, participant: probe, timeout: 60s, action: { post: /ask },
      compensation: { post: /undo } }
";

/// How a coordinator is drained.
#[derive(Clone, Copy)]
enum Way {
    Terminate,
    Interrupt,
    /// What a preStop hook does: `POST /drain`, and SIGTERM when it is answered.
    Hook,
}

/// Starts sagas until the drain tells it to go away. Gives the ids of those that were accepted.
async fn client(api: &Api, over: &AtomicBool) -> Vec<String> {
    let mut accepted = Vec::new();
    while !over.load(Ordering::Relaxed) {
        // A quick machine would start far more than a slow participant does in twenty rounds.
        if accepted.len() >= AT_ONCE {
            tokio::time::sleep(PAUSE).await;
        }
        match api.start("order", &Value::Null, None).await {
            Ok(answer) if answer.status == 202 => accepted.push(answer.id()),
            Ok(answer) => {
                assert_eq!(answer.status, 503, "{}", answer.body);
                assert_eq!(answer.code(), "draining", "{}", answer.body);
                // A client of a service would turn to another replica now.
                assert_eq!(answer.header("connection"), "close");
                assert!(!answer.header("retry-after").is_empty());
                break;
            }
            // The process has ended. An answer that was begun is never cut off.
            Err(error) if error.is_connect() => break,
            Err(error) => panic!("cut off: {error:?}"),
        }
    }
    accepted
}

async fn drain(coordinator: &mut Coordinator, way: Way) {
    let begun = Instant::now();
    match way {
        Way::Terminate => coordinator.signal("TERM"),
        Way::Interrupt => coordinator.signal("INT"),
        Way::Hook => {
            let url = coordinator.management_url("/drain");
            let answer = send(coordinator.api().client().post(url)).await;
            let answer = answer.expect("an answer");
            assert_eq!(answer.status, 200);
            assert_eq!(answer.body["unanswered_calls"], 0, "{}", answer.body);
            let readiness = coordinator.readiness().await;
            assert_eq!(readiness, Some((503, "draining".to_owned())));
            coordinator.signal("TERM");
        }
    }
    let status = support::eventually("the end of the process", DRAIN_TIMEOUT, async || {
        coordinator.exit_status()
    })
    .await;
    assert_eq!(status.code(), Some(0), "{}", coordinator.log());
    let took = begun.elapsed();
    assert!(took < DRAIN_TIMEOUT, "the drain took {took:?}");
}

async fn twenty_drains_under_load(kind: Kind) {
    let ledger = Ledger::start(Faults {
        slow: 0.7,
        slow_by: EXCHANGE,
        ..Faults::default()
    });
    let database = TestDatabase::fresh(kind);
    let definitions = Definitions::of(&[ORDER]);
    let settings = Settings::new(BINARY, database.url(), definitions.path())
        .participant("ledger", ledger.url("ledger"))
        .key(
            "engine.drain_timeout",
            format!("{}s", DRAIN_TIMEOUT.as_secs()),
        );
    let mut coordinator = Coordinator::start(settings).await;
    let mut sagas = Vec::new();
    for round in 0..ROUNDS {
        let api = coordinator.api();
        let over = AtomicBool::new(false);
        let calls = ledger.calls();
        let draining = async {
            support::eventually("calls under way", LONG, async || {
                (ledger.calls() > calls + 40).then_some(())
            })
            .await;
            let way = [Way::Terminate, Way::Hook, Way::Interrupt][round % 3];
            drain(&mut coordinator, way).await;
            over.store(true, Ordering::Relaxed);
        };
        let clients = join_all((0..CLIENTS).map(|_| client(&api, &over)));
        let (accepted, ()) = join(clients, draining).await;
        sagas.extend(accepted.into_iter().flatten());
        coordinator.restart().await;
    }
    let api = coordinator.api();
    let mut wrong = ledger.violations();
    for id in &sagas {
        let end = api.settled(id, ALL_DONE).await;
        if end["status"] != "completed" {
            wrong.push(format!("it ended as {end}"));
        }
        wrong.extend(ledger.wrong_with(id, true, STEPS));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Every exchange was given its time: what was answered was recorded, and nothing sent again.
    let steps = sagas.len() * STEPS.len();
    assert_eq!(ledger.calls(), u64::try_from(steps).expect("a few"));
    eprintln!("{kind:?}: {} sagas over {ROUNDS} drains", sagas.len());
    assert!(sagas.len() > 10 * ROUNDS, "only {} sagas", sagas.len());
}

#[tokio::test]
async fn twenty_drains_under_load_lose_and_repeat_nothing_on_sqlite() {
    twenty_drains_under_load(Kind::Sqlite).await;
}

#[tokio::test]
async fn twenty_drains_under_load_lose_and_repeat_nothing_on_postgres() {
    twenty_drains_under_load(Kind::Postgres).await;
}

/// A coordinator with a call under way that is not answered.
async fn with_a_silent_call(drain_timeout: &str) -> (Scripted, TestDatabase, Coordinator, String) {
    let probe = Scripted::start(|_| Reply::Silence);
    let database = TestDatabase::fresh(Kind::Sqlite);
    let definitions = Definitions::of(&[PROBE]);
    let settings = Settings::new(BINARY, database.url(), definitions.path())
        .participant("probe", probe.url("probe"))
        .key("engine.drain_timeout", drain_timeout);
    let coordinator = Coordinator::start(settings).await;
    let started = coordinator.api().start("probe", &Value::Null, None).await;
    let id = started.expect("an answer").id();
    support::eventually("the call", LONG, async || {
        (probe.asked().len() == 1).then_some(())
    })
    .await;
    (probe, database, coordinator, id)
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let (_probe, _database, mut coordinator, id) = with_a_silent_call("60s").await;
    coordinator.signal("TERM");
    coordinator.wait_for("draining", LONG).await;
    coordinator.signal("TERM");
    let limit = Duration::from_secs(5);
    let status = support::eventually("the end", limit, async || coordinator.exit_status()).await;
    assert_eq!(status.code(), Some(1), "{}", coordinator.log());
    // What was left is there, as it was.
    coordinator.restart().await;
    let saga = coordinator.api().saga(&id).await.expect("an answer").body;
    assert_eq!(saga["status"], "running");
    assert_eq!(saga["steps"][0]["attempts"], 1);
}

/// `POST /drain` answers when its time is up, too; the process then goes on, not ready, until it is
/// told to end, and it still answers who reads.
#[tokio::test]
async fn a_drain_by_http_leaves_the_process_there() {
    let (probe, _database, mut coordinator, id) = with_a_silent_call("700ms").await;
    let api = coordinator.api();
    let url = coordinator.management_url("/drain");
    // The hook's client goes away after a moment; the drain goes on all the same.
    let impatient = api.client().post(&url).timeout(Duration::from_millis(100));
    assert!(send(impatient).await.expect_err("no answer").is_timeout());
    let readiness = coordinator.readiness().await;
    assert_eq!(readiness, Some((503, "draining".to_owned())));
    let refused = api.start("probe", &Value::Null, None).await;
    let refused = refused.expect("an answer");
    assert_eq!((refused.status.as_u16(), refused.code()), (503, "draining"));
    let cancel = format!("/sagas/{id}/cancel");
    let refused = api.post(&cancel, &json!({})).await.expect("an answer");
    assert_eq!((refused.status.as_u16(), refused.code()), (503, "draining"));

    let drained = send(api.client().post(&url)).await.expect("an answer");
    assert_eq!(drained.status, 200);
    assert_eq!(
        drained.body,
        json!({ "status": "drained", "unanswered_calls": 1 })
    );
    let again = Instant::now();
    let drained = send(api.client().post(&url)).await.expect("an answer");
    assert_eq!(drained.body["unanswered_calls"], 1);
    assert!(again.elapsed() < Duration::from_millis(600));
    let live = api.client().get(coordinator.management_url("/health/live"));
    assert_eq!(send(live).await.expect("an answer").status, 200);
    let saga = api.saga(&id).await.expect("an answer").body;
    assert_eq!(saga["status"], "running");

    let status = coordinator.stop(Duration::from_secs(5)).await;
    assert_eq!(status.code(), Some(0), "{}", coordinator.log());
    // The next owner sends what was not answered again.
    coordinator.restart().await;
    support::eventually("the same attempt", LONG, async || {
        (probe.asked().len() == 2).then_some(())
    })
    .await;
    let asked = probe.asked();
    assert_eq!(
        asked[0].header("idempotency-key"),
        asked[1].header("idempotency-key")
    );
    assert_eq!(asked[1].header("amends-attempt"), "1");
}

/// A process that is told to drain before it has started does not take traffic afterwards.
#[tokio::test]
async fn a_drain_before_the_start_is_kept() {
    let database = TestDatabase::fresh(Kind::Sqlite);
    let definitions = Definitions::of(&[PROBE]);
    // Its database does not answer, so it waits.
    let settings = Settings::new(BINARY, database.url(), definitions.path())
        .key("database.url", "postgres://nobody@127.0.0.1:1/nothing")
        .participant("probe", "http://127.0.0.1:1");
    let mut coordinator = Coordinator::spawn(settings);
    let url = coordinator.management_url("/drain");
    let client = coordinator.api().client().clone();
    let answer = support::eventually("the management port", LONG, async || {
        send(client.post(&url)).await.ok()
    })
    .await;
    assert_eq!(answer.body["status"], "drained");
    let readiness = coordinator.readiness().await;
    assert_eq!(readiness, Some((503, "draining".to_owned())));
    let status = coordinator.stop(Duration::from_secs(5)).await;
    assert_eq!(status.code(), Some(0), "{}", coordinator.log());
}
