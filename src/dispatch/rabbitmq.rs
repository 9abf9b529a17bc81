//! RabbitMQ as a broker (participants.md, "RabbitMQ" and "Dead letters").
//!
//! Two connections: one that exchanges and queues are seen to and messages are published on, and one
//! that messages are brought on. Each is made again for ever by its own task, and what a channel's
//! error ends is begun again on the same connection.

pub(crate) mod connection;
pub(crate) mod consumer;
pub(crate) mod properties;
pub(crate) mod publisher;
mod returns;
mod settling;
pub(crate) mod site;
pub(crate) mod topology;

use std::sync::Arc;

use lapin::message::Delivery as Lapin;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::connection::Address;
use self::consumer::{Consumer, Source};
use self::properties::{Message, death, raw};
use self::publisher::Publisher;
use self::topology::{DELIVERIES_MAX, Names, Topology, dead_letters_of};
use super::DispatchError;
use super::broker::{Broker, BrokerHealth, BrokerKind, Delivery, Origin, Outgoing, Published};
use super::standing::{Part, Standing};
use super::ticket::Ticket;
use crate::config;

/// What begins the targets of what the client library logs. Some of it holds messages, and some
/// passwords.
pub const LIBRARY_TARGET: &str = "lapin";
/// Where the client library logs messages that come back, whole.
pub const LIBRARY_RETURNS_TARGET: &str = "lapin::returned_messages";

/// How many dead letters of one queue may be brought before one is settled.
const DEAD_PREFETCH: u16 = 16;
/// What the server's operator sees of us.
const NAME: &str = "amends";

/// A RabbitMQ server or cluster.
#[derive(Debug)]
pub struct RabbitMq {
    address: Address,
    names: Names,
    sources: Vec<Source>,
    standing: Arc<Standing>,
    publisher: Publisher,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl RabbitMq {
    /// Makes ready to reach a server and connects in the background. `queues` are those of the
    /// participants.
    ///
    /// # Errors
    /// When the URL cannot be read, or a name is longer than the protocol allows.
    pub fn launch(
        settings: &config::RabbitMq,
        queues: &[String],
    ) -> Result<Arc<dyn Broker>, DispatchError> {
        let address = Address::parse(&settings.url, NAME).map_err(wrong)?;
        let names = Names::of(&settings.prefix).map_err(wrong)?;
        let topology = Topology::of_coordinator(&names, queues, settings.declare).map_err(wrong)?;
        let all = queues.iter().map(String::as_str);
        let dead = all
            .chain([names.replies.as_str()])
            .map(dead_letters_of)
            .collect::<Result<_, _>>()
            .map_err(wrong)?;
        let sources = vec![
            Source {
                part: Part::Consuming,
                queues: vec![names.replies.clone()],
                prefetch: settings.prefetch,
            },
            Source {
                part: Part::DeadLetters,
                queues: dead,
                prefetch: DEAD_PREFETCH,
            },
        ];
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let standing = Arc::new(Standing::new(BrokerKind::RabbitMq, Part::Publishing));
        let publisher = Publisher::start(
            address.clone(),
            topology,
            Arc::clone(&standing),
            &tasks,
            stop.clone(),
        );
        Ok(Arc::new(Self {
            address,
            names,
            sources,
            standing,
            publisher,
            tasks,
            stop,
        }))
    }
}

#[async_trait::async_trait]
impl Broker for RabbitMq {
    fn kind(&self) -> BrokerKind {
        BrokerKind::RabbitMq
    }

    fn replies(&self) -> &str {
        self.names.replies.as_str()
    }

    async fn publish(&self, message: &Outgoing) -> Published {
        match Message::of(message, &self.names) {
            Ok(message) => self.publisher.publish(message).await,
            Err(why) => Published::Refused(why),
        }
    }

    fn consume(
        self: Arc<Self>,
        into: mpsc::Sender<Delivery>,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) {
        let consumer = Consumer {
            address: self.address.clone(),
            sources: self.sources.clone(),
            standing: Arc::clone(&self.standing),
            stop,
            into,
            make: delivery,
        };
        let closed = self.stop.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = consumer.run() => {}
                () = closed.cancelled() => {}
            }
        });
    }

    fn health(&self) -> BrokerHealth {
        self.standing.health()
    }

    async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// What is wrong with the settings, or with the server.
fn wrong(why: String) -> DispatchError {
    DispatchError::Broker {
        broker: BrokerKind::RabbitMq,
        why,
    }
}

/// What is handed on of a message.
fn delivery(source: &Source, number: usize, brought: Lapin, ticket: Ticket) -> Delivery {
    let origin = match source.part {
        Part::DeadLetters => {
            let queue = source.queues.get(number).map_or("", |queue| queue.as_str());
            let is_replies = number + 1 == source.queues.len();
            dead(queue, is_replies, &brought)
        }
        Part::Consuming | Part::Publishing | Part::Queues | Part::Queue(_) => Origin::Replies,
    };
    Delivery {
        broker: BrokerKind::RabbitMq,
        origin,
        message: raw(&brought.properties, brought.data),
        redelivered: brought.redelivered,
        receipt: Box::new(ticket),
    }
}

/// Where a dead letter comes from, by the queue that it lies in.
fn dead(dead_letters: &str, is_replies: bool, brought: &Lapin) -> Origin {
    let queue = topology::queue_of(dead_letters).to_owned();
    let limit = (!is_replies).then_some(DELIVERIES_MAX);
    let limit = limit.and_then(|limit| u32::try_from(limit).ok());
    let death = death(&brought.properties, &queue, limit);
    Origin::Dead {
        queue,
        reason: death.reason,
        deliveries: death.deliveries,
    }
}
