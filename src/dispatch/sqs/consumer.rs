//! Brings messages from SQS: long polls, several at a time where it is worth it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::Message as Brought;
use futures_util::future::{join, join_all};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::access::in_at_most;
use super::messages::{SYSTEM_ATTRIBUTES, deliveries};
use super::publisher::BATCH_MAX;
use super::settling::{Hand, Held, Settling, VISIBLE_AFTER_SECONDS};
use super::topology::{Directory, Queue};
use super::trouble::Trouble;
use crate::dispatch::back_off::BackOff;
use crate::dispatch::standing::{Part, Standing};
use crate::dispatch::ticket::Ticket;

/// How long a poll waits for messages, in seconds: as long as SQS lets it.
const POLL_SECONDS: u16 = 20;
/// How long a poll may take beyond that.
const POLL_ANSWER: Duration = Duration::from_secs(10);
/// How much room there must be before it is polled: polls for one message each are dear, and waiting
/// for room for ten would let one slow message hold up nine others.
const ROOM_MIN: u32 = 5;

/// A queue that messages are brought from.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) queue: String,
    /// How many polls wait at a time.
    pub(crate) polls: usize,
    /// How many messages may be brought before one is settled; at least what one poll brings.
    pub(crate) in_hand_max: usize,
}

/// Consumes, and again for ever, until it is stopped.
pub(crate) struct Consumer<T> {
    pub(crate) directory: Arc<Directory>,
    pub(crate) sources: Vec<Source>,
    pub(crate) standing: Arc<Standing>,
    pub(crate) stop: CancellationToken,
    pub(crate) into: mpsc::Sender<T>,
    /// Makes what is handed on of a message from the source with that number.
    pub(crate) make: Box<dyn Fn(usize, Brought, Ticket) -> T + Send + Sync>,
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Consumer")
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Consumer<T> {
    /// Consumes until it is stopped and what it brought is settled.
    pub(crate) async fn run(self) {
        let sources = self.sources.iter().enumerate();
        join_all(sources.map(|(number, source)| self.consume(number, source))).await;
    }

    async fn consume(&self, number: usize, source: &Source) {
        let part = Part::Queue(number);
        self.standing
            .down(part, "it was not reached yet".to_owned());
        let in_hand_max = source.in_hand_max.max(BATCH_MAX);
        let (tell, told) = mpsc::channel(in_hand_max);
        let hand = Hand::default();
        let room = Arc::new(Semaphore::new(in_hand_max));
        let polling = join_all((0..source.polls).map(|_| {
            let polling = Polling {
                consumer: self,
                number,
                source,
                room: Arc::clone(&room),
                hand: &hand,
                tell: tell.clone(),
            };
            polling.run()
        }));
        // The receivers have their own, and what they hand on.
        drop(tell);
        let settling = Settling::new(&self.directory, &hand, &self.stop);
        join(polling, settling.run(told)).await;
        self.standing.unwanted(part);
    }
}

/// One poll after the other on one queue.
struct Polling<'a, T> {
    consumer: &'a Consumer<T>,
    number: usize,
    source: &'a Source,
    room: Arc<Semaphore>,
    hand: &'a Hand,
    tell: mpsc::Sender<(u64, crate::dispatch::ticket::Verdict)>,
}

impl<T: Send + 'static> Polling<'_, T> {
    async fn run(self) {
        let (standing, stop) = (&self.consumer.standing, &self.consumer.stop);
        let part = Part::Queue(self.number);
        let mut back_off = BackOff::new();
        // The first poll says whether there is anything to be had from the queue; it does not wait.
        let mut seconds = 0;
        loop {
            let polled = tokio::select! {
                biased;
                // What a poll that is given up would have brought comes again.
                () = stop.cancelled() => return,
                polled = self.poll(seconds) => polled,
            };
            let (queue, room, brought) = match polled {
                Ok(polled) => polled,
                Err(trouble) => {
                    self.failed(part, &trouble);
                    seconds = 0;
                    if !back_off.wait(stop).await {
                        return;
                    }
                    continue;
                }
            };
            standing.up(part);
            back_off.reset();
            seconds = POLL_SECONDS;
            if !self.hand_on(&queue, room, brought).await {
                return;
            }
        }
    }

    fn failed(&self, part: Part, trouble: &Trouble) {
        let (standing, name) = (&self.consumer.standing, &self.source.queue);
        match trouble {
            // That is the same for every queue.
            Trouble::Away(words) => standing.down(part, words.clone()),
            Trouble::Missing(words) | Trouble::Denied(words) | Trouble::Invalid(words) => {
                standing.down(part, format!("queue {name}: {words}"));
            }
        }
        if matches!(trouble, Trouble::Missing(_)) {
            self.consumer.directory.forget(name);
            standing.ask_for_a_look();
        }
    }

    /// Waits for room for some of what a poll may bring, and takes what there is for more.
    async fn room(&self) -> Result<OwnedSemaphorePermit, Trouble> {
        let some = Arc::clone(&self.room).acquire_many_owned(ROOM_MIN).await;
        // It is never closed.
        let mut room = some.map_err(|closed| Trouble::Away(closed.to_string()))?;
        while room.num_permits() < BATCH_MAX
            && let Ok(more) = Arc::clone(&self.room).try_acquire_owned()
        {
            room.merge(more);
        }
        Ok(room)
    }

    /// Polls once, for as many messages as there is room for.
    async fn poll(
        &self,
        seconds: u16,
    ) -> Result<(Arc<Queue>, OwnedSemaphorePermit, Vec<Brought>), Trouble> {
        let room = self.room().await?;
        let wanted = i32::try_from(room.num_permits()).unwrap_or(1);
        let directory = &self.consumer.directory;
        let queue = directory.find(&self.source.queue).await?;
        let client = directory.access().client().await?;
        let receiving = async {
            let received = client
                .receive_message()
                .queue_url(&queue.url)
                .max_number_of_messages(wanted)
                .wait_time_seconds(i32::from(seconds))
                .visibility_timeout(VISIBLE_AFTER_SECONDS)
                .message_attribute_names("All")
                .set_message_system_attribute_names(Some(SYSTEM_ATTRIBUTES.to_vec()))
                .send()
                .await
                .map_err(|error| Trouble::of(&error))?;
            Ok(received.messages.unwrap_or_default())
        };
        let limit = Duration::from_secs(u64::from(seconds)) + POLL_ANSWER;
        let brought = in_at_most(limit, receiving).await?;
        Ok((queue, room, brought))
    }

    /// Hands on what was brought; `false` when nobody takes anything any more. What nobody takes goes
    /// back: its ticket says so.
    async fn hand_on(
        &self,
        queue: &Queue,
        mut room: OwnedSemaphorePermit,
        brought: Vec<Brought>,
    ) -> bool {
        let mut made = Vec::with_capacity(brought.len());
        for message in brought {
            let Some(handle) = message.receipt_handle.clone() else {
                continue;
            };
            let held = Held::new(&queue.url, handle, deliveries(&message), room.split(1));
            let ticket = Ticket::new(self.hand.put(held), self.tell.clone());
            made.push((self.consumer.make)(self.number, message, ticket));
        }
        // What the poll did not bring is room for others.
        drop(room);
        for message in made {
            let taken = tokio::select! {
                biased;
                () = self.consumer.stop.cancelled() => return false,
                taken = self.consumer.into.send(message) => taken,
            };
            if taken.is_err() {
                return false;
            }
        }
        true
    }
}
