//! The names, types, labels and values of operations.md, and nothing else.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::Method;
use serde_json::{Value, json};
use support::api::send;
use support::coordinator::Coordinator;
use support::database::Kind;
use support::scripted::{Reply, Scripted};

use crate::scrape::Scrape;
use crate::{Bed, LONG, ORDER};

/// operations.md, "Telemetry": every metric, its type and its labels.
const TABLE: &[(&str, &str, &[&str])] = &[
    ("amends_sagas_started_total", "counter", &["definition"]),
    (
        "amends_sagas_finished_total",
        "counter",
        &["definition", "status"],
    ),
    ("amends_sagas_failed_total", "counter", &["definition"]),
    (
        "amends_saga_duration_seconds",
        "histogram",
        &["definition", "status"],
    ),
    ("amends_sagas_active", "gauge", &["status"]),
    ("amends_sagas_overdue", "gauge", &[]),
    ("amends_oldest_runnable_seconds", "gauge", &[]),
    (
        "amends_step_attempts_total",
        "counter",
        &["outcome", "participant", "phase"],
    ),
    (
        "amends_step_duration_seconds",
        "histogram",
        &["participant", "phase"],
    ),
    (
        "amends_compensations_total",
        "counter",
        &["definition", "outcome"],
    ),
    ("amends_circuit_breaker_state", "gauge", &["participant"]),
    ("amends_guard_waiting", "gauge", &["guard", "participant"]),
    ("amends_bulkhead_in_flight", "gauge", &["participant"]),
    ("amends_journal_commit_seconds", "histogram", &[]),
    ("amends_journal_batch_events", "histogram", &[]),
    ("amends_journal_pending", "gauge", &[]),
    (
        "amends_messages_published_total",
        "counter",
        &["result", "transport"],
    ),
    (
        "amends_messages_received_total",
        "counter",
        &["result", "transport"],
    ),
    ("amends_late_replies_total", "counter", &["participant"]),
    ("amends_shards_owned", "gauge", &[]),
    ("amends_lease_lost_total", "counter", &[]),
    (
        "amends_http_requests_total",
        "counter",
        &["method", "route", "status"],
    ),
    (
        "amends_http_request_duration_seconds",
        "histogram",
        &["method", "route"],
    ),
    ("amends_build_info", "gauge", &["commit", "version"]),
];

/// In the table too, but without a series until a message was found dead: no queue is known. Looked
/// at in `dead_letters`.
const NOT_YET_SEEN: &str = "amends_dead_letters";

/// The labels whose values are a closed set, by the metric where that matters.
const CLOSED: &[(&str, &str, &[&str])] = &[
    ("", "phase", &["action", "compensation"]),
    (
        "amends_step_attempts_total",
        "outcome",
        &["succeeded", "refused", "transient"],
    ),
    (
        "amends_compensations_total",
        "outcome",
        &["compensated", "failed"],
    ),
    (
        "amends_sagas_finished_total",
        "status",
        &["completed", "compensated"],
    ),
    (
        "amends_saga_duration_seconds",
        "status",
        &["completed", "compensated"],
    ),
    (
        "amends_sagas_active",
        "status",
        &["running", "compensating", "failed"],
    ),
    ("", "guard", &["circuit_breaker", "bulkhead", "rate_limit"]),
    ("", "transport", &["rabbitmq", "sqs"]),
    (
        "amends_messages_published_total",
        "result",
        &["confirmed", "returned", "failed"],
    ),
    (
        "amends_messages_received_total",
        "result",
        &["accepted", "duplicate", "late", "malformed"],
    ),
    ("", "definition", &["order", "unused"]),
    ("", "participant", &["shop", "idle"]),
    (
        "",
        "method",
        &["GET", "HEAD", "POST", "PUT", "DELETE", "other"],
    ),
];

const UNUSED: &str = "
name: unused
version: 1
steps:
  - { id: only, participant: idle, action: { command: only } }
";

/// A coordinator and a shop whose every tenth answer is "not now", and that refuses to ship what
/// was ordered for nobody.
async fn launched(bed: &Bed) -> (Coordinator, Scripted) {
    let asked = AtomicUsize::new(0);
    let shop = Scripted::start(move |call| {
        let number = asked.fetch_add(1, Ordering::Relaxed);
        let body = String::from_utf8_lossy(&call.body).into_owned();
        let is_for_nobody = body.contains("nobody") && call.header("amends-step") == "ship";
        if number % 10 == 9 {
            Reply::http(503, &[], "")
        } else if is_for_nobody {
            Reply::problem(409, &json!({ "code": "no_such_person" }))
        } else {
            Reply::json(200, &json!({ "done": true }))
        }
    });
    let settings = bed
        .settings()
        .participant("shop", shop.url("shop"))
        .participant("idle", "http://127.0.0.1:9");
    (Coordinator::start(settings).await, shop)
}

