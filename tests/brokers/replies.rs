//! Replies in any order, any number of times, and what is none between them.

use std::time::Instant;

use amends::message::{Command, Reply, ReplyOutcome};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use support::eventually;

use crate::scene::{Client, LONG, ORDER, Scene, start_many};

fn reply_to(command: &Command, id: String) -> Reply {
    Reply {
        id,
        source: "/ledger".to_owned(),
        saga: command.saga,
        step: command.step.clone(),
        phase: command.phase,
        outcome: ReplyOutcome::Succeeded(json!({ "by": command.id() })),
    }
}

/// Answers every command three times, those of a handful at a time in any order.
async fn answer_in_disorder(client: &Client, queue: &str, replies: &str, commands: usize) {
    let mut consumer = client.consume(queue).await;
    let mut gathered = Vec::new();
    let mut seed = 7_u64;
    for count in 1..=commands {
        let delivery = consumer
            .next()
            .await
            .expect("a command")
            .expect("a command");
        let command = Command::read(&delivery.data).expect("a command");
        let reply = reply_to(&command, format!("{}!", command.id())).to_json();
        gathered.extend([reply.clone(), reply.clone(), reply]);
        // What has gathered goes out before the sagas have nothing left to do.
        let more = tokio::time::timeout(
            std::time::Duration::from_millis(1),
            std::future::pending::<()>(),
        );
        let _elapsed = more.await;
        if gathered.len() >= 60 || count + 20 >= commands || count % 20 == 0 {
            for place in (1..gathered.len()).rev() {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let other = usize::try_from(seed >> 33).expect("31 bits") % (place + 1);
                gathered.swap(place, other);
            }
            for reply in gathered.drain(..) {
                client.send(replies, &reply).await;
            }
        }
    }
}

#[tokio::test]
async fn replies_that_come_three_times_in_any_order_are_one_each() {
    let scene = Scene::open(&[ORDER], &[]).await;
    let client = scene.client().await;
    let (queue, replies) = (scene.queue.clone(), scene.replies());
    let sagas = 100;
    let answering = tokio::spawn(async move {
        answer_in_disorder(&client, &queue, &replies, 3 * sagas).await;
    });
    let ids = start_many(&scene, "order", sagas).await;
    for id in &ids {
        let end = scene.api().settled(id, LONG).await;
        assert_eq!(end["status"], "completed", "{end}");
        for step in end["steps"].as_array().expect("steps") {
            assert_eq!(step["attempts"], 1, "{step}");
            let by = format!("{id}:{}:action:1", step["id"].as_str().expect("an id"));
            assert_eq!(step["output"]["by"], by);
        }
    }
    answering.await.expect("the participant");
    let counted = |scrape: &str, result: &str| {
        let name = format!(
            "amends_messages_received_total{{result=\"{result}\",transport=\"rabbitmq\"}} "
        );
        let line = scrape.lines().find_map(|line| line.strip_prefix(&name));
        line.and_then(|count| count.parse::<usize>().ok())
            .unwrap_or(0)
    };
    eventually("every copy to be taken", LONG, async || {
        let scrape = scene
            .coordinator
            .management("/metrics")
            .await
            .expect("metrics")
            .1;
        let all =
            counted(&scrape, "accepted") == 3 * sagas && counted(&scrape, "duplicate") == 6 * sagas;
        all.then_some(())
    })
    .await;
    // No copy left a mark.
    for id in &ids {
        let events = scene
            .api()
            .get(&format!("/sagas/{id}/events"))
            .await
            .expect("an answer")
            .body;
        assert!(!events.to_string().contains("late_reply"), "{events}");
    }
    scene.clean_up().await;
}

/// Messages that are no replies, of every kind.
fn malformed(number: usize, saga: &str) -> Vec<u8> {
    let good = json!({
        "specversion": "1.0", "id": format!("m-{number}"), "type": "amends.reply.v1", "source": "/x",
        "sagaid": saga, "sagastep": "reserve", "sagaphase": "action", "outcome": "succeeded", "data": {},
    });
    let with = |member: &str, value: Value| {
        let mut message = good.clone();
        message[member] = value;
        message.to_string().into_bytes()
    };
    match number % 14 {
        0 => Vec::new(),
        1 => b"not JSON".to_vec(),
        2 => vec![0xff, 0xfe, 0, 1, u8::try_from(number % 251).unwrap_or(0)],
        3 => with("type", json!("amends.reply.v9")),
        4 => with("specversion", json!("0.3")),
        5 => with("outcome", json!("maybe")),
        6 => with("sagaid", json!("nobody")),
        7 => with("sagaid", json!("0198c7a0-0000-7000-8000-000000000001")),
        8 => with("sagastep", json!("no_such_step")),
        9 => with("sagaphase", json!("sideways")),
        10 => with("id", json!("")),
        11 => with("id", json!("x".repeat(300))),
        12 => {
            let mut message = good.clone();
            message["outcome"] = json!("refused");
            message["data"] = json!("no object");
            message.to_string().into_bytes()
        }
        _ => format!("{}1{}", "[".repeat(300), "]".repeat(300)).into_bytes(),
    }
}

#[tokio::test]
async fn a_thousand_malformed_messages_are_kept_and_hold_nothing_up() {
    const MALFORMED: usize = 1_000;
    let scene = Scene::open(&[ORDER], &[]).await;
    let served = scene.serve();
    let before = Instant::now();
    let first = start_many(&scene, "order", 100).await;
    scene.nothing_is_wrong(&first).await;
    let alone = before.elapsed();

    let (client, replies, saga) = (scene.client().await, scene.replies(), first[0].clone());
    let pouring = async {
        for number in 0..MALFORMED {
            client.send(&replies, &malformed(number, &saga)).await;
        }
    };
    let (_, between) = tokio::join!(pouring, start_many(&scene, "order", 100));
    scene.nothing_is_wrong(&between).await;
    eventually("every one of them as a dead letter", LONG, async || {
        let scrape = scene
            .coordinator
            .management("/metrics")
            .await
            .expect("metrics")
            .1;
        let line =
            format!("amends_dead_letters{{queue=\"{replies}\",status=\"open\"}} {MALFORMED}");
        scrape.contains(&line).then_some(())
    })
    .await;
    // They can be read, and what cannot be shown as text is shown all the same.
    let page = scene
        .api()
        .get("/dead-letters?limit=500")
        .await
        .expect("an answer");
    let items = page.body["items"].as_array().expect("items").clone();
    assert_eq!(items.len(), 500);
    assert!(items.iter().all(|letter| {
        letter["reason"]
            .as_str()
            .is_some_and(|why| why.starts_with("malformed"))
    }));
    assert!(
        items
            .iter()
            .any(|letter| letter["message_encoding"] == "base64")
    );

    let after = Instant::now();
    let last = start_many(&scene, "order", 100).await;
    scene.nothing_is_wrong(&last).await;
    let again = after.elapsed();
    assert!(again < alone * 3, "before {alone:?}, after {again:?}");
    served.stop().await;
    scene.clean_up().await;
}
