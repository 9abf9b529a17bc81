//! What is sent again, what the audit says of it, and that a letter settles when its broker has it.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::dispatch::broker::{Broker, BrokerHealth, Delivery, Published};
use crate::engine::bed;
use crate::saga::{SagaId, Timestamp};
use crate::store::{AuditEntry, AuditFilter, NewDeadLetter, Transport};

fn letter(message: &str, headers: Value) -> DeadLetter {
    let uuid = "0198c7c4-aaaa-7000-8000-000000000000".parse().unwrap();
    DeadLetter {
        id: DeadLetterId(uuid),
        status: DeadLetterStatus::Open,
        transport: "rabbitmq".to_owned(),
        queue: "payment.commands".to_owned(),
        participant: Some("payment".to_owned()),
        reason: "rejected".to_owned(),
        deliveries: 6,
        received_at: Timestamp(0),
        saga: Some(SagaId(uuid)),
        step: Some("charge".to_owned()),
        phase: Some("action".to_owned()),
        message_id: None,
        message: message.as_bytes().to_vec(),
        headers: headers.as_object().unwrap().clone(),
        replays: 0,
        settled_at: None,
        settled_by: None,
        note: None,
    }
}

#[test]
fn what_is_sent_again_is_what_was_sent() {
    let message = json!({
        "id": "x:charge:action:1", "type": "amends.command.v1", "replyto": "amends.replies",
        "idempotencykey": "x:charge:action", "traceparent": "00-1", "data": 1.50,
    });
    let message = message.to_string();
    let first = outgoing(&letter(&message, json!({})));
    let expected = Outgoing {
        queue: "payment.commands".to_owned(),
        id: "x:charge:action:1".to_owned(),
        correlation_id: Some("x:charge:action".to_owned()),
        group: "0198c7c4-aaaa-7000-8000-000000000000".to_owned(),
        kind: "amends.command.v1".to_owned(),
        reply_to: Some("amends.replies".to_owned()),
        headers: json!({ "traceparent": "00-1", "amends-replay": "1" })
            .as_object()
            .unwrap()
            .clone(),
        body: Bytes::from(message.clone()),
        replay: 1,
    };
    assert_eq!(first, expected);
    // What stands beside a message is what its broker was told.
    let beside = json!({
        "message_id": "m", "correlation_id": "c", "reply_to": "r", "type": "t",
        "headers": { "tracestate": "v=1", "amends-replay": "1", "x-death": [] },
    });
    let mut again = letter(&message, beside);
    again.replays = 1;
    let again = outgoing(&again);
    assert_eq!((again.id.as_str(), again.kind.as_str()), ("m", "t"));
    assert_eq!(again.correlation_id.as_deref(), Some("c"));
    assert_eq!(again.reply_to.as_deref(), Some("r"));
    let headers = json!({ "traceparent": "00-1", "tracestate": "v=1", "amends-replay": "2" });
    assert_eq!(Value::Object(again.headers), headers);
    assert_eq!((again.replay, again.body), (2, Bytes::from(message)));
}

#[test]
fn what_says_nothing_of_itself_can_be_sent_again() {
    for message in ["", "{", "[1]", "\u{0}", r#"{ "id": 7, "type": "" }"#] {
        let mut letter = letter(message, json!({ "reply_to": null }));
        (letter.participant, letter.saga) = (None, None);
        let sent = outgoing(&letter);
        assert_eq!(sent.id, letter.id.to_string());
        assert_eq!(sent.group, sent.id);
        assert_eq!(sent.kind, REPLY_TYPE);
        assert_eq!((sent.correlation_id, sent.reply_to), (None, None));
        assert_eq!(sent.body, message.as_bytes());
    }
}

#[test]
fn the_audit_says_which_letter_and_why() {
    let actor = Actor {
        name: "ann".to_owned(),
        remote: None,
    };
    let mut letter = letter("", json!({}));
    let reason = "of a test".to_owned();
    let told = record(&letter, &Settlement::Discarded { reason }, &actor);
    assert_eq!(told.action, AuditAction::DeadLetterDiscarded);
    assert_eq!(
        (told.saga, told.step.as_deref()),
        (letter.saga, Some("charge"))
    );
    let detail: Value = serde_json::from_str(told.detail.as_deref().unwrap()).unwrap();
    let id = letter.id.to_string();
    let expected = json!({ "dead_letter": id, "queue": "payment.commands", "reason": "of a test" });
    assert_eq!(detail, expected);
    letter.step = Some("s".repeat(STEP_CHARS_MAX + 1));
    let told = record(&letter, &Settlement::Replayed, &actor);
    assert_eq!(
        (told.action, told.step),
        (AuditAction::DeadLetterReplayed, None)
    );
}

/// A broker that answers as it is told.
#[derive(Debug, Default)]
struct Told {
    got: Mutex<Vec<Outgoing>>,
    /// What it answers, one after the other; nothing, when there is no more.
    answers: Mutex<VecDeque<Published>>,
    answered: Notify,
}

impl Told {
    fn answer(&self, published: Published) {
        self.answers.lock().push_back(published);
        self.answered.notify_one();
    }
}

#[async_trait::async_trait]
impl Broker for Told {
    fn kind(&self) -> BrokerKind {
        BrokerKind::RabbitMq
    }