/// Sagas that complete and sagas that are undone, and requests of every kind.
async fn mixed_run(coordinator: &Coordinator) -> (u64, u64) {
    const EACH: u64 = 12;
    let api = coordinator.api();
    let mut started = Vec::new();
    for number in 0..EACH {
        for who in ["ann", "nobody"] {
            let input = json!({ "number": number, "who": who });
            let answer = api.start("order", &input, None).await.expect("an answer");
            started.push(answer.id());
        }
    }
    for id in &started {
        api.settled(id, LONG).await;
    }
    for path in [
        "/sagas",
        "/sagas/nonsense",
        "/nowhere",
        "/definitions/order",
    ] {
        api.get(path).await.expect("an answer");
    }
    let malformed = api.request(Method::POST, "/sagas").body("{");
    let malformed = malformed.header("content-type", "application/json");
    send(malformed).await.expect("an answer");
    for method in [Method::PUT, Method::DELETE] {
        send(api.request(method, "/sagas"))
            .await
            .expect("an answer");
    }
    let brew = Method::from_bytes(b"BREW").expect("a method");
    send(api.request(brew, "/tea")).await.expect("an answer");
    (EACH, EACH)
}

/// What is asked of the shop says who it is for.
fn order() -> String {
    ORDER.replace(
        "{ command: ship }",
        "{ command: ship, body: { who: '${ input.who }' } }",
    )
}

/// The name that a line belongs to.
fn family(line: &str, scrape: &Scrape) -> String {
    if scrape.types.contains_key(line) {
        return line.to_owned();
    }
    let (name, _) = line.rsplit_once('_').expect("a suffix");
    name.to_owned()
}

#[tokio::test]
async fn the_metrics_are_those_of_the_table() {
    let bed = Bed::new(Kind::Sqlite, &[&order(), UNUSED]);
    let (coordinator, _shop) = launched(&bed).await;
    mixed_run(&coordinator).await;
    let scrape = Scrape::of(&coordinator).await;

    let ours = |name: &&String| name.starts_with("amends_");
    let found: BTreeSet<&str> = scrape
        .types
        .keys()
        .filter(ours)
        .map(String::as_str)
        .collect();
    let mut wanted: BTreeSet<&str> = TABLE.iter().map(|(name, ..)| *name).collect();
    if found.contains(NOT_YET_SEEN) {
        wanted.insert(NOT_YET_SEEN);
    }
    assert_eq!(found, wanted);
    // What is not ours is the process's own, by the customary names.
    for name in scrape.types.keys().filter(|name| !ours(name)) {
        assert!(name.starts_with("process_"), "{name}");
    }
    for (name, kind, labels) in TABLE {
        assert_eq!(scrape.types[*name], *kind, "{name}");
        assert!(scrape.described.contains(*name), "{name} has no HELP");
        for sample in &scrape.samples {
            if family(&sample.name, &scrape) != *name {
                continue;
            }
            let own: Vec<&str> = sample
                .labels
                .keys()
                .map(String::as_str)
                .filter(|label| *label != "le")
                .collect();
            assert_eq!(&own, labels, "{sample:?}");
        }
    }
    let mut checked = 0;
    for sample in &scrape.samples {
        let name = family(&sample.name, &scrape);
        for (of, label, values) in CLOSED {
            if (of.is_empty() || name == *of) && sample.labels.contains_key(*label) {
                let value = sample.labels[*label].as_str();
                assert!(values.contains(&value), "{sample:?}");
                checked += 1;
            }
        }
    }
    assert!(checked > 200, "only {checked} labels were looked at");
}

#[tokio::test]
async fn what_is_known_is_there_before_anything_happens() {
    let bed = Bed::new(Kind::Sqlite, &[&order(), UNUSED]);
    let (coordinator, _shop) = launched(&bed).await;
    let scrape = Scrape::of(&coordinator).await;
    let count = |name: &str, labels: &[(&str, &str)]| scrape.of_name(name, labels).count();
    for definition in ["order", "unused"] {
        let of = [("definition", definition)];
        assert_eq!(count("amends_sagas_started_total", &of), 1);
        assert_eq!(count("amends_sagas_finished_total", &of), 2);
        assert_eq!(count("amends_sagas_failed_total", &of), 1);
        assert_eq!(count("amends_saga_duration_seconds_count", &of), 2);
        assert_eq!(count("amends_compensations_total", &of), 2);
    }
    for participant in ["shop", "idle"] {
        let of = [("participant", participant)];
        assert_eq!(count("amends_step_attempts_total", &of), 6);
        assert_eq!(count("amends_step_duration_seconds_count", &of), 2);
        assert_eq!(count("amends_circuit_breaker_state", &of), 1);
        assert_eq!(count("amends_guard_waiting", &of), 3);
        assert_eq!(count("amends_bulkhead_in_flight", &of), 1);
        assert_eq!(count("amends_late_replies_total", &of), 1);
    }
    assert_eq!(count("amends_sagas_active", &[]), 3);
    assert_eq!(count("amends_messages_published_total", &[]), 6);
    assert_eq!(count("amends_messages_received_total", &[]), 8);
    assert_eq!(scrape.sum("amends_shards_owned", &[]), 64);
    let start = [("method", "POST"), ("route", "/api/v1/sagas")];
    assert_eq!(
        count("amends_http_request_duration_seconds_count", &start),
        1
    );
    assert_eq!(count("amends_http_requests_total", &start), 0);
}

