//! Dead letters over the API. They are put into the database as the engine does it, beside a
//! coordinator that has no broker.

use amends::definition::request::Phase;
use amends::saga::{SagaId, Timestamp};
use amends::store::{DatabaseSettings, DeadLetterId, NewDeadLetter, Store, Transport};
use serde_json::{Map, Value, json};
use support::database::Kind;

use super::{Scene, assert_problem, scene};

/// 2026-11-21T09:30:00Z.
const T0: i64 = 1_795_253_400_000;
const SAGA: &str = "0198c7c4-aaaa-7000-8000-000000000000";

/// The database, beside the coordinator.
async fn store(scene: &Scene) -> Store {
    let settings = DatabaseSettings {
        url: scene.database.url().to_owned(),
        pool: 2,
    };
    Store::connect(&settings).await.expect("the database")
}

/// A command that was dead `n` seconds after the beginning.
async fn dead(store: &Store, n: i64, message: &[u8]) -> String {
    let headers = json!({ "content_type": "application/cloudevents+json" });
    let new = NewDeadLetter {
        transport: Transport::RabbitMq,
        queue: "payment.commands",
        participant: Some("payment"),
        reason: "rejected",
        deliveries: 6,
        received_at: Timestamp(T0 + n * 1_000),
        saga: Some(SAGA.parse::<SagaId>().expect("an id")),
        step: Some("charge"),
        phase: Some(Phase::Action),
        message_id: Some("m"),
        message,
        headers: headers.as_object().expect("an object"),
        redelivered: false,
    };
    kept(store, &new).await
}

/// A reply that nobody could read.
async fn malformed(store: &Store, n: i64, message: &[u8]) -> String {
    let new = NewDeadLetter {
        transport: Transport::Sqs,
        queue: "amends-replies",
        participant: None,
        reason: "it is no reply",
        deliveries: 1,
        received_at: Timestamp(T0 + n * 1_000),
        saga: None,
        step: None,
        phase: None,
        message_id: None,
        message,
        headers: &Map::new(),
        redelivered: false,
    };
    kept(store, &new).await
}

async fn kept(store: &Store, new: &NewDeadLetter<'_>) -> String {
    let kept = store.keep_dead_letter(new).await.expect("it is kept");
    kept.id().to_string()
}

