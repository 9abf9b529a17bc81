//! Gives messages to RabbitMQ, many at a time, until it has each for good.
//!
//! One task owns the connection and its channel: the client library numbers what is published and
//! puts it on the wire in two steps, so whoever shared a channel could be told of another's message.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::message::BasicReturnMessage;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, Connection, Error};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{Address, Listener, News, Trouble, close, gone};
use super::properties::Message;
use super::returns::{Completed, Fate, Key, Returns};
use super::topology::{Topology, open};
use crate::dispatch::back_off::BackOff;
use crate::dispatch::broker::Published;
use crate::dispatch::standing::{Part, Standing};

/// How many messages may be under way to the server and not confirmed.
const UNCONFIRMED_MAX: usize = 2_048;
/// How many may be under way when those are counted too that nobody waits for any more. A queue that
/// confirms nothing must not fill the channel for ever.
const UNDER_WAY_MAX: usize = 8 * UNCONFIRMED_MAX;
/// How often room is looked for when there is none.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(1);
/// How many more may wait for their turn; whoever comes then waits for room.
const WAITING_MAX: usize = 1_024;

/// The end of the publisher that others hold.
#[derive(Clone, Debug)]
pub(crate) struct Publisher {
    jobs: mpsc::Sender<Job>,
}

/// A message, and whoever wants to know what became of it.
#[derive(Debug)]
struct Job {
    message: Arc<Message>,
    refused: bool,
    tell: oneshot::Sender<Published>,
}

impl Publisher {
    /// Connects in the background, and again for ever, until `stop`. What `topology` names is made
    /// or looked for on every new connection before anything is published.
    pub(crate) fn start(
        address: Address,
        topology: Topology,
        standing: Arc<Standing>,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let (jobs, taken) = mpsc::channel(WAITING_MAX);
        let publishing = Publishing {
            address,
            topology,
            standing,
            stop,
            jobs: taken,
            open: BTreeMap::new(),
            next: 0,
        };
        tasks.spawn(publishing.run());
        Self { jobs }
    }

    /// Gives `message` to the server, again and again until it says that it has it or will not. Ends
    /// never once the publisher was stopped.
    pub(crate) async fn publish(&self, message: Message) -> Published {
        let (tell, told) = oneshot::channel();
        let job = Job {
            message: Arc::new(message),
            refused: false,
            tell,
        };
        if self.jobs.send(job).await.is_ok()
            && let Ok(published) = told.await
        {
            return published;
        }
        std::future::pending().await
    }
}

/// The publisher's task.
struct Publishing {
    address: Address,
    topology: Topology,
    standing: Arc<Standing>,
    stop: CancellationToken,
    jobs: mpsc::Receiver<Job>,
    /// What the server does not have for good yet, in the order it came.
    open: BTreeMap<u64, Job>,
    next: u64,
}

impl Publishing {
    async fn run(mut self) {
        let mut back_off = BackOff::new();
        let stop = self.stop.clone();
        loop {
            let connected = tokio::select! {
                () = stop.cancelled() => break,
                connected = self.address.connect() => connected,
            };
            let problem = match connected {
                Ok(connection) => self.on(&connection, &mut back_off).await,
                Err(problem) => Some(problem),
            };
            self.standing.blocked(None);
            let Some(problem) = problem else { break };
            self.standing.down(Part::Publishing, problem);
            if !back_off.wait(&stop).await {
                break;
            }
        }
        self.standing.closed();
    }

    /// Works on one connection until it is lost; `None` when it is to stop.
    async fn on(&mut self, connection: &Connection, back_off: &mut BackOff) -> Option<String> {
        let mut listener = Listener::to(connection);
        let stop = self.stop.clone();
        loop {
            let ended = tokio::select! {
                () = stop.cancelled() => Ok(()),
                ended = self.round(connection, &mut listener, back_off) => ended,
                () = gone(connection) => {
                    Err(Trouble::Connection("the connection was lost".to_owned()))
                }
            };
            match ended {
                Ok(()) => {
                    close(connection).await;
                    return None;
                }
                Err(Trouble::Connection(problem)) => return Some(problem),
                Err(Trouble::Channel(problem)) if !connection.status().connected() => {
                    return Some(problem);
                }
                Err(Trouble::Channel(problem)) => {
                    self.refuse_what_is_too_large(&problem);
                    self.standing.down(Part::Publishing, problem);
                    back_off.wait(&stop).await;
                }
            }
        }
    }

    /// Sees to the topology and publishes on a channel until it ends; `Ok` when nobody wants more.
    async fn round(
        &mut self,
        connection: &Connection,
        listener: &mut Listener,
        back_off: &mut BackOff,
    ) -> Result<(), Trouble> {
        self.look(connection).await?;
        let channel = open(connection).await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        self.standing.up(Part::Publishing);
        back_off.reset();
        self.pump(connection, &channel, listener).await
    }

    async fn look(&self, connection: &Connection) -> Result<(), Trouble> {
        let looked = self.topology.stand(connection).await;
        match &looked {
            Ok(()) => self.standing.looked(true),
            Err(Trouble::Channel(_)) => self.standing.looked(false),
            Err(Trouble::Connection(_)) => {}
        }
        looked
    }

