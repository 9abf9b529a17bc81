//! Starting sagas over the API: one, once, waited for, many (api.md, "Start").
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test may")]

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use support::api::{Answer, Api, send};
use support::coordinator::{Coordinator, Settings};
use support::database::{Kind, TestDatabase};
use support::definitions::Definitions;
use support::scripted::{Reply, Scripted};

const LONG: Duration = Duration::from_secs(30);

const QUICK: &str = "
name: quick
version: 1
labels: { team: blue, tier: gold }
input:
  type: object
  required: [order, items]
  properties:
    order: { type: string, minLength: 1 }
    items: { type: array, items: { type: object, properties: { sku: { type: string } } } }
steps:
  - { id: ask, participant: probe, action: { post: /200 }, compensation: { post: /200 } }
";

const QUICK_2: &str = "
name: quick
version: 2
steps:
  - { id: ask, participant: probe, action: { post: /200 }, compensation: { post: /200 } }
";

const REFUSED: &str = "
name: refused
version: 1
steps:
  - { id: ask, participant: probe, action: { post: /409 } }
";

const STUCK: &str = "
name: stuck
version: 1
steps:
  - { id: done, participant: probe, action: { post: /200 }, compensation: { post: /409 } }
  - { id: ask, participant: probe, action: { post: /409 } }
";

const WAITING: &str = "
name: waiting
version: 1
timeout: 1h
steps:
  - { id: approval, wait: { signal: go } }
";

struct Scene {
    coordinator: Coordinator,
    probe: Scripted,
    _definitions: Definitions,
    _database: TestDatabase,
}

async fn scene(kind: Kind, keys: &[(&str, &str)]) -> Scene {
    let probe = Scripted::start(|asked| {
        let status = asked.path.trim_start_matches("/probe/").parse();
        Reply::json(status.unwrap_or(418), &json!({ "ok": true }))
    });
    let database = TestDatabase::fresh(kind);
    let definitions = Definitions::of(&[QUICK, QUICK_2, REFUSED, STUCK, WAITING]);
    let binary = env!("CARGO_BIN_EXE_amends");
    let mut settings = Settings::new(binary, database.url(), definitions.path())
        .participant("probe", probe.url("probe"))
        .key("sagas.strict", "true");
    for (path, value) in keys {
        settings = settings.key(path, *value);
    }
    Scene {
        coordinator: Coordinator::start(settings).await,
        probe,
        _definitions: definitions,
        _database: database,
    }
}

fn order() -> Value {
    json!({ "definition": "quick", "version": 1, "input": { "order": "1", "items": [] } })
}

