//! Definitions published, paused and resumed over the API, and drawn.

use reqwest::Method;
use serde_json::{Value, json};
use support::api::{Answer, Api, send};
use support::coordinator::{Coordinator, Settings};
use support::database::{Kind, TestDatabase};
use support::definitions::Definitions;
use support::scripted::{Reply, Scripted};

use super::{LONG, QUICK, WAITING, assert_problem, scene};

/// A version of a definition with one step that asks for `path`.
fn version(version: u32, path: &str) -> String {
    format!(
        "name: order\nversion: {version}\ndescription: Number {version}.\nsteps:\n  \
         - {{ id: ask, participant: probe, action: {{ post: {path} }}, compensation: {{ post: /200 }} }}\n"
    )
}

async fn publish(api: &Api, document: &str) -> Answer {
    api.publish(document).await.expect("an answer")
}

async fn post(api: &Api, path: &str, body: &Value) -> Answer {
    api.post(path, body).await.expect("an answer")
}

async fn start(api: &Api, version: Option<u32>) -> Answer {
    let body = json!({ "definition": "order", "version": version });
    post(api, "/sagas", &body).await
}

/// The versions in the list, each with whether it is paused.
fn versions(listed: &Value) -> Vec<(u64, bool)> {
    let versions = listed["versions"].as_array().expect("versions");
    let version = |version: &Value| {
        let number = version["version"].as_u64().expect("a number");
        (number, version["paused"].as_bool().expect("a flag"))
    };
    versions.iter().map(version).collect()
}

#[tokio::test]
async fn a_definition_is_published_once_and_never_changes() {
    for kind in [Kind::Sqlite, Kind::MariaDb] {
        let mut scene = scene(kind).await;
        let first = publish(&scene.api, &version(1, "/200")).await;
        assert_eq!(first.status, 201, "{}", first.body);
        assert_eq!(
            first.header("location"),
            "/api/v1/definitions/order/versions/1"
        );
        assert_eq!(first.body["name"], "order");
        assert_eq!(first.body["version"], 1);
        assert_eq!(first.body["paused"], false);
        assert!(first.body["published_at"].is_string());
        assert_eq!(first.body["definition"]["steps"][0]["id"], "ask");

        // The same value again, in another writing and as JSON.
        let document = first.body["definition"].clone();
        let request = scene.api.request(Method::POST, "/definitions");
        let again = send(request.json(&document)).await.expect("an answer");
        assert_eq!((again.status.as_u16(), &again.body), (200, &first.body));

        let other = publish(&scene.api, &version(1, "/201")).await;
        assert_problem(&other, 409, "version_conflict");
        assert_eq!(publish(&scene.api, &version(2, "/201")).await.status, 201);

        // What is in the directory is published, too.
        assert_eq!(publish(&scene.api, QUICK).await.status, 200);
        let listed = scene.get("/definitions").await.body;
        let by_name = |name: &str| {
            let items = listed["items"].as_array().expect("items");
            let found = items.iter().find(|item| item["name"] == name);
            found.expect("listed").clone()
        };
        let order = by_name("order");
        assert_eq!(versions(&order), [(1, false), (2, false)]);
        assert_eq!(order["version"], 2);
        assert_eq!(order["description"], "Number 2.");
        assert_eq!(order["versions"][0]["source"], "api");
        assert_eq!(by_name("quick")["versions"][0]["source"], "directory");

        // A saga keeps the version that it started with; and all of it survives a restart.
        for (version, expected) in [(None, 2), (Some(1), 1)] {
            let started = start(&scene.api, version).await;
            assert_eq!(started.body["version"], expected, "{}", started.body);
            let end = scene.api.settled(&started.id(), LONG).await;
            assert_eq!(end["status"], "completed", "{end}");
        }
        scene.coordinator.restart().await;
        let listed = scene.get("/definitions").await.body;
        assert!(listed.to_string().contains("Number 2."), "{listed}");
    }
}

