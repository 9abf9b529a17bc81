//! What is published: told its fate, each by itself, and sent together where several wait.

use amends::dispatch::broker::{BrokerKind, Outgoing, Published};
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::json;
use support::eventually;
use support::moto::PrivateMoto;

use crate::bed::{Bed, PATIENCE, command, publish, until_up};

#[tokio::test(flavor = "multi_thread")]
async fn a_command_arrives_with_all_that_belongs_to_it() {
    let bed = Bed::new().await;
    let broker = bed.launch();
    assert_eq!(broker.kind(), BrokerKind::Sqs);
    assert_eq!(broker.replies(), bed.replies());
    let mut message = command(&bed, 1);
    message.headers.insert("x-tenant".to_owned(), json!("blue"));
    assert_eq!(publish(&broker, &message).await, Published::Confirmed);
    until_up(&broker).await;

    let arrived = bed.take_some(&bed.queue).await.remove(0);
    assert_eq!(arrived.body().unwrap().as_bytes(), &message.body[..]);
    let attributes = arrived.message_attributes().unwrap();
    assert_eq!(attributes.len(), 2);
    for name in ["traceparent", "x-tenant"] {
        let value = attributes[name].string_value();
        assert_eq!(value, message.headers[name].as_str(), "{name}");
    }
    let system = arrived.attributes().unwrap();
    assert!(!system.contains_key(&MessageSystemAttributeName::MessageGroupId));
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_is_sent_again_reaches_the_replies() {
    let bed = Bed::new().await;
    let broker = bed.launch();
    let reply = Outgoing {
        queue: bed.replies(),
        ..command(&bed, 1)
    };
    assert_eq!(publish(&broker, &reply).await, Published::Confirmed);
    let arrived = bed.take_some(&bed.replies()).await.remove(0);
    assert_eq!(arrived.body().unwrap().as_bytes(), &reply.body[..]);
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fifo_queue_keeps_the_order_of_a_saga_and_drops_what_it_has_seen() {
    let bed = Bed::fifo().await;
    let broker = bed.launch();
    until_up(&broker).await;
    let mut messages: Vec<Outgoing> = (0..25).map(|number| command(&bed, number)).collect();
    let mut other = command(&bed, 99);
    other.group = "other".to_owned();
    messages.push(other);
    // Some at once: so few that none waits to be let in, which would be in no order.
    for some in messages.chunks(8) {
        for fate in join_all(some.iter().map(|message| publish(&broker, message))).await {
            assert_eq!(fate, Published::Confirmed);
        }
    }
    // The same again is taken, and not put in twice; a replay is.
    assert_eq!(publish(&broker, &messages[3]).await, Published::Confirmed);
    let replay = Outgoing {
        replay: 1,
        ..messages[3].clone()
    };
    assert_eq!(publish(&broker, &replay).await, Published::Confirmed);

    let (mut bodies, mut others) = (Vec::new(), 0);
    while bodies.len() + others < 27 {
        for message in bed.take_some(&bed.queue).await {
            let system = message.attributes().unwrap();
            let text = |name| system[&name].as_str();
            let body = message.body().unwrap().to_owned();
            if text(MessageSystemAttributeName::MessageGroupId) == "other" {
                others += 1;
                continue;
            }
            let id = text(MessageSystemAttributeName::MessageDeduplicationId);
            let replayed = if bodies.len() == 25 { ":replay:1" } else { "" };
            assert_eq!(id, format!("{}{replayed}", id_of(&body)));
            bodies.push(body);
        }
    }
    let numbers = (0..25).chain([3]);
    let expected: Vec<String> = numbers
        .map(|number| format!("{{\"number\":{number}}}"))
        .collect();
    assert_eq!((bodies, others), (expected, 1));
    assert_eq!(bed.lying(&bed.queue).await, 0);
    broker.close().await;
}

fn id_of(body: &str) -> String {
    let number: serde_json::Value = serde_json::from_str(body).unwrap();
    format!("saga:charge:action:{}", number["number"])
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_wait_go_ten_at_a_time_and_each_is_told_its_own_fate() {
    const COUNT: u32 = 600;
    let server = PrivateMoto::start_new();
    let bed = Bed::on(&server.url(), None).await;
    let broker = bed.launch();
    until_up(&broker).await;
    let before = server.calls();
    let messages: Vec<Outgoing> = (0..COUNT)
        .map(|number| {
            let mut message = command(&bed, number);
            match number % 100 {
                7 => message.queue = format!("{}-nobody", bed.prefix),
                // Longer than any queue takes.
                8 => message.body = Bytes::from("x".repeat(1_100_000)),
                // A character that SQS does not take.
                9 => message.body = Bytes::from_static(b"\x01"),
                _ => {}
            }
            message
        })
        .collect();
    let fates = join_all(messages.iter().map(|message| publish(&broker, message))).await;
    for (number, fate) in fates.iter().enumerate() {
        let fits = match number % 100 {
            7 => matches!(fate, Published::Returned(why) if why.contains("NonExistentQueue")),
            8 => matches!(fate, Published::TooLarge { .. }),
            9 => matches!(fate, Published::Refused(_)),
            _ => *fate == Published::Confirmed,
        };
        assert!(fits, "{number}: {fate:?}");
    }
    assert_eq!(bed.lying(&bed.queue).await, COUNT - COUNT * 3 / 100);
    let calls = server.calls() - before;
    assert!(calls < 200, "{calls} calls for {COUNT} messages");
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_longer_than_the_queue_takes_is_not_sent() {
    let bed = Bed::new().await;
    let small = [(QueueAttributeName::MaximumMessageSize, "1024")];
    let maker = bed.launch();
    until_up(&maker).await;
    let url = bed.url_of(&bed.queue).await;
    let [(name, value)] = small;
    let setting = bed.client.set_queue_attributes().queue_url(url);
    setting.attributes(name, value).send().await.unwrap();

    let broker = bed.launch_looking();
    let mut message = command(&bed, 1);
    let beside = "traceparent".len() + "String".len() + 55;
    message.body = Bytes::from("x".repeat(1_024 - beside));
    assert_eq!(publish(&broker, &message).await, Published::Confirmed);
    message.body = Bytes::from("x".repeat(1_025 - beside));
    let told = Published::TooLarge {
        bytes: 1_025,
        bytes_max: 1_024,
    };
    assert_eq!(publish(&broker, &message).await, told);
    assert_eq!(bed.lying(&bed.queue).await, 1);
    broker.close().await;
    maker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_for_a_queue_that_was_deleted_comes_back_until_it_is_made_again() {
    let bed = Bed::new().await;
    let broker = bed.launch();
    let message = command(&bed, 1);
    assert_eq!(publish(&broker, &message).await, Published::Confirmed);
    bed.delete(&bed.queue).await;
    let fate = publish(&broker, &message).await;
    assert!(matches!(fate, Published::Returned(_)), "{fate:?}");
    eventually("the queue to be there again", PATIENCE, async || {
        (publish(&broker, &message).await == Published::Confirmed).then_some(())
    })
    .await;
    assert_eq!(bed.lying(&bed.queue).await, 1);
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_headers_than_sqs_takes_are_refused() {
    let bed = Bed::new().await;
    let broker = bed.launch();
    let mut message = command(&bed, 1);
    for number in 0..10 {
        message.headers.insert(format!("h{number}"), json!("v"));
    }
    let refused = Published::Refused("it has 11 headers, and SQS takes 10".to_owned());
    assert_eq!(publish(&broker, &message).await, refused);
    message.headers.shift_remove("h9");
    assert_eq!(publish(&broker, &message).await, Published::Confirmed);
    broker.close().await;
    // After that nobody publishes, and nobody is told that it did not work.
    let never = broker.publish(&message);
    let waited = tokio::time::timeout(std::time::Duration::from_millis(50), never).await;
    assert!(waited.is_err(), "{waited:?}");
}
