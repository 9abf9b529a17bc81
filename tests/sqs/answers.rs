//! What the emulator never answers: a server by script that throttles, denies, fails, and takes only a
//! part of a batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use amends::dispatch::broker::{Broker, Origin, Outgoing, Published};
use amends::dispatch::sqs::Sqs;
use futures_util::future::join_all;
use serde_json::{Value, json};
use support::eventually;
use support::moto::needs_environment;
use support::scripted::{Asked, Reply, Scripted};

use crate::bed::{Bringing, PATIENCE, publish, settings, until_down, until_up};

const PAY: &str = "pay";

fn message(number: u32) -> Outgoing {
    Outgoing {
        queue: PAY.to_owned(),
        id: format!("m{number}"),
        correlation_id: None,
        group: "saga".to_owned(),
        kind: "amends.command.v1".to_owned(),
        reply_to: None,
        headers: serde_json::Map::new(),
        body: number.to_string().into(),
        replay: 0,
    }
}

/// What is asked for: `SendMessageBatch` and so on.
fn action(asked: &Asked) -> &str {
    let target = asked.header("x-amz-target");
    target.rsplit('.').next().unwrap()
}

fn body(asked: &Asked) -> Value {
    serde_json::from_slice(&asked.body).unwrap()
}

fn error(status: u16, code: &str, message: &str) -> Reply {
    let kind = format!("com.amazonaws.sqs#{code}");
    Reply::json(status, &json!({ "__type": kind, "message": message }))
}

