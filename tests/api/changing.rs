//! Commands and signals.

use std::sync::atomic::Ordering;

use reqwest::Method;
use serde_json::{Value, json};
use support::api::send;
use support::database::Kind;

use super::{LONG, assert_problem, scene};

#[tokio::test]
async fn a_saga_is_cancelled_once_and_before_its_pivot() {
    let scene = scene(Kind::Sqlite).await;
    let id = scene.waiting().await;
    let path = format!("/sagas/{id}/cancel");
    let answer = scene
        .post(&path, &json!({ "reason": "changed my mind" }))
        .await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let end = scene.api.settled(&id, LONG).await;
    assert_eq!(end["status"], "compensated");
    let failure = json!({ "step": null, "code": "cancelled", "message": "changed my mind" });
    assert_eq!(end["failure"], failure);
    assert_eq!(end["steps"][0]["status"], "compensated");
    assert_eq!(end["steps"][1]["status"], "skipped");
    for what in ["cancel", "suspend", "resume"] {
        let again = scene.command(&id, what).await;
        assert_problem(&again, 409, "already_finished");
    }
    assert_problem(&scene.command(&id, "retry").await, 409, "not_failed");
    let resolved = scene.resolve(&id, "done", "compensated").await;
    assert_problem(&resolved, 409, "not_resolvable");

    let past = scene.start("past").await;
    scene.api.wait_for(&past, &["running"], LONG).await;
    support::eventually("its pivot", LONG, async || {
        let saga = scene.saga(&past).await;
        (saga["steps"][0]["status"] == "succeeded").then_some(())
    })
    .await;
    assert_problem(&scene.command(&past, "cancel").await, 409, "past_pivot");
    assert_eq!(scene.command(&past, "signals/go").await.status, 202);
    let end = scene.api.settled(&past, LONG).await;
    assert_eq!(end["status"], "completed");
}

#[tokio::test]
async fn a_saga_is_suspended_and_resumed() {
    let scene = scene(Kind::Sqlite).await;
    let id = scene.waiting().await;
    for _ in 0..2 {
        let answer = scene.command(&id, "suspend").await;
        assert_eq!(answer.status, 202);
        assert_eq!(answer.body["suspended"], true);
    }
    // It takes signals and cancels, but sends nothing.
    assert_eq!(scene.command(&id, "signals/go").await.status, 202);
    assert_eq!(scene.command(&id, "cancel").await.status, 202);
    let halted = scene.saga(&id).await;
    assert_eq!(halted["status"], "compensating");
    assert_eq!(halted["steps"][0]["compensation_attempts"], 0);
    for _ in 0..2 {
        let answer = scene.command(&id, "resume").await;
        if answer.status != 202 {
            // The second may come when all is done.
            assert_problem(&answer, 409, "already_finished");
        }
    }
    let end = scene.api.settled(&id, LONG).await;
    assert_eq!(end["status"], "compensated");
}

#[tokio::test]
async fn what_stopped_a_saga_is_tried_again() {
    let scene = scene(Kind::Sqlite).await;
    let id = scene.ended("stuck", "failed").await;
    let stopped = scene.saga(&id).await;
    assert_eq!(stopped["finished_at"], Value::Null);
    assert_eq!(stopped["failure"]["code"], "compensation_failed");
    assert_eq!(stopped["failure"]["step"], "done");
    assert_eq!(stopped["steps"][0]["status"], "compensation_failed");
    assert_eq!(stopped["steps"][0]["waiting_for"], "operator");
    // Nothing has changed: it fails again.
    assert_eq!(scene.command(&id, "retry").await.status, 202);
    let again = scene.api.settled(&id, LONG).await;
    assert_eq!(again["status"], "failed");
    scene.switch.store(200, Ordering::Relaxed);
    assert_eq!(scene.command(&id, "retry").await.status, 202);
    let end = scene.api.wait_for(&id, &["compensated"], LONG).await;
    assert_eq!(end["steps"][0]["status"], "compensated");
    assert!(end["finished_at"].is_string());

    let running = scene.waiting().await;
    assert_problem(&scene.command(&running, "retry").await, 409, "not_failed");
}

