//! `amends_dead_letters`: what the database has, by queue and status, told by one replica of all.

use std::collections::BTreeMap;

use amends::saga::Timestamp;
use amends::store::{DatabaseSettings, NewDeadLetter, Store, Transport};
use serde_json::{Map, json};
use support::coordinator::Coordinator;
use support::database::Kind;

use crate::scrape::Scrape;
use crate::{Bed, LONG, ORDER};

const NAME: &str = "amends_dead_letters";

/// Letters for these queues; their ids.
async fn keep(bed: &Bed, queues: &[&str]) -> Vec<String> {
    let settings = DatabaseSettings {
        url: bed.database.url().to_owned(),
        pool: 1,
    };
    let store = Store::connect(&settings).await.expect("the database");
    let mut ids = Vec::new();
    for queue in queues {
        let letter = NewDeadLetter {
            transport: Transport::RabbitMq,
            queue,
            participant: None,
            reason: "rejected",
            deliveries: 1,
            received_at: Timestamp(1_795_253_400_000),
            saga: None,
            step: None,
            phase: None,
            message_id: None,
            message: b"{}",
            headers: &Map::new(),
            redelivered: false,
        };
        let kept = store.keep_dead_letter(&letter).await.expect("it is kept");
        ids.push(kept.id().to_string());
    }
    ids
}

/// The series of all these coordinators, by queue and status; `None` where two have the same.
async fn told(coordinators: &[&Coordinator]) -> Option<BTreeMap<(String, String), String>> {
    let mut told = BTreeMap::new();
    for coordinator in coordinators {
        let scrape = Scrape::of(coordinator).await;
        for sample in scrape.of_name(NAME, &[]) {
            assert_eq!(scrape.types[NAME], "gauge");
            assert_eq!(sample.labels.len(), 2, "{sample:?}");
            let label = |name: &str| sample.labels[name].clone();
            let series = (label("queue"), label("status"));
            let value = sample.value.to_string();
            if told.insert(series, value).is_some() {
                return None;
            }
        }
    }
    Some(told)
}

/// Waits until they tell this, and nothing else: open, replayed and discarded of each queue.
async fn tell(coordinators: &[&Coordinator], queues: &[(&str, [u32; 3])]) {
    let mut expected = BTreeMap::new();
    for (queue, counts) in queues {
        for (status, count) in ["open", "replayed", "discarded"].into_iter().zip(counts) {
            let series = ((*queue).to_owned(), status.to_owned());
            expected.insert(series, count.to_string());
        }
    }
    support::eventually(&format!("{expected:?}"), LONG, async || {
        (told(coordinators).await? == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn dead_letters_are_told_as_they_are_in_the_database() {
    let bed = Bed::new(Kind::Postgres, &[ORDER]);
    let settings = bed.settings().participant("shop", "http://127.0.0.1:9");
    let settings = settings.key("engine.lease", "2s");
    let mut one = Coordinator::start(settings.clone()).await;
    assert_eq!(
        told(&[&one]).await,
        Some(BTreeMap::new()),
        "no queue is seen yet"
    );
    let ids = keep(&bed, &["pay", "pay", "ship"]).await;
    tell(&[&one], &[("pay", [2, 0, 0]), ("ship", [1, 0, 0])]).await;

    let discard = format!("/dead-letters/{}/discard", ids[0]);
    let answer = one.api().post(&discard, &json!({ "reason": "x" })).await;
    assert_eq!(answer.expect("an answer").status, 200);
    let counts = [("pay", [1, 0, 1]), ("ship", [1, 0, 0])];
    tell(&[&one], &counts).await;
    one.restart().await;
    tell(&[&one], &counts).await;

    // Of two, who owns the shards tells; when that one is gone, the other does.
    let two = Coordinator::spawn(settings);
    two.wait_for("standby", LONG).await;
    tell(&[&one, &two], &counts).await;
    keep(&bed, &["ship"]).await;
    let counts = [("pay", [1, 0, 1]), ("ship", [2, 0, 0])];
    tell(&[&one, &two], &counts).await;
    one.kill();
    tell(&[&two], &counts).await;
}
