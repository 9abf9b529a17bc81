//! What a message broker does for the coordinator, whichever it is: it takes commands, and brings
//! replies and what nobody could take.
//!
//! A broker knows queues and bytes. What a message says is read in one place for all of them
//! (`incoming`), and what follows from it is the engine's business.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The brokers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BrokerKind {
    /// RabbitMQ.
    RabbitMq,
    /// SQS, or what speaks its protocol.
    Sqs,
}

impl BrokerKind {
    /// Every broker.
    pub const ALL: [Self; 2] = [Self::RabbitMq, Self::Sqs];

    /// The word on the wire, in the tables and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RabbitMq => "rabbitmq",
            Self::Sqs => "sqs",
        }
    }

    /// The broker of that word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

impl fmt::Display for BrokerKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A message to be given to a broker.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// The queue it is for: a participant's, or that of the replies.
    pub queue: String,
    /// Its id: the same message given twice has the same.
    pub id: String,
    /// What it belongs to: the idempotency key of a command.
    pub correlation_id: Option<String>,
    /// Messages of one group keep their order where a queue keeps any: the saga's id.
    pub group: String,
    /// The CloudEvents `type`.
    pub kind: String,
    /// The queue that the answer goes to.
    pub reply_to: Option<String>,
    /// Headers beside it: the trace context, and those that the definition declares.
    pub headers: Map<String, Value>,
    /// The message itself.
    pub body: Bytes,
    /// Which replay of a dead letter it is, from 1; 0 is none. A queue that drops what it has seen
    /// must not drop a replay.
    pub replay: u32,
}

/// What a broker did with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// It has it for good.
    Confirmed,
    /// It had nowhere to put it.
    Returned(String),
    /// It would not take it.
    Refused(String),
    /// The message is longer than the queue takes; it was not sent.
    TooLarge {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        bytes_max: usize,
    },
}

/// A message as it came, with nothing read of it.
#[derive(Clone, Debug, PartialEq)]
pub struct RawMessage {
    /// The broker's id of it, where it has one.
    pub id: Option<String>,
    /// Headers and properties, as JSON.
    pub headers: Map<String, Value>,
    /// The message itself.
    pub body: Bytes,
}

/// Where a message came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The queue of the replies.
    Replies,
    /// A dead-letter queue.
    Dead {
        /// The queue whose consumers could not take it.
        queue: String,
        /// Why, in the broker's words: `rejected`, `delivery_limit`, `expired`…
        reason: String,
        /// How often it had been delivered, as far as the broker tells.
        deliveries: u32,
    },
}

/// A message that a broker brought. It is the broker's until it is settled: one that is dropped
/// comes again.
#[derive(Debug)]
pub struct Delivery {
    /// Which broker.
    pub broker: BrokerKind,
    /// From where.
    pub origin: Origin,
    /// What.
    pub message: RawMessage,
    /// Whether it was brought before and not settled, as far as the broker tells.
    pub redelivered: bool,
    /// Settles it.
    pub receipt: Box<dyn Receipt>,
}

/// Tells a broker what became of a message that it brought.
#[async_trait::async_trait]
pub trait Receipt: fmt::Debug + Send + Sync {
    /// What follows from the message is durable: the broker may forget it. Where this fails, it
    /// comes again.
    async fn done(self: Box<Self>);

    /// It could not be taken now: it is to come again.
    async fn again(self: Box<Self>);
}

/// How a broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerHealth {
    /// Which.
    pub broker: BrokerKind,
    /// Whether messages go and come.
    pub up: bool,
    /// What is wrong, and where; without addresses and credentials.
    pub problem: Option<String>,
}

/// A broker. It connects by itself, and again for ever.
#[async_trait::async_trait]
pub trait Broker: fmt::Debug + Send + Sync {
    /// Which it is.
    fn kind(&self) -> BrokerKind;

    /// The queue that replies come to.
    fn replies(&self) -> &str;

    /// Gives a message to a queue, and answers when the broker has it for good or will not have it.
    /// While the broker is away this waits, and what was not confirmed is given again: bound it
    /// from outside. Dropping it gives up; the message may be there all the same.
    async fn publish(&self, message: &Outgoing) -> Published;

    /// Begins to bring replies and dead letters, each at most so many at a time as may be brought
    /// before one is settled, until `stop`. May be called again after that.
    fn consume(
        self: Arc<Self>,
        into: mpsc::Sender<Delivery>,
        tasks: &TaskTracker,
        stop: CancellationToken,
    );

    /// How it is now.
    fn health(&self) -> BrokerHealth;

    /// Closes its connections; nothing is published after.
    async fn close(&self);
}
