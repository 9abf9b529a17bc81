//! What a participant is asked to do, whichever way it came.

use std::fmt;

use serde::de::DeserializeOwned;

use crate::definition::request::Phase;
use crate::message::{self, ReplyOutcome};
use crate::saga::{ActionOutcome, SagaId, StepError, Timestamp};

/// The code of a refusal of input that the handler cannot read.
pub const INPUT_INVALID: &str = "input_invalid";

/// One attempt at an action or a compensation.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// What is to be done: a message's `subject`; over HTTP what the service calls the route.
    pub name: String,
    /// The saga.
    pub saga: SagaId,
    /// Its definition, `name/version`.
    pub definition: String,
    /// The step.
    pub step: String,
    /// Which of the step's two calls.
    pub phase: Phase,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// On compensations, what the coordinator knows of the action.
    pub action_outcome: Option<ActionOutcome>,
    /// When this attempt is given up.
    pub deadline: Timestamp,
    /// Grows whenever the saga gets another owner: who has seen a higher one may refuse this.
    pub fence: i64,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// W3C trace context.
    pub tracestate: Option<String>,
    /// Where the reply is wanted.
    pub reply_to: ReplyTo,
    /// What comes with it, as JSON text.
    pub data: String,
}

/// Where a reply is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyTo {
    /// In the answer to the HTTP request.
    Answer,
    /// In the answer, or after a 202 at this URL.
    Callback(CallbackUrl),
    /// In a broker's queue of this name.
    Queue(String),
}

/// A URL whose query has a token that is good for one reply. It is not shown by `Debug`, so that
/// it gets into no log.
#[derive(Clone, PartialEq, Eq)]
pub struct CallbackUrl(String);

impl CallbackUrl {
    /// The URL of an `Amends-Callback` header, as it may be kept until the work is done.
    #[must_use]
    pub fn new(url: String) -> Self {
        Self(url)
    }

    /// The URL with its token: to post to or to keep, not to log.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CallbackUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CallbackUrl")
    }
}

impl Command {
    /// The key that is the same on every attempt: `{saga}:{step}:{phase}`.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        self.key_of(self.phase)
    }

    /// The key of one of the step's two calls.
    #[must_use]
    pub fn key_of(&self, phase: Phase) -> String {
        format!("{}:{}:{}", self.saga, self.step, phase.as_str())
    }

    /// What comes with it, as the type that the handler works with.
    ///
    /// # Errors
    /// A refusal with the code [`INPUT_INVALID`]: what cannot be read now cannot be read later.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, ReplyOutcome> {
        serde_json::from_str(&self.data).map_err(|error| {
            ReplyOutcome::Refused(StepError::new(INPUT_INVALID, error.to_string()))
        })
    }
}

impl From<message::Command> for Command {
    fn from(message: message::Command) -> Self {
        Self {
            name: message.name,
            saga: message.saga,
            definition: message.definition,
            step: message.step,
            phase: message.phase,
            attempt: message.attempt,
            action_outcome: message.action_outcome,
            deadline: message.deadline,
            fence: message.fence,
            traceparent: message.traceparent,
            tracestate: message.tracestate,
            reply_to: ReplyTo::Queue(message.reply_to),
            data: message.data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_command_like_any_other() {
        let message = message::Command {
            name: "refund".to_owned(),
            saga: "0198c7a0-0000-7000-8000-000000000001".parse().unwrap(),
            definition: "order/1".to_owned(),
            step: "pay".to_owned(),
            phase: Phase::Compensation,
            attempt: 3,
            action_outcome: Some(ActionOutcome::Refused),
            reply_to: "amends.replies".to_owned(),
            time: Timestamp(1),
            deadline: Timestamp(2),
            fence: 4,
            traceparent: Some("a".to_owned()),
            tracestate: Some("b".to_owned()),
            data: "[1,2]".to_owned(),
        };
        let command = Command::from(message.clone());
        assert_eq!(command.idempotency_key(), message.idempotency_key());
        assert_eq!(
            command.key_of(Phase::Action),
            "0198c7a0-0000-7000-8000-000000000001:pay:action"
        );
        assert_eq!(
            command.reply_to,
            ReplyTo::Queue("amends.replies".to_owned())
        );
        assert_eq!(command.action_outcome, Some(ActionOutcome::Refused));
        assert_eq!((command.attempt, command.fence), (3, 4));
        assert_eq!(command.data::<Vec<u8>>().unwrap(), [1, 2]);
        let Err(ReplyOutcome::Refused(error)) = command.data::<String>() else {
            panic!("it was read");
        };
        assert_eq!(error.code, INPUT_INVALID);
    }
}
