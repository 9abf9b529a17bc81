//! The warehouse: RabbitMQ, by a plain client, and SQLite.

use std::collections::HashMap;
use std::process::Command as Program;
use std::time::Duration;

use amends::message::{CONTENT_TYPE, Command, REPLY_TYPE, Reply, ReplyOutcome};
use amends::participant::Phase;
use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::process::{Process, example, installed, log};
use crate::story::{self, Participant};

const LONG: Duration = Duration::from_secs(30);

struct Warehouse {
    directory: TempDir,
    url: String,
    queue: String,
    channel: Channel,
    replies: Consumer,
    dead: Consumer,
    _connection: Connection,
    process: Option<Process>,
    /// What it has answered, by the reply's id.
    said: HashMap<String, ReplyOutcome>,
}

impl Warehouse {
    async fn start() -> Self {
        let url = std::env::var("AMENDS_TEST_RABBITMQ")
            .unwrap_or_else(|_unset| "amqp://guest:guest@127.0.0.1:5672".to_owned());
        let connection = Connection::connect(&url, ConnectionProperties::default())
            .await
            .unwrap_or_else(|error| panic!("{url}: {error}"));
        let channel = connection.create_channel().await.unwrap();
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .unwrap();
        let queue = format!("amends-example-{}", uuid::Uuid::now_v7());
        let dead = declare(&channel, &format!("{queue}.dlq"), FieldTable::default()).await;
        let replies = declare(&channel, &format!("{queue}.replies"), FieldTable::default()).await;
        let mut arguments = FieldTable::default();
        for (name, value) in [
            ("x-queue-type", "quorum"),
            ("x-dead-letter-exchange", ""),
            ("x-dead-letter-routing-key", &format!("{queue}.dlq")),
        ] {
            arguments.insert(name.into(), AMQPValue::LongString(value.into()));
        }
        declare_queue(&channel, &queue, arguments).await;
        let mut warehouse = Self {
            directory: tempfile::tempdir().unwrap(),
            url,
            queue,
            channel,
            replies,
            dead,
            _connection: connection,
            process: None,
            said: HashMap::new(),
        };
        warehouse.restart().await;
        warehouse
    }

    async fn publish(&self, message: &[u8]) {
        let properties = BasicProperties::default().with_content_type(CONTENT_TYPE.into());
        let confirm = self
            .channel
            .basic_publish(
                "".into(),
                self.queue.as_str().into(),
                BasicPublishOptions::default(),
                message,
                properties,
            )
            .await
            .unwrap();
        confirm.await.unwrap();
    }

    /// The queues are nobody else's.
    async fn finish(mut self) {
        self.process = None;
        let names = [
            self.queue.clone(),
            format!("{}.dlq", self.queue),
            format!("{}.replies", self.queue),
        ];
        for name in names {
            let deleted = self
                .channel
                .queue_delete(name.into(), QueueDeleteOptions::default());
            deleted.await.unwrap();
        }
    }
}

async fn declare_queue(channel: &Channel, name: &str, mut arguments: FieldTable) {
    // What a test that fails leaves behind goes by itself.
    arguments.insert("x-expires".into(), AMQPValue::LongUInt(600_000));
    channel
        .queue_declare(name.into(), QueueDeclareOptions::durable(), arguments)
        .await
        .unwrap();
}

/// A queue, and its only consumer.
async fn declare(channel: &Channel, name: &str, arguments: FieldTable) -> Consumer {
    declare_queue(channel, name, arguments).await;
    let options = BasicConsumeOptions::default();
    channel
        .basic_consume(name.into(), name.into(), options, FieldTable::default())
        .await
        .unwrap()
}

impl Participant for Warehouse {
    const COMMANDS: (&'static str, &'static str) = ("reserve", "release");
    const NOT_ENOUGH: &'static str = "out_of_stock";

    fn input(of_ten: u32) -> Value {
        json!({ "item": "lamp", "quantity": of_ten })
    }