/// A server whose queues are all as they should be, and that answers the rest by script.
fn server(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Scripted {
    needs_environment();
    Scripted::start(move |asked| match action(asked) {
        "GetQueueUrl" => {
            let name = body(asked)["QueueName"].as_str().unwrap().to_owned();
            Reply::json(200, &json!({ "QueueUrl": format!("http://sqs/1/{name}") }))
        }
        "GetQueueAttributes" => {
            let url = body(asked)["QueueUrl"].as_str().unwrap().to_owned();
            let name = url.rsplit('/').next().unwrap();
            let policy = json!({
                "deadLetterTargetArn": format!("arn:{name}-dlq"), "maxReceiveCount": "5",
            });
            let attributes = json!({
                "QueueArn": format!("arn:{name}"), "RedrivePolicy": policy.to_string(),
            });
            Reply::json(200, &json!({ "Attributes": attributes }))
        }
        _ => script(asked),
    })
}

fn launch(server: &Scripted) -> Arc<dyn Broker> {
    Sqs::launch(&settings(&server.url(""), "amends"), vec![PAY.to_owned()]).unwrap()
}

/// Answers a batch, each entry by its message's body.
fn batch(asked: &Asked, fate: impl Fn(&str) -> Option<(&'static str, bool)>) -> Reply {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for entry in body(asked)["Entries"].as_array().unwrap() {
        match fate(entry["MessageBody"].as_str().unwrap()) {
            None => good.push(json!({
                "Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": "d",
            })),
            Some((code, is_ours)) => bad.push(json!({
                "Id": entry["Id"], "Code": code, "SenderFault": is_ours, "Message": "a sentence",
            })),
        }
    }
    Reply::json(200, &json!({ "Successful": good, "Failed": bad }))
}

/// The bodies of every batch that was sent, in order.
fn batches(server: &Scripted) -> Vec<Vec<String>> {
    let asked = server.asked();
    let sends = asked.iter().filter(|it| action(it) == "SendMessageBatch");
    let bodies = sends.map(|asked| {
        let body = body(asked);
        let entries = body["Entries"].as_array().unwrap().iter();
        let text = |entry: &Value| entry["MessageBody"].as_str().unwrap().to_owned();
        entries.map(text).collect()
    });
    bodies.collect()
}

async fn publish_three(broker: &Arc<dyn Broker>) -> Vec<Published> {
    let messages: Vec<Outgoing> = (1..=3).map(message).collect();
    join_all(messages.iter().map(|it| publish(broker, it))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_a_batch_is_told_apart_and_what_is_not_our_fault_is_sent_again() {
    let (calls, thirds) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let server = server(move |asked| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => error(400, "RequestThrottled", "slow down"),
        1 => error(503, "ServiceUnavailable", ""),
        _ => batch(asked, |body| match body {
            "2" => Some(("InvalidMessageContents", true)),
            "3" if thirds.fetch_add(1, Ordering::SeqCst) < 2 => Some(("InternalError", false)),
            _ => None,
        }),
    });
    let broker = launch(&server);
    until_up(&broker).await;
    let refused = Published::Refused("InvalidMessageContents: a sentence".to_owned());
    let fates = publish_three(&broker).await;
    assert_eq!(fates, [Published::Confirmed, refused, Published::Confirmed]);
    until_up(&broker).await;
    let sent = batches(&server).concat();
    let times = sent.iter().filter(|body| *body == "3").count();
    assert!(times >= 3, "{sent:?}");
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_refused_whole_goes_one_by_one() {
    let server = server(|asked| {
        let bodies = body(asked)["Entries"].to_string();
        if bodies.contains("\"MessageBody\":\"2\"") {
            return error(400, "InvalidParameterValue", "a message is bad");
        }
        batch(asked, |_| None)
    });
    let broker = launch(&server);
    until_up(&broker).await;
    let refused = Published::Refused("InvalidParameterValue: a message is bad".to_owned());
    let fates = publish_three(&broker).await;
    assert_eq!(fates, [Published::Confirmed, refused, Published::Confirmed]);
    assert!(batches(&server).contains(&vec!["2".to_owned()]));
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_well_is_told_of_until_it_is() {
    let well = Arc::new(AtomicUsize::new(0));
    let server = {
        let well = Arc::clone(&well);
        server(move |asked| match well.load(Ordering::SeqCst) {
            0 => error(500, "InternalFailure", "a bad day"),
            _ => batch(asked, |_| None),
        })
    };
    let broker = launch(&server);
    let message = message(1);
    let getting_well = async {
        until_down(&broker, "InternalFailure: a bad day").await;
        well.store(1, Ordering::SeqCst);
    };
    let (published, ()) = tokio::join!(publish(&broker, &message), getting_well);
    assert_eq!(published, Published::Confirmed);
    until_up(&broker).await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_send_is_told_so_without_names() {
    let arn = "arn:aws:iam::123456789012:user/ann";
    let why = format!("User: {arn} is not authorized");
    let server = server(move |_| error(403, "AccessDeniedException", &why));
    let broker = launch(&server);
    let refused = Published::Refused("it is not permitted: AccessDeniedException".to_owned());
    assert_eq!(publish(&broker, &message(1)).await, refused);
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_see_the_queues_is_told_which_and_no_more() {
    needs_environment();
    let server = Scripted::start(|_| {
        let why = "User: arn:aws:iam::123456789012:user/ann is not authorized";
        error(403, "AccessDeniedException", why)
    });
    let broker = launch(&server);
    let problem = until_down(&broker, "not permitted").await;
    // Nothing is made beside a queue of dead letters that we may not see.
    let of = |queue: &str| format!("queue {queue}: it is not permitted: AccessDeniedException");
    let expected = [of("pay-dlq"), of("amends-replies-dlq")].join("; ");
    assert_eq!(problem, expected);
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_whose_count_began_anew_and_a_delete_that_fails_at_first() {
    let (brought, deletes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let server = server(move |asked| match action(asked) {
        "ReceiveMessage" => {
            let is_dead = body(asked)["QueueUrl"] == "http://sqs/1/pay-dlq";
            if is_dead && brought.fetch_add(1, Ordering::SeqCst) == 0 {
                let attributes = json!({
                    "ApproximateReceiveCount": "1", "DeadLetterQueueSourceArn": "arn:pay",
                });
                let message = json!({
                    "MessageId": "m", "ReceiptHandle": "h", "Body": "dead", "Attributes": attributes,
                });
                return Reply::json(200, &json!({ "Messages": [message] }));
            }
            Reply::Late(Duration::from_millis(200), empty())
        }
        "DeleteMessageBatch" if deletes.fetch_add(1, Ordering::SeqCst) == 0 => {
            error(500, "InternalFailure", "")
        }
        "DeleteMessageBatch" => {
            let id = body(asked)["Entries"][0]["Id"].clone();
            Reply::json(200, &json!({ "Successful": [{ "Id": id }], "Failed": [] }))
        }
        _ => Reply::json(200, &json!({ "Successful": [], "Failed": [] })),
    });
    let broker = launch(&server);
    let mut bringing = Bringing::from(&broker, 16);
    let dead = bringing.next().await;
    let origin = Origin::Dead {
        queue: PAY.to_owned(),
        reason: "max_receive_count".to_owned(),
        deliveries: 1,
    };
    assert_eq!(dead.origin, origin);
    assert!(!dead.redelivered);
    let source = &dead.message.headers["DeadLetterQueueSourceArn"];
    assert_eq!(source, "arn:pay");
    dead.receipt.done().await;
    eventually("the second try", PATIENCE, async || {
        let asked = server.asked();
        let deletes = asked.iter().filter(|it| action(it) == "DeleteMessageBatch");
        (deletes.count() == 2).then_some(())
    })
    .await;
    bringing.ended().await;
    broker.close().await;
}

fn empty() -> Vec<u8> {
    support::scripted::http(200, &[("content-type", "application/json")], b"{}")
}