#[tokio::test]
async fn a_bad_definition_is_refused_with_all_that_is_wrong() {
    let scene = scene(Kind::Sqlite).await;
    let bad = "name: bad\nversion: 1\nsteps:\n  - { id: a, participant: absent, action: { command: x } }\n  - { id: a, delay: soon }\n";
    let refused = publish(&scene.api, bad).await;
    assert_problem(&refused, 422, "definition_invalid");
    let problems = refused.body["problems"].as_array().expect("problems");
    let errors: Vec<_> = problems
        .iter()
        .filter(|problem| problem["severity"] == "error")
        .collect();
    assert!(errors.len() >= 3, "{}", refused.body);
    for problem in problems {
        assert!(problem["line"].is_u64() && problem["column"].is_u64());
        assert!(problem["code"].is_string() && problem["message"].is_string());
    }
    // What only the configuration tells.
    let unknown = version(1, "/200").replace("probe", "absent");
    let refused = publish(&scene.api, &unknown).await;
    assert_problem(&refused, 422, "definition_invalid");
    assert_eq!(refused.body["problems"][0]["line"], 5, "{}", refused.body);
    // What this coordinator does not run.
    let later = version(1, "/200").replace("action:", "reply: async, action:");
    assert_problem(
        &publish(&scene.api, &later).await,
        422,
        "definition_invalid",
    );
    // A warning is no reason.
    let warned = version(1, "/200").replace(", compensation: { post: /200 }", "");
    assert_eq!(publish(&scene.api, &warned).await.status, 201);

    let absent = scene.get("/definitions/bad").await;
    assert_problem(&absent, 404, "definition_not_found");
    let as_type = async |kind: &str, body: &str| {
        let request = scene.api.request(Method::POST, "/definitions");
        let request = request.header("content-type", kind).body(body.to_owned());
        send(request).await.expect("an answer")
    };
    let other = as_type("text/plain", QUICK).await;
    assert_problem(&other, 415, "unsupported_media_type");
    let other = as_type("application/json", "{").await;
    assert_problem(&other, 400, "malformed_json");
    let other = as_type("application/json", r#"{"name": "x", "name": "y"}"#).await;
    assert_problem(&other, 422, "definition_invalid");
}

#[tokio::test]
async fn a_paused_definition_takes_no_new_starts() {
    let scene = scene(Kind::Sqlite).await;
    let api = &scene.api;
    for number in 1..=3 {
        assert_eq!(publish(api, &version(number, "/200")).await.status, 201);
    }
    let pause = async |what: &str, body: &Value| {
        let answer = post(api, &format!("/definitions/order/{what}"), body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.body["name"], "order");
        versions(&answer.body)
    };
    let paused = pause("pause", &json!({ "version": 3 })).await;
    assert_eq!(paused, [(1, false), (2, false), (3, true)]);
    assert_problem(&start(api, Some(3)).await, 409, "definition_paused");
    // The newest that is not paused.
    assert_eq!(start(api, None).await.body["version"], 2);
    let shown = scene.get("/definitions/order").await.body;
    assert_eq!(
        (&shown["version"], &shown["paused"]),
        (&json!(3), &json!(true))
    );
    let shown = scene.get("/definitions/order/versions/2").await.body;
    assert_eq!(shown["paused"], false);

    let paused = pause("pause", &json!({})).await;
    assert_eq!(paused, [(1, true), (2, true), (3, true)]);
    let batch = json!({ "sagas": [{ "definition": "order" }, { "definition": "quick" }] });
    let results = post(api, "/sagas:batch", &batch).await.body;
    assert_eq!(
        results["results"][0]["problem"]["code"],
        "definition_paused"
    );
    assert_eq!(results["results"][1]["status"], 202);
    assert_problem(&start(api, None).await, 409, "definition_paused");
    // A version that is published later was not paused.
    assert_eq!(publish(api, &version(4, "/200")).await.status, 201);
    assert_eq!(start(api, None).await.body["version"], 4);

    let resumed = pause("resume", &json!({ "version": 1 })).await;
    assert_eq!(resumed, [(1, false), (2, true), (3, true), (4, false)]);
    assert_eq!(start(api, Some(1)).await.status, 202);
    let resumed = pause("resume", &json!({ "version": null })).await;
    assert!(resumed.iter().all(|(_, paused)| !paused), "{resumed:?}");

    for (path, body, code, status) in [
        ("absent/pause", json!({}), "definition_not_found", 404),
        ("absent/resume", json!({}), "definition_not_found", 404),
        (
            "order/pause",
            json!({ "version": 9 }),
            "definition_not_found",
            404,
        ),
        ("order/pause", json!({ "version": 0 }), "input_invalid", 422),
        (
            "order/pause",
            json!({ "versions": 1 }),
            "input_invalid",
            422,
        ),
        ("order/pause", json!([]), "input_invalid", 422),
        ("%00/pause", json!({}), "definition_not_found", 404),
    ] {
        let answer = post(api, &format!("/definitions/{path}"), &body).await;
        assert_problem(&answer, status, code);
    }
}

/// A start that was made before is answered with its saga, whatever became of its definition.
#[tokio::test]
async fn a_start_that_was_seen_is_replayed_when_its_definition_is_paused() {
    let scene = scene(Kind::Sqlite).await;
    let api = &scene.api;
    publish(api, &version(1, "/200")).await;
    let input = json!({ "n": 1 });
    let keyed = async |input: &Value, key: &str| {
        let answer = api.start("order", input, Some(key)).await;
        answer.expect("an answer")
    };
    let first = keyed(&input, "once").await;
    assert_eq!(first.status, 202, "{}", first.body);
    post(api, "/definitions/order/pause", &json!({})).await;
    let again = keyed(&input, "once").await;
    assert_eq!(again.status, 202, "{}", again.body);
    assert_eq!(again.id(), first.id());
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_problem(&keyed(&input, "other").await, 409, "definition_paused");
    // A start that was refused does not use its key up.
    post(api, "/definitions/order/resume", &json!({})).await;
    let other = keyed(&input, "other").await;
    assert_eq!(other.status, 202);
    assert_ne!(other.id(), first.id());

    // A newer version takes other input.
    let strict = version(2, "/200") + "input: { type: object, required: [m] }\n";
    assert_eq!(publish(api, &strict).await.status, 201);
    let again = keyed(&input, "once").await;
    assert_eq!((again.status.as_u16(), again.id()), (202, first.id()));
    assert_problem(&keyed(&input, "new").await, 422, "input_invalid");
}

#[tokio::test]
async fn a_graph_is_answered_as_it_is_asked_for() {
    let scene = scene(Kind::Sqlite).await;
    publish(&scene.api, &version(1, "/200")).await;
    publish(&scene.api, &version(2, "/200").replace("ask", "demand")).await;
    let graph = async |query: &str, accept: Option<&str>| {
        let path = format!("/definitions/order/graph{query}");
        let mut request = scene.api.request(Method::GET, &path);
        if let Some(accept) = accept {
            request = request.header("accept", accept);
        }
        let response = request.send().await.expect("an answer");
        let kind = response.headers()["content-type"].to_str().expect("text");
        let kind = kind.to_owned();
        (kind, response.text().await.expect("a body"))
    };
    let (kind, json) = graph("", None).await;
    assert_eq!(kind, "application/json");
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["nodes"][0]["id"], "demand");
    assert_eq!(json["edges"], json!([]));
    let (kind, mermaid) = graph("", Some("text/vnd.mermaid")).await;
    assert_eq!(kind, "text/vnd.mermaid");
    assert!(mermaid.starts_with("flowchart TD\n"), "{mermaid}");
    let (kind, svg) = graph("?version=1", Some("image/svg+xml, */*;q=0.1")).await;
    assert_eq!(kind, "image/svg+xml");
    assert!(svg.starts_with("<svg") && svg.contains(">ask<"), "{svg}");

    let request = scene.api.request(Method::GET, "/definitions/order/graph");
    let none = send(request.header("accept", "text/html")).await;
    assert_problem(&none.expect("an answer"), 400, "bad_request");
    for (path, status, code) in [
        ("order/graph?version=3", 404, "definition_not_found"),
        ("order/graph?version=0", 400, "parameter_invalid"),
        ("order/graph?format=svg", 400, "unknown_parameter"),
        ("absent/graph", 404, "definition_not_found"),
    ] {
        let answer = scene.get(&format!("/definitions/{path}")).await;
        assert_problem(&answer, status, code);
    }
}

