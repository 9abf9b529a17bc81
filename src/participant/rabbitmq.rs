//! A participant behind a RabbitMQ queue: takes commands, and answers each when its reply is safe.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use lapin::message::Delivery;
use serde_json::Map;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Command;
use crate::config::BrokerUrl;
use crate::dispatch::broker::{Outgoing, Published};
use crate::dispatch::rabbitmq::connection::Address;
use crate::dispatch::rabbitmq::consumer::{Consumer, Source};
use crate::dispatch::rabbitmq::properties::Message;
use crate::dispatch::rabbitmq::publisher::Publisher;
use crate::dispatch::rabbitmq::settling::{Ticket, Verdict};
use crate::dispatch::rabbitmq::standing::{Part, Standing};
use crate::dispatch::rabbitmq::topology::{Names, Topology, name};
use crate::message::{self, REPLY_TYPE, Reply, ReplyOutcome};

/// How a participant takes commands.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the server is.
    pub url: BrokerUrl,
    /// The queue that the coordinator's configuration names.
    pub queue: String,
    /// The coordinator's prefix.
    pub prefix: String,
    /// Whether the queue, its dead letters and the exchanges are made where they are missing, as the
    /// coordinator makes them; else they are waited for.
    pub declare: bool,
    /// How many commands may be under way at a time.
    pub prefetch: u16,
    /// Who replies, a URI reference like `/payment`.
    pub source: String,
}

/// Why a command has no reply.
#[derive(Debug)]
pub enum Unanswered {
    /// Nobody here can ever take it: it becomes a dead letter.
    Reject(Box<dyn std::error::Error + Send + Sync>),
    /// It could not be taken now: it comes again, a few times.
    Again(Box<dyn std::error::Error + Send + Sync>),
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Unanswered {
    fn from(error: E) -> Self {
        Self::Again(Box::new(error))
    }
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("RabbitMQ cannot be used: {0}")]
pub struct BadSettings(String);

/// A message with what settles it.
struct Taken {
    delivery: Delivery,
    ticket: Ticket,
}

impl fmt::Debug for Taken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Taken")
            .field("ticket", &self.ticket)
            .finish_non_exhaustive()
    }
}

/// Gives the commands of a queue to `handler`, many at a time, and sends what it answers, until
/// `stop`; then those that are under way are still answered. It connects by itself, and again for
/// ever.
///
/// A command may come more than once, and two at a time of one saga: the handler is to be idempotent
/// by the command's key. It is settled only when the server has the reply for good. A message that is
/// no command, and one that the handler rejects, becomes a dead letter; on any other failure, and
/// when the handler panics, it comes again.
///
/// # Errors
/// When the settings cannot be used.
pub async fn serve<H, F>(
    settings: Settings,
    handler: H,
    stop: CancellationToken,
) -> Result<(), BadSettings>
where
    H: Fn(Command) -> F + Send + Sync + 'static,
    F: Future<Output = Result<ReplyOutcome, Unanswered>> + Send + 'static,
{
    let address = Address::parse(&settings.url, &settings.source).map_err(BadSettings)?;
    let names = Names::of(&settings.prefix).map_err(BadSettings)?;
    let topology =
        Topology::of_participant(&names, &settings.queue, settings.declare).map_err(BadSettings)?;
    let standing = Arc::new(Standing::new());
    let (connections, over) = (TaskTracker::new(), CancellationToken::new());
    let publisher = Publisher::start(
        address.clone(),
        topology,
        Arc::clone(&standing),
        &connections,
        over.clone(),
    );
    let (into, mut brought) = mpsc::channel(1);
    let consumer = Consumer {
        address,
        sources: vec![Source {
            part: Part::Consuming,
            queues: vec![name(&settings.queue).map_err(BadSettings)?],
            prefetch: settings.prefetch.max(1),
        }],
        standing,
        stop,
        into,
        make: |_source, _number, delivery, ticket| Taken { delivery, ticket },
    };
    connections.spawn(consumer.run());
    let answering = Arc::new(Answering {
        handler,
        publisher,
        source: settings.source,
        over: over.clone(),
    });
    let commands = TaskTracker::new();
    while let Some(taken) = brought.recv().await {
        commands.spawn(Arc::clone(&answering).answer(taken));
    }
    // What is not settled by now comes again: its connection is gone.
    over.cancel();
    commands.close();
    commands.wait().await;
    connections.close();
    connections.wait().await;
    Ok(())
}

/// What every command is answered with.
struct Answering<H> {
    handler: H,
    publisher: Publisher,
    source: String,
    over: CancellationToken,
}

impl<H> Answering<H> {
    async fn answer<F>(self: Arc<Self>, taken: Taken)
    where
        H: Fn(Command) -> F,
        F: Future<Output = Result<ReplyOutcome, Unanswered>>,
    {
        let command = match message::Command::read(&taken.delivery.data) {
            Ok(command) => command,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "a message is no command");
                return taken.ticket.settle(Verdict::Dead);
            }
        };
        let (id, key) = (command.id(), command.idempotency_key());
        let (saga, step, phase) = (command.saga, command.step.clone(), command.phase);
        let reply_to = command.reply_to.clone();
        let outcome = match (self.handler)(Command::from(command)).await {
            Ok(outcome) => outcome,
            Err(Unanswered::Reject(error)) => {
                tracing::warn!(command = id, error = &*error, "a command is rejected");
                return taken.ticket.settle(Verdict::Dead);
            }
            Err(Unanswered::Again(error)) => {
                tracing::warn!(command = id, error = &*error, "a command is to come again");
                return taken.ticket.settle(Verdict::Again);
            }
        };
        let reply = Reply {
            // The same for every delivery of the command, and another for its next attempt.
            id: id.clone(),
            source: self.source.clone(),
            saga,
            step,
            phase,
            outcome,
        };
        let outgoing = Outgoing {
            queue: reply_to,
            id: id.clone(),
            correlation_id: Some(key),
            group: saga.to_string(),
            kind: REPLY_TYPE.to_owned(),
            reply_to: None,
            headers: Map::new(),
            body: Bytes::from(reply.to_json()),
            replay: 0,
        };
        let verdict = match self.send(&outgoing).await {
            Ok(()) => Verdict::Done,
            Err(why) => {
                tracing::warn!(command = id, why, "a reply was not taken");
                Verdict::Again
            }
        };
        taken.ticket.settle(verdict);
    }

    async fn send(&self, reply: &Outgoing) -> Result<(), String> {
        let message = Message::to_queue(reply)?;
        let published = tokio::select! {
            published = self.publisher.publish(message) => published,
            () = self.over.cancelled() => return Err("it was stopped".to_owned()),
        };
        match published {
            Published::Confirmed => Ok(()),
            Published::Returned(why) | Published::Refused(why) => Err(why),
            Published::TooLarge { bytes, bytes_max } => {
                Err(format!("it has {bytes} bytes, and {bytes_max} are allowed"))
            }
        }
    }
}