async fn start_with(api: &Api, headers: &[(&str, &str)], body: &Value) -> Answer {
    let mut request = api.request(Method::POST, "/sagas").json(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(request).await.expect("an answer")
}

async fn count(api: &Api) -> usize {
    let all = api.get("/sagas?limit=500").await.expect("an answer").body;
    all["items"].as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn a_start_is_answered_with_the_summary() {
    let scene = scene(Kind::Sqlite, &[]).await;
    let api = scene.coordinator.api();
    let body = json!({
        "definition": "waiting", "version": 1, "key": "ORD-1", "input": { "a": [1, null] },
        "labels": { "channel": "web" },
    });
    let answer = start_with(&api, &[], &body).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let location = format!("/api/v1/sagas/{}", answer.id());
    assert_eq!(answer.header("location"), location);
    assert_eq!(answer.header("idempotent-replayed"), "");
    assert_ne!(answer.header("x-request-id"), "");
    let summary = answer.body.as_object().expect("an object");
    let members: Vec<&str> = summary.keys().map(String::as_str).collect();
    let expected = [
        "id",
        "definition",
        "version",
        "key",
        "labels",
        "status",
        "suspended",
        "overdue",
        "failure",
        "created_at",
        "updated_at",
        "finished_at",
        "deadline",
    ];
    assert_eq!(members, expected);
    assert_eq!(summary["definition"], "waiting");
    assert_eq!(summary["version"], 1);
    assert_eq!(summary["key"], "ORD-1");
    assert_eq!(summary["labels"], json!({ "channel": "web" }));
    assert_eq!(summary["status"], "running");
    assert_eq!(summary["suspended"], false);
    assert_eq!(summary["failure"], Value::Null);
    assert!(
        summary["deadline"]
            .as_str()
            .is_some_and(|at| at.ends_with('Z'))
    );

    let whole = api.saga(&answer.id()).await.expect("an answer").body;
    assert_eq!(whole["input"], json!({ "a": [1, null] }));
    assert_eq!(whole["output"], Value::Null);
    assert_eq!(whole["steps"][0]["waiting_for"], "signal:go");
}

#[tokio::test]
async fn a_start_takes_the_newest_version_and_the_definitions_labels() {
    let scene = scene(Kind::Sqlite, &[]).await;
    let api = scene.coordinator.api();
    let newest = api.start("quick", &Value::Null, None).await;
    assert_eq!(newest.expect("an answer").body["version"], 2);
    let mut body = order();
    body["labels"] = json!({ "tier": "silver", "a/b~c": "" });
    let labelled = start_with(&api, &[], &body).await;
    let expected = json!({ "team": "blue", "tier": "silver", "a/b~c": "" });
    assert_eq!(labelled.body["labels"], expected);
    let asked = api.get("/sagas?label=tier:silver&label=team:blue").await;
    let asked = asked.expect("an answer").body;
    assert_eq!(asked["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(asked["items"][0]["id"], labelled.body["id"]);
}

#[tokio::test]
async fn a_start_may_wait_for_the_end() {
    let scene = scene(Kind::Sqlite, &[]).await;
    let api = scene.coordinator.api();
    let wait = [("prefer", "wait=20")];
    for (definition, status) in [
        ("quick", "completed"),
        ("refused", "compensated"),
        ("stuck", "failed"),
    ] {
        let body = json!({ "definition": definition });
        let answer = start_with(&api, &wait, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.body["status"], status);
        assert!(answer.body["steps"].is_array());
        assert!(answer.header("location").ends_with(&answer.id()));
    }
    // One that does not end in time is answered as if nobody had waited.
    let begun = Instant::now();
    let body = json!({ "definition": "waiting" });
    let answer = start_with(&api, &[("prefer", "respond-async, wait=1")], &body).await;
    assert_eq!(answer.status, 202);
    assert!(answer.body.get("steps").is_none());
    let took = begun.elapsed();
    assert!(
        (Duration::from_millis(950)..Duration::from_secs(5)).contains(&took),
        "{took:?}"
    );
    for bad in ["wait=soon", "wait=-1", "wait="] {
        let answer = start_with(&api, &[("prefer", bad)], &body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (400, "bad_request")
        );
    }
}

/// A drain answers who waits, with what there is.
#[tokio::test]
async fn a_drain_ends_the_waiting() {
    let mut scene = scene(Kind::Sqlite, &[]).await;
    let api = scene.coordinator.api();
    let body = json!({ "definition": "waiting" });
    let (answer, status) = tokio::join!(start_with(&api, &[("prefer", "wait=60")], &body), async {
        support::eventually("the start", LONG, async || {
            (count(&api).await == 1).then_some(())
        })
        .await;
        scene.coordinator.stop(Duration::from_secs(10)).await
    });
    assert_eq!(status.code(), Some(0));
    assert_eq!(answer.status, 202);
    assert_eq!(answer.body["status"], "running");
}

async fn a_key_makes_a_start_once(kind: Kind) {
    let mut scene = scene(kind, &[("engine.lease", "1s")]).await;
    let api = scene.coordinator.api();
    let key = [("idempotency-key", "é key")];
    let first = start_with(&api, &key, &order()).await;
    assert_eq!(first.status, 202);
    api.settled(&first.id(), LONG).await;
    let calls = scene.probe.asked().len();

    // The same value, written otherwise.
    let same =
        json!({ "input": { "items": [], "order": "1" }, "version": 1.0, "definition": "quick" });
    for body in [order(), same] {
        let again = start_with(&api, &key, &body).await;
        assert_eq!(again.status, 202, "{}", again.body);
        assert_eq!(again.id(), first.id());
        assert_eq!(again.header("idempotent-replayed"), "true");
        assert_eq!(again.body["status"], "completed");
        assert!(again.body.get("steps").is_none());
    }
    let waited = [key[0], ("prefer", "wait=5")];
    let again = start_with(&api, &waited, &order()).await;
    assert_eq!(again.status, 200);
    assert!(again.body["steps"].is_array());

    let mut other = order();
    other["input"]["order"] = json!("2");
    let reused = start_with(&api, &key, &other).await;
    assert_eq!(reused.status, 422);
    assert_eq!(reused.code(), "idempotency_key_reused");

    // A start that was refused does not use its key up.
    let fresh = [("idempotency-key", "fresh")];
    let bad = json!({ "definition": "quick", "version": 1, "input": {} });
    assert_eq!(start_with(&api, &fresh, &bad).await.status, 422);
    let absent = json!({ "definition": "absent" });
    assert_eq!(start_with(&api, &fresh, &absent).await.status, 404);
    let good = start_with(&api, &fresh, &order()).await;
    assert_eq!(good.status, 202);
    assert_ne!(good.id(), first.id());
    api.settled(&good.id(), LONG).await;

    // A key outlives the process.
    scene.coordinator.kill();
    scene.coordinator.restart().await;
    let again = start_with(&api, &key, &order()).await;
    assert_eq!(again.id(), first.id());
    assert_eq!(again.header("idempotent-replayed"), "true");

    // A start that was none calls nobody: what was called are the two first sagas.
    assert_eq!(scene.probe.asked().len(), calls + 1);
    assert_eq!(count(&api).await, 2);
}

#[tokio::test]
async fn a_key_makes_a_start_once_on_sqlite() {
    a_key_makes_a_start_once(Kind::Sqlite).await;
}

#[tokio::test]
async fn a_key_makes_a_start_once_on_postgres() {
    a_key_makes_a_start_once(Kind::Postgres).await;
}

#[tokio::test]
async fn a_key_makes_a_start_once_on_mariadb() {
    a_key_makes_a_start_once(Kind::MariaDb).await;
}

/// Keys are compared byte by byte, whatever the database's collation.
#[tokio::test]
async fn keys_that_look_alike_are_different() {
    for kind in Kind::ALL {
        let scene = scene(kind, &[]).await;
        let api = scene.coordinator.api();
        let keys = ["key", "KEY", "key ", "kéy", "ke\u{301}y"];
        let mut ids = Vec::new();
        for key in keys {
            let batch = json!({ "sagas": [{ "definition": "waiting", "idempotency_key": key }] });
            let answer = api.post("/sagas:batch", &batch).await.expect("an answer");
            ids.push(answer.body["results"][0]["saga"]["id"].clone());
        }
        assert!(ids.iter().all(Value::is_string), "{kind:?}: {ids:?}");
        ids.sort_by_key(Value::to_string);
        ids.dedup();
        assert_eq!(ids.len(), keys.len(), "{kind:?}");
    }
}

async fn twins_make_one_saga(kind: Kind) {
    let scene = scene(kind, &[]).await;
    let api = scene.coordinator.api();
    for round in 0..10 {
        let key = format!("twin {round}");
        let headers = [("idempotency-key", key.as_str())];
        let body = order();
        let twins = (0..12).map(|_| start_with(&api, &headers, &body));
        let answers = join_all(twins).await;
        let id = answers[0].id();
        assert!(answers.iter().all(|answer| answer.status == 202));
        assert!(answers.iter().all(|answer| answer.id() == id));
        let replayed = |answer: &&Answer| answer.header("idempotent-replayed") == "true";
        assert_eq!(answers.iter().filter(replayed).count(), 11, "{key}");
        api.settled(&id, LONG).await;
    }
    assert_eq!(count(&api).await, 10);
    assert_eq!(scene.probe.asked().len(), 10);
}

#[tokio::test]
async fn twins_make_one_saga_on_sqlite() {
    twins_make_one_saga(Kind::Sqlite).await;
}

#[tokio::test]
async fn twins_make_one_saga_on_postgres() {
    twins_make_one_saga(Kind::Postgres).await;
}

#[tokio::test]
async fn twins_make_one_saga_on_mariadb() {
    twins_make_one_saga(Kind::MariaDb).await;
}

#[tokio::test]
async fn a_batch_answers_each_start() {
    let scene = scene(Kind::Sqlite, &[]).await;
    let api = scene.coordinator.api();
    let mut keyed = order();
    keyed["idempotency_key"] = json!("k");
    let mut other = keyed.clone();
    other["input"]["order"] = json!("2");
    let batch = json!({ "sagas": [
        order(),
        keyed, keyed, other,
        { "definition": "absent" },
        { "definition": "quick", "version": 9 },
        { "definition": "quick", "version": 1, "input": { "order": "", "items": [{ "sku": 1 }] } },
        { "definitions": "quick" },
        7,
        { "definition": "waiting", "idempotency_key": 7 },
    ] });
    let answer = api.post("/sagas:batch", &batch).await.expect("an answer");
    assert_eq!(answer.status, 207);
    let results = answer.body["results"].as_array().expect("results");
    let shown: Vec<(u64, &str)> = results
        .iter()
        .map(|result| {
            let code = result["problem"]["code"].as_str().unwrap_or_default();
            (result["status"].as_u64().unwrap_or_default(), code)
        })
        .collect();
    let expected = [
        (202, ""),
        (202, ""),
        (202, ""),
        (422, "idempotency_key_reused"),
        (404, "definition_not_found"),
        (404, "definition_not_found"),
        (422, "input_invalid"),
        (422, "input_invalid"),
        (422, "input_invalid"),
        (422, "input_invalid"),
    ];
    assert_eq!(shown, expected);
    assert_eq!(results[1]["saga"]["id"], results[2]["saga"]["id"]);
    let pointers = |index: usize| -> Vec<&str> {
        let errors = results[index]["problem"]["errors"].as_array();
        let errors = errors.into_iter().flatten();
        errors
            .filter_map(|error| error["pointer"].as_str())
            .collect()
    };
    let mut of_input = pointers(6);
    of_input.sort_unstable();
    assert_eq!(
        of_input,
        ["/sagas/6/input/items/0/sku", "/sagas/6/input/order"]
    );
    assert_eq!(pointers(7), ["/sagas/7/definition", "/sagas/7/definitions"]);
    assert_eq!(pointers(8), ["/sagas/8"]);
    assert_eq!(pointers(9), ["/sagas/9/idempotency_key"]);
    assert_eq!(count(&api).await, 2);

    // The header's key is the same as the batch's.
    let again = start_with(&api, &[("idempotency-key", "k")], &order()).await;
    assert_eq!(again.body["id"], results[1]["saga"]["id"]);
}

#[tokio::test]
async fn a_batch_has_its_bounds() {
    let scene = scene(Kind::Sqlite, &[]).await;
    let api = scene.coordinator.api();
    let empty = api.post("/sagas:batch", &json!({ "sagas": [] })).await;
    let empty = empty.expect("an answer");
    assert_eq!(
        (empty.status.as_u16(), empty.body),
        (207, json!({ "results": [] }))
    );
    let too_many = json!({ "sagas": vec![order(); 501] });
    let too_many = api
        .post("/sagas:batch", &too_many)
        .await
        .expect("an answer");
    assert_eq!(too_many.status, 422);
    assert_eq!(too_many.body["errors"][0]["pointer"], "/sagas");
}

/// Admission: only so many are active at once; what has ended makes room.
#[tokio::test]
async fn too_many_sagas_are_not_admitted() {
    let scene = scene(Kind::Sqlite, &[("engine.max_active_sagas", "3")]).await;
    let api = scene.coordinator.api();
    let mut active = Vec::new();
    for _ in 0..3 {
        let started = api.start("waiting", &Value::Null, None).await;
        active.push(started.expect("an answer").id());
    }
    let refused = api.start("waiting", &Value::Null, Some("k")).await;
    let refused = refused.expect("an answer");
    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (429, "too_many_sagas")
    );
    assert_ne!(refused.header("retry-after"), "");
    assert_eq!(count(&api).await, 3);
    let signal = format!("/sagas/{}/signals/go", active[0]);
    api.post(&signal, &Value::Null).await.expect("an answer");
    api.settled(&active[0], LONG).await;
    // Starts that come and go leave the count as it was.
    for _ in 0..10 {
        let answer = start_with(&api, &[("prefer", "wait=20")], &order()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    let started = api.start("waiting", &Value::Null, Some("k")).await;
    assert_eq!(started.expect("an answer").status, 202);
    let again = api.start("waiting", &Value::Null, None).await;
    assert_eq!(again.expect("an answer").status, 429);
}
