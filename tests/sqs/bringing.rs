//! What is brought: replies and dead letters, each until it is settled.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use amends::dispatch::broker::{BrokerKind, Origin, Published};
use support::eventually;

use crate::bed::{Bed, Bringing, PATIENCE, command, publish, until_up};

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_is_brought_until_it_is_done() {
    let bed = Bed::new().await;
    let broker = bed.launch();
    let mut bringing = Bringing::from(&broker, 16);
    until_up(&broker).await;
    let mut reply = command(&bed, 1);
    reply.queue = bed.replies();
    assert_eq!(publish(&broker, &reply).await, Published::Confirmed);

    let first = bringing.next().await;
    assert_eq!(first.broker, BrokerKind::Sqs);
    assert_eq!(first.origin, Origin::Replies);
    assert_eq!(first.message.id, None);
    let headers = &first.message.headers;
    assert_eq!(headers["traceparent"], reply.headers["traceparent"]);
    assert_eq!(headers["ApproximateReceiveCount"], "1");
    assert!(headers.contains_key("MessageId"));
    assert_eq!(first.message.body, reply.body);
    assert!(!first.redelivered);
    first.receipt.again().await;
    let second = bringing.next().await;
    assert!(second.redelivered);
    drop(second);
    let third = bringing.next().await;
    assert_eq!(third.message.body, reply.body);
    third.receipt.done().await;
    bed.until_lying(&bed.replies(), 0).await;

    bed.send(&bed.replies(), "last").await;
    assert_eq!(&bringing.next().await.message.body[..], b"last");
    bringing.ended().await;
    // What was in hand and not settled is there again, and can be had at once.
    assert_eq!(bed.lying(&bed.replies()).await, 1);
    assert_eq!(bed.hidden(&bed.replies()).await, 0);
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_does_not_die_of_coming_again() {
    let bed = Bed::new().await;
    let broker = bed.launch();
    let mut bringing = Bringing::from(&broker, 16);
    until_up(&broker).await;
    bed.send(&bed.replies(), "r").await;
    let begun = Instant::now();
    // A participant's command would be dead after five.
    for _ in 0..6 {
        bringing.next().await.receipt.again().await;
    }
    let waited = begun.elapsed();
    assert!(waited > Duration::from_secs(3), "{waited:?}");
    bringing.next().await.receipt.done().await;
    bed.until_lying(&bed.replies(), 0).await;
    bringing.ended().await;
    assert_eq!(bed.lying(&format!("{}-dlq", bed.replies())).await, 0);
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_hand_stays_hidden_for_as_long_as_that_takes() {
    let bed = Bed::new().await;
    let broker = bed.launch();
    let mut bringing = Bringing::from(&broker, 64);
    until_up(&broker).await;
    for number in 0..12 {
        bed.send(&bed.replies(), &number.to_string()).await;
    }
    let mut in_hand = Vec::new();
    for _ in 0..12 {
        in_hand.push(bringing.next().await);
    }
    // Longer than a message is hidden when nobody says more.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(24) {
        assert_eq!(bed.hidden(&bed.replies()).await, 12);
        assert!(bringing.now().is_none(), "it came again");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    for delivery in in_hand {
        delivery.receipt.done().await;
    }
    bed.until_lying(&bed.replies(), 0).await;
    bringing.ended().await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_under_way_than_may_be_and_all_is_brought_in_the_end() {
    const COUNT: usize = 400;
    let bed = Bed::new().await;
    let broker = bed.launch();
    until_up(&broker).await;
    let messages: Vec<_> = (0..400)
        .map(|number| {
            let mut message = command(&bed, number);
            message.queue = bed.replies();
            message
        })
        .collect();
    let publishing = messages.iter().map(|message| publish(&broker, message));
    futures_util::future::join_all(publishing).await;
    let mut bringing = Bringing::from(&broker, 1_024);
    // The last poll may leave a part of its room.
    eventually("as many as may be", PATIENCE, async || {
        (bringing.held() >= 246).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(bringing.held() <= 256, "{} are in hand", bringing.held());
    let mut seen = BTreeSet::new();
    while seen.len() < COUNT {
        let delivery = bringing.next().await;
        seen.insert(delivery.message.body.clone());
        delivery.receipt.done().await;
    }
    bed.until_lying(&bed.replies(), 0).await;
    bringing.ended().await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_a_poll_at_once_and_still_settles_what_was_brought() {
    let bed = Bed::new().await;
    let broker = bed.launch();
    let mut bringing = Bringing::from(&broker, 64);
    until_up(&broker).await;
    bed.send(&bed.replies(), "r").await;
    let in_hand = bringing.next().await;
    let begun = Instant::now();
    bringing.stop();
    in_hand.receipt.done().await;
    bringing.ended().await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(3), "it took {took:?}");
    assert_eq!(bed.lying(&bed.replies()).await, 0);

    // It may be begun again; the emulator's own end of the old polls may take what comes first.
    let mut again = Bringing::from(&broker, 64);
    for body in ["a", "b"] {
        bed.send(&bed.replies(), body).await;
    }
    let mut seen = BTreeSet::new();
    while seen.len() < 2 {
        let delivery = again.next().await;
        seen.insert(delivery.message.body.clone());
        delivery.receipt.done().await;
    }
    again.ended().await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_nobody_takes_dies_and_is_brought_with_where_and_why() {
    let bed = Bed::new().await;
    dies(&bed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_a_fifo_queue_dies_too() {
    let bed = Bed::fifo().await;
    dies(&bed).await;
}

async fn dies(bed: &Bed) {
    let broker = bed.launch();
    let mut bringing = Bringing::from(&broker, 16);
    until_up(&broker).await;
    let message = command(bed, 1);
    assert_eq!(publish(&broker, &message).await, Published::Confirmed);
    for _ in 0..5 {
        let received = bed.receive(&bed.queue, 0).await;
        assert_eq!(received.len(), 1);
        // The emulator is exact to the millisecond about what is hidden for no time at all.
        show(bed, received[0].receipt_handle().unwrap()).await;
    }
    eventually("the next look", PATIENCE, async || {
        bed.receive(&bed.queue, 0).await.is_empty().then_some(())
    })
    .await;
    let dead = bringing.next().await;
    let origin = Origin::Dead {
        queue: bed.queue.clone(),
        reason: "max_receive_count".to_owned(),
        deliveries: 5,
    };
    assert_eq!(dead.origin, origin);
    assert_eq!(dead.message.body, message.body);
    assert!(dead.redelivered, "it may have been kept before");
    let headers = &dead.message.headers;
    assert_eq!(headers["traceparent"], message.headers["traceparent"]);
    dead.receipt.done().await;
    bed.until_lying(&bed.dead_letters(), 0).await;
    bringing.ended().await;
    broker.close().await;
}

async fn show(bed: &Bed, handle: &str) {
    let url = bed.url_of(&bed.queue).await;
    let showing = bed.client.change_message_visibility().queue_url(url);
    let shown = showing.receipt_handle(handle).visibility_timeout(0);
    shown.send().await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_reply_is_brought_as_one() {
    let bed = Bed::new().await;
    let broker = bed.launch();
    let mut bringing = Bringing::from(&broker, 16);
    until_up(&broker).await;
    let dead_letters = format!("{}-dlq", bed.replies());
    bed.send(&dead_letters, "whatever").await;
    let dead = bringing.next().await;
    let origin = Origin::Dead {
        queue: bed.replies(),
        reason: "max_receive_count".to_owned(),
        deliveries: 1,
    };
    assert_eq!(dead.origin, origin);
    assert!(!dead.redelivered);
    dead.receipt.done().await;
    bed.until_lying(&dead_letters, 0).await;
    bringing.ended().await;
    broker.close().await;
}
