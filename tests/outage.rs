//! The database goes away under load and comes back: sagas wait, nothing is lost, the process
//! lives.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test may")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{join, join_all};
use reqwest::Method;
use serde_json::json;
use support::api::{Answer, Api, send};
use support::coordinator::{Coordinator, Settings};
use support::database::TestDatabase;
use support::definitions::Definitions;
use support::ledger::{Faults, Ledger};
use support::postgres::PrivatePostgres;

const ORDER: &str = "
name: order
version: 1
retry: { initial: 50ms, max: 500ms }
compensation: { retry: { initial: 50ms, max: 500ms } }
steps:
  - { id: reserve, participant: ledger, timeout: 1s, action: { command: reserve },
      compensation: { command: release } }
  - { id: pause, delay: 500ms }
  - { id: charge, participant: ledger, timeout: 1s, action: { command: charge },
      compensation: { command: refund } }
";

const STEPS: &[&str] = &["reserve", "charge"];
const CLIENTS: usize = 12;
const LONG: Duration = Duration::from_secs(40);

/// A start by a client that does not give up; counts how often it was told to come back.
async fn insist(api: &Api, key: &str, refused: &mut Vec<Answer>) -> String {
    support::eventually(key, LONG, async || {
        let start = json!({ "definition": "order", "input": { "key": key } });
        let request = api.request(Method::POST, "/sagas").json(&start);
        let answer = send(request.header("idempotency-key", key)).await;
        let answer = answer.expect("the process lives");
        if answer.status == 202 {
            return Some(answer.id());
        }
        refused.push(answer);
        None
    })
    .await
}

async fn client(api: Api, number: usize, over: &AtomicBool) -> (Vec<String>, Vec<Answer>) {
    let (mut sagas, mut refused) = (Vec::new(), Vec::new());
    while !over.load(Ordering::Relaxed) {
        let key = format!("{number}-{}", sagas.len());
        let id = insist(&api, &key, &mut refused).await;
        // One saga at a time, as far as the first step.
        support::eventually("the first step", LONG, async || {
            let saga = api.saga(&id).await.expect("the process lives");
            let status = saga.body["steps"][0]["status"].as_str().map(str::to_owned);
            matches!(status?.as_str(), "succeeded" | "compensated" | "refused").then_some(())
        })
        .await;
        sagas.push(id);
    }
    (sagas, refused)
}

