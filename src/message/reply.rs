//! What a participant answers, as a message.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{REPLY_ID_CHARS_MAX, REPLY_TYPE, SPEC_VERSION};
use crate::definition::request::Phase;
use crate::saga::nesting::is_shallow;
use crate::saga::{Outcome, SagaId, StepError};

/// The code of an error that names none.
const NO_CODE: &str = "refused";

/// What a participant says of a step. It answers the step and phase, whichever attempt it was sent
/// for.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// Makes it one reply, however often it comes; 1 to 255 characters.
    pub id: String,
    /// Who says it, a URI reference like `/payment`.
    pub source: String,
    /// The saga.
    pub saga: SagaId,
    /// The step's id.
    pub step: String,
    /// Which of the step's two calls.
    pub phase: Phase,
    /// What came of it.
    pub outcome: ReplyOutcome,
}

/// What came of a command, in the participant's own words.
#[derive(Clone, Debug, PartialEq)]
pub enum ReplyOutcome {
    /// It is done.
    Succeeded(Value),
    /// It was not done and will not be.
    Refused(StepError),
    /// It may or may not have been done; it is to be tried again.
    Retry {
        /// What went wrong.
        error: StepError,
        /// The least wait before that, in milliseconds.
        after_ms: Option<u64>,
    },
}

/// A message that is no reply of this version.
#[derive(Debug, thiserror::Error)]
pub enum MalformedReply {
    /// It is not JSON, or a member is missing or of a wrong type.
    #[error("it is no reply: {0}")]
    Json(#[from] serde_json::Error),
    /// It is a CloudEvent of another type or version.
    #[error("its type is `{found}` and not `{REPLY_TYPE}` of CloudEvents {SPEC_VERSION}")]
    Type {
        /// What it says.
        found: String,
    },
    /// Its id is empty or too long.
    #[error("its `id` must have 1 to {REPLY_ID_CHARS_MAX} characters")]
    Id,
    /// Its data is not what its outcome asks for.
    #[error("its `data` {0}")]
    Data(&'static str),
}

/// The members as they stand in the message.
#[derive(Serialize, Deserialize)]
struct Wire {
    specversion: String,
    id: String,
    #[serde(rename = "type")]
    kind: String,
    source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    datacontenttype: Option<String>,
    sagaid: SagaId,
    sagastep: String,
    sagaphase: Phase,
    outcome: Word,
    #[serde(default)]
    data: Value,
}

/// The outcomes as words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Succeeded,
    Refused,
    Retry,
}

impl Reply {
    /// The message as JSON text.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let (outcome, data) = self.outcome.written();
        let wire = Wire {
            specversion: SPEC_VERSION.to_owned(),
            id: self.id.clone(),
            kind: REPLY_TYPE.to_owned(),
            source: self.source.clone(),
            datacontenttype: Some("application/json".to_owned()),
            sagaid: self.saga,
            sagastep: self.step.clone(),
            sagaphase: self.phase,
            outcome,
            data,
        };
        // Plain data with text for keys: writing it cannot fail.
        serde_json::to_vec(&wire).unwrap_or_default()
    }

    /// Reads a message.
    ///
    /// # Errors
    /// When it is no reply of this version. Members that are not known are ignored.
    pub fn read(message: &[u8]) -> Result<Self, MalformedReply> {
        let wire: Wire = serde_json::from_slice(message)?;
        if wire.specversion != SPEC_VERSION || wire.kind != REPLY_TYPE {
            return Err(MalformedReply::Type {
                found: format!("{} of {}", wire.kind, wire.specversion),
            });
        }
        if wire.id.is_empty() || wire.id.chars().count() > REPLY_ID_CHARS_MAX {
            return Err(MalformedReply::Id);
        }
        Ok(Self {
            id: wire.id,
            source: wire.source,
            saga: wire.sagaid,
            step: wire.sagastep,
            phase: wire.sagaphase,
            outcome: ReplyOutcome::of(wire.outcome, wire.data).map_err(MalformedReply::Data)?,
        })
    }
}

impl ReplyOutcome {
    /// Reads an outcome from its word and its data; `Err` says what the data lacks. It is `None`
    /// for a word that is no outcome.
    #[must_use]
    pub fn read(word: &str, data: Value) -> Option<Result<Self, &'static str>> {
        let word = serde_json::from_value(Value::String(word.to_owned())).ok()?;
        Some(Self::of(word, data))
    }

    fn of(word: Word, data: Value) -> Result<Self, &'static str> {
        if word == Word::Succeeded {
            // What the journal could not hold as JSON is kept as the text that it is.
            let output = if is_shallow(&data) {
                data
            } else {
                Value::String(data.to_string())
            };
            return Ok(Self::Succeeded(output));
        }
        let members = match &data {
            Value::Object(members) => Some(members),
            Value::Null => None,
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                return Err("must be { \"code\", \"message\" }");
            }
        };
        let text = |name: &str| match members.and_then(|members| members.get(name)) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err("must have texts for `code` and `message`"),
        };
        let code = text("code")?
            .filter(|code| !code.is_empty() && code.len() <= StepError::CODE_BYTES_MAX);
        let message: String = text("message")?
            .unwrap_or("")
            .chars()
            .take(StepError::MESSAGE_CHARS_MAX)
            .collect();
        let otherwise = if word == Word::Retry {
            "retry"
        } else {
            NO_CODE
        };
        let error = StepError::new(code.unwrap_or(otherwise), message);
        if word == Word::Refused {
            return Ok(Self::Refused(error));
        }
        let after_ms = match members.and_then(|members| members.get("retryafter")) {
            None | Some(Value::Null) => None,
            Some(value) => {
                Some(milliseconds(value).ok_or("must have a number of seconds for `retryafter`")?)
            }
        };
        Ok(Self::Retry { error, after_ms })
    }

    /// `{ "outcome", "data" }`: what a callback posts, and what a participant keeps of its answer.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let (outcome, data) = self.written();
        json!({ "outcome": outcome, "data": data })
    }

    fn written(&self) -> (Word, Value) {
        let error = |error: &StepError| json!({ "code": error.code, "message": error.message });
        match self {
            Self::Succeeded(output) => (Word::Succeeded, output.clone()),
            Self::Refused(why) => (Word::Refused, error(why)),
            Self::Retry {
                error: why,
                after_ms,
            } => {
                let mut data = error(why);
                if let (Some(after_ms), Value::Object(members)) = (after_ms, &mut data) {
                    // Seconds, in parts of a thousand.
                    let seconds = std::time::Duration::from_millis(*after_ms).as_secs_f64();
                    members.insert("retryafter".to_owned(), json!(seconds));
                }
                (Word::Retry, data)
            }
        }
    }

    /// What the saga is told.
    #[must_use]
    pub fn into_outcome(self) -> Outcome {
        match self {
            Self::Succeeded(output) => Outcome::Succeeded { output },
            Self::Refused(error) => Outcome::Refused(error),
            Self::Retry { error, after_ms } => Outcome::Transient {
                error,
                retry_after_ms: after_ms,
            },
        }
    }
}

/// Seconds as milliseconds; none for what is no length of time.
fn milliseconds(value: &Value) -> Option<u64> {
    let seconds = value.as_f64()?;
    let wait = std::time::Duration::try_from_secs_f64(seconds).ok()?;
    u64::try_from(wait.as_millis()).ok()
}
