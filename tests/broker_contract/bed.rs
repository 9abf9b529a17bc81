//! A dispatcher with one participant, reached one way or the other, and everything that the dispatcher
//! was brought.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use amends::config::{BrokerUrl, Guards, OnDeadLetter, Participant, QueueTransport, Transport};
use amends::definition::request::{Phase, Request, Target};
use amends::dispatch::broker::Origin;
use amends::dispatch::{
    Attempt, Dispatcher, Locals, Means, OnPublished, Pass, PublishResult, Sent,
};
use amends::message::{self, Reply, ReplyOutcome};
use amends::participant::Command;
use amends::participant::rabbitmq;
use amends::participant::rabbitmq::Unanswered;
use amends::participant::sqs;
use amends::saga::{Outcome, SagaId, StepError, Timestamp};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::json;
use support::eventually;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long anything may take that is to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How the participant is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    InProcess,
    RabbitMq,
    Sqs,
}

impl Way {
    pub(crate) fn is_broker(self) -> bool {
        match self {
            Self::InProcess => false,
            Self::RabbitMq | Self::Sqs => true,
        }
    }
}

/// What the participant does with a command.
pub(crate) type Handler =
    Arc<dyn Fn(Command) -> BoxFuture<'static, Result<ReplyOutcome, Unanswered>> + Send + Sync>;

/// What was brought to the dispatcher.
#[derive(Debug, Default)]
pub(crate) struct Brought {
    pub(crate) replies: Vec<Reply>,
    /// Where dead letters came from, and what they are.
    pub(crate) dead: Vec<(Origin, Vec<u8>)>,
}

/// What stands on the servers, for as long as the test runs.
enum Server {
    None,
    RabbitMq(Box<crate::rabbitmq::Bed>),
    Sqs(Box<crate::sqs::Bed>),
}