    async fn pump(
        &mut self,
        connection: &Connection,
        channel: &Channel,
        listener: &mut Listener,
    ) -> Result<(), Trouble> {
        let mut under_way = FuturesUnordered::new();
        let mut returns = Returns::default();
        let mut new = Vec::new();
        let standing = Arc::clone(&self.standing);
        // Whoever gave up does not need it sent again.
        self.open.retain(|_, job| !job.tell.is_closed());
        for (number, job) in &self.open {
            under_way.push(publish(channel, *number, Arc::clone(&job.message)));
        }
        loop {
            let room = UNCONFIRMED_MAX.saturating_sub(self.open.len());
            tokio::select! {
                Some(first) = under_way.next(), if !under_way.is_empty() => {
                    let mut batch = vec![first];
                    // All that is completed by now, as `Returns` needs it.
                    while let Some(Some(more)) = under_way.next().now_or_never() {
                        batch.push(more);
                    }
                    self.settle(batch, &mut returns)?;
                }
                taken = self.jobs.recv_many(&mut new, room), if room > 0 => {
                    if taken == 0 {
                        return Ok(());
                    }
                    for job in new.drain(..).filter(|job| !job.tell.is_closed()) {
                        let message = Arc::clone(&job.message);
                        under_way.push(publish(channel, self.next, message));
                        self.open.insert(self.next, job);
                        self.next += 1;
                    }
                }
                news = listener.next(connection) => match news {
                    News::Blocked(why) => standing.blocked(Some(why)),
                    News::Unblocked => standing.blocked(None),
                    News::Lost(problem) => return Err(Trouble::Connection(problem)),
                },
                () = standing.asked_for_a_look() => self.look(connection).await?,
                () = tokio::time::sleep(LOOK_FOR_ROOM), if room == 0 => {
                    self.open.retain(|_, job| !job.tell.is_closed());
                    if under_way.len() > UNDER_WAY_MAX {
                        let problem = "too many messages are not confirmed".to_owned();
                        return Err(Trouble::Channel(problem));
                    }
                }
            }
        }
    }

    /// Tells those whose message is confirmed. What was not confirmed stays open.
    fn settle(&mut self, batch: Vec<Outcome>, returns: &mut Returns) -> Result<(), Trouble> {
        let mut problem: Option<Error> = None;
        let mut completed = Vec::with_capacity(batch.len());
        for (number, confirmed) in batch {
            match confirmed {
                Ok(Confirmation::Ack(brought)) => completed.push((number, brought)),
                Ok(Confirmation::Nack(brought)) => {
                    if let Some(job) = self.open.get_mut(&number) {
                        job.refused = true;
                    }
                    completed.push((number, brought));
                }
                Ok(Confirmation::NotRequested) => {
                    let problem = "the channel does not confirm".to_owned();
                    return Err(Trouble::Channel(problem));
                }
                // What the server says is worth more than that the channel is closed.
                Err(error) if problem.is_none() || error.is_amqp_error() => problem = Some(error),
                Err(_same) => {}
            }
        }
        if returns.is_settled() && completed.iter().all(|(_, brought)| brought.is_none()) {
            for (number, _) in completed {
                self.tell(number, Fate::Routed);
            }
        } else {
            let batch = completed
                .into_iter()
                .map(|(number, brought)| self.completed(number, brought))
                .collect();
            for (number, fate) in returns.take(batch) {
                self.tell(number, fate);
            }
        }
        problem.map_or(Ok(()), |error| Err(error.into()))
    }

    /// One that nobody waits for any more is known by nothing, but may bring another's message.
    fn completed(&self, number: u64, brought: Option<BasicReturnMessage>) -> Completed {
        let job = self.open.get(&number);
        Completed {
            number,
            key: job
                .map(|job| key(&job.message.routing_key, &job.message.properties))
                .unwrap_or_default(),
            brought: brought.map(|it| {
                let key = key(&it.delivery.routing_key, &it.delivery.properties);
                (key, it.reply_text.to_string())
            }),
        }
    }

    fn tell(&mut self, number: u64, fate: Fate) {
        let Some(job) = self.open.remove(&number) else {
            return;
        };
        let published = match fate {
            Fate::Returned(why) => Published::Returned(why),
            Fate::Routed if job.refused => {
                Published::Refused("a queue is full or not to be had".to_owned())
            }
            Fate::Routed => Published::Confirmed,
        };
        // Whoever gave up does not want to know.
        let _told = job.tell.send(published).is_ok();
    }

    /// The server closes the channel for a message that it finds too large. Sent again, it would do
    /// so for ever.
    fn refuse_what_is_too_large(&mut self, problem: &str) {
        let Some(bytes_max) = size_max(problem) else {
            return;
        };
        let is_too_large = |_: &u64, job: &mut Job| job.message.body.len() > bytes_max;
        for (_, job) in self.open.extract_if(.., is_too_large) {
            let bytes = job.message.body.len();
            let _told = job
                .tell
                .send(Published::TooLarge { bytes, bytes_max })
                .is_ok();
        }
    }
}

/// What a message may weigh, when that is what the server says.
fn size_max(problem: &str) -> Option<usize> {
    let said = problem.strip_prefix("PRECONDITION_FAILED - message size ")?;
    let (_, max) = said.split_once(" max size ")?;
    max.trim().parse().ok()
}

/// One publish and what came of it.
type Outcome = (u64, Result<Confirmation, Error>);

async fn publish(channel: &Channel, number: u64, message: Arc<Message>) -> Outcome {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let written = channel.basic_publish(
        message.exchange.clone(),
        message.routing_key.clone(),
        options,
        &message.body,
        message.properties.clone(),
    );
    match written.await {
        Ok(confirm) => (number, confirm.await),
        Err(error) => (number, Err(error)),
    }
}

fn key(routing_key: &ShortString, properties: &BasicProperties) -> Key {
    let id = properties.message_id().as_ref();
    (
        routing_key.to_string(),
        id.map(ToString::to_string).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_limit_is_read_from_its_words() {
        let said =
            "PRECONDITION_FAILED - message size 134217729 is larger than configured max size 512";
        assert_eq!(size_max(said), Some(512));
        assert_eq!(size_max("PRECONDITION_FAILED - inequivalent arg"), None);
        assert_eq!(size_max(""), None);
    }
}
