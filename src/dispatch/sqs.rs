//! SQS as a broker (participants.md, "SQS" and "Dead letters").
//!
//! Every call is one of its own, so there is no connection to lose: one task sees to the queues, one
//! publishes, and every queue that messages come from has its polls. What fails is tried again for
//! ever, by whoever needs it.

pub(crate) mod access;
pub(crate) mod consumer;
pub(crate) mod messages;
pub(crate) mod names;
pub(crate) mod publisher;
mod settling;
pub(crate) mod topology;
pub(crate) mod trouble;

use std::sync::Arc;

use aws_sdk_sqs::types::Message as Brought;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::access::Access;
use self::consumer::{Consumer, Source};
use self::publisher::Publisher;
use self::topology::{Directory, Topology, keep};
use super::DispatchError;
use super::broker::{Broker, BrokerHealth, BrokerKind, Delivery, Origin, Outgoing, Published};
use super::standing::{Part, Standing};
use super::ticket::Ticket;
use crate::config;

/// How many polls wait for replies at a time.
const REPLY_POLLS: usize = 4;
/// How many replies may be brought before one is settled.
const REPLIES_IN_HAND_MAX: usize = 256;
/// How many dead letters of one queue may be brought before one is settled.
const DEAD_IN_HAND_MAX: usize = 20;
/// The only reason why SQS lets a message die.
const REASON: &str = "max_receive_count";

/// SQS, or a server that speaks its protocol.
#[derive(Debug)]
pub struct Sqs {
    directory: Arc<Directory>,
    replies: String,
    /// The queues of the participants.
    queues: Vec<String>,
    standing: Arc<Standing>,
    publisher: Publisher,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Sqs {
    /// Makes ready to reach SQS and begins to see to the queues in the background. `queues` are those
    /// of the participants.
    ///
    /// # Errors
    /// When a name is not one that SQS takes.
    pub fn launch(
        settings: &config::Sqs,
        queues: Vec<String>,
    ) -> Result<Arc<dyn Broker>, DispatchError> {
        let replies = names::replies(&settings.prefix);
        let topology = Topology::of_coordinator(&replies, &queues, settings.declare);
        let topology = topology.map_err(|why| DispatchError::Broker {
            broker: BrokerKind::Sqs,
            why,
        })?;
        let directory = Arc::new(Directory::new(Access::new(settings.endpoint.clone())));
        let standing = Arc::new(Standing::new(BrokerKind::Sqs, Part::Queues));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let publisher = Publisher::start(
            Arc::clone(&directory),
            Arc::clone(&standing),
            &tasks,
            stop.clone(),
        );
        tasks.spawn(keep(
            topology,
            Arc::clone(&directory),
            Arc::clone(&standing),
            stop.clone(),
        ));
        Ok(Arc::new(Self {
            directory,
            replies,
            queues,
            standing,
            publisher,
            tasks,
            stop,
        }))
    }
}

#[async_trait::async_trait]
impl Broker for Sqs {
    fn kind(&self) -> BrokerKind {
        BrokerKind::Sqs
    }

    fn replies(&self) -> &str {
        &self.replies
    }

    async fn publish(&self, message: &Outgoing) -> Published {
        self.publisher.publish(message).await
    }

    fn consume(
        self: Arc<Self>,
        into: mpsc::Sender<Delivery>,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) {
        let mut sources = vec![Source {
            queue: self.replies.clone(),
            polls: REPLY_POLLS,
            in_hand_max: REPLIES_IN_HAND_MAX,
        }];
        let dying: Vec<String> = self.queues.iter().chain([&self.replies]).cloned().collect();
        sources.extend(dying.iter().map(|queue| Source {
            queue: names::dead_letters_of(queue),
            polls: 1,
            in_hand_max: DEAD_IN_HAND_MAX,
        }));
        let directory = Arc::clone(&self.directory);
        let make = move |number: usize, brought: Brought, ticket: Ticket| {
            // The first is that of the replies.
            let dead = number.checked_sub(1).and_then(|number| dying.get(number));
            delivery(&directory, dead, brought, ticket)
        };
        let consumer = Consumer {
            directory: Arc::clone(&self.directory),
            sources,
            standing: Arc::clone(&self.standing),
            stop,
            into,
            make: Box::new(make),
        };
        tasks.spawn(consumer.run());
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

/// What is handed on of a message; a dead one comes from the dead letters of a queue.
fn delivery(
    directory: &Directory,
    dead: Option<&String>,
    brought: Brought,
    ticket: Ticket,
) -> Delivery {
    let count = messages::deliveries(&brought);
    let origin = match dead {
        None => Origin::Replies,
        Some(queue) => Origin::Dead {
            queue: queue.clone(),
            reason: REASON.to_owned(),
            // Where the count goes on from the queue that it died in, our own are on top.
            deliveries: directory.receives_max(queue).unwrap_or(count).min(count),
        },
    };
    Delivery {
        broker: BrokerKind::Sqs,
        origin,
        message: messages::raw(brought),
        // A dead letter may be counted from before its death: then it may have been brought before.
        redelivered: count > 1,
        receipt: Box::new(ticket),
    }
}