/// One owns the sagas, the other stands by; what one of them is told, both know.
#[tokio::test]
async fn replicas_learn_of_each_others_publications() {
    let probe = Scripted::start(|_| Reply::json(200, &json!({ "ok": true })));
    let database = TestDatabase::fresh(Kind::Postgres);
    let (none, some) = (Definitions::of::<&str>(&[]), Definitions::of(&[WAITING]));
    let settings = |definitions: &Definitions| {
        Settings::new(
            env!("CARGO_BIN_EXE_amends"),
            database.url(),
            definitions.path(),
        )
        .participant("probe", probe.url("probe"))
    };
    let mut owner = Coordinator::start(settings(&none)).await;
    // Its directory has a definition that the owner's has not.
    let standby = Coordinator::spawn(settings(&some));
    standby.wait_for("standby", LONG).await;
    support::eventually("the standby's API", LONG, async || {
        standby.api().get("/sagas").await.ok()
    })
    .await;

    // What is not in memory is looked for: nobody has to wait for the next look.
    let waiting = owner.api().start("waiting", &Value::Null, None).await;
    let waiting = waiting.expect("an answer");
    assert_eq!(waiting.status, 202, "{}", waiting.body);
    assert_eq!(
        publish(&standby.api(), &version(1, "/200")).await.status,
        201
    );
    let started = start(&owner.api(), Some(1)).await;
    assert_eq!(started.status, 202, "{}", started.body);

    // A pause and a newer version are learnt in a few seconds.
    let pause = post(&standby.api(), "/definitions/order/pause", &json!({})).await;
    assert_eq!(pause.status, 200);
    support::eventually("the pause to be known", LONG, async || {
        (start(&owner.api(), None).await.code() == "definition_paused").then_some(())
    })
    .await;
    assert_eq!(
        publish(&standby.api(), &version(2, "/200")).await.status,
        201
    );
    support::eventually("the version to be known", LONG, async || {
        (start(&owner.api(), None).await.body["version"] == 2).then_some(())
    })
    .await;

    // A running saga keeps its version, and goes on at whoever takes it over, paused or not.
    publish(&owner.api(), &WAITING.replace("version: 1", "version: 2")).await;
    post(&owner.api(), "/definitions/waiting/pause", &json!({})).await;
    owner.kill();
    standby.wait_for("ready", LONG).await;
    for number in 1..=2 {
        let path = format!("/sagas/{}/signals/go", waiting.id());
        let answer = post(&standby.api(), &path, &json!(number)).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
    let end = standby.api().settled(&waiting.id(), LONG).await;
    assert_eq!(
        (&end["status"], &end["version"]),
        (&json!("completed"), &json!(1))
    );
    assert_eq!(end["output"], json!([1, 2]));
}

/// A definition that only the replica that died knew is found when its saga is recovered, and it
/// stays published when its file is gone.
#[tokio::test]
async fn a_definition_whose_file_is_gone_stays_published() {
    let probe = Scripted::start(|_| Reply::json(200, &json!({ "ok": true })));
    let database = TestDatabase::fresh(Kind::Sqlite);
    let definitions = Definitions::of(&[WAITING]);
    let settings = Settings::new(
        env!("CARGO_BIN_EXE_amends"),
        database.url(),
        definitions.path(),
    )
    .participant("probe", probe.url("probe"));
    let mut coordinator = Coordinator::start(settings).await;
    let api = coordinator.api();
    let started = api.start("waiting", &Value::Null, None).await;
    let id = started.expect("an answer").id();
    std::fs::remove_file(definitions.path().join("0.yaml")).expect("removed");
    coordinator.restart().await;
    for _ in 0..2 {
        post(&api, &format!("/sagas/{id}/signals/go"), &json!(1)).await;
    }
    assert_eq!(api.settled(&id, LONG).await["status"], "completed");
    let started = api.start("waiting", &Value::Null, None).await;
    assert_eq!(started.expect("an answer").status, 202);
}
