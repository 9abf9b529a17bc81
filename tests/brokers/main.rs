//! Participants over RabbitMQ, through the binary: what is promised of messages, replies and dead
//! letters (participants.md), by the participants' own ledger.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may"
)]

mod chaos;
mod dead;
mod replies;
mod scene;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use amends::engine::clock;
use amends::message::ReplyOutcome;
use amends::participant::ReplyTo;
use amends::saga::StepError;
use serde_json::json;
use support::eventually;
use support::ledger::Faults;

use scene::{LONG, ORDER, SMALL, Scene, start_many};

#[tokio::test]
async fn orders_are_done_and_undone() {
    let scene = Scene::open(&[ORDER], &[]).await;
    let served = scene.serve();
    let done = start_many(&scene, "order", 50).await;
    for id in &done {
        let end = scene.api().settled(id, LONG).await;
        assert_eq!(end["status"], "completed", "{end}");
        assert_eq!(
            end["steps"][0]["output"]["id"],
            format!("{id}:reserve:action")
        );
    }
    scene.nothing_is_wrong(&done).await;
    scene.ledger.set_faults(Faults {
        refused: 0.3,
        unavailable: 0.1,
        ..Faults::default()
    });
    let mixed = start_many(&scene, "order", 100).await;
    scene.nothing_is_wrong(&mixed).await;
    let health = scene
        .coordinator
        .management("/health/detailed")
        .await
        .expect("an answer");
    assert_eq!(health.0, 200, "{}", health.1);
    assert!(health.1.contains("\"broker\":\"rabbitmq\""), "{}", health.1);
    served.stop().await;
    scene.clean_up().await;
}

#[tokio::test]
async fn a_command_says_what_it_is_about_and_its_trace_goes_on() {
    let scene = Scene::open(&[ORDER], &[]).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let served = scene.serve_with({
        let seen = Arc::clone(&seen);
        move |command| {
            let refused = command.step == "ship";
            seen.lock().expect("no panic").push(command);
            async move {
                Ok(if refused {
                    ReplyOutcome::Refused(StepError::new("sold_out", "none left"))
                } else {
                    ReplyOutcome::Succeeded(json!({ "ok": true }))
                })
            }
        }
    });
    let begun = clock::now();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let body = json!({ "definition": "order", "input": { "n": 1 } });
    let api = scene.api();
    let request = api.request(reqwest::Method::POST, "/sagas").json(&body);
    let request = request.header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"));
    let id = support::api::send(request).await.expect("an answer").id();
    let end = api.settled(&id, LONG).await;
    assert_eq!(
        (end["status"].as_str(), end["failure"]["code"].as_str()),
        (Some("compensated"), Some("sold_out"))
    );
    let seen = seen.lock().expect("no panic").clone();
    let names: Vec<&str> = seen.iter().map(|command| command.name.as_str()).collect();
    assert_eq!(names, ["reserve", "charge", "ship", "refund", "release"]);
    for command in &seen {
        assert_eq!(command.saga.to_string(), id);
        assert_eq!(command.definition, "order/1");
        assert_eq!(command.reply_to, ReplyTo::Queue(scene.replies()));
        assert_eq!(command.attempt, 1);
        assert!(
            command
                .traceparent
                .as_ref()
                .is_some_and(|own| own.contains(trace)),
            "{command:?}"
        );
        assert!(command.deadline > begun);
    }
    assert_eq!(
        seen[3].action_outcome.map(|outcome| outcome.as_str()),
        Some("succeeded")
    );
    served.stop().await;
    scene.clean_up().await;
}

/// A thousand sagas that wait for replies hold no drain up, and the next process takes the replies.
#[tokio::test]
async fn a_drain_leaves_what_waits_for_replies_to_the_next_process() {
    let mut scene = Scene::open(&[SMALL], &[("participants.ledger.timeout", "10m")]).await;
    let sagas = start_many(&scene, "small", 1_000).await;
    // Nobody serves the queue: all of them wait.
    eventually("all to wait", LONG, async || {
        let audit = scene
            .coordinator
            .management("/metrics")
            .await
            .expect("metrics")
            .1;
        let line =
            "amends_messages_published_total{result=\"confirmed\",transport=\"rabbitmq\"} 1000";
        audit.contains(line).then_some(())
    })
    .await;
    let begun = Instant::now();
    let status = scene.coordinator.stop(Duration::from_secs(20)).await;
    let took = begun.elapsed();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(5), "the drain took {took:?}");
    // Their participants answer while no coordinator is there.
    let served = scene.serve();
    eventually("the participants to have done it", LONG, async || {
        (scene.ledger.calls() >= 1_000).then_some(())
    })
    .await;
    scene.coordinator.restart().await;
    scene.nothing_is_wrong(&sagas).await;
    for id in &sagas {
        let end = scene.api().saga(id).await.expect("an answer").body;
        assert_eq!(end["status"], "completed", "{end}");
        assert_eq!(end["steps"][0]["attempts"], 1);
    }
    // Nothing was sent a second time: each command was entered once.
    assert_eq!(scene.ledger.calls(), 1_000);
    served.stop().await;
    scene.clean_up().await;
}

/// A coordinator starts, and runs, without its broker.
#[tokio::test]
async fn a_broker_that_is_away_takes_nothing_else_down() {
    let port = support::free_port();
    let away = format!("amqp://guest:guest@127.0.0.1:{port}");
    let quick = "
name: quick
version: 1
steps:
  - { id: rest, delay: 10ms }
";
    let keys = [
        ("rabbitmq.url", away.as_str()),
        ("participants.ledger.timeout", "1s"),
    ];
    let scene = Scene::open(&[ORDER, quick], &keys).await;
    let id = scene.start("quick", &json!(null)).await;
    assert_eq!(scene.api().settled(&id, LONG).await["status"], "completed");
    let (status, body) = scene
        .coordinator
        .management("/health/detailed")
        .await
        .expect("an answer");
    let health: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(
        (status, health["status"].as_str()),
        (200, Some("degraded")),
        "{body}"
    );
    assert_eq!(
        health["components"]["messaging"]["status"], "down",
        "{body}"
    );
    assert!(!body.contains("guest"), "{body}");
    let ready = scene.coordinator.readiness().await;
    assert_eq!(ready.map(|(status, _)| status), Some(200));
    // No saga fails because a broker was away, unless its own time passes.
    let id = scene.start("order", &json!({ "n": 1 })).await;
    eventually("an attempt to be given up", LONG, async || {
        let now = scene.api().saga(&id).await.expect("an answer").body;
        (now["steps"][0]["error"]["code"] == "timeout").then_some(())
    })
    .await;
}