#[tokio::test]
async fn the_database_is_stopped_and_started_under_load() {
    let server = PrivatePostgres::start_new();
    let database = TestDatabase::on_postgres(&server.url());
    let ledger = Ledger::start(Faults {
        silent: 0.0,
        ..Faults::of_all_kinds(7)
    });
    let definitions = Definitions::of(&[ORDER]);
    let binary = env!("CARGO_BIN_EXE_amends");
    let settings = Settings::new(binary, database.url(), definitions.path())
        .participant("ledger", ledger.url("ledger"));
    let mut coordinator = Coordinator::start(settings).await;
    let api = coordinator.api();

    let over = AtomicBool::new(false);
    let clients = (0..CLIENTS).map(|number| client(api.clone(), number, &over));
    let outages = async {
        for stop in [PrivatePostgres::stop, PrivatePostgres::crash] {
            let calls = ledger.calls();
            support::eventually("some load", LONG, async || {
                (ledger.calls() > calls + 100).then_some(())
            })
            .await;
            stop(&server);
            coordinator.wait_for("database_unavailable", LONG).await;
            // Long enough for starts to run out of patience, and for the delays to end.
            let mut refused = Vec::new();
            support::eventually("a start that is refused", LONG, async || {
                let answer = api.start("order", &json!({}), None).await;
                refused.push(answer.expect("the process lives"));
                (refused.len() > 20).then_some(())
            })
            .await;
            refused.iter().for_each(assert_unavailable);
            server.start();
            coordinator.wait_for("ready", LONG).await;
        }
        over.store(true, Ordering::Relaxed);
    };
    let ((), started) = join(outages, join_all(clients)).await;
    assert!(coordinator.exit_status().is_none(), "it ended");

    let (sagas, refused): (Vec<_>, Vec<_>) = started.into_iter().unzip();
    refused.iter().flatten().for_each(assert_unavailable);
    let sagas: Vec<String> = sagas.into_iter().flatten().collect();
    let mut wrong = ledger.violations();
    for id in &sagas {
        let end = api.settled(id, LONG).await;
        let completed = end["status"] == "completed";
        assert!(completed || end["status"] == "compensated", "{end}");
        wrong.extend(ledger.wrong_with(id, completed, STEPS));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(sagas.len() > 50, "only {} sagas", sagas.len());
}

fn assert_unavailable(answer: &Answer) {
    assert_eq!(answer.status, 503, "{}", answer.body);
    // Who comes while it begins anew with the database is told so.
    assert!(
        ["database_unavailable", "not_ready"].contains(&answer.code()),
        "{}",
        answer.body
    );
    assert_ne!(answer.header("retry-after"), "");
}

/// Nothing is decided while the database is away, and so nobody is called.
#[tokio::test]
async fn i6_nobody_is_called_for_what_is_not_durable() {
    let server = PrivatePostgres::start_new();
    let database = TestDatabase::on_postgres(&server.url());
    let ledger = Ledger::start(Faults::default());
    let definitions = Definitions::of(&[ORDER]);
    let binary = env!("CARGO_BIN_EXE_amends");
    let settings = Settings::new(binary, database.url(), definitions.path())
        .participant("ledger", ledger.url("ledger"));
    let coordinator = Coordinator::start(settings).await;
    let api = coordinator.api();
    let in_time = api.start("order", &json!({}), None).await;
    let in_time = in_time.expect("an answer").id();
    support::eventually("the first call", LONG, async || {
        (ledger.calls() == 1).then_some(())
    })
    .await;
    server.stop();
    coordinator.wait_for("database_unavailable", LONG).await;
    // A read says so too, unless the saga is in memory.
    let listed = api.get("/sagas").await.expect("an answer");
    assert_unavailable(&listed);
    for _ in 0..5 {
        let refused = api.start("order", &json!({}), None).await;
        assert_unavailable(&refused.expect("an answer"));
    }
    // The delay of the saga is over by now, and its next step may not begin.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(ledger.calls(), 1);
    server.start();
    let end = api.settled(&in_time, LONG).await;
    assert_eq!(end["status"], "completed");
    assert_eq!(ledger.calls(), 2);
    let all = api.get("/sagas").await.expect("an answer").body;
    assert_eq!(all["items"].as_array().map(Vec::len), Some(1), "{all}");
}

#[tokio::test]
async fn a_database_that_is_not_there_yet_is_waited_for() {
    let server = PrivatePostgres::start_new();
    let database = TestDatabase::on_postgres(&server.url());
    server.stop();
    let definitions = Definitions::of(&[ORDER]);
    let binary = env!("CARGO_BIN_EXE_amends");
    let settings = Settings::new(binary, database.url(), definitions.path())
        .participant("ledger", "http://127.0.0.1:1");
    let mut coordinator = Coordinator::spawn(settings);
    support::eventually("it to say that it waits", LONG, async || {
        let said = coordinator.log();
        (said.matches("the database does not answer").count() >= 2).then_some(())
    })
    .await;
    let (status, _) = coordinator.readiness().await.expect("an answer");
    assert_eq!(status, 503);
    let live = coordinator.management_url("/health/live");
    let live = api_get(&coordinator, &live).await;
    assert_eq!(live.status, 200);
    server.start();
    assert!(coordinator.wait_ready().await, "{}", coordinator.log());
}

async fn api_get(coordinator: &Coordinator, url: &str) -> Answer {
    send(coordinator.api().client().get(url))
        .await
        .expect("an answer")
}

/// The server's restart ends every session: that must not make two owners.
#[tokio::test]
async fn after_an_outage_there_is_one_owner() {
    let server = PrivatePostgres::start_new();
    let database = TestDatabase::on_postgres(&server.url());
    let ledger = Ledger::start(Faults {
        slow: 1.0,
        slow_by: Duration::from_millis(300),
        ..Faults::default()
    });
    let definitions = Definitions::of(&[ORDER]);
    let binary = env!("CARGO_BIN_EXE_amends");
    let settings = Settings::new(binary, database.url(), definitions.path())
        .participant("ledger", ledger.url("ledger"));
    let first = Coordinator::start(settings.clone()).await;
    let second = Coordinator::spawn(settings);
    second.wait_for("standby", LONG).await;
    let mut sagas = Vec::new();
    for number in 0..20 {
        let key = format!("{number}");
        sagas.push(insist(&first.api(), &key, &mut Vec::new()).await);
    }
    server.crash();
    first.wait_for("database_unavailable", LONG).await;
    server.start();
    let owners = async || {
        let said = [first.readiness().await, second.readiness().await];
        let ready = said.iter().flatten().filter(|(status, _)| *status == 200);
        ready.count()
    };
    support::eventually("an owner", LONG, async || {
        (owners().await > 0).then_some(())
    })
    .await;
    assert_eq!(owners().await, 1);
    let mut wrong = ledger.violations();
    for id in &sagas {
        let end = second.api().settled(id, LONG).await;
        assert_eq!(end["status"], "completed", "{end}");
        wrong.extend(ledger.wrong_with(id, true, STEPS));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(owners().await, 1);
}

/// How many sagas a recovery finds that is cut short: several pages of them.
const FOUND: usize = 2_000;

/// The recovery survives the loss of the database half-way.
#[tokio::test]
async fn a_recovery_that_is_cut_short_goes_on() {
    let server = PrivatePostgres::start_new();
    let database = TestDatabase::on_postgres(&server.url());
    let ledger = Ledger::start(Faults::default());
    let later = "{ name: later, version: 1, steps: [
        { id: pause, delay: 2s }, { id: charge, participant: ledger, action: { command: charge } } ] }";
    let definitions = Definitions::of(&[later]);
    let settings = || {
        Settings::new(
            env!("CARGO_BIN_EXE_amends"),
            database.url(),
            definitions.path(),
        )
        .participant("ledger", ledger.url("ledger"))
    };
    let mut coordinator = Coordinator::start(settings()).await;
    for _ in 0..FOUND / 500 {
        let starts = vec![json!({ "definition": "later", "input": {} }); 500];
        let body = json!({ "sagas": starts });
        let batch = coordinator.api().post("/sagas:batch", &body).await;
        assert_eq!(batch.expect("the process lives").status, 207);
    }
    coordinator.kill();

    let coordinator = Coordinator::spawn(settings());
    support::eventually("the recovery begins", LONG, async || {
        coordinator.log().contains("took over").then_some(())
    })
    .await;
    server.crash();
    coordinator.wait_for("database_unavailable", LONG).await;
    server.start();
    coordinator.wait_for("ready", LONG).await;
    support::eventually("every saga has completed", LONG, async || {
        let mut completed = 0;
        let mut page = "/sagas?status=completed&limit=500".to_owned();
        loop {
            let answer = coordinator
                .api()
                .get(&page)
                .await
                .expect("the process lives");
            completed += answer.body["items"].as_array()?.len();
            let Some(cursor) = answer.body["next_cursor"].as_str() else {
                break;
            };
            page = format!("/sagas?status=completed&limit=500&cursor={cursor}");
        }
        (completed == FOUND).then_some(())
    })
    .await;
}
