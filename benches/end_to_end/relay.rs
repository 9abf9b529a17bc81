//! The role `relay`, the ceiling over RabbitMQ: a saga's commands published one after another, each
//! once the reply to the one before is in, with no coordinator's work between them. It stores
//! nothing. Queues, confirms, acknowledgements and messages are the coordinator's.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use actix_web::error::ErrorBadGateway;
use actix_web::{App, HttpResponse, HttpServer, web};
use amends::definition::request::Phase;
use amends::message::{COMMAND_TYPE, CONTENT_TYPE, Command, Reply, ReplyOutcome};
use amends::saga::{ActionOutcome, SagaId, Timestamp};
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::broker::Broker;
use crate::definitions::{Calls, PARTICIPANTS, Variant};
use crate::process;

/// How many replies may be under way.
const PREFETCH: u16 = 256;
/// How many milliseconds a command is good for.
const DEADLINE_MS: u64 = 10_000;
/// Kept on disk.
const PERSISTENT: u8 = 2;

/// Those that wait for a reply, by the command's id.
type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<ReplyOutcome>>>>;

/// What a saga is begun with.
#[derive(Deserialize)]
struct Start<'a> {
    #[serde(borrow)]
    input: &'a RawValue,
}

/// The way to the participants and back.
struct Relay {
    broker: Broker,
    channel: Channel,
    waiting: Waiting,
    calls: Calls<String>,
    /// How many sagas there were.
    sagas: AtomicU64,
}

/// Serves until the bench has ended.
pub(crate) fn serve(broker: &Broker) -> Result<()> {
    actix_web::rt::System::new().block_on(async move {
        let connect = async || {
            let connection =
                Connection::connect(broker.url(), ConnectionProperties::default()).await?;
            anyhow::Ok((connection.create_channel().await?, connection))
        };
        let (incoming, _incoming) = connect().await?;
        let (outgoing, _outgoing) = connect().await?;
        outgoing
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        let replies = consume(&incoming, broker).await?;
        let waiting = Waiting::default();
        actix_web::rt::spawn(take_replies(replies, Arc::clone(&waiting)));
        let relays = [Variant::Completed, Variant::Refused].map(|variant| {
            let relay = web::Data::new(Relay {
                broker: broker.clone(),
                channel: outgoing.clone(),
                waiting: Arc::clone(&waiting),
                calls: Calls::of(variant),
                sagas: AtomicU64::new(0),
            });
            (variant.path(), relay)
        });
        let server = HttpServer::new(move || {
            relays.iter().fold(App::new(), |app, (path, relay)| {
                app.service(
                    web::resource(*path)
                        .app_data(relay.clone())
                        .route(web::post().to(start)),
                )
            })
        })
        // The client library numbers what one channel publishes, and a channel has one user.
        .workers(1)
        .tcp_nodelay(true)
        .bind((Ipv4Addr::LOCALHOST, 0))?;
        for address in server.addrs() {
            process::announce(address)?;
        }
        server.run().await?;
        Ok(())
    })
}

async fn consume(channel: &Channel, broker: &Broker) -> Result<Consumer> {
    let mut arguments = FieldTable::default();
    let kind = AMQPValue::LongString("quorum".into());
    arguments.insert("x-queue-type".into(), kind);
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let queue = broker.relay_replies();
    channel
        .queue_declare(queue.clone().into(), options, arguments)
        .await?;
    let options = BasicQosOptions::default();
    channel.basic_qos(PREFETCH, options).await?;
    let options = BasicConsumeOptions::default();
    let consumer = channel
        .basic_consume(queue.into(), "".into(), options, FieldTable::default())
        .await?;
    Ok(consumer)
}

