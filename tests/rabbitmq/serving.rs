//! `amends::participant::rabbitmq`: a Rust service behind a queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use amends::config::BrokerUrl;
use amends::definition::request::Phase;
use amends::message::{self, Reply, ReplyOutcome};
use amends::participant::Command;
use amends::participant::rabbitmq::{Settings, Unanswered, serve};
use amends::saga::{StepError, Timestamp};
use lapin::BasicProperties;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bed::{Bed, PATIENCE, until_up, url};

fn command(bed: &Bed, name: &str, attempt: u32) -> message::Command {
    message::Command {
        name: name.to_owned(),
        saga: "0198c7a0-0000-7000-8000-000000000001".parse().unwrap(),
        definition: "order/1".to_owned(),
        step: "charge".to_owned(),
        phase: Phase::Action,
        attempt,
        action_outcome: None,
        reply_to: bed.replies(),
        time: Timestamp::from_rfc3339("2026-11-21T10:00:00Z").unwrap(),
        deadline: Timestamp::from_rfc3339("2026-11-21T10:00:10Z").unwrap(),
        fence: 7,
        traceparent: None,
        tracestate: None,
        data: json!({ "amount": 40 }).to_string(),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("not now")]
struct NotNow;

/// Answers by the command's name.
async fn handle(command: Command, tries: Arc<AtomicU32>) -> Result<ReplyOutcome, Unanswered> {
    match command.name.as_str() {
        "charge" => Ok(command
            .data()
            .map_or_else(|refused| refused, ReplyOutcome::Succeeded)),
        "refuse" => Ok(ReplyOutcome::Refused(StepError::new("no_money", ""))),
        "reject" => Err(Unanswered::Reject(Box::new(NotNow))),
        "panic" if tries.fetch_add(1, Ordering::SeqCst) == 0 => panic!("a bug"),
        "fail" if tries.fetch_add(1, Ordering::SeqCst) == 0 => Err(NotNow.into()),
        _ => Ok(ReplyOutcome::Succeeded(json!({ "tries": 2 }))),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_answers_rejects_and_tries_again() {
    let bed = Bed::new().await;
    // The queue of the replies is the coordinator's.
    let broker = bed.launch();
    until_up(&broker).await;
    let stop = CancellationToken::new();
    let settings = Settings {
        url: BrokerUrl::parse(&url()).unwrap(),
        queue: bed.queue.clone(),
        prefix: bed.prefix.clone(),
        declare: true,
        prefetch: 8,
        source: "/payment".to_owned(),
    };
    let tries = Arc::new(AtomicU32::new(0));
    let handler = {
        let tries = Arc::clone(&tries);
        move |command| handle(command, Arc::clone(&tries))
    };
    let tasks = TaskTracker::new();
    let serving = tasks.spawn(serve(settings, handler, stop.clone()));
    let send = async |body: Vec<u8>| {
        let body = String::from_utf8(body).unwrap();
        bed.send(&bed.queue, &body, BasicProperties::default())
            .await;
    };
    let answer = async |name: &str| {
        let command = command(&bed, name, 3);
        send(command.to_json().unwrap()).await;
        let taken = bed.take(&bed.replies()).await;
        let reply = Reply::read(&taken.data).unwrap();
        assert_eq!(reply.id, command.id());
        assert_eq!(reply.source, "/payment");
        assert_eq!((reply.saga, reply.step.as_str()), (command.saga, "charge"));
        assert_eq!(reply.phase, Phase::Action);
        let correlation = taken.properties.correlation_id().as_ref().unwrap();
        assert_eq!(correlation.as_str(), command.idempotency_key());
        assert_eq!(*taken.properties.delivery_mode(), Some(2));
        reply.outcome
    };
    let succeeded = |value: Value| ReplyOutcome::Succeeded(value);
    assert_eq!(answer("charge").await, succeeded(json!({ "amount": 40 })));
    let refused = ReplyOutcome::Refused(StepError::new("no_money", ""));
    assert_eq!(answer("refuse").await, refused);
    for failing in ["fail", "panic"] {
        tries.store(0, Ordering::SeqCst);
        assert_eq!(answer(failing).await, succeeded(json!({ "tries": 2 })));
        assert_eq!(tries.load(Ordering::SeqCst), 2, "{failing}");
    }
    let dead_letters = format!("{}.dlq", bed.queue);
    let rejected = command(&bed, "reject", 1).to_json().unwrap();
    send(rejected.clone()).await;
    assert_eq!(bed.take(&dead_letters).await.data, rejected);
    send(b"no command".to_vec()).await;
    assert_eq!(bed.take(&dead_letters).await.data, b"no command");

    stop.cancel();
    let served = tokio::time::timeout(PATIENCE, serving).await;
    served.expect("it stops").unwrap().unwrap();
    assert_eq!(bed.waiting(&bed.queue).await, 0);
    broker.close().await;
}
