//! The audit over the API: each saga's whole story, filters, pages and streams.

use std::sync::atomic::Ordering;

use reqwest::Method;
use serde_json::{Value, json};
use support::api::send;
use support::audit::{told, wrong_with};
use support::database::Kind;

use super::{LONG, Scene, assert_problem, scene, scene_of};

/// Its time is up before its pivot has answered, and it goes forward after all.
const OVERDUE: &str = "
name: overdue
version: 1
timeout: 1s
steps:
  - { id: pay, participant: probe, pivot: true, action: { post: /200 } }
  - { id: after, wait: { signal: go } }
";

/// Its time is up while it waits.
const TIMED_OUT: &str = "
name: timed_out
version: 1
timeout: 300ms
steps:
  - { id: done, participant: probe, action: { post: /200 },
      compensation: { post: /200, when: 'false' } }
  - { id: also, participant: probe, action: { post: /200 }, compensation: { post: /200 } }
  - { id: first, wait: { signal: go } }
";

/// The story that the audit tells of a saga: each action, with its step where it has one.
async fn story(scene: &Scene, id: &str) -> Vec<String> {
    assert_eq!(wrong_with(&scene.api, id).await, None);
    let told = told(&scene.api, id).await;
    assert!(
        told.windows(2)
            .all(|pair| pair[0]["seq"].as_u64() < pair[1]["seq"].as_u64())
    );
    let line = |entry: &Value| {
        assert_eq!(entry["saga"], id);
        let action = entry["action"].as_str().expect("an action");
        match entry["step"].as_str() {
            Some(step) => format!("{action} {step}"),
            None => action.to_owned(),
        }
    };
    told.iter().map(line).collect()
}

/// The detail of the entry with this action.
async fn detail(scene: &Scene, id: &str, action: &str) -> Value {
    let told = told(&scene.api, id).await;
    let entry = told.iter().find(|entry| entry["action"] == action);
    entry.expect(action)["detail"].clone()
}

#[tokio::test]
async fn the_audit_tells_of_sagas_that_complete_and_that_are_undone() {
    let scene = scene_of(Kind::Postgres, &[TIMED_OUT], &[]).await;
    let id = scene.ended("quick", "completed").await;
    assert_eq!(story(&scene, &id).await, ["SAGA_STARTED", "SAGA_COMPLETED"]);
    let entries = told(&scene.api, &id).await;
    let entry = &entries[0];
    let expected = json!({
        "seq": entry["seq"], "at": entry["at"], "actor": "anonymous", "action": "SAGA_STARTED",
        "saga": id, "definition": "quick/1", "step": null, "detail": {}, "remote": "127.0.0.1",
    });
    assert_eq!(*entry, expected);
    assert_eq!(entries[1]["remote"], Value::Null);

    let id = scene.ended("refused", "compensated").await;
    let undone = [
        "SAGA_STARTED",
        "SAGA_COMPENSATING ask",
        "COMPENSATION_EXECUTED done",
        "SAGA_COMPENSATED",
    ];
    assert_eq!(story(&scene, &id).await, undone);
    let why = detail(&scene, &id, "SAGA_COMPENSATING").await;
    assert_eq!(why["code"], "http_409");
    let executed = detail(&scene, &id, "COMPENSATION_EXECUTED").await;
    assert_eq!(executed, json!({ "attempt": 1, "action": "succeeded" }));

    // What has nothing to be undone is compensated without a word.
    let id = scene.ended("timed_out", "compensated").await;
    let undone = [
        "SAGA_STARTED",
        "SAGA_COMPENSATING",
        "COMPENSATION_EXECUTED also",
        "SAGA_COMPENSATED",
    ];
    assert_eq!(story(&scene, &id).await, undone);
    let why = detail(&scene, &id, "SAGA_COMPENSATED").await;
    assert_eq!(why, json!({ "code": "timed_out" }));
}

