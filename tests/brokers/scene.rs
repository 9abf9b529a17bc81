//! A coordinator that reaches its participants over RabbitMQ, and participants that keep a ledger.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use amends::config::BrokerUrl;
use amends::definition::request::Phase;
use amends::message::ReplyOutcome;
use amends::participant::Command;
use amends::participant::rabbitmq::{Settings as Serving, Unanswered, serve};
use amends::saga::StepError;
use futures_util::StreamExt as _;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ExchangeDeleteOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::{Value, json};
use support::api::Api;
use support::coordinator::{Coordinator, Settings};
use support::database::{Kind, TestDatabase};
use support::definitions::Definitions;
use support::ledger::{Faults, Ledger};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything may take that is to happen.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// How many sagas are asked after at a time. A thousand that ask again and again would leave no CPU
/// to what they wait for.
const ASKING_MAX: usize = 16;

/// What is bought: three steps in three commands of one queue.
pub(crate) const ORDER: &str = "
name: order
version: 1
retry: { max_attempts: 8, initial: 20ms, max: 500ms }
compensation: { retry: { initial: 20ms, max: 500ms } }
steps:
  - { id: reserve, participant: ledger, action: { command: reserve },
      compensation: { command: release } }
  - { id: charge, participant: ledger, action: { command: charge },
      compensation: { command: refund } }
  - { id: ship, participant: ledger, action: { command: ship }, compensation: { command: stop } }
";
/// A step is done in a completed one where it is in the definition.
const STEPS: &[&str] = &["reserve", "charge", "ship"];

/// What takes one command.
pub(crate) const SMALL: &str = "
name: small
version: 1
steps:
  - { id: reserve, participant: ledger, action: { command: reserve },
      compensation: { command: release } }
";

/// Where the tests' RabbitMQ is.
pub(crate) fn server() -> String {
    std::env::var("AMENDS_TEST_RABBITMQ")
        .unwrap_or_else(|_unset| "amqp://guest:guest@127.0.0.1:5672".to_owned())
}

pub(crate) struct Scene {
    pub(crate) coordinator: Coordinator,
    api: Api,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) queue: String,
    prefix: String,
    server: String,
    _definitions: Definitions,
    _database: TestDatabase,
}

impl Scene {
    /// A coordinator on the tests' server, with these keys over its own.
    pub(crate) async fn open(definitions: &[&str], keys: &[(&str, &str)]) -> Self {
        Self::on(&server(), Kind::Postgres, definitions, keys).await
    }

    pub(crate) async fn on(
        server: &str,
        database: Kind,
        definitions: &[&str],
        keys: &[(&str, &str)],
    ) -> Self {
        let prefix = format!("t{}", uuid::Uuid::now_v7().simple());
        let queue = format!("{prefix}.ledger");
        let database = TestDatabase::fresh(database);
        let definitions = Definitions::of(definitions);
        let binary = env!("CARGO_BIN_EXE_amends");
        let mut settings = Settings::new(binary, database.url(), definitions.path())
            .key("rabbitmq.url", server)
            .key("rabbitmq.prefix", &prefix)
            .key("participants.ledger.transport", "rabbitmq")
            .key("participants.ledger.queue", &queue)
            .key("participants.ledger.timeout", "20s")
            .key("engine.lease", "1s");
        for (path, value) in keys {
            settings = settings.key(path, *value);
        }
        let coordinator = Coordinator::start(settings).await;
        Self {
            api: coordinator.api(),
            coordinator,
            ledger: Arc::new(Ledger::start(Faults::default())),
            queue,
            prefix,
            server: server.to_owned(),
            _definitions: definitions,
            _database: database,
        }
    }

    /// One client for all: making one takes longer than asking.
    pub(crate) fn api(&self) -> &Api {
        &self.api
    }

    pub(crate) fn replies(&self) -> String {
        format!("{}.replies", self.prefix)
    }

    pub(crate) async fn start(&self, definition: &str, input: &Value) -> String {
        let started = self
            .api()
            .start(definition, input, None)
            .await
            .expect("an answer");
        assert_eq!(started.status, 202, "{}", started.body);
        started.id()
    }

    /// Serves the queue with the ledger, until the answer is stopped.
    pub(crate) fn serve(&self) -> Served {
        let ledger = Arc::clone(&self.ledger);
        self.serve_with(move |command| {
            let ledger = Arc::clone(&ledger);
            async move { enter(&ledger, &command).await }
        })
    }

    /// Serves the queue with whatever takes commands.
    pub(crate) fn serve_with<F, Answer>(&self, handler: F) -> Served
    where
        F: Fn(Command) -> Answer + Send + Sync + 'static,
        Answer: Future<Output = Result<ReplyOutcome, Unanswered>> + Send + 'static,
    {
        let settings = Serving {
            url: BrokerUrl::parse(&self.server).expect("a URL"),
            queue: self.queue.clone(),
            prefix: self.prefix.clone(),
            declare: true,
            prefetch: 64,
            source: "/ledger".to_owned(),
        };
        let stop = CancellationToken::new();
        let serving = serve(settings, handler, stop.clone());
        let task = tokio::spawn(async move { serving.await.expect("settings that can be used") });
        Served { stop, task }
    }