    async fn ask(&mut self, commands: Vec<Command>) -> Vec<ReplyOutcome> {
        for command in &commands {
            let command = Command {
                reply_to: format!("{}.replies", self.queue),
                ..command.clone()
            };
            self.publish(&command.to_json().unwrap()).await;
        }
        let mut outcomes = Vec::new();
        while outcomes.len() < commands.len() {
            let next = timeout(LONG, self.replies.next()).await;
            let delivery = next
                .unwrap_or_else(|_elapsed| panic!("no reply: {}", log(self.directory.path())))
                .unwrap()
                .unwrap();
            delivery.ack(BasicAckOptions::default()).await.unwrap();
            let reply = Reply::read(&delivery.data).unwrap();
            let Some(command) = commands.iter().find(|command| command.id() == reply.id) else {
                // It was killed between a reply and its acknowledgement, and says the same again.
                assert_eq!(self.said.get(&reply.id), Some(&reply.outcome), "{reply:?}");
                continue;
            };
            assert_eq!(
                (reply.saga, &reply.step, reply.phase),
                (command.saga, &command.step, command.phase)
            );
            let properties = &delivery.properties;
            let text = |value: &Option<lapin::types::ShortString>| {
                value.as_ref().map(|value| value.as_str().to_owned())
            };
            assert_eq!(
                text(properties.content_type()).as_deref(),
                Some(CONTENT_TYPE)
            );
            assert_eq!(text(properties.kind()).as_deref(), Some(REPLY_TYPE));
            assert_eq!(
                text(properties.correlation_id()),
                Some(command.idempotency_key())
            );
            assert_eq!(properties.delivery_mode(), &Some(2));
            self.said.insert(reply.id, reply.outcome.clone());
            outcomes.push(reply.outcome);
        }
        outcomes
    }

    async fn restart(&mut self) {
        self.process = None;
        let mut program = Program::new(installed(
            "AMENDS_TEST_PYTHON",
            "python-participant/bin/python",
        ));
        program
            .arg(example("python").join("participant.py"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("AMQP_URL", &self.url)
            .env("QUEUE", &self.queue)
            .env("DATABASE", self.directory.path().join("warehouse.db"));
        self.process = Some(Process::start(program, self.directory.path()));
    }
}

#[tokio::test]
async fn the_warehouse_in_python_is_a_good_participant() {
    let mut warehouse = Warehouse::start().await;
    story::is_a_good_participant(&mut warehouse).await;
    warehouse.finish().await;
}

#[tokio::test]
async fn the_warehouse_in_python_rejects_what_is_no_command_and_goes_on() {
    let mut warehouse = Warehouse::start().await;
    let deep = "[".repeat(100_000);
    let messages: [&[u8]; 6] = [
        deep.as_bytes(),
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        br#"{"type":"amends.command.v1"}"#,
    ];
    for message in messages {
        warehouse.publish(message).await;
    }
    for message in messages {
        let dead = timeout(LONG, warehouse.dead.next()).await;
        let dead = dead
            .unwrap_or_else(|_elapsed| {
                panic!("no dead letter: {}", log(warehouse.directory.path()))
            })
            .unwrap()
            .unwrap();
        dead.ack(BasicAckOptions::default()).await.unwrap();
        assert_eq!(dead.data, message);
    }
    let good = story::command::<Warehouse>(1, Phase::Action, Warehouse::input(1));
    let unknown = Command {
        name: "steal".to_owned(),
        ..good.clone()
    };
    let answers = warehouse.ask(vec![unknown]).await;
    assert!(matches!(&answers[0], ReplyOutcome::Refused(error) if error.code == "unknown_command"));
    let answers = warehouse.ask(vec![good]).await;
    assert!(
        matches!(&answers[0], ReplyOutcome::Succeeded(_)),
        "{answers:?}"
    );
    warehouse.finish().await;
}
