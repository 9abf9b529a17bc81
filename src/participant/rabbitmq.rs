//! A participant behind a RabbitMQ queue: takes commands, and answers each when its reply is safe.

use std::fmt;
use std::sync::Arc;

use lapin::message::Delivery;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Command;
use super::serving::{Answering, Replies, taken};
pub use super::serving::{BadSettings, Unanswered};
use crate::config::BrokerUrl;
use crate::dispatch::broker::{BrokerKind, Outgoing};
use crate::dispatch::rabbitmq::connection::Address;
use crate::dispatch::rabbitmq::consumer::{Consumer, Source};
use crate::dispatch::rabbitmq::properties::Message;
use crate::dispatch::rabbitmq::publisher::Publisher;
use crate::dispatch::rabbitmq::topology::{Names, Topology, name};
use crate::dispatch::standing::{Part, Standing};
use crate::dispatch::ticket::Ticket;
use crate::message::ReplyOutcome;

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
    let wrong = |why| BadSettings {
        broker: BrokerKind::RabbitMq,
        why,
    };
    let address = Address::parse(&settings.url, &settings.source).map_err(wrong)?;
    let names = Names::of(&settings.prefix).map_err(wrong)?;
    let topology =
        Topology::of_participant(&names, &settings.queue, settings.declare).map_err(wrong)?;
    let standing = Arc::new(Standing::new(BrokerKind::RabbitMq, Part::Publishing));
    let (connections, over) = (TaskTracker::new(), CancellationToken::new());
    let publisher = Publisher::start(
        address.clone(),
        topology,
        Arc::clone(&standing),
        &connections,
        over.clone(),
    );
    let (into, mut brought) = mpsc::channel(usize::from(settings.prefetch.max(1)));
    let consumer = Consumer {
        address,
        sources: vec![Source {
            part: Part::Consuming,
            queues: vec![name(&settings.queue).map_err(wrong)?],
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
        replies: ToQueue {
            publisher,
            over: over.clone(),
        },
        source: settings.source,
    });
    let commands = TaskTracker::new();
    while let Some(taken) = brought.recv().await {
        let answering = Arc::clone(&answering);
        commands.spawn(async move {
            let verdict = answering.answer(&taken.delivery.data).await;
            taken.ticket.settle(verdict);
        });
    }
    // What is not settled by now comes again: its connection is gone.
    over.cancel();
    commands.close();
    commands.wait().await;
    connections.close();
    connections.wait().await;
    Ok(())
}

/// The way that replies go.
struct ToQueue {
    publisher: Publisher,
    over: CancellationToken,
}

impl Replies for ToQueue {
    async fn send(&self, reply: &Outgoing) -> Result<(), String> {
        let message = Message::to_queue(reply)?;
        let published = tokio::select! {
            published = self.publisher.publish(message) => published,
            () = self.over.cancelled() => return Err("it was stopped".to_owned()),
        };
        taken(published)
    }
}
