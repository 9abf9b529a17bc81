//! What nobody could take becomes a row, and a command that nobody could take says so to its saga
//! (participants.md, "Dead letters").

use std::sync::Arc;

use crate::config::OnDeadLetter;
use crate::definition::Definition;
use crate::definition::request::Phase;
use crate::dispatch::broker::{BrokerKind, Delivery, Origin};
use crate::engine::advance::Whence;
use crate::engine::inbox::Letter;
use crate::engine::tenure::Tenure;
use crate::engine::{CommandError, clock};
use crate::message::{Command, Reply};
use crate::saga::{DeadLettered, Fate, InFlight, Input, SagaId, StepError};
use crate::store::{NewDeadLetter, StoreError, Transport};

/// The code of a step whose command nobody could take.
const DEAD_LETTERED: &str = "dead_lettered";

/// What a message is about, as far as it says.
#[derive(Default)]
struct About<'a> {
    participant: Option<&'a str>,
    saga: Option<SagaId>,
    step: Option<&'a str>,
    phase: Option<Phase>,
}

impl Tenure {
    /// Keeps a reply, and its saga waits for its timeout; `why` where it is not its broker that says
    /// so.
    pub(super) async fn keep_reply(
        &self,
        delivery: &Delivery,
        why: Option<&str>,
    ) -> Result<(), CommandError> {
        let reply = Reply::read(&delivery.message.body).ok();
        let about = reply.as_ref().map_or_else(About::default, |reply| About {
            participant: None,
            saga: Some(reply.saga),
            step: Some(&reply.step),
            phase: Some(reply.phase),
        });
        let queue = self.parts.dispatcher.replies(delivery.broker);
        let queue = queue.unwrap_or_default().to_owned();
        self.keep(delivery, &queue, why, &about).await
    }

    /// Keeps a command, and tells its saga.
    pub(super) async fn take_dead_command(
        self: &Arc<Self>,
        delivery: &Delivery,
        queue: &str,
    ) -> Result<(), CommandError> {
        let dispatcher = &self.parts.dispatcher;
        let behind: Vec<(&str, OnDeadLetter)> = dispatcher.behind(delivery.broker, queue).collect();
        let Ok(command) = Command::read(&delivery.message.body) else {
            let about = About {
                participant: behind.first().map(|(name, _)| *name),
                ..About::default()
            };
            return self.keep(delivery, queue, None, &about).await;
        };
        let definition = self.definition_of(command.saga).await?;
        // Several participants may share a queue: whose command it is says the definition.
        let asked = definition
            .as_ref()
            .and_then(|own| asked(own, &command.step));
        let named = behind.iter().find(|(name, _)| Some(*name) == asked);
        let (participant, policy) = match named.or(behind.first()) {
            Some((name, policy)) => (Some(*name), *policy),
            None => (asked, OnDeadLetter::default()),
        };
        let about = About {
            participant,
            saga: Some(command.saga),
            step: Some(&command.step),
            phase: Some(command.phase),
        };
        self.keep(delivery, queue, None, &about).await?;
        match definition {
            Some(definition) => {
                self.tell_saga(&definition, &command, policy, delivery)
                    .await
            }
            None => Ok(()),
        }
    }

    /// The definition of a saga, where there is one.
    async fn definition_of(&self, saga: SagaId) -> Result<Option<Arc<Definition>>, CommandError> {
        if let Some(entry) = self.active.get(saga) {
            return Ok(Some(Arc::clone(&entry.definition)));
        }
        match self.parts.read(saga).await {
            Ok(read) => Ok(Some(read.snapshot.definition)),
            Err(CommandError::NotFound | CommandError::JournalUnreadable) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn tell_saga(
        self: &Arc<Self>,
        definition: &Definition,
        command: &Command,
        policy: OnDeadLetter,
        delivery: &Delivery,
    ) -> Result<(), CommandError> {
        let Some(step) = definition.step_named(&command.step) else {
            return Ok(());
        };
        let (reason, deliveries) = dead(&delivery.origin);
        let message =
            format!("nobody could take the command: {reason}, delivered {deliveries} times");
        let input = Input::DeadLettered(DeadLettered {
            call: InFlight {
                step,
                phase: command.phase,
                attempt: command.attempt,
            },
            error: StepError::new(DEAD_LETTERED, message),
            fate: match policy {
                OnDeadLetter::Fail => Fate::Unknown,
                OnDeadLetter::Retry => Fate::Retried,
                OnDeadLetter::Hold => Fate::Held,
            },
            draw: clock::draw(),
        });
        let letter = Letter::of_input(&input);
        match (
            self.take_reply(command.saga, input, Whence::default())
                .await,
            letter,
        ) {
            // The saga is another replica's.
            (Err(CommandError::NotReady), Some(letter)) if !self.ended.is_cancelled() => {
                self.parts.leave_for(command.saga, &letter).await
            }
            (Err(CommandError::NotFound | CommandError::JournalUnreadable), _) => Ok(()),
            (told, _) => told.map(|_| ()),
        }
    }

    async fn keep(
        &self,
        delivery: &Delivery,
        queue: &str,
        why: Option<&str>,
        about: &About<'_>,
    ) -> Result<(), CommandError> {
        let (reason, deliveries) = dead(&delivery.origin);
        let letter = NewDeadLetter {
            transport: match delivery.broker {
                BrokerKind::RabbitMq => Transport::RabbitMq,
                BrokerKind::Sqs => Transport::Sqs,
            },
            queue,
            participant: about.participant,
            reason: why.unwrap_or(reason),
            deliveries,
            received_at: clock::now(),
            saga: about.saga,
            step: about.step,
            phase: about.phase,
            message_id: delivery.message.id.as_deref(),
            message: &delivery.message.body,
            headers: &delivery.message.headers,
            redelivered: delivery.redelivered,
        };
        match self.parts.store.keep_dead_letter(&letter).await {
            Ok(kept) => {
                let (dead_letter, reason) = (kept.id(), why.unwrap_or(reason));
                tracing::warn!(%dead_letter, queue, reason, "a message that nobody could take was kept");
                Ok(())
            }
            Err(error @ (StoreError::Unavailable(_) | StoreError::Silent { .. })) => {
                tracing::debug!(%error, "a dead letter cannot be kept now");
                Err(CommandError::DatabaseUnavailable)
            }
            Err(error) => {
                tracing::error!(queue, %error, "the database refuses a dead letter; it stays with its broker");
                Err(CommandError::Internal)
            }
        }
    }
}

/// The participant that a step asks.
fn asked<'a>(definition: &'a Definition, step: &str) -> Option<&'a str> {
    let step = definition.step(definition.step_named(step)?)?;
    Some(step.action()?.participant.as_str())
}

/// Why a message is dead, and how often it was delivered.
fn dead(origin: &Origin) -> (&str, u32) {
    match origin {
        Origin::Replies => ("malformed", 1),
        Origin::Dead {
            reason, deliveries, ..
        } => (reason, *deliveries),
    }
}
