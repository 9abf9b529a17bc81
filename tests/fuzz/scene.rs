//! What the fuzzer finds: a coordinator with sagas in every state.

use std::path::{Path, PathBuf};
use std::time::Duration;

use amends::saga::Timestamp;
use amends::store::{DatabaseSettings, NewDeadLetter, Store, Transport};
use serde_json::{Map, json};
use support::api::Api;
use support::coordinator::{Coordinator, Settings};
use support::database::{Kind, TestDatabase};
use support::definitions::Definitions;
use support::scripted::{Reply, Scripted};
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(60);
/// How many sagas of each kind there are: the fuzzer cancels, resolves and retries them.
const EACH: usize = 4;

/// Completes.
const QUICK: &str = "
name: quick
version: 1
description: One step.
labels: { team: blue }
steps:
  - { id: ask, participant: probe, action: { post: /200 }, compensation: { post: /200 } }
";

/// Is compensated.
const REFUSED: &str = "
name: refused
version: 1
steps:
  - { id: first, participant: probe, action: { post: /200 }, compensation: { post: /200 } }
  - { id: ask, participant: probe, action: { post: /409 } }
";

/// Waits for a signal, and has an input.
const WAITING: &str = "
name: waiting
version: 1
input: { type: object, properties: { total: { type: number, minimum: 0 } } }
timeout: 1d
steps:
  - { id: ask, participant: probe, action: { post: /200 }, compensation: { post: /200 } }
  - { id: first, wait: { signal: go } }
  - { id: pay, participant: probe, pivot: true, action: { post: /200 } }
";

/// Fails: what was done cannot be undone.
const STUCK: &str = "
name: stuck
version: 1
steps:
  - { id: first, participant: probe, action: { post: /200 }, compensation: { post: /409 } }
  - { id: ask, participant: probe, action: { post: /409 } }
";

/// Fails: nobody knows what became of its pivot.
const DOUBT: &str = "
name: doubt
version: 1
steps:
  - { id: first, participant: probe, action: { post: /200 }, compensation: { post: /200 } }
  - { id: pay, participant: probe, pivot: true, retry: { max_attempts: 1 }, action: { post: /503 } }
  - { id: ask, participant: probe, action: { post: /200 } }
";

/// A running coordinator, and what it needs.
pub(crate) struct Scene {
    coordinator: Coordinator,
    directory: TempDir,
    _probe: Scripted,
    _definitions: Definitions,
    _database: TestDatabase,
}

impl Scene {
    /// Starts the coordinator, with sagas in every state; and then, where there are more keys of
    /// the configuration, again with them.
    pub(crate) async fn open(more: &[(&str, String)]) -> Self {
        let probe = Scripted::start(|asked| {
            let status = asked.path.rsplit('/').next().unwrap_or_default();
            Reply::json(status.parse().unwrap_or(418), &json!({ "ok": true }))
        });
        let database = TestDatabase::fresh(Kind::Sqlite);
        let definitions = Definitions::of(&[QUICK, REFUSED, WAITING, STUCK, DOUBT]);
        let letters = dead_letters(database.url()).await;
        let binary = env!("CARGO_BIN_EXE_amends");
        let settings = Settings::new(binary, database.url(), definitions.path())
            .participant("probe", probe.url("probe"))
            .key("sagas.strict", "true");
        let mut coordinator = Coordinator::start(settings.clone()).await;
        let sagas = seed(&coordinator.api()).await;
        if !more.is_empty() {
            let settings = more
                .iter()
                .fold(settings, |settings, (key, value)| settings.key(key, value));
            coordinator.stop(LONG).await;
            coordinator = Coordinator::start(settings).await;
        }
        let scene = Self {
            coordinator,
            directory: tempfile::tempdir().expect("a temporary directory"),
            _probe: probe,
            _definitions: definitions,
            _database: database,
        };
        let fixed = include_str!("schemathesis.toml");
        let dictionary =
            |name, ids: &[String]| format!("\n[dictionaries.{name}]\nvalues = {}\n", json!(ids));
        let (sagas, letters) = (dictionary("sagas", &sagas), dictionary("letters", &letters));
        let configuration = format!("{fixed}{sagas}{letters}");
        std::fs::write(scene.fuzzer_configuration(), configuration).expect("a file");
        scene
    }

    /// Where the API is.
    pub(crate) fn url(&self) -> String {
        self.coordinator.url()
    }

    /// A directory for the fuzzer.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The fuzzer's configuration.
    pub(crate) fn fuzzer_configuration(&self) -> PathBuf {
        self.directory.path().join("schemathesis.toml")
    }
}

/// Dead letters of every kind of message, put into the database before the coordinator has it. There
/// are many: the fuzzer discards them.
async fn dead_letters(url: &str) -> Vec<String> {
    let settings = DatabaseSettings {
        url: url.to_owned(),
        pool: 1,
    };
    let store = Store::connect(&settings).await.expect("the database");
    store.migrate().await.expect("the schema");
    let messages: [&[u8]; 4] = [br#"{ "data": 1 }"#, b"no JSON", b"\xff", b""];
    let mut ids = Vec::new();
    for (number, message) in (0..10 * EACH).zip(messages.iter().cycle()) {
        let even = number % 2 == 0;
        let letter = NewDeadLetter {
            transport: if even {
                Transport::RabbitMq
            } else {
                Transport::Sqs
            },
            queue: "commands",
            participant: even.then_some("probe"),
            reason: "rejected",
            deliveries: 6,
            received_at: Timestamp(1_795_253_400_000),
            saga: None,
            step: even.then_some("ask"),
            phase: None,
            message_id: None,
            message,
            headers: &Map::new(),
            redelivered: false,
        };
        let kept = store.keep_dead_letter(&letter).await.expect("it is kept");
        ids.push(kept.id().to_string());
    }
    store.close().await.expect("the database");
    ids
}

/// Makes the sagas, and waits until they have come to where they stay. Every other one that has
/// not finished is suspended.
async fn seed(api: &Api) -> Vec<String> {
    let mut sagas = Vec::new();
    for (definition, status) in [
        ("quick", "completed"),
        ("refused", "compensated"),
        ("stuck", "failed"),
        ("doubt", "failed"),
        ("waiting", "running"),
    ] {
        let has_finished = ["completed", "compensated"].contains(&status);
        for number in 0..EACH {
            let answer = api.start(definition, &json!({}), None).await;
            let id = answer.expect("an answer").id();
            api.wait_for(&id, &[status], LONG).await;
            if number % 2 == 1 && !has_finished {
                let path = format!("/sagas/{id}/suspend");
                let answer = api.post(&path, &json!({})).await.expect("an answer");
                assert_eq!(answer.status, 202, "{}", answer.body);
            }
            sagas.push(id);
        }
    }
    sagas
}
