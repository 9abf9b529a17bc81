//! Reaches participants, and reads what comes back as an [`Outcome`] (participants.md, and the
//! tables of execution.md).
//!
//! It owns connections and the wire format. It must not know the database, the API, the journal
//! or a clock: the current time comes in with every call, and an outcome is all that goes out.
//! What is sent and answered is never logged.

mod answer;
mod back_off;
pub mod broker;
mod client;
mod due;
pub mod guards;
mod http;
mod local;
mod queue;
pub mod rabbitmq;
mod request;
pub mod sqs;
pub(crate) mod standing;
#[cfg(test)]
mod tests;
pub(crate) mod ticket;
mod tls;
mod watched;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use guards::{BreakerState, Entrance, Gate, GuardReading, Pass, Waiting};
pub use local::{Handler, Locals};

use crate::config::{
    self, OnDeadLetter, Participant, QueueTransport, TIMEOUT_DEFAULT_MS, Transport,
};
use crate::definition::model::StatusPattern;
use crate::definition::request::{Phase, Request};
use crate::saga::{ActionOutcome, Outcome, SagaId, StepError, Timestamp};
use broker::{Broker, BrokerHealth, BrokerKind, Delivery, Outgoing, Published};

/// One attempt at an action or a compensation: what is asked, and what the participant is told of
/// where it comes from.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The saga.
    pub saga: SagaId,
    /// Its definition, `name/version`.
    pub definition: Arc<str>,
    /// The step's id.
    pub step: Arc<str>,
    /// The participant's name.
    pub participant: Arc<str>,
    /// Which of the step's two calls.
    pub phase: Phase,
    /// Which attempt it is, from 1.
    pub number: u32,
    /// On compensations, what became of the action.
    pub action_outcome: Option<ActionOutcome>,
    /// The fence of the saga's shard.
    pub fence: i64,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// W3C trace context.
    pub tracestate: Option<String>,
    /// The step's own time limit, in milliseconds; else the participant's.
    pub timeout_ms: Option<u64>,
    /// When the saga's time is up, which bounds the attempt too.
    pub not_after: Option<Timestamp>,
    /// What is asked.
    pub request: Request,
    /// Statuses read as a refusal; wins over `retry_on`.
    pub refuse_on: Vec<StatusPattern>,
    /// Statuses read as transient.
    pub retry_on: Vec<StatusPattern>,
    /// With `reply: async`, where the participant posts its reply: 202 then only accepts.
    pub callback: Option<String>,
}

/// What became of an attempt that was sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Sent {
    /// It came to an end.
    Ended(Outcome),
    /// Somebody has it for good, and a reply tells what comes of it, or nothing until then.
    Accepted {
        /// When it is given up.
        until: Timestamp,
    },
    /// A drain came before it could be sent: it is left to the next owner.
    Unsent,
}

/// What a broker did with what it was given, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishResult {
    /// It has it for good.
    Confirmed,
    /// It had nowhere to put it.
    Returned,
    /// It did not take it.
    Failed,
}

impl PublishResult {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Confirmed, Self::Returned, Self::Failed];

    /// The word in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Returned => "returned",
            Self::Failed => "failed",
        }
    }
}

/// An outcome that the participant said nothing of, by its code and a sentence.
fn transient(code: &str, message: String) -> Outcome {
    Outcome::transient(StepError::new(code, message))
}

/// Whoever counts what brokers are given.
#[derive(Clone)]
pub struct OnPublished(Arc<dyn Fn(BrokerKind, PublishResult) + Send + Sync>);

impl OnPublished {
    /// Is told of each.
    pub fn new(tell: impl Fn(BrokerKind, PublishResult) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    fn tell(&self, broker: BrokerKind, result: PublishResult) {
        (self.0)(broker, result);
    }
}

impl std::fmt::Debug for OnPublished {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("OnPublished")
    }
}

/// Everything that participants are reached with.
#[derive(Debug)]
pub struct Means<'a> {
    /// The participants by name.
    pub participants: &'a BTreeMap<String, Participant>,
    /// RabbitMQ, where it is configured.
    pub rabbitmq: Option<&'a config::RabbitMq>,
    /// SQS, where it is configured.
    pub sqs: Option<&'a config::Sqs>,
    /// The participants in this process.
    pub locals: Locals,
    /// Counts what brokers are given.
    pub published: OnPublished,
}

