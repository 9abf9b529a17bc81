//! `amends dead-letters`, on letters that were put into the database.

use amends::saga::Timestamp;
use amends::store::{DatabaseSettings, NewDeadLetter, Store, Transport};
use serde_json::{Map, json};
use support::database::Kind;

use super::{Scene, scene_on};

/// The ids of a command that was rejected and of a reply that nobody could read, which came later.
async fn letters(scene: &Scene) -> [String; 2] {
    let settings = DatabaseSettings {
        url: scene.database.url().to_owned(),
        pool: 1,
    };
    let store = Store::connect(&settings).await.expect("the database");
    let command = NewDeadLetter {
        transport: Transport::RabbitMq,
        queue: "payment.commands",
        participant: Some("payment"),
        reason: "rejected",
        deliveries: 6,
        received_at: Timestamp(1_795_253_400_000),
        saga: None,
        step: Some("charge"),
        phase: None,
        message_id: None,
        message: br#"{ "amount": 40 }"#,
        headers: &Map::new(),
        redelivered: false,
    };
    let reply = NewDeadLetter {
        queue: "amends.replies",
        participant: None,
        step: None,
        received_at: Timestamp(1_795_253_401_000),
        message: b"no JSON",
        ..command
    };
    let mut ids = Vec::new();
    for letter in [command, reply] {
        let kept = store.keep_dead_letter(&letter).await.expect("it is kept");
        ids.push(kept.id().to_string());
    }
    ids.try_into().expect("two")
}

#[tokio::test]
async fn dead_letters_are_looked_at_and_settled() {
    let scene = scene_on(Kind::Postgres).await;
    let list = ["dead-letters", "list"];
    scene.run(&list).ends(0).says(&["no dead letters"]);
    let [command, reply] = letters(&scene).await;

    let listed = scene.run(&list).ends(0);
    let lines: Vec<&str> = listed.out.lines().collect();
    assert_eq!(lines.len(), 2, "{}", listed.out);
    assert!(lines[0].starts_with(&reply) && lines[1].starts_with(&command));
    listed.says(&[
        "✗ open",
        "2026-11-21 09:30:00  payment.commands  rejected  charge",
    ]);
    let narrowed = [
        "--participant",
        "payment",
        "--status",
        "open",
        "--reason",
        "rejected",
        "--json",
    ];
    let page = scene.run(&[&list[..], &narrowed].concat()).ends(0).json();
    assert_eq!(page["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(page["items"][0]["id"], json!(command));
    let more = format!("more: --cursor {reply}");
    scene
        .run(&[&list[..], &["--limit", "1"]].concat())
        .ends(0)
        .says(&[&more]);
    let rest = scene
        .run(&[&list[..], &["--cursor", &reply]].concat())
        .ends(0);
    assert_eq!(rest.out.lines().count(), 1);
    let bad = scene.run(&[&list[..], &["--status", "closed"]].concat());
    bad.ends(1).says(&["parameter_invalid"]);

    let show = ["dead-letters", "show", &command];
    scene
        .run(&show)
        .ends(0)
        .says(&["for       payment", "6 times", "\"amount\": 40"]);
    let shown = scene.run(&[&show[..], &["--json"]].concat()).ends(0).json();
    assert_eq!(shown["message"]["amount"], 40);
    scene
        .run(&["dead-letters", "show", &reply])
        .ends(0)
        .says(&["no JSON"]);

    // There is no broker to send it to.
    let replay = ["dead-letters", "replay", &command];
    scene
        .run(&replay)
        .ends(1)
        .says(&["rabbitmq is not configured", "not_replayable"]);
    let discard = ["dead-letters", "discard", &command];
    scene.run(&discard).ends(2).says(&["--reason"]);
    let discard = [&discard[..], &["--reason", "of a test"]].concat();
    scene
        .run(&discard)
        .ends(0)
        .says(&["· discarded  payment.commands  of a test"]);
    scene.run(&discard).ends(1).says(&["already_settled"]);
    scene.run(&replay).ends(1).says(&["already_settled"]);
    let shown = scene.run(&[&show[..], &["--json"]].concat()).ends(0).json();
    assert_eq!(
        (&shown["status"], &shown["note"]),
        (&json!("discarded"), &json!("of a test"))
    );
    let absent = "0198c7c4-aaaa-7000-8000-000000000000";
    for what in ["show", "replay"] {
        let ran = scene.run(&["dead-letters", what, absent]);
        ran.ends(1).says(&["dead_letter_not_found"]);
    }
}
