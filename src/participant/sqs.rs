//! A participant behind an SQS queue: takes commands, and answers each when its reply is safe.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::Message as Brought;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use super::Command;
use super::serving::{Answering, Replies, taken};
pub use super::serving::{BadSettings, Unanswered};
use crate::dispatch::broker::{BrokerKind, Outgoing};
use crate::dispatch::sqs::access::Access;
use crate::dispatch::sqs::consumer::{Consumer, Source};
use crate::dispatch::sqs::publisher::Publisher;
use crate::dispatch::sqs::topology::{Directory, Topology, keep};
use crate::dispatch::standing::{Part, Standing};
use crate::dispatch::ticket::Ticket;
use crate::message::ReplyOutcome;

/// How many polls wait for commands at a time, where so many may be under way that it is worth it.
const POLLS_MAX: usize = 4;
/// What one poll may bring.
const POLL_MAX: usize = 10;

/// How long a reply may still take once it is to stop: SQS may be away, and the command comes again.
const REPLY_AFTER_STOP: Duration = Duration::from_secs(10);

/// How a participant takes commands. Region and credentials are taken from the usual AWS variables
/// and files.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Another server than Amazon's.
    pub endpoint: Option<Url>,
    /// The queue that the coordinator's configuration names.
    pub queue: String,
    /// Whether the queue and that of its dead letters are made where they are missing, as the
    /// coordinator makes them; else they are waited for.
    pub declare: bool,
    /// How many commands may be under way at a time; at least ten, which is what SQS may bring at
    /// once. More are asked for when there is room for five.
    pub in_hand_max: usize,
    /// Who replies, a URI reference like `/payment`.
    pub source: String,
}

/// A message with what settles it.
struct Taken {
    body: String,
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

/// The way that replies go.
struct ToQueue {
    publisher: Publisher,
    stop: CancellationToken,
}

impl Replies for ToQueue {
    async fn send(&self, reply: &Outgoing) -> Result<(), String> {
        let given_up = async {
            self.stop.cancelled().await;
            tokio::time::sleep(REPLY_AFTER_STOP).await;
        };
        let published = tokio::select! {
            published = self.publisher.publish(reply) => published,
            () = given_up => return Err("it was stopped".to_owned()),
        };
        taken(published)
    }
}

/// Gives the commands of a queue to `handler`, many at a time, and sends what it answers, until
/// `stop`; then those that are under way are still answered. It reaches SQS by itself, and again for
/// ever.
///
/// A command may come more than once, and out of a queue that keeps no order two at a time of one
/// saga: the handler is to be idempotent by the command's key. It is deleted only when SQS has the
/// reply for good, and hidden from others until then. On a failure, and when the handler panics, it
/// comes again. SQS knows no rejecting: a message that is no command, and one that the handler
/// rejects, comes again at once until it has come as often as the queue's redrive policy says, and is
/// then a dead letter.
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
    let topology = Topology::of_participant(&settings.queue, settings.declare);
    let topology = topology.map_err(|why| BadSettings {
        broker: BrokerKind::Sqs,
        why,
    })?;
    let directory = Arc::new(Directory::new(Access::new(settings.endpoint)));
    let standing = Arc::new(Standing::new(BrokerKind::Sqs, Part::Queues));
    let (background, over) = (TaskTracker::new(), CancellationToken::new());
    let publisher = Publisher::start(
        Arc::clone(&directory),
        Arc::clone(&standing),
        &background,
        over.clone(),
    );
    background.spawn(keep(
        topology,
        Arc::clone(&directory),
        Arc::clone(&standing),
        over.clone(),
    ));
    let (into, mut brought) = mpsc::channel(1);
    let consumer = Consumer {
        directory,
        sources: vec![Source {
            queue: settings.queue,
            polls: (settings.in_hand_max / POLL_MAX).clamp(1, POLLS_MAX),
            in_hand_max: settings.in_hand_max,
        }],
        standing,
        stop: stop.clone(),
        into,
        make: Box::new(|_, brought: Brought, ticket| Taken {
            body: brought.body.unwrap_or_default(),
            ticket,
        }),
    };
    let consuming = background.spawn(consumer.run());
    let answering = Arc::new(Answering {
        handler,
        replies: ToQueue { publisher, stop },
        source: settings.source,
    });
    let commands = TaskTracker::new();
    while let Some(taken) = brought.recv().await {
        let answering = Arc::clone(&answering);
        commands.spawn(async move {
            let verdict = answering.answer(taken.body.as_bytes()).await;
            taken.ticket.settle(verdict);
        });
    }
    commands.close();
    commands.wait().await;
    // It ends when all that was said of its messages is done; that it panicked is told by whoever
    // watches panics.
    let _ended = consuming.await.is_ok();
    over.cancel();
    background.close();
    background.wait().await;
    Ok(())
}
