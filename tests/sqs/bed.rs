//! A deployment of a test's own on the emulator: names that nobody else has, and a plain client beside
//! the broker that is tested.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use amends::config::Sqs as Settings;
use amends::dispatch::broker::{Broker, Delivery, Outgoing, Published};
use amends::dispatch::sqs::Sqs;
use aws_config::BehaviorVersion;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use bytes::Bytes;
use serde_json::{Map, json};
use support::eventually;
use support::moto::{PrivateMoto, needs_environment};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long anything may take that is to happen; longer than a message is hidden.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn unique() -> String {
    format!("t{}", uuid::Uuid::now_v7().simple())
}

pub(crate) fn settings(url: &str, prefix: &str) -> Settings {
    Settings {
        endpoint: Some(url.parse().unwrap()),
        prefix: prefix.to_owned(),
        declare: true,
    }
}

/// A client of another program's.
pub(crate) async fn client(url: &str) -> Client {
    let ring = aws_smithy_http_client::tls::Provider::Rustls(
        aws_smithy_http_client::tls::rustls_provider::CryptoMode::Ring,
    );
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(ring)
        .build_https();
    let config = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .endpoint_url(url)
        .load()
        .await;
    Client::new(&config)
}

pub(crate) struct Bed {
    pub(crate) prefix: String,
    /// The participant's queue.
    pub(crate) queue: String,
    /// Where the emulator is.
    pub(crate) url: String,
    pub(crate) client: Client,
    _server: Option<PrivateMoto>,
}

impl Bed {
    pub(crate) async fn new() -> Self {
        match std::env::var("AMENDS_TEST_SQS") {
            Ok(url) => Self::on(&url, None).await,
            Err(_) => {
                let server = PrivateMoto::start_new();
                Self::on(&server.url(), Some(server)).await
            }
        }
    }

    /// With a queue that keeps the order.
    pub(crate) async fn fifo() -> Self {
        let mut bed = Self::new().await;
        bed.queue = format!("{}-pay.fifo", bed.prefix);
        bed
    }

    pub(crate) async fn on(url: &str, server: Option<PrivateMoto>) -> Self {
        needs_environment();
        let prefix = unique();
        Self {
            queue: format!("{prefix}-pay"),
            prefix,
            url: url.to_owned(),
            client: client(url).await,
            _server: server,
        }
    }

    pub(crate) fn launch(&self) -> Arc<dyn Broker> {
        self.launch_with(settings(&self.url, &self.prefix))
    }

    pub(crate) fn launch_with(&self, settings: Settings) -> Arc<dyn Broker> {
        Sqs::launch(&settings, vec![self.queue.clone()]).unwrap()
    }

    /// Only looks queues up.
    pub(crate) fn launch_looking(&self) -> Arc<dyn Broker> {
        let mut settings = settings(&self.url, &self.prefix);
        settings.declare = false;
        self.launch_with(settings)
    }

    pub(crate) fn replies(&self) -> String {
        format!("{}-replies", self.prefix)
    }

    pub(crate) fn dead_letters(&self) -> String {
        match self.queue.strip_suffix(".fifo") {
            Some(name) => format!("{name}-dlq.fifo"),
            None => format!("{}-dlq", self.queue),
        }
    }

    pub(crate) async fn url_of(&self, queue: &str) -> String {
        let found = self.client.get_queue_url().queue_name(queue).send().await;
        found.unwrap().queue_url.unwrap()
    }

    /// Makes a queue as another program would.
    pub(crate) async fn create(&self, queue: &str, attributes: &[(QueueAttributeName, &str)]) {
        let of = |(name, value): &(QueueAttributeName, &str)| (name.clone(), (*value).to_owned());
        let attributes: HashMap<_, _> = attributes.iter().map(of).collect();
        let creating = self.client.create_queue().queue_name(queue);
        let created = creating.set_attributes(Some(attributes)).send().await;
        created.unwrap();
    }

    pub(crate) async fn delete(&self, queue: &str) {
        let url = self.url_of(queue).await;
        let deleted = self.client.delete_queue().queue_url(url).send().await;
        deleted.unwrap();
    }

    pub(crate) async fn attributes(&self, queue: &str) -> HashMap<QueueAttributeName, String> {
        let url = self.url_of(queue).await;
        let asking = self.client.get_queue_attributes().queue_url(url);
        let answer = asking
            .attribute_names(QueueAttributeName::All)
            .send()
            .await
            .unwrap();
        answer.attributes.unwrap()
    }

    /// Gives a message to a queue as another program would.
    pub(crate) async fn send(&self, queue: &str, body: &str) {
        let url = self.url_of(queue).await;
        let sending = self.client.send_message().queue_url(url).message_body(body);
        sending.send().await.unwrap();
    }