    /// A plain client beside both.
    pub(crate) async fn client(&self) -> Client {
        let connection = Connection::connect(&self.server, ConnectionProperties::default())
            .await
            .expect("a connection");
        Client {
            channel: connection.create_channel().await.expect("a channel"),
            _connection: connection,
        }
    }

    /// What is wrong with what the participants saw, of sagas that all ended.
    pub(crate) async fn nothing_is_wrong(&self, sagas: &[String]) {
        let api = self.api();
        let begun = Instant::now();
        let left = || LONG.saturating_sub(begun.elapsed());
        let ends = sagas
            .iter()
            .map(|id| async move { api.settled(id, left()).await });
        let ends: Vec<Value> = futures_util::stream::iter(ends)
            .buffered(ASKING_MAX)
            .collect()
            .await;
        let mut wrong = self.ledger.violations();
        for (id, end) in sagas.iter().zip(&ends) {
            let status = end["status"].as_str().unwrap_or_default();
            if !matches!(status, "completed" | "compensated") {
                wrong.push(format!("{id} is {status}: {end}"));
                continue;
            }
            let has = |step: &&str| end["steps"].to_string().contains(*step);
            let steps: Vec<&str> = STEPS.iter().copied().filter(has).collect();
            wrong.extend(self.ledger.wrong_with(id, status == "completed", &steps));
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// Takes away what the deployment made on the server.
    pub(crate) async fn clean_up(mut self) {
        self.coordinator.kill();
        let client = self.client().await;
        let queues = [self.queue.clone(), self.replies()];
        for queue in queues
            .iter()
            .flat_map(|queue| [queue.clone(), format!("{queue}.dlq")])
        {
            let options = QueueDeleteOptions::default();
            client
                .channel
                .queue_delete(queue.into(), options)
                .await
                .expect("a queue");
        }
        for exchange in ["commands", "dead-letters"] {
            let exchange = format!("{}.{exchange}", self.prefix);
            let options = ExchangeDeleteOptions::default();
            client
                .channel
                .exchange_delete(exchange.into(), options)
                .await
                .expect("an exchange");
        }
    }
}

/// A participant that serves.
pub(crate) struct Served {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Served {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("the participant");
    }
}

/// A plain client of RabbitMQ.
pub(crate) struct Client {
    channel: Channel,
    _connection: Connection,
}

impl Client {
    pub(crate) async fn send(&self, queue: &str, body: &[u8]) {
        let sent = self.channel.basic_publish(
            "".into(),
            queue.into(),
            BasicPublishOptions::default(),
            body,
            BasicProperties::default().with_delivery_mode(2),
        );
        sent.await.expect("a channel");
    }

    /// Everything that comes to a queue; settled when it comes.
    pub(crate) async fn consume(&self, queue: &str) -> lapin::Consumer {
        let options = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let consumed =
            self.channel
                .basic_consume(queue.into(), "".into(), options, FieldTable::default());
        consumed.await.expect("a queue")
    }
}

/// Enters a command into the ledger, as a call over HTTP would be.
pub(crate) async fn enter(ledger: &Ledger, command: &Command) -> Result<ReplyOutcome, Unanswered> {
    // One for all: each has connections, and certificates, of its own.
    static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(reqwest::Client::new);
    let phase = match command.phase {
        Phase::Action => "action",
        Phase::Compensation => "compensation",
    };
    let answer = CLIENT
        .post(ledger.url(&command.name))
        .header("idempotency-key", command.idempotency_key())
        .header("amends-saga-id", command.saga.to_string())
        .header("amends-step", &command.step)
        .header("amends-phase", phase)
        .header("amends-attempt", command.attempt)
        .body(command.data.clone())
        .send()
        .await;
    let retry = |message: String| {
        Ok(ReplyOutcome::Retry {
            error: StepError::new("ledger", message),
            after_ms: None,
        })
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return retry(error.to_string()),
    };
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap_or_default();
    match status {
        200 => Ok(ReplyOutcome::Succeeded(body)),
        409 => {
            let code = body["code"].as_str().unwrap_or("refused").to_owned();
            Ok(ReplyOutcome::Refused(StepError::new(code, "refused")))
        }
        status => retry(format!("answered {status}")),
    }
}

/// Many starts, a hundred at a time.
pub(crate) async fn start_many(scene: &Scene, definition: &str, count: usize) -> Vec<String> {
    let starts =
        (0..count).map(|n| async move { scene.start(definition, &json!({ "n": n })).await });
    futures_util::stream::iter(starts)
        .buffered(100)
        .collect()
        .await
}