#[tokio::test]
async fn the_audit_tells_of_what_operators_do() {
    let scene = scene(Kind::MariaDb).await;
    let id = scene.waiting().await;
    for _ in 0..2 {
        scene.command(&id, "suspend").await;
    }
    scene
        .post(&format!("/sagas/{id}/signals/go"), &json!({ "secret": 1 }))
        .await;
    scene.command(&id, "resume").await;
    let cancel = format!("/sagas/{id}/cancel");
    scene
        .post(&cancel, &json!({ "reason": "changed my mind" }))
        .await;
    scene.api.settled(&id, LONG).await;
    let cancelled = [
        "SAGA_STARTED",
        "SAGA_SUSPENDED",
        "SIGNAL_RECEIVED",
        "SAGA_RESUMED",
        "SAGA_CANCELLED",
        "SAGA_COMPENSATING",
        "COMPENSATION_EXECUTED done",
        "SAGA_COMPENSATED",
    ];
    assert_eq!(story(&scene, &id).await, cancelled);
    let reason = detail(&scene, &id, "SAGA_CANCELLED").await;
    assert_eq!(reason, json!({ "reason": "changed my mind" }));
    let signal = detail(&scene, &id, "SIGNAL_RECEIVED").await;
    assert_eq!(signal, json!({ "signal": "go" }));

    // What is refused is no deed.
    let before = story(&scene, &id).await;
    assert_problem(&scene.command(&id, "cancel").await, 409, "already_finished");
    assert_eq!(story(&scene, &id).await, before);
}

#[tokio::test]
async fn the_audit_tells_of_failures_and_their_settling() {
    let scene = scene(Kind::Sqlite).await;
    let id = scene.ended("stuck", "failed").await;
    scene.command(&id, "retry").await;
    support::eventually("it to fail again", LONG, async || {
        let told = told(&scene.api, &id).await;
        let failures = told.iter().filter(|entry| entry["action"] == "SAGA_FAILED");
        (failures.count() == 2).then_some(())
    })
    .await;
    let resolved = scene.resolve(&id, "done", "compensated").await;
    assert_eq!(resolved.status, 202, "{}", resolved.body);
    scene.api.settled(&id, LONG).await;
    let settled = [
        "SAGA_STARTED",
        "SAGA_COMPENSATING ask",
        "SAGA_FAILED done",
        "SAGA_RETRIED",
        "SAGA_FAILED done",
        "STEP_RESOLVED done",
        "SAGA_COMPENSATED",
    ];
    assert_eq!(story(&scene, &id).await, settled);
    let retried = detail(&scene, &id, "SAGA_RETRIED").await;
    assert_eq!(retried, json!({ "steps": ["done"] }));
    let by_hand = detail(&scene, &id, "STEP_RESOLVED").await;
    assert_eq!(
        by_hand,
        json!({ "outcome": "compensated", "note": "by hand" })
    );

    // A retry that goes well.
    let id = scene.ended("stuck", "failed").await;
    scene.switch.store(200, Ordering::Relaxed);
    scene.command(&id, "retry").await;
    scene.api.wait_for(&id, &["compensated"], LONG).await;
    let undone = [
        "SAGA_STARTED",
        "SAGA_COMPENSATING ask",
        "SAGA_FAILED done",
        "SAGA_RETRIED",
        "COMPENSATION_EXECUTED done",
        "SAGA_COMPENSATED",
    ];
    assert_eq!(story(&scene, &id).await, undone);
    let executed = detail(&scene, &id, "COMPENSATION_EXECUTED").await;
    assert_eq!(executed["attempt"], 2);
}

#[tokio::test]
async fn the_audit_tells_of_a_saga_that_is_overdue() {
    let scene = scene_of(Kind::Sqlite, &[OVERDUE], &[]).await;
    let id = scene.start("overdue").await;
    support::eventually("its time to be up", LONG, async || {
        (scene.saga(&id).await["overdue"] == true).then_some(())
    })
    .await;
    scene.command(&id, "signals/go").await;
    scene.api.settled(&id, LONG).await;
    let late = [
        "SAGA_STARTED",
        "SAGA_OVERDUE",
        "SIGNAL_RECEIVED",
        "SAGA_COMPLETED",
    ];
    assert_eq!(story(&scene, &id).await, late);
}