/// Why a dead letter could not be sent again.
#[derive(Debug, thiserror::Error)]
pub enum ResendError {
    /// That broker is not configured any more.
    #[error("{0} is not configured")]
    NotConfigured(BrokerKind),
    /// The broker did not take it in time.
    #[error("{0} does not answer")]
    Away(BrokerKind),
    /// The broker will not have it.
    #[error("{broker} did not take it: {why}")]
    Refused {
        /// Which.
        broker: BrokerKind,
        /// Why.
        why: String,
    },
}

/// Why participants cannot be reached at all. A reason not to start.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// An `https` participant, and nobody to trust.
    #[error("the system has no certificate authorities; configure tls.ca")]
    NoSystemAuthorities {
        /// What went wrong when they were looked for.
        #[source]
        source: Option<rustls_native_certs::Error>,
    },
    /// A certificate or key file that cannot be read.
    #[error("the file {} cannot be read", path.display())]
    TlsFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// Certificates or a key that TLS cannot use.
    #[error("the TLS configuration of participant {participant} cannot be used")]
    Tls {
        /// The participant.
        participant: String,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// A participant in this process that nobody brought.
    #[error(
        "participant {participant} has `transport: local`, and this program brings none of that name"
    )]
    NoSuchLocal {
        /// The participant.
        participant: String,
    },
    /// A participant over a broker that is not configured.
    #[error("participant {participant} is reached over {broker}, which is not configured")]
    NoBroker {
        /// The participant.
        participant: String,
        /// The broker.
        broker: BrokerKind,
    },
    /// A broker's own settings that cannot be used.
    #[error("{broker} cannot be used: {why}")]
    Broker {
        /// The broker.
        broker: BrokerKind,
        /// Why.
        why: String,
    },
    /// A URL that cannot be sent to.
    #[error("the URL of participant {participant} cannot be used")]
    Url {
        /// The participant.
        participant: String,
        /// Why.
        #[source]
        source: ::http::Error,
    },
}

/// Reaches every configured participant. Share one: it holds the connections.
#[derive(Debug)]
pub struct Dispatcher {
    participants: HashMap<String, Reached>,
    brokers: Vec<Arc<dyn Broker>>,
    published: OnPublished,
    draining: CancellationToken,
}

/// One participant: the way to it, and what holds calls back on that way.
#[derive(Debug)]
struct Reached {
    way: Way,
    timeout_ms: u64,
    gate: Arc<Gate>,
}

/// The ways to participants.
#[derive(Debug)]
enum Way {
    Http(Box<http::HttpParticipant>),
    Queue(queue::QueueParticipant),
    Local(local::LocalParticipant),
}

/// How many messages that were brought may wait to be looked at.
const BROUGHT_MAX: usize = 1_024;
/// How long a dead letter that is sent again may take.
const RESEND_TIMEOUT: Duration = Duration::from_secs(5);

impl Dispatcher {
    /// Makes ready to reach participants. Certificates are read only where a URL is `https`. Brokers
    /// are connected to in the background, on tasks of the current runtime.
    ///
    /// # Errors
    /// When TLS is wanted and cannot be had: no authorities, files that cannot be read or used; when
    /// a participant's broker is not configured, or it is to be in this process and is not.
    ///
    /// # Panics
    /// Outside a tokio runtime, where a broker is configured.
    pub fn new(means: Means<'_>) -> Result<Self, DispatchError> {
        let mut dispatcher = Self {
            participants: HashMap::new(),
            brokers: Vec::new(),
            published: means.published.clone(),
            draining: CancellationToken::new(),
        };
        if let Some(settings) = means.rabbitmq {
            let queues = means.queues(BrokerKind::RabbitMq);
            let broker = rabbitmq::RabbitMq::launch(settings, &queues)?;
            dispatcher.brokers.push(broker);
        }
        if let Some(settings) = means.sqs {
            let broker = sqs::Sqs::launch(settings, means.queues(BrokerKind::Sqs))?;
            dispatcher.brokers.push(broker);
        }
        for (name, participant) in means.participants {
            let reached = Reached {
                way: dispatcher.way(name, participant, &means)?,
                timeout_ms: participant.timeout_ms,
                gate: Gate::new(name, &participant.guards),
            };
            dispatcher.participants.insert(name.clone(), reached);
        }
        Ok(dispatcher)
    }

