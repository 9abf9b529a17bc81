//! Two replicas on one database: what comes to the one that owns nothing is taken by the owner.

use std::time::Duration;

use serde_json::json;
use support::api::Api;
use support::coordinator::Coordinator;
use support::database::Kind;

use crate::{LONG, Scene, callback, post};

/// Whoever gave a command is known, and what the saga would not take is told at once.
async fn commands_reach_the_owner(scene: &Scene, owner: &Api, other: &Api) {
    let saga = scene.start("payment").await;
    scene.call(&saga, 1).await;
    for (command, field) in [("suspend", true), ("resume", false)] {
        let answer = other
            .post(&format!("/sagas/{saga}/{command}"), &json!({}))
            .await;
        assert_eq!(answer.expect("an answer").status, 202);
        support::eventually(command, LONG, async || {
            let now = owner.saga(&saga).await.expect("an answer").body;
            (now["suspended"] == field).then_some(())
        })
        .await;
    }
    let wrong = other
        .post(&format!("/sagas/{saga}/retry"), &json!({}))
        .await;
    let wrong = wrong.expect("an answer");
    assert_eq!((wrong.status.as_u16(), wrong.code()), (409, "not_failed"));
    let wrong = other
        .post(&format!("/sagas/{saga}/signals/nobody"), &json!(1))
        .await;
    let wrong = wrong.expect("an answer");
    assert_eq!(
        (wrong.status.as_u16(), wrong.code()),
        (404, "signal_unknown")
    );
    let cancel = other
        .post(
            &format!("/sagas/{saga}/cancel"),
            &json!({ "reason": "changed my mind" }),
        )
        .await;
    assert_eq!(cancel.expect("an answer").status, 202);
    let reply = json!({ "outcome": "refused" });
    let call = scene.call(&saga, 1).await;
    support::eventually("the saga to turn back", LONG, async || {
        let now = owner.saga(&saga).await.expect("an answer").body;
        (now["status"] == "compensating").then_some(())
    })
    .await;
    post(other, &callback(&call), &reply).await;
    let end = owner.settled(&saga, LONG).await;
    assert_eq!(
        (end["status"].as_str(), end["failure"]["code"].as_str()),
        (Some("compensated"), Some("cancelled"))
    );
    let audit = owner
        .get(&format!("/audit?saga={saga}&action=SAGA_CANCELLED"))
        .await
        .expect("an answer");
    assert_eq!(
        audit.body["items"][0]["remote"], "127.0.0.1",
        "{}",
        audit.body
    );
}

async fn what_comes_to_another_replica_is_taken_by_the_owner(kind: Kind) {
    let mut scene = Scene::open(kind, 200).await;
    let second = Coordinator::spawn(scene.settings.clone());
    second.wait_for("standby", LONG).await;
    support::eventually("the second's API", LONG, async || {
        second.api().get("/sagas").await.ok()
    })
    .await;
    let (owner, other) = (scene.coordinator.api(), second.api());

    // A callback.
    let saga = scene.start("payment").await;
    let call = scene.call(&saga, 1).await;
    let reply = json!({ "outcome": "succeeded", "data": { "charge_id": "ch_1" } });
    let told = post(&other, &callback(&call), &reply).await;
    assert_eq!(told.status, 202, "{}", told.body);
    let end = owner.settled(&saga, LONG).await;
    assert_eq!(end["status"], "completed");
    assert_eq!(end["steps"][0]["output"], json!({ "charge_id": "ch_1" }));
    // Taken once, however often and wherever it comes.
    for api in [&other, &owner] {
        assert_eq!(post(api, &callback(&call), &reply).await.status, 202);
    }

    commands_reach_the_owner(&scene, &owner, &other).await;

    // What was left while nobody owned the saga is taken by whoever does next.
    let saga = scene.start("payment").await;
    let call = scene.call(&saga, 1).await;
    scene.coordinator.kill();
    let told = support::eventually("the standby to take it", LONG, async || {
        let told = post(&other, &callback(&call), &json!({ "outcome": "succeeded" })).await;
        (told.status != 503).then_some(told)
    })
    .await;
    assert_eq!(told.status, 202, "{}", told.body);
    let end = other
        .wait_for(&saga, &["completed"], Duration::from_secs(40))
        .await;
    assert_eq!(end["status"], "completed");
}

#[tokio::test]
async fn what_comes_to_another_replica_is_taken_by_the_owner_on_postgres() {
    what_comes_to_another_replica_is_taken_by_the_owner(Kind::Postgres).await;
}

#[tokio::test]
async fn what_comes_to_another_replica_is_taken_by_the_owner_on_mariadb() {
    what_comes_to_another_replica_is_taken_by_the_owner(Kind::MariaDb).await;
}
