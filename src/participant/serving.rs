//! What serving a queue is, whichever broker it lies in: a message becomes a command, the handler's
//! outcome a reply, and the reply says what becomes of the message.

use std::future::Future;

use bytes::Bytes;
use serde_json::Map;

use super::Command;
use crate::dispatch::broker::{BrokerKind, Outgoing, Published};
use crate::dispatch::ticket::Verdict;
use crate::message::{self, REPLY_TYPE, Reply, ReplyOutcome};

/// Why a command has no reply.
#[derive(Debug)]
pub enum Unanswered {
    /// Nobody here can ever take it: it becomes a dead letter.
    Reject(Box<dyn std::error::Error + Send + Sync>),
    /// It could not be taken now: it comes again, a few times.
    Again(Box<dyn std::error::Error + Send + Sync>),
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Unanswered {
    fn from(error: E) -> Self {
        Self::Again(Box::new(error))
    }
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{broker} cannot be used: {why}")]
pub struct BadSettings {
    pub(super) broker: BrokerKind,
    pub(super) why: String,
}

/// The way that replies go.
pub(super) trait Replies: Send + Sync {
    /// Gives a reply to the broker; `Err` says why it did not take it.
    fn send(&self, reply: &Outgoing) -> impl Future<Output = Result<(), String>> + Send;
}

/// What every command is answered with.
pub(super) struct Answering<H, R> {
    pub(super) handler: H,
    pub(super) replies: R,
    pub(super) source: String,
}

impl<H, R: Replies> Answering<H, R> {
    /// Answers one message, and says what is to become of it.
    pub(super) async fn answer<F>(&self, message: &[u8]) -> Verdict
    where
        H: Fn(Command) -> F,
        F: Future<Output = Result<ReplyOutcome, Unanswered>>,
    {
        let command = match message::Command::read(message) {
            Ok(command) => command,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "a message is no command");
                return Verdict::Dead;
            }
        };
        let (id, key) = (command.id(), command.idempotency_key());
        let (saga, step, phase) = (command.saga, command.step.clone(), command.phase);
        let reply_to = command.reply_to.clone();
        let outcome = match (self.handler)(Command::from(command)).await {
            Ok(outcome) => outcome,
            Err(Unanswered::Reject(error)) => {
                tracing::warn!(command = id, error = &*error, "a command is rejected");
                return Verdict::Dead;
            }
            Err(Unanswered::Again(error)) => {
                tracing::warn!(command = id, error = &*error, "a command is to come again");
                return Verdict::Again;
            }
        };
        let reply = Reply {
            // The same for every delivery of the command, and another for its next attempt.
            id: id.clone(),
            source: self.source.clone(),
            saga,
            step,
            phase,
            outcome,
        };
        let outgoing = Outgoing {
            queue: reply_to,
            id: id.clone(),
            correlation_id: Some(key),
            group: saga.to_string(),
            kind: REPLY_TYPE.to_owned(),
            reply_to: None,
            headers: Map::new(),
            body: Bytes::from(reply.to_json()),
            replay: 0,
        };
        match self.replies.send(&outgoing).await {
            Ok(()) => Verdict::Done,
            Err(why) => {
                tracing::warn!(command = id, why, "a reply was not taken");
                Verdict::Again
            }
        }
    }
}

/// Whether the broker has it for good, and why it does not.
pub(super) fn taken(published: Published) -> Result<(), String> {
    match published {
        Published::Confirmed => Ok(()),
        Published::Returned(why) | Published::Refused(why) => Err(why),
        Published::TooLarge { bytes, bytes_max } => {
            Err(format!("it has {bytes} bytes, and {bytes_max} are allowed"))
        }
    }
}