    fn way(
        &self,
        name: &str,
        participant: &Participant,
        means: &Means<'_>,
    ) -> Result<Way, DispatchError> {
        Ok(match &participant.transport {
            Transport::Http(transport) => {
                let timeout_ms = participant.timeout_ms;
                Way::Http(Box::new(http::HttpParticipant::new(
                    name, timeout_ms, transport,
                )?))
            }
            Transport::RabbitMq(queue) => self.queue(name, BrokerKind::RabbitMq, queue)?,
            Transport::Sqs(queue) => self.queue(name, BrokerKind::Sqs, queue)?,
            Transport::Local => {
                let handler = means
                    .locals
                    .get(name)
                    .ok_or_else(|| DispatchError::NoSuchLocal {
                        participant: name.to_owned(),
                    })?;
                Way::Local(local::LocalParticipant::new(name, handler))
            }
        })
    }

    fn queue(
        &self,
        name: &str,
        kind: BrokerKind,
        settings: &QueueTransport,
    ) -> Result<Way, DispatchError> {
        let broker = self.broker(kind).ok_or_else(|| DispatchError::NoBroker {
            participant: name.to_owned(),
            broker: kind,
        })?;
        Ok(Way::Queue(queue::QueueParticipant {
            settings: settings.clone(),
            broker: Arc::clone(broker),
            published: self.published.clone(),
            draining: self.draining.clone(),
        }))
    }

    fn broker(&self, kind: BrokerKind) -> Option<&Arc<dyn Broker>> {
        self.brokers.iter().find(|broker| broker.kind() == kind)
    }

    /// Whether `participant` is configured.
    #[must_use]
    pub fn knows(&self, participant: &str) -> bool {
        self.participants.contains_key(participant)
    }

    /// Whether `participant` takes its commands from a queue.
    #[must_use]
    pub fn is_queue(&self, participant: &str) -> bool {
        let reached = self.participants.get(participant);
        reached.is_some_and(|reached| matches!(reached.way, Way::Queue(_)))
    }

    /// How the guards of each configured participant stand, without those that wait in the journal.
    pub fn guards(&self) -> impl Iterator<Item = GuardReading> {
        self.gates().map(|gate| gate.reading())
    }

    /// The gates in front of the participants.
    pub fn gates(&self) -> impl Iterator<Item = &Arc<Gate>> {
        self.participants.values().map(|reached| &reached.gate)
    }

    /// The gate in front of one; none where it is not configured.
    #[must_use]
    pub fn gate(&self, participant: &str) -> Option<&Arc<Gate>> {
        self.participants
            .get(participant)
            .map(|reached| &reached.gate)
    }

    /// The longest that an attempt at `participant` may take where the step does not say.
    #[must_use]
    pub fn timeout_ms(&self, participant: &str) -> u64 {
        self.participants
            .get(participant)
            .map_or(TIMEOUT_DEFAULT_MS, |reached| reached.timeout_ms)
    }

    /// When `attempt`, begun `now`, is given up: after its own time limit, or when the saga's time
    /// is up.
    #[must_use]
    pub fn deadline(&self, attempt: &Attempt, now: Timestamp) -> Timestamp {
        let timeout_ms = attempt
            .timeout_ms
            .unwrap_or_else(|| self.timeout_ms(&attempt.participant));
        let own = now.plus_ms(timeout_ms);
        attempt
            .not_after
            .map_or(own, |not_after| not_after.min(own))
    }

    /// Carries out one attempt that its participant's gate let pass. It takes until
    /// [`Dispatcher::deadline`] at most. Dropping the future gives the attempt up; what was sent may
    /// still have its effect.
    ///
    /// A participant that is not configured is a transient outcome (`participant_unknown`): its
    /// effects may exist from when it was, so nobody may take this for a refusal.
    ///
    /// Over a broker, and where a 202 only accepts, the guards see the exchange and not the reply.
    pub async fn send(&self, pass: Pass, attempt: &Attempt, now: Timestamp) -> Sent {
        let Some(reached) = self.participants.get(&*attempt.participant) else {
            let why = format!("no participant {} is configured", attempt.participant);
            return Sent::Ended(transient("participant_unknown", why));
        };
        let begun = (!pass.is_free()).then(Instant::now);
        let deadline = self.deadline(attempt, now);
        let (sent, well) = match &reached.way {
            Way::Http(http) => http.call(attempt, now, deadline).await,
            Way::Queue(queue) => queue.call(attempt, now, deadline).await,
            Way::Local(local) => local.call(attempt, now, deadline).await,
        };
        pass.end(well, begun.map_or(Duration::ZERO, |begun| begun.elapsed()));
        sent
    }

