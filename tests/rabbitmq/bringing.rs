//! What is brought: replies and dead letters, each until it is settled.

use amends::dispatch::broker::{BrokerKind, Origin};
use lapin::BasicProperties;
use lapin::options::{BasicNackOptions, BasicRejectOptions};
use support::eventually;

use crate::bed::{Bed, Bringing, PATIENCE, command, next, publish, until_up};

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_is_brought_until_it_is_done() {
    let bed = Bed::new().await;
    let broker = bed.launch();
    let mut bringing = Bringing::from(&broker, 16);
    until_up(&broker).await;
    let properties = BasicProperties::default()
        .with_message_id("r1".into())
        .with_type("amends.reply.v1".into());
    bed.send(&bed.replies(), "{\"a\":1}", properties).await;

    let first = bringing.next().await;
    assert_eq!(first.broker, BrokerKind::RabbitMq);
    assert_eq!(first.origin, Origin::Replies);
    assert_eq!(first.message.id.as_deref(), Some("r1"));
    assert_eq!(first.message.headers["type"], "amends.reply.v1");
    assert_eq!(&first.message.body[..], b"{\"a\":1}");
    assert!(!first.redelivered);
    first.receipt.again().await;
    let second = bringing.next().await;
    assert!(second.redelivered);
    drop(second);
    let third = bringing.next().await;
    assert_eq!(third.message.id.as_deref(), Some("r1"));
    third.receipt.done().await;

    bed.send(&bed.replies(), "last", BasicProperties::default())
        .await;
    assert_eq!(&bringing.next().await.message.body[..], b"last");
    bringing.ended().await;
    // What was done is gone, and what was in hand and not settled is there again.
    bed.until_waiting(&bed.replies(), 1).await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_comes_again_as_often_as_it_takes() {
    let bed = Bed::new().await;
    let broker = bed.launch();
    let mut bringing = Bringing::from(&broker, 16);
    until_up(&broker).await;
    bed.send(&bed.replies(), "r", BasicProperties::default())
        .await;
    for _ in 0..12 {
        bringing.next().await.receipt.again().await;
    }
    bringing.next().await.receipt.done().await;
    bringing.ended().await;
    assert_eq!(bed.waiting(&bed.replies()).await, 0);
    assert_eq!(bed.waiting(&format!("{}.dlq", bed.replies())).await, 0);
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_gives_back_what_was_not_taken_and_still_settles_what_was() {
    let bed = Bed::new().await;
    let broker = bed.launch();
    let mut bringing = Bringing::from(&broker, 2);
    until_up(&broker).await;
    for number in 0..50 {
        bed.send(
            &bed.replies(),
            &number.to_string(),
            BasicProperties::default(),
        )
        .await;
    }
    let in_hand = bringing.next().await;
    bringing.until_held(2).await;
    bringing.stop();
    // All but the one in hand and the two that wait in the channel.
    bed.until_waiting(&bed.replies(), 47).await;
    in_hand.receipt.done().await;
    bringing.ended().await;
    bed.until_waiting(&bed.replies(), 49).await;

    let mut again = Bringing::from(&broker, 64);
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 49 {
        let reply = again.next().await;
        let number: u32 = std::str::from_utf8(&reply.message.body)
            .unwrap()
            .parse()
            .unwrap();
        assert_ne!(number, 0, "it was done");
        seen.insert(number);
        reply.receipt.done().await;
    }
    again.ended().await;
    assert_eq!(bed.waiting(&bed.replies()).await, 0);
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_under_way_than_may_be() {
    let bed = Bed::new().await;
    let mut settings = crate::bed::settings(&crate::bed::url(), &bed.prefix);
    settings.prefetch = 10;
    let broker = amends::dispatch::rabbitmq::RabbitMq::launch(&settings, &[]).unwrap();
    let mut bringing = Bringing::from(&broker, 1_024);
    until_up(&broker).await;
    for number in 0..30_u32 {
        bed.send(
            &bed.replies(),
            &number.to_string(),
            BasicProperties::default(),
        )
        .await;
    }
    let mut in_hand = Vec::new();
    for _ in 0..10 {
        in_hand.push(bringing.next().await);
    }
    bed.until_waiting(&bed.replies(), 20).await;
    // In any order: one that is done makes room for one.
    let middle = in_hand.swap_remove(4);
    middle.receipt.done().await;
    in_hand.push(bringing.next().await);
    bed.until_waiting(&bed.replies(), 19).await;
    bringing.stop();
    for reply in in_hand {
        reply.receipt.done().await;
    }
    bringing.ended().await;
    bed.until_waiting(&bed.replies(), 19).await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_command_is_brought_as_a_dead_letter() {
    let bed = Bed::new().await;
    let broker = bed.launch();
    let mut bringing = Bringing::from(&broker, 16);
    until_up(&broker).await;
    let message = command(&bed, 1);
    publish(&broker, &message).await;
    let mut consumer = bed.consume(&bed.queue, 1).await;
    let taken = next(&mut consumer).await;
    taken.reject(BasicRejectOptions::default()).await.unwrap();

    let dead = bringing.next().await;
    let expected = Origin::Dead {
        queue: bed.queue.clone(),
        reason: "rejected".to_owned(),
        deliveries: 1,
    };
    assert_eq!(dead.origin, expected);
    assert_eq!(dead.message.body, message.body);
    assert_eq!(dead.message.id.as_deref(), Some(message.id.as_str()));
    let kept = &dead.message.headers;
    assert_eq!(kept["traceparent"], message.headers["traceparent"]);
    assert_eq!(kept["reply_to"], bed.replies());
    assert_eq!(kept["x-death"][0]["reason"], "rejected");
    dead.receipt.done().await;
    bringing.ended().await;
    assert_eq!(bed.waiting(&format!("{}.dlq", bed.queue)).await, 0);
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_comes_back_too_often_is_a_dead_letter() {
    let bed = Bed::new().await;
    let broker = bed.launch();
    let mut bringing = Bringing::from(&broker, 16);
    until_up(&broker).await;
    publish(&broker, &command(&bed, 1)).await;
    let mut consumer = bed.consume(&bed.queue, 1).await;
    for _ in 0..6 {
        let options = BasicNackOptions {
            requeue: true,
            ..BasicNackOptions::default()
        };
        next(&mut consumer).await.nack(options).await.unwrap();
    }
    let dead = bringing.next().await;
    let expected = Origin::Dead {
        queue: bed.queue.clone(),
        reason: "delivery_limit".to_owned(),
        deliveries: 6,
    };
    assert_eq!(dead.origin, expected, "{:?}", dead.message.headers);
    dead.receipt.done().await;
    bringing.ended().await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expired_or_was_put_there_by_hand_is_a_dead_letter_too() {
    let bed = Bed::new().await;
    let broker = bed.launch();
    let mut bringing = Bringing::from(&broker, 16);
    until_up(&broker).await;
    let expiring = BasicProperties::default().with_expiration("1".into());
    bed.send(&bed.queue, "expired", expiring).await;
    let dead = bringing.next().await;
    let expected = Origin::Dead {
        queue: bed.queue.clone(),
        reason: "expired".to_owned(),
        deliveries: 0,
    };
    assert_eq!(dead.origin, expected);
    dead.receipt.done().await;

    let dead_replies = format!("{}.dlq", bed.replies());
    bed.send(&dead_replies, "by hand", BasicProperties::default())
        .await;
    let dead = bringing.next().await;
    let expected = Origin::Dead {
        queue: bed.replies(),
        reason: "unknown".to_owned(),
        deliveries: 0,
    };
    assert_eq!(dead.origin, expected);
    dead.receipt.done().await;
    bringing.ended().await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_go_on_while_dead_letters_cannot_be_had() {
    let bed = Bed::new().await;
    let mut settings = crate::bed::settings(&crate::bed::url(), &bed.prefix);
    let queues = [bed.queue.clone()];
    let made = amends::dispatch::rabbitmq::RabbitMq::launch(&settings, &queues).unwrap();
    until_up(&made).await;
    settings.declare = false;
    let broker = amends::dispatch::rabbitmq::RabbitMq::launch(&settings, &queues).unwrap();
    let mut bringing = Bringing::from(&broker, 16);
    until_up(&broker).await;
    let dead_letters = format!("{}.dlq", bed.queue);
    bed.delete(&dead_letters).await;
    let problem = crate::bed::until_down(&broker, &dead_letters).await;
    assert!(problem.contains("queue"), "{problem}");
    bed.send(&bed.replies(), "r", BasicProperties::default())
        .await;
    bringing.next().await.receipt.done().await;
    // Whoever may make it makes it.
    made.close().await;
    let made = bed.launch();
    eventually("messaging to be up", PATIENCE, async || {
        broker.health().up.then_some(())
    })
    .await;
    bringing.ended().await;
    made.close().await;
    broker.close().await;
}
