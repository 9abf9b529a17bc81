//! The whole coordinator with participants over SQS, seen from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use amends::message::ReplyOutcome;
use amends::participant::Command;
use amends::participant::sqs::{Settings, Unanswered, serve};
use amends::saga::StepError;
use serde_json::{Value, json};
use support::coordinator::{Coordinator, Settings as Start};
use support::database::{Kind, TestDatabase};
use support::definitions::Definitions;
use support::eventually;
use support::moto::ENVIRONMENT;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bed::{Bed, PATIENCE};

/// A payment that is given back when there is nothing to ship.
const ORDER: &str = "
name: order
version: 1
retry: { max_attempts: 3, initial: 10ms, max: 20ms }
steps:
  - { id: pay, participant: payment, timeout: 60s,
      action: { command: charge, body: { amount: \"${ input.amount }\" } },
      compensation: { command: refund } }
  - { id: ship, participant: payment, timeout: 60s, action: { command: ship } }
";

#[derive(Debug, thiserror::Error)]
#[error("this version knows no such command")]
struct Unknown;

async fn handle(command: Command, is_broken: bool) -> Result<ReplyOutcome, Unanswered> {
    let data: Value = serde_json::from_str(&command.data)?;
    match command.name.as_str() {
        "charge" if is_broken => Err(Unanswered::Reject(Box::new(Unknown))),
        "charge" if data["amount"] == 13 => {
            let error = StepError::new("unlucky", "");
            Ok(ReplyOutcome::Refused(error))
        }
        _ => Ok(ReplyOutcome::Succeeded(json!({ "done": command.name }))),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sagas_finish_and_a_dead_letter_is_replayed_after_the_fix() {
    let bed = Bed::new().await;
    let database = TestDatabase::fresh(Kind::Sqlite);
    let definitions = Definitions::of(&[ORDER]);
    let mut start = Start::new(
        env!("CARGO_BIN_EXE_amends"),
        database.url(),
        definitions.path(),
    )
    .key("sqs.enabled", "true")
    .key("sqs.endpoint", &bed.url)
    .key("sqs.prefix", &bed.prefix)
    .key("sqs.declare", "true")
    .key("participants.payment.transport", "sqs")
    .key("participants.payment.queue", &bed.queue)
    .key("participants.payment.on_dead_letter", "hold");
    for (name, value) in ENVIRONMENT {
        start = start.variable(name, value);
    }
    let coordinator = Coordinator::start(start).await;
    let broken = Arc::new(AtomicBool::new(false));
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let settings = Settings {
        endpoint: Some(bed.url.parse().unwrap()),
        queue: bed.queue.clone(),
        declare: false,
        in_hand_max: 20,
        source: "/payment".to_owned(),
    };
    let handler = {
        let broken = Arc::clone(&broken);
        move |command| handle(command, broken.load(Ordering::SeqCst))
    };
    tasks.spawn(serve(settings, handler, stop.clone()));

    let api = coordinator.api();
    let begin = async |amount: u32| {
        let input = json!({ "amount": amount });
        let started = api.start("order", &input, None).await.unwrap();
        assert_eq!(started.status, 202, "{}", started.body);
        started.id()
    };
    for (amount, status) in [(40, "completed"), (13, "compensated")] {
        let saga = api.settled(&begin(amount).await, PATIENCE).await;
        assert_eq!(saga["status"], status, "{saga}");
    }

    broken.store(true, Ordering::SeqCst);
    let saga = begin(41).await;
    let letter = eventually("a dead letter", PATIENCE, async || {
        let answer = api.get("/dead-letters?status=open").await.unwrap();
        answer.body["items"].as_array().unwrap().first().cloned()
    })
    .await;
    assert_eq!(letter["transport"], "sqs", "{letter}");
    assert_eq!(letter["queue"], json!(bed.queue));
    assert_eq!(letter["reason"], "max_receive_count");
    assert_eq!(letter["deliveries"], 5);
    assert_eq!(letter["saga"], json!(saga), "{letter}");
    broken.store(false, Ordering::SeqCst);
    let id = letter["id"].as_str().unwrap();
    let path = format!("/dead-letters/{id}/replay");
    let replayed = api.post(&path, &json!({})).await.unwrap();
    assert!(replayed.status.is_success(), "{}", replayed.body);
    let saga = api.settled(&saga, Duration::from_secs(60)).await;
    assert_eq!(saga["status"], "completed", "{saga}");
    assert_eq!(bed.lying(&bed.dead_letters()).await, 0);

    stop.cancel();
    tasks.close();
    tasks.wait().await;
}
