//! What is published: with all that belongs to it, and told of one by one.

use amends::dispatch::broker::{BrokerKind, Outgoing, Published};
use amends::dispatch::rabbitmq::RabbitMq;
use futures_util::StreamExt as _;

use crate::bed::{Bed, command, publish, settings, until_down, until_up};

#[tokio::test(flavor = "multi_thread")]
async fn a_command_arrives_with_all_that_belongs_to_it() {
    let bed = Bed::new().await;
    let broker = bed.launch();
    assert_eq!(broker.kind(), BrokerKind::RabbitMq);
    assert_eq!(broker.replies(), bed.replies());
    let message = command(&bed, 1);
    assert_eq!(publish(&broker, &message).await, Published::Confirmed);
    assert!(broker.health().up, "{:?}", broker.health());

    let arrived = bed.take(&bed.queue).await;
    assert_eq!(arrived.data, message.body);
    assert_eq!(
        arrived.exchange.as_str(),
        format!("{}.commands", bed.prefix)
    );
    assert_eq!(arrived.routing_key.as_str(), bed.queue);
    let properties = &arrived.properties;
    let text = |it: &Option<lapin::types::ShortString>| it.as_ref().map(ToString::to_string);
    assert_eq!(text(properties.message_id()), Some(message.id));
    assert_eq!(text(properties.correlation_id()), message.correlation_id);
    assert_eq!(text(properties.reply_to()), message.reply_to);
    assert_eq!(text(properties.kind()), Some(message.kind));
    let content_type = Some("application/cloudevents+json".to_owned());
    assert_eq!(text(properties.content_type()), content_type);
    assert_eq!(*properties.delivery_mode(), Some(2));
    let headers = properties.headers().as_ref().unwrap().inner();
    let traceparent = headers["traceparent"].as_long_string().unwrap().to_string();
    assert_eq!(traceparent, message.headers["traceparent"]);
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
    assert_eq!(bed.take(&bed.replies()).await.data, reply.body);
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_is_told_its_own_fate() {
    const COUNT: u32 = 3_000;
    let bed = Bed::new().await;
    let broker = bed.launch();
    until_up(&broker).await;
    // Few enough at a time for confirms of both kinds to come together.
    let publishing = futures_util::stream::iter(0..COUNT).map(|number| {
        let mut message = command(&bed, number);
        if number % 3 == 0 {
            message.queue = format!("{}.nobody", bed.prefix);
        }
        let broker = &broker;
        async move { (number, publish(broker, &message).await) }
    });
    let mut fates = publishing.buffer_unordered(30);
    while let Some((number, fate)) = fates.next().await {
        let expected = if number % 3 == 0 {
            Published::Returned("NO_ROUTE".to_owned())
        } else {
            Published::Confirmed
        };
        assert_eq!(fate, expected, "{number}");
    }
    drop(fates);
    bed.until_waiting(&bed.queue, COUNT / 3 * 2).await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_for_a_queue_that_was_deleted_comes_back() {
    let bed = Bed::new().await;
    let broker = bed.launch();
    let message = command(&bed, 1);
    assert_eq!(publish(&broker, &message).await, Published::Confirmed);
    bed.delete(&bed.queue).await;
    let returned = Published::Returned("NO_ROUTE".to_owned());
    assert_eq!(publish(&broker, &message).await, returned);
    assert!(broker.health().up, "that is the queue's trouble alone");
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses() {
    let bed = Bed::new().await;
    let broker = bed.launch();
    until_up(&broker).await;
    let full = format!("{}.full", bed.prefix);
    let mut arguments = lapin::types::FieldTable::default();
    for (name, value) in [
        ("x-queue-type", "classic"),
        ("x-overflow", "reject-publish"),
    ] {
        arguments.insert(
            name.into(),
            lapin::types::AMQPValue::LongString(value.into()),
        );
    }
    arguments.insert("x-max-length".into(), 1.into());
    arguments.insert("x-expires".into(), 60_000.into());
    let options = lapin::options::QueueDeclareOptions::default();
    let declared = bed
        .channel
        .queue_declare(full.as_str().into(), options, arguments);
    declared.await.unwrap();
    let bound = bed.channel.queue_bind(
        full.as_str().into(),
        format!("{}.commands", bed.prefix).into(),
        full.as_str().into(),
        lapin::options::QueueBindOptions::default(),
        lapin::types::FieldTable::default(),
    );
    bound.await.unwrap();
    let message = Outgoing {
        queue: full.clone(),
        ..command(&bed, 1)
    };
    assert_eq!(publish(&broker, &message).await, Published::Confirmed);
    let refused = publish(&broker, &message).await;
    assert!(matches!(refused, Published::Refused(_)), "{refused:?}");
    bed.delete(&full).await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_refused_is_told_without_it() {
    let bed = Bed::new().await;
    let mut url = url::Url::parse(&crate::bed::url()).unwrap();
    url.set_username("somebody").unwrap();
    url.set_password(Some("hunter2")).unwrap();
    let settings = settings(url.as_str(), &bed.prefix);
    let broker = RabbitMq::launch(&settings, &[]).unwrap();
    let problem = until_down(&broker, "ACCESS_REFUSED").await;
    for secret in ["somebody", "hunter2", url.host_str().unwrap()] {
        assert!(!problem.contains(secret), "{problem}");
    }
    broker.close().await;
    assert!(!broker.health().up);
    // After that nobody publishes, and nobody is told that it did not work.
    let message = command(&bed, 1);
    let never = broker.publish(&message);
    let waited = tokio::time::timeout(std::time::Duration::from_millis(50), never).await;
    assert!(waited.is_err(), "{waited:?}");
}
