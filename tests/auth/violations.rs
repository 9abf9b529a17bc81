//! What was turned away is in the audit: never with the credential, at a bounded rate, and never so
//! that anybody waits for it.

use std::time::{Duration, Instant};

use reqwest::Method;
use sea_orm::{ConnectionTrait as _, Database, Statement};
use serde_json::{Value, json};
use support::coordinator::Settings;
use support::database::{Kind, TestDatabase};
use support::definitions::Definitions;
use support::postgres::PrivatePostgres;

use crate::credentials::{EC_PUBLIC, Signer, but, configured_jwt, configured_keys, key, now_s};
use crate::{LONG, Scene, WAITING};

/// An entry of the audit.
#[derive(Clone, Debug)]
struct Told {
    actor: String,
    remote: Option<String>,
    detail: Value,
}

async fn told(database: &TestDatabase) -> Vec<Told> {
    let connection = Database::connect(database.url()).await.unwrap();
    let sql = "SELECT actor, remote, detail FROM audit_log WHERE action = 'SECURITY_VIOLATION' \
               ORDER BY seq";
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let rows = connection.query_all(statement).await.unwrap();
    let told = rows.iter().map(|row| Told {
        actor: row.try_get("", "actor").unwrap(),
        remote: row.try_get("", "remote").unwrap(),
        detail: serde_json::from_str(&row.try_get::<String>("", "detail").unwrap()).unwrap(),
    });
    let told = told.collect();
    connection.close().await.unwrap();
    told
}

async fn told_at_least(database: &TestDatabase, count: usize) -> Vec<Told> {
    support::eventually("the audit", LONG, async || {
        let told = told(database).await;
        (told.len() >= count).then_some(told)
    })
    .await
}

async fn scene_on(database: TestDatabase) -> Scene {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("public.pem");
    std::fs::write(&file, EC_PUBLIC).unwrap();
    let definitions = Definitions::of(&[WAITING]);
    let binary = env!("CARGO_BIN_EXE_amends");
    let settings = Settings::new(binary, database.url(), definitions.path())
        .key("auth.keys", configured_keys())
        .key(
            "auth.jwt",
            configured_jwt(&format!("key: '{}'", file.display())),
        );
    Scene::start(settings, definitions, database).await
}

#[tokio::test]
async fn every_refusal_is_told_with_its_reason() {
    let scene = scene_on(TestDatabase::fresh(Kind::Postgres)).await;
    let saga = "/api/v1/sagas/0198c7c4-aaaa-7000-8000-000000000000";
    let expired = Signer::Ec.sign(&but("exp", json!(now_s() - 3_600)));
    let forged = Signer::Stranger.sign(&but("jti", json!(1)));
    let reader = Signer::Ec.sign(&but("realm", json!({ "roles": "reader" })));
    let nobody = Signer::Ec.sign(&but("realm", json!(null)));
    let secret = key("client");
    let calls = [
        (Method::GET, saga, None),
        (Method::GET, saga, Some("some-key-that-is-not-known")),
        (Method::GET, saga, Some(expired.as_str())),
        (Method::GET, saga, Some(forged.as_str())),
        (Method::POST, "/api/v1/sagas", Some(reader.as_str())),
        (Method::GET, "/api/v1/sagas", Some(nobody.as_str())),
        (
            Method::POST,
            "/api/v1/sagas/x/cancel",
            Some(secret.as_str()),
        ),
    ];
    for (method, path, credential) in &calls {
        let answer = scene.call(method.clone(), path, *credential).await;
        assert!(
            [401, 403].contains(&answer.status.as_u16()),
            "{}",
            answer.body
        );
    }
    let told = told_at_least(&scene.database, calls.len()).await;
    let short: Vec<_> = told
        .iter()
        .map(|told| (told.actor.as_str(), told.detail["reason"].as_str().unwrap()))
        .collect();
    assert_eq!(
        short,
        [
            ("anonymous", "no_credential"),
            ("anonymous", "token_unreadable"),
            ("anonymous", "token_expired"),
            ("anonymous", "token_signature"),
            ("ann", "role_too_low"),
            ("ann", "role_too_low"),
            ("client-key", "role_too_low"),
        ]
    );
    for entry in &told {
        assert_eq!(entry.remote.as_deref(), Some("127.0.0.1"), "{entry:?}");
    }
    assert_eq!(told[0].detail["route"], "/api/v1/sagas/{id}");
    assert_eq!(told[0].detail["method"], "GET");
    assert_eq!(told[4].detail["role"], "reader");
    assert_eq!(told[4].detail["needed"], "client");
    assert_eq!(told[5].detail["role"], Value::Null);
    assert_eq!(told[6].detail["needed"], "operator");
    let all = format!("{told:?}");
    for (_, _, credential) in calls {
        assert!(!credential.is_some_and(|credential| all.contains(credential)));
    }
}

#[tokio::test]
async fn a_flood_is_counted_and_not_written() {
    const FLOOD: u64 = 1_000;
    let scene = scene_on(TestDatabase::fresh(Kind::Postgres)).await;
    let begun = Instant::now();
    for _ in 0..FLOOD {
        let answer = scene
            .call(Method::GET, "/api/v1/sagas", Some("wrong"))
            .await;
        assert_eq!(answer.status, 401);
    }
    let seconds = begun.elapsed().as_secs_f64();
    // Once more when the rate allows it, which says how many were passed over.
    let mut sent = FLOOD;
    let entries = support::eventually("the count", LONG, async || {
        scene
            .call(Method::GET, "/api/v1/sagas", Some("wrong"))
            .await;
        sent += 1;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let told = told(&scene.database).await;
        let suppressed = |told: &Told| told.detail["suppressed"].as_u64().unwrap_or(0);
        let counted: u64 = told.iter().map(|told| 1 + suppressed(told)).sum();
        (counted == sent).then_some(told.len())
    })
    .await;
    let later = f64::from(u32::try_from(sent - FLOOD).unwrap());
    let entries = f64::from(u32::try_from(entries).unwrap());
    assert!(
        entries <= 51.0 + 10.0 * seconds + later,
        "{entries} in {seconds} s"
    );
}

#[tokio::test]
async fn nobody_waits_for_a_database_that_is_away() {
    let server = PrivatePostgres::start_new();
    let scene = scene_on(TestDatabase::on_postgres(&server.url())).await;
    server.crash();
    for _ in 0..400 {
        let begun = Instant::now();
        let answer = scene
            .call(Method::GET, "/api/v1/sagas", Some("wrong"))
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (401, "unauthenticated")
        );
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{:?}",
            begun.elapsed()
        );
    }
    server.start();
    let told = told_at_least(&scene.database, 1).await;
    assert_eq!(told[0].detail["reason"], "token_unreadable");
}
