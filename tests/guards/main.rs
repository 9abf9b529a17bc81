//! The guards around every call, over the binary: seen from the participants, and from the API.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may"
)]

mod bounds;
mod failing;
mod outage;
mod turned_back;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::api::Api;
use support::coordinator::{Coordinator, Settings};
use support::database::TestDatabase;
use support::definitions::Definitions;
use support::scripted::{Asked, Reply, Scripted};

const BINARY: &str = env!("CARGO_BIN_EXE_amends");
const LONG: Duration = Duration::from_secs(60);

/// One step, of the participant `guarded`.
const ONE: &str = "
name: one
version: 1
retry: { max_attempts: 50, initial: 10ms, max: 50ms, jitter: none }
steps:
  - { id: ask, participant: guarded, timeout: 20s, action: { post: /ask } }
";

/// A call as the participant saw it.
#[derive(Clone, Debug)]
struct Arrival {
    at: Instant,
    saga: String,
    /// Whether it was done.
    done: bool,
}

/// What a participant saw, in order.
#[derive(Clone, Debug, Default)]
struct Arrivals(Arc<Mutex<Vec<Arrival>>>);

impl Arrivals {
    fn note(&self, asked: &Asked, done: bool) {
        let arrival = Arrival {
            at: Instant::now(),
            saga: asked.header("amends-saga-id").to_owned(),
            done,
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(arrival);
    }

    fn all(&self) -> Vec<Arrival> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The most calls that arrived within any such time.
    fn most_within(&self, window: Duration) -> usize {
        let all = self.all();
        let count = |(place, first): (usize, &Arrival)| {
            let within = all[place..].iter();
            within
                .take_while(|arrival| arrival.at.duration_since(first.at) < window)
                .count()
        };
        all.iter().enumerate().map(count).max().unwrap_or_default()
    }
}

fn answered() -> Reply {
    Reply::json(200, &json!({ "ok": true }))
}

/// Settings with the participant `guarded` and these keys of its configuration.
fn settings(
    database: &TestDatabase,
    definitions: &Definitions,
    guarded: &Scripted,
    keys: &[(&str, &str)],
) -> Settings {
    let mut settings = Settings::new(BINARY, database.url(), definitions.path())
        .participant("guarded", guarded.url("guarded"));
    for (key, value) in keys {
        settings = settings.key(&format!("participants.guarded.{key}"), *value);
    }
    settings
}

/// Starts many sagas in the order of their ids, which is the order that they are answered in.
async fn start_many(api: &Api, definition: &str, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    while ids.len() < count {
        let batch = (count - ids.len()).min(500);
        let sagas = vec![json!({ "definition": definition, "input": {} }); batch];
        let answer = api.post("/sagas:batch", &json!({ "sagas": sagas })).await;
        let answer = answer.expect("an answer");
        let results = answer.body["results"].as_array().expect("results").clone();
        for result in results {
            assert_eq!(result["status"], 202, "{result}");
            let id = result["saga"]["id"].as_str().or(result["id"].as_str());
            ids.push(id.unwrap_or_else(|| panic!("no id in {result}")).to_owned());
        }
    }
    ids
}

/// How many sagas have a status.
async fn count(api: &Api, status: &str) -> usize {
    let mut count = 0;
    let mut cursor = String::new();
    loop {
        let path = format!("/sagas?status={status}&limit=500{cursor}");
        let Ok(page) = api.get(&path).await else {
            return count;
        };
        count += page.body["items"].as_array().map_or(0, Vec::len);
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return count,
        }
    }
}

/// Waits until so many sagas have completed.
async fn completed(api: &Api, expected: usize, limit: Duration) {
    let what = format!("{expected} sagas to complete");
    support::eventually(&what, limit, async || {
        (count(api, "completed").await == expected).then_some(())
    })
    .await;
}

/// The value of a metric whose line begins so.
async fn metric(coordinator: &Coordinator, line: &str) -> Option<f64> {
    let url = coordinator.management_url("/metrics");
    let answer = coordinator.api().client().get(url).send().await.ok()?;
    let text = answer.text().await.ok()?;
    let found = text.lines().find(|found| found.starts_with(line))?;
    found.rsplit(' ').next()?.parse().ok()
}

/// How many calls wait for the participant, whichever guard it is that turned them away.
async fn waiting(coordinator: &Coordinator) -> Option<f64> {
    let mut waiting = 0.0;
    for guard in ["circuit_breaker", "bulkhead", "rate_limit"] {
        let line = format!("amends_guard_waiting{{guard=\"{guard}\",participant=\"guarded\"");
        waiting += metric(coordinator, &line).await?;
    }
    Some(waiting)
}

/// A step of a saga as it is shown.
async fn step(api: &Api, saga: &str, id: &str) -> Value {
    let whole = api.saga(saga).await.expect("an answer").body;
    let steps = whole["steps"].as_array().expect("steps");
    let step = steps.iter().find(|step| step["id"] == id);
    step.expect("the step").clone()
}

/// How many calls of each saga arrived.
fn by_saga(arrivals: &[Arrival]) -> BTreeMap<&str, usize> {
    let mut calls = BTreeMap::new();
    for arrival in arrivals {
        *calls.entry(arrival.saga.as_str()).or_default() += 1;
    }
    calls
}
