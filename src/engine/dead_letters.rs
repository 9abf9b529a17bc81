//! What a person does with dead letters: sending one again to where it was going, or closing it.
//! And how many there are, for the metrics.
//!
//! A replay is sent first and settled then. Whoever dies in between leaves the letter open, and it
//! may be sent a second time, with the same ids: a participant does nothing twice under one key.
//! The other way round a letter would be lost.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{Actor, Engine, Parts, clock};
use crate::dispatch::ResendError;
use crate::dispatch::broker::{BrokerKind, Outgoing};
use crate::message::{COMMAND_TYPE, REPLY_TYPE};
use crate::store::{
    AuditAction, AuditRecord, DeadLetter, DeadLetterId, DeadLetterStatus, REPLAY_HEADER,
    Settlement, StoreError,
};
use crate::telemetry::metrics::DeadLetters;

/// How often the letters are counted.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// How often a replica that does not count looks whether it is to.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Whoever owns this shard counts, so that over all replicas each letter is counted once.
const COUNTING_SHARD: u16 = 0;
/// The longest name of a step that the audit has room for, in characters.
const STEP_CHARS_MAX: usize = 255;

/// Why a dead letter was not replayed or discarded.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// No such letter.
    #[error("there is no such dead letter")]
    NotFound,
    /// It is not open any more.
    #[error("the dead letter is {} already", status.as_str())]
    AlreadySettled {
        /// What it is.
        status: DeadLetterStatus,
    },
    /// Its broker does not answer; the letter is still open.
    #[error("the dead letter was not sent")]
    BrokerAway(#[source] ResendError),
    /// It cannot be sent as things are; the letter is still open.
    #[error("the dead letter cannot be sent")]
    NotReplayable(#[source] ResendError),
    /// It came through a broker that this version does not know.
    #[error("the dead letter came through {transport}, which this version does not know")]
    TransportUnknown {
        /// The word.
        transport: String,
    },
    /// The database failed. A replay may have been sent; the letter is still open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The runtime is going down. A replay may have been sent.
    #[error("this replica ends")]
    Ending,
}

impl Engine {
    /// Sends an open letter again to where it was going, and settles it. What was begun is brought
    /// to its end, whether or not somebody still waits for it.
    ///
    /// # Errors
    /// See [`DeadLetterError`].
    pub async fn replay_dead_letter(
        &self,
        id: DeadLetterId,
        actor: Actor,
    ) -> Result<DeadLetter, DeadLetterError> {
        let parts = Arc::clone(&self.parts);
        let replay = async move { parts.replay(id, &actor).await };
        let stopping = &self.parts.stopping;
        let replaying = stopping.tasks.spawn_on(replay, &stopping.runtime);
        replaying
            .await
            .unwrap_or_else(|_ended| Err(DeadLetterError::Ending))
    }

    /// Closes an open letter.
    ///
    /// # Errors
    /// See [`DeadLetterError`]; nothing has changed then.
    pub async fn discard_dead_letter(
        &self,
        id: DeadLetterId,
        reason: String,
        actor: Actor,
    ) -> Result<DeadLetter, DeadLetterError> {
        let letter = self.parts.open_letter(id).await?;
        let settlement = Settlement::Discarded { reason };
        self.parts.settle(letter, settlement, &actor).await
    }

    /// How many letters there are, where this replica is the one that says so.
    pub(super) fn dead_letters(&self) -> Vec<DeadLetters> {
        if self.parts.counts_dead_letters() {
            self.parts.dead_letters.read().clone()
        } else {
            Vec::new()
        }
    }
}

impl Parts {
    async fn open_letter(&self, id: DeadLetterId) -> Result<DeadLetter, DeadLetterError> {
        let letter = self.store.dead_letter(id).await?;
        let letter = letter.ok_or(DeadLetterError::NotFound)?;
        match letter.status {
            DeadLetterStatus::Open => Ok(letter),
            status @ (DeadLetterStatus::Replayed | DeadLetterStatus::Discarded) => {
                Err(DeadLetterError::AlreadySettled { status })
            }
        }
    }

    async fn replay(&self, id: DeadLetterId, actor: &Actor) -> Result<DeadLetter, DeadLetterError> {
        let letter = self.open_letter(id).await?;
        let Some(kind) = BrokerKind::of(&letter.transport) else {
            let transport = letter.transport;
            return Err(DeadLetterError::TransportUnknown { transport });
        };
        match self.dispatcher.resend(kind, &outgoing(&letter)).await {
            Ok(()) => {}
            Err(error @ ResendError::Away(_)) => return Err(DeadLetterError::BrokerAway(error)),
            Err(error @ (ResendError::NotConfigured(_) | ResendError::Refused { .. })) => {
                return Err(DeadLetterError::NotReplayable(error));
            }
        }
        self.settle(letter, Settlement::Replayed, actor).await
    }

    async fn settle(
        &self,
        letter: DeadLetter,
        settlement: Settlement,
        actor: &Actor,
    ) -> Result<DeadLetter, DeadLetterError> {
        let record = record(&letter, &settlement, actor);
        let was_open = self
            .store
            .settle_dead_letter(letter.id, &settlement, &record)
            .await?;
        if !was_open {
            // Somebody came first; what became of it is read anew.
            self.open_letter(letter.id).await?;
            return Err(DeadLetterError::NotFound);
        }
        let (status, note, replays) = match settlement {
            Settlement::Replayed => (DeadLetterStatus::Replayed, None, letter.replays + 1),
            Settlement::Discarded { reason } => {
                (DeadLetterStatus::Discarded, Some(reason), letter.replays)
            }
        };
        let (id, queue, word) = (letter.id, letter.queue.as_str(), status.as_str());
        tracing::info!(dead_letter = %id, queue, status = word, actor = actor.name, "a dead letter is settled");
        Ok(DeadLetter {
            status,
            note,
            replays,
            settled_at: Some(record.at),
            settled_by: Some(record.actor),
            ..letter
        })
    }

    fn counts_dead_letters(&self) -> bool {
        let tenure = self.tenure();
        tenure.is_some_and(|tenure| tenure.fence(COUNTING_SHARD).is_some())
    }
}

/// What the audit says of it.
fn record(letter: &DeadLetter, settlement: &Settlement, actor: &Actor) -> AuditRecord {
    let mut detail = json!({ "dead_letter": letter.id.to_string(), "queue": letter.queue });
    let action = match settlement {
        Settlement::Replayed => AuditAction::DeadLetterReplayed,
        Settlement::Discarded { reason } => {
            if let Some(members) = detail.as_object_mut() {
                members.insert("reason".to_owned(), json!(reason));
            }
            AuditAction::DeadLetterDiscarded
        }
    };
    let mut record = actor.record(action, clock::now()).with_detail(&detail);
    record.saga = letter.saga;
    let step = letter.step.as_ref();
    // What a message calls its step need not be one.
    record.step = step
        .filter(|step| step.chars().count() <= STEP_CHARS_MAX)
        .cloned();
    record
}

/// The message as it was, on its way to where it was going. What it is called comes from beside it
/// or out of itself, wherever it is told.
fn outgoing(letter: &DeadLetter) -> Outgoing {
    let body: Value = serde_json::from_slice(&letter.message).unwrap_or_default();
    let apart = letter.headers.get("headers").and_then(Value::as_object);
    let said = |beside: &str, inside: &str| -> Option<String> {
        let places = [
            letter.headers.get(beside),
            apart.and_then(|headers| headers.get(beside)),
            body.get(inside),
        ];
        let mut texts = places.into_iter().flatten().filter_map(Value::as_str);
        texts.find(|text| !text.is_empty()).map(str::to_owned)
    };
    let id = letter
        .message_id
        .clone()
        .or_else(|| said("message_id", "id"));
    let id = id.unwrap_or_else(|| letter.id.to_string());
    // A message that does not say what it is is taken for what its queue has.
    let usual = match letter.participant {
        Some(_) => COMMAND_TYPE,
        None => REPLY_TYPE,
    };
    let replay = letter.replays.saturating_add(1);
    let context = ["traceparent", "tracestate"].map(|name| (name, said(name, name)));
    let mut headers: Map<String, Value> = context
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.into())))
        .collect();
    headers.insert(REPLAY_HEADER.to_owned(), replay.to_string().into());
    Outgoing {
        queue: letter.queue.clone(),
        correlation_id: said("correlation_id", "idempotencykey"),
        group: letter
            .saga
            .map_or_else(|| id.clone(), |saga| saga.to_string()),
        id,
        kind: said("type", "type").unwrap_or_else(|| usual.to_owned()),
        reply_to: said("reply_to", "replyto"),
        headers,
        body: Bytes::from(letter.message.clone()),
        replay,
    }
}

/// Counts the letters again and again, where it is for this replica to do so, until the process
/// stops. What was counted stays while the database is away.
pub(super) async fn count(parts: Arc<Parts>) {
    loop {
        let counts = parts.counts_dead_letters();
        if counts {
            match parts.store.count_dead_letters().await {
                Ok(counted) => {
                    let of_queue = |count: crate::store::DeadLetterCount| DeadLetters {
                        queue: count.queue,
                        open: count.open,
                        replayed: count.replayed,
                        discarded: count.discarded,
                    };
                    *parts.dead_letters.write() = counted.into_iter().map(of_queue).collect();
                }
                Err(error) => tracing::debug!(%error, "the dead letters could not be counted"),
            }
        }
        let wait = if counts { COUNT_EVERY } else { LOOK_EVERY };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = parts.stopping.stopped.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests;
