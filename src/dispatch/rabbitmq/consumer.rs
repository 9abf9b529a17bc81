//! Brings messages from RabbitMQ, and settles them when whoever has them says so.
//!
//! It has a connection of its own: a server that takes no messages for a while still takes what is
//! said of those that it brought.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use futures_util::stream::{SelectAll, once, select_all};
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connection::{Address, Listener, News, Trouble, close};
use super::settling::Unsettled;
use super::topology::open;
use crate::dispatch::back_off::BackOff;
use crate::dispatch::due::until;
use crate::dispatch::standing::{Part, Standing};
use crate::dispatch::ticket::{Ticket, Verdict};

/// How long a message that could not be taken is kept from coming again at once.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Queues that are consumed together, on one channel.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// What stands or falls with it.
    pub(crate) part: Part,
    /// The queues.
    pub(crate) queues: Vec<ShortString>,
    /// How many messages of each queue may be brought before one is settled.
    pub(crate) prefetch: u16,
}

/// Consumes, and again for ever, until it is stopped.
pub(crate) struct Consumer<T> {
    pub(crate) address: Address,
    pub(crate) sources: Vec<Source>,
    pub(crate) standing: Arc<Standing>,
    pub(crate) stop: CancellationToken,
    pub(crate) into: mpsc::Sender<T>,
    /// Makes what is handed on of a delivery from the queue with that number in its source.
    pub(crate) make: fn(&Source, usize, Delivery, Ticket) -> T,
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Consumer")
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}

/// What the consumers of a channel bring: the number of the queue, and a message, or that there will
/// be no more.
type Streams = SelectAll<std::pin::Pin<Box<dyn Stream<Item = (usize, Option<Delivery>)> + Send>>>;

impl<T: Send + 'static> Consumer<T> {
    /// Consumes until it is stopped and what it brought is settled.
    pub(crate) async fn run(self) {
        let mut back_off = BackOff::new();
        for source in &self.sources {
            let problem = "it was not reached yet".to_owned();
            self.standing.down(source.part, problem);
        }
        while let Some(problem) = self.connected(&mut back_off).await {
            for source in &self.sources {
                self.standing.down(source.part, problem.clone());
            }
            if !back_off.wait(&self.stop).await {
                break;
            }
        }
        for source in &self.sources {
            self.standing.unwanted(source.part);
        }
    }

    /// Works on one connection until it is lost; `None` when it is to stop.
    async fn connected(&self, back_off: &mut BackOff) -> Option<String> {
        let connected = tokio::select! {
            () = self.stop.cancelled() => return None,
            connected = async {
                self.standing.fits().await;
                self.address.connect().await
            } => connected,
        };
        let connection = match connected {
            Ok(connection) => connection,
            Err(problem) => return Some(problem),
        };
        back_off.reset();
        let mut listener = Listener::to(&connection);
        let lost = async {
            loop {
                match listener.next(&connection).await {
                    News::Lost(problem) => break problem,
                    News::Blocked(_) | News::Unblocked => {}
                }
            }
        };
        let sources = self.sources.iter();
        let ended = tokio::select! {
            ended = try_join_all(sources.map(|source| self.consume(&connection, source))) => ended,
            problem = lost => Err(problem),
        };
        close(&connection).await;
        ended.err()
    }

    /// Consumes one source until it is to stop; `Err` when the connection is lost.
    async fn consume(&self, connection: &Connection, source: &Source) -> Result<(), String> {
        let mut back_off = BackOff::new();
        loop {
            let trouble = match self.subscribe(connection, source, &mut back_off).await {
                Ok(()) => return Ok(()),
                Err(trouble) => trouble,
            };
            if self.stop.is_cancelled() {
                return Ok(());
            }
            match trouble {
                Trouble::Connection(problem) => return Err(problem),
                Trouble::Channel(problem) if !connection.status().connected() => {
                    return Err(problem);
                }
                Trouble::Channel(problem) => {
                    self.standing.down(source.part, problem);
                    self.standing.ask_for_a_look();
                }
            }
            if !back_off.wait(&self.stop).await {
                return Ok(());
            }
        }
    }

    async fn subscribe(
        &self,
        connection: &Connection,
        source: &Source,
        back_off: &mut BackOff,
    ) -> Result<(), Trouble> {
        let channel = open(connection).await?;
        let options = BasicQosOptions::default();
        channel.basic_qos(source.prefetch, options).await?;
        let (mut streams, mut tags) = (Vec::new(), Vec::new());
        for (number, queue) in source.queues.iter().enumerate() {
            let consuming = channel.basic_consume(
                queue.clone(),
                ShortString::default(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            );
            let consumer = consuming.await?;
            tags.push(consumer.tag());
            let ended = once(std::future::ready((number, None)));
            let brought = consumer.map(move |brought| (number, brought.ok()));
            streams.push(brought.chain(ended).boxed());
        }
        self.standing.up(source.part);
        back_off.reset();
        let room = usize::from(source.prefetch).saturating_mul(source.queues.len());
        let (tell, told) = mpsc::channel(room.max(1));
        let subscription = Subscription {
            consumer: self,
            source,
            channel,
            tags,
            streams: select_all(streams),
            tell: Some(tell),
            unsettled: Unsettled::new(usize::from(source.prefetch) / 2),
            later: VecDeque::new(),
            held: None,
        };
        subscription.run(told).await
    }
}