#[tokio::test]
async fn what_stopped_a_saga_is_settled_by_hand() {
    let scene = scene(Kind::Sqlite).await;
    let id = scene.ended("stuck", "failed").await;
    for (step, outcome) in [
        ("done", "succeeded"),
        ("done", "refused"),
        ("ask", "skipped"),
    ] {
        let answer = scene.resolve(&id, step, outcome).await;
        assert_problem(&answer, 409, "not_resolvable");
    }
    assert_eq!(scene.resolve(&id, "done", "compensated").await.status, 202);
    let end = scene.api.settled(&id, LONG).await;
    assert_eq!(end["status"], "compensated");

    // A pivot whose outcome nobody knows: it was done, or it was not.
    scene.switch.store(503, Ordering::Relaxed);
    for (outcome, status, before) in [
        ("succeeded", "completed", "succeeded"),
        ("refused", "compensated", "compensated"),
    ] {
        let id = scene.ended("doubt", "failed").await;
        let stopped = scene.saga(&id).await;
        assert_eq!(stopped["failure"]["code"], "pivot_unknown");
        assert_eq!(stopped["failure"]["step"], "pay");
        let skipped = scene.resolve(&id, "pay", "skipped").await;
        assert_problem(&skipped, 409, "not_resolvable");
        assert_eq!(scene.resolve(&id, "pay", outcome).await.status, 202);
        let end = scene.api.settled(&id, LONG).await;
        assert_eq!(end["status"], status, "{end}");
        assert_eq!(end["steps"][0]["status"], before);
    }

    // A step after the pivot that can never be done.
    let id = scene.ended("late", "failed").await;
    assert_problem(&scene.command(&id, "cancel").await, 409, "past_pivot");
    let path = format!("/sagas/{id}/steps/after/resolve");
    let body = json!({ "outcome": "succeeded", "note": "by courier", "output": { "n": [1] } });
    assert_eq!(scene.post(&path, &body).await.status, 202);
    let end = scene.api.settled(&id, LONG).await;
    assert_eq!(end["status"], "completed");
    assert_eq!(end["output"], json!({ "n": [1] }));
    let id = scene.ended("late", "failed").await;
    assert_eq!(scene.resolve(&id, "after", "skipped").await.status, 202);
    let end = scene.api.settled(&id, LONG).await;
    assert_eq!(
        (&end["status"], &end["output"]),
        (&json!("completed"), &Value::Null)
    );
}

#[tokio::test]
async fn signals_are_taken_in_their_order_and_once() {
    let mut scene = scene(Kind::Sqlite).await;
    let id = scene.start("waiting").await;
    let path = format!("/sagas/{id}/signals/go");
    // Perhaps before the wait, and certainly the second before its own.
    let signal = async |key: &str, payload: Value| {
        let request = scene.api.request(Method::POST, &path).json(&payload);
        let answer = send(request.header("idempotency-key", key)).await;
        answer.expect("an answer")
    };
    for _ in 0..3 {
        assert_eq!(signal("a", json!({ "n": 1 })).await.status, 202);
    }
    let held = scene.saga(&id).await;
    assert_eq!(
        held["status"], "running",
        "one signal was taken twice: {held}"
    );
    assert_eq!(signal("b", json!([2])).await.status, 202);
    let end = scene.api.settled(&id, LONG).await;
    assert_eq!(end["output"], json!([{ "n": 1 }, [2]]));
    let finished = scene.command(&id, "signals/go").await;
    assert_problem(&finished, 409, "already_finished");
    let waiting = scene.waiting().await;
    let unknown = scene.command(&waiting, "signals/stop").await;
    assert_problem(&unknown, 404, "signal_unknown");

    // Only so many are kept; those survive the process.
    let early = scene.waiting().await;
    assert_eq!(scene.command(&early, "suspend").await.status, 202);
    let path = format!("/sagas/{early}/signals/go");
    // The wait that has begun takes the first of them.
    for number in 0..101 {
        let answer = scene.post(&path, &json!(number)).await;
        assert_eq!(answer.status, 202, "{number}: {}", answer.body);
    }
    let too_many = scene.post(&path, &json!(101)).await;
    assert_problem(&too_many, 429, "too_many_signals");
    assert_ne!(too_many.header("retry-after"), "");
    scene.coordinator.kill();
    scene.coordinator.restart().await;
    assert_eq!(scene.command(&early, "resume").await.status, 202);
    let end = scene.api.settled(&early, LONG).await;
    assert_eq!(end["output"], json!([0, 1]));
}