/// Hands replies on, and acknowledges those that came together with one word: nothing is stored
/// that would have to be safe before.
async fn take_replies(replies: Consumer, waiting: Waiting) {
    let mut batches = replies.ready_chunks(usize::from(PREFETCH));
    while let Some(batch) = batches.next().await {
        let mut last = None;
        for delivery in batch.into_iter().flatten() {
            if let Ok(reply) = Reply::read(&delivery.data)
                && let Some(tell) = lock(&waiting).remove(&reply.id)
            {
                // Whoever asked may have gone.
                tell.send(reply.outcome).ok();
            }
            last = Some(delivery.acker);
        }
        if let Some(last) = last {
            let multiple = BasicAckOptions { multiple: true };
            // Where the connection is gone the commands after it fail.
            last.ack(multiple).await.ok();
        }
    }
}

fn lock(waiting: &Waiting) -> MutexGuard<'_, HashMap<String, oneshot::Sender<ReplyOutcome>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has a saga's commands carried out one after another: forward, and where one is refused, back.
async fn start(relay: web::Data<Relay>, body: Bytes) -> actix_web::Result<HttpResponse> {
    let status = relay.saga(&body).await.map_err(ErrorBadGateway)?;
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .body(format!(r#"{{"status":"{status}"}}"#)))
}

impl Relay {
    async fn saga(&self, body: &[u8]) -> Result<&'static str> {
        let Start { input } = serde_json::from_slice(body)?;
        let number = self.sagas.fetch_add(1, Ordering::Relaxed);
        let saga = SagaId(Uuid::from_u64_pair(u64::from(std::process::id()), number));
        let actions = self.calls.actions.iter().zip(PARTICIPANTS);
        for (name, participant) in actions {
            let command = self.command(saga, name, Phase::Action, input);
            match self.ask(participant, &command).await? {
                ReplyOutcome::Succeeded(_) => {}
                ReplyOutcome::Refused(_) => {
                    self.undo(saga, input).await?;
                    return Ok("compensated");
                }
                ReplyOutcome::Retry { .. } => anyhow::bail!("a participant would be asked again"),
            }
        }
        Ok("completed")
    }

    async fn undo(&self, saga: SagaId, input: &RawValue) -> Result<()> {
        let [inventory, payment, _] = PARTICIPANTS;
        for (name, participant) in self.calls.compensations.iter().zip([payment, inventory]) {
            let command = self.command(saga, name, Phase::Compensation, input);
            let outcome = self.ask(participant, &command).await?;
            ensure!(
                matches!(outcome, ReplyOutcome::Succeeded(_)),
                "{name} was not done"
            );
        }
        Ok(())
    }

    fn command(&self, saga: SagaId, name: &str, phase: Phase, input: &RawValue) -> Command {
        let since = UNIX_EPOCH.elapsed().unwrap_or_default();
        let now = Timestamp(0).plus_ms(since.as_secs() * 1_000);
        Command {
            name: name.to_owned(),
            saga,
            definition: "reference/1".to_owned(),
            step: name.to_owned(),
            phase,
            attempt: 1,
            action_outcome: (phase == Phase::Compensation).then_some(ActionOutcome::Succeeded),
            reply_to: self.broker.relay_replies(),
            time: now,
            deadline: now.plus_ms(DEADLINE_MS),
            fence: 1,
            traceparent: None,
            tracestate: None,
            data: input.get().to_owned(),
        }
    }

    /// Publishes a command and waits until the server has it and the reply is in.
    async fn ask(&self, participant: &str, command: &Command) -> Result<ReplyOutcome> {
        let (tell, told) = oneshot::channel();
        lock(&self.waiting).insert(command.id(), tell);
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let properties = BasicProperties::default()
            .with_content_type(CONTENT_TYPE.into())
            .with_delivery_mode(PERSISTENT)
            .with_message_id(command.id().into())
            .with_correlation_id(command.idempotency_key().into())
            .with_reply_to(command.reply_to.as_str().into())
            .with_type(COMMAND_TYPE.into());
        let confirm = self
            .channel
            .basic_publish(
                self.broker.commands().into(),
                self.broker.queue(participant).into(),
                options,
                &command.to_json()?,
                properties,
            )
            .await?;
        ensure!(
            confirm.await?.is_ack(),
            "{participant} did not get its command"
        );
        told.await.context("no more replies")
    }
}
