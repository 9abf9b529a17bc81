//! A deployment of a test's own on the real server: names that nobody else has, and a plain client
//! beside the broker that is tested.

use std::sync::Arc;
use std::time::Duration;

use amends::config::{BrokerUrl, RabbitMq as Settings};
use amends::dispatch::broker::{Broker, Delivery, Outgoing, Published};
use amends::dispatch::rabbitmq::RabbitMq;
use bytes::Bytes;
use futures_util::StreamExt as _;
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicQosOptions,
    ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::{Map, json};
use support::eventually;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long anything may take that is to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn url() -> String {
    std::env::var("AMENDS_TEST_RABBITMQ")
        .unwrap_or_else(|_| "amqp://guest:guest@127.0.0.1:5672".to_owned())
}

pub(crate) fn unique() -> String {
    format!("t{}", uuid::Uuid::now_v7().simple())
}

pub(crate) fn settings(url: &str, prefix: &str) -> Settings {
    Settings {
        url: BrokerUrl::parse(url).unwrap(),
        prefix: prefix.to_owned(),
        declare: true,
        prefetch: 256,
    }
}

pub(crate) struct Bed {
    pub(crate) prefix: String,
    /// The participant's queue.
    pub(crate) queue: String,
    /// Where the server is, for the client beside.
    server: String,
    pub(crate) channel: Channel,
    connection: Connection,
}

impl Bed {
    pub(crate) async fn new() -> Self {
        Self::on(&url()).await
    }

    pub(crate) async fn on(server: &str) -> Self {
        let properties = ConnectionProperties::default();
        let connection = Connection::connect(server, properties).await.unwrap();
        let prefix = unique();
        Self {
            queue: format!("{prefix}.pay"),
            prefix,
            server: server.to_owned(),
            channel: connection.create_channel().await.unwrap(),
            connection,
        }
    }

    pub(crate) fn launch(&self) -> Arc<dyn Broker> {
        self.launch_through(&self.server)
    }

    pub(crate) fn launch_through(&self, url: &str) -> Arc<dyn Broker> {
        let settings = settings(url, &self.prefix);
        RabbitMq::launch(&settings, std::slice::from_ref(&self.queue)).unwrap()
    }

    pub(crate) fn replies(&self) -> String {
        format!("{}.replies", self.prefix)
    }

    pub(crate) async fn new_channel(&self) -> Channel {
        self.connection.create_channel().await.unwrap()
    }

    /// Gives a message to a queue as another program would.
    pub(crate) async fn send(&self, queue: &str, body: &str, properties: BasicProperties) {
        self.channel
            .basic_publish(
                "".into(),
                queue.into(),
                BasicPublishOptions::default(),
                body.as_bytes(),
                properties,
            )
            .await
            .unwrap();
    }

    /// Every message of a queue, as another program would take them.
    pub(crate) async fn consume(&self, queue: &str, prefetch: u16) -> lapin::Consumer {
        let channel = self.new_channel().await;
        let options = BasicQosOptions::default();
        channel.basic_qos(prefetch, options).await.unwrap();
        channel
            .basic_consume(
                queue.into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
            .unwrap()
    }

    /// The next message of a queue, taken off it.
    pub(crate) async fn take(&self, queue: &str) -> lapin::message::Delivery {
        eventually(&format!("a message in {queue}"), PATIENCE, async || {
            let options = BasicGetOptions { no_ack: true };
            let got = self.channel.basic_get(queue.into(), options).await.unwrap();
            got.map(|got| got.delivery)
        })
        .await
    }

    /// How many messages lie in a queue and wait.
    pub(crate) async fn waiting(&self, queue: &str) -> u32 {
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let arguments = FieldTable::default();
        let declared = self.channel.queue_declare(queue.into(), options, arguments);
        declared.await.unwrap().message_count()
    }

    pub(crate) async fn until_waiting(&self, queue: &str, count: u32) {
        eventually(
            &format!("{count} messages in {queue}"),
            PATIENCE,
            async || (self.waiting(queue).await == count).then_some(()),
        )
        .await;
    }

    pub(crate) async fn delete(&self, queue: &str) {
        let options = QueueDeleteOptions::default();
        self.channel
            .queue_delete(queue.into(), options)
            .await
            .unwrap();
    }
}

impl Drop for Bed {
    /// Nothing of it stays on the server, whichever way the test ended.
    fn drop(&mut self) {
        let (server, prefix) = (self.server.clone(), self.prefix.clone());
        let names = [self.queue.clone(), self.replies()];
        let deleting = async move {
            let properties = ConnectionProperties::default();
            let Ok(connection) = Connection::connect(&server, properties).await else {
                return;
            };
            let Ok(channel) = connection.create_channel().await else {
                return;
            };
            for name in names {
                for queue in [format!("{name}.dlq"), name] {
                    let options = QueueDeleteOptions::default();
                    channel.queue_delete(queue.into(), options).await.ok();
                }
            }
            for exchange in ["commands", "dead-letters"] {
                let exchange = format!("{prefix}.{exchange}");
                let options = ExchangeDeleteOptions::default();
                channel.exchange_delete(exchange.into(), options).await.ok();
            }
            connection.close(200, "done".into()).await.ok();
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut runtime = tokio::runtime::Builder::new_multi_thread();
                runtime.worker_threads(1).enable_all();
                runtime.build().unwrap().block_on(deleting);
            });
        });
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

    /// Until so many wait to be taken.
    pub(crate) async fn until_held(&self, count: usize) {
        eventually(&format!("{count} to be held"), PATIENCE, async || {
            (self.brought.len() == count).then_some(())
        })
        .await;
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

/// The next message of a plain consumer.
pub(crate) async fn next(consumer: &mut lapin::Consumer) -> lapin::message::Delivery {
    tokio::time::timeout(PATIENCE, consumer.next())
        .await
        .expect("a message comes")
        .expect("the consumer lives")
        .expect("the connection lives")
}