pub(crate) struct Bed {
    pub(crate) way: Way,
    pub(crate) dispatcher: Dispatcher,
    /// The queue of the participant.
    pub(crate) queue: String,
    pub(crate) brought: Arc<Mutex<Brought>>,
    /// Every command that the participant was given, in that order.
    pub(crate) given: Arc<Mutex<Vec<Command>>>,
    /// What the brokers did with what they were given.
    pub(crate) published: Arc<Mutex<Vec<PublishResult>>>,
    server: Server,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Runs a case with the participant that it asks for.
pub(crate) async fn run<Case>(way: Way, case: Case)
where
    Case: AsyncFn(&Bed),
{
    let bed = Bed::new(way).await;
    let outcome = AssertUnwindSafe(case(&bed)).catch_unwind().await;
    bed.end(outcome.is_ok()).await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

impl Bed {
    async fn new(way: Way) -> Self {
        let given = Arc::new(Mutex::new(Vec::new()));
        let handler = {
            let given = Arc::clone(&given);
            let handler: Handler = Arc::new(move |command| {
                given.lock().push(command.clone());
                crate::cases::participant(command).boxed()
            });
            handler
        };
        let published = Arc::new(Mutex::new(Vec::new()));
        let on_published = {
            let published = Arc::clone(&published);
            OnPublished::new(move |_, result| published.lock().push(result))
        };
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let making = Making {
            handler,
            on_published,
            tasks: &tasks,
            stop: &stop,
        };
        let (server, queue, dispatcher) = match way {
            Way::InProcess => making.in_process(),
            Way::RabbitMq => making.over_rabbitmq().await,
            Way::Sqs => making.over_sqs().await,
        };
        let brought = Arc::new(Mutex::new(Brought::default()));
        let receiver = dispatcher.consume(&tasks, &stop);
        tasks.spawn(keep(receiver, Arc::clone(&brought)));
        let bed = Self {
            way,
            dispatcher,
            queue,
            brought,
            given,
            published,
            server,
            tasks,
            stop,
        };
        eventually("messaging to be up", PATIENCE, async || {
            let all = bed.dispatcher.messaging();
            all.iter().all(|broker| broker.up).then_some(())
        })
        .await;
        bed
    }

    async fn end(self, well: bool) {
        self.stop.cancel();
        self.tasks.close();
        let ended = tokio::time::timeout(PATIENCE, self.tasks.wait()).await;
        self.dispatcher.close().await;
        assert!(ended.is_ok() || !well, "it does not stop");
        match self.server {
            Server::None => {}
            Server::RabbitMq(server) => drop(server),
            Server::Sqs(server) => drop(server),
        }
    }

    /// The name of the queue that replies come to.
    pub(crate) fn replies(&self) -> String {
        match &self.server {
            Server::None => String::new(),
            Server::RabbitMq(server) => server.replies(),
            Server::Sqs(server) => server.replies(),
        }
    }

    /// Sends an attempt, and waits for what comes of it: at once, or by a reply until its deadline,
    /// as a saga does.
    pub(crate) async fn outcome(&self, attempt: &Attempt) -> Outcome {
        let now = now();
        let until = match self.dispatcher.send(Pass::free(), attempt, now).await {
            Sent::Ended(outcome) => return outcome,
            Sent::Accepted { until } => until,
            Sent::Unsent => panic!("nobody drains it"),
        };
        assert!(self.way.is_broker());
        assert_eq!(until, self.dispatcher.deadline(attempt, now));
        let waiting = eventually("a reply", PATIENCE, async || self.reply_to(attempt));
        let left = Duration::from_millis(crate::bed::now().ms_until(until));
        match tokio::time::timeout(left, waiting).await {
            Ok(reply) => reply.outcome.into_outcome(),
            Err(_elapsed) => Outcome::Transient {
                error: StepError::new("timeout", ""),
                retry_after_ms: None,
            },
        }
    }

    /// The first reply to an attempt that was brought.
    pub(crate) fn reply_to(&self, attempt: &Attempt) -> Option<Reply> {
        let brought = self.brought.lock();
        let is_its = |reply: &&Reply| {
            reply.saga == attempt.saga
                && reply.step == *attempt.step
                && reply.phase == attempt.phase
        };
        brought.replies.iter().find(is_its).cloned()
    }

    /// The commands of one saga that the participant was given.
    pub(crate) fn given_to(&self, saga: SagaId) -> Vec<Command> {
        let given = self.given.lock();
        let its = given.iter().filter(|command| command.saga == saga);
        its.cloned().collect()
    }
}

/// What a bed is made of.
struct Making<'a> {
    handler: Handler,
    on_published: OnPublished,
    tasks: &'a TaskTracker,
    stop: &'a CancellationToken,
}

impl Making<'_> {
    fn in_process(self) -> (Server, String, Dispatcher) {
        let locals = Locals::default().with("payment", local(self.handler));
        let participants = participants(Transport::Local);
        let dispatcher = dispatcher(&participants, None, None, locals, self.on_published);
        (Server::None, String::new(), dispatcher)
    }

    async fn over_rabbitmq(self) -> (Server, String, Dispatcher) {
        let server = crate::rabbitmq::Bed::new().await;
        let url = crate::rabbitmq::url();
        let settings = crate::rabbitmq::settings(&url, &server.prefix);
        let queue = server.queue.clone();
        let participants = participants(Transport::RabbitMq(transport(&queue)));
        let none = Locals::default();
        let dispatcher = dispatcher(
            &participants,
            Some(&settings),
            None,
            none,
            self.on_published,
        );
        let settings = rabbitmq::Settings {
            url: BrokerUrl::parse(&url).unwrap(),
            queue: queue.clone(),
            prefix: server.prefix.clone(),
            declare: true,
            prefetch: 128,
            source: "/payment".to_owned(),
        };
        let handler = move |command| (self.handler)(command);
        let serving = rabbitmq::serve(settings, handler, self.stop.clone());
        self.tasks.spawn(serving);
        (Server::RabbitMq(Box::new(server)), queue, dispatcher)
    }

