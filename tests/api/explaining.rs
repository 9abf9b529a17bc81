//! Why a saga stands where it stands, and what a cancel would undo.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use support::coordinator::{Coordinator, Settings};
use support::database::{Kind, TestDatabase};
use support::definitions::Definitions;
use support::scripted::{Reply, Scripted};

use super::{LONG, Scene, assert_problem, scene};

async fn explained(scene: &Scene, id: &str) -> Value {
    let answer = scene.get(&format!("/sagas/{id}/explain")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["id"], id);
    answer.body
}

/// It says that it cannot be cancelled exactly when a cancel is refused, and why.
async fn assert_cancel(scene: &Scene, id: &str, why_not: &str) {
    let said = explained(scene, id).await;
    let cancel = json!({ "possible": false, "why_not": why_not, "undoes": [] });
    assert_eq!(said["cancel"], cancel);
    if why_not != "failed" {
        assert_problem(&scene.command(id, "cancel").await, 409, why_not);
    }
}

#[tokio::test]
async fn a_saga_is_explained_wherever_it_stands() {
    let scene = scene(Kind::Sqlite).await;
    let id = scene.waiting().await;
    let said = explained(&scene, &id).await;
    assert_eq!(said["status"], "running");
    let first = &said["waiting"][0];
    assert_eq!(first["step"], "first");
    assert_eq!(first["for"], "signal:go");
    assert!(first["since"].is_string() && first["until"].is_null());
    let words = said["summary"].as_str().expect("a text");
    assert!(
        words.starts_with("Waiting for the signal `go`: first has waited for ")
            && words.ends_with(" and waits for as long as it takes."),
        "{words}"
    );
    let undoes = json!({ "possible": true, "why_not": null, "undoes": [["done"]] });
    assert_eq!(said["cancel"], undoes);

    scene.command(&id, "suspend").await;
    let said = explained(&scene, &id).await;
    assert_eq!(said["waiting"][1]["for"], "operator");
    let words = said["summary"].as_str().expect("a text");
    assert!(words.starts_with("Suspended: "), "{words}");
    scene.command(&id, "resume").await;
    scene.command(&id, "cancel").await;
    scene.api.settled(&id, LONG).await;
    assert_cancel(&scene, &id, "already_finished").await;

    let id = scene.ended("quick", "completed").await;
    let words = explained(&scene, &id).await["summary"].clone();
    assert!(
        words
            .as_str()
            .is_some_and(|words| words.starts_with("Completed "))
    );
    assert_cancel(&scene, &id, "already_finished").await;
    let id = scene.start("past").await;
    support::eventually("the pivot", LONG, async || {
        let saga = scene.saga(&id).await;
        (saga["steps"][0]["status"] == "succeeded").then_some(())
    })
    .await;
    assert_cancel(&scene, &id, "past_pivot").await;

    for (definition, step, resolve) in [
        ("doubt", "pay", "resolve pay as succeeded or refused."),
        ("stuck", "done", "resolve done as compensated."),
        ("late", "after", "resolve after as succeeded or skipped."),
    ] {
        scene.switch.store(
            if definition == "doubt" { 503 } else { 409 },
            Ordering::Relaxed,
        );
        let id = scene.ended(definition, "failed").await;
        let said = explained(&scene, &id).await;
        assert_eq!(said["status"], "failed");
        assert_eq!(said["waiting"][0]["step"], step);
        assert_eq!(said["waiting"][0]["for"], "operator");
        assert!(said["waiting"][0]["last_error"]["code"].is_string());
        let words = said["summary"].as_str().expect("a text");
        assert!(words.ends_with(resolve), "{words}");
        let why_not = if definition == "late" {
            "past_pivot"
        } else {
            "failed"
        };
        assert_cancel(&scene, &id, why_not).await;
    }
    let none = scene
        .get("/sagas/0198c7c4-aaaa-7000-8000-000000000000/explain")
        .await;
    assert_problem(&none, 404, "saga_not_found");
    assert_problem(&scene.get("/sagas/x/explain").await, 400, "bad_request");
}

/// Every order in which steps are undone, in a saga whose steps branch and meet.
const SHAPES: &str = "
name: NAME
version: 1
compensation: { order: ORDER }
steps:
  - { id: a, participant: probe, action: { post: /200 }, compensation: { post: /undo } }
  - { id: b, after: [a], participant: probe, action: { post: /200 }, compensation: { post: /undo } }
  - { id: c, after: [a], participant: probe, action: { post: /200 }, compensation: { post: /undo } }
  - { id: none, after: [c], participant: probe, action: { post: /200 }, compensation: { when: 'false', post: /undo } }
  - { id: last, after: [b, none], participant: probe, action: { post: /503 },
      retry: { initial: 1h, max: 1h, jitter: none }, compensation: { post: /undo } }
";

/// What a cancel is said to undo is what the participant is then asked to undo, in that order.
#[tokio::test]
async fn what_a_cancel_would_undo_is_what_it_undoes() {
    let probe = Scripted::start(|asked| {
        let status = asked.path.trim_start_matches("/probe/").parse();
        Reply::json(status.unwrap_or(200), &json!({}))
    });
    let orders = ["reverse", "sequential", "parallel"];
    let documents = orders.map(|order| SHAPES.replace("NAME", order).replace("ORDER", order));
    let definitions = Definitions::of(&documents);
    let database = TestDatabase::fresh(Kind::Sqlite);
    let settings = Settings::new(
        env!("CARGO_BIN_EXE_amends"),
        database.url(),
        definitions.path(),
    )
    .participant("probe", probe.url("probe"));
    let coordinator = Coordinator::start(settings).await;
    let api = coordinator.api();
    for order in orders {
        let started = api.start(order, &Value::Null, None).await;
        let id = started.expect("an answer").id();
        let path = format!("/sagas/{id}/explain");
        let said = support::eventually("its last step to wait", LONG, async || {
            let said = api.get(&path).await.ok()?.body;
            (said["waiting"][0]["for"] == "retry").then_some(said)
        })
        .await;
        assert_eq!(said["waiting"][0]["last_error"]["code"], "http_503");
        let words = said["summary"].as_str().expect("a text");
        assert!(
            words.starts_with("Waiting for probe: attempt 2 of last begins in 59 min "),
            "{words}"
        );
        let groups: Vec<Vec<String>> =
            serde_json::from_value(said["cancel"]["undoes"].clone()).expect("groups");
        let answer = api.post(&format!("/sagas/{id}/cancel"), &json!({})).await;
        assert_eq!(answer.expect("an answer").status, 202);
        assert_eq!(api.settled(&id, LONG).await["status"], "compensated");

        let asked = probe.asked();
        let undone: Vec<&str> = asked
            .iter()
            .filter(|asked| asked.header("amends-saga-id") == id && asked.path.ends_with("undo"))
            .map(|asked| asked.header("amends-step"))
            .collect();
        let place: BTreeMap<&str, usize> = groups
            .iter()
            .enumerate()
            .flat_map(|(place, group)| group.iter().map(move |step| (step.as_str(), place)))
            .collect();
        let places: Vec<usize> = undone.iter().map(|step| place[step]).collect();
        assert!(places.is_sorted(), "{order}: {groups:?} {undone:?}");
        assert_eq!(undone.len(), place.len(), "{order}: {groups:?} {undone:?}");
        assert_eq!(undone.len(), 4, "{order}: {undone:?}");
    }
}
