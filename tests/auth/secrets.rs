//! No secret is ever shown: not in a log, however much of it is wanted, not in an answer, a metric,
//! the audit, the journal or what is printed of the configuration.

use std::process::Command;

use reqwest::Method;
use sea_orm::{ConnectionTrait as _, Database, Statement};
use serde_json::json;
use support::coordinator::{Coordinator, Settings};
use support::database::{Kind, TestDatabase};
use support::definitions::Definitions;
use support::scripted::{Reply, Scripted};

use crate::credentials::{
    ROLES, Signer, but, claims, configured_jwt, configured_keys, jwks, key, now_s,
};
use crate::{LONG, Scene};

const DEFINITION: &str = "
name: told
version: 1
retry: { max_attempts: 2, initial: 10ms }
steps:
  - { id: ask, participant: probe, action: { post: /409 }, compensation: { post: /200 } }
  - { id: away, participant: nowhere, action: { post: / }, on_failure: continue }
";

const DATABASE_SECRET: &str = "database-secret-51f3";
const PARTICIPANT_SECRET: &str = "participant-secret-77b1";
const VARIABLE_SECRET: &str = "variable-secret-c0de";
const OTLP_SECRET: &str = "otlp-secret-90aa";
const FILE_SECRET: &str = "file-secret-1b2c";
const UNKNOWN_KEY: &str = "unknown-key-55e1a9";

/// Everything that the run said, by where it was said.
struct Said(Vec<(String, String)>);

impl Said {
    fn add(&mut self, place: &str, text: impl Into<String>) {
        self.0.push((place.to_owned(), text.into()));
    }

    /// Fails when any secret, or the part of it that matters, is anywhere.
    fn has_none_of(&self, secrets: &[(&str, String)]) {
        for (place, text) in &self.0 {
            for (what, secret) in secrets {
                let at = text.find(secret.as_str());
                let around = at.map(|at| {
                    let begin = text.floor_char_boundary(at.saturating_sub(300));
                    &text[begin..at]
                });
                assert!(at.is_none(), "{place} has {what} after: {around:?}");
            }
        }
    }
}

/// A table of the database as text.
async fn rows(database: &TestDatabase, table: &str) -> String {
    let connection = Database::connect(database.url()).await.unwrap();
    let sql = format!("SELECT CAST(t AS text) AS line FROM {table} t");
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let rows = connection.query_all(statement).await.unwrap();
    let lines = rows
        .iter()
        .map(|row| row.try_get::<String>("", "line").unwrap());
    let text = lines.collect::<Vec<_>>().join("\n");
    connection.close().await.unwrap();
    text
}

struct Run {
    scene: Scene,
    settings: Settings,
    issuer: Scripted,
    collector: Scripted,
    _probe: Scripted,
    _directory: tempfile::TempDir,
}

async fn run() -> Run {
    let database = TestDatabase::fresh(Kind::Postgres);
    let definitions = Definitions::of(&[DEFINITION]);
    let probe = Scripted::start(|asked| {
        let status = asked
            .path
            .rsplit('/')
            .next()
            .and_then(|word| word.parse().ok());
        Reply::problem(
            status.unwrap_or(200),
            &json!({ "code": "no", "detail": "no" }),
        )
    });
    let issuer = Scripted::start(|_| Reply::json(200, &jwks(&[Signer::Ec, Signer::Ed])));
    let collector = Scripted::start(|_| Reply::http(200, &[], ""));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    std::fs::write(&file, FILE_SECRET).unwrap();
    let url = database
        .url()
        .replacen("postgres@", &format!("postgres:{DATABASE_SECRET}@"), 1);
    assert!(url.contains(DATABASE_SECRET), "{url}");
    let header = |name: &str| format!("participants.probe.headers.{name}");
    let source = format!("jwks: '{}'", issuer.url("keys"));
    let settings = Settings::new(env!("CARGO_BIN_EXE_amends"), &url, definitions.path())
        .participant("probe", probe.url("probe"))
        .participant("nowhere", "http://127.0.0.1:1")
        .key(
            &header("authorization"),
            format!("Bearer {PARTICIPANT_SECRET}"),
        )
        .key(&header("x_variable"), "${env:PARTICIPANT_TOKEN}")
        .key(&header("x_file"), format!("${{file:{}}}", file.display()))
        .key("auth.keys", configured_keys())
        .key("auth.jwt", configured_jwt(&source))
        .variable("PARTICIPANT_TOKEN", VARIABLE_SECRET)
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url(""))
        .variable(
            "OTEL_EXPORTER_OTLP_HEADERS",
            format!("authorization=Bearer%20{OTLP_SECRET}"),
        )
        .variable("RUST_LOG", "trace");
    Run {
        scene: Scene::start(settings.clone(), definitions, database).await,
        settings,
        issuer,
        collector,
        _probe: probe,
        _directory: directory,
    }
}