    async fn over_sqs(self) -> (Server, String, Dispatcher) {
        let server = crate::sqs::Bed::new().await;
        let settings = crate::sqs::settings(&server.url, &server.prefix);
        let queue = server.queue.clone();
        let participants = participants(Transport::Sqs(transport(&queue)));
        let none = Locals::default();
        let dispatcher = dispatcher(
            &participants,
            None,
            Some(&settings),
            none,
            self.on_published,
        );
        let settings = sqs::Settings {
            endpoint: settings.endpoint,
            queue: queue.clone(),
            declare: true,
            in_hand_max: 128,
            source: "/payment".to_owned(),
        };
        let handler = move |command| (self.handler)(command);
        self.tasks
            .spawn(sqs::serve(settings, handler, self.stop.clone()));
        (Server::Sqs(Box::new(server)), queue, dispatcher)
    }
}

fn participants(transport: Transport) -> BTreeMap<String, Participant> {
    let participant = Participant {
        timeout_ms: 20_000,
        transport,
        guards: Guards::default(),
    };
    BTreeMap::from([("payment".to_owned(), participant)])
}

fn transport(queue: &str) -> QueueTransport {
    QueueTransport {
        queue: queue.to_owned(),
        on_dead_letter: OnDeadLetter::Fail,
    }
}

fn dispatcher(
    participants: &BTreeMap<String, Participant>,
    rabbitmq: Option<&amends::config::RabbitMq>,
    sqs: Option<&amends::config::Sqs>,
    locals: Locals,
    published: OnPublished,
) -> Dispatcher {
    Dispatcher::new(Means {
        participants,
        rabbitmq,
        sqs,
        locals,
        published,
    })
    .unwrap()
}

/// In this process, whoever does not answer breaks off.
fn local(
    handler: Handler,
) -> impl Fn(message::Command) -> BoxFuture<'static, ReplyOutcome> + Send + Sync + 'static {
    move |command| {
        let handled = handler(Command::from(command));
        async move {
            match handled.await {
                Ok(outcome) => outcome,
                Err(Unanswered::Reject(error) | Unanswered::Again(error)) => panic!("{error}"),
            }
        }
        .boxed()
    }
}

/// Keeps what is brought, and settles it.
async fn keep(
    mut receiver: tokio::sync::mpsc::Receiver<amends::dispatch::broker::Delivery>,
    brought: Arc<Mutex<Brought>>,
) {
    while let Some(delivery) = receiver.recv().await {
        let body = delivery.message.body.to_vec();
        match delivery.origin {
            Origin::Replies => {
                let reply = Reply::read(&body).unwrap();
                brought.lock().replies.push(reply);
            }
            dead @ Origin::Dead { .. } => brought.lock().dead.push((dead, body)),
        }
        delivery.receipt.done().await;
    }
}

pub(crate) fn now() -> Timestamp {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp(i64::try_from(elapsed.as_millis()).unwrap())
}

/// An attempt of a saga that nobody else has at the command of that name.
pub(crate) fn attempt(name: &str) -> Attempt {
    Attempt {
        saga: SagaId(uuid::Uuid::now_v7()),
        definition: "order_fulfilment/1".into(),
        step: "charge_payment".into(),
        participant: "payment".into(),
        phase: Phase::Action,
        number: 1,
        action_outcome: None,
        fence: 7,
        traceparent: None,
        tracestate: None,
        timeout_ms: None,
        not_after: None,
        request: Request {
            target: Target::Command(name.to_owned()),
            query: String::new(),
            headers: Vec::new(),
            body: Some(json!({ "amount": 40 }).to_string()),
        },
        refuse_on: Vec::new(),
        retry_on: Vec::new(),
        callback: None,
    }
}
