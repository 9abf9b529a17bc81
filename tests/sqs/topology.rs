//! Queues that are missing or not as they should be: made, or said and waited for, and used once they
//! are.

use amends::config::Sqs as Settings;
use amends::dispatch::broker::Published;
use amends::dispatch::sqs::Sqs;
use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use serde_json::Value;
use support::eventually;

use crate::bed::{Bed, Bringing, PATIENCE, command, publish, until_down, until_up};

#[tokio::test(flavor = "multi_thread")]
async fn queues_are_made_with_their_dead_letters() {
    let bed = Bed::fifo().await;
    let broker = bed.launch();
    until_up(&broker).await;
    for (queue, dead, receives_max, fifo) in [
        (bed.queue.clone(), bed.dead_letters(), 5, Some("true")),
        (bed.replies(), format!("{}-dlq", bed.replies()), 1_000, None),
    ] {
        let attributes = bed.attributes(&queue).await;
        let dead = bed.attributes(&dead).await;
        let policy: Value = serde_json::from_str(&attributes[&Attribute::RedrivePolicy]).unwrap();
        assert_eq!(policy["deadLetterTargetArn"], dead[&Attribute::QueueArn]);
        assert_eq!(policy["maxReceiveCount"], receives_max, "{queue}");
        for attributes in [&attributes, &dead] {
            assert_eq!(attributes[&Attribute::MessageRetentionPeriod], "1209600");
            let is_fifo = attributes.get(&Attribute::FifoQueue).map(String::as_str);
            assert_eq!(is_fifo, fifo, "{queue}");
        }
        assert!(!dead.contains_key(&Attribute::RedrivePolicy));
    }
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_of_other_limits_are_taken_as_they_are() {
    let bed = Bed::new().await;
    let maker = bed.launch();
    until_up(&maker).await;
    maker.close().await;
    let url = bed.url_of(&bed.queue).await;
    let dead = bed.attributes(&bed.dead_letters()).await[&Attribute::QueueArn].clone();
    let policy = format!("{{\"deadLetterTargetArn\":\"{dead}\",\"maxReceiveCount\":\"9\"}}");
    bed.client
        .set_queue_attributes()
        .queue_url(url)
        .attributes(Attribute::RedrivePolicy, policy)
        .attributes(Attribute::VisibilityTimeout, "300")
        .send()
        .await
        .unwrap();
    let broker = bed.launch();
    until_up(&broker).await;
    let redrive = &bed.attributes(&bed.queue).await[&Attribute::RedrivePolicy];
    assert!(redrive.contains('9'), "{redrive}");
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_made_is_waited_for() {
    let bed = Bed::new().await;
    let broker = bed.launch_looking();
    let mut bringing = Bringing::from(&broker, 16);
    let problem = until_down(&broker, "NonExistentQueue").await;
    for missing in [
        bed.queue.clone(),
        bed.dead_letters(),
        bed.replies(),
        format!("{}-dlq", bed.replies()),
    ] {
        assert!(
            problem.contains(&format!("queue {missing}: ")),
            "{missing} in {problem}"
        );
    }
    let fate = publish(&broker, &command(&bed, 1)).await;
    assert!(matches!(fate, Published::Returned(_)), "{fate:?}");

    let maker = bed.launch();
    until_up(&maker).await;
    until_up(&broker).await;
    let fate = publish(&broker, &command(&bed, 1)).await;
    assert_eq!(fate, Published::Confirmed);
    bed.send(&bed.replies(), "r").await;
    bringing.next().await.receipt.done().await;
    bed.until_lying(&bed.replies(), 0).await;
    bringing.ended().await;
    broker.close().await;
    maker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_whose_dead_letters_go_nowhere_is_named_and_the_others_work() {
    let bed = Bed::new().await;
    bed.create(&bed.queue, &[]).await;
    let broker = bed.launch();
    let mut bringing = Bringing::from(&broker, 16);
    let expected = format!(
        "queue {} does not fit: its redrive policy does not name {}",
        bed.queue,
        bed.dead_letters()
    );
    eventually("that to be all that is wrong", PATIENCE, async || {
        (broker.health().problem.as_ref() == Some(&expected)).then_some(())
    })
    .await;
    bed.send(&bed.replies(), "r").await;
    bringing.next().await.receipt.done().await;
    bed.until_lying(&bed.replies(), 0).await;

    bed.delete(&bed.queue).await;
    until_up(&broker).await;
    let fate = publish(&broker, &command(&bed, 1)).await;
    assert_eq!(fate, Published::Confirmed);
    bringing.ended().await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_sqs_does_not_take_is_a_reason_not_to_start() {
    let settings = |prefix: &str| Settings {
        endpoint: None,
        prefix: prefix.to_owned(),
        declare: true,
    };
    for (prefix, queue) in [("a.b", "pay"), ("shop", "pay.x"), ("shop", "p y")] {
        let error = Sqs::launch(&settings(prefix), vec![queue.to_owned()]).unwrap_err();
        let words = error.to_string();
        assert!(words.starts_with("sqs cannot be used: `"), "{words}");
    }
}
