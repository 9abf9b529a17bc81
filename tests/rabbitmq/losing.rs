//! Connections and servers that are lost: nothing that was confirmed is, and all is confirmed in the
//! end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use amends::dispatch::broker::{Broker, Published};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use lapin::BasicProperties;
use lapin::options::BasicAckOptions;
use support::rabbitmq::PrivateRabbitMq;
use tokio_util::task::TaskTracker;

use crate::bed::{Bed, Bringing, PATIENCE, command, next, until_down, until_up, url};
use crate::proxy::Proxy;

/// Publishes `count` commands, a hundred at a time, and fails unless each ends confirmed.
async fn publish_all(broker: &Arc<dyn Broker>, bed: &Bed, count: u32) {
    let mut under_way = FuturesUnordered::new();
    let publish = |number| {
        let message = command(bed, number);
        async move { (number, broker.publish(&message).await) }
    };
    let mut next = 0;
    let mut confirmed = 0;
    while confirmed < count {
        while next < count && under_way.len() < 100 {
            under_way.push(publish(next));
            next += 1;
        }
        let (number, published) = tokio::time::timeout(PATIENCE, under_way.next())
            .await
            .expect("the next one ends")
            .unwrap();
        assert_eq!(published, Published::Confirmed, "{number}");
        confirmed += 1;
        // Slow enough for several cuts to fall into it.
        if confirmed % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Takes commands until each of `count` was seen.
async fn see_all(bed: &Bed, count: u32) {
    let mut consumer = bed.consume(&bed.queue, 500).await;
    let mut seen = BTreeSet::new();
    while seen.len() < usize::try_from(count).unwrap() {
        let delivery = next(&mut consumer).await;
        let body: serde_json::Value = serde_json::from_slice(&delivery.data).unwrap();
        seen.insert(body["number"].as_u64().unwrap());
        delivery.ack(BasicAckOptions::default()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_confirmed_before_the_connection_was_lost_is_published_again() {
    const COUNT: u32 = 2_000;
    let bed = Bed::new().await;
    let (proxy, through) = Proxy::before(&url()).await;
    let broker = bed.launch_through(&through);
    let mut bringing = Bringing::from(&broker, 64);
    until_up(&broker).await;
    let cutting = TaskTracker::new();
    let cuts = cutting.spawn(async move {
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(150)).await;
            proxy.cut();
            tokio::time::sleep(Duration::from_millis(50)).await;
            proxy.mend();
        }
        proxy
    });
    publish_all(&broker, &bed, COUNT).await;
    let _proxy = cuts.await.unwrap();
    see_all(&bed, COUNT).await;
    until_up(&broker).await;
    bed.send(&bed.replies(), "r", BasicProperties::default())
        .await;
    bringing.next().await.receipt.done().await;
    bringing.ended().await;
    bed.until_waiting(&bed.replies(), 0).await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_come_again_on_the_next_connection() {
    let bed = Bed::new().await;
    let (proxy, through) = Proxy::before(&url()).await;
    let broker = bed.launch_through(&through);
    let mut bringing = Bringing::from(&broker, 64);
    until_up(&broker).await;
    for body in ["one", "two"] {
        bed.send(&bed.replies(), body, BasicProperties::default())
            .await;
    }
    let lost = bringing.next().await;
    proxy.cut();
    until_down(&broker, "").await;
    proxy.mend();
    // The server has taken it back: that says nothing to anybody.
    lost.receipt.done().await;
    let mut done = BTreeSet::new();
    while done.len() < 2 {
        let reply = bringing.next().await;
        if reply.redelivered {
            done.insert(reply.message.body.clone());
        }
        reply.receipt.done().await;
    }
    bringing.ended().await;
    bed.until_waiting(&bed.replies(), 0).await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_at_the_start_and_goes_away_again() {
    const COUNT: u32 = 2_000;
    let mut server = PrivateRabbitMq::new();
    let url = server.url();
    let settings = crate::bed::settings(&url, "amends");
    let early = amends::dispatch::rabbitmq::RabbitMq::launch(&settings, &[]).unwrap();
    let problem = until_down(&early, "it cannot be reached").await;
    assert!(!problem.contains("127.0.0.1"), "{problem}");
    server.start();
    until_up(&early).await;
    early.close().await;

    let bed = Bed::on(&url).await;
    let broker = bed.launch();
    let mut bringing = Bringing::from(&broker, 64);
    until_up(&broker).await;
    server.close_connections(Duration::from_millis(200), 8);
    publish_all(&broker, &bed, COUNT).await;
    server.crash();
    let away = Instant::now();
    until_down(&broker, "").await;
    assert!(
        away.elapsed() < Duration::from_secs(5),
        "it was noticed late"
    );
    let message = command(&bed, COUNT);
    let (published, ()) = tokio::join!(broker.publish(&message), async { server.start() });
    assert_eq!(published, Published::Confirmed);
    until_up(&broker).await;

    // The bed's own connection is gone with the server.
    let mut again = Bed::on(&url).await;
    (again.queue, again.prefix) = (bed.queue.clone(), bed.prefix.clone());
    see_all(&again, COUNT + 1).await;
    again
        .send(&bed.replies(), "r", BasicProperties::default())
        .await;
    bringing.next().await.receipt.done().await;
    bringing.ended().await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_no_messages_still_brings_replies() {
    let server = PrivateRabbitMq::start_new();
    let bed = Bed::on(&server.url()).await;
    let broker = bed.launch();
    let mut bringing = Bringing::from(&broker, 64);
    until_up(&broker).await;
    for body in ["one", "two"] {
        bed.send(&bed.replies(), body, BasicProperties::default())
            .await;
    }
    let first = bringing.next().await;
    let second = bringing.next().await;
    server.control(&["set_vm_memory_high_watermark", "0.000001"]);
    let message = command(&bed, 1);
    let published = broker.publish(&message);
    let meanwhile = async {
        until_down(&broker, "it takes no messages now").await;
        first.receipt.done().await;
        second.receipt.again().await;
        let again = bringing.next().await;
        assert_eq!(&again.message.body[..], b"two");
        again.receipt.done().await;
        server.control(&["set_vm_memory_high_watermark", "0.4"]);
        until_up(&broker).await;
    };
    let (published, ()) = tokio::join!(published, meanwhile);
    assert_eq!(published, Published::Confirmed);
    bringing.ended().await;
    broker.close().await;
}
