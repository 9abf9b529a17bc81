//! RabbitMQ beside HTTP: the same participants behind queues, with names of this run alone.

use amends::config::BrokerUrl;
use amends::message::ReplyOutcome;
use amends::participant::Command;
use amends::participant::rabbitmq::{Settings, Unanswered, serve};
use anyhow::Result;
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::{Connection, ConnectionProperties};
use support::coordinator::Settings as Coordinator;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::arguments::Arguments;
use crate::definitions::PARTICIPANTS;

/// How many commands may be under way to each participant.
const PREFETCH: u16 = 256;

/// The server, and what this run's names begin with.
#[derive(Clone, Debug)]
pub(crate) struct Broker {
    url: String,
    prefix: String,
}

impl Broker {
    /// The one that the bench is told of.
    pub(crate) fn of(arguments: &Arguments) -> Option<Self> {
        let own = || format!("bench-{}", std::process::id());
        Some(Self {
            url: arguments.rabbitmq.clone()?,
            prefix: Some(arguments.prefix.clone())
                .filter(|prefix| !prefix.is_empty())
                .unwrap_or_else(own),
        })
    }

    /// What a role is told of it.
    pub(crate) fn told(&self) -> Vec<&str> {
        vec!["--rabbitmq", &self.url, "--prefix", &self.prefix]
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The exchange that commands go through.
    pub(crate) fn commands(&self) -> String {
        format!("{}.commands", self.prefix)
    }

    /// The queue of a participant.
    pub(crate) fn queue(&self, participant: &str) -> String {
        format!("{}.{participant}", self.prefix)
    }

    /// The queue that the relay's replies come to.
    pub(crate) fn relay_replies(&self) -> String {
        format!("{}.relay", self.prefix)
    }

    /// A coordinator that reaches its participants over it.
    pub(crate) fn configure(&self, settings: Coordinator) -> Coordinator {
        let settings = settings
            .key("rabbitmq.url", &self.url)
            .key("rabbitmq.prefix", &self.prefix);
        PARTICIPANTS.iter().fold(settings, |settings, name| {
            settings
                .key(&format!("participants.{name}.transport"), "rabbitmq")
                .key(&format!("participants.{name}.queue"), self.queue(name))
        })
    }

    /// Serves every participant's queue, for as long as the process lives.
    pub(crate) fn serve<F, Answer>(&self, tasks: &TaskTracker, handler: F)
    where
        F: Fn(Command) -> Answer + Clone + Send + Sync + 'static,
        Answer: Future<Output = Result<ReplyOutcome, Unanswered>> + Send + 'static,
    {
        for name in PARTICIPANTS {
            let Ok(url) = BrokerUrl::parse(&self.url) else {
                continue;
            };
            let settings = Settings {
                url,
                queue: self.queue(name),
                prefix: self.prefix.clone(),
                declare: true,
                prefetch: PREFETCH,
                source: format!("/{name}"),
            };
            tasks.spawn(serve(settings, handler.clone(), CancellationToken::new()));
        }
    }

    /// Takes away what this run has made on the server.
    pub(crate) async fn clean_up(&self) -> Result<()> {
        let connection = Connection::connect(&self.url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let own = PARTICIPANTS.iter().map(|name| self.queue(name));
        let replies = [format!("{}.replies", self.prefix), self.relay_replies()];
        for queue in own.chain(replies) {
            for name in [queue.clone(), format!("{queue}.dlq")] {
                let options = QueueDeleteOptions::default();
                channel.queue_delete(name.into(), options).await?;
            }
        }
        for name in [self.commands(), format!("{}.dead-letters", self.prefix)] {
            let options = ExchangeDeleteOptions::default();
            channel.exchange_delete(name.into(), options).await?;
        }
        Ok(())
    }
}
