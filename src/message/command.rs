//! What is asked of a participant, as a message.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{COMMAND_TYPE, SPEC_VERSION};
use crate::definition::request::Phase;
use crate::saga::{ActionOutcome, SagaId, Timestamp};

/// One attempt at an action or a compensation, as a participant over a broker gets it.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// What is to be done: the definition's `command`.
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
    /// On compensations, what became of the action.
    pub action_outcome: Option<ActionOutcome>,
    /// The queue that the reply goes to.
    pub reply_to: String,
    /// When the message was made.
    pub time: Timestamp,
    /// When this attempt is given up.
    pub deadline: Timestamp,
    /// The fence of the saga's shard.
    pub fence: i64,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// W3C trace context.
    pub tracestate: Option<String>,
    /// What comes with it, as JSON text.
    pub data: String,
}

/// A message that is no command of this version.
#[derive(Debug, thiserror::Error)]
pub enum MalformedCommand {
    /// It is not JSON, or a member is missing or of a wrong type.
    #[error("it is no command: {0}")]
    Json(#[from] serde_json::Error),
    /// It is a CloudEvent of another type or version.
    #[error("its type is `{found}` and not `{COMMAND_TYPE}` of CloudEvents {SPEC_VERSION}")]
    Type {
        /// What it says.
        found: String,
    },
    /// A time in it cannot be read.
    #[error("`{member}` is no RFC 3339 time")]
    Time {
        /// Which member.
        member: &'static str,
    },
}

/// The members as they stand in the message.
#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    specversion: &'a str,
    id: String,
    #[serde(rename = "type")]
    kind: &'a str,
    source: &'a str,
    subject: String,
    time: String,
    #[serde(default = "json")]
    datacontenttype: String,
    sagaid: SagaId,
    sagadefinition: String,
    sagastep: String,
    sagaphase: Phase,
    attempt: u32,
    idempotencykey: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    actionoutcome: Option<ActionOutcome>,
    replyto: String,
    deadline: String,
    fence: i64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    traceparent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    tracestate: Option<String>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

fn json() -> String {
    "application/json".to_owned()
}

impl Command {
    /// The key that is the same on every attempt: `{saga}:{step}:{phase}`.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        format!("{}:{}:{}", self.saga, self.step, self.phase.as_str())
    }

    /// The message's id: the key and the attempt. The same attempt always has the same.
    #[must_use]
    pub fn id(&self) -> String {
        let mut id = self.idempotency_key();
        let _infallible = write!(id, ":{}", self.attempt);
        id
    }

    /// The message as JSON text.
    ///
    /// # Errors
    /// When `data` is no JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let data: &RawValue = serde_json::from_str(&self.data)?;
        serde_json::to_vec(&Wire {
            specversion: SPEC_VERSION,
            id: self.id(),
            kind: COMMAND_TYPE,
            source: "/amends",
            subject: self.name.clone(),
            time: self.time.to_rfc3339(),
            datacontenttype: json(),
            sagaid: self.saga,
            sagadefinition: self.definition.clone(),
            sagastep: self.step.clone(),
            sagaphase: self.phase,
            attempt: self.attempt,
            idempotencykey: self.idempotency_key(),
            actionoutcome: self.action_outcome,
            replyto: self.reply_to.clone(),
            deadline: self.deadline.to_rfc3339(),
            fence: self.fence,
            traceparent: self.traceparent.clone(),
            tracestate: self.tracestate.clone(),
            data: Some(data),
        })
    }

    /// Reads a message.
    ///
    /// # Errors
    /// When it is no command of this version. Members that are not known are ignored.
    pub fn read(message: &[u8]) -> Result<Self, MalformedCommand> {
        let wire: Wire<'_> = serde_json::from_slice(message)?;
        if wire.specversion != SPEC_VERSION || wire.kind != COMMAND_TYPE {
            return Err(MalformedCommand::Type {
                found: format!("{} of {}", wire.kind, wire.specversion),
            });
        }
        let time = |member, text: &str| {
            Timestamp::from_rfc3339(text).ok_or(MalformedCommand::Time { member })
        };
        Ok(Self {
            name: wire.subject,
            saga: wire.sagaid,
            definition: wire.sagadefinition,
            step: wire.sagastep,
            phase: wire.sagaphase,
            attempt: wire.attempt,
            action_outcome: wire.actionoutcome,
            reply_to: wire.replyto,
            time: time("time", &wire.time)?,
            deadline: time("deadline", &wire.deadline)?,
            fence: wire.fence,
            traceparent: wire.traceparent,
            tracestate: wire.tracestate,
            data: wire.data.map_or("null", RawValue::get).to_owned(),
        })
    }
}
