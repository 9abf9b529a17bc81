//! Looking at sagas and changing them over the API, and definitions (api.md).
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use support::api::{Answer, Api, send};
use support::coordinator::{Coordinator, Settings};
use support::database::{Kind, TestDatabase};
use support::definitions::Definitions;
use support::scripted::{Reply, Scripted};

mod audit;
mod changing;
mod dead_letters;
mod definitions;
mod described;
mod explaining;
mod live;
mod publishing;
mod reading;

const LONG: Duration = Duration::from_secs(30);

const QUICK: &str = "
name: quick
version: 1
description: One step.
labels: { team: blue }
steps:
  - { id: ask, participant: probe, action: { post: /200 }, compensation: { post: /200 } }
";

const REFUSED: &str = "
name: refused
version: 2
steps:
  - { id: done, participant: probe, action: { post: /200 }, compensation: { post: /200 } }
  - { id: ask, participant: probe, action: { post: /409 } }
";

const WAITING: &str = "
name: waiting
version: 1
steps:
  - { id: done, participant: probe, action: { post: /200 }, compensation: { post: /200 } }
  - { id: first, wait: { signal: go } }
  - { id: second, wait: { signal: go } }
  - { id: last, delay: 1ms }
output: ['${ steps.first.output }', '${ steps.second.output }']
";

const PAST: &str = "
name: past
version: 1
steps:
  - { id: pay, participant: probe, pivot: true, action: { post: /200 },
      compensation: { post: /200 } }
  - { id: after, wait: { signal: go } }
";

/// Its pivot may or may not have been done, and cannot be undone.
const DOUBT: &str = "
name: doubt
version: 1
steps:
  - { id: before, participant: probe, action: { post: /200 }, compensation: { post: /200 } }
  - { id: pay, participant: probe, pivot: true, retry: { max_attempts: 1 },
      action: { post: /switched } }
  - { id: after, participant: probe, action: { post: /200 } }
output: '${ steps.pay.output }'
";

/// What was done cannot be undone.
const STUCK: &str = "
name: stuck
version: 1
steps:
  - { id: done, participant: probe, action: { post: /200 }, compensation: { post: /switched } }
  - { id: ask, participant: probe, action: { post: /409 } }
";

/// What comes after its pivot can never succeed.
const LATE: &str = "
name: late
version: 1
steps:
  - { id: pay, participant: probe, pivot: true, action: { post: /200 } }
  - { id: after, participant: probe, action: { post: '/${ input.nothing }' } }
output: '${ steps.after.output }'
";

struct Scene {
    coordinator: Coordinator,
    api: Api,
    /// What `/switched` is answered.
    switch: Arc<AtomicU16>,
    _probe: Scripted,
    _definitions: Definitions,
    database: TestDatabase,
}

async fn scene(kind: Kind) -> Scene {
    scene_of(kind, &[], &[]).await
}

/// The same with more definitions, and more that is configured.
async fn scene_of(kind: Kind, more: &[&'static str], keys: &[(&str, &str)]) -> Scene {
    let switch = Arc::new(AtomicU16::new(409));
    let switched = Arc::clone(&switch);
    let probe = Scripted::start(move |asked| {
        let status = match asked.path.trim_start_matches("/probe/") {
            "switched" => switched.load(Ordering::Relaxed),
            status => status.parse().unwrap_or(418),
        };
        Reply::json(status, &json!({ "ok": true }))
    });
    let database = TestDatabase::fresh(kind);
    let mut all = vec![QUICK, REFUSED, WAITING, PAST, DOUBT, STUCK, LATE];
    all.extend(more);
    let definitions = Definitions::of(&all);
    let binary = env!("CARGO_BIN_EXE_amends");
    let mut settings = Settings::new(binary, database.url(), definitions.path())
        .participant("probe", probe.url("probe"))
        .key("sagas.strict", "true");
    for (path, value) in keys {
        settings = settings.key(path, *value);
    }
    let coordinator = Coordinator::start(settings).await;
    Scene {
        api: coordinator.api(),
        coordinator,
        switch,
        _probe: probe,
        _definitions: definitions,
        database,
    }
}

impl Scene {
    async fn start(&self, definition: &str) -> String {
        let answer = self.api.start(definition, &Value::Null, None).await;
        answer.expect("an answer").id()
    }

    async fn ended(&self, definition: &str, status: &str) -> String {
        let id = self.start(definition).await;
        let end = self.api.settled(&id, LONG).await;
        assert_eq!(end["status"], status, "{end}");
        id
    }

    /// A saga of `waiting` that has come to its first wait.
    async fn waiting(&self) -> String {
        let id = self.start("waiting").await;
        support::eventually("its wait", LONG, async || {
            let saga = self.api.saga(&id).await.ok()?.body;
            (saga["steps"][1]["waiting_for"] == "signal:go").then_some(())
        })
        .await;
        id
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.api.post(path, body).await.expect("an answer")
    }

    async fn command(&self, id: &str, what: &str) -> Answer {
        let request = self
            .api
            .request(Method::POST, &format!("/sagas/{id}/{what}"));
        send(request).await.expect("an answer")
    }

    async fn resolve(&self, id: &str, step: &str, outcome: &str) -> Answer {
        let path = format!("/sagas/{id}/steps/{step}/resolve");
        self.post(&path, &json!({ "outcome": outcome, "note": "by hand" }))
            .await
    }

    async fn get(&self, path: &str) -> Answer {
        self.api.get(path).await.expect("an answer")
    }

    async fn saga(&self, id: &str) -> Value {
        self.get(&format!("/sagas/{id}")).await.body
    }

    async fn ids(&self, query: &str) -> Vec<String> {
        let answer = self.get(&format!("/sagas?{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.body);
        let items = answer.body["items"].as_array().expect("items");
        let id = |item: &Value| item["id"].as_str().expect("an id").to_owned();
        items.iter().map(id).collect()
    }
}

#[track_caller]
fn assert_problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(answer.code(), code, "{}", answer.body);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_ne!(answer.header("x-request-id"), "");
    let problem = &answer.body;
    assert_eq!(problem["status"], status);
    for member in ["type", "title", "detail", "instance"] {
        assert!(problem[member].is_string(), "{member}: {problem}");
    }
}