/// The ids of the letters that a query finds.
async fn ids(scene: &Scene, query: &str) -> Vec<String> {
    let answer = scene.get(&format!("/dead-letters?{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.body);
    let items = answer.body["items"].as_array().expect("items");
    let id = |item: &Value| item["id"].as_str().expect("an id").to_owned();
    items.iter().map(id).collect()
}

#[tokio::test]
async fn dead_letters_are_listed_and_shown_whole() {
    let scene = scene(Kind::Postgres).await;
    let store = store(&scene).await;
    assert_eq!(ids(&scene, "").await, Vec::<String>::new());
    let json = dead(&store, 0, br#"{"data": {"amount": 40}}"#).await;
    let text = malformed(&store, 1, b"no JSON").await;
    let bytes = malformed(&store, 2, b"\xff\x00").await;

    let answer = scene.get(&format!("/dead-letters/{json}")).await;
    assert_eq!(answer.status, 200);
    let expected = json!({
        "id": json, "status": "open", "transport": "rabbitmq", "queue": "payment.commands",
        "participant": "payment", "reason": "rejected", "deliveries": 6,
        "received_at": "2026-11-21T09:30:00.000Z", "saga": SAGA, "step": "charge",
        "phase": "action", "message": { "data": { "amount": 40 } },
        "headers": { "content_type": "application/cloudevents+json" },
        "settled_at": null, "settled_by": null, "note": null,
    });
    assert_eq!(answer.body, expected);
    let shown = scene.get(&format!("/dead-letters/{text}")).await.body;
    assert_eq!(shown["message"], "no JSON");
    assert_eq!(shown.get("message_encoding"), None);
    assert_eq!(shown["saga"], Value::Null);
    let shown = scene.get(&format!("/dead-letters/{bytes}")).await.body;
    assert_eq!(
        (&shown["message"], &shown["message_encoding"]),
        (&json!("/wA="), &json!("base64"))
    );

    let listed = scene.get("/dead-letters").await.body;
    assert_eq!(listed["items"][0], shown);
    assert_eq!(listed["items"][2], expected);
    assert_eq!(listed["next_cursor"], Value::Null);
    let all = [&bytes, &text, &json].map(String::clone);
    assert_eq!(ids(&scene, "").await, all);
    for (query, found) in [
        ("status=open", &all[..]),
        ("status=replayed&status=discarded", &[]),
        ("queue=payment.commands", &all[2..]),
        ("participant=payment", &all[2..]),
        ("transport=sqs", &all[..2]),
        ("reason=rejected", &all[2..]),
        ("received_after=2026-11-21T09:30:01Z", &all[..2]),
        ("received_before=2026-11-21T09:30:01Z", &all[2..]),
        (&format!("saga={SAGA}&limit=1"), &all[2..]),
    ] {
        assert_eq!(ids(&scene, query).await, found, "{query}");
    }
    let page = scene.get("/dead-letters?limit=2").await.body;
    assert_eq!(page["next_cursor"], json!(text));
    assert_eq!(
        ids(&scene, &format!("limit=2&cursor={text}")).await,
        all[2..]
    );

    for bad in [
        "status=closed",
        "transport=http",
        "saga=x",
        "limit=0",
        "cursor=x",
        "queue=%00",
    ] {
        let answer = scene.get(&format!("/dead-letters?{bad}")).await;
        assert_problem(&answer, 400, "parameter_invalid");
    }
    let unknown = scene.get("/dead-letters?step=charge").await;
    assert_problem(&unknown, 400, "unknown_parameter");
    assert_problem(&scene.get("/dead-letters/x").await, 400, "bad_request");
    let absent = scene.get(&format!("/dead-letters/{SAGA}")).await;
    assert_problem(&absent, 404, "dead_letter_not_found");
}

#[tokio::test]
async fn a_dead_letter_is_discarded_once() {
    let scene = scene(Kind::MariaDb).await;
    let store = store(&scene).await;
    let id = dead(&store, 0, b"{}").await;
    let path = format!("/dead-letters/{id}/discard");
    for (body, pointer) in [
        (json!({}), "/reason"),
        (json!({ "reason": "" }), "/reason"),
        (json!({ "reason": "x", "note": "y" }), "/note"),
    ] {
        let answer = scene.post(&path, &body).await;
        assert_problem(&answer, 422, "input_invalid");
        assert_eq!(answer.body["errors"][0]["pointer"], pointer);
    }
    let reason = json!({ "reason": "of a load test" });
    let answer = scene.post(&path, &reason).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let letter = answer.body;
    assert_eq!(letter["status"], "discarded");
    assert_eq!(letter["note"], "of a load test");
    assert_eq!(letter["settled_by"], "anonymous");
    assert!(letter["settled_at"].is_string());
    assert_eq!(scene.get(&format!("/dead-letters/{id}")).await.body, letter);
    let found = ids(&scene, "status=discarded").await;
    assert_eq!(found, std::slice::from_ref(&id));

    let again = scene.post(&path, &reason).await;
    assert_problem(&again, 409, "already_settled");
    assert_eq!(again.body["detail"], "the dead letter is discarded already");
    let replay = format!("/dead-letters/{id}/replay");
    assert_problem(
        &scene.post(&replay, &json!({})).await,
        409,
        "already_settled",
    );
    assert_eq!(scene.get(&format!("/dead-letters/{id}")).await.body, letter);
    for call in ["replay", "discard"] {
        let path = format!("/dead-letters/{SAGA}/{call}");
        let body = if call == "discard" {
            reason.clone()
        } else {
            json!({})
        };
        assert_problem(
            &scene.post(&path, &body).await,
            404,
            "dead_letter_not_found",
        );
        let path = format!("/dead-letters/x/{call}");
        assert_problem(&scene.post(&path, &body).await, 400, "bad_request");
    }

    let told = scene.get("/audit?action=DEAD_LETTER_DISCARDED").await.body;
    let told = told["items"].as_array().expect("items");
    assert_eq!(told.len(), 1);
    let entry = &told[0];
    assert_eq!(
        (&entry["saga"], &entry["step"]),
        (&json!(SAGA), &json!("charge"))
    );
    assert_eq!(
        (&entry["actor"], &entry["remote"]),
        (&json!("anonymous"), &json!("127.0.0.1"))
    );
    let detail = json!({
        "dead_letter": id, "queue": "payment.commands", "reason": "of a load test",
    });
    assert_eq!(entry["detail"], detail);
    assert_eq!(entry["at"], letter["settled_at"]);
}

#[tokio::test]
async fn a_dead_letter_whose_broker_is_gone_stays_open() {
    let scene = scene(Kind::Postgres).await;
    let store = store(&scene).await;
    for id in [
        dead(&store, 0, b"{}").await,
        malformed(&store, 1, b"\xff").await,
    ] {
        let path = format!("/dead-letters/{id}/replay");
        let answer = scene.post(&path, &json!({})).await;
        assert_problem(&answer, 409, "not_replayable");
        let detail = answer.body["detail"].as_str().expect("a sentence");
        assert!(detail.ends_with("is not configured"), "{detail}");
        let unknown = scene.post(&path, &json!({ "reason": "x" })).await;
        assert_problem(&unknown, 422, "input_invalid");
        let letter = store
            .dead_letter(id.parse::<DeadLetterId>().expect("an id"))
            .await;
        let letter = letter.expect("an answer").expect("a letter");
        assert_eq!((letter.status.as_str(), letter.replays), ("open", 0));
    }
    let told = scene.get("/audit?action=DEAD_LETTER_REPLAYED").await.body;
    assert_eq!(told["items"], json!([]));
}