/// The consumers of one channel at work.
struct Subscription<'a, T> {
    consumer: &'a Consumer<T>,
    source: &'a Source,
    channel: Channel,
    /// What the server calls the consumers.
    tags: Vec<ShortString>,
    streams: Streams,
    /// What tickets tell through; none once nothing more is brought.
    tell: Option<mpsc::Sender<(u64, Verdict)>>,
    unsettled: Unsettled,
    /// What is to come again, and when.
    later: VecDeque<(Instant, u64)>,
    /// What there was no room for.
    held: Option<T>,
}

impl<T: Send + 'static> Subscription<'_, T> {
    async fn run(mut self, mut told: mpsc::Receiver<(u64, Verdict)>) -> Result<(), Trouble> {
        let mut verdicts = Vec::new();
        loop {
            let due = self.later.front().map(|(due, _)| *due);
            let ahead = self.unsettled.due();
            let (bringing, holding) = (self.tell.is_some(), self.held.is_some());
            tokio::select! {
                taken = told.recv_many(&mut verdicts, usize::MAX) => {
                    if taken == 0 {
                        return self.close().await;
                    }
                    self.settle(verdicts.drain(..)).await?;
                }
                room = self.consumer.into.reserve(), if holding => {
                    match (room, self.held.take()) {
                        (Ok(room), Some(held)) => room.send(held),
                        // Nobody takes anything any more.
                        (Err(_), _) => self.cancel().await?,
                        (Ok(_), None) => {}
                    }
                }
                Some((number, brought)) = self.streams.next(), if bringing && !holding => {
                    let Some(delivery) = brought else {
                        return Err(self.ended(number));
                    };
                    self.brought(number, delivery);
                }
                () = until(due), if due.is_some() => self.send_back_what_is_due().await?,
                () = until(ahead), if ahead.is_some() => {
                    self.unsettled.ack(&self.channel, &[], false).await?;
                }
                () = self.consumer.stop.cancelled(), if bringing => self.cancel().await?,
            }
        }
    }

    fn brought(&mut self, number: usize, delivery: Delivery) {
        let tag = delivery.delivery_tag;
        self.unsettled.brought(tag);
        if let Some(tell) = &self.tell {
            let ticket = Ticket::new(tag, tell.clone());
            let made = (self.consumer.make)(self.source, number, delivery, ticket);
            self.held = match self.consumer.into.try_send(made) {
                Ok(()) => None,
                Err(
                    mpsc::error::TrySendError::Full(made) | mpsc::error::TrySendError::Closed(made),
                ) => Some(made),
            };
        }
    }

    fn ended(&self, number: usize) -> Trouble {
        let queue = self
            .source
            .queues
            .get(number)
            .map_or("", ShortString::as_str);
        Trouble::Channel(format!("queue {queue}: the server ended its consumer"))
    }

    async fn settle(
        &mut self,
        verdicts: impl Iterator<Item = (u64, Verdict)>,
    ) -> Result<(), Trouble> {
        let (mut done, mut dead, mut again) = (Vec::new(), Vec::new(), Vec::new());
        let due = Instant::now() + AGAIN_AFTER;
        for (tag, verdict) in verdicts {
            match verdict {
                Verdict::Done => done.push(tag),
                Verdict::Dead => dead.push(tag),
                Verdict::Again if self.tell.is_some() => self.later.push_back((due, tag)),
                Verdict::Again => again.push(tag),
            }
        }
        let is_last = self.tell.is_none();
        self.unsettled.ack(&self.channel, &done, is_last).await?;
        self.unsettled.nack(&self.channel, again, dead).await
    }

    async fn send_back_what_is_due(&mut self) -> Result<(), Trouble> {
        let now = Instant::now();
        let due = self.later.partition_point(|(due, _)| *due <= now);
        let again = self.later.drain(..due).map(|(_, tag)| tag).collect();
        self.unsettled.nack(&self.channel, again, Vec::new()).await
    }

    /// Has nothing more brought. What was not handed on goes back; what was, may still be settled.
    async fn cancel(&mut self) -> Result<(), Trouble> {
        for tag in std::mem::take(&mut self.tags) {
            let cancelled = self
                .channel
                .basic_cancel(tag, BasicCancelOptions::default());
            cancelled.await?;
        }
        let mut again: Vec<u64> = self.later.drain(..).map(|(_, tag)| tag).collect();
        while let Some(Some((_, brought))) = self.streams.next().now_or_never() {
            if let Some(delivery) = brought {
                self.unsettled.brought(delivery.delivery_tag);
                again.push(delivery.delivery_tag);
            }
        }
        self.unsettled
            .nack(&self.channel, again, Vec::new())
            .await?;
        self.tell = None;
        // Its ticket says that it is to come again.
        self.held = None;
        Ok(())
    }

    /// Every verdict is in.
    async fn close(mut self) -> Result<(), Trouble> {
        self.unsettled.ack(&self.channel, &[], true).await?;
        Ok(self.channel.close(200, "done".into()).await?)
    }
}
