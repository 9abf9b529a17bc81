//! One participant behind a queue: an attempt becomes a command, and is sent when the broker has it
//! for good. What comes of it is told by a reply.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::broker::{Broker, Outgoing, Published};
use super::{Attempt, OnPublished, PublishResult, Sent, transient};
use crate::config::QueueTransport;
use crate::definition::request::Target;
use crate::message::{COMMAND_TYPE, Command};
use crate::saga::{Outcome, StepError, Timestamp};

/// The code of a command that no queue took.
const NOT_ROUTED: &str = "not_routed";
/// The code of a command that the broker would not take.
const PUBLISH_REFUSED: &str = "publish_refused";
/// The code of a command that is longer than its queue takes.
const MESSAGE_TOO_LARGE: &str = "message_too_large";

/// How a participant behind a queue is reached.
#[derive(Debug)]
pub(super) struct QueueParticipant {
    pub(super) settings: QueueTransport,
    pub(super) broker: Arc<dyn Broker>,
    pub(super) published: OnPublished,
    /// Whoever waits for a broker that is away gives up then: the next owner sends.
    pub(super) draining: CancellationToken,
}

impl QueueParticipant {
    /// Gives the command to the broker, and whether the participant's way is well by it.
    pub(super) async fn call(
        &self,
        attempt: &Attempt,
        now: Timestamp,
        deadline: Timestamp,
    ) -> (Sent, Option<bool>) {
        let left = Duration::from_millis(now.ms_until(deadline));
        let message = match self.message(attempt, now, deadline) {
            Ok(message) => message,
            // Nothing was sent, and what was rendered once is rendered so for ever.
            Err(error) => {
                let message = format!("what was rendered is no message: {error}");
                let error = StepError::new("expression_failed", message);
                return (Sent::Ended(Outcome::Refused(error)), None);
            }
        };
        let published = tokio::select! {
            biased;
            published = self.broker.publish(&message) => published,
            () = tokio::time::sleep(left) => {
                self.published.tell(self.broker.kind(), PublishResult::Failed);
                let kind = self.broker.kind();
                let why = format!("{kind} did not confirm the command in time");
                return (Sent::Ended(transient("timeout", why)), Some(false));
            }
            () = self.draining.cancelled() => return (Sent::Unsent, None),
        };
        self.told(published, deadline)
    }

    fn told(&self, published: Published, deadline: Timestamp) -> (Sent, Option<bool>) {
        let queue = &self.settings.queue;
        let (result, sent, well) = match published {
            Published::Confirmed => {
                let sent = Sent::Accepted { until: deadline };
                (PublishResult::Confirmed, sent, Some(true))
            }
            Published::Returned(why) => {
                let why = format!("no queue took the command for {queue}: {why}");
                let sent = Sent::Ended(transient(NOT_ROUTED, why));
                (PublishResult::Returned, sent, Some(false))
            }
            Published::Refused(why) => {
                let why = format!("the broker refused the command for {queue}: {why}");
                let sent = Sent::Ended(transient(PUBLISH_REFUSED, why));
                (PublishResult::Failed, sent, Some(false))
            }
            Published::TooLarge { bytes, bytes_max } => {
                let why = format!("the command has {bytes} bytes, and {queue} takes {bytes_max}");
                let error = StepError::new(MESSAGE_TOO_LARGE, why);
                let sent = Sent::Ended(Outcome::Refused(error));
                (PublishResult::Failed, sent, None)
            }
        };
        self.published.tell(self.broker.kind(), result);
        (sent, well)
    }

    fn message(
        &self,
        attempt: &Attempt,
        now: Timestamp,
        deadline: Timestamp,
    ) -> Result<Outgoing, serde_json::Error> {
        let command = command(attempt, self.broker.replies(), now, deadline);
        // Declared headers, over them the coordinator's own.
        let declared = attempt.request.headers.iter();
        let mut headers: Map<String, Value> = declared
            .map(|(name, value)| (name.clone(), Value::String(value.clone())))
            .collect();
        let context = [
            ("traceparent", &command.traceparent),
            ("tracestate", &command.tracestate),
        ];
        for (name, value) in context {
            if let Some(value) = value {
                headers.insert(name.to_owned(), Value::String(value.clone()));
            }
        }
        Ok(Outgoing {
            queue: self.settings.queue.clone(),
            id: command.id(),
            correlation_id: Some(command.idempotency_key()),
            group: command.saga.to_string(),
            kind: COMMAND_TYPE.to_owned(),
            reply_to: Some(command.reply_to.clone()),
            headers,
            body: Bytes::from(command.to_json()?),
            replay: 0,
        })
    }
}

/// An attempt as a command.
pub(super) fn command(
    attempt: &Attempt,
    reply_to: &str,
    now: Timestamp,
    deadline: Timestamp,
) -> Command {
    let name = match &attempt.request.target {
        Target::Command(name) => name.clone(),
        // A check that knows the participants does not let it come to this.
        Target::Http { path, .. } => path.clone(),
    };
    Command {
        name,
        saga: attempt.saga,
        definition: attempt.definition.to_string(),
        step: attempt.step.to_string(),
        phase: attempt.phase,
        attempt: attempt.number,
        action_outcome: attempt.action_outcome,
        reply_to: reply_to.to_owned(),
        time: now,
        deadline,
        fence: attempt.fence,
        traceparent: attempt.traceparent.clone(),
        tracestate: attempt.tracestate.clone(),
        data: attempt
            .request
            .body
            .clone()
            .unwrap_or_else(|| "null".to_owned()),
    }
}
