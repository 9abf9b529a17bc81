//! `amends::participant::sqs`: a Rust service behind a queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use amends::definition::request::Phase;
use amends::message::{Command, Reply, ReplyOutcome};
use amends::participant;
use amends::participant::sqs::{Settings, Unanswered, serve};
use amends::saga::{StepError, Timestamp};
use serde_json::{Value, json};
use support::eventually;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bed::{Bed, PATIENCE, until_up};

fn command(bed: &Bed, name: &str, attempt: u32) -> Command {
    Command {
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
async fn handle(
    command: participant::Command,
    tries: Arc<AtomicU32>,
) -> Result<ReplyOutcome, Unanswered> {
    let tried = tries.fetch_add(1, Ordering::SeqCst);
    match command.name.as_str() {
        "charge" => Ok(ReplyOutcome::Succeeded(serde_json::from_str(
            &command.data,
        )?)),
        "refuse" => Ok(ReplyOutcome::Refused(StepError::new("no_money", ""))),
        "reject" => Err(Unanswered::Reject(Box::new(NotNow))),
        "panic" if tried == 0 => panic!("a bug"),
        "fail" if tried == 0 => Err(NotNow.into()),
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
        endpoint: Some(bed.url.parse().unwrap()),
        queue: bed.queue.clone(),
        declare: true,
        in_hand_max: 20,
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
        bed.send(&bed.queue, &body).await;
    };
    let answer = async |name: &str| {
        tries.store(0, Ordering::SeqCst);
        let command = command(&bed, name, 3);
        send(command.to_json().unwrap()).await;
        let taken = bed.take_some(&bed.replies()).await.remove(0);
        let reply = Reply::read(taken.body().unwrap().as_bytes()).unwrap();
        assert_eq!(reply.id, command.id());
        assert_eq!(reply.source, "/payment");
        assert_eq!((reply.saga, reply.step.as_str()), (command.saga, "charge"));
        assert_eq!(reply.phase, Phase::Action);
        reply.outcome
    };
    let succeeded = |value: Value| ReplyOutcome::Succeeded(value);
    assert_eq!(answer("charge").await, succeeded(json!({ "amount": 40 })));
    let refused = ReplyOutcome::Refused(StepError::new("no_money", ""));
    assert_eq!(answer("refuse").await, refused);
    for failing in ["fail", "panic"] {
        assert_eq!(answer(failing).await, succeeded(json!({ "tries": 2 })));
        assert_eq!(tries.load(Ordering::SeqCst), 2, "{failing}");
    }
    tries.store(0, Ordering::SeqCst);
    let rejected = command(&bed, "reject", 1).to_json().unwrap();
    send(rejected.clone()).await;
    let dead = bed.take_some(&bed.dead_letters()).await.remove(0);
    assert_eq!(dead.body().unwrap().as_bytes(), rejected);
    assert_eq!(tries.load(Ordering::SeqCst), 5);
    send(b"no command".to_vec()).await;
    let dead = bed.take_some(&bed.dead_letters()).await.remove(0);
    assert_eq!(dead.body(), Some("no command"));

    stop.cancel();
    let served = tokio::time::timeout(PATIENCE, serving).await;
    served.expect("it stops").unwrap().unwrap();
    eventually("nothing to be left", PATIENCE, async || {
        (bed.lying(&bed.queue).await == 0).then_some(())
    })
    .await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_be_used_are_said() {
    let settings = Settings {
        endpoint: None,
        queue: "no name".to_owned(),
        declare: true,
        in_hand_max: 10,
        source: "/payment".to_owned(),
    };
    let handler = async |_command: participant::Command| -> Result<ReplyOutcome, Unanswered> {
        Ok(ReplyOutcome::Succeeded(Value::Null))
    };
    let handler = move |command| Box::pin(handler(command));
    let error = serve(settings, handler, CancellationToken::new()).await;
    let words = error.unwrap_err().to_string();
    assert!(
        words.starts_with("sqs cannot be used: `no name`"),
        "{words}"
    );
}