    /// Whether any broker is configured.
    #[must_use]
    pub fn has_brokers(&self) -> bool {
        !self.brokers.is_empty()
    }

    /// How each configured broker is.
    #[must_use]
    pub fn messaging(&self) -> Vec<BrokerHealth> {
        self.brokers.iter().map(|broker| broker.health()).collect()
    }

    /// Begins to bring what comes through brokers, until `stop`.
    #[must_use]
    pub fn consume(
        &self,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> mpsc::Receiver<Delivery> {
        let (into, brought) = mpsc::channel(BROUGHT_MAX);
        for broker in &self.brokers {
            Arc::clone(broker).consume(into.clone(), tasks, stop.clone());
        }
        brought
    }

    /// The participants that take their commands from a queue: their names, and what becomes of a
    /// step whose command nobody could take.
    pub fn behind(
        &self,
        kind: BrokerKind,
        queue: &str,
    ) -> impl Iterator<Item = (&str, OnDeadLetter)> {
        self.participants
            .iter()
            .filter_map(move |(name, reached)| match &reached.way {
                Way::Queue(own) if own.broker.kind() == kind && own.settings.queue == queue => {
                    Some((name.as_str(), own.settings.on_dead_letter))
                }
                Way::Queue(_) | Way::Http(_) | Way::Local(_) => None,
            })
    }

    /// The queue that replies come to.
    #[must_use]
    pub fn replies(&self, kind: BrokerKind) -> Option<&str> {
        self.broker(kind).map(|broker| broker.replies())
    }

    /// Sends what was a dead letter to its queue again.
    ///
    /// # Errors
    /// When the broker is not configured, is away, or will not have it.
    pub async fn resend(&self, kind: BrokerKind, message: &Outgoing) -> Result<(), ResendError> {
        let broker = self.broker(kind).ok_or(ResendError::NotConfigured(kind))?;
        let published = tokio::time::timeout(RESEND_TIMEOUT, broker.publish(message)).await;
        let (result, told) = match published {
            Ok(Published::Confirmed) => (PublishResult::Confirmed, Ok(())),
            Ok(Published::Returned(why)) => {
                let refused = ResendError::Refused { broker: kind, why };
                (PublishResult::Returned, Err(refused))
            }
            Ok(Published::Refused(why)) => {
                let refused = ResendError::Refused { broker: kind, why };
                (PublishResult::Failed, Err(refused))
            }
            Ok(Published::TooLarge { bytes, bytes_max }) => {
                let why = format!("it has {bytes} bytes, and the queue takes {bytes_max}");
                let refused = ResendError::Refused { broker: kind, why };
                (PublishResult::Failed, Err(refused))
            }
            Err(_elapsed) => (PublishResult::Failed, Err(ResendError::Away(kind))),
        };
        self.published.tell(kind, result);
        told
    }

    /// From here on nobody waits for a broker that is away.
    pub fn begin_drain(&self) {
        self.draining.cancel();
    }

    /// Closes the connections to brokers.
    pub async fn close(&self) {
        for broker in &self.brokers {
            broker.close().await;
        }
    }
}

impl Means<'_> {
    /// The queues of the participants over a broker, each once.
    #[must_use]
    pub fn queues(&self, kind: BrokerKind) -> Vec<String> {
        let of = |participant: &Participant| match (&participant.transport, kind) {
            (Transport::RabbitMq(own), BrokerKind::RabbitMq)
            | (Transport::Sqs(own), BrokerKind::Sqs) => Some(own.queue.clone()),
            (
                Transport::Http(_) | Transport::RabbitMq(_) | Transport::Sqs(_) | Transport::Local,
                BrokerKind::RabbitMq | BrokerKind::Sqs,
            ) => None,
        };
        let queues: std::collections::BTreeSet<String> =
            self.participants.values().filter_map(of).collect();
        queues.into_iter().collect()
    }
}

#[cfg(test)]
impl Dispatcher {
    /// One that reaches nobody, with these brokers.
    pub(crate) fn with_brokers(brokers: Vec<Arc<dyn Broker>>) -> Self {
        Self {
            participants: HashMap::new(),
            brokers,
            published: OnPublished::new(|_, _| ()),
            draining: CancellationToken::new(),
        }
    }
}
