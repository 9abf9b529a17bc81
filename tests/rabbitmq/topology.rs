//! Exchanges and queues that are not as they should be: said, waited for, and used once they are.

use amends::dispatch::broker::Published;
use amends::dispatch::rabbitmq::RabbitMq;
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, ExchangeKind};

use crate::bed::{Bed, Bringing, command, publish, settings, until_down, until_up, url};

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_of_another_type_is_named_and_used_once_it_is_right() {
    let bed = Bed::new().await;
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let declared =
        bed.channel
            .queue_declare(bed.queue.as_str().into(), options, FieldTable::default());
    declared.await.unwrap();
    let exchange = format!("{}.dead-letters", bed.prefix);
    let options = ExchangeDeclareOptions::default();
    let arguments = FieldTable::default();
    bed.channel
        .exchange_declare(
            exchange.as_str().into(),
            ExchangeKind::Fanout,
            options,
            arguments,
        )
        .await
        .unwrap();

    let broker = bed.launch();
    let problem = until_down(&broker, "PRECONDITION_FAILED").await;
    assert!(
        problem.contains(&format!("queue {}", bed.queue)),
        "{problem}"
    );
    assert!(
        problem.contains(&format!("exchange {exchange}")),
        "{problem}"
    );
    let waiting = {
        let (broker, message) = (std::sync::Arc::clone(&broker), command(&bed, 1));
        async move { publish(&broker, &message).await }
    };
    let mending = async {
        bed.delete(&bed.queue).await;
        let options = lapin::options::ExchangeDeleteOptions::default();
        let deleted = bed
            .channel
            .exchange_delete(exchange.as_str().into(), options);
        deleted.await.unwrap();
        until_up(&broker).await;
    };
    let (published, ()) = tokio::join!(waiting, mending);
    assert_eq!(published, Published::Confirmed);
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_made_is_waited_for() {
    let bed = Bed::new().await;
    let mut settings = settings(&url(), &bed.prefix);
    settings.declare = false;
    let broker = RabbitMq::launch(&settings, std::slice::from_ref(&bed.queue)).unwrap();
    let mut bringing = Bringing::from(&broker, 16);
    let problem = until_down(&broker, "NOT_FOUND").await;
    for missing in [
        format!("exchange {}.commands", bed.prefix),
        format!("queue {}", bed.queue),
        format!("queue {}.dlq", bed.queue),
        format!("queue {}", bed.replies()),
    ] {
        assert!(problem.contains(&missing), "{missing} in {problem}");
    }
    let maker = bed.launch();
    until_up(&broker).await;
    assert_eq!(
        publish(&broker, &command(&bed, 1)).await,
        Published::Confirmed
    );
    bed.send(&bed.replies(), "r", BasicProperties::default())
        .await;
    bringing.next().await.receipt.done().await;
    bringing.ended().await;
    broker.close().await;
    maker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_was_deleted_is_made_again() {
    let bed = Bed::new().await;
    let broker = bed.launch();
    until_up(&broker).await;
    let exchange = format!("{}.commands", bed.prefix);
    let options = lapin::options::ExchangeDeleteOptions::default();
    let deleted = bed.channel.exchange_delete(exchange.into(), options);
    deleted.await.unwrap();
    // The server closes the channel for it; what was on it is published again.
    assert_eq!(
        publish(&broker, &command(&bed, 1)).await,
        Published::Confirmed
    );
    bed.take(&bed.queue).await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_of_the_replies_that_was_deleted_is_made_again() {
    let bed = Bed::new().await;
    let broker = bed.launch();
    let mut bringing = Bringing::from(&broker, 16);
    until_up(&broker).await;
    bed.delete(&bed.replies()).await;
    until_down(&broker, &bed.replies()).await;
    until_up(&broker).await;
    bed.send(&bed.replies(), "r", BasicProperties::default())
        .await;
    bringing.next().await.receipt.done().await;
    bringing.ended().await;
    broker.close().await;
}