#[tokio::test]
async fn what_happened_is_counted() {
    let bed = Bed::new(Kind::Sqlite, &[&order(), UNUSED]);
    let (coordinator, shop) = launched(&bed).await;
    let (completed, compensated) = mixed_run(&coordinator).await;
    let scrape = Scrape::of(&coordinator).await;
    let of_order = ("definition", "order");
    let finished = |status| {
        scrape.sum(
            "amends_sagas_finished_total",
            &[of_order, ("status", status)],
        )
    };
    assert_eq!(
        (finished("completed"), finished("compensated")),
        (completed, compensated)
    );
    assert_eq!(
        scrape.sum("amends_sagas_started_total", &[]),
        completed + compensated
    );
    assert_eq!(
        scrape.sum("amends_saga_duration_seconds_count", &[]),
        completed + compensated
    );
    assert_eq!(scrape.sum("amends_sagas_active", &[]), 0);
    let undone = [of_order, ("outcome", "compensated")];
    assert_eq!(
        scrape.sum("amends_compensations_total", &undone),
        2 * compensated
    );

    // Every call that the shop saw is an attempt, counted by what it came to.
    let calls = u64::try_from(shop.asked().len()).expect("a few");
    assert_eq!(scrape.sum("amends_step_attempts_total", &[]), calls);
    assert_eq!(scrape.sum("amends_step_duration_seconds_count", &[]), calls);
    let transient = [("outcome", "transient")];
    assert_eq!(
        scrape.sum("amends_step_attempts_total", &transient),
        calls / 10
    );
    let refused = [("outcome", "refused"), ("phase", "action")];
    assert_eq!(
        scrape.sum("amends_step_attempts_total", &refused),
        compensated
    );

    // The journal has what it was given, and the events are those of the API.
    assert!(scrape.sum("amends_journal_commit_seconds_count", &[]) > 0);
    assert!(scrape.sum("amends_journal_batch_events_sum", &[]) >= 4 * calls / 2);

    let answered = |method: &str, route: &str, status: &str| {
        let labels = [("method", method), ("route", route), ("status", status)];
        scrape.sum("amends_http_requests_total", &labels)
    };
    assert_eq!(
        answered("POST", "/api/v1/sagas", "202"),
        completed + compensated
    );
    assert_eq!(answered("POST", "/api/v1/sagas", "400"), 1);
    assert_eq!(answered("PUT", "/api/v1/sagas", "405"), 1);
    assert_eq!(answered("GET", "/api/v1/sagas/{id}", "400"), 1);
    assert_eq!(answered("GET", "unmatched", "404"), 1);
    assert_eq!(answered("other", "unmatched", "404"), 1);
    // Nobody's probes, and no id of a saga.
    assert!(!scrape.text.contains("/health/"), "{}", scrape.text);
    for asked in shop.asked() {
        let saga = asked.header("amends-saga-id");
        assert!(!scrape.text.contains(saga), "{saga} in a label");
    }
}

/// `promtool`: of tests/run, in the path, or nowhere, and then this fails.
#[expect(
    clippy::disallowed_methods,
    reason = "what tests/run found is in the environment"
)]
fn promtool() -> PathBuf {
    let of_run = std::env::var_os("AMENDS_TEST_PROMTOOL").map(PathBuf::from);
    let unpacked =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/promtool/usr/bin/promtool");
    match of_run {
        Some(path) => path,
        None if unpacked.exists() => unpacked,
        None => PathBuf::from("promtool"),
    }
}

#[tokio::test]
async fn promtool_finds_nothing_to_complain_about() {
    let bed = Bed::new(Kind::Sqlite, &[&order(), UNUSED]);
    let (coordinator, _shop) = launched(&bed).await;
    mixed_run(&coordinator).await;
    let scrape = Scrape::of(&coordinator).await;
    let program = promtool();
    let mut checking = Command::new(&program)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{} (tests/run gets it): {error}", program.display()));
    let mut input = checking.stdin.take().expect("a pipe");
    input.write_all(scrape.text.as_bytes()).expect("a reader");
    drop(input);
    let output = checking.wait_with_output().expect("an end");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

#[tokio::test]
async fn the_build_says_what_it_is() {
    let bed = Bed::new(Kind::Sqlite, &[ORDER]);
    let settings = bed.settings().participant("shop", "http://127.0.0.1:9");
    let coordinator = Coordinator::start(settings).await;
    let (status, text) = coordinator.management("/info").await.expect("an answer");
    assert_eq!(status, 200);
    let info: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(info["role"], "active");
    let replica = info["replica_id"].as_str().expect("an id");
    assert_eq!(replica.len(), 36);
    assert!(!info["commit"].as_str().expect("a word").is_empty());
    assert!(info["build"].as_str().expect("a word").contains("rustc"));
    let scrape = Scrape::of(&coordinator).await;
    let commit = info["commit"].as_str().expect("a word");
    assert_eq!(scrape.sum("amends_build_info", &[("commit", commit)]), 1);
}
