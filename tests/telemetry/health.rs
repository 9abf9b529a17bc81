//! Whether it is well, part by part, and that it stays alive without its database.

use std::time::Duration;

use serde_json::Value;
use support::coordinator::{Coordinator, Settings};
use support::database::{Kind, TestDatabase};
use support::definitions::Definitions;
use support::postgres::PrivatePostgres;
use support::scripted::{Reply, Scripted, http};

use crate::scrape::Scrape;
use crate::{BINARY, Bed, LONG, ORDER};

async fn health(coordinator: &Coordinator) -> (u16, Value) {
    let answer = coordinator.management("/health/detailed").await;
    let (status, text) = answer.expect("an answer");
    (status, serde_json::from_str(&text).expect("JSON"))
}

#[tokio::test]
async fn a_coordinator_without_its_database_is_down_and_alive() {
    let server = PrivatePostgres::start_new();
    let database = TestDatabase::on_postgres(&server.url());
    let definitions = Definitions::of(&[ORDER]);
    // It takes its time, so that an answer of it comes when the database is away.
    let shop = Scripted::start(|_| {
        let answer = http(200, &[("content-type", "application/json")], b"{}");
        Reply::Late(Duration::from_secs(3), answer)
    });
    let settings = Settings::new(BINARY, database.url(), definitions.path())
        .participant("shop", shop.url("shop"));
    let coordinator = Coordinator::start(settings).await;

    let (status, before) = health(&coordinator).await;
    assert_eq!((status, &before["status"]), (200, &"up".into()), "{before}");
    for part in ["database", "messaging", "engine"] {
        assert_eq!(before["components"][part]["status"], "up", "{before}");
        assert!(before["components"][part]["details"].is_object());
    }
    assert_eq!(before["version"], env!("CARGO_PKG_VERSION"));
    assert!(before["uptime_ms"].is_u64(), "{before}");
    let short = coordinator.management("/health").await.expect("an answer");
    assert_eq!(short.0, 200);

    let api = coordinator.api();
    let id = api.start("order", &Value::Null, None).await;
    let id = id.expect("an answer").id();
    server.stop();
    coordinator.wait_for("database_unavailable", LONG).await;
    let (status, away) = health(&coordinator).await;
    assert_eq!((status, &away["status"]), (503, &"down".into()), "{away}");
    assert_eq!(away["components"]["database"]["status"], "down", "{away}");
    assert_eq!(away["components"]["messaging"]["status"], "up", "{away}");
    // Where it is, and who knocks there, is nobody's business.
    assert!(!away.to_string().contains("postgres"), "{away}");
    let live = coordinator.management("/health/live").await;
    assert_eq!(live.expect("an answer").0, 200);
    // What it counts it still tells: a saga that could go on waits for the database.
    support::eventually("a saga that waits", LONG, async || {
        let scrape = Scrape::of(&coordinator).await;
        let waits = scrape.sum("amends_journal_pending", &[]) == 1
            && scrape.sum("amends_oldest_runnable_seconds", &[]) >= 1;
        waits.then_some(())
    })
    .await;

    server.start();
    support::eventually("it to be well again", LONG, async || {
        let (_, health) = health(&coordinator).await;
        (health["status"] == "up").then_some(())
    })
    .await;
    assert_eq!(api.settled(&id, LONG).await["status"], "completed");
    let scrape = Scrape::of(&coordinator).await;
    assert_eq!(scrape.sum("amends_oldest_runnable_seconds", &[]), 0);
}

/// The management port answers while the rest waits for its database.
#[tokio::test]
async fn a_start_that_waits_is_down_and_alive() {
    let definitions = Definitions::of(&[ORDER]);
    let port = support::free_port();
    let away = format!("postgres://postgres@127.0.0.1:{port}/none");
    let settings =
        Settings::new(BINARY, &away, definitions.path()).participant("shop", "http://127.0.0.1:9");
    let coordinator = Coordinator::spawn(settings);
    let (status, health) = support::eventually("the management port", LONG, async || {
        let (status, text) = coordinator.management("/health").await.ok()?;
        let health: Value = serde_json::from_str(&text).ok()?;
        Some((status, health))
    })
    .await;
    assert_eq!((status, &health["status"]), (503, &"down".into()));
    assert_eq!(
        health["components"]["engine"]["details"]["state"],
        "starting"
    );
    for (path, expected) in [
        ("/health/live", 200),
        ("/health/ready", 503),
        ("/metrics", 200),
        ("/info", 200),
    ] {
        let (status, text) = coordinator.management(path).await.expect("an answer");
        assert_eq!(status, expected, "{path}: {text}");
    }
}

/// Another replica has the shards: this one is well enough, and takes no traffic.
#[tokio::test]
async fn a_replica_that_stands_by_is_degraded() {
    let bed = Bed::new(Kind::Postgres, &[ORDER]);
    let settings = bed.settings().participant("shop", "http://127.0.0.1:9");
    let _owner = Coordinator::start(settings.clone()).await;
    let second = Coordinator::spawn(settings);
    support::eventually("the second to stand by", LONG, async || {
        let (_, text) = second.management("/health").await.ok()?;
        let health: Value = serde_json::from_str(&text).ok()?;
        (health["status"] == "degraded").then_some(health)
    })
    .await;
}