    /// Up to ten messages of a queue, as another program would be brought them.
    pub(crate) async fn receive(&self, queue: &str, hidden_seconds: i32) -> Vec<Message> {
        let url = self.url_of(queue).await;
        let receiving = self
            .client
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(10)
            .wait_time_seconds(0)
            .visibility_timeout(hidden_seconds)
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::All);
        let received = receiving.send().await.unwrap();
        received.messages.unwrap_or_default()
    }

    /// The next messages of a queue, taken off it.
    pub(crate) async fn take_some(&self, queue: &str) -> Vec<Message> {
        let url = self.url_of(queue).await;
        eventually(&format!("messages in {queue}"), PATIENCE, async || {
            let messages = self.receive(queue, 60).await;
            for message in &messages {
                let handle = message.receipt_handle().unwrap();
                let deleting = self.client.delete_message().queue_url(&url);
                deleting.receipt_handle(handle).send().await.unwrap();
            }
            (!messages.is_empty()).then_some(messages)
        })
        .await
    }

    /// How many messages lie in a queue, hidden or not.
    pub(crate) async fn lying(&self, queue: &str) -> u32 {
        let attributes = self.attributes(queue).await;
        let count = |name| attributes[&name].parse::<u32>().unwrap();
        count(QueueAttributeName::ApproximateNumberOfMessages)
            + count(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
    }

    /// How many messages of a queue are hidden.
    pub(crate) async fn hidden(&self, queue: &str) -> u32 {
        let attributes = self.attributes(queue).await;
        let name = QueueAttributeName::ApproximateNumberOfMessagesNotVisible;
        attributes[&name].parse().unwrap()
    }

    pub(crate) async fn until_lying(&self, queue: &str, count: u32) {
        eventually(
            &format!("{count} messages in {queue}"),
            PATIENCE,
            async || (self.lying(queue).await == count).then_some(()),
        )
        .await;
    }
}

/// A command for the bed's participant.
pub(crate) fn command(bed: &Bed, number: u32) -> Outgoing {
    let headers =
        json!({ "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" });
    Outgoing {
        queue: bed.queue.clone(),
        id: format!("saga:charge:action:{number}"),
        correlation_id: Some("saga:charge:action".to_owned()),
        group: "saga".to_owned(),
        kind: "amends.command.v1".to_owned(),
        reply_to: Some(bed.replies()),
        headers: headers.as_object().unwrap_or(&Map::new()).clone(),
        body: Bytes::from(format!("{{\"number\":{number}}}")),
        replay: 0,
    }
}

/// Publishes, and fails when that takes too long.
pub(crate) async fn publish(broker: &Arc<dyn Broker>, message: &Outgoing) -> Published {
    tokio::time::timeout(PATIENCE, broker.publish(message))
        .await
        .expect("the server answers")
}

pub(crate) async fn until_up(broker: &Arc<dyn Broker>) {
    eventually("messaging to be up", PATIENCE, async || {
        broker.health().up.then_some(())
    })
    .await;
}

pub(crate) async fn until_down(broker: &Arc<dyn Broker>, words: &str) -> String {
    eventually(
        &format!("`{words}` to be the problem"),
        PATIENCE,
        async || {
            let health = broker.health();
            let problem = health.problem.filter(|problem| problem.contains(words))?;
            (!health.up).then_some(problem)
        },
    )
    .await
}

/// A broker that brings messages.
pub(crate) struct Bringing {
    brought: mpsc::Receiver<Delivery>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Bringing {
    pub(crate) fn from(broker: &Arc<dyn Broker>, room: usize) -> Self {
        let (into, brought) = mpsc::channel(room);
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        Arc::clone(broker).consume(into, &tasks, stop.clone());
        Self {
            brought,
            tasks,
            stop,
        }
    }

    pub(crate) async fn next(&mut self) -> Delivery {
        tokio::time::timeout(PATIENCE, self.brought.recv())
            .await
            .expect("a message is brought")
            .expect("the broker brings more")
    }

    /// What was brought by now, if anything.
    pub(crate) fn now(&mut self) -> Option<Delivery> {
        self.brought.try_recv().ok()
    }

    /// How many wait to be taken.
    pub(crate) fn held(&self) -> usize {
        self.brought.len()
    }

    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Until its task has ended.
    pub(crate) async fn ended(self) {
        self.stop();
        drop(self.brought);
        self.tasks.close();
        tokio::time::timeout(PATIENCE, self.tasks.wait())
            .await
            .expect("it stops");
    }
}