    fn replies(&self) -> &'static str {
        "amends.replies"
    }

    async fn publish(&self, message: &Outgoing) -> Published {
        self.got.lock().push(message.clone());
        loop {
            if let Some(answer) = self.answers.lock().pop_front() {
                return answer;
            }
            self.answered.notified().await;
        }
    }

    fn consume(self: Arc<Self>, _: mpsc::Sender<Delivery>, _: &TaskTracker, _: CancellationToken) {}

    fn health(&self) -> BrokerHealth {
        let broker = self.kind();
        BrokerHealth {
            broker,
            up: true,
            problem: None,
        }
    }

    async fn close(&self) {}
}

/// An engine with that broker, and its database.
struct Bed {
    base: bed::Bed,
    broker: Arc<Told>,
}

impl Bed {
    async fn new() -> Self {
        let broker = Arc::new(Told::default());
        let brokers: Vec<Arc<dyn Broker>> = vec![Arc::<Told>::clone(&broker)];
        let base = bed::Bed::new(brokers, &[]).await;
        Self { base, broker }
    }

    async fn kept(&self, transport: Transport) -> DeadLetterId {
        let headers = Map::new();
        let letter = NewDeadLetter {
            transport,
            queue: "payment.commands",
            participant: Some("payment"),
            reason: "rejected",
            deliveries: 6,
            received_at: Timestamp(1),
            saga: None,
            step: Some("charge"),
            phase: None,
            message_id: Some("m"),
            message: b"{}",
            headers: &headers,
            redelivered: false,
        };
        self.base
            .store
            .keep_dead_letter(&letter)
            .await
            .unwrap()
            .id()
    }

    async fn replay(&self, id: DeadLetterId) -> Result<DeadLetter, DeadLetterError> {
        let actor = Actor {
            name: "ann".to_owned(),
            remote: None,
        };
        self.base.engine.replay_dead_letter(id, actor).await
    }

    async fn letter(&self, id: DeadLetterId) -> DeadLetter {
        self.base.store.dead_letter(id).await.unwrap().unwrap()
    }

    async fn replays_told(&self) -> Vec<AuditEntry> {
        let filter = AuditFilter {
            actions: vec![AuditAction::DeadLetterReplayed],
            ..AuditFilter::default()
        };
        self.base.store.audit(&filter, None, 10).await.unwrap()
    }
}

#[tokio::test]
async fn a_letter_is_replayed_once_its_broker_has_it() {
    let bed = Bed::new().await;
    let id = bed.kept(Transport::RabbitMq).await;
    let returned = Published::Returned("no such queue".to_owned());
    let refused = Published::Refused("it is full".to_owned());
    let (bytes, bytes_max) = (3, 2);
    for (number, no) in [returned, refused, Published::TooLarge { bytes, bytes_max }]
        .into_iter()
        .enumerate()
    {
        bed.broker.answer(no);
        let error = bed.replay(id).await.unwrap_err();
        assert!(
            matches!(error, DeadLetterError::NotReplayable(_)),
            "{error:?}"
        );
        assert_eq!(bed.broker.got.lock().len(), number + 1);
        assert_eq!(bed.letter(id).await.status, DeadLetterStatus::Open);
    }
    assert_eq!(bed.replays_told().await, []);

    bed.broker.answer(Published::Confirmed);
    let replayed = bed.replay(id).await.unwrap();
    assert_eq!(
        (replayed.status, replayed.replays),
        (DeadLetterStatus::Replayed, 1)
    );
    assert_eq!(replayed.settled_by.as_deref(), Some("ann"));
    assert_eq!(bed.letter(id).await, replayed);
    let told = bed.replays_told().await;
    assert_eq!((told.len(), told[0].step.as_deref()), (1, Some("charge")));
    // All four were the same message.
    let got = bed.broker.got.lock().clone();
    assert!(
        got.iter()
            .all(|sent| *sent == got[0] && sent.id == "m" && sent.replay == 1)
    );

    // It is not sent a second time.
    bed.broker.answer(Published::Confirmed);
    let error = bed.replay(id).await.unwrap_err();
    let expected = DeadLetterStatus::Replayed;
    assert!(
        matches!(error, DeadLetterError::AlreadySettled { status } if status == expected),
        "{error:?}"
    );
    assert_eq!(bed.broker.got.lock().len(), 4);
    let other = bed.kept(Transport::Sqs).await;
    let error = bed.replay(other).await.unwrap_err();
    assert!(
        matches!(error, DeadLetterError::NotReplayable(_)),
        "{error:?}"
    );
    bed.base.engine.drain().await;
}

#[tokio::test]
async fn a_replay_goes_on_when_its_caller_has_left() {
    let bed = Bed::new().await;
    let id = bed.kept(Transport::RabbitMq).await;
    let sent = async {
        while bed.broker.got.lock().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        replayed = bed.replay(id) => panic!("nobody has answered yet: {replayed:?}"),
        () = sent => {}
    }
    assert_eq!(bed.letter(id).await.status, DeadLetterStatus::Open);
    bed.broker.answer(Published::Confirmed);
    // A drain waits for what was begun.
    bed.base.engine.drain().await;
    assert_eq!(bed.letter(id).await.status, DeadLetterStatus::Replayed);
    assert_eq!(bed.replays_told().await.len(), 1);
}

#[tokio::test]
async fn a_broker_that_does_not_answer_is_away() {
    let bed = Bed::new().await;
    let id = bed.kept(Transport::RabbitMq).await;
    let error = bed.replay(id).await.unwrap_err();
    assert!(matches!(error, DeadLetterError::BrokerAway(_)), "{error:?}");
    assert_eq!(bed.letter(id).await.status, DeadLetterStatus::Open);
    bed.base.engine.drain().await;
}