/// The command line with a credential, against that coordinator.
fn command(url: &str, token: &str, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_amends"))
        .args(arguments)
        .args(["--url", url, "--token", token])
        .env_clear()
        .env("RUST_LOG", "trace")
        .output()
        .unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// The secrets of the run but for its tokens, the ones that callers show last.
fn secrets() -> Vec<(&'static str, String)> {
    let mut secrets = vec![
        ("the database's password", DATABASE_SECRET.to_owned()),
        ("a participant's header", PARTICIPANT_SECRET.to_owned()),
        ("a variable", VARIABLE_SECRET.to_owned()),
        ("a file", FILE_SECRET.to_owned()),
        ("the collector's header", OTLP_SECRET.to_owned()),
        ("a key that is not known", UNKNOWN_KEY.to_owned()),
    ];
    secrets.extend(ROLES.iter().map(|role| ("a key", key(role))));
    secrets
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_shown_anywhere() {
    let mut run = run().await;
    let tokens = [
        Signer::Ec.sign(&claims(&json!(["admin"]))),
        Signer::Ed.sign(&claims(&json!(["reader"]))),
        Signer::Ec.sign(&but("exp", json!(now_s() - 3_600))),
        Signer::Stranger.sign(&claims(&json!(["admin"]))),
        Signer::Rsa.sign(&claims(&json!(["admin"]))),
    ];
    let keys = ROLES.map(key);
    let mut said = Said(Vec::new());
    for credential in keys.iter().chain(&tokens).chain([&UNKNOWN_KEY.to_owned()]) {
        show(&run.scene, credential, &mut said).await;
    }
    look_around(&run.scene, &mut said).await;
    let printed = run.settings.printed_config();
    assert!(
        printed.contains("***") && printed.contains("client-key"),
        "{printed}"
    );
    said.add("--print-config", printed);
    let broken = run
        .settings
        .clone()
        .key("engine.lease", "soon")
        .key("auth.mode", "what");
    let problems = broken.printed_config();
    assert!(
        problems.contains("engine.lease") && problems.contains("auth.mode"),
        "{problems}"
    );
    said.add("the problems of a configuration", problems);

    let stopped = run.scene.coordinator.stop(LONG).await;
    assert!(stopped.success(), "{stopped:?}");
    let log = run.scene.coordinator.log();
    // What is searched was really said: the finest level, and the refusals.
    assert!(
        log.contains("\"TRACE\"") && log.contains("a request was turned away"),
        "{log:.2000}"
    );
    said.add("the log", log);
    said.add(
        "the log of a database that is away",
        without_database(&run.settings).await,
    );
    assert!(!run.issuer.asked().is_empty());
    let traced = run.collector.asked();
    assert!(!traced.is_empty(), "nothing was traced");
    for traced in traced {
        assert!(traced.header("authorization").contains(OTLP_SECRET));
        said.add("a trace", String::from_utf8_lossy(&traced.body));
    }

    // A token is known by its signature; the rest of it is what anybody may read.
    let signatures = tokens
        .iter()
        .map(|token| token.rsplit('.').next().unwrap().to_owned());
    let mut secrets = secrets();
    secrets.extend(signatures.map(|signature| ("a token", signature)));
    said.has_none_of(&secrets);
}

/// Shows a credential wherever one can be shown, and where it should not be.
async fn show(scene: &Scene, credential: &str, said: &mut Said) {
    let url = scene.coordinator.url();
    for (method, path, body) in [
        (Method::GET, "/api/v1/sagas", ""),
        (
            Method::POST,
            "/api/v1/sagas",
            r#"{"definition":"told","input":{}}"#,
        ),
        (Method::POST, "/api/v1/sagas", "{"),
        (Method::POST, "/api/v1/sagas/no-id/cancel", "{}"),
        (Method::DELETE, "/api/v1/sagas", ""),
        (Method::GET, "/nowhere", ""),
    ] {
        let request = scene.client.request(method, format!("{url}{path}"));
        let request = request
            .header("content-type", "application/json")
            .bearer_auth(credential);
        let answer = request.body(body).send().await.unwrap();
        let headers = format!("{:?}", answer.headers());
        said.add("an answer", headers + &answer.text().await.unwrap());
    }
    for wrong in [
        format!("Basic {credential}"),
        credential.to_owned(),
        format!("Bearer a {credential}"),
    ] {
        let request = scene.client.get(format!("{url}/api/v1/sagas"));
        let answer = request.header("authorization", wrong).send().await.unwrap();
        said.add("an answer", answer.text().await.unwrap());
    }
    for arguments in [
        &["list"][..],
        &["get", "no-id"],
        &["start", "told", "--wait"],
    ] {
        said.add("the command line", command(&url, credential, arguments));
    }
}

/// Looks at what the coordinator keeps and shows of the run.
async fn look_around(scene: &Scene, said: &mut Said) {
    let client = key("client");
    let settled = support::eventually("a saga that ended", LONG, async || {
        let path = "/api/v1/sagas?status=compensated&status=completed&status=failed";
        let answer = scene.call(Method::GET, path, Some(&client)).await.body;
        (!answer["items"].as_array()?.is_empty()).then_some(answer)
    })
    .await;
    let saga = settled["items"][0]["id"].as_str().unwrap().to_owned();
    for path in [
        format!("/api/v1/sagas/{saga}"),
        format!("/api/v1/sagas/{saga}/events"),
    ] {
        let answer = scene.call(Method::GET, &path, Some(&client)).await;
        assert_eq!(answer.status, 200);
        said.add("a saga", answer.body.to_string());
    }
    for path in [
        "/metrics",
        "/health",
        "/health/detailed",
        "/health/ready",
        "/info",
    ] {
        let answer = scene
            .client
            .get(scene.coordinator.management_url(path))
            .send()
            .await;
        said.add(path, answer.unwrap().text().await.unwrap());
    }
    support::eventually("the audit", LONG, async || {
        let audit = rows(&scene.database, "audit_log").await;
        audit.contains("SECURITY_VIOLATION").then_some(())
    })
    .await;
    for table in [
        "audit_log",
        "saga_events",
        "sagas",
        "definitions",
        "replicas",
    ] {
        said.add(table, rows(&scene.database, table).await);
    }
}

/// What is said while the database cannot be reached.
async fn without_database(settings: &Settings) -> String {
    let mut settings = settings.clone();
    settings.database = format!("postgres://postgres:{DATABASE_SECRET}@127.0.0.1:1/nowhere");
    let mut away = Coordinator::spawn(settings);
    support::eventually("a word of the database", LONG, async || {
        away.log()
            .contains("the database does not answer")
            .then_some(())
    })
    .await;
    away.kill();
    away.log()
}