/// The entries that a query finds.
async fn items(scene: &Scene, query: &str) -> Vec<Value> {
    let answer = scene.get(&format!("/audit?{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.body);
    answer.body["items"].as_array().expect("items").clone()
}

#[tokio::test]
async fn the_audit_is_filtered() {
    let scene = scene(Kind::Postgres).await;
    let first = scene.ended("refused", "compensated").await;
    let between = told(&scene.api, &first).await[3]["at"]
        .as_str()
        .expect("a time")
        .to_owned();
    let second = scene.ended("quick", "completed").await;
    let items = async |query: &str| items(&scene, query).await;
    let everything = items("limit=500").await;
    let seqs = |items: &[Value]| {
        items
            .iter()
            .map(|item| item["seq"].as_u64())
            .collect::<Vec<_>>()
    };
    assert!(seqs(&everything).windows(2).all(|pair| pair[0] > pair[1]));
    let definitions = items("action=DEFINITION_PUBLISHED").await;
    assert_eq!(definitions.len(), 7, "one for each file");
    assert_eq!(definitions[0]["actor"], "system");
    assert!(
        definitions
            .iter()
            .any(|item| item["definition"] == "refused/2")
    );
    let replica = items("action=REPLICA_STARTED&action=REPLICA_DRAINED").await;
    assert_eq!(replica.len(), 1);
    assert!(
        replica[0]["detail"]["replica"].is_string(),
        "{}",
        replica[0]
    );
    assert_eq!(items(&format!("saga={first}")).await.len(), 4);
    assert_eq!(
        items(&format!("saga={second}&actor=anonymous")).await.len(),
        1
    );
    assert_eq!(items("actor=nobody").await.len(), 0);
    assert_eq!(
        items(&format!(
            "to={between}&saga={first}&action=SAGA_COMPENSATED"
        ))
        .await
        .len(),
        0
    );
    let since = items(&format!("from={between}")).await;
    assert!(
        since
            .iter()
            .any(|item| item["action"] == "SAGA_COMPENSATED")
    );
    assert!(
        since
            .iter()
            .all(|item| item["at"].as_str() >= Some(between.as_str()))
    );
}

#[tokio::test]
async fn pages_of_the_audit_are_the_whole_of_it() {
    let scene = scene(Kind::MariaDb).await;
    scene.ended("refused", "compensated").await;
    let everything = items(&scene, "limit=500").await;
    let mut paged = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = scene.get(&format!("/audit?limit=4{cursor}")).await.body;
        paged.extend(page["items"].as_array().expect("items").clone());
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(paged, everything);

    for bad in [
        "saga=x",
        "action=SAGA_BEGUN",
        "action=",
        "from=yesterday",
        "to=x",
        "limit=501",
        "cursor=7",
        "actor=a&actor=b",
        "actor=%00",
    ] {
        assert_problem(
            &scene.get(&format!("/audit?{bad}")).await,
            400,
            "parameter_invalid",
        );
    }
    assert_problem(
        &scene.get("/audit?actions=x").await,
        400,
        "unknown_parameter",
    );
}

/// A stream of the audit: its media type, and what came.
async fn streamed(scene: &Scene, query: &str, accept: &str) -> (String, String) {
    let request = scene.api.request(Method::GET, &format!("/audit?{query}"));
    let answer = request
        .header("accept", accept)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
    let media_type = answer.headers()["content-type"]
        .to_str()
        .expect("a text")
        .to_owned();
    (media_type, answer.text().await.expect("all of it"))
}

#[tokio::test]
async fn the_whole_audit_is_streamed() {
    let scene = scene(Kind::Sqlite).await;
    // More than a page of the database's holds.
    let starts = json!({ "sagas": vec![json!({ "definition": "quick" }); 400] });
    let answer = scene.post("/sagas:batch", &starts).await;
    assert_eq!(answer.status, 207);
    support::eventually("all to complete", LONG, async || {
        let running = scene.get("/sagas?status=running&limit=1").await.body;
        running["items"].as_array()?.is_empty().then_some(())
    })
    .await;
    let id = scene.waiting().await;
    let cancel = format!("/sagas/{id}/cancel");
    let reason = "said \"no\",\nand meant it";
    scene.post(&cancel, &json!({ "reason": reason })).await;
    scene.api.settled(&id, LONG).await;

    let (media_type, lines) = streamed(&scene, "", "application/x-ndjson").await;
    assert_eq!(media_type, "application/x-ndjson");
    let entries: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    // The definitions, the replica, two of each saga, and the one that was cancelled.
    assert_eq!(entries.len(), 7 + 1 + 800 + 5);
    let page = scene.get("/audit?limit=500").await.body;
    assert_eq!(page["items"].as_array().expect("items")[..], entries[..500]);

    let (media_type, table) = streamed(&scene, "", "text/csv").await;
    assert_eq!(media_type, "text/csv");
    let head = "seq,at,actor,action,saga,definition,step,detail,remote\r\n";
    assert!(table.starts_with(head), "{table:.200}");
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let records: Vec<csv::StringRecord> = reader.records().map(|r| r.expect("a record")).collect();
    assert_eq!(records.len(), entries.len());
    for (record, entry) in records.iter().zip(&entries) {
        assert_eq!(record[0], entry["seq"].to_string());
        assert_eq!(record[1], *entry["at"].as_str().expect("a time"));
        assert_eq!(record[4], *entry["saga"].as_str().unwrap_or_default());
        assert_eq!(record[8], *entry["remote"].as_str().unwrap_or_default());
        let detail: Value = serde_json::from_str(&record[7]).expect("JSON");
        assert_eq!(detail, entry["detail"]);
    }
    let cancelled = entries
        .iter()
        .find(|entry| entry["action"] == "SAGA_CANCELLED");
    assert_eq!(cancelled.expect("a cancel")["detail"]["reason"], reason);

    let query = "action=SAGA_STARTED&limit=3";
    let (_, lines) = streamed(&scene, query, "application/x-ndjson, text/csv;q=0.5").await;
    assert_eq!(lines.lines().count(), 3);
    let (_, table) = streamed(&scene, "actor=nobody", "text/csv").await;
    assert_eq!(table, head);
    let refused = scene
        .api
        .request(Method::GET, "/audit")
        .header("accept", "image/png");
    assert_problem(&send(refused).await.expect("an answer"), 400, "bad_request");
}

#[tokio::test]
async fn what_is_audited_is_configured() {
    let more = [
        ("audit.actions", "[SAGA_STARTED, SIGNAL_RECEIVED]"),
        ("audit.include_input", "true"),
    ];
    let scene = scene_of(Kind::Sqlite, &[], &more).await;
    let id = scene.waiting().await;
    for n in 1..=2 {
        let signal = format!("/sagas/{id}/signals/go");
        scene.post(&signal, &json!({ "n": n })).await;
    }
    scene.api.settled(&id, LONG).await;
    let told = items(&scene, "").await;
    let actions: Vec<_> = told.iter().map(|entry| &entry["action"]).collect();
    assert_eq!(
        actions,
        ["SIGNAL_RECEIVED", "SIGNAL_RECEIVED", "SAGA_STARTED"]
    );
    assert_eq!(
        told[0]["detail"],
        json!({ "signal": "go", "payload": { "n": 2 } })
    );
    assert_eq!(told[2]["detail"], json!({ "input": null }));
}

#[tokio::test]
async fn a_drain_is_audited() {
    let mut scene = scene(Kind::Postgres).await;
    scene.ended("quick", "completed").await;
    scene.coordinator.signal("TERM");
    let coordinator = &mut scene.coordinator;
    support::eventually("it to end", LONG, async || coordinator.exit_status()).await;
    coordinator.restart().await;
    let told = items(&scene, "actor=system&limit=2").await;
    let actions: Vec<_> = told.iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, ["REPLICA_STARTED", "REPLICA_DRAINED"]);
    let [started, drained] = [0, 1].map(|n| &told[n]["detail"]);
    assert_ne!(started["replica"], drained["replica"]);
    assert_eq!(drained["version"], env!("CARGO_PKG_VERSION"));
    let first = items(&scene, "action=REPLICA_STARTED").await;
    assert_eq!(first.len(), 2);
    assert_eq!(first[1]["detail"], *drained);
}
